//! What the room's tests start from.

use std::time::Duration;

use super::{Code, Facts, Finding, Holds, Look};
use crate::model::{Severity, Timestamp};

pub(super) const HOLDS: Holds =
    Holds { raise_after: Duration::from_secs(30), end_after: Duration::from_secs(30) };

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_790_000_000 + seconds)
}

/// A look that finds this and nothing else.
pub(super) fn bad(code: Code, subject: &str, severity: Severity, why: &str) -> Look {
    let finding = Finding::new(code, subject, severity, Facts::because(why));
    Look { bad: vec![finding], unknown: Vec::new() }
}

/// The external broker is away.
pub(super) fn broker(why: &str) -> Look {
    bad(Code::Broker, "b:1883", Severity::Major, why)
}
