//! The live feed: what changed, encoded once, pushed to every map.
//!
//! Takes changes that are already on disk; hands on server-sent events with `epoch-seq` ids, as bytes that all pages share.
//! Never holds a queue per page: the last events stand in one ring, and every [`Subscription`] reads on from its own
//! [`Cursor`] as fast as its socket takes them. One that lags gets the states merged per asset and every alert; one that
//! fell out of the ring is told to read the map again. Values (which nobody needs twice) are kept as the newest row per
//! point, only for assets that some page has open, and never enter the ring.
//!
//! Publishing is synchronous and bounded: one encoding, one short lock, one wake-up, whoever listens.
//!
//! Invariant: the judge updates what [`crate::pipeline::Present`] shows before it publishes. A map that reads
//! [`Feed::cursor`] first and the present second can then miss nothing; at worst it hears of a state that it already shows.

mod cursor;
mod encode;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::alert::Alert;
use crate::case::Case;
use crate::model::{AssetNumber, Grade, ZoneId};
use crate::trouble::Trouble;

pub use cursor::{Cursor, CursorError};
pub use encode::event;
use ring::{Entry, Ring};
pub use subscription::Subscription;
use values::Values;

/// Most pages at a time: a street of wallboards and every operator's tabs. Each costs a socket and a few hundred bytes.
pub const MAX_SUBSCRIPTIONS: usize = 512;

/// Most assets whose values one page may ask for: a detail panel needs one, a lot's panel its gates.
pub const MAX_WATCHED: usize = 64;

/// What the map shows of an asset. A `state` event is sent when it changes and only then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AssetState {
    /// Which asset.
    pub asset: AssetNumber,
    /// 0 none, else 1 critical .. 4 info: the worst open alert.
    pub severity: u8,
    /// Whether every open alert is acknowledged.
    pub acknowledged: bool,
    /// How old its values are.
    pub freshness: Freshness,
    /// The code of its headline point when that is a state (occupied, gate motor), else `None`.
    pub state: Option<f64>,
    /// The grade of its headline point.
    pub grade: Grade,
}

/// The age of an asset's values against its profile's staleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Within `stale_after`.
    Fresh = 0,
    /// Beyond it.
    Stale = 1,
    /// Beyond `dead_after`.
    Dead = 2,
    /// Never heard of.
    Never = 3,
}

/// A point's newest value, for pages that ask for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueChange<'a> {
    /// Which asset.
    pub asset: AssetNumber,
    /// Which device.
    pub device: &'a str,
    /// Which metric.
    pub metric: &'a str,
    /// The value.
    pub sample: crate::model::Sample,
}

/// Why a page gets no feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// [`MAX_SUBSCRIPTIONS`] pages listen already.
    #[error("{MAX_SUBSCRIPTIONS} pages listen already; close one or try again later")]
    Full,
    /// More than [`MAX_WATCHED`] assets.
    #[error("a page may ask for the values of {MAX_WATCHED} assets at most, not of {0}")]
    TooManyAssets(usize),
    /// The hub is shutting down.
    #[error("the hub is shutting down")]
    Closed,
}

/// What an event concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// An asset.
    Asset(AssetNumber),
    /// A zone.
    Zone(ZoneId),
    /// Neither: for those only who see the whole town.
    Town,
    /// Everybody, wherever his zones lie.
    Everybody,
}

/// Whether a page may see what concerns this.
pub type Filter = Arc<dyn Fn(&Concern) -> bool + Send + Sync>;

/// The feed's handle. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: u32,
    ring: Mutex<Ring>,
    values: Values,
    /// Wakes every page; true once the feed is closed.
    wake: watch::Sender<bool>,
    pages: AtomicUsize,
}

impl Shared {
    /// A panic while the ring was locked leaves at worst one event out of it, which is no reason to end the feed.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, name: &str, data: &str, entry: impl FnOnce(bytes::Bytes) -> Entry) {
        let mut ring = self.ring();
        let cursor = Cursor { epoch: self.epoch, seq: ring.newest() + 1 };
        ring.push(entry(event(name, cursor, data)));
        drop(ring);
        self.wake.send_modify(|_| ());
    }
}

impl Feed {
    /// A feed of a new epoch, with room for the last `ring` events. An epoch is a run of the hub: sequence numbers start
    /// again, so ids of another run must not be taken for ours.
    pub fn new(epoch: u32, ring: usize) -> Self {
        let (wake, _) = watch::channel(false);
        Feed {
            shared: Arc::new(Shared {
                epoch,
                ring: Mutex::new(Ring::new(ring)),
                values: Values::new(),
                wake,
                pages: AtomicUsize::new(0),
            }),
        }
    }

    /// The newest event: what a snapshot that is built from now on has to go on from.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.shared.epoch, seq: self.shared.ring().newest() }
    }

    /// Sends changed states, one event for all of them.
    pub fn states(&self, changed: &[AssetState]) {
        if !changed.is_empty() {
            let data = encode::states(changed);
            self.shared.publish("state", &data, |bytes| Entry::states(bytes, changed));
        }
    }

    /// Sends a changed alert: every one, never merged.
    pub fn alert(&self, alert: &Alert) {
        match serde_json::to_string(alert) {
            Ok(data) => {
                let asset = alert.asset_number.map_or(Concern::Town, Concern::Asset);
                self.shared.publish("alert", &data, |bytes| Entry::one(bytes, asset));
            }
            Err(error) => {
                tracing::error!(alert.id = alert.id.0, %error, "an alert has no JSON form");
            }
        }
    }

    /// Sends an event of another room, JSON on one line, in the order of the alerts and never merged: a command's step.
    /// `asset` is the number of what it is about.
    pub fn say(&self, name: &str, json: &str, asset: Option<AssetNumber>) {
        let concern = asset.map_or(Concern::Town, Concern::Asset);
        self.shared.publish(name, json, |bytes| Entry::one(bytes, concern));
    }

    /// Sends a changed case: every one, never merged, to those who see its zone.
    pub fn case(&self, case: &Case) {
        match serde_json::to_string(case) {
            Ok(data) => {
                let zone = case.subject.zone.clone().map_or(Concern::Town, Concern::Zone);
                self.shared.publish("case", &data, |bytes| Entry::one(bytes, zone));
            }
            Err(error) => tracing::error!(case.id = case.id.0, %error, "a case has no JSON form"),
        }
    }

    /// Says that a trouble of the hub began, changed or ended: every one, to everybody, and without what only some may
    /// know. A page reads the list for the rest.
    pub fn trouble(&self, trouble: &Trouble) {
        match serde_json::to_string(&trouble.mark()) {
            Ok(data) => {
                self.shared
                    .publish("trouble", &data, |bytes| Entry::one(bytes, Concern::Everybody));
            }
            Err(error) => {
                tracing::error!(trouble.id = trouble.id.0, %error, "a trouble has no JSON form");
            }
        }
    }

    /// Whether any page asked for values of this asset: the judge asks before it makes a [`ValueChange`].
    /// No lock: one load and, when some page has an asset open, one look into a small set.
    pub fn wants_values(&self, asset: AssetNumber) -> bool {
        self.shared.values.wants(asset)
    }

    /// Whether any page asked for any values at all: spares the judge a walk over its batch.
    pub fn wants_any_values(&self) -> bool {
        self.shared.values.wants_any()
    }

    /// Sends values to the pages that asked for them. Others are dropped, and of several values of a point between two
    /// looks of a page it sees the last.
    pub fn values(&self, changed: &[ValueChange<'_>]) {
        self.shared.values.set(changed);
    }

    /// Listens from `since` (what the page has seen), or from now. `assets` are those whose values it wants.
    ///
    /// # Errors
    /// When too many pages listen, the page wants too much, or the hub is shutting down.
    pub fn subscribe(
        &self,
        since: Option<Cursor>,
        assets: Vec<AssetNumber>,
    ) -> Result<Subscription, SubscribeError> {
        self.subscribe_with(since, assets, None)
    }

    /// The same for a page that may not see everything: events that `filter` does not let through are left out, and of
    /// states those. Without a filter (most pages) the bytes are shared as they are.
    ///
    /// # Errors
    /// As [`Feed::subscribe`].
    pub fn subscribe_with(
        &self,
        since: Option<Cursor>,
        assets: Vec<AssetNumber>,
        filter: Option<Filter>,
    ) -> Result<Subscription, SubscribeError> {
        Subscription::open(Arc::clone(&self.shared), since, assets, filter)
    }

    /// How many pages listen.
    pub fn subscribers(&self) -> usize {
        self.shared.pages.load(Ordering::Relaxed)
    }

    /// Ends every subscription and refuses new ones, so that a graceful shutdown does not wait for open pages.
    pub fn close(&self) {
        self.shared.wake.send_replace(true);
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("cursor", &self.cursor())
            .field("subscribers", &self.subscribers())
            .finish_non_exhaustive()
    }
}
