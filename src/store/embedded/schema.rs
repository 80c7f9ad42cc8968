//! The database file: its tables, its settings, its connections.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// The tables' version, in `PRAGMA user_version`.
const FORMAT: i64 = 3;

/// A hot row is tens of kilobytes and a block two or three: pages larger than SQLite's 4096 mean fewer of them per row
/// and less waste between blocks, and a commit of one reading still writes only three.
const PAGE_BYTES: u32 = 8192;

/// After the log was copied into the file it is cut down to this size; below it, it is overwritten in place, which is
/// cheaper than growing it anew.
const LOG_KEPT_BYTES: u32 = 32 << 20;

/// Connections that read at the same time; further readers wait.
const MAX_READERS: usize = 4;

/// - `hot`: a commit's readings as one row, until they are sealed.
/// - `run`: readings sealed or merged together, sorted by (series, time). State 0 is being written, 1 is live, 2 is live
///   and never merged again, 3 is to be deleted. Of the same reading in two runs, the one in the run of lesser age stays.
/// - `block`: a run's readings. Its key is that of its last reading, so that the first block at or after a key is the
///   first that can hold it.
/// - `rollup`: a series' rows of one tier (0 minute, 1 hour, 2 day) in one chunk of time.
/// - `mark`: one row: commits up to `sealed_through` are in runs; `newest` is the newest reading of each series then.
const TABLES: &str = "
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, metric TEXT NOT NULL, UNIQUE (device, metric)
    ) STRICT;
    CREATE TABLE hot (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, level INTEGER NOT NULL, age INTEGER NOT NULL,
        slices INTEGER NOT NULL DEFAULT 0, readings INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        oldest INTEGER NOT NULL DEFAULT 0, newest INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE block (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, last_series INTEGER NOT NULL, last_time INTEGER NOT NULL,
        newest INTEGER NOT NULL, readings INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE INDEX block_by_key ON block (run, last_series, last_time);
    CREATE TABLE mark (
        id INTEGER PRIMARY KEY CHECK (id = 1), sealed_through INTEGER NOT NULL, newest BLOB
    ) STRICT;
    INSERT INTO mark (id, sealed_through) VALUES (1, 0);
";

/// Format 2: rollups. `run.rolled` was 0 before a run is rolled up, 1 after, 2 when it cannot be; `mark.raw_from` where
/// days begin that retention took nothing from. The runs of a file of format 1 are rolled up like new ones.
const ROLLUPS: &str = "
    ALTER TABLE series ADD COLUMN hold INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE series ADD COLUMN occupied REAL;
    ALTER TABLE run ADD COLUMN rolled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mark ADD COLUMN raw_from INTEGER NOT NULL DEFAULT -9223372036854775808;
    CREATE TABLE rollup (
        id INTEGER PRIMARY KEY, series INTEGER NOT NULL, tier INTEGER NOT NULL, chunk INTEGER NOT NULL,
        data BLOB NOT NULL, UNIQUE (series, tier, chunk)
    ) STRICT;
";

/// Format 3: days are rolled up once they are over, and retention knows classes of series.
///
/// - `run.rolled` is now a time: what was observed before it is rolled up. `run.heard` is when its last reading came; of
///   runs of an earlier format nobody knows. A run that is `spoiled` cannot be rolled up. `run.trimmed` has a bit for each
///   class of which retention took all that it has to take.
/// - `series.class` is NULL until somebody describes the series; `series.raw_from` is where days begin that retention
///   took nothing from.
/// - `mark.rolled` is the time up to which days have been rolled up, apart from what came later; `mark.*_bytes` are the
///   bytes of each tier.
const CLASSES: &str = "
    ALTER TABLE run ADD COLUMN heard INTEGER NOT NULL DEFAULT 9223372036854775807;
    ALTER TABLE run ADD COLUMN spoiled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE run ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
    UPDATE run SET spoiled = rolled = 2,
        rolled = CASE rolled WHEN 1 THEN 9223372036854775807 ELSE -9223372036854775808 END;
    ALTER TABLE block ADD COLUMN oldest INTEGER;
    ALTER TABLE series ADD COLUMN class INTEGER;
    ALTER TABLE series ADD COLUMN minutes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE series ADD COLUMN raw_from INTEGER NOT NULL DEFAULT -9223372036854775808;
    UPDATE series SET raw_from = (SELECT raw_from FROM mark);
    ALTER TABLE mark DROP COLUMN raw_from;
    ALTER TABLE mark ADD COLUMN rolled INTEGER NOT NULL DEFAULT -9223372036854775808;
    ALTER TABLE mark ADD COLUMN minute_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mark ADD COLUMN hour_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mark ADD COLUMN day_bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE mark SET
        minute_bytes = (SELECT COALESCE(SUM(length(data)), 0) FROM rollup WHERE tier = 0),
        hour_bytes = (SELECT COALESCE(SUM(length(data)), 0) FROM rollup WHERE tier = 1),
        day_bytes = (SELECT COALESCE(SUM(length(data)), 0) FROM rollup WHERE tier = 2);
";

/// The connection that writes; makes the tables of a new file.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > FORMAT {
        return Err(StoreError::Format { found, known: FORMAT });
    }
    // Page size and vacuum take effect only before the first table; the log must not be copied by whoever commits, that is
    // the keeper's work. FULL: a commit is on disk when it returns.
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {LOG_KEPT_BYTES};
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -4096;"
    ))?;
    let missing = match found {
        0 => [TABLES, ROLLUPS, CLASSES].concat(),
        1 => [ROLLUPS, CLASSES].concat(),
        2 => CLASSES.to_owned(),
        _ => String::new(),
    };
    conn.execute_batch(&format!("BEGIN; {missing} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// A few connections that only read.
#[derive(Debug)]
pub(super) struct Readers {
    path: std::path::PathBuf,
    pool: Mutex<Pool>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
}

impl Readers {
    /// Readers of this file; connections are made when first needed.
    pub(super) fn new(path: &Path) -> Self {
        let pool = Mutex::new(Pool::default());
        Readers { path: path.to_owned(), pool, given_back: Condvar::new() }
    }

    /// Runs `work` on a connection, in one transaction: it sees one state of the file.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.lend()?;
        let Some(conn) = lent.conn.as_ref() else { unreachable!("lent until it is dropped") };
        let snapshot = conn.unchecked_transaction()?;
        work(&snapshot)
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |pool: &mut Pool| pool.idle.is_empty() && pool.lent >= MAX_READERS;
        let mut pool =
            self.given_back.wait_while(pool, full).unwrap_or_else(PoisonError::into_inner);
        let conn = match pool.idle.pop() {
            Some(conn) => conn,
            None => open_reader(&self.path)?,
        };
        pool.lent += 1;
        Ok(Lent { readers: self, conn: Some(conn) })
    }
}

/// A connection that goes back when dropped.
struct Lent<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.lent -= 1;
        pool.idle.extend(self.conn.take());
        self.readers.given_back.notify_one();
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.execute_batch("PRAGMA query_only = 1; PRAGMA cache_size = -2048;")?;
    Ok(conn)
}
