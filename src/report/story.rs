//! What a report reads of an alert: its rule, where it belongs, and its log.

use super::board::Labels;
use crate::alert::{AlertId, RuleKey};
use crate::model::{Label, Severity, Timestamp};

/// One alert with everything that happened to it, up to a report's end.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStory {
    /// Which.
    pub id: AlertId,
    /// The rule that raised it.
    pub rule: RuleKey,
    /// What people read.
    pub text: Label,
    /// Where it belongs; the severity is that of its last event.
    pub labels: Labels,
    /// Whether it belongs to a case.
    pub has_case: bool,
    /// Its log, in order.
    pub events: Vec<AlertMoment>,
}

/// One entry of an alert's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertMoment {
    /// What happened.
    pub what: Deed,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// How bad it was after that.
    pub severity: Severity,
}

/// What a report makes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The condition became active.
    Raised,
    /// It rang anew: it got worse, or nobody did anything about it.
    Rang,
    /// A person has seen it.
    Acknowledged,
    /// The sensor said that all is well.
    Returned,
    /// Its rule went, so nobody said that all is well.
    RuleRemoved,
    /// It comes and goes so often that it is one alert for all.
    Chattering,
    /// A person put it off, or took it back.
    Shelved(bool),
    /// Its cause is known elsewhere, or that is over.
    Suppressed(bool),
    /// Its device is out of service, or is back.
    OutOfService(bool),
    /// Something that no figure asks for.
    Else,
}

impl Deed {
    /// The deed of an event, by its spelling in the log.
    pub(super) fn of(what: &str) -> Deed {
        match what {
            "raised" | "raised_again" => Deed::Raised,
            "rearmed" | "severity_up" => Deed::Rang,
            "acknowledged" => Deed::Acknowledged,
            "returned" => Deed::Returned,
            "rule_removed" => Deed::RuleRemoved,
            "chattering" => Deed::Chattering,
            "shelved" => Deed::Shelved(true),
            "unshelved" => Deed::Shelved(false),
            "suppressed" => Deed::Suppressed(true),
            "unsuppressed" => Deed::Suppressed(false),
            "out_of_service" => Deed::OutOfService(true),
            "in_service" => Deed::OutOfService(false),
            _ => Deed::Else,
        }
    }
}
