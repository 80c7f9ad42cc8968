//! rumqttd's codec for the packets that are rare enough to be owned: CONNECT, SUBSCRIBE, UNSUBSCRIBE and their
//! answers. Only frames that the guard let through come here, and the codec sees only what `strict` found in order.

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    Connect, ConnectProperties, Filter, LastWill, LastWillProperties, Login, Packet, Protocol,
};

use super::frame::{Frame, PacketType, Version};
use super::refusal::Refusal;
use super::strict;

/// The reason code that voids the last will (MQTT 5, section 3.14.2.1).
const NORMAL_DISCONNECTION: u8 = 0x00;

/// A CONNECT packet.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) version: Version,
    pub(super) connect: Connect,
    pub(super) properties: Option<ConnectProperties>,
    pub(super) will: Option<LastWill>,
    pub(super) will_properties: Option<LastWillProperties>,
    pub(super) login: Option<Login>,
}

/// A request of a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Subscribe { id: u16, filters: Vec<Filter>, identifier: Option<u32> },
    Unsubscribe { id: u16, filters: Vec<String> },
    Disconnect { with_will: bool, session_expiry: Option<u32> },
}

/// The protocol level of a CONNECT frame: which codec may read the rest.
///
/// # Errors
/// When the frame is no CONNECT of MQTT 3.1.1 or 5.
pub(super) fn version(frame: &Frame<'_>) -> Result<Version, Refusal> {
    if frame.kind != PacketType::Connect {
        return Err(Refusal::NotConnect);
    }
    match frame.body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Ok(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Ok(Version::V5),
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => Err(Refusal::UnsupportedVersion(*level)),
        // MQTT 3.1 still named itself MQIsdp.
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] => {
            Err(Refusal::UnsupportedVersion(*level))
        }
        _ => Err(Refusal::NotConnect),
    }
}

/// Reads a CONNECT.
///
/// # Errors
/// When the codec cannot read it.
pub(super) fn hello(frame: &Frame<'_>) -> Result<Hello, Refusal> {
    let version = version(frame)?;
    match read(frame, version)? {
        Packet::Connect(connect, properties, will, will_properties, login) => {
            Ok(Hello { version, connect, properties, will, will_properties, login })
        }
        _ => Err(Refusal::NotConnect),
    }
}

/// Reads a SUBSCRIBE, UNSUBSCRIBE or DISCONNECT.
///
/// # Errors
/// When it breaks the standard, or the codec cannot read it.
pub(super) fn request(frame: &Frame<'_>, version: Version) -> Result<Request, Refusal> {
    if frame.kind == PacketType::Disconnect {
        let (code, session_expiry) = strict::disconnect(frame, version)?;
        return Ok(Request::Disconnect { with_will: code != NORMAL_DISCONNECTION, session_expiry });
    }
    match read(frame, version)? {
        Packet::Subscribe(packet, properties) => Ok(Request::Subscribe {
            id: packet.pkid,
            filters: packet.filters,
            identifier: properties
                .and_then(|properties| properties.id)
                .and_then(|id| u32::try_from(id).ok()),
        }),
        Packet::Unsubscribe(packet, _) => {
            Ok(Request::Unsubscribe { id: packet.pkid, filters: packet.filters })
        }
        _ => Err(Refusal::Malformed("a packet that is not what its type says")),
    }
}

/// Writes any packet.
///
/// # Errors
/// When the codec cannot write it.
pub(super) fn write(packet: Packet, version: Version) -> Result<BytesMut, Refusal> {
    let mut bytes = BytesMut::new();
    match version {
        Version::V4 => V4.write(packet, &mut bytes),
        Version::V5 => V5.write(packet, &mut bytes),
    }
    .map_err(|_| Refusal::Malformed("a packet that cannot be written"))?;
    Ok(bytes)
}

fn read(frame: &Frame<'_>, version: Version) -> Result<Packet, Refusal> {
    strict::check(frame, version)?;
    let mut bytes = BytesMut::from(frame.whole);
    let size = frame.whole.len();
    match version {
        Version::V4 => V4.read_mut(&mut bytes, size),
        Version::V5 => V5.read_mut(&mut bytes, size),
    }
    .map_err(|_| Refusal::Malformed("the packet's fields"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame;
    use super::*;

    /// A packet of one type, with its length right, so that random bodies reach the codec and not only the guard.
    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        [&[first, body.len() as u8][..], body].concat()
    }

    fn read_all(bytes: &[u8]) {
        let Ok(Some(frame)) = frame::next(bytes, 1_000) else { return };
        let _ = hello(&frame);
        for version in [Version::V4, Version::V5] {
            if matches!(
                frame.kind,
                PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect
            ) {
                let _ = request(&frame, version);
            }
        }
    }

    #[test]
    fn what_makes_the_codec_panic_does_not_reach_it() {
        for first in [0x20, 0xB0, 0x90, 0xD0, 0xF0, 0x00] {
            assert!(frame::next(&packet(first, &[0, 0]), 1_000).is_err(), "{first:#x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn no_frame_that_passes_the_guard_panics(
            first in prop::sample::select(vec![0x10_u8, 0x82, 0xA2, 0xE0]),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            read_all(&packet(first, &body));
        }

        #[test]
        fn no_connect_panics(level in 3..6_u8, rest in proptest::collection::vec(any::<u8>(), 0..100)) {
            let body = [&[0, 4, b'M', b'Q', b'T', b'T', level][..], &rest].concat();
            read_all(&packet(0x10, &body));
        }
    }
}
