//! Deadlines: one entry per rule in a heap, re-armed when it runs out too early, so that a reading that moves a deadline
//! away costs nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::Timestamp;

/// When which rule must be looked at.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// By rule: its entry that counts. A rule armed for an earlier time leaves its later entry behind, which is passed
    /// over when it comes up.
    armed: Vec<Option<Timestamp>>,
}

impl Timers {
    /// Timers for so many rules, none of them armed.
    pub(super) fn new(rules: usize) -> Self {
        Timers { heap: BinaryHeap::new(), armed: vec![None; rules] }
    }

    /// Sees to it that the rule comes up at `at` or before: an earlier entry is left to run out.
    pub(super) fn arm(&mut self, rule: u32, at: Timestamp) {
        let armed = &mut self.armed[rule as usize];
        if armed.is_none_or(|earlier| at < earlier) {
            *armed = Some(at);
            self.heap.push(Reverse((at, rule)));
        }
    }

    /// Takes out the first entry that is due at `now`, in the order of time, then of rules. The caller looks at the
    /// rule's true deadline and arms it again if that is later.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        while let Some(&Reverse((at, rule))) = self.heap.peek()
            && at <= now
        {
            self.heap.pop();
            let armed = &mut self.armed[rule as usize];
            if *armed == Some(at) {
                *armed = None;
                return Some((at, rule));
            }
        }
        None
    }

    /// The first entry's time: nothing is due before it.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|&Reverse((at, _))| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_rule_comes_up_once_at_its_earliest_time() {
        let mut timers = Timers::new(2);
        timers.arm(0, at(10));
        timers.arm(0, at(20)); // Later: the entry at 10 will do.
        timers.arm(1, at(8));
        timers.arm(1, at(5)); // Earlier: the entry at 8 no longer counts.
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(30)), Some((at(5), 1)));
        assert_eq!(timers.pop_due(at(30)), Some((at(10), 0)));
        assert_eq!(timers.pop_due(at(30)), None);
        assert_eq!(timers.next(), None);
    }
}
