//! The alerts that people see, made from the edges of conditions, and the event of every change.
//!
//! Holds open alerts only (and closed ones until they were reported): at most one per rule, besides those of rules that
//! are gone and that nobody has acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::ladder::Onset;
use super::rule::{Rule, RuleKey, further, shown_clear, shown_limit};
use super::{Alert, AlertError, AlertId, Standing};
use crate::model::{Severity, Timestamp};

/// One change of one alert, for ever.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertEvent {
    /// Which alert.
    pub alert: AlertId,
    /// The alert's version that this change made.
    pub version: u32,
    /// What happened.
    pub what: What,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// The alert's severity after it.
    pub severity: Severity,
    /// Whether the alert is active after it.
    pub active: bool,
    /// Who did it; `None` for the hub itself.
    pub actor: Option<String>,
    /// What they said.
    pub note: Option<String>,
    /// What else belongs to it: until when it is shelved, what suppressed it.
    pub detail: Option<serde_json::Value>,
}

/// What can happen to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The condition became active.
    Raised,
    /// The condition came back before anybody had acknowledged the alert: it is the same alert.
    RaisedAgain,
    /// A person has seen it.
    Acknowledged,
    /// The sensor says that all is well.
    Returned,
    /// Its rule is gone, so nothing will ever clear it: it was cleared.
    RuleRemoved,
    /// The rule's severity, text, limits or asset were changed; the condition stays.
    RuleChanged,
    /// A worse step of its ladder became active.
    SeverityUp,
    /// The worst active step of its ladder is over; a milder one is still active.
    SeverityDown,
    /// It rings again: nobody counts as having seen it. Comes when it has stood acknowledged for too long, and after
    /// [`What::SeverityUp`] of an acknowledged alert.
    Rearmed,
    /// It came and went too often: it stays active, and says no more of it until it has been quiet.
    Chattering,
    /// It has been quiet for long enough: from here on it is again what the sensor says.
    Settled,
    /// A person put it aside for a while.
    Shelved,
    /// It is no longer put aside.
    Unshelved,
    /// Something else explains it, or its place is being worked at.
    Suppressed,
    /// What explained it is over.
    Unsuppressed,
    /// A person took it out of service.
    OutOfService,
    /// It is in service again.
    InService,
}

/// All open alerts, and what is not yet on disk of them.
#[derive(Debug)]
pub(super) struct Ledger {
    alerts: BTreeMap<AlertId, Alert>,
    next: AlertId,
    /// Not yet written.
    events: Vec<AlertEvent>,
    /// Not yet reported by a commit.
    changed: BTreeSet<AlertId>,
}

impl What {
    /// Everything that can happen.
    pub const ALL: [What; 17] = [
        What::Raised,
        What::RaisedAgain,
        What::Acknowledged,
        What::Returned,
        What::RuleRemoved,
        What::RuleChanged,
        What::SeverityUp,
        What::SeverityDown,
        What::Rearmed,
        What::Chattering,
        What::Settled,
        What::Shelved,
        What::Unshelved,
        What::Suppressed,
        What::Unsuppressed,
        What::OutOfService,
        What::InService,
    ];

    /// Its spelling in the table and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Raised => "raised",
            What::RaisedAgain => "raised_again",
            What::Acknowledged => "acknowledged",
            What::Returned => "returned",
            What::RuleRemoved => "rule_removed",
            What::RuleChanged => "rule_changed",
            What::SeverityUp => "severity_up",
            What::SeverityDown => "severity_down",
            What::Rearmed => "rearmed",
            What::Chattering => "chattering",
            What::Settled => "settled",
            What::Shelved => "shelved",
            What::Unshelved => "unshelved",
            What::Suppressed => "suppressed",
            What::Unsuppressed => "unsuppressed",
            What::OutOfService => "out_of_service",
            What::InService => "in_service",
        }
    }
}

impl Ledger {
    /// Takes up the open alerts; `next` is the number of the next new one.
    pub(super) fn new(open: Vec<Alert>, next: AlertId) -> Self {
        Ledger {
            alerts: open.into_iter().map(|alert| (alert.id, alert)).collect(),
            next,
            events: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// The number of the next new alert.
    pub(super) fn next(&self) -> AlertId {
        self.next
    }

    /// An alert that is open, or was closed since the last report.
    pub(super) fn get(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id)
    }

    /// The open alerts, oldest first.
    pub(super) fn open(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.is_open())
    }

    /// The open alert of every rule that has one.
    pub(super) fn by_rule(&self) -> HashMap<RuleKey, AlertId> {
        self.open().map(|alert| (alert.rule.clone(), alert.id)).collect()
    }

    /// A condition became active at this step. If the rule's `former` alert is still open (returned, not acknowledged),
    /// it goes on with the rule's present limits; else there is a new one.
    pub(super) fn raise(
        &mut self,
        rule: &Rule,
        former: Option<AlertId>,
        step: usize,
        onset: Onset,
        at: Timestamp,
    ) -> &Alert {
        let former = former.filter(|id| self.alerts.get(id).is_some_and(Alert::is_open));
        let (id, what) = match former {
            Some(id) => (id, What::RaisedAgain),
            None => (self.next, What::Raised),
        };
        self.next = self.next.max(AlertId(id.0 + 1));
        let alert = self.alerts.entry(id).or_insert_with(|| new_alert(id, rule, step, onset, at));
        copy_rule(alert, rule, step);
        alert.active = true;
        alert.cleared_at = None;
        alert.raised_count += 1;
        let further = onset.peak.and_then(|peak| further(&rule.spec.test, alert.peak, peak));
        alert.peak = further.or(alert.peak);
        record(alert, what, at, None, &mut self.events);
        self.changed.insert(id);
        alert
    }

    /// Another step of an active alert is the highest now. A worse one is news to whoever had acknowledged it.
    pub(super) fn step_to(&mut self, id: AlertId, rule: &Rule, step: usize, at: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let before = alert.severity;
        copy_rule(alert, rule, step);
        let is_worse = alert.severity > before;
        let what = if is_worse { What::SeverityUp } else { What::SeverityDown };
        record(alert, what, at, None, &mut self.events);
        if is_worse && alert.acknowledged_at.is_some() {
            forget_acknowledgement(alert);
            record(alert, What::Rearmed, at, because("severity_up"), &mut self.events);
        }
        self.changed.insert(id);
    }

    /// It has stood acknowledged for too long: nobody counts as having seen it.
    pub(super) fn rearm(&mut self, id: AlertId, at: Timestamp) {
        if let Some(alert) = self.alerts.get_mut(&id)
            && alert.active
            && alert.acknowledged_at.is_some()
        {
            forget_acknowledgement(alert);
            record(alert, What::Rearmed, at, because("re_alarm"), &mut self.events);
            self.changed.insert(id);
        }
    }

    /// It came and went too often, or has been quiet again.
    pub(super) fn set_chattering(&mut self, id: AlertId, chattering: bool, at: Timestamp) {
        if let Some(alert) = self.alerts.get_mut(&id)
            && alert.chattering != chattering
        {
            alert.chattering = chattering;
            let what = if chattering { What::Chattering } else { What::Settled };
            record(alert, what, at, None, &mut self.events);
            self.changed.insert(id);
        }
    }

    /// A condition is over.
    pub(super) fn clear(&mut self, id: AlertId, what: What, at: Timestamp) {
        if let Some(alert) = self.alerts.get_mut(&id)
            && alert.active
        {
            alert.active = false;
            alert.chattering = false;
            alert.cleared_at = Some(at);
            record(alert, what, at, None, &mut self.events);
            self.changed.insert(id);
        }
    }

    /// A value that may be the furthest: no event and no new version. Returns the furthest.
    pub(super) fn go_further(&mut self, id: AlertId, rule: &Rule, value: f64) -> Option<f64> {
        let alert = self.alerts.get_mut(&id)?;
        alert.peak = further(&rule.spec.test, alert.peak, value).or(alert.peak);
        alert.peak
    }

    /// The rule may say other things than when the alert was raised.
    pub(super) fn follow(&mut self, id: AlertId, rule: &Rule, step: usize, at: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let before = alert.clone();
        copy_rule(alert, rule, step);
        if *alert != before {
            record(alert, What::RuleChanged, at, None, &mut self.events);
            self.changed.insert(id);
        }
    }

    /// A person has seen an alert that the ledger holds.
    pub(super) fn acknowledge(
        &mut self,
        id: AlertId,
        version: Option<u32>,
        who: &str,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alerts.get_mut(&id).ok_or(AlertError::NotFound(id))?;
        if let Some(by) = alert.acknowledged_by.clone() {
            return Err(AlertError::AlreadyAcknowledged { id, by });
        }
        if let Some(given) = version
            && given != alert.version
        {
            return Err(AlertError::VersionConflict { id, current: alert.version, given });
        }
        alert.acknowledged_at = Some(at);
        alert.acknowledged_by = Some(who.to_owned());
        alert.note = note.map(str::to_owned);
        record(alert, What::Acknowledged, at, None, &mut self.events);
        self.changed.insert(id);
        Ok(alert.clone())
    }

    /// Makes a change that is not the condition's own, with its event. `who` and `note` are a person's, `detail` what
    /// else belongs to it.
    #[allow(clippy::too_many_arguments, reason = "one event, all that stands in it")]
    pub(super) fn change(
        &mut self,
        id: AlertId,
        what: What,
        at: Timestamp,
        who: Option<&str>,
        note: Option<&str>,
        detail: Option<serde_json::Value>,
        change: impl FnOnce(&mut Alert),
    ) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        change(alert);
        record(alert, what, at, detail, &mut self.events);
        if let Some(event) = self.events.last_mut() {
            event.actor = who.map(str::to_owned);
            event.note = note.map(str::to_owned);
        }
        self.changed.insert(id);
    }

    /// Marks the alert that its last event has just raised as the first of its group.
    pub(super) fn mark_first_in_group(&mut self, id: AlertId) {
        if let Some(alert) = self.alerts.get_mut(&id) {
            alert.first_in_group = true;
            let raised = self.events.iter_mut().rev().find(|event| event.alert == id);
            if let Some(event) = raised {
                event.detail = Some(serde_json::json!({ "first_in_group": true }));
            }
        }
    }

    /// What is not yet on disk.
    pub(super) fn events(&self) -> &[AlertEvent] {
        &self.events
    }

    /// The numbers of the alerts that changed and were not reported.
    pub(super) fn changed(&self) -> &BTreeSet<AlertId> {
        &self.changed
    }

    /// The events are on disk.
    pub(super) fn events_written(&mut self) {
        self.events.clear();
    }

    /// The alerts that changed since the last report, each once, as it is now. Closed ones are forgotten.
    pub(super) fn report(&mut self) -> Vec<Alert> {
        let changed = std::mem::take(&mut self.changed);
        let report = changed.iter().filter_map(|id| self.alerts.get(id).cloned()).collect();
        for id in changed {
            if self.alerts.get(&id).is_some_and(|alert| !alert.is_open()) {
                self.alerts.remove(&id);
            }
        }
        report
    }
}

/// Counts the version up and writes down why.
fn record(
    alert: &mut Alert,
    what: What,
    at: Timestamp,
    detail: Option<serde_json::Value>,
    events: &mut Vec<AlertEvent>,
) {
    alert.version += 1;
    let by_person = what == What::Acknowledged;
    events.push(AlertEvent {
        alert: alert.id,
        version: alert.version,
        what,
        at,
        severity: alert.severity,
        active: alert.active,
        actor: alert.acknowledged_by.clone().filter(|_| by_person),
        note: alert.note.clone().filter(|_| by_person),
        detail,
    });
}

fn because(why: &str) -> Option<serde_json::Value> {
    Some(serde_json::json!({ "because": why }))
}

fn forget_acknowledgement(alert: &mut Alert) {
    alert.acknowledged_at = None;
    alert.acknowledged_by = None;
    alert.note = None;
}

/// An alert that has had no event yet: version 0.
fn new_alert(id: AlertId, rule: &Rule, step: usize, onset: Onset, at: Timestamp) -> Alert {
    let (asset, asset_number) = rule.asset.clone().unzip();
    let spec = &rule.spec;
    Alert {
        id,
        version: 0,
        rule: rule.key.clone(),
        kind: spec.test.kind(),
        asset,
        asset_number,
        severity: spec.test.severity(step),
        worst: spec.test.severity(step),
        text: spec.text_of(step).clone(),
        value: onset.value,
        peak: onset.peak,
        limit: shown_limit(&spec.test, step),
        clear: shown_clear(&spec.test, step),
        unit: rule.unit.clone(),
        active: true,
        chattering: false,
        first_in_group: false,
        raised_count: 0,
        standing: Standing::default(),
        since: onset.since,
        raised_at: at,
        acknowledged_at: None,
        acknowledged_by: None,
        note: None,
        cleared_at: None,
    }
}

/// Says what the rule says, at this step.
fn copy_rule(alert: &mut Alert, rule: &Rule, step: usize) {
    let spec = &rule.spec;
    (alert.asset, alert.asset_number) = rule.asset.clone().unzip();
    alert.severity = spec.test.severity(step);
    alert.worst = alert.worst.max(alert.severity);
    alert.text.clone_from(spec.text_of(step));
    alert.limit = shown_limit(&spec.test, step);
    alert.clear = shown_clear(&spec.test, step);
    alert.unit.clone_from(&rule.unit);
}
