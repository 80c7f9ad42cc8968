//! Who has silenced what: shelves, marks out of service, maintenance windows, and what is silent by design because
//! something before it is.
//!
//! Conditions go on being judged under all of these; only their announcement waits. A shelf and a mark belong to the rule,
//! not to the alert that they were put on: they outlive it, and the rule's next alert is born under them. When the last of
//! them ends and the condition is active, the alert is announced as if it were new: it is unacknowledged again.
//!
//! # Suppressed by design
//! A device that cannot be heard says nothing of what it observes, so only its *silence* is suppressed: when the gateway
//! that speaks for it is silent itself, or an asset upstream of its own (`upstream` among the asset's properties) is down,
//! which means that every device there is silent. What stood before it went silent stands on. When gateway or asset are
//! back, their devices get their full time to be heard before their silence is announced; otherwise one repaired gateway
//! would ring a hundred times. A maintenance window suppresses every rule of what it covers.
//!
//! An alert that returns while it is not announced needs nobody's acknowledgement: the hub gives it.
//!
//! # First in its group
//! Of the alerts of one root (asset; device without one) that are raised within ten minutes of each other while others
//! stand, the first one is marked: it is most likely the cause.
//!
//! # kill -9
//! Shelves, marks and windows are rows, written in the transaction of the events that they make. Suppression has no row: it
//! follows from the alerts and the places. What had a grace when the hub stopped gets a whole one when it starts.
//!
//! # Layout
//! Here the words. `standings` what is put aside, and pure questions to it · `orders` what people change · `follow` what
//! events and time change · `tables` the disk.

mod follow;
mod orders;
mod standings;
mod tables;

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::model::{AssetId, DeviceId, Severity, Timestamp, ZoneId};

pub(super) use standings::Standings;
pub use tables::{find_maintenance, maintenance};

/// The longest maintenance window: what is out for longer is out of service.
pub const MAX_MAINTENANCE: Duration = Duration::from_secs(31 * 24 * 3600);

/// The longest shelf by the alert's severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfLimits {
    /// Of critical alerts.
    pub critical: Duration,
    /// Of major ones.
    pub major: Duration,
    /// Of all others.
    pub other: Duration,
}

/// Where devices stand: what the town says of them.
#[derive(Debug, Clone, Default)]
pub struct Places {
    sites: HashMap<DeviceId, Site>,
    gateways: HashSet<DeviceId>,
    upstream: HashMap<AssetId, AssetId>,
    /// Assets that others hang on.
    heads: HashSet<AssetId>,
    devices_of: HashMap<AssetId, Vec<DeviceId>>,
}

/// A device's place.
#[derive(Debug, Clone)]
pub struct Site {
    /// The device.
    pub device: DeviceId,
    /// The gateway that speaks for it.
    pub gateway: Option<DeviceId>,
    /// The asset that it observes.
    pub asset: Option<AssetId>,
    /// The asset upstream of that.
    pub upstream: Option<AssetId>,
    /// The zone of its asset.
    pub zone: Option<ZoneId>,
}

/// What somebody wants with an alert's rule.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The version that was looked at; `None` does not ask.
    pub version: Option<u32>,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// What a maintenance window covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Covered {
    /// Every device whose asset is listed under it.
    Zone(ZoneId),
    /// Every device that observes it.
    Asset(AssetId),
    /// One device.
    Device(DeviceId),
}

/// How alerts stand, to list them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Open, and nothing keeps them from ringing.
    Annunciated,
    /// Shelved.
    Shelved,
    /// Suppressed by design.
    Suppressed,
    /// Out of service.
    OutOfService,
}

/// A text that names no standing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no standing; use annunciated, shelved, suppressed or out_of_service")]
pub struct UnknownAside {
    /// The text that was given.
    pub found: String,
}

impl FromStr for Aside {
    type Err = UnknownAside;

    fn from_str(text: &str) -> Result<Self, UnknownAside> {
        match text {
            "annunciated" => Ok(Aside::Annunciated),
            "shelved" => Ok(Aside::Shelved),
            "suppressed" => Ok(Aside::Suppressed),
            "out_of_service" => Ok(Aside::OutOfService),
            _ => Err(UnknownAside { found: text.to_owned() }),
        }
    }
}

impl Aside {
    /// The condition on the alert table.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Aside::Annunciated => "open = 1 AND standing IS NULL",
            Aside::Shelved => "open = 1 AND json_extract(standing, '$.shelved') IS NOT NULL",
            Aside::Suppressed => "open = 1 AND json_extract(standing, '$.suppressed') IS NOT NULL",
            Aside::OutOfService => {
                "open = 1 AND json_extract(standing, '$.out_of_service') IS NOT NULL"
            }
        }
    }
}

/// A maintenance window: alerts of what it covers are suppressed from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Maintenance {
    /// Its number.
    pub number: u64,
    /// What it covers.
    #[serde(flatten)]
    pub covers: Covered,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub made_at: Timestamp,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
    /// When.
    pub ended_at: Option<Timestamp>,
}

/// What somebody plans.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is covered.
    pub covers: Covered,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

impl Default for ShelfLimits {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        ShelfLimits { critical: hours(1), major: hours(8), other: hours(24) }
    }
}

impl ShelfLimits {
    /// The longest shelf of an alert of this severity.
    pub fn of(&self, severity: Severity) -> Duration {
        match severity {
            Severity::Critical => self.critical,
            Severity::Major => self.major,
            Severity::Minor | Severity::Info => self.other,
        }
    }
}

impl Places {
    /// The places of a town's devices.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let mut places = Places::default();
        for site in sites {
            places.gateways.extend(site.gateway.clone());
            if let Some(asset) = &site.asset {
                places.devices_of.entry(asset.clone()).or_default().push(site.device.clone());
                if let Some(upstream) = &site.upstream {
                    places.upstream.insert(asset.clone(), upstream.clone());
                    places.heads.insert(upstream.clone());
                }
            }
            places.sites.insert(site.device.clone(), site);
        }
        places
    }

    /// Whether others hang on this device being heard.
    fn is_watched(&self, device: &DeviceId) -> bool {
        let asset = self.sites.get(device).and_then(|site| site.asset.as_ref());
        self.gateways.contains(device) || asset.is_some_and(|asset| self.heads.contains(asset))
    }
}

impl Covered {
    fn has(&self, device: &DeviceId, site: Option<&Site>) -> bool {
        match self {
            Covered::Device(covered) => covered == device,
            Covered::Asset(covered) => site.is_some_and(|s| s.asset.as_ref() == Some(covered)),
            Covered::Zone(covered) => site.is_some_and(|s| s.zone.as_ref() == Some(covered)),
        }
    }
}

impl Maintenance {
    fn end(&self) -> Timestamp {
        self.ended_at.map_or(self.until, |ended| ended.min(self.until))
    }
}
