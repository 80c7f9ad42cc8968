//! How the device speaks: topic and payload, or bus settings.

use std::ops::Range;
use std::time::Duration;

use crate::profile::spanned::Spanned;

use super::point::Placed;
use super::{TOP, lorawan, mqtt, read_duration, register};
use crate::profile::error::Problems;
use crate::profile::raw::{Maybe, RawModbus, RawSource};
use crate::profile::{ModbusSource, Source, WordOrder};

/// The Modbus specification's longest read in registers.
const MAX_REGISTERS: i64 = 125;

/// The source before its points are known.
pub(super) enum Wiring {
    Mqtt(mqtt::Settings),
    Modbus { source: ModbusSource, order: WordOrder, zero_based: bool },
    Lorawan(lorawan::Draft),
}

impl Wiring {
    /// Whether commands go out as messages.
    pub(super) fn is_mqtt(&self) -> bool {
        matches!(self, Wiring::Mqtt { .. })
    }

    /// What registers are written by; `None` when the device has none.
    pub(super) fn bus(&self) -> Option<register::Bus<'_>> {
        match self {
            Wiring::Modbus { source, order, zero_based } => {
                let (order, zero_based) = (*order, *zero_based);
                Some(register::Bus { source, order, zero_based, texts: None })
            }
            Wiring::Mqtt { .. } | Wiring::Lorawan(_) => None,
        }
    }
}

pub(super) fn compile(raw: Maybe<RawSource>, problems: &mut Problems<'_>) -> Option<Wiring> {
    let raw = problems.require(raw, &TOP, "source", "{ mqtt = { payload = \"json\" } }")?;
    let at = raw.span();
    let raw = raw.into_inner();
    match (raw.mqtt, raw.modbus, raw.lorawan) {
        (Some(mqtt), None, None) => mqtt::compile(mqtt, problems).map(Wiring::Mqtt),
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

pub(super) fn bounded(
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
        Wiring::Mqtt(settings) => Some(Source::Mqtt(mqtt::finish(settings, points, problems))),
    }
}
