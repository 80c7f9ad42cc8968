//! The proof that nobody rewrote the log.

use std::io::BufRead;

use rusqlite::{Connection, OptionalExtension};

use super::chain::{Hash, Row};
use super::export::Anchor;
use super::query::Record;
use crate::model::Timestamp;

/// A log whose rows all fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The last entry's hash: noted elsewhere, it proves later that everything up to here is still the same.
    pub head: Hash,
    /// The last entry's number; 0 in an empty log.
    pub last: i64,
}

/// What is wrong with the first row that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its hash is not that of the row before and its own content: one of the two was changed.
    #[error("it was changed, or the entry before it was")]
    Hash,
    /// It should be there and is not.
    #[error("it is missing")]
    Missing,
    /// It cannot be read: a column or a line is no longer of its form.
    #[error("it cannot be read")]
    Form,
    /// It fits the chain, but is not what was noted elsewhere: the log was rewritten up to its end.
    #[error("it is not the entry that was noted: the log was rewritten")]
    Anchor,
}

/// Why a log is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// SQLite failed.
    #[error("the audit log cannot be read")]
    Database(#[from] rusqlite::Error),
    /// The exported file cannot be read.
    #[error("the export cannot be read")]
    Read(#[from] std::io::Error),
    /// A row does not fit.
    #[error("the audit log is broken at entry {seq}: {fault}")]
    Broken {
        /// The first row that does not fit.
        seq: i64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Walks the chain.
#[derive(Debug)]
struct Walk {
    last: i64,
    head: Hash,
    entries: u64,
    anchor: Option<Anchor>,
}

/// Checks every row of the log; with an `anchor`, also that the log still holds that entry.
///
/// # Errors
/// [`VerifyError::Broken`] names the first row that does not fit; or SQLite fails.
pub fn verify(db: &Connection, anchor: Option<Anchor>) -> Result<Verified, VerifyError> {
    // One statement is one snapshot: a row that is appended meanwhile is not seen. The numbers ever given are read first,
    // so that they cannot be ahead of it.
    let given = db
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'audit'", (), |row| row.get(0))
        .optional()?;
    let mut walk = Walk { last: 0, head: Hash::START, entries: 0, anchor };
    let mut statement = db.prepare(&format!("{} ORDER BY seq", Record::SELECT))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok());
        let seq: i64 = row.get(0)?;
        walk.arrive(seq)?;
        let fields = (text(2), text(3), text(4), text(5), row.get(1).ok(), row.get(6).ok());
        let (Some(actor), Some(action), Some(subject), Some(detail), Some(at), Some(hash)) = fields
        else {
            return Err(walk.broken(Fault::Form));
        };
        let at = Timestamp::from_micros(at);
        walk.take(&Row { seq, at, actor, action, subject, detail }, hash)?;
    }
    walk.end(given.unwrap_or(0))
}

/// The same for an export that begins with the log's first entry, without the hub and its database.
///
/// # Errors
/// As [`verify`]; and when the file cannot be read.
pub fn verify_export(lines: impl BufRead, anchor: Option<Anchor>) -> Result<Verified, VerifyError> {
    let mut walk = Walk { last: 0, head: Hash::START, entries: 0, anchor };
    for line in lines.lines() {
        let line = line?;
        let Ok(record) = serde_json::from_str::<Record>(&line) else {
            walk.last += 1;
            return Err(walk.broken(Fault::Form));
        };
        walk.arrive(record.seq)?;
        walk.take(&record.row(&record.detail.to_string()), record.hash)?;
    }
    walk.end(0)
}

impl Walk {
    fn broken(&self, fault: Fault) -> VerifyError {
        VerifyError::Broken { seq: self.last, fault }
    }

    /// A row stands next: is it the one that should?
    fn arrive(&mut self, seq: i64) -> Result<(), VerifyError> {
        self.last = self.last.saturating_add(1);
        if seq == self.last { Ok(()) } else { Err(self.broken(Fault::Missing)) }
    }

    fn take(&mut self, row: &Row<'_>, hash: Hash) -> Result<(), VerifyError> {
        if self.head.next(row) != hash {
            return Err(self.broken(Fault::Hash));
        }
        if self.anchor.is_some_and(|anchor| anchor.seq == row.seq && anchor.hash != hash) {
            return Err(self.broken(Fault::Anchor));
        }
        self.head = hash;
        self.entries += 1;
        Ok(())
    }

    /// The rows are at their end; `given` is the highest number that was ever given to one.
    fn end(mut self, given: i64) -> Result<Verified, VerifyError> {
        let known = given.max(self.anchor.map_or(0, |anchor| anchor.seq));
        if known > self.last {
            self.last += 1;
            return Err(self.broken(Fault::Missing));
        }
        Ok(Verified { entries: self.entries, head: self.head, last: self.last })
    }
}
