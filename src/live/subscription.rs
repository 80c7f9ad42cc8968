//! One page's place in the feed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ring::News;
use super::{
    Concern, Cursor, Filter, MAX_SUBSCRIPTIONS, MAX_WATCHED, Shared, SubscribeError, encode, event,
};
use crate::model::AssetNumber;

/// Values go out this often at most: faster than an eye reads a number.
const VALUE_PACE: Duration = Duration::from_millis(100);

/// One page's place in the feed. Holds no events: it reads on in the shared ring when its socket asks for more. Dropping it
/// ends it.
pub struct Subscription {
    shared: Arc<Shared>,
    at: Cursor,
    wake: watch::Receiver<bool>,
    /// Why the page must read the map again before anything else.
    reload: Option<&'static str>,
    assets: Vec<AssetNumber>,
    /// What the page may see; `None`: everything.
    filter: Option<Filter>,
    values: watch::Receiver<u64>,
    values_seen: u64,
    pace: Interval,
}

enum Woken {
    Events,
    Values,
    Closed,
}

impl Subscription {
    pub(super) fn open(
        shared: Arc<Shared>,
        since: Option<Cursor>,
        mut assets: Vec<AssetNumber>,
        filter: Option<Filter>,
    ) -> Result<Self, SubscribeError> {
        assets.sort_unstable();
        assets.dedup();
        if assets.len() > MAX_WATCHED {
            return Err(SubscribeError::TooManyAssets(assets.len()));
        }
        let wake = shared.wake.subscribe();
        if *wake.borrow() {
            return Err(SubscribeError::Closed);
        }
        let free = |pages| (pages < MAX_SUBSCRIPTIONS).then_some(pages + 1);
        if shared.pages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_err() {
            return Err(SubscribeError::Full);
        }
        let newest = Cursor { epoch: shared.epoch, seq: shared.ring().newest() };
        let foreign = since.is_some_and(|since| since.epoch != shared.epoch);
        let mut pace = interval(VALUE_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        shared.values.open(&assets);
        let values = shared.values.changes();
        Ok(Subscription {
            at: since.filter(|_| !foreign).unwrap_or(newest),
            wake,
            reload: foreign.then_some("epoch"),
            assets,
            filter,
            values,
            values_seen: 0,
            pace,
            shared,
        })
    }

    /// Where the page stands: the id of the last event that was handed out.
    pub fn cursor(&self) -> Cursor {
        self.at
    }

    /// The next events, encoded; `None` when the feed is closed. Waits when there are none. May be dropped and called
    /// again without loss.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Marks the wake-up as seen before the look at the ring: an event that comes between the two wakes us again.
            if *self.wake.borrow_and_update() {
                return None;
            }
            if let Some(events) = self.events() {
                return Some(events);
            }
            match self.woken().await {
                Woken::Events => {}
                Woken::Values => {
                    if let Some(values) = self.new_values() {
                        return Some(values);
                    }
                }
                Woken::Closed => return None,
            }
        }
    }

    /// Waits for a reason to look again. Values wait for their pace too.
    async fn woken(&mut self) -> Woken {
        let fresh_values = !self.assets.is_empty() && *self.values.borrow() > self.values_seen;
        tokio::select! {
            woken = self.wake.changed() => woken.map_or(Woken::Closed, |()| Woken::Events),
            _ = self.pace.tick(), if fresh_values => Woken::Values,
            // Only a reason to come round again: the page's pace then decides when it sees the value.
            woken = self.values.changed(), if !self.assets.is_empty() && !fresh_values => {
                woken.map_or(Woken::Closed, |()| Woken::Events)
            }
        }
    }

    fn events(&mut self) -> Option<Bytes> {
        if let Some(reason) = self.reload.take() {
            return Some(self.reload_event(reason));
        }
        let ring = self.shared.ring();
        let news = ring.since(self.at, self.filter.as_ref());
        let newest = ring.newest();
        drop(ring);
        match news {
            News::None => None,
            News::Events(events) => {
                self.at.seq = newest;
                Some(match &events[..] {
                    [] => return None,
                    [one] => one.clone(),
                    many => many.concat().into(),
                })
            }
            News::Gap => {
                self.at.seq = newest;
                Some(self.reload_event("gap"))
            }
        }
    }

    /// Tells the page to read the map again and to go on from that map's cursor, which is not before this event's id.
    fn reload_event(&self, reason: &str) -> Bytes {
        event("reload", self.at, &format!("{{\"reason\":\"{reason}\"}}"))
    }

    fn new_values(&mut self) -> Option<Bytes> {
        let seen_now: Vec<_>;
        let assets = match &self.filter {
            None => &self.assets[..],
            Some(filter) => {
                let seen =
                    self.assets.iter().copied().filter(|&asset| filter(&Concern::Asset(asset)));
                seen_now = seen.collect();
                &seen_now
            }
        };
        let (rows, seen) = self.shared.values.since(assets, self.values_seen);
        self.values_seen = seen;
        if rows.is_empty() {
            return None;
        }
        let data = encode::rows(rows.iter().map(AsRef::as_ref));
        Some(event("value", self.at, &data))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.values.close(&self.assets);
        self.shared.pages.fetch_sub(1, Ordering::Relaxed);
    }
}
