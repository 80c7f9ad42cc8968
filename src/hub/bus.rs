//! Joins the command room to the bus pollers.

use std::sync::Arc;

use crate::command::Bus;
use crate::command::machine::Outcome;
use crate::ingest::modbus::{Poller, WriteError};
use crate::model::{DeviceId, PointIndex, Reading};
use crate::profile::RegisterWrite;

/// Asks and tells devices through the pollers' actors, before their polls.
pub(super) struct Buses(pub(super) Arc<Poller>);

impl Bus for Buses {
    async fn write(
        &self,
        device: &DeviceId,
        writes: Vec<RegisterWrite>,
    ) -> (Outcome, Option<String>) {
        match self.0.write(device, writes).await {
            Ok(()) => (Outcome::Done, None),
            Err(error) => {
                let outcome = match error {
                    WriteError::NotSent { .. } => Outcome::NotSent,
                    WriteError::Refused { .. } => Outcome::Refused,
                    WriteError::Unknown { .. } => Outcome::Unknown,
                };
                (outcome, Some(error.to_string()))
            }
        }
    }

    async fn read(&self, device: &DeviceId, points: &[PointIndex]) -> Option<Vec<Reading>> {
        let read = self.0.read_now(device, points).await;
        read.inspect_err(|error| tracing::debug!(%device, %error, "cannot be read now")).ok()
    }
}
