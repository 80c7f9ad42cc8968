//! What one sensor said over a period.

use std::time::Duration;

use crate::model::Timestamp;

/// The cars that one sensor saw over a period, moment by moment; `None` where it is not known. A bay's sensor sees one car
/// or none, a counter at the gate all of a lot's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    to: Timestamp,
    /// Never empty; the first begins with the period, and no two neighbours are alike.
    steps: Vec<Step>,
}

/// From `at` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    at: Timestamp,
    cars: Option<u32>,
}

/// One car in one bay, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// Since when it is known to stand there.
    pub since: Timestamp,
    /// Until when; the period's end for one that stands there still.
    pub until: Timestamp,
    /// Whether it was seen to arrive: the bay was known to be free before.
    pub arrived: bool,
    /// Whether it was seen to leave.
    pub left: bool,
}

impl Timeline {
    /// What holds from `from` to `to`, by readings in the order of their times; those before `from` tell what held then. A
    /// reading holds until the next one, but not for longer than `stale_after`.
    pub fn new(
        from: Timestamp,
        to: Timestamp,
        stale_after: Duration,
        readings: impl IntoIterator<Item = (Timestamp, Option<u32>)>,
    ) -> Self {
        let mut line = Timeline { to, steps: vec![Step { at: from, cars: None }] };
        let mut holds_until = None;
        for (at, cars) in readings.into_iter().take_while(|(at, _)| *at < to) {
            line.fall_silent(holds_until.filter(|until| *until < at));
            line.push(at, cars);
            holds_until = cars.map(|_| at.plus(stale_after));
        }
        line.fall_silent(holds_until.filter(|until| *until < to));
        line
    }

    fn fall_silent(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.push(at, None);
        }
    }

    fn push(&mut self, at: Timestamp, cars: Option<u32>) {
        let first = self.steps[0].at;
        let at = at.max(first);
        if self.steps.last().is_some_and(|last| last.at >= at) {
            self.steps.pop();
        }
        if self.steps.last().is_none_or(|last| last.cars != cars) {
            self.steps.push(Step { at, cars });
        }
    }

    /// The cars at a moment of the period.
    pub fn at(&self, moment: Timestamp) -> Option<u32> {
        let after = self.steps.partition_point(|step| step.at <= moment);
        after.checked_sub(1).and_then(|index| self.steps[index].cars)
    }

    /// The parts of the period from `from` on, each with its beginning, its end and its cars.
    pub fn spans(
        &self,
        from: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, Timestamp, Option<u32>)> + '_ {
        let ends = self.steps.iter().skip(1).map(|step| step.at).chain([self.to]);
        let spans = self.steps.iter().zip(ends);
        spans
            .filter(move |(_, end)| *end > from)
            .map(move |(step, end)| (step.at.max(from), end, step.cars))
    }

    /// The moments at which what is known changes.
    pub fn changes(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.steps.iter().map(|step| step.at)
    }

    /// How often a car was seen to take the bay, from `from` on.
    pub fn arrivals(&self, from: Timestamp) -> u32 {
        let arrived = |pair: &&[Step]| pair[0].cars == Some(0) && pair[1].cars > Some(0);
        self.steps.windows(2).filter(|pair| pair[1].at >= from).filter(arrived).count() as u32
    }

    /// Every car of the period. A sensor's silence ends what is known of one: another may have come.
    pub fn stays(&self) -> impl Iterator<Item = Stay> + '_ {
        self.steps.iter().enumerate().filter(|(_, step)| step.cars > Some(0)).map(|(at, step)| {
            let before = at.checked_sub(1).and_then(|at| self.steps.get(at));
            let next = self.steps.get(at + 1);
            Stay {
                since: step.at,
                until: next.map_or(self.to, |next| next.at),
                arrived: before.is_some_and(|before| before.cars == Some(0)),
                left: next.is_some_and(|next| next.cars == Some(0)),
            }
        })
    }

    /// Whether the bay changed from `from` on; `None` when that is not known: it was not seen to change, and nothing is known
    /// of it at `from`.
    pub fn changed(&self, from: Timestamp) -> Option<bool> {
        let mut known = self.spans(from).filter_map(|(_, _, cars)| cars);
        let first = known.next()?;
        if known.any(|cars| cars != first) {
            return Some(true);
        }
        self.at(from).map(|_| false)
    }
}
