//! One step's condition: a pure state machine on event time. It reads no clock and knows no alert; what it says is an
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

use super::rule::{Verdict, further};
use crate::model::Timestamp;
use crate::profile::{AlertSpec, AlertTest};

/// Where a step stands.
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
        /// The furthest value since it began; `None` for all but limits.
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

/// What a reading that may raise and clear says, later than any before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    /// When it was observed.
    pub(super) at: Timestamp,
    /// Since when that is so: `at`, but for a flat line.
    pub(super) since: Timestamp,
    /// The value that was compared.
    pub(super) value: f64,
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
    pub(super) fn deadline(&self, spec: &AlertSpec) -> Option<Timestamp> {
        match self {
            Condition::Normal | Condition::Active { .. } => None,
            Condition::Pending { since, .. } => Some(since.plus(on_delay(spec))),
            Condition::Returning { since, .. } => Some(since.plus(spec.off_delay)),
        }
    }

    /// Time has come this far. Goes in before every reading, with the reading's `observed_at`.
    pub(super) fn elapse(&mut self, spec: &AlertSpec, now: Timestamp) -> Transition {
        if self.deadline(spec).is_none_or(|deadline| now < deadline) {
            return Transition::Nothing;
        }
        match *self {
            Condition::Pending { since, value, peak } => self.raise(since, value, peak),
            Condition::Returning { .. } => self.end(),
            Condition::Normal | Condition::Active { .. } => Transition::Nothing,
        }
    }

    /// Takes a reading.
    pub(super) fn observe(&mut self, spec: &AlertSpec, said: Said, verdict: Verdict) -> Transition {
        let Said { at, since: begun, value } = said;
        let further = |peak| further(&spec.test, peak, value);
        match (*self, verdict) {
            (Condition::Normal, Verdict::Beyond) => {
                let peak = further(None);
                if on_delay(spec) == Duration::ZERO {
                    return self.raise(begun, value, peak);
                }
                self.move_to(Condition::Pending { since: begun, value, peak })
            }
            (Condition::Pending { .. }, Verdict::Within) => self.move_to(Condition::Normal),
            (Condition::Pending { since, value: first, peak }, Verdict::Beyond) => {
                match further(peak) {
                    None => Transition::Nothing,
                    peak => self.move_to(Condition::Pending { since, value: first, peak }),
                }
            }
            (Condition::Active { .. }, Verdict::Within) if spec.off_delay == Duration::ZERO => {
                self.end()
            }
            (Condition::Active { peak }, Verdict::Within) => {
                self.move_to(Condition::Returning { since: at, peak })
            }
            (Condition::Active { peak }, Verdict::Beyond) => match further(peak) {
                None => Transition::Nothing,
                Some(peak) => self.go_further(peak),
            },
            (Condition::Returning { peak, .. }, Verdict::Beyond) => match further(peak) {
                None => self.move_to(Condition::Active { peak }),
                Some(peak) => self.go_further(peak),
            },
            (Condition::Returning { peak, .. }, Verdict::Keep) => {
                self.move_to(Condition::Active { peak })
            }
            (_, Verdict::Between | Verdict::Keep)
            | (Condition::Normal | Condition::Returning { .. }, Verdict::Within) => {
                Transition::Nothing
            }
        }
    }

    /// Raised without a reading: silence.
    pub(super) fn fall_silent(&mut self, since: Timestamp) -> Transition {
        if self.is_active() {
            return Transition::Nothing;
        }
        *self = Condition::Active { peak: None };
        Transition::Raised { since, value: None, peak: None }
    }

    /// Over without a delay: the device was heard.
    pub(super) fn be_heard(&mut self) -> Transition {
        if self.is_active() { self.end() } else { Transition::Nothing }
    }

    fn raise(&mut self, since: Timestamp, value: f64, peak: Option<f64>) -> Transition {
        *self = Condition::Active { peak };
        // NaN: there was no single value that was compared.
        Transition::Raised { since, value: Some(value).filter(|value| !value.is_nan()), peak }
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

/// A flat line has waited for its own `after` already.
fn on_delay(spec: &AlertSpec) -> Duration {
    match spec.test {
        AlertTest::Flat { .. } => Duration::ZERO,
        _ => spec.on_delay,
    }
}
