//! The notify tables: what the owner takes up and puts down, what people list. Every write is in a transaction of the owner's
//! ([`super::post`]).

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group::{Pending, Subject};
use super::{EventKind, MessageId, Notice, NotifyError};
use crate::alert::AlertId;
use crate::case::CaseId;
use crate::model::{Severity, Timestamp};
use crate::trouble::TroubleId;

/// The most messages in one answer of [`list`].
pub const MAX_LISTED: usize = 1_000;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not sent yet, or to be tried again.
    Waiting,
    /// On its way.
    Sending,
    /// Its receiver has taken it.
    Sent,
    /// Given up; can be tried again by hand.
    Failed,
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state `{found}`; states are waiting, sending, sent, failed")]
pub struct UnknownState {
    /// The text that was given.
    pub found: String,
}

impl State {
    /// Its spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Sending => "sending",
            State::Sent => "sent",
            State::Failed => "failed",
        }
    }
}

impl std::str::FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let all = [State::Waiting, State::Sending, State::Sent, State::Failed];
        let known = all.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| UnknownState { found: text.to_owned() })
    }
}

/// A message of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Message {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: MessageId,
    /// By this its receiver knows it when it comes twice.
    pub key: String,
    /// On which channel.
    pub channel: String,
    /// Where it stands.
    pub state: State,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// When it was sent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// What the last attempt that failed said.
    pub error: Option<String>,
    /// What its receiver answered, and what became of that.
    pub answer: Option<String>,
    /// What it tells.
    pub notice: Notice,
}

/// Which messages to list.
#[derive(Debug, Clone, Default)]
pub struct MessageQuery {
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only at this state.
    pub state: Option<State>,
    /// Only those that tell of this case.
    pub case: Option<CaseId>,
    /// Only those that tell of this alert.
    pub alert: Option<AlertId>,
    /// Only those with a smaller number: the next page.
    pub before: Option<MessageId>,
    /// At most this many.
    pub limit: usize,
}

/// Lists messages, newest first; reads with its own connection.
///
/// # Errors
/// When SQLite fails, or a row is damaged.
pub fn list(db: &Connection, query: &MessageQuery) -> Result<Vec<Message>, NotifyError> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut only = |condition, value: Box<dyn ToSql>| {
        conditions.push(condition);
        values.push(value);
    };
    let number =
        |number: u64| Box::new(i64::try_from(number).unwrap_or(i64::MAX)) as Box<dyn ToSql>;
    const MENTIONS_CASE: &str =
        "id IN (SELECT message FROM notify_mention WHERE what = 'case' AND number = ?)";
    const MENTIONS_ALERT: &str =
        "id IN (SELECT message FROM notify_mention WHERE what = 'alert' AND number = ?)";
    if let Some(channel) = &query.channel {
        only("channel = ?", Box::new(channel.clone()));
    }
    if let Some(state) = query.state {
        only("state = ?", Box::new(state.as_str()));
    }
    if let Some(case) = query.case {
        only(MENTIONS_CASE, number(case.0));
    }
    if let Some(alert) = query.alert {
        only(MENTIONS_ALERT, number(alert.0));
    }
    if let Some(before) = query.before {
        only("id < ?", number(before.0));
    }
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    values.push(Box::new(query.limit.min(MAX_LISTED) as i64));
    let key = town_key(db)?;
    let sql = format!("SELECT * FROM notify_message{filter} ORDER BY id DESC LIMIT ?");
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(&values[..], |row| message_of(row, &key))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One message.
///
/// # Errors
/// When SQLite fails, or the row is damaged.
pub fn find(db: &Connection, id: MessageId) -> Result<Option<Message>, NotifyError> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
    let key = town_key(db)?;
    let mut statement = db.prepare_cached("SELECT * FROM notify_message WHERE id = ?")?;
    Ok(statement.query_row([number], |row| message_of(row, &key)).optional()?)
}

/// What a receiver knows a message by, wherever it comes from.
pub(super) fn key_of(town: &str, id: MessageId) -> String {
    format!("{town}-{}", id.0)
}

fn town_key(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("SELECT town_key FROM notify_progress", [], |row| row.get(0))
}

fn message_of(row: &Row<'_>, town: &str) -> rusqlite::Result<Message> {
    let id = MessageId(row.get::<_, i64>("id")? as u64);
    let state: String = row.get("state")?;
    let state = state.parse().map_err(damaged)?;
    let is_open = matches!(state, State::Waiting | State::Sending);
    let time = |name| row.get::<_, Option<i64>>(name).map(|us| us.map(Timestamp::from_micros));
    Ok(Message {
        id,
        key: key_of(town, id),
        channel: row.get("channel")?,
        state,
        created_at: Timestamp::from_micros(row.get("created_at")?),
        attempts: row.get("attempts")?,
        next_at: time("next_at")?.filter(|_| is_open),
        sent_at: time("sent_at")?,
        error: row.get("error")?,
        answer: row.get("answer")?,
        notice: notice_of(row)?,
    })
}

pub(super) fn notice_of(row: &Row<'_>) -> rusqlite::Result<Notice> {
    serde_json::from_str(&row.get::<_, String>("notice")?).map_err(damaged)
}

/// A row of what waits.
pub(super) fn pending_of(row: &Row<'_>) -> rusqlite::Result<(String, Subject, Pending)> {
    let number = row.get::<_, i64>("number")? as u64;
    let subject = match row.get::<_, String>("what")?.as_str() {
        "alert" => Subject::Alert(AlertId(number)),
        "trouble" => Subject::Trouble(TroubleId(number)),
        _ => Subject::Case(CaseId(number), row.get("version")?),
    };
    let event: String = row.get("event")?;
    let event = EventKind::ALL.into_iter().find(|kind| kind.as_str() == event);
    let pending = Pending {
        event: event.ok_or_else(|| damaged("no kind of event".to_owned()))?,
        bundle: row.get("bundle")?,
        root: row.get("root")?,
        severity: severity_of(row)?,
        since: Timestamp::from_micros(row.get("since")?),
    };
    Ok((row.get("channel")?, subject, pending))
}

pub(super) fn severity_of(row: &Row<'_>) -> rusqlite::Result<Severity> {
    let rank: u8 = row.get("severity")?;
    let known = Severity::ALL.into_iter().find(|severity| severity.rank() == rank);
    known.ok_or_else(|| damaged(format!("{rank} is no rank of a severity")))
}

impl Subject {
    /// `what`, `number` and `version` of its rows.
    pub(super) fn columns(self) -> (&'static str, i64, u32) {
        match self {
            Subject::Alert(id) => ("alert", id.0 as i64, 0),
            Subject::Case(id, version) => ("case", id.0 as i64, version),
            Subject::Trouble(id) => ("trouble", id.0 as i64, 0),
        }
    }
}

pub(super) fn put_pending(
    db: &Connection,
    channel: &str,
    subject: Subject,
    pending: &Pending,
) -> rusqlite::Result<()> {
    let (what, number, version) = subject.columns();
    db.prepare_cached(
        "INSERT OR REPLACE INTO notify_pending (channel, what, number, version, event, bundle, root, severity, since)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        channel,
        what,
        number,
        version,
        pending.event.as_str(),
        pending.bundle,
        pending.root,
        pending.severity.rank(),
        pending.since.as_micros(),
    ])?;
    Ok(())
}

pub(super) fn delete_pending(
    db: &Connection,
    channel: &str,
    subject: Subject,
) -> rusqlite::Result<()> {
    let (what, number, version) = subject.columns();
    db.prepare_cached(
        "DELETE FROM notify_pending WHERE channel = ? AND what = ? AND number = ? AND version = ?",
    )?
    .execute(params![channel, what, number, version])?;
    Ok(())
}

/// When an alert that was told is told again, if nobody acknowledges it.
pub(super) fn put_told(
    db: &Connection,
    channel: &str,
    alert: AlertId,
    repeats: u32,
    repeat_at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO notify_told (channel, alert, repeats, repeat_at) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![channel, alert.0 as i64, repeats, repeat_at.map(Timestamp::as_micros)])?;
    Ok(())
}

pub(super) fn delete_told(db: &Connection, channel: &str, alert: AlertId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM notify_told WHERE channel = ? AND alert = ?")?
        .execute(params![channel, alert.0 as i64])?;
    Ok(())
}

/// A channel was told of a trouble, as grave as this.
pub(super) fn put_told_trouble(
    db: &Connection,
    channel: &str,
    trouble: TroubleId,
    severity: Severity,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO notify_told_trouble (channel, trouble, severity) VALUES (?, ?, ?)",
    )?
    .execute(params![channel, trouble.0 as i64, severity.rank()])?;
    Ok(())
}

pub(super) fn delete_told_trouble(
    db: &Connection,
    channel: &str,
    trouble: TroubleId,
) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM notify_told_trouble WHERE channel = ? AND trouble = ?")?
        .execute(params![channel, trouble.0 as i64])?;
    Ok(())
}

/// Puts a message into the outbox, to be sent at once; gives it its number.
pub(super) fn insert(
    db: &Connection,
    channel: &str,
    notice: &Notice,
    merged: bool,
    now: Timestamp,
    give_up_at: Timestamp,
) -> rusqlite::Result<MessageId> {
    let text = serde_json::to_string(notice)
        .map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))?;
    db.prepare_cached(
        "INSERT INTO notify_message
             (channel, state, severity, merged, created_at, give_up_at, next_at, attempts, notice)
         VALUES (?, 'waiting', ?, ?, ?, ?, ?, 0, ?)",
    )?
    .execute(params![
        channel,
        notice.severity.rank(),
        merged,
        now.as_micros(),
        give_up_at.as_micros(),
        now.as_micros(),
        text,
    ])?;
    Ok(MessageId(db.last_insert_rowid() as u64))
}

/// Notes that a message tells of this.
pub(super) fn put_mention(
    db: &Connection,
    id: MessageId,
    what: &str,
    number: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO notify_mention (message, what, number) VALUES (?, ?, ?)",
    )?
    .execute(params![id.0 as i64, what, number])?;
    Ok(())
}

/// The case that an alert belongs to.
pub(super) fn case_of_alert(db: &Connection, alert: AlertId) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached("SELECT case_id FROM case_alert WHERE alert = ?")?
        .query_row([alert.0 as i64], |row| Ok(row.get::<_, i64>(0)? as u64))
        .optional()
}

pub(super) fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into())
}
