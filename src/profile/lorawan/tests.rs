//! Profiles of LoRaWAN devices as files: what they may name, and what their codecs' values become.

use std::path::Path;

use super::*;
use crate::codec::CodecError;
use crate::profile::{Profile, check_file};

const PROFILE: &str = r#"
profile = 1
id = "p"
name = "p"
manufacturer = "m"
model = "m"
kind = "manhole"
[source.lorawan]
codec = "p.js"
ports = [2, 85]
[points.level]
label = "Level"
unit = "m"
read = { path = "/level" }
[points.rssi]
label = "Signal"
unit = "dB{mW}"
read = { path = "/rx/rssi" }
"#;

fn profile_in(folder: &Path, text: &str) -> Result<Profile, String> {
    let path = folder.join("p.toml");
    std::fs::write(&path, text).expect("written");
    check_file(&path).map_err(|errors| {
        errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ")
    })
}

fn profile(text: &str) -> Profile {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.js"), "function decodeUplink() {}").expect("written");
    profile_in(folder.path(), text).unwrap_or_else(|errors| panic!("{errors}"))
}

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

/// What the codec's `json` becomes, as `device time point=raw ...` for each report.
fn read(profile: &Profile, job: &Job, json: &str) -> Result<Vec<String>, DecodeError> {
    let source = profile.lorawan().expect("a LoRaWAN profile");
    let mut out = Decoded::default();
    let answer = Answer::Data { json: json.to_owned(), warnings: Vec::new() };
    source.finish(job, Ok(answer), &mut out)?;
    let show = |(report, readings): (&crate::profile::Report, &[crate::model::Reading])| {
        let device = report.device.as_deref().unwrap_or("-");
        let time = report.time.at().map_or("-".to_owned(), |time| time.to_string());
        let values = readings.iter().map(|reading| {
            format!(" {}={}", profile.points[usize::from(reading.point.0)].name, reading.raw)
        });
        format!("{device} {time}{}", values.collect::<String>())
    };
    Ok(out.reports().map(show).collect())
}

const UP: &[u8] = br#"{"deviceInfo":{"devEui":"70B3D57ED0001234"},"time":"2026-09-21T14:13:19Z",
    "fPort":2,"data":"AQI=","rxInfo":[{"rssi":-97,"snr":3.5}]}"#;

#[test]
fn an_uplink_becomes_a_report_of_the_device_that_its_envelope_names() {
    let profile = profile(PROFILE);
    let job = profile.lorawan().expect("LoRaWAN").job(UP, AT).expect("an uplink");
    assert_eq!((job.port, &*job.input), (2, &[1, 2][..]));
    let found = read(&profile, &job, r#"{"level":1.5}"#);
    assert_eq!(found, Ok(vec!["70b3d57ed0001234 2026-09-21T14:13:19Z level=1.5 rssi=-97".into()]));
    let found = read(&profile, &job, "{}");
    assert_eq!(found, Ok(vec!["70b3d57ed0001234 2026-09-21T14:13:19Z rssi=-97".into()]));
    let found = read(&profile, &job, r#"{"level":"high"}"#);
    assert_eq!(found.map_err(|error| error.reason()), Err("wrong_type"));
    let mut out = Decoded::default();
    let source = profile.lorawan().expect("LoRaWAN");
    let refused = source.finish(&job, Err(CodecError::Refused("too short".to_owned())), &mut out);
    let error = refused.expect_err("no values");
    assert_eq!(error.reason(), "codec_error");
    assert_eq!(error.to_string(), "the codec says: too short");
    assert!(out.is_empty());
}

#[test]
fn a_frame_of_another_port_is_not_the_profiles() {
    let profile = profile(PROFILE);
    let source = profile.lorawan().expect("LoRaWAN");
    let error = source.frame(3, &[], AT).expect_err("another port");
    assert_eq!(error.to_string(), "a frame of port 3; the profile reads 2, 85");
    assert!(source.frame(85, &[], AT).is_ok());
    assert_eq!(source.topics.len(), 2);
    assert_eq!(
        source.topics.iter().find_map(|t| t.device_in("application/x/device/70b3/event/up")),
        Some("70b3")
    );
}

#[test]
fn a_payload_may_be_the_frame_itself() {
    let profile = profile(&PROFILE.replace("codec = ", "envelope = \"raw\"\ncodec = "));
    let job = profile.lorawan().expect("LoRaWAN").job(&[7, 8], AT).expect("a frame");
    assert_eq!((job.port, &*job.input, job.device.as_deref()), (2, &[7, 8][..], None));
    assert_eq!(read(&profile, &job, r#"{"level":1}"#), Ok(vec!["- - level=1".into()]));
    let found = read(&profile, &job, r#"{"other":1}"#);
    assert_eq!(found, Err(DecodeError::NoPoint));
}

#[test]
fn a_logger_sends_what_was_before() {
    let keys = "each = \"/log\"\ntime = { path = \"/t\", format = \"unix_s\", optional = true }\n";
    let profile = profile(&PROFILE.replace("codec = ", &format!("{keys}codec = ")));
    let job = profile.lorawan().expect("LoRaWAN").frame(2, &[], AT).expect("a frame");
    let json = r#"{"log":[{"t":1,"level":1},{"t":2,"level":2}],"t":3,"level":3}"#;
    let expected = [
        "- 1970-01-01T00:00:01Z level=1",
        "- 1970-01-01T00:00:02Z level=2",
        "- 1970-01-01T00:00:03Z level=3",
    ];
    assert_eq!(read(&profile, &job, json), Ok(expected.map(str::to_owned).to_vec()));
    let found = read(&profile, &job, r#"{"log":[{"t":1,"level":1}],"battery":3}"#);
    assert_eq!(found, Ok(vec![expected[0].to_owned()]));
    assert_eq!(read(&profile, &job, r#"{"log":[]}"#), Err(DecodeError::NoPoint));
    let found = read(&profile, &job, r#"{"log":7,"level":1}"#);
    assert_eq!(found.map_err(|error| error.reason()), Err("wrong_type"));
}

#[test]
fn a_codec_is_a_file_beside_its_profile() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    };
    std::fs::create_dir(folder.path().join("codecs")).expect("a folder");
    write("codecs/p.js", b"\xEF\xBB\xBFvar x");
    write("latin.js", b"\xff");
    write("large.js", &vec![b' '; crate::codec::MAX_SOURCE_BYTES + 1]);
    let check = |name: &str, expected: &str| {
        let text = PROFILE.replace("\"p.js\"", &format!("{name:?}"));
        let found = profile_in(folder.path(), &text);
        match found {
            Ok(profile) => {
                assert_eq!(expected, "");
                assert_eq!(profile.lorawan().expect("LoRaWAN").codec.source(), "var x");
            }
            Err(errors) => assert_eq!(errors, expected, "{name}"),
        }
    };
    check("codecs/p.js", "");
    for name in ["../p.js", "/etc/passwd", "codecs/../../p.js", ""] {
        let message = format!("`{name}` is not a file beside the profile or in a folder below it");
        check(name, &message);
    }
    check("codecs", "codec `codecs`: no plain file");
    check("nowhere.js", "codec `nowhere.js`: No such file or directory (os error 2)");
    check("latin.js", "codec `latin.js`: not UTF-8 from byte 0 on");
    check("large.js", "codec `large.js`: larger than 512 KiB");
}

#[test]
fn what_the_source_says_wrong_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.js"), "").expect("written");
    let check = |from: &str, to: &str, expected: &str| {
        let text = PROFILE.replace(from, to);
        let errors = profile_in(folder.path(), &text).expect_err(to);
        assert_eq!(errors, expected);
    };
    check(
        "[2, 85]",
        "[0, 224]",
        "0 is no port between 1 and 223; 224 is no port between 1 and 223",
    );
    check("codec = \"p.js\"", "", "`codec` is missing");
    check("codec =", "envelope = \"ttn\"\ncodec =", "unknown envelope `ttn`");
    check(
        "[points.level]",
        "[source.mqtt]\n[points.level]",
        "a profile has one source, mqtt, modbus or lorawan",
    );
    let test = format!("{PROFILE}[[test]]\nname = \"t\"\nhex = \"A\"\n");
    let errors = profile_in(folder.path(), &test).expect_err("half a byte");
    assert_eq!(errors, "hexadecimal digits in pairs, for example \"A5 01\"");
}
