//! Questions about one series, and the replay of commits.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::merge::{Merge, Source};
use super::run::live_runs;
use super::shared::{Shared, lock, read, unknown_series};
use super::{row, run};
use crate::model::{Grade, Measurement, Sample, SeriesId, Timestamp};
use crate::store::{Bucket, CommitSeq, StoreError, StoreStats};

/// Steps that an aggregate has at most: two years of minutes, 64 MB of buckets.
const MAX_STEPS: i64 = 1 << 20;

impl Shared {
    /// Calls `each` with the series' readings in `from <= observed_at < to`, oldest first, until it answers `false`.
    fn scan(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        mut each: impl FnMut(Measurement) -> bool,
    ) -> Result<(), StoreError> {
        if series.index() >= read(&self.catalog).keys().len() {
            return Err(unknown_series(series));
        }
        if from > to {
            let why = format!("the range ends ({to}) before it begins ({from})");
            return Err(StoreError::BadQuery(why));
        }
        if from == to {
            return Ok(());
        }
        let until = Timestamp::from_micros(to.as_micros() - 1);
        // Memory first: what is sealed in between is then seen twice, the other way round it would be missed.
        let mut unsealed = self.unsealed(series, from, until);
        self.readers.read(|conn| {
            let runs = live_runs(conn, from, until)?;
            let slice = |run: run::Run| {
                Source::slice(run.id, series, from.max(run.oldest), until.min(run.newest))
            };
            let mut sources: Vec<Source> = runs.into_iter().map(slice).collect();
            sources.append(&mut unsealed);
            let mut merge = Merge::new(sources);
            while let Some(m) = merge.next(conn)? {
                if !each(m) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn unsealed(&self, series: SeriesId, from: Timestamp, until: Timestamp) -> Vec<Source> {
        let memory = read(&self.memory);
        let generations = memory.sealing.as_deref().into_iter().chain([&memory.head]);
        let collect = |generation: &super::head::Generation| {
            let mut readings = Vec::new();
            generation.collect(series, from, until, &mut readings);
            Source::memory(readings)
        };
        generations.map(collect).collect()
    }

    /// The samples of a range.
    pub(super) fn range(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        let mut samples = Vec::new();
        if limit == 0 {
            return Ok(samples);
        }
        self.scan(series, from, to, |m| {
            samples.push(Sample::from(m));
            samples.len() < limit
        })?;
        Ok(samples)
    }

    /// The steps of a range.
    pub(super) fn aggregate(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(StoreError::BadQuery("a step is at least a microsecond".to_owned()));
        }
        if to.as_micros().saturating_sub(from.as_micros()) / step > MAX_STEPS {
            let why = format!("more than {MAX_STEPS} steps: ask for longer steps or less time");
            return Err(StoreError::BadQuery(why));
        }
        let mut buckets = Vec::new();
        let mut tally: Option<Tally> = None;
        self.scan(series, from, to, |m| {
            let number = m.observed_at.as_micros().abs_diff(from.as_micros()) / step as u64;
            if tally.as_ref().is_none_or(|tally| tally.number != number) {
                buckets.extend(tally.take().map(|tally| tally.bucket(from, step)));
            }
            tally.get_or_insert_with(|| Tally::new(number)).add(&m);
            true
        })?;
        buckets.extend(tally.map(|tally| tally.bucket(from, step)));
        Ok(buckets)
    }

    /// Every commit after `after` that is not sealed. One row at a time: whoever takes long over one keeps no snapshot
    /// of the file open.
    pub(super) fn replay(
        &self,
        after: CommitSeq,
        each: &mut dyn FnMut(CommitSeq, &[Measurement]),
    ) -> Result<(), StoreError> {
        let mut after = i64::try_from(after.0).unwrap_or(i64::MAX);
        while let Some((seq, data)) = self.readers.read(|conn| next_row(conn, after))? {
            let readings = row::decode(&data).map_err(|d| d.of(format!("of commit {seq}")))?;
            each(CommitSeq(seq as u64), &readings);
            after = seq;
        }
        Ok(())
    }

    /// What there is.
    pub(super) fn stats(&self) -> Result<StoreStats, StoreError> {
        let (readings, bytes): (i64, i64) = self.readers.read(|conn| {
            let sums = "SELECT COALESCE(SUM(readings), 0), COALESCE(SUM(bytes), 0) FROM run WHERE state IN (1, 2)";
            Ok(conn.prepare_cached(sums)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })?;
        let series = read(&self.catalog).keys().len() as u64;
        let disk_bytes = ["", "-wal", "-shm"].iter().map(|suffix| self.file_bytes(suffix)).sum();
        let status = lock(&self.status);
        Ok(StoreStats {
            series,
            hot_readings: status.hot as u64,
            sealed_readings: readings as u64,
            sealed_bytes: bytes as u64,
            disk_bytes,
            last_commit: status.last_commit,
        })
    }
}

fn next_row(conn: &Connection, after: i64) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, data FROM hot WHERE seq > max(?1, (SELECT sealed_through FROM mark)) ORDER BY seq LIMIT 1",
    )?;
    Ok(statement.query_row([after], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A step being counted.
struct Tally {
    number: u64,
    stored: u64,
    good: u64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
}

impl Tally {
    fn new(number: u64) -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Tally { number, stored: 0, good: 0, count: 0, sum: 0.0, min, max, last: f64::NAN }
    }

    fn add(&mut self, m: &Measurement) {
        self.stored += 1;
        self.good += u64::from(m.quality.grade == Grade::Good);
        if m.quality.grade == Grade::Bad || m.value.is_nan() {
            return;
        }
        self.count += 1;
        self.sum += m.value;
        self.min = self.min.min(m.value);
        self.max = self.max.max(m.value);
        self.last = m.value;
    }

    fn bucket(self, from: Timestamp, step: i64) -> Bucket {
        let counted = self.count > 0;
        let or_nan = |value: f64| if counted { value } else { f64::NAN };
        let start = from.as_micros().wrapping_add((self.number as i64).wrapping_mul(step));
        Bucket {
            start: Timestamp::from_micros(start),
            count: self.count,
            mean: or_nan(self.sum / self.count as f64),
            min: or_nan(self.min),
            max: or_nan(self.max),
            last: self.last,
            good_share: self.good as f64 / self.stored as f64,
        }
    }
}
