//! One moment of a database file, beside whoever writes it.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::UpkeepError;
use super::stop::Stop;

/// How long to wait for a writer that has the file for itself (while it starts or ends).
const BUSY: Duration = Duration::from_secs(5);

/// SQLite asks after so many of its steps whether to go on.
const STEPS: i32 = 50_000;

/// A connection with a transaction open.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) conn: Connection,
}

impl Snapshot {
    /// Of a file that somebody may be writing. Nothing is written, not even the log's remains on closing.
    pub(super) fn beside(path: &Path, stop: &Stop) -> Result<Self, UpkeepError> {
        let open = || {
            // The log's index is shared memory: it can only be used by who may write it.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(path, flags)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            Self::begin(conn, stop)
        };
        open().map_err(UpkeepError::database(path))
    }

    /// Of a copy that nobody writes; it may be on a disk that cannot be written.
    pub(super) fn still(path: &Path, stop: &Stop) -> Result<Self, UpkeepError> {
        let mut uri = "file:".to_owned();
        for byte in std::path::absolute(path)
            .map_err(UpkeepError::file(path))?
            .as_os_str()
            .as_encoded_bytes()
        {
            match byte {
                b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
                byte => uri.push_str(&format!("%{byte:02x}")),
            }
        }
        uri.push_str("?immutable=1");
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Self::begin(Connection::open_with_flags(uri, flags)?, stop)
        };
        open().map_err(UpkeepError::database(path))
    }

    fn begin(mut conn: Connection, stop: &Stop) -> Result<Self, rusqlite::Error> {
        conn.busy_timeout(BUSY)?;
        let stop = stop.clone();
        conn.progress_handler(STEPS, Some(move || stop.is_set()))?;
        conn.execute_batch("PRAGMA query_only = 1; BEGIN")?;
        // The first read is where the moment is taken.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(Snapshot { conn })
    }
}

/// Whether the file is an SQLite database: by its first sixteen bytes.
pub(super) fn is_database(path: &Path) -> std::io::Result<bool> {
    let mut magic = [0; 16];
    let mut file = std::fs::File::open(path)?;
    match std::io::Read::read_exact(&mut file, &mut magic) {
        Ok(()) => Ok(&magic == b"SQLite format 3\0"),
        Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(why) => Err(why),
    }
}
