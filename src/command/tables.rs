//! The command tables: every step is one transaction, with its event and its entry in the audit log.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};
use serde_json::json;

use super::check::Refusal;
use super::{Command, CommandEvent, CommandId, CommandQuery};
use crate::audit;
use crate::model::{AssetId, DeviceId, Timestamp};

/// The most commands in one answer of [`list`].
pub const MAX_LISTED: usize = 1_000;

/// A message that waits for its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The command that it carries.
    pub command: CommandId,
    /// What is published.
    pub payload: Vec<u8>,
    /// Not delivered from then on.
    pub expires_at: Timestamp,
}

/// Who did what to a command, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) what: &'a str,
    pub(super) actor: &'a str,
    pub(super) at: Timestamp,
}

/// Writes a new command; gives it its number.
pub(super) fn insert(
    tx: &Transaction<'_>,
    command: &mut Command,
    nonce: &[u8],
    step: Step<'_>,
) -> Result<(), Failure> {
    tx.prepare_cached(
        "INSERT INTO command (version, device, asset, emergency, state, nonce, body)
         VALUES (?, ?, ?, ?, ?, ?, '')",
    )?
    .execute(params![
        command.version,
        command.device.as_str(),
        command.asset.as_ref().map(AssetId::as_str),
        command.emergency,
        command.state.as_str(),
        nonce,
    ])?;
    command.id = CommandId(tx.last_insert_rowid() as u64);
    update(tx, command, step)
}

/// Writes what has become of a command.
pub(super) fn update(
    tx: &Transaction<'_>,
    command: &Command,
    step: Step<'_>,
) -> Result<(), Failure> {
    tx.prepare_cached("UPDATE command SET version = ?, state = ?, body = ? WHERE id = ?")?
        .execute(params![
            command.version,
            command.state.as_str(),
            serde_json::to_string(command)?,
            command.id.0 as i64,
        ])?;
    tx.prepare_cached(
        "INSERT INTO command_event (command, version, what, at, actor, cause)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        command.id.0 as i64,
        command.version,
        step.what,
        step.at.as_micros(),
        step.actor,
        command.cause.map(|cause| cause.as_str()),
    ])?;
    if command.state.is_end() {
        forget_message(tx, command.id)?;
    }
    let detail = json!({
        "id": command.id, "command": command.command, "target": command.target,
        "present": command.present, "value": command.value, "state": command.state.as_str(),
        "cause": command.cause, "facts": command.facts, "note": command.note,
    });
    let action = format!("command.{}", step.what);
    append(tx, step, &action, command.device.as_str(), detail)?;
    Ok(())
}

/// Notes a refusal: nothing else came of it.
pub(super) fn refuse(
    tx: &Transaction<'_>,
    device: &DeviceId,
    command: &str,
    target: Option<f64>,
    refusal: &Refusal,
    step: Step<'_>,
) -> Result<(), Failure> {
    let detail = json!({
        "command": command, "target": target, "cause": refusal.cause, "rule": refusal.rule,
        "facts": refusal.facts,
    });
    append(tx, step, &format!("command.{}", step.what), device.as_str(), detail)
}

fn append(
    tx: &Transaction<'_>,
    step: Step<'_>,
    action: &str,
    subject: &str,
    detail: serde_json::Value,
) -> Result<(), Failure> {
    let entry = audit::Entry { at: step.at, actor: step.actor, action, subject, detail };
    Ok(audit::append(tx, &entry)?)
}

/// Commands that have not ended, with their nonces, oldest first.
pub(super) fn open(db: &Connection) -> Result<Vec<(Command, Vec<u8>)>, Failure> {
    let mut statement = db.prepare("SELECT body, nonce FROM command WHERE open = 1 ORDER BY id")?;
    let rows = statement.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.map(|row| {
        let (body, nonce) = row?;
        Ok((serde_json::from_str(&body)?, nonce))
    })
    .collect()
}

/// One command.
pub(super) fn find(db: &Connection, id: CommandId) -> Result<Option<Command>, Failure> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
    let body: Option<String> = db
        .prepare_cached("SELECT body FROM command WHERE id = ?")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

/// Lists commands, newest first, at most [`MAX_LISTED`].
pub(super) fn list(db: &Connection, query: &CommandQuery) -> Result<Vec<Command>, Failure> {
    let mut conditions = vec!["1"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if query.open_only {
        conditions.push("open = 1");
    }
    if let Some(device) = &query.device {
        conditions.push("device = ?");
        values.push(Box::new(device.as_str().to_owned()));
    }
    if let Some(asset) = &query.asset {
        conditions.push("asset = ?");
        values.push(Box::new(asset.as_str().to_owned()));
    }
    if let Some(state) = &query.state {
        conditions.push("state = ?");
        values.push(Box::new(state.clone()));
    }
    if let Some(before) = query.before {
        conditions.push("id < ?");
        values.push(Box::new(i64::try_from(before.0).unwrap_or(i64::MAX)));
    }
    values.push(Box::new(query.limit.min(MAX_LISTED) as i64));
    let sql = format!(
        "SELECT body FROM command WHERE {} ORDER BY id DESC LIMIT ?",
        conditions.join(" AND ")
    );
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(&values[..], |row| row.get::<_, String>(0))?;
    rows.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
}

/// Everything that happened to a command, in order.
pub(super) fn history(db: &Connection, id: CommandId) -> Result<Vec<CommandEvent>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT what, at, actor, cause FROM command_event WHERE command = ? ORDER BY version",
    )?;
    let event = |row: &Row<'_>| {
        Ok(CommandEvent {
            what: row.get("what")?,
            at: Timestamp::from_micros(row.get("at")?),
            actor: row.get("actor")?,
            cause: row.get("cause")?,
        })
    };
    let rows = statement.query_map([i64::try_from(id.0).unwrap_or(i64::MAX)], event)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps a message until its device has taken it.
pub(super) fn keep_message(
    tx: &Transaction<'_>,
    device: &DeviceId,
    message: &Message,
) -> Result<(), Failure> {
    tx.prepare_cached(
        "INSERT INTO command_outbox (command, device, payload, expires_at) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![
        message.command.0 as i64,
        device.as_str(),
        message.payload,
        message.expires_at.as_micros(),
    ])?;
    Ok(())
}

pub(super) fn forget_message(tx: &Transaction<'_>, id: CommandId) -> Result<(), Failure> {
    tx.prepare_cached("DELETE FROM command_outbox WHERE command = ?")?.execute([id.0 as i64])?;
    Ok(())
}

/// The messages that wait, oldest first, with their devices.
pub(super) fn messages(db: &Connection) -> Result<Vec<(DeviceId, Message)>, Failure> {
    let mut statement = db.prepare(
        "SELECT command, device, payload, expires_at FROM command_outbox ORDER BY command",
    )?;
    let rows = statement.query_map((), |row| {
        let message = Message {
            command: CommandId(row.get::<_, i64>(0)? as u64),
            payload: row.get(2)?,
            expires_at: Timestamp::from_micros(row.get(3)?),
        };
        Ok((row.get::<_, String>(1)?, message))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (device, message) = row?;
        // A device's id was checked on its way in; a row that holds none is nobody's message.
        found.extend(device.parse().ok().map(|device| (device, message)));
    }
    Ok(found)
}

/// Why the tables cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// SQLite.
    #[error("the command tables")]
    Database(#[from] rusqlite::Error),
    /// A row that this version never writes.
    #[error("a command on disk cannot be read")]
    Body(#[from] serde_json::Error),
}
