//! Commands on their way down to one device.
//!
//! The command room keeps each message on disk until the device has taken it; this is the link's half: which messages
//! are in flight under which packet identifier, and which have been acknowledged. At QoS 1 a message counts as taken
//! when its PUBACK comes, at QoS 0 (a device that asked for no more) when it is written to the socket. A message that was
//! sent on an earlier connection and not acknowledged goes out again, marked as a repetition, so a device acts on the
//! `id` in it once.

use std::collections::{BTreeMap, HashSet};

use super::frame::Version;
use crate::command::{CommandId, Commands, Message};
use crate::model::DeviceId;

/// Messages in flight: a device takes them one after the other, and a small one has no room for many.
const IN_FLIGHT: usize = 8;

/// The commands of one session.
#[derive(Debug, Default)]
pub(super) struct Downlink {
    /// The QoS that was granted; `None` while the device listens to no commands.
    granted: Option<u8>,
    /// By packet identifier: what waits for its PUBACK.
    in_flight: BTreeMap<u16, CommandId>,
    /// Acknowledged here; the room may not have heard of it yet.
    done: HashSet<CommandId>,
    next_id: u16,
    /// Whether everything that went out before was answered; the room's mail of an earlier session was perhaps sent.
    is_fresh: bool,
}

impl Downlink {
    /// The device listens from now on.
    pub(super) fn subscribe(&mut self, qos: u8) {
        self.granted = Some(qos.min(1));
        self.is_fresh = true;
    }

    /// It listens no more.
    pub(super) fn unsubscribe(&mut self) {
        self.granted = None;
    }

    /// Whether it listens.
    pub(super) fn is_listening(&self) -> bool {
        self.granted.is_some()
    }

    /// Writes what waits for the device to `out`.
    pub(super) fn send(
        &mut self,
        commands: &Commands,
        device: &DeviceId,
        version: Version,
        out: &mut Vec<u8>,
    ) {
        let Some(qos) = self.granted else { return };
        let was_sent_before = std::mem::take(&mut self.is_fresh);
        let topic = format!("devices/{device}/commands");
        for message in commands.mail(device) {
            let is_known = self.done.contains(&message.command)
                || self.in_flight.values().any(|id| *id == message.command);
            if is_known || self.in_flight.len() >= IN_FLIGHT {
                continue;
            }
            let is_repetition = was_sent_before && commands.was_sent(message.command);
            if qos == 0 {
                write(out, &topic, None, is_repetition, version, &message);
                self.done.insert(message.command);
                commands.taken(message.command);
                continue;
            }
            let id = self.free_id();
            write(out, &topic, Some(id), is_repetition, version, &message);
            commands.sent(message.command);
            self.in_flight.insert(id, message.command);
        }
    }

    /// The device has taken a message; one that was never sent is ignored.
    pub(super) fn acknowledged(&mut self, id: u16, commands: &Commands) {
        if let Some(command) = self.in_flight.remove(&id) {
            self.done.insert(command);
            commands.taken(command);
        }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            // 0 is no identifier [MQTT-2.2.1-3].
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.next_id) {
                return self.next_id;
            }
        }
    }
}

/// A PUBLISH packet (MQTT 5, section 3.3; 3.1.1 without properties).
fn write(
    out: &mut Vec<u8>,
    topic: &str,
    id: Option<u16>,
    is_repetition: bool,
    version: Version,
    message: &Message,
) {
    let is_v5 = version == Version::V5;
    let length =
        2 + topic.len() + id.map_or(0, |_| 2) + usize::from(is_v5) + message.payload.len();
    let qos = u8::from(id.is_some()) << 1;
    let dup = u8::from(is_repetition && id.is_some()) << 3;
    out.push(0x30 | qos | dup);
    variable_integer(length, out);
    out.extend((topic.len() as u16).to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if is_v5 {
        out.push(0);
    }
    out.extend(&message.payload);
}

fn variable_integer(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn check(id: Option<u16>, dup: bool, version: Version, expected: &[u8]) {
        let message =
            Message { command: CommandId(7), payload: b"{}".to_vec(), expires_at: Timestamp::EPOCH };
        let mut out = Vec::new();
        write(&mut out, "a/b", id, dup, version, &message);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_message_is_a_publish_packet() {
        check(None, true, Version::V4, b"\x30\x07\0\x03a/b{}");
        check(Some(1), false, Version::V4, b"\x32\x09\0\x03a/b\0\x01{}");
        check(Some(1), true, Version::V5, b"\x3a\x0a\0\x03a/b\0\x01\0{}");
    }

    #[test]
    fn identifiers_go_round_and_leave_out_those_in_flight() {
        let mut downlink = Downlink { next_id: u16::MAX - 1, ..Downlink::default() };
        downlink.in_flight.insert(1, CommandId(1));
        assert_eq!(downlink.free_id(), u16::MAX);
        assert_eq!(downlink.free_id(), 2, "0 is none, 1 is in flight");
    }
}
