//! From the store's commits and the alerts' log into the outbox. One thread; it sleeps while nothing happens.
//!
//! Readings are read from the store's unsealed commits, by a cursor that moves with what is put in: so what the store has, the
//! outbox gets, whatever is killed between the two. The store may seal only what was read (`Holdback`), for a bounded
//! while: a bridge that cannot keep up loses readings, is told so, and never slows the town down.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::{Connection, OptionalExtension};

use super::BridgeError;
use super::config::BridgeConfig;
use super::health::Health;
use super::letter::{self, Directory, News};
use super::outbox::{Cursor, Message, Outbox};
use crate::alert::{self, AlertId};
use crate::model::{Severity, Timestamp};
use crate::pipeline::{Holdback, StationTable};
use crate::store::{CommitSeq, Store, StoreError};

/// How often both logs are looked at: a look that finds nothing is two reads of an index.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Messages in one transaction.
const PAGE: usize = 2_000;

/// Entries of the alerts' log that are read at once.
const ALERTS: usize = 500;

/// What the collector needs of the other rooms.
pub(super) struct Collector {
    pub(super) config: BridgeConfig,
    pub(super) outbox: Outbox,
    pub(super) store: Arc<dyn Store>,
    /// The town's state file, of which the alerts' log is read.
    pub(super) town: Connection,
    pub(super) stations: Arc<ArcSwap<StationTable>>,
    pub(super) holdback: Arc<Holdback>,
    pub(super) health: Arc<Health>,
    pub(super) cursor: Cursor,
    pub(super) directory: Directory,
}

impl Collector {
    /// Where to begin: behind what was put in before, or behind everything at the first time. What went before does not go up.
    pub(super) fn begin(
        outbox: &Outbox,
        store: &dyn Store,
        town: &Connection,
    ) -> Result<Cursor, BridgeError> {
        let last = store.stats()?.last_commit;
        let alerts = "SELECT coalesce(max(seq), 0) FROM alert_event";
        let newest =
            Cursor { commits: last, alerts: town.query_row(alerts, (), |row| row.get(0))? };
        Ok(match outbox.cursor()? {
            None => newest,
            // The readings or the town were taken from elsewhere, a backup for example: they count anew.
            Some(kept) => Cursor {
                commits: kept.commits.min(newest.commits),
                alerts: kept.alerts.min(newest.alerts),
            },
        })
    }

    /// Collects until the other end of `stop` is gone, and once more.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        loop {
            let is_last = matches!(
                stop.recv_timeout(LOOK_EVERY),
                Ok(()) | Err(RecvTimeoutError::Disconnected)
            );
            let outcome = self.look();
            self.health.disk(outcome.map_err(|why| crate::error_chain(&why)));
            if is_last {
                return;
            }
        }
    }

    fn look(&mut self) -> Result<(), BridgeError> {
        self.follow_readings()?;
        while self.follow_alerts()? == ALERTS {}
        Ok(())
    }

    fn follow_readings(&mut self) -> Result<(), BridgeError> {
        let store = Arc::clone(&self.store);
        let mut page: Vec<Message> = Vec::new();
        let mut outcome = Ok(());
        let mut through = self.cursor.commits;
        let mut skipped = 0;
        store.replay(self.cursor.commits, &mut |seq, commit| {
            if outcome.is_err() {
                return;
            }
            skipped += seq.0.saturating_sub(through.0 + 1);
            through = seq;
            // A device's table is there before its first reading is stored.
            self.directory.take_up(&self.stations.load(), &self.config);
            if !self.config.readings.is_empty() {
                page.extend(letter::readings(&self.directory, &self.config, seq, commit));
            }
            if page.len() >= PAGE {
                outcome = self.put(&std::mem::take(&mut page), through);
            }
        })?;
        outcome?;
        if through > self.cursor.commits {
            self.put(&page, through)?;
        }
        if skipped > 0 {
            self.health.skipped(skipped);
        }
        Ok(())
    }

    fn put(&mut self, messages: &[Message], commits: CommitSeq) -> Result<(), BridgeError> {
        self.put_at(messages, Cursor { commits, ..self.cursor })?;
        self.holdback.read_through(commits);
        Ok(())
    }

    fn put_at(&mut self, messages: &[Message], cursor: Cursor) -> Result<(), BridgeError> {
        let overflow = self.outbox.put(messages, cursor, self.health.waiting())?;
        self.cursor = cursor;
        self.health.put(messages.len(), overflow);
        Ok(())
    }

    /// A page of the alerts' log; returns how long it was.
    fn follow_alerts(&mut self) -> Result<usize, BridgeError> {
        let sql = "SELECT seq, alert, what, at, severity FROM alert_event WHERE seq > ? ORDER BY seq LIMIT ?";
        let page: Vec<(News, u64, i64)> = self
            .town
            .prepare_cached(sql)?
            .query_map((self.cursor.alerts, ALERTS as i64), |row| {
                let at = Timestamp::from_micros(row.get(3)?);
                let news = News { seq: row.get(0)?, what: row.get(2)?, at };
                Ok((news, row.get::<_, i64>(1)?.unsigned_abs(), row.get(4)?))
            })?
            .collect::<Result<_, _>>()?;
        let Some((News { seq, .. }, ..)) = page.last() else { return Ok(0) };
        let cursor = Cursor { alerts: *seq, ..self.cursor };
        let mut messages = Vec::new();
        for (news, id, rank) in &page {
            if self.config.alerts.is_empty() || !self.goes_up(*rank) {
                continue;
            }
            let found = alert::find(&self.town, AlertId(*id)).optional()?.flatten();
            let is_wanted = |device: &str| {
                let stations = self.stations.load();
                let station = stations.get(device);
                self.config.kinds.is_empty()
                    || station.is_some_and(|s| self.config.kinds.contains(&s.profile.kind))
            };
            if let Some(alert) = found.filter(|alert| is_wanted(alert.rule.device.as_str())) {
                messages.push(letter::alert(&self.config, news, &alert));
            }
        }
        self.put_at(&messages, cursor)?;
        Ok(page.len())
    }

    /// By rank, 1 critical to 4 info.
    fn goes_up(&self, rank: i64) -> bool {
        let of = |severity: Severity| i64::from(severity.rank());
        rank <= of(self.config.alerts_from)
    }
}

impl From<StoreError> for BridgeError {
    fn from(error: StoreError) -> Self {
        BridgeError::Store(error)
    }
}
