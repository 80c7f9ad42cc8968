//! One point: its unit, range and states, and where it stands.

use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::alert;
use super::place;
use super::register;
use super::source::Wiring;
use super::{TOP, read_duration};
use crate::model::{Label, MetricName};
use crate::profile::error::Problems;
use crate::profile::raw::{Maybe, Named, RawPoint, RawRead, RawState};
use crate::profile::{Point, Read, State, unit};

/// More points than any device model has; also what an index of 16 bits and a look at every pair of them can bear.
const MAX_POINTS: usize = 1_000;

/// A point, and the place in the file that says where to read it.
pub(super) struct Placed {
    pub(super) point: Point,
    pub(super) read_at: Range<usize>,
    /// What the device writes in each state, when it has states.
    pub(super) texts: Vec<(String, f64)>,
}

/// Where a point's raw value stands, and what makes it a value.
struct Reading {
    read: Read,
    scale: f64,
    offset: f64,
    sentinels: Vec<f64>,
    at: Range<usize>,
}

/// Compiles the points in the order of the file; those with problems are left out.
pub(super) fn compile_all(
    raw: Named<RawPoint>,
    wiring: Option<&Wiring>,
    problems: &mut Problems<'_>,
) -> Vec<Placed> {
    if raw.is_empty() {
        problems.require::<()>(None, &TOP, "points", "{ level = { ... } }");
    }
    if let Some(name) = raw.keys().nth(MAX_POINTS) {
        problems.report(&name.span(), format_args!("a profile has at most {MAX_POINTS} points"));
        return Vec::new();
    }
    let mut raw: Vec<_> = raw.into_iter().collect();
    raw.sort_by_key(|(name, _)| name.span().start);
    raw.into_iter().filter_map(|(name, point)| compile(&name, point, wiring, problems)).collect()
}

fn compile(
    name: &Spanned<String>,
    mut raw: RawPoint,
    wiring: Option<&Wiring>,
    problems: &mut Problems<'_>,
) -> Option<Placed> {
    let at = name.span();
    let metric = problems.check(&at, name.get_ref().parse::<MetricName>());
    let label =
        problems.require(raw.label.take(), &at, "label", "{ zh = \"水位\", en = \"Level\" }");
    let texts = raw.states.as_ref().map(|states| texts_of(states.get_ref(), &raw, problems));
    let states = raw.states.take().map(|states| compile_states(states, problems));
    if states.is_some() {
        refuse_measures_of_a_state(&raw, problems);
    }
    let unit = compile_unit(raw.unit, states.is_some(), &at, problems);
    let range = raw.range.and_then(|range| compile_range(&range, problems));
    let deadband = positive(raw.deadband, "deadband", problems);
    let max_rate = positive(raw.max_rate, "max_rate", problems);
    let flatline = read_duration(raw.flatline, problems).map(Spanned::into_inner);
    let alerts = alert::compile_all(raw.alerts, range, states.as_deref(), problems);
    let reading = match raw.expr {
        Some(expr) => derive(&expr, raw.read.as_ref(), problems),
        None => {
            let read = problems.require(raw.read, &at, "read", "{ path = \"/level\" }")?;
            let said = Said { states: states.as_deref(), texts: texts.as_deref() };
            compile_read(read, wiring?, said, problems)?
        }
    };
    let point = Point {
        name: metric?,
        label: label?.into_inner().0,
        unit: unit?,
        read: reading.read,
        scale: reading.scale,
        offset: reading.offset,
        range,
        deadband,
        max_rate,
        flatline,
        sentinels: reading.sentinels,
        states,
        alerts,
    };
    Some(Placed { point, read_at: reading.at, texts: texts.unwrap_or_default() })
}

/// A derived point stands nowhere in what the device sends; its expression is compiled when all points are known.
fn derive(
    expr: &Spanned<String>,
    read: Option<&Spanned<RawRead>>,
    problems: &mut Problems<'_>,
) -> Reading {
    if let Some(read) = read {
        problems.report(&read.span(), "a point has `read` or `expr`, not both");
    }
    Reading { read: Read::Derived, scale: 1.0, offset: 0.0, sentinels: Vec::new(), at: expr.span() }
}

fn refuse_measures_of_a_state(raw: &RawPoint, problems: &mut Problems<'_>) {
    let scale = raw.read.as_ref().and_then(|read| read.get_ref().scale.as_ref());
    let offset = raw.read.as_ref().and_then(|read| read.get_ref().offset.as_ref());
    let keys = [
        ("range", raw.range.as_ref().map(Spanned::span)),
        ("deadband", raw.deadband.as_ref().map(Spanned::span)),
        ("max_rate", raw.max_rate.as_ref().map(Spanned::span)),
        ("scale", scale.map(Spanned::span)),
        ("offset", offset.map(Spanned::span)),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            problems.report(&at, format_args!("a point with states has no `{key}`"));
        }
    }
}

fn compile_unit(
    raw: Maybe<String>,
    is_state: bool,
    point_at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    if is_state {
        if let Some(unit) = raw.filter(|unit| unit.get_ref() != "1") {
            problems.report(&unit.span(), "a point with states has no unit");
        }
        return Some("1".to_owned());
    }
    let unit = problems.require(raw, point_at, "unit", "\"m\"")?;
    let code = unit.get_ref();
    match unit::check(code) {
        Ok(()) => return Some(unit.into_inner()),
        Err(Some(right)) => {
            let help = vec![format!("write \"{right}\"")];
            problems.report_with(&unit.span(), format_args!("`{code}` is not the UCUM code"), help);
        }
        Err(None) => {
            let help = vec!["UCUM, for example m, kPa, m3/h, Cel, %, [ppm], %{LEL}, 1".to_owned()];
            problems.report_with(&unit.span(), format_args!("`{code}` is no unit"), help);
        }
    }
    None
}

pub(super) fn compile_range(
    raw: &Spanned<Vec<f64>>,
    problems: &mut Problems<'_>,
) -> Option<(f64, f64)> {
    match raw.get_ref()[..] {
        [low, high] if low < high && low.is_finite() && high.is_finite() => Some((low, high)),
        [low, high] => {
            problems.report(
                &raw.span(),
                format_args!("a range goes up, this one from {low} to {high}"),
            );
            None
        }
        _ => {
            problems.report(&raw.span(), "a range has two numbers, for example [0, 6]");
            None
        }
    }
}

pub(super) fn positive(value: Maybe<f64>, key: &str, problems: &mut Problems<'_>) -> Option<f64> {
    let value = value?;
    if *value.get_ref() > 0.0 && value.get_ref().is_finite() {
        return Some(value.into_inner());
    }
    problems.report(&value.span(), format_args!("`{key}` must be greater than 0"));
    None
}

fn compile_states(raw: Spanned<Named<RawState>>, problems: &mut Problems<'_>) -> Vec<State> {
    let at = raw.span();
    let mut states: Vec<State> = Vec::new();
    for (code, RawState { name, label, .. }) in raw.into_inner() {
        let at = code.span();
        let Ok(code) = code.get_ref().parse::<i32>() else {
            problems.report(
                &at,
                format_args!("a state's code is a whole number, not `{}`", code.get_ref()),
            );
            continue;
        };
        let code = f64::from(code);
        if !is_word(&name) || name.parse::<f64>().is_ok() {
            let message = format!("`{name}` cannot name a state; {WORD}");
            problems.report(&at, message);
        }
        if states.iter().any(|state| state.name == name || state.code == code) {
            problems.report(&at, format_args!("the state {code} = {name} is there twice"));
        }
        let label = label.unwrap_or_else(|| Label::same(&name));
        states.push(State { code, name, label });
    }
    if states.is_empty() {
        problems
            .report(&at, "a point with states has at least one, for example { 0 = \"closed\" }");
    }
    states.sort_by(|a, b| a.code.total_cmp(&b.code));
    states
}

/// A point's states: their codes, and their texts with their codes.
#[derive(Clone, Copy)]
struct Said<'a> {
    states: Option<&'a [State]>,
    texts: Option<&'a [(String, f64)]>,
}

/// What the device writes in each state: its `text`, else its name.
fn texts_of(
    states: &Named<RawState>,
    point: &RawPoint,
    problems: &mut Problems<'_>,
) -> Vec<(String, f64)> {
    let read = point.read.as_ref().map(Spanned::get_ref);
    let number = read.and_then(|read| read.number.as_ref());
    let is_text = number.is_some_and(|number| number.get_ref() == "text");
    // Registers, frames and channels hold numbers unless it is said otherwise; other payloads may hold either.
    let is_number = read.is_some_and(|read| {
        read.channel.is_some() || ((read.table.is_some() || read.byte.is_some()) && !is_text)
    });
    let mut texts: Vec<(String, f64)> = Vec::new();
    for (code, state) in states {
        if state.text.is_some() && is_number {
            problems.report(&code.span(), "only a point of type \"text\" has states with a `text`");
        }
        let text = state.text.as_ref().unwrap_or(&state.name).trim();
        if texts.iter().any(|(known, _)| known == text) {
            problems.report(&code.span(), format_args!("the text `{text}` is there twice"));
        }
        // A code that is no number is said where the states are read.
        let code = code.get_ref().parse::<i32>().unwrap_or_default();
        texts.push((text.to_owned(), f64::from(code)));
    }
    texts
}

/// What [`is_word`] asks for.
pub(super) const WORD: &str =
    "a name has lower case letters, digits, _ and -, and starts with a letter";

/// Whether a text can name a state or an alert.
pub(super) fn is_word(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(is_inner)
}

fn compile_read(
    raw: Spanned<RawRead>,
    wiring: &Wiring,
    said: Said<'_>,
    problems: &mut Problems<'_>,
) -> Option<Reading> {
    let at = raw.span();
    let mut raw = raw.into_inner();
    let scale = factor(raw.scale.take(), problems);
    let offset = raw.offset.take().map_or(0.0, Spanned::into_inner);
    let sentinels = compile_sentinels(&raw.invalid, said.states, problems);
    let read = match wiring {
        Wiring::Mqtt(settings) => {
            let keys = place::Keys::of_read(&raw, &at);
            place::compile(&keys, settings, problems)
        }
        Wiring::Lorawan(_) => {
            let keys = place::Keys::of_read(&raw, &at);
            place::compile_json(&keys, "lorawan", problems)
        }
        Wiring::Modbus { source, order, zero_based } => {
            let (order, zero_based) = (*order, *zero_based);
            let bus = register::Bus { source, order, zero_based, texts: said.texts };
            register::compile(&raw, &at, &bus, problems).map(|read| (at, Read::Register(read)))
        }
    };
    let (at, read) = read?;
    Some(Reading { read, scale, offset, sentinels, at })
}

pub(super) fn factor(raw: Maybe<f64>, problems: &mut Problems<'_>) -> f64 {
    let Some(scale) = raw else { return 1.0 };
    if *scale.get_ref() == 0.0 || !scale.get_ref().is_finite() {
        problems.report(&scale.span(), "`scale` must be a number other than 0");
    }
    scale.into_inner()
}

fn compile_sentinels(
    raw: &[Spanned<f64>],
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Vec<f64> {
    for sentinel in raw {
        let value = *sentinel.get_ref();
        if !value.is_finite() {
            problems.report(&sentinel.span(), "no number is invalid anyway; leave it out");
        }
        if let Some(state) = states.into_iter().flatten().find(|state| state.code == value) {
            let message =
                format!("{value} is the state `{}` and cannot be invalid too", state.name);
            problems.report(&sentinel.span(), message);
        }
    }
    raw.iter().map(|sentinel| *sentinel.get_ref()).collect()
}
