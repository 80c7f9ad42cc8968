//! Where a rule stands: one condition for each of its steps, and what they amount to together.

use super::condition::{Condition, Said, Transition};
use super::rule::{Verdict, further, verdict};
use crate::model::{Grade, Severity, Timestamp};
use crate::profile::{AlertSpec, AlertTest};

/// The most steps: every severity once.
pub(super) const MAX_STEPS: usize = Severity::ALL.len();

/// The steps' conditions, mildest first. Those beyond the rule's own steps stay normal.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ladder {
    steps: [Condition; MAX_STEPS],
}

/// What a reading says to a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Says {
    /// A value for limits and states. Uncertain keeps what is active, and raises and clears nothing.
    Value(f64, Grade),
    /// What was found out already, and since when it is so.
    Verdict(Verdict, Timestamp),
}

/// The values with which a rule became active, or a step of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Onset {
    pub(super) since: Timestamp,
    pub(super) value: Option<f64>,
    pub(super) peak: Option<f64>,
}

/// What an event did to a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Moved {
    /// Anything at all.
    pub(super) any: bool,
    /// The highest step that was active before.
    pub(super) was: Option<usize>,
    /// The highest step that is active now.
    pub(super) is: Option<usize>,
    /// Of the steps that were raised: the earliest.
    pub(super) onset: Option<Onset>,
    /// A new furthest value.
    pub(super) further: Option<f64>,
}

/// What is known of a ladder from before: on disk, or by the rule that a changed one replaces.
#[derive(Debug, Clone, Default)]
pub(super) struct Former {
    /// Its alert is active, at this severity, with this peak.
    pub(super) active: Option<(Severity, Option<f64>)>,
    /// The steps that stand otherwise than the alert says. No severity: the only step.
    pub(super) steps: Vec<(Option<Severity>, Condition)>,
}

impl Ladder {
    /// Takes up what is known of it. A step whose severity is new stands as the alert says; a rule of one step keeps its
    /// only condition whatever its severity is now.
    pub(super) fn take_up(spec: &AlertSpec, former: &Former) -> Self {
        let mut ladder = Ladder::default();
        let own = spec.test.steps().min(MAX_STEPS);
        if let Some((severity, peak)) = former.active {
            for (step, condition) in ladder.steps[..own].iter_mut().enumerate() {
                // Active without any step is not possible: then it is the mildest.
                if step == 0 || spec.test.severity(step) <= severity {
                    *condition = Condition::Active { peak };
                }
            }
        }
        for &(severity, condition) in &former.steps {
            let same = (0..own).find(|&step| Some(spec.test.severity(step)) == severity);
            let only = (own == 1 && former.steps.len() == 1).then_some(0);
            if let Some(step) = same.or(only) {
                ladder.steps[step] = condition;
            }
        }
        ladder
    }

    /// The highest active step.
    pub(super) fn active(&self) -> Option<usize> {
        self.steps.iter().rposition(Condition::is_active)
    }

    /// Whether only a value beyond the nearest limit can move it.
    pub(super) fn is_normal(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Condition::Normal))
    }

    /// When time alone will move it.
    pub(super) fn deadline(&self, spec: &AlertSpec) -> Option<Timestamp> {
        self.steps.iter().filter_map(|step| step.deadline(spec)).min()
    }

    /// The steps that stand otherwise than an alert says that is active at this severity, or not active.
    pub(super) fn unlike(
        &self,
        spec: &AlertSpec,
        active: Option<(Severity, Option<f64>)>,
    ) -> impl Iterator<Item = (Severity, &Condition)> {
        let own = spec.test.steps().min(MAX_STEPS);
        let plain = Ladder::take_up(spec, &Former { active, steps: Vec::new() });
        let steps = self.steps[..own].iter().enumerate();
        let unlike = steps.filter(move |(step, condition)| **condition != plain.steps[*step]);
        unlike.map(|(step, condition)| (spec.test.severity(step), condition))
    }

    /// Lets time pass to its own next deadline.
    pub(super) fn elapse(&mut self, spec: &AlertSpec, deadline: Timestamp) -> Moved {
        self.each(|_, step| step.elapse(spec, deadline))
    }

    /// Takes a reading.
    pub(super) fn observe(&mut self, spec: &AlertSpec, at: Timestamp, says: Says) -> Moved {
        let own = spec.test.steps().min(MAX_STEPS);
        match says {
            Says::Value(value, grade) => {
                let said = Said { at, since: at, value };
                self.each(|i, step| match i < own {
                    true => step.observe(spec, said, graded(&spec.test, i, value, grade)),
                    false => Transition::Nothing,
                })
            }
            Says::Verdict(verdict, since) => {
                let said = Said { at, since, value: f64::NAN };
                self.each(|i, step| match i {
                    0 => step.observe(spec, said, verdict),
                    _ => Transition::Nothing,
                })
            }
        }
    }

    /// The device has been silent for too long, since then.
    pub(super) fn fall_silent(&mut self, since: Timestamp) -> Moved {
        self.each(|i, step| if i == 0 { step.fall_silent(since) } else { Transition::Nothing })
    }

    /// The device was heard.
    pub(super) fn be_heard(&mut self) -> Moved {
        self.each(|_, step| step.be_heard())
    }

    /// Its alert's peak is that of all its active steps.
    pub(super) fn set_peak(&mut self, furthest: Option<f64>) {
        for step in &mut self.steps {
            if let Condition::Active { peak } | Condition::Returning { peak, .. } = step {
                *peak = furthest;
            }
        }
    }

    fn each(&mut self, mut event: impl FnMut(usize, &mut Condition) -> Transition) -> Moved {
        let mut moved = Moved { was: self.active(), ..Moved::default() };
        for (i, step) in self.steps.iter_mut().enumerate() {
            match event(i, step) {
                Transition::Nothing => continue,
                Transition::Unseen | Transition::Returned => {}
                // Active steps have the same peak, so all of them go as far.
                Transition::Further(peak) => moved.further = Some(peak),
                Transition::Raised { since, value, peak } => {
                    let is_earlier = moved.onset.is_none_or(|onset| since < onset.since);
                    if is_earlier {
                        moved.onset = Some(Onset { since, value, peak });
                    }
                }
            }
            moved.any = true;
        }
        moved.is = self.active();
        moved
    }
}

impl Onset {
    /// When nothing says how it began.
    pub(super) fn unknown(since: Timestamp) -> Self {
        Onset { since, value: None, peak: None }
    }
}

impl Moved {
    /// Whether people would see another step than before.
    pub(super) fn is_edge(&self) -> bool {
        self.was != self.is
    }

    /// The furthest value that came with it.
    pub(super) fn peak(&self, test: &AlertTest) -> Option<f64> {
        let onset = self.onset.and_then(|onset| onset.peak);
        self.further.filter(|&value| further(test, onset, value).is_some()).or(onset)
    }
}

/// Only Good raises and clears; Uncertain keeps; Bad says nothing.
fn graded(test: &AlertTest, step: usize, value: f64, grade: Grade) -> Verdict {
    match (grade, verdict(test, step, value)) {
        (Grade::Good, verdict) => verdict,
        (Grade::Uncertain, Verdict::Beyond) => Verdict::Keep,
        (Grade::Uncertain | Grade::Bad, _) => Verdict::Between,
    }
}
