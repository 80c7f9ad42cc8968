//! Stores with an engine behind them: real engines where there are any, strict stand-ins where there are none.

mod conforming;
mod influx;
mod outage;
mod victoria;

use std::time::{Duration, Instant};

use super::RemoteStore;
use crate::store::Store;

/// Waits until the engine has everything.
fn wait_until_sent(store: &RemoteStore) {
    wait_until(store, "everything is sent", |store| {
        store.post.has_sent_all() && store.remote().unwrap().queue_readings == 0
    });
}

/// Waits for something that another thread or process brings about.
fn wait_until(store: &RemoteStore, what: &str, is_so: impl Fn(&RemoteStore) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so(store) {
        assert!(Instant::now() < deadline, "{what}: {:?}", store.remote());
        std::thread::sleep(Duration::from_millis(10));
    }
}
