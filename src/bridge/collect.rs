//! From the store's commits and the logs of alerts and cases into the outbox. One thread; it sleeps while nothing happens.
//!
//! Readings are read from the store's unsealed commits, by a cursor that moves with what is put in: so what the store has, the
//! outbox gets, whatever is killed between the two. The store may seal only what was read (`Holdback`), for a bounded
//! while: a bridge that cannot keep up loses readings, is told so, and never slows the town down.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::{Connection, OptionalExtension};

use super::BridgeError;
use super::config::BridgeConfig;
use super::health::{Hand, Health};
use super::letter::{self, Directory, News};
use super::outbox::{Cursor, Message, Outbox};
use crate::alert::{self, AlertId};
use crate::case::{self, CaseNews};
use crate::link::Pause;
use crate::model::{Severity, Timestamp};
use crate::pipeline::{Holdback, StationTable};
use crate::store::{CommitSeq, Store, StoreError};

/// How often all is looked at: a look that finds nothing is three reads of an index.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Messages in one transaction.
const PAGE: usize = 2_000;

/// Entries of a log of alerts or cases that are read at once.
const ENTRIES: usize = 500;

/// What the collector needs of the other rooms.
pub(super) struct Collector {
    pub(super) config: BridgeConfig,
    pub(super) outbox: Outbox,
    pub(super) store: Arc<dyn Store>,
    /// The town's state file, of which the logs of alerts and cases are read.
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
        let newest = |log: &str| -> rusqlite::Result<i64> {
            let sql = format!("SELECT coalesce(max(seq), 0) FROM {log}");
            town.query_row(&sql, (), |row| row.get(0))
        };
        let cases = newest("case_event")?;
        let newest = Cursor { commits: last, alerts: newest("alert_event")?, cases: Some(cases) };
        Ok(match outbox.cursor()? {
            None => newest,
            // The readings or the town were taken from elsewhere, a backup for example: they count anew.
            Some(kept) => Cursor {
                commits: kept.commits.min(newest.commits),
                alerts: kept.alerts.min(newest.alerts),
                cases: Some(kept.cases.unwrap_or(cases).min(cases)),
            },
        })
    }

    /// Collects until the other end of `stop` is gone, and once more.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        let mut pause = Pause::default();
        let mut wait = LOOK_EVERY;
        loop {
            let is_last =
                matches!(stop.recv_timeout(wait), Ok(()) | Err(RecvTimeoutError::Disconnected));
            wait = self.look_and_rest(&mut pause);
            if is_last {
                return;
            }
        }
    }

    /// Looks, and says how long to rest then: longer and longer while a file cannot be used.
    fn look_and_rest(&mut self, pause: &mut Pause) -> Duration {
        let outcome = self.look();
        let rest = match outcome {
            Ok(()) => {
                pause.reset();
                LOOK_EVERY
            }
            Err(_) => pause.after_failure(),
        };
        self.health.disk(Hand::Collector, outcome.map_err(|why| crate::error_chain(&why)));
        rest
    }

    fn look(&mut self) -> Result<(), BridgeError> {
        self.follow_readings()?;
        while self.follow_alerts()? == ENTRIES {}
        while self.follow_cases()? == ENTRIES {}
        Ok(())
    }

    fn follow_readings(&mut self) -> Result<(), BridgeError> {
        let store = Arc::clone(&self.store);
        let mut page: Vec<Message> = Vec::new();
        let mut outcome = Ok(());
        let mut through = self.cursor.commits;
        let mut skipped = 0;
        store.replay(self.cursor.commits, &mut |seq, commit| {
            skipped += seq.0.saturating_sub(through.0 + 1);
            through = seq;
            // A device's table is there before its first reading is stored.
            self.directory.take_up(&self.stations.load(), &self.config);
            if !self.config.readings.is_empty() {
                page.extend(letter::readings(&self.directory, &self.config, seq, commit));
            }
            if page.len() >= PAGE {
                let (messages, skipped) = (std::mem::take(&mut page), std::mem::take(&mut skipped));
                outcome = self.put(&messages, through, skipped);
            }
            // Where nothing can be put, reading on is in vain.
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        if through > self.cursor.commits {
            self.put(&page, through, skipped)?;
        }
        Ok(())
    }

    /// `skipped` commits were not there any more; told only with what is put in, because they will be met again otherwise.
    fn put(
        &mut self,
        messages: &[Message],
        commits: CommitSeq,
        skipped: u64,
    ) -> Result<(), BridgeError> {
        self.put_at(messages, Cursor { commits, ..self.cursor })?;
        self.holdback.read_through(commits);
        if skipped > 0 {
            self.health.skipped(skipped);
        }
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
            .query_map((self.cursor.alerts, ENTRIES as i64), |row| {
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

    /// A page of the cases' log; returns how long it was.
    fn follow_cases(&mut self) -> Result<usize, BridgeError> {
        let page = case::news(&self.town, self.cursor.cases.unwrap_or(0), ENTRIES)?;
        let Some(last) = page.last() else { return Ok(0) };
        let cursor = Cursor { cases: Some(last.seq), ..self.cursor };
        let kinds = &self.config.kinds;
        let is_wanted = |news: &&CaseNews| {
            self.goes_up(i64::from(news.severity.rank()))
                && (kinds.is_empty() || news.kind.is_some_and(|kind| kinds.contains(&kind)))
        };
        let messages: Vec<_> = match self.config.cases() {
            "" => Vec::new(),
            _ => page.iter().filter(is_wanted).map(|n| letter::case(&self.config, n)).collect(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::{Measurement, Quality, SeriesId};
    use crate::registry::Registry;
    use crate::store::{EmbeddedStore, SeriesKey};

    fn reading(series: SeriesId, second: i64) -> Measurement {
        let at = Timestamp::from_secs(second);
        Measurement { series, quality: Quality::GOOD, observed_at: at, received_at: at, value: 1.0 }
    }

    #[test]
    fn a_queue_that_cannot_be_used_is_left_alone_longer_and_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let (clock, _) = Clock::manual(Timestamp::from_secs(100));
        Registry::open(&file("town.db"), clock.clone()).expect("a town");
        let store = EmbeddedStore::open(&file("readings.db")).expect("a store");
        let key = SeriesKey {
            device: "a".parse().expect("an id"),
            metric: "level".parse().expect("a name"),
        };
        let series = store.series(&[key]).expect("numbered")[0];
        let config = "url = \"mqtt://c\"\nclient_id = \"h\"\ntown = \"wuzhen\"";
        let config: BridgeConfig = toml::from_str(config).expect("a section");
        let outbox = Outbox::open(&file("bridge.db"), 100).expect("a queue");
        let town = Connection::open(file("town.db")).expect("open");
        let cursor = Collector::begin(&outbox, &store, &town).expect("a beginning");
        let store: Arc<dyn Store> = Arc::new(store);
        let mut collector = Collector {
            config,
            outbox,
            store: Arc::clone(&store),
            town,
            stations: Arc::default(),
            holdback: Arc::default(),
            health: Arc::new(Health::new("c:1883".to_owned(), 100, clock)),
            cursor,
            directory: Directory::default(),
        };
        let mut pause = Pause::default();
        store.append(&[&[reading(series, 1)]]).expect("appended");
        assert_eq!(collector.look_and_rest(&mut pause), LOOK_EVERY);
        let before = collector.cursor;
        assert_eq!(before.commits, CommitSeq(1));

        let other = Connection::open(file("bridge.db")).expect("open");
        other.execute_batch("ALTER TABLE cursor RENAME TO away").expect("renamed");
        store.append(&[&[reading(series, 2)]]).expect("appended");
        let rests: Vec<_> = (0..12).map(|_| collector.look_and_rest(&mut pause)).collect();
        assert!(rests[0] > LOOK_EVERY, "{rests:?}");
        assert!(rests[8..].iter().all(|rest| *rest >= Duration::from_secs(15)), "{rests:?}");
        assert_eq!(collector.cursor, before, "it goes on where it stood");
        let problem = collector.health.look().problem.expect("told");
        assert!(problem.en.contains("cannot be used"), "{}", problem.en);

        other.execute_batch("ALTER TABLE away RENAME TO cursor").expect("renamed");
        assert_eq!(collector.look_and_rest(&mut pause), LOOK_EVERY);
        assert_eq!(collector.cursor.commits, CommitSeq(2));
        assert_eq!(collector.health.look().problem, None);
    }
}
