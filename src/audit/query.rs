//! Reading the log, newest first.

use rusqlite::{Connection, ToSql};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::{Hash, Row};
use crate::model::Timestamp;

/// The most entries in one answer of [`page`].
pub const MAX_LISTED: usize = 1_000;

/// Which entries to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Only what this actor did.
    pub actor: Option<String>,
    /// Only this action; one that ends with a dot stands for all that begin with it (`user.`).
    pub action: Option<String>,
    /// Only what concerned this.
    pub subject: Option<String>,
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Only numbers below this: the next page.
    pub before: Option<i64>,
    /// At most this many, and never more than [`MAX_LISTED`].
    pub limit: usize,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The rest.
    pub detail: Value,
    /// The hash that the next entry follows.
    pub hash: Hash,
}

/// A page of the log, newest first.
///
/// # Errors
/// When SQLite fails.
pub fn page(db: &Connection, query: &Query) -> Result<Vec<Record>, rusqlite::Error> {
    let (sql, values) = query.sql();
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_map(&values[..], Record::read)?.collect()
}

impl Query {
    /// The statement and its values. One text per shape of query, so that the prepared ones are found again.
    fn sql(&self) -> (String, Vec<Box<dyn ToSql>>) {
        let mut filter = vec!["TRUE"];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut put = |condition, value: Option<Box<dyn ToSql>>| {
            if let Some(value) = value {
                filter.push(condition);
                values.push(value);
            }
        };
        let text =
            |text: &Option<String>| text.clone().map(|text| Box::new(text) as Box<dyn ToSql>);
        let time =
            |time: Option<Timestamp>| time.map(|at| Box::new(at.as_micros()) as Box<dyn ToSql>);
        put("actor = ?", text(&self.actor));
        match &self.action {
            // A range, because the index serves it: `.` is followed by `/` in ASCII.
            Some(action) if action.ends_with('.') => {
                put("action >= ?", Some(Box::new(action.clone())));
                put("action < ?", Some(Box::new(format!("{}/", &action[..action.len() - 1]))));
            }
            action => put("action = ?", text(action)),
        }
        put("subject = ?", text(&self.subject));
        put("at >= ?", time(self.from));
        put("at < ?", time(self.to));
        put("seq < ?", self.before.map(|before| Box::new(before) as Box<dyn ToSql>));
        let filter = filter.join(" AND ");
        values.push(Box::new(self.limit.min(MAX_LISTED) as i64));
        (format!("{} WHERE {filter} ORDER BY seq DESC LIMIT ?", Record::SELECT), values)
    }
}

impl Record {
    /// The columns that [`Record::read`] takes.
    pub(super) const SELECT: &str =
        "SELECT seq, at, actor, action, subject, detail, hash FROM audit";

    /// From a row of [`Record::SELECT`]. A detail that is no JSON (somebody wrote it by hand) is shown as text.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let detail: String = row.get(5)?;
        Ok(Record {
            seq: row.get(0)?,
            at: Timestamp::from_micros(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
            hash: row.get(6)?,
        })
    }

    /// What its hash covers. `detail` is written as [`super::append`] wrote it, and reads back the same.
    pub(super) fn row<'a>(&'a self, detail: &'a str) -> Row<'a> {
        Row {
            seq: self.seq,
            at: self.at,
            actor: &self.actor,
            action: &self.action,
            subject: &self.subject,
            detail,
        }
    }
}
