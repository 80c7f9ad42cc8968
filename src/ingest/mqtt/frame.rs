//! The guard: cuts a byte stream into frames, and lets only those through that an MQTT client may send.
//!
//! rumqttd's codec panics on packet types that only a server sends (CONNACK on 3.1.1 and 5, UNSUBACK on 5) and trusts
//! lengths and flags that a hostile client chooses. So every frame passes here first: type, flags and size are right
//! before any codec sees it.

use super::refusal::Refusal;

/// What a client may send. The numbers are the standard's control packet types (MQTT 5, table 2-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketType {
    Connect = 1,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    Unsubscribe = 10,
    PingReq = 12,
    Disconnect = 14,
}

/// One whole packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: PacketType,
    /// The low four bits of the first byte.
    pub(super) flags: u8,
    /// What follows the fixed header.
    pub(super) body: &'a [u8],
    /// The packet with its fixed header.
    pub(super) whole: &'a [u8],
}

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1.1, protocol level 4.
    V4,
    /// 5.0, protocol level 5.
    V5,
}

/// Cuts the first frame off `buffer`; `None` when it is not whole yet.
///
/// # Errors
/// When no valid frame of at most `max_bytes` can begin like this: said as early as the bytes show it, so that nobody
/// makes the hub buffer a packet that it will refuse.
pub(super) fn next(buffer: &[u8], max_bytes: usize) -> Result<Option<Frame<'_>>, Refusal> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let flags = first & 0x0F;
    let kind = packet_type(first >> 4, flags)?;
    let Some((length, header)) = variable_integer(&buffer[1..])? else { return Ok(None) };
    let end = 1 + header + length;
    if end > max_bytes {
        return Err(Refusal::PacketTooLarge);
    }
    Ok(buffer.get(..end).map(|whole| Frame { kind, flags, body: &whole[1 + header..], whole }))
}

fn packet_type(number: u8, flags: u8) -> Result<PacketType, Refusal> {
    let (kind, allowed) = match number {
        1 => (PacketType::Connect, flags == 0),
        // QoS 3 does not exist, and a message at QoS 0 is never a repetition [MQTT-3.3.1-2, MQTT-3.3.1-4].
        3 => (PacketType::Publish, flags & 0b0110 != 0b0110 && flags & 0b1110 != 0b1000),
        4 => (PacketType::PubAck, flags == 0),
        5 => (PacketType::PubRec, flags == 0),
        6 => (PacketType::PubRel, flags == 0b0010),
        7 => (PacketType::PubComp, flags == 0),
        8 => (PacketType::Subscribe, flags == 0b0010),
        10 => (PacketType::Unsubscribe, flags == 0b0010),
        12 => (PacketType::PingReq, flags == 0),
        14 => (PacketType::Disconnect, flags == 0),
        _ => return Err(Refusal::Malformed("a packet type that no client sends")),
    };
    if allowed { Ok(kind) } else { Err(Refusal::Malformed("reserved flags in the fixed header")) }
}

/// A variable byte integer (MQTT 5, section 1.5.5) and how many bytes it took; `None` when it is not whole.
pub(super) fn variable_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, Refusal> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(Refusal::Malformed("a length of more than four bytes"));
    }
    Ok(None)
}

/// Reads the fields of a packet's body from the front; every read is bounded by what is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Refusal> {
        match self.0.split_at_checked(n) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(Refusal::Malformed("a field that runs past the packet's end")),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Refusal> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Refusal> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A string: UTF-8 without a NUL [MQTT-1.5.4-1, -2].
    pub(super) fn text(&mut self) -> Result<&'a str, Refusal> {
        let text = std::str::from_utf8(self.binary()?);
        text.ok()
            .filter(|text| !text.contains('\0'))
            .ok_or(Refusal::Malformed("a text that is not UTF-8 or holds a NUL"))
    }

    /// Two bytes of length and that many bytes: binary data, or a string before anybody looked at it.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A property block: its length as a variable byte integer, then that many bytes.
    pub(super) fn properties(&mut self) -> Result<Fields<'a>, Refusal> {
        let Some((length, header)) = variable_integer(self.0)? else {
            return Err(Refusal::Malformed("a property length that runs past the packet's end"));
        };
        self.take(header)?;
        Ok(Fields(self.take(length)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_clients_packets_pass() {
        for number in 0..16_u8 {
            let passes = (0..16_u8).any(|flags| packet_type(number, flags).is_ok());
            assert_eq!(passes, [1, 3, 4, 5, 6, 7, 8, 10, 12, 14].contains(&number), "{number}");
        }
        assert!(next(&[0x36, 0], 100).is_err(), "QoS 3");
        assert!(next(&[0x38, 0], 100).is_err(), "a repetition at QoS 0");
        assert!(next(&[0x80, 0], 100).is_err(), "SUBSCRIBE without its flag");
    }

    #[test]
    fn a_frame_is_cut_off_when_it_is_whole() {
        let buffer = [0xC0, 0, 0x30, 3, 0, 1, b'a', 0xC0];
        let ping = next(&buffer, 100).expect("valid").expect("whole");
        assert_eq!((ping.kind, ping.body.len()), (PacketType::PingReq, 0));
        let publish = next(&buffer[2..], 100).expect("valid").expect("whole");
        assert_eq!((publish.kind, publish.body), (PacketType::Publish, &[0, 1, b'a'][..]));
        assert_eq!(next(&buffer[7..], 100), Ok(None));
    }

    #[test]
    fn a_packet_that_will_be_too_large_is_refused_before_it_is_there() {
        assert_eq!(next(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 65_536), Err(Refusal::PacketTooLarge));
        assert!(next(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 65_536).is_err());
        assert_eq!(next(&[0x30, 0xFF, 0xFF], 65_536), Ok(None));
    }

    proptest! {
        #[test]
        fn cutting_never_panics_and_never_reads_beyond(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(frame)) = next(&bytes, 48) {
                prop_assert!(frame.whole.len() <= 48 && bytes.starts_with(frame.whole));
                prop_assert!(frame.whole.ends_with(frame.body));
            }
        }
    }
}
