//! What a device's points say about each other: derived points, and quality rules.
//!
//! Runs after a report's own readings are measured. A derived point comes when one of its inputs came; the others
//! stand in with the newest value that the device is known to have had by then. A report from the past is computed from
//! itself alone: what the hub believes now was not known then.

use crate::model::{Grade, Measurement, PointIndex, Quality, Reading, Reason, SeriesId, Timestamp};
use crate::profile::expr::{Expr, Operand};
use crate::profile::{Derived, Logic, Profile, QualityRule};

use super::point::{self, PointTrack};
use super::{Tally, Track};

/// A decimal that is as near as this share is the one that was meant: 1.243 - 0.9 is 0.343.
const NOISE: f64 = 1e-14;

/// The newest values of a device's points; empty for a profile that computes nothing.
#[derive(Debug)]
pub(super) struct Memory {
    slots: Box<[Slot]>,
    /// Counts reports, so that nothing has to be wiped between them.
    report: u64,
}

/// What is known of one point.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    newest: Option<(Timestamp, Operand)>,
    /// The last report that it came in, and where its measurement stands there.
    report: u64,
    place: usize,
}

/// When a report is of.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) observed_at: Timestamp,
    pub(super) received_at: Timestamp,
    /// Whether it tells of the past.
    pub(super) is_history: bool,
}

/// A report that is being completed.
pub(super) struct Report<'a> {
    pub(super) profile: &'a Profile,
    pub(super) track: &'a mut Track,
    pub(super) series: &'a [SeriesId],
    pub(super) moment: Moment,
    pub(super) measured: &'a mut Vec<Measurement>,
    /// Where its measurements begin.
    pub(super) begin: usize,
    pub(super) tally: &'a mut Tally,
}

impl Memory {
    pub(super) fn of(profile: &Profile) -> Self {
        let slots = if profile.logic.is_empty() { 0 } else { profile.points.len() };
        Memory { slots: vec![Slot::default(); slots].into(), report: 0 }
    }

    pub(super) fn remember(&mut self, point: PointIndex, at: Timestamp, known: Operand) {
        let Some(slot) = self.slots.get_mut(usize::from(point.0)) else { return };
        if slot.newest.is_none_or(|(newest, _)| newest <= at) {
            slot.newest = Some((at, known));
        }
    }

    fn came_in(&mut self, point: PointIndex, place: usize) {
        if let Some(slot) = self.slots.get_mut(usize::from(point.0)) {
            slot.report = self.report;
            slot.place = place;
        }
    }

    /// Where a point's measurement of this report stands.
    fn place(&self, point: PointIndex) -> Option<usize> {
        let slot = self.slots.get(usize::from(point.0))?;
        (slot.report == self.report).then_some(slot.place)
    }

    /// A point's value for this report.
    fn value(
        &self,
        point: PointIndex,
        logic: &Logic,
        moment: Moment,
        measured: &[Measurement],
    ) -> Option<Operand> {
        if let Some(here) = self.place(point).and_then(|place| measured.get(place)) {
            return Some(Operand { value: here.value, quality: here.quality });
        }
        let (at, known) = self.slots.get(usize::from(point.0))?.newest?;
        if moment.is_history || at > moment.observed_at {
            return None;
        }
        let max_age = logic.max_age.get(usize::from(point.0))?;
        if moment.observed_at.since(at) <= *max_age {
            return Some(known);
        }
        let stale = Quality::uncertain(Reason::Stale);
        Some(Operand { quality: known.quality.worst(stale), ..known })
    }
}

impl Report<'_> {
    /// Computes what follows from its measurements, which were made of `readings`; appends to them.
    pub(super) fn complete(mut self, readings: &[Reading]) {
        if self.measured.len() == self.begin {
            return;
        }
        let logic = &self.profile.logic;
        self.take_up(readings);
        logic.early_rules.iter().for_each(|rule| self.apply(rule));
        logic.derived.iter().for_each(|derived| self.derive(derived));
        logic.late_rules.iter().for_each(|rule| self.apply(rule));
        self.remember(readings);
    }

    /// Notes where the readings' measurements stand: in the same order, those left out that were not handed on.
    fn take_up(&mut self, readings: &[Reading]) {
        self.track.memory.report += 1;
        let mut place = 0;
        for reading in readings {
            let series = self.series.get(usize::from(reading.point.0));
            let here = self.measured.get(self.begin + place);
            if here.is_some_and(|here| Some(&here.series) == series) {
                self.track.memory.came_in(reading.point, place);
                place += 1;
            }
        }
    }

    fn eval(&self, expr: &Expr) -> Option<Operand> {
        let (logic, measured) = (&self.profile.logic, &self.measured[self.begin..]);
        expr.eval(&|point| self.track.memory.value(point, logic, self.moment, measured))
    }

    fn derive(&mut self, derived: &Derived) {
        let index = usize::from(derived.point.0);
        let is_news = |input: &PointIndex| self.track.memory.place(*input).is_some();
        let (Some(point), Some(&series)) = (self.profile.points.get(index), self.series.get(index))
        else {
            return;
        };
        let newest = self.track.points.get(index).and_then(PointTrack::newest);
        let observed_at = self.moment.observed_at;
        // Two reports of one time: the first one's value stands, as for every series.
        if newest == Some(observed_at) || !derived.expr.inputs().iter().any(is_news) {
            return;
        }
        let Some(computed) = self.eval(&derived.expr) else { return };
        let value = tidy(computed.value);
        let is_late = self.moment.is_history || newest.is_some_and(|newest| observed_at < newest);
        let Some(point_track) = self.track.points.get_mut(index) else { return };
        let quality = match computed.quality {
            bad if bad.grade == Grade::Bad => bad,
            inherited => point::judge_value(value, point)
                .or_else(|| {
                    let is_good = inherited.grade == Grade::Good;
                    is_good.then(|| point_track.doubt(value, observed_at, is_late, point))?
                })
                .unwrap_or(if is_late { inherited.worst(Quality::LATE) } else { inherited }),
        };
        point_track.remember(observed_at, value, quality);
        self.tally.count(quality, is_late);
        self.track.memory.came_in(derived.point, self.measured.len() - self.begin);
        let received_at = self.moment.received_at;
        self.measured.push(Measurement { series, quality, observed_at, received_at, value });
    }

    /// Marks what came in this report, if the rule's condition holds as far as anybody can tell.
    fn apply(&mut self, rule: &QualityRule) {
        let is_here = |point: &PointIndex| self.track.memory.place(*point).is_some();
        if !rule.mark.iter().any(is_here) {
            return;
        }
        let holds = self
            .eval(&rule.when)
            .is_some_and(|condition| condition.is_true() && condition.quality.grade != Grade::Bad);
        if !holds {
            return;
        }
        for point in &rule.mark {
            let Some(place) = self.track.memory.place(*point) else { continue };
            let Some(marked) = self.measured.get_mut(self.begin + place) else { continue };
            if rule.quality.grade <= marked.quality.grade {
                continue;
            }
            self.tally.recount(marked.quality, rule.quality);
            marked.quality = rule.quality;
            if let Some(track) = self.track.points.get_mut(usize::from(point.0)) {
                track.distrust(marked.observed_at);
            }
        }
    }

    /// Takes the report's last word up into what is known.
    fn remember(&mut self, readings: &[Reading]) {
        let derived = self.profile.logic.derived.iter().map(|derived| derived.point);
        for point in readings.iter().map(|reading| reading.point).chain(derived) {
            let Some(place) = self.track.memory.place(point) else { continue };
            let Some(m) = self.measured.get(self.begin + place) else { continue };
            let known = Operand { value: m.value, quality: m.quality };
            self.track.memory.remember(point, m.observed_at, known);
        }
    }
}

/// The decimal that was meant where binary arithmetic missed it by a hair: it costs the store fewer bits, and people
/// read it.
fn tidy(value: f64) -> f64 {
    const DECIMALS: f64 = 1e9;
    let decimal = (value * DECIMALS).round() / DECIMALS;
    if (decimal - value).abs() <= NOISE * value.abs().max(1.0) { decimal } else { value }
}
