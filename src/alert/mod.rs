//! Judgement: limits, states and silence become alerts, and alerts end only when the sensor agrees.
//!
//! Takes committed measurements, in commit order, and the time; hands on [`Alert`] changes that are already on disk. The
//! engine does no I/O but its own tables. Never sees an asset's position, a payload or a socket.
//!
//! # From a reading to an alert
//! - Only *news* raises or clears: Good, not late, and observed after the last news of its series. A later Uncertain reading
//!   beyond the limit keeps an alert that is about to return, and nothing else. All else changes nothing; but any reading at
//!   all, late or Bad, is proof that its device is alive.
//! - One alert per rule: each step of its ladder is a condition of its own, and the alert shows the highest active one. A
//!   worse one makes an acknowledged alert unacknowledged. One that comes and goes too often is chattering: active until
//!   it has been quiet, and only getting worse is still told.
//! - Delays count in event time. They end with a later reading's `observed_at` or with [`Engine::tick`], whichever comes
//!   first, to the same effect: a value holds until the next one.
//! - An alert is *open* while it is active or not acknowledged (ISA-18.2). When a condition comes back while its alert is
//!   returned but not acknowledged, the same alert becomes active again; once it is closed, there is a new one.
//! - `since` is event time, where the world stood; `raised_at`, `acknowledged_at` and `cleared_at` are the hub's time
//!   (the reading's `received_at`, or the tick's), when people could know.
//!
//! # Silence
//! A device is silent `after` has passed since the later of: its last reading by `received_at`, the hub's start, and the
//! rule's first sight. The hub cannot tell a silent device from its own absence, so a restart gives every device its full
//! time again instead of raising ten thousand alerts; the price is that a device which died shortly before a restart is
//! noticed that much later. A no-data alert that stood before the restart stands after it, until the device is heard.
//!
//! # kill -9
//! [`Engine::commit`] writes alerts, events and running delays in one transaction, together with `judged`: the store's
//! commit that they include. [`Engine::checkpoint`] adds `replay_from`, and for every series the time of its last news:
//! together they are too much to write with each alert, and without them an old reading could pass for news. After a crash
//! the store is replayed from `replay_from`, the [`Engine::watermark`]. Up to `judged` the replay only brings the times
//! back; after it, it judges. So every reading moves each condition exactly once, in the same order as without the crash,
//! and what was reported is neither lost nor repeated (`alert_event` could not even hold it twice). Changes that no commit
//! returned were seen by nobody: those from readings come again by replay, those from the clock with the next tick.
//! An acknowledgement counts when a commit has followed it.
//!
//! Nothing is written while nothing happens: a delay that starts or is cut short, and a peak that grows, go along with the
//! next event or checkpoint. So a listed peak is at most one checkpoint old; [`Engine::open_alerts`] has it to the reading.
//!
//! Windows are not written: [`Engine::wanted`] names what they need of the store, [`Engine::remember`] takes it, and the
//! replay adds the rest. The newest readings that expressions and flat lines go by are few, and go along with a checkpoint.
//!
//! # Layout
//! `rule` what is tested, on which series · `condition` the state machine of one step · `ladder` a rule's steps together ·
//! `sense` windows and newest readings · `flap` chattering · `index` the rules by series, for the hot path ·
//! `timers` deadlines · `standing` what is put aside, and why · `aside` who puts it aside, and when that ends
//! (`aside::orders` of people, `aside::follow` from events, over `aside::standings`) · `book` which rules are in force ·
//! `ledger` alerts and their events · `engine` the one owner of all these · `tables` the disk · `rehearsal` a rule over
//! stored history.

mod aside;
pub mod book;
mod condition;
mod engine;
mod flap;
mod index;
mod ladder;
mod ledger;
pub mod past;
mod rehearsal;
mod rule;
mod sense;
mod standing;
mod tables;
#[cfg(test)]
mod tests;
mod timers;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{AssetId, AssetNumber, DeviceId, Label, Severity, Timestamp};

pub use aside::{
    Aside, Covered, MAX_MAINTENANCE, Maintenance, Places, Plan, ShelfLimits, Site, UnknownAside,
    Wish, find_maintenance, maintenance,
};
pub use engine::{Engine, Past};
pub use ledger::{AlertEvent, What};
pub use rehearsal::{Rehearsal, Spell, rehearse};
pub use rule::{Rule, RuleKey, rules_of};
pub use standing::{Cause, OutOfService, Shelf, Standing, Suppression};
pub use tables::{MAX_LISTED, find, history, list};

/// An alert's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub u64);

/// An alert as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// Its number.
    pub id: AlertId,
    /// Grows with every change of this alert.
    pub version: u32,
    /// The rule that raised it.
    #[serde(flatten)]
    pub rule: RuleKey,
    /// limit, rise, fall, sum, state, flat, condition or no_data.
    pub kind: &'static str,
    /// The asset.
    pub asset: Option<AssetId>,
    /// The asset's number on the map.
    pub asset_number: Option<AssetNumber>,
    /// How bad it is: the worst step of its ladder that is active, or the last that was.
    pub severity: Severity,
    /// How bad it was at its worst since it was raised.
    pub worst: Severity,
    /// What people read.
    pub text: Label,
    /// The first value beyond the limit, or the state's code; `None` for silence.
    pub value: Option<f64>,
    /// The furthest value since; `None` for states and silence.
    pub peak: Option<f64>,
    /// The limit it passed; for silence the seconds that were allowed; `None` for states.
    pub limit: Option<f64>,
    /// The value at which it clears; `None` for states and silence.
    pub clear: Option<f64>,
    /// UCUM unit of the values; `s` for silence.
    pub unit: String,
    /// Still so? False once the sensor says that all is well.
    pub active: bool,
    /// It comes and goes too often: active until it has been quiet.
    pub chattering: bool,
    /// The first of its group within a short while, when others of the group stand too.
    pub first_in_group: bool,
    /// How often it was raised, with the first time.
    pub raised_count: u32,
    /// Whether it is put aside, and why.
    pub standing: Standing,
    /// When the condition began: event time of the first reading beyond the limit, or the last sign of life.
    pub since: Timestamp,
    /// When it was raised, by the hub's clock.
    pub raised_at: Timestamp,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// By whom.
    pub acknowledged_by: Option<String>,
    /// Their note.
    pub note: Option<String>,
    /// When the sensor said that all is well (or the rule was removed), by the hub's clock; `None` while active.
    pub cleared_at: Option<Timestamp>,
}

impl Alert {
    /// In the list of open alerts: active, or returned and not yet acknowledged (ISA-18.2).
    pub fn is_open(&self) -> bool {
        self.active || self.acknowledged_at.is_none()
    }

    /// In the list that people work by: open, and not put aside.
    pub fn is_annunciated(&self) -> bool {
        self.is_open() && self.standing.is_clear()
    }

    /// Whether it is a device's silence.
    pub fn is_silence(&self) -> bool {
        self.kind == "no_data"
    }

    /// What it is about, as one word: its asset, or its device when it has none. Kept on disk with what waits to be told.
    pub fn root(&self) -> String {
        match &self.asset {
            Some(asset) => format!("asset:{asset}"),
            None => format!("device:{}", self.rule.device),
        }
    }
}

/// Why the alert room cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// SQLite said no.
    #[error("the alert tables failed")]
    Database(#[from] rusqlite::Error),
    /// No alert of this number.
    #[error("there is no alert {}", .0.0)]
    NotFound(AlertId),
    /// Somebody was faster.
    #[error("alert {} is at version {current}, not {given}: read it again", .id.0)]
    VersionConflict {
        /// Which.
        id: AlertId,
        /// The version now.
        current: u32,
        /// The version that was given.
        given: u32,
    },
    /// The hub is going down: nobody judges any more.
    #[error("the hub is shutting down; try again when it is back")]
    ShuttingDown,
    /// A critical alert is not everybody's to shelve.
    #[error("alert {} is {severity}: shelving it needs the right to supervise", .id.0)]
    TooSevere {
        /// Which.
        id: AlertId,
        /// How bad it is now.
        severity: Severity,
    },
    /// A shelf that ends in the past, or too late.
    #[error(
        "alert {} is {severity}: a shelf ends in the future, at most {} min from now",
        .id.0,
        longest.as_secs() / 60
    )]
    BadShelf {
        /// Which.
        id: AlertId,
        /// How bad it is.
        severity: Severity,
        /// The longest that it may be shelved.
        longest: Duration,
    },
    /// It is not so, and cannot be ended.
    #[error("alert {}'s rule is not {so}", .id.0)]
    NotSo {
        /// Which.
        id: AlertId,
        /// What it is not.
        so: &'static str,
    },
    /// A maintenance window that cannot be.
    #[error("a maintenance window ends after it begins, in the future, and lasts 31 days at most")]
    BadWindow,
    /// No maintenance window of this number that is not over.
    #[error("there is no maintenance window {0} that is not over")]
    NoWindow(u64),
    /// Already acknowledged.
    #[error("alert {} was already acknowledged by {by}", .id.0)]
    AlreadyAcknowledged {
        /// Which.
        id: AlertId,
        /// By whom.
        by: String,
    },
}

/// Which alerts to list.
#[derive(Debug, Clone, Default)]
pub struct AlertQuery {
    /// Only open ones, or all.
    pub open_only: bool,
    /// Only these severities; empty is all.
    pub severities: Vec<Severity>,
    /// Only those that stand so.
    pub standing: Option<Aside>,
    /// Only of this asset.
    pub asset: Option<AssetId>,
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only those with a smaller number: the next page.
    pub before: Option<AlertId>,
    /// At most this many.
    pub limit: usize,
}
