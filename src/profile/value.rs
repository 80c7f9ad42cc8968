//! Scalars of a payload, and what numbers they stand for.

use std::fmt;

/// How much of an unexpected value a refusal repeats, in characters.
pub(super) const MAX_SHOWN: usize = 40;

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

/// A number as JSON or people write it; none of `inf`, `nan` and `infinity`, which Rust would read too.
pub(super) fn plain_number(text: &str) -> Option<f64> {
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
