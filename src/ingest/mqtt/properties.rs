//! Properties of MQTT 5 (section 2.2.2), walked in place: each of the packet's own, once, and with a value that it may have.
//!
//! rumqttd's codec takes any number of each and any value, so nothing reaches it, or a subscriber, that did not pass here.

use super::frame::{Fields, variable_integer};
use super::refusal::Refusal;

/// Payload format indicator.
pub(super) const PAYLOAD_FORMAT: u8 = 0x01;
/// Message expiry interval, in seconds.
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
/// Content type.
pub(super) const CONTENT_TYPE: u8 = 0x03;
/// Response topic.
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
/// Correlation data.
pub(super) const CORRELATION_DATA: u8 = 0x09;
/// Subscription identifier.
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
/// Session expiry interval, in seconds.
pub(super) const SESSION_EXPIRY: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const REASON_STRING: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
/// Topic alias.
pub(super) const TOPIC_ALIAS: u8 = 0x23;
/// User property.
pub(super) const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// What a client's CONNECT may have.
pub(super) const OF_CONNECT: &[u8] = &[
    SESSION_EXPIRY,
    AUTHENTICATION_METHOD,
    AUTHENTICATION_DATA,
    REQUEST_PROBLEM_INFORMATION,
    REQUEST_RESPONSE_INFORMATION,
    RECEIVE_MAXIMUM,
    TOPIC_ALIAS_MAXIMUM,
    USER_PROPERTY,
    MAXIMUM_PACKET_SIZE,
];
/// What a will may have.
pub(super) const OF_WILL: &[u8] = &[
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    WILL_DELAY,
    USER_PROPERTY,
];
/// What a client's PUBLISH may have.
pub(super) const OF_PUBLISH: &[u8] = &[
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    TOPIC_ALIAS,
    USER_PROPERTY,
];
/// What a SUBSCRIBE may have.
pub(super) const OF_SUBSCRIBE: &[u8] = &[SUBSCRIPTION_IDENTIFIER, USER_PROPERTY];
/// What an UNSUBSCRIBE may have.
pub(super) const OF_UNSUBSCRIBE: &[u8] = &[USER_PROPERTY];
/// What a client's DISCONNECT may have.
pub(super) const OF_DISCONNECT: &[u8] = &[SESSION_EXPIRY, REASON_STRING, USER_PROPERTY];
/// What an acknowledgement may have.
pub(super) const OF_ACK: &[u8] = &[REASON_STRING, USER_PROPERTY];

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Property<'a> {
    pub(super) id: u8,
    /// Its value, if it is a number.
    pub(super) number: u32,
    /// As it stands in the packet.
    pub(super) whole: &'a [u8],
}

/// Walks a block; ends with the first that is wrong.
pub(super) fn walk<'a>(
    mut block: Fields<'a>,
    allowed: &'static [u8],
) -> impl Iterator<Item = Result<Property<'a>, Refusal>> {
    let mut seen = 0_u64;
    std::iter::from_fn(move || {
        if block.0.is_empty() {
            return None;
        }
        let property = next(&mut block, allowed, &mut seen);
        if property.is_err() {
            block = Fields(&[]);
        }
        Some(property)
    })
}

/// Walks a block to its end.
///
/// # Errors
/// When one of its properties is wrong.
pub(super) fn check(block: Fields<'_>, allowed: &'static [u8]) -> Result<(), Refusal> {
    walk(block, allowed).try_for_each(|property| property.map(drop))
}

fn next<'a>(
    block: &mut Fields<'a>,
    allowed: &[u8],
    seen: &mut u64,
) -> Result<Property<'a>, Refusal> {
    let begin = block.0;
    let id = block.u8()?;
    if !allowed.contains(&id) {
        return Err(Refusal::Malformed("a property that the packet does not have"));
    }
    // Every known identifier is below 64.
    if id != USER_PROPERTY && *seen & 1 << id != 0 {
        return Err(Refusal::Protocol("a property that comes twice"));
    }
    *seen |= 1 << id;
    let number = match id {
        PAYLOAD_FORMAT | REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => {
            let flag = block.u8()?;
            if flag > 1 {
                return Err(Refusal::Protocol("a flag that is neither 0 nor 1"));
            }
            u32::from(flag)
        }
        RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => u32::from(block.u16()?),
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY | MAXIMUM_PACKET_SIZE => block.u32()?,
        SUBSCRIPTION_IDENTIFIER => {
            let whole = variable_integer(block.0)?;
            let (value, length) = whole.ok_or(Refusal::Malformed("an identifier cut short"))?;
            block.take(length)?;
            // Four bytes of seven bits.
            value as u32
        }
        CORRELATION_DATA | AUTHENTICATION_DATA => {
            block.binary()?;
            0
        }
        USER_PROPERTY => {
            block.text()?;
            block.text()?;
            0
        }
        RESPONSE_TOPIC => {
            if block.text()?.contains(['+', '#']) {
                return Err(Refusal::Protocol("a response topic with a wildcard"));
            }
            0
        }
        _ => {
            block.text()?;
            0
        }
    };
    let may_not_be_zero = [RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, SUBSCRIPTION_IDENTIFIER];
    if number == 0 && may_not_be_zero.contains(&id) {
        return Err(Refusal::Protocol("a property of 0 that begins at 1"));
    }
    if id == AUTHENTICATION_METHOD {
        return Err(Refusal::AuthenticationMethod);
    }
    Ok(Property { id, number, whole: &begin[..begin.len() - block.0.len()] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_publish(block: &[u8], expected: Result<(), Refusal>) {
        assert_eq!(check(Fields(block), OF_PUBLISH), expected, "{block:?}");
    }

    #[test]
    fn a_property_stands_once_where_it_belongs() {
        check_publish(&[], Ok(()));
        check_publish(&[0x02, 0, 0, 0, 9, 0x26, 0, 0, 0, 0, 0x26, 0, 0, 0, 0], Ok(()));
        check_publish(&[0x01, 2], Err(Refusal::Protocol("a flag that is neither 0 nor 1")));
        check_publish(&[0x01, 1, 0x01, 1], Err(Refusal::Protocol("a property that comes twice")));
        check_publish(
            &[0x0B, 1],
            Err(Refusal::Malformed("a property that the packet does not have")),
        );
        check_publish(
            &[0x08, 0, 1, b'#'],
            Err(Refusal::Protocol("a response topic with a wildcard")),
        );
        assert!(check(Fields(&[0x03, 0, 1, 0xFF]), OF_PUBLISH).is_err(), "not UTF-8");
        assert_eq!(
            check(Fields(&[0x15, 0, 1, b'x']), OF_CONNECT),
            Err(Refusal::AuthenticationMethod)
        );
    }

    proptest! {
        #[test]
        fn walking_never_panics(block in proptest::collection::vec(any::<u8>(), 0..64)) {
            for allowed in [OF_CONNECT, OF_WILL, OF_PUBLISH, OF_SUBSCRIBE, OF_DISCONNECT] {
                let _ = check(Fields(&block), allowed);
            }
        }
    }
}
