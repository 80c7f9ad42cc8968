//! Forgetting what is old: raw readings by block, rollups by chunk, each class of series in its own time.
//!
//! Before any raw reading goes, the days that lose some are rolled up and *frozen*: from then on they are not counted
//! again. A frozen day is at most [`Nature::MAX_HOLD`] and a day younger than what goes, because a reading holds into the
//! next day.
//!
//! A block goes when all of its readings are older than their class may be. Where neighbours of several classes share a
//! block, or readings of many months do, it is written again without those whose time is over; `run.trimmed` remembers for
//! which classes a run needs no more looking at. All of it is done in handfuls of about a megabyte, so that commits get in
//! between.

use rusqlite::{Connection, OptionalExtension, params};

use super::block;
use super::merge::{Key, key};
use super::rolling::Written;
use super::rollup::DAY;
use super::run::{ALL_TIMES, Run, live_runs, set_state, state};
use super::shared::{Shared, lock, read};
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::{Cutoffs, Forgotten, MAX_CLASSES, Nature, StoreError, Tier};

/// Blocks looked at in one go, and bytes of those that go or change: about a megabyte.
const BLOCKS_AT_ONCE: i64 = 512;
const HANDFUL_BYTES: i64 = 1 << 20;

/// A block with readings of a longer time does not wait until all of them are old: it is written again without those that
/// are, when they are at least one in four.
const LONG: i64 = 30 * DAY;
const WORTH_IT: usize = 4;

/// Series of which rollups go, or days are frozen, in one transaction.
const SERIES_AT_ONCE: u32 = 512;

/// What the classes of series may forget.
struct Classes {
    /// By class; behind the last is one for series of which nothing is known yet. That one lasts longest: where it is over,
    /// all are.
    cutoffs: Vec<Cutoffs>,
    /// By series: its class, one of `cutoffs`.
    of_series: Vec<u8>,
    /// A bit for each class that has a series.
    used: i64,
}

impl Classes {
    fn new(cutoffs: &[Cutoffs], classes: impl Iterator<Item = Option<u8>>) -> Self {
        let known = &cutoffs[..cutoffs.len().min(MAX_CLASSES)];
        let unknown = known.len() as u8;
        let class = |class: Option<u8>| match class {
            Some(class) if class < unknown => class,
            Some(_) => 0,
            None => unknown,
        };
        let of_series: Vec<u8> = classes.map(class).collect();
        let used = of_series.iter().fold(0, |used, class| used | 1 << class);
        let mut cutoffs = known.to_vec();
        cutoffs.push(Cutoffs::longest(known));
        Classes { cutoffs, of_series, used }
    }

    fn of(&self, series: SeriesId) -> u8 {
        self.of_series.get(series.index()).copied().unwrap_or(0)
    }

    /// A bit for each class that may forget a reading of this time.
    fn over(&self, newest: i64) -> i64 {
        let is_over =
            |class: &usize| self.cutoffs[*class].raw.is_some_and(|cut| newest < cut.as_micros());
        let over = (0..self.cutoffs.len()).filter(is_over);
        over.fold(0, |over, class| over | 1 << class) & self.used
    }

    /// A reading may go, if its own time counts.
    fn is_over(&self, m: &Measurement) -> bool {
        let cutoff = self.cutoffs[usize::from(self.of(m.series))].raw;
        cutoff.is_some_and(|cutoff| m.observed_at < cutoff)
    }

    /// The latest time before which a class forgets its readings.
    fn latest(&self) -> Option<Timestamp> {
        let used = self
            .cutoffs
            .iter()
            .zip(0..)
            .filter(|(_, class)| self.used & 1_i64.wrapping_shl(*class) != 0);
        used.filter_map(|(cutoffs, _)| cutoffs.raw).max()
    }
}

/// Where days begin that do not lose readings when those before `cutoff` go.
fn whole_from(cutoff: Timestamp) -> i64 {
    let whole = cutoff.as_micros().saturating_add(Nature::MAX_HOLD.as_micros() as i64);
    whole.div_euclid(DAY).saturating_add(1).saturating_mul(DAY)
}

/// What becomes of a block.
enum Fate {
    Goes,
    Becomes(Vec<Measurement>),
}

/// A block that changes.
struct Change {
    id: i64,
    readings: i64,
    bytes: i64,
    fate: Fate,
}

impl Shared {
    /// Forgets what each class of series may.
    ///
    /// A merge that is under way meanwhile notices that its runs have changed, and starts again.
    pub(super) fn forget(&self, cutoffs: &[Cutoffs]) -> Result<Forgotten, StoreError> {
        let _alone = lock(&self.forgetting);
        let mut forgotten = Forgotten::default();
        if cutoffs.is_empty() {
            return Ok(forgotten);
        }
        let classes = Classes::new(cutoffs, read(&self.catalog).classes());
        if let Some(latest) = classes.latest() {
            forgotten.waits = !self.is_rolled_up(whole_from(latest))?;
            if !forgotten.waits {
                self.freeze(&classes)?;
                let runs = self.readers.read(|conn| live_runs(conn, ALL_TIMES.0, latest))?;
                for run in runs {
                    let (readings, is_whole) = self.forget_run(&run, &classes)?;
                    forgotten.readings += readings;
                    if readings > 0 && !is_whole {
                        forgotten.more = true;
                        break;
                    }
                }
            }
        }
        if !forgotten.more {
            forgotten.rollup_bytes = self.forget_rollups(&classes)?;
        }
        let mut status = lock(&self.status);
        status.signals += 1;
        self.work.notify_all();
        Ok(forgotten)
    }

    /// Whether nothing before this time waits to be rolled up; else asks the keeper for it.
    fn is_rolled_up(&self, before: i64) -> Result<bool, StoreError> {
        let until = Timestamp::from_micros(before.saturating_sub(1));
        let runs = self.readers.read(|conn| live_runs(conn, ALL_TIMES.0, until))?;
        let waits = |run: &Run| run.marks.rolled < before && !run.marks.is_spoiled;
        let is_rolled = !runs.iter().any(waits);
        if !is_rolled {
            let mut status = lock(&self.status);
            status.roll_before = status.roll_before.max(Some(before));
            status.signals += 1;
            self.work.notify_all();
        }
        Ok(is_rolled)
    }

    /// From here on, the days that lose readings are not counted again. What is sealed between the look at the runs and
    /// this is a straggler like any that comes after it.
    fn freeze(&self, classes: &Classes) -> Result<(), StoreError> {
        let end = classes.of_series.len() as u32;
        for first in (0..end).step_by(SERIES_AT_ONCE as usize) {
            let some = first..end.min(first + SERIES_AT_ONCE);
            self.transact(|tx| {
                let mut set = tx.prepare_cached(
                    "UPDATE series SET raw_from = ?2 WHERE id = ?1 AND raw_from < ?2",
                )?;
                let mut changed = 0;
                for series in some {
                    let cutoffs = &classes.cutoffs[usize::from(classes.of(SeriesId(series)))];
                    if let Some(cutoff) = cutoffs.raw {
                        changed += set.execute(params![series, whole_from(cutoff)])?;
                    }
                }
                Ok(((), changed * 64))
            })?;
        }
        Ok(())
    }

    /// How many readings of the run went, and whether those were all.
    fn forget_run(&self, run: &Run, classes: &Classes) -> Result<(u64, bool), StoreError> {
        let over = classes.over(run.newest_heard());
        if over == classes.used {
            return Ok((self.delete_run(run)?, true));
        }
        if classes.over(run.oldest.as_micros()) & !run.marks.trimmed == 0 {
            return Ok((0, false));
        }
        let readings = self.trim(run, classes)?;
        if over & !run.marks.trimmed != 0 {
            self.transact(|tx| {
                tx.prepare_cached("UPDATE run SET trimmed = trimmed | ?2 WHERE id = ?1")?
                    .execute([run.id, over])?;
                Ok(((), 0))
            })?;
        }
        Ok((readings, false))
    }

    /// The run is gone at once; the keeper clears its blocks away.
    fn delete_run(&self, run: &Run) -> Result<u64, StoreError> {
        self.transact(|tx| {
            // Merged away in the meantime: the next call finds its readings elsewhere.
            let readings = readings_of(tx, run.id)?.unwrap_or(0);
            if readings > 0 {
                set_state(tx, run.id, state::DEAD)?;
            }
            Ok((readings as u64, 0))
        })
    }

    /// Takes from a run's blocks what may be forgotten.
    fn trim(&self, run: &Run, classes: &Classes) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        let mut oldest = i64::MAX;
        let mut after: Option<Key> = Some((SeriesId(0), ALL_TIMES.0));
        while let Some(from) = after {
            let mut changes = Vec::new();
            self.readers.read(|conn| {
                after = look(conn, run, classes, from, &mut changes, &mut oldest)?;
                Ok(())
            })?;
            let Some(readings) = self.change(run, &changes)? else { return Ok(forgotten) };
            forgotten += readings as u64;
        }
        self.transact(|tx| {
            let mut set = tx.prepare_cached(
                "UPDATE run SET oldest = ?2 WHERE id = ?1 AND oldest < ?2 AND readings > 0",
            )?;
            set.execute([run.id, oldest])?;
            let mut end =
                tx.prepare_cached("UPDATE run SET state = ?2 WHERE id = ?1 AND readings = 0")?;
            end.execute([run.id, state::DEAD])?;
            Ok((forgotten, 0))
        })
    }

    /// How many readings went; `None` when the run was merged away.
    fn change(&self, run: &Run, changes: &[Change]) -> Result<Option<i64>, StoreError> {
        if changes.is_empty() {
            return Ok(Some(0));
        }
        self.transact(|tx| {
            if readings_of(tx, run.id)?.is_none() {
                return Ok((None, 0));
            }
            let (mut readings, mut bytes, mut written) = (0, 0, 0);
            for change in changes {
                readings += change.readings;
                bytes += change.bytes;
                match &change.fate {
                    Fate::Goes => {
                        tx.prepare_cached("DELETE FROM block WHERE id = ?1")?
                            .execute([change.id])?;
                    }
                    Fate::Becomes(left) => {
                        let data = block::encode(left).map_err(|d| d.of("a shorter one"))?;
                        readings -= left.len() as i64;
                        bytes -= data.len() as i64;
                        written += data.len();
                        rewrite(tx, change.id, left, &data)?;
                    }
                }
            }
            tx.prepare_cached(
                "UPDATE run SET readings = readings - ?2, bytes = bytes - ?3 WHERE id = ?1",
            )?
            .execute([run.id, readings, bytes])?;
            Ok((Some(readings), written + changes.len() * 256))
        })
    }

    fn forget_rollups(&self, classes: &Classes) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        let end = classes.of_series.len() as u32;
        if classes.cutoffs.iter().all(|cutoffs| cutoffs.rollups == [None; 3]) {
            return Ok(0);
        }
        for first in (0..end).step_by(SERIES_AT_ONCE as usize) {
            let some = first..end.min(first + SERIES_AT_ONCE);
            forgotten += self.transact(|tx| {
                let mut written = Written::default();
                for series in some {
                    let cutoffs = &classes.cutoffs[usize::from(classes.of(SeriesId(series)))];
                    for (tier, cutoff) in Tier::ALL.into_iter().zip(cutoffs.rollups) {
                        let Some(cutoff) = cutoff else { continue };
                        let mut delete = tx.prepare_cached(
                            "DELETE FROM rollup WHERE series = ?1 AND tier = ?2 AND chunk < ?3 RETURNING length(data)",
                        )?;
                        let end = cutoff.as_micros().div_euclid(tier.chunk());
                        let mut rows = delete.query(params![series, tier as i64, end])?;
                        while let Some(row) = rows.next()? {
                            written.growth[tier as usize] -= row.get::<_, i64>(0)?;
                            written.bytes += 64;
                        }
                    }
                }
                written.keep(tx)?;
                let gone: i64 = written.growth.iter().sum();
                Ok((gone.unsigned_abs(), written.bytes))
            })?;
        }
        Ok(forgotten)
    }
}

/// The readings of a run that is live.
fn readings_of(conn: &Connection, run: i64) -> Result<Option<i64>, StoreError> {
    let mut find =
        conn.prepare_cached("SELECT readings FROM run WHERE id = ?1 AND state IN (1, 2)")?;
    Ok(find.query_row([run], |row| row.get(0)).optional()?)
}

/// Looks at some blocks of a run from this key on: adds those that change, and where to go on.
fn look(
    conn: &Connection,
    run: &Run,
    classes: &Classes,
    from: Key,
    changes: &mut Vec<Change>,
    oldest: &mut i64,
) -> Result<Option<Key>, StoreError> {
    let mut find = conn.prepare_cached(
        "SELECT id, last_series, last_time, oldest, newest, readings, length(data) FROM block
         WHERE run = ?1 AND (last_series, last_time) >= (?2, ?3) ORDER BY last_series, last_time LIMIT ?4",
    )?;
    let mut fetch = conn.prepare_cached("SELECT data FROM block WHERE id = ?1")?;
    let mut rows = find.query(params![run.id, from.0.0, from.1.as_micros(), BLOCKS_AT_ONCE])?;
    let (mut seen, mut changed, mut last) = (0, 0, None);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = Some((SeriesId(row.get(1)?), Timestamp::from_micros(row.get(2)?)));
        let (id, readings, bytes) = (row.get(0)?, row.get(5)?, row.get(6)?);
        let own_oldest = row.get::<_, Option<i64>>(3)?.unwrap_or(run.oldest.as_micros());
        let newest = row.get::<_, i64>(4)?.min(run.marks.heard);
        let over = classes.over(newest);
        let is_new = over & !run.marks.trimmed != 0;
        let is_long = newest.saturating_sub(own_oldest) > LONG
            && classes.over(own_oldest) & !run.marks.trimmed != 0;
        let fate = if over == classes.used {
            Some(Fate::Goes)
        } else if is_new || is_long {
            let data: Vec<u8> = fetch.query_row([id], |row| row.get(0))?;
            let goes = |m: &Measurement| {
                let whole = over & 1_i64.wrapping_shl(u32::from(classes.of(m.series))) != 0;
                whole || (is_long && classes.is_over(m))
            };
            // A damaged block is kept: perhaps somebody can still read it.
            let left = block::decode(&data, None).ok().map(|mut all| {
                let before = all.len();
                all.retain(|m| !goes(m));
                (before - all.len(), all)
            });
            left.and_then(|(gone, left)| match left.len() {
                0 => Some(Fate::Goes),
                _ if gone == 0 || (!is_new && gone * WORTH_IT < gone + left.len()) => None,
                _ => Some(Fate::Becomes(left)),
            })
        } else {
            None
        };
        match fate {
            None => *oldest = own_oldest.min(*oldest),
            Some(fate) => {
                if let Fate::Becomes(left) = &fate {
                    let first = left.iter().map(|m| m.observed_at.as_micros()).min();
                    *oldest = first.unwrap_or(i64::MAX).min(*oldest);
                }
                changed += bytes;
                changes.push(Change { id, readings, bytes, fate });
            }
        }
        if changed >= HANDFUL_BYTES {
            break;
        }
    }
    let is_end = seen < BLOCKS_AT_ONCE && changed < HANDFUL_BYTES;
    Ok(last
        .filter(|_| !is_end)
        .map(|(series, time)| (series, time.plus(std::time::Duration::from_micros(1)))))
}

fn rewrite(
    conn: &Connection,
    id: i64,
    left: &[Measurement],
    data: &[u8],
) -> Result<(), StoreError> {
    let Some((series, time)) = left.last().map(key) else { return Ok(()) };
    let times = || left.iter().map(|m| m.observed_at.as_micros());
    let (oldest, newest) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut set = conn.prepare_cached(
        "UPDATE block SET last_series = ?2, last_time = ?3, oldest = ?4, newest = ?5, readings = ?6, data = ?7 WHERE id = ?1",
    )?;
    set.execute(params![id, series.0, time.as_micros(), oldest, newest, left.len() as i64, data])?;
    Ok(())
}
