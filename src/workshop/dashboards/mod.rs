//! `townhub dashboards`: ready dashboards for Grafana, made from the profiles' metrics: one for each kind of asset and each
//! kind of data source, and one for the hub's own health.
//!
//! How a reading is called in a store of others is said in [`store::names`](crate::store::names). The files are committed in
//! `dashboards/grafana/`; a test makes them again and compares.

mod grafana;
mod health;
mod kind;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Outcome;
use crate::model::AssetKind;
use crate::profile::{Profile, find_files, read_file};
use grafana::Source;

/// A dashboard and the file that it belongs in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dashboard {
    pub(super) file: String,
    pub(super) json: Value,
}

/// Writes the dashboards of the profiles at or below `profiles` into the folder `out`.
pub fn dashboards(profiles: &Path, out: &Path) -> Outcome {
    let made = match read(profiles) {
        Ok(profiles) => make(&profiles),
        Err(why) => return Outcome::failed(why),
    };
    if let Err(why) = fs::create_dir_all(out) {
        return Outcome::failed(format!("{}: {why}", out.display()));
    }
    let mut outcome = Outcome { ok: true, ..Outcome::default() };
    for dashboard in made {
        let path = out.join(&dashboard.file);
        if let Err(why) = fs::write(&path, text(&dashboard.json)) {
            return Outcome::failed(format!("{}: {why}", path.display()));
        }
        outcome.text.push_str(&format!("{}\n", path.display()));
    }
    outcome
}

fn read(path: &Path) -> Result<Vec<Profile>, String> {
    let files = find_files(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut profiles = Vec::new();
    for file in files {
        let read = read_file(&file).map_err(|errors| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        })?;
        profiles.push(read.profile);
    }
    // Which profile names a metric must not hang on the order in which a folder lists its files.
    profiles.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    Ok(profiles)
}

/// Every dashboard.
fn make(profiles: &[Profile]) -> Vec<Dashboard> {
    let of_kinds = Source::ALL.into_iter().flat_map(|source| {
        AssetKind::ALL.into_iter().filter_map(move |kind| kind::dashboard(profiles, kind, source))
    });
    std::iter::once(health::dashboard()).chain(of_kinds).collect()
}

/// As it stands in a file: the same on every machine.
fn text(json: &Value) -> String {
    format!("{json:#}\n")
}
