//! How long each step of a case may take, and what is overdue. Pure.
//!
//! The clock starts at dispatch (domain section 6). A step's deadline is worked out once, when the step begins, and
//! written down: a calendar that is changed later moves no promise that was made.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::Stage;
use crate::calendar::{Budget, DutyCalendar};
use crate::model::{Severity, Timestamp};

/// The steps that have a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Somebody of the unit takes it on.
    Accept,
    /// Somebody is on the site: the first entry of the handler says so.
    Arrive,
    /// It is reported as done.
    Fix,
}

/// How long each step may take for a severity, all counted from the dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// Until somebody accepts.
    pub accept: Option<Budget>,
    /// Until somebody is on the site.
    pub arrive: Option<Budget>,
    /// Until it is reported as done.
    pub fix: Budget,
}

/// The promises for all severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promises {
    critical: Promise,
    major: Promise,
    minor: Promise,
    info: Promise,
}

/// The deadlines of a dispatched case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// When the clock started.
    pub dispatched_at: Timestamp,
    /// Until when somebody accepts.
    pub accept: Option<Timestamp>,
    /// Until when somebody is on the site.
    pub arrive: Option<Timestamp>,
    /// Until when it is reported as done: the case's due time in the rates.
    pub fix: Timestamp,
}

const fn minutes(n: u64) -> Budget {
    Budget::Clock(Duration::from_secs(n * 60))
}

impl Default for Promises {
    /// The town's defaults: see domain section 6.
    fn default() -> Self {
        Promises {
            critical: Promise {
                accept: Some(minutes(5)),
                arrive: Some(minutes(30)),
                fix: minutes(120),
            },
            major: Promise {
                accept: Some(minutes(15)),
                arrive: Some(minutes(60)),
                fix: minutes(360),
            },
            minor: Promise {
                accept: Some(minutes(30)),
                arrive: Some(minutes(240)),
                fix: Budget::WorkingDays(1),
            },
            info: Promise { accept: None, arrive: None, fix: Budget::WorkingDays(3) },
        }
    }
}

impl Promises {
    /// The promise for a severity.
    pub fn of(&self, severity: Severity) -> &Promise {
        match severity {
            Severity::Critical => &self.critical,
            Severity::Major => &self.major,
            Severity::Minor => &self.minor,
            Severity::Info => &self.info,
        }
    }

    /// The deadlines of a case that is dispatched now.
    pub fn from_dispatch(
        &self,
        severity: Severity,
        at: Timestamp,
        calendar: &DutyCalendar,
    ) -> Deadlines {
        let promise = self.of(severity);
        let due = |budget| calendar.due(at, budget);
        Deadlines {
            dispatched_at: at,
            accept: promise.accept.map(due),
            arrive: promise.arrive.map(due),
            fix: due(promise.fix),
        }
    }
}

impl Deadlines {
    /// The step that a case at this stage waits for, and until when. `arrived`: the handler has written an entry.
    pub fn next(&self, stage: &Stage, arrived: bool) -> Option<(Step, Timestamp)> {
        let fix = (Step::Fix, self.fix);
        match stage {
            Stage::Dispatched { .. } => Some(self.accept.map_or(fix, |at| (Step::Accept, at))),
            Stage::Accepted { .. } if !arrived => {
                Some(self.arrive.map_or(fix, |at| (Step::Arrive, at)))
            }
            Stage::Accepted { .. } => Some(fix),
            Stage::Opened
            | Stage::Reported { .. }
            | Stage::Verified { .. }
            | Stage::Closed { .. } => None,
        }
    }
}

impl Step {
    /// Its spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Accept => "accept",
            Step::Arrive => "arrive",
            Step::Fix => "fix",
        }
    }
}
