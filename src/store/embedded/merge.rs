//! Reading sorted readings from several places as one: queries over runs and memory, and runs into a bigger run.

use rusqlite::{Connection, OptionalExtension, params};

use super::block;
use crate::model::{Measurement, SeriesId, Timestamp};
use crate::store::StoreError;

/// What a reading is known by.
pub(super) type Key = (SeriesId, Timestamp);

/// The reading's key.
pub(super) fn key(m: &Measurement) -> Key {
    (m.series, m.observed_at)
}

/// The least key after this one.
fn after((series, time): Key) -> Option<Key> {
    match time.as_micros().checked_add(1) {
        Some(micros) => Some((series, Timestamp::from_micros(micros))),
        None => Some((SeriesId(series.0.checked_add(1)?), Timestamp::from_micros(i64::MIN))),
    }
}

/// Readings in key order: those at hand, and those of a run that are still to be fetched, a block at a time.
#[derive(Debug)]
pub(super) struct Source {
    at_hand: std::vec::IntoIter<Measurement>,
    rest: Option<Rest>,
}

/// The unread part of a run.
#[derive(Debug, Clone, Copy)]
struct Rest {
    run: i64,
    /// No unread reading comes before this key.
    from: Key,
    /// Only this series' readings, and only up to this time.
    only: Option<Key>,
}

impl Source {
    /// Readings in memory, sorted by key.
    pub(super) fn memory(readings: Vec<Measurement>) -> Self {
        Source { at_hand: readings.into_iter(), rest: None }
    }

    /// All readings of a run.
    pub(super) fn run(run: i64) -> Self {
        let from = (SeriesId(0), Timestamp::from_micros(i64::MIN));
        Source { at_hand: Vec::new().into_iter(), rest: Some(Rest { run, from, only: None }) }
    }

    /// A run's readings of one series with `from <= observed_at <= until`.
    pub(super) fn slice(run: i64, series: SeriesId, from: Timestamp, until: Timestamp) -> Self {
        let rest = Rest { run, from: (series, from), only: Some((series, until)) };
        Source { at_hand: Vec::new().into_iter(), rest: Some(rest) }
    }

    /// A key that no reading still to come is before; `None` at the end.
    fn bound(&self) -> Option<Key> {
        self.at_hand.as_slice().first().map(key).or(self.rest.map(|rest| rest.from))
    }

    /// The next reading at hand if it comes before the fence.
    fn next_before(&mut self, fence: Option<Key>) -> Option<Measurement> {
        let first = self.at_hand.as_slice().first()?;
        if fence.is_none_or(|fence| key(first) < fence) { self.at_hand.next() } else { None }
    }

    /// Fetches the next block.
    fn fetch(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let Some(rest) = self.rest.take() else { return Ok(()) };
        let mut statement = conn.prepare_cached(
            "SELECT id, last_series, last_time, data FROM block
             WHERE run = ?1 AND (last_series, last_time) >= (?2, ?3)
             ORDER BY last_series, last_time LIMIT 1",
        )?;
        let (series, time) = rest.from;
        let found = statement
            .query_row(params![rest.run, series.0, time.as_micros()], |row| {
                let last: Key = (SeriesId(row.get(1)?), Timestamp::from_micros(row.get(2)?));
                let data = row.get_ref(3)?.as_blob()?;
                let readings = block::decode(data, rest.only.map(|(series, _)| series));
                Ok((row.get::<_, i64>(0)?, last, readings))
            })
            .optional()?;
        let Some((id, last, readings)) = found else { return Ok(()) };
        let mut readings =
            readings.map_err(|defect| defect.of(format!("{id} of run {}", rest.run)))?;
        readings.retain(|m| key(m) >= rest.from && rest.only.is_none_or(|end| key(m) <= end));
        self.at_hand = readings.into_iter();
        self.rest = after(last)
            .filter(|&from| rest.only.is_none_or(|end| from <= end))
            .map(|from| Rest { from, ..rest });
        Ok(())
    }
}

/// The readings of all sources in key order, each key once: of several readings with the same key the one from the
/// earliest listed source.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    current: usize,
    /// Where another source has something to say: the current one may be read up to here without looking around.
    fence: Option<Key>,
    last: Option<Key>,
}

impl Merge {
    /// Of sources in the order of their precedence.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        // A fence before every key: the first call looks around.
        let fence = Some((SeriesId(0), Timestamp::from_micros(i64::MIN)));
        Merge { sources, current: 0, fence, last: None }
    }

    /// The next reading.
    ///
    /// # Errors
    /// A block does not decode, or the database fails.
    pub(super) fn next(&mut self, conn: &Connection) -> Result<Option<Measurement>, StoreError> {
        loop {
            let next = match self.sources.get_mut(self.current) {
                Some(source) => source.next_before(self.fence),
                None => None,
            };
            let next = match next {
                Some(next) => next,
                None => match self.choose(conn)? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            if self.last.replace(key(&next)) != Some(key(&next)) {
                return Ok(Some(next));
            }
        }
    }

    /// Finds the source with the least key and takes its reading.
    fn choose(&mut self, conn: &Connection) -> Result<Option<Measurement>, StoreError> {
        loop {
            let mut least: Option<(Key, usize)> = None;
            self.fence = None;
            for (at, source) in self.sources.iter().enumerate() {
                let Some(bound) = source.bound() else { continue };
                let fence = match least {
                    Some((best, _)) if best <= bound => bound,
                    Some((best, _)) => {
                        least = Some((bound, at));
                        best
                    }
                    None => {
                        least = Some((bound, at));
                        continue;
                    }
                };
                self.fence = Some(self.fence.map_or(fence, |old| old.min(fence)));
            }
            let Some((_, at)) = least else { return Ok(None) };
            self.current = at;
            match self.sources[at].at_hand.next() {
                Some(next) => return Ok(Some(next)),
                // Only a bound so far: fetch, and look again, for the block may begin later or be empty.
                None => self.sources[at].fetch(conn)?,
            }
        }
    }
}
