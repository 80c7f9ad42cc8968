//! The readings file from outside: beside the store that writes it, or a copy that nobody writes.
//!
//! Whoever looks hands in a connection with a transaction open, so that all that is seen is of one moment. Nothing is
//! written, repaired or sealed: that is the store's own thread's work.

use rusqlite::Connection;

use super::head::Generation;
use super::merge::{Merge, Source};
use super::row;
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::{CommitSeq, SeriesKey, StoreError};

/// One state of a readings file.
#[derive(Debug)]
pub struct ReadingsFile<'a> {
    pub(super) conn: &'a Connection,
}

/// How far the file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ends {
    /// Commits up to this one are sealed: they can no longer be judged anew.
    pub sealed_through: u64,
    /// The last commit.
    pub last_commit: u64,
}

/// A sealed run, as far as others need to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealed {
    pub(super) id: i64,
    pub(super) readings: i64,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
}

impl<'a> ReadingsFile<'a> {
    /// Over a connection with a transaction open.
    pub fn over(conn: &'a Connection) -> Self {
        ReadingsFile { conn }
    }

    /// How far it goes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ends(&self) -> Result<Ends, StoreError> {
        let sealed: i64 =
            self.conn.query_row("SELECT sealed_through FROM mark", [], |row| row.get(0))?;
        let last: Option<i64> =
            self.conn.query_row("SELECT max(seq) FROM hot", [], |row| row.get(0))?;
        let last = last.unwrap_or(0).max(sealed);
        Ok(Ends { sealed_through: sealed.unsigned_abs(), last_commit: last.unsigned_abs() })
    }

    /// From when on all raw readings are here, where older ones are in an engine; `None` when all are here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn near_from(&self) -> Result<Option<Timestamp>, StoreError> {
        let find = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'feed')";
        if !self.conn.query_row(find, [], |row| row.get::<_, bool>(0))? {
            return Ok(None);
        }
        let near: Option<i64> =
            self.conn.query_row("SELECT min(near_from) FROM feed", [], |row| row.get(0))?;
        Ok(near.filter(|near| *near > i64::MIN).map(Timestamp::from_micros))
    }

    /// The series, by number.
    ///
    /// # Errors
    /// When the file cannot be read, or a name is none.
    pub fn keys(&self) -> Result<Vec<SeriesKey>, StoreError> {
        let damaged = |why: String| StoreError::Damaged { what: "of series names".to_owned(), why };
        let mut statement =
            self.conn.prepare("SELECT id, device, metric FROM series ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, device, metric): (i64, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            if id != keys.len() as i64 {
                return Err(damaged(format!("number {} is missing", keys.len())));
            }
            let wrong = || damaged(format!("`{device}`, `{metric}` is no name"));
            let device = device.parse().map_err(|_| wrong())?;
            keys.push(SeriesKey { device, metric: metric.parse().map_err(|_| wrong())? });
        }
        Ok(keys)
    }

    /// The runs that hold sealed readings, the first to be believed first.
    pub(super) fn runs(&self) -> Result<Vec<Sealed>, StoreError> {
        let mut statement = self.conn.prepare(
            "SELECT id, readings, oldest, newest FROM run WHERE state IN (1, 2) ORDER BY age",
        )?;
        let runs = statement.query_map([], |row| {
            Ok(Sealed {
                id: row.get(0)?,
                readings: row.get(1)?,
                oldest: Timestamp::from_micros(row.get(2)?),
                newest: Timestamp::from_micros(row.get(3)?),
            })
        })?;
        Ok(runs.collect::<Result<_, _>>()?)
    }

    /// Prepares to read these series' readings with `from <= observed_at < to`. What is not sealed is held in memory: as
    /// much as the store itself holds, 26 bytes a reading.
    ///
    /// # Errors
    /// When the file cannot be read or a commit in it is damaged.
    pub fn scan(
        &self,
        wanted: &dyn Fn(SeriesId) -> bool,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Scan<'a>, StoreError> {
        let until = Timestamp::from_micros(to.as_micros().saturating_sub(1));
        let mut hot = Generation::new();
        let mut statement = self.conn.prepare(
            "SELECT seq, data FROM hot WHERE seq > (SELECT sealed_through FROM mark) ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let mut readings =
                row::decode(data).map_err(|defect| defect.of(format!("of commit {seq}")))?;
            readings
                .retain(|m| wanted(m.series) && from <= m.observed_at && m.observed_at <= until);
            hot.push(CommitSeq(seq.unsigned_abs()), &readings);
        }
        let mut runs = self.runs()?;
        runs.retain(|run| run.newest >= from && run.oldest <= until);
        Ok(Scan { conn: self.conn, hot, runs })
    }
}

/// Readings of a span, ready to be read series by series.
#[derive(Debug)]
pub struct Scan<'a> {
    conn: &'a Connection,
    hot: Generation,
    runs: Vec<Sealed>,
}

impl Scan<'_> {
    /// Calls `each` with the series' readings with `from <= observed_at < to`, by time, each time once. A block at a time
    /// is in memory.
    ///
    /// # Errors
    /// When a block is damaged, the file cannot be read, or `each` fails.
    pub fn each<E: From<StoreError>>(
        &self,
        series: SeriesId,
        (from, to): (Timestamp, Timestamp),
        mut each: impl FnMut(&Measurement) -> Result<(), E>,
    ) -> Result<(), E> {
        let until = Timestamp::from_micros(to.as_micros().saturating_sub(1));
        let mut unsealed = Vec::new();
        self.hot.collect(series, from, until, &mut unsealed);
        let overlapping = self.runs.iter().filter(|run| run.newest >= from && run.oldest <= until);
        let slices = overlapping.map(|run| Source::slice(run.id, series, from, until));
        let mut merge = Merge::new(slices.chain([Source::memory(unsealed)]).collect());
        while let Some(m) = merge.next(self.conn)? {
            each(&m)?;
        }
        Ok(())
    }

    /// The days since 1970 (UTC) that may have readings in `from..to`, the first and the last.
    pub fn days(&self, from: Timestamp, to: Timestamp) -> Option<(i64, i64)> {
        const DAY: i64 = 86_400_000_000;
        let sealed = self.runs.iter().map(|run| (run.oldest, run.newest));
        let spans = sealed.chain(self.hot.span());
        let (first, last) = spans.reduce(|(first, last), (a, b)| (first.min(a), last.max(b)))?;
        let first = first.max(from).as_micros().div_euclid(DAY);
        let last = last.as_micros().min(to.as_micros().saturating_sub(1)).div_euclid(DAY);
        (first <= last).then_some((first, last))
    }
}
