//! How long something must be wrong, or well, before people are told.

use std::time::Duration;

use serde::Deserialize;

use super::Holds;

/// A broker that restarts and a line that is plugged over are back within this; a person could not do anything sooner.
const RAISE_AFTER: Duration = Duration::from_secs(30);

/// What is well for so long did not only flap.
const END_AFTER: Duration = Duration::from_secs(30);

/// When the hub's own troubles are told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TroubleConfig {
    /// What is wrong for less is not told; a full disk is told at once.
    #[serde(with = "crate::config::duration")]
    pub raise_after: Duration,
    /// A trouble is over when it was well for so long.
    #[serde(with = "crate::config::duration")]
    pub end_after: Duration,
}

impl Default for TroubleConfig {
    fn default() -> Self {
        TroubleConfig { raise_after: RAISE_AFTER, end_after: END_AFTER }
    }
}

impl From<&TroubleConfig> for Holds {
    fn from(config: &TroubleConfig) -> Self {
        Holds { raise_after: config.raise_after, end_after: config.end_after }
    }
}
