//! The promises of every store, kept with an engine behind it.

use std::path::Path;
use std::time::Duration;

use super::super::engine::Engine;
use super::super::lines::LATEST;
use super::super::{QueueConfig, RemoteStore};
use super::victoria::Victoria;
use super::{wait_until, wait_until_sent};
use crate::clock::Clock;
use crate::model::{SeriesId, Timestamp};
use crate::store::Store;
use crate::store::conformance::{self, Bench};

/// Remote stores over an engine that is made anew for each.
pub(super) struct Remote<E, F> {
    pub(super) engine: E,
    /// Makes readable what was acknowledged.
    pub(super) flush: F,
    /// How long readings stay here.
    pub(super) near: Duration,
}

impl<E: Fn() -> Box<dyn Engine>, F: Fn()> Bench for Remote<E, F> {
    type Store = RemoteStore;

    fn open(&self, folder: &Path) -> RemoteStore {
        let path = folder.join("readings.db");
        let queue = QueueConfig { near: self.near, ..QueueConfig::default() };
        let limits = conformance::SMALL;
        RemoteStore::open(&path, limits, (self.engine)(), queue, Clock::system()).unwrap()
    }

    /// All of it goes to the engine, and is deleted here.
    fn age(&self, store: &RemoteStore) {
        wait_until_sent(store);
        (self.flush)();
        // VictoriaMetrics finds series that are new to it some seconds late, day by day: nothing is deleted here that it does not
        // show when it is asked as the tests ask.
        for (key, n) in store.all_series().iter().zip(0..) {
            let here = store.post.local.range(SeriesId(n), Timestamp::EPOCH, LATEST, usize::MAX);
            let here = here.unwrap();
            let (Some(first), Some(last)) = (here.first(), here.last()) else { continue };
            let (from, to) = (first.observed_at, last.observed_at.plus(Duration::from_millis(1)));
            wait_until(store, "the engine shows it", |store| {
                let found = store.post.engine.range(key, from, to, usize::MAX);
                found.unwrap().len() >= here.len()
            });
        }
        assert!(store.post.local.seal_now().unwrap());
        let long_after = Timestamp::from_secs(1_760_000_000);
        // The days that lose readings are rolled up first, which the first call only asks for.
        wait_until(store, "it is deleted here", |store| {
            store.delete_before(long_after).unwrap();
            assert!(store.post.local.seal_now().unwrap());
            store.post.local.stats().unwrap().sealed_readings == 0
        });
        // Later still when the engine knew series before: the store then counts as one that lost its own file.
        assert!(store.post.marks().near_from.as_micros() / 3_600_000_000 >= 1_760_000_000 / 3_600);
    }

    fn forgets(&self) -> bool {
        false
    }
}

#[test]
fn victoriametrics_conforms() {
    let Some(server) = Victoria::start() else { return };
    let engine = || Box::new(server.engine(Duration::from_millis(20))) as Box<dyn Engine>;
    let near = Duration::from_secs(50 * 365 * 86_400);
    conformance::suite(&Remote { engine, flush: || server.flush(), near });
}
