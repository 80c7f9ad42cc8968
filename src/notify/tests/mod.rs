//! The post over a real state file, its time handed in; alerts and cases are written into their logs as their rooms do.

mod channels;
mod crash;
mod scenarios;
mod storm;
mod troubles;

use std::time::Duration;

use rusqlite::{Connection, params};

use super::channel::Failure;
use super::post::{Job, Place, Places, Post};
use super::{Entry, EventKind, NotifyConfig, Settings};
use crate::alert::{Alert, AlertId, Standing};
use crate::case::{CaseId, Happened, Subject};
use crate::clock::Clock;
use crate::model::{Label, Severity, Timestamp};
use crate::registry::Registry;

/// 2026-09-21T14:13:20Z plus so many seconds.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_790_000_000).plus(Duration::from_secs(seconds))
}

/// A state file, and a hand that writes the logs.
struct Town {
    registry: Registry,
    db: Connection,
    _folder: tempfile::TempDir,
}

/// Assets are `zone/name`; a device `g1.x` stands behind the gateway `g1`.
struct Map;

impl Places for Map {
    fn alert(&self, alert: &Alert) -> Place {
        let asset = alert.asset.as_ref().map(|id| id.as_str().to_owned());
        let zone = asset.as_deref().and_then(|asset| asset.split_once(':')).map(|(zone, _)| zone);
        Place {
            name: asset.as_deref().map(Label::same),
            zone: zone.map(|zone| zone.parse().unwrap()),
            gateway: alert
                .rule
                .device
                .as_str()
                .split_once('.')
                .map(|(gateway, _)| gateway.parse().unwrap()),
        }
    }

    fn case(&self, subject: &Subject) -> Place {
        Place { zone: subject.zone.clone(), ..Place::default() }
    }
}

/// An alert as a test writes it.
#[derive(Debug, Clone, Copy)]
struct Fault<'a> {
    id: u64,
    severity: Severity,
    /// `zone:name`.
    asset: Option<&'a str>,
    device: &'a str,
    kind: &'a str,
}

fn raised(id: u64, severity: Severity, asset: &str) -> Fault<'_> {
    Fault { id, severity, asset: Some(asset), device: "d-1", kind: "limit" }
}

impl Town {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("town.db"), Clock::system()).unwrap();
        let db = fast(registry.connect().unwrap());
        Town { registry, db, _folder: folder }
    }

    fn open(&self, settings: &Settings, now: Timestamp) -> Post {
        Post::open(fast(self.registry.connect().unwrap()), settings.clone(), now).unwrap()
    }

    fn raise(&self, alert: Fault<'_>, now: Timestamp) {
        let Fault { id, severity, asset, device, kind } = alert;
        self.db
            .execute(
                "INSERT INTO alert (id, version, device, metric, name, kind, asset, severity, worst, text_zh, text_en,
                     value, unit, active, since, raised_at)
                 VALUES (?, 0, ?, 'level', ?, ?, ?, ?, ?, '满管', 'Surcharge', 2.5, 'm', 1, ?, ?)",
                params![
                    id as i64,
                    device,
                    format!("rule-{id}"),
                    kind,
                    asset,
                    severity.rank(),
                    severity.rank(),
                    now.as_micros(),
                    now.as_micros()
                ],
            )
            .unwrap();
        self.event(id, "raised", "", now);
    }

    /// Changes the alert by `set` (SQL) and logs it, in one transaction as its room does.
    fn event(&self, id: u64, what: &str, set: &str, now: Timestamp) {
        let comma = if set.is_empty() { "" } else { ", " };
        let sql = format!("UPDATE alert SET version = version + 1{comma}{set} WHERE id = ?");
        let tx = self.db.unchecked_transaction().unwrap();
        tx.execute(&sql, [id as i64]).unwrap();
        tx.execute(
            "INSERT INTO alert_event (alert, version, what, at, severity, active)
             SELECT id, version, ?, ?, severity, active FROM alert WHERE id = ?",
            params![what, now.as_micros(), id as i64],
        )
        .unwrap();
        tx.commit().unwrap();
    }

    fn clear(&self, id: u64, now: Timestamp) {
        self.event(id, "returned", &format!("active = 0, cleared_at = {}", now.as_micros()), now);
    }

    fn acknowledge(&self, id: u64, now: Timestamp) {
        let set = format!("acknowledged_at = {}, acknowledged_by = 'wang'", now.as_micros());
        self.event(id, "acknowledged", &set, now);
    }

    fn stand(&self, id: u64, what: &str, standing: &Standing, now: Timestamp) {
        let set = match standing.is_clear() {
            true => "standing = NULL".to_owned(),
            false => format!("standing = '{}'", serde_json::to_string(standing).unwrap()),
        };
        self.event(id, what, &set, now);
    }

    /// Begins a trouble of the hub, makes it worse or ends it, and logs it as its room does.
    fn trouble(&self, id: u64, (code, subject): (&str, &str), what: &str, now: Timestamp) {
        let severity = if what == "worse" { Severity::Critical } else { Severity::Major };
        self.db
            .execute(
                "INSERT INTO trouble (id, code, subject, severity, since, raised_at, ended_at, facts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, NULL, '{}')
                 ON CONFLICT (id) DO UPDATE SET severity = min(severity, ?4)",
                params![id as i64, code, subject, severity.rank(), now.as_micros()],
            )
            .unwrap();
        let over = (what == "ended").then(|| now.as_micros());
        self.db
            .execute("UPDATE trouble SET ended_at = ? WHERE id = ?", params![over, id as i64])
            .unwrap();
        self.db
            .execute(
                "INSERT INTO trouble_event (trouble, what, at) VALUES (?, ?, ?)",
                params![id as i64, what, now.as_micros()],
            )
            .unwrap();
    }

    fn case_event(&self, case: u64, version: u32, happened: &Happened, now: Timestamp) {
        let happened = serde_json::to_value(happened).unwrap();
        self.db
            .execute(
                "INSERT INTO case_event (case_id, version, at, what, happened) VALUES (?, ?, ?, ?, ?)",
                params![
                    case as i64,
                    version,
                    now.as_micros(),
                    happened["what"].as_str().unwrap(),
                    happened.to_string()
                ],
            )
            .unwrap();
    }
}

/// Durability is proven by the logic here, not by the disk: a test need not wait for it.
fn fast(db: Connection) -> Connection {
    db.pragma_update(None, "synchronous", "OFF").unwrap();
    db
}

/// Settings of this TOML.
fn settings(toml: &str) -> Settings {
    let config: NotifyConfig = toml::from_str(toml).unwrap();
    config.settings("Asia/Shanghai").unwrap()
}

/// One webhook named `hook` that hears everything from info on.
fn one_hook(more: &str) -> Settings {
    settings(&format!(
        "{more}\n[channels.hook]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\n\
         [[routes]]\nchannels = ['hook']\nfrom = 'info'\n\
         events = ['alert.raised', 'alert.reminder', 'alert.acknowledged', 'alert.returned', 'case.opened', \
         'case.dispatched', 'case.overdue', 'case.escalated', 'case.closed']"
    ))
}

/// A step whose messages are all taken at once; what each of them told.
fn told(post: &mut Post, now: Timestamp) -> Vec<Vec<(EventKind, u64)>> {
    let mut all = Vec::new();
    loop {
        let jobs = post.step(now, &Map).unwrap();
        if jobs.is_empty() {
            return all;
        }
        for job in jobs {
            all.push(entries(&job));
            post.done(&job, Ok(None), now).unwrap();
        }
    }
}

fn entries(job: &Job) -> Vec<(EventKind, u64)> {
    let entry = |entry: &Entry| match entry {
        Entry::Alert(entry) => (entry.event, entry.alert),
        Entry::Case(entry) => (entry.event, entry.case),
        Entry::Trouble(entry) => (entry.event, entry.trouble),
    };
    job.notice.entries.iter().map(entry).collect()
}

fn later(why: &str) -> Result<Option<String>, Failure> {
    Err(Failure::Temporary(why.to_owned()))
}

const NOTHING: [Vec<(EventKind, u64)>; 0] = [];

fn opened(zone: &str, severity: Severity, root: Option<AlertId>) -> Happened {
    let subject = Subject {
        asset: Some(format!("{zone}:a").parse().unwrap()),
        kind: None,
        zone: Some(zone.parse().unwrap()),
        device: None,
        title: Label::new("满管", "Surcharge"),
    };
    Happened::Opened { subject, severity, root, reopens: None::<CaseId> }
}
