//! Joins the bus pollers to the pipeline.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ingest::modbus::PollSink;
use crate::model::{DeviceId, Reading, Timestamp};
use crate::pipeline::{Draft, Intake, LinkGuard};

/// Takes what the pollers read.
pub(super) struct Sink {
    intake: Intake,
    links: Mutex<HashMap<DeviceId, LinkGuard>>,
}

impl Sink {
    pub(super) fn new(intake: Intake) -> Self {
        Sink { intake, links: Mutex::default() }
    }
}

impl PollSink for Sink {
    async fn deliver(&self, device: &DeviceId, received_at: Timestamp, readings: &[Reading]) {
        let stations = self.intake.stations();
        // Removed from the registry while it was being asked.
        let Some(station) = stations.get(device.as_str()) else { return };
        let mut draft = Draft::default();
        let handed_in = {
            let mut desk = self.intake.desk(station, received_at, &mut draft);
            desk.polled(readings);
            desk.hand_in(None)
        };
        if let Ok(bill) = handed_in {
            bill.pay().await;
        }
    }

    fn link(&self, device: &DeviceId, up: bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !up {
            links.remove(device);
        } else if let Some(station) = self.intake.stations().get(device.as_str()) {
            links.insert(device.clone(), station.link());
        }
    }
}
