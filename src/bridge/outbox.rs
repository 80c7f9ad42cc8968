//! What waits to go up: ordered, on disk, bounded.
//!
//! One SQLite file. What is put in and how far the logs of readings and alerts were followed change in one transaction, so a
//! crash neither leaves out nor repeats an entry. A message leaves when the upstream broker has it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::BridgeError;
use crate::store::CommitSeq;

/// The collector and the sender share the file; each holds it for some milliseconds.
const BUSY: Duration = Duration::from_secs(10);

/// What a message is about; also its spelling in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reading = 0,
    /// An alert, or a case: what people must hear of.
    Alert = 1,
}

/// A message for the upstream broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// How far the logs were followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last commit of the store.
    pub(super) commits: CommitSeq,
    /// The last entry of the alerts' log.
    pub(super) alerts: i64,
    /// The last entry of the cases' log; `None` in a queue of a hub that did not send them.
    pub(super) cases: Option<i64>,
}

/// What became of messages that were put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overflow {
    /// Readings that were given up for lack of room.
    pub(super) readings: usize,
    /// Alerts and moves of cases, when no reading was left.
    pub(super) alerts: usize,
}

/// The file. The collector and the sender have one each.
#[derive(Debug)]
pub(super) struct Outbox {
    db: Connection,
    max: usize,
}

impl Outbox {
    pub(super) fn open(file: &Path, max: usize) -> Result<Self, BridgeError> {
        let db = Connection::open(file)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // A killed process loses nothing of it. After a power cut the file may be some commits behind; so is its cursor,
        // and what the store still has unsealed is put in again.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS outbox (
                 id      INTEGER PRIMARY KEY AUTOINCREMENT,
                 kind    INTEGER NOT NULL CHECK (kind IN (0, 1)),
                 topic   TEXT    NOT NULL,
                 payload BLOB    NOT NULL
             ) STRICT;
             CREATE INDEX IF NOT EXISTS outbox_readings ON outbox (id) WHERE kind = 0;
             CREATE TABLE IF NOT EXISTS cursor (
                 one     INTEGER PRIMARY KEY CHECK (one = 1),
                 commits INTEGER NOT NULL,
                 alerts  INTEGER NOT NULL,
                 cases   INTEGER
             ) STRICT;",
        )?;
        // A queue of a hub that did not send cases.
        let cases = "SELECT count(*) FROM pragma_table_info('cursor') WHERE name = 'cases'";
        if db.query_row(cases, (), |row| row.get::<_, i64>(0))? == 0 {
            db.execute_batch("ALTER TABLE cursor ADD COLUMN cases INTEGER")?;
        }
        Ok(Outbox { db, max })
    }

    /// How far the logs were followed; `None` before the first time.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, BridgeError> {
        let read = |row: &rusqlite::Row<'_>| {
            let commits: i64 = row.get(0)?;
            let commits = CommitSeq(commits.unsigned_abs());
            Ok(Cursor { commits, alerts: row.get(1)?, cases: row.get(2)? })
        };
        Ok(self.db.query_row("SELECT commits, alerts, cases FROM cursor", (), read).optional()?)
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> Result<usize, BridgeError> {
        let count: i64 = self.db.query_row("SELECT count(*) FROM outbox", (), |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Puts messages in and moves the cursor; `waiting` is how many wait before. Over the bound the oldest readings go, and
    /// alerts only when no reading is left.
    pub(super) fn put(
        &mut self,
        messages: &[Message],
        cursor: Cursor,
        waiting: usize,
    ) -> Result<Overflow, BridgeError> {
        let tx = self.db.transaction()?;
        for Message { kind, topic, payload } in messages {
            tx.prepare_cached("INSERT INTO outbox (kind, topic, payload) VALUES (?, ?, ?)")?
                .execute(params![*kind as i64, topic, payload])?;
        }
        let over = (waiting + messages.len()).saturating_sub(self.max);
        let readings = remove_oldest(&tx, Kind::Reading, over)?;
        let alerts = remove_oldest(&tx, Kind::Alert, over - readings)?;
        tx.execute(
            "INSERT INTO cursor (one, commits, alerts, cases) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (one) DO UPDATE SET commits = ?1, alerts = ?2, cases = ?3",
            params![cursor.commits.0 as i64, cursor.alerts, cursor.cases],
        )?;
        tx.commit()?;
        Ok(Overflow { readings, alerts })
    }

    /// The oldest messages after `after`, at most `limit`.
    pub(super) fn after(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String, Vec<u8>)>, BridgeError> {
        let mut rows = self.db.prepare_cached(
            "SELECT id, topic, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let rows = rows.query_map(params![after, limit as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes out what the upstream broker has; returns how many were still there.
    pub(super) fn take_out(&mut self, ids: &[i64]) -> Result<usize, BridgeError> {
        let tx = self.db.transaction()?;
        let mut removed = 0;
        for id in ids {
            removed += tx.prepare_cached("DELETE FROM outbox WHERE id = ?")?.execute([id])?;
        }
        tx.commit()?;
        Ok(removed)
    }
}

fn remove_oldest(tx: &Transaction<'_>, kind: Kind, many: usize) -> Result<usize, BridgeError> {
    if many == 0 {
        return Ok(0);
    }
    let some =
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE kind = ? ORDER BY id LIMIT ?)";
    Ok(tx.prepare_cached(some)?.execute(params![kind as i64, many as i64])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, n: u8) -> Message {
        Message { kind, topic: format!("t/{n}"), payload: vec![n] }
    }

    fn cursor(commits: u64) -> Cursor {
        Cursor { commits: CommitSeq(commits), alerts: 7, cases: Some(3) }
    }

    fn there(outbox: &Outbox) -> Vec<u8> {
        outbox.after(0, 100).expect("read").into_iter().map(|(.., payload)| payload[0]).collect()
    }

    #[test]
    fn it_keeps_the_order_over_a_restart_and_forgets_what_is_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.db");
        let mut outbox = Outbox::open(&file, 10).expect("open");
        assert_eq!(outbox.cursor().expect("read"), None);
        let some: Vec<_> = (0..4).map(|n| message(Kind::Reading, n)).collect();
        outbox.put(&some, cursor(3), 0).expect("put");
        let first = outbox.after(0, 1).expect("read")[0].0;
        assert_eq!(outbox.take_out(&[first, first]).expect("taken"), 1);
        drop(outbox);
        let outbox = Outbox::open(&file, 10).expect("open");
        assert_eq!(outbox.cursor().expect("read"), Some(cursor(3)));
        assert_eq!((there(&outbox), outbox.waiting().expect("read")), (vec![1, 2, 3], 3));
    }

    #[test]
    fn a_queue_of_a_hub_that_sent_no_cases_is_taken_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.db");
        Outbox::open(&file, 10).expect("open").put(&[], cursor(5), 0).expect("put");
        let db = Connection::open(&file).expect("open");
        db.execute_batch("ALTER TABLE cursor DROP COLUMN cases").expect("as it was");
        drop(db);
        let outbox = Outbox::open(&file, 10).expect("open");
        let found = outbox.cursor().expect("read");
        assert_eq!(found, Some(Cursor { cases: None, ..cursor(5) }));
    }

    #[test]
    fn over_the_bound_the_oldest_readings_go_and_alerts_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(&folder.path().join("bridge.db"), 4).expect("open");
        let (reading, alert) = (Kind::Reading, Kind::Alert);
        let some = [message(alert, 0), message(reading, 1), message(reading, 2)];
        assert_eq!(outbox.put(&some, cursor(1), 0).expect("put"), Overflow::default());
        let more = [message(reading, 3), message(alert, 4), message(reading, 5)];
        let overflow = outbox.put(&more, cursor(2), 3).expect("put");
        assert_eq!(overflow, Overflow { readings: 2, alerts: 0 });
        assert_eq!(there(&outbox), [0, 3, 4, 5]);
        let alerts: Vec<_> = (6..10).map(|n| message(alert, n)).collect();
        let overflow = outbox.put(&alerts, cursor(3), 4).expect("put");
        assert_eq!(overflow, Overflow { readings: 2, alerts: 2 });
        assert_eq!(there(&outbox), [6, 7, 8, 9]);
    }
}
