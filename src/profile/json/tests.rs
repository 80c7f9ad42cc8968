//! Payloads in, readings or a reason out.

use proptest::prelude::*;

use super::*;
use crate::model::Timestamp;
use crate::profile::TimeFormat;
use crate::profile::value::MAX_SHOWN;

const TIME: Timestamp = Timestamp::from_millis(1_790_000_000_123);

/// What is left of a message that said its time.
fn used() -> Decoded {
    let mut out = Decoded::default();
    out.begin(None, DeviceTime::At(TIME));
    out
}

fn time(out: &Decoded) -> Option<Timestamp> {
    out.reports().find_map(|(report, _)| report.time.at())
}

fn time_sink(format: TimeFormat) -> Sink {
    Sink::Time(format.reader().expect("a format without a zone"))
}

fn point(index: u16) -> Sink {
    Sink::Point { point: PointIndex(index), states: [].into() }
}

/// The pointers become points 0, 1, 2 ... in their order.
fn decoder(pointers: &[&str]) -> JsonDecoder {
    let mut decoder = JsonDecoder::default();
    for (i, pointer) in pointers.iter().enumerate() {
        decoder.add(pointer, point(i as u16)).expect("a good pointer");
    }
    decoder
}

fn decode(decoder: &JsonDecoder, payload: &str) -> Result<Vec<(u16, f64)>, DecodeError> {
    let mut out = Decoded::default();
    decoder.decode(payload.as_bytes(), &mut out)?;
    Ok(out.readings().iter().map(|reading| (reading.point.0, reading.raw)).collect())
}

#[track_caller]
fn check(pointers: &[&str], payload: &str, expected: &[(u16, f64)]) {
    assert_eq!(decode(&decoder(pointers), payload).as_deref(), Ok(expected), "{payload}");
}

#[track_caller]
fn check_refused(pointers: &[&str], payload: &str, reason: &str, words: &str) {
    let mut out = used();
    let error = decoder(pointers).decode(payload.as_bytes(), &mut out).expect_err(payload);
    assert_eq!(error.reason(), reason, "{payload}: {error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(out.is_empty() && time(&out).is_none(), "all or nothing: {payload}");
}

#[test]
fn values_are_found_wherever_they_stand() {
    let pointers = ["/level_mm", "/gas/ch4", "/gas/h2s", "/cover"];
    let payload =
        r#"{"x":[{"level_mm":9}],"level_mm":1243,"gas":{"h2s":0.4,"ch4":2e0},"cover":true}"#;
    check(&pointers, payload, &[(0, 1243.0), (2, 0.4), (1, 2.0), (3, 1.0)]);
    check(&pointers, r#"{"gas":{"ch4":-7}}"#, &[(1, -7.0)]);
    check(&[""], " 42.5 ", &[(0, 42.5)]);
    check(&["/a"], r#"{"a":18446744073709551615}"#, &[(0, 18_446_744_073_709_551_615.0)]);
    check(&["/a"], r#"{"a":"-1.5e1"}"#, &[(0, -15.0)]);
}

#[test]
fn pointers_follow_rfc_6901() {
    check(&["/0/v", "/2"], r#"[{"v":1},{"v":2},3,4]"#, &[(0, 1.0), (1, 3.0)]);
    check(&["/0"], r#"{"0":5}"#, &[(0, 5.0)]);
    check(&["/a~1b/m~0n", "/ "], r#"{"a/b":{"m~n":1}," ":2}"#, &[(0, 1.0), (1, 2.0)]);
    check(&["/", "/é"], r#"{"":1,"\u00e9":2}"#, &[(0, 1.0), (1, 2.0)]);
    check(&["/01", "/1"], r#"[8,9]"#, &[(1, 9.0)]);
    let mut decoder = JsonDecoder::default();
    assert!(matches!(decoder.add("/a~2", point(0)), Err(PointerError::BadEscape)));
    let error = decoder.add("$.gas.ch4[0]", point(0)).expect_err("no pointer");
    assert!(error.to_string().ends_with("for example /gas/ch4/0"), "{error}");
}

#[test]
fn a_pointer_may_not_read_inside_anothers_value() {
    let mut decoder = decoder(&["/a/b"]);
    let nested = |outer: &str, inner: &str| Err(super::nested(outer, inner));
    assert_eq!(decoder.add("/a", point(1)), nested("/a", "/a/b"));
    assert_eq!(decoder.add("/a/b/c", point(1)), nested("/a/b", "/a/b/c"));
    assert_eq!(decoder.add("/a/b", point(1)), Ok(()));
    assert_eq!(decode(&decoder, r#"{"a":{"b":3}}"#), Ok(vec![(0, 3.0), (1, 3.0)]));
}

#[test]
fn what_is_not_there_is_absent_and_null_is_no_value() {
    check(&["/a", "/b/c"], r#"{"a":1,"b":null}"#, &[(0, 1.0)]);
    check(&["/a", "/b/c"], r#"{"a":1,"b":[7]}"#, &[(0, 1.0)]);
    let readings = decode(&decoder(&["/a"]), r#"{"a":null}"#).expect("decodes");
    assert!(matches!(readings[..], [(0, raw)] if raw.is_nan()));
    check_refused(&["/a"], "{}", "no_point", "none");
    check_refused(&["/a/b"], r#"{"a":5}"#, "no_point", "none");
}

#[test]
fn the_last_of_a_doubled_member_counts() {
    check(&["/a", "/b"], r#"{"a":1,"b":2,"a":3}"#, &[(1, 2.0), (0, 3.0)]);
    check(&["/g/a", "/g/b"], r#"{"g":{"a":1,"b":2},"g":{"b":3}}"#, &[(1, 3.0)]);
    let mut decoder = decoder(&["/a"]);
    decoder.add("/t", time_sink(TimeFormat::UnixS)).expect("a good pointer");
    let mut out = Decoded::default();
    decoder.decode(br#"{"a":1,"t":5,"t":null}"#, &mut out).expect("decodes");
    assert_eq!(time(&out), None);
}

#[test]
fn a_refusal_says_what_stands_there() {
    check_refused(&["/a"], r#"{"a":1} x"#, "not_json", "trailing");
    check_refused(&["/a"], r#"{"a":1"#, "not_json", "EOF");
    check_refused(&["/a"], "", "not_json", "EOF");
    check_refused(&["/a"], r#"{"a":1e999}"#, "not_json", "out of range");
    check_refused(&["/a"], r#"{"b":0,"a":[1]}"#, "wrong_type", "/a is an array; expected a number");
    check_refused(&["/a"], r#"{"a":{}}"#, "wrong_type", "/a is an object");
    check_refused(&["/b", "/a"], r#"{"b":0,"a":"inf"}"#, "wrong_type", r#"the text "inf""#);
    let long = format!(r#"{{"a":"{}"}}"#, "井".repeat(500));
    check_refused(&["/a"], &long, "wrong_type", &format!("{:?}...", "井".repeat(MAX_SHOWN)));
    // Depth costs nothing: what no pointer leads into is skipped without recursion.
    let deep = "[".repeat(100_000);
    check_refused(&["/a"], &deep, "not_json", "EOF");
    check_refused(&["/a"], "{\"\u{feff}a\"}", "not_json", "expected `:`");
    let mut out = Decoded::default();
    let error = decoder(&["/a"]).decode(b"{\"a\":\"\xff\"}", &mut out).expect_err("not UTF-8");
    assert_eq!(error.reason(), "not_json");
}

#[test]
fn a_text_may_name_a_state() {
    let mut decoder = JsonDecoder::default();
    let states = [("closed".to_owned(), 0.0), ("open".to_owned(), 1.0)].into();
    decoder.add("/cover", Sink::Point { point: PointIndex(0), states }).expect("a good pointer");
    assert_eq!(decode(&decoder, r#"{"cover":"open"}"#), Ok(vec![(0, 1.0)]));
    assert_eq!(decode(&decoder, r#"{"cover":"7"}"#), Ok(vec![(0, 7.0)]));
    let error = decode(&decoder, r#"{"cover":"ajar"}"#).expect_err("no state");
    let words = r#"/cover is the text "ajar"; expected a number or one of closed, open"#;
    assert_eq!(error.to_string(), words);
}

#[test]
fn times_in_every_format() {
    #[track_caller]
    fn check(format: TimeFormat, value: &str, expected: Option<Timestamp>) {
        let mut decoder = decoder(&["/v"]);
        decoder.add("/t", time_sink(format)).expect("a good pointer");
        let mut out = Decoded::default();
        let result = decoder.decode(format!(r#"{{"t":{value},"v":1}}"#).as_bytes(), &mut out);
        assert_eq!((result, time(&out)), (Ok(()), expected), "{value}");
        assert_eq!(out.readings().len(), 1, "a time that cannot be read costs no reading: {value}");
    }
    let whole = Timestamp::from_secs(1_790_000_000);
    check(TimeFormat::UnixS, "1790000000", Some(whole));
    check(TimeFormat::UnixS, "1790000000.123", Some(TIME));
    check(TimeFormat::UnixS, r#""1790000000""#, Some(whole));
    check(TimeFormat::UnixMs, "1790000000123", Some(TIME));
    check(TimeFormat::UnixMs, "1.790000000123e12", Some(TIME));
    check(TimeFormat::UnixUs, "1790000000123000", Some(TIME));
    check(TimeFormat::Rfc3339, r#""2026-09-21T22:13:20.123+08:00""#, Some(TIME));
    check(TimeFormat::UnixS, "-1", Some(Timestamp::from_secs(-1)));
    check(TimeFormat::UnixS, "true", None);
    check(TimeFormat::UnixS, "1e300", None);
    check(TimeFormat::UnixS, "9223372036854775807", None);
    check(TimeFormat::UnixUs, "9223372036854775808", None);
    check(TimeFormat::UnixMs, r#""soon""#, None);
    check(TimeFormat::Rfc3339, "1790000000", None);
    check(TimeFormat::Rfc3339, r#""2026-09-21 22:13""#, None);
}

/// A list of reports with the device `id`, the time `t` in seconds and the point `v`.
fn list(each: &str, named: Named) -> JsonDecoder {
    let mut decoder = JsonDecoder::of_list();
    decoder.add("/t", time_sink(TimeFormat::UnixS)).expect("a good pointer");
    decoder.add("/id", Sink::Device).expect("a good pointer");
    decoder.add("/v", point(0)).expect("a good pointer");
    decoder.name_devices(named);
    decoder.read_each(each).expect("a good pointer");
    decoder
}

/// Each report as device, time in seconds (`?` when it cannot be read) and values.
fn reports(out: &Decoded) -> Vec<String> {
    let show = |(report, readings): (&crate::profile::Report, &[Reading])| {
        let time = report
            .time
            .at()
            .map_or("?".to_owned(), |time| (time.as_micros() / 1_000_000).to_string());
        let values: Vec<_> = readings.iter().map(|reading| reading.raw.to_string()).collect();
        format!("{} {time} {}", report.device.as_deref().unwrap_or("-"), values.join(","))
    };
    out.reports().map(show).collect()
}

#[track_caller]
fn check_list(decoder: &JsonDecoder, payload: &str, expected: &[&str]) {
    let mut out = used();
    assert_eq!(decoder.decode(payload.as_bytes(), &mut out), Ok(()), "{payload}");
    assert_eq!(reports(&out), expected, "{payload}");
}

#[test]
fn a_list_holds_a_report_of_each_device() {
    let decoder = list("/gw/readings", Named::Always);
    let two = r#"{"x":[{"v":9}],"gw":{"readings":[{"id":"a","t":5,"v":1},{"v":2,"id":17,"t":6}]}}"#;
    check_list(&decoder, two, &["a 5 1", "17 6 2"]);
    let only = r#"{"gw":{"readings":{"id":"a","t":5,"v":1}}}"#;
    check_list(&decoder, only, &["a 5 1"]);
    let newest_first = r#"{"gw":{"readings":[{"id":"a","t":6,"v":2},{"id":"a","t":5,"v":1}]}}"#;
    check_list(&decoder, newest_first, &["a 5 1", "a 6 2"]);
    let doubled =
        r#"{"gw":{"readings":[{"id":"a","t":5,"v":1}],"readings":[{"id":"b","t":5,"v":2}]}}"#;
    check_list(&decoder, doubled, &["b 5 2"]);
    let strangers =
        r#"{"gw":{"readings":[{"fw":1},7,null,{"id":"a","v":1,"t":"soon"},[],{"id":"c"}]}}"#;
    check_list(&decoder, strangers, &["a ? 1"]);
    let decoder = list("", Named::Sometimes);
    check_list(&decoder, r#"[{"v":1,"t":5},{"id":null,"v":2,"t":6}]"#, &["- 5 1", "- 6 2"]);
}

#[test]
fn what_stands_once_beside_a_list_is_said_of_all() {
    let mut decoder = JsonDecoder::of_list();
    let reader = TimeFormat::UnixS.reader().expect("no zone");
    decoder.add("/t", Sink::TimeOfAll(reader)).expect("a good pointer");
    decoder.add("/id", Sink::DeviceOfAll).expect("a good pointer");
    decoder.add("/v", point(0)).expect("a good pointer");
    decoder.name_devices(Named::Always);
    decoder.read_each("/rows").expect("a good pointer");
    check_list(&decoder, r#"{"rows":[{"v":1},{"v":2}],"t":5,"id":"a"}"#, &["a 5 1", "a 5 2"]);
    assert!(decoder.add("/rows/0", point(1)).is_err(), "the list is closed");
}

#[test]
fn a_refused_list_says_which_element() {
    #[track_caller]
    fn check(payload: &str, reason: &str, words: &str) {
        let mut out = used();
        let error =
            list("/r", Named::Always).decode(payload.as_bytes(), &mut out).expect_err(payload);
        assert!(error.reason() == reason && error.to_string().contains(words), "{error}");
        assert!(out.is_empty() && out.reports().len() == 0, "all or nothing: {payload}");
    }
    let good = r#"{"id":"a","t":5,"v":1}"#;
    check(&format!(r#"{{"r":[{good},{{"id":"b","v":[]}}]}}"#), "wrong_type", "/r/1/v is an array");
    check(&format!(r#"{{"r":[{good},{{"id":true,"v":1}}]}}"#), "no_device", "/r/1/id does not");
    check(&format!(r#"{{"r":[{good},{{"v":1}}]}}"#), "no_device", "report 1 does not name");
    check(r#"{"r":[]}"#, "no_point", "none");
    check(r#"{"r":7}"#, "no_point", "none");
    check(&format!(r#"{{"r":[{good},"#), "not_json", "EOF");
    let many = format!(r#"{{"r":[{}]}}"#, vec![good; 5_000].join(","));
    check(&many, "too_many", "at most 4096 reports");
    // What holds nothing costs nothing.
    check(&format!(r#"{{"r":[{}]}}"#, vec!["{}"; 100_000].join(",")), "no_point", "none");
}

#[test]
fn a_time_that_is_left_out_is_a_doubt_unless_the_profile_allows_it() {
    let mut decoder = decoder(&["/v"]);
    decoder.add("/t", time_sink(TimeFormat::Rfc3339)).expect("a good pointer");
    for (payload, is_allowed, expected) in [
        (r#"{"t":null,"v":1}"#, false, DeviceTime::Unreadable),
        (r#"{"v":1}"#, false, DeviceTime::Unreadable),
        (r#"{"t":null,"v":1}"#, true, DeviceTime::Unsaid),
        (r#"{"v":1}"#, true, DeviceTime::Unsaid),
        (r#"{"t":"soon","v":1}"#, true, DeviceTime::Unreadable),
    ] {
        if is_allowed {
            decoder.allow_untimed();
        }
        let mut out = used();
        assert_eq!(decoder.decode(payload.as_bytes(), &mut out), Ok(()));
        let found: Vec<_> = out.reports().map(|(report, _)| report.time).collect();
        assert_eq!(found, [expected], "{payload}");
    }
}

/// A JSON tree and the numbers in it by their pointers.
fn tree() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof!["[a-c~/0-2\\\\ü]{0,3}", "[a-z]{1,8}"];
    let leaf = prop_oneof![
        any::<i64>().prop_map(serde_json::Value::from),
        (-1e15..1e15).prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..5).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(key.clone(), inner, 1..6)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn numbers(value: &serde_json::Value, at: &str, found: &mut Vec<(String, f64)>) {
    match value {
        serde_json::Value::Object(members) => members.iter().for_each(|(key, inner)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            numbers(inner, &format!("{at}/{key}"), found);
        }),
        serde_json::Value::Array(elements) => elements
            .iter()
            .enumerate()
            .for_each(|(i, inner)| numbers(inner, &format!("{at}/{i}"), found)),
        number => found.push((at.to_owned(), number.as_f64().expect("a number"))),
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(value in tree(), keep in any::<u64>()) {
        let mut found = Vec::new();
        numbers(&value, "", &mut found);
        let read: Vec<_> = found
            .into_iter()
            .enumerate()
            .filter(|(i, _)| keep >> (i % 64) & 1 == 1)
            .map(|(_, number)| number)
            .collect();
        let pointers: Vec<_> = read.iter().map(|(pointer, _)| pointer.as_str()).collect();
        let result = decode(&decoder(&pointers), &value.to_string());
        if read.is_empty() {
            prop_assert_eq!(result, Err(DecodeError::NoPoint));
        } else {
            let mut readings = result.expect("decodes");
            readings.sort_by_key(|(point, _)| *point);
            prop_assert_eq!(readings.len(), read.len());
            for ((_, raw), (pointer, number)) in readings.into_iter().zip(&read) {
                // serde_json's fast number parser may be off by the last bit.
                let tolerance = number.abs() * f64::EPSILON;
                prop_assert!((raw - number).abs() <= tolerance, "{} {} {}", pointer, raw, number);
            }
        }
    }

    #[test]
    fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut out = Decoded::default();
        let result = decoder(&["/a", "/0"]).decode(&payload, &mut out);
        prop_assert_eq!(result.is_err(), out.is_empty());
    }

    #[test]
    fn no_list_crashes_it(payload in r#"[\[\]{}:,"idtv0-9nul]{0,60}"#) {
        let mut out = Decoded::default();
        let result = list("", Named::Sometimes).decode(payload.as_bytes(), &mut out);
        prop_assert_eq!(result.is_err(), out.is_empty());
    }

    #[test]
    fn no_text_like_json_crashes_it(payload in r#"[\[\]{}:,"a0-9.e\\nul-]{0,40}"#) {
        let mut out = Decoded::default();
        let result = decoder(&["/a", "/0"]).decode(payload.as_bytes(), &mut out);
        prop_assert_eq!(result.is_err(), out.is_empty());
    }
}

/// Prints the cost of one message; run with `cargo test --release -- --ignored --nocapture cost_of`.
#[test]
#[ignore = "measures, proves nothing"]
fn cost_of_a_message() {
    let mut decoder = JsonDecoder::default();
    decoder.add("/ts", time_sink(TimeFormat::UnixMs)).expect("a good pointer");
    for (i, pointer) in ["/level_mm", "/gas/ch4", "/bat"].into_iter().enumerate() {
        decoder.add(pointer, point(i as u16)).expect("a good pointer");
    }
    let payload = br#"{"ts":1790000000123,"level_mm":1243,"gas":{"ch4":2.25,"h2s":0.4},"seq":123456,"fw":"1.4","bat":3.61}"#;
    let mut out = Decoded::default();
    let batch = 10_000;
    let best = (0..100)
        .map(|_| {
            let started = std::time::Instant::now();
            for _ in 0..batch {
                decoder.decode(std::hint::black_box(payload), &mut out).expect("decodes");
                std::hint::black_box(&out);
            }
            started.elapsed().as_nanos() / batch
        })
        .min();
    println!("{} bytes, {} readings + time: {best:?} ns", payload.len(), out.readings().len());
}
