//! What rumqttd's codec does not look at in CONNECT, SUBSCRIBE and UNSUBSCRIBE, and the standards forbid: reserved bits,
//! doubled or foreign properties, text with a NUL, filters that are none, bytes behind the packet's end. It walks the packet
//! once, allocates nothing, and leaves the reading to the codec. DISCONNECT it reads itself: the codec does not take one
//! that ends behind its reason code.

use super::frame::{Fields, Frame, PacketType, Version};
use super::properties;
use super::refusal::Refusal;
use super::topics;

/// Checks a frame of one of those types.
///
/// # Errors
/// What the standards say about the first thing that is wrong.
pub(super) fn check(frame: &Frame<'_>, version: Version) -> Result<(), Refusal> {
    let fields = Fields(frame.body);
    match frame.kind {
        PacketType::Connect => connect(fields, version),
        PacketType::Subscribe => subscribe(fields, version),
        PacketType::Unsubscribe => unsubscribe(fields, version),
        _ => Ok(()),
    }
}

/// Section 3.1. The protocol's name and level are known to be right.
fn connect(mut fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    fields.take(7)?;
    let flags = fields.u8()?;
    let [reserved, has_will, will_retain] = [0b1, 0b100, 0b10_0000].map(|bit| flags & bit != 0);
    let will_qos = flags >> 3 & 0b11;
    let [has_password, has_user] = [0b100_0000, 0b1000_0000].map(|bit| flags & bit != 0);
    if reserved {
        return Err(Refusal::Malformed("the reserved flag of CONNECT"));
    }
    if will_qos == 3 || !has_will && (will_qos > 0 || will_retain) {
        return Err(Refusal::Malformed("the flags of a will"));
    }
    // Allowed by 5 only [MQTT-3.1.2-22 of 3.1.1].
    if version == Version::V4 && has_password && !has_user {
        return Err(Refusal::Malformed("a password without a user name"));
    }
    fields.u16()?;
    if version == Version::V5 {
        properties::check(fields.properties()?, properties::OF_CONNECT)?;
    }
    fields.text()?;
    if has_will {
        if version == Version::V5 {
            properties::check(fields.properties()?, properties::OF_WILL)?;
        }
        fields.text()?;
        fields.binary()?;
    }
    if has_user {
        fields.text()?;
    }
    // Any bytes; but every secret that we give is text.
    if has_password && std::str::from_utf8(fields.binary()?).is_err() {
        return Err(Refusal::BadCredentials);
    }
    end(fields)
}

/// Section 3.8.
fn subscribe(mut fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    let is_v5 = packet_id_and_properties(&mut fields, version, properties::OF_SUBSCRIBE)?;
    while !fields.0.is_empty() {
        let filter = fields.text()?;
        let options = fields.u8()?;
        let reserved = if is_v5 { 0b1100_0000 } else { 0b1111_1100 };
        if options & reserved != 0 || options & 0b11 == 0b11 || options & 0b11_0000 == 0b11_0000 {
            return Err(Refusal::Malformed("the options of a subscription"));
        }
        check_filter(filter)?;
        if options & 0b100 != 0 && topics::share(filter).0.is_some() {
            return Err(Refusal::Protocol("no local on a shared subscription"));
        }
    }
    Ok(())
}

/// Section 3.10.
fn unsubscribe(mut fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    packet_id_and_properties(&mut fields, version, properties::OF_UNSUBSCRIBE)?;
    while !fields.0.is_empty() {
        check_filter(fields.text()?)?;
    }
    Ok(())
}

/// Reads a DISCONNECT (section 3.14): its reason code, and the session expiry that it asks for.
///
/// # Errors
/// When it is malformed.
pub(super) fn disconnect(
    frame: &Frame<'_>,
    version: Version,
) -> Result<(u8, Option<u32>), Refusal> {
    let mut fields = Fields(frame.body);
    let (mut code, mut expiry) = (0, None);
    if version == Version::V5 && !fields.0.is_empty() {
        code = fields.u8()?;
        let block = if fields.0.is_empty() { Fields(&[]) } else { fields.properties()? };
        for property in properties::walk(block, properties::OF_DISCONNECT) {
            let property = property?;
            if property.id == properties::SESSION_EXPIRY {
                expiry = Some(property.number);
            }
        }
    }
    end(fields)?;
    Ok((code, expiry))
}

fn packet_id_and_properties(
    fields: &mut Fields<'_>,
    version: Version,
    allowed: &'static [u8],
) -> Result<bool, Refusal> {
    if fields.u16()? == 0 {
        return Err(Refusal::Malformed("packet identifier 0"));
    }
    let is_v5 = version == Version::V5;
    if is_v5 {
        properties::check(fields.properties()?, allowed)?;
    }
    if fields.0.is_empty() {
        return Err(Refusal::Protocol("a request without a filter"));
    }
    Ok(is_v5)
}

fn check_filter(filter: &str) -> Result<(), Refusal> {
    let (share, plain) = topics::share(filter);
    let has_name = share.is_none_or(|name| !name.is_empty() && !name.contains(['+', '#']));
    if has_name && topics::is_filter(plain) { Ok(()) } else { Err(Refusal::BadFilter) }
}

fn end(fields: Fields<'_>) -> Result<(), Refusal> {
    if fields.0.is_empty() { Ok(()) } else { Err(Refusal::Malformed("bytes behind its end")) }
}
