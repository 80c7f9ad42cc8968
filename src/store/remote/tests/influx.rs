//! A stand-in for InfluxDB 2 that knows no mercy: it takes only the requests that its API documents, reads every line and every
//! stage of a question, and answers in annotated CSV. And InfluxDB itself, where there is one.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::super::config::InfluxDb2Config;
use super::super::engine::{Engine, EngineError};
use super::super::influxdb2::InfluxDb2;
use super::super::lines::reader::{self, Field};
use super::super::{QueueConfig, RemoteStore};
use super::conforming::Remote;
use super::{wait_until, wait_until_sent};
use crate::clock::Clock;
use crate::model::{Measurement, Quality, Timestamp};
use crate::store::conformance::{self, SMALL};
use crate::store::{SeriesKey, Store, StoreError};

const ORG: &str = "乌镇";
const BUCKET: &str = "town \"hub\" ${x}";
const TOKEN: &str = "s3cret";

/// A field of a series: measurement, device, field.
type Name = (String, String, String);

#[derive(Debug, Default)]
struct Held {
    points: BTreeMap<Name, BTreeMap<i64, Field>>,
    /// What the next writes are told instead.
    script: VecDeque<(u16, &'static str, Option<u32>)>,
    /// Lines of this device are refused, with all that came with them.
    refused: Option<String>,
    /// A body may be so large.
    max_bytes: usize,
    writes: usize,
}

/// The stand-in.
struct Stub {
    address: SocketAddr,
    held: Arc<Mutex<Held>>,
    token: tempfile::NamedTempFile,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    fn start() -> Self {
        let held = Arc::new(Mutex::new(Held { max_bytes: usize::MAX, ..Held::default() }));
        let app = Router::new()
            .route("/api/v2/write", post(write))
            .route("/api/v2/query", post(query))
            .route("/api/v2/buckets", get(buckets))
            .route("/health", get(health))
            .with_state(Arc::clone(&held));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
        Stub { address, held, token, _runtime: runtime }
    }

    fn engine(&self) -> InfluxDb2 {
        let config = InfluxDb2Config {
            url: format!("http://{}", self.address),
            org: ORG.to_owned(),
            bucket: BUCKET.to_owned(),
            token_file: Some(self.token.path().to_owned()),
        };
        InfluxDb2::new(&config, Duration::from_secs(10)).unwrap()
    }
}

type Shared = State<Arc<Mutex<Held>>>;

fn problem(status: u16, why: impl std::fmt::Display) -> Response {
    let body = serde_json::json!({"code": "invalid", "message": why.to_string()});
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|own| own == &format!("Token {TOKEN}"))
}

async fn health() -> &'static str {
    r#"{"name":"influxdb","message":"ready","status":"pass","checks":[],"version":"2.7"}"#
}

async fn buckets(headers: HeaderMap, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    if !is_known(&headers) {
        return problem(401, "unauthorized access");
    }
    let bucket =
        serde_json::json!({"name": BUCKET, "retentionRules": [], "orgID": "0123456789abcdef"});
    let found =
        if asked.get("name").is_some_and(|name| name == BUCKET) { vec![bucket] } else { vec![] };
    serde_json::json!({ "buckets": found }).to_string().into_response()
}

async fn write(
    State(held): Shared,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let mut held = held.lock().unwrap();
    held.writes += 1;
    if !is_known(&headers) {
        return problem(401, "unauthorized access");
    }
    if let Some((status, why, wait)) = held.script.pop_front() {
        let mut response = problem(status, why);
        if let Some(wait) = wait {
            response.headers_mut().insert("retry-after", wait.into());
        }
        return response;
    }
    let wanted = [("org", ORG), ("bucket", BUCKET), ("precision", "us")];
    if asked.len() != 3
        || wanted.iter().any(|(name, value)| asked.get(*name).is_none_or(|own| own != value))
    {
        return problem(404, format!("nothing at {asked:?}"));
    }
    let mut text = String::new();
    let is_gzip = headers.get("content-encoding").is_some_and(|own| own == "gzip");
    if !is_gzip || GzDecoder::new(&*body).read_to_string(&mut text).is_err() {
        return problem(400, "not compressed as said");
    }
    if text.len() > held.max_bytes {
        return problem(413, "too large");
    }
    let lines = match reader::read(&text) {
        Ok(lines) if !lines.is_empty() => lines,
        Ok(_) => return problem(400, "no line"),
        Err(why) => return problem(400, why),
    };
    if lines
        .iter()
        .any(|line| line.tags.iter().any(|(_, device)| Some(device) == held.refused.as_ref()))
    {
        return problem(400, "unable to parse");
    }
    for line in lines {
        let [(tag, device)] = &line.tags[..] else { return problem(400, "one tag") };
        assert_eq!(tag, "device");
        for (field, value) in line.fields {
            let name = (line.measurement.clone(), device.clone(), field);
            let times = held.points.entry(name).or_default();
            let other = times.values().next().copied();
            if other.is_some_and(|other| {
                std::mem::discriminant(&other) != std::mem::discriminant(&value)
            }) {
                return problem(422, "field type conflict");
            }
            times.insert(line.time, value);
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn query(
    State(held): Shared,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    if !is_known(&headers) || asked.get("org").is_none_or(|org| org != ORG) {
        return problem(401, "unauthorized access");
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(&body) else {
        return problem(400, "no JSON");
    };
    let annotations = &body["dialect"]["annotations"];
    if *annotations != serde_json::json!(["datatype", "group", "default"]) {
        return problem(400, "no annotations");
    }
    let answer = body["query"].as_str().ok_or("no query".to_owned());
    match answer.and_then(|flux| run(&held.lock().unwrap(), flux)) {
        Ok(csv) => csv.into_response(),
        Err(why) => problem(400, why),
    }
}

/// A table under work: one field of one series.
#[derive(Debug, Clone)]
struct Table {
    name: Name,
    rows: Vec<(i64, Field)>,
}

/// Runs what we ask, and refuses everything else.
fn run(held: &Held, flux: &str) -> Result<String, String> {
    let mut csv = String::new();
    match flux.strip_prefix("data = ") {
        None => {
            let stages: Vec<&str> = flux.split("\n  |> ").collect();
            let (tables, columns) = pipe(held, None, &stages)?;
            print(&mut csv, "_result", &tables, &columns.ok_or("not kept")?);
        }
        Some(program) => {
            let (data, rest) = program.split_once("\ndata\n").ok_or("no use of data")?;
            let (data, _) = pipe(held, None, &data.split("\n  |> ").collect::<Vec<_>>())?;
            for statement in rest.split("\ndata\n") {
                let mut stages: Vec<&str> =
                    statement.trim_start().trim_end().split("\n  |> ").collect();
                stages[0] = stages[0].strip_prefix("|> ").ok_or("no stage")?;
                let name = inside(stages.pop().ok_or("no yield")?, "yield(name: \"", "\")")?;
                let (tables, columns) = pipe(held, Some(data.clone()), &stages)?;
                print(&mut csv, name, &tables, &columns.ok_or("not kept")?);
            }
        }
    }
    Ok(csv)
}

fn inside<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str, String> {
    let inner = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    inner.ok_or_else(|| format!("`{text}` is not {before}...{after}"))
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

type Piped = (Vec<Table>, Option<Vec<String>>);

fn pipe(held: &Held, data: Option<Vec<Table>>, stages: &[&str]) -> Result<Piped, String> {
    let mut stages = stages.iter();
    let mut tables = match data {
        Some(tables) => tables,
        None => {
            let bucket = inside(stages.next().ok_or("nothing")?, "from(bucket: ", ")")?;
            if bucket != "\"town \\\"hub\\\" \\x24{x}\"" {
                return Err(format!("no bucket {bucket}"));
            }
            let table = |(name, rows): (&Name, &BTreeMap<i64, Field>)| Table {
                name: name.clone(),
                rows: rows.iter().map(|(time, value)| (*time, *value)).collect(),
            };
            held.points.iter().map(table).collect()
        }
    };
    let mut columns = None;
    for stage in stages {
        let (function, arguments) = stage.split_once('(').ok_or("no function")?;
        let arguments = arguments.strip_suffix(')').ok_or("no end")?;
        match function {
            "range" => {
                let (start, stop) = arguments.split_once(", ").ok_or("no stop")?;
                let start = number(inside(start, "start: time(v: ", ")")?)?;
                let stop = number(inside(stop, "stop: time(v: ", ")")?)?;
                if start >= stop {
                    return Err("cannot query an empty range".to_owned());
                }
                let is_in = |time: i64| (start..stop).contains(&(time * 1_000));
                tables.iter_mut().for_each(|table| table.rows.retain(|(time, _)| is_in(*time)));
            }
            "filter" => {
                let condition = arguments.strip_prefix("fn: (r) => ").ok_or("no condition")?;
                let mut failure = None;
                for table in &mut tables {
                    let name = table.name.clone();
                    table.rows.retain(|(_, value)| {
                        holds(condition, &name, *value).unwrap_or_else(|why| {
                            failure = Some(why);
                            false
                        })
                    });
                }
                failure.map_or(Ok(()), Err)?;
            }
            "limit" => {
                let n = number(arguments.strip_prefix("n: ").ok_or("no n")?)? as usize;
                tables.iter_mut().for_each(|table| table.rows.truncate(n));
            }
            "last" if arguments.is_empty() => {
                tables
                    .iter_mut()
                    .for_each(|table| drop(table.rows.drain(..table.rows.len().saturating_sub(1))));
            }
            "aggregateWindow" => {
                let parts: Vec<&str> = arguments.split(", ").collect();
                let [every, offset, figure, "createEmpty: false", "timeSrc: \"_start\""] =
                    parts[..]
                else {
                    return Err(format!("`{arguments}` is not what we ask"));
                };
                let every = number(inside(every, "every: ", "us")?)?;
                let offset = number(inside(offset, "offset: ", "us")?)?;
                let figure = figure.strip_prefix("fn: ").ok_or("no fn")?;
                for table in &mut tables {
                    table.rows = windows(&table.rows, every, offset, figure)?;
                }
            }
            "keep" => {
                let list = inside(arguments, "columns: [", "]")?;
                columns =
                    Some(list.split(", ").map(|name| name.trim_matches('"').to_owned()).collect());
            }
            _ => return Err(format!("no function {function}")),
        }
    }
    tables.retain(|table| !table.rows.is_empty());
    Ok((tables, columns))
}

fn as_float(field: Field) -> f64 {
    match field {
        Field::Float(number) => number,
        Field::Integer(number) => number as f64,
    }
}

fn windows(
    rows: &[(i64, Field)],
    every: i64,
    offset: i64,
    figure: &str,
) -> Result<Vec<(i64, Field)>, String> {
    let mut windows: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (time, value) in rows {
        let start = (time - offset).div_euclid(every) * every + offset;
        windows.entry(start).or_default().push(as_float(*value));
    }
    let count = |(start, values): (i64, Vec<f64>)| {
        let number = match figure {
            "count" => return Ok((start, Field::Integer(values.len() as i64))),
            "mean" => values.iter().sum::<f64>() / values.len() as f64,
            "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
            "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "last" => values[values.len() - 1],
            _ => return Err(format!("no aggregate {figure}")),
        };
        Ok((start, Field::Float(number)))
    };
    windows.into_iter().map(count).collect()
}

/// Conditions joined by `or`, or else by `and`.
fn holds(condition: &str, name: &Name, value: Field) -> Result<bool, String> {
    if condition.contains(" or ") {
        return condition
            .split(" or ")
            .try_fold(false, |any, one| Ok(any | holds(one, name, value)?));
    }
    if condition.contains(" and ") {
        return condition
            .split(" and ")
            .try_fold(true, |all, one| Ok(all & holds(one, name, value)?));
    }
    let (own, other) = match condition {
        "exists r.device" => return Ok(true),
        "r._value % 4 == 0" => match value {
            Field::Integer(number) => return Ok(number % 4 == 0),
            Field::Float(_) if name.2 != "quality" => return Ok(false),
            Field::Float(_) => return Err("a float has no remainder".to_owned()),
        },
        _ => condition.split_once(" == ").ok_or_else(|| format!("no condition `{condition}`"))?,
    };
    let column = match own {
        "r._measurement" => &name.0,
        "r.device" => &name.1,
        "r._field" => &name.2,
        _ => return Err(format!("no column {own}")),
    };
    Ok(inside(other, "\"", "\"")? == column)
}

/// Annotated CSV as InfluxDB writes it: every table with its annotations.
fn print(csv: &mut String, result: &str, tables: &[Table], columns: &[String]) {
    for (n, table) in tables.iter().enumerate() {
        let kind = match table.rows[0].1 {
            Field::Float(_) => "double",
            Field::Integer(_) => "long",
        };
        let kinds = columns.iter().map(|column| match column.as_str() {
            "_time" => "dateTime:RFC3339",
            "_value" => kind,
            _ => "string",
        });
        let groups = columns.iter().map(|column| {
            if matches!(column.as_str(), "_time" | "_value") { "false" } else { "true" }
        });
        let row = |cells: Vec<&str>| format!("{}\r\n", cells.join(","));
        csv.push_str(&row(["#datatype", "string", "long"].into_iter().chain(kinds).collect()));
        csv.push_str(&row(["#group", "false", "false"].into_iter().chain(groups).collect()));
        csv.push_str(&row(["#default", result, ""]
            .into_iter()
            .chain(columns.iter().map(|_| ""))
            .collect()));
        csv.push_str(&row(["", "result", "table"]
            .into_iter()
            .chain(columns.iter().map(String::as_str))
            .collect()));
        for (time, value) in &table.rows {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| match column.as_str() {
                    "_time" => Timestamp::from_micros(*time).to_string(),
                    "_value" => match value {
                        Field::Float(number) => number.to_string(),
                        Field::Integer(number) => number.to_string(),
                    },
                    "_measurement" => table.name.0.clone(),
                    "device" => table.name.1.clone(),
                    _ => table.name.2.clone(),
                })
                .collect();
            let number = n.to_string();
            csv.push_str(&row(["", "", &number]
                .into_iter()
                .chain(cells.iter().map(String::as_str))
                .collect()));
        }
        csv.push_str("\r\n");
    }
}

#[test]
fn influxdb2_conforms() {
    let stub = Stub::start();
    stub.engine().ping().unwrap();
    let engine = || Box::new(stub.engine()) as Box<dyn Engine>;
    conformance::suite(&Remote { engine, flush: || {}, near: QueueConfig::default().near });
}

/// Its engine was empty when it began: what is old is made up of its own rollups where there are some, else asked of the
/// engine.
#[test]
fn a_hub_that_began_with_its_engine_counts_steps_rightly() {
    let stub = Stub::start();
    stub.engine().ping().unwrap();
    let engine = || Box::new(stub.engine()) as Box<dyn Engine>;
    let near = QueueConfig::default().near;
    conformance::steps_are_counted_rightly(&Remote { engine, flush: || {}, near });
}

/// A real one: `TOWNHUB_INFLUXDB2_URL`, `_ORG`, `_BUCKET` and `_TOKEN_FILE` say where. The bucket should be a new one.
#[test]
fn a_real_influxdb2_conforms() {
    let Ok(url) = std::env::var("TOWNHUB_INFLUXDB2_URL") else { return };
    let named = |name: &str| std::env::var(format!("TOWNHUB_INFLUXDB2_{name}")).expect(name);
    let token_file = Some(named("TOKEN_FILE").into());
    let config = InfluxDb2Config { url, org: named("ORG"), bucket: named("BUCKET"), token_file };
    let engine = || {
        let engine = InfluxDb2::new(&config, Duration::from_secs(30)).unwrap();
        engine.ping().unwrap();
        Box::new(engine) as Box<dyn Engine>
    };
    conformance::suite(&Remote { engine, flush: || {}, near: QueueConfig::default().near });
}

fn store(folder: &tempfile::TempDir, engine: InfluxDb2) -> RemoteStore {
    let path = folder.path().join("readings.db");
    RemoteStore::open(&path, SMALL, Box::new(engine), QueueConfig::default(), Clock::system())
        .unwrap()
}

fn key(n: u32) -> SeriesKey {
    SeriesKey { device: format!("dev-{n}").parse().unwrap(), metric: "level".parse().unwrap() }
}

/// Readings of 100 series at one time.
fn batch(store: &RemoteStore) -> Vec<Measurement> {
    let series = store.series(&(0..100).map(key).collect::<Vec<_>>()).unwrap();
    let now = Clock::system().now();
    let reading = |series| Measurement {
        series,
        quality: Quality::GOOD,
        observed_at: now,
        received_at: now,
        value: 1.5,
    };
    series.into_iter().map(reading).collect()
}

fn held(stub: &Stub) -> usize {
    let held = stub.held.lock().unwrap();
    held.points.iter().filter(|(name, _)| name.2 == "quality").map(|(_, times)| times.len()).sum()
}

#[test]
fn a_write_that_is_put_off_is_sent_when_it_may_be() {
    let stub = Stub::start();
    let folder = tempfile::tempdir().unwrap();
    // Twice each: the crate's request and ours, that reads for how long.
    stub.held.lock().unwrap().script.extend([
        (503, "busy", Some(1)),
        (503, "busy", Some(1)),
        (429, "slowly", None),
        (429, "slowly", None),
        (500, "broken", None),
    ]);
    let engine = stub.engine();
    assert_eq!(
        engine.write(b"level,device=a value=1,quality=0i 1\n"),
        Err(EngineError::Away {
            why: "503 Service Unavailable: {\"code\":\"invalid\",\"message\":\"busy\"}".to_owned(),
            retry_after: Some(Duration::from_secs(1)),
        })
    );
    let store = store(&folder, engine);
    let batch = batch(&store);
    store.append(&[&batch]).unwrap();
    wait_until(&store, "the failure is seen", |store| store.remote().unwrap().problem.is_some());
    wait_until_sent(&store);
    assert_eq!(held(&stub), 100);
    let status = store.remote().unwrap();
    assert_eq!((status.up, status.sent, status.refused), (true, 100, 0));
}

#[test]
fn what_is_refused_keeps_nothing_else_back() {
    let stub = Stub::start();
    stub.held.lock().unwrap().refused = Some("dev-42".to_owned());
    stub.held.lock().unwrap().max_bytes = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, stub.engine());
    let batch = batch(&store);
    store.append(&[&batch]).unwrap();
    wait_until_sent(&store);
    assert_eq!(held(&stub), 99, "all but the one, in pieces that are small enough");
    let status = store.remote().unwrap();
    assert_eq!(status.refused, 1);
    assert!(status.refusal.unwrap().contains("unable to parse"));
}

#[test]
fn a_wrong_token_is_said_and_mended() {
    let stub = Stub::start();
    std::fs::write(stub.token.path(), "wrong").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wrong = store(&folder, stub.engine());
    let readings = batch(&wrong);
    wrong.append(&[&readings]).unwrap();
    wait_until(&wrong, "the failure is seen", |store| !store.remote().unwrap().up);
    let why = wrong.remote().unwrap().problem.unwrap().why;
    assert!(why.contains("check address, token, organization and bucket"), "{why}");
    // What only the engine has cannot be had, and is no empty answer.
    let (from, to) = (Timestamp::from_secs(0), Timestamp::from_secs(1_000));
    let error = wrong.range(readings[0].series, from, to, 9).unwrap_err();
    assert!(matches!(&error, StoreError::Remote { engine: "InfluxDB 2", .. }), "{error}");
    let near = wrong.range(
        readings[0].series,
        readings[0].observed_at,
        Timestamp::from_micros(i64::MAX),
        9,
    );
    assert_eq!(near.unwrap().len(), 1, "what is here is answered");
    drop(wrong);
    std::fs::write(stub.token.path(), TOKEN).unwrap();
    wait_until_sent(&store(&folder, stub.engine()));
    assert_eq!(held(&stub), 100);
}

#[test]
fn victoriametrics_takes_the_lines_at_influxdbs_address() {
    let Some(server) = super::victoria::Victoria::start() else { return };
    let config = InfluxDb2Config {
        url: server.url(),
        org: ORG.to_owned(),
        bucket: BUCKET.to_owned(),
        token_file: None,
    };
    let engine = InfluxDb2::new(&config, Duration::from_secs(10)).unwrap();
    let lines = b"level,device=a value=1.5,quality=0i 1700000000000000\nlevel,device=a bad=2.5,quality=6i 1700000001000000\n";
    engine.write(lines).unwrap();
    let counts =
        ["level_value", "level_bad", "level_quality"].map(|name| server.stored_at_last(name, 1));
    assert_eq!(counts, [1, 1, 2]);
}
