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
    /// It was over while it was put aside: the hub asks nobody to acknowledge it.
    Waived,
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

/// What keeps an alert from ringing, as its log tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) shelved: bool,
    pub(super) suppressed: bool,
    pub(super) out_of_service: bool,
}

impl Aside {
    /// After a deed.
    pub(super) fn after(mut self, what: Deed) -> Aside {
        match what {
            Deed::Shelved(is) => self.shelved = is,
            Deed::Suppressed(is) => self.suppressed = is,
            Deed::OutOfService(is) => self.out_of_service = is,
            _ => {}
        }
        self
    }

    /// Whether nothing keeps it from ringing.
    pub(super) fn is_clear(self) -> bool {
        self == Aside::default()
    }
}

impl Deed {
    /// The deed of an event, by its spelling in the log and by whether a person did it.
    pub(super) fn of(what: &str, by_person: bool) -> Deed {
        match what {
            "raised" | "raised_again" => Deed::Raised,
            "rearmed" | "severity_up" => Deed::Rang,
            "acknowledged" if by_person => Deed::Acknowledged,
            "acknowledged" => Deed::Waived,
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
