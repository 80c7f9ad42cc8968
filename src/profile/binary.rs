//! Binary payloads: fields at fixed bytes of a frame.
//!
//! Takes a frame whose length and constant bytes are as the profile says; everything else is refused before a field is
//! read. A field that cannot be there is an error of the frame, unless the profile says that it may be left out.

use std::borrow::Cow;

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::payload::{Encoding, Target, to_hex};
use super::time::TimeReader;
use super::value::Value;

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Endian {
    /// The most significant, as on the network.
    #[default]
    Big,
    /// The least significant.
    Little,
}

/// How a field's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldType {
    /// An unsigned whole number of 1, 2, 3, 4 or 8 bytes.
    Unsigned(u8),
    /// A whole number of 1, 2, 3, 4 or 8 bytes in two's complement.
    Signed(u8),
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Two decimal digits in each byte.
    Bcd,
    /// Characters, filled up with spaces or zeros.
    Text,
}

/// Where a value stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// The first byte, from 0.
    pub(super) byte: usize,
    /// How it is read.
    pub(super) kind: FieldType,
    /// How many bytes it has.
    pub(super) length: usize,
    /// Which of its bytes comes first.
    pub(super) endian: Endian,
    /// The bits of the number that are the value: the lowest of them, counted from the least significant, and how many.
    pub(super) bits: Option<(u8, u8)>,
}

/// Reads the fields that a profile names.
#[derive(Debug)]
pub(super) struct BinaryDecoder {
    pub(super) encoding: Encoding,
    pub(super) length: Length,
    pub(super) constants: Vec<(usize, Box<[u8]>)>,
    pub(super) fields: Vec<PlacedField>,
    pub(super) time: Option<(Field, TimeReader)>,
    /// What a frame says of its time when the field is beyond its end.
    pub(super) untimed: DeviceTime,
}

/// A field and the point that it is for.
#[derive(Debug)]
pub(super) struct PlacedField {
    pub(super) field: Field,
    pub(super) target: Target,
    /// A frame may end before it.
    pub(super) is_optional: bool,
}

/// How long a frame may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Length {
    pub(super) least: Option<usize>,
    pub(super) most: Option<usize>,
}

impl Endian {
    /// Both.
    pub(super) const ALL: [Endian; 2] = [Endian::Big, Endian::Little];

    /// The order's spelling in profiles.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Endian::Big => "big",
            Endian::Little => "little",
        }
    }
}

impl FieldType {
    /// Every type.
    pub(super) const ALL: [FieldType; 14] = [
        FieldType::Unsigned(1),
        FieldType::Signed(1),
        FieldType::Unsigned(2),
        FieldType::Signed(2),
        FieldType::Unsigned(3),
        FieldType::Signed(3),
        FieldType::Unsigned(4),
        FieldType::Signed(4),
        FieldType::Unsigned(8),
        FieldType::Signed(8),
        FieldType::F32,
        FieldType::F64,
        FieldType::Bcd,
        FieldType::Text,
    ];

    /// The type's spelling in profiles.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            FieldType::Unsigned(1) => "u8",
            FieldType::Unsigned(2) => "u16",
            FieldType::Unsigned(3) => "u24",
            FieldType::Unsigned(4) => "u32",
            FieldType::Unsigned(_) => "u64",
            FieldType::Signed(1) => "i8",
            FieldType::Signed(2) => "i16",
            FieldType::Signed(3) => "i24",
            FieldType::Signed(4) => "i32",
            FieldType::Signed(_) => "i64",
            FieldType::F32 => "f32",
            FieldType::F64 => "f64",
            FieldType::Bcd => "bcd",
            FieldType::Text => "text",
        }
    }

    /// How many bytes it has; `None` when the profile says.
    pub(super) fn size(self) -> Option<usize> {
        match self {
            FieldType::Unsigned(size) | FieldType::Signed(size) => Some(usize::from(size)),
            FieldType::F32 => Some(4),
            FieldType::F64 => Some(8),
            FieldType::Bcd | FieldType::Text => None,
        }
    }
}

/// A field's value, and the text that it may borrow from.
enum Found<'a> {
    Scalar(Value<'static>),
    Text(Cow<'a, str>),
}

impl Found<'_> {
    fn value(&self) -> Value<'_> {
        match self {
            Found::Scalar(value) => *value,
            Found::Text(text) => Value::Text(text),
        }
    }
}

impl Field {
    /// The first byte after it.
    pub(super) fn end(&self) -> usize {
        self.byte.saturating_add(self.length)
    }

    /// What stands there; `None` when the frame ends before.
    fn read<'f>(&self, frame: &'f [u8]) -> Option<Found<'f>> {
        let bytes = frame.get(self.byte..self.end())?;
        Some(match self.kind {
            FieldType::Text => Found::Text(String::from_utf8_lossy(trimmed(bytes))),
            FieldType::Bcd => self
                .digits(bytes)
                .map_or(Found::Scalar(Value::Null), |digits| Found::Text(digits.into())),
            FieldType::F32 => number(f64::from(f32::from_bits(self.whole(bytes) as u32))),
            FieldType::F64 => number(f64::from_bits(self.whole(bytes))),
            FieldType::Unsigned(_) => {
                let (whole, _) = self.cut(self.whole(bytes));
                let int = i64::try_from(whole).map_or(Value::Float(whole as f64), Value::Int);
                Found::Scalar(int)
            }
            FieldType::Signed(_) => {
                let (whole, width) = self.cut(self.whole(bytes));
                let unused = 64 - width;
                Found::Scalar(Value::Int((whole << unused) as i64 >> unused))
            }
        })
    }

    /// The bytes as one whole number.
    fn whole(&self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self.endian {
            Endian::Big => bytes.iter().fold(0, join),
            Endian::Little => bytes.iter().rev().fold(0, join),
        }
    }

    /// The bits of a number that are the value, and how many they are (1 to 64).
    fn cut(&self, whole: u64) -> (u64, u32) {
        let all = self.length as u32 * 8;
        let Some((first, count)) = self.bits else { return (whole, all.clamp(1, 64)) };
        let count = u32::from(count).clamp(1, 64);
        let mask = u64::MAX >> (64 - count);
        (whole.checked_shr(u32::from(first)).unwrap_or(0) & mask, count)
    }

    /// The digits of a BCD number; `None` when a half byte is no digit, by which meters say "no value".
    fn digits(&self, bytes: &[u8]) -> Option<String> {
        let digit = |half: u8| char::from_digit(u32::from(half), 10);
        let both = |byte: &u8| Some([digit(byte >> 4)?, digit(byte & 0xF)?]);
        let pairs: Option<Vec<[char; 2]>> = match self.endian {
            Endian::Big => bytes.iter().map(both).collect(),
            Endian::Little => bytes.iter().rev().map(both).collect(),
        };
        Some(pairs?.into_iter().flatten().collect())
    }
}

/// A text without the spaces and zeros that fill it up.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_filler = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let end = bytes.iter().rposition(|byte| !is_filler(byte)).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// An infinite number is no more a value than NaN.
fn number(x: f64) -> Found<'static> {
    Found::Scalar(if x.is_finite() { Value::Float(x) } else { Value::Null })
}

impl BinaryDecoder {
    /// Reads one frame into `out`.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        let frame = self.encoding.open(payload)?;
        self.check(&frame)?;
        let time = match &self.time {
            None => DeviceTime::Unsaid,
            Some((field, reader)) => match field.read(&frame) {
                None => self.untimed,
                Some(found) => {
                    reader.read(found.value()).map_or(DeviceTime::Unreadable, DeviceTime::At)
                }
            },
        };
        out.open(None, time)?;
        for PlacedField { field, target, is_optional } in &self.fields {
            let Some(found) = field.read(&frame) else {
                if *is_optional {
                    continue;
                }
                let expected = format!("at least {} for the {}", field.end(), place(field));
                return Err(DecodeError::WrongLength { found: frame.len(), expected });
            };
            target.take(found.value(), || place(field), out)?;
        }
        if out.is_empty() { Err(DecodeError::NoPoint) } else { Ok(()) }
    }

    /// Whether a frame is one of this kind.
    fn check(&self, frame: &[u8]) -> Result<(), DecodeError> {
        let Length { least, most } = self.length;
        if least.is_some_and(|least| frame.len() < least)
            || most.is_some_and(|most| frame.len() > most)
        {
            let expected = self.length.to_string();
            return Err(DecodeError::WrongLength { found: frame.len(), expected });
        }
        for (byte, expected) in &self.constants {
            let end = (byte + expected.len()).min(frame.len());
            let found = frame.get(*byte..end).unwrap_or_default();
            if *found != **expected {
                let [found, expected] = [found, expected].map(to_hex);
                return Err(DecodeError::WrongConstant { byte: *byte, found, expected });
            }
        }
        Ok(())
    }
}

fn place(field: &Field) -> String {
    format!("{} at byte {}", field.kind.as_str(), field.byte)
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) if least == most => write!(f, "{least}"),
            (Some(least), Some(most)) => write!(f, "{least} to {most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests;
