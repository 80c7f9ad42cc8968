//! Limits: what is tested, and whether it can ever be raised and cleared.

use std::ops::Range;
use std::sync::Arc;

use crate::profile::spanned::Spanned;

use super::point::{WORD, is_word};
use super::read_duration;
use crate::model::Severity;
use crate::profile::error::Problems;
use crate::profile::raw::{Maybe, Named, RawAlert, RawValue};
use crate::profile::{AlertSpec, AlertTest, Point, Side, State};

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
    mut raw: RawAlert,
    range: Bounds,
    states: Option<&[State]>,
    problems: &mut Problems<'_>,
) -> Option<AlertSpec> {
    let at = name.span();
    if !is_word(name.get_ref()) {
        problems.report(&at, format_args!("`{}` cannot name an alert; {WORD}", name.get_ref()));
    }
    let on_delay = read_duration(raw.on_delay.take(), problems);
    let off_delay = read_duration(raw.off_delay.take(), problems);
    let severity = problems.require(raw.severity.take(), &at, "severity", "\"major\"");
    let severity =
        severity.and_then(|s| problems.choose(&s, "severity", &Severity::ALL, Severity::as_str));
    let test = compile_test(&raw, &at, range, states, severity, problems);
    let text = problems.require(raw.text, &at, "text", "{ zh = \"水位高\", en = \"Level high\" }");
    Some(AlertSpec {
        on_delay: on_delay.map(Spanned::into_inner).unwrap_or_default(),
        off_delay: off_delay.map(Spanned::into_inner).unwrap_or_default(),
        ..AlertSpec::new(name.into_inner(), text?.into_inner().0, test?)
    })
}

fn compile_test(
    raw: &RawAlert,
    at: &Range<usize>,
    range: Bounds,
    states: Option<&[State]>,
    severity: Option<Severity>,
    problems: &mut Problems<'_>,
) -> Option<AlertTest> {
    match (&raw.above, &raw.below, &raw.equals) {
        (Some(limit), None, None) => {
            let (limit, clear) =
                compile_limit(Side::Above, limit, &raw.clear, range, states, problems)?;
            Some(AlertTest::limit(Side::Above, limit, clear, severity?))
        }
        (None, Some(limit), None) => {
            let (limit, clear) =
                compile_limit(Side::Below, limit, &raw.clear, range, states, problems)?;
            Some(AlertTest::limit(Side::Below, limit, clear, severity?))
        }
        (None, None, Some(state)) => {
            if let Some(clear) = &raw.clear {
                problems.report(
                    &clear.span(),
                    "`clear` is for limits; a state clears when it is another",
                );
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
