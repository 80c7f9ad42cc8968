//! Fixtures: what goes in, and what must come out.

mod reports;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::command_test;
use super::lorawan;
use crate::model::{DeviceId, PointIndex, Severity};
use crate::profile::error::Problems;
use crate::profile::fixture::{ExpectedAlert, Fixture, Input};
use crate::profile::payload::{from_base64, from_hex};
use crate::profile::raw::{Maybe, Named, RawRegisters, RawReport, RawTest, RawValue};
use crate::profile::{MqttSource, Point, Profile, Source, Table, TopicTemplate};

pub(super) fn compile_all(
    raw: Vec<Spanned<RawTest>>,
    profile: &Profile,
    problems: &mut Problems<'_>,
) -> Vec<Fixture> {
    let mut fixtures: Vec<Fixture> = Vec::new();
    for test in raw {
        let at = test.span();
        let Some(fixture) = compile(test, profile, &fixtures, problems) else { continue };
        if fixtures.iter().any(|other| other.name == fixture.name) {
            problems.report(&at, format_args!("a test is named `{}` already", fixture.name));
        }
        fixtures.push(fixture);
    }
    fixtures
}

fn compile(
    raw: Spanned<RawTest>,
    profile: &Profile,
    earlier: &[Fixture],
    problems: &mut Problems<'_>,
) -> Option<Fixture> {
    let at = raw.span();
    let mut raw = raw.into_inner();
    refuse_what_is_for_commands(&raw, problems);
    let name = problems.require(raw.name.take(), &at, "name", "\"normal report\"");
    let input = match &profile.source {
        _ if raw.command.is_some() => command_test::compile(&mut raw, &at, profile, problems)
            .map(|given| Input::Command(Box::new(given))),
        Source::Mqtt(mqtt) => compile_message(&mut raw, &at, mqtt, problems),
        Source::Modbus(_) => compile_registers(&mut raw, &at, problems),
        Source::Lorawan(source) => lorawan::compile_frame(&mut raw, &at, source, problems),
    };
    let before = reports::find_earlier(&raw.after, earlier, problems);
    let reports = reports::take(&mut raw, problems);
    let input = input?;
    let fixture = Fixture {
        name: name?.into_inner(),
        line: problems.line_of(&at),
        input,
        topic: raw.topic.map(Spanned::into_inner).unwrap_or_default(),
        before,
        reports: None,
        expect: Vec::new(),
        time: None,
        missing: Vec::new(),
        bad: Vec::new(),
        uncertain: Vec::new(),
        alerts: Vec::new(),
        pending: Vec::new(),
        error: raw.error.map(Spanned::into_inner),
    };
    let words = RawReport {
        device: None,
        time: raw.time,
        expect: raw.expect,
        missing: raw.missing,
        bad: raw.bad,
        uncertain: raw.uncertain,
        alerts: raw.alerts,
        pending: raw.pending,
    };
    let reports = reports.map(|reports| reports::compile(reports, &fixture, profile, problems));
    Some(Fixture { reports, ..outcome(words, fixture, profile, problems) })
}

/// Adds to a fixture what must come out.
fn outcome(
    raw: RawReport,
    fixture: Fixture,
    profile: &Profile,
    problems: &mut Problems<'_>,
) -> Fixture {
    let points = &profile.points;
    let mut names = |list: Vec<Spanned<String>>| -> Vec<PointIndex> {
        list.iter().filter_map(|name| find_point(name, points, problems)).map(|(i, _)| i).collect()
    };
    let [missing, bad, uncertain] = [raw.missing, raw.bad, raw.uncertain].map(&mut names);
    let mut refs = |list: Vec<Spanned<String>>| -> Vec<ExpectedAlert> {
        list.iter().filter_map(|name| find_alert(name, profile, problems)).collect()
    };
    let [alerts, pending] = [raw.alerts, raw.pending].map(&mut refs);
    let expect = compile_expect(raw.expect, points, problems);
    let time = raw.time.and_then(|t| problems.check(&t.span(), t.get_ref().parse()));
    Fixture { expect, time, missing, bad, uncertain, alerts, pending, ..fixture }
}

fn refuse_what_is_for_commands(raw: &RawTest, problems: &mut Problems<'_>) {
    if raw.command.is_some() {
        return;
    }
    let keys = [
        ("given", raw.given.keys().next().map(Spanned::span)),
        ("writes", raw.writes.as_ref().map(Spanned::span)),
        ("refused", raw.refused.as_ref().map(Spanned::span)),
        ("two_person", raw.two_person.as_ref().map(Spanned::span)),
        ("downlink", raw.downlink.as_ref().map(Spanned::span)),
    ];
    for (key, at) in keys.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        problems.report(&at, format_args!("`{key}` is for a test with a `command`"));
    }
}

fn compile_message(
    raw: &mut RawTest,
    at: &Range<usize>,
    mqtt: &MqttSource,
    problems: &mut Problems<'_>,
) -> Option<Input> {
    if let Some(port) = &raw.port {
        lorawan::refuse_port(port, "mqtt", problems);
    }
    if let Some(registers) = &raw.registers {
        problems
            .report(&registers.span(), "`registers` are for modbus; this profile's source is mqtt");
    }
    let device = compile_device(raw.device.take(), problems);
    if let Some(topic) = &raw.topic {
        check_topic(topic, device.as_ref(), mqtt.topic.as_slice(), problems);
    }
    payload(raw, at, problems).map(Input::Message)
}

/// The payload's bytes, in the one of three spellings that the fixture has.
fn payload(raw: &mut RawTest, at: &Range<usize>, problems: &mut Problems<'_>) -> Option<Vec<u8>> {
    let spellings = [&raw.payload, &raw.hex, &raw.base64];
    if let Some(second) = spellings.into_iter().flatten().nth(1) {
        problems.report(&second.span(), "a test has one of `payload`, `hex` and `base64`");
        return None;
    }
    if let Some(hex) = raw.hex.take() {
        return problems.check(&hex.span(), from_hex(hex.get_ref().as_bytes()));
    }
    if let Some(base64) = raw.base64.take() {
        return problems.check(&base64.span(), from_base64(base64.get_ref().as_bytes()));
    }
    let payload = problems.require(raw.payload.take(), at, "payload", "'{\"level\": 1.2}'")?;
    Some(payload.into_inner().into_bytes())
}

pub(super) fn compile_device(raw: Maybe<String>, problems: &mut Problems<'_>) -> Option<DeviceId> {
    raw.and_then(|device| problems.check(&device.span(), device.get_ref().parse()))
}

/// A fixture's topic must be one that the hub would take from the device.
pub(super) fn check_topic(
    topic: &Spanned<String>,
    device: Option<&DeviceId>,
    own: &[TopicTemplate],
    problems: &mut Problems<'_>,
) {
    let found = topic.get_ref();
    let default = found.strip_prefix("devices/").and_then(|rest| rest.strip_suffix("/telemetry"));
    let named = own.iter().find_map(|template| template.device_in(found)).or(default);
    let templates = || {
        let own: String = own.iter().map(|own| format!("{own} or ")).collect();
        vec![format!("expected {own}devices/{{device}}/telemetry")]
    };
    match (named, device) {
        (None, _) => {
            problems.report_with(
                &topic.span(),
                "the hub takes nothing from this topic",
                templates(),
            );
        }
        (Some(named), Some(device)) if named != device.as_str() => {
            let message = format!("the topic names the device `{named}`, the test `{device}`");
            problems.report(&topic.span(), message);
        }
        (Some(named), _) => {
            problems.check(&topic.span(), named.parse::<DeviceId>());
        }
    }
}

fn compile_registers(
    raw: &mut RawTest,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<Input> {
    if let Some(port) = &raw.port {
        lorawan::refuse_port(port, "modbus", problems);
    }
    let keys = [
        ("topic", &raw.topic),
        ("payload", &raw.payload),
        ("hex", &raw.hex),
        ("base64", &raw.base64),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            problems.report(
                &value.span(),
                format_args!("`{key}` is for mqtt; this profile's source is modbus"),
            );
        }
    }
    compile_device(raw.device.take(), problems);
    let example = "{ holding = { 100 = [500] } }";
    let RawRegisters { coil, discrete, holding, input } =
        problems.require(raw.registers.take(), at, "registers", example)?.into_inner();
    let mut words = BTreeMap::new();
    let tables = [
        (Table::Coil, coil),
        (Table::Discrete, discrete),
        (Table::Holding, holding),
        (Table::Input, input),
    ];
    for (table, runs) in tables {
        fill(table, runs, &mut words, problems);
    }
    Some(Input::Registers(words))
}

fn fill(
    table: Table,
    runs: Named<Spanned<Vec<i64>>>,
    words: &mut BTreeMap<(Table, u16), u16>,
    problems: &mut Problems<'_>,
) {
    let highest = if table.is_bits() { 1 } else { i64::from(u16::MAX) };
    for (address, values) in runs {
        let Ok(first) = address.get_ref().parse::<u16>() else {
            let message = format!("`{}` is no address between 0 and 65535", address.get_ref());
            problems.report(&address.span(), message);
            continue;
        };
        for (i, &value) in values.get_ref().iter().enumerate() {
            let at = u16::try_from(usize::from(first) + i);
            let word = u16::try_from(value).ok().filter(|_| value <= highest);
            let (Ok(at), Some(word)) = (at, word) else {
                let message =
                    format!("{} words are between 0 and {highest}, not {value}", table.as_str());
                problems.report(&values.span(), message);
                break;
            };
            if words.insert((table, at), word).is_some() {
                problems.report(
                    &address.span(),
                    format_args!("{} {at} is there twice", table.as_str()),
                );
            }
        }
    }
}

pub(super) fn find_point<'p>(
    name: &Spanned<String>,
    points: &'p [Point],
    problems: &mut Problems<'_>,
) -> Option<(PointIndex, &'p Point)> {
    let found = name.get_ref();
    let at = points.iter().position(|point| point.name.as_str() == found);
    if at.is_none() {
        let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
        problems.report_choice(
            &name.span(),
            format_args!("no point is named `{found}`"),
            found,
            &names,
        );
    }
    at.map(|at| (PointIndex(at as u16), &points[at]))
}

/// `level.high`, `level.high:critical`, or `imbalance` for an alert over several points.
fn find_alert(
    name: &Spanned<String>,
    profile: &Profile,
    problems: &mut Problems<'_>,
) -> Option<ExpectedAlert> {
    let (wanted, severity) = match name.get_ref().split_once(':') {
        None => (name.get_ref().as_str(), None),
        Some((wanted, severity)) => (wanted, Some(severity)),
    };
    let all =
        || profile.alerts().map(|(alert, spec)| (profile.alert_path(alert, spec), alert, spec));
    let Some((_, alert, spec)) = all().find(|(path, ..)| path == wanted) else {
        let paths: Vec<String> = all().map(|(path, ..)| path).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let message = format!("no alert is named `{wanted}`");
        problems.report_choice(&name.span(), message, wanted, &paths);
        return None;
    };
    let Some(word) = severity else { return Some(ExpectedAlert { alert, severity: None }) };
    let own: Vec<Severity> = (0..spec.test.steps()).map(|step| spec.test.severity(step)).collect();
    let found = own.iter().copied().find(|own| own.as_str() == word);
    if found.is_none() {
        let words: Vec<&str> = own.iter().map(|own| own.as_str()).collect();
        let message = format!("`{wanted}` has no severity `{word}`");
        problems.report_choice(&name.span(), message, word, &words);
    }
    found.map(|severity| ExpectedAlert { alert, severity: Some(severity) })
}

fn compile_expect(
    raw: Named<Spanned<RawValue>>,
    points: &[Point],
    problems: &mut Problems<'_>,
) -> Vec<(PointIndex, f64)> {
    let mut expect = Vec::new();
    for (name, value) in raw {
        let Some((index, point)) = find_point(&name, points, problems) else { continue };
        expect.extend(state_or_number(&value, point, problems).map(|value| (index, value)));
    }
    expect
}

/// A number, or the code of the point's state.
pub(super) fn state_or_number(
    value: &Spanned<RawValue>,
    point: &Point,
    problems: &mut Problems<'_>,
) -> Option<f64> {
    let state = match value.get_ref() {
        RawValue::Number(number) => return Some(*number),
        RawValue::Name(state) => state,
    };
    let states = point.states.as_deref().unwrap_or_default();
    let known = states.iter().find(|known| known.name == *state);
    if known.is_none() {
        let names: Vec<&str> = states.iter().map(|s| s.name.as_str()).collect();
        let message = format!("`{}` has no state `{state}`", point.name);
        problems.report_choice(&value.span(), message, state, &names);
    }
    known.map(|known| known.code)
}
