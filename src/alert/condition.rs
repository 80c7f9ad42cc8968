//! One rule's condition: a pure state machine on event time. It reads no clock and knows no alert; what it says is an
//! edge that the engine turns into alerts.
//!
//! ```text
//!            beyond the limit         on-delay over
//!   Normal ------------------> Pending -----------> Active <------------------+
//!     ^  ^---------------------- | within clear       | within clear          | beyond the limit
//!     |                                               v                       |
//!     +------------------------------------------ Returning ------------------+
//!                   off-delay over
//! ```
//! A delay of zero skips its state. A reading holds until the next one: if the on-delay is over by the time that a
//! contradicting reading was observed, the condition was raised before it was contradicted, whether or not the clock
//! had a chance to say so. So the outcome does not hang on how often the hub looks at the clock.

use std::time::Duration;

use super::rule::{Rule, Verdict, further, verdict};
use crate::model::Timestamp;

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Condition {
    /// Nothing to say.
    #[default]
    Normal,
    /// Beyond the limit, not yet for long enough.
    Pending {
        /// When the first reading beyond the limit was observed.
        since: Timestamp,
        /// That reading's value.
        value: f64,
        /// The furthest value since.
        peak: Option<f64>,
    },
    /// Raised.
    Active {
        /// The furthest value since it began; `None` for states and silence.
        peak: Option<f64>,
    },
    /// Raised, and over, but not yet for long enough.
    Returning {
        /// When the first reading within the clear value was observed.
        since: Timestamp,
        /// As in `Active`: it is the same alert.
        peak: Option<f64>,
    },
}

/// What happens to a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// Time has come this far. Goes in before every reading, with the reading's `observed_at`.
    Elapsed { now: Timestamp },
    /// A reading that may raise and clear, later than any before it.
    Reading { at: Timestamp, value: f64 },
    /// The device has been silent for too long, since then.
    Silent { since: Timestamp },
    /// The device was heard.
    Heard,
}

/// What an event did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Transition {
    /// Nothing at all.
    Nothing,
    /// The condition moved, but nobody needs to know yet.
    Unseen,
    /// Still raised, with a new furthest value.
    Further(f64),
    /// It is raised.
    Raised { since: Timestamp, value: Option<f64>, peak: Option<f64> },
    /// It is over.
    Returned,
}

impl Condition {
    /// Whether people see it as active.
    pub(super) fn is_active(&self) -> bool {
        matches!(self, Condition::Active { .. } | Condition::Returning { .. })
    }

    /// When time alone will move it.
    pub(super) fn deadline(&self, rule: &Rule) -> Option<Timestamp> {
        match self {
            Condition::Normal | Condition::Active { .. } => None,
            Condition::Pending { since, .. } => Some(since.plus(rule.spec.on_delay)),
            Condition::Returning { since, .. } => Some(since.plus(rule.spec.off_delay)),
        }
    }

    /// Moves on one event.
    pub(super) fn apply(&mut self, rule: &Rule, event: Event) -> Transition {
        match event {
            Event::Elapsed { now } => self.elapse(rule, now),
            Event::Reading { at, value } => self.observe(rule, at, value),
            Event::Silent { since } if !self.is_active() => {
                *self = Condition::Active { peak: None };
                Transition::Raised { since, value: None, peak: None }
            }
            Event::Heard if self.is_active() => self.end(),
            Event::Silent { .. } | Event::Heard => Transition::Nothing,
        }
    }

    fn elapse(&mut self, rule: &Rule, now: Timestamp) -> Transition {
        if self.deadline(rule).is_none_or(|deadline| now < deadline) {
            return Transition::Nothing;
        }
        match *self {
            Condition::Pending { since, value, peak } => self.raise(since, value, peak),
            Condition::Returning { .. } => self.end(),
            Condition::Normal | Condition::Active { .. } => Transition::Nothing,
        }
    }

    fn observe(&mut self, rule: &Rule, at: Timestamp, value: f64) -> Transition {
        let said = verdict(&rule.spec.test, 0, value);
        match (*self, said) {
            (Condition::Normal, Verdict::Beyond) => {
                let peak = further(&rule.spec.test, None, value);
                if rule.spec.on_delay == Duration::ZERO {
                    return self.raise(at, value, peak);
                }
                self.move_to(Condition::Pending { since: at, value, peak })
            }
            (Condition::Pending { .. }, Verdict::Within) => self.move_to(Condition::Normal),
            (Condition::Pending { since, value: first, peak }, Verdict::Beyond) => {
                match further(&rule.spec.test, peak, value) {
                    None => Transition::Nothing,
                    peak => self.move_to(Condition::Pending { since, value: first, peak }),
                }
            }
            (Condition::Active { .. }, Verdict::Within)
                if rule.spec.off_delay == Duration::ZERO =>
            {
                self.end()
            }
            (Condition::Active { peak }, Verdict::Within) => {
                self.move_to(Condition::Returning { since: at, peak })
            }
            (Condition::Active { peak }, Verdict::Beyond) => {
                match further(&rule.spec.test, peak, value) {
                    None => Transition::Nothing,
                    Some(peak) => self.go_further(peak),
                }
            }
            (Condition::Returning { peak, .. }, Verdict::Beyond) => {
                match further(&rule.spec.test, peak, value) {
                    None => self.move_to(Condition::Active { peak }),
                    Some(peak) => self.go_further(peak),
                }
            }
            (_, Verdict::Between)
            | (Condition::Normal | Condition::Returning { .. }, Verdict::Within) => {
                Transition::Nothing
            }
        }
    }

    fn raise(&mut self, since: Timestamp, value: f64, peak: Option<f64>) -> Transition {
        *self = Condition::Active { peak };
        Transition::Raised { since, value: Some(value), peak }
    }

    fn end(&mut self) -> Transition {
        *self = Condition::Normal;
        Transition::Returned
    }

    fn go_further(&mut self, peak: f64) -> Transition {
        *self = Condition::Active { peak: Some(peak) };
        Transition::Further(peak)
    }

    fn move_to(&mut self, next: Condition) -> Transition {
        *self = next;
        Transition::Unseen
    }
}
