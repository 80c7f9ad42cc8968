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

/// Waits for something that another thread or process brings about, for as long as it gets on.
fn wait_until(store: &RemoteStore, what: &str, is_so: impl Fn(&RemoteStore) -> bool) {
    let (mut before, mut deadline) = (store.remote(), Instant::now() + PATIENCE);
    while !is_so(store) {
        let now = store.remote();
        if now != before {
            (before, deadline) = (now, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < deadline, "{what}: {before:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
