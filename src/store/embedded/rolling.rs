//! Keeping the rollups right: of each run that is sealed, the days that it touches are counted again from what is raw.
//!
//! Whatever a run brings (new, late, repeated), a day is counted as a whole from all runs and its rows replaced, so the
//! order of arrival, a crash in the middle, or doing it twice make no difference. A run is marked as rolled up at the
//! end; until then, and for readings in memory, queries take those days from the raw readings. Runs that wait are rolled
//! up together: under load a day is counted once for several of them, and never before a generation that is to be sealed.
//!
//! Days of which retention took raw readings away (`mark.raw_from`) are not counted again: a reading that comes later
//! still is kept raw, until retention finds it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::merge::{Merge, Source};
use super::rollup::{self, DAY, DAYS, Holding, Row, Windows};
use super::run::{ALL_TIMES, Run, live_runs, rolled};
use super::shared::{Shared, read};
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::{Nature, StoreError, Tier};

/// A handful: readings looked at, and bytes written, before the keeper looks at what is more urgent.
const HANDFUL_READINGS: usize = 100_000;
const HANDFUL_BYTES: usize = 256 << 10;

/// Runs being rolled up.
#[derive(Debug)]
pub(super) struct Rolling {
    runs: Vec<Run>,
    merge: Merge,
    /// The first reading of the next series.
    next: Option<Measurement>,
    /// A block could not be read: these runs stay raw.
    is_damaged: bool,
}

/// A series' days, counted.
struct Counted {
    series: SeriesId,
    /// Days from the first to before the second.
    days: (i64, i64),
    rows: [Vec<Row>; 3],
}

/// Looks for runs to roll up.
pub(super) fn plan(shared: &Shared) -> Result<Option<Box<Rolling>>, StoreError> {
    let mut runs = shared.readers.read(|conn| live_runs(conn, ALL_TIMES.0, ALL_TIMES.1))?;
    runs.retain(|run| run.rolled == rolled::NOT_YET);
    let merge = Merge::new(runs.iter().map(|run| Source::run(run.id)).collect());
    let rolling = Rolling { runs, merge, next: None, is_damaged: false };
    Ok((!rolling.runs.is_empty()).then(|| Box::new(rolling)))
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
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "runs cannot be rolled up; they are read raw"
                );
                self.is_damaged = true;
                true
            }
            Err(error) => return Err(error),
        };
        shared.transact(|tx| {
            let mut bytes = 0;
            // Read here, where nobody else writes: retention may have moved it since the days were counted.
            let frozen = raw_from(tx)?;
            for counted in &counted {
                bytes += counted.store(tx, frozen)?;
            }
            if is_done {
                let mark = if self.is_damaged { rolled::NEVER } else { rolled::YES };
                let mut set = tx.prepare_cached("UPDATE run SET rolled = ?2 WHERE id = ?1")?;
                for run in &self.runs {
                    set.execute([run.id, mark])?;
                }
            }
            Ok(((), bytes))
        })?;
        Ok((!is_done).then_some(self))
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
        while seen < HANDFUL_READINGS && rows * 8 < HANDFUL_BYTES {
            let Some(first) =
                self.next.take().map_or_else(|| self.merge.next(conn), |m| Ok(Some(m)))?
            else {
                return Ok(true);
            };
            let series = first.series;
            let nature = read(&shared.catalog).nature(series);
            let mut days = BTreeSet::new();
            let mut reading = Some(first);
            while let Some(m) = reading.take_if(|m| m.series == series) {
                days.extend(days_of(m.observed_at, &nature));
                seen += 1;
                reading = self.merge.next(conn)?;
            }
            self.next = reading;
            for (from, to) in groups(&days) {
                let new = count(conn, &runs, series, (from, to), nature, &mut seen)?;
                rows += new.rows.iter().map(Vec::len).sum::<usize>();
                counted.push(new);
            }
        }
        Ok(false)
    }
}

/// The days that a reading counts in or holds into, of those that have rollups.
pub(super) fn days_of(at: Timestamp, nature: &Nature) -> std::ops::Range<i64> {
    let at = at.as_micros();
    let last = at.saturating_add((nature.hold_micros() - 1).max(0));
    at.div_euclid(DAY).max(DAYS.start)..(last.div_euclid(DAY) + 1).min(DAYS.end)
}

/// Neighbouring days together, each group from its first to before its second.
fn groups(days: &BTreeSet<i64>) -> Vec<(i64, i64)> {
    let days: Vec<i64> = days.iter().copied().collect();
    let groups = days.chunk_by(|a, b| a + 1 == *b);
    groups.map(|group| (group[0], group[0] + group.len() as i64)).collect()
}

fn count(
    conn: &Connection,
    runs: &[Run],
    series: SeriesId,
    days: (i64, i64),
    nature: Nature,
    seen: &mut usize,
) -> Result<Counted, StoreError> {
    let (from, to) = (days.0 * DAY, days.1 * DAY);
    let first = Timestamp::from_micros(from.saturating_sub(nature.hold_micros()));
    let until = Timestamp::from_micros(to - 1);
    let overlapping = runs.iter().filter(|run| run.newest >= first && run.oldest <= until);
    let mut merge =
        Merge::new(overlapping.map(|run| Source::slice(run.id, series, first, until)).collect());
    let mut windows = Tier::ALL.map(|tier| Windows::new(from, tier.width()));
    let mut holding = Holding::new(from, to, nature);
    while let Some(m) = merge.next(conn)? {
        holding.push(&m, &mut windows);
        *seen += 1;
    }
    holding.end(&mut windows);
    Ok(Counted { series, days, rows: windows.map(Windows::rows) })
}

impl Counted {
    /// Replaces the rows of these days but for those that begin before `frozen`; returns how many bytes it wrote.
    fn store(&self, tx: &Transaction<'_>, frozen: i64) -> Result<usize, StoreError> {
        let from = (self.days.0 * DAY).max(frozen);
        let to = self.days.1 * DAY;
        let mut bytes = 0;
        if from < to {
            for (tier, rows) in Tier::ALL.into_iter().zip(&self.rows) {
                bytes += replace(tx, self.series, tier, (from, to), rows)?;
            }
        }
        Ok(bytes)
    }
}

fn replace(
    tx: &Transaction<'_>,
    series: SeriesId,
    tier: Tier,
    (from, to): (i64, i64),
    rows: &[Row],
) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for chunk in from.div_euclid(tier.chunk())..(to - 1).div_euclid(tier.chunk()) + 1 {
        let (start, end) = (chunk * tier.chunk(), (chunk + 1) * tier.chunk());
        let key = params![series.0, tier as i64, chunk];
        let mut all = Vec::new();
        if start < from || to < end {
            all = load_chunk(tx, series, tier, chunk)?;
            all.retain(|row| row.start < from || to <= row.start);
        }
        let own = |row: &&Row| (start.max(from)..end.min(to)).contains(&row.start);
        all.extend(rows.iter().filter(own));
        all.sort_unstable_by_key(|row| row.start);
        if all.is_empty() {
            tx.prepare_cached("DELETE FROM rollup WHERE series = ?1 AND tier = ?2 AND chunk = ?3")?
                .execute(key)?;
            continue;
        }
        let data = rollup::encode(&all, tier).map_err(|defect| defect.of("a new one"))?;
        tx.prepare_cached(
            "INSERT INTO rollup (series, tier, chunk, data) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (series, tier, chunk) DO UPDATE SET data = excluded.data",
        )?
        .execute(params![series.0, tier as i64, chunk, data])?;
        bytes += data.len();
    }
    Ok(bytes)
}

fn load_chunk(
    conn: &Connection,
    series: SeriesId,
    tier: Tier,
    chunk: i64,
) -> Result<Vec<Row>, StoreError> {
    let mut find = conn
        .prepare_cached("SELECT data FROM rollup WHERE series = ?1 AND tier = ?2 AND chunk = ?3")?;
    let found = find
        .query_row(params![series.0, tier as i64, chunk], |row| {
            Ok(rollup::decode(row.get_ref(0)?.as_blob()?, tier))
        })
        .optional()?;
    let what = || format!("{chunk} of the rollups by {tier} of series {}", series.0);
    found.map_or(Ok(Vec::new()), |rows| rows.map_err(|defect| defect.of(what())))
}

/// The rows of a series that begin in `from..to`.
pub(super) fn load(
    conn: &Connection,
    series: SeriesId,
    tier: Tier,
    (from, to): (i64, i64),
) -> Result<Vec<Row>, StoreError> {
    let mut all = Vec::new();
    for chunk in from.div_euclid(tier.chunk())..(to - 1).div_euclid(tier.chunk()) + 1 {
        let rows = load_chunk(conn, series, tier, chunk)?;
        all.extend(rows.into_iter().filter(|row| (from..to).contains(&row.start)));
    }
    Ok(all)
}

/// Where days begin that are whole in the raw readings, in microseconds.
pub(super) fn raw_from(conn: &Connection) -> Result<i64, StoreError> {
    let mut find = conn.prepare_cached("SELECT raw_from FROM mark")?;
    Ok(find.query_row([], |row| row.get(0))?)
}
