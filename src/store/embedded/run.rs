//! Runs: sorted readings in blocks, written a few hundred kilobytes at a time and visible all at once at the end.

use rusqlite::{Connection, Transaction, params};

use super::block;
use super::merge::{Key, key};
use super::shared::Shared;
use crate::model::{Measurement, Timestamp};
use crate::store::StoreError;

/// A block is closed at the end of a series once it holds this many readings: enough to compress well, few enough that
/// a query does not decode much of its neighbours.
pub(super) const ENOUGH_READINGS: usize = 1024;

/// Encoded blocks are handed to the database when they have this many bytes: a short transaction, so that a commit of
/// the appending thread waits for a few milliseconds at most.
const HANDFUL_BYTES: usize = 256 << 10;

/// The first and the last time that there is.
pub(super) const ALL_TIMES: (Timestamp, Timestamp) =
    (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));

/// `run.state`.
pub(super) mod state {
    pub(in super::super) const WRITING: i64 = 0;
    pub(in super::super) const LIVE: i64 = 1;
    pub(in super::super) const SETTLED: i64 = 2;
    pub(in super::super) const DEAD: i64 = 3;
}

/// How far a run has been rolled up, and what else is known of it when it becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Readings observed before this time, in microseconds, are rolled up: [`i64::MIN`] none, [`i64::MAX`] all.
    pub(super) rolled: i64,
    /// When the last of its readings came; [`i64::MAX`] when nobody knows.
    pub(super) heard: i64,
    /// A block is damaged: the days of what is not rolled up are always read raw.
    pub(super) is_spoiled: bool,
    /// A bit for each class of which retention took all that it has to take.
    pub(super) trimmed: i64,
}

impl Marks {
    /// Of a run that was just sealed.
    pub(super) fn of_new(heard: Timestamp) -> Self {
        let heard = heard.as_micros();
        Marks { rolled: i64::MIN, heard, is_spoiled: false, trimmed: 0 }
    }

    /// Of what these runs became together.
    pub(super) fn of_merged(runs: &[Run]) -> Self {
        let waiting = |run: &Run| run.marks.rolled.max(run.oldest.as_micros());
        Marks {
            rolled: runs.iter().map(waiting).min().unwrap_or(i64::MIN),
            heard: runs.iter().map(|run| run.marks.heard).max().unwrap_or(i64::MAX),
            is_spoiled: runs.iter().any(|run| run.marks.is_spoiled),
            trimmed: runs.iter().fold(-1, |all, run| all & run.marks.trimmed),
        }
    }
}

/// A run as its table row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Its number.
    pub(super) id: i64,
    /// One of [`state`].
    pub(super) state: i64,
    /// How often its readings were merged.
    pub(super) level: i64,
    /// Its first commit: of the same reading in two runs the one of lesser age stays.
    pub(super) age: i64,
    /// Series in it.
    pub(super) slices: i64,
    /// Readings in it.
    pub(super) readings: i64,
    /// Bytes of its blocks.
    pub(super) bytes: i64,
    /// No reading was observed before.
    pub(super) oldest: Timestamp,
    /// No reading was observed after.
    pub(super) newest: Timestamp,
    /// What was done with it.
    pub(super) marks: Marks,
}

impl Run {
    /// Some of its readings are not rolled up.
    pub(super) fn waits(&self) -> bool {
        self.marks.rolled < i64::MAX
    }

    /// No reading is newer, in microseconds: one that is from a time after it was heard is from a clock that runs ahead.
    pub(super) fn newest_heard(&self) -> i64 {
        self.newest.as_micros().min(self.marks.heard)
    }
}

/// The live runs with readings that may have been observed in `from..=until`, by age.
pub(super) fn live_runs(
    conn: &Connection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Run>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, state, level, age, slices, readings, bytes, oldest, newest, rolled, heard, spoiled, trimmed FROM run
         WHERE state IN (1, 2) AND newest >= ?1 AND oldest <= ?2 ORDER BY age",
    )?;
    let runs = statement.query_map(params![from.as_micros(), until.as_micros()], |row| {
        let (rolled, heard) = (row.get(9)?, row.get(10)?);
        let (is_spoiled, trimmed) = (row.get(11)?, row.get(12)?);
        Ok(Run {
            id: row.get(0)?,
            state: row.get(1)?,
            level: row.get(2)?,
            age: row.get(3)?,
            slices: row.get(4)?,
            readings: row.get(5)?,
            bytes: row.get(6)?,
            oldest: Timestamp::from_micros(row.get(7)?),
            newest: Timestamp::from_micros(row.get(8)?),
            marks: Marks { rolled, heard, is_spoiled, trimmed },
        })
    })?;
    Ok(runs.collect::<Result<_, _>>()?)
}

/// Sets a run's state.
pub(super) fn set_state(tx: &Connection, run: i64, state: i64) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE run SET state = ?2 WHERE id = ?1")?.execute([run, state])?;
    Ok(())
}

/// An encoded block that is not in the database yet.
#[derive(Debug)]
struct Waiting {
    last: Key,
    oldest: Timestamp,
    newest: Timestamp,
    readings: usize,
    data: Vec<u8>,
}

/// Writes one run.
#[derive(Debug)]
pub(super) struct RunWriter {
    id: i64,
    slices: i64,
    readings: i64,
    bytes: i64,
    oldest: Timestamp,
    newest: Timestamp,
    open: Vec<Measurement>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
}

impl RunWriter {
    /// A new run, invisible until [`RunWriter::finish`].
    pub(super) fn begin(tx: &Transaction<'_>, level: i64, age: i64) -> Result<Self, StoreError> {
        tx.prepare_cached("INSERT INTO run (state, level, age) VALUES (?1, ?2, ?3)")?.execute([
            state::WRITING,
            level,
            age,
        ])?;
        let (oldest, newest) = (ALL_TIMES.1, ALL_TIMES.0);
        let (slices, readings, bytes, waiting_bytes) = (0, 0, 0, 0);
        let (open, waiting, id) = (Vec::new(), Vec::new(), tx.last_insert_rowid());
        Ok(RunWriter { id, slices, readings, bytes, oldest, newest, open, waiting, waiting_bytes })
    }

    /// Its number.
    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// Takes the next reading; they come sorted by (series, time), each such pair once.
    pub(super) fn push(&mut self, m: Measurement) -> Result<(), StoreError> {
        let new_slice = self.open.last().is_none_or(|last| last.series != m.series);
        if self.open.len() >= block::MAX_READINGS
            || (new_slice && self.open.len() >= ENOUGH_READINGS)
        {
            self.close_block()?;
        }
        self.slices += i64::from(new_slice);
        self.open.push(m);
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.open.last().map(key) else { return Ok(()) };
        let (mut oldest, mut newest) = (last.1, last.1);
        for m in &self.open {
            oldest = oldest.min(m.observed_at);
            newest = newest.max(m.observed_at);
        }
        let data = block::encode(&self.open).map_err(|d| d.of("a new one"))?;
        self.oldest = self.oldest.min(oldest);
        self.newest = self.newest.max(newest);
        self.readings += self.open.len() as i64;
        self.bytes += data.len() as i64;
        self.waiting_bytes += data.len();
        self.waiting.push(Waiting { last, oldest, newest, readings: self.open.len(), data });
        self.open.clear();
        Ok(())
    }

    /// Whether it is time to [`RunWriter::store_handful`].
    pub(super) fn has_handful(&self) -> bool {
        self.waiting_bytes >= HANDFUL_BYTES
    }

    /// Returns how many bytes it wrote.
    fn store(&self, tx: &Transaction<'_>) -> Result<usize, StoreError> {
        let mut insert = tx.prepare_cached(
            "INSERT INTO block (run, last_series, last_time, oldest, newest, readings, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for block in &self.waiting {
            insert.execute(params![
                self.id,
                block.last.0.0,
                block.last.1.as_micros(),
                block.oldest.as_micros(),
                block.newest.as_micros(),
                block.readings as i64,
                block.data,
            ])?;
        }
        Ok(self.waiting_bytes)
    }

    /// Puts the encoded blocks into the database in a transaction of their own.
    pub(super) fn store_handful(&mut self, shared: &Shared) -> Result<(), StoreError> {
        shared.transact(|tx| self.store(tx).map(|bytes| ((), bytes)))?;
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    /// No more readings: encodes what is open.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.close_block()
    }

    /// Stores the rest and makes the run visible.
    pub(super) fn finish(&self, tx: &Transaction<'_>, marks: Marks) -> Result<(), StoreError> {
        self.store(tx)?;
        tx.prepare_cached(
            "UPDATE run SET state = ?2, slices = ?3, readings = ?4, bytes = ?5, oldest = ?6, newest = ?7,
             rolled = ?8, heard = ?9, spoiled = ?10, trimmed = ?11 WHERE id = ?1",
        )?
        .execute([
            self.id,
            if self.readings == 0 { state::DEAD } else { state::LIVE },
            self.slices,
            self.readings,
            self.bytes,
            self.oldest.as_micros(),
            self.newest.as_micros(),
            marks.rolled,
            marks.heard,
            i64::from(marks.is_spoiled),
            marks.trimmed,
        ])?;
        Ok(())
    }
}
