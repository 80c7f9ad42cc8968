//! The way of the data, joined: decode, normalize, commit, acknowledge, judge, show.

use std::sync::Arc;

use crate::alert::{Alert, AlertError, AlertId};
use crate::live::AssetState;
use crate::model::{AssetNumber, DeviceId, Sample, SeriesId, Timestamp};
use crate::profile::Profile;
use crate::registry::{Asset, Device};

/// A device at work: the registry's device joined with its profile, its series and what is known of it now.
#[derive(Debug)]
pub struct Station {
    /// The device.
    pub device: Arc<Device>,
    /// The asset that it observes.
    pub asset: Option<Arc<Asset>>,
    /// Its profile.
    pub profile: Arc<Profile>,
    /// The series of each point, by [`crate::model::PointIndex`].
    pub series: Box<[SeriesId]>,
}

/// A payload that a profile could not decode, kept for a look.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Undecoded {
    /// When it came.
    pub received_at: Timestamp,
    /// Its topic.
    pub topic: String,
    /// Why, as a word for counters.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// The payload's first bytes.
    #[serde(skip)]
    pub payload: Vec<u8>,
    /// How long it was.
    pub size: usize,
}

#[allow(missing_docs)]
impl Station {
    /// When anything was last heard from it.
    pub fn last_heard(&self) -> Option<Timestamp> {
        todo!()
    }
    /// Whether it is connected now (MQTT session, or answering on its bus).
    pub fn is_connected(&self) -> bool {
        todo!()
    }
    /// The last payloads that did not decode, newest first, at most 16.
    pub fn undecoded(&self) -> Vec<Undecoded> {
        todo!()
    }
}

/// All stations; replaced as one when the registry or the profiles change.
#[derive(Debug, Default)]
pub struct StationTable {}

#[allow(missing_docs, unused_variables)]
impl StationTable {
    pub fn get(&self, device: &str) -> Option<&Arc<Station>> {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Station>> {
        [].iter()
    }
    /// The stations that observe an asset.
    pub fn of_asset(&self, asset: AssetNumber) -> &[Arc<Station>] {
        todo!()
    }
}

/// What the API may ask of the running pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Present {}

#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Present {
    /// The stations now.
    pub fn stations(&self) -> Arc<StationTable> {
        todo!()
    }
    /// The newest sample of a series.
    pub fn latest(&self, series: SeriesId) -> Option<Sample> {
        todo!()
    }
    /// What the map shows of an asset.
    pub fn state(&self, asset: AssetNumber) -> Option<AssetState> {
        todo!()
    }
    /// Every open alert, worst and newest first.
    pub fn open_alerts(&self) -> Arc<Vec<Alert>> {
        todo!()
    }
    /// Acknowledges; returns when it is on disk.
    pub async fn acknowledge(
        &self,
        id: AlertId,
        version: Option<u32>,
        who: &str,
        note: Option<&str>,
    ) -> Result<Alert, AlertError> {
        todo!()
    }
    /// A device by its id.
    pub fn station(&self, device: &DeviceId) -> Option<Arc<Station>> {
        todo!()
    }
}
