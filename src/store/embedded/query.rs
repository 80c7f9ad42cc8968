//! Questions about one series, and the replay of commits.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::merge::{Merge, Source};
use super::rollup::{DAY, DAYS, Holding, Tally, Windows};
use super::run::{Run, live_runs};
use super::shared::{Shared, lock, read, unknown_series};
use super::{rolling, row};
use crate::model::{Measurement, Sample, SeriesId, Timestamp};
use crate::store::{CommitSeq, Nature, Steps, StoreError, StoreStats, Tier};

/// Steps that an aggregate has at most: two years of minutes, 64 MB of buckets.
const MAX_STEPS: i64 = 1 << 20;

impl Shared {
    fn check(&self, series: SeriesId, from: Timestamp, to: Timestamp) -> Result<(), StoreError> {
        if series.index() >= read(&self.catalog).keys().len() {
            return Err(unknown_series(series));
        }
        if from > to {
            let why = format!("the range ends ({to}) before it begins ({from})");
            return Err(StoreError::BadQuery(why));
        }
        Ok(())
    }

    /// The series' readings in memory, of each generation by itself, the older first.
    fn unsealed(
        &self,
        series: SeriesId,
        from: Timestamp,
        until: Timestamp,
    ) -> Vec<Vec<Measurement>> {
        let memory = read(&self.memory);
        let generations = memory.sealing.as_deref().into_iter().chain([&memory.head]);
        let collect = |generation: &super::head::Generation| {
            let mut readings = Vec::new();
            generation.collect(series, from, until, &mut readings);
            readings
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
        self.check(series, from, to)?;
        if limit == 0 || from == to {
            return Ok(samples);
        }
        let until = before(to);
        // Memory first: what is sealed in between is then seen twice, the other way round it would be missed.
        let unsealed = self.unsealed(series, from, until);
        self.readers.read(|conn| {
            let runs = live_runs(conn, from, until)?;
            let mut merge = merged(series, &runs, &unsealed, from, until);
            while let Some(m) = merge.next(conn)? {
                samples.push(Sample::from(m));
                if samples.len() == limit {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(samples)
    }

    /// The steps of a range: days that are rolled up from their rows, the others from their readings.
    pub(super) fn aggregate(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Steps, StoreError> {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(StoreError::BadQuery("a step is at least a microsecond".to_owned()));
        }
        if to.as_micros().saturating_sub(from.as_micros()) / step > MAX_STEPS {
            let why = format!("more than {MAX_STEPS} steps: ask for longer steps or less time");
            return Err(StoreError::BadQuery(why));
        }
        self.check(series, from, to)?;
        if from == to {
            return Ok(Steps { tier: None, buckets: Vec::new() });
        }
        let nature = read(&self.catalog).nature(series);
        let mut windows = [Windows::new(from.as_micros(), step)];
        // Whole days on both sides, for a reading holds into its neighbourhood.
        let reach = Duration::from_micros(DAY as u64) + Nature::MAX_HOLD;
        let (first, until) = (from.minus(reach), before(to).plus(reach));
        // Memory first, as in `range`.
        let unsealed = self.unsealed(series, first, until);
        let tier = self.readers.read(|conn| {
            let runs = live_runs(conn, first, until)?;
            let tier = tier_for(from.as_micros(), step);
            let parts = match tier {
                Some(tier) => {
                    let mut raw_days = days_in_memory(&unsealed, &nature);
                    for run in runs.iter().filter(|run| run.waits()) {
                        let first = first.max(Timestamp::from_micros(run.marks.rolled));
                        let mut waiting =
                            slices(series, [run].into_iter(), first, until, Vec::new());
                        while let Some(m) = waiting.next(conn)? {
                            raw_days.extend(rolling::days_of(m.observed_at, &nature));
                        }
                    }
                    let frozen = rolling::raw_from(conn, series)?;
                    rolled_up(from.as_micros(), to.as_micros(), tier, |day| {
                        day * DAY < frozen || !raw_days.contains(&day)
                    })
                }
                None => Vec::new(),
            };
            let mut at = from.as_micros();
            let raw = |windows: &mut [Windows], from: i64, to: i64| {
                if from >= to {
                    return Ok::<(), StoreError>(());
                }
                let until = Timestamp::from_micros(to - 1);
                let first = Timestamp::from_micros(from.saturating_sub(nature.hold_micros()));
                let mut merge = merged(series, &runs, &unsealed, first, until);
                let mut holding = Holding::new(from, to, nature);
                while let Some(m) = merge.next(conn)? {
                    holding.push(&m, windows);
                }
                holding.end(windows);
                Ok(())
            };
            let mut rows_used = false;
            for &(start, end, tier) in &parts {
                let rows = rolling::load(conn, series, tier, (start, end))?;
                if rows.is_none() && tier == Tier::Minute {
                    // Too few readings for rows of minutes: they are counted with those that follow.
                    continue;
                }
                raw(&mut windows, at, start)?;
                for row in rows.unwrap_or_default() {
                    windows[0].at(row.start).add_row(&row);
                }
                (at, rows_used) = (end, true);
            }
            raw(&mut windows, at, to.as_micros())?;
            Ok(tier.filter(|_| rows_used))
        })?;
        let [windows] = windows;
        let shown = windows.finish().filter(|(_, tally)| tally.stored > 0);
        let bucket =
            |(start, tally): (i64, Tally)| tally.bucket(Timestamp::from_micros(start), &nature);
        Ok(Steps { tier, buckets: shown.map(bucket).collect() })
    }

    /// Every commit after `after` that is not sealed, until `each` has had enough. One row at a time: whoever takes long over one keeps no snapshot
    /// of the file open.
    pub(super) fn replay(
        &self,
        after: CommitSeq,
        each: &mut dyn FnMut(CommitSeq, &[Measurement]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut after = i64::try_from(after.0).unwrap_or(i64::MAX);
        while let Some((seq, data)) = self.readers.read(|conn| next_row(conn, after))? {
            let readings = row::decode(&data).map_err(|d| d.of(format!("of commit {seq}")))?;
            if each(CommitSeq(seq as u64), &readings).is_break() {
                break;
            }
            after = seq;
        }
        Ok(())
    }

    /// What there is.
    pub(super) fn stats(&self) -> Result<StoreStats, StoreError> {
        let sealed = self.readers.read(|conn| {
            let sums = "SELECT COALESCE(SUM(readings), 0), COALESCE(SUM(bytes), 0), MIN(oldest) FILTER (WHERE oldest > 0)
                        FROM run WHERE state IN (1, 2)";
            let sealed = conn.prepare_cached(sums)?.query_row([], |row| {
                Ok(StoreStats {
                    sealed_readings: unsigned(row, 0)?,
                    sealed_bytes: unsigned(row, 1)?,
                    oldest_raw: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros),
                    ..StoreStats::default()
                })
            })?;
            let tiers = "SELECT minute_bytes, hour_bytes, day_bytes FROM mark";
            Ok(conn.prepare_cached(tiers)?.query_row([], |row| {
                let (minute_bytes, hour_bytes) = (unsigned(row, 0)?, unsigned(row, 1)?);
                Ok(StoreStats { minute_bytes, hour_bytes, day_bytes: unsigned(row, 2)?, ..sealed })
            })?)
        })?;
        let series = read(&self.catalog).keys().len() as u64;
        let disk_bytes = ["", "-wal", "-shm"].iter().map(|suffix| self.file_bytes(suffix)).sum();
        let status = lock(&self.status);
        Ok(StoreStats {
            series,
            hot_readings: status.hot as u64,
            disk_bytes,
            last_commit: status.last_commit,
            ..sealed
        })
    }
}

fn unsigned(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::unsigned_abs)
}

fn next_row(conn: &Connection, after: i64) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, data FROM hot WHERE seq > max(?1, (SELECT sealed_through FROM mark)) ORDER BY seq LIMIT 1",
    )?;
    Ok(statement.query_row([after], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn before(to: Timestamp) -> Timestamp {
    Timestamp::from_micros(to.as_micros() - 1)
}

/// The series' readings in these runs and those in memory, as one.
fn merged(
    series: SeriesId,
    runs: &[Run],
    unsealed: &[Vec<Measurement>],
    from: Timestamp,
    until: Timestamp,
) -> Merge {
    let own = |m: &&Measurement| from <= m.observed_at && m.observed_at <= until;
    let memory =
        unsealed.iter().map(|all| Source::memory(all.iter().filter(own).copied().collect()));
    slices(series, runs.iter(), from, until, memory.collect())
}

fn slices<'a>(
    series: SeriesId,
    runs: impl Iterator<Item = &'a Run>,
    from: Timestamp,
    until: Timestamp,
    memory: Vec<Source>,
) -> Merge {
    let overlapping = runs.filter(|run| run.newest >= from && run.oldest <= until);
    let slice =
        |run: &Run| Source::slice(run.id, series, from.max(run.oldest), until.min(run.newest));
    Merge::new(overlapping.map(slice).chain(memory).collect())
}

/// The longest tier whose windows add up to steps of this length from this time on.
fn tier_for(from: i64, step: i64) -> Option<Tier> {
    let fits = |tier: &Tier| from % tier.width() == 0 && step % tier.width() == 0;
    Tier::ALL.into_iter().rev().find(fits)
}

fn days_in_memory(unsealed: &[Vec<Measurement>], nature: &Nature) -> BTreeSet<i64> {
    let readings = unsealed.iter().flatten();
    readings.flat_map(|m| rolling::days_of(m.observed_at, nature)).collect()
}

/// The parts of `from..to` that are read from rollups, each from one chunk: of days that are rolled up, windows of this
/// tier, and where the last one is not whole the shorter ones in it.
fn rolled_up(
    from: i64,
    to: i64,
    tier: Tier,
    is_rolled: impl Fn(i64) -> bool,
) -> Vec<(i64, i64, Tier)> {
    let first = from.div_euclid(DAY).max(DAYS.start);
    let end = ((to - 1).div_euclid(DAY) + 1).min(DAYS.end);
    let mut parts: Vec<(i64, i64, Tier)> = Vec::new();
    for day in (first..end).filter(|&day| is_rolled(day)) {
        let mut start = from.max(day * DAY);
        for tier in Tier::ALL.into_iter().rev().filter(|&own| own <= tier) {
            let end = (to - to.rem_euclid(tier.width())).min((day + 1) * DAY);
            match parts.last_mut() {
                _ if end <= start => continue,
                Some((_, last, own))
                    if *last == start && *own == tier && start % tier.chunk() != 0 =>
                {
                    *last = end;
                }
                _ => parts.push((start, end, tier)),
            }
            start = end;
        }
    }
    parts
}
