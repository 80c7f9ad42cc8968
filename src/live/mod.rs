//! The live feed: what changed, encoded once, pushed to every map.
//!
//! Takes changes that are already on disk; hands on server-sent-event payloads with `epoch-seq` ids. Never holds a queue
//! per client: a client that lags gets one merged delta or is told to read the map again.

use crate::alert::Alert;
use crate::model::{AssetNumber, Grade};

/// What the map shows of an asset. A `state` event is sent when it changes and only then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AssetState {
    /// Which asset.
    pub asset: AssetNumber,
    /// 0 none, else 1 critical .. 4 info: the worst open alert.
    pub severity: u8,
    /// Whether every open alert is acknowledged.
    pub acknowledged: bool,
    /// How old its values are.
    pub freshness: Freshness,
    /// The code of its headline point when that is a state (occupied, gate motor), else `None`.
    pub state: Option<f64>,
    /// The grade of its headline point.
    pub grade: Grade,
}

/// The age of an asset's values against its profile's staleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Within `stale_after`.
    Fresh = 0,
    /// Beyond it.
    Stale = 1,
    /// Beyond `dead_after`.
    Dead = 2,
    /// Never heard of.
    Never = 3,
}

/// A point's newest value, for pages that ask for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueChange<'a> {
    /// Which asset.
    pub asset: AssetNumber,
    /// Which device.
    pub device: &'a str,
    /// Which metric.
    pub metric: &'a str,
    /// The value.
    pub sample: crate::model::Sample,
}

/// The feed's handle.
#[derive(Debug, Clone)]
pub struct Feed {}

#[allow(unused_variables)]
impl Feed {
    /// A feed of a new epoch, with room for the last `ring` events.
    pub fn new(epoch: u32, ring: usize) -> Self {
        todo!()
    }

    /// Sends changed states, one event for all of them.
    pub fn states(&self, changed: &[AssetState]) {
        todo!()
    }

    /// Sends a changed alert: every one, never merged.
    pub fn alert(&self, alert: &Alert) {
        todo!()
    }

    /// Whether any page asked for values of this asset: the judge asks before it makes a [`ValueChange`].
    pub fn wants_values(&self, asset: AssetNumber) -> bool {
        todo!()
    }

    /// Whether any page asked for any values at all.
    pub fn wants_any_values(&self) -> bool {
        todo!()
    }

    /// Sends values to the pages that asked for them.
    pub fn values(&self, changed: &[ValueChange<'_>]) {
        todo!()
    }
}
