//! Backups by the clock: one thread, one backup at a time, the oldest go. A failure is loud and heals at the next try.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::backup::{Belongings, Finished, list, prune};
use super::bytes_text;
use super::error::UpkeepError;
use super::stop::Stop;
use crate::clock::Clock;
use crate::model::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// The shortest time between two backups.
const LEAST: Duration = Duration::from_secs(60);

/// A failed backup is tried again after so long, or after `every` when that is shorter.
const RETRY: Duration = Duration::from_secs(3_600);

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How nice the thread is to the others: a backup has time.
const NICE: i32 = 10;

/// When backups are made by themselves, and where.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// Where they go, best on another disk. Absent: none are made.
    pub folder: Option<PathBuf>,
    /// How long after the last one the next is made, a minute at least.
    #[serde(with = "crate::config::duration")]
    pub every: Duration,
    /// The time of day, `HH:MM` in the zone of `case.duty`, when `every` is whole days.
    #[serde(deserialize_with = "time_of_day")]
    pub at: Option<Time>,
    /// How many are kept; the oldest go.
    pub keep: usize,
}

impl Default for BackupConfig {
    fn default() -> Self {
        BackupConfig { folder: None, every: DAY, at: None, keep: 7 }
    }
}

fn time_of_day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
    let text = String::deserialize(from)?;
    let time = Time::strptime("%H:%M", &text).map_err(|_| {
        serde::de::Error::custom(format!("`{text}` is no time of day; write for example 03:00"))
    })?;
    Ok(Some(time))
}

impl BackupConfig {
    /// What is wrong with it: the key, what it is, what would be right.
    pub(crate) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let every = || format!("{:?}", self.every);
        if self.every < LEAST {
            return Some(("store.backup.every", every(), "use at least 1min"));
        }
        if self.at.is_some()
            && (self.every.is_zero() || !self.every.as_secs().is_multiple_of(DAY.as_secs()))
        {
            return Some((
                "store.backup.every",
                every(),
                "use whole days, for example 1d, together with `at`",
            ));
        }
        if self.keep == 0 {
            return Some(("store.backup.keep", "0".to_owned(), "use at least 1"));
        }
        None
    }

    /// When the next is due after one that was made at `last`.
    fn due_after(&self, last: Timestamp, zone: &TimeZone) -> Timestamp {
        let Some(at) = self.at else { return last.plus(self.every) };
        let after = || -> Result<Timestamp, jiff::Error> {
            let last = jiff::Timestamp::from_microsecond(last.as_micros())?.to_zoned(zone.clone());
            let days = i64::try_from(self.every.as_secs() / DAY.as_secs()).unwrap_or(1);
            let mut date = last.date();
            if last.time() >= at {
                date = date.tomorrow()?;
            }
            let date = date.checked_add(jiff::Span::new().try_days(days - 1)?)?;
            let due = date.to_datetime(at).to_zoned(zone.clone())?.timestamp();
            Ok(Timestamp::from_micros(due.as_microsecond()))
        };
        after().unwrap_or_else(|_| last.plus(self.every))
    }
}

/// How the backups are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
#[schema(as = Backups)]
pub struct BackupView {
    /// When the last one was made that is whole; null when there is none.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub last_at: Option<Timestamp>,
    /// Its size.
    pub last_bytes: u64,
    /// When the next is due.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub next_at: Option<Timestamp>,
    /// Why the last try failed; null when it did not.
    #[schema(required)]
    pub failure: Option<String>,
}

/// Shows how the backups are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Backups(Arc<Mutex<BackupView>>);

impl Backups {
    /// How they are now.
    pub fn view(&self) -> BackupView {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BackupView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that makes them.
#[derive(Debug)]
pub struct BackupThread {
    thread: JoinHandle<()>,
    stop: Stop,
    wake: Sender<()>,
}

impl BackupThread {
    /// Starts it; `None` when no folder is configured.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        config: &BackupConfig,
        belongings: Belongings,
        zone: TimeZone,
        clock: Clock,
    ) -> std::io::Result<Option<(Self, Backups)>> {
        let Some(folder) = config.folder.clone() else { return Ok(None) };
        let backups = Backups::default();
        let stop = Stop::default();
        let (wake, woken) = channel::<()>();
        let keeper = BackupKeeper {
            config: config.clone(),
            folder,
            belongings,
            zone,
            clock,
            stop: stop.clone(),
            backups: backups.clone(),
            retry_at: None,
        };
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(move || {
            if let Err(why) = rustix::process::nice(NICE) {
                warn!(error = %why, "backups are made at the hub's own priority");
            }
            let mut keeper = keeper;
            loop {
                keeper.look();
                if !matches!(woken.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        })?;
        Ok(Some((BackupThread { thread, stop, wake }, backups)))
    }

    /// Ends it; a backup that is being made is given up. Blocks for moments.
    pub fn join(self) {
        self.stop.set();
        drop(self.wake);
        if self.thread.join().is_err() {
            error!("the backup thread panicked");
        }
    }
}

struct BackupKeeper {
    config: BackupConfig,
    folder: PathBuf,
    belongings: Belongings,
    zone: TimeZone,
    clock: Clock,
    stop: Stop,
    backups: Backups,
    retry_at: Option<Timestamp>,
}

impl BackupKeeper {
    /// Makes a backup if one is due.
    fn look(&mut self) {
        let now = self.clock.now();
        match self.next(now) {
            Ok(due) if due <= now => self.make(now),
            Ok(_) => {}
            Err(why) if self.retry_at.is_none_or(|at| at <= now) => {
                self.failed("no backup was made", &why);
            }
            Err(_) => {}
        }
    }

    /// When the next is due, from what is in the folder: others make backups, too, and take them away.
    fn next(&mut self, now: Timestamp) -> Result<Timestamp, UpkeepError> {
        // A backup of the future is one of a clock that was wrong.
        let last = list(&self.folder)?.into_iter().rev().find(|one| one.manifest.at() <= now);
        let due =
            last.as_ref().map_or(now, |last| self.config.due_after(last.manifest.at(), &self.zone));
        let due = self.retry_at.map_or(due, |retry| due.max(retry));
        let mut view = self.backups.lock();
        view.last_at = last.as_ref().map(|last| last.manifest.at());
        view.last_bytes = last.as_ref().map_or(0, |last| last.manifest.bytes());
        view.next_at = Some(due);
        Ok(due)
    }

    fn make(&mut self, now: Timestamp) {
        let begun = Instant::now();
        match self.belongings.back_up(&self.folder, now, &self.stop) {
            Ok(Finished { folder, manifest }) => {
                info!(
                    folder = %folder.display(), size = bytes_text(manifest.bytes()), duration_ms = begun.elapsed().as_millis() as u64,
                    "a backup is made and checked"
                );
                self.retry_at = None;
                self.backups.lock().failure = None;
                if let Err(why) = self.tidy() {
                    self.failed("a backup is made, but old ones cannot be removed", &why);
                }
            }
            Err(UpkeepError::Stopped) => info!("the backup was given up, for the hub ends"),
            Err(why) => self.failed("no backup was made", &why),
        }
    }

    fn tidy(&mut self) -> Result<(), UpkeepError> {
        let now = self.clock.now();
        for gone in prune(&self.folder, self.config.keep, now)? {
            info!(folder = %gone.display(), "an old backup is removed");
        }
        self.next(now).map(drop)
    }

    fn failed(&mut self, what: &'static str, why: &UpkeepError) {
        let chain = crate::error_chain(why);
        let retry_at = self.clock.now().plus(RETRY.min(self.config.every));
        error!(error = %chain, folder = %self.folder.display(), retry_at = %retry_at, "{what}");
        self.retry_at = Some(retry_at);
        let mut view = self.backups.lock();
        view.failure = Some(chain);
        view.next_at = Some(retry_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: &str, every_days: u64, at: Option<&str>, expected: &str) {
        let config = BackupConfig {
            every: DAY * u32::try_from(every_days).expect("few"),
            at: at.map(|at| Time::strptime("%H:%M", at).expect("a time")),
            ..BackupConfig::default()
        };
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        let time = |text: &str| {
            let at: jiff::Timestamp = text.parse().expect("a time");
            Timestamp::from_micros(at.as_microsecond())
        };
        assert_eq!(config.due_after(time(last), &zone), time(expected), "{last}");
    }

    #[test]
    fn the_next_backup_is_due_at_its_time_of_day() {
        // 03:00 in Shanghai is 19:00 of the day before by UTC.
        check("2026-11-27T19:00:01Z", 1, Some("03:00"), "2026-11-28T19:00:00Z");
        check("2026-11-27T18:59:00Z", 1, Some("03:00"), "2026-11-27T19:00:00Z");
        check("2026-11-27T19:00:00Z", 7, Some("03:00"), "2026-12-04T19:00:00Z");
        check("2026-11-27T19:00:00Z", 1, None, "2026-11-28T19:00:00Z");
    }

    #[test]
    fn a_failure_is_shown_and_heals_at_the_next_try() {
        let home = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_790_000_000));
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        crate::registry::Registry::open(&data.join("town.db"), clock.clone()).unwrap();
        let folder = home.path().join("backups");
        std::fs::write(&folder, "a file stands where the folder should").unwrap();
        let backups = Backups::default();
        let disk = super::super::DiskConfig {
            stop_below: Some(super::super::Level::Bytes(0)),
            ..Default::default()
        };
        let mut keeper = BackupKeeper {
            config: BackupConfig { keep: 2, ..BackupConfig::default() },
            folder: folder.clone(),
            belongings: Belongings { data, profiles: home.path().join("none"), config: None, disk },
            zone: TimeZone::UTC,
            clock: clock.clone(),
            stop: Stop::default(),
            backups: backups.clone(),
            retry_at: None,
        };
        keeper.look();
        let view = backups.view();
        assert_eq!((view.last_at, view.next_at), (None, Some(clock.now().plus(RETRY))));
        assert!(view.failure.unwrap().contains("cannot use"));
        std::fs::remove_file(&folder).unwrap();
        keeper.look();
        assert!(backups.view().failure.is_some(), "not before it is time");
        hand.advance(RETRY);
        for _ in 0..3 {
            keeper.look();
            let view = backups.view();
            assert_eq!((view.last_at, view.failure), (Some(clock.now()), None));
            assert_eq!(view.next_at, Some(clock.now().plus(DAY)));
            keeper.look();
            hand.advance(DAY);
        }
        assert_eq!(list(&folder).unwrap().len(), 2, "the oldest went");
    }

    #[test]
    fn a_schedule_that_cannot_be_is_refused() {
        let usual = BackupConfig::default();
        assert_eq!(usual.fault(), None);
        let at = Time::strptime("%H:%M", "03:00").ok();
        let fault = |config: BackupConfig| config.fault().map(|(key, _, _)| key);
        let hours = BackupConfig { every: DAY / 4, at, ..usual.clone() };
        assert_eq!(fault(hours), Some("store.backup.every"));
        assert_eq!(
            fault(BackupConfig { every: LEAST / 2, ..usual.clone() }),
            Some("store.backup.every")
        );
        assert_eq!(fault(BackupConfig { keep: 0, ..usual }), Some("store.backup.keep"));
    }
}
