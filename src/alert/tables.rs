//! The alert tables: what the engine takes up at its start, what it writes, and what people list.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params,
};
use serde_json::json;

use super::condition::Condition;
use super::ledger::{AlertEvent, What};
use super::rule::RuleKey;
use super::{Alert, AlertError, AlertId, AlertQuery};
use crate::audit;
use crate::model::{AssetNumber, Label, Severity, Timestamp};
use crate::store::CommitSeq;

/// The most alerts in one answer of [`list`]: the next page goes on with [`AlertQuery::before`].
pub const MAX_LISTED: usize = 1_000;

/// The town's state file has other writers (imports, logins): how long to wait for one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How far the judgement on disk has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    /// Conditions and alerts stand as after this commit.
    pub(super) judged: CommitSeq,
    /// The times of the last readings stand as after this commit.
    pub(super) replay_from: CommitSeq,
    /// The number of the next new alert.
    pub(super) next_alert: AlertId,
}

/// What is on disk.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) progress: Progress,
    pub(super) open: Vec<Alert>,
    pub(super) delays: Vec<(RuleKey, Condition)>,
    /// Chunk number and the times in it, in microseconds.
    pub(super) news: Vec<(usize, Vec<i64>)>,
}

/// What has changed since the last write.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    pub(super) progress: Progress,
    pub(super) alerts: Vec<&'a Alert>,
    pub(super) events: &'a [AlertEvent],
    /// Rules that are gone, before the conditions of those that are in force.
    pub(super) gone: &'a [RuleKey],
    pub(super) conditions: Vec<(&'a RuleKey, &'a Condition)>,
    pub(super) news: Vec<(usize, Vec<i64>)>,
}

/// Reads everything that the engine needs to go on.
pub(super) fn load(db: &Connection) -> rusqlite::Result<Saved> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    let progress = db.query_row(
        "SELECT judged, replay_from, next_alert FROM alert_progress WHERE one = 1",
        [],
        |row| {
            Ok(Progress {
                judged: CommitSeq(row.get::<_, i64>(0)? as u64),
                replay_from: CommitSeq(row.get::<_, i64>(1)? as u64),
                next_alert: AlertId(row.get::<_, i64>(2)? as u64),
            })
        },
    )?;
    let open = db
        .prepare("SELECT * FROM alert WHERE open = 1 ORDER BY id")?
        .query_map([], alert_of)?
        .collect::<Result<_, _>>()?;
    let delays = db
        .prepare("SELECT * FROM alert_condition")?
        .query_map([], |row| Ok((key_of(row)?, delay_of(row)?)))?
        .collect::<Result<_, _>>()?;
    let news = db
        .prepare("SELECT chunk, times FROM alert_news")?
        .query_map([], |row| Ok((row.get::<_, i64>(0)? as usize, times_of(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Saved { progress, open, delays, news })
}

/// Writes all changes in one transaction: all of them are on disk when it returns, or none.
pub(super) fn write(db: &mut Connection, changes: &Changes<'_>) -> rusqlite::Result<()> {
    // Immediate: a deferred transaction that turns into a writer is refused at once when another one writes.
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for alert in &changes.alerts {
        write_alert(&tx, alert)?;
    }
    for event in changes.events {
        write_event(&tx, event)?;
    }
    for key in changes.gone {
        delete_delay(&tx, key)?;
    }
    for (key, condition) in &changes.conditions {
        write_delay(&tx, key, condition)?;
    }
    for (chunk, times) in &changes.news {
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        tx.prepare_cached("INSERT OR REPLACE INTO alert_news (chunk, times) VALUES (?, ?)")?
            .execute(params![*chunk as i64, bytes])?;
    }
    tx.prepare_cached("UPDATE alert_progress SET judged = ?, replay_from = ?, next_alert = ?")?
        .execute([
            changes.progress.judged.0 as i64,
            changes.progress.replay_from.0 as i64,
            changes.progress.next_alert.0 as i64,
        ])?;
    tx.commit()
}

fn write_alert(tx: &Transaction<'_>, alert: &Alert) -> rusqlite::Result<()> {
    // What never changes after the first version is left out of the update.
    tx.prepare_cached(
        "INSERT INTO alert (id, version, device, metric, name, kind, asset, asset_number, severity,
             text_zh, text_en, value, peak, limit_value, clear_value, unit, active, since, raised_at,
             acknowledged_at, acknowledged_by, note, cleared_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, asset = excluded.asset,
             asset_number = excluded.asset_number, severity = excluded.severity,
             text_zh = excluded.text_zh, text_en = excluded.text_en, peak = excluded.peak,
             limit_value = excluded.limit_value, clear_value = excluded.clear_value,
             unit = excluded.unit, active = excluded.active,
             acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
             note = excluded.note, cleared_at = excluded.cleared_at",
    )?
    .execute(params![
        alert.id.0 as i64,
        alert.version,
        alert.rule.device.as_str(),
        metric_text(&alert.rule),
        alert.rule.name,
        alert.kind,
        alert.asset.as_ref().map(|asset| asset.as_str()),
        alert.asset_number.map(|number| number.0),
        alert.severity.rank(),
        alert.text.zh,
        alert.text.en,
        alert.value,
        alert.peak,
        alert.limit,
        alert.clear,
        alert.unit,
        alert.active,
        alert.since.as_micros(),
        alert.raised_at.as_micros(),
        alert.acknowledged_at.map(Timestamp::as_micros),
        alert.acknowledged_by,
        alert.note,
        alert.cleared_at.map(Timestamp::as_micros),
    ])?;
    Ok(())
}

fn write_event(tx: &Transaction<'_>, event: &AlertEvent) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO alert_event (alert, version, what, at, actor, note) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.alert.0 as i64,
        event.version,
        event.what.as_str(),
        event.at.as_micros(),
        event.actor,
        event.note,
    ])?;
    // What a person did stands in the audit log too.
    let Some(actor) = &event.actor else { return Ok(()) };
    let entry = audit::Entry {
        at: event.at,
        actor,
        action: &format!("alert.{}", event.what.as_str()),
        subject: &event.alert.0.to_string(),
        detail: json!({ "version": event.version, "note": event.note }),
    };
    audit::append(tx, &entry)
}

fn write_delay(tx: &Transaction<'_>, key: &RuleKey, condition: &Condition) -> rusqlite::Result<()> {
    let (state, since, value, peak) = match *condition {
        // An active condition stands in its alert.
        Condition::Normal | Condition::Active { .. } => return delete_delay(tx, key),
        Condition::Pending { since, value, peak } => ("pending", since, Some(value), peak),
        Condition::Returning { since, peak } => ("returning", since, None, peak),
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO alert_condition (device, metric, name, state, since, value, peak)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        key.device.as_str(),
        metric_text(key),
        key.name,
        state,
        since.as_micros(),
        value,
        peak,
    ])?;
    Ok(())
}

fn delete_delay(tx: &Transaction<'_>, key: &RuleKey) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM alert_condition WHERE device = ? AND metric = ? AND name = ?")?
        .execute(params![key.device.as_str(), metric_text(key), key.name])?;
    Ok(())
}

/// Lists alerts from the tables, newest first, at most [`MAX_LISTED`]; reads with its own connection. An active alert's
/// peak is as old as the last checkpoint; the engine's own picture has it to the last reading.
///
/// # Errors
/// When SQLite fails.
pub fn list(db: &Connection, query: &AlertQuery) -> Result<Vec<Alert>, AlertError> {
    let (sql, values) = list_sql(query);
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let alerts = statement.query_map(&values[..], alert_of)?.collect::<Result<_, _>>()?;
    Ok(alerts)
}

/// The statement of [`list`] and its values. One text per shape of query, so that the prepared ones are found again.
pub(super) fn list_sql(query: &AlertQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if query.open_only {
        conditions.push("open = 1".to_owned());
    }
    if !query.severities.is_empty() {
        let marks = vec!["?"; query.severities.len()].join(", ");
        conditions.push(format!("severity IN ({marks})"));
        values.extend(query.severities.iter().map(|s| Box::new(s.rank()) as Box<dyn ToSql>));
    }
    if let Some(asset) = &query.asset {
        conditions.push("asset = ?".to_owned());
        values.push(Box::new(asset.as_str().to_owned()));
    }
    if let Some(device) = &query.device {
        conditions.push("device = ?".to_owned());
        values.push(Box::new(device.as_str().to_owned()));
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
    (format!("SELECT * FROM alert{filter} ORDER BY id DESC LIMIT ?"), values)
}

/// Everything that ever happened to an alert, in order; empty when there is no such alert.
///
/// # Errors
/// When SQLite fails.
pub fn history(db: &Connection, id: AlertId) -> Result<Vec<AlertEvent>, AlertError> {
    let mut statement = db.prepare_cached(
        "SELECT alert, version, what, at, actor, note FROM alert_event WHERE alert = ? ORDER BY version",
    )?;
    let events = statement.query_map([id.0 as i64], event_of)?.collect::<Result<_, _>>()?;
    Ok(events)
}

/// One alert, open or not.
///
/// # Errors
/// When SQLite fails.
pub fn find(db: &Connection, id: AlertId) -> rusqlite::Result<Option<Alert>> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
    db.prepare_cached("SELECT * FROM alert WHERE id = ?")?.query_row([number], alert_of).optional()
}

fn metric_text(key: &RuleKey) -> &str {
    key.metric.as_ref().map_or("", |metric| metric.as_str())
}

pub(super) fn alert_of(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let time = |name| row.get::<_, Option<i64>>(name).map(|us| us.map(Timestamp::from_micros));
    Ok(Alert {
        id: AlertId(row.get::<_, i64>("id")? as u64),
        version: row.get("version")?,
        rule: key_of(row)?,
        kind: kind_of(row)?,
        asset: row.get::<_, Option<String>>("asset")?.map(|text| parse(&text)).transpose()?,
        asset_number: row.get::<_, Option<u32>>("asset_number")?.map(AssetNumber),
        severity: severity_of(row)?,
        text: Label { zh: row.get("text_zh")?, en: row.get("text_en")? },
        value: row.get("value")?,
        peak: row.get("peak")?,
        limit: row.get("limit_value")?,
        clear: row.get("clear_value")?,
        unit: row.get("unit")?,
        active: row.get("active")?,
        since: Timestamp::from_micros(row.get("since")?),
        raised_at: Timestamp::from_micros(row.get("raised_at")?),
        acknowledged_at: time("acknowledged_at")?,
        acknowledged_by: row.get("acknowledged_by")?,
        note: row.get("note")?,
        cleared_at: time("cleared_at")?,
    })
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<RuleKey> {
    let metric: String = row.get("metric")?;
    Ok(RuleKey {
        device: parse(&row.get::<_, String>("device")?)?,
        metric: if metric.is_empty() { None } else { Some(parse(&metric)?) },
        name: row.get("name")?,
    })
}

fn kind_of(row: &Row<'_>) -> rusqlite::Result<&'static str> {
    let kind: String = row.get("kind")?;
    let known = ["limit", "state", "no_data"].into_iter().find(|known| *known == kind);
    known.ok_or_else(|| damaged(format!("`{kind}` is no kind of alert")))
}

fn severity_of(row: &Row<'_>) -> rusqlite::Result<Severity> {
    let rank: u8 = row.get("severity")?;
    let known = Severity::ALL.into_iter().find(|severity| severity.rank() == rank);
    known.ok_or_else(|| damaged(format!("{rank} is no rank of a severity")))
}

fn delay_of(row: &Row<'_>) -> rusqlite::Result<Condition> {
    let since = Timestamp::from_micros(row.get("since")?);
    let peak = row.get("peak")?;
    match row.get::<_, String>("state")?.as_str() {
        "pending" => Ok(Condition::Pending { since, value: row.get("value")?, peak }),
        "returning" => Ok(Condition::Returning { since, peak }),
        state => Err(damaged(format!("`{state}` is no state of a delay"))),
    }
}

fn times_of(row: &Row<'_>) -> rusqlite::Result<Vec<i64>> {
    let bytes: Vec<u8> = row.get("times")?;
    let times = bytes.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
    Ok(times.map(i64::from_le_bytes).collect())
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<AlertEvent> {
    let what: String = row.get("what")?;
    let known = What::ALL.into_iter().find(|known| known.as_str() == what);
    Ok(AlertEvent {
        alert: AlertId(row.get::<_, i64>("alert")? as u64),
        version: row.get("version")?,
        what: known.ok_or_else(|| damaged(format!("`{what}` is no event of an alert")))?,
        at: Timestamp::from_micros(row.get("at")?),
        actor: row.get("actor")?,
        note: row.get("note")?,
    })
}

fn parse<T>(text: &str) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
    })
}

/// The table holds what this version never writes.
fn damaged(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.into())
}
