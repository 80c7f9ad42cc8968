//! Keeps the board: at its own pace, however many look at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::MissedTickBehavior;

use super::board::{Board, LotNow, Trend};
use super::lots::{Lot, Sensor, lots};
use super::timeline::Timeline;
use super::{Counts, Occupation};
use crate::clock::Clock;
use crate::model::{AssetNumber, Timestamp};
use crate::pipeline::Present;
use crate::registry::Registry;
use crate::store::{Store, StoreError};

/// How often bays are counted. Counting asks memory only.
const EVERY: Duration = Duration::from_secs(2);
/// How often the store is asked where the counts go.
const TRENDS_EVERY: Duration = Duration::from_secs(60);
/// What is compared with now.
const TREND_OVER: Duration = Duration::from_secs(30 * 60);
/// How far back a lot is followed to learn whether it is nearly full still, when the hub has just started.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// A board that nobody has looked after for so long is shown to nobody.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// The most lots on the board: beyond, no visitor reads it.
const MAX_LOTS: usize = 1_000;

/// The board's handle. Cheap to share.
#[derive(Debug, Default)]
pub struct Parking {
    board: ArcSwapOption<Board>,
    /// When the bays were last counted, microseconds.
    counted_at: AtomicI64,
}

/// What the keeper asks.
#[derive(Clone)]
pub struct Around {
    /// Which lots there are.
    pub registry: Registry,
    /// What is true now.
    pub present: Present,
    /// What was.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
}

/// Keeps the board.
pub struct Keeper {
    parking: Arc<Parking>,
    around: Around,
    /// The versions of town and stations that `lots` was made from.
    seen: Option<(u64, u64)>,
    lots: Vec<Lot>,
    nearly_full: HashMap<AssetNumber, bool>,
    trends: HashMap<AssetNumber, Trend>,
    trends_at: Option<Timestamp>,
}

impl Parking {
    /// The board, unless it was never made or is no longer looked after.
    pub fn board(&self, now: Timestamp) -> Option<Arc<Board>> {
        let counted_at = Timestamp::from_micros(self.counted_at.load(Ordering::Acquire));
        self.board.load_full().filter(|_| now.since(counted_at) <= ABANDONED_AFTER)
    }
}

impl Keeper {
    /// A keeper of `parking`, which has looked at nothing yet.
    pub fn new(parking: Arc<Parking>, around: Around) -> Self {
        Keeper {
            parking,
            around,
            seen: None,
            lots: Vec::new(),
            nearly_full: HashMap::new(),
            trends: HashMap::new(),
            trends_at: None,
        }
    }

    /// Looks every two seconds until the hub goes down. A look that fails is told to the log and tried again.
    pub async fn keep(mut self, going_down: impl Future<Output = ()> + Send) -> &'static str {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(going_down);
        loop {
            tokio::select! {
                () = &mut going_down => return "parking",
                _ = ticks.tick() => {}
            }
            let look = tokio::task::spawn_blocking(move || {
                let outcome = self.look();
                (self, outcome)
            });
            match look.await {
                Ok((keeper, outcome)) => {
                    self = keeper;
                    if let Err(why) = outcome {
                        tracing::warn!(
                            error = crate::error_chain(&why),
                            "the parking board is old"
                        );
                    }
                }
                Err(why) => {
                    tracing::error!(error = %why, "the parking board is kept no longer");
                    return "parking";
                }
            }
        }
    }

    /// Counts the bays, and puts the board up anew when anything changed. Blocks: it may read the store.
    ///
    /// # Errors
    /// When the store fails. The board then stays as it was.
    pub fn look(&mut self) -> Result<(), StoreError> {
        let now = self.around.clock.now();
        self.take_up_changes();
        self.take_up_new_lots(now)?;
        if self.trends_at.is_none_or(|at| now.since(at) >= TRENDS_EVERY || now < at) {
            self.trends = self.find_trends(now)?;
            self.trends_at = Some(now);
        }
        let mut lots = Vec::new();
        for lot in self.lots.iter().filter(|lot| lot.is_public) {
            let number = lot.asset.number;
            let counts = self.count(lot, now);
            let nearly_full = self.nearly_full.entry(number).or_default();
            *nearly_full = counts.is_nearly_full(*nearly_full);
            let occupation = counts.occupation(*nearly_full);
            let is_known = !matches!(occupation, Occupation::Unknown | Occupation::Closed);
            lots.push(LotNow {
                id: lot.asset.id.clone(),
                name: lot.asset.name.clone(),
                position: lot.asset.position(),
                counts,
                occupation,
                trend: self.trends.get(&number).copied().filter(|_| is_known),
                observed_at: self.observed_at(lot),
            });
        }
        let left_out = lots.len().saturating_sub(MAX_LOTS);
        lots.truncate(MAX_LOTS);
        let former = self.parking.board.load();
        let is_same =
            former.as_ref().is_some_and(|old| old.lots == lots && old.left_out == left_out);
        if !is_same {
            let board = Board { changed_at: now, lots, left_out };
            self.parking.board.store(Some(Arc::new(board)));
        }
        self.parking.counted_at.store(now.as_micros(), Ordering::Release);
        Ok(())
    }

    /// The keeper's time.
    #[cfg(test)]
    pub(super) fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    fn take_up_changes(&mut self) {
        let (town, stations) = (self.around.registry.town(), self.around.present.stations());
        let seen = Some((town.version, stations.version));
        if self.seen != seen {
            self.lots = lots(&town, &stations);
            self.seen = seen;
            self.trends_at = None;
        }
    }

    /// Whether a lot was nearly full before the hub started is in its history.
    fn take_up_new_lots(&mut self, now: Timestamp) -> Result<(), StoreError> {
        for lot in &self.lots {
            let number = lot.asset.number;
            if self.nearly_full.contains_key(&number) {
                continue;
            }
            let store = &*self.around.store;
            let lines = lot.sensors.iter().map(|sensor| {
                Ok((sensor.size, sensor.timeline(store, now.minus(REMEMBERED), now)?))
            });
            let lines = lines.collect::<Result<Vec<_>, StoreError>>()?;
            self.nearly_full.insert(number, was_nearly_full(lot.capacity, lot.closed, &lines));
        }
        Ok(())
    }

    fn find_trends(&self, now: Timestamp) -> Result<HashMap<AssetNumber, Trend>, StoreError> {
        let mut trends = HashMap::new();
        for lot in &self.lots {
            let parts = lot.sensors.iter().map(|sensor| self.then_and_now(sensor, now));
            let parts = parts.collect::<Result<Vec<_>, StoreError>>()?;
            if let Some(trend) = Trend::new(lot.in_use(), parts) {
                trends.insert(lot.asset.number, trend);
            }
        }
        Ok(trends)
    }

    fn then_and_now(
        &self,
        sensor: &Sensor,
        now: Timestamp,
    ) -> Result<(u32, Option<u32>, Option<u32>), StoreError> {
        let latest = self.around.present.latest(sensor.series);
        let cars = sensor.cars_now(latest, now);
        let then = now.minus(TREND_OVER);
        let is_older = latest.is_some_and(|sample| sample.observed_at <= then);
        // What has not spoken since held already then, and what is not known now is not compared: the store is asked for
        // the others only.
        let before = if is_older || cars.is_none() {
            cars
        } else {
            let end = then.plus(Duration::from_micros(1));
            sensor.timeline(&*self.around.store, then, end)?.at(then)
        };
        Ok((sensor.size, before, cars))
    }

    fn count(&self, lot: &Lot, now: Timestamp) -> Counts {
        let parts = lot.sensors.iter().map(|sensor| {
            (sensor.size, sensor.cars_now(self.around.present.latest(sensor.series), now))
        });
        Counts::new(lot.capacity, lot.closed, parts)
    }

    fn observed_at(&self, lot: &Lot) -> Option<Timestamp> {
        let latest = |sensor: &Sensor| self.around.present.latest(sensor.series);
        lot.sensors.iter().filter_map(latest).map(|sample| sample.observed_at).max()
    }
}

/// Whether a lot that goes through these times is nearly full at their end.
pub(super) fn was_nearly_full(capacity: u32, closed: u32, lines: &[(u32, Timeline)]) -> bool {
    let mut events: Vec<(Timestamp, usize, Option<u32>)> = lines
        .iter()
        .enumerate()
        .flat_map(|(index, (_, line))| line.changes().map(move |at| (at, index, line.at(at))))
        .collect();
    events.sort_unstable_by_key(|(at, ..)| *at);
    let (mut known, mut cars, mut nearly_full) = (0_u32, 0_u32, false);
    let mut held: Vec<Option<u32>> = vec![None; lines.len()];
    let mut events = events.into_iter().peekable();
    while let Some((at, index, next)) = events.next() {
        let size = lines[index].0;
        if let Some(old) = held[index].take() {
            (known, cars) = (known - size, cars - old.min(size));
        }
        if let Some(new) = next {
            (known, cars) = (known + size, cars + new.min(size));
        }
        held[index] = next;
        // Only what holds after all changes of a moment was ever so.
        if events.peek().is_none_or(|(later, ..)| *later > at) {
            let counts = Counts::new(capacity, closed, [(known, Some(cars))]);
            nearly_full = counts.is_nearly_full(nearly_full);
        }
    }
    nearly_full
}
