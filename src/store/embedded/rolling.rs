//! Keeping the rollups right: once a day is over, it is counted from its raw readings, of every series in one pass.
//!
//! Whatever comes later for such a day waits for the next pass, in which the day is counted again as a whole and its rows
//! replaced; so the order of arrival, a crash in the middle, or doing it twice make no difference. Until then, queries
//! take the day from the raw readings, as they do with the present one. So a day is counted once, not with every run that
//! touches it, and a pass reads the runs that wait from their beginning to their end, all series after each other.
//!
//! Rows of minutes are kept only for days with several readings a minute; those of a series that reports once a minute
//! would be as large as its readings. See [`keeps_minutes`].
//!
//! Days of which retention took raw readings away (`series.raw_from`) are not counted again: a reading that comes later
//! still is kept raw, until retention finds it.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::merge::{Merge, Source};
use super::rollup::{self, DAY, DAYS, Holding, Row, Windows};
use super::run::{ALL_TIMES, Run, live_runs};
use super::shared::{Shared, lock, read};
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::{Nature, StoreError, Tier};

/// A handful: readings looked at, and bytes written, before the keeper looks at what is more urgent.
const HANDFUL_READINGS: usize = 100_000;
const HANDFUL_ROWS: usize = 16_384;

/// A day counts as over when a run was sealed so long after it: the head may be sealed two hours after its first reading,
/// and what is a little late need not be counted twice.
const SETTLES_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// A reading from so long after the days that are over is from a clock that runs ahead. There is nothing to wait for.
const AHEAD: i64 = 2 * DAY;

/// Runs in a pass: each has a block in memory.
const RUNS_AT_ONCE: usize = 64;

/// Rows of minutes are kept for a day with so many readings: four a minute. Below that, counting the readings takes about
/// as long as reading the rows.
const DENSE: usize = 4 * 1_440;

/// A pass under way.
#[derive(Debug)]
pub(super) struct Rolling {
    /// Days before this time are rolled up, in microseconds.
    bound: i64,
    inputs: Vec<Input>,
    /// Every run that waits for this pass is in it.
    is_last: bool,
    /// A block could not be read: these runs stay raw.
    is_damaged: bool,
}

/// A run of which some readings are not rolled up, read series by series.
#[derive(Debug)]
struct Input {
    run: Run,
    merge: Merge,
    /// The first reading of the next series.
    next: Option<Measurement>,
    /// All readings of the present series.
    own: Vec<Measurement>,
    /// Some readings wait for the next pass.
    waits: bool,
}

/// A series' days, counted.
struct Counted {
    series: SeriesId,
    /// Days from the first to before the second.
    days: (i64, i64),
    rows: [Vec<Row>; 3],
}

/// Looks for days to roll up: those that are over, or those that somebody asked for.
pub(super) fn plan(shared: &Shared) -> Result<Option<Box<Rolling>>, StoreError> {
    let asked = lock(&shared.status).roll_before;
    let (bound, mut runs) = shared.readers.read(|conn| {
        let runs = live_runs(conn, ALL_TIMES.0, ALL_TIMES.1)?;
        // Of the latest run, not the latest time: a clock that was ahead once must not stop all passes until then.
        let settled = runs.last().map_or(i64::MIN, |run| settled_before(run.marks.heard));
        let bound = asked.unwrap_or(i64::MIN).max(settled);
        let is_new = asked.is_some() || bound != mark(conn)?;
        Ok((bound, if is_new { runs } else { Vec::new() }))
    })?;
    let is_due = |run: &Run| {
        let has_some =
            run.oldest.as_micros() < bound || run.newest_heard() > bound.saturating_add(AHEAD);
        run.marks.rolled < bound && has_some && !run.marks.is_spoiled
    };
    if runs.is_empty() {
        return Ok(None);
    }
    runs.retain(is_due);
    let is_last = runs.len() <= RUNS_AT_ONCE;
    runs.truncate(RUNS_AT_ONCE);
    let inputs = runs.into_iter().map(Input::new).collect();
    Ok(Some(Box::new(Rolling { bound, inputs, is_last, is_damaged: false })))
}

fn settled_before(heard: i64) -> i64 {
    let over = heard.saturating_sub(SETTLES_AFTER.as_micros() as i64);
    over.div_euclid(DAY).saturating_mul(DAY)
}

impl Input {
    fn new(run: Run) -> Self {
        let merge = Merge::new(vec![Source::run(run.id)]);
        Input { run, merge, next: None, own: Vec::new(), waits: false }
    }

    /// The next series of which it has readings.
    fn series(&mut self, conn: &Connection) -> Result<Option<SeriesId>, StoreError> {
        if self.next.is_none() {
            self.next = self.merge.next(conn)?;
        }
        Ok(self.next.map(|m| m.series))
    }

    /// Takes the series' readings, if it is the next one.
    fn take(&mut self, conn: &Connection, series: SeriesId) -> Result<usize, StoreError> {
        self.own.clear();
        while let Some(m) = self.next.take_if(|m| m.series == series) {
            self.own.push(m);
            self.next = self.merge.next(conn)?;
        }
        Ok(self.own.len())
    }

    /// Adds the days that its readings ask for, and those for which others have to wait.
    fn tell_days(&mut self, bound: i64, nature: &Nature, days: &mut Days) {
        for m in &self.own {
            let at = m.observed_at.as_micros();
            if at < self.run.marks.rolled {
                continue;
            }
            let waits = (bound..bound.saturating_add(AHEAD)).contains(&at);
            self.waits |= waits;
            let days = if waits { &mut days.later } else { &mut days.now };
            days.extend(days_of(m.observed_at, nature));
        }
    }

    /// The present series' readings of this time.
    fn between(&self, first: Timestamp, until: Timestamp) -> Vec<Measurement> {
        let start = self.own.partition_point(|m| m.observed_at < first);
        let end = self.own.partition_point(|m| m.observed_at <= until);
        self.own[start..end.max(start)].to_vec()
    }
}

/// Days of a series.
#[derive(Debug, Default)]
struct Days {
    now: BTreeSet<i64>,
    later: BTreeSet<i64>,
}

impl Rolling {
    /// Rolls up a handful of series; `None` when all are.
    pub(super) fn proceed(
        mut self: Box<Self>,
        shared: &Shared,
    ) -> Result<Option<Box<Self>>, StoreError> {
        let mut counted = Vec::new();
        let outcome = shared.readers.read(|conn| self.count_handful(shared, conn, &mut counted));
        let is_done = match outcome {
            Ok(is_done) => is_done,
            Err(error @ StoreError::Damaged { .. }) => {
                self.tell_damage(&error);
                true
            }
            Err(error) => return Err(error),
        };
        shared.transact(|tx| {
            let mut written = Written::default();
            for counted in &counted {
                counted.store(tx, &mut written)?;
            }
            written.keep(tx)?;
            if is_done {
                self.finish(tx)?;
            }
            Ok(((), written.bytes))
        })?;
        if is_done && self.is_last {
            let mut status = lock(&shared.status);
            if status.roll_before.is_some_and(|asked| asked <= self.bound) {
                status.roll_before = None;
            }
        }
        Ok((!is_done).then_some(self))
    }

    fn tell_damage(&mut self, error: &StoreError) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "runs cannot be rolled up; they are read raw"
        );
        self.is_damaged = true;
    }

    fn finish(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        for input in &self.inputs {
            if self.is_damaged {
                let mut set = tx.prepare_cached("UPDATE run SET spoiled = 1 WHERE id = ?1")?;
                set.execute([input.run.id])?;
            } else {
                let rolled = if input.waits { self.bound } else { i64::MAX };
                let mut set = tx.prepare_cached("UPDATE run SET rolled = ?2 WHERE id = ?1")?;
                set.execute([input.run.id, rolled])?;
            }
        }
        if self.is_last {
            tx.prepare_cached("UPDATE mark SET rolled = ?1")?.execute([self.bound])?;
        }
        Ok(())
    }

    /// `true` when the runs are at their end.
    fn count_handful(
        &mut self,
        shared: &Shared,
        conn: &Connection,
        counted: &mut Vec<Counted>,
    ) -> Result<bool, StoreError> {
        let runs = live_runs(conn, ALL_TIMES.0, ALL_TIMES.1)?;
        let (mut seen, mut rows) = (0, 0);
        while seen < HANDFUL_READINGS && rows < HANDFUL_ROWS {
            let mut next = None;
            for input in &mut self.inputs {
                let own = input.series(conn)?;
                next = own.into_iter().chain(next).min();
            }
            let Some(series) = next else { return Ok(true) };
            let nature = read(&shared.catalog).nature(series);
            let mut days = Days::default();
            for input in &mut self.inputs {
                seen += input.take(conn, series)?;
                input.tell_days(self.bound, &nature, &mut days);
            }
            // A day is not over for a series that has readings of it still to come.
            let frozen = raw_from(conn, series)?;
            let is_due = |day: &i64| !days.later.contains(day) && day * DAY >= frozen;
            let due: Vec<i64> = days.now.into_iter().filter(is_due).collect();
            for group in due.chunk_by(|a, b| a + 1 == *b) {
                let outcome = self.count(conn, &runs, series, group, nature, &mut seen);
                match outcome {
                    Ok(group) => {
                        rows += group.rows.iter().map(Vec::len).sum::<usize>();
                        counted.push(group);
                    }
                    Err(error @ StoreError::Damaged { .. }) => self.tell_damage(&error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(false)
    }

    /// Counts neighbouring days of the present series.
    fn count(
        &self,
        conn: &Connection,
        runs: &[Run],
        series: SeriesId,
        days: &[i64],
        nature: Nature,
        seen: &mut usize,
    ) -> Result<Counted, StoreError> {
        let mut rows = [const { Vec::new() }; 3];
        for day in days {
            let (from, to) = (day * DAY, (day + 1) * DAY);
            let first = Timestamp::from_micros(from.saturating_sub(nature.hold_micros()));
            let until = Timestamp::from_micros(to - 1);
            let overlapping = runs.iter().filter(|run| run.newest >= first && run.oldest <= until);
            let source = |run: &Run| match self.inputs.iter().find(|input| input.run.id == run.id) {
                Some(input) => Source::memory(input.between(first, until)),
                None => Source::slice(run.id, series, first, until),
            };
            let mut merge = Merge::new(overlapping.map(source).collect());
            let mut readings = Vec::new();
            while let Some(m) = merge.next(conn)? {
                readings.push(m);
            }
            *seen += readings.len();
            let own = readings.iter().filter(|m| m.observed_at.as_micros() >= from).count();
            let skipped = usize::from(!keeps_minutes(own, &nature));
            let mut windows: Vec<Windows> =
                Tier::ALL[skipped..].iter().map(|tier| Windows::new(from, tier.width())).collect();
            let mut holding = Holding::new(from, to, nature);
            readings.iter().for_each(|m| holding.push(m, &mut windows));
            holding.end(&mut windows);
            for (rows, windows) in rows[skipped..].iter_mut().zip(windows) {
                rows.extend(windows.rows());
            }
        }
        let days = (days[0], days[0] + days.len() as i64);
        Ok(Counted { series, days, rows })
    }
}

/// Whether a day with so many readings of a series has rows of its minutes. Without, they are counted from the readings;
/// so a series whose minutes are to outlive its readings always has them.
fn keeps_minutes(readings: usize, nature: &Nature) -> bool {
    readings >= DENSE || nature.minutes
}

/// The days that a reading counts in or holds into, of those that have rollups.
pub(super) fn days_of(at: Timestamp, nature: &Nature) -> std::ops::Range<i64> {
    let at = at.as_micros();
    let last = at.saturating_add((nature.hold_micros() - 1).max(0));
    at.div_euclid(DAY).max(DAYS.start)..(last.div_euclid(DAY) + 1).min(DAYS.end)
}

/// What a transaction wrote, and by how much each tier grew.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: usize,
    pub(super) growth: [i64; 3],
}

impl Written {
    /// Keeps count of the tiers' bytes.
    pub(super) fn keep(&self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let mut add = tx.prepare_cached(
            "UPDATE mark SET minute_bytes = minute_bytes + ?1, hour_bytes = hour_bytes + ?2, day_bytes = day_bytes + ?3",
        )?;
        add.execute(self.growth)?;
        Ok(())
    }
}

impl Counted {
    /// Replaces the rows of these days but for those that retention took readings from.
    fn store(&self, tx: &Transaction<'_>, written: &mut Written) -> Result<(), StoreError> {
        // Asked here, where nobody else writes: retention may have moved it since the days were counted.
        let from = (self.days.0 * DAY).max(raw_from(tx, self.series)?);
        let to = self.days.1 * DAY;
        if from < to {
            for (tier, rows) in Tier::ALL.into_iter().zip(&self.rows) {
                replace(tx, self.series, tier, (from, to), rows, written)?;
            }
        }
        Ok(())
    }
}

fn replace(
    tx: &Transaction<'_>,
    series: SeriesId,
    tier: Tier,
    (from, to): (i64, i64),
    rows: &[Row],
    written: &mut Written,
) -> Result<(), StoreError> {
    for chunk in from.div_euclid(tier.chunk())..(to - 1).div_euclid(tier.chunk()) + 1 {
        let (start, end) = (chunk * tier.chunk(), (chunk + 1) * tier.chunk());
        let key = params![series.0, tier as i64, chunk];
        let is_whole = from <= start && end <= to;
        let found = find_chunk(tx, series, tier, chunk, |data| {
            (data.len(), if is_whole { Ok(Vec::new()) } else { rollup::decode(data, tier) })
        })?;
        let (before, old) = found.unwrap_or((0, Ok(Vec::new())));
        let mut all = old.map_err(|defect| defect.of(name(series, tier, chunk)))?;
        all.retain(|row| row.start < from || to <= row.start);
        let own = |row: &&Row| (start.max(from)..end.min(to)).contains(&row.start);
        all.extend(rows.iter().filter(own));
        all.sort_unstable_by_key(|row| row.start);
        written.growth[tier as usize] -= before as i64;
        if all.is_empty() {
            if before > 0 {
                tx.prepare_cached(
                    "DELETE FROM rollup WHERE series = ?1 AND tier = ?2 AND chunk = ?3",
                )?
                .execute(key)?;
            }
            continue;
        }
        let data = rollup::encode(&all, tier).map_err(|defect| defect.of("a new one"))?;
        tx.prepare_cached(
            "INSERT INTO rollup (series, tier, chunk, data) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (series, tier, chunk) DO UPDATE SET data = excluded.data",
        )?
        .execute(params![series.0, tier as i64, chunk, data])?;
        written.growth[tier as usize] += data.len() as i64;
        written.bytes += data.len();
    }
    Ok(())
}

fn find_chunk<T>(
    conn: &Connection,
    series: SeriesId,
    tier: Tier,
    chunk: i64,
    each: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, StoreError> {
    let mut find = conn
        .prepare_cached("SELECT data FROM rollup WHERE series = ?1 AND tier = ?2 AND chunk = ?3")?;
    let found = find.query_row(params![series.0, tier as i64, chunk], |row| {
        Ok(each(row.get_ref(0)?.as_blob()?))
    });
    Ok(found.optional()?)
}

fn name(series: SeriesId, tier: Tier, chunk: i64) -> String {
    format!("{chunk} of the rollups by {tier} of series {}", series.0)
}

/// The rows of a series that begin in `from..to`, which is within a chunk; `None` when there is no such chunk.
pub(super) fn load(
    conn: &Connection,
    series: SeriesId,
    tier: Tier,
    (from, to): (i64, i64),
) -> Result<Option<Vec<Row>>, StoreError> {
    let chunk = from.div_euclid(tier.chunk());
    let found = find_chunk(conn, series, tier, chunk, |data| rollup::decode(data, tier))?;
    let Some(rows) = found else { return Ok(None) };
    let mut rows = rows.map_err(|defect| defect.of(name(series, tier, chunk)))?;
    rows.retain(|row| (from..to).contains(&row.start));
    Ok(Some(rows))
}

/// Where a series' days begin that are whole in the raw readings, in microseconds.
pub(super) fn raw_from(conn: &Connection, series: SeriesId) -> Result<i64, StoreError> {
    let mut find = conn.prepare_cached("SELECT raw_from FROM series WHERE id = ?1")?;
    Ok(find.query_row([series.0], |row| row.get(0))?)
}

/// Up to where days have been rolled up, in microseconds.
fn mark(conn: &Connection) -> Result<i64, StoreError> {
    let mut find = conn.prepare_cached("SELECT rolled FROM mark")?;
    Ok(find.query_row([], |row| row.get(0))?)
}
