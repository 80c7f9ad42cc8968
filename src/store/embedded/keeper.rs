//! The keeper: one thread that seals, rolls up, merges, clears away and keeps the file small, a short step at a time.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::compaction::{self, Merging, Plan};
use super::head::Generation;
use super::rolling::{self, Rolling};
use super::row::RowEncoder;
use super::run::{ALL_TIMES, Marks, RunWriter, state};
use super::shared::{LOG_BYTES, Shared, Status, lock, read, write};
use crate::model::{Measurement, SeriesId};
use crate::store::{CommitSeq, StoreError};

/// Hot rows deleted in one transaction have about this many bytes.
const DELETED_BYTES: i64 = 1 << 20;

/// Rows or blocks deleted in one transaction at most.
const DELETED_ROWS: i64 = 512;

/// Free pages given back to the file system in one transaction: a megabyte.
const PAGES_AT_ONCE: i64 = 128;

/// About what a hot row and a page take; free pages for this many hot readings are left for the next ones.
const HOT_READING_BYTES: usize = 12;
const PAGE_BYTES: usize = 8192;

/// After so much time without a commit the store counts as idle, and gives all free pages back.
const IDLE: Duration = Duration::from_secs(10);

/// After a failed step, the keeper waits this long before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// Copies the log into the file without keeping the writer waiting.
    copier: Connection,
    encoder: RowEncoder,
    rolling: Option<Box<Rolling>>,
    merging: Option<Box<Merging>>,
    /// Give every free page back, not only those that are many.
    thorough: bool,
    /// The last step failed.
    failing: bool,
    /// The last commit when everything was last given back.
    rested_at: CommitSeq,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something; there may be more.
    Worked,
    /// There is nothing to do.
    Idle,
}

impl Keeper {
    /// A keeper that has not begun.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let copier = Connection::open(&shared.path)?;
        // A backup may read for minutes: the log stays long then, but nobody who commits waits for that.
        copier.busy_timeout(Duration::ZERO)?;
        Ok(Keeper {
            shared,
            copier,
            encoder: RowEncoder::default(),
            rolling: None,
            merging: None,
            thorough: false,
            failing: false,
            rested_at: CommitSeq::default(),
        })
    }

    /// Works until the store is dropped.
    pub(super) fn work(mut self) {
        loop {
            let (signals, flush) = {
                let status = lock(&self.shared.status);
                if status.stopping {
                    return;
                }
                (status.signals, status.flush())
            };
            self.thorough |= flush.is_some();
            match self.step() {
                Ok(Step::Worked) => {}
                Ok(Step::Idle) => self.rest(signals, flush),
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Nothing to do: tells who waits for that, and waits for the next signal.
    fn rest(&mut self, signals: u64, flush: Option<u64>) {
        self.thorough = false;
        let mut status = lock(&self.shared.status);
        if let Some(flush) = flush {
            status.flushes_done = flush;
            self.shared.progress.notify_all();
        }
        let before = status.last_commit;
        let quiet = |status: &mut Status| !status.stopping && status.signals == signals;
        let waited = self.shared.work.wait_timeout_while(status, IDLE, quiet);
        let (status, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_idle = status.last_commit == before && status.signals == signals;
        if is_idle && self.rested_at != before {
            self.rested_at = before;
            self.thorough = true;
        }
    }

    /// Tells who waits, and waits before the next attempt.
    fn fail(&mut self, error: &StoreError) {
        tracing::error!(error = error as &dyn std::error::Error, "the store's keeper failed");
        self.failing = true;
        self.rolling = None;
        self.merging = None;
        let mut status = lock(&self.shared.status);
        status.failure = Some(crate::error_chain(error));
        self.shared.progress.notify_all();
        let going_on = |status: &mut Status| !status.stopping;
        drop(self.shared.work.wait_timeout_while(status, RETRY, going_on));
    }

    /// Does the most urgent thing that there is to do.
    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        if self.failing {
            self.start_again()?;
        }
        if let Some(generation) = self.generation_to_seal() {
            self.seal(&generation)?;
            return Ok(Step::Worked);
        }
        let worked = self.copy_log()?
            || self.delete_hot_rows()?
            || self.delete_dead_run()?
            || self.roll_up()?
            || self.merge()?
            || self.give_pages_back()?
            || self.cut_log()?;
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    fn start_again(&mut self) -> Result<(), StoreError> {
        self.shared.transact(|tx| {
            tx.execute(
                "UPDATE run SET state = ?1 WHERE state = ?2",
                [state::DEAD, state::WRITING],
            )?;
            Ok(((), 0))
        })?;
        self.failing = false;
        lock(&self.shared.status).failure = None;
        Ok(())
    }

    /// The generation to seal now; makes one of the head when that is due.
    fn generation_to_seal(&self) -> Option<Arc<Generation>> {
        let mut status = lock(&self.shared.status);
        let mut memory = write(&self.shared.memory);
        if memory.sealing.is_none() {
            let (first, _) = memory.head.commits()?;
            let asked = status.flush().is_some() && first <= status.flush_through;
            if !status.head_is_due && !asked {
                return None;
            }
            let head = std::mem::replace(&mut memory.head, Generation::new());
            memory.sealing = Some(Arc::new(head));
            status.head_is_due = false;
        }
        let sealing = memory.sealing.as_ref()?;
        let (_, last) = sealing.commits()?;
        (last <= status.released).then(|| Arc::clone(sealing))
    }

    /// Writes a generation as a run. Its readings leave the memory when the run is on disk.
    fn seal(&mut self, generation: &Generation) -> Result<(), StoreError> {
        let Some((first, last)) = generation.commits() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let mut run = shared.transact(|tx| Ok((RunWriter::begin(tx, 0, first.0 as i64)?, 0)))?;
        let mut readings = Vec::new();
        for series in 0..generation.series_end() {
            generation.collect(SeriesId(series), ALL_TIMES.0, ALL_TIMES.1, &mut readings);
            for m in readings.drain(..) {
                run.push(m)?;
                if run.has_handful() {
                    run.store_handful(&shared)?;
                }
            }
        }
        run.close()?;
        let newest: Vec<Measurement> = read(&shared.memory)
            .latest()
            .into_iter()
            .map(|(series, sample)| sample.of(series))
            .collect();
        let newest = self.encoder.encode(&[&newest]);
        shared.transact(|tx| {
            run.finish(tx, Marks::of_new(generation.heard()))?;
            tx.execute(
                "UPDATE mark SET sealed_through = ?1, newest = ?2",
                params![last.0 as i64, newest],
            )?;
            Ok(((), newest.len()))
        })?;
        let mut status = lock(&shared.status);
        write(&shared.memory).sealing = None;
        status.hot -= generation.len();
        shared.progress.notify_all();
        Ok(())
    }

    /// Copies the log into the file: nearly all of it while others write, the rest while nobody does, so that the next
    /// commit starts the log from its beginning.
    fn copy_log(&mut self) -> Result<bool, StoreError> {
        if !lock(&self.shared.status).log_is_long() {
            return Ok(false);
        }
        checkpoint(&self.copier, "PASSIVE")?;
        self.shared.while_nobody_writes(|_| {
            let all = checkpoint(&self.copier, "PASSIVE")?;
            // A reader of an old state holds the copying up: try again a little later.
            let left = if all { 0 } else { LOG_BYTES / 2 };
            lock(&self.shared.status).log_bytes = left;
            Ok(true)
        })
    }

    /// Deletes some hot rows that are sealed and that nobody else waits for.
    fn delete_hot_rows(&mut self) -> Result<bool, StoreError> {
        let forwarded = lock(&self.shared.status).forwarded.unwrap_or(CommitSeq(i64::MAX as u64));
        let find = |conn: &Connection| last_row_to_delete(conn, forwarded);
        self.shared.readers.read(find)?.map_or(Ok(false), |last| {
            self.shared.transact(|tx| {
                tx.prepare_cached("DELETE FROM hot WHERE seq <= ?1")?.execute([last])?;
                Ok((true, 0))
            })
        })
    }

    /// Deletes some blocks of a run that was merged or is too old.
    fn delete_dead_run(&mut self) -> Result<bool, StoreError> {
        let dead = self.shared.readers.read(|conn| {
            let mut find = conn.prepare_cached("SELECT id FROM run WHERE state = ?1 LIMIT 1")?;
            Ok(find.query_row([state::DEAD], |row| row.get::<_, i64>(0)).optional()?)
        })?;
        let Some(run) = dead else { return Ok(false) };
        self.shared.transact(|tx| {
            let blocks = tx
                .prepare_cached(
                    "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE run = ?1 LIMIT ?2)",
                )?
                .execute([run, DELETED_ROWS])?;
            if (blocks as i64) < DELETED_ROWS {
                tx.prepare_cached("DELETE FROM run WHERE id = ?1")?.execute([run])?;
            }
            Ok((true, blocks * PAGE_BYTES / 4))
        })
    }

    /// Rolls up a handful of series.
    fn roll_up(&mut self) -> Result<bool, StoreError> {
        let rolling = match self.rolling.take() {
            Some(rolling) => Some(rolling),
            None => rolling::plan(&self.shared)?,
        };
        let Some(rolling) = rolling else { return Ok(false) };
        self.rolling = rolling.proceed(&self.shared)?;
        Ok(true)
    }

    /// Merges a handful of readings, or decides what to merge.
    fn merge(&mut self) -> Result<bool, StoreError> {
        let merging = match self.merging.take() {
            Some(merging) => merging,
            None => match compaction::plan(&self.shared)? {
                Plan::Nothing => return Ok(false),
                Plan::Settled => return Ok(true),
                Plan::Merge(merging) => merging,
            },
        };
        self.merging = merging.proceed(&self.shared)?;
        Ok(true)
    }

    /// Begins a merge, if there is one to begin, and writes nothing of it yet.
    #[cfg(test)]
    pub(super) fn begin_merge(&mut self) -> Result<bool, StoreError> {
        while self.roll_up()? {}
        if let Plan::Merge(merging) = compaction::plan(&self.shared)? {
            self.merging = Some(merging);
        }
        Ok(self.merging.is_some())
    }

    /// Gives some free pages back to the file system, if there are more than the next hot rows will need.
    fn give_pages_back(&mut self) -> Result<bool, StoreError> {
        let kept = if self.thorough {
            0
        } else {
            (self.shared.limits.max_hot * HOT_READING_BYTES / PAGE_BYTES) as i64
        };
        let free: i64 = self
            .shared
            .readers
            .read(|conn| Ok(conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?))?;
        if free <= kept {
            return Ok(false);
        }
        self.shared.while_nobody_writes(|conn| {
            // Each row of the answer is a page given back.
            let pages = PAGES_AT_ONCE.min(free - kept);
            let mut vacuum = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        self.shared.count_log(PAGES_AT_ONCE as usize * PAGE_BYTES);
        Ok(true)
    }

    /// Empties the log, when everything else is done. Asks the file for its size: a log that was copied keeps it, and has
    /// nothing more to count.
    fn cut_log(&mut self) -> Result<bool, StoreError> {
        if !self.thorough || self.shared.file_bytes("-wal") == 0 {
            return Ok(false);
        }
        self.shared.while_nobody_writes(|_| {
            // A query in the way: the log stays long until the next time.
            let all = checkpoint(&self.copier, "TRUNCATE")?;
            if all {
                lock(&self.shared.status).log_bytes = 0;
            }
            Ok(all)
        })
    }
}

/// The last of some hot rows that are sealed, about [`DELETED_BYTES`] together.
fn last_row_to_delete(conn: &Connection, forwarded: CommitSeq) -> Result<Option<i64>, StoreError> {
    let mut find = conn.prepare_cached(
        "SELECT seq, length(data) FROM hot
         WHERE seq <= min((SELECT sealed_through FROM mark), ?2) ORDER BY seq LIMIT ?1",
    )?;
    let mut rows = find.query([DELETED_ROWS, forwarded.0 as i64])?;
    let (mut last, mut bytes) = (None, 0);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        bytes += row.get::<_, i64>(1)?;
        if bytes >= DELETED_BYTES {
            break;
        }
    }
    Ok(last)
}

/// Copies the log into the file; whether all of it was.
fn checkpoint(conn: &Connection, mode: &str) -> Result<bool, StoreError> {
    let copied = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    match copied? {
        (0, logged, copied) => Ok(logged == copied),
        _ => Ok(false),
    }
}
