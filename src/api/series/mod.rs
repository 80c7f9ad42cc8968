//! History of one point: raw readings or steps, as JSON or CSV.

mod csv;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::{MAX_LIMIT, Params, accepts, limit, parse};
use super::points::finite;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::model::{DeviceId, MetricName, Reason, Sample, SeriesId, Timestamp};
use crate::store::{self, Bucket, Tier};

/// What is shown when no time is given.
const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 3600);
/// The longest span of one answer: a year and a month, to compare with the same month of last year.
const MAX_SPAN: Duration = Duration::from_secs(400 * 24 * 3600);
/// Shorter steps hold less than one reading.
const MIN_STEP: Duration = Duration::from_secs(1);

/// Which part of a series.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesParams {
    /// From this time on (RFC 3339); absent: a day before `to`.
    from: Option<String>,
    /// Before this time (RFC 3339); absent: now. At most 400 days after `from`.
    to: Option<String>,
    /// Steps of this length instead of single readings: `60s`, `5m`, `1h`, `1d`. At most 10 000 steps. With steps of whole
    /// hours or minutes the first one begins on a whole hour or minute, so that rollups can answer; `from` says when.
    step: Option<String>,
    /// The column that is wanted (with `step`): mean, min, max, last, count, time_mean (weighted by how long each value
    /// held) or occupied_share (of the time for which a state is known). JSON always has all of them.
    agg: Option<Aggregate>,
    /// At most this many readings (1 to 10 000, else 10 000).
    limit: Option<usize>,
}

/// A column of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aggregate {
    Mean,
    Min,
    Max,
    Last,
    Count,
    TimeMean,
    OccupiedShare,
}

/// What is asked for, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SeriesQuery {
    from: Timestamp,
    to: Timestamp,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Readings { limit: usize },
    Steps { step: Duration, agg: Option<Aggregate> },
}

/// A part of a series.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Series {
    Readings(Readings),
    Steps(Steps),
}

/// Single readings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readings {
    #[serde(flatten)]
    of: Of,
    /// `[observed_at_ms, value|null, grade (0 good, 1 uncertain, 2 bad), reason|null]`, oldest first.
    #[schema(value_type = Vec<(i64, Option<f64>, u8, Option<wire::Reason>)>)]
    points: Vec<(i64, Option<f64>, u8, Option<Reason>)>,
    /// Whether there is more than the limit.
    truncated: bool,
}

/// Steps; empty ones are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Steps {
    #[serde(flatten)]
    of: Of,
    step_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    agg: Option<Aggregate>,
    /// What was read: `raw` readings, or rollups of `1m`, `1h` or `1d` (and raw readings where those are not made yet).
    #[schema(value_type = String)]
    source: &'static str,
    /// `[start_ms, mean, min, max, last, count, good_share, time_mean, occupied_share]`, oldest first; no numbers where
    /// every reading was bad; the last is for states that have an `occupied`.
    #[schema(value_type = Vec<(i64, Option<f64>, Option<f64>, Option<f64>, Option<f64>, u64, f64, Option<f64>, Option<f64>)>)]
    points: Vec<StepRow>,
}

type StepRow =
    (i64, Option<f64>, Option<f64>, Option<f64>, Option<f64>, u64, f64, Option<f64>, Option<f64>);

/// Which series.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Of {
    #[schema(value_type = String)]
    device: DeviceId,
    #[schema(value_type = String)]
    metric: MetricName,
    /// UCUM unit.
    unit: String,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
}

/// What the store gave.
#[derive(Debug)]
enum Found {
    Readings { samples: Vec<Sample>, truncated: bool },
    Steps { step: Duration, agg: Option<Aggregate>, source: &'static str, buckets: Vec<Bucket> },
}

/// A part of one point's history; CSV when `Accept` asks for `text/csv`.
#[utoipa::path(
    get, path = "/api/v1/series/{device}/{metric}", tag = "series",
    params(("device" = String, Path), ("metric" = String, Path), SeriesParams),
    responses((status = 200, content((Series = "application/json"), (String = "text/csv"))))
)]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Path((device, metric)): Path<(String, String)>,
    Params(params): Params<SeriesParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = params.check(hub.clock.now())?;
    let (series, of) = find(&hub, &sight, &device, &metric, &query)?;
    let found = hub.blocking(Work::Query, move |hub| read(hub, series, &query)).await?;
    let vary = [(VARY, ACCEPT.as_str())];
    if accepts(&headers, "text/csv") {
        let text = csv::write(&found).map_err(Problem::internal)?;
        let name = format!("attachment; filename=\"{}-{}.csv\"", of.device, of.metric);
        let kind = "text/csv; charset=utf-8".to_owned();
        return Ok(
            (vary, [(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], text).into_response()
        );
    }
    Ok((vary, Json(Series::new(of, found))).into_response())
}

fn find(
    hub: &AppState,
    sight: &Sight,
    device: &str,
    metric: &str,
    query: &SeriesQuery,
) -> Result<(SeriesId, Of), Problem> {
    let stations = hub.present.stations();
    let station = stations
        .get(device)
        .filter(|station| sight.may_see_device(&hub.registry.town(), &station.device))
        .ok_or_else(|| Problem::not_found("device", device))?;
    let found = station.profile.point(metric);
    let (index, point) = found.ok_or_else(|| Problem::not_found("metric", metric))?;
    let series = station.series.get(usize::from(index.0)).copied();
    let series = series.ok_or_else(|| Problem::not_found("metric", metric))?;
    let of = Of {
        device: station.device.id.clone(),
        metric: point.name.clone(),
        unit: point.unit.clone(),
        from: query.from,
        to: query.to,
    };
    Ok((series, of))
}

fn read(hub: &AppState, series: SeriesId, query: &SeriesQuery) -> Result<Found, Problem> {
    let SeriesQuery { from, to, shape } = *query;
    Ok(match shape {
        Shape::Readings { limit } => {
            // One more than wanted tells whether there is more.
            let mut samples = hub.store.range(series, from, to, limit + 1)?;
            let truncated = samples.len() > limit;
            samples.truncate(limit);
            Found::Readings { samples, truncated }
        }
        Shape::Steps { step, agg } => {
            let store::Steps { tier, buckets } = hub.store.aggregate(series, from, to, step)?;
            let source = tier.map_or("raw", Tier::as_str);
            Found::Steps { step, agg, source, buckets }
        }
    })
}

impl SeriesParams {
    fn check(&self, now: Timestamp) -> Result<SeriesQuery, Problem> {
        let to = parse("to", self.to.as_deref())?.unwrap_or(now);
        let from = parse("from", self.from.as_deref())?.unwrap_or(to.minus(DEFAULT_SPAN));
        if from >= to {
            return Err(Problem::bad_query("from", format!("{from} is not before to, {to}")));
        }
        let span = to.since(from);
        if span > MAX_SPAN {
            return Err(Problem::bad_query("from", "from and to are more than 400 days apart"));
        }
        let step = self.step.as_deref().map(duration).transpose();
        let shape = match step.map_err(|why| Problem::bad_query("step", why))? {
            Some(step) => {
                let step = bounded(step, span)?;
                let from = on_the_clock(from, step);
                return Ok(SeriesQuery { from, to, shape: Shape::Steps { step, agg: self.agg } });
            }
            None if self.agg.is_some() => {
                return Err(Problem::bad_query("agg", "needs a step, for example step=60s"));
            }
            None => Shape::Readings { limit: limit(self.limit, MAX_LIMIT)? },
        };
        Ok(SeriesQuery { from, to, shape })
    }
}

/// The whole hour or minute at or before `from`, when the steps are whole ones, too. Not the whole day: where a day begins
/// is for whoever asks.
fn on_the_clock(from: Timestamp, step: Duration) -> Timestamp {
    let fits = |width: &u64| step.as_micros().is_multiple_of(u128::from(*width));
    let width = [3_600_000_000, 60_000_000].into_iter().find(fits).unwrap_or(1) as i64;
    Timestamp::from_micros(from.as_micros() - from.as_micros().rem_euclid(width))
}

fn bounded(step: Duration, span: Duration) -> Result<Duration, Problem> {
    if step < MIN_STEP {
        return Err(Problem::bad_query("step", "the shortest step is 1s"));
    }
    let steps = span.as_secs_f64() / step.as_secs_f64();
    if steps > MAX_LIMIT as f64 {
        let why =
            format!("{steps:.0} steps; ask for {MAX_LIMIT} at most: a longer step or less time");
        return Err(Problem::bad_query("step", why));
    }
    Ok(step)
}

/// `90`, `90s`, `5m`, `1h` or `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit_s) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 24 * 3600),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_s))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no length of time; write 60s, 5m, 1h or 1d"))
}

/// JSON has no NaN.
fn row(bucket: &Bucket) -> StepRow {
    let number = |number: f64| Some(number).filter(|number| number.is_finite());
    let Bucket { start, count, mean, min, max, last, good_share, time_mean, occupied_share } =
        *bucket;
    let [mean, min, max, last] = [mean, min, max, last].map(number);
    let [time_mean, occupied_share] = [time_mean, occupied_share].map(number);
    (start.as_millis(), mean, min, max, last, count, good_share, time_mean, occupied_share)
}

impl Series {
    fn new(of: Of, found: Found) -> Self {
        match found {
            Found::Readings { samples, truncated } => {
                let points = samples.into_iter().map(|sample| {
                    let quality = sample.quality;
                    let at = sample.observed_at.as_millis();
                    (at, finite(sample), quality.grade as u8, quality.reason)
                });
                Series::Readings(Readings { of, points: points.collect(), truncated })
            }
            Found::Steps { step, agg, source, buckets } => {
                let points = buckets.iter().map(row);
                let step_s = step.as_secs_f64();
                Series::Steps(Steps { of, step_s, agg, source, points: points.collect() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Quality;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn check(params: SeriesParams) -> Result<SeriesQuery, Problem> {
        params.check(NOW)
    }

    #[test]
    fn without_times_it_is_the_last_day() {
        let query = check(SeriesParams::default()).unwrap();
        assert_eq!((query.from, query.to), (NOW.minus(DEFAULT_SPAN), NOW));
        let hours = SeriesParams { step: Some("1d".into()), ..SeriesParams::default() };
        let from = check(hours).unwrap().from;
        assert_eq!((from.as_millis() % 3_600_000, NOW.since(from).as_secs() / 3_600), (0, 24));
        assert_eq!(query.shape, Shape::Readings { limit: MAX_LIMIT });
        let params = SeriesParams { step: Some("5m".into()), ..SeriesParams::default() };
        let step = Duration::from_secs(300);
        assert_eq!(check(params).unwrap().shape, Shape::Steps { step, agg: None });
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_what_can() {
        let refused = |params, says: &str| {
            let text = format!("{:?}", check(params).unwrap_err());
            assert!(text.contains(says), "{text}");
        };
        let all = SeriesParams::default;
        refused(SeriesParams { from: Some("yesterday".into()), ..all() }, "RFC 3339");
        refused(SeriesParams { from: Some("2036-01-01T00:00:00Z".into()), ..all() }, "not before");
        refused(SeriesParams { from: Some("2020-01-01T00:00:00Z".into()), ..all() }, "400 days");
        refused(SeriesParams { step: Some("1s".into()), ..all() }, "longer step");
        refused(SeriesParams { step: Some("0s".into()), ..all() }, "shortest step");
        refused(SeriesParams { step: Some("1 week".into()), ..all() }, "5m");
        refused(SeriesParams { step: Some("9".repeat(30)), ..all() }, "5m");
        refused(SeriesParams { agg: Some(Aggregate::Max), ..all() }, "needs a step");
        refused(SeriesParams { limit: Some(10_001), ..all() }, "10000");
    }

    #[test]
    fn lengths_of_time_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1d", 86400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert!(duration("").is_err() && duration("-1s").is_err() && duration("分").is_err());
    }

    #[test]
    fn readings_are_flat_arrays() {
        let of = Of {
            device: "mh-014".parse().unwrap(),
            metric: "level".parse().unwrap(),
            unit: "m".into(),
            from: Timestamp::from_secs(0),
            to: Timestamp::from_secs(10),
        };
        let sample = |value, quality| Sample {
            observed_at: Timestamp::from_millis(1500),
            received_at: Timestamp::from_secs(2),
            value,
            quality,
        };
        let samples =
            vec![sample(0.25, Quality::GOOD), sample(f64::NAN, Quality::bad(Reason::Sentinel))];
        let found = Found::Readings { samples, truncated: true };
        let json = serde_json::to_value(Series::new(of.clone(), found)).unwrap();
        let expected = serde_json::json!({
            "device": "mh-014", "metric": "level", "unit": "m",
            "from": "1970-01-01T00:00:00Z", "to": "1970-01-01T00:00:10Z",
            "points": [[1500, 0.25, 0, null], [1500, null, 2, "sentinel"]], "truncated": true,
        });
        assert_eq!(json, expected);
        let bucket = Bucket {
            start: Timestamp::from_secs(0),
            count: 2,
            mean: 1.5,
            min: 1.0,
            max: 2.0,
            last: 2.0,
            good_share: 1.0,
            time_mean: 1.25,
            occupied_share: f64::NAN,
        };
        let step = Duration::from_secs(60);
        let found = Found::Steps { step, agg: None, source: "1m", buckets: vec![bucket] };
        let json = serde_json::to_value(Series::new(of, found)).unwrap();
        assert_eq!(
            json["points"],
            serde_json::json!([[0, 1.5, 1.0, 2.0, 2.0, 2, 1.0, 1.25, null]])
        );
        assert_eq!(json["source"], "1m");
        assert_eq!((&json["step_s"], json.get("agg")), (&60.0.into(), None));
    }
}
