//! PUBLISH, read in place: the one packet of which there are hundreds of thousands a second, so it is neither copied
//! nor allocated for.

use super::frame::{Fields, Frame, Version};
use super::properties;
use super::refusal::Refusal;
use super::services::Word;

/// A PUBLISH packet, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) qos: Qos,
    pub(super) retain: bool,
    /// Not yet known to be UTF-8: a session compares it with the last topic first.
    pub(super) topic: &'a [u8],
    /// The properties, checked, as they stand in the packet.
    pub(super) properties: &'a [u8],
    /// What stands for the topic on this connection.
    pub(super) alias: Option<u16>,
    pub(super) payload: &'a [u8],
}

/// A delivery's promise, with the packet identifier that acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "the standard's names")]
pub(super) enum Qos {
    AtMostOnce,
    AtLeastOnce(u16),
    ExactlyOnce(u16),
}

impl<'a> Publish<'a> {
    /// Reads a frame of type PUBLISH of a client that was granted no aliases.
    ///
    /// # Errors
    /// When a field runs past the packet, an identifier is 0, or a property is not one that a client may send.
    pub(super) fn read(frame: &Frame<'a>, version: Version) -> Result<Self, Refusal> {
        let publish = Self::read_with_alias(frame, version)?;
        if publish.alias.is_some() || publish.topic.is_empty() {
            return Err(Refusal::TopicAlias);
        }
        Ok(publish)
    }

    /// Reads a frame of type PUBLISH; its topic may be empty if it has an alias.
    ///
    /// # Errors
    /// As [`Publish::read`].
    pub(super) fn read_with_alias(frame: &Frame<'a>, version: Version) -> Result<Self, Refusal> {
        let mut fields = Fields(frame.body);
        let topic = fields.binary()?;
        let qos = match (frame.flags >> 1) & 0b11 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce(packet_id(&mut fields)?),
            _ => Qos::ExactlyOnce(packet_id(&mut fields)?),
        };
        let (mut properties, mut alias) = (Fields(&[]), None);
        if version == Version::V5 {
            properties = fields.properties()?;
            for property in properties::walk(properties, properties::OF_PUBLISH) {
                let property = property?;
                if property.id == properties::TOPIC_ALIAS {
                    // Two bytes, as the walk has seen.
                    alias = Some(property.number as u16);
                }
            }
        }
        if topic.is_empty() && alias.is_none() || alias == Some(0) {
            return Err(Refusal::TopicAlias);
        }
        let (retain, payload) = (frame.flags & 1 == 1, fields.0);
        Ok(Publish { qos, retain, topic, properties: properties.0, alias, payload })
    }
}

impl<'a> Publish<'a> {
    /// What services are told of it.
    pub(super) fn word(&self, topic: &'a str) -> Word<'a> {
        let Publish { qos, retain, properties, payload, .. } = *self;
        Word { topic, payload, properties, qos: qos.level(), retain }
    }
}

impl Qos {
    /// 0, 1 or 2.
    pub(super) fn level(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce(_) => 1,
            Qos::ExactlyOnce(_) => 2,
        }
    }
}

/// A packet identifier is never 0 [MQTT-2.2.1-3].
fn packet_id(fields: &mut Fields<'_>) -> Result<u16, Refusal> {
    match fields.u16()? {
        0 => Err(Refusal::Malformed("packet identifier 0")),
        id => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame;
    use super::*;

    fn check(bytes: &[u8], version: Version, expected: Result<(Qos, &[u8], &[u8]), Refusal>) {
        let frame = frame::next(bytes, 1_000).expect("a valid frame").expect("whole");
        let got = Publish::read(&frame, version).map(|p| (p.qos, p.topic, p.payload));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_publish_is_read_in_place() {
        check(&[0x30, 4, 0, 1, b't', b'x'], Version::V4, Ok((Qos::AtMostOnce, b"t", b"x")));
        check(&[0x32, 5, 0, 1, b't', 1, 2], Version::V4, Ok((Qos::AtLeastOnce(258), b"t", b"")));
        let properties = [0x34, 11, 0, 1, b't', 0, 7, 5, 0x02, 0, 0, 0, 9];
        check(&properties, Version::V5, Ok((Qos::ExactlyOnce(7), b"t", b"")));
    }

    #[test]
    fn what_is_no_publish_is_refused() {
        check(
            &[0x32, 5, 0, 1, b't', 0, 0],
            Version::V4,
            Err(Refusal::Malformed("packet identifier 0")),
        );
        check(&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 1], Version::V5, Err(Refusal::TopicAlias));
        check(&[0x30, 3, 0, 0, 0], Version::V5, Err(Refusal::TopicAlias));
        let frame = frame::next(&[0x30, 2, 0, 9], 100).expect("valid").expect("whole");
        assert!(matches!(Publish::read(&frame, Version::V4), Err(Refusal::Malformed(_))));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..64), flags in 0..16_u8) {
            let frame = Frame { kind: frame::PacketType::Publish, flags, body: &body, whole: &body };
            for version in [Version::V4, Version::V5] {
                let _ = Publish::read(&frame, version);
            }
        }
    }
}
