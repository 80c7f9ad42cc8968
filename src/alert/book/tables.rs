//! The rule book on disk: its pages and the history of their changes.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::{BookError, Change};
use crate::audit::{self, Entry};
use crate::model::Timestamp;

/// The most changes in one answer of [`changes`].
pub const MAX_CHANGES: usize = 1_000;

/// A page as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) what: String,
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) body: String,
    pub(super) changed_by: String,
    pub(super) changed_at: Timestamp,
}

/// One change of one page, for ever.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleChange {
    /// Its number: grows.
    pub seq: i64,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// schedule, override or own.
    pub what: String,
    /// Which page.
    pub id: String,
    /// The version that it made; a page that was deleted and made again begins at 1 again.
    pub version: u32,
    /// The page before; null when it was made.
    pub before: Option<Value>,
    /// The page after; null when it was deleted.
    pub after: Option<Value>,
    /// What they said.
    pub why: String,
}

/// Which changes to list.
#[derive(Debug, Clone, Default)]
pub struct ChangeQuery {
    /// Only of this kind of page.
    pub what: Option<String>,
    /// Only of the page of this id.
    pub id: Option<String>,
    /// Only those with a smaller number: the next page.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

pub(super) fn load(db: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let page = |row: &Row<'_>| {
        Ok(Stored {
            what: row.get("what")?,
            id: row.get("id")?,
            version: row.get("version")?,
            body: row.get("body")?,
            changed_by: row.get("changed_by")?,
            changed_at: Timestamp::from_micros(row.get("changed_at")?),
        })
    };
    db.prepare("SELECT * FROM rule_page ORDER BY what, id")?.query_map([], page)?.collect()
}

/// Writes a changed page (`after` is none for one that goes), its change and the audit log's entry.
pub(super) fn write(
    tx: &Transaction<'_>,
    what: &'static str,
    id: &str,
    version: u32,
    after: Option<&str>,
    change: &Change<'_>,
) -> rusqlite::Result<()> {
    let before: Option<String> = tx
        .prepare_cached("SELECT body FROM rule_page WHERE what = ? AND id = ?")?
        .query_row([what, id], |row| row.get(0))
        .optional()?;
    match after {
        Some(body) => tx.execute(
            "INSERT OR REPLACE INTO rule_page (what, id, version, body, changed_by, changed_at)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![what, id, version, body, change.who, change.at.as_micros()],
        )?,
        None => tx.execute("DELETE FROM rule_page WHERE what = ? AND id = ?", [what, id])?,
    };
    tx.execute(
        "INSERT INTO rule_change (at, actor, what, id, version, before, after, why)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![change.at.as_micros(), change.who, what, id, version, before, after, change.why],
    )?;
    let value = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let verb = if after.is_some() { "put" } else { "delete" };
    audit::append(
        tx,
        &Entry {
            at: change.at,
            actor: change.who,
            action: &format!("rule.{verb}"),
            subject: &format!("{what}:{id}"),
            detail: json!({
                "version": version,
                "before": value(before.as_deref()),
                "after": value(after),
                "why": change.why,
            }),
        },
    )
}

/// Changes of the book, newest first, at most [`MAX_CHANGES`].
///
/// # Errors
/// When SQLite fails.
pub fn changes(db: &Connection, query: &ChangeQuery) -> Result<Vec<RuleChange>, BookError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM rule_change
         WHERE (?1 IS NULL OR what = ?1) AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR seq < ?3)
         ORDER BY seq DESC LIMIT ?4",
    )?;
    let limit = query.limit.min(MAX_CHANGES) as i64;
    let rows =
        statement.query_map(params![query.what, query.id, query.before, limit], change_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn change_of(row: &Row<'_>) -> rusqlite::Result<RuleChange> {
    let page = |name| -> rusqlite::Result<Option<Value>> {
        let text: Option<String> = row.get(name)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    Ok(RuleChange {
        seq: row.get("seq")?,
        at: Timestamp::from_micros(row.get("at")?),
        actor: row.get("actor")?,
        what: row.get("what")?,
        id: row.get("id")?,
        version: row.get("version")?,
        before: page("before")?,
        after: page("after")?,
        why: row.get("why")?,
    })
}
