//! Commands on their way down, over the broker.
//!
//! The command room keeps each message on disk until it is taken; here that is when the broker has it. A broker that says
//! that nobody listens (MQTT 5) has not delivered it: the message waits and goes out again. Only devices that were heard on the
//! broker are told over it; one that is connected at the door gets its commands there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::health::Health;
use crate::command::{CommandId, Commands};
use crate::link::{Gone, Outcome, Sender};
use crate::model::DeviceId;
use crate::pipeline::StationTable;

/// Messages ahead of the broker's acknowledgement.
pub(super) const IN_FLIGHT: u16 = 32;

/// Acknowledged messages that are kept in mind: more than can be on their way to the command room.
const DONE_KEPT: usize = 256;

/// How long to wait when nobody listens, and when the broker refuses.
const UNHEARD: Duration = Duration::from_secs(2);
const REFUSED: Duration = Duration::from_secs(30);

/// The commands of one connection.
#[derive(Debug, Default)]
pub(super) struct Post {
    /// Handed in, and not yet written: rumqttc tells the packet identifier then.
    handed_in: VecDeque<CommandId>,
    in_flight: HashMap<u16, CommandId>,
    /// Acknowledged; the room may not have heard of it yet.
    done: VecDeque<CommandId>,
    /// Not delivered; not before this time again.
    later: HashMap<CommandId, Instant>,
}

impl Post {
    /// Sends what waits for devices that are heard on the broker.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) fn send(
        &mut self,
        commands: &Commands,
        stations: &StationTable,
        heard: &mut HashSet<DeviceId>,
        sender: &Sender,
    ) -> Result<(), Gone> {
        let now = Instant::now();
        self.later.retain(|_, at| *at > now);
        for device in commands.recipients() {
            let Some(station) = stations.get(device.as_str()) else { continue };
            if station.is_connected() {
                heard.remove(&device);
            }
            if !heard.contains(&device) {
                continue;
            }
            for message in commands.mail(&device) {
                if self.handed_in.len() + self.in_flight.len() >= usize::from(IN_FLIGHT) {
                    return Ok(());
                }
                if self.knows(message.command) {
                    continue;
                }
                sender.publish(&format!("devices/{device}/commands"), message.payload)?;
                commands.sent(message.command);
                self.handed_in.push_back(message.command);
            }
        }
        Ok(())
    }

    fn knows(&self, command: CommandId) -> bool {
        self.done.contains(&command)
            || self.later.contains_key(&command)
            || self.handed_in.contains(&command)
            || self.in_flight.values().any(|id| *id == command)
    }

    /// The oldest handed-in message went out.
    pub(super) fn went_out(&mut self, id: u16) {
        if let Some(command) = self.handed_in.pop_front() {
            self.in_flight.insert(id, command);
        }
    }

    /// The broker answered.
    pub(super) fn answered(
        &mut self,
        id: u16,
        outcome: &Outcome,
        commands: &Commands,
        health: &Health,
    ) {
        let Some(command) = self.in_flight.remove(&id) else { return };
        let counts = &health.counts;
        match outcome {
            Outcome::Taken => {
                counts.commands.fetch_add(1, Ordering::Relaxed);
                if self.done.len() >= DONE_KEPT {
                    self.done.pop_front();
                }
                self.done.push_back(command);
                commands.taken(command);
            }
            Outcome::Unheard => {
                counts.commands_unheard.fetch_add(1, Ordering::Relaxed);
                self.later.insert(command, Instant::now() + UNHEARD);
            }
            Outcome::Refused(reason) => {
                counts.commands_refused.fetch_add(1, Ordering::Relaxed);
                self.later.insert(command, Instant::now() + REFUSED);
                warn!(
                    command = command.0,
                    reason,
                    "the broker refuses a command; allow the hub to publish devices/+/commands there"
                );
            }
        }
    }
}
