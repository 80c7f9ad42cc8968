//! The embedded store: one SQLite file.
//!
//! A commit writes its readings as one *hot row* and keeps them in memory as well, in the *head*. When the head is full
//! it becomes the *sealing generation*, still readable, and the keeper's thread writes its readings, sorted by series
//! and time and compressed, as a *run* of *blocks*; then the hot rows go. Eight runs are merged into a longer one, until
//! their slices of a series are long enough to compress well. Queries merge runs, sealing generation and head.
//!
//! Why runs and not one growing chunk per series: sealing then only ever writes, a thousand readings at a time, whatever
//! the number of series; every reading is written two or three times in its life instead of at every seal; and a run is
//! visible all at once with the mark "sealed through commit N", so a crash at any moment loses and repeats nothing.
//!
//! Once a day is over, it is rolled up: a row for each hour and day of a series, and for each minute where there are
//! several readings in one. That is behind the appending thread in everything: in time, and in what it may wait for.
//!
//! Who holds what: the appending thread and the keeper share the one writing connection, a short transaction each; the
//! memory lies behind a lock that is held for microseconds; queries have connections of their own and look at memory
//! before they look at the file, so that a reading on its way from one to the other is seen (twice, and merged).

mod block;
mod check;
mod compaction;
mod feed;
mod file;
mod head;
mod keeper;
mod merge;
mod numbers;
mod pack;
mod query;
mod retention;
mod rolling;
mod rollup;
mod row;
mod run;
mod schema;
mod shared;
mod steps;
#[cfg(test)]
pub(in crate::store) mod tests;

pub(super) use self::feed::{Commit, FeedMarks, Folded};
pub(super) use self::steps::count_steps;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::check::{Depth, Flaw, Looked};
pub use self::file::{Ends, ReadingsFile, Scan};
use self::keeper::Keeper;
use self::row::RowEncoder;
use self::shared::{Shared, lock, read};
use super::{
    CommitSeq, Cutoffs, Forgotten, Nature, SeriesKey, Steps, Store, StoreError, StoreStats,
};
use crate::model::{Measurement, Sample, SeriesId, Timestamp};

/// How much the store keeps unsealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The head is sealed when it holds this many readings. Two such generations at 26 bytes a reading are 78 MB; smaller
    /// ones mean more merging later.
    pub seal_at: usize,
    /// [`Store::append`] waits while this many readings are unsealed: sealing is behind, or commits are not released.
    pub max_hot: usize,
    /// The head is sealed when this much time lies between its earliest and its latest arrival.
    pub max_age: Duration,
}

impl Limits {
    /// For a hub that has about 100 MB to spare for the store.
    pub const STANDARD: Limits = Limits {
        seal_at: 1_500_000,
        max_hot: 3_500_000,
        max_age: Duration::from_secs(2 * 60 * 60),
    };
}

/// Measurements in one SQLite file.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Held for a whole append: commits reach the file and the memory in the same order.
    encoder: Mutex<RowEncoder>,
    keeper: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the file, or makes it. Reads unsealed commits back into memory; nothing is sealed before the first
    /// [`Store::release`].
    ///
    /// # Errors
    /// The file cannot be opened, is from a later version, or a hot row in it is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Limits::STANDARD)
    }

    /// As [`EmbeddedStore::open`], with limits of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::start(Shared::open(path, limits)?)
    }

    fn start(shared: Shared) -> Result<Self, StoreError> {
        let shared = Arc::new(shared);
        let keeper = Keeper::new(Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("store-keeper".to_owned())
            .spawn(move || keeper.work())
            .map_err(|error| StoreError::Stalled { why: error.to_string() })?;
        Ok(Self::of(shared, Some(thread)))
    }

    fn of(shared: Arc<Shared>, keeper: Option<JoinHandle<()>>) -> Self {
        EmbeddedStore { shared, encoder: Mutex::default(), keeper }
    }

    /// Seals everything that was committed and released before this call, gives free pages back to the file system, and
    /// returns when that is done. `false` when commits that are not released hold some readings back.
    ///
    /// # Errors
    /// The keeper cannot do its work; it will try again.
    pub fn seal_now(&self) -> Result<bool, StoreError> {
        self.shared.flush()
    }
}

impl Drop for EmbeddedStore {
    /// Ends the keeper at its next step. Everything acknowledged is on disk already.
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the store's keeper had panicked");
        }
    }
}

impl Store for EmbeddedStore {
    fn series(&self, keys: &[SeriesKey]) -> Result<Vec<SeriesId>, StoreError> {
        self.shared.series(keys)
    }

    fn describe(&self, natures: &[(SeriesId, Nature)]) -> Result<(), StoreError> {
        self.shared.describe(natures)
    }

    fn all_series(&self) -> Vec<SeriesKey> {
        read(&self.shared.catalog).keys().to_vec()
    }

    fn append(&self, batches: &[&[Measurement]]) -> Result<CommitSeq, StoreError> {
        let mut encoder = lock(&self.encoder);
        let count = self.shared.check_batches(batches)?;
        if count == 0 {
            return Ok(lock(&self.shared.status).last_commit);
        }
        let seq = self.shared.wait_for_room(count)?;
        self.shared.write_row(seq, encoder.encode(batches))?;
        self.shared.remember(seq, batches);
        Ok(seq)
    }

    fn range(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        self.shared.range(series, from, to, limit)
    }

    fn aggregate(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Steps, StoreError> {
        self.shared.aggregate(series, from, to, step)
    }

    fn latest(&self) -> Result<Vec<(SeriesId, Sample)>, StoreError> {
        Ok(read(&self.shared.memory).latest())
    }

    fn replay(
        &self,
        after: CommitSeq,
        each: &mut dyn FnMut(CommitSeq, &[Measurement]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.shared.replay(after, each)
    }

    fn release(&self, through: CommitSeq) {
        self.shared.release(through);
    }

    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        let all = Cutoffs { raw: Some(cutoff), ..Cutoffs::default() };
        let mut readings = 0;
        loop {
            let step = self.shared.forget(&[all])?;
            readings += step.readings;
            if !step.more {
                return Ok(readings);
            }
        }
    }

    fn forget(&self, classes: &[Cutoffs]) -> Result<Forgotten, StoreError> {
        self.shared.forget(classes)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.shared.stats()
    }
}
