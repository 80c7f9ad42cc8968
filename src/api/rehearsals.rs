//! Rehearsals: a rule over stored history before it is in force, beside the present one and what really happened.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::JsonBody;
use super::rules::subjects;
use super::rules::wire::{OwnInput, RulePatch};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire::Severity as SeverityWord;
use crate::alert::book::{Input, Override, Own, Patch, Scope, Selector, Subject};
use crate::alert::{Rule, RuleKey, Spell, rehearse};
use crate::model::{DeviceId, Measurement, MetricName, SeriesId, Timestamp};
use crate::profile::AlertTest;
use crate::report::{self, MAX_SPELLS, Recorded, Span, Sums, recorded};
use crate::store::{Store, StoreError};

/// The longest history.
const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);
/// The most readings that one rule is played over.
const MAX_READINGS: usize = 2_000_000;
/// Readings that are fetched at a time, of each series.
const PAGE: usize = 10_000;

/// What is rehearsed: a present rule (`name`), the same with other values (`set`), or a new one (`rule`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RehearsalBody {
    /// The device that the rule belongs to.
    #[schema(value_type = String)]
    device: DeviceId,
    /// What it watches; absent for silence and for expressions.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    metric: Option<MetricName>,
    /// The present rule's name: `surcharge`, `no_data`.
    #[serde(default)]
    name: Option<String>,
    /// What an override would set of it.
    #[serde(default)]
    #[schema(value_type = Option<RulePatch>)]
    set: Option<Patch>,
    /// A new rule, with a profile's keys: `above`, `clear`, `for`, `severity`, `text`; `when` for an expression.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    rule: Option<Map<String, Value>>,
    /// What a new expression's names mean.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, OwnInput>)]
    inputs: BTreeMap<String, Input>,
    /// From this time on (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Before this time; absent: now. At most 366 days after `from`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// What would have been, what the present rule would have done, and what was. Schedules, chattering and people are left
/// out; silence counts from the first reading on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rehearsed {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// The rule that is tried; null when only the present one is asked for.
    #[schema(required)]
    proposed: Option<Played>,
    /// The rule in force, over the same readings; null for a new one without a `name`.
    #[schema(required)]
    present: Option<Played>,
    /// The present rule's alerts in the log, by the hub's clock; null when there is no present rule.
    #[schema(required)]
    recorded: Option<Log>,
}

/// What a rule would have done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Played {
    /// Readings of its series in the time.
    readings: u64,
    /// Those among them that it could judge by.
    judged: u64,
    #[schema(value_type = SpellSums)]
    sums: Sums,
    /// The first 1 000.
    #[schema(value_type = Vec<RehearsedSpell>)]
    spells: Vec<Spell>,
    /// Whether there are more.
    truncated: bool,
}

/// What the alert log says of a rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    #[schema(value_type = SpellSums)]
    sums: Sums,
    /// The first 1 000.
    #[schema(value_type = Vec<RecordedSpell>)]
    spells: Vec<Recorded>,
    /// Whether there are more.
    truncated: bool,
}

/// Plays a rule over stored history: when it would have been raised and cleared, how often, for how long and how bad;
/// beside the present rule over the same readings, and the alert log. Nothing is changed.
#[utoipa::path(
    post, path = "/api/v1/rules/rehearse", tag = "rules", request_body = RehearsalBody,
    responses((status = 200, body = Rehearsed), (status = 422, description = "It is no rule: `errors` says why"))
)]
pub(crate) async fn rehearse_rule(
    State(hub): State<Hub>,
    sight: Sight,
    JsonBody(body): JsonBody<RehearsalBody>,
) -> Result<Json<Rehearsed>, Problem> {
    let span = body.span(hub.clock.now())?;
    let town = hub.registry.town();
    sight.device(&town, body.device.as_str())?;
    for input in body.inputs.values() {
        sight.device(&town, input.device.as_str())?;
    }
    let rehearsed = hub.blocking(Work::Query, move |hub| {
        let Rules { proposed, present } = body.rules(hub)?;
        let play = |rule: Option<Rule>| rule.map(|rule| play(&*hub.store, &rule, span)).transpose();
        let log = present.as_ref().map(|rule| log(hub, &rule.key, span)).transpose()?;
        Ok(Rehearsed {
            from: span.from,
            to: span.to,
            proposed: play(proposed)?,
            present: play(present)?,
            recorded: log,
        })
    });
    Ok(Json(rehearsed.await?))
}

/// The rules to be played.
struct Rules {
    proposed: Option<Rule>,
    present: Option<Rule>,
}

impl RehearsalBody {
    fn span(&self, now: Timestamp) -> Result<Span, Problem> {
        let span = Span { from: self.from, to: self.to.unwrap_or(now).min(now) };
        if span.from >= span.to {
            let why = format!("`from`, {}, is not before the end, {}", span.from, span.to);
            return Err(Problem::bad_body(why));
        }
        if span.length() > MAX_SPAN {
            return Err(Problem::bad_body("`from` and `to` are more than 366 days apart"));
        }
        Ok(span)
    }

    fn rules(self, hub: &AppState) -> Result<Rules, Problem> {
        let table = hub.present.stations();
        let all: Vec<Subject<'_>> = subjects(&table).collect();
        let subject = all.iter().find(|subject| subject.device.id == self.device);
        let subject = subject.ok_or_else(|| {
            Problem::bad_body(format!(
                "device `{}` is not at work: its profile is not in force",
                self.device
            ))
        })?;
        let (book, RehearsalBody { device, metric, name, set, rule, inputs, .. }) =
            (&hub.book, self);
        let present = match &name {
            Some(name) => {
                let rules = book.suppose::<Override>(None, subject, &all)?;
                Some(find(rules, metric.as_ref(), name)?)
            }
            None => None,
        };
        let proposed = match (set, rule) {
            (Some(_), Some(_)) => {
                return Err(Problem::bad_body(
                    "`set` changes a present rule, `rule` is a new one; give one of them",
                ));
            }
            (Some(Patch { enabled: Some(_), .. }), _) => {
                return Err(Problem::bad_body(
                    "`enabled`: a rule that is off raises nothing; leave it out",
                ));
            }
            (Some(set), None) => {
                let name = name
                    .ok_or_else(|| Problem::bad_body("`set` needs the `name` of a present rule"))?;
                let select = Selector {
                    profile: Some(subject.profile.id.clone()),
                    metric: metric.clone(),
                    rule: Some(name.clone()),
                };
                let scope = Scope { device: Some(device), ..Scope::default() };
                let page = Override { scope, select, set };
                let rules = book.suppose(Some(page), subject, &all)?;
                Some(find(rules, metric.as_ref(), &name)?)
            }
            (None, Some(rule)) => {
                let page = Own { device, metric, inputs, rule };
                // The supposed page is the last of all.
                book.suppose(Some(page), subject, &all)?.pop()
            }
            (None, None) if name.is_none() => {
                return Err(Problem::bad_body(
                    "name a present rule with `name`, or give a new one with `rule`",
                ));
            }
            (None, None) => None,
        };
        Ok(Rules { proposed, present })
    }
}

fn find(rules: Vec<Rule>, metric: Option<&MetricName>, name: &str) -> Result<Rule, Problem> {
    let spell = |key: &RuleKey| match &key.metric {
        Some(metric) => format!("{metric}/{}", key.name),
        None => key.name.clone(),
    };
    let known: Vec<String> = rules.iter().map(|rule| spell(&rule.key)).collect();
    let is_it = |rule: &Rule| rule.key.name == name && rule.key.metric.as_ref() == metric;
    rules.into_iter().find(is_it).ok_or_else(|| {
        let what = metric.map_or_else(|| name.to_owned(), |metric| format!("{metric}/{name}"));
        Problem::not_found("rule", &what).with("rules", known)
    })
}

/// Plays one rule over its stored readings.
fn play(store: &dyn Store, rule: &Rule, span: Span) -> Result<Played, Problem> {
    let mut failed = None;
    let outcome = match rule.spec.test {
        AlertTest::NoData { .. } => {
            let heard = heard(store, rule, span)?;
            rehearse(rule, heard, span.to)
        }
        AlertTest::Holds { .. } => {
            rehearse(rule, History::new(store, &rule.series, span, &mut failed), span.to)
        }
        _ => {
            let first = rule.series.get(..1).unwrap_or_default();
            rehearse(rule, History::new(store, first, span, &mut failed), span.to)
        }
    };
    if let Some(problem) = failed {
        return Err(problem);
    }
    let sums = report::sums_of_spells(&outcome.spells, span);
    let (spells, truncated) = bounded(outcome.spells);
    Ok(Played { readings: outcome.readings, judged: outcome.judged, sums, spells, truncated })
}

fn log(hub: &AppState, rule: &RuleKey, span: Span) -> Result<Log, Problem> {
    let spells = hub.tables.read(|db| Ok(recorded(db, rule, span)?))?;
    let sums = report::sums_of_recorded(&spells, span);
    let (spells, truncated) = bounded(spells);
    Ok(Log { sums, spells, truncated })
}

fn bounded<T>(mut spells: Vec<T>) -> (Vec<T>, bool) {
    let truncated = spells.len() > MAX_SPELLS;
    spells.truncate(MAX_SPELLS);
    (spells, truncated)
}

/// When anything was heard of any of the series, in the order in which it was: what came late was not heard before.
fn heard(
    store: &dyn Store,
    rule: &Rule,
    span: Span,
) -> Result<impl Iterator<Item = Measurement> + use<>, Problem> {
    let mut failed = None;
    let history = History::new(store, &rule.series, span, &mut failed);
    let mut heard: Vec<(Timestamp, SeriesId)> =
        history.map(|reading| (reading.received_at, reading.series)).collect();
    if let Some(problem) = failed {
        return Err(problem);
    }
    heard.sort_unstable();
    Ok(heard.into_iter().map(|(at, series)| Measurement {
        series,
        observed_at: at,
        received_at: at,
        value: 0.0,
        quality: crate::model::Quality::GOOD,
    }))
}

/// The stored readings of some series as one stream, in the order of their times, a page of each at a time. Ends early
/// when the store fails or there are too many: `failed` says so.
struct History<'a> {
    store: &'a dyn Store,
    ways: Vec<Way>,
    to: Timestamp,
    left: usize,
    failed: &'a mut Option<Problem>,
}

/// One series on its way.
struct Way {
    series: SeriesId,
    page: VecDeque<Measurement>,
    /// Where the next page begins; `None` when there is none.
    next: Option<Timestamp>,
}

impl<'a> History<'a> {
    fn new(
        store: &'a dyn Store,
        series: &[SeriesId],
        span: Span,
        failed: &'a mut Option<Problem>,
    ) -> Self {
        let mut series = series.to_vec();
        series.sort_unstable();
        series.dedup();
        let way = |series| Way { series, page: VecDeque::new(), next: Some(span.from) };
        let ways = series.into_iter().map(way).collect();
        History { store, ways, to: span.to, left: MAX_READINGS, failed }
    }

    fn fetch(&mut self) -> Result<(), StoreError> {
        for way in self.ways.iter_mut().filter(|way| way.page.is_empty()) {
            let Some(from) = way.next.filter(|from| *from < self.to) else { continue };
            let samples = self.store.range(way.series, from, self.to, PAGE)?;
            let last = samples.last().filter(|_| samples.len() == PAGE);
            way.next = last.map(|last| last.observed_at.plus(Duration::from_micros(1)));
            way.page.extend(samples.iter().map(|sample| Measurement {
                series: way.series,
                observed_at: sample.observed_at,
                received_at: sample.received_at,
                value: sample.value,
                quality: sample.quality,
            }));
        }
        Ok(())
    }
}

impl Iterator for History<'_> {
    type Item = Measurement;

    fn next(&mut self) -> Option<Measurement> {
        if self.failed.is_some() {
            return None;
        }
        if self.ways.iter().any(|way| way.page.is_empty() && way.next.is_some())
            && let Err(why) = self.fetch()
        {
            *self.failed = Some(why.into());
            return None;
        }
        let first = |way: &Way| way.page.front().map(|reading| reading.observed_at);
        let way =
            self.ways.iter_mut().filter(|way| !way.page.is_empty()).min_by_key(|way| first(way))?;
        let reading = way.page.pop_front()?;
        if self.left == 0 {
            let why = format!(
                "there are more than {MAX_READINGS} readings in this time; ask for less of it"
            );
            *self.failed = Some(Problem::bad_body(why));
            return None;
        }
        self.left -= 1;
        Some(reading)
    }
}

/// The sums of spells, for the OpenAPI document.
#[allow(dead_code, reason = "only described")]
#[derive(Serialize, ToSchema)]
pub(crate) struct SpellSums {
    /// How often it was raised.
    raised: u64,
    raised_per_day: f64,
    /// How long it was active, in seconds.
    active_s: f64,
    /// The longest time, in seconds.
    longest_s: f64,
    /// Whether it is active at the end.
    is_active: bool,
    #[schema(required)]
    worst: Option<SeverityWord>,
    /// How often each severity was the worst of a spell.
    by_severity: BTreeMap<String, u64>,
}

/// From a raise to the return, in event time.
#[allow(dead_code, reason = "only described")]
#[derive(Serialize, ToSchema)]
pub(crate) struct RehearsedSpell {
    /// When the condition began.
    #[schema(format = DateTime)]
    since: String,
    /// When it was raised: after the on-delay.
    #[schema(format = DateTime)]
    raised: String,
    /// Null: still active at the end.
    #[schema(format = DateTime, required)]
    cleared: Option<String>,
    /// At its worst.
    severity: SeverityWord,
    #[schema(required)]
    value: Option<f64>,
    #[schema(required)]
    peak: Option<f64>,
}

/// A time for which an alert was active in fact, by the hub's clock.
#[allow(dead_code, reason = "only described")]
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordedSpell {
    alert: u64,
    #[schema(format = DateTime)]
    raised: String,
    #[schema(format = DateTime, required)]
    cleared: Option<String>,
    severity: SeverityWord,
}
