//! What the appending thread, the keeper and the queries share, and the locks around it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::head::Generation;
use super::numbers::Defect;
use super::schema::{Readers, open_writer};
use super::{Limits, row, run};
use crate::model::{Measurement, Sample, SeriesId};
use crate::store::{CommitSeq, Nature, SeriesKey, StoreError};

/// Series that a store numbers at most: the memory has a few dozen bytes for each.
const MAX_SERIES: usize = 1 << 20;

/// Once this much was written to the log, the keeper copies it into the file. Small enough that the copy does not keep the
/// disk from the next commits for long.
pub(super) const LOG_BYTES: usize = 16 << 20;

/// What a transaction adds to the log beside its data.
const TRANSACTION_BYTES: usize = 32 << 10;

// A panic while one of these locks is held would already have ended a thread; what they guard is changed only by code
// that cannot fail half-way, so the rest may go on.

/// The guarded value.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guarded value, for reading.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The guarded value, for writing.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// All of it. Locks are taken in this order: catalog, writer, status, memory.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    pub(super) catalog: RwLock<Catalog>,
    pub(super) readers: Readers,
    pub(super) status: Mutex<Status>,
    /// Wakes the keeper.
    pub(super) work: Condvar,
    /// Wakes those who wait for the keeper.
    pub(super) progress: Condvar,
    pub(super) memory: RwLock<Memory>,
    /// Held by the one that forgets; taken before all others.
    pub(super) forgetting: Mutex<()>,
    writer: Mutex<Connection>,
}

/// The names of the series.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    keys: Vec<SeriesKey>,
    natures: Vec<Nature>,
    /// Which were described since the file was opened.
    told: Vec<bool>,
    numbers: HashMap<SeriesKey, SeriesId>,
}

impl Catalog {
    /// By number.
    pub(super) fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    /// What the series is.
    pub(super) fn nature(&self, series: SeriesId) -> Nature {
        self.natures.get(series.index()).copied().unwrap_or_default()
    }

    /// The class of retention of every series, by number; `None` for one that was not described since the file was opened.
    pub(super) fn classes(&self) -> impl Iterator<Item = Option<u8>> {
        self.natures.iter().zip(&self.told).map(|(nature, told)| told.then_some(nature.class))
    }

    fn add(&mut self, key: SeriesKey, nature: Nature) {
        self.numbers.insert(key.clone(), SeriesId(self.keys.len() as u32));
        self.keys.push(key);
        self.natures.push(nature);
        self.told.push(false);
    }
}

/// The readings that are not sealed, and the newest of each series.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) head: Generation,
    pub(super) sealing: Option<Arc<Generation>>,
    newest: Vec<Option<Sample>>,
}

impl Memory {
    fn push(&mut self, seq: CommitSeq, batch: &[Measurement]) {
        self.head.push(seq, batch);
        self.see(batch);
    }

    fn see(&mut self, batch: &[Measurement]) {
        for m in batch {
            if m.series.index() >= self.newest.len() {
                self.newest.resize(m.series.index() + 1, None);
            }
            let newest = &mut self.newest[m.series.index()];
            if newest.is_none_or(|newest| newest.observed_at < m.observed_at) {
                *newest = Some(Sample::from(*m));
            }
        }
    }

    /// The newest sample of every series that has one.
    pub(super) fn latest(&self) -> Vec<(SeriesId, Sample)> {
        let numbered = self.newest.iter().zip(0..);
        numbered.filter_map(|(newest, n)| Some((SeriesId(n), (*newest)?))).collect()
    }
}

/// Where things stand between the threads.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) last_commit: CommitSeq,
    pub(super) released: CommitSeq,
    /// With a remote engine: what it has. Later hot rows stay, sealed or not.
    pub(super) forwarded: Option<CommitSeq>,
    /// Readings in the head and the sealing generation.
    pub(super) hot: usize,
    /// The head is large or old enough to be sealed.
    pub(super) head_is_due: bool,
    /// Bytes written to the log since it was last copied into the file.
    pub(super) log_bytes: usize,
    /// Flushes asked for, the last one done, and the last commit that it concerns.
    pub(super) flushes_asked: u64,
    pub(super) flushes_done: u64,
    pub(super) flush_through: CommitSeq,
    /// Grows with everything that the keeper should look at.
    pub(super) signals: u64,
    /// Days before this time, in microseconds, are to be rolled up although they may not be over.
    pub(super) roll_before: Option<i64>,
    pub(super) stopping: bool,
    /// Why the keeper could not do its last step.
    pub(super) failure: Option<String>,
}

impl Shared {
    /// Opens the file and reads back what is not sealed.
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let writer = open_writer(path)?;
        // Nobody writes a run now: what was being written when the hub ended is not needed.
        writer.execute(
            "UPDATE run SET state = ?1 WHERE state = ?2",
            [run::state::DEAD, run::state::WRITING],
        )?;
        let catalog = load_catalog(&writer)?;
        let (memory, last_commit) = load_memory(&writer, catalog.keys.len())?;
        let status = Status { last_commit, hot: memory.head.len(), ..Status::default() };
        let shared = Shared {
            path: path.to_owned(),
            limits,
            catalog: RwLock::new(catalog),
            readers: Readers::new(path),
            status: Mutex::new(status),
            work: Condvar::new(),
            progress: Condvar::new(),
            memory: RwLock::new(memory),
            forgetting: Mutex::default(),
            writer: Mutex::new(writer),
        };
        lock(&shared.status).head_is_due = shared.head_is_due(&read(&shared.memory).head);
        Ok(shared)
    }

    /// Bytes of the database file with this suffix: none, `-wal` for the log, `-shm` for its index.
    pub(super) fn file_bytes(&self, suffix: &str) -> u64 {
        let mut file = self.path.clone().into_os_string();
        file.push(suffix);
        std::fs::metadata(file).map_or(0, |file| file.len())
    }

    fn head_is_due(&self, head: &Generation) -> bool {
        head.len() >= self.limits.seal_at || head.age() >= self.limits.max_age
    }

    /// Runs `work` in one transaction, which is on disk on return. `work` tells about how many bytes it wrote.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(T, usize), StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (result, bytes) = work(&tx)?;
        tx.commit()?;
        self.count_log(bytes);
        Ok(result)
    }

    /// Runs `work` on the writing connection, outside of a transaction.
    pub(super) fn while_nobody_writes<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(&lock(&self.writer))
    }

    /// Counts what was written to the log.
    pub(super) fn count_log(&self, bytes: usize) {
        let mut status = lock(&self.status);
        let was_long = status.log_is_long();
        status.log_bytes += bytes + TRANSACTION_BYTES;
        if status.log_is_long() && !was_long {
            status.signals += 1;
            self.work.notify_all();
        }
    }

    /// The series' numbers, made if new.
    pub(super) fn series(&self, keys: &[SeriesKey]) -> Result<Vec<SeriesId>, StoreError> {
        let mut catalog = write(&self.catalog);
        let known = catalog.keys.len();
        let mut new: HashMap<&SeriesKey, SeriesId> = HashMap::new();
        let mut numbers = Vec::with_capacity(keys.len());
        let mut added = Vec::new();
        for key in keys {
            let number = catalog.numbers.get(key).or_else(|| new.get(key)).copied();
            numbers.push(number.unwrap_or_else(|| {
                let number = SeriesId((known + added.len()) as u32);
                new.insert(key, number);
                added.push(key);
                number
            }));
        }
        if known + added.len() > MAX_SERIES {
            return Err(StoreError::BadQuery(format!("a store has at most {MAX_SERIES} series")));
        }
        if added.is_empty() {
            return Ok(numbers);
        }
        self.transact(|tx| {
            let mut insert =
                tx.prepare_cached("INSERT INTO series (id, device, metric) VALUES (?1, ?2, ?3)")?;
            for (key, number) in added.iter().zip(known as u32..) {
                insert.execute(params![number, key.device.as_str(), key.metric.as_str()])?;
            }
            Ok(((), added.len() * 64))
        })?;
        added.into_iter().for_each(|key| catalog.add(key.clone(), Nature::default()));
        Ok(numbers)
    }

    /// Keeps what is new about these series.
    pub(super) fn describe(&self, natures: &[(SeriesId, Nature)]) -> Result<(), StoreError> {
        let mut catalog = write(&self.catalog);
        if let Some((series, _)) = natures.iter().find(|(s, _)| s.index() >= catalog.keys.len()) {
            return Err(unknown_series(*series));
        }
        let is_new = |(series, nature): &&(SeriesId, Nature)| catalog.nature(*series) != *nature;
        let new: Vec<_> = natures.iter().filter(is_new).copied().collect();
        if !new.is_empty() {
            self.write_natures(&new)?;
        }
        for (series, nature) in natures {
            catalog.natures[series.index()] = *nature;
            catalog.told[series.index()] = true;
        }
        Ok(())
    }

    fn write_natures(&self, new: &[(SeriesId, Nature)]) -> Result<(), StoreError> {
        self.transact(|tx| {
            let mut moves =
                tx.prepare_cached("SELECT 1 FROM series WHERE id = ?1 AND class <> ?2")?;
            let mut set = tx.prepare_cached(
                "UPDATE series SET hold = ?2, occupied = ?3, class = ?4, minutes = ?5 WHERE id = ?1",
            )?;
            let mut some_moved = false;
            for (series, nature) in new {
                some_moved |= moves.exists(params![series.0, nature.class])?;
                let (hold, minutes) = (nature.hold_micros(), nature.minutes);
                set.execute(params![series.0, hold, nature.occupied, nature.class, minutes])?;
            }
            if some_moved {
                // What retention has looked at, it has to look at again.
                tx.execute("UPDATE run SET trimmed = 0", [])?;
            }
            Ok(((), new.len() * 64))
        })
    }

    /// How many readings there are, if they can be stored.
    pub(super) fn check_batches(&self, batches: &[&[Measurement]]) -> Result<usize, StoreError> {
        let count: usize = batches.iter().map(|batch| batch.len()).sum();
        if count > row::MAX_READINGS {
            let limit = row::MAX_READINGS;
            let why = format!("a commit has at most {limit} readings, this one has {count}");
            return Err(StoreError::BadQuery(why));
        }
        let known = read(&self.catalog).keys.len();
        let strange = |m: &&Measurement| m.series.index() >= known;
        match batches.iter().copied().flatten().find(strange) {
            Some(m) => Err(unknown_series(m.series)),
            None => Ok(count),
        }
    }

    /// Waits until `count` more readings may be kept in memory; the number of the next commit.
    pub(super) fn wait_for_room(&self, count: usize) -> Result<CommitSeq, StoreError> {
        let mut status = lock(&self.status);
        // A commit larger than the limit gets through when it is alone.
        while status.hot > 0 && status.hot + count > self.limits.max_hot {
            if let Some(why) = &status.failure {
                return Err(StoreError::Stalled { why: why.clone() });
            }
            if !status.head_is_due {
                status.head_is_due = true;
                status.signals += 1;
                self.work.notify_all();
            }
            status = self.progress.wait(status).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(CommitSeq(status.last_commit.0 + 1))
    }

    /// Writes a hot row; it is on disk on return. A single statement is its own transaction.
    pub(super) fn write_row(&self, seq: CommitSeq, row: &[u8]) -> Result<(), StoreError> {
        let writer = lock(&self.writer);
        writer
            .prepare_cached("INSERT INTO hot (seq, data) VALUES (?1, ?2)")?
            .execute(params![seq.0 as i64, row])?;
        self.count_log(row.len());
        Ok(())
    }

    /// Takes the readings of a commit that is on disk into memory.
    pub(super) fn remember(&self, seq: CommitSeq, batches: &[&[Measurement]]) {
        // Both at once: the keeper must not find readings in the head that are not counted.
        let mut status = lock(&self.status);
        let mut memory = write(&self.memory);
        for batch in batches {
            memory.push(seq, batch);
            status.hot += batch.len();
        }
        let is_due = self.head_is_due(&memory.head);
        drop(memory);
        status.last_commit = seq;
        if is_due && !status.head_is_due {
            status.head_is_due = true;
            status.signals += 1;
            self.work.notify_all();
        }
    }

    /// Commits up to `through` may be sealed away.
    pub(super) fn release(&self, through: CommitSeq) {
        let mut status = lock(&self.status);
        if through > status.released {
            status.released = through;
            if status.head_is_due || status.flush().is_some() {
                status.signals += 1;
                self.work.notify_all();
            }
        }
    }

    /// Asks the keeper to seal and tidy up everything, and waits for it.
    pub(super) fn flush(&self) -> Result<bool, StoreError> {
        let mut status = lock(&self.status);
        status.flushes_asked += 1;
        status.flush_through = status.last_commit;
        status.signals += 1;
        let (asked, through) = (status.flushes_asked, status.flush_through);
        self.work.notify_all();
        while status.flushes_done < asked {
            if let Some(why) = &status.failure {
                return Err(StoreError::Stalled { why: why.clone() });
            }
            status = self.progress.wait(status).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(status.hot == 0 || status.released >= through)
    }

    /// Ends the keeper.
    pub(super) fn stop(&self) {
        lock(&self.status).stopping = true;
        self.work.notify_all();
        self.progress.notify_all();
    }
}

impl Status {
    /// The last flush that was asked for and is not done.
    pub(super) fn flush(&self) -> Option<u64> {
        (self.flushes_done < self.flushes_asked).then_some(self.flushes_asked)
    }

    /// It is time to copy the log into the file.
    pub(super) fn log_is_long(&self) -> bool {
        self.log_bytes >= LOG_BYTES
    }
}

/// The error for a number that no series has.
pub(super) fn unknown_series(series: SeriesId) -> StoreError {
    StoreError::BadQuery(format!("there is no series number {}", series.0))
}

fn load_catalog(conn: &Connection) -> Result<Catalog, StoreError> {
    let mut catalog = Catalog::default();
    let mut statement = conn.prepare(
        "SELECT id, device, metric, hold, occupied, class, minutes FROM series ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let damaged = |why| Defect(why).of("of series names");
        let (id, device, metric): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if id != catalog.keys.len() as i64 {
            return Err(damaged("a number is missing"));
        }
        let device = device.parse().map_err(|_| damaged("a device has no valid name"))?;
        let metric = metric.parse().map_err(|_| damaged("a metric has no valid name"))?;
        let hold = std::time::Duration::from_micros(row.get::<_, i64>(3)?.unsigned_abs());
        let class: Option<u8> = row.get(5)?;
        let (occupied, minutes) = (row.get(4)?, row.get(6)?);
        let nature = Nature { hold, occupied, class: class.unwrap_or_default(), minutes };
        catalog.add(SeriesKey { device, metric }, nature);
    }
    Ok(catalog)
}

fn load_memory(conn: &Connection, series: usize) -> Result<(Memory, CommitSeq), StoreError> {
    let mut memory = Memory { head: Generation::new(), sealing: None, newest: vec![None; series] };
    let (sealed_through, newest): (i64, Option<Vec<u8>>) =
        conn.query_row("SELECT sealed_through, newest FROM mark", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let known = |readings: Vec<Measurement>| {
        let all_known = readings.iter().all(|m| m.series.index() < series);
        if all_known { Ok(readings) } else { Err(Defect("it has a series without a name")) }
    };
    if let Some(newest) = newest {
        let readings = row::decode(&newest).and_then(known);
        memory.see(&readings.map_err(|defect| defect.of("of newest readings"))?);
    }
    let mut last = sealed_through;
    let mut statement = conn.prepare("SELECT seq, data FROM hot WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = statement.query([sealed_through])?;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let readings = row::decode(data).and_then(known);
        let readings = readings.map_err(|defect| defect.of(format!("of commit {last}")))?;
        memory.push(CommitSeq(last as u64), &readings);
    }
    Ok((memory, CommitSeq(last as u64)))
}
