//! How far another reader of the store's commits has come: what it has not read is not sealed yet, for a bounded while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::store::CommitSeq;

/// Checkpoints of the judge at which the store waits for the reader: a million readings or two minutes. Then it seals, and
/// the reader has lost them: a reader that is slow or stuck must not fill the store with unsealed readings.
const PATIENCE: u32 = 4;

/// The reader's place. Without a reader nothing is held back.
#[derive(Debug)]
pub struct Holdback {
    read_through: AtomicU64,
    waits: AtomicU32,
}

impl Default for Holdback {
    fn default() -> Self {
        Holdback { read_through: AtomicU64::new(u64::MAX), waits: AtomicU32::new(0) }
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
        if read >= judged {
            self.waits.store(0, Ordering::Relaxed);
            return judged;
        }
        let waits = self.waits.fetch_add(1, Ordering::Relaxed);
        if waits < PATIENCE { read } else { judged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_waits_for_the_reader_but_not_for_ever() {
        let holdback = Holdback::default();
        assert_eq!(holdback.allow(CommitSeq(9)), CommitSeq(9));
        holdback.read_through(CommitSeq(5));
        for _ in 0..PATIENCE {
            assert_eq!(holdback.allow(CommitSeq(9)), CommitSeq(5));
        }
        assert_eq!(holdback.allow(CommitSeq(9)), CommitSeq(9));
        holdback.read_through(CommitSeq(10));
        assert_eq!(holdback.allow(CommitSeq(10)), CommitSeq(10));
        assert_eq!(holdback.allow(CommitSeq(12)), CommitSeq(10), "patient again");
    }
}
