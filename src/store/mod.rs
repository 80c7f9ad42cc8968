//! Memory: every measurement, durable, for years.
//!
//! Takes batches of [`Measurement`]s; hands back ranges, aggregates and the latest. Knows series by number and name only:
//! no units, no profiles, no assets. [`EmbeddedStore`] keeps all in the hub's own file; [`RemoteStore`] has an engine of
//! others behind that file, for the far past.

#[cfg(test)]
mod conformance;
mod embedded;
pub mod keep;
pub mod names;
mod remote;

use std::ops::ControlFlow;
use std::time::Duration;

pub use self::embedded::{Depth, EmbeddedStore, Ends, Flaw, Limits, Looked, ReadingsFile, Scan};
pub use self::remote::{
    EngineKind, InfluxDb2Config, OpenError as RemoteOpenError, QueueConfig, RemoteConfigError,
    RemoteProblem, RemoteStatus, RemoteStore, VictoriaMetricsConfig,
};
use serde::Serialize;

use crate::model::{DeviceId, Measurement, MetricName, Sample, SeriesId, Timestamp};

/// The number of a durable commit: grows by one with every [`Store::append`], across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct CommitSeq(pub u64);

/// A series' name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SeriesKey {
    /// The device.
    pub device: DeviceId,
    /// Its metric.
    pub metric: MetricName,
}

/// What a store must know of a series to count its time, and to forget it in time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nature {
    /// How long a value holds when no other follows, a day at most; with zero, nothing is said about time.
    pub hold: Duration,
    /// The value that means "occupied", when the series is a state.
    pub occupied: Option<f64>,
    /// Its class of retention: which [`Cutoffs`] are its.
    pub class: u8,
    /// Its minutes are to outlive its readings, so rows of minutes are kept even where the readings are as few.
    pub minutes: bool,
}

impl Nature {
    /// The longest [`Nature::hold`]: a reading must not reach into the day after the next.
    pub const MAX_HOLD: Duration = Duration::from_secs(86_400);

    fn hold_micros(&self) -> i64 {
        self.hold.min(Self::MAX_HOLD).as_micros() as i64
    }
}

/// The windows of rollups, by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A minute.
    Minute = 0,
    /// An hour.
    Hour = 1,
    /// A day.
    Day = 2,
}

impl Tier {
    /// All, the shortest first.
    pub const ALL: [Tier; 3] = [Tier::Minute, Tier::Hour, Tier::Day];

    /// Its spelling in the API: `1m`, `1h`, `1d`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Minute => "1m",
            Tier::Hour => "1h",
            Tier::Day => "1d",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Classes of retention that a store tells apart at most.
pub const MAX_CLASSES: usize = 32;

/// What a class of series may forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cutoffs {
    /// Raw readings observed before this time; `None`: none.
    pub raw: Option<Timestamp>,
    /// Rollups of windows before this time, of each of [`Tier::ALL`].
    pub rollups: [Option<Timestamp>; 3],
}

impl Cutoffs {
    /// Those of the class that lasts longest, in each respect.
    pub fn longest(classes: &[Cutoffs]) -> Cutoffs {
        // `None`, never, is before every time.
        let least = |cutoff: &dyn Fn(&Cutoffs) -> Option<Timestamp>| {
            classes.iter().map(cutoff).min().flatten()
        };
        Cutoffs {
            raw: least(&|own| own.raw),
            rollups: [0, 1, 2].map(|tier: usize| least(&|own| own.rollups[tier])),
        }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Raw readings.
    pub readings: u64,
    /// Bytes of rollups.
    pub rollup_bytes: u64,
    /// Some raw readings are not rolled up yet, so none went. That is done soon: ask again.
    pub waits: bool,
    /// This was a step; there may be more to forget.
    pub more: bool,
}

/// An answer in steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// The rollups that it was read from where there are any; days with readings that are not rolled up yet, and a step
    /// that ends within a window, are counted from raw readings all the same. `None`: all of it was.
    pub tier: Option<Tier>,
    /// The steps with readings, oldest first.
    pub buckets: Vec<Bucket>,
}

/// One step of an aggregate. Only Good and Uncertain values count; Bad ones lower `good_share`. A step with nothing but
/// Bad readings has a `count` of 0, and NaN (`null` in JSON) for its values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bucket {
    /// The step's start.
    pub start: Timestamp,
    /// Values counted.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The last by time.
    pub last: f64,
    /// Share of Good readings among all that were stored in the step, 0..=1.
    pub good_share: f64,
    /// Mean of the values weighted by the time for which each held ([`Nature::hold`]); NaN when none did.
    pub time_mean: f64,
    /// Of the time for which a value held, the share of the occupied state, 0..=1; NaN for a series that is no such state.
    pub occupied_share: f64,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct StoreStats {
    /// Series.
    pub series: u64,
    /// Readings not yet sealed, repeated ones too.
    pub hot_readings: u64,
    /// Readings in sealed blocks; one that came again after it was sealed counts twice until both are merged.
    pub sealed_readings: u64,
    /// Bytes of sealed blocks.
    pub sealed_bytes: u64,
    /// Bytes of the rollups by minute.
    pub minute_bytes: u64,
    /// Bytes of those by hour.
    pub hour_bytes: u64,
    /// Bytes of those by day.
    pub day_bytes: u64,
    /// The oldest reading in sealed blocks, about; readings from before 1970 do not count.
    pub oldest_raw: Option<Timestamp>,
    /// Bytes on disk, all files.
    pub disk_bytes: u64,
    /// Last commit.
    pub last_commit: CommitSeq,
}

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("the reading database failed")]
    Database(#[from] rusqlite::Error),
    /// A stored block does not decode: the file is damaged.
    #[error("stored block {what} is damaged: {why}")]
    Damaged {
        /// Which block.
        what: String,
        /// How.
        why: String,
    },
    /// The file is from a later version.
    #[error("the reading database has format {found}, this version knows up to {known}")]
    Format {
        /// The file's.
        found: i64,
        /// The latest that is known here.
        known: i64,
    },
    /// Nothing can be taken in, because what is there cannot be sealed.
    #[error("the store cannot seal its readings: {why}")]
    Stalled {
        /// What stopped it.
        why: String,
    },
    /// A query that cannot be answered as asked.
    #[error("{0}")]
    BadQuery(String),
    /// Readings are asked for that only the remote engine has, and it gives none.
    #[error("readings before {before} are in {engine} only, and cannot be had now: {why}")]
    Remote {
        /// Which engine.
        engine: &'static str,
        /// From when on the hub has all readings itself.
        before: Timestamp,
        /// Why the engine gives none.
        why: String,
    },
}

/// Where measurements are kept. One thread appends; any thread queries.
pub trait Store: Send + Sync + 'static {
    /// The numbers of these series, made if new. Durable on return.
    fn series(&self, keys: &[SeriesKey]) -> Result<Vec<SeriesId>, StoreError>;

    /// Tells what these series are; durable on return. It counts for what is rolled up from then on.
    ///
    /// # Errors
    /// A series has no number, or the disk fails.
    fn describe(&self, natures: &[(SeriesId, Nature)]) -> Result<(), StoreError>;

    /// Every series, by number.
    fn all_series(&self) -> Vec<SeriesKey>;

    /// Writes all batches in one commit and returns when they are on disk. Idempotent by (series, observed_at): of two
    /// readings with the same series and time the first stays. No readings are no commit: the last one's number is
    /// returned. Waits while too many readings are unsealed, so somebody else must [`Store::release`].
    ///
    /// # Errors
    /// A series has no number, there are more than a million readings, the disk fails, or what is there cannot be
    /// sealed. Then nothing of the commit is stored or seen.
    fn append(&self, batches: &[&[Measurement]]) -> Result<CommitSeq, StoreError>;

    /// The samples with `from <= observed_at < to`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The series has no number, `from` is after `to`, or a block that may hold such samples is damaged.
    fn range(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError>;

    /// Steps of `step` from `from` to `to`; steps without readings are left out. Read from the longest rollups of which
    /// both `from` and `step` are multiples, else from raw readings.
    ///
    /// # Errors
    /// As for [`Store::range`]; also a step of zero, and more than a million steps.
    fn aggregate(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Steps, StoreError>;

    /// The newest sample of every series that ever had one: it outlives [`Store::delete_before`].
    fn latest(&self) -> Result<Vec<(SeriesId, Sample)>, StoreError>;

    /// Calls `each` with every commit after `after` that is not sealed, oldest first: at least all that were not released;
    /// until `each` has had enough.
    fn replay(
        &self,
        after: CommitSeq,
        each: &mut dyn FnMut(CommitSeq, &[Measurement]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Tells the store that commits up to `through` need never be replayed again: only those may be sealed away.
    fn release(&self, through: CommitSeq);

    /// Deletes sealed readings observed before `cutoff`, of all series. Their rollups stay. Returns how many readings
    /// went: none while older ones wait to be rolled up.
    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError>;

    /// Deletes what each class of series ([`Nature::class`]) may forget, slowly, and without keeping commits waiting; a
    /// class beyond those given is the first. A series that was not [described](Store::describe) since the store was opened
    /// lasts as long as the class that lasts longest: its number may be of an older list. One call is a step. Raw readings go by whole blocks: one that has a younger
    /// reading may stay for a month longer, or until a quarter of it is too old. A store that cannot tell classes apart
    /// keeps all for as long as the one that lasts longest.
    ///
    /// # Errors
    /// When the database fails; what went is gone, the rest goes with the next call.
    fn forget(&self, classes: &[Cutoffs]) -> Result<Forgotten, StoreError> {
        let readings =
            Cutoffs::longest(classes).raw.map_or(Ok(0), |cutoff| self.delete_before(cutoff))?;
        Ok(Forgotten { readings, ..Forgotten::default() })
    }

    /// What the store holds.
    fn stats(&self) -> Result<StoreStats, StoreError>;

    /// How it stands with the remote engine, when there is one. Never waits for it.
    fn remote(&self) -> Option<RemoteStatus> {
        None
    }
}
