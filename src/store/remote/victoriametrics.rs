//! VictoriaMetrics, single or cluster.
//!
//! Writes by line protocol to `/write`, reads by `/api/v1/export`: raw readings, never its own counting. Why: it keeps a line
//! that is sent twice as two samples (unless it runs with `-dedup.minScrapeInterval=1ms`, which we recommend, so that
//! other tools count rightly as well), and the hub sends what was under way again after a kill. Exact duplicates fall
//! together when they are read here by time; the sum or the count that VictoriaMetrics gives would have them twice.
//!
//! Its times are milliseconds: the microseconds of a reading stay in the hub's near memory and are cut off here. Its numbers
//! are decimal with about 15 digits. It acknowledges from memory and is on disk a few seconds later
//! ([`Engine::settles_in`]). What lies before its `-retentionPeriod` (a month, unless told otherwise) it drops silently.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::columns::Columns;
use super::config::{RemoteConfigError, VictoriaMetricsConfig};
use super::engine::{Engine, EngineError};
use super::http::{Http, Io, Login, compressed};
use super::lines::{self, Precision};
use crate::model::{Sample, Timestamp};
use crate::store::{SeriesKey, names};

/// VictoriaMetrics writes to its disk every five seconds; twice that.
const SETTLES_IN: Duration = Duration::from_secs(10);

/// The first question about a range is for so much of it; each further one for twice as much, until there are enough.
const FIRST_SLICE: Duration = Duration::from_secs(24 * 3_600);

/// The windows in which the newest reading of a series is looked for, the shortest first: a search costs what it reads.
const WINDOWS: [&str; 2] = ["1d", "30d"];

/// The fields that make a reading.
const FIELDS: &str = "value|bad|quality|lag";

/// VictoriaMetrics.
#[derive(Debug)]
pub(super) struct VictoriaMetrics {
    io: Arc<Io>,
    http: Http,
    write: Url,
    read: Url,
    settles_in: Duration,
}

/// A line of an export.
#[derive(Deserialize)]
struct Exported {
    metric: HashMap<String, String>,
    values: Vec<Option<f64>>,
    timestamps: Vec<i64>,
}

/// The answer to an instant query.
#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Instant>,
}

#[derive(Deserialize)]
struct Instant {
    metric: HashMap<String, String>,
    /// Seconds, and the number as a text.
    value: (f64, String),
}

impl VictoriaMetrics {
    /// The engine at these addresses.
    ///
    /// # Errors
    /// An address is none, the token cannot be read, or the client cannot be made.
    pub(super) fn new(
        config: &VictoriaMetricsConfig,
        timeout: Duration,
    ) -> Result<Self, RemoteConfigError> {
        let (mut write, read) = config.addresses()?;
        write.query_pairs_mut().append_pair("precision", "ms");
        let login = match config.login()? {
            Some(token) => Login::Header(format!("Bearer {token}")),
            None => Login::Nobody,
        };
        let http = Http::new(timeout, login).map_err(RemoteConfigError::Client)?;
        let io = Io::new().map_err(|why| RemoteConfigError::Client(why.to_string()))?;
        Ok(VictoriaMetrics { io, http, write, read, settles_in: SETTLES_IN })
    }

    /// The same, trusted sooner: a test does not wait for what it does not test.
    #[cfg(test)]
    pub(super) fn settling_in(self, settles_in: Duration) -> Self {
        VictoriaMetrics { settles_in, ..self }
    }

    /// Asks `path` beneath the reading address.
    fn ask(&self, path: &str, pairs: &[(&str, &str)]) -> Result<Vec<u8>, EngineError> {
        let mut url = self.read.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(pairs);
        let http = self.http.clone();
        self.io.wait(async move { http.get(url).await })
    }

    /// The samples of a slice, `from` and `until` in milliseconds, both included.
    fn export(&self, key: &SeriesKey, from: i64, until: i64) -> Result<Columns, EngineError> {
        let name = names::measurement(&key.metric);
        let series = format!("{{__name__=~\"{name}_({FIELDS})\",device=\"{}\"}}", key.device);
        let times = [from, until].map(seconds);
        let pairs = [("match[]", &*series), ("start", &times[0]), ("end", &times[1])];
        let answer = self.ask("/api/v1/export", &pairs)?;
        let mut columns = Columns::default();
        for line in answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let Exported { metric, values, timestamps } = parse(line)?;
            let full = metric.get("__name__").map_or("", String::as_str);
            let field = full.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
            for (time, number) in timestamps.into_iter().zip(values) {
                if let (Some(field), Some(number)) = (field, number) {
                    columns.put(field, time.saturating_mul(1_000), number);
                }
            }
        }
        Ok(columns)
    }

    /// What a query over all readings says now, by name and device.
    fn instant(
        &self,
        function: &str,
        window: &str,
        now: Timestamp,
    ) -> Result<HashMap<(String, String), f64>, EngineError> {
        let all = format!("{{__name__=~\".+_({FIELDS})\",device!=\"\"}}");
        let query = format!("{function}({all}[{window}]) keep_metric_names");
        let pairs = [("query", &*query), ("time", &seconds(now.as_millis())), ("nocache", "1")];
        let answer: Answer<Vector> = parse(&self.ask("/api/v1/query", &pairs)?)?;
        let row = |Instant { mut metric, value: (_, number) }: Instant| {
            let name = metric.remove("__name__")?;
            Some(((name, metric.remove(names::DEVICE)?), number.parse().ok()?))
        };
        Ok(answer.data.result.into_iter().filter_map(row).collect())
    }

    fn newest(
        &self,
        window: &str,
        now: Timestamp,
    ) -> Result<HashMap<SeriesKey, Sample>, EngineError> {
        let times = self.instant("tlast_over_time", window, now)?;
        let numbers = self.instant("last_over_time", window, now)?;
        let mut columns: HashMap<SeriesKey, Columns> = HashMap::new();
        for ((name, device), seconds) in times {
            let Some((metric, field)) = name.rsplit_once('_') else { continue };
            let (Ok(device_id), Ok(metric)) = (device.parse(), metric.parse()) else { continue };
            let key = SeriesKey { device: device_id, metric };
            let micros = (seconds * 1_000.0).round() as i64 * 1_000;
            if let Some(number) = numbers.get(&(name.clone(), device)) {
                columns.entry(key).or_default().put(field, micros, *number);
            }
        }
        let last = |(key, columns): (SeriesKey, Columns)| Some((key, columns.samples().last()?));
        Ok(columns.into_iter().filter_map(last).collect())
    }
}

impl Engine for VictoriaMetrics {
    fn name(&self) -> &'static str {
        "VictoriaMetrics"
    }

    fn precision(&self) -> Precision {
        Precision::Millis
    }

    fn settles_in(&self) -> Duration {
        self.settles_in
    }

    fn write(&self, lines: &[u8]) -> Result<(), EngineError> {
        let (http, url, body) = (self.http.clone(), self.write.clone(), compressed(lines));
        self.io.wait(async move { http.post_lines(url, body).await })
    }

    fn range(
        &self,
        key: &SeriesKey,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, EngineError> {
        let mut samples = Vec::new();
        let (from, to) = (from.max(Timestamp::EPOCH), to.min(lines::LATEST));
        // Rounded up on both sides: what is kept of a time is never later than it.
        let (mut at, end) = (millis_up(from), millis_up(to));
        let mut slice = FIRST_SLICE.as_millis() as i64;
        while at < end && samples.len() < limit {
            let next = at.saturating_add(slice).min(end);
            samples.extend(self.export(key, at, next - 1)?.samples());
            (at, slice) = (next, slice.saturating_mul(2));
        }
        samples.truncate(limit);
        Ok(samples)
    }

    fn latest(&self, now: Timestamp) -> Result<Vec<(SeriesKey, Option<Sample>)>, EngineError> {
        let all = "{__name__=~\".+_quality\",device!=\"\"}";
        // Not from 0, which it takes for "the last minutes".
        let answer = self.ask("/api/v1/series", &[("match[]", all), ("start", "1")])?;
        let answer: Answer<Vec<HashMap<String, String>>> = parse(&answer)?;
        let key = |mut labels: HashMap<String, String>| {
            let name = labels.remove("__name__")?;
            let metric = name.strip_suffix("_quality")?.parse().ok()?;
            Some(SeriesKey { device: labels.remove(names::DEVICE)?.parse().ok()?, metric })
        };
        let mut found: HashMap<SeriesKey, Option<Sample>> =
            answer.data.into_iter().filter_map(key).map(|key| (key, None)).collect();
        for window in WINDOWS {
            if found.values().all(Option::is_some) {
                break;
            }
            for (key, sample) in self.newest(window, now)? {
                found.entry(key).or_default().get_or_insert(sample);
            }
        }
        Ok(found.into_iter().collect())
    }

    fn ping(&self) -> Result<(), EngineError> {
        self.ask("/api/v1/query", &[("query", "1")]).map(drop)
    }

    fn close(&self) {
        self.io.close();
    }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, EngineError> {
    serde_json::from_slice(answer).map_err(|why| EngineError::Nonsense { why: why.to_string() })
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}

fn millis_up(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000) + i64::from(time.as_micros().rem_euclid(1_000) > 0)
}
