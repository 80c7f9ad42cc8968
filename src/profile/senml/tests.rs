//! The examples of RFC 8428, and what must not get through.

use proptest::prelude::*;

use super::*;
use crate::model::PointIndex;
use crate::profile::payload::{Decoder, Memory, Message};
use crate::profile::testing::shown;

/// The points 0, 1, 2 ... read these names; `+name` reads its sum, `name=unit` its unit too.
fn decoder(names: &[&str], device: Option<&str>) -> Decoder {
    let mut decoder = SenmlDecoder::new(device.map(|text| text.parse().expect("a pattern")));
    for (i, name) in names.iter().enumerate() {
        let (name, unit) = name.split_once('=').map_or((*name, None), |(n, u)| (n, Some(u.into())));
        let is_sum = name.starts_with('+');
        let states = [("open".to_owned(), 1.0)].into();
        let target = Target { point: PointIndex(i as u16), states };
        decoder.add(name.trim_start_matches('+'), Slot { target, is_sum, unit });
    }
    Decoder::Senml(decoder)
}

fn decode(decoder: &Decoder, payload: &str) -> Result<Vec<String>, DecodeError> {
    let mut out = Decoded::default();
    let message = Message { topic: "", payload: payload.as_bytes() };
    let result = decoder.decode(message, &Memory::default(), &mut out);
    assert_eq!(result.is_err(), out.is_empty(), "all or nothing: {payload}");
    result.map(|()| shown(&out))
}

#[track_caller]
fn check(names: &[&str], payload: &str, expected: &[&str]) {
    assert_eq!(decode(&decoder(names, None), payload).expect(payload), expected, "{payload}");
}

#[track_caller]
fn check_refused(names: &[&str], payload: &str, reason: &str, words: &str) {
    let error = decode(&decoder(names, Some("urn:dev:ow:{device}:")), payload).expect_err(payload);
    assert!(error.reason() == reason && error.to_string().contains(words), "{payload}: {error}");
}

#[test]
fn the_examples_of_rfc_8428_resolve() {
    // Section 5.1.1: one record, whose full name ends with what is measured; no time is now.
    let single = r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#;
    check(&["10e2073a01080063"], single, &["- now 0=23.1"]);
    // Section 5.1.2: two values of one time.
    let multiple = r#"[
        {"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
        {"n":"current","u":"A","v":1.2}]"#;
    check(&["voltage", "current"], multiple, &["- now 0=120.1 1=1.2"]);
    // Section 5.1.2, with base values and times relative to the base time: one report for each time, oldest first.
    let times = r#"[
        {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,
         "n":"voltage","u":"V","v":120.1},
        {"n":"current","t":-5,"v":1.2},
        {"n":"current","t":-4,"v":1.3},
        {"n":"current","v":1.7}]"#;
    check(
        &["voltage=V", "current=A"],
        times,
        &[
            "- 2010-06-08T18:01:11.001Z 1=1.2",
            "- 2010-06-08T18:01:12.001Z 1=1.3",
            "- 2010-06-08T18:01:16.001Z 0=120.1",
            "- 2010-06-08T18:01:16.001Z 1=1.7",
        ]
        .map(|line| line),
    );
}

#[test]
fn a_device_without_a_clock_says_how_long_ago() {
    // Section 4.5.3: below 2^28 s a time is relative to now.
    let payload = r#"[{"bn":"d/","n":"v","t":-10,"v":1},{"n":"v","v":2},{"n":"v","t":0.5,"v":3}]"#;
    check(&["v"], payload, &["- -10s 0=1", "- now 0=2", "- 0.5s 0=3"]);
    check(&["v"], r#"[{"n":"v","t":268435456,"v":1}]"#, &["- 1978-07-04T21:24:16Z 0=1"]);
    check(&["v"], r#"[{"n":"v","t":268435455,"v":1}]"#, &["- 268435455s 0=1"]);
    check(&["v"], r#"[{"n":"v","t":1e300,"v":1}]"#, &["- ? 0=1"]);
    check(&["v"], r#"[{"n":"v","t":-1e300,"v":1}]"#, &["- ? 0=1"]);
}

#[test]
fn base_values_and_sums_are_added() {
    let payload = r#"[{"bn":"m:","bv":20,"bs":100,"n":"a","v":1.5},{"n":"b","v":-1,"s":5},{"n":"c","vb":true}]"#;
    check(&["a", "b", "+b", "c", "+a"], payload, &["- now 0=21.5 4=100 1=19 2=105 3=1"]);
    check(&["+a"], r#"[{"n":"a","s":7.5}]"#, &["- now 0=7.5"]);
    check(&["a", "b"], r#"[{"n":"a","vs":"open"},{"n":"b","vs":"2.5"}]"#, &["- now 0=1 1=2.5"]);
}

#[test]
fn a_name_is_found_at_the_end_of_the_full_name() {
    // The same full name, split in three ways.
    for payload in [
        r#"[{"bn":"urn:dev:mac:0024befffe804ff1/","n":"level","v":1}]"#,
        r#"[{"n":"urn:dev:mac:0024befffe804ff1/level","v":1}]"#,
        r#"[{"bn":"urn:dev:mac:0024befffe804ff1/le","n":"vel","v":1}]"#,
    ] {
        check(&["level"], payload, &["- now 0=1"]);
    }
    check(&["level", "water_level"], r#"[{"n":"water_level","v":1}]"#, &["- now 1=1"]);
    check(&["b", "a:b"], r#"[{"n":"x:a:b","v":1}]"#, &["- now 1=1"]);
    check(&[""], r#"[{"bn":"urn:dev:ow:1","v":1}]"#, &["- now 0=1"]);
    check(&["位"], r#"[{"bn":"水","n":"位","v":1}]"#, &["- now 0=1"]);
}

#[test]
fn base_names_name_devices() {
    let decoder = decoder(&["t"], Some("urn:dev:ow:{device}:"));
    let payload = r#"[{"bn":"urn:dev:ow:a1:","bt":1790000000,"n":"t","v":1},
        {"bn":"urn:dev:ow:b2:","n":"t","v":2},{"bn":"","n":"t","v":3},{"bn":"urn:dev:ow:c3","n":"t","v":4}]"#;
    let time = "2026-09-21T14:13:20Z";
    let expected = [
        format!("a1 {time} 0=1"),
        format!("b2 {time} 0=2"),
        format!("- {time} 0=3"),
        format!("c3 {time} 0=4"),
    ];
    assert_eq!(decode(&decoder, payload).expect("decodes"), expected);
    for (text, is_good) in [("{device}", true), ("a", false), ("{device}{device}", false)] {
        assert_eq!(text.parse::<NamePattern>().is_ok(), is_good, "{text}");
    }
}

#[test]
fn a_refusal_says_which_record() {
    let good = r#"{"n":"a","v":1}"#;
    check_refused(&["a"], "{}", "not_senml", "expected an array of records");
    check_refused(&["a"], &format!("[{good}] x"), "not_senml", "trailing");
    check_refused(
        &["a"],
        &format!("[{good},{{\"n\":\"a\",\"v\":\"1\"}}]"),
        "not_senml",
        "invalid type",
    );
    check_refused(&["a"], r#"[{"n":"a","v":1,"vb":true}]"#, "not_senml", "one of v, vb, vs and vd");
    check_refused(&["a"], r#"[{"n":"a","v":1,"x_":5}]"#, "not_senml", "`x_` is not understood");
    check_refused(&["a"], r#"[{"bver":11,"n":"a","v":1}]"#, "not_senml", "version 11");
    check_refused(
        &["a"],
        &format!("[{good},{{\"n\":\"a\",\"vs\":\"x\"}}]"),
        "wrong_type",
        "record 1 (`a`) is the text \"x\"",
    );
    check_refused(&["a"], r#"[{"n":"a","vd":"aGk"}]"#, "wrong_type", "record 0");
    check_refused(
        &["a=m"],
        r#"[{"n":"a","u":"cm","v":1}]"#,
        "wrong_unit",
        "record 0 (`a`) is in cm; expected m",
    );
    check_refused(
        &["a"],
        r#"[{"bn":"x:","n":"a","v":1}]"#,
        "no_device",
        "`x:` is not like `urn:dev:ow:{device}:`",
    );
    check_refused(&["a"], r#"[{"n":"b","v":1}]"#, "no_point", "none");
    check_refused(&["a"], "[]", "no_point", "none");
    let many: Vec<_> = (1..5_000).map(|t| format!("{{\"n\":\"a\",\"v\":1,\"t\":{t}}}")).collect();
    check_refused(&["a"], &format!("[{}]", many.join(",")), "too_many", "4096 reports");
}

proptest! {
    #[test]
    fn no_text_like_senml_crashes_it(payload in r#"\[(\{("(bn|n|t|v|s|bt|vs|é)":("[a:/é]{0,3}"|-?[0-9]{1,3}),?){0,4}\},?){0,4}\]"#) {
        let _ = decode(&decoder(&["a", "+a", ""], Some("a{device}:")), &payload);
    }

    #[test]
    fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut out = Decoded::default();
        let message = Message { topic: "", payload: &payload };
        let result = decoder(&["a"], None).decode(message, &Memory::default(), &mut out);
        prop_assert_eq!(result.is_err(), out.is_empty());
    }

    /// Splitting names and times between base and record anew never changes what is said.
    #[test]
    fn base_fields_say_the_same_as_full_records(
        values in proptest::collection::vec((-1e6..1e6f64, 1_700_000_000i64..1_800_000_000), 1..6),
        base in 1_700_000_000i64..1_800_000_000,
    ) {
        let full: Vec<_> = values.iter()
            .map(|(v, t)| format!("{{\"n\":\"d:a\",\"t\":{t},\"v\":{v}}}")).collect();
        let split: Vec<_> = values.iter().enumerate().map(|(i, (v, t))| {
            let first = if i == 0 { format!("\"bn\":\"d:\",\"bt\":{base},") } else { String::new() };
            format!("{{{first}\"n\":\"a\",\"t\":{},\"v\":{v}}}", t - base)
        }).collect();
        let decoder = decoder(&["a"], None);
        let [full, split] = [full, split].map(|records| decode(&decoder, &format!("[{}]", records.join(","))));
        prop_assert_eq!(full, split);
    }
}
