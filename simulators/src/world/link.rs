//! Between a sensor and the wire: what can go wrong with good readings.

use std::collections::VecDeque;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::device::Reading;

/// What a device keeps while it cannot send; the oldest goes first.
const CACHE_MESSAGES: usize = 256;

/// The way of one device's messages.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Says nothing: it is broken, or has no connection.
    pub(super) silent: bool,
    /// How far its clock runs ahead in milliseconds.
    pub(super) clock_off_ms: i64,
    /// Sends everything twice.
    pub(super) twice: bool,
    /// Sends half of each payload.
    pub(super) truncated: bool,
    /// What it kept, while it keeps.
    cache: Option<VecDeque<Vec<u8>>>,
}

impl Link {
    /// The payloads that leave the device for a reading taken at `now_ms`.
    pub(super) fn send(&mut self, reading: &Reading, now_ms: i64) -> Vec<Vec<u8>> {
        if self.silent {
            return Vec::new();
        }
        let mut payload = reading.encode(now_ms + self.clock_off_ms);
        if self.truncated {
            payload.truncate(payload.len() / 2);
        }
        if let Some(cache) = &mut self.cache {
            if cache.len() == CACHE_MESSAGES {
                cache.pop_front();
            }
            cache.push_back(payload);
            return Vec::new();
        }
        if self.twice { vec![payload.clone(), payload] } else { vec![payload] }
    }

    /// From now on it keeps its messages.
    pub(super) fn keep(&mut self) {
        self.cache.get_or_insert_default();
    }

    /// Sends what it kept, in any order, and keeps no more.
    pub(super) fn backfill(&mut self, rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
        let mut kept: Vec<_> = self.cache.take().unwrap_or_default().into();
        kept.shuffle(rng);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::rain_gauge;
    use crate::random::{Stream, generator};

    fn reading() -> Reading {
        Reading::Rain(rain_gauge::Reading { rain_mm: 0.2, battery_v: 3.6 })
    }

    #[test]
    fn faults_do_what_they_say() {
        let mut link = Link { twice: true, ..Link::default() };
        let sent = link.send(&reading(), 5000);
        assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
        let mut link = Link { truncated: true, ..Link::default() };
        assert!(
            serde_json::from_slice::<serde_json::Value>(&link.send(&reading(), 5000)[0]).is_err()
        );
        let mut link = Link { clock_off_ms: 3_600_000, ..Link::default() };
        assert!(link.send(&reading(), 5000)[0].starts_with(b"{\"ts\":3605,"));
        let mut link = Link { silent: true, ..Link::default() };
        assert!(link.send(&reading(), 5000).is_empty());
    }

    #[test]
    fn a_cache_is_bounded_and_comes_back_out_of_order() {
        let mut link = Link::default();
        link.keep();
        for second in 0..CACHE_MESSAGES as i64 + 5 {
            assert!(link.send(&reading(), second * 1000).is_empty());
        }
        let mut sent = link.backfill(&mut generator(1, Stream::Faults));
        assert_eq!(sent.len(), CACHE_MESSAGES);
        let ordered = sent.is_sorted();
        sent.sort();
        sent.dedup();
        assert!(!ordered && sent.len() == CACHE_MESSAGES, "each once, not in order");
        assert_eq!(link.send(&reading(), 0).len(), 1, "it keeps no more");
    }
}
