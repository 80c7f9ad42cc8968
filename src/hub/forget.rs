//! Forgetting in time: once an hour the store is told what each class of readings may forget.
//!
//! The store does it in short steps behind the commits; between two of its steps this task rests, so that it never takes
//! the disk for itself. What could not be done is tried again at the next look.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::model::Timestamp;
use crate::store::keep::Keep;
use crate::store::{Cutoffs, Forgotten, Store, StoreError};

/// Between two looks. What may go changes once a day.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// Before the first look: a hub that starts has better things to do.
const FIRST_LOOK: Duration = Duration::from_secs(2 * 60);

/// Between two steps, and while the store still rolls up what is to go.
const REST: Duration = Duration::from_millis(200);
const ROLLING: Duration = Duration::from_secs(30);

/// A clock that leaps ahead by more than this is not believed before it has stood for [`PROBATION`]: what it would have us
/// delete would be gone for ever.
const LEAP: Duration = Duration::from_secs(24 * 60 * 60);
const PROBATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the clock is not believed, for others to see. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<Option<String>>>>);

impl Doubt {
    /// `None` before the first look; then why it is not believed, if so.
    pub(super) fn look(&self) -> Option<Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the first reason while there is one.
    fn set(&self, doubts: bool, why: impl FnOnce() -> String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let former = known.take().flatten();
        *known = Some(doubts.then(|| former.unwrap_or_else(why)));
    }
}

/// Whether the clock is believed.
#[derive(Debug)]
struct Trust {
    wall: Timestamp,
    at: Instant,
    doubted_at: Option<Instant>,
}

impl Trust {
    /// `wall` was true at `at`.
    fn new(wall: Timestamp, at: Instant) -> Self {
        Trust { wall, at, doubted_at: None }
    }

    /// Whether `now` is believed, which the clock says at `at`.
    fn believes(&mut self, now: Timestamp, at: Instant) -> bool {
        let expected = self.wall.plus(at - self.at);
        if now > expected.plus(LEAP) {
            self.doubted_at = Some(at);
            warn!(
                clock = %now, expected = %expected,
                "the clock has leapt ahead, or the hub was off for long: nothing is deleted for a day; if the clock is wrong, set it right until then"
            );
        }
        (self.wall, self.at) = (now, at);
        self.doubted_at.take_if(|since| at - *since >= PROBATION);
        self.doubted_at.is_none()
    }
}

/// Tells the store what it may forget.
pub(super) struct Forgetter {
    pub(super) store: Arc<dyn Store>,
    pub(super) keep: Keep,
    pub(super) clock: Clock,
    /// Where the time is written down that was believed last: a restart must not lend a wrong clock belief.
    pub(super) believed: PathBuf,
    /// Told whether the clock is believed.
    pub(super) doubt: Doubt,
}

impl Forgetter {
    /// Works until the hub goes down.
    pub(super) async fn run(self, going_down: impl Future<Output = ()> + Send) -> &'static str {
        tokio::select! {
            () = going_down => {}
            () = self.look_for_ever() => {}
        }
        "forgetting"
    }

    async fn look_for_ever(&self) {
        let mut done = Vec::new();
        let mut trust = Trust::new(self.last_true(), Instant::now());
        tokio::time::sleep(FIRST_LOOK).await;
        loop {
            let now = self.clock.now();
            let cutoffs = self.keep.cutoffs(now);
            let before = trust.wall;
            let is_believed = trust.believes(now, Instant::now());
            self.doubt.set(!is_believed, || format!("{before} -> {now}"));
            if is_believed {
                self.write_down(now);
            }
            if is_believed && cutoffs != done {
                match self.forget(&cutoffs).await {
                    Ok(()) => done = cutoffs,
                    Err(why) => error!(
                        error = %crate::error_chain(&why),
                        "old readings cannot be deleted; it is tried again in an hour"
                    ),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A time that it has been: the one that was believed last; before the first, when the newest reading came.
    fn last_true(&self) -> Timestamp {
        let written = std::fs::read_to_string(&self.believed).ok();
        if let Some(believed) = written.and_then(|text| text.trim().parse().ok()) {
            return believed;
        }
        let latest = tokio::task::block_in_place(|| self.store.latest()).unwrap_or_default();
        let heard = latest.into_iter().map(|(_, sample)| sample.received_at).max();
        heard.unwrap_or_else(|| self.clock.now())
    }

    fn write_down(&self, now: Timestamp) {
        if let Err(why) = std::fs::write(&self.believed, format!("{now}\n")) {
            warn!(file = %self.believed.display(), error = %why, "cannot write down the time; after a restart the clock may be doubted for a day");
        }
    }

    async fn forget(&self, cutoffs: &[Cutoffs]) -> Result<(), StoreError> {
        let (mut readings, mut rollup_bytes) = (0, 0);
        loop {
            // Many short steps, none of which keeps a commit waiting for long.
            let step = tokio::task::block_in_place(|| self.store.forget(cutoffs))?;
            readings += step.readings;
            rollup_bytes += step.rollup_bytes;
            match step {
                Forgotten { waits: true, .. } => tokio::time::sleep(ROLLING).await,
                Forgotten { more: true, .. } => tokio::time::sleep(REST).await,
                Forgotten { .. } => break,
            }
        }
        if readings > 0 || rollup_bytes > 0 {
            info!(readings, rollup_bytes, "old readings were deleted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Measurement, Quality, SeriesId};
    use crate::store::{EmbeddedStore, Nature, SeriesKey};

    /// Days of readings at the clock's noon, sealed.
    fn store_of(folder: &tempfile::TempDir, days: std::ops::Range<u64>) -> EmbeddedStore {
        let store = EmbeddedStore::open(&folder.path().join("readings.db")).unwrap();
        let key = |metric: &str| SeriesKey {
            device: "a".parse().unwrap(),
            metric: metric.parse().unwrap(),
        };
        store.series(&[key("level"), key("rssi")]).unwrap();
        let class = |class| Nature { class, ..Nature::default() };
        store.describe(&[(SeriesId(0), class(0)), (SeriesId(1), class(1))]).unwrap();
        for day in days {
            let at = Timestamp::EPOCH.plus(Duration::from_secs(day * 86_400 + 43_200));
            let reading = |series| Measurement {
                series: SeriesId(series),
                quality: Quality::GOOD,
                observed_at: at,
                received_at: at,
                value: 1.0,
            };
            let commit = store.append(&[&[reading(0), reading(1)]]).unwrap();
            store.release(commit);
        }
        assert!(store.seal_now().unwrap());
        store
    }

    #[test]
    fn a_clock_that_leaps_ahead_deletes_nothing_for_a_day() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let (wall, at) = (Timestamp::from_secs(1_800_000_000), Instant::now());
        let mut trust = Trust::new(wall, at);
        let mut believes = |hours: u32, ahead: u32| {
            trust.believes(wall.plus(HOUR * (hours + ahead)), at + HOUR * hours)
        };
        assert!(believes(1, 0), "an hour is an hour");
        assert!(believes(2, 20), "summer time, a correction");
        assert!(!believes(3, 24 * 365), "a leap");
        assert!(!believes(26, 24 * 365), "not a day yet");
        assert!(believes(27, 24 * 365), "it stands");
        assert!(believes(28, 0), "set back");
        assert!(!believes(29, 30));
        assert!(!believes(30, 0), "a leap that was mended is doubted for as long");
        assert!(believes(53, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn each_class_goes_in_its_own_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(store_of(&folder, 20_000..20_100));
        let config: crate::store::keep::KeepConfig =
            toml::from_str("raw = \"30d\"\n[[class]]\nmetrics = [\"rssi\"]\nraw = \"10d\"")
                .unwrap();
        let now = Timestamp::EPOCH.plus(Duration::from_secs(20_100 * 86_400));
        let (clock, _) = Clock::manual(now);
        let keep = config.keep().unwrap();
        // Opened again, the store does not know yet of which class a series is now.
        drop(store);
        let path = folder.path().join("readings.db");
        let store = Arc::new(EmbeddedStore::open(&path).unwrap());
        while store.forget(&keep.cutoffs(now)).unwrap().waits {
            store.seal_now().unwrap();
        }
        while store.forget(&keep.cutoffs(now)).unwrap().more {}
        for series in [0, 1] {
            let month = now.minus(Duration::from_secs(30 * 86_400));
            let left = store.range(SeriesId(series), month, now, 999).unwrap();
            assert_eq!(left.len(), 30, "as long as the longest class");
        }
        let class = |class| Nature { class, ..Nature::default() };
        store.describe(&[(SeriesId(0), class(0)), (SeriesId(1), class(1))]).unwrap();
        let believed = folder.path().join("believed-clock.txt");
        let doubt = Doubt::default();
        let forgetter =
            Forgetter { store: store.clone(), keep: keep.clone(), clock, believed, doubt };
        let newest = now.minus(Duration::from_secs(43_200));
        assert_eq!(forgetter.last_true(), newest, "nothing is written down yet");
        forgetter.write_down(now);
        assert_eq!(forgetter.last_true(), now);
        // The first step only asks for what is to be rolled up before.
        let cutoffs = keep.cutoffs(now);
        while store.forget(&cutoffs).unwrap().waits {
            store.seal_now().unwrap();
        }
        forgetter.forget(&cutoffs).await.unwrap();
        let left = |series| {
            let end = now.plus(Duration::from_secs(86_400));
            store.range(SeriesId(series), Timestamp::EPOCH, end, 999).unwrap().len()
        };
        // A block of readings of many months is written again; a shorter one goes when all of it is over.
        assert!((30..=60).contains(&left(0)), "{}", left(0));
        assert!((10..=40).contains(&left(1)), "{}", left(1));
    }
}
