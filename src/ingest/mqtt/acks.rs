//! The acknowledgements that a session owes: in the order of the messages, and only once their readings are on disk.

use std::collections::{HashSet, VecDeque};

use super::frame::Version;
use super::publish::Qos;

/// Success (MQTT 5, section 2.4).
pub(super) const SUCCESS: u8 = 0x00;
/// Not authorized.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
/// Topic name invalid.
pub(super) const TOPIC_NAME_INVALID: u8 = 0x90;
/// Payload format invalid: the profile could not decode it. Kept by the hub for a look, so acknowledged.
pub(super) const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// What is owed, oldest first [MQTT-4.6.0-2].
#[derive(Debug, Default)]
pub(super) struct Acks {
    owed: VecDeque<Owed>,
    /// Identifiers of QoS 2 messages that came but are not released: a repetition of one is not taken twice.
    unreleased: HashSet<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    /// The batch that must be durable first.
    batch: u64,
    packet: u8,
    id: u16,
    code: u8,
}

impl Acks {
    /// How many messages are not yet acknowledged.
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether an answer waits for this batch, which is the newest.
    pub(super) fn owes_for(&self, batch: u64) -> bool {
        self.owed.back().is_some_and(|owed| owed.batch == batch)
    }

    /// Whether this message came before and is waiting for its release: then it is acknowledged, not taken again.
    pub(super) fn is_repetition(&self, qos: Qos) -> bool {
        matches!(qos, Qos::ExactlyOnce(id) if self.unreleased.contains(&id))
    }

    /// Owes an answer to a message that went into `batch`.
    pub(super) fn owe(&mut self, qos: Qos, batch: u64, code: u8) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce(id) => self.owed.push_back(Owed { batch, packet: PUBACK, id, code }),
            Qos::ExactlyOnce(id) => {
                // An error code ends the delivery: no PUBREL will follow (MQTT 5, section 4.3.3).
                if code < 0x80 {
                    self.unreleased.insert(id);
                }
                self.owed.push_back(Owed { batch, packet: PUBREC, id, code });
            }
        }
    }

    /// Writes what is owed up to batch `durable`.
    pub(super) fn write(&mut self, durable: u64, version: Version, out: &mut Vec<u8>) {
        while let Some(owed) = self.owed.pop_front_if(|owed| owed.batch <= durable) {
            let [high, low] = owed.id.to_be_bytes();
            match (version, owed.code) {
                (Version::V5, code) if code != SUCCESS => {
                    out.extend([owed.packet, 3, high, low, code]);
                }
                _ => out.extend([owed.packet, 2, high, low]),
            }
        }
    }

    /// Answers a PUBREL: the message may come again under the same identifier, as another.
    pub(super) fn release(&mut self, id: u16, out: &mut Vec<u8>) {
        self.unreleased.remove(&id);
        let [high, low] = id.to_be_bytes();
        out.extend([PUBCOMP, 2, high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_acknowledged_before_its_batch_is_durable() {
        let mut acks = Acks::default();
        acks.owe(Qos::AtMostOnce, 1, SUCCESS);
        acks.owe(Qos::AtLeastOnce(7), 1, SUCCESS);
        acks.owe(Qos::AtLeastOnce(8), 2, PAYLOAD_FORMAT_INVALID);
        let mut out = Vec::new();
        acks.write(0, Version::V5, &mut out);
        assert!(out.is_empty());
        acks.write(1, Version::V5, &mut out);
        assert_eq!(out, [0x40, 2, 0, 7]);
        acks.write(2, Version::V5, &mut out);
        assert_eq!(out, [0x40, 2, 0, 7, 0x40, 3, 0, 8, 0x99]);
        assert!(acks.is_empty());
    }

    #[test]
    fn a_repetition_at_qos_2_is_known_until_its_release() {
        let mut acks = Acks::default();
        let mut out = Vec::new();
        acks.owe(Qos::ExactlyOnce(7), 1, SUCCESS);
        assert!(acks.is_repetition(Qos::ExactlyOnce(7)));
        acks.write(1, Version::V4, &mut out);
        acks.release(7, &mut out);
        assert!(!acks.is_repetition(Qos::ExactlyOnce(7)));
        assert_eq!(out, [0x50, 2, 0, 7, 0x70, 2, 0, 7]);
    }
}
