//! When what waits becomes a message, and how much of it together. Pure: the time is handed in.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::EventKind;
use crate::alert::AlertId;
use crate::case::CaseId;
use crate::model::{Severity, Timestamp};
use crate::trouble::TroubleId;

/// The minute that services count in.
const WINDOW: Duration = Duration::from_secs(60);

/// The shortest time between a bundle's messages when it has something critical to say.
const CRITICAL_INTERVAL: Duration = Duration::from_secs(10);

/// Waits and repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the first of a bundle waits for company.
    pub first_wait: Duration,
    /// How long a critical one does.
    pub critical_wait: Duration,
    /// The time between two messages of one bundle.
    pub interval: Duration,
    /// After how long an unacknowledged alert is told again; doubles each time.
    pub repeat: Duration,
    /// The longest time between two repeats.
    pub repeat_max: Duration,
    /// How long a message is tried.
    pub give_up: Duration,
    /// How long messages are kept.
    pub keep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let config = super::NotifyConfig::default();
        Pace {
            first_wait: config.first_wait,
            critical_wait: config.critical_wait,
            interval: config.interval,
            repeat: config.repeat,
            repeat_max: config.repeat_max,
            give_up: config.give_up,
            keep: config.keep,
        }
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// An alert as it is when it is told.
    Alert(AlertId),
    /// The event that made this version of a case.
    Case(CaseId, u32),
    /// A trouble of the hub as it is when it is told.
    Trouble(TroubleId),
}

/// Something that waits to be told on a channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    pub(super) event: EventKind,
    /// What is told together.
    pub(super) bundle: String,
    /// The asset or device: a place in "5 alerts in 2 places".
    pub(super) root: String,
    pub(super) severity: Severity,
    pub(super) since: Timestamp,
}

/// What becomes one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) subjects: Vec<Subject>,
    pub(super) bundles: Vec<String>,
    /// It takes from the second half of the budget: whatever was due then, however many bundles.
    pub(super) is_merged: bool,
}

/// What a channel may still send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) per_minute: u32,
    /// Attempts of the last minute, and messages that wait for theirs.
    pub(super) used: u32,
    pub(super) merged_at: Option<Timestamp>,
    /// A merged message has not been sent yet: what is due joins the next one.
    pub(super) merged_waits: bool,
}

impl Pace {
    /// When something that waits since then is told, given when its bundle was told last.
    pub(super) fn due(&self, pending: &Pending, told_at: Option<Timestamp>) -> Timestamp {
        let is_urgent = pending.severity == Severity::Critical || pending.event == EventKind::Test;
        let is_case = pending.event.as_str().starts_with("case.");
        let (wait, interval) = match is_urgent || is_case {
            true => (self.critical_wait, CRITICAL_INTERVAL.min(self.interval)),
            false => (self.first_wait, self.interval),
        };
        let waited = pending.since.plus(wait);
        told_at.map_or(waited, |told| waited.max(told.plus(interval)))
    }

    /// How long an alert that was told `repeats` times again waits for the next time.
    pub(super) fn repeat_after(&self, repeats: u32) -> Duration {
        let factor = 1_u32.checked_shl(repeats).unwrap_or(u32::MAX);
        self.repeat.saturating_mul(factor).min(self.repeat_max)
    }
}

/// What is to be told now, the worst first. `pending` are those that nothing holds back, `told` when each bundle was told
/// last.
pub(super) fn batches<'p>(
    pending: impl Iterator<Item = (&'p Subject, &'p Pending)>,
    told: &HashMap<String, Timestamp>,
    room: Room,
    pace: &Pace,
    now: Timestamp,
) -> Vec<Batch> {
    let mut bundles: BTreeMap<&str, Bundle> = BTreeMap::new();
    for (&subject, item) in pending {
        let bundle = bundles.entry(&item.bundle).or_insert_with(|| Bundle::new(&item.bundle));
        bundle.is_due |= pace.due(item, told.get(&item.bundle).copied()) <= now;
        bundle.worst = bundle.worst.max(item.severity);
        bundle.since = bundle.since.min(item.since);
        bundle.subjects.push(subject);
    }
    let mut due: Vec<Bundle> = bundles.into_values().filter(|bundle| bundle.is_due).collect();
    due.sort_by(|a, b| b.worst.cmp(&a.worst).then(a.since.cmp(&b.since)).then(a.name.cmp(b.name)));
    let half = room.per_minute / 2;
    let single = half.saturating_sub(room.used) as usize;
    let rest = due.split_off(single.min(due.len()));
    let mut batches: Vec<Batch> =
        due.into_iter().map(|bundle| merge(vec![bundle], false)).collect();
    let spacing = WINDOW / room.per_minute.saturating_sub(half).max(1);
    let may_merge = !room.merged_waits
        && room.used.saturating_add(batches.len() as u32) < room.per_minute
        && room.merged_at.is_none_or(|at| at > now || now.since(at) >= spacing);
    if !rest.is_empty() && may_merge {
        batches.push(merge(rest, true));
    }
    batches
}

struct Bundle<'p> {
    name: &'p str,
    subjects: Vec<Subject>,
    is_due: bool,
    worst: Severity,
    since: Timestamp,
}

impl<'p> Bundle<'p> {
    fn new(name: &'p str) -> Self {
        let since = Timestamp::from_micros(i64::MAX);
        Bundle { name, subjects: Vec::new(), is_due: false, worst: Severity::Info, since }
    }
}

fn merge(bundles: Vec<Bundle<'_>>, is_merged: bool) -> Batch {
    Batch {
        is_merged,
        bundles: bundles.iter().map(|bundle| bundle.name.to_owned()).collect(),
        subjects: bundles.into_iter().flat_map(|bundle| bundle.subjects).collect(),
    }
}

/// The attempts of the last minute, by their end.
#[derive(Debug, Default)]
pub(super) struct Spent(VecDeque<Timestamp>);

impl Spent {
    /// An attempt ended.
    pub(super) fn add(&mut self, ended: Timestamp) {
        self.0.push_back(ended);
    }

    /// How many ended in the last minute. One that ended after `now` (the clock was put back) counts as if it ended now.
    pub(super) fn used(&mut self, now: Timestamp) -> u32 {
        self.0.retain_mut(|ended| {
            *ended = (*ended).min(now);
            now.since(*ended) < WINDOW
        });
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_790_000_000 + seconds)
    }

    fn item(bundle: &str, severity: Severity, since: i64) -> Pending {
        Pending {
            event: EventKind::Raised,
            bundle: bundle.to_owned(),
            root: "asset:a".to_owned(),
            severity,
            since: at(since),
        }
    }

    fn room(used: u32) -> Room {
        Room { per_minute: 20, used, merged_at: None, merged_waits: false }
    }

    fn run(
        pending: &BTreeMap<Subject, Pending>,
        told: &HashMap<String, Timestamp>,
        room: Room,
        now: i64,
    ) -> Vec<(usize, bool)> {
        let batches = batches(pending.iter(), told, room, &Pace::default(), at(now));
        batches.iter().map(|batch| (batch.subjects.len(), batch.is_merged)).collect()
    }

    fn alert(number: u64) -> Subject {
        Subject::Alert(AlertId(number))
    }

    #[test]
    fn the_first_waits_for_company_and_then_there_is_one_message_in_five_minutes() {
        let mut pending = BTreeMap::from([(alert(1), item("west", Severity::Major, 0))]);
        let mut told = HashMap::new();
        assert_eq!(run(&pending, &told, room(0), 9), []);
        pending.insert(alert(2), item("west", Severity::Minor, 8));
        assert_eq!(run(&pending, &told, room(0), 10), [(2, false)]);
        told.insert("west".to_owned(), at(10));
        let pending = BTreeMap::from([(alert(3), item("west", Severity::Major, 11))]);
        assert_eq!(run(&pending, &told, room(0), 309), []);
        assert_eq!(run(&pending, &told, room(0), 310), [(1, false)]);
    }

    #[test]
    fn a_critical_one_waits_a_second_and_takes_its_bundle_along() {
        let mut pending = BTreeMap::from([(alert(1), item("west", Severity::Minor, 0))]);
        let mut told = HashMap::new();
        pending.insert(alert(2), item("west", Severity::Critical, 2));
        assert_eq!(run(&pending, &told, room(0), 2), []);
        assert_eq!(run(&pending, &told, room(0), 3), [(2, false)]);
        told.insert("west".to_owned(), at(3));
        let pending = BTreeMap::from([(alert(3), item("west", Severity::Critical, 4))]);
        assert_eq!(run(&pending, &told, room(0), 12), []);
        assert_eq!(run(&pending, &told, room(0), 13), [(1, false)]);
    }

    #[test]
    fn half_the_budget_is_for_single_bundles_and_the_rest_is_merged_and_spaced() {
        let bundles = (0..30_u64).map(|n| {
            let severity = if n == 29 { Severity::Critical } else { Severity::Major };
            (alert(n), item(&format!("zone-{n}"), severity, 0))
        });
        let pending: BTreeMap<_, _> = bundles.collect();
        let told = HashMap::new();
        let made = batches(pending.iter(), &told, room(0), &Pace::default(), at(10));
        assert_eq!(made.len(), 11);
        assert_eq!(made[0].subjects, [alert(29)], "the worst first");
        assert_eq!((made[10].subjects.len(), made[10].is_merged), (20, true));
        assert_eq!(run(&pending, &told, room(9), 10), [(1, false), (29, true)]);
        assert_eq!(run(&pending, &told, room(19), 10), [(30, true)]);
        assert_eq!(run(&pending, &told, room(20), 10), []);
        let merged_at = |seconds| Room { merged_at: Some(at(seconds)), ..room(12) };
        assert_eq!(run(&pending, &told, merged_at(5), 10), []);
        assert_eq!(run(&pending, &told, merged_at(4), 10), [(30, true)]);
        assert_eq!(
            run(&pending, &told, merged_at(60), 10),
            [(30, true)],
            "a clock that was put back"
        );
        assert_eq!(run(&pending, &told, Room { merged_waits: true, ..room(12) }, 10), []);
    }

    #[test]
    fn repeats_double_up_to_their_longest() {
        let minutes = |repeats| Pace::default().repeat_after(repeats).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 40].map(minutes), [30, 60, 120, 240, 240, 240]);
    }

    proptest! {
        // Each walk is two thousand seconds long.
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever comes when: no more than the limit in any minute, every due bundle in one batch, nothing twice.
        #[test]
        fn no_minute_has_more_messages_than_the_limit(
            arrivals in prop::collection::vec((0_i64..400, 0_u64..40, 0_usize..4), 1..300),
            per_minute in 2_u32..21,
        ) {
            let mut arrivals = arrivals;
            arrivals.sort_unstable();
            let mut waiting: BTreeMap<Subject, Pending> = BTreeMap::new();
            let mut told = HashMap::new();
            let (mut spent, mut merged_at) = (Spent::default(), None);
            let (mut sent, mut mentioned) = (Vec::new(), 0);
            let total = arrivals.len();
            let mut coming = arrivals.into_iter().enumerate().peekable();
            for second in 0..2_000 {
                let now = at(second);
                while let Some((number, (_, zone, severity))) = coming.next_if(|(_, (when, ..))| *when <= second) {
                    let item = item(&format!("zone-{zone}"), Severity::ALL[severity], second);
                    waiting.insert(alert(number as u64), item);
                }
                let room = Room { per_minute, used: spent.used(now), merged_at, merged_waits: false };
                for batch in batches(waiting.iter(), &told, room, &Pace::default(), now) {
                    for subject in &batch.subjects {
                        prop_assert!(waiting.remove(subject).is_some(), "{subject:?} twice");
                        mentioned += 1;
                    }
                    told.extend(batch.bundles.iter().map(|bundle| (bundle.clone(), now)));
                    if batch.is_merged {
                        merged_at = Some(now);
                    }
                    spent.add(now);
                    sent.push(second);
                }
            }
            prop_assert_eq!(mentioned, total, "one was never mentioned");
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..].iter().filter(|second| *second - first < 60).count();
                prop_assert!(within as u32 <= per_minute, "{} in the minute from {}", within, first);
            }
        }
    }
}
