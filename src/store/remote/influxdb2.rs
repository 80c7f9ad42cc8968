//! InfluxDB 2, by the crate `influxdb2`, which no other file knows.
//!
//! What of the crate is used, and how: it sends lines that [`super::lines`] made (its own escape neither backslashes nor line
//! breaks) and that are compressed here (it compresses only what it encodes itself), and it asks Flux whose texts are
//! escaped here. It panics over answers that it does not expect, such as an empty number, so no query pivots, each request
//! runs in a task of its own, and a panic is an answer that makes no sense. It hides the headers of an answer: when a write
//! is put off (429, 503), it is sent once more with a client of ours, which reads for how long.
//!
//! The point of the same series and time is overwritten, so a line that is sent twice is one reading, in InfluxDB's own counting
//! as well. Its acknowledgement means its log is on disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fallible_iterator::FallibleIterator;
use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::query::FluxRecord;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::models::Query;
use influxdb2::models::health::Status;
use influxdb2::{Client, ClientBuilder, RequestError};
use influxdb2_reqwest as old;
use influxdb2_structmap::value::Value;
use reqwest::Url;

use super::columns::Columns;
use super::config::{InfluxDb2Config, RemoteConfigError};
use super::engine::{Engine, EngineError};
use super::http::{Http, Io, Login, away, compressed, refusal};
use super::lines::{self, Precision};
use crate::model::{Sample, Timestamp};
use crate::store::{Bucket, SeriesKey, names};

/// The figures of a step that InfluxDB counts of values.
const FIGURES: [&str; 5] = ["count", "mean", "min", "max", "last"];

/// Limits beyond this are none.
const MAX_LIMIT: usize = i32::MAX as usize;

/// InfluxDB 2.
#[derive(Debug)]
pub(super) struct InfluxDb2 {
    io: Arc<Io>,
    reader: Client,
    writer: Client,
    /// Ours, for a write that is put off.
    http: Http,
    write: Url,
    org: String,
    bucket: String,
}

impl InfluxDb2 {
    /// The engine at this address.
    ///
    /// # Errors
    /// A value is none, the token cannot be read, or a client cannot be made.
    pub(super) fn new(
        config: &InfluxDb2Config,
        timeout: Duration,
    ) -> Result<Self, RemoteConfigError> {
        config.check()?;
        let InfluxDb2Config { url, org, bucket, .. } = config;
        let token = config.token()?;
        let client = |headers: old::header::HeaderMap| {
            let builder = old::Client::builder().timeout(timeout).no_proxy();
            let builder = builder.redirect(old::redirect::Policy::none()).default_headers(headers);
            let client = ClientBuilder::with_builder(builder, url, org, &token).build();
            client.map_err(|why| RemoteConfigError::Client(why.to_string()))
        };
        let gzip = old::header::HeaderValue::from_static("gzip");
        let writer = client([(old::header::CONTENT_ENCODING, gzip)].into_iter().collect())?;
        let reader = client(old::header::HeaderMap::new())?;
        let mut write = config.address()?;
        write.set_path("/api/v2/write");
        write.query_pairs_mut().extend_pairs([("org", org), ("bucket", bucket)]);
        write.query_pairs_mut().append_pair("precision", "us");
        let login = match token.is_empty() {
            true => Login::Nobody,
            false => Login::Header(format!("Token {token}")),
        };
        let http = Http::new(timeout, login).map_err(RemoteConfigError::Client)?;
        let io = Io::new().map_err(|why| RemoteConfigError::Client(why.to_string()))?;
        let (org, bucket) = (org.clone(), bucket.clone());
        Ok(InfluxDb2 { io, reader, writer, http, write, org, bucket })
    }

    /// Asks Flux.
    fn ask(&self, flux: String) -> Result<Vec<FluxRecord>, EngineError> {
        let client = self.reader.clone();
        self.io.wait(async move {
            let tables = client.query_raw_iter(Some(Query::new(flux))).await.map_err(failed)?;
            tables.result().collect().map_err(failed)
        })
    }

    /// The beginning of every question.
    fn from(&self, from: Timestamp, to: Timestamp) -> String {
        let nanos = |time: Timestamp| time.as_micros().saturating_mul(1_000);
        let bucket = quoted(&self.bucket);
        let (start, stop) = (nanos(from), nanos(to));
        format!(
            "from(bucket: {bucket})\n  |> range(start: time(v: {start}), stop: time(v: {stop}))"
        )
    }

    fn series(&self, key: &SeriesKey, from: Timestamp, to: Timestamp) -> String {
        let name = quoted(names::measurement(&key.metric));
        let device = quoted(key.device.as_str());
        let from = self.from(from, to);
        format!("{from}\n  |> filter(fn: (r) => r._measurement == {name} and r.device == {device})")
    }
}

impl Engine for InfluxDb2 {
    fn name(&self) -> &'static str {
        "InfluxDB 2"
    }

    fn precision(&self) -> Precision {
        Precision::Micros
    }

    fn settles_in(&self) -> Duration {
        Duration::ZERO
    }

    fn write(&self, lines: &[u8]) -> Result<(), EngineError> {
        let (client, http, url) = (self.writer.clone(), self.http.clone(), self.write.clone());
        let (org, bucket, body) = (self.org.clone(), self.bucket.clone(), compressed(lines));
        self.io.wait(async move {
            let precision = TimestampPrecision::Microseconds;
            let written = client
                .write_line_protocol_with_precision(&org, &bucket, body.clone(), precision)
                .await;
            match written {
                Err(RequestError::Http { status, .. }) if matches!(status.as_u16(), 429 | 503) => {
                    http.post_lines(url, body).await
                }
                written => written.map_err(failed),
            }
        })
    }

    fn range(
        &self,
        key: &SeriesKey,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, EngineError> {
        let (from, to) = (from.max(Timestamp::EPOCH), to.min(lines::LATEST));
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        let series = self.series(key, from, to);
        let first = match limit {
            ..=MAX_LIMIT => format!("\n  |> limit(n: {limit})"),
            _ => String::new(),
        };
        let fields = fields();
        let columns = "keep(columns: [\"_time\", \"_field\", \"_value\"])";
        let flux = format!("{series}\n  |> filter(fn: (r) => {fields}){first}\n  |> {columns}");
        let mut found = Columns::default();
        for record in self.ask(flux)? {
            let row = Row::of(&record)?;
            found.put(row.text("_field")?, row.time()?, row.number()?);
        }
        Ok(found.samples().take(limit).collect())
    }

    fn aggregate(
        &self,
        key: &SeriesKey,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Option<Vec<Bucket>>, EngineError> {
        let Ok(step) = i64::try_from(step.as_micros()) else { return Ok(None) };
        // Its windows begin at multiples of the step and an offset; before 1970 there is nothing.
        if from < Timestamp::EPOCH || to > lines::LATEST || from >= to {
            return Ok(None);
        }
        let offset = from.as_micros().rem_euclid(step);
        let count = |rows: &str, figure: &str, name: &str| {
            format!(
                "data\n  |> filter(fn: (r) => {rows})\n  |> aggregateWindow(every: {step}us, offset: {offset}us, fn: {figure}, createEmpty: false, timeSrc: \"_start\")\n  |> keep(columns: [\"_time\", \"_value\"])\n  |> yield(name: \"{name}\")\n"
            )
        };
        let (value, quality) = (quoted(names::VALUE), quoted(names::QUALITY));
        let mut flux = format!("data = {}\n", self.series(key, from, to));
        for figure in FIGURES {
            flux += &count(&format!("r._field == {value}"), figure, figure);
        }
        flux += &count(&format!("r._field == {quality}"), "count", "stored");
        // The grade stands in the two low bits, and Good is 0.
        let good = format!("r._field == {quality} and r._value % 4 == 0");
        flux += &count(&good, "count", "good");
        let mut steps: BTreeMap<i64, HashMap<String, f64>> = BTreeMap::new();
        for record in self.ask(flux)? {
            let row = Row::of(&record)?;
            let figure = row.text("result")?.to_owned();
            steps.entry(row.time()?).or_default().insert(figure, row.number()?);
        }
        let bucket = |(start, figures): (i64, HashMap<String, f64>)| {
            let figure = |name: &str| figures.get(name).copied();
            let stored = figure("stored")?;
            let value = |name: &str| figure(name).unwrap_or(f64::NAN);
            Some(Bucket {
                start: Timestamp::from_micros(start),
                count: figure("count").unwrap_or(0.0) as u64,
                mean: value("mean"),
                min: value("min"),
                max: value("max"),
                last: value("last"),
                good_share: figure("good").unwrap_or(0.0) / stored,
                time_mean: f64::NAN,
                occupied_share: f64::NAN,
            })
        };
        Ok(Some(steps.into_iter().filter_map(bucket).collect()))
    }

    fn latest(&self, now: Timestamp) -> Result<Vec<(SeriesKey, Option<Sample>)>, EngineError> {
        let day = Duration::from_secs(24 * 3_600);
        let all = self.from(Timestamp::EPOCH, now.plus(day));
        let fields = fields();
        let columns =
            "keep(columns: [\"_time\", \"_field\", \"_value\", \"_measurement\", \"device\"])";
        let flux = format!(
            "{all}\n  |> filter(fn: (r) => exists r.device)\n  |> filter(fn: (r) => {fields})\n  |> last()\n  |> {columns}"
        );
        let mut found: HashMap<SeriesKey, Columns> = HashMap::new();
        for record in self.ask(flux)? {
            let row = Row::of(&record)?;
            let (metric, device) = (row.text("_measurement")?, row.text(names::DEVICE)?);
            // Others may write into the same bucket.
            let (Ok(metric), Ok(device)) = (metric.parse(), device.parse()) else { continue };
            let columns = found.entry(SeriesKey { device, metric }).or_default();
            columns.put(row.text("_field")?, row.time()?, row.number()?);
        }
        Ok(found.into_iter().map(|(key, columns)| (key, columns.samples().last())).collect())
    }

    fn ping(&self) -> Result<(), EngineError> {
        let (client, bucket) = (self.reader.clone(), self.bucket.clone());
        self.io.wait(async move {
            let health = client.health().await.map_err(failed)?;
            if health.status != Status::Pass {
                return Err(away(&health.message.unwrap_or_else(|| "it is not well".to_owned())));
            }
            let request = ListBucketsRequest { name: Some(bucket.clone()), ..Default::default() };
            let found = client.list_buckets(Some(request)).await.map_err(failed)?;
            match found.buckets.iter().any(|found| found.name == bucket) {
                true => Ok(()),
                false => Err(EngineError::Denied { why: format!("it shows no bucket `{bucket}`") }),
            }
        })
    }

    fn close(&self) {
        self.io.close();
    }
}

/// A row of an answer.
struct Row<'a>(&'a BTreeMap<String, Value>);

impl<'a> Row<'a> {
    fn of(record: &'a FluxRecord) -> Result<Self, EngineError> {
        Ok(Row(&record.values))
    }

    fn missing(column: &str) -> EngineError {
        EngineError::Nonsense { why: format!("a row has no {column} as asked for") }
    }

    fn text(&self, column: &str) -> Result<&'a str, EngineError> {
        match self.0.get(column) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Self::missing(column)),
        }
    }

    /// In microseconds.
    fn time(&self) -> Result<i64, EngineError> {
        match self.0.get("_time") {
            Some(Value::TimeRFC(time)) => Ok(time.timestamp_micros()),
            _ => Err(Self::missing("_time")),
        }
    }

    fn number(&self) -> Result<f64, EngineError> {
        match self.0.get("_value") {
            Some(Value::Double(number)) => Ok(number.into_inner()),
            Some(Value::Long(number)) => Ok(*number as f64),
            Some(Value::UnsignedLong(number)) => Ok(*number as f64),
            _ => Err(Self::missing("_value")),
        }
    }
}

/// The condition for the fields that make a reading.
fn fields() -> String {
    let field = |name: &str| format!("r._field == {}", quoted(name));
    [names::VALUE, names::BAD, names::QUALITY, names::LAG].map(field).join(" or ")
}

/// A text as Flux writes it, by its specification of string literals.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Else `${` would begin an expression.
            '$' => out.push_str("\\x24"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn failed(error: RequestError) -> EngineError {
    match error {
        RequestError::ReqwestProcessing { source } => {
            away(&crate::error_chain(&source.without_url()))
        }
        RequestError::Http { status, text } => refusal(status.as_u16(), &text, None),
        error => EngineError::Nonsense { why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(quoted("town"), "\"town\"");
        assert_eq!(quoted("a\"b\\c\n${d}"), "\"a\\\"b\\\\c\\n\\x24{d}\"");
    }
}
