//! Samples of our own in the shape of the field's files.

use std::path::{Path, PathBuf};

use super::*;
use crate::profile::{ProfileFile, read_text};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name)
}

/// Imports a sample that makes one profile, which must pass `check`.
fn imported(format: &str, name: &str) -> (ProfileFile, String, String) {
    let outcome = import(format, &sample(name), None);
    assert!(outcome.ok, "{}", outcome.notes);
    let file = read_text("imported.toml", &outcome.text).unwrap_or_else(|errors| {
        panic!("{}\n{}", errors.iter().map(ToString::to_string).collect::<String>(), outcome.text)
    });
    (file, outcome.text, outcome.notes)
}

fn check_holds(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn an_edgex_profile_keeps_registers_units_and_ranges() {
    let (file, text, notes) = imported("edgex", "edgex-pump.yaml");
    assert_eq!(file.profile.id.as_str(), "pump-station-meter");
    assert_eq!(file.profile.points.len(), 4);
    check_holds(
        &text,
        &[
            "[points.outlet_pressure]",
            "unit  = \"kPa\"",
            "read  = { table = \"holding\", address = 4000, type = \"i16\", scale = 0.1 }",
            "range = [0, 1600]",
            "type = \"f32\", word_order = \"CDAB\"",
            "states = { 0 = \"off\", 1 = \"on\" }",
            "# TODO(human): the unit in UCUM; the source says turns",
        ],
    );
    check_holds(
        &notes,
        &[
            "`Setpoint` is left out: it can only be written",
            "`Serial` is left out: the type `String` has no counterpart",
            "`deviceResources[0].properties.assertion` is not understood",
        ],
    );
}

#[test]
fn a_telegraf_input_keeps_its_registers_in_both_styles() {
    let (file, text, notes) = imported("telegraf", "telegraf-registers.conf");
    assert_eq!(file.profile.points.len(), 5);
    check_holds(
        &text,
        &[
            "read  = { table = \"holding\", address = 0, type = \"u16\", scale = 0.1 }",
            "type = \"f32\", word_order = \"CDAB\"",
            "type = \"i32\", scale = 0.001",
            "timeout    = \"800ms\"",
            "normal = \"10s\"",
        ],
    );
    check_holds(
        &notes,
        &[
            "`swapped` is left out: a register of 16 bits in the order BA",
            "do not follow on each other",
        ],
    );
    let (file, _, notes) = imported("telegraf", "telegraf-requests.conf");
    assert_eq!(file.profile.points.len(), 3);
    check_holds(&notes, &["another slave_id", "workarounds` is not understood"]);
}

#[test]
fn a_folder_of_the_things_stack_becomes_points_and_tests() {
    let outcome = import("lorawan", &sample("things-stack/acme"), None);
    check_holds(
        &outcome.text,
        &[
            "id           = \"lid-1\"",
            "codec = \"lid-1.js\"",
            "[points.tilt_deg]",
            "states = { 0 = \"no\", 1 = \"yes\" }",
            "states = { 0 = \"ajar\", 1 = \"shut\" }",
            "port   = 2\nhex    = \"01005A0CE4\"",
            "expect = { ",
            "error  = \"short frame\"",
        ],
    );
    check_holds(&outcome.notes, &["--out writes it", "downlinkEncoder` is not understood"]);
}

#[test]
fn a_folder_of_chirpstack_becomes_points_and_tests() {
    let outcome = import("chirpstack", &sample("chirpstack/acme"), None);
    check_holds(
        &outcome.text,
        &[
            "id           = \"acme-bay-2\"",
            "[points.occupied]",
            "hex    = \"010CE4\"",
            "battery = 3.3",
        ],
    );
    let outcome = import("chirpstack", &sample("chirpstack-template.toml"), None);
    check_holds(&outcome.text, &["expect_every = \"900s\"", "codec = \"acme-rain-3.js\""]);
    check_holds(
        &outcome.notes,
        &["`device_profile.supports_otaa` is not understood", "no example says"],
    );
}

#[test]
fn what_cannot_be_imported_is_said() {
    let check = |format: &str, path: &Path, why: &str| {
        let outcome = import(format, path, None);
        assert!(!outcome.ok && outcome.notes.contains(why), "{why}: {}", outcome.notes);
    };
    check("opcua", &sample("edgex-pump.yaml"), "formats are edgex, telegraf, lorawan, chirpstack");
    check("edgex", &sample("nowhere.yaml"), "nowhere.yaml");
    check("edgex", &sample("chirpstack-template.toml"), "chirpstack-template.toml");
    check("telegraf", &sample("chirpstack-template.toml"), "no [[inputs.modbus]]");
    check("lorawan", &sample("chirpstack"), "no *-codec.yaml");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let deep = folder.path().join("deep.yaml");
    fs::write(&deep, format!("deviceResources: {}{}", "[".repeat(200), "]".repeat(200)))
        .expect("written");
    check("edgex", &deep, "deep");
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = import("edgex", &sample("edgex-pump.yaml"), Some(folder.path()));
    assert!(outcome.ok, "{}", outcome.notes);
    assert!(folder.path().join("pump-station-meter.toml").exists());
    let outcome = import("edgex", &sample("edgex-pump.yaml"), Some(folder.path()));
    assert!(!outcome.ok && outcome.notes.contains("exists"), "{}", outcome.notes);
}
