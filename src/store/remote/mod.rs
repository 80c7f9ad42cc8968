//! The far past in an engine of others, the near past and the queue here.
//!
//! Everything is written to the embedded store first, and acknowledged then: at its speed, whatever the engine does. The
//! [`forward`]er sends commits to the engine in their order, at least once, and the embedded store keeps a commit's row
//! until the engine has it, through restarts and kills. What is sent twice is one reading: InfluxDB overwrites the point of
//! the same series and time, VictoriaMetrics' exact duplicates fall together when they are read.
//!
//! Reads: the hub's own file answers for all time from which on it has every reading ([`QueueConfig::near`], and its own
//! rollups for longer, since when the file was made, but for series of which readings came after that); only what is older and raw is asked of the engine, and joined at the
//! border of a step. When the engine does not answer then, that is an error and never a hole.
//!
//! Over the bound of the queue ([`QueueConfig::max`]) the oldest waiting commits are not sent as readings any more, but as
//! rollups of their minutes and hours. Nothing is lost here: their raw readings stay in the hub's own file.

mod columns;
mod config;
mod engine;
mod forward;
mod http;
mod influxdb2;
mod lines;
#[cfg(test)]
mod tests;
mod victoriametrics;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::config::{
    EngineKind, InfluxDb2Config, QueueConfig, RemoteConfigError, VictoriaMetricsConfig,
};
use self::engine::{Engine, EngineError};
use self::forward::{Forwarder, Post};
pub use self::forward::{RemoteProblem, RemoteStatus};
use self::influxdb2::InfluxDb2;
use self::victoriametrics::VictoriaMetrics;
use super::embedded::{FeedMarks, count_steps};
use super::{
    Bucket, CommitSeq, Cutoffs, EmbeddedStore, Forgotten, Limits, Nature, SeriesKey, Steps, Store,
    StoreError, StoreStats,
};
use crate::clock::Clock;
use crate::model::{Measurement, Sample, SeriesId, Timestamp};

/// Readings in one page, when an aggregate counts raw readings.
const PAGE: usize = 100_000;

/// The hub's own file with an engine behind it.
#[derive(Debug)]
pub struct RemoteStore {
    post: Arc<Post>,
    forwarder: Option<JoinHandle<()>>,
}

/// Why a store with an engine cannot be opened. An engine that is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is wrong.
    #[error("the engine cannot be used as configured")]
    Config(#[from] RemoteConfigError),
    /// The hub's own file cannot be opened.
    #[error("the hub's own file cannot be opened")]
    Store(#[from] StoreError),
}

impl RemoteStore {
    /// Opens the hub's own file, or makes it, with VictoriaMetrics behind it.
    ///
    /// # Errors
    /// The configuration is wrong, or the file cannot be opened.
    pub fn victoriametrics(
        path: &Path,
        config: &VictoriaMetricsConfig,
        queue: QueueConfig,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let engine = VictoriaMetrics::new(config, queue.timeout)?;
        Ok(Self::open(path, Limits::STANDARD, Box::new(engine), queue, clock)?)
    }

    /// Opens the hub's own file, or makes it, with InfluxDB 2 behind it.
    ///
    /// # Errors
    /// The configuration is wrong, or the file cannot be opened.
    pub fn influxdb2(
        path: &Path,
        config: &InfluxDb2Config,
        queue: QueueConfig,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let engine = InfluxDb2::new(config, queue.timeout)?;
        Ok(Self::open(path, Limits::STANDARD, Box::new(engine), queue, clock)?)
    }

    fn open(
        path: &Path,
        limits: Limits,
        engine: Box<dyn Engine>,
        queue: QueueConfig,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let born = engine.precision().kept(clock.now());
        let (local, marks) = EmbeddedStore::open_feeding(path, limits, born)?;
        let post = Arc::new(Post::new(local, engine, queue, clock, marks)?);
        let mut forwarder = Forwarder::new(Arc::clone(&post));
        forwarder.recall();
        let thread = std::thread::Builder::new()
            .name("store-forwarder".to_owned())
            .spawn(move || forwarder.work())
            .map_err(|error| StoreError::Stalled { why: error.to_string() })?;
        Ok(RemoteStore { post, forwarder: Some(thread) })
    }

    fn local(&self) -> &EmbeddedStore {
        &self.post.local
    }

    /// An engine's failure, for whoever asked.
    fn failed(&self, error: &EngineError) -> StoreError {
        let before = self.post.marks().near_from;
        StoreError::Remote { engine: self.post.engine.name(), before, why: error.to_string() }
    }

    /// The part of a range that is before `near_from`: of the engine, and what is here as well.
    fn far(
        &self,
        series: SeriesId,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        // The own file first: it also refuses what cannot be asked.
        let own = self.local().range(series, from, to, limit)?;
        let Some((key, _)) = self.local().described(series) else { return Ok(own) };
        let far = self.post.engine.range(&key, from, to, limit);
        let far = far.map_err(|error| self.failed(&error))?;
        let kept = |sample: &Sample| self.post.engine.precision().kept(sample.observed_at);
        let mut merged = Vec::with_capacity(far.len().max(own.len()));
        let mut own = own.into_iter().peekable();
        for sample in far {
            while let Some(own) = own.next_if(|own| kept(own) < sample.observed_at) {
                merged.push(own);
            }
            // The engine has the first that was told; one here that is not sealed away yet may be a later one.
            while own.next_if(|own| kept(own) == sample.observed_at).is_some() {}
            merged.push(sample);
        }
        merged.extend(own);
        merged.truncate(limit);
        Ok(merged)
    }

    fn joined(
        &self,
        series: SeriesId,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
        near_from: Timestamp,
    ) -> Result<Vec<Sample>, StoreError> {
        if from >= near_from || from >= to {
            return self.local().range(series, from, to, limit);
        }
        let mut samples = self.far(series, (from, to.min(near_from)), limit)?;
        if near_from < to && samples.len() < limit {
            let rest = limit - samples.len();
            samples.extend(self.local().range(series, near_from, to, rest)?);
        }
        Ok(samples)
    }

    /// Steps of the far past: of the engine when it can count them, else counted here.
    fn far_steps(
        &self,
        series: SeriesId,
        nature: Nature,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        let key = self.local().described(series).map(|(key, _)| key);
        if let Some(key) = key.filter(|_| nature.hold.is_zero() && self.post.has_sent_all()) {
            let counted = self.post.engine.aggregate(&key, from, to, step);
            if let Some(counted) = counted.map_err(|error| self.failed(&error))? {
                return Ok(counted);
            }
        }
        let mut failure = None;
        let mut at = from.minus(nature.hold.min(Nature::MAX_HOLD));
        let pages = std::iter::from_fn(|| {
            let page = self.range(series, at, to, PAGE);
            let page = page.map_err(|error| failure = Some(error)).ok()?;
            at = page.last()?.observed_at.plus(Duration::from_micros(1));
            Some(page)
        });
        let readings = pages.flatten().map(|sample| sample.of(series));
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let steps = count_steps(readings, nature, (from, to), step);
        failure.map_or(Ok(steps), Err)
    }

    /// Steps of here, and before those that rollups and readings here make up, of the engine.
    fn joined_steps(
        &self,
        series: SeriesId,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        marks: &FeedMarks,
    ) -> Result<Steps, StoreError> {
        let own = self.local().aggregate(series, from, to, step)?;
        let nature = self.local().described(series).map_or_else(Nature::default, |(_, own)| own);
        let hold = nature.hold.min(Nature::MAX_HOLD);
        let ends_here = is_whole(to) || to >= marks.near_from.plus(hold + HOUR);
        let whole_from = match has_rollups(from, step) && ends_here {
            true => self.post.late_until(series).map_or(marks.born, |late| late.max(marks.born)),
            false => marks.near_from,
        };
        if from.minus(hold) >= whole_from || whole_from.as_micros() == i64::MIN || from >= to {
            return Ok(own);
        }
        let cut = border(from, step, whole_from.plus(hold)).min(to);
        let mut buckets = self.far_steps(series, nature, (from, cut), step)?;
        let near = own.buckets.into_iter().filter(|bucket| bucket.start >= cut);
        buckets.extend(near);
        Ok(Steps { tier: own.tier.filter(|_| cut < to), buckets })
    }
}

/// The first border of steps from `from` at or after `time`.
fn border(from: Timestamp, step: Duration, time: Timestamp) -> Timestamp {
    let step = step.as_micros().max(1);
    let apart = time.since(from).as_micros().div_ceil(step).saturating_mul(step);
    from.plus(Duration::from_micros(u64::try_from(apart).unwrap_or(u64::MAX)))
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Whether rollups make up steps of this length from this time on. Rows of hours are always made; of minutes only where
/// readings are dense.
fn has_rollups(from: Timestamp, step: Duration) -> bool {
    is_whole(from) && step.as_micros().is_multiple_of(HOUR.as_micros())
}

/// Whether an hour begins then.
fn is_whole(time: Timestamp) -> bool {
    time.as_micros().rem_euclid(HOUR.as_micros() as i64) == 0
}

impl Drop for RemoteStore {
    /// Ends the forwarder in the middle of what it does: everything is on disk, and goes on from there.
    fn drop(&mut self) {
        self.post.stop();
        if let Some(thread) = self.forwarder.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's forwarder had panicked");
        }
    }
}

impl Store for RemoteStore {
    fn series(&self, keys: &[SeriesKey]) -> Result<Vec<SeriesId>, StoreError> {
        self.local().series(keys)
    }

    fn describe(&self, natures: &[(SeriesId, Nature)]) -> Result<(), StoreError> {
        self.local().describe(natures)
    }

    fn all_series(&self) -> Vec<SeriesKey> {
        self.local().all_series()
    }

    fn append(&self, batches: &[&[Measurement]]) -> Result<CommitSeq, StoreError> {
        self.post.note_late(batches)?;
        let seq = self.local().append(batches)?;
        self.post.wake();
        Ok(seq)
    }

    fn range(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        loop {
            let near_from = self.post.marks().near_from;
            let samples = self.joined(series, (from, to), limit, near_from)?;
            // Readings may have been deleted here between the two looks; then the engine has them.
            if self.post.marks().near_from == near_from {
                return Ok(samples);
            }
        }
    }

    fn aggregate(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Steps, StoreError> {
        loop {
            let marks = self.post.marks();
            let steps = self.joined_steps(series, (from, to), step, &marks)?;
            // As in `range`.
            if self.post.marks().near_from == marks.near_from {
                return Ok(steps);
            }
        }
    }

    fn latest(&self) -> Result<Vec<(SeriesId, Sample)>, StoreError> {
        let mut latest = self.local().latest()?;
        self.post.add_recalled(&mut latest);
        Ok(latest)
    }

    fn replay(
        &self,
        after: CommitSeq,
        each: &mut dyn FnMut(CommitSeq, &[Measurement]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.local().replay(after, each)
    }

    fn release(&self, through: CommitSeq) {
        self.local().release(through);
    }

    /// As for every store, but only of the hub's own file: how long the engine keeps readings is said there.
    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        self.post.delete_before(cutoff)
    }

    /// Of raw readings only: rollups stay for as long as the hub's own file, because the engine has none.
    fn forget(&self, classes: &[Cutoffs]) -> Result<Forgotten, StoreError> {
        let raw: Vec<Cutoffs> =
            classes.iter().map(|own| Cutoffs { raw: own.raw, ..Cutoffs::default() }).collect();
        if let Some(latest) = raw.iter().filter_map(|own| own.raw).max() {
            self.post.ask_the_engine_before(latest)?;
        }
        self.local().forget(&raw)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.local().stats()
    }

    fn remote(&self) -> Option<RemoteStatus> {
        Some(self.post.status())
    }
}
