//! The room as a whole: scripts with their expected events, crashes, properties, and the time that a reading takes.

#![allow(clippy::unwrap_used)]

mod aside;
mod crash;
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
use crate::model::{AssetNumber, Label, Measurement, Quality, SeriesId, Severity, Timestamp};
use crate::profile::{AlertSpec, AlertTest, Flap, Side};
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
        Engine::open(self.connect(), rules.to_vec(), now).unwrap()
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
            let (since, peak): (i64, Option<f64>) = (row.get(3)?, row.get(4)?);
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
