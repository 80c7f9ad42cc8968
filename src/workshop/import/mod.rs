//! `townhub profile import`: another system's description of a device becomes a profile, as far as it says.
//!
//! [`node`] reads the document and remembers what was asked of it; one file per system makes a [`draft::Draft`]; what
//! was not asked for, or has no counterpart, is listed with its place. The profile is checked before it is handed out.

mod draft;
mod edgex;
mod lorawan;
mod node;
mod telegraf;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::Outcome;
use crate::profile;
use draft::Draft;
use node::Node;

/// The largest file that is read: a codec of a whole product family.
const MAX_FILE_BYTES: u64 = 4 << 20;

const FORMATS: [&str; 4] = ["edgex", "telegraf", "lorawan", "chirpstack"];

/// Imports what stands at `path`; writes to the folder `out`, or prints. Never overwrites.
pub fn import(format: &str, path: &Path, out: Option<&Path>) -> Outcome {
    let drafts = match format {
        "edgex" => document(path, Node::yaml, |root, file| Ok(vec![edgex::read(root, file)?])),
        "telegraf" => document(path, Node::toml, telegraf::read),
        "lorawan" => lorawan::things_stack(path),
        "chirpstack" => lorawan::chirpstack(path),
        other => Err(format!("unknown format `{other}`; formats are {}", FORMATS.join(", "))),
    };
    let mut outcome = match drafts {
        Ok(drafts) => hand_out(format, &drafts, out),
        Err(why) => return Outcome::failed(why),
    };
    if outcome.text.is_empty() {
        outcome.ok = false;
        outcome.notes.push_str("nothing was imported\n");
    }
    outcome
}

/// Reads one file and lists what nobody asked for.
fn document(
    path: &Path,
    parse: fn(&str) -> Result<Node, String>,
    read: impl Fn(&Node, &str) -> Result<Vec<Draft>, String>,
) -> Result<Vec<Draft>, String> {
    let file = path.display().to_string();
    let root = parse(&read_bounded(path)?).map_err(|why| format!("{file}: {why}"))?;
    let mut drafts = read(&root, &file).map_err(|why| format!("{file}: {why}"))?;
    if let Some(first) = drafts.first_mut() {
        root.unread(&file, "", &mut first.notes);
    }
    Ok(drafts)
}

fn hand_out(format: &str, drafts: &[Draft], out: Option<&Path>) -> Outcome {
    let mut outcome = Outcome { ok: true, ..Outcome::default() };
    for draft in drafts {
        let text = draft.write(format);
        for note in &draft.notes {
            let _ = writeln!(outcome.notes, "{note}");
        }
        let file = format!("{}.toml", draft.id);
        let Some(folder) = out else {
            if let Err(errors) = profile::read_text(&file, &text) {
                // A LoRaWAN profile is whole only with its codec beside it.
                if draft.beside.is_empty() {
                    outcome.ok = false;
                    errors.iter().for_each(|error| {
                        let _ = writeln!(outcome.notes, "{error}");
                    });
                }
            }
            for (name, script) in &draft.beside {
                let lines = script.lines().count();
                let _ = writeln!(
                    outcome.notes,
                    "{name}: {lines} lines; --out writes it beside the profile"
                );
            }
            outcome.text.push_str(&text);
            continue;
        };
        let mut files = vec![(file.clone(), text)];
        files.extend(draft.beside.iter().cloned());
        for (name, text) in files {
            match write_new(&folder.join(&name), &text) {
                Ok(()) => {
                    let _ = writeln!(outcome.text, "wrote   {}", folder.join(&name).display());
                }
                Err(why) => {
                    outcome.ok = false;
                    let _ = writeln!(outcome.notes, "{}: {why}", folder.join(&name).display());
                }
            }
        }
        if let Err(errors) = profile::read_file(&folder.join(&file)) {
            outcome.ok = false;
            errors.iter().for_each(|error| {
                let _ = writeln!(outcome.notes, "{error}");
            });
        }
    }
    outcome
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= MAX_FILE_BYTES => Ok(text),
        Ok(_) => Err(format!("{}: larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20)),
        Err(why) => Err(format!("{}: {why}", path.display())),
    }
}

#[cfg(test)]
mod tests;
