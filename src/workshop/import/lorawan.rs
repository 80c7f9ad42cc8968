//! LoRaWAN device descriptions with a JavaScript codec: The Things Stack's device repository (`device.yaml`,
//! `device-codec.yaml`, examples) and ChirpStack's device profiles (`devices/*.toml`, `codecs/*.js`,
//! `codecs/test_decode_*.json`, or a template with its script inside).
//!
//! The examples become tests, and what they decode to becomes points.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::{number, quoted};
use super::draft::{Draft, DraftPoint, profile_id};
use super::node::Node;
use super::read_bounded;

/// An example of a decoded uplink.
struct Example {
    name: String,
    port: f64,
    hex: String,
    /// Pointer and value of everything that comes out; empty for an error.
    values: Vec<(String, Leaf)>,
    error: Option<String>,
}

#[derive(Clone, PartialEq)]
enum Leaf {
    Number(f64),
    Flag(bool),
    Word(String),
}

/// Every device below a folder of The Things Stack's repository, or the one of a `*-codec.yaml`.
pub(super) fn things_stack(path: &Path) -> Result<Vec<Draft>, String> {
    let is_codec = |path: &Path| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.ends_with("codec.yaml") || name.ends_with("codec.yml")
        })
    };
    let codecs: Vec<PathBuf> = files(path)?.into_iter().filter(|file| is_codec(file)).collect();
    if codecs.is_empty() {
        return Err(format!("no *-codec.yaml in {}", path.display()));
    }
    codecs.iter().map(|codec| things_stack_device(codec)).collect()
}

fn things_stack_device(path: &Path) -> Result<Draft, String> {
    let file = path.display().to_string();
    let root = Node::yaml(&read_bounded(path)?).map_err(|why| format!("{file}: {why}"))?;
    root.leave_out(&["codecId"]);
    let decoder = root.get("uplinkDecoder").ok_or_else(|| format!("{file}: no uplinkDecoder"))?;
    let script = decoder.text("fileName").ok_or_else(|| format!("{file}: no fileName"))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let device = stem.trim_end_matches("codec").trim_end_matches('-').to_owned();
    let mut draft = Draft { id: profile_id(&device), model: device.clone(), ..Draft::default() };
    let folder = path.parent().unwrap_or(Path::new("."));
    draft.manufacturer =
        folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let sheet = folder.join(format!("{device}.yaml"));
    if let Ok(text) = read_bounded(&sheet) {
        let node = Node::yaml(&text).map_err(|why| format!("{}: {why}", sheet.display()))?;
        draft.name = node.text("name").unwrap_or_default();
    }
    take_script(&mut draft, &folder.join(&script))?;
    let examples = decoder.get("examples").map(Node::items).unwrap_or_default();
    let examples: Vec<Example> = examples
        .iter()
        .map(|example| {
            let output = example.get("output");
            this_example(example, example.text("description"), output)
        })
        .collect();
    finish(&mut draft, examples);
    root.unread(&file, "", &mut draft.notes);
    Ok(draft)
}

/// Every device below a folder of ChirpStack's device profiles, or the one of a file.
pub(super) fn chirpstack(path: &Path) -> Result<Vec<Draft>, String> {
    let mut drafts = Vec::new();
    for file in files(path)?.iter().filter(|file| file.extension().is_some_and(|e| e == "toml")) {
        let name = file.display().to_string();
        let root = Node::toml(&read_bounded(file)?).map_err(|why| format!("{name}: {why}"))?;
        if let Some(draft) = chirpstack_device(&root, file)? {
            drafts.push(draft);
        }
    }
    if drafts.is_empty() {
        return Err(format!("no device with a codec in {}", path.display()));
    }
    Ok(drafts)
}

fn chirpstack_device(root: &Node, path: &Path) -> Result<Option<Draft>, String> {
    let file = path.display().to_string();
    let device = root.get("device").or_else(|| root.get("device_profile")).unwrap_or(root);
    let name = device.text("name").unwrap_or_default();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut draft = Draft {
        id: profile_id(if name.is_empty() { &stem } else { &name }),
        name,
        manufacturer: device.text("vendor").unwrap_or_default(),
        model: stem,
        ..Draft::default()
    };
    device.leave_out(&["id", "description", "metadata", "firmware_version", "region"]);
    if let Some(every) = device.number("uplink_interval").filter(|every| *every >= 1.0) {
        draft.expect_every = Some(format!("{every:.0}s"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut examples = Vec::new();
    if let Some(script) = device.text("payload_codec_script") {
        draft.beside.push((format!("{}.js", draft.id), script));
    } else {
        let firmware = device.get("firmware").map(Node::items).unwrap_or_default();
        let codec = firmware.iter().find_map(|firmware| {
            firmware.leave_out(&["version", "profiles"]);
            firmware.text("codec")
        });
        let Some(codec) = codec.or_else(|| device.text("codec")) else { return Ok(None) };
        let codecs = folder.parent().unwrap_or(folder).join("codecs");
        let codecs = if codecs.is_dir() { codecs } else { folder.to_owned() };
        take_script(&mut draft, &codecs.join(&codec))?;
        let test = codecs.join(format!("test_decode_{}.json", codec.trim_end_matches(".js")));
        if let Ok(text) = read_bounded(&test) {
            let node = Node::json(&text).map_err(|why| format!("{}: {why}", test.display()))?;
            for example in node.items() {
                let expected = example.get("expected");
                examples.push(this_example(example, example.text("name"), expected));
            }
        }
    }
    finish(&mut draft, examples);
    root.unread(&file, "", &mut draft.notes);
    Ok(Some(draft))
}

fn take_script(draft: &mut Draft, path: &Path) -> Result<(), String> {
    let script = read_bounded(path)?;
    draft.beside.push((format!("{}.js", draft.id), script));
    Ok(())
}

fn this_example(example: &Node, name: Option<String>, output: Option<&Node>) -> Example {
    let input = example.get("input");
    let bytes = input.and_then(|input| input.get("bytes")).map(Node::items).unwrap_or_default();
    let hex =
        bytes.iter().filter_map(Node::as_number).map(|b| format!("{:02X}", b as u8)).collect();
    input.inspect(|input| input.leave_out(&["recvTime", "variables"]));
    let mut values = Vec::new();
    let mut error = None;
    if let Some(output) = output {
        output.leave_out(&["warnings"]);
        if let Some(data) = output.get("data") {
            leaves(data, "", &mut values);
        }
        let errors = output.get("errors").map(Node::items).unwrap_or_default();
        error = errors.first().and_then(Node::as_text);
    }
    example.leave_out(&["normalizedOutput"]);
    let port = input.and_then(|input| input.number("fPort")).unwrap_or(1.0);
    Example { name: name.unwrap_or_else(|| "an uplink".to_owned()), port, hex, values, error }
}

/// Numbers, truths and words with their pointers; lists are left unread, and listed so.
fn leaves(node: &Node, path: &str, out: &mut Vec<(String, Leaf)>) {
    for (key, value) in node.entries() {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        if value.is_number() {
            out.extend(value.as_number().map(|number| (path, Leaf::Number(number))));
        } else if let Some(flag) = value.as_flag() {
            out.push((path, Leaf::Flag(flag)));
        } else if let Some(word) = value.as_text() {
            out.push((path, Leaf::Word(word)));
        } else {
            leaves(value, &path, out);
        }
    }
}

/// Points of all that the examples decode to, and the examples as tests.
fn finish(draft: &mut Draft, examples: Vec<Example>) {
    let codec = draft.beside.first().map(|(name, _)| name.clone()).unwrap_or_default();
    draft.source = format!("[source.lorawan]\ncodec = {}\n", quoted(&codec));
    let mut named: Vec<(String, String)> = Vec::new();
    for (path, leaf) in examples.iter().flat_map(|example| &example.values) {
        if named.iter().any(|(known, _)| known == path) {
            continue;
        }
        let states = match leaf {
            Leaf::Number(_) => Vec::new(),
            Leaf::Flag(_) => vec!["no".to_owned(), "yes".to_owned()],
            Leaf::Word(_) => words(path, &examples),
        };
        if matches!(leaf, Leaf::Word(_)) && states.is_empty() {
            draft
                .notes
                .push(format!("{}: `{path}` is a text that names no state; left out", draft.id));
            continue;
        }
        let name = draft.free_name(path);
        let label = path.trim_start_matches('/').replace('/', " ");
        let read = format!("path = {}", quoted(path));
        draft.points.push(DraftPoint {
            name: name.clone(),
            label,
            read,
            states,
            ..DraftPoint::default()
        });
        named.push((path.clone(), name));
    }
    let mut names = Vec::new();
    for example in &examples {
        let mut name = example.name.replace(char::is_control, " ");
        while names.contains(&name) {
            name.push('\'');
        }
        names.push(name.clone());
        draft.tests.push_str(&test(example, &name, draft, &named));
    }
    if examples.is_empty() {
        draft.notes.push(format!(
            "{}: no example says what the codec decodes; the points are yours to name",
            draft.id
        ));
        let read = "path = \"/value\"".to_owned();
        let (name, label) = ("value".to_owned(), "Value".to_owned());
        draft.points.push(DraftPoint { name, label, read, ..DraftPoint::default() });
    }
}

/// The words that stand at `path` in any example, when each can name a state.
fn words(path: &str, examples: &[Example]) -> Vec<String> {
    let mut words = Vec::new();
    for (_, leaf) in examples.iter().flat_map(|e| &e.values).filter(|(other, _)| other == path) {
        let Leaf::Word(word) = leaf else { return Vec::new() };
        let is_state = word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.len() <= 64
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !is_state {
            return Vec::new();
        }
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    words
}

fn test(example: &Example, name: &str, draft: &Draft, named: &[(String, String)]) -> String {
    let mut text = format!("\n[[test]]\nname   = {}\n", quoted(name));
    let _ = writeln!(text, "port   = {}\nhex    = \"{}\"", example.port, example.hex);
    if let Some(error) = &example.error {
        let _ = writeln!(text, "error  = {}", quoted(error));
        return text;
    }
    let expect: Vec<String> = example
        .values
        .iter()
        .filter_map(|(path, leaf)| {
            let (_, name) = named.iter().find(|(known, _)| known == path)?;
            let point = draft.points.iter().find(|point| point.name == *name)?;
            let value = match leaf {
                Leaf::Number(value) => number(*value),
                Leaf::Flag(flag) => quoted(point.states.get(usize::from(*flag))?),
                Leaf::Word(word) => quoted(word),
            };
            Some(format!("{name} = {value}"))
        })
        .collect();
    let _ = writeln!(text, "expect = {{ {} }}", expect.join(", "));
    text
}

/// The file, or every file below the folder, sorted.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |why| format!("{}: {why}", path.display());
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        // Vendor folders hold `devices/`; deeper there is nothing.
        if entry.is_dir() && entry.file_name().is_some_and(|name| name == "devices") {
            found.extend(files(&entry)?);
        } else if entry.is_file() {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}
