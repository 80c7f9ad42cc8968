//! The room as a whole: scripts with their expected events, crashes, properties, and the time that a reading takes.

#![allow(clippy::unwrap_used)]

mod aside;
mod crash;
mod kinds;
mod properties;
mod scenarios;
mod speed;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Alert, AlertEvent, AlertQuery, Engine, Rule, RuleKey, history, list};
use crate::model::{
    AssetNumber, DeviceId, Label, Measurement, MetricName, Quality, Sample, SeriesId, Severity,
    Timestamp,
};
use crate::profile::{
    AlertSpec, AlertTest, Condition, ConditionInput, Flap, Rung, Side, Signal, expr,
};
use crate::store::CommitSeq;

const SCHEMA: &str = concat!(
    include_str!("../schema.sql"),
    include_str!("../../audit/schema.sql"),
    include_str!("../event_seq.sql"),
    include_str!("../loop.sql"),
    include_str!("../aside.sql"),
);

/// Seconds since the test's midnight.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A database file with the alert tables, and the commits of a store.
struct Town {
    _dir: TempDir,
    path: PathBuf,
    commits: Vec<Vec<Measurement>>,
}

impl Town {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("town.db");
        connect(&path).execute_batch(SCHEMA).unwrap();
        Town { _dir: dir, path, commits: Vec::new() }
    }

    fn connect(&self) -> Connection {
        connect(&self.path)
    }

    fn open(&self, rules: &[Rule], now: Timestamp) -> Engine {
        let mut engine = Engine::open(self.connect(), rules.to_vec(), now).unwrap();
        self.remember(&mut engine);
        engine
    }

    /// Gives the engine what it wants of the store.
    fn remember(&self, engine: &mut Engine) {
        for past in engine.wanted() {
            let all = self.commits.iter().flatten().filter(|m| m.series == past.series);
            let inside = all.filter(|m| (past.from..past.to).contains(&m.observed_at));
            let mut samples: Vec<Sample> = inside.map(|&m| m.into()).collect();
            // The store keeps the first of two readings of one time.
            samples.sort_by_key(|sample| sample.observed_at);
            samples.dedup_by_key(|sample| sample.observed_at);
            engine.remember(past.series, &samples);
        }
    }

    /// Appends to the store and gives it to the judge.
    fn commit(&mut self, engine: &mut Engine, batch: Vec<Measurement>) {
        self.commits.push(batch.clone());
        engine.judge(CommitSeq(self.commits.len() as u64), &batch);
    }

    /// What a restarted hub does first. Every commit is cut in two, which must not matter.
    fn replay(&self, engine: &mut Engine) {
        let from = engine.watermark().0 as usize;
        for (i, batch) in self.commits.iter().enumerate().skip(from) {
            let (head, tail) = batch.split_at(batch.len() / 2);
            engine.judge(CommitSeq(i as u64 + 1), head);
            engine.judge(CommitSeq(i as u64 + 1), tail);
        }
    }

    /// Every alert on disk, oldest first, each with its history.
    fn alerts(&self) -> Vec<(Alert, Vec<AlertEvent>)> {
        let db = self.connect();
        let query = AlertQuery { limit: usize::MAX, ..AlertQuery::default() };
        let mut alerts = list(&db, &query).unwrap();
        alerts.reverse();
        alerts
            .into_iter()
            .map(|alert| {
                let events = history(&db, alert.id).unwrap();
                (alert, events)
            })
            .collect()
    }

    /// The running delays on disk, as text.
    fn delays(&self) -> Vec<String> {
        let db = self.connect();
        let mut rows = db
            .prepare("SELECT device, name, state, since / 1000000, peak FROM alert_condition")
            .unwrap();
        let texts = rows.query_map([], |row| {
            let (device, name, state): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let (since, peak): (Option<i64>, Option<f64>) = (row.get(3)?, row.get(4)?);
            let since = since.map_or("-".to_owned(), |since| since.to_string());
            Ok(format!("{device} {name} {state} since {since} peak {peak:?}"))
        });
        texts.unwrap().map(Result::unwrap).collect()
    }

    /// How many times the file was written to since it was made.
    fn writes(db: &Connection) -> i64 {
        db.query_row("PRAGMA data_version", [], |row| row.get(0)).unwrap()
    }
}

fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    // A crash here is a process that ends, not a machine: no need to wait for the disk.
    db.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;").unwrap();
    db
}

fn rule(series: u32, name: &str, test: AlertTest) -> Rule {
    let device = format!("dev-{series}");
    Rule {
        key: RuleKey {
            device: device.parse().unwrap(),
            metric: match test {
                AlertTest::NoData { .. } => None,
                _ => Some("level".parse().unwrap()),
            },
            name: name.to_owned(),
        },
        series: vec![SeriesId(series)],
        asset: Some((format!("asset-{series}").parse().unwrap(), AssetNumber(series))),
        unit: "m".to_owned(),
        spec: Arc::new(AlertSpec {
            flap: Some(Flap::NEVER),
            ..AlertSpec::new(name, Label::new("水位高", "Level high"), test)
        }),
    }
}

fn beyond(limit: f64, clear: f64) -> AlertTest {
    AlertTest::limit(Side::Above, limit, clear, Severity::Major)
}

/// Above each limit from Info on; clears 0.5 below it.
fn rungs(limits: &[f64]) -> Vec<Rung> {
    let severities = Severity::ALL.into_iter().rev();
    let rung = |(severity, &limit)| Rung { severity, limit, clear: limit - 0.5, text: None };
    severities.zip(limits).map(rung).collect()
}

fn ladder(series: u32, of: Signal, limits: &[f64]) -> Rule {
    let test = AlertTest::Limit { of, side: Side::Above, rungs: rungs(limits) };
    rule(series, "ladder", test)
}

fn flat(series: u32, band: f64, after: u64) -> Rule {
    rule(series, "flat", AlertTest::Flat { band, after: secs(after), severity: Severity::Minor })
}

/// `text` over `a`, `b` and so on, which are the series.
fn holds(series: &[u32], text: &str, max_age: u64) -> Rule {
    let names: Vec<MetricName> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
    let mut scope = expr::Scope::default();
    let numbers: Vec<_> = series
        .iter()
        .zip(&names)
        .map(|(_, name)| scope.add(name.as_str(), expr::Kind::Number("m")))
        .collect();
    let compiled = expr::compile(text, &scope, expr::Kind::Bool).unwrap();
    let input = |((&series, metric), &asked_as): ((&u32, &MetricName), _)| ConditionInput {
        asked_as,
        device: Some(format!("dev-{series}").parse::<DeviceId>().unwrap()),
        metric: metric.clone(),
        max_age: secs(max_age),
    };
    let inputs = series.iter().zip(&names).zip(&numbers).map(input).collect();
    let expr = Condition { text: text.to_owned(), expr: compiled, inputs };
    let test = AlertTest::Holds { expr, severity: Severity::Major };
    let mut rule = rule(series[0], "holds", test);
    rule.series = series.iter().map(|&series| SeriesId(series)).collect();
    rule.key.metric = None;
    rule
}

fn above(series: u32, limit: f64, clear: f64) -> Rule {
    rule(series, "high", beyond(limit, clear))
}

fn below(series: u32, limit: f64, clear: f64) -> Rule {
    rule(series, "low", AlertTest::limit(Side::Below, limit, clear, Severity::Major))
}

fn equals(series: u32, code: f64) -> Rule {
    rule(series, "open", AlertTest::Equals { code, severity: Severity::Major })
}

fn no_data(series: u32, after: u64) -> Rule {
    rule(series, "no_data", AlertTest::NoData { after: secs(after), severity: Severity::Major })
}

fn delays(rule: Rule, on: u64, off: u64) -> Rule {
    with(rule, |spec| (spec.on_delay, spec.off_delay) = (secs(on), secs(off)))
}

/// The rule with a changed spec.
fn with(mut rule: Rule, change: impl FnOnce(&mut AlertSpec)) -> Rule {
    change(Arc::make_mut(&mut rule.spec));
    rule
}

/// A Good reading that is heard at once.
fn reading(series: u32, at_secs: i64, value: f64) -> Measurement {
    Measurement {
        series: SeriesId(series),
        quality: Quality::GOOD,
        observed_at: at(at_secs),
        received_at: at(at_secs),
        value,
    }
}
