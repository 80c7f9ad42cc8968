//! The alert tables: what the engine takes up at its start, what it writes, and what people list.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params,
};
use serde_json::json;

use super::aside::Standings;
use super::condition::Condition;
use super::flap::Flapping;
use super::ledger::{AlertEvent, What};
use super::rule::RuleKey;
use super::sense::Memory;
use super::{Alert, AlertError, AlertId, AlertQuery, Standing};
use crate::audit;
use crate::model::{AssetNumber, Label, Quality, SeriesId, Severity, Timestamp};
use crate::store::CommitSeq;

/// The most alerts in one answer of [`list`]: the next page goes on with [`AlertQuery::before`].
pub const MAX_LISTED: usize = 1_000;

/// Every [`Alert::kind`].
const KINDS: [&str; 8] = ["limit", "rise", "fall", "sum", "state", "flat", "condition", "no_data"];

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
    /// The steps of rules that stand otherwise than their alerts say; no severity for the only step of a rule of before.
    pub(super) steps: Vec<(RuleKey, Option<Severity>, Condition)>,
    /// What rules did of late.
    pub(super) flapping: Vec<(RuleKey, Flapping)>,
    /// The newest readings that flat lines and expressions need.
    pub(super) memories: Vec<Memory>,
    /// Chunk number and the times in it, in microseconds.
    pub(super) news: Vec<(usize, Vec<i64>)>,
}

/// What has changed since the last write.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    pub(super) progress: Progress,
    pub(super) alerts: Vec<&'a Alert>,
    pub(super) events: &'a [AlertEvent],
    pub(super) standings: &'a Standings,
    /// Rules that are gone, before the conditions of those that are in force.
    pub(super) gone: &'a [RuleKey],
    pub(super) rules: Vec<Stand<'a>>,
    /// Chunk number and the memories in it.
    pub(super) memories: Vec<(usize, &'a [Memory])>,
    pub(super) news: Vec<(usize, Vec<i64>)>,
}

/// Where a rule stands.
#[derive(Debug)]
pub(super) struct Stand<'a> {
    pub(super) key: &'a RuleKey,
    /// The steps that its alert does not tell.
    pub(super) steps: Vec<(Severity, &'a Condition)>,
    pub(super) flapping: &'a Flapping,
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
    let steps = db
        .prepare("SELECT * FROM alert_condition")?
        .query_map([], |row| Ok((key_of(row)?, step_of(row)?, condition_of(row)?)))?
        .collect::<Result<_, _>>()?;
    let flapping = db
        .prepare("SELECT * FROM alert_flap")?
        .query_map([], |row| Ok((key_of(row)?, flapping_of(row)?)))?
        .collect::<Result<_, _>>()?;
    let memories: Vec<Vec<Memory>> = db
        .prepare("SELECT entries FROM alert_memory ORDER BY chunk")?
        .query_map([], |row| memories_of(&row.get::<_, Vec<u8>>(0)?))?
        .collect::<Result<_, _>>()?;
    let news = db
        .prepare("SELECT chunk, times FROM alert_news")?
        .query_map([], |row| Ok((row.get::<_, i64>(0)? as usize, times_of(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Saved { progress, open, steps, flapping, memories: memories.concat(), news })
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
    changes.standings.write(&tx)?;
    for key in changes.gone {
        delete_stand(&tx, key)?;
    }
    for stand in &changes.rules {
        delete_stand(&tx, stand.key)?;
        write_stand(&tx, stand)?;
    }
    for (chunk, memories) in &changes.memories {
        tx.prepare_cached("INSERT OR REPLACE INTO alert_memory (chunk, entries) VALUES (?, ?)")?
            .execute(params![*chunk as i64, memory_bytes(memories)])?;
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
             acknowledged_at, acknowledged_by, note, cleared_at, worst, chattering, first_in_group,
             raised_count, standing)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, asset = excluded.asset,
             asset_number = excluded.asset_number, severity = excluded.severity,
             text_zh = excluded.text_zh, text_en = excluded.text_en, peak = excluded.peak,
             limit_value = excluded.limit_value, clear_value = excluded.clear_value,
             unit = excluded.unit, active = excluded.active,
             acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
             note = excluded.note, cleared_at = excluded.cleared_at, worst = excluded.worst,
             chattering = excluded.chattering, first_in_group = excluded.first_in_group,
             raised_count = excluded.raised_count, standing = excluded.standing",
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
        alert.worst.rank(),
        alert.chattering,
        alert.first_in_group,
        alert.raised_count,
        standing_text(&alert.standing)?,
    ])?;
    Ok(())
}

fn write_event(tx: &Transaction<'_>, event: &AlertEvent) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO alert_event (alert, version, what, at, actor, note, severity, active, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.alert.0 as i64,
        event.version,
        event.what.as_str(),
        event.at.as_micros(),
        event.actor,
        event.note,
        event.severity.rank(),
        event.active,
        event.detail.as_ref().map(ToString::to_string),
    ])?;
    // What a person did stands in the audit log too.
    let Some(actor) = &event.actor else { return Ok(()) };
    let entry = audit::Entry {
        at: event.at,
        actor,
        action: &format!("alert.{}", event.what.as_str()),
        subject: &event.alert.0.to_string(),
        detail: match &event.detail {
            None => json!({ "version": event.version, "note": event.note }),
            Some(detail) => {
                json!({ "version": event.version, "note": event.note, "detail": detail })
            }
        },
    };
    audit::append(tx, &entry)
}

fn write_stand(tx: &Transaction<'_>, stand: &Stand<'_>) -> rusqlite::Result<()> {
    let Stand { key, steps, flapping } = stand;
    for (severity, condition) in steps {
        let (state, since, value, peak) = match **condition {
            Condition::Normal => ("normal", None, None, None),
            Condition::Pending { since, value, peak } => {
                ("pending", Some(since), Some(value), peak)
            }
            Condition::Active { peak } => ("active", None, None, peak),
            Condition::Returning { since, peak } => ("returning", Some(since), None, peak),
        };
        tx.prepare_cached(
            "INSERT INTO alert_condition (device, metric, name, rung, state, since, value, peak)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            key.device.as_str(),
            metric_text(key),
            key.name,
            severity.rank(),
            state,
            since.map(Timestamp::as_micros),
            // SQLite keeps no NaN: it comes back as NULL.
            value,
            peak,
        ])?;
    }
    if flapping.is_quiet() {
        return Ok(());
    }
    let state = serde_json::to_string(flapping)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    tx.prepare_cached("INSERT INTO alert_flap (device, metric, name, state) VALUES (?, ?, ?, ?)")?
        .execute(params![key.device.as_str(), metric_text(key), key.name, state])?;
    Ok(())
}

fn delete_stand(tx: &Transaction<'_>, key: &RuleKey) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM alert_condition WHERE device = ? AND metric = ? AND name = ?",
        "DELETE FROM alert_flap WHERE device = ? AND metric = ? AND name = ?",
    ] {
        tx.prepare_cached(sql)?.execute(params![
            key.device.as_str(),
            metric_text(key),
            key.name
        ])?;
    }
    Ok(())
}

/// Bytes of a memory: series, time, value, quality, time of what counted.
const MEMORY_BYTES: usize = 4 + 8 + 8 + 1 + 8;

fn memory_bytes(memories: &[Memory]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(memories.len() * MEMORY_BYTES);
    for memory in memories {
        bytes.extend(memory.series.0.to_le_bytes());
        bytes.extend(memory.at.as_micros().to_le_bytes());
        bytes.extend(memory.value.to_le_bytes());
        bytes.push(memory.quality.to_byte());
        bytes.extend(memory.counted.as_micros().to_le_bytes());
    }
    bytes
}

fn memories_of(bytes: &[u8]) -> rusqlite::Result<Vec<Memory>> {
    let time = |bytes: &[u8; 8]| Timestamp::from_micros(i64::from_le_bytes(*bytes));
    let one = |bytes: &[u8]| {
        let (series, rest) = bytes.split_first_chunk::<4>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (value, rest) = rest.split_first_chunk::<8>()?;
        let ([quality], rest) = rest.split_first_chunk::<1>()?;
        let (counted, _) = rest.split_first_chunk::<8>()?;
        Some(Memory {
            series: SeriesId(u32::from_le_bytes(*series)),
            at: time(at),
            value: f64::from_le_bytes(*value),
            quality: Quality::from_byte(*quality)?,
            counted: time(counted),
        })
    };
    let memories = bytes.chunks(MEMORY_BYTES).map(one).collect::<Option<_>>();
    memories.ok_or_else(|| damaged("a reading that nobody wrote".to_owned()))
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
    if let Some(standing) = query.standing {
        conditions.push(standing.sql().to_owned());
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
        "SELECT alert, version, what, at, actor, note, severity, active, detail
         FROM alert_event WHERE alert = ? ORDER BY version",
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

pub(super) fn metric_text(key: &RuleKey) -> &str {
    key.metric.as_ref().map_or("", |metric| metric.as_str())
}

fn alert_of(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let time = |name| row.get::<_, Option<i64>>(name).map(|us| us.map(Timestamp::from_micros));
    Ok(Alert {
        id: AlertId(row.get::<_, i64>("id")? as u64),
        version: row.get("version")?,
        rule: key_of(row)?,
        kind: kind_of(row)?,
        asset: row.get::<_, Option<String>>("asset")?.map(|text| parse(&text)).transpose()?,
        asset_number: row.get::<_, Option<u32>>("asset_number")?.map(AssetNumber),
        severity: severity_of(row, "severity")?,
        worst: severity_of(row, "worst")?,
        text: Label { zh: row.get("text_zh")?, en: row.get("text_en")? },
        value: row.get("value")?,
        peak: row.get("peak")?,
        limit: row.get("limit_value")?,
        clear: row.get("clear_value")?,
        unit: row.get("unit")?,
        active: row.get("active")?,
        chattering: row.get("chattering")?,
        first_in_group: row.get("first_in_group")?,
        raised_count: row.get("raised_count")?,
        standing: standing_of(row)?,
        since: Timestamp::from_micros(row.get("since")?),
        raised_at: Timestamp::from_micros(row.get("raised_at")?),
        acknowledged_at: time("acknowledged_at")?,
        acknowledged_by: row.get("acknowledged_by")?,
        note: row.get("note")?,
        cleared_at: time("cleared_at")?,
    })
}

pub(super) fn key_of(row: &Row<'_>) -> rusqlite::Result<RuleKey> {
    let metric: String = row.get("metric")?;
    Ok(RuleKey {
        device: parse(&row.get::<_, String>("device")?)?,
        metric: if metric.is_empty() { None } else { Some(parse(&metric)?) },
        name: row.get("name")?,
    })
}

fn kind_of(row: &Row<'_>) -> rusqlite::Result<&'static str> {
    let kind: String = row.get("kind")?;
    let known = KINDS.into_iter().find(|known| *known == kind);
    known.ok_or_else(|| damaged(format!("`{kind}` is no kind of alert")))
}

fn severity_of(row: &Row<'_>, column: &str) -> rusqlite::Result<Severity> {
    let rank: u8 = row.get(column)?;
    Severity::from_rank(rank)
        .ok_or_else(|| damaged(format!("{rank} is no rank of a severity")))
}

/// `None` for an alert that nothing keeps from ringing: nearly all of them.
fn standing_text(standing: &Standing) -> rusqlite::Result<Option<String>> {
    if standing.is_clear() {
        return Ok(None);
    }
    let text = serde_json::to_string(standing);
    text.map(Some).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn standing_of(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let Some(text) = row.get::<_, Option<String>>("standing")? else {
        return Ok(Standing::default());
    };
    serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))
}

fn detail_of(row: &Row<'_>) -> rusqlite::Result<Option<serde_json::Value>> {
    let Some(text) = row.get::<_, Option<String>>("detail")? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

fn step_of(row: &Row<'_>) -> rusqlite::Result<Option<Severity>> {
    match row.get::<_, u8>("rung")? {
        0 => Ok(None),
        _ => severity_of(row, "rung").map(Some),
    }
}

fn condition_of(row: &Row<'_>) -> rusqlite::Result<Condition> {
    let since = || Ok::<_, rusqlite::Error>(Timestamp::from_micros(row.get("since")?));
    let peak = row.get("peak")?;
    match row.get::<_, String>("state")?.as_str() {
        "normal" => Ok(Condition::Normal),
        "pending" => {
            let value = row.get::<_, Option<f64>>("value")?.unwrap_or(f64::NAN);
            Ok(Condition::Pending { since: since()?, value, peak })
        }
        "active" => Ok(Condition::Active { peak }),
        "returning" => Ok(Condition::Returning { since: since()?, peak }),
        state => Err(damaged(format!("`{state}` is no state of a condition"))),
    }
}

fn flapping_of(row: &Row<'_>) -> rusqlite::Result<Flapping> {
    let state: String = row.get("state")?;
    serde_json::from_str(&state).map_err(|error| damaged(error.to_string()))
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
        severity: severity_of(row, "severity")?,
        active: row.get("active")?,
        actor: row.get("actor")?,
        note: row.get("note")?,
        detail: detail_of(row)?,
    })
}

pub(super) fn parse<T>(text: &str) -> rusqlite::Result<T>
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
