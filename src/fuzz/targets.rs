//! The targets behind public doors: payloads with what follows from them, LoRaWAN envelopes, profiles, imports.

use std::path::{Path, PathBuf};

use super::{Fuzz, corpus, outcome};
use crate::clock::Clock;
use crate::model::{SeriesId, Timestamp};
use crate::normalize::{Track, normalize};
use crate::profile::{
    Decoded, Input, Memory, Message, Profile, ProfileFile, Source, find_files, read_file, read_text,
};
use crate::registry::{ImportMode, Registry};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn profile_files() -> Vec<PathBuf> {
    find_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles")).unwrap()
}

/// What its fixtures send.
fn messages(file: &ProfileFile) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for fixture in &file.fixtures {
        messages.extend(fixture.before.iter().map(|(_, message)| message.clone()));
        if let Input::Message(message) = &fixture.input {
            messages.push(message.clone());
        }
    }
    messages
}

/// Decodes and normalizes a message as the pipeline does, on a device that remembers the ones before.
fn take(profile: &Profile, topic: &str, payload: &[u8], memory: &Memory, track: &mut Track) -> u64 {
    let series: Vec<_> = (0..profile.points.len()).map(|i| SeriesId(i as u32)).collect();
    let (mut decoded, mut measured) = (Decoded::default(), Vec::new());
    let said = profile.decode_message(Message { topic, payload }, memory, &mut decoded);
    let mut tally = crate::normalize::Tally::default();
    for (report, readings) in decoded.reports() {
        tally += normalize(profile, track, &series, report.time, readings, NOW, &mut measured);
    }
    assert!(measured.len() <= 70_000, "bounded: {}", measured.len());
    outcome(&(&profile.id, said.map_err(|why| why.to_string()), tally))
}

#[test]
fn payloads() {
    for path in profile_files() {
        let file = read_file(&path).unwrap();
        let seeds = messages(&file);
        if !matches!(file.profile.source, Source::Mqtt(_)) || seeds.is_empty() {
            continue;
        }
        let name: &'static str = Box::leak(file.profile.id.to_string().into_boxed_str());
        // Births and data come by topics of their own; what is a birth's on one is none on the other.
        let mut topics: Vec<&str> = file
            .fixtures
            .iter()
            .flat_map(|f| {
                f.before.iter().map(|(topic, _)| topic.as_str()).chain([f.topic.as_str()])
            })
            .collect();
        topics.sort_unstable();
        topics.dedup();
        let memory = Memory::default();
        let mut track = Track::new(&file.profile);
        let fuzz = Fuzz { name, usual: 1_500, thorough: 300_000, seeds, most_bytes: 8_192 };
        fuzz.run(|payload| {
            let topic = |i: usize| topics[i % topics.len()];
            let one = take(&file.profile, topic(payload.len()), payload, &memory, &mut track);
            let other = take(&file.profile, topic(payload.len() + 1), payload, &memory, &mut track);
            one ^ other.rotate_left(1)
        });
    }
}

/// As a network's server sends them; the codec behind them runs in a process of its own.
#[test]
fn lorawan_envelopes() {
    let files: Vec<_> = profile_files().iter().map(|path| read_file(path).unwrap()).collect();
    let sources: Vec<_> = files
        .iter()
        .filter_map(|file| match &file.profile.source {
            Source::Lorawan(source) => Some(source),
            _ => None,
        })
        .collect();
    assert!(!sources.is_empty());
    let fuzz = Fuzz {
        name: "lorawan",
        usual: 3_000,
        thorough: 1_000_000,
        seeds: corpus("lorawan"),
        most_bytes: 8_192,
    };
    fuzz.run(|payload| {
        let opened = |i: usize| sources[i].job(payload, NOW).map(|_| ()).map_err(|e| e.to_string());
        outcome(&opened(payload.len() % sources.len()))
    });
}

#[test]
fn profiles() {
    let seeds = profile_files().iter().map(|path| std::fs::read(path).unwrap()).collect();
    let fuzz =
        Fuzz { name: "profile", usual: 150, thorough: 50_000, seeds, most_bytes: 32 * 1_024 };
    fuzz.run(|text| {
        let Ok(text) = std::str::from_utf8(text) else { return 0 };
        match read_text("fuzz.toml", text) {
            Ok(file) => {
                // What compiles must also take what it says that its devices send.
                let memory = Memory::default();
                let mut track = Track::new(&file.profile);
                for message in messages(&file) {
                    take(&file.profile, "", &message, &memory, &mut track);
                }
                outcome(&(file.profile.points.len(), file.warnings.len()))
            }
            Err(errors) => outcome(&errors.iter().map(|e| e.to_string()).collect::<Vec<_>>()),
        }
    });
}

/// A town to import into; nothing is applied.
fn town() -> (Registry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("town.db"), Clock::manual(NOW).0).unwrap();
    (registry, folder)
}

#[test]
fn geojson() {
    let (registry, _folder) = town();
    let read = |name: &str| std::fs::read(Path::new("tests/data/registry").join(name)).unwrap();
    let mut seeds = vec![read("zones.geojson"), read("assets.geojson"), read("assets-bad.geojson")];
    seeds.extend(corpus("geojson"));
    let fuzz = Fuzz { name: "geojson", usual: 1_000, thorough: 300_000, seeds, most_bytes: 16_384 };
    fuzz.run(|document| {
        let Ok(text) = std::str::from_utf8(document) else { return 0 };
        let zones = registry.import_zones(text, ImportMode::DryRun);
        let assets = registry.import_assets(text, ImportMode::DryRun);
        outcome(&(zones.map(shape), assets.map(shape)))
    });
}

#[test]
fn csv() {
    let (registry, _folder) = town();
    let read = |name: &str| std::fs::read(Path::new("tests/data/registry").join(name)).unwrap();
    let mut seeds = vec![read("assets.csv"), read("devices.csv"), read("devices-bad.csv")];
    seeds.extend(corpus("csv"));
    let profiles = ["probe".parse().unwrap()];
    let fuzz = Fuzz { name: "csv", usual: 1_000, thorough: 200_000, seeds, most_bytes: 16_384 };
    fuzz.run(|document| {
        let assets = registry.import_assets_csv(document, ImportMode::DryRun);
        let devices = registry.import_devices_csv(document, &profiles, ImportMode::DryRun);
        outcome(&(assets.map(shape), devices.map(shape)))
    });
}

/// What a report says, without what it quotes.
fn shape(report: crate::registry::ImportReport) -> Vec<usize> {
    report.rows.iter().map(|row| row.errors.len()).collect()
}
