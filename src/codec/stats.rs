//! What codecs did, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{CodecError, Outcome};

/// Counters that the pool's threads share.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    errors: [AtomicU64; CodecError::REASONS.len()],
    frames: AtomicU64,
    busy_us: AtomicU64,
    started: AtomicU64,
    lost: AtomicU64,
}

/// The figures of a pool since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Calls that were asked for.
    pub calls: u64,
    /// Calls without an answer, by reason; only those that happened.
    pub errors: Vec<(&'static str, u64)>,
    /// Frames that were sent to children: `calls / frames` is how well calls were gathered.
    pub frames: u64,
    /// How long children were busy.
    pub busy: Duration,
    /// Children that were started.
    pub started: u64,
    /// Children that died, hung or talked nonsense.
    pub lost: u64,
}

impl Counters {
    pub(super) fn outcome(&self, outcome: &Outcome) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            self.errors[error.number()].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn frame(&self, took: Duration) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        let errors = CodecError::REASONS.iter().zip(&self.errors);
        Stats {
            calls: self.calls.load(Ordering::Relaxed),
            errors: errors
                .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            frames: self.frames.load(Ordering::Relaxed),
            busy: Duration::from_micros(self.busy_us.load(Ordering::Relaxed)),
            started: self.started.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}
