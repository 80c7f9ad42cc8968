//! Frames, byte by byte.

use proptest::prelude::*;

use super::*;
use crate::model::PointIndex;
use crate::profile::TimeFormat;
use crate::profile::payload::{Decoder, Memory, Message, from_hex};
use crate::profile::testing::shown;

/// `byte type`, then what is not usual: `little`, `*length`, `bit:count`, `?`.
fn field(text: &str) -> PlacedField {
    let mut words = text.split(' ');
    let byte = words.next().and_then(|word| word.parse().ok()).expect("a byte");
    let word = words.next().expect("a type");
    let kind = FieldType::ALL.into_iter().find(|kind| kind.as_str() == word).expect("a type");
    let length = kind.size().unwrap_or(0);
    let mut field = Field { byte, kind, length, endian: Endian::Big, bits: None };
    let mut is_optional = false;
    for word in words {
        match (word, word.split_once(':')) {
            ("little", _) => field.endian = Endian::Little,
            ("?", _) => is_optional = true,
            (_, Some((bit, count))) => {
                field.bits = Some((bit.parse().expect("a bit"), count.parse().expect("a count")));
            }
            _ => field.length = word.trim_start_matches('*').parse().expect("a length"),
        }
    }
    let states = [("OPEN".to_owned(), 1.0), ("SHUT".to_owned(), 0.0)].into();
    PlacedField { field, target: Target { point: PointIndex(0), states }, is_optional }
}

fn decoder(fields: &[&str]) -> BinaryDecoder {
    let place = |(i, text): (usize, &&str)| {
        let mut placed = field(text);
        placed.target.point = PointIndex(i as u16);
        placed
    };
    BinaryDecoder {
        encoding: Encoding::Raw,
        length: Length::default(),
        constants: Vec::new(),
        fields: fields.iter().enumerate().map(place).collect(),
        time: None,
        untimed: DeviceTime::Unreadable,
    }
}

fn decode(decoder: BinaryDecoder, payload: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut out = Decoded::default();
    let message = Message { topic: "", payload };
    let result = Decoder::Binary(decoder).decode(message, &Memory::default(), &mut out);
    assert_eq!(result.is_err(), out.is_empty(), "all or nothing: {payload:?}");
    result.map(|()| shown(&out))
}

/// One field of a frame in hex.
#[track_caller]
fn check(text: &str, hex: &str, expected: &str) {
    let frame = from_hex(hex.as_bytes()).expect("hex");
    let found = decode(decoder(&[text]), &frame).expect(hex);
    assert_eq!(found, [format!("- now 0={expected}")], "{text} of {hex}");
}

#[track_caller]
fn check_refused(decoder: BinaryDecoder, hex: &str, reason: &str, words: &str) {
    let frame = from_hex(hex.as_bytes()).expect("hex");
    let error = decode(decoder, &frame).expect_err(hex);
    assert!(error.reason() == reason && error.to_string().contains(words), "{hex}: {error}");
}

#[test]
fn numbers_of_every_size_in_both_orders() {
    check("0 u8", "FE", "254");
    check("1 i8", "00 FE", "-2");
    check("0 u16", "01 02", "258");
    check("0 u16 little", "01 02", "513");
    check("0 i16", "FF FE", "-2");
    check("0 i16 little", "FE FF", "-2");
    check("0 u24", "01 00 00", "65536");
    check("0 i24 little", "FE FF FF", "-2");
    check("0 u32", "FF FF FF FF", "4294967295");
    check("0 i32", "80 00 00 00", "-2147483648");
    check("0 u64", "FF FF FF FF FF FF FF FF", "18446744073709552000");
    check("0 i64", "FF FF FF FF FF FF FF FF", "-1");
    check("0 u64 little", "07 00 00 00 00 00 00 00", "7");
    check("0 f32", "41 AC 00 00", "21.5");
    check("0 f32 little", "00 00 AC 41", "21.5");
    check("0 f64", "C0 35 80 00 00 00 00 00", "-21.5");
    check("0 f32", "7F C0 00 00", "NaN");
    check("0 f32", "FF 80 00 00", "NaN");
}

#[test]
fn bits_count_from_the_least_significant_of_the_number() {
    check("0 u8 0:1", "01", "1");
    check("0 u8 7:1", "80", "1");
    check("0 u8 2:3", "1C", "7");
    check("0 u16 4:8", "0F F0", "255");
    check("0 u16 little 4:8", "F0 0F", "255");
    check("0 i16 4:4", "00 80", "-8");
    check("0 u64 0:64", "00 00 00 00 00 00 00 05", "5");
    check("0 u64 63:1", "80 00 00 00 00 00 00 00", "1");
}

#[test]
fn digits_and_texts() {
    check("0 bcd *3", "12 34 56", "123456");
    check("0 bcd *3 little", "56 34 12", "123456");
    check("0 bcd *2", "FF FF", "NaN");
    check("0 text *6", "4F 50 45 4E 20 00", "1");
    check("1 text *4", "00 31 32 2E 35", "12.5");
    let words = "text at byte 0 is the text \"AJAR\"; expected a number or one of OPEN, SHUT";
    check_refused(decoder(&["0 text *4"]), "41 4A 41 52", "wrong_type", words);
    check_refused(decoder(&["0 text *2"]), "FF FE", "wrong_type", "text at byte 0");
}

#[test]
fn a_frame_is_as_long_as_the_profile_says() {
    let exactly =
        |least, most| BinaryDecoder { length: Length { least, most }, ..decoder(&["0 u8"]) };
    check_refused(exactly(Some(2), Some(2)), "01", "wrong_length", "has 1 bytes; expected 2");
    check_refused(exactly(Some(2), Some(3)), "01 02 03 04", "wrong_length", "expected 2 to 3");
    check_refused(exactly(Some(2), None), "01", "wrong_length", "expected at least 2");
    check_refused(exactly(None, Some(2)), "01 02 03", "wrong_length", "expected at most 2");
    let words = "the frame has 2 bytes; expected at least 3 for the u16 at byte 1";
    check_refused(decoder(&["0 u8", "1 u16"]), "01 02", "wrong_length", words);
    check_refused(decoder(&["0 u8"]), "", "wrong_length", "at least 1");
    let found = decode(decoder(&["0 u8", "1 u16 ?"]), &[1, 2]).expect("decodes");
    assert_eq!(found, ["- now 0=1"]);
    check_refused(decoder(&["1 u16 ?"]), "01", "no_point", "none");
}

#[test]
fn constants_are_what_the_profile_says() {
    let framed = || BinaryDecoder {
        constants: vec![(0, [0xA5, 0x5A].into()), (3, [0x16].into())],
        ..decoder(&["2 u8"])
    };
    assert_eq!(decode(framed(), &[0xA5, 0x5A, 7, 0x16]), Ok(vec!["- now 0=7".to_owned()]));
    check_refused(framed(), "A5 5B 07 16", "wrong_constant", "byte 0 begins A55B; expected A55A");
    check_refused(framed(), "A5 5A 07", "wrong_constant", "byte 3 begins ; expected 16");
    check_refused(framed(), "A5", "wrong_constant", "byte 0 begins A5; expected A55A");
}

#[test]
fn a_frame_says_its_time() {
    let timed = |text: &str, reader: TimeReader| BinaryDecoder {
        time: Some((field(text).field, reader)),
        ..decoder(&["0 u8"])
    };
    let unix = || TimeFormat::UnixS.reader().expect("no zone");
    let frame = from_hex(b"07 6A B1 3B 80").expect("hex");
    let time = "- 2026-09-21T14:13:20Z 0=7";
    assert_eq!(decode(timed("1 u32", unix()), &frame), Ok(vec![time.to_owned()]));
    assert_eq!(decode(timed("2 u32", unix()), &frame), Ok(vec!["- ? 0=7".to_owned()]));
    let local = crate::profile::time::LocalTime::new("%y%m%d%H%M%S", "Asia/Shanghai");
    let local = TimeReader::Local(local.expect("a pattern"));
    let frame = from_hex(b"07 26 09 21 22 13 20").expect("hex");
    assert_eq!(decode(timed("1 bcd *6", local), &frame), Ok(vec![time.to_owned()]));
}

proptest! {
    #[test]
    fn no_bytes_crash_it(payload in proptest::collection::vec(any::<u8>(), 0..24), byte in 0usize..30, kind in 0..14usize, bits in proptest::option::of((0u8..70, 0u8..70))) {
        let mut decoder = decoder(&["0 u8 ?"]);
        let kind = FieldType::ALL[kind];
        let length = kind.size().unwrap_or(5);
        decoder.fields[0].field = Field { byte, kind, length, endian: Endian::Little, bits };
        let _ = decode(decoder, &payload);
    }

    #[test]
    fn a_number_reads_as_it_was_written(number in any::<i64>(), small in any::<u32>()) {
        let found = decode(decoder(&["0 i64"]), &number.to_be_bytes()).expect("decodes");
        prop_assert_eq!(found, [format!("- now 0={}", number as f64)]);
        let found = decode(decoder(&["0 u32 little"]), &small.to_le_bytes()).expect("decodes");
        prop_assert_eq!(found, [format!("- now 0={small}")]);
    }
}
