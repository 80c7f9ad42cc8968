//! Limits: what is tested, and whether it can ever be raised and cleared.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::profile::spanned::Spanned;

use super::point::{WORD, is_word};
use super::{expression, read_duration};
use crate::model::{Label, MetricName, PointIndex, Severity};
use crate::profile::error::Problems;
use crate::profile::expr::{Kind, Scope};
use crate::profile::raw::{Maybe, Named, RawAlert, RawConditionAlert, RawFlap, RawRung, RawValue};
use crate::profile::{
    AlertSpec, AlertTest, Condition, ConditionInput, Flap, Point, Rung, Side, Signal, State,
};

type Bounds = Option<(f64, f64)>;

/// Compiles a point's alerts in the order of the file; those with problems are left out.
pub(super) fn compile_all(
    raw: Named<RawAlert>,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Vec<Arc<AlertSpec>> {
    let mut raw: Vec<_> = raw.into_iter().collect();
    raw.sort_by_key(|(name, _)| name.span().start);
    raw.into_iter()
        .filter_map(|(name, alert)| compile(name, alert, range, states, problems))
        .map(Arc::new)
        .collect()
}

/// Reads one alert of a point from JSON that has a profile's keys: a rule of the town's own is written as a profile's.
///
/// # Errors
/// Everything that is wrong with it, in words.
pub(crate) fn read(
    name: &str,
    rule: &serde_json::Map<String, serde_json::Value>,
    point: &Point,
) -> Result<AlertSpec, Vec<String>> {
    let text = toml::to_string(rule).map_err(|why| vec![why.to_string()])?;
    let raw = toml::from_str::<RawAlert>(&text).map_err(|why| vec![why.message().to_owned()])?;
    let mut problems = Problems::new(name, &text);
    let name = Spanned::new(0..0, name.to_owned());
    let spec = compile(name, raw, point.range, point.states.as_deref(), &mut problems);
    let errors = problems.into_errors();
    match spec {
        Some(spec) if errors.is_empty() => Ok(spec),
        _ => Err(errors.into_iter().map(|error| tell(error.message, &error.help)).collect()),
    }
}

fn tell(message: String, help: &[String]) -> String {
    if help.is_empty() { message } else { format!("{message} ({})", help.join("; ")) }
}

fn compile(
    name: Spanned<String>,
    raw: RawAlert,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<AlertSpec> {
    let at = name.span();
    check_name(&name, problems);
    let test = compile_test(&raw, &at, range, states, problems);
    let patience = Patience {
        on_delay: raw.on_delay,
        off_delay: raw.off_delay,
        re_alarm: raw.re_alarm,
        flap: raw.flap,
        schedule: raw.schedule,
    };
    if raw.flat.is_some()
        && let Some(on_delay) = &patience.on_delay
    {
        problems.report(&on_delay.span(), "a flat line has waited already: `flat` says how long");
    }
    let patience = patience.compile(problems);
    let text = problems.require(raw.text, &at, "text", "{ zh = \"水位高\", en = \"Level high\" }");
    Some(patience.spec(name.into_inner(), text?.into_inner().0, test?))
}

/// Compiles alerts that are conditions over the points in `scope`, in the order of the file. `points` are the metrics and
/// how old a reading of each may be, by [`PointIndex`].
pub(super) fn compile_conditions(
    raw: Vec<Spanned<RawConditionAlert>>,
    scope: &Scope<'_>,
    points: &[(MetricName, Duration)],
    problems: &mut Problems<'_>,
) -> Vec<Arc<AlertSpec>> {
    let mut specs: Vec<Arc<AlertSpec>> = Vec::new();
    for raw in raw {
        let at = raw.span();
        let spec = compile_condition(raw, scope, points, problems);
        specs.extend(spec.map(|spec| {
            if spec.name == "no_data" || specs.iter().any(|other| other.name == spec.name) {
                problems.report(&at, format_args!("another alert is named `{}`", spec.name));
            }
            Arc::new(spec)
        }));
    }
    specs
}

fn compile_condition(
    raw: Spanned<RawConditionAlert>,
    scope: &Scope<'_>,
    points: &[(MetricName, Duration)],
    problems: &mut Problems<'_>,
) -> Option<AlertSpec> {
    let at = raw.span();
    let raw = raw.into_inner();
    let name = problems.require(raw.name, &at, "name", "\"imbalance\"");
    if let Some(name) = &name {
        check_name(name, problems);
    }
    let when = problems.require(raw.when, &at, "when", "\"inflow > 2 * outflow\"");
    let expr =
        when.as_ref().and_then(|when| expression::compile(when, scope, Kind::Bool, problems));
    if let (Some(when), Some(expr)) = (&when, &expr)
        && expr.inputs().is_empty()
    {
        problems.report(&when.span(), "a condition uses at least one point");
    }
    let max_age = read_duration(raw.max_age, problems).map(Spanned::into_inner);
    let severity = compile_severity(raw.severity.as_ref(), &at, problems);
    let patience = Patience {
        on_delay: raw.on_delay,
        off_delay: raw.off_delay,
        re_alarm: raw.re_alarm,
        flap: raw.flap,
        schedule: raw.schedule,
    };
    let patience = patience.compile(problems);
    let example = "{ zh = \"进出水不平衡\", en = \"Inflow and outflow differ\" }";
    let text = problems.require(raw.text, &at, "text", example);
    let (expr, when) = (expr?, when?);
    let input = |&asked_as: &PointIndex| {
        let (metric, age) = points.get(usize::from(asked_as.0))?;
        let max_age = max_age.unwrap_or(*age);
        Some(ConditionInput { asked_as, device: None, metric: metric.clone(), max_age })
    };
    let inputs = expr.inputs().iter().map(input).collect::<Option<Vec<_>>>()?;
    let expr = Condition { text: when.into_inner(), expr, inputs };
    let test = AlertTest::Holds { expr, severity: severity? };
    Some(patience.spec(name?.into_inner(), text?.into_inner().0, test))
}

/// What every alert may say besides its test.
struct Patience {
    on_delay: Maybe<String>,
    off_delay: Maybe<String>,
    re_alarm: Maybe<String>,
    flap: Maybe<RawFlap>,
    schedule: Maybe<String>,
}

/// As [`Patience`], read.
#[derive(Default)]
struct Patient {
    on_delay: Duration,
    off_delay: Duration,
    re_alarm: Option<Duration>,
    flap: Option<Flap>,
    schedule: Option<String>,
}

impl Patience {
    fn compile(self, problems: &mut Problems<'_>) -> Patient {
        let [on_delay, off_delay] = [self.on_delay, self.off_delay].map(|delay| {
            read_duration(delay, problems).map(Spanned::into_inner).unwrap_or_default()
        });
        let re_alarm = read_duration(self.re_alarm, problems);
        let re_alarm = re_alarm.and_then(|after| not_zero(after, "re_alarm", problems));
        let flap = self.flap.and_then(|flap| compile_flap(flap, problems));
        let schedule = self.schedule.map(Spanned::into_inner);
        Patient { on_delay, off_delay, re_alarm, flap, schedule }
    }
}

impl Patient {
    fn spec(self, name: String, text: Label, test: AlertTest) -> AlertSpec {
        let Patient { on_delay, off_delay, re_alarm, flap, schedule } = self;
        AlertSpec {
            on_delay,
            off_delay,
            re_alarm,
            flap,
            schedule,
            ..AlertSpec::new(name, text, test)
        }
    }
}

fn compile_flap(raw: Spanned<RawFlap>, problems: &mut Problems<'_>) -> Option<Flap> {
    let at = raw.span();
    let raw = raw.into_inner();
    let times = problems.require(raw.times, &at, "times", "5")?;
    let Some(times) = u32::try_from(*times.get_ref()).ok().filter(|times| *times <= Flap::MOST)
    else {
        let message = format!("`times` is from 0 to {}, not {}", Flap::MOST, times.get_ref());
        problems.report(&times.span(), message);
        return None;
    };
    if times == 0 {
        return Some(Flap::NEVER);
    }
    let within = problems.require(raw.within, &at, "within", "\"10min\"");
    let within = read_duration(within, problems)?;
    let within = not_zero(within, "within", problems)?;
    Some(Flap { times, within })
}

fn not_zero(
    duration: Spanned<Duration>,
    key: &str,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    if duration.get_ref().is_zero() {
        problems.report(&duration.span(), format_args!("`{key}` must be longer than nothing"));
        return None;
    }
    Some(duration.into_inner())
}

fn check_name(name: &Spanned<String>, problems: &mut Problems<'_>) {
    if !is_word(name.get_ref()) {
        let message = format!("`{}` cannot name an alert; {WORD}", name.get_ref());
        problems.report(&name.span(), message);
    }
}

fn compile_severity(
    raw: Option<&Spanned<String>>,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<Severity> {
    let severity = problems.require(raw, at, "severity", "\"major\"")?;
    problems.choose(severity, "severity", &Severity::ALL, Severity::as_str)
}

fn compile_test(
    raw: &RawAlert,
    at: &Range<usize>,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<AlertTest> {
    if let Some(flat) = &raw.flat {
        return compile_flat(flat, raw, at, states, problems);
    }
    if let Some(band) = &raw.band {
        problems.report(&band.span(), "`band` is for flat lines: say `flat`, too");
    }
    let of = compile_signal(raw, problems)?;
    let reach = of.reach(range);
    if let Some(ladder) = &raw.ladder {
        let side = refuse_beside_ladder(raw, problems)
            .and_then(|()| compile_ladder(ladder, reach, states, problems));
        return side.map(|(side, rungs)| AlertTest::Limit { of, side, rungs });
    }
    let severity = compile_severity(raw.severity.as_ref(), at, problems);
    let mut limit = |side, limit: &Spanned<f64>| {
        let (limit, clear) = compile_limit(side, limit, &raw.clear, reach, states, problems)?;
        let rungs = vec![Rung { severity: severity?, limit, clear, text: None }];
        Some(AlertTest::Limit { of, side, rungs })
    };
    match (&raw.above, &raw.below, &raw.equals) {
        (Some(above), None, None) => limit(Side::Above, above),
        (None, Some(below), None) => limit(Side::Below, below),
        (None, None, Some(state)) => {
            if let Some(clear) = &raw.clear {
                problems.report(
                    &clear.span(),
                    "`clear` is for limits; a state clears when it is another",
                );
            }
            if of != Signal::Value {
                problems.report(&state.span(), "a state neither rises nor falls nor sums up");
            }
            let code = compile_state(state, states, problems)?;
            Some(AlertTest::Equals { code, severity: severity? })
        }
        (None, None, None) => problems.require(None, at, "above", "2.5"),
        _ => {
            problems.report(at, "an alert tests one of above, below and equals");
            None
        }
    }
}

fn compile_flat(
    flat: &Spanned<String>,
    raw: &RawAlert,
    at: &Range<usize>,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<AlertTest> {
    let others =
        [raw.above.is_some(), raw.below.is_some(), raw.equals.is_some(), raw.clear.is_some()];
    let windows = [raw.rise.is_some(), raw.fall.is_some(), raw.sum.is_some(), raw.ladder.is_some()];
    if others.into_iter().chain(windows).any(|is_there| is_there) {
        problems.report(&flat.span(), "a flat line has no limits: say only `flat` and `band`");
        return None;
    }
    if states.is_some() {
        problems.report(&flat.span(), "a point with states is tested with `equals`");
        return None;
    }
    let severity = compile_severity(raw.severity.as_ref(), at, problems);
    let after = read_duration(Some(flat.clone()), problems)?;
    let after = not_zero(after, "flat", problems);
    let band = raw.band.as_ref().map_or(0.0, |band| *band.get_ref());
    if let Some(raw) = &raw.band
        && !(band.is_finite() && band >= 0.0)
    {
        problems.report(&raw.span(), format_args!("`band` is a width, at least 0, not {band}"));
        return None;
    }
    Some(AlertTest::Flat { band, after: after?, severity: severity? })
}

fn compile_signal(raw: &RawAlert, problems: &mut Problems<'_>) -> Option<Signal> {
    let given: Vec<(&str, &Spanned<String>)> =
        [("rise", &raw.rise), ("fall", &raw.fall), ("sum", &raw.sum)]
            .into_iter()
            .filter_map(|(key, window)| window.as_ref().map(|window| (key, window)))
            .collect();
    let (key, window) = match given[..] {
        [] => return Some(Signal::Value),
        [one] => one,
        [_, (_, second), ..] => {
            problems.report(&second.span(), "an alert looks at one of rise, fall and sum");
            return None;
        }
    };
    let window = read_duration(Some(window.clone()), problems)?;
    let window = not_zero(window, key, problems)?;
    Some(match key {
        "rise" => Signal::Rise { window },
        "fall" => Signal::Fall { window },
        _ => Signal::Sum { window },
    })
}

fn refuse_beside_ladder(raw: &RawAlert, problems: &mut Problems<'_>) -> Option<()> {
    let others = [&raw.above, &raw.below, &raw.clear].into_iter().flatten().map(Spanned::span);
    let severity = raw.severity.as_ref().map(Spanned::span);
    let equals = raw.equals.as_ref().map(Spanned::span);
    let found: Vec<Range<usize>> = others.chain(severity).chain(equals).collect();
    for place in &found {
        problems.report(place, "the rungs of the ladder say this");
    }
    found.is_empty().then_some(())
}

fn compile_ladder(
    ladder: &Spanned<Vec<Spanned<RawRung>>>,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<(Side, Vec<Rung>)> {
    let mut rungs: Vec<(Side, Rung)> = Vec::new();
    let mut is_good = true;
    for raw in ladder.get_ref() {
        let at = raw.span();
        let Some((side, rung)) = compile_rung(raw, range, states, problems) else {
            is_good = false;
            continue;
        };
        if let Some((first_side, before)) = rungs.last() {
            is_good &= check_order(*first_side, before, side, &rung, &at, problems);
        }
        rungs.push((side, rung));
    }
    if ladder.get_ref().is_empty() {
        problems.report(&ladder.span(), "a ladder has at least one rung");
    }
    let side = rungs.first().map(|(side, _)| *side)?;
    is_good.then(|| (side, rungs.into_iter().map(|(_, rung)| rung).collect()))
}

fn compile_rung(
    raw: &Spanned<RawRung>,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<(Side, Rung)> {
    let at = raw.span();
    let raw = raw.get_ref();
    let severity = compile_severity(raw.severity.as_ref(), &at, problems);
    let (side, limit) = match (&raw.above, &raw.below) {
        (Some(above), None) => (Side::Above, above),
        (None, Some(below)) => (Side::Below, below),
        (None, None) => return problems.require(None, &at, "above", "2.5"),
        (Some(_), Some(_)) => {
            problems.report(&at, "a rung tests one of above and below");
            return None;
        }
    };
    let (limit, clear) = compile_limit(side, limit, &raw.clear, range, states, problems)?;
    let text = raw.text.as_ref().map(|text| text.get_ref().0.clone());
    Some((side, Rung { severity: severity?, limit, clear, text }))
}

/// Each rung is more severe than the one before, and lies farther out.
fn check_order(
    first_side: Side,
    before: &Rung,
    side: Side,
    rung: &Rung,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> bool {
    if side != first_side {
        problems
            .report(at, "all rungs of a ladder are above, or all are below: make it two alerts");
        return false;
    }
    if rung.severity <= before.severity {
        let message = format!(
            "mildest first: {} comes after {}",
            rung.severity.as_str(),
            before.severity.as_str()
        );
        problems.report(at, message);
        return false;
    }
    if !side.is_beyond(rung.limit, before.limit) {
        let message = format!(
            "the {} limit {} must be {} the {} limit {}",
            rung.severity.as_str(),
            rung.limit,
            side.as_str(),
            before.severity.as_str(),
            before.limit
        );
        problems.report(at, message);
        return false;
    }
    if side.is_beyond(before.clear, rung.clear) {
        let message = format!(
            "`clear` {} is nearer than that of {}, {}: the worse one would outlast it",
            rung.clear,
            before.severity.as_str(),
            before.clear
        );
        problems.report(at, message);
        return false;
    }
    true
}

fn compile_state(
    wanted: &Spanned<RawValue>,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<f64> {
    let at = wanted.span();
    let Some(states) = states else {
        problems.report(&at, "`equals` is for states; this point has none: use above or below");
        return None;
    };
    let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
    match wanted.get_ref() {
        RawValue::Name(name) => {
            let state = states.iter().find(|state| state.name == *name);
            if state.is_none() {
                problems.report_choice(
                    &at,
                    format_args!("no state is named `{name}`"),
                    name,
                    &names,
                );
            }
            state.map(|state| state.code)
        }
        RawValue::Number(code) => {
            problems.report_choice(&at, "`equals` takes a state's name", &code.to_string(), &names);
            None
        }
    }
}

/// Limit and clear value, when a Good reading can pass the first and come back behind the second.
fn compile_limit(
    side: Side,
    limit: &Spanned<f64>,
    clear: &Maybe<f64>,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<(f64, f64)> {
    if states.is_some() {
        problems.report(&limit.span(), "a point with states is tested with `equals`");
        return None;
    }
    let is_good_limit = check_limit(side, limit, range, problems);
    let limit = *limit.get_ref();
    let Some(clear) = clear else { return is_good_limit.then_some((limit, limit)) };
    let is_good_clear = check_clear(side, limit, clear, range, problems);
    (is_good_limit && is_good_clear).then_some((limit, *clear.get_ref()))
}

fn check_limit(
    side: Side,
    limit: &Spanned<f64>,
    range: Bounds,
    problems: &mut Problems<'_>,
) -> bool {
    let at = limit.span();
    let value = *limit.get_ref();
    if !value.is_finite() {
        problems.report(&at, "a limit is a number");
        return false;
    }
    let Some((low, high)) = range else { return true };
    let (is_never, is_always) = match side {
        Side::Above => (value >= high, value < low),
        Side::Below => (value <= low, value > high),
    };
    if is_never {
        let message = format!("never raised: {value} is not inside the range {low} to {high}");
        problems.report_with(
            &at,
            message,
            vec!["a reading outside its range is Bad and raises nothing".to_owned()],
        );
    }
    if is_always {
        let message = format!("always raised: the whole range {low} to {high} is beyond {value}");
        problems.report(&at, message);
    }
    !is_never && !is_always
}

fn check_clear(
    side: Side,
    limit: f64,
    clear: &Spanned<f64>,
    range: Bounds,
    problems: &mut Problems<'_>,
) -> bool {
    let at = clear.span();
    let value = *clear.get_ref();
    let (is_right_side, word) = match side {
        Side::Above => (value <= limit, "below"),
        Side::Below => (value >= limit, "above"),
    };
    if !is_right_side || !value.is_finite() {
        problems.report(
            &at,
            format_args!("`clear` must be at or {word} the limit {limit}, not {value}"),
        );
        return false;
    }
    if let Some((low, high)) = range.filter(|(low, high)| !(*low..=*high).contains(&value)) {
        problems.report(
            &at,
            format_args!("never clears: {value} is not inside the range {low} to {high}"),
        );
        return false;
    }
    true
}
