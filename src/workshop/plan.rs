//! `townhub profile plan`: what the hub will ask of a device and what that costs, or what the device sends where.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::Outcome;
use crate::ingest::modbus::planner::{self, Block, Plan};
use crate::profile::{Profile, Read, Source, find_files, read_file};

/// Serial speeds in the field.
const BAUDS: [u32; 5] = [2_400, 9_600, 19_200, 38_400, 115_200];

/// Start, 8 data, parity or second stop, stop: what a byte takes on a serial line.
const BITS_PER_BYTE: f64 = 11.0;

/// Silence before and after a frame, in bytes (Modbus over Serial Line 1.02, 2.5.1.1).
const SILENCE_BYTES: f64 = 7.0;

/// Address, function, two words, CRC.
const REQUEST_BYTES: usize = 8;

/// Address, function, byte count, CRC.
const RESPONSE_OVERHEAD: usize = 5;

/// Ethernet, IP, TCP and MBAP headers around a request and its answer, and the acknowledgement between.
const TCP_OVERHEAD: usize = 3 * 66 + 14;

/// Describes the profiles at or below `paths`.
pub fn plan(paths: &[PathBuf]) -> Outcome {
    let mut outcome = Outcome { ok: true, ..Outcome::default() };
    for path in paths {
        match find_files(path) {
            Ok(files) => files.iter().for_each(|file| match read_file(file) {
                Ok(read) => outcome.text.push_str(&describe(&read.profile)),
                Err(errors) => {
                    outcome.ok = false;
                    for error in errors {
                        let _ = writeln!(outcome.notes, "{error}");
                    }
                }
            }),
            Err(why) => {
                outcome.ok = false;
                let _ = writeln!(outcome.notes, "{}: {why}", path.display());
            }
        }
    }
    outcome
}

fn describe(profile: &Profile) -> String {
    let mut text = format!("{} ({} / {})\n", profile.id, profile.name.en, profile.name.zh);
    match &profile.source {
        Source::Modbus(_) => match planner::plan(profile, &[]) {
            Ok(plan) => {
                let _ = writeln!(text, "{}", plan.describe(profile));
                text.push_str(&load(&plan));
            }
            Err(why) => {
                let _ = writeln!(text, "cannot be polled: {why}");
            }
        },
        Source::Mqtt(source) => {
            text.push_str("takes devices/{device}/telemetry");
            if let Some(topic) = &source.topic {
                let _ = write!(text, " and {topic}");
            }
            text.push('\n');
            text.push_str(&places(profile));
        }
        #[allow(unreachable_patterns, reason = "sources are still being added")]
        _ => text.push_str(&places(profile)),
    }
    text.push('\n');
    text
}

/// Which point comes from where.
fn places(profile: &Profile) -> String {
    let width = profile.points.iter().map(|p| p.name.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for point in &profile.points {
        let place = match &point.read {
            Read::Json(path) => path.clone(),
            other => format!("{other:?}"),
        };
        let _ = write!(text, "  {:width$}  {place}", point.name.as_str());
        if point.scale != 1.0 || point.offset != 0.0 {
            let _ = write!(text, " * {} + {}", point.scale, point.offset);
        }
        let _ = writeln!(text, "  [{}]", point.unit);
    }
    text
}

/// Bytes per second over TCP, and the share of a serial line's time at each speed.
fn load(plan: &Plan) -> String {
    let mut tcp = 0.0;
    let mut serial_bytes = 0.0;
    for poll in &plan.polls {
        let per_second = 1.0 / poll.period.as_secs_f64();
        for block in &poll.blocks {
            let frames = REQUEST_BYTES + RESPONSE_OVERHEAD + data_bytes(block);
            tcp += per_second * (frames + TCP_OVERHEAD) as f64;
            serial_bytes += per_second * (frames as f64 + SILENCE_BYTES);
        }
    }
    let mut text = format!("{tcp:.0} bytes/s over TCP\n");
    for baud in BAUDS {
        let share = serial_bytes * BITS_PER_BYTE / f64::from(baud) * 100.0;
        let verdict = match share {
            s if s > 100.0 => "  more than the line can carry",
            s if s > 70.0 => "  leaves little room for commands and late answers",
            _ => "",
        };
        let units = (70.0 / share).floor();
        let room = if units >= 1.0 {
            format!(", {units:.0} such devices on one line")
        } else {
            String::new()
        };
        let _ = writeln!(text, "{baud:>6} baud: {share:5.1} % of the line{room}{verdict}");
    }
    text
}

fn data_bytes(block: &Block) -> usize {
    if block.table.is_bits() {
        usize::from(block.count).div_ceil(8)
    } else {
        usize::from(block.count) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(name: &str) -> Outcome {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
        plan(&[folder.join(name)])
    }

    #[test]
    fn a_modbus_plan_tells_its_load() {
        let outcome = shipped("wz-sg200.toml");
        assert!(outcome.ok, "{}", outcome.notes);
        for expected in
            ["fast, every 1s", "bytes/s over TCP", "9600 baud:", "such devices on one line"]
        {
            assert!(outcome.text.contains(expected), "{expected}: {}", outcome.text);
        }
    }

    #[test]
    fn a_publisher_tells_its_topics_and_places() {
        let outcome = shipped("wz-mh1.toml");
        assert!(outcome.ok, "{}", outcome.notes);
        for expected in
            ["devices/{device}/telemetry and sewer/{site}/{device}/up", "/level_mm * 0.001"]
        {
            assert!(outcome.text.contains(expected), "{expected}: {}", outcome.text);
        }
    }
}
