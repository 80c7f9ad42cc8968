//! Lines in, reports or a reason out.

use proptest::prelude::*;

use super::*;
use crate::model::PointIndex;
use crate::profile::TimeFormat;
use crate::profile::payload::{Decoder, Memory, Message};
use crate::profile::testing::shown;

fn layout(separator: Separator) -> Layout {
    let no_value = vec!["NAN".into(), "--".into()];
    Layout { separator, assign: '=', comment: Some("#".into()), skip_lines: 0, no_value }
}

fn cell(text: &str) -> Cell {
    text.parse().map_or_else(|_| Cell::Key(text.to_owned()), Cell::Column)
}

/// Points 0, 1, 2 ... at these columns or keys; `t:` before the time (unix_s), `d:` before the device, `?` before a
/// point that may be missing.
fn decoder(layout: Layout, reads: &[&str]) -> TextDecoder {
    let mut decoder = TextDecoder::new(layout);
    let mut points = 0..;
    for read in reads {
        if let Some(time) = read.strip_prefix("t:") {
            let reader = TimeFormat::UnixS.reader().expect("no zone");
            decoder.add(cell(time), Purpose::Time(reader));
        } else if let Some(device) = read.strip_prefix("d:") {
            decoder.add(cell(device), Purpose::Device);
            decoder.name_devices(Named::Always);
        } else {
            let states = [("open".to_owned(), 1.0)].into();
            let target = Target { point: PointIndex(points.next().expect("endless")), states };
            let is_optional = read.starts_with('?');
            decoder.add(cell(read.trim_start_matches('?')), Purpose::Point { target, is_optional });
        }
    }
    decoder
}

fn decode(decoder: TextDecoder, payload: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut out = Decoded::default();
    let message = Message { topic: "", payload };
    let result = Decoder::Text(decoder).decode(message, &Memory::default(), &mut out);
    assert_eq!(result.is_err(), out.is_empty(), "all or nothing: {payload:?}");
    result.map(|()| shown(&out))
}

#[track_caller]
fn check(separator: Separator, reads: &[&str], text: &str, expected: &[&str]) {
    let found = decode(decoder(layout(separator), reads), text.as_bytes());
    assert_eq!(found.expect(text), expected, "{text}");
}

const COMMA: Separator = Separator::Sign(',');

#[test]
fn columns_are_counted_from_zero() {
    check(COMMA, &["0", "2"], "1.5, x ,-2\r\n", &["- now 0=1.5 1=-2"]);
    check(Separator::Sign(';'), &["1"], "a;7", &["- now 0=7"]);
    check(Separator::Sign('\t'), &["1"], "a\t7", &["- now 0=7"]);
    check(Separator::Spaces, &["0", "1"], "  1   2\t3 ", &["- now 0=1 1=2"]);
    check(COMMA, &["1"], "\u{feff}\"a,b\",\"7\"", &["- now 0=7"]);
    check(COMMA, &["0", "1"], "\"open\", \"2\" ", &["- now 0=1 1=2"]);
    check(COMMA, &["1"], "\"a \"\"b\"\", c\",7", &["- now 0=7"]);
    check(COMMA, &["1"], "\"a,7", &["- now 0=7"]);
}

#[test]
fn pairs_are_found_by_their_key() {
    check(Separator::Spaces, &["lvl", "bat"], "bat=3.6 lvl=1.2 x", &["- now 0=1.2 1=3.6"]);
    check(COMMA, &["lvl", "cover"], "lvl = 1 , cover=open, lvl=2", &["- now 0=2 1=1"]);
    check(Separator::Sign('&'), &["a", "b"], "a=1&c=7", &["- now 0=1"]);
    let colon = Layout { assign: ':', ..layout(Separator::Sign(';')) };
    let found = decode(decoder(colon, &["a"]), b"a:1;b:2");
    assert_eq!(found, Ok(vec!["- now 0=1".to_owned()]));
}

#[test]
fn every_line_is_a_report() {
    let text = "# site, level\n\n1790000060,a,2\n1790000000,a,1\n1790000000,b,3\n,b,4\nsoon,b,5\n";
    let expected = [
        "a 2026-09-21T14:13:20Z 0=1",
        "b 2026-09-21T14:13:20Z 0=3",
        "a 2026-09-21T14:14:20Z 0=2",
        "b ? 0=4",
        "b ? 0=5",
    ];
    check(COMMA, &["t:0", "d:1", "2"], text, &expected);
    let skipping = Layout { skip_lines: 2, ..layout(COMMA) };
    let found = decode(decoder(skipping, &["0"]), b"TOA5,x\nlevel\n7");
    assert_eq!(found, Ok(vec!["- now 0=7".to_owned()]));
}

#[test]
fn an_empty_cell_is_no_value() {
    check(COMMA, &["0", "1", "2", "3"], "1,,NAN,--", &["- now 0=1 1=NaN 2=NaN 3=NaN"]);
    check(COMMA, &["0", "?1"], "1", &["- now 0=1"]);
    check(COMMA, &["a"], "a=", &["- now 0=NaN"]);
}

#[test]
fn a_refusal_says_which_line() {
    #[track_caller]
    fn check(reads: &[&str], text: &[u8], reason: &str, words: &str) {
        let error = decode(decoder(layout(COMMA), reads), text).expect_err("refused");
        assert!(error.reason() == reason && error.to_string().contains(words), "{error}");
    }
    check(&["1"], b"1,2\n# x\n3", "too_few_columns", "line 3 has 1 columns; column 1 is read");
    let words = "line 2, column 0 is the text \"ajar\"; expected a number or one of open";
    check(&["0"], b"1\najar", "wrong_type", words);
    check(&["a"], b"a=x", "wrong_type", "line 1, key `a`");
    check(&["d:0", "1"], b"a,1\n,2", "no_device", "line 2 does not name its device");
    check(&["a"], b"b=1", "no_point", "none");
    check(&["0"], b"", "no_point", "none");
    check(&["0"], b"1\xff", "not_text", "byte 1 is no UTF-8");
    check(&["0"], "7\n".repeat(5_000).as_bytes(), "too_many", "4096 reports");
    let wide = vec!["7"; 60].join(",") + "\n";
    let reads: Vec<String> = (0..60).map(|column| column.to_string()).collect();
    let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
    check(&reads, wide.repeat(2_000).as_bytes(), "too_many", "65536 readings");
}

proptest! {
    #[test]
    fn no_text_crashes_it(payload in "[a-b=,\"#0-9\\n 井.-]{0,40}", spaces in any::<bool>(), keys in any::<bool>()) {
        let separator = if spaces { Separator::Spaces } else { COMMA };
        let reads: &[&str] = if keys { &["a", "t:b"] } else { &["0", "t:1", "?2"] };
        let _ = decode(decoder(layout(separator), reads), payload.as_bytes());
    }

    #[test]
    fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = decode(decoder(layout(COMMA), &["0"]), &payload);
    }
}
