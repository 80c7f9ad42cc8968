//! The real profiles, and fixtures that must fail.

use std::path::Path;

use super::*;
use crate::profile::{ProfileSet, read_text};

fn device_profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles")
}

#[test]
fn every_device_profile_passes_its_tests_and_raises_its_alerts() {
    let files = find_files(&device_profiles()).expect("the folder");
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let file = read_file(&path).unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        let failed: Vec<_> =
            run(&file.profile, &file.fixtures).into_iter().filter(|r| !r.passed()).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", path.display());
        assert!(file.fixtures.len() >= 2, "{}: too few tests", path.display());
        let uncovered = uncovered(&file.profile, &file.fixtures);
        assert!(uncovered.is_empty(), "{}: no test raises {uncovered:?}", path.display());
        let stem = path.file_stem().expect("a name").to_string_lossy();
        assert_eq!(file.profile.id.as_str(), stem, "the file is named after its profile");
    }
}

#[test]
fn the_device_profiles_load_as_a_set() {
    let set = ProfileSet::load(&device_profiles()).expect("the folder");
    assert!(set.refused.is_empty(), "{:?}", set.refused);
    let files = find_files(&device_profiles()).expect("the folder");
    assert_eq!(set.profiles.len(), files.len());
}

const PROFILE: &str = r#"
profile = 1
id = "p"
name = "p"
manufacturer = "m"
model = "m"
kind = "manhole"
source.mqtt.payload = "json"
source.mqtt.time = { path = "/ts", format = "unix_s", optional = true }
[points.level]
label = "Level"
unit = "m"
read = { path = "/l", invalid = [9] }
range = [0, 6]
alerts.high = { above = 2, clear = 1, severity = "major", text = "High" }
alerts.steps = { text = "Steps", ladder = [{ severity = "info", above = 2.5 }, { severity = "major", above = 5 }] }
alerts.slow = { above = 3, for = "1min", severity = "major", text = "High for long" }
[points.cover]
label = "Cover"
read = { path = "/c" }
states = { 0 = "closed", 1 = "open" }
[[alert]]
name = "both"
when = "level > 2 && cover == 'open'"
severity = "minor"
text = "Both"
[[test]]
name = "t"
"#;

#[track_caller]
fn check(fixture: &str, failures: &[&str]) {
    let text = format!("{PROFILE}{fixture}");
    let file = read_text("p.toml", &text).unwrap_or_else(|errors| panic!("{}", errors[0]));
    assert_eq!(run(&file.profile, &file.fixtures)[0].failures, failures, "{fixture}");
}

#[test]
fn a_fixture_fails_for_every_difference() {
    check("payload = '{\"l\":1,\"c\":1}'\nexpect = { level = 1, cover = \"open\" }", &[]);
    check(
        "payload = '{\"l\":1,\"c\":1}'\nexpect = { level = 1.1, cover = \"closed\" }",
        &["cover: expected \"closed\", found \"open\"", "level: expected 1.1 m, found 1 m"],
    );
    check(
        "payload = '{\"l\":1}'\nexpect = { cover = 1 }",
        &["cover: expected \"open\", found nothing"],
    );
    check("payload = '{\"l\":1}'\nmissing = [\"level\"]", &["level: expected nothing, found 1 m"]);
    check("payload = '{\"l\":9}'", &["level: expected quality good, found bad (9 m, sentinel)"]);
    check(
        "payload = '{\"l\":1}'\nbad = [\"level\"]",
        &["level: expected quality bad, found good (1 m)"],
    );
    check(
        "payload = '{\"c\":1}'\nuncertain = [\"level\"]",
        &["level: expected quality uncertain, found nothing"],
    );
    check(
        "payload = '{\"l\":4}'",
        &[
            "alerts: level.high was not expected",
            "alerts: level.steps was not expected",
            "pending: level.slow was not expected",
        ],
    );
    check("payload = '{\"l\":2.2,\"c\":1}'\nalerts = [\"level.high\", \"both\"]", &[]);
    check(
        "payload = '{\"l\":5.5}'\nalerts = [\"level.high\", \"level.steps:info\", \"both\"]\npending = [\"level.slow\"]",
        &["alerts: level.steps is major, not info", "alerts: both is not there"],
    );
    check(
        "payload = '{\"l\":1}'\nalerts = [\"level.high\"]\npending = [\"level.slow\"]",
        &["alerts: level.high is not there", "pending: level.slow is not there"],
    );
    check(
        "payload = '{\"l\":1,\"ts\":5}'\ntime = 1970-01-01T00:00:06Z"
            .replace("= 1970-01-01T00:00:06Z", "= \"1970-01-01T00:00:06Z\"")
            .as_str(),
        &["expected the time 1970-01-01T00:00:06Z, found 1970-01-01T00:00:05Z"],
    );
    check(
        "payload = '{\"l\":1}'\nerror = \"not_json\"",
        &["expected an error with `not_json`, but it decodes"],
    );
    check("payload = '{'\nerror = \"not_json\"", &[]);
    check(
        "payload = '{}'\nerror = \"bad_time\"",
        &[
            "expected an error with `bad_time`, found no_point: none of the profile's points is in the payload",
        ],
    );
    check(
        "payload = '{}'",
        &["does not decode (no_point): none of the profile's points is in the payload"],
    );
}

#[test]
fn the_command_line_reports_files_and_fixtures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    let paths = [folder.path().to_owned()];
    assert_eq!(
        super::check(&paths, Manner::default()),
        Report { text: "no *.toml file there\n".to_owned(), ok: false }
    );
    write("a.toml", &format!("{PROFILE}payload = '{{\"l\":1}}'\nexpect = {{ level = 1 }}\n"));
    let report = super::check(&paths, Manner::default());
    assert!(
        report.ok && report.text.ends_with("ok      p: 2 points, 1 tests\n"),
        "{}",
        report.text
    );
    let strict = Manner { is_strict: true, is_json: true };
    let report = super::check(&paths, strict);
    let found: serde_json::Value = serde_json::from_str(&report.text).expect("JSON");
    assert!(!report.ok && found["ok"] == false, "{found:#}");
    let first = &found["findings"][0];
    assert_eq!((&first["severity"], &first["line"]), (&"warning".into(), &3.into()), "{found:#}");
    let report = super::test(&paths, Manner::default());
    let notes: String = ["level.high", "level.steps", "level.slow", "both"]
        .map(|alert| format!("note    p: no test raises `{alert}`\n"))
        .concat();
    let expected = format!("ok      p: t (line 27)\n{notes}");
    assert!(report.ok && report.text.ends_with(&expected), "{}", report.text);
    write("b.toml", &format!("{PROFILE}payload = '{{\"l\":1}}'\nexpect = {{ level = 2 }}\n"));
    let report = super::test(&paths, Manner::default());
    assert!(!report.ok && report.text.contains("FAILED  p: t (line 27)\n"), "{}", report.text);
    write("b.toml", "nonsense");
    let report = super::check(&paths, Manner::default());
    assert!(!report.ok && report.text.contains("b.toml:1:"), "{}", report.text);
}
