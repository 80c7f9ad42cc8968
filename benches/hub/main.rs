//! The whole hub under load, over real sockets: `cargo bench --bench hub -- [throughput|latency|idle]`.
//!
//! Starts the release binary as a child process on a new data folder, so that its CPU time and memory are its own and
//! not the generator's. Loads are bounded in connections, messages in flight, and time. Prints one table; the figures
//! that we quote stand in `benches/README.md` with the commit and the machine.

#![allow(unreachable_pub, reason = "a benchmark has no outside")]

mod generator;
mod idle;
mod latency;
#[path = "../../tests/hub/support/process.rs"]
#[allow(dead_code)]
mod process;
mod procfs;
mod throughput;

use std::path::Path;

use process::Home;

/// A device model with three numbers and its own time in microseconds: about 100 bytes of JSON.
const PROFILE: &str = r#"
profile      = 1
id           = "bench-3"
name         = "Bench device with three points"
manufacturer = "townhub"
model        = "B-3"
kind         = "manhole"

[source.mqtt]
payload = "json"
time    = { path = "/ts", format = "unix_us", optional = true }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.level]
label = "Level"
unit  = "m"
read  = { path = "/level_mm", scale = 0.001 }
range = [0, 10]
alerts.high = { above = 9.0, clear = 8.0, severity = "critical", text = "Level high" }

[points.flow]
label = "Flow"
unit  = "m3/h"
read  = { path = "/flow", scale = 0.1 }
range = [-500, 5000]
alerts.high = { above = 4900, clear = 4800, severity = "major", text = "Flow high" }

[points.temperature]
label = "Water temperature"
unit  = "Cel"
read  = { path = "/temp", scale = 0.1 }
range = [-20, 60]
"#;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let profiles = folder.path().join("profiles");
    std::fs::create_dir_all(&profiles).expect("a folder");
    std::fs::write(profiles.join("bench-3.toml"), PROFILE).expect("a profile");
    for (name, run) in [
        ("throughput", throughput::run as fn(&Home)),
        ("latency", latency::run),
        ("idle", idle::run),
    ] {
        if is_wanted(name) {
            println!("\n## {name}");
            run(&home(&folder.path().join(name), &profiles));
        }
    }
}

fn home(folder: &Path, profiles: &Path) -> Home {
    let hub = Path::new(env!("CARGO_BIN_EXE_townhub"));
    // The bench's devices send more in a second than a manhole in a month.
    Home::new(hub, folder, profiles, "max_messages_per_second = 0\n")
}
