//! The log as JSON lines, oldest first.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use rusqlite::Connection;

use super::chain::Hash;
use super::query::Record;

/// How many entries are read at a time: bounds memory and the time that a reader holds the file's old pages.
const AT_A_TIME: i64 = 1_000;

/// A place in the log that somebody noted: the number of an entry and its hash, written `seq:hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The entry's number.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// SQLite failed.
    #[error("the audit log cannot be read")]
    Database(#[from] rusqlite::Error),
    /// The lines could not be written.
    #[error("the export cannot be written")]
    Write(#[from] std::io::Error),
}

/// Writes every entry whose number is above `after`, oldest first, one JSON object a line; returns how many there were.
///
/// # Errors
/// When SQLite or the writer fails.
pub fn export(db: &Connection, after: i64, out: &mut impl Write) -> Result<u64, ExportError> {
    let (mut after, mut written) = (after, 0);
    loop {
        let (lines, last) = lines(db, after)?;
        let Some(last) = last else { return Ok(written) };
        out.write_all(lines.as_bytes())?;
        written += lines.bytes().filter(|&byte| byte == b'\n').count() as u64;
        after = last;
    }
}

/// The next lines after an entry, and the number of their last; none at the log's end.
pub(crate) fn lines(db: &Connection, after: i64) -> Result<(String, Option<i64>), rusqlite::Error> {
    let sql = format!("{} WHERE seq > ?1 ORDER BY seq LIMIT ?2", Record::SELECT);
    let mut statement = db.prepare_cached(&sql)?;
    let records = statement.query_map([after, AT_A_TIME], Record::read)?;
    let (mut lines, mut last) = (String::new(), None);
    for record in records {
        let record = record?;
        last = Some(record.seq);
        // A record holds no map with other keys than texts, the one thing that JSON cannot hold.
        lines.push_str(&serde_json::to_string(&record).unwrap_or_default());
        lines.push('\n');
    }
    Ok((lines, last))
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seq, hash) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is no place in the log; write seq:hash"))?;
        let seq = seq.parse().map_err(|_| format!("`{seq}` is no number of an entry"))?;
        Ok(Anchor { seq, hash: hash.parse()? })
    }
}
