//! Cases: what people do about alerts, from the first look to the sensor's agreement.
//!
//! Takes the alerts' log (followed by its own durable cursor), people's moves and the time; hands on cases, their events
//! and notices. Never judges a reading: whether a sensor agrees is asked of [`Evidence`].
//!
//! # The seven steps
//! collect (the alert room) → open 案卷建立 → dispatch 任务派遣 → handle 任务处理 → report 处理反馈 → verify and close
//! 核查结案 → evaluate 综合评价 (the report room). The moves and their guards are in [`machine`]; opening and closing belong to
//! the supervision centre, dispatch to the command centre, and nobody verifies their own work.
//!
//! # What is one case
//! An alert opens a case when it is bad enough ([`Settings::opens_from`]). Every further alert of the same root (its asset;
//! its device when it has none) attaches as a follower while that case is open. When the root comes back within
//! [`Settings::reopens_within`] of a closing, the new case is linked to the closed one and counts as rework.
//!
//! # kill -9
//! A case is its events: each change is written with its event, its notice and the cursor into the alerts' log in one
//! transaction, and [`record::Case::on`] tells it again. An open case per root is a unique index, so a repetition that
//! slipped through would be refused by the disk itself.
//!
//! # Layout
//! `machine` stages and guarded moves · `record` a case from its events · `deadline` promises ·
//! `registrar` the one owner · `office` its thread · `tables` the disk · `photo` evidence · `unit` who is sent.

mod deadline;
mod machine;
mod office;
mod photo;
mod record;
mod registrar;
mod tables;
#[cfg(test)]
mod tests;
mod unit;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertError, AlertId};
use crate::model::{Severity, Timestamp};

pub use crate::calendar::{Budget, BudgetError, CalendarConfig, CalendarError, DutyCalendar};
pub use deadline::{Deadlines, Promise, Promises, Step};
pub use machine::{Facts, Lacking, Missing, Move, MoveKind, Proof, Refusal, Stage, UnknownMove};
pub use office::{Desk, Office, OfficeThread, Surroundings};
pub use photo::{MAX_PHOTO_BYTES, Photo, PhotoError, photo};
pub use record::{Case, CaseEvent, Happened, Subject};
pub use registrar::{Actor, Places, Registrar, Remarks};
pub use tables::{CaseNews, CaseQuery, MAX_LISTED, history, list, news, units};
pub use unit::{Unit, suggest};

/// A case's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(pub u64);

pub use crate::model::UnitId;

/// How the town runs its cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The mildest severity whose alerts open a case by themselves.
    pub opens_from: Severity,
    /// How long a sensor must stay within its clear value before a case closes on its word.
    pub hold: Duration,
    /// A root that comes back so soon after its closing is rework.
    pub reopens_within: Duration,
    /// After how much time beyond a deadline which level is told: the first entry is level 1.
    pub escalates_after: Vec<Duration>,
    /// How long each step may take.
    pub promises: Promises,
    /// When people work.
    pub calendar: DutyCalendar,
}

/// What the sensors say now. Answered by whoever knows the present values.
pub trait Evidence: Send {
    /// What the sensor of this alert lacks before it says that all is well; `None` when it agrees.
    fn lacking(&self, alert: &Alert, hold: Duration, now: Timestamp) -> Option<Missing>;
}

/// Why the case room cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// SQLite said no.
    #[error("the case tables failed")]
    Database(#[from] rusqlite::Error),
    /// The alerts cannot be read.
    #[error("cannot read the alerts of a case")]
    Alert(#[from] AlertError),
    /// A row that no version of the hub writes.
    #[error("the case tables are damaged: {0}")]
    Damaged(String),
    /// No case of this number (that the asker may see).
    #[error("there is no case {}", .0.0)]
    NotFound(CaseId),
    /// No unit of this name.
    #[error("there is no unit `{0}`")]
    NoUnit(String),
    /// The person that a dispatch names is not of the unit.
    #[error("`{person}` does not belong to unit {unit}; its people are {members}")]
    NotOfUnit {
        /// Who.
        person: String,
        /// Which unit.
        unit: UnitId,
        /// Who would do.
        members: String,
    },
    /// Somebody was faster.
    #[error("case {} is at version {current}, not {given}: read it again", .id.0)]
    VersionConflict {
        /// Which.
        id: CaseId,
        /// The version now.
        current: u32,
        /// The version that was given.
        given: u32,
    },
    /// The move is refused; see why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is an open case for this root already.
    #[error("case {} is open for this already; attach to it", .0.0)]
    AlreadyOpen(CaseId),
    /// No alert of this number.
    #[error("there is no alert {}", .0.0)]
    NoAlert(AlertId),
    /// Nothing attaches to a closed case.
    #[error("case {} is closed; reopen it", .0.0)]
    NotOpen(CaseId),
    /// Only a closed case is reopened.
    #[error("case {} is not closed, or goes on as another one already", .0.0)]
    NotClosed(CaseId),
    /// A photo is not taken.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// The hub is going down.
    #[error("the hub is shutting down; try again when it is back")]
    ShuttingDown,
}
