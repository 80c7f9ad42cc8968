//! The commits as a feed for a remote engine: hot rows stay until they are forwarded, and a bound on their bytes.
//!
//! The marks lie in tables beside the others, made when a file is first opened for feeding: a file that is not has none,
//! and its format is the same. They change in the same file as the readings, so a restored backup never has a mark beyond its
//! own commits.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::row;
use super::shared::{Shared, lock, read};
use super::{EmbeddedStore, Limits};
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::{CommitSeq, Nature, SeriesKey, StoreError};

/// Microseconds of an hour, the unit in which gaps are noted.
const HOUR: i64 = 3_600_000_000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS feed (
        id INTEGER PRIMARY KEY CHECK (id = 1), forwarded INTEGER NOT NULL, born INTEGER NOT NULL, near_from INTEGER NOT NULL,
        discovered INTEGER NOT NULL DEFAULT 0, whole INTEGER NOT NULL, folded INTEGER NOT NULL DEFAULT 0,
        folded_from INTEGER NOT NULL DEFAULT 9223372036854775807
    ) STRICT;
    CREATE TABLE IF NOT EXISTS feed_late (series INTEGER PRIMARY KEY, until INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS feed_gap (hour INTEGER PRIMARY KEY, readings INTEGER NOT NULL) STRICT;
";

/// Where the feed stands, as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct FeedMarks {
    /// The last commit that the engine has.
    pub(in crate::store) forwarded: CommitSeq,
    /// Rollups of readings observed from then on are all here: when this file was made, or the beginning of time.
    pub(in crate::store) born: Timestamp,
    /// Raw readings observed from then on are all here.
    pub(in crate::store) near_from: Timestamp,
    /// The engine was asked for the series that it has.
    pub(in crate::store) discovered: bool,
    /// Every commit of this file went to the engine, or waits for it. Else raw readings are here that it never gets, and none
    /// may be deleted.
    pub(in crate::store) whole: bool,
    /// Readings that were given up to the bound, ever.
    pub(in crate::store) folded: u64,
    /// The first hour that such a reading is of: from then on raw readings stay here.
    pub(in crate::store) folded_from: Timestamp,
}

/// A commit that waits.
#[derive(Debug)]
pub(in crate::store) struct Commit {
    pub(in crate::store) seq: CommitSeq,
    pub(in crate::store) batch: Vec<Measurement>,
    /// Its bytes on disk.
    pub(in crate::store) bytes: u64,
}

/// What was given up.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Folded {
    /// Where the feed stands now.
    pub(in crate::store) marks: FeedMarks,
    pub(in crate::store) readings: u64,
    pub(in crate::store) bytes: u64,
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct Waiting {
    /// The last commit that is counted.
    pub(in crate::store) through: CommitSeq,
    /// Readings.
    pub(in crate::store) readings: u64,
    /// Their bytes on disk.
    pub(in crate::store) bytes: u64,
}

impl EmbeddedStore {
    /// Opens the file as [`EmbeddedStore::open_with`] does, and keeps every commit from now on until
    /// [`EmbeddedStore::set_forwarded`]. `now` is when a new file was born.
    pub(in crate::store) fn open_feeding(
        path: &Path,
        limits: Limits,
        now: Timestamp,
    ) -> Result<(Self, FeedMarks), StoreError> {
        let shared = Shared::open(path, limits)?;
        let last = lock(&shared.status).last_commit;
        let is_new = last == CommitSeq(0) && read(&shared.catalog).keys().is_empty();
        let marks = shared.while_nobody_writes(|conn| open_marks(conn, last, is_new, now))?;
        lock(&shared.status).forwarded = Some(marks.forwarded);
        Ok((Self::start(shared)?, marks))
    }

    /// The commits after `after`, as many as have about so many readings, one at least; none when there is none.
    pub(in crate::store) fn feed(
        &self,
        after: CommitSeq,
        readings: usize,
    ) -> Result<Vec<Commit>, StoreError> {
        let (mut commits, mut count, mut last) = (Vec::new(), 0, after);
        while count < readings {
            let Some(commit) = self.shared.readers.read(|conn| next(conn, last))? else { break };
            count += commit.batch.len();
            last = commit.seq;
            commits.push(commit);
        }
        Ok(commits)
    }

    /// The engine has every commit through this one: durable on return. Their rows may go.
    pub(in crate::store) fn set_forwarded(&self, through: CommitSeq) -> Result<(), StoreError> {
        self.shared.transact(|tx| {
            tx.prepare_cached("UPDATE feed SET forwarded = ?1")?.execute([through.0 as i64])?;
            Ok(((), 0))
        })?;
        self.rows_may_go(through);
        Ok(())
    }

    fn rows_may_go(&self, through: CommitSeq) {
        let mut status = lock(&self.shared.status);
        status.forwarded = Some(through);
        status.signals += 1;
        self.shared.work.notify_all();
    }

    /// What waits after this commit.
    pub(in crate::store) fn waiting(&self, after: CommitSeq) -> Result<Waiting, StoreError> {
        self.shared.readers.read(|conn| {
            // A row's second to fifth byte are its number of readings.
            let mut find = conn.prepare_cached(
                "SELECT seq, length(data), substr(data, 2, 4) FROM hot WHERE seq > ?1 ORDER BY seq",
            )?;
            let mut rows = find.query([after.0 as i64])?;
            let mut waiting = Waiting { through: after, ..Waiting::default() };
            while let Some(row) = rows.next()? {
                let count: [u8; 4] = row.get(2)?;
                waiting.through = CommitSeq(row.get::<_, i64>(0)? as u64);
                waiting.bytes += row.get::<_, i64>(1)? as u64;
                waiting.readings += u64::from(u32::from_le_bytes(count));
            }
            Ok(waiting)
        })
    }

    /// Gives up the oldest waiting commits after `after`, of about so many bytes, and notes the hours that they concern. Only
    /// what is sealed can go; returns the last that went, and how many readings.
    pub(in crate::store) fn fold_oldest(
        &self,
        after: CommitSeq,
        bytes: u64,
    ) -> Result<Option<Folded>, StoreError> {
        let (mut last, mut gone, mut freed) = (after, 0, 0);
        let mut hours = BTreeMap::<i64, i64>::new();
        let rows = self.shared.readers.read(|conn| rows_to_fold(conn, after, bytes))?;
        for seq in rows {
            let Some(Commit { seq, batch, bytes }) =
                self.shared.readers.read(|conn| at(conn, seq))?
            else {
                continue;
            };
            freed += bytes;
            for m in &batch {
                *hours.entry(m.observed_at.as_micros().div_euclid(HOUR)).or_default() += 1;
            }
            gone += batch.len() as u64;
            last = seq;
        }
        if last == after {
            return Ok(None);
        }
        self.shared.transact(|tx| {
            let mut note = tx.prepare_cached(
                "INSERT INTO feed_gap (hour, readings) VALUES (?1, ?2)
                 ON CONFLICT (hour) DO UPDATE SET readings = readings + excluded.readings",
            )?;
            for (hour, readings) in &hours {
                note.execute([hour, readings])?;
            }
            let first = hours.keys().next().map_or(i64::MAX, |hour| hour.saturating_mul(HOUR));
            tx.prepare_cached(
                "UPDATE feed SET forwarded = ?1, folded = folded + ?2, folded_from = min(folded_from, ?3)",
            )?
            .execute([last.0 as i64, gone as i64, first])?;
            Ok(((), hours.len() * 64))
        })?;
        self.rows_may_go(last);
        let marks = self.shared.readers.read(load_marks)?;
        Ok(Some(Folded { marks, readings: gone, bytes: freed }))
    }

    /// The first hour whose rollups the engine is to get in place of its readings, as its start.
    pub(in crate::store) fn first_gap(&self) -> Result<Option<Timestamp>, StoreError> {
        self.shared.readers.read(|conn| {
            let mut find = conn.prepare_cached("SELECT min(hour) FROM feed_gap")?;
            let hour: Option<i64> = find.query_row([], |row| row.get(0))?;
            Ok(hour.map(|hour| Timestamp::from_micros(hour.saturating_mul(HOUR))))
        })
    }

    /// The engine has the rollups of this hour.
    pub(in crate::store) fn close_gap(&self, hour: Timestamp) -> Result<(), StoreError> {
        self.shared.transact(|tx| {
            tx.prepare_cached("DELETE FROM feed_gap WHERE hour = ?1")?
                .execute([hour.as_micros().div_euclid(HOUR)])?;
            Ok(((), 0))
        })
    }

    /// Raw readings observed before this may no longer all be here: durable on return.
    pub(in crate::store) fn set_near_from(&self, near_from: Timestamp) -> Result<(), StoreError> {
        self.set("UPDATE feed SET near_from = max(near_from, ?1)", near_from.as_micros())
    }

    /// Until when rollups of series lack readings that came after their days were settled.
    pub(in crate::store) fn late(&self) -> Result<Vec<(SeriesId, Timestamp)>, StoreError> {
        self.shared.readers.read(|conn| {
            let mut find = conn.prepare_cached("SELECT series, until FROM feed_late")?;
            let rows = find.query_map([], |row| {
                Ok((SeriesId(row.get(0)?), Timestamp::from_micros(row.get(1)?)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Notes that; durable on return.
    pub(in crate::store) fn set_late(
        &self,
        late: &[(SeriesId, Timestamp)],
    ) -> Result<(), StoreError> {
        self.shared.transact(|tx| {
            let mut note = tx.prepare_cached(
                "INSERT INTO feed_late (series, until) VALUES (?1, ?2)
                 ON CONFLICT (series) DO UPDATE SET until = max(until, excluded.until)",
            )?;
            for (series, until) in late {
                note.execute(params![series.0, until.as_micros()])?;
            }
            Ok(((), late.len() * 32))
        })
    }

    /// The engine was asked for its series; when it had none, all readings that there are, are here.
    pub(in crate::store) fn set_discovered(&self, had_none: bool) -> Result<(), StoreError> {
        self.set(
            "UPDATE feed SET discovered = 1, born = iif(?1, -9223372036854775808, born),
                 near_from = iif(?1, -9223372036854775808, near_from)",
            i64::from(had_none),
        )
    }

    fn set(&self, statement: &str, value: i64) -> Result<(), StoreError> {
        self.shared.transact(|tx| {
            tx.execute(statement, [value])?;
            Ok(((), 0))
        })
    }

    /// What the series is, and its name.
    pub(in crate::store) fn described(&self, series: SeriesId) -> Option<(SeriesKey, Nature)> {
        let catalog = read(&self.shared.catalog);
        Some((catalog.keys().get(series.index())?.clone(), catalog.nature(series)))
    }

    /// The last commit.
    pub(in crate::store) fn last_commit(&self) -> CommitSeq {
        lock(&self.shared.status).last_commit
    }
}

fn open_marks(
    conn: &Connection,
    last: CommitSeq,
    is_new: bool,
    now: Timestamp,
) -> Result<FeedMarks, StoreError> {
    conn.execute_batch(TABLES)?;
    let always = i64::MIN;
    let born = if is_new { now.as_micros() } else { always };
    let sealed: i64 = conn.query_row("SELECT sealed_through FROM mark", [], |row| row.get(0))?;
    // A file that had no engine so far: what it has sealed stays here.
    conn.execute(
        "INSERT OR IGNORE INTO feed (id, forwarded, born, near_from, discovered, whole) VALUES (1, ?1, ?2, ?2, ?3, ?4)",
        params![sealed, born, !is_new, sealed == 0],
    )?;
    let mut marks = load_marks(conn)?;
    let first: Option<i64> = conn.query_row(
        "SELECT min(seq) FROM hot WHERE seq > ?1",
        [marks.forwarded.0 as i64],
        |row| row.get(0),
    )?;
    let is_missing = match first {
        Some(first) => first as u64 != marks.forwarded.0 + 1,
        None => last > marks.forwarded,
    };
    if is_missing && marks.whole {
        tracing::warn!(
            after = marks.forwarded.0,
            "commits were sealed without the engine; their readings stay in the hub's own file"
        );
        conn.execute("UPDATE feed SET whole = 0", [])?;
        marks.whole = false;
    }
    Ok(marks)
}

fn load_marks(conn: &Connection) -> Result<FeedMarks, StoreError> {
    let find =
        "SELECT forwarded, born, near_from, discovered, whole, folded, folded_from FROM feed";
    Ok(conn.query_row(find, [], |row| {
        Ok(FeedMarks {
            forwarded: CommitSeq(row.get::<_, i64>(0)? as u64),
            born: Timestamp::from_micros(row.get(1)?),
            near_from: Timestamp::from_micros(row.get(2)?),
            discovered: row.get(3)?,
            whole: row.get(4)?,
            folded: row.get::<_, i64>(5)? as u64,
            folded_from: Timestamp::from_micros(row.get(6)?),
        })
    })?)
}

fn next(conn: &Connection, after: CommitSeq) -> Result<Option<Commit>, StoreError> {
    find(conn, "SELECT seq, data FROM hot WHERE seq > ?1 ORDER BY seq LIMIT 1", after.0 as i64)
}

fn at(conn: &Connection, seq: i64) -> Result<Option<Commit>, StoreError> {
    find(conn, "SELECT seq, data FROM hot WHERE seq = ?1", seq)
}

fn find(conn: &Connection, statement: &str, key: i64) -> Result<Option<Commit>, StoreError> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
    let Some((seq, data)) = conn.prepare_cached(statement)?.query_row([key], row).optional()?
    else {
        return Ok(None);
    };
    let batch = row::decode(&data).map_err(|defect| defect.of(format!("of commit {seq}")))?;
    Ok(Some(Commit { seq: CommitSeq(seq as u64), batch, bytes: data.len() as u64 }))
}

/// The first waiting rows that are sealed, of about so many bytes.
fn rows_to_fold(conn: &Connection, after: CommitSeq, bytes: u64) -> Result<Vec<i64>, StoreError> {
    let mut find = conn.prepare_cached(
        "SELECT seq, length(data) FROM hot
         WHERE seq > ?1 AND seq <= (SELECT sealed_through FROM mark) ORDER BY seq",
    )?;
    let mut rows = find.query([after.0 as i64])?;
    let (mut found, mut sum) = (Vec::new(), 0);
    while sum < bytes
        && let Some(row) = rows.next()?
    {
        found.push(row.get(0)?);
        sum += row.get::<_, i64>(1)? as u64;
    }
    Ok(found)
}
