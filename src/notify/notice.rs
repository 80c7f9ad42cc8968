//! What a message tells: the same structure for programs (a webhook's JSON) and, through `words`, for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::EventKind;
use crate::alert::Alert;
use crate::case::{Case, CaseEvent, Happened, Stage};
use crate::model::{Label, Severity, Timestamp};
use crate::trouble::{Code, Facts, Trouble};

/// The most entries that a message carries in full; all others are counted, and named by their numbers.
pub(super) const MAX_ENTRIES: usize = 100;

/// What a message tells, at the moment when it was made; retries carry the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The worst severity in it.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// Whether it is of several bundles at once, because there were more than the channel takes.
    pub merged: bool,
    /// Somebody tries the channel: nothing has happened.
    #[serde(default)]
    pub test: bool,
    /// How many alerts, cases and troubles it tells of.
    pub total: usize,
    /// In how many places: assets, or devices that observe none.
    pub places: usize,
    /// How many of each severity.
    pub counts: Counts,
    /// The worst, at most 100.
    pub entries: Vec<Entry>,
    /// The number of every alert in it.
    pub alerts: Vec<u64>,
    /// The number of every case in it.
    pub cases: Vec<u64>,
    /// The number of every trouble of the hub in it.
    #[serde(default)]
    pub troubles: Vec<u64>,
    /// Login names of those whom it concerns: a dispatched unit's people.
    pub people: Vec<String>,
}

/// How many of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub critical: usize,
    pub major: usize,
    pub minor: usize,
    pub info: usize,
}

/// One thing in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum Entry {
    /// An alert.
    Alert(AlertEntry),
    /// A case.
    Case(CaseEntry),
    /// A trouble of the hub itself.
    Trouble(TroubleEntry),
}

/// An alert as a message tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertEntry {
    /// `alert.raised`, `alert.reminder`, `alert.acknowledged` or `alert.returned`.
    #[schema(value_type = String)]
    pub event: EventKind,
    /// Its number.
    pub alert: u64,
    /// Its version: grows with every change.
    pub version: u32,
    /// The case that it belongs to.
    pub case: Option<u64>,
    /// How bad it is now.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// Whether it is still so.
    pub active: bool,
    /// Whether it comes and goes too fast to be told each time.
    pub chattering: bool,
    /// Whether it was the first of its group.
    pub first_in_group: bool,
    /// How bad it was at its worst.
    #[schema(value_type = String)]
    pub worst: Severity,
    /// What people read.
    #[schema(value_type = Object)]
    pub text: Label,
    /// What its place is called: the asset's name, or the device's.
    #[schema(value_type = Object)]
    pub place: Label,
    /// The zone.
    pub zone: Option<String>,
    /// The asset.
    pub asset: Option<String>,
    /// The device.
    pub device: String,
    /// The metric; null for silence.
    pub metric: Option<String>,
    /// The rule's name.
    pub rule: String,
    /// limit, state, no_data ...
    pub kind: String,
    /// The furthest value, or the first beyond the limit.
    pub value: Option<f64>,
    /// The limit that it passed.
    pub limit: Option<f64>,
    /// UCUM unit of both.
    pub unit: String,
    /// When it began, by the sensor's clock.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When the hub raised it.
    #[schema(value_type = String, format = DateTime)]
    pub raised_at: Timestamp,
    /// Who acknowledged it.
    pub acknowledged_by: Option<String>,
    /// How often it was told before without an acknowledgement.
    pub repeats: u32,
}

/// A case as a message tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaseEntry {
    /// `case.opened`, `case.dispatched` ...
    #[schema(value_type = String)]
    pub event: EventKind,
    /// Its number.
    pub case: u64,
    /// The version that the event made: what an answer names to move it.
    pub version: u32,
    /// How bad it is.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// What it is about.
    #[schema(value_type = Object)]
    pub title: Label,
    /// What its place is called.
    #[schema(value_type = Object)]
    pub place: Label,
    /// The zone.
    pub zone: Option<String>,
    /// The asset.
    pub asset: Option<String>,
    /// Where it stands.
    pub stage: String,
    /// The unit that has it.
    pub unit: Option<String>,
    /// Who of it.
    pub person: Option<String>,
    /// Until when the next step must be done.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// The step that is overdue: accept, arrive or fix.
    pub overdue: Option<String>,
    /// The level of the escalation; 0 for none.
    pub level: u8,
    /// Its alerts.
    pub alerts: Vec<u64>,
    /// Who did it; null for the hub.
    pub actor: Option<String>,
}

/// A trouble of the hub itself as a message tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TroubleEntry {
    /// `system.raised` or `system.returned`.
    #[schema(value_type = String)]
    pub event: EventKind,
    /// Its number.
    pub trouble: u64,
    /// What is wrong.
    pub code: Code,
    /// Of what: an address, a channel, a file; empty when there is one only.
    pub subject: String,
    /// How bad it is.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// What is wrong, in words.
    #[schema(value_type = Object)]
    pub text: Label,
    /// What to do, and what the hub does by itself.
    #[schema(value_type = Object)]
    pub remedy: Label,
    /// What its place is called: the hub.
    #[schema(value_type = Object)]
    pub place: Label,
    /// Numbers and causes.
    #[schema(value_type = Object)]
    pub facts: Facts,
    /// Since when it is so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Since when all is well again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

impl Notice {
    /// A notice without entries.
    pub(super) fn empty(at: Timestamp, merged: bool) -> Self {
        Notice {
            at,
            severity: Severity::Info,
            merged,
            test: false,
            total: 0,
            places: 0,
            counts: Counts::default(),
            entries: Vec::new(),
            alerts: Vec::new(),
            cases: Vec::new(),
            troubles: Vec::new(),
            people: Vec::new(),
        }
    }

    /// The notice that tries a channel.
    pub(super) fn trial(at: Timestamp) -> Self {
        Notice { test: true, ..Notice::empty(at, false) }
    }

    /// One more of this severity.
    pub(super) fn count(&mut self, severity: Severity) {
        let count = match severity {
            Severity::Critical => &mut self.counts.critical,
            Severity::Major => &mut self.counts.major,
            Severity::Minor => &mut self.counts.minor,
            Severity::Info => &mut self.counts.info,
        };
        *count += 1;
        self.total += 1;
        self.severity = self.severity.max(severity);
    }
}

impl Entry {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Entry::Alert(entry) => entry.severity,
            Entry::Case(entry) => entry.severity,
            Entry::Trouble(entry) => entry.severity,
        }
    }

    /// What its place is called.
    pub fn place(&self) -> &Label {
        match self {
            Entry::Alert(entry) => &entry.place,
            Entry::Case(entry) => &entry.place,
            Entry::Trouble(entry) => &entry.place,
        }
    }
}

impl AlertEntry {
    pub(super) fn new(
        alert: &Alert,
        event: EventKind,
        place: &super::Place,
        case: Option<u64>,
        repeats: u32,
    ) -> Self {
        let fallback = || match &alert.asset {
            Some(asset) => Label::same(asset.as_str()),
            None => Label::same(alert.rule.device.as_str()),
        };
        AlertEntry {
            event,
            alert: alert.id.0,
            version: alert.version,
            case,
            severity: alert.severity,
            active: alert.active,
            chattering: alert.chattering,
            first_in_group: alert.first_in_group,
            worst: alert.worst,
            text: alert.text.clone(),
            place: place.name.clone().unwrap_or_else(fallback),
            zone: place.zone.as_ref().map(ToString::to_string),
            asset: alert.asset.as_ref().map(ToString::to_string),
            device: alert.rule.device.to_string(),
            metric: alert.rule.metric.as_ref().map(ToString::to_string),
            rule: alert.rule.name.clone(),
            kind: alert.kind.to_string(),
            value: alert.peak.or(alert.value),
            limit: alert.limit,
            unit: alert.unit.clone(),
            since: alert.since,
            raised_at: alert.raised_at,
            acknowledged_by: alert.acknowledged_by.clone(),
            repeats,
        }
    }
}

impl TroubleEntry {
    pub(super) fn new(trouble: &Trouble, event: EventKind) -> Self {
        let Trouble { code, severity, since, ended_at, .. } = *trouble;
        TroubleEntry {
            event,
            trouble: trouble.id.0,
            code,
            subject: trouble.subject.clone(),
            severity,
            text: trouble.text.clone(),
            remedy: trouble.remedy.clone(),
            place: Label::new("主机", "the hub"),
            facts: trouble.facts.clone(),
            since,
            ended_at,
        }
    }
}

impl CaseEntry {
    /// The case after this event.
    pub(super) fn new(
        case: &Case,
        event: &CaseEvent,
        kind: EventKind,
        place: &super::Place,
    ) -> Self {
        let (unit, person) = match &case.stage {
            Stage::Dispatched { unit, person } => (Some(unit), person.as_ref()),
            Stage::Accepted { unit, handler } | Stage::Reported { unit, handler } => {
                (Some(unit), Some(handler))
            }
            Stage::Opened | Stage::Verified { .. } | Stage::Closed { .. } => (None, None),
        };
        let subject = &case.subject;
        CaseEntry {
            event: kind,
            case: case.id.0,
            version: event.version,
            severity: case.severity,
            title: subject.title.clone(),
            place: place.name.clone().unwrap_or_else(|| match (&subject.asset, &subject.device) {
                (Some(asset), _) => Label::same(asset.as_str()),
                (None, Some(device)) => Label::same(device.as_str()),
                (None, None) => subject.title.clone(),
            }),
            zone: subject.zone.as_ref().map(ToString::to_string),
            asset: subject.asset.as_ref().map(ToString::to_string),
            stage: case.stage.as_str().to_owned(),
            unit: unit.map(ToString::to_string),
            person: person.cloned(),
            due: case.next_deadline().map(|(_, due)| due),
            overdue: case.overdue.map(|step| step.as_str().to_owned()),
            level: case.escalation,
            alerts: case.alerts.iter().map(|alert| alert.0).collect(),
            actor: event.actor.clone(),
        }
    }
}

/// What a case's event is called here; `None` for those that nobody is told of.
pub(super) fn kind_of(happened: &Happened) -> Option<EventKind> {
    Some(match happened {
        Happened::Opened { .. } => EventKind::CaseOpened,
        Happened::Dispatched { .. } => EventKind::CaseDispatched,
        Happened::Accepted => EventKind::CaseAccepted,
        Happened::Returned { .. } | Happened::Rejected { .. } => EventKind::CaseReturned,
        Happened::Reported => EventKind::CaseReported,
        Happened::Verified => EventKind::CaseVerified,
        Happened::Overdue { .. } => EventKind::CaseOverdue,
        Happened::Escalated { .. } => EventKind::CaseEscalated,
        Happened::Closed { .. } => EventKind::CaseClosed,
        Happened::Attached { .. } | Happened::Handled { .. } | Happened::Reopened { .. } => {
            return None;
        }
    })
}
