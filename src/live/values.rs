//! Values for the pages that have an asset open: the newest row of each point, kept while somebody wants it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{ValueChange, encode};
use crate::model::{AssetNumber, Timestamp};

/// What is wanted and the newest of it. Bounded by what pages may ask for, not by what devices send.
pub(super) struct Values {
    /// The wanted assets again, to be asked without a lock for every reading of the town.
    wanted: ArcSwap<HashSet<AssetNumber>>,
    table: Mutex<Table>,
    /// The number of the newest change; wakes the pages.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    assets: HashMap<AssetNumber, Watched>,
    newest: u64,
}

#[derive(Default)]
struct Watched {
    /// How many pages have this asset open.
    pages: usize,
    /// The newest row by device and metric.
    rows: BTreeMap<(String, String), Row>,
}

struct Row {
    observed_at: Timestamp,
    /// The number of the change that wrote it.
    change: u64,
    /// The row as it goes out, encoded once for all pages.
    json: Arc<str>,
}

impl Watched {
    /// Keeps the value, unless it is history: what arrives late must not replace what is true now.
    fn take(&mut self, value: &ValueChange<'_>, change: u64) -> bool {
        let observed_at = value.sample.observed_at;
        let point = (value.device.to_owned(), value.metric.to_owned());
        if self.rows.get(&point).is_some_and(|row| row.observed_at > observed_at) {
            return false;
        }
        let json = encode::value(value).into();
        self.rows.insert(point, Row { observed_at, change, json });
        true
    }
}

impl Values {
    pub(super) fn new() -> Self {
        Values {
            wanted: ArcSwap::from_pointee(HashSet::new()),
            table: Mutex::default(),
            newest: watch::channel(0).0,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wants_any(&self) -> bool {
        !self.wanted.load().is_empty()
    }

    pub(super) fn wants(&self, asset: AssetNumber) -> bool {
        let wanted = self.wanted.load();
        !wanted.is_empty() && wanted.contains(&asset)
    }

    /// Tells of new changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// A page opened these assets.
    pub(super) fn open(&self, assets: &[AssetNumber]) {
        let mut table = self.table();
        for &asset in assets {
            table.assets.entry(asset).or_default().pages += 1;
        }
        self.renew_wanted(&table);
    }

    /// A page closed these assets.
    pub(super) fn close(&self, assets: &[AssetNumber]) {
        let mut table = self.table();
        for asset in assets {
            if let Some(watched) = table.assets.get_mut(asset) {
                watched.pages -= 1;
                if watched.pages == 0 {
                    table.assets.remove(asset);
                }
            }
        }
        self.renew_wanted(&table);
    }

    /// Called with the table locked, so that two pages cannot overwrite each other's set.
    fn renew_wanted(&self, table: &Table) {
        self.wanted.store(Arc::new(table.assets.keys().copied().collect()));
    }

    pub(super) fn set(&self, changed: &[ValueChange<'_>]) {
        let mut table = self.table();
        let change = table.newest + 1;
        let mut any = false;
        for value in changed {
            if let Some(watched) = table.assets.get_mut(&value.asset) {
                any |= watched.take(value, change);
            }
        }
        if any {
            table.newest = change;
            drop(table);
            // The highest wins, whichever thread comes here first.
            self.newest.send_modify(|newest| *newest = change.max(*newest));
        }
    }

    /// The rows of `assets` that were written after `seen`, and the number to ask with next time.
    pub(super) fn since(&self, assets: &[AssetNumber], seen: u64) -> (Vec<Arc<str>>, u64) {
        let table = self.table();
        let rows = assets
            .iter()
            .filter_map(|asset| table.assets.get(asset))
            .flat_map(|watched| watched.rows.values())
            .filter(|row| row.change > seen)
            .map(|row| Arc::clone(&row.json))
            .collect();
        (rows, table.newest)
    }
}
