//! Where a value stands in a payload: the keys of `read`, and of the source's `time` and `device`, which are the same
//! words.

use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::mqtt::Settings;
use crate::profile::binary::{Endian, Field, FieldType};
use crate::profile::cayenne::LppType;
use crate::profile::error::Problems;
use crate::profile::payload::{At, PayloadFormat, Place};
use crate::profile::raw::{RawDevice, RawRead, RawTime};
use crate::profile::sparkplug::DataType;
use crate::profile::text::Cell;
use crate::profile::{Read, TimeFormat};

/// The last byte of a frame that a field may begin at; an MQTT message is no longer than a megabyte.
const MAX_BYTE: i64 = 1_000_000;

/// The longest text or BCD number, in bytes.
const MAX_LENGTH: i64 = 256;

/// A key's value, when the table has it.
type Given<'r, T> = Option<&'r Spanned<T>>;

/// The keys of a table that says where something stands.
#[derive(Default)]
pub(super) struct Keys<'r> {
    at: Range<usize>,
    /// What the table is called in messages.
    table: &'static str,
    /// The keys that say what becomes of the value, not where it stands.
    besides: &'static [&'static str],
    path: Given<'r, String>,
    name: Given<'r, String>,
    u: Given<'r, String>,
    sum: Given<'r, bool>,
    metric: Given<'r, String>,
    alias: Given<'r, i64>,
    channel: Given<'r, i64>,
    component: Given<'r, String>,
    byte: Given<'r, i64>,
    number: Given<'r, String>,
    endian: Given<'r, String>,
    bit: Given<'r, i64>,
    bits: Given<'r, Vec<i64>>,
    length: Given<'r, i64>,
    column: Given<'r, i64>,
    key: Given<'r, String>,
    optional: Given<'r, bool>,
    outside: Given<'r, bool>,
    format: Given<'r, String>,
    pattern: Given<'r, String>,
    zone: Given<'r, String>,
    /// Registers: the places of their keys.
    register: Vec<(&'static str, Range<usize>)>,
}

fn span<T>(key: &'static str, value: Given<'_, T>) -> Option<(&'static str, Range<usize>)> {
    value.map(|value| (key, value.span()))
}

impl<'r> Keys<'r> {
    pub(super) fn of_read(raw: &'r RawRead, at: &Range<usize>) -> Self {
        let register = [
            span("table", raw.table.as_ref()),
            span("address", raw.address.as_ref()),
            span("word_order", raw.word_order.as_ref()),
            span("poll", raw.poll.as_ref()),
        ];
        Keys {
            at: at.clone(),
            table: "read",
            besides: &["scale", "offset", "invalid"],
            path: raw.path.as_ref(),
            name: raw.name.as_ref(),
            u: raw.u.as_ref(),
            sum: raw.sum.as_ref(),
            metric: raw.metric.as_ref(),
            alias: raw.alias.as_ref(),
            channel: raw.channel.as_ref(),
            component: raw.component.as_ref(),
            byte: raw.byte.as_ref(),
            number: raw.number.as_ref(),
            endian: raw.endian.as_ref(),
            bit: raw.bit.as_ref(),
            bits: raw.bits.as_ref(),
            length: raw.length.as_ref(),
            column: raw.column.as_ref(),
            key: raw.key.as_ref(),
            optional: raw.optional.as_ref(),
            register: register.into_iter().flatten().collect(),
            ..Keys::default()
        }
    }

    pub(super) fn of_time(raw: &'r RawTime, at: &Range<usize>) -> Self {
        Keys {
            at: at.clone(),
            table: "time",
            path: raw.path.as_ref(),
            channel: raw.channel.as_ref(),
            byte: raw.byte.as_ref(),
            number: raw.number.as_ref(),
            endian: raw.endian.as_ref(),
            length: raw.length.as_ref(),
            column: raw.column.as_ref(),
            key: raw.key.as_ref(),
            optional: raw.optional.as_ref(),
            outside: raw.outside.as_ref(),
            format: raw.format.as_ref(),
            pattern: raw.pattern.as_ref(),
            zone: raw.zone.as_ref(),
            ..Keys::default()
        }
    }

    pub(super) fn of_device(raw: &'r RawDevice, at: &Range<usize>) -> Self {
        Keys {
            at: at.clone(),
            table: "device",
            path: raw.path.as_ref(),
            name: raw.name.as_ref(),
            column: raw.column.as_ref(),
            key: raw.key.as_ref(),
            optional: raw.optional.as_ref(),
            outside: raw.outside.as_ref(),
            ..Keys::default()
        }
    }

    /// Where the whole table stands.
    pub(super) fn at(&self) -> &Range<usize> {
        &self.at
    }

    pub(super) fn is_optional(&self) -> bool {
        self.optional.is_some_and(|optional| *optional.get_ref())
    }

    pub(super) fn is_outside(&self) -> bool {
        self.outside.is_some_and(|outside| *outside.get_ref())
    }

    /// The time's format with its pattern and zone.
    pub(super) fn time(&self) -> (Given<'r, String>, Given<'r, String>, Given<'r, String>) {
        (self.format, self.pattern, self.zone)
    }

    fn given(&self) -> Vec<(&'static str, Range<usize>)> {
        let keys = [
            span("path", self.path),
            span("name", self.name),
            span("u", self.u),
            span("sum", self.sum),
            span("metric", self.metric),
            span("alias", self.alias),
            span("channel", self.channel),
            span("component", self.component),
            span("byte", self.byte),
            span("type", self.number),
            span("endian", self.endian),
            span("bit", self.bit),
            span("bits", self.bits),
            span("length", self.length),
            span("column", self.column),
            span("key", self.key),
            span("optional", self.optional),
            span("outside", self.outside),
            span("format", self.format),
            span("pattern", self.pattern),
            span("zone", self.zone),
        ];
        keys.into_iter().flatten().collect()
    }

    /// Refuses the keys that are not among `allowed`.
    pub(super) fn allow_only(
        &self,
        allowed: &[&'static str],
        format: PayloadFormat,
        problems: &mut Problems<'_>,
    ) {
        self.allow_only_of(allowed, format, "mqtt", problems);
    }

    fn allow_only_of(
        &self,
        allowed: &[&'static str],
        format: PayloadFormat,
        source: &str,
        problems: &mut Problems<'_>,
    ) {
        let help = || vec![format!("allowed: {}", [allowed, self.besides].concat().join(", "))];
        for (key, at) in &self.register {
            let message = format!("`{key}` is for modbus; this profile's source is {source}");
            problems.report_with(at, message, help());
        }
        for (key, at) in self.given() {
            if !allowed.contains(&key) {
                let message = format!(
                    "`{key}` says nothing in `{}` of a {} payload",
                    self.table,
                    format.as_str()
                );
                problems.report_with(&at, message, help());
            }
        }
    }

    /// JSON: the pointer.
    pub(super) fn path(&self, problems: &mut Problems<'_>) -> Option<&'r Spanned<String>> {
        let example = match self.table {
            "time" => "\"/ts\"",
            "device" => "\"/id\"",
            _ => "\"/level\"",
        };
        problems.require(self.path, &self.at, "path", example)
    }

    /// SenML: the name, or the pattern of names.
    pub(super) fn name(&self, problems: &mut Problems<'_>) -> Option<&'r Spanned<String>> {
        let example = if self.table == "device" { "\"urn:dev:ow:{device}:\"" } else { "\"level\"" };
        problems.require(self.name, &self.at, "name", example)
    }

    /// Cayenne LPP: the channel.
    pub(super) fn channel(&self, problems: &mut Problems<'_>) -> Option<u8> {
        let channel = problems.require(self.channel, &self.at, "channel", "1")?;
        let found = *channel.get_ref();
        let small = u8::try_from(found);
        if small.is_err() {
            problems
                .report(&channel.span(), format_args!("{found} is no channel; they are 0 to 255"));
        }
        small.ok()
    }

    /// Binary: the field.
    pub(super) fn field(&self, endian: Endian, problems: &mut Problems<'_>) -> Option<Field> {
        let byte = problems.require(self.byte, &self.at, "byte", "0");
        let byte = byte.and_then(|byte| within(byte, 0..=MAX_BYTE, "a byte of a frame", problems));
        let kind = problems.require(self.number, &self.at, "type", "\"u16\"");
        let kind = kind
            .and_then(|kind| problems.choose(kind, "type", &FieldType::ALL, FieldType::as_str))?;
        let endian = match self.endian {
            Some(word) => problems.choose(word, "endian", &Endian::ALL, Endian::as_str)?,
            None => endian,
        };
        if let Some(word) =
            self.endian.filter(|_| kind.size() == Some(1) || kind == FieldType::Text)
        {
            let message = format!("a {} has one order of bytes; leave `endian` out", kind.as_str());
            problems.report(&word.span(), message);
        }
        let length = self.length(kind, problems);
        let bits = self.bits(kind, problems)?;
        Some(Field { byte: byte?, kind, length: length?, endian, bits })
    }

    fn length(&self, kind: FieldType, problems: &mut Problems<'_>) -> Option<usize> {
        match (kind.size(), self.length) {
            (Some(size), None) => Some(size),
            (Some(size), Some(length)) => {
                let message =
                    format!("a {} always has {size} bytes; leave `length` out", kind.as_str());
                problems.report(&length.span(), message);
                None
            }
            (None, length) => {
                let length = problems.require(length, &self.at, "length", "4")?;
                // Ten bytes of BCD are more digits than an f64 keeps apart.
                let most = if kind == FieldType::Bcd { 8 } else { MAX_LENGTH };
                within(length, 1..=most, "a length in bytes", problems)
            }
        }
    }

    /// The value's lowest bit and how many they are; `None` when there is a problem.
    #[allow(clippy::option_option)]
    fn bits(&self, kind: FieldType, problems: &mut Problems<'_>) -> Option<Option<(u8, u8)>> {
        let (at, low, high) = match (self.bit, self.bits) {
            (None, None) => return Some(None),
            (Some(_), Some(bits)) => {
                problems.report(&bits.span(), "`bit` and `bits` say the same; leave one out");
                return None;
            }
            (Some(bit), None) => (bit.span(), *bit.get_ref(), *bit.get_ref()),
            (None, Some(bits)) => match bits.get_ref()[..] {
                [low, high] => (bits.span(), low, high),
                _ => {
                    let message = "`bits` are the lowest and the highest, for example [4, 7]";
                    problems.report(&bits.span(), message);
                    return None;
                }
            },
        };
        let (FieldType::Unsigned(size) | FieldType::Signed(size)) = kind else {
            problems.report(&at, format_args!("a {} has no bits to choose from", kind.as_str()));
            return None;
        };
        let last = i64::from(size) * 8 - 1;
        if !(0 <= low && low <= high && high <= last) {
            let help = vec![format!("0 is the least significant bit, {last} the most significant")];
            let message = format!("bits {low} to {high} are not within a {}", kind.as_str());
            problems.report_with(&at, message, help);
            return None;
        }
        Some(Some((low as u8, (high - low + 1) as u8)))
    }

    /// Text: the cell.
    pub(super) fn cell(&self, has_keys: bool, problems: &mut Problems<'_>) -> Option<Cell> {
        if has_keys {
            let key = problems.require(self.key, &self.at, "key", "\"lvl\"")?;
            return Some(Cell::Key(key.get_ref().clone()));
        }
        let column = problems.require(self.column, &self.at, "column", "0")?;
        within(column, 0..=9_999, "a column; they are counted from 0", problems).map(Cell::Column)
    }

    /// Binary times: which formats a type of field can be.
    pub(super) fn check_time_type(
        &self,
        field: &Field,
        format: TimeFormat,
        problems: &mut Problems<'_>,
    ) {
        let is_text = matches!(field.kind, FieldType::Text | FieldType::Bcd);
        let wants_text = matches!(format, TimeFormat::Rfc3339 | TimeFormat::Local);
        if let Some(number) = self.number.filter(|_| wants_text && !is_text) {
            let message = format!("a time that is {} is a text or bcd", format.as_str());
            problems.report(&number.span(), message);
        }
    }
}

fn within(
    value: &Spanned<i64>,
    allowed: std::ops::RangeInclusive<i64>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<usize> {
    let found = *value.get_ref();
    if allowed.contains(&found) {
        return usize::try_from(found).ok();
    }
    let (low, high) = (allowed.start(), allowed.end());
    problems.report(&value.span(), format_args!("{found} is not {what} ({low} to {high})"));
    None
}

/// Where a point stands in a message.
pub(super) fn compile(
    keys: &Keys<'_>,
    settings: &Settings,
    problems: &mut Problems<'_>,
) -> Option<(Range<usize>, Read)> {
    let at = keys.at.clone();
    let format = settings.format;
    let place = match format {
        PayloadFormat::Json => return compile_json(keys, "mqtt", problems),
        PayloadFormat::Senml => {
            keys.allow_only(&["name", "u", "sum"], format, problems);
            let name = keys.name(problems)?.get_ref().clone();
            let unit = keys.u.map(|unit| unit.get_ref().clone());
            At::Record { name, is_sum: keys.sum.is_some_and(|sum| *sum.get_ref()), unit }
        }
        PayloadFormat::SparkplugB => {
            keys.allow_only(&["metric", "alias", "type"], format, problems);
            metric(keys, problems)?
        }
        PayloadFormat::CayenneLpp => {
            keys.allow_only(&["channel", "type", "component"], format, problems);
            channel(keys, problems)?
        }
        PayloadFormat::Binary => {
            let allowed = ["byte", "type", "endian", "bit", "bits", "length", "optional"];
            keys.allow_only(&allowed, format, problems);
            let field = keys.field(settings.endian, problems)?;
            At::Field { field, is_optional: keys.is_optional() }
        }
        PayloadFormat::Text => {
            let allowed: &[_] = match settings.has_keys {
                true => &["key"],
                false => &["column", "optional"],
            };
            keys.allow_only(allowed, format, problems);
            let cell = keys.cell(settings.has_keys, problems)?;
            At::Cell { cell, is_optional: keys.is_optional() }
        }
    };
    Some((at, Read::Payload(Place(place))))
}

/// Where a point stands in JSON: in a payload, or in what a codec makes of a frame.
pub(super) fn compile_json(
    keys: &Keys<'_>,
    source: &str,
    problems: &mut Problems<'_>,
) -> Option<(Range<usize>, Read)> {
    keys.allow_only_of(&["path"], PayloadFormat::Json, source, problems);
    let path = keys.path(problems)?;
    Some((path.span(), Read::Json(path.get_ref().clone())))
}

fn metric(keys: &Keys<'_>, problems: &mut Problems<'_>) -> Option<At> {
    let name = problems.require(keys.metric, &keys.at, "metric", "\"Outlet/Level\"");
    let kind = match keys.number {
        Some(word) => Some(problems.choose(word, "type", &DataType::ALL, DataType::as_str)?),
        None => None,
    };
    let alias = match keys.alias.map(|alias| (alias, u64::try_from(*alias.get_ref()))) {
        None => None,
        Some((_, Ok(alias))) => Some(alias),
        Some((alias, Err(_))) => {
            problems.report(&alias.span(), "an alias is not less than 0");
            return None;
        }
    };
    Some(At::Metric { name: name?.get_ref().clone(), alias, kind })
}

fn channel(keys: &Keys<'_>, problems: &mut Problems<'_>) -> Option<At> {
    let channel = keys.channel(problems);
    let word = problems.require(keys.number, &keys.at, "type", "\"temperature\"")?;
    let Some(kind) = LppType::of_name(word.get_ref()) else {
        let message = format!("unknown type `{}`", word.get_ref());
        problems.report_choice(&word.span(), message, word.get_ref(), &LppType::names());
        return None;
    };
    let components = kind.components();
    let component = match (keys.component, components.is_empty()) {
        (None, true) => 0,
        (None, false) => {
            problems.require::<()>(None, &keys.at, "component", &format!("\"{}\"", components[0]));
            return None;
        }
        (Some(component), true) => {
            let message = format!("a {} has one number; leave `component` out", word.get_ref());
            problems.report(&component.span(), message);
            return None;
        }
        (Some(component), false) => {
            let found = component.get_ref();
            let Some(at) = components.iter().position(|name| name == found) else {
                let message = format!("unknown component `{found}`");
                problems.report_choice(&component.span(), message, found, &components);
                return None;
            };
            at
        }
    };
    Some(At::Channel { channel: channel?, kind, component })
}
