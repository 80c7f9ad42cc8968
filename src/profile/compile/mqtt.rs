//! How a publishing device speaks: `[source.mqtt]`, and the decoder that comes of it and the points.

use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::place::Keys;
use super::point::Placed;
use super::source::bounded;
use crate::model::PointIndex;
use crate::profile::binary::{BinaryDecoder, Endian, Field, Length, PlacedField};
use crate::profile::cayenne::CayenneDecoder;
use crate::profile::error::Problems;
use crate::profile::json::{JsonDecoder, Named, Sink};
use crate::profile::payload::{At, Decoder, Encoding, PayloadFormat, Place, Target, from_hex};
use crate::profile::raw::{Maybe, RawDevice, RawMqtt, RawTime};
use crate::profile::senml::{NamePattern, SenmlDecoder, Slot};
use crate::profile::sparkplug::SparkplugDecoder;
use crate::profile::text::{Cell, Layout, Purpose, Separator, TextDecoder};
use crate::profile::time::{LocalTime, TimeReader};
use crate::profile::{DeviceTime, MqttSource, Read, TimeFormat, TopicTemplate};

/// The most lines of a text that can be its head.
const MAX_HEAD: i64 = 1_000;

/// The longest frame that a profile can ask for, in bytes.
const MAX_FRAME: i64 = 65_535;

/// The source before its points are known.
pub(super) struct Settings {
    pub(super) format: PayloadFormat,
    /// Binary: the order of bytes where a field does not say it.
    pub(super) endian: Endian,
    /// Text: cells have keys, not numbers.
    pub(super) has_keys: bool,
    topic: Option<TopicTemplate>,
    time: Option<TimePlace>,
    device: Option<DevicePlace>,
    /// JSON: where the list of reports stands.
    each: Option<Spanned<String>>,
    encoding: Encoding,
    length: Length,
    constants: Vec<(usize, Box<[u8]>)>,
    layout: Layout,
}

/// Where a message says its time.
pub(super) struct TimePlace {
    at: Range<usize>,
    place: ClockAt,
    reader: Option<TimeReader>,
    is_optional: bool,
    is_outside: bool,
}

enum ClockAt {
    Path(String),
    Channel(u8),
    Field(Field),
    Cell(Cell),
    /// The format itself says where.
    BuiltIn,
}

/// Where a message names its device.
struct DevicePlace {
    at: Range<usize>,
    place: NameAt,
    named: Named,
    is_outside: bool,
}

enum NameAt {
    Path(String),
    Pattern(NamePattern),
    Cell(Cell),
}

pub(super) fn compile(raw: Spanned<RawMqtt>, problems: &mut Problems<'_>) -> Option<Settings> {
    let raw = raw.into_inner();
    let format = match &raw.payload {
        None => PayloadFormat::Json,
        Some(word) => {
            problems.choose(word, "payload", &PayloadFormat::ALL, PayloadFormat::as_str)?
        }
    };
    refuse_other_keys(&raw, format, problems);
    let topic = raw.topic.as_ref();
    let topic = topic.and_then(|t| problems.check(&t.span(), t.get_ref().parse::<TopicTemplate>()));
    let endian = raw.endian.as_ref();
    let endian = endian.and_then(|e| problems.choose(e, "endian", &Endian::ALL, Endian::as_str));
    let encoding = raw.encoding.as_ref();
    let encoding =
        encoding.and_then(|e| problems.choose(e, "encoding", &Encoding::ALL, Encoding::as_str));
    let layout = compile_layout(&raw, problems);
    let mut settings = Settings {
        format,
        endian: endian.unwrap_or_default(),
        has_keys: raw.assign.is_some(),
        topic,
        time: None,
        device: None,
        length: compile_length(&raw, problems),
        constants: compile_constants(&raw, problems),
        each: raw.each,
        encoding: encoding.unwrap_or_default(),
        layout: layout?,
    };
    settings.time = raw.time.and_then(|time| compile_time(time, &settings, problems));
    settings.device = raw.device.and_then(|device| compile_device(device, &settings, problems));
    Some(settings)
}

/// A key, where it stands, and the formats that have it.
type FormatKey<'f> = (&'static str, Option<Range<usize>>, &'f [PayloadFormat]);

/// The source's keys that only some formats have.
fn refuse_other_keys(raw: &RawMqtt, format: PayloadFormat, problems: &mut Problems<'_>) {
    use PayloadFormat::{Binary, CayenneLpp, Json, Senml, SparkplugB, Text};
    fn place<T>(value: &Maybe<T>) -> Option<Range<usize>> {
        value.as_ref().map(Spanned::span)
    }
    let constants = raw.constants.keys().next().map(Spanned::span);
    let no_value = raw.no_value.first().map(Spanned::span);
    let keys: [FormatKey<'_>; 14] = [
        ("time", place(&raw.time), &[Json, SparkplugB, CayenneLpp, Binary, Text]),
        ("device", place(&raw.device), &[Json, Senml, Text]),
        ("each", place(&raw.each), &[Json]),
        ("encoding", place(&raw.encoding), &[SparkplugB, CayenneLpp, Binary]),
        ("endian", place(&raw.endian), &[Binary]),
        ("length", place(&raw.length), &[Binary]),
        ("min_length", place(&raw.min_length), &[Binary]),
        ("max_length", place(&raw.max_length), &[Binary]),
        ("constants", constants, &[Binary]),
        ("separator", place(&raw.separator), &[Text]),
        ("assign", place(&raw.assign), &[Text]),
        ("comment", place(&raw.comment), &[Text]),
        ("skip_lines", place(&raw.skip_lines), &[Text]),
        ("no_value", no_value, &[Text]),
    ];
    let allowed = keys.iter().filter(|(.., formats)| formats.contains(&format));
    let allowed: Vec<&str> = ["topic", "payload"].into_iter().chain(allowed.map(|k| k.0)).collect();
    for (key, at, formats) in &keys {
        let Some(at) = at.as_ref().filter(|_| !formats.contains(&format)) else { continue };
        let why = match (*key, format) {
            ("time", Senml) => "; SenML has its own",
            ("device", SparkplugB) => "; its topic names the device",
            _ => "",
        };
        let message = format!("`{key}` says nothing of a {} payload{why}", format.as_str());
        problems.report_with(at, message, vec![format!("allowed: {}", allowed.join(", "))]);
    }
}

impl Settings {
    /// Those of JSON with nothing special.
    fn of_json() -> Self {
        Settings {
            format: PayloadFormat::Json,
            endian: Endian::default(),
            has_keys: false,
            topic: None,
            time: None,
            device: None,
            each: None,
            encoding: Encoding::default(),
            length: Length::default(),
            constants: Vec::new(),
            layout: Layout {
                separator: Separator::Sign(','),
                assign: '=',
                comment: None,
                skip_lines: 0,
                no_value: Vec::new(),
            },
        }
    }
}

/// The time of a JSON document that did not come as a payload: what a codec makes of a frame.
pub(super) fn compile_json_time(
    raw: Spanned<RawTime>,
    problems: &mut Problems<'_>,
) -> Option<TimePlace> {
    compile_time(raw, &Settings::of_json(), problems)
}

/// As [`compile_json_time`], for the whole document.
pub(super) fn json_decoder(
    time: Option<TimePlace>,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> JsonDecoder {
    json(Settings { time, ..Settings::of_json() }, points, problems)
}

fn compile_time(
    raw: Spanned<RawTime>,
    settings: &Settings,
    problems: &mut Problems<'_>,
) -> Option<TimePlace> {
    let at = raw.span();
    let raw = raw.into_inner();
    let keys = Keys::of_time(&raw, &at);
    let mut at = at.clone();
    let format = settings.format;
    let spelling: &[&'static str] = &["format", "pattern", "zone", "optional"];
    let allow = |own: &[&'static str], problems: &mut Problems<'_>| {
        keys.allow_only(&[own, spelling].concat(), format, problems);
    };
    let place = match format {
        PayloadFormat::Json => {
            let own: &[_] = if settings.each.is_some() { &["path", "outside"] } else { &["path"] };
            allow(own, problems);
            let path = keys.path(problems);
            path.map(|path| {
                at = path.span();
                ClockAt::Path(path.get_ref().clone())
            })
        }
        PayloadFormat::CayenneLpp => {
            keys.allow_only(&["channel", "optional"], format, problems);
            keys.channel(problems).map(ClockAt::Channel)
        }
        PayloadFormat::Binary => {
            allow(&["byte", "type", "endian", "length"], problems);
            keys.field(settings.endian, problems).map(ClockAt::Field)
        }
        PayloadFormat::Text => {
            allow(if settings.has_keys { &["key"] } else { &["column"] }, problems);
            keys.cell(settings.has_keys, problems).map(ClockAt::Cell)
        }
        PayloadFormat::Senml | PayloadFormat::SparkplugB => {
            keys.allow_only(&["optional"], format, problems);
            Some(ClockAt::BuiltIn)
        }
    };
    let (is_optional, is_outside) = (keys.is_optional(), keys.is_outside());
    let reader = match format {
        PayloadFormat::CayenneLpp | PayloadFormat::Senml | PayloadFormat::SparkplugB => None,
        _ => Some(compile_reader(&keys, place.as_ref(), problems)?),
    };
    Some(TimePlace { at, place: place?, reader, is_optional, is_outside })
}

fn compile_reader(
    keys: &Keys<'_>,
    place: Option<&ClockAt>,
    problems: &mut Problems<'_>,
) -> Option<TimeReader> {
    let (word, pattern, zone) = keys.time();
    let word = problems.require(word, keys.at(), "format", "\"unix_ms\"")?;
    let format = problems.choose(word, "format", &TimeFormat::ALL, TimeFormat::as_str)?;
    if let Some(ClockAt::Field(field)) = place {
        keys.check_time_type(field, format, problems);
    }
    if let Some(reader) = format.reader() {
        for (key, value) in [("pattern", pattern), ("zone", zone)] {
            if let Some(value) = value {
                let help = vec!["it is for format = \"local\"".to_owned()];
                let message = format!("`{key}` says nothing of {}", format.as_str());
                problems.report_with(&value.span(), message, help);
            }
        }
        return Some(reader);
    }
    let pattern = problems.require(pattern, keys.at(), "pattern", "\"%Y-%m-%d %H:%M:%S\"");
    let zone = problems.require(zone, keys.at(), "zone", "\"Asia/Shanghai\"");
    let (pattern, zone) = (pattern?, zone?);
    let local = LocalTime::new(pattern.get_ref(), zone.get_ref());
    let at = match &local {
        Err(error) if error.is_of_zone() => zone.span(),
        _ => pattern.span(),
    };
    problems.check(&at, local).map(TimeReader::Local)
}

fn compile_device(
    raw: Spanned<RawDevice>,
    settings: &Settings,
    problems: &mut Problems<'_>,
) -> Option<DevicePlace> {
    let at = raw.span();
    let raw = raw.into_inner();
    let keys = Keys::of_device(&raw, &at);
    let mut at = at.clone();
    let format = settings.format;
    let place = match format {
        PayloadFormat::Json => {
            let own: &[_] = match settings.each {
                Some(_) => &["path", "optional", "outside"],
                None => &["path", "optional"],
            };
            keys.allow_only(own, format, problems);
            let path = keys.path(problems)?;
            at = path.span();
            NameAt::Path(path.get_ref().clone())
        }
        PayloadFormat::Senml => {
            keys.allow_only(&["name"], format, problems);
            let name = keys.name(problems)?;
            NameAt::Pattern(problems.check(&name.span(), name.get_ref().parse())?)
        }
        PayloadFormat::Text => {
            let own: &[_] =
                if settings.has_keys { &["key", "optional"] } else { &["column", "optional"] };
            keys.allow_only(own, format, problems);
            NameAt::Cell(keys.cell(settings.has_keys, problems)?)
        }
        // Said already: these have no such key.
        _ => return None,
    };
    let named = if keys.is_optional() { Named::Sometimes } else { Named::Always };
    Some(DevicePlace { at, place, named, is_outside: keys.is_outside() })
}

fn compile_length(raw: &RawMqtt, problems: &mut Problems<'_>) -> Length {
    let mut read = |value: &Maybe<i64>| {
        let value = value.as_ref().map(|value| Spanned::new(value.span(), *value.get_ref()));
        bounded(value, 1..=MAX_FRAME, problems).map(usize::from)
    };
    let (exact, least, most) = (read(&raw.length), read(&raw.min_length), read(&raw.max_length));
    if let (Some(length), Some(_)) =
        (&raw.length, raw.min_length.as_ref().or(raw.max_length.as_ref()))
    {
        problems.report(&length.span(), "`length` is exact; with it leave the other lengths out");
    }
    if let (Some(low), Some(high), Some(at)) = (least, most, &raw.max_length)
        && high < low
    {
        problems.report(&at.span(), format_args!("`max_length` is less than `min_length`, {low}"));
    }
    Length { least: exact.or(least), most: exact.or(most) }
}

fn compile_constants(raw: &RawMqtt, problems: &mut Problems<'_>) -> Vec<(usize, Box<[u8]>)> {
    let mut constants = Vec::new();
    for (byte, hex) in &raw.constants {
        let Ok(first) = byte.get_ref().parse::<u16>() else {
            let message = format!("`{}` is no byte of a frame, from 0", byte.get_ref());
            problems.report(&byte.span(), message);
            continue;
        };
        let bytes = from_hex(hex.get_ref().as_bytes());
        match problems.check(&hex.span(), bytes) {
            Some(bytes) if bytes.is_empty() => {
                problems.report(&hex.span(), "no bytes; for example \"A5 5A\"");
            }
            Some(bytes) => constants.push((usize::from(first), bytes.into())),
            None => {}
        }
    }
    constants.sort();
    constants
}

fn compile_layout(raw: &RawMqtt, problems: &mut Problems<'_>) -> Option<Layout> {
    let assign = match &raw.assign {
        None => '=',
        Some(text) => one_sign(text, problems)?,
    };
    let separator = match raw.separator.as_ref().map(|text| (text, text.get_ref().as_str())) {
        None if raw.assign.is_some() => Separator::Spaces,
        None => Separator::Sign(','),
        Some((_, " ")) => Separator::Spaces,
        Some((text, _)) => Separator::Sign(one_sign(text, problems)?),
    };
    if let (Some(text), true) = (&raw.assign, separator == Separator::Sign(assign)) {
        problems.report(&text.span(), "what separates two cells cannot be in the middle of one");
    }
    if let Some(comment) = raw.comment.as_ref().filter(|text| text.get_ref().is_empty()) {
        problems.report(&comment.span(), "every line starts so; for example \"#\"");
    }
    let skip = raw.skip_lines.as_ref().map(|n| Spanned::new(n.span(), *n.get_ref()));
    let skip_lines = bounded(skip, 0..=MAX_HEAD, problems).map_or(0, usize::from);
    Some(Layout {
        separator,
        assign,
        comment: raw.comment.as_ref().map(|text| text.get_ref().as_str().into()),
        skip_lines,
        no_value: raw.no_value.iter().map(|word| word.get_ref().as_str().into()).collect(),
    })
}

fn one_sign(text: &Spanned<String>, problems: &mut Problems<'_>) -> Option<char> {
    let mut signs = text.get_ref().chars();
    match (signs.next(), signs.next()) {
        (Some(sign), None) if !sign.is_alphanumeric() && sign != '"' && sign != '\n' => Some(sign),
        _ => {
            let help = vec!["for example: \",\", \";\", \"\\t\"; \" \" for any spaces".to_owned()];
            problems.report_with(&text.span(), "this is one sign, no letter, digit or quote", help);
            None
        }
    }
}

/// Joins the source with its points.
pub(super) fn finish(
    settings: Settings,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> MqttSource {
    let topic = settings.topic.clone();
    let decoder = match settings.format {
        PayloadFormat::Json => Decoder::Json(json(settings, points, problems)),
        PayloadFormat::Senml => Decoder::Senml(senml(settings, points)),
        PayloadFormat::SparkplugB => Decoder::Sparkplug(sparkplug(settings, points)),
        PayloadFormat::CayenneLpp => Decoder::Cayenne(cayenne(settings, points)),
        PayloadFormat::Binary => Decoder::Binary(binary(settings, points, problems)),
        PayloadFormat::Text => Decoder::Text(text(settings, points)),
    };
    MqttSource { topic, decoder }
}

/// Each point with its place in a payload that is not JSON.
fn targets(points: &[Placed]) -> impl Iterator<Item = (&At, Target, &Range<usize>)> {
    points.iter().enumerate().filter_map(|(i, placed)| match &placed.point.read {
        Read::Payload(Place(at)) => {
            let states = placed.texts.as_slice().into();
            Some((at, Target { point: PointIndex(i as u16), states }, &placed.read_at))
        }
        _ => None,
    })
}

fn json(settings: Settings, points: &[Placed], problems: &mut Problems<'_>) -> JsonDecoder {
    let Settings { time, device, each, .. } = settings;
    let mut decoder = if each.is_some() { JsonDecoder::of_list() } else { JsonDecoder::default() };
    let mut add = |pointer: &str, sink: Sink, at: &Range<usize>| {
        problems.check(at, decoder.add(pointer, sink));
    };
    // The time first: that is where devices put it, and the decoder expects members in this order.
    let is_untimed = time.as_ref().is_some_and(|time| time.is_optional);
    if let Some(TimePlace {
        at,
        place: ClockAt::Path(path),
        reader: Some(reader),
        is_outside,
        ..
    }) = time
    {
        let sink = if is_outside { Sink::TimeOfAll(reader) } else { Sink::Time(reader) };
        add(&path, sink, &at);
    }
    let named = device.as_ref().map(|device| device.named);
    if let Some(DevicePlace { at, place: NameAt::Path(path), is_outside, .. }) = device {
        add(&path, if is_outside { Sink::DeviceOfAll } else { Sink::Device }, &at);
    }
    for (i, Placed { point, read_at, texts }) in points.iter().enumerate() {
        let Read::Json(path) = &point.read else { continue };
        let states = texts.as_slice().into();
        add(path, Sink::Point { point: PointIndex(i as u16), states }, read_at);
    }
    if is_untimed {
        decoder.allow_untimed();
    }
    if let Some(named) = named {
        decoder.name_devices(named);
    }
    if let Some(each) = each {
        problems.check(&each.span(), decoder.read_each(each.get_ref()));
    }
    decoder
}

fn senml(settings: Settings, points: &[Placed]) -> SenmlDecoder {
    let pattern = settings.device.and_then(|device| match device.place {
        NameAt::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    let mut decoder = SenmlDecoder::new(pattern);
    for (at, target, _) in targets(points) {
        let At::Record { name, is_sum, unit } = at else { continue };
        decoder.add(name, Slot { target, is_sum: *is_sum, unit: unit.clone() });
    }
    decoder
}

fn sparkplug(settings: Settings, points: &[Placed]) -> SparkplugDecoder {
    let is_optional = settings.time.is_some_and(|time| time.is_optional);
    let mut decoder = SparkplugDecoder::new(settings.topic, settings.encoding, is_optional);
    for (at, target, _) in targets(points) {
        let At::Metric { name, alias, kind } = at else { continue };
        decoder.add(name, *alias, *kind, target);
    }
    decoder
}

fn cayenne(settings: Settings, points: &[Placed]) -> CayenneDecoder {
    let mut decoder = CayenneDecoder::new(settings.encoding);
    if let Some(TimePlace { place: ClockAt::Channel(channel), is_optional, .. }) = settings.time {
        decoder.set_time(channel, is_optional);
    }
    for (at, target, _) in targets(points) {
        let At::Channel { channel, kind, component } = at else { continue };
        decoder.add(*channel, *kind, *component, target);
    }
    decoder
}

fn binary(settings: Settings, points: &[Placed], problems: &mut Problems<'_>) -> BinaryDecoder {
    let Settings { encoding, length, constants, time, .. } = settings;
    let is_untimed = time.as_ref().is_some_and(|time| time.is_optional);
    let time = time.and_then(|time| match time {
        TimePlace { at, place: ClockAt::Field(field), reader, .. } => {
            check_end(field.end(), length, &at, problems);
            Some((field, reader?))
        }
        _ => None,
    });
    let mut fields = Vec::new();
    for (at, target, read_at) in targets(points) {
        let At::Field { field, is_optional } = at else { continue };
        check_end(field.end(), length, read_at, problems);
        fields.push(PlacedField { field: *field, target, is_optional: *is_optional });
    }
    let untimed = if is_untimed { DeviceTime::Unsaid } else { DeviceTime::Unreadable };
    BinaryDecoder { encoding, length, constants, fields, time, untimed }
}

/// A field beyond the longest frame is never there.
fn check_end(end: usize, length: Length, at: &Range<usize>, problems: &mut Problems<'_>) {
    if let Some(most) = length.most.filter(|most| end > *most) {
        let message = format!("this ends at byte {end}; a frame has at most {most} bytes");
        problems.report(at, message);
    }
}

fn text(settings: Settings, points: &[Placed]) -> TextDecoder {
    let Settings { time, device, layout, .. } = settings;
    let mut decoder = TextDecoder::new(layout);
    let is_untimed = time.as_ref().is_some_and(|time| time.is_optional);
    if let Some(TimePlace { place: ClockAt::Cell(cell), reader: Some(reader), .. }) = time {
        decoder.add(cell, Purpose::Time(reader));
    }
    if is_untimed {
        decoder.allow_untimed();
    }
    if let Some(DevicePlace { place: NameAt::Cell(cell), named, .. }) = device {
        decoder.add(cell, Purpose::Device);
        decoder.name_devices(named);
    }
    for (at, target, _) in targets(points) {
        let At::Cell { cell, is_optional } = at else { continue };
        decoder.add(cell.clone(), Purpose::Point { target, is_optional: *is_optional });
    }
    decoder
}

#[cfg(test)]
mod tests;
