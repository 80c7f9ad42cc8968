//! The trouble tables: the open ones, the log of steps, what people list.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Change, Code, Facts, Trouble, TroubleError, TroubleId, What};
use crate::model::{Label, Severity, Timestamp};

/// The most troubles in one answer of [`list`].
pub const MAX_LISTED: usize = 1_000;

/// So many are remembered: years of a bad line, some megabytes.
const MAX_KEPT: i64 = 10_000;

/// Which troubles to list.
#[derive(Debug, Clone, Default)]
pub struct TroubleQuery {
    /// Only with a smaller number: the next page.
    pub before: Option<TroubleId>,
    /// At most this many.
    pub limit: usize,
}

/// Lists the troubles that are over, newest first; reads with its own connection.
///
/// # Errors
/// When SQLite fails, or a row is damaged.
pub fn list(db: &Connection, query: &TroubleQuery) -> Result<Vec<Trouble>, TroubleError> {
    let before = query.before.and_then(|id| i64::try_from(id.0).ok()).unwrap_or(i64::MAX);
    let limit = query.limit.min(MAX_LISTED) as i64;
    let mut statement = db.prepare_cached(
        "SELECT * FROM trouble WHERE ended_at IS NOT NULL AND id < ? ORDER BY id DESC LIMIT ?",
    )?;
    let rows = statement.query_map([before, limit], trouble_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One trouble.
///
/// # Errors
/// When SQLite fails, or the row is damaged.
pub fn find(db: &Connection, id: TroubleId) -> Result<Option<Trouble>, TroubleError> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
    let mut statement = db.prepare_cached("SELECT * FROM trouble WHERE id = ?")?;
    Ok(statement.query_row([number], trouble_of).optional()?)
}

/// Those that are not over, and the number of the next one. A trouble of a kind that this program does not know any more
/// is over.
pub(super) fn take_up(db: &Connection) -> Result<(Vec<Trouble>, u64), TroubleError> {
    let known = Code::ALL.map(|code| format!("'{}'", code.as_str())).join(", ");
    db.execute(
        &format!(
            "UPDATE trouble SET ended_at = raised_at WHERE ended_at IS NULL AND code NOT IN ({known})"
        ),
        [],
    )?;
    let mut statement = db.prepare("SELECT * FROM trouble WHERE ended_at IS NULL ORDER BY id")?;
    let open = statement.query_map([], trouble_of)?.collect::<Result<_, _>>()?;
    let next: i64 =
        db.query_row("SELECT coalesce(max(id), 0) + 1 FROM trouble", [], |row| row.get(0))?;
    Ok((open, next.unsigned_abs()))
}

/// Writes steps, and forgets what is older than the newest [`MAX_KEPT`].
pub(super) fn write(tx: &Transaction<'_>, changes: &[Change]) -> Result<(), TroubleError> {
    for Change { what, trouble } in changes {
        put(tx, trouble)?;
        let (what, at) = match what {
            What::Raised => ("raised", trouble.raised_at),
            What::Worse => ("worse", trouble.raised_at),
            What::Ended => ("ended", trouble.ended_at.unwrap_or(trouble.raised_at)),
            What::Changed => continue,
        };
        tx.prepare_cached("INSERT INTO trouble_event (trouble, what, at) VALUES (?, ?, ?)")?
            .execute(params![trouble.id.0 as i64, what, at.as_micros()])?;
    }
    tx.prepare_cached(
        "DELETE FROM trouble WHERE ended_at IS NOT NULL AND id <= (SELECT max(id) FROM trouble) - ?",
    )?
    .execute([MAX_KEPT])?;
    Ok(())
}

fn put(tx: &Transaction<'_>, trouble: &Trouble) -> Result<(), TroubleError> {
    let facts = serde_json::to_string(&trouble.facts)
        .map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))?;
    // No REPLACE: that would delete the steps with the row.
    tx.prepare_cached(
        "INSERT INTO trouble (id, code, subject, severity, since, raised_at, ended_at, facts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET severity = ?4, ended_at = ?7, facts = ?8",
    )?
    .execute(params![
        trouble.id.0 as i64,
        trouble.code.as_str(),
        trouble.subject,
        trouble.severity.rank(),
        trouble.since.as_micros(),
        trouble.raised_at.as_micros(),
        trouble.ended_at.map(Timestamp::as_micros),
        facts,
    ])?;
    Ok(())
}

fn trouble_of(row: &Row<'_>) -> rusqlite::Result<Trouble> {
    let code: String = row.get("code")?;
    let rank: u8 = row.get("severity")?;
    let facts: String = row.get("facts")?;
    let (text, remedy) = (Label::same(""), Label::same(""));
    let trouble = Trouble {
        id: TroubleId(row.get::<_, i64>("id")?.unsigned_abs()),
        code: Code::parse(&code).ok_or_else(|| damaged(format!("`{code}` is no trouble")))?,
        subject: row.get("subject")?,
        severity: Severity::from_rank(rank)
            .ok_or_else(|| damaged(format!("{rank} is no rank of a severity")))?,
        since: Timestamp::from_micros(row.get("since")?),
        raised_at: Timestamp::from_micros(row.get("raised_at")?),
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Timestamp::from_micros),
        facts: serde_json::from_str::<Facts>(&facts).map_err(damaged)?,
        text,
        remedy,
    };
    Ok(trouble.said())
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into())
}
