//! What the scenarios share: the real binary, and a device that speaks MQTT byte by byte.

pub mod device;
pub mod ejabberd;
pub mod gate;
pub mod hook;
pub mod live;
pub mod mosquitto;
pub mod process;

use std::path::{Path, PathBuf};

use process::Home;

/// A device model with one number, the device's own time, and alerts without delay.
pub const PROBE: &str = r#"
profile      = 1
id           = "probe"
name         = { zh = "探头", en = "Probe" }
manufacturer = "townhub"
model        = "T-1"
kind         = "manhole"

[source.mqtt]
topic   = "probes/{site}/{device}/up"
payload = "json"
time    = { path = "/ts", format = "unix_us", optional = true }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.level]
label = { zh = "水位", en = "Level" }
unit  = "m"
read  = { path = "/level" }
range = [0, 1000000]
alerts.high = { above = 900000, clear = 800000, severity = "critical", text = { zh = "水位过高", en = "Level high" } }
"#;

/// A home in a temporary folder with the probe's profile and these devices.
pub struct Town {
    pub home: Home,
    _folder: tempfile::TempDir,
}

impl Town {
    pub fn new(config: &str) -> Self {
        Town::with_profiles(config, &[("probe.toml", PROBE)])
    }

    /// One with these files in its profile folder.
    pub fn with_profiles(config: &str, files: &[(&str, &str)]) -> Self {
        Town::on(tempfile::tempdir().expect("a temporary folder"), config, files)
    }

    /// One in this folder.
    pub fn on(folder: tempfile::TempDir, config: &str, files: &[(&str, &str)]) -> Self {
        let profiles = folder.path().join("profiles");
        std::fs::create_dir(&profiles).expect("a folder");
        for (name, text) in files {
            std::fs::write(profiles.join(name), text).expect("a profile");
        }
        let home = Home::new(&binary(), &folder.path().join("home"), &profiles, config);
        Town { home, _folder: folder }
    }
}

/// The hub under test: the one that was built with the tests, or the one that `TOWNHUB_TEST_BINARY` names.
pub fn binary() -> PathBuf {
    let told = std::env::var_os("TOWNHUB_TEST_BINARY").map(PathBuf::from);
    told.unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_townhub")).to_owned())
}

/// Device ids.
pub fn devices(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("probe-{i}")).collect()
}

/// The time in microseconds, for payloads.
pub fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_micros()).expect("fits")
}

/// The path of everything that a probe has sent in this test.
pub fn series(device: &str) -> String {
    let hour = jiff::SignedDuration::from_hours(1);
    let (from, to) = (jiff::Timestamp::now() - hour, jiff::Timestamp::now() + hour);
    format!("/api/v1/series/{device}/level?from={from}&to={to}")
}
