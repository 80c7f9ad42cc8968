//! The last message of every topic that was published to be kept.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::topics;
use super::message::Message;

/// Topics with a retained message: every device's status, and as many again.
const MAX_MESSAGES: usize = 200_000;

/// Memory of all retained messages together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How often a full store is looked through for what has expired.
const SWEEP: Duration = Duration::from_secs(10);

/// Retained messages, in the order of their topics.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<Box<str>, Arc<Message>>,
    bytes: usize,
    /// Topics that are not on disk as they are here.
    changed: HashSet<Box<str>>,
    swept_at: Option<Instant>,
}

impl Retained {
    /// Keeps a message in the place of the former; one without a payload is not kept itself
    /// [MQTT-3.3.1-5, -6, -7]. False when there is no room for it.
    pub(super) fn put(&mut self, message: &Arc<Message>, now: Instant) -> bool {
        if let Some(former) = self.by_topic.remove(&message.topic) {
            self.bytes -= former.size();
            self.changed.insert(former.topic.clone());
        }
        if message.payload.is_empty() {
            return true;
        }
        if !self.has_room_for(message) {
            self.forget_expired(now);
            if !self.has_room_for(message) {
                return false;
            }
        }
        self.bytes += message.size();
        self.changed.insert(message.topic.clone());
        self.by_topic.insert(message.topic.clone(), Arc::clone(message));
        true
    }

    /// The next message behind topic `after` that `filter` matches.
    pub(super) fn next(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Instant,
    ) -> Option<&Arc<Message>> {
        // Only topics that begin as the filter does, up to its first wildcard, can match: `a/#` matches `a` too.
        let literal = filter.find(['+', '#']).map_or(filter, |end| &filter[..end]);
        let literal = literal.strip_suffix('/').unwrap_or(literal);
        let begin = after.map_or(Bound::Included(literal), Bound::Excluded);
        self.by_topic
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(literal))
            .find(|(topic, message)| topics::matches(filter, topic) && !message.has_expired(now))
            .map(|(_, message)| message)
    }

    /// Counts again what is counted.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let bytes: usize = self.by_topic.values().map(|message| message.size()).sum();
        assert_eq!(self.bytes, bytes, "what is retained");
        assert!(bytes <= MAX_BYTES && self.by_topic.len() <= MAX_MESSAGES);
    }

    /// What has changed since this was last asked.
    pub(super) fn changes(&mut self) -> Vec<(Box<str>, Option<Arc<Message>>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|topic| (topic.clone(), self.by_topic.get(&topic).cloned())).collect()
    }

    /// Nothing of it is on disk.
    pub(super) fn all_changed(&mut self) {
        self.changed = self.by_topic.keys().cloned().collect();
    }

    fn has_room_for(&self, message: &Message) -> bool {
        self.by_topic.len() < MAX_MESSAGES && self.bytes + message.size() <= MAX_BYTES
    }

    fn forget_expired(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now < at + SWEEP) {
            return;
        }
        self.swept_at = Some(now);
        let void = self.by_topic.values().filter(|message| message.has_expired(now));
        self.changed.extend(void.map(|message| message.topic.clone()));
        self.by_topic.retain(|_, message| !message.has_expired(now));
        self.bytes = self.by_topic.values().map(|message| message.size()).sum();
    }
}
