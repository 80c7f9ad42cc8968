//! Commands on their way down to one device.
//!
//! The command room keeps each message on disk until the device has taken it; this is the link's half: which messages
//! are in flight under which packet identifier, and which have been acknowledged. At QoS 1 a message counts as taken
//! when its PUBACK comes, at QoS 0 (a device that asked for no more) when it is written to the socket. A message that was
//! sent on an earlier connection and not acknowledged goes out again, marked as a repetition, so a device acts on the
//! `id` in it once.

use super::broker::put_variable_integer;
use super::frame::Version;
use crate::command::{CommandId, Commands, Message};
use crate::model::DeviceId;

/// Messages in flight: a device takes them one after the other, and a small one has no room for many.
const IN_FLIGHT: usize = 8;

/// Acknowledged messages that are kept in mind: more than can be on their way to the command room.
const DONE_KEPT: usize = 32;

/// The commands of one session: the device's own, and those of the devices behind a gateway.
#[derive(Debug, Default)]
pub(super) struct Downlink {
    heard: Vec<Heard>,
    /// By packet identifier: what waits for its PUBACK.
    in_flight: Vec<(u16, CommandId)>,
    /// Acknowledged here; the room may not have heard of it yet.
    done: Vec<CommandId>,
    last_id: u16,
}

/// A device whose commands this session hears.
#[derive(Debug)]
struct Heard {
    device: DeviceId,
    topic: String,
    qos: u8,
    /// What waits now was perhaps sent on an earlier connection.
    is_fresh: bool,
}

impl Downlink {
    /// The commands of `device` go out under `topic` from now on.
    pub(super) fn subscribe(&mut self, device: DeviceId, topic: &str, qos: u8) {
        self.unsubscribe(topic);
        self.heard.push(Heard { device, topic: topic.to_owned(), qos: qos.min(1), is_fresh: true });
    }

    /// Nothing goes out under `topic` any more.
    pub(super) fn unsubscribe(&mut self, topic: &str) {
        self.heard.retain(|heard| heard.topic != topic);
    }

    /// Whether the session hears any commands.
    pub(super) fn is_listening(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Writes what waits to `out`.
    pub(super) fn send(&mut self, commands: &Commands, version: Version, out: &mut Vec<u8>) {
        let mut heard = std::mem::take(&mut self.heard);
        for one in &mut heard {
            self.send_one(one, commands, version, out);
        }
        self.heard = heard;
    }

    fn send_one(
        &mut self,
        heard: &mut Heard,
        commands: &Commands,
        version: Version,
        out: &mut Vec<u8>,
    ) {
        let mail = commands.mail(&heard.device);
        let was_sent_before = std::mem::take(&mut heard.is_fresh);
        for message in &mail {
            let is_known = self.done.contains(&message.command)
                || self.in_flight.iter().any(|(_, id)| *id == message.command);
            if is_known || self.in_flight.len() >= IN_FLIGHT {
                continue;
            }
            let is_repetition = was_sent_before && commands.was_sent(message.command);
            commands.sent(message.command);
            if heard.qos == 0 {
                write(out, &heard.topic, None, false, version, message);
                self.is_done(message.command, commands);
                continue;
            }
            let id = self.free_id();
            write(out, &heard.topic, Some(id), is_repetition, version, message);
            self.in_flight.push((id, message.command));
        }
    }

    /// The device has taken a message; one that was never sent is ignored.
    pub(super) fn acknowledged(&mut self, id: u16, commands: &Commands) {
        if let Some(place) = self.in_flight.iter().position(|(sent, _)| *sent == id) {
            let (_, command) = self.in_flight.swap_remove(place);
            self.is_done(command, commands);
        }
    }

    /// Kept in mind until the room has certainly heard of it.
    fn is_done(&mut self, command: CommandId, commands: &Commands) {
        if self.done.len() >= DONE_KEPT {
            self.done.remove(0);
        }
        self.done.push(command);
        commands.taken(command);
    }

    fn free_id(&mut self) -> u16 {
        loop {
            // 0 is no identifier [MQTT-2.2.1-3].
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|(id, _)| *id == self.last_id) {
                return self.last_id;
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
    let length = 2 + topic.len() + id.map_or(0, |_| 2) + usize::from(is_v5) + message.payload.len();
    let qos = u8::from(id.is_some()) << 1;
    let dup = u8::from(is_repetition && id.is_some()) << 3;
    out.push(0x30 | qos | dup);
    put_variable_integer(length, out);
    out.extend((topic.len() as u16).to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if is_v5 {
        out.push(0);
    }
    out.extend(&message.payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn check(id: Option<u16>, dup: bool, version: Version, expected: &[u8]) {
        let message = Message {
            command: CommandId(7),
            payload: b"{}".to_vec(),
            expires_at: Timestamp::EPOCH,
        };
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
        let mut downlink = Downlink { last_id: u16::MAX - 1, ..Downlink::default() };
        downlink.in_flight.push((1, CommandId(1)));
        assert_eq!(downlink.free_id(), u16::MAX);
        assert_eq!(downlink.free_id(), 2, "0 is none, 1 is in flight");
    }
}
