//! SenML payloads (RFC 8428, the JSON form): records, resolved as they come.
//!
//! Which part of a record's full name (base name and name together) is the device and which the measurement is not for
//! SenML to say, and devices split them as they like. So the name that a profile reads is looked for at the end of the
//! full name, the longest first, where a part may begin: after the base name, after `:` or `/`, or where the profile's
//! own pattern for device names ends. Records whose name the profile does not read are skipped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::payload::Target;
use super::time::{whole_micros, written};
use super::value::Value;

/// Times below 2^28 s are relative to now (RFC 8428, section 4.5.3).
const RELATIVE_BELOW_S: f64 = 268_435_456.0;

/// The version of SenML that RFC 8428 describes.
const VERSION: i64 = 10;

/// Reads the records that a profile names.
#[derive(Debug, Default)]
pub(super) struct SenmlDecoder {
    slots: HashMap<Box<str>, Vec<Slot>>,
    /// The longest name that is read, in bytes.
    longest: usize,
    device: Option<NamePattern>,
}

/// One point.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) target: Target,
    /// The record's sum is read, not its value.
    pub(super) is_sum: bool,
    /// What the record's unit must be, when it says one.
    pub(super) unit: Option<String>,
}

/// Where a full name has the device, such as `urn:dev:ow:{device}:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamePattern {
    prefix: Box<str>,
    suffix: Box<str>,
}

/// A text that does not say where the device's name is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` has no {{device}}, or more than one; for example urn:dev:ow:{{device}}:")]
pub(super) struct NamePatternError(String);

impl std::str::FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        match text.split("{device}").collect::<Vec<_>>()[..] {
            [prefix, suffix] => Ok(NamePattern { prefix: prefix.into(), suffix: suffix.into() }),
            _ => Err(NamePatternError(text.to_owned())),
        }
    }
}

impl NamePattern {
    fn device_in<'n>(&self, name: &'n str) -> Option<&'n str> {
        let device = name.strip_prefix(&*self.prefix)?;
        // Not every base name ends with what separates it from the names.
        let device = device.strip_suffix(&*self.suffix).unwrap_or(device);
        Some(device).filter(|device| !device.is_empty())
    }
}

/// The fields of a record that are understood, as they stand in it.
#[derive(Debug, Default)]
struct Record<'a> {
    base_name: Option<Cow<'a, str>>,
    base_time: Option<f64>,
    base_unit: Option<Cow<'a, str>>,
    base_value: Option<f64>,
    base_sum: Option<f64>,
    version: Option<i64>,
    name: Option<Cow<'a, str>>,
    unit: Option<Cow<'a, str>>,
    value: Option<RecordValue<'a>>,
    sum: Option<f64>,
    time: Option<f64>,
}

#[derive(Debug)]
enum RecordValue<'a> {
    Number(f64),
    Bool(bool),
    Text(Cow<'a, str>),
    /// Base64 of whatever: no measurement.
    Data(Cow<'a, str>),
}

/// What a record takes over from those before it.
#[derive(Debug, Default)]
struct Base {
    name: String,
    time: f64,
    unit: Option<String>,
    value: f64,
    sum: f64,
    has_sum: bool,
}

impl SenmlDecoder {
    /// The decoder of a profile whose records may be of several devices, when `device` says how they are named.
    pub(super) fn new(device: Option<NamePattern>) -> Self {
        SenmlDecoder { device, ..SenmlDecoder::default() }
    }

    /// Adds a name to read.
    pub(super) fn add(&mut self, name: &str, slot: Slot) {
        self.longest = self.longest.max(name.len());
        self.slots.entry(name.into()).or_default().push(slot);
    }

    /// Reads one payload into `out`.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        let mut json = serde_json::Deserializer::from_slice(payload);
        let mut pack =
            Pack { decoder: self, base: Base::default(), full: String::new(), out, failure: None };
        let read = json.deserialize_seq(&mut pack).and_then(|()| json.end());
        match (read, pack.failure) {
            (Ok(()), _) if out.is_empty() => Err(DecodeError::NoPoint),
            (Ok(()), _) => Ok(()),
            (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(DecodeError::NotSenml(error.to_string())),
        }
    }

    /// The points that read a name, and what stands before it in the full name.
    fn find<'f>(&self, full: &'f str, base_length: usize) -> Option<(&[Slot], &'f str)> {
        let first = full.len().saturating_sub(self.longest);
        (first..=full.len())
            .filter(|&at| self.may_split(full, at, base_length))
            .find_map(|at| Some((self.slots.get(&full[at..])?.as_slice(), &full[..at])))
    }

    fn may_split(&self, full: &str, at: usize, base_length: usize) -> bool {
        let ends_pattern = || {
            let suffix = self.device.as_ref().map_or("", |pattern| &*pattern.suffix);
            !suffix.is_empty() && full.as_bytes()[..at].ends_with(suffix.as_bytes())
        };
        full.is_char_boundary(at)
            && (at == 0
                || at == base_length
                || matches!(full.as_bytes()[at - 1], b':' | b'/')
                || ends_pattern())
    }
}

/// One message on its way.
struct Pack<'a> {
    decoder: &'a SenmlDecoder,
    base: Base,
    /// The full name of the record at hand.
    full: String,
    out: &'a mut Decoded,
    failure: Option<DecodeError>,
}

impl<'de> Visitor<'de> for &mut Pack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        for index in 0usize.. {
            let Some(record) = records.next_element::<Record<'de>>()? else { break };
            if let Err(failure) = self.take(index, record) {
                self.failure = Some(failure);
                return Err(de::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

impl Pack<'_> {
    fn take(&mut self, index: usize, record: Record<'_>) -> Result<(), DecodeError> {
        self.base.update(&record)?;
        let decoder = self.decoder;
        self.full.clear();
        self.full.push_str(&self.base.name);
        self.full.push_str(record.name.as_deref().unwrap_or_default());
        let Some((slots, rest)) = decoder.find(&self.full, self.base.name.len()) else {
            return Ok(());
        };
        let device = match &decoder.device {
            Some(pattern) if !rest.is_empty() => {
                Some(pattern.device_in(rest).ok_or_else(|| pattern.refuse(index, rest))?)
            }
            _ => None,
        };
        let seconds = self.base.time + record.time.unwrap_or(0.0);
        self.out.open(device, device_time(seconds))?;
        for slot in slots {
            let place = || format!("record {index} (`{}`)", self.full);
            let unit = record.unit.as_deref().or(self.base.unit.as_deref());
            slot.check_unit(unit, place)?;
            let value = match (&record.value, slot.is_sum) {
                (_, true) if record.sum.is_some() || self.base.has_sum => {
                    Value::Float(self.base.sum + record.sum.unwrap_or(0.0))
                }
                (Some(RecordValue::Number(number)), false) => {
                    Value::Float(self.base.value + number)
                }
                (Some(RecordValue::Bool(bool)), false) => Value::Bool(*bool),
                (Some(RecordValue::Text(text)), false) => Value::Text(text),
                // Data may name a state, but is no number.
                (Some(RecordValue::Data(data)), false) => {
                    return Err(super::payload::wrong_type(
                        place(),
                        Value::Text(data),
                        &slot.target.states,
                    ));
                }
                (_, true) | (None, false) => continue,
            };
            slot.target.take(value, place, self.out)?;
        }
        Ok(())
    }
}

impl NamePattern {
    #[cold]
    fn refuse(&self, index: usize, found: &str) -> DecodeError {
        let shown: String = found.chars().take(super::value::MAX_SHOWN).collect();
        let why = format!("`{shown}` is not like `{}{{device}}{}`", self.prefix, self.suffix);
        DecodeError::NoDevice { place: format!("record {index}"), why }
    }
}

impl Slot {
    fn check_unit(
        &self,
        found: Option<&str>,
        place: impl FnOnce() -> String,
    ) -> Result<(), DecodeError> {
        match (&self.unit, found) {
            (Some(expected), Some(found)) if found != expected => {
                let (place, found) = (place(), found.to_owned());
                Err(DecodeError::WrongUnit { place, found, expected: expected.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// A resolved time. One that no calendar holds is a doubt, not a loss.
fn device_time(seconds: f64) -> DeviceTime {
    let micros = whole_micros(seconds * 1e6);
    if seconds == 0.0 {
        DeviceTime::Unsaid
    } else if seconds < RELATIVE_BELOW_S {
        micros.map_or(DeviceTime::Unreadable, DeviceTime::Relative)
    } else {
        micros.and_then(written).map_or(DeviceTime::Unreadable, DeviceTime::At)
    }
}

impl Base {
    fn update(&mut self, record: &Record<'_>) -> Result<(), DecodeError> {
        if let Some(version) = record.version.filter(|version| *version > VERSION) {
            let why = format!("version {version} is not understood, {VERSION} is");
            return Err(DecodeError::NotSenml(why));
        }
        if let Some(name) = &record.base_name {
            self.name.clear();
            self.name.push_str(name);
        }
        if let Some(unit) = &record.base_unit {
            self.unit = Some(unit.to_string());
        }
        self.time = record.base_time.unwrap_or(self.time);
        self.value = record.base_value.unwrap_or(self.value);
        self.sum = record.base_sum.unwrap_or(self.sum);
        self.has_sum |= record.base_sum.is_some();
        Ok(())
    }
}

/// A text that is copied only when it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Record<'de>, A::Error> {
        let mut record = Record::default();
        while let Some(Text(label)) = fields.next_key()? {
            match &*label {
                "bn" => record.base_name = Some(text(&mut fields)?),
                "bt" => record.base_time = Some(fields.next_value()?),
                "bu" => record.base_unit = Some(text(&mut fields)?),
                "bv" => record.base_value = Some(fields.next_value()?),
                "bs" => record.base_sum = Some(fields.next_value()?),
                "bver" => record.version = Some(fields.next_value()?),
                "n" => record.name = Some(text(&mut fields)?),
                "u" => record.unit = Some(text(&mut fields)?),
                "v" => record.set_value(RecordValue::Number(fields.next_value()?))?,
                "vb" => record.set_value(RecordValue::Bool(fields.next_value()?))?,
                "vs" => record.set_value(RecordValue::Text(text(&mut fields)?))?,
                "vd" => record.set_value(RecordValue::Data(text(&mut fields)?))?,
                "s" => record.sum = Some(fields.next_value()?),
                "t" => record.time = Some(fields.next_value()?),
                // Section 4.4: a label that ends so must be understood, or the pack must not be used.
                label if label.ends_with('_') => {
                    return Err(de::Error::custom(format_args!("`{label}` is not understood")));
                }
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(record)
    }
}

fn text<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<Cow<'de, str>, A::Error> {
    fields.next_value::<Text<'de>>().map(|Text(text)| text)
}

impl<'a> Record<'a> {
    fn set_value<E: de::Error>(&mut self, value: RecordValue<'a>) -> Result<(), E> {
        match self.value.replace(value) {
            None => Ok(()),
            Some(_) => Err(E::custom("a record has one of v, vb, vs and vd")),
        }
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(CowVisitor).map(Text)
    }
}

struct CowVisitor;

impl<'de> Visitor<'de> for CowVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
