//! Payload formats: which there are, and the one door to their decoders.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;

use super::binary::{BinaryDecoder, Field};
use super::cayenne::{CayenneDecoder, LppType};
use super::decode::{DecodeError, Decoded};
use super::json::JsonDecoder;
use super::senml::SenmlDecoder;
use super::sparkplug::{Aliases, DataType, SparkplugDecoder};
use super::text::{Cell, TextDecoder};
use super::value::{Value, raw};
use crate::model::{PointIndex, Reading};

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    /// JSON of any shape.
    Json,
    /// RFC 8428 in JSON.
    Senml,
    /// Eclipse Sparkplug B.
    SparkplugB,
    /// Cayenne Low Power Payload.
    CayenneLpp,
    /// Fields at fixed bytes.
    Binary,
    /// Lines of columns or of `key=value`.
    Text,
}

/// How the bytes of a binary payload travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// As hexadecimal digits, with or without spaces.
    Hex,
    /// As base64, padded or not.
    Base64,
}

/// One message as it came.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its topic; empty when nobody knows.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What a decoder must remember of a device between its messages: which metrics its births gave which alias. It knows
/// names only, so it outlives a changed profile.
#[derive(Debug, Default)]
pub struct Memory {
    aliases: Mutex<Aliases>,
}

/// Where a point's value stands in a payload that is not JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Place(pub(super) At);

/// As [`Place`], by format.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum At {
    /// A record's name; its sum or its value; its unit, if that is looked at.
    Record {
        name: String,
        is_sum: bool,
        unit: Option<String>,
    },
    Metric {
        name: String,
        alias: Option<u64>,
        kind: Option<DataType>,
    },
    Channel {
        channel: u8,
        kind: LppType,
        component: usize,
    },
    Field {
        field: Field,
        is_optional: bool,
    },
    Cell {
        cell: Cell,
        is_optional: bool,
    },
}

/// A point, and the words that may stand for its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) point: PointIndex,
    pub(super) states: Box<[(String, f64)]>,
}

/// The decoder of one profile.
#[derive(Debug)]
pub(super) enum Decoder {
    Json(JsonDecoder),
    Senml(SenmlDecoder),
    Sparkplug(SparkplugDecoder),
    Cayenne(CayenneDecoder),
    Binary(BinaryDecoder),
    Text(TextDecoder),
}

impl PayloadFormat {
    /// Every format.
    pub const ALL: [PayloadFormat; 6] = [
        PayloadFormat::Json,
        PayloadFormat::Senml,
        PayloadFormat::SparkplugB,
        PayloadFormat::CayenneLpp,
        PayloadFormat::Binary,
        PayloadFormat::Text,
    ];

    /// The format's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            PayloadFormat::Json => "json",
            PayloadFormat::Senml => "senml",
            PayloadFormat::SparkplugB => "sparkplug_b",
            PayloadFormat::CayenneLpp => "cayenne_lpp",
            PayloadFormat::Binary => "binary",
            PayloadFormat::Text => "text",
        }
    }
}

impl Memory {
    pub(super) fn aliases(&self) -> MutexGuard<'_, Aliases> {
        // Every statement leaves the aliases whole.
        self.aliases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decoder {
    /// Reads one message into `out`, which holds nothing on an error.
    pub(super) fn decode(
        &self,
        message: Message<'_>,
        memory: &Memory,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        // This one clears after itself: the hot path has no second look.
        if let Decoder::Json(json) = self {
            return json.decode(message.payload, out);
        }
        out.clear();
        let result = match self {
            Decoder::Json(json) => json.decode(message.payload, out),
            Decoder::Senml(senml) => senml.decode(message.payload, out),
            Decoder::Sparkplug(sparkplug) => sparkplug.decode(message, memory, out),
            Decoder::Cayenne(cayenne) => cayenne.decode(message.payload, out),
            Decoder::Binary(binary) => binary.decode(message.payload, out),
            Decoder::Text(text) => text.decode(message.payload, out),
        };
        match result {
            Ok(()) => out.close(),
            Err(_) => out.clear(),
        }
        result
    }
}

impl Target {
    /// Adds the reading that a value stands for; `place` is where it stands, for the refusal.
    pub(super) fn take(
        &self,
        value: Value<'_>,
        place: impl FnOnce() -> String,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let raw = self.raw(value, place)?;
        out.push(Reading { point: self.point, raw, comm_fault: false });
        Ok(())
    }

    /// The number that a value stands for.
    pub(super) fn raw(
        &self,
        value: Value<'_>,
        place: impl FnOnce() -> String,
    ) -> Result<f64, DecodeError> {
        raw(value, &self.states).ok_or_else(|| wrong_type(place(), value, &self.states))
    }
}

/// The refusal of a value that is no number, state or bool.
#[cold]
pub(super) fn wrong_type(path: String, found: Value<'_>, states: &[(String, f64)]) -> DecodeError {
    let names = states.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let states = Some(names).filter(|names| !names.is_empty());
    DecodeError::WrongType { path, found: found.to_string(), states }
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Encoding; 3] = [Encoding::Raw, Encoding::Hex, Encoding::Base64];

    /// The encoding's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Raw => "raw",
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
        }
    }

    /// The bytes that a payload stands for.
    pub(super) fn open(self, payload: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, DecodeError> {
        let refused = |why| DecodeError::NotEncoded { encoding: self.as_str(), why };
        match self {
            Encoding::Raw => Ok(payload.into()),
            Encoding::Hex => from_hex(payload).map(Into::into).map_err(refused),
            Encoding::Base64 => from_base64(payload).map(Into::into).map_err(refused),
        }
    }
}

/// The bytes of hexadecimal digits; white space between them is for people.
///
/// # Errors
/// What stands there that is no digit, or that one is missing.
pub(super) fn from_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (at, &byte) in text.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(format!("`{}` at {at} is no hex digit", byte.escape_ascii()));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high << 4 | digit) as u8),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err("the number of digits is odd".to_owned()),
    }
}

/// The bytes of base64, padded or not, with white space around it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let text = text.trim_ascii();
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    STANDARD_NO_PAD.decode(text).map_err(|error| error.to_string())
}

/// Bytes for a refusal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_travel_as_text() {
        let check = |encoding: Encoding, text: &str, expected: Result<&[u8], &str>| {
            let found = encoding.open(text.as_bytes());
            match (found, expected) {
                (Ok(bytes), Ok(expected)) => assert_eq!(&*bytes, expected, "{text}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{text}: {error}");
                    assert_eq!(error.reason(), "not_encoded");
                }
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        };
        check(Encoding::Hex, "A5 0f\n", Ok(&[0xA5, 0x0F]));
        check(Encoding::Hex, "", Ok(&[]));
        check(Encoding::Hex, "A5 0", Err("payload is not hex: the number of digits is odd"));
        check(Encoding::Hex, "0xA5", Err("`x` at 1 is no hex digit"));
        check(Encoding::Base64, " pQ8= ", Ok(&[0xA5, 0x0F]));
        check(Encoding::Base64, "pQ8", Ok(&[0xA5, 0x0F]));
        check(Encoding::Base64, "p*8=", Err("payload is not base64: "));
        check(Encoding::Raw, "A5", Ok(b"A5"));
        assert_eq!(to_hex(&[0xA5, 0x0F]), "A50F");
    }
}
