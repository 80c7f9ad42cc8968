//! Whose turn it is on a bus: due times, back-off and the state of every unit. Synchronous and without
//! I/O: the bus asks [`Schedule::next`], does it, and says how it went.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::model::DeviceId;

use super::UnitPlan;
use super::lessons::Refusals;
use super::planner::Plan;

/// The first wait after a miss.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait: a unit that was repaired is heard again within a minute.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The first polls of all units are spread over this time (or over their period, if that is shorter):
/// long enough not to wake a whole town at once, short enough that nobody waits a quarter of an hour
/// for the first value of a slow point.
const FIRST_POLL_SPREAD: Duration = Duration::from_secs(10);

/// One rate of one unit. Good until the next [`Schedule::reconcile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    unit: usize,
    poll: usize,
}

/// The units of one bus and when each is to be polled.
#[derive(Debug)]
pub(super) struct Schedule {
    units: Vec<Unit>,
    /// Runs while nobody answers at `host:port` at all.
    endpoint: Backoff,
    /// For jitter only.
    rng: StdRng,
}

#[derive(Debug)]
struct Unit {
    /// What the profile says.
    base: Arc<UnitPlan>,
    /// What is asked: the same, less what the device has taught us to leave alone.
    plan: Arc<UnitPlan>,
    refusals: Refusals,
    /// It has answered a question of this plan with values.
    has_answered: bool,
    link: Link,
    backoff: Backoff,
    /// By poll of the plan.
    due: Vec<Instant>,
}

/// What is known of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Not asked yet.
    Unknown,
    /// The last poll was answered.
    Up,
    /// The last poll was not answered, and the hub has been told.
    Down,
}

/// What a poll that was answered to its end changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed {
    /// The unit was not up before.
    pub(super) came_up: bool,
    /// Due times that passed while the poll waited and ran.
    pub(super) overruns: u64,
}

/// What a miss changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// The unit was not down before.
    pub(super) went_down: bool,
    /// How long the unit is left alone.
    pub(super) backoff: Duration,
}

impl Schedule {
    /// An empty schedule. `seed` feeds the jitter.
    pub(super) fn new(seed: u64) -> Self {
        Schedule {
            units: Vec::new(),
            endpoint: Backoff::default(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Takes over a new list of units. A unit whose plan is the same goes on as if nothing had happened;
    /// one with another plan keeps its link and its back-off.
    pub(super) fn reconcile(&mut self, plans: &[Arc<UnitPlan>], now: Instant) {
        let mut known = std::mem::take(&mut self.units);
        for plan in plans {
            let same = |unit: &Unit| unit.base.device == plan.device && unit.base.unit == plan.unit;
            let known = known.iter().position(same).map(|i| known.swap_remove(i));
            self.units.push(match known {
                Some(unit) if unit.base == *plan => unit,
                Some(Unit { link, backoff, .. }) => Unit { link, backoff, ..Unit::new(plan, now) },
                None => Unit::new(plan, now),
            });
        }
    }

    /// The next turn and when it is to be taken; `None` when there are no units. The poll that has been due
    /// for longest comes first, so a bus that is too slow for its polls serves them in turn.
    pub(super) fn next(&self) -> Option<(Instant, Turn)> {
        let turns = self.units.iter().enumerate().flat_map(|(u, unit)| {
            unit.due.iter().enumerate().map(move |(p, &due)| {
                let ready = due.max(unit.backoff.until.unwrap_or(due));
                (ready.max(self.endpoint.until.unwrap_or(ready)), due, Turn { unit: u, poll: p })
            })
        });
        // A few hundred comparisons for each request, which takes a thousand times longer: no heap needed.
        turns.min_by_key(|&(ready, due, _)| (ready, due)).map(|(ready, _, turn)| (ready, turn))
    }

    /// The unit whose turn it is, and the number of the poll in its plan.
    pub(super) fn of(&self, turn: Turn) -> (Arc<UnitPlan>, usize) {
        (Arc::clone(&self.units[turn.unit].plan), turn.poll)
    }

    /// The plan in force of a device.
    pub(super) fn find(&self, device: &DeviceId) -> Option<Arc<UnitPlan>> {
        let unit = self.units.iter().find(|unit| unit.base.device == *device);
        unit.map(|unit| Arc::clone(&unit.plan))
    }

    /// What the unit has refused so far.
    pub(super) fn refusals(&mut self, turn: Turn) -> &mut Refusals {
        &mut self.units[turn.unit].refusals
    }

    /// The unit answered a question with values.
    pub(super) fn answered(&mut self, turn: Turn) {
        self.units[turn.unit].has_answered = true;
    }

    /// Whether the unit has ever answered with values: what it refuses then is about that question, not about it.
    pub(super) fn has_answered(&self, turn: Turn) -> bool {
        self.units[turn.unit].has_answered
    }

    /// The unit is asked by another plan from now on, with the same polls; until its profile changes.
    pub(super) fn teach(&mut self, turn: Turn, plan: Plan) -> Arc<UnitPlan> {
        let unit = &mut self.units[turn.unit];
        let UnitPlan { device, unit: number, .. } = &*unit.base;
        unit.plan =
            Arc::new(UnitPlan { device: device.clone(), unit: *number, plan: Arc::new(plan) });
        Arc::clone(&unit.plan)
    }

    /// Every block of the poll was answered.
    pub(super) fn completed(&mut self, turn: Turn, now: Instant) -> Completed {
        let unit = &mut self.units[turn.unit];
        let before = std::mem::replace(&mut unit.link, Link::Up);
        unit.backoff = Backoff::default();
        let skipped = unit.advance(turn.poll, now);
        // What a unit misses while it is left alone is no fault of the bus.
        let overruns = if before == Link::Down { 0 } else { skipped };
        Completed { came_up: before != Link::Up, overruns }
    }

    /// The unit did not answer: it alone is left alone for a while.
    pub(super) fn missed(&mut self, turn: Turn, now: Instant) -> Missed {
        let unit = &mut self.units[turn.unit];
        let before = std::mem::replace(&mut unit.link, Link::Down);
        unit.advance(turn.poll, now);
        let backoff = unit.backoff.miss(now, &mut self.rng);
        Missed { went_down: before != Link::Down, backoff }
    }

    /// Nobody answers at `host:port`: all units are down. Returns how long the endpoint is left alone and the
    /// units that were not down before.
    pub(super) fn unreachable(&mut self, now: Instant) -> (Duration, Vec<Arc<UnitPlan>>) {
        let backoff = self.endpoint.miss(now, &mut self.rng);
        let mut went_down = Vec::new();
        for unit in &mut self.units {
            if std::mem::replace(&mut unit.link, Link::Down) != Link::Down {
                went_down.push(Arc::clone(&unit.plan));
            }
        }
        (backoff, went_down)
    }

    /// A connection is open.
    pub(super) fn reachable(&mut self) {
        self.endpoint = Backoff::default();
    }
}

impl Unit {
    fn new(plan: &Arc<UnitPlan>, now: Instant) -> Self {
        Unit {
            base: Arc::clone(plan),
            plan: Arc::clone(plan),
            refusals: Refusals::default(),
            has_answered: false,
            link: Link::Unknown,
            backoff: Backoff::default(),
            due: first_due(plan, now),
        }
    }

    /// Moves a poll to its first due time after `now`; returns how many due times that skips.
    fn advance(&mut self, poll: usize, now: Instant) -> u64 {
        let period = self.plan.plan.polls[poll].period;
        let next = self.due[poll] + period;
        let skipped = match now.checked_duration_since(next) {
            Some(late) => late.as_nanos() / period.as_nanos() + 1,
            None => 0,
        };
        let skipped = u64::try_from(skipped).unwrap_or(u64::MAX);
        let period_nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        self.due[poll] = next + Duration::from_nanos(period_nanos.saturating_mul(skipped));
        skipped
    }
}

/// A growing wait.
#[derive(Debug, Default, Clone, Copy)]
struct Backoff {
    misses: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// One more miss: waits 1 s, 2 s, 4 s ... 60 s, each 20 % shorter or longer by chance.
    fn miss(&mut self, now: Instant, rng: &mut StdRng) -> Duration {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.misses.min(6)).min(LONGEST_BACKOFF);
        let wait =
            doubled.mul_f64(rng.random_range(0.8..1.2)).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
        self.misses = self.misses.saturating_add(1);
        self.until = Some(now + wait);
        wait
    }
}

/// When each poll of a new unit is due first: shifted by a hash of the device's id, the same after every
/// start, so that a bus with many units does not poll them in one burst.
fn first_due(plan: &UnitPlan, now: Instant) -> Vec<Instant> {
    let share = (hash(plan.device.as_str()) % 1_024) as f64 / 1_024.0;
    let shift = |period: Duration| period.min(FIRST_POLL_SPREAD).mul_f64(share);
    plan.plan.polls.iter().map(|poll| now + shift(poll.period)).collect()
}

/// FNV-1a with a final mix: ids that differ in their last digit land far apart. Not the standard library's
/// hasher, whose result may change with the compiler.
pub(super) fn hash(text: &str) -> u64 {
    let fold = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let h = text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    h ^ (h >> 32)
}

#[cfg(test)]
mod tests {
    use super::super::planner::{Plan, PollPlan};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unit(device: &str, unit: u8, periods: &[Duration]) -> Arc<UnitPlan> {
        let poll = |&period: &Duration| PollPlan {
            rate: format!("{period:?}"),
            period,
            blocks: Vec::new(),
            forbidden: Vec::new(),
        };
        let plan = Plan {
            polls: periods.iter().map(poll).collect(),
            timeout: SECOND,
            min_request_gap: Duration::ZERO,
            learned: Vec::new(),
        };
        Arc::new(UnitPlan { device: device.parse().unwrap(), unit, plan: Arc::new(plan) })
    }

    fn schedule(units: &[Arc<UnitPlan>], now: Instant) -> Schedule {
        let mut schedule = Schedule::new(7);
        schedule.reconcile(units, now);
        schedule
    }

    fn device(schedule: &Schedule, turn: Turn) -> String {
        schedule.of(turn).0.device.to_string()
    }

    #[test]
    fn first_polls_are_spread_and_the_grid_is_kept() {
        let start = Instant::now();
        let units: Vec<_> = (0..50).map(|i| unit(&format!("gate-{i:02}"), i, &[SECOND])).collect();
        let mut schedule = schedule(&units, start);
        let mut tenths = [0; 10];
        for _ in 0..50 {
            let (due, turn) = schedule.next().unwrap();
            tenths[(due - start).as_millis() as usize / 100] += 1;
            schedule.completed(turn, due);
        }
        assert!(tenths.iter().all(|&n| n <= 12), "{tenths:?}");
        let (again, _) = schedule.next().unwrap();
        assert!(again - start >= SECOND && again - start < 2 * SECOND);
    }

    #[test]
    fn a_slow_poll_does_not_wait_its_whole_period_for_its_first_value() {
        let now = Instant::now();
        let hour = unit("meter", 1, &[3_600 * SECOND]);
        assert!(first_due(&hour, now)[0] <= now + FIRST_POLL_SPREAD);
    }

    #[test]
    fn overruns_are_counted_and_skipped_not_queued() {
        let start = Instant::now();
        let mut schedule = schedule(&[unit("g", 1, &[SECOND])], start);
        let (due, turn) = schedule.next().unwrap();
        let done = schedule.completed(turn, due + SECOND / 2);
        assert_eq!(done, Completed { came_up: true, overruns: 0 });
        let (second, turn) = schedule.next().unwrap();
        assert_eq!(second, due + SECOND);
        // It ends 3.5 periods late: the due times after 1, 2 and 3 more periods are gone.
        let done = schedule.completed(turn, second + SECOND * 7 / 2);
        assert_eq!(done, Completed { came_up: false, overruns: 3 });
        assert_eq!(schedule.next().unwrap().0, second + 4 * SECOND);
    }

    #[test]
    fn the_poll_that_is_due_for_longest_comes_first() {
        let start = Instant::now();
        let units = [unit("a", 1, &[SECOND]), unit("b", 2, &[SECOND]), unit("c", 3, &[SECOND])];
        let mut schedule = schedule(&units, start);
        // The bus needs a second for each poll: three times too slow, so each gets every third slot.
        let mut now = start + SECOND;
        let mut turns = std::collections::HashMap::<String, u32>::new();
        for _ in 0..30 {
            let (_, turn) = schedule.next().unwrap();
            *turns.entry(device(&schedule, turn)).or_default() += 1;
            now += SECOND;
            schedule.completed(turn, now);
        }
        assert!(turns.values().all(|&n| (9..=11).contains(&n)), "{turns:?}");
    }

    #[test]
    fn misses_hold_back_their_unit_only_and_longer_each_time() {
        let start = Instant::now();
        let units = [unit("deaf", 1, &[SECOND]), unit("well", 2, &[SECOND])];
        let mut schedule = schedule(&units, start);
        let (mut waits, mut well, mut now) = (Vec::new(), 0, start);
        while waits.len() < 8 {
            let (ready, turn) = schedule.next().unwrap();
            now = now.max(ready);
            if device(&schedule, turn) == "deaf" {
                let missed = schedule.missed(turn, now);
                assert_eq!(missed.went_down, waits.is_empty());
                waits.push(missed.backoff);
            } else {
                assert_eq!(schedule.completed(turn, now).overruns, 0);
                well += 1;
            }
        }
        assert!(waits.iter().all(|w| (FIRST_BACKOFF..=LONGEST_BACKOFF).contains(w)), "{waits:?}");
        assert!(waits[..6].windows(2).all(|w| w[0] < w[1]), "{waits:?}");
        assert!(waits[7] >= 48 * SECOND, "{waits:?}");
        let elapsed = (now - start).as_secs();
        assert!(well >= elapsed, "{well} polls in {elapsed} s");
    }

    #[test]
    fn one_answer_ends_the_back_off() {
        let start = Instant::now();
        let mut schedule = schedule(&[unit("g", 1, &[SECOND])], start);
        for _ in 0..5 {
            let (ready, turn) = schedule.next().unwrap();
            schedule.missed(turn, ready);
        }
        let (ready, turn) = schedule.next().unwrap();
        assert!(ready - start > 10 * SECOND);
        assert_eq!(schedule.completed(turn, ready), Completed { came_up: true, overruns: 0 });
        assert!(schedule.next().unwrap().0 <= ready + SECOND);
        let (ready, turn) = schedule.next().unwrap();
        assert!(schedule.missed(turn, ready).backoff < SECOND * 3 / 2);
    }

    #[test]
    fn an_unreachable_endpoint_takes_its_units_down_once() {
        let start = Instant::now();
        let mut schedule = schedule(&[unit("a", 1, &[SECOND]), unit("b", 2, &[SECOND])], start);
        let (backoff, went_down) = schedule.unreachable(start);
        assert_eq!(went_down.len(), 2);
        assert!(schedule.next().unwrap().0 >= start + backoff);
        let (longer, went_down) = schedule.unreachable(start + backoff);
        assert!(went_down.is_empty() && longer > backoff);
        schedule.reachable();
        let (ready, turn) = schedule.next().unwrap();
        assert!(ready < start + backoff + longer, "all are due at once");
        assert!(schedule.completed(turn, start + backoff + longer).came_up);
    }

    #[test]
    fn a_unit_that_did_not_change_keeps_its_due_time_and_back_off() {
        let start = Instant::now();
        let (a, b) = (unit("a", 1, &[10 * SECOND]), unit("b", 2, &[10 * SECOND]));
        let mut schedule = schedule(&[Arc::clone(&a), Arc::clone(&b)], start);
        let (ready, turn) = schedule.next().unwrap();
        schedule.missed(turn, ready);
        let before = schedule.next();
        let names = |s: &Schedule| s.next().map(|(at, turn)| (at, device(s, turn)));
        let expected = names(&schedule);
        // The same plans by value, in another order, with a new unit that is due later.
        let new = unit("c", 3, &[10 * SECOND]);
        let same = |u: &UnitPlan| unit(u.device.as_str(), u.unit, &[10 * SECOND]);
        schedule.reconcile(&[new, same(&b), same(&a)], start + 60 * SECOND);
        assert!(before.is_some());
        assert_eq!(names(&schedule), expected);
        schedule.reconcile(&[], start);
        assert_eq!(schedule.next(), None);
    }
}
