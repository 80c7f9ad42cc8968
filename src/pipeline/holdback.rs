//! How far another reader of the store's commits has come: what it has not read is not sealed yet, for a bounded while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::CommitSeq;

/// Checkpoints of the judge for which the store waits until the reader has come to where the first of them was: a million
/// readings or two minutes. Then it seals, and the reader has lost them: a reader that is slow or stuck must not fill the
/// store with unsealed readings.
const PATIENCE: u32 = 4;

/// The reader's place. Without a reader nothing is held back.
#[derive(Debug)]
pub struct Holdback {
    read_through: AtomicU64,
    wait: Mutex<Option<Wait>>,
}

/// The reader was behind at a checkpoint.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// Where that was.
    target: CommitSeq,
    /// Checkpoints since, with that one.
    checkpoints: u32,
}

impl Default for Holdback {
    fn default() -> Self {
        Holdback { read_through: AtomicU64::new(u64::MAX), wait: Mutex::default() }
    }
}

impl Holdback {
    /// The reader has every commit up to this one.
    pub fn read_through(&self, commit: CommitSeq) {
        self.read_through.store(commit.0, Ordering::Release);
    }

    /// Of commits that the judge has no more need of, those that the store may seal.
    pub(super) fn allow(&self, judged: CommitSeq) -> CommitSeq {
        let read = CommitSeq(self.read_through.load(Ordering::Acquire));
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        if read >= judged {
            *wait = None;
            return judged;
        }
        let begin = Wait { target: judged, checkpoints: 0 };
        let Wait { target, checkpoints } = wait.filter(|wait| read < wait.target).unwrap_or(begin);
        *wait = Some(Wait { target, checkpoints: checkpoints + 1 });
        if checkpoints < PATIENCE { read } else { judged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_waits_for_a_stuck_reader_but_not_for_ever() {
        let holdback = Holdback::default();
        assert_eq!(holdback.allow(CommitSeq(9)), CommitSeq(9), "nobody reads");
        holdback.read_through(CommitSeq(5));
        for judged in 10..10 + u64::from(PATIENCE) {
            assert_eq!(holdback.allow(CommitSeq(judged)), CommitSeq(5));
        }
        assert_eq!(holdback.allow(CommitSeq(20)), CommitSeq(20));
        holdback.read_through(CommitSeq(21));
        assert_eq!(holdback.allow(CommitSeq(25)), CommitSeq(21), "patient again");
    }

    #[test]
    fn a_reader_that_is_always_a_little_behind_loses_nothing() {
        let holdback = Holdback::default();
        for commit in 0..100 {
            holdback.read_through(CommitSeq(commit));
            assert_eq!(holdback.allow(CommitSeq(commit + 1)), CommitSeq(commit));
        }
    }
}
