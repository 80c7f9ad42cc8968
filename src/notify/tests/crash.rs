//! Killed between any two steps: at least once, under the same key, nothing lost, nothing made twice, never over the limit.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The limit of the channel here: small, so that walks meet it.
const LIMIT: u32 = 6;

#[derive(Debug, Clone, Copy)]
enum Act {
    Raise(u8),
    Clear(u8),
    Acknowledge(u8),
    Wait(u16),
    /// Killed here.
    Kill,
    /// The next message is taken, refused for now, throttled, or the hub is killed while it is on its way: before or after
    /// its receiver has it.
    Send(Fate),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Taken,
    Failed,
    Throttled,
    KilledBefore,
    KilledAfter,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u8..12).prop_map(Act::Raise),
        2 => (0_u8..12).prop_map(Act::Clear),
        1 => (0_u8..12).prop_map(Act::Acknowledge),
        4 => (1_u16..120).prop_map(Act::Wait),
        1 => Just(Act::Kill),
        4 => prop_oneof![
            3 => Just(Fate::Taken),
            2 => Just(Fate::Failed),
            1 => Just(Fate::Throttled),
            1 => Just(Fate::KilledBefore),
            1 => Just(Fate::KilledAfter),
        ]
        .prop_map(Act::Send),
    ]
}

/// A receiver that keeps what came, and its hub.
struct World {
    town: Town,
    settings: Settings,
    post: Post,
    now: Timestamp,
    /// Number of the alert that each rule has open.
    alerts: BTreeMap<u8, u64>,
    acknowledged: BTreeSet<u64>,
    next: u64,
    /// How often each alert was raised.
    rings: BTreeMap<u64, usize>,
    /// What came under each key.
    inbox: BTreeMap<String, Vec<(EventKind, u64)>>,
    arrivals: Vec<Timestamp>,
}

impl World {
    fn new() -> Self {
        let town = Town::new();
        let mut settings = one_hook("interval = '30s'\nrepeat = '10min'");
        settings.channels[0].per_minute = LIMIT;
        let post = town.open(&settings, at(0));
        World {
            town,
            settings,
            post,
            now: at(0),
            alerts: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            next: 1,
            rings: BTreeMap::new(),
            inbox: BTreeMap::new(),
            arrivals: Vec::new(),
        }
    }

    fn kill(&mut self) {
        self.post = self.town.open(&self.settings, self.now);
    }

    fn act(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Raise(rule) => {
                if let std::collections::btree_map::Entry::Vacant(free) = self.alerts.entry(rule) {
                    let id = *free.insert(self.next);
                    self.next += 1;
                    let severity = Severity::ALL[usize::from(rule % 4)];
                    // Roots of their own: what inhibition does is tested elsewhere.
                    self.town.raise(raised(id, severity, &format!("z{}:a{rule}", rule % 3)), now);
                    self.rings.insert(id, 1);
                }
            }
            Act::Clear(rule) => {
                if let Some(id) = self.alerts.remove(&rule) {
                    self.town.clear(id, now);
                }
            }
            Act::Acknowledge(rule) => {
                if let Some(&id) = self.alerts.get(&rule)
                    && self.acknowledged.insert(id)
                {
                    self.town.acknowledge(id, now);
                }
            }
            Act::Wait(seconds) => self.now = now.plus(Duration::from_secs(u64::from(seconds))),
            Act::Kill => self.kill(),
            Act::Send(fate) => self.send(fate),
        }
    }

    fn send(&mut self, fate: Fate) {
        for job in self.post.step(self.now, &Map).unwrap() {
            let arrives = !matches!(fate, Fate::KilledBefore);
            if arrives {
                self.arrivals.push(self.now);
            }
            if matches!(fate, Fate::Taken | Fate::KilledAfter) {
                let former = self.inbox.insert(job.key.clone(), entries(&job));
                assert!(
                    former.is_none_or(|former| former == entries(&job)),
                    "other content under the same key"
                );
            }
            // It was on its way for a moment.
            self.now = self.now.plus(Duration::from_millis(300));
            let outcome = match fate {
                Fate::Taken => Ok(None),
                Fate::Failed => later("no"),
                Fate::Throttled => Err(Failure::Throttled {
                    why: "too many".into(),
                    wait: Duration::from_secs(120),
                }),
                Fate::KilledBefore | Fate::KilledAfter => return self.kill(),
            };
            self.post.done(&job, outcome, self.now).unwrap();
        }
    }

    /// Everybody listens again, for long enough that every pause and hold is over.
    fn settle(&mut self) {
        for _ in 0..500 {
            self.now = self.now.plus(Duration::from_millis(2_700));
            self.send(Fate::Taken);
        }
    }

    fn check(&self) {
        let mut told: BTreeMap<u64, usize> = BTreeMap::new();
        for (event, alert) in self.inbox.values().flatten() {
            if *event == EventKind::Raised {
                *told.entry(*alert).or_default() += 1;
            }
        }
        for (alert, times) in &told {
            assert!(*times <= self.rings[alert], "alert {alert} was told {times} times as new");
        }
        for id in self.alerts.values().filter(|id| !self.acknowledged.contains(id)) {
            assert_eq!(told.get(id), Some(&1), "alert {id} stands and was never told");
        }
        for (index, first) in self.arrivals.iter().enumerate() {
            let minute = |time: &&Timestamp| time.since(*first) < Duration::from_secs(60);
            let within = self.arrivals[index..].iter().filter(minute).count();
            assert!(within as u32 <= LIMIT, "{within} in a minute");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_kill_anywhere_loses_nothing_and_makes_nothing_twice(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_disk_that_says_no_changes_nothing_and_the_next_step_does_it() {
    let town = Town::new();
    let mut post = town.open(&one_hook(""), at(0));
    town.raise(raised(1, Severity::Major, "west:a"), at(0));
    assert_eq!(told(&mut post, at(0)), NOTHING);
    // The outbox refuses; what was followed stays followed, what was not made is made later.
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON notify_mention BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    town.db.execute_batch(trigger).unwrap();
    post.step(at(10), &Map).unwrap_err();
    post.step(at(11), &Map).unwrap_err();
    town.db.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(told(&mut post, at(12)), [vec![(EventKind::Raised, 1)]]);
    // A message whose end could not be written goes out again, under its key.
    post.test("hook", "wang", at(100)).unwrap();
    let job = post.step(at(100), &Map).unwrap().remove(0);
    let trigger = "CREATE TRIGGER full BEFORE UPDATE ON notify_message BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    town.db.execute_batch(trigger).unwrap();
    post.done(&job, Ok(None), at(101)).unwrap_err();
    town.db.execute_batch("DROP TRIGGER full").unwrap();
    let again = post.step(at(102), &Map).unwrap().remove(0);
    assert_eq!((again.key, again.attempt), (job.key, 2));
}
