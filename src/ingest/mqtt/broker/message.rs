//! One application message, and the PUBLISH packet that carries it to a subscriber.

use std::sync::Arc;

use bytes::Bytes;
use rumqttd::protocol::LastWillProperties;
use tokio::time::Instant;

use super::super::frame::{Fields, Version};
use super::super::properties;

/// What a message costs beside its bytes, in every queue that holds it.
const OVERHEAD_BYTES: usize = 128;

/// An application message: made once, shared by all who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Message {
    pub(in super::super) topic: Box<str>,
    pub(in super::super) payload: Bytes,
    /// The properties that pass unaltered, as they stood in the packet: all but alias and expiry.
    pub(in super::super) properties: Box<[u8]>,
    /// At which it was published.
    pub(in super::super) qos: u8,
    pub(in super::super) retain: bool,
    pub(in super::super) expires_at: Option<Instant>,
}

/// A message on its way to one subscriber.
#[derive(Debug, Clone)]
pub(in super::super) struct Delivery {
    pub(in super::super) message: Arc<Message>,
    /// The lesser of the message's and the subscription's.
    pub(in super::super) qos: u8,
    pub(in super::super) retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub(in super::super) identifiers: Vec<u32>,
    /// The group that it goes to one of.
    pub(in super::super) share: Option<Arc<str>>,
    /// Its number on disk, which grows; 0 where it has none yet.
    pub(in super::super) row: i64,
}

impl Message {
    /// Takes over the checked properties of a PUBLISH: those that pass, and the time after which the message is void.
    pub(in super::super) fn with_properties(mut self, block: &[u8], now: Instant) -> Self {
        let mut passing = Vec::new();
        // The block was walked when the packet was read.
        for property in properties::walk(Fields(block), properties::OF_PUBLISH).flatten() {
            match property.id {
                properties::TOPIC_ALIAS => {}
                properties::MESSAGE_EXPIRY => self.expires_at = after(now, property.number),
                _ => passing.extend(property.whole),
            }
        }
        self.properties = passing.into();
        self
    }

    /// What it costs in a queue.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len() + OVERHEAD_BYTES
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// `seconds` after `now`; `None` where time ends before.
pub(super) fn after(now: Instant, seconds: u32) -> Option<Instant> {
    now.checked_add(std::time::Duration::from_secs(u64::from(seconds)))
}

/// The properties of a will as those of a PUBLISH, so that they pass as any other message's.
pub(in super::super) fn will_properties(will: &LastWillProperties) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, id: u8, value: &[u8]| {
        block.push(id);
        put_binary(block, value);
    };
    if let Some(value) = &will.content_type {
        text(&mut block, properties::CONTENT_TYPE, value.as_bytes());
    }
    if let Some(value) = &will.response_topic {
        text(&mut block, properties::RESPONSE_TOPIC, value.as_bytes());
    }
    if let Some(value) = &will.correlation_data {
        text(&mut block, properties::CORRELATION_DATA, value);
    }
    for (key, value) in &will.user_properties {
        text(&mut block, properties::USER_PROPERTY, key.as_bytes());
        put_binary(&mut block, value.as_bytes());
    }
    if let Some(flag) = will.payload_format_indicator {
        block.extend([properties::PAYLOAD_FORMAT, flag]);
    }
    if let Some(seconds) = will.message_expiry_interval {
        block.push(properties::MESSAGE_EXPIRY);
        block.extend(seconds.to_be_bytes());
    }
    block
}

fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    // A field of a packet that was read: its length fits.
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// A variable byte integer (MQTT 5, section 1.5.5).
pub(in super::super) fn put_variable_integer(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

impl Delivery {
    /// Writes the PUBLISH; false, and nothing written, when it would be larger than `max_bytes` [MQTT-3.1.2-24].
    pub(super) fn write(
        &self,
        id: Option<u16>,
        is_repetition: bool,
        version: Version,
        max_bytes: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let Message { topic, payload, .. } = &*self.message;
        let mut block = Vec::new();
        if version == Version::V5 {
            self.put_properties(now, &mut block);
        }
        let length = 2 + topic.len() + id.map_or(0, |_| 2) + block.len() + payload.len();
        let begin = out.len();
        out.push(0x30 | u8::from(is_repetition) << 3 | self.qos << 1 | u8::from(self.retain));
        put_variable_integer(length, out);
        if out.len() - begin + length > max_bytes {
            out.truncate(begin);
            return false;
        }
        put_binary(out, topic.as_bytes());
        out.extend(id.into_iter().flat_map(u16::to_be_bytes));
        out.extend(block);
        out.extend_from_slice(payload);
        true
    }

    fn put_properties(&self, now: Instant, block: &mut Vec<u8>) {
        let message = &*self.message;
        let mut own = Vec::new();
        if let Some(at) = message.expires_at {
            // The whole seconds that are left, rounded up: a message that is sent has some.
            let left = at.saturating_duration_since(now).as_millis().div_ceil(1_000);
            own.push(properties::MESSAGE_EXPIRY);
            own.extend(u32::try_from(left).unwrap_or(u32::MAX).to_be_bytes());
        }
        for &identifier in &self.identifiers {
            own.push(properties::SUBSCRIPTION_IDENTIFIER);
            put_variable_integer(identifier as usize, &mut own);
        }
        put_variable_integer(own.len() + message.properties.len(), block);
        block.extend(own);
        block.extend_from_slice(&message.properties);
    }
}
