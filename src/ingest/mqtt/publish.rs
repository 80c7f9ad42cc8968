//! PUBLISH, read in place: the one packet of which there are hundreds of thousands a second, so it is neither copied
//! nor allocated for.

use super::frame::{Fields, Frame, Version};
use super::refusal::Refusal;

/// A PUBLISH packet, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) qos: Qos,
    pub(super) retain: bool,
    /// Not yet known to be UTF-8: a session compares it with the last topic first.
    pub(super) topic: &'a [u8],
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
    /// Reads a frame of type PUBLISH.
    ///
    /// # Errors
    /// When a field runs past the packet, an identifier is 0, or a property is not one that a client may send.
    pub(super) fn read(frame: &Frame<'a>, version: Version) -> Result<Self, Refusal> {
        let mut fields = Fields(frame.body);
        let topic = fields.binary()?;
        let qos = match (frame.flags >> 1) & 0b11 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce(packet_id(&mut fields)?),
            _ => Qos::ExactlyOnce(packet_id(&mut fields)?),
        };
        if version == Version::V5 {
            check_properties(fields.properties()?)?;
        }
        if topic.is_empty() {
            // Only a topic alias could name it, and the door grants none (topic alias maximum 0).
            return Err(Refusal::TopicAlias);
        }
        Ok(Publish { qos, retain: frame.flags & 1 == 1, topic, payload: fields.0 })
    }
}

/// A packet identifier is never 0 [MQTT-2.2.1-3].
fn packet_id(fields: &mut Fields<'_>) -> Result<u16, Refusal> {
    match fields.u16()? {
        0 => Err(Refusal::Malformed("packet identifier 0")),
        id => Ok(id),
    }
}

/// Walks the properties of a PUBLISH (MQTT 5, section 3.3.2.3). Their content means nothing to telemetry, but a
/// malformed packet is refused as one.
fn check_properties(mut fields: Fields<'_>) -> Result<(), Refusal> {
    while !fields.0.is_empty() {
        match fields.u8()? {
            // Payload format indicator.
            0x01 => drop(fields.take(1)?),
            // Message expiry interval.
            0x02 => drop(fields.take(4)?),
            // Content type, response topic, correlation data.
            0x03 | 0x08 | 0x09 => drop(fields.binary()?),
            // User property.
            0x26 => {
                fields.binary()?;
                fields.binary()?;
            }
            // Topic alias.
            0x23 => return Err(Refusal::TopicAlias),
            _ => return Err(Refusal::Malformed("a property that PUBLISH does not have")),
        }
    }
    Ok(())
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
