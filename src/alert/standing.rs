//! What keeps an alert from the list that people work by, though its condition goes on being judged.

use serde::{Deserialize, Serialize};

use crate::model::{AssetId, DeviceId, Timestamp};

/// Whether an alert is put aside. Three ways, each by itself; it rings only when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// A person put it aside for a while.
    pub shelved: Option<Shelf>,
    /// Something else explains it.
    pub suppressed: Option<Suppression>,
    /// A person took it out of service.
    pub out_of_service: Option<OutOfService>,
}

/// Put aside for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Suppressed by design (ISA-18.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// By what.
    pub cause: Cause,
    /// When, by the hub's clock.
    pub at: Timestamp,
}

/// What explains an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The gateway that the device speaks through is silent.
    Gateway(DeviceId),
    /// An asset that this one hangs on is down.
    Upstream(AssetId),
    /// Somebody works there: the maintenance window's number, and its reason.
    Maintenance(i64, String),
}

/// Taken out of service until somebody takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfService {
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, by the hub's clock.
    pub at: Timestamp,
}

impl Standing {
    /// Whether nothing keeps it from ringing.
    pub fn is_clear(&self) -> bool {
        self.shelved.is_none() && self.suppressed.is_none() && self.out_of_service.is_none()
    }
}
