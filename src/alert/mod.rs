//! Judgement: limits, states and silence become alerts, and alerts end only when the sensor agrees.
//!
//! Takes committed measurements, in commit order, and the time; hands on [`Alert`] changes that are already on disk. The
//! engine does no I/O but its own tables. Never sees an asset's position, a payload or a socket.

use std::time::Duration;

use serde::Serialize;

use crate::model::{
    AssetId, AssetNumber, DeviceId, Label, Measurement, MetricName, SeriesId, Severity, Timestamp,
};
use crate::store::CommitSeq;

/// An alert's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AlertId(pub u64);

/// A rule's name: stable across restarts, so that its condition is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RuleKey {
    /// The device that it watches.
    pub device: DeviceId,
    /// The metric; `None` for the device's silence.
    pub metric: Option<MetricName>,
    /// Its name within the point: `surcharge`, `no_data`.
    pub name: String,
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub key: RuleKey,
    /// The series it watches: one for a limit or a state, all of the device's for silence.
    pub series: Vec<SeriesId>,
    /// The asset that the device observes.
    pub asset: Option<(AssetId, AssetNumber)>,
    /// What is tested.
    pub test: Test,
    /// How long it must be true, in event time.
    pub on_delay: Duration,
    /// How long it must be over, in event time.
    pub off_delay: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// What people read.
    pub text: Label,
    /// UCUM unit of limit and value.
    pub unit: String,
}

/// What a rule tests.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Test {
    Above {
        limit: f64,
        clear: f64,
    },
    Below {
        limit: f64,
        clear: f64,
    },
    Equals {
        code: f64,
        state: Label,
    },
    /// Nothing heard (received_at) for this long.
    NoData {
        after: Duration,
    },
}

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
    /// limit, state or no_data.
    pub kind: &'static str,
    /// The asset.
    pub asset: Option<AssetId>,
    /// The asset's number on the map.
    pub asset_number: Option<AssetNumber>,
    /// How bad it is.
    pub severity: Severity,
    /// What people read.
    pub text: Label,
    /// The value that raised it.
    pub value: Option<f64>,
    /// The furthest value since.
    pub peak: Option<f64>,
    /// The limit it passed.
    pub limit: Option<f64>,
    /// The value at which it clears.
    pub clear: Option<f64>,
    /// UCUM unit of the values.
    pub unit: String,
    /// Still so? False once the sensor says that all is well.
    pub active: bool,
    /// When the condition began (event time of the first reading beyond the limit).
    pub since: Timestamp,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// By whom.
    pub acknowledged_by: Option<String>,
    /// Their note.
    pub note: Option<String>,
    /// When the sensor said that all is well.
    pub cleared_at: Option<Timestamp>,
}

impl Alert {
    /// In the list of open alerts: active, or returned and not yet acknowledged (ISA-18.2).
    pub fn is_open(&self) -> bool {
        self.active || self.acknowledged_at.is_none()
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
    /// Only of this asset.
    pub asset: Option<AssetId>,
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only those with a smaller number: the next page.
    pub before: Option<AlertId>,
    /// At most this many.
    pub limit: usize,
}

/// The judge: every condition of every rule, one owner, no locks, no clock.
#[derive(Debug)]
pub struct Engine {}

#[allow(unused_variables)]
impl Engine {
    /// Takes up its conditions from the tables in `db` (made by the registry's migrations).
    pub fn open(
        db: rusqlite::Connection,
        rules: Vec<Rule>,
        now: Timestamp,
    ) -> Result<Self, AlertError> {
        todo!()
    }

    /// The last commit whose judgement is on disk: replay begins after it.
    pub fn watermark(&self) -> CommitSeq {
        todo!()
    }

    /// Replaces the rules. Conditions of rules that are gone are cleared.
    pub fn set_rules(&mut self, rules: Vec<Rule>, now: Timestamp) {
        todo!()
    }

    /// Judges one commit's measurements. In memory only, until [`Engine::commit`].
    pub fn judge(&mut self, seq: CommitSeq, batch: &[Measurement]) {
        todo!()
    }

    /// Lets time pass: on-delays and off-delays that ran out, devices that fell silent.
    pub fn tick(&mut self, now: Timestamp) {
        todo!()
    }

    /// The time at which [`Engine::tick`] next has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        todo!()
    }

    /// A person has seen it. In memory until [`Engine::commit`].
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        version: Option<u32>,
        who: &str,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        todo!()
    }

    /// Whether [`Engine::commit`] has anything to write.
    pub fn is_dirty(&self) -> bool {
        todo!()
    }

    /// Writes every change since the last commit, with its event and the watermark, in one transaction, and returns the
    /// alerts that changed. Nothing is written when nothing changed.
    pub fn commit(&mut self) -> Result<Vec<Alert>, AlertError> {
        todo!()
    }

    /// Writes the watermark even if nothing else changed, so that the store may release what was judged.
    pub fn checkpoint(&mut self) -> Result<CommitSeq, AlertError> {
        todo!()
    }

    /// The open alerts.
    pub fn open_alerts(&self) -> Vec<Alert> {
        todo!()
    }
}

/// Lists alerts from the tables, newest first; reads with its own connection.
#[allow(unused_variables)]
pub fn list(db: &rusqlite::Connection, query: &AlertQuery) -> Result<Vec<Alert>, AlertError> {
    todo!()
}

/// The rules of a device.
#[allow(unused_variables)]
pub fn rules_of(
    device: &crate::registry::Device,
    asset: Option<(AssetId, AssetNumber)>,
    profile: &crate::profile::Profile,
    series: &[SeriesId],
) -> Vec<Rule> {
    todo!()
}
