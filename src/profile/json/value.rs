//! Scalars of a payload, and what numbers and times they stand for.

use std::fmt;

use crate::model::Timestamp;

/// How much of an unexpected value a refusal repeats, in characters.
pub(super) const MAX_SHOWN: usize = 40;

/// The spellings of a device's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// `2026-09-21T14:13:20Z`.
    Rfc3339,
}

/// A value of the payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Object,
    Array,
}

impl TimeFormat {
    /// Every format.
    pub const ALL: [TimeFormat; 4] =
        [TimeFormat::UnixS, TimeFormat::UnixMs, TimeFormat::UnixUs, TimeFormat::Rfc3339];

    /// The format's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            TimeFormat::UnixS => "unix_s",
            TimeFormat::UnixMs => "unix_ms",
            TimeFormat::UnixUs => "unix_us",
            TimeFormat::Rfc3339 => "rfc3339",
        }
    }

    /// Microseconds in one of its units; `None` for text.
    fn unit_us(self) -> Option<i64> {
        match self {
            TimeFormat::UnixS => Some(1_000_000),
            TimeFormat::UnixMs => Some(1_000),
            TimeFormat::UnixUs => Some(1),
            TimeFormat::Rfc3339 => None,
        }
    }

    /// The time that a value stands for.
    pub(super) fn read(self, value: Value<'_>) -> Option<Timestamp> {
        let micros = match (value, self.unit_us()) {
            (Value::Text(text), None) => return text.parse().ok(),
            (Value::Int(n), Some(unit)) => n.checked_mul(unit)?,
            (Value::Float(x), Some(unit)) => whole_micros(x * unit as f64)?,
            (Value::Text(text), Some(unit)) => match text.parse::<i64>() {
                Ok(n) => n.checked_mul(unit)?,
                Err(_) => whole_micros(plain_number(text)? * unit as f64)?,
            },
            _ => return None,
        };
        YEARS_0_TO_9999_US.contains(&micros).then(|| Timestamp::from_micros(micros))
    }
}

/// What can be written as RFC 3339.
const YEARS_0_TO_9999_US: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// The nearest whole number of microseconds, when an `i64` can hold it (2^63 is not one of them).
fn whole_micros(micros: f64) -> Option<i64> {
    let micros = micros.round();
    (-(2f64.powi(63))..2f64.powi(63)).contains(&micros).then_some(micros as i64)
}

/// A number as JSON or people write it; none of `inf`, `nan` and `infinity`, which Rust would read too.
fn plain_number(text: &str) -> Option<f64> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|n: &f64| is_plain && n.is_finite())
}

/// The number that a value stands for; NaN for "no value".
pub(super) fn raw(value: Value<'_>, states: &[(String, f64)]) -> Option<f64> {
    match value {
        Value::Float(x) => Some(x),
        Value::Int(n) => Some(n as f64),
        Value::Bool(b) => Some(f64::from(u8::from(b))),
        Value::Null => Some(f64::NAN),
        Value::Text(text) => states
            .iter()
            .find(|(name, _)| name == text)
            .map(|(_, code)| *code)
            .or_else(|| plain_number(text)),
        Value::Object | Value::Array => None,
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n) => write!(f, "the number {n}"),
            Value::Float(x) => write!(f, "the number {x}"),
            Value::Text(text) if text.chars().nth(MAX_SHOWN).is_none() => {
                write!(f, "the text {text:?}")
            }
            Value::Text(text) => {
                write!(f, "the text {:?}...", text.chars().take(MAX_SHOWN).collect::<String>())
            }
            Value::Object => f.write_str("an object"),
            Value::Array => f.write_str("an array"),
        }
    }
}
