//! The case tables: what the registrar takes up, what it writes, what people list.

use rusqlite::types::{FromSql, Type};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::record::{Case, CaseEvent, Happened};
use super::{CaseError, CaseId, Stage, Unit, UnitId};
use crate::alert::AlertId;
use crate::audit::{self, Entry};
use crate::model::{AssetId, AssetKind, Label, Severity, Timestamp, ZoneId};

/// The most cases in one answer of [`list`]: the next page goes on with [`CaseQuery::before`].
pub const MAX_LISTED: usize = 1_000;

/// Which cases to list.
#[derive(Debug, Clone, Default)]
pub struct CaseQuery {
    /// Only those that are not closed.
    pub open_only: bool,
    /// Only those with an overdue step.
    pub overdue_only: bool,
    /// Only at these stages, by their spelling; empty is all.
    pub stages: Vec<String>,
    /// Only of these severities; empty is all.
    pub severities: Vec<Severity>,
    /// Only in these zones; `None` is all.
    pub zones: Option<Vec<ZoneId>>,
    /// Only of this asset.
    pub asset: Option<AssetId>,
    /// Only with one of these units; empty is all.
    pub units: Vec<UnitId>,
    /// Only those with a smaller number: the next page.
    pub before: Option<CaseId>,
    /// At most this many.
    pub limit: usize,
}

/// How far the room has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) alert_seq: i64,
    pub(super) next: CaseId,
}

/// What one transaction writes.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    pub(super) progress: Progress,
    pub(super) events: &'a [CaseEvent],
    pub(super) cases: &'a [&'a Case],
}

/// One entry of the alerts' log, with the alert as it is now.
#[derive(Debug)]
pub(super) struct AlertNews {
    pub(super) seq: i64,
    pub(super) what: String,
    pub(super) at: Timestamp,
    pub(super) alert: AlertId,
}

pub(super) fn progress(db: &Connection) -> rusqlite::Result<Progress> {
    db.query_row("SELECT alert_seq, next_case FROM case_progress WHERE one = 1", [], |row| {
        Ok(Progress { alert_seq: row.get(0)?, next: CaseId(row.get::<_, i64>(1)? as u64) })
    })
}

/// Every open case, told again from its log.
pub(super) fn open_cases(db: &Connection) -> Result<Vec<Case>, CaseError> {
    let mut query = db.prepare(
        "SELECT case_id, version, at, actor, note, happened FROM case_event
         WHERE case_id IN (SELECT id FROM town_case WHERE is_open = 1) ORDER BY case_id, version",
    )?;
    let mut cases: Vec<Case> = Vec::new();
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        tell(&mut cases, &event_of(row)?);
    }
    Ok(cases)
}

/// One case, told again from its log.
pub(super) fn case(db: &Connection, id: CaseId) -> Result<Option<Case>, CaseError> {
    let mut cases = Vec::new();
    for event in history(db, id)? {
        tell(&mut cases, &event);
    }
    Ok(cases.pop())
}

fn tell(cases: &mut Vec<Case>, event: &CaseEvent) {
    match cases.last_mut().filter(|case| case.id == event.case) {
        Some(case) => case.on(event),
        None => cases.extend(Case::open(event)),
    }
}

/// Everything that ever happened to a case, in order; empty when there is no such case.
///
/// # Errors
/// When SQLite fails, or a row is damaged.
pub fn history(db: &Connection, id: CaseId) -> Result<Vec<CaseEvent>, CaseError> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(Vec::new()) };
    let mut query = db.prepare_cached(
        "SELECT case_id, version, at, actor, note, happened FROM case_event
         WHERE case_id = ? ORDER BY version",
    )?;
    Ok(query.query_map([number], event_of)?.collect::<Result<_, _>>()?)
}

/// Writes events, the cases that they made, and how far the room has come: all of it, or nothing.
pub(super) fn write(db: &mut Connection, changes: &Changes<'_>) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for case in changes.cases {
        write_case(&tx, case)?;
    }
    for event in changes.events {
        write_event(&tx, event)?;
    }
    tx.prepare_cached("UPDATE case_progress SET alert_seq = ?, next_case = ?")?
        .execute([changes.progress.alert_seq, changes.progress.next.0 as i64])?;
    tx.commit()
}

fn write_event(tx: &Transaction<'_>, event: &CaseEvent) -> rusqlite::Result<()> {
    let happened = serde_json::to_value(&event.happened).map_err(unwritable)?;
    tx.prepare_cached(
        "INSERT INTO case_event (case_id, version, at, actor, note, what, happened)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.case.0 as i64,
        event.version,
        event.at.as_micros(),
        event.actor,
        event.note,
        happened["what"].as_str(),
        happened.to_string(),
    ])?;
    let subject = format!("case:{}", event.case.0);
    let action = format!("case.{}", happened["what"].as_str().unwrap_or("?"));
    let actor = event.actor.as_deref().unwrap_or(audit::HUB);
    let detail =
        serde_json::json!({ "version": event.version, "note": event.note, "happened": happened });
    let entry = Entry { at: event.at, actor, action: &action, subject: &subject, detail };
    audit::append(tx, &entry)?;
    let alert = match &event.happened {
        Happened::Opened { root, .. } => *root,
        Happened::Attached { alert, .. } => Some(*alert),
        _ => None,
    };
    if let Some(alert) = alert {
        tx.prepare_cached("INSERT OR REPLACE INTO case_alert (alert, case_id) VALUES (?, ?)")?
            .execute([alert.0 as i64, event.case.0 as i64])?;
    }
    Ok(())
}

fn write_case(tx: &Transaction<'_>, case: &Case) -> rusqlite::Result<()> {
    let unit = match &case.stage {
        Stage::Dispatched { unit, .. }
        | Stage::Accepted { unit, .. }
        | Stage::Reported { unit, .. } => Some(unit.as_str()),
        Stage::Opened | Stage::Verified { .. } | Stage::Closed { .. } => None,
    };
    tx.prepare_cached(
        "INSERT INTO town_case (id, version, root, stage, severity, zone, asset, kind, unit, overdue,
             opened_at, closed_at, due_at, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, stage = excluded.stage,
             severity = excluded.severity, unit = excluded.unit, overdue = excluded.overdue,
             closed_at = excluded.closed_at, due_at = excluded.due_at, state = excluded.state",
    )?
    .execute(params![
        case.id.0 as i64,
        case.version,
        case.root(),
        case.stage.as_str(),
        case.severity.rank(),
        case.subject.zone.as_ref().map(|zone| zone.as_str()),
        case.subject.asset.as_ref().map(|asset| asset.as_str()),
        case.subject.kind.map(|kind| kind.as_str()),
        unit,
        case.overdue.map(|step| step.as_str()),
        case.opened_at.as_micros(),
        case.closed_at.map(Timestamp::as_micros),
        case.deadlines.map(|deadlines| deadlines.fix.as_micros()),
        serde_json::to_string(case).map_err(unwritable)?,
    ])?;
    Ok(())
}

/// What is new in the alerts' log, at most `limit` entries.
pub(super) fn alert_news(
    db: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<AlertNews>> {
    let mut query = db.prepare_cached(
        "SELECT seq, what, at, alert FROM alert_event WHERE seq > ? ORDER BY seq LIMIT ?",
    )?;
    let news = query.query_map(params![after, limit as i64], |row| {
        Ok(AlertNews {
            seq: row.get(0)?,
            what: row.get(1)?,
            at: Timestamp::from_micros(row.get(2)?),
            alert: AlertId(row.get::<_, i64>(3)? as u64),
        })
    })?;
    news.collect()
}

/// An entry of the cases' log, for a reader that follows it by its number.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseNews {
    /// Its place in the log.
    pub seq: i64,
    /// What happened.
    pub event: CaseEvent,
    /// How bad the case is now.
    pub severity: Severity,
    /// What its asset is.
    pub kind: Option<AssetKind>,
    /// The case as it is now, as the API shows it.
    pub case: serde_json::Value,
}

/// The entries of the cases' log behind `after`, oldest first, at most `limit`.
///
/// # Errors
/// When SQLite fails, or a row is damaged.
pub fn news(db: &Connection, after: i64, limit: usize) -> Result<Vec<CaseNews>, CaseError> {
    let mut query = db.prepare_cached(
        "SELECT e.case_id, e.version, e.at, e.actor, e.note, e.happened, e.seq, c.state
         FROM case_event e JOIN town_case c ON c.id = e.case_id WHERE e.seq > ? ORDER BY e.seq LIMIT ?",
    )?;
    #[derive(Deserialize)]
    struct State {
        severity: Severity,
        kind: Option<AssetKind>,
    }
    let news = query.query_map(params![after, limit as i64], |row| {
        let State { severity, kind } = json(row, 7)?;
        let (seq, event, case) = (row.get(6)?, event_of(row)?, json(row, 7)?);
        Ok(CaseNews { seq, event, severity, kind, case })
    })?;
    Ok(news.collect::<Result<_, _>>()?)
}

/// The case that an alert belongs to.
pub(super) fn case_of_alert(db: &Connection, alert: AlertId) -> rusqlite::Result<Option<CaseId>> {
    db.prepare_cached("SELECT case_id FROM case_alert WHERE alert = ?")?
        .query_row([alert.0 as i64], |row| Ok(CaseId(row.get::<_, i64>(0)? as u64)))
        .optional()
}

/// The case of this root that was closed last, if that was at `since` or later.
pub(super) fn closed_since(
    db: &Connection,
    root: &str,
    since: Timestamp,
) -> rusqlite::Result<Option<CaseId>> {
    db.prepare_cached(
        "SELECT id FROM town_case WHERE root = ? AND closed_at >= ? ORDER BY closed_at DESC LIMIT 1",
    )?
    .query_row(params![root, since.as_micros()], |row| Ok(CaseId(row.get::<_, i64>(0)? as u64)))
    .optional()
}

/// Lists cases, newest first, each as JSON as it was last written; reads with its own connection.
///
/// # Errors
/// When SQLite fails.
pub fn list(db: &Connection, query: &CaseQuery) -> Result<Vec<serde_json::Value>, CaseError> {
    let (sql, values) = list_sql(query);
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let cases = statement.query_map(&values[..], |row| json(row, 0))?.collect::<Result<_, _>>()?;
    Ok(cases)
}

fn list_sql(query: &CaseQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut among = |column: &str, wanted: Vec<Box<dyn ToSql>>| {
        let marks = vec!["?"; wanted.len()].join(", ");
        conditions.push(format!("{column} IN ({marks})"));
        values.extend(wanted);
    };
    let text = |text: &str| Box::new(text.to_owned()) as Box<dyn ToSql>;
    if !query.stages.is_empty() {
        among("stage", query.stages.iter().map(|stage| text(stage)).collect());
    }
    if !query.severities.is_empty() {
        let ranks = query.severities.iter().map(|s| Box::new(s.rank()) as Box<dyn ToSql>);
        among("severity", ranks.collect());
    }
    if let Some(zones) = &query.zones {
        among("zone", zones.iter().map(|zone| text(zone.as_str())).collect());
    }
    if !query.units.is_empty() {
        among("unit", query.units.iter().map(|unit| text(unit.as_str())).collect());
    }
    if let Some(asset) = &query.asset {
        among("asset", vec![text(asset.as_str())]);
    }
    if query.open_only {
        conditions.push("is_open = 1".to_owned());
    }
    if query.overdue_only {
        conditions.push("overdue IS NOT NULL".to_owned());
    }
    if let Some(before) = query.before {
        conditions.push("id < ?".to_owned());
        values.push(Box::new(i64::try_from(before.0).unwrap_or(i64::MAX)));
    }
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    values.push(Box::new(query.limit.min(MAX_LISTED) as i64));
    (format!("SELECT state FROM town_case{filter} ORDER BY id DESC LIMIT ?"), values)
}

/// Every unit, by id.
///
/// # Errors
/// When SQLite fails.
pub fn units(db: &Connection) -> Result<Vec<Unit>, CaseError> {
    let mut query = db.prepare_cached(
        "SELECT id, name_zh, name_en, zones, kinds, members, version FROM unit ORDER BY id",
    )?;
    let units = query.query_map([], |row| {
        Ok(Unit {
            id: parsed(row, 0)?,
            name: Label { zh: row.get(1)?, en: row.get(2)? },
            zones: json(row, 3)?,
            kinds: json(row, 4)?,
            members: json(row, 5)?,
            version: row.get(6)?,
        })
    })?;
    Ok(units.collect::<Result<_, _>>()?)
}

/// Makes or replaces a unit.
pub(super) fn put_unit(tx: &Transaction<'_>, unit: &Unit) -> rusqlite::Result<()> {
    let list = |value: serde_json::Result<String>| value.map_err(unwritable);
    tx.execute(
        "INSERT INTO unit (id, name_zh, name_en, zones, kinds, members, version)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en,
             zones = excluded.zones, kinds = excluded.kinds, members = excluded.members,
             version = excluded.version",
        params![
            unit.id.as_str(),
            unit.name.zh,
            unit.name.en,
            list(serde_json::to_string(&unit.zones))?,
            list(serde_json::to_string(&unit.kinds))?,
            list(serde_json::to_string(&unit.members))?,
            unit.version,
        ],
    )?;
    Ok(())
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<CaseEvent> {
    Ok(CaseEvent {
        case: CaseId(row.get::<_, i64>(0)? as u64),
        version: row.get(1)?,
        at: Timestamp::from_micros(row.get(2)?),
        actor: row.get(3)?,
        note: row.get(4)?,
        happened: json(row, 5)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|why| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(why)))
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = String::column_result(row.get_ref(column)?)?;
    text.parse()
        .map_err(|why| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(why)))
}

fn unwritable(why: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(why))
}
