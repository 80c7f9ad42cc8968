//! The audit log: who changed what, when. Append-only, hash-chained, in the town's state file.
//!
//! Takes an [`Entry`] in the transaction that makes the change, so that there is neither a change without its entry nor an
//! entry without its change. Hands on pages of the log, an export in JSON lines, and the proof that nobody rewrote it.
//! Never decides who may do what, and never holds a secret: callers leave passwords, tokens and keys out of `detail`.
//!
//! Each row's hash covers the hash of the row before it and its own content ([`chain`]). A row that is changed, taken out,
//! put in or moved no longer fits, and [`verify`] names the first that does not. Triggers refuse such changes to everybody
//! who goes through SQLite and does not drop them first. A chain without a key cannot tell when somebody rewrote it from a
//! row to its end; therefore the head ([`Verified::head`]) is shown and exported, and a head that was noted elsewhere is
//! compared with the log ([`Anchor`]).
//!
//! Several processes and connections append (rooms of the hub, commands of the CLI). The head is read inside the
//! transaction that appends: SQLite has one writer at a time, and refuses the write of a transaction that read an older
//! state, so that two rows never follow the same one.

mod chain;
mod export;
mod query;
#[cfg(test)]
mod tests;
mod verify;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use chain::Hash;
pub(crate) use export::lines;
pub use export::{Anchor, ExportError, export};
pub use query::{MAX_LISTED, Query, Record, page};
pub use verify::{Fault, Verified, VerifyError, verify, verify_export};

use crate::model::Timestamp;

/// The longest detail in bytes: a row must stay cheap to read. What is longer is kept as its size and SHA-256.
const MAX_DETAIL_BYTES: usize = 16 * 1024;

/// The longest actor, action and subject in characters; the rest is cut.
const MAX_NAME_CHARS: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// When.
    pub at: Timestamp,
    /// Who: a user's name, or a part of the hub as [`HUB`] or [`CLI`].
    pub actor: &'a str,
    /// What was done: a thing and a verb, as `user.add` or `command.confirm`.
    pub action: &'a str,
    /// To what: its id. With kind and colon in front where one action concerns several kinds of things.
    pub subject: &'a str,
    /// The rest: old and new values, reasons. No secrets.
    pub detail: Value,
}

/// The actor when the hub itself does something.
pub const HUB: &str = "(hub)";

/// The actor when somebody does something on the hub's own command line.
pub const CLI: &str = "(cli)";

/// Appends an entry in the caller's transaction. Best in an immediate one: a deferred one that has read before another
/// process wrote is refused by SQLite (`SQLITE_BUSY`) and must be begun anew.
///
/// # Errors
/// When SQLite fails; the caller's transaction must then be rolled back.
pub fn append(tx: &Transaction<'_>, entry: &Entry<'_>) -> Result<(), rusqlite::Error> {
    let last: Option<(i64, Hash)> = tx
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (seq, head) = last.unwrap_or((0, Hash::START));
    let row = chain::Row {
        seq: seq + 1,
        at: entry.at,
        actor: cut(entry.actor),
        action: cut(entry.action),
        subject: cut(entry.subject),
        detail: &detail_text(&entry.detail),
    };
    tx.prepare_cached(
        "INSERT INTO audit (seq, at, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        row.seq,
        row.at.as_micros(),
        row.actor,
        row.action,
        row.subject,
        row.detail,
        head.next(&row),
    ])?;
    Ok(())
}

/// The text without what is over the limit.
fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_NAME_CHARS).map_or(text, |(end, _)| &text[..end])
}

fn detail_text(detail: &Value) -> String {
    let text = detail.to_string();
    if text.len() <= MAX_DETAIL_BYTES {
        return text;
    }
    let sha256 = chain::hex(&Sha256::digest(text.as_bytes()));
    json!({ "too_long": { "size_bytes": text.len(), "sha256": sha256 } }).to_string()
}
