//! What the pipeline counts, for people and for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::normalize::Tally;

/// Counters of the pipeline since the start. Added to once per batch, not per reading.
#[derive(Debug, Default)]
pub struct Counters {
    uplinks: AtomicU64,
    measured: AtomicU64,
    duplicates: AtomicU64,
    late: AtomicU64,
    clock: AtomicU64,
    bad: AtomicU64,
    uncertain: AtomicU64,
    undecoded: AtomicU64,
    stored: AtomicU64,
    commits: AtomicU64,
}

/// The counters' values at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReadingCounts {
    /// Messages and polls that came in.
    pub uplinks: u64,
    /// Readings that came in, duplicates included.
    pub received: u64,
    /// Readings on disk.
    pub stored: u64,
    /// Commits that brought them there.
    pub commits: u64,
    /// Readings that were there already.
    pub duplicates: u64,
    /// Readings stored as history.
    pub late: u64,
    /// Readings with a wrong clock.
    pub clock: u64,
    /// Readings stored as Bad.
    pub bad: u64,
    /// Readings stored as Uncertain.
    pub uncertain: u64,
    /// Payloads that their profile could not decode.
    pub undecoded: u64,
}

impl Counters {
    pub(super) fn taken(&self, uplinks: u32, undecoded: u32, tally: &Tally) {
        let add = |counter: &AtomicU64, n: u32| {
            if n > 0 {
                counter.fetch_add(u64::from(n), Ordering::Relaxed);
            }
        };
        add(&self.uplinks, uplinks);
        add(&self.undecoded, undecoded);
        add(&self.measured, tally.measured);
        add(&self.duplicates, tally.duplicates);
        add(&self.late, tally.late);
        add(&self.clock, tally.clock);
        add(&self.bad, tally.bad);
        add(&self.uncertain, tally.uncertain);
    }

    pub(super) fn committed(&self, readings: u64) {
        self.stored.fetch_add(readings, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn read(&self) -> ReadingCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadingCounts {
            uplinks: get(&self.uplinks),
            received: get(&self.measured) + get(&self.duplicates),
            stored: get(&self.stored),
            commits: get(&self.commits),
            duplicates: get(&self.duplicates),
            late: get(&self.late),
            clock: get(&self.clock),
            bad: get(&self.bad),
            uncertain: get(&self.uncertain),
            undecoded: get(&self.undecoded),
        }
    }
}
