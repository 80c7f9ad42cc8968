//! Merging runs: many short slices of a series become few long ones, which compress better and are found faster.
//!
//! Eight neighbours of one level become a run of the next. So a reading is written again only once per level, and the
//! number of runs that a query has to look into grows with the logarithm of the number of seals. A merge goes on in
//! handfuls, so that a generation which has to be sealed meanwhile does not wait for its end.

use rusqlite::Transaction;

use super::merge::{Merge, Source};
use super::run::{ALL_TIMES, ENOUGH_READINGS, Marks, Run, RunWriter, live_runs, set_state, state};
use super::shared::Shared;
use crate::store::StoreError;

/// Runs of a level that become one of the next.
const MERGED_AT_ONCE: usize = 8;

/// With so many of a level, they are merged although some of their readings wait to be rolled up. Fewer are made in a day
/// of a usual town; and what was rolled up of a run is forgotten, and done again, when it is merged with one that waits.
const TOO_MANY: usize = 24;

/// A run does not grow beyond this by merging: some ten seconds of work, and worth no more.
const MAX_MERGED_READINGS: i64 = 64_000_000;

/// What the runs that there are ask for.
#[derive(Debug)]
pub(super) enum Plan {
    /// To be left alone.
    Nothing,
    /// Some were found to be good for ever; look again.
    Settled,
    /// To be merged.
    Merge(Box<Merging>),
}

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merging {
    inputs: Vec<Run>,
    merge: Merge,
    output: RunWriter,
}

/// Looks for runs to merge and begins the merge.
pub(super) fn plan(shared: &Shared) -> Result<Plan, StoreError> {
    let runs = shared.readers.read(|conn| live_runs(conn, ALL_TIMES.0, ALL_TIMES.1))?;
    let Some(inputs) = runs_to_merge(&runs) else { return Ok(Plan::Nothing) };
    let inputs = inputs.to_vec();
    let slices: i64 = inputs.iter().map(|run| run.slices).sum();
    let readings: i64 = inputs.iter().map(|run| run.readings).sum();
    let (level, age) = (inputs[0].level + 1, inputs[0].age);
    shared.transact(|tx| {
        // Long slices are in blocks of their own already.
        if readings >= slices * ENOUGH_READINGS as i64 || readings > MAX_MERGED_READINGS {
            settle(tx, &inputs)?;
            return Ok((Plan::Settled, 0));
        }
        let merge = Merge::new(inputs.iter().map(|run| Source::run(run.id)).collect());
        let output = RunWriter::begin(tx, level, age)?;
        Ok((Plan::Merge(Box::new(Merging { inputs, merge, output })), 0))
    })
}

impl Merging {
    /// Merges a handful of readings; `None` when all are merged, or cannot be.
    pub(super) fn proceed(
        mut self: Box<Self>,
        shared: &Shared,
    ) -> Result<Option<Box<Self>>, StoreError> {
        match self.merge_handful(shared) {
            Ok(true) => self.finish(shared).map(|()| None),
            Ok(false) => {
                self.output.store_handful(shared)?;
                Ok(Some(self))
            }
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "runs cannot be merged");
                self.give_up(shared).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// `true` when the inputs are at their end.
    fn merge_handful(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        shared.readers.read(|conn| {
            while let Some(m) = self.merge.next(conn)? {
                self.output.push(m)?;
                if self.output.has_handful() {
                    return Ok(false);
                }
            }
            self.output.close()?;
            Ok(true)
        })
    }

    fn finish(&mut self, shared: &Shared) -> Result<(), StoreError> {
        shared.transact(|tx| {
            let Some(inputs) = unchanged(tx, &self.inputs)? else {
                // Retention took some of their readings away: what was merged would bring them back.
                set_state(tx, self.output.id(), state::DEAD)?;
                return Ok(((), 0));
            };
            self.output.finish(tx, Marks::of_merged(&inputs))?;
            self.inputs.iter().try_for_each(|run| set_state(tx, run.id, state::DEAD))?;
            Ok(((), 0))
        })
    }

    /// The runs stay as they are: all but the damaged block can still be read.
    fn give_up(&self, shared: &Shared) -> Result<(), StoreError> {
        shared.transact(|tx| {
            set_state(tx, self.output.id(), state::DEAD)?;
            settle(tx, &self.inputs)?;
            Ok(((), 0))
        })
    }
}

/// The first eight neighbours of one level, all of them rolled up unless there are very many. Neighbours, because of the
/// same reading in two runs the earlier one stays.
fn runs_to_merge(runs: &[Run]) -> Option<&[Run]> {
    let alike = |a: &Run, b: &Run| a.state == b.state && a.level == b.level;
    let mut groups = runs.chunk_by(alike).filter(|group| group[0].state == state::LIVE);
    groups.find_map(|group| {
        let first = group.get(..MERGED_AT_ONCE)?;
        let waits = |run: &Run| run.waits() && !run.marks.is_spoiled;
        let ready = group.len() >= TOO_MANY || !first.iter().any(waits);
        ready.then_some(first)
    })
}

fn settle(tx: &Transaction<'_>, runs: &[Run]) -> Result<(), StoreError> {
    runs.iter().try_for_each(|run| set_state(tx, run.id, state::SETTLED))
}

/// The same runs as they are now, which may have been rolled up further; `None` when they lost readings.
fn unchanged(tx: &Transaction<'_>, runs: &[Run]) -> Result<Option<Vec<Run>>, StoreError> {
    let mut now = live_runs(tx, ALL_TIMES.0, ALL_TIMES.1)?;
    now.retain(|run| runs.iter().any(|own| own.id == run.id && own.readings == run.readings));
    Ok((now.len() == runs.len()).then_some(now))
}
