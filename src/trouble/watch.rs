//! From findings to troubles: what begins, gets worse or otherwise, and ends. Pure: findings and the time are handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Code, Finding, Look, Trouble, TroubleId};
use crate::model::{Label, Severity, Timestamp};

/// How long something must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// Wrong, before it is a trouble.
    pub raise_after: Duration,
    /// Well, before the trouble is over.
    pub end_after: Duration,
}

impl Holds {
    /// A full disk is told at once: its guard has waited already, and readings are being refused.
    fn raise(&self, finding: &Finding) -> Duration {
        match (finding.code, finding.severity) {
            (Code::Disk, Severity::Critical) => Duration::ZERO,
            _ => self.raise_after,
        }
    }
}

/// What happened to a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is there.
    Raised,
    /// It is graver than before.
    Worse,
    /// It is milder, or has another cause.
    Changed,
    /// It is over.
    Ended,
}

/// A step of a trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which step.
    pub what: What,
    /// The trouble after it.
    pub trouble: Trouble,
}

type Key = (Code, String);

#[derive(Debug)]
struct Open {
    trouble: Trouble,
    /// Nothing was found since then.
    well_since: Option<Timestamp>,
}

/// What is wrong, what may become so, and what may be over.
#[derive(Debug)]
pub struct Watch {
    holds: Holds,
    /// Since when it is wrong, for what is not told yet.
    coming: BTreeMap<Key, Timestamp>,
    open: BTreeMap<Key, Open>,
    next: u64,
}

impl Watch {
    /// Goes on from the troubles that were open; `next` is the number of the next one.
    pub fn new(holds: Holds, open: Vec<Trouble>, next: u64) -> Self {
        let entry = |trouble: Trouble| {
            ((trouble.code, trouble.subject.clone()), Open { trouble, well_since: None })
        };
        Watch { holds, coming: BTreeMap::new(), open: open.into_iter().map(entry).collect(), next }
    }

    /// The open troubles, the worst first and of these the oldest.
    pub fn open(&self) -> Vec<Trouble> {
        let mut open: Vec<Trouble> = self.open.values().map(|open| open.trouble.clone()).collect();
        open.sort_by_key(|trouble| (trouble.severity.rank(), trouble.since, trouble.id));
        open
    }

    /// Takes what was found at `now`, and returns what that changes. A clock that was put back makes holds longer, never
    /// endless.
    pub fn look(&mut self, look: &Look, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let found: BTreeMap<Key, &Finding> =
            look.bad.iter().map(|one| ((one.code, one.subject.clone()), one)).collect();
        let is_unknown = |key: &Key| {
            let is_it = |(code, subject): &(Code, Option<String>)| {
                *code == key.0 && subject.as_ref().is_none_or(|subject| *subject == key.1)
            };
            look.unknown.iter().any(is_it)
        };
        self.coming.retain(|key, _| found.contains_key(key) || is_unknown(key));
        for (key, finding) in &found {
            match self.open.get_mut(key) {
                Some(open) => changes.extend(open.found(finding)),
                None => changes.extend(self.begin(key, finding, now)),
            }
        }
        self.open.retain(|key, open| {
            if found.contains_key(key) || is_unknown(key) {
                return true;
            }
            let well_since = open.well_since.map_or(now, |since| since.min(now));
            open.well_since = Some(well_since);
            let is_over = now.since(well_since) >= self.holds.end_after;
            if is_over {
                let trouble = Trouble { ended_at: Some(well_since), ..open.trouble.clone() };
                changes.push(Change { what: What::Ended, trouble });
            }
            !is_over
        });
        changes
    }

    fn begin(&mut self, key: &Key, finding: &Finding, now: Timestamp) -> Option<Change> {
        let since = self.coming.entry(key.clone()).or_insert(now);
        *since = finding.since.unwrap_or(*since).min(now);
        let since = *since;
        if now.since(since) < self.holds.raise(finding) {
            return None;
        }
        self.coming.remove(key);
        let empty = || Label::same("");
        let trouble = Trouble {
            id: TroubleId(self.next),
            code: finding.code,
            subject: finding.subject.clone(),
            severity: finding.severity,
            since,
            raised_at: now,
            ended_at: None,
            facts: finding.facts.clone(),
            text: empty(),
            remedy: empty(),
        };
        let trouble = trouble.said();
        self.next += 1;
        self.open.insert(key.clone(), Open { trouble: trouble.clone(), well_since: None });
        Some(Change { what: What::Raised, trouble })
    }
}

impl Open {
    /// It is wrong still. Numbers that move are no news of their own; another severity or cause is.
    fn found(&mut self, finding: &Finding) -> Option<Change> {
        self.well_since = None;
        let Trouble { severity: before, facts: ref former, .. } = self.trouble;
        let what = match finding.severity.cmp(&before) {
            std::cmp::Ordering::Greater => Some(What::Worse),
            std::cmp::Ordering::Less => Some(What::Changed),
            std::cmp::Ordering::Equal => (former.why != finding.facts.why).then_some(What::Changed),
        };
        if what.is_some() || *former != finding.facts {
            let (severity, facts) = (finding.severity, finding.facts.clone());
            self.trouble = Trouble { severity, facts, ..self.trouble.clone() }.said();
        }
        what.map(|what| Change { what, trouble: self.trouble.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble::sample::{HOLDS, at, bad, broker};

    fn away() -> Look {
        broker("refused")
    }

    fn well() -> Look {
        Look::default()
    }

    fn steps(watch: &mut Watch, look: &Look, second: i64) -> Vec<(What, u64)> {
        let changes = watch.look(look, at(second));
        changes.into_iter().map(|change| (change.what, change.trouble.id.0)).collect()
    }

    fn new() -> Watch {
        Watch::new(HOLDS, Vec::new(), 1)
    }

    #[test]
    fn what_flaps_is_not_told_and_what_stays_is_told_once() {
        let mut watch = new();
        for second in 0..300 {
            let look = if second % 20 < 15 { away() } else { well() };
            assert_eq!(steps(&mut watch, &look, second), [], "{second}");
        }
        for second in 300..330 {
            assert_eq!(steps(&mut watch, &away(), second), [], "{second}");
        }
        assert_eq!(steps(&mut watch, &away(), 330), [(What::Raised, 1)]);
        assert_eq!(steps(&mut watch, &away(), 331), []);
        let [open] = &watch.open()[..] else { panic!("one is open") };
        assert_eq!((open.since, open.raised_at), (at(300), at(330)));
    }

    #[test]
    fn it_ends_after_it_stayed_well_and_not_while_it_flaps() {
        let mut watch = new();
        steps(&mut watch, &away(), 0);
        steps(&mut watch, &away(), 30);
        for second in 31..200 {
            let look = if second % 20 == 0 { away() } else { well() };
            assert_eq!(steps(&mut watch, &look, second), [], "{second}");
        }
        assert_eq!(steps(&mut watch, &well(), 200), []);
        assert_eq!(steps(&mut watch, &well(), 210), [], "well since 181");
        let ended = watch.look(&well(), at(211));
        assert_eq!((ended[0].what, ended[0].trouble.ended_at), (What::Ended, Some(at(181))));
        assert!(watch.open().is_empty());
        steps(&mut watch, &away(), 300);
        assert_eq!(steps(&mut watch, &away(), 330), [(What::Raised, 2)], "another one");
    }

    #[test]
    fn a_full_disk_is_told_at_once_and_a_low_one_that_fills_up_is_worse() {
        let full = bad(Code::Disk, "", Severity::Critical, "");
        let low = bad(Code::Disk, "", Severity::Major, "");
        assert_eq!(steps(&mut new(), &full, 0), [(What::Raised, 1)]);
        let mut watch = new();
        steps(&mut watch, &low, 0);
        assert_eq!(steps(&mut watch, &low, 30), [(What::Raised, 1)]);
        assert_eq!(steps(&mut watch, &full, 31), [(What::Worse, 1)]);
        assert_eq!(steps(&mut watch, &low, 32), [(What::Changed, 1)]);
    }

    #[test]
    fn another_cause_is_news_and_another_number_is_not() {
        let mut watch = new();
        steps(&mut watch, &away(), 0);
        steps(&mut watch, &away(), 30);
        let other = broker("timeout");
        assert_eq!(steps(&mut watch, &other, 31), [(What::Changed, 1)]);
        let mut counted = other.clone();
        counted.bad[0].facts.count = Some(7);
        assert_eq!(steps(&mut watch, &counted, 32), []);
        assert_eq!(watch.open()[0].facts.count, Some(7), "it is shown all the same");
    }

    #[test]
    fn after_a_restart_it_is_the_same_one_and_ends_only_when_somebody_knows() {
        let mut before = new();
        steps(&mut before, &away(), 0);
        steps(&mut before, &away(), 30);
        let mut watch = Watch::new(HOLDS, before.open(), 2);
        let unknown = Look { bad: Vec::new(), unknown: vec![(Code::Broker, None)] };
        assert_eq!(steps(&mut watch, &unknown, 100), []);
        assert_eq!(steps(&mut watch, &unknown, 500), [], "not tried yet");
        assert_eq!(steps(&mut watch, &away(), 501), [], "told already");
        assert_eq!(watch.open()[0].since, at(0));
        assert_eq!(steps(&mut watch, &well(), 502), []);
        assert_eq!(steps(&mut watch, &well(), 532), [(What::Ended, 1)]);
    }

    #[test]
    fn its_room_knows_since_when_and_a_clock_that_is_put_back_holds_nothing_for_ever() {
        let mut watch = new();
        let mut look = away();
        look.bad[0].since = Some(at(-60));
        assert_eq!(steps(&mut watch, &look, 0), [(What::Raised, 1)]);
        let mut watch = new();
        steps(&mut watch, &away(), 10_000);
        assert_eq!(steps(&mut watch, &away(), 0), []);
        assert_eq!(steps(&mut watch, &away(), 30), [(What::Raised, 1)]);
        steps(&mut watch, &well(), 10_000);
        assert_eq!(steps(&mut watch, &well(), 50), []);
        assert_eq!(steps(&mut watch, &well(), 80), [(What::Ended, 1)]);
    }

    #[test]
    fn the_worst_stands_first() {
        let mut watch = new();
        let mut look = away();
        look.bad.extend(bad(Code::Profile, "a.toml", Severity::Minor, "").bad);
        steps(&mut watch, &look, 0);
        steps(&mut watch, &look, 30);
        look.bad.extend(bad(Code::Disk, "", Severity::Critical, "").bad);
        steps(&mut watch, &look, 31);
        let codes: Vec<Code> = watch.open().iter().map(|trouble| trouble.code).collect();
        assert_eq!(codes, [Code::Disk, Code::Broker, Code::Profile]);
    }
}
