//! How the device speaks: topic and payload, or bus settings.

use std::ops::Range;
use std::time::Duration;

use crate::profile::spanned::Spanned;

use super::point::Placed;
use super::{TOP, lorawan, read_duration, register};
use crate::model::PointIndex;
use crate::profile::error::Problems;
use crate::profile::json::{JsonDecoder, Sink, TimeFormat};
use crate::profile::raw::{Maybe, RawModbus, RawMqtt, RawSource, RawTime};
use crate::profile::{ModbusSource, MqttSource, Read, Source, TopicTemplate, WordOrder};

/// The Modbus specification's longest read in registers.
const MAX_REGISTERS: i64 = 125;

/// The source before its points are known.
pub(super) enum Wiring {
    Mqtt { topic: Option<TopicTemplate>, time: Option<TimePlace> },
    Modbus { source: ModbusSource, order: WordOrder, zero_based: bool },
    Lorawan(lorawan::Draft),
}

/// Where a message says its time.
pub(super) struct TimePlace {
    path: Spanned<String>,
    format: TimeFormat,
    is_optional: bool,
}

pub(super) fn compile(raw: Maybe<RawSource>, problems: &mut Problems<'_>) -> Option<Wiring> {
    let raw = problems.require(raw, &TOP, "source", "{ mqtt = { payload = \"json\" } }")?;
    let at = raw.span();
    let raw = raw.into_inner();
    match (raw.mqtt, raw.modbus, raw.lorawan) {
        (Some(mqtt), None, None) => compile_mqtt(mqtt.into_inner(), problems),
        (None, Some(modbus), None) => compile_modbus(modbus, problems),
        (None, None, Some(lorawan)) => lorawan::compile(lorawan, problems).map(Wiring::Lorawan),
        (None, None, None) => problems.require(None, &at, "mqtt", "{ payload = \"json\" }"),
        (_, Some(modbus), _) => one_source(&modbus.span(), problems),
        (_, _, Some(lorawan)) => one_source(&lorawan.span(), problems),
    }
}

fn one_source(second: &Range<usize>, problems: &mut Problems<'_>) -> Option<Wiring> {
    problems.report(second, "a profile has one source, mqtt, modbus or lorawan");
    None
}

fn compile_mqtt(raw: RawMqtt, problems: &mut Problems<'_>) -> Option<Wiring> {
    if let Some(payload) = raw.payload.filter(|payload| payload.get_ref() != "json") {
        let message = format!("payload `{}` is not supported yet", payload.get_ref());
        problems.report_choice(&payload.span(), message, payload.get_ref(), &["json"]);
    }
    let topic = raw
        .topic
        .and_then(|topic| problems.check(&topic.span(), topic.get_ref().parse::<TopicTemplate>()));
    let time = raw.time.and_then(|time| compile_time(time, problems));
    Some(Wiring::Mqtt { topic, time })
}

pub(super) fn compile_time(
    raw: Spanned<RawTime>,
    problems: &mut Problems<'_>,
) -> Option<TimePlace> {
    let at = raw.span();
    let raw = raw.into_inner();
    let path = problems.require(raw.path, &at, "path", "\"/ts\"");
    let format = problems.require(raw.format, &at, "format", "\"unix_ms\"");
    let format =
        format.and_then(|f| problems.choose(&f, "format", &TimeFormat::ALL, TimeFormat::as_str));
    let is_optional = raw.optional.is_some_and(Spanned::into_inner);
    Some(TimePlace { path: path?, format: format?, is_optional })
}

fn compile_modbus(raw: Spanned<RawModbus>, problems: &mut Problems<'_>) -> Option<Wiring> {
    let at = raw.span();
    let raw = raw.into_inner();
    let order = raw
        .word_order
        .and_then(|o| problems.choose(&o, "word order", &WordOrder::ALL, WordOrder::as_str));
    let timeout = bounded_duration(
        raw.timeout,
        Duration::from_millis(10)..=Duration::from_secs(60),
        problems,
    );
    let min_request_gap =
        bounded_duration(raw.min_request_gap, Duration::ZERO..=Duration::from_secs(60), problems);
    let mut poll = std::collections::BTreeMap::new();
    for (name, text) in raw.poll {
        let allowed = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
        poll.extend(
            bounded_duration(Some(text), allowed, problems).map(|rate| (name.into_inner(), rate)),
        );
    }
    if poll.is_empty() {
        problems.require::<()>(None, &at, "poll", "{ fast = \"1s\", slow = \"30s\" }");
    }
    let source = ModbusSource {
        max_registers: bounded(raw.max_registers, 1..=MAX_REGISTERS, problems).unwrap_or(120),
        max_gap: bounded(raw.max_gap, 0..=MAX_REGISTERS, problems).unwrap_or(8),
        timeout: timeout.unwrap_or(Duration::from_secs(1)),
        min_request_gap: min_request_gap.unwrap_or(Duration::ZERO),
        poll,
    };
    let zero_based = raw.zero_based.is_some_and(Spanned::into_inner);
    Some(Wiring::Modbus { source, order: order.unwrap_or(WordOrder::ABCD), zero_based })
}

fn bounded(
    value: Maybe<i64>,
    allowed: std::ops::RangeInclusive<i64>,
    problems: &mut Problems<'_>,
) -> Option<u16> {
    let value = value?;
    if allowed.contains(value.get_ref()) {
        return u16::try_from(value.into_inner()).ok();
    }
    let message =
        format!("{} is not between {} and {}", value.get_ref(), allowed.start(), allowed.end());
    problems.report(&value.span(), message);
    None
}

fn bounded_duration(
    text: Maybe<String>,
    allowed: std::ops::RangeInclusive<Duration>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    use crate::profile::duration::format;
    let value = read_duration(text, problems)?;
    if allowed.contains(value.get_ref()) {
        return Some(value.into_inner());
    }
    let [found, low, high] = [value.get_ref(), allowed.start(), allowed.end()].map(|d| format(*d));
    problems.report(&value.span(), format_args!("{found} is not between {low} and {high}"));
    None
}

/// Joins the source with its points: compiles the decoder, or checks the register map as a whole.
pub(super) fn finish(
    wiring: Wiring,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> Option<Source> {
    match wiring {
        Wiring::Modbus { source, .. } => {
            register::check_overlaps(points, problems);
            Some(Source::Modbus(source))
        }
        Wiring::Lorawan(draft) => Some(Source::Lorawan(lorawan::finish(draft, points, problems))),
        Wiring::Mqtt { topic, time } => {
            let decoder = compile_decoder(time, points, problems);
            Some(Source::Mqtt(MqttSource { topic, decoder }))
        }
    }
}

pub(super) fn compile_decoder(
    time: Option<TimePlace>,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> JsonDecoder {
    let mut decoder = JsonDecoder::default();
    let mut add = |pointer: &str, sink: Sink, at: &Range<usize>| {
        problems.check(at, decoder.add(pointer, sink));
    };
    // The time first: that is where devices put it, and the decoder expects members in this order.
    let is_optional = time.as_ref().is_some_and(|time| time.is_optional);
    if let Some(TimePlace { path, format, .. }) = time {
        add(path.get_ref(), Sink::Time(format), &path.span());
    }
    for (i, Placed { point, read_at }) in points.iter().enumerate() {
        let Read::Json(path) = &point.read else { continue };
        let states = point.states.iter().flatten();
        let states = states.map(|state| (state.name.clone(), state.code)).collect();
        add(path, Sink::Point { point: PointIndex(i as u16), states }, read_at);
    }
    if is_optional {
        decoder.allow_untimed();
    }
    decoder
}
