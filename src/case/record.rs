//! A case as its events tell it: every change is a [`Happened`], and [`Case::on`] is the only place where a case changes.
//!
//! So the row in the table is a copy that can always be told again from the log, and a test does so after every crash.

use serde::{Deserialize, Serialize};

use super::deadline::{Deadlines, Promises, Step};
use super::machine::{Proof, Stage};
use super::{CaseId, UnitId};
use crate::alert::AlertId;
use crate::calendar::DutyCalendar;
use crate::model::{AssetId, AssetKind, DeviceId, Label, Severity, Timestamp, ZoneId};

/// What a case is about: fixed when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The asset.
    pub asset: Option<AssetId>,
    /// What the asset is.
    pub kind: Option<AssetKind>,
    /// The zone it stands in.
    pub zone: Option<ZoneId>,
    /// The device whose alert opened it.
    pub device: Option<DeviceId>,
    /// What people read: the alert's text, or what the opener wrote.
    pub title: Label,
}

/// One thing that happened to a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happened {
    /// Registered, by the hub for an alert, or by hand.
    Opened {
        /// What it is about.
        subject: Subject,
        /// How bad it is.
        severity: Severity,
        /// The alert that opened it.
        root: Option<AlertId>,
        /// The closed case that it goes on from.
        reopens: Option<CaseId>,
    },
    /// Another alert of the same root belongs to it.
    Attached {
        /// The alert.
        alert: AlertId,
        /// The alert's severity: the case is as bad as the worst of its alerts ever was.
        severity: Severity,
    },
    /// A unit was sent.
    Dispatched {
        /// Which.
        unit: UnitId,
        /// Who of it.
        person: Option<String>,
        /// The promises that began.
        deadlines: Deadlines,
    },
    /// Somebody took it on.
    Accepted,
    /// Given back to the command centre, or taken back by it.
    Returned {
        /// Why.
        reason: String,
    },
    /// The handler wrote something down: the first time means that somebody is on the site.
    Handled {
        /// Photos, by their stored names.
        photos: Vec<String>,
    },
    /// Done, says the handler.
    Reported,
    /// Done, says somebody else.
    Verified,
    /// Not done.
    Rejected {
        /// Why.
        reason: String,
    },
    /// Over.
    Closed {
        /// On what proof.
        proof: Proof,
    },
    /// A step's deadline has passed.
    Overdue {
        /// Which step.
        step: Step,
    },
    /// It has been overdue for long enough that the next level must know.
    Escalated {
        /// Which level, from 1.
        level: u8,
    },
    /// Came back after it was closed: goes on as another case.
    Reopened {
        /// Which.
        by: CaseId,
    },
}

/// One event of a case's log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseEvent {
    /// Which case.
    pub case: CaseId,
    /// The version that it made.
    pub version: u32,
    /// When.
    pub at: Timestamp,
    /// Who; `None` for the hub itself.
    pub actor: Option<String>,
    /// What they noted.
    pub note: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub happened: Happened,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// Its number.
    pub id: CaseId,
    /// Grows with every event: a move names the version that it was made on.
    pub version: u32,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// The worst severity that any of its alerts had.
    pub severity: Severity,
    /// Where it stands.
    #[serde(flatten)]
    pub stage: Stage,
    /// Its alerts, the one that opened it first.
    pub alerts: Vec<AlertId>,
    /// When it was registered.
    pub opened_at: Timestamp,
    /// By whom; `None` for the hub.
    pub opened_by: Option<String>,
    /// Its promises, once it was dispatched.
    pub deadlines: Option<Deadlines>,
    /// When the handler's first entry said that somebody is on the site.
    pub arrived_at: Option<Timestamp>,
    /// When it was reported as done, the last time.
    pub reported_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The step that is overdue.
    pub overdue: Option<Step>,
    /// The level that was told of it; 0 for none.
    pub escalation: u8,
    /// The closed case that it goes on from.
    pub reopens: Option<CaseId>,
    /// The case that goes on from it.
    pub reopened_as: Option<CaseId>,
}

impl Case {
    /// The case that an `Opened` event makes; `None` for every other event.
    pub fn open(event: &CaseEvent) -> Option<Case> {
        let Happened::Opened { subject, severity, root, reopens } = &event.happened else {
            return None;
        };
        Some(Case {
            id: event.case,
            version: event.version,
            subject: subject.clone(),
            severity: *severity,
            stage: Stage::Opened,
            alerts: root.iter().copied().collect(),
            opened_at: event.at,
            opened_by: event.actor.clone(),
            deadlines: None,
            arrived_at: None,
            reported_at: None,
            closed_at: None,
            overdue: None,
            escalation: 0,
            reopens: *reopens,
            reopened_as: None,
        })
    }

    /// Takes up one event. The event was allowed when it was made; this only tells it again.
    pub fn on(&mut self, event: &CaseEvent) {
        self.version = event.version;
        let actor = || event.actor.clone().unwrap_or_default();
        match &event.happened {
            Happened::Opened { .. } => {}
            Happened::Attached { alert, severity } => {
                if !self.alerts.contains(alert) {
                    self.alerts.push(*alert);
                }
                self.severity = self.severity.max(*severity);
            }
            Happened::Dispatched { unit, person, deadlines } => {
                self.stage = Stage::Dispatched { unit: unit.clone(), person: person.clone() };
                self.deadlines = Some(*deadlines);
                self.arrived_at = None;
                self.settle();
            }
            Happened::Accepted => {
                if let Stage::Dispatched { unit, .. } = &self.stage {
                    self.stage = Stage::Accepted { unit: unit.clone(), handler: actor() };
                }
                self.settle();
            }
            Happened::Returned { .. } | Happened::Rejected { .. } => {
                self.stage = Stage::Opened;
                self.settle();
            }
            Happened::Handled { .. } => {
                if self.arrived_at.is_none() {
                    self.arrived_at = Some(event.at);
                    self.settle();
                }
            }
            Happened::Reported => {
                if let Stage::Accepted { unit, .. } = &self.stage {
                    self.stage = Stage::Reported { unit: unit.clone(), handler: actor() };
                }
                self.reported_at = Some(event.at);
                self.settle();
            }
            Happened::Verified => {
                if let Stage::Reported { handler, .. } = &self.stage {
                    self.stage = Stage::Verified { handler: handler.clone(), verifier: actor() };
                }
            }
            Happened::Closed { proof } => {
                self.stage = Stage::Closed { proof: proof.clone() };
                self.closed_at = Some(event.at);
                self.settle();
            }
            Happened::Overdue { step } => self.overdue = Some(*step),
            Happened::Escalated { level } => self.escalation = *level,
            Happened::Reopened { by } => self.reopened_as = Some(*by),
        }
    }

    /// What it is about, as one word: of each root there is one open case at most. Spelt as [`crate::alert::Alert::root`],
    /// which finds it.
    pub fn root(&self) -> String {
        match (&self.subject.asset, &self.subject.device) {
            (Some(asset), _) => format!("asset:{asset}"),
            (None, Some(device)) => format!("device:{device}"),
            (None, None) => format!("case:{}", self.id.0),
        }
    }

    /// The step that it waits for, and until when.
    pub fn next_deadline(&self) -> Option<(Step, Timestamp)> {
        self.deadlines.as_ref()?.next(&self.stage, self.arrived_at.is_some())
    }

    /// The deadlines that a dispatch at this time begins. A second dispatch does not win time: the promise to the town
    /// stands from the first one, only its new unit gets its own time to accept and to arrive.
    pub fn deadlines_from(
        &self,
        at: Timestamp,
        promises: &Promises,
        calendar: &DutyCalendar,
    ) -> Deadlines {
        let fresh = promises.from_dispatch(self.severity, at, calendar);
        match self.deadlines {
            Some(first) => Deadlines {
                dispatched_at: first.dispatched_at,
                fix: first.fix.min(fresh.fix),
                ..fresh
            },
            None => fresh,
        }
    }

    /// A step was done: what was overdue is not any more.
    fn settle(&mut self) {
        self.overdue = None;
        self.escalation = 0;
    }
}
