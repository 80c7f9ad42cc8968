//! The first half of an uplink's life: decode, normalize, into the queue for the disk.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::Counters;
use super::station::{Station, StationTable, Undecoded};
use crate::model::{Measurement, Reading, Timestamp};
use crate::normalize::{self, Tally, Track};
use crate::profile::{DecodeError, Decoded, DeviceTime, Message};

/// Readings between a socket and the disk, all adapters together: 10 MB, and at a million readings a second still
/// a quarter of a second, far more than a commit takes. Beyond it [`Bill::pay`] waits.
pub(super) const IN_FLIGHT_READINGS: usize = 256 * 1024;

/// Where adapters hand in what they heard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    stations: Arc<ArcSwap<StationTable>>,
    queue: mpsc::UnboundedSender<Batch>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
}

/// Measurements on their way to the disk, and who wants to know when they are there.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) measurements: Vec<Measurement>,
    pub(super) receipt: Option<Receipt>,
    /// What it took from the budget, to be given back after the commit.
    pub(super) cost: usize,
}

/// An adapter's own batch under construction; its memory is used again and again.
#[derive(Debug, Default)]
pub struct Draft {
    measurements: Vec<Measurement>,
    decoded: Decoded,
    tally: Tally,
    uplinks: u32,
    undecoded: u32,
}

/// How far an adapter's batches have come: each has a number, and batches come to the disk in their order.
#[derive(Debug, Default)]
pub struct Progress {
    durable: AtomicU64,
    changed: Notify,
}

/// Says "batch `number` and all before it are on disk" when the committer is done with it.
#[derive(Debug)]
pub struct Receipt {
    /// Whose batch.
    pub progress: Arc<Progress>,
    /// Which.
    pub number: u64,
}

impl Progress {
    /// The last batch that is on disk; 0 for none.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Waits until [`Progress::durable`] may have grown.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Receipt {
    pub(super) fn sign(&self) {
        self.progress.durable.store(self.number, Ordering::Release);
        self.progress.changed.notify_one();
    }
}

/// Room for readings between the sockets and the disk.
#[derive(Debug)]
pub(super) struct Budget {
    room: Semaphore,
    /// What was handed in by adapters that ended before they paid: kept back from what commits give back.
    debt: AtomicUsize,
}

/// What a handed-in batch still takes of the room between the sockets and the disk; to be paid before more is read.
#[derive(Debug, Default)]
#[must_use = "whoever does not pay is not slowed down"]
pub struct Bill {
    owed: Option<(usize, Arc<Budget>)>,
}

/// Looks at how much of the room between the sockets and the disk is taken. Keeps nothing open.
#[derive(Debug, Clone)]
pub struct RoomGauge(Arc<Budget>);

impl RoomGauge {
    /// Readings that wait for the disk, and how many may.
    pub fn read(&self) -> (usize, usize) {
        let free = self.0.room.available_permits().min(IN_FLIGHT_READINGS);
        (IN_FLIGHT_READINGS - free, IN_FLIGHT_READINGS)
    }
}

impl Budget {
    pub(super) fn new() -> Self {
        Budget { room: Semaphore::new(IN_FLIGHT_READINGS), debt: AtomicUsize::new(0) }
    }

    /// Takes room at once if there is any; else there is a bill to pay.
    pub(super) fn charge(self: &Arc<Self>, cost: usize) -> Bill {
        match self.room.try_acquire_many(cost as u32) {
            Ok(permit) => {
                permit.forget();
                Bill::default()
            }
            Err(_) => Bill { owed: Some((cost, Arc::clone(self))) },
        }
    }

    /// Gives back what is on disk.
    pub(super) fn give_back(&self, cost: usize) {
        let mut repaid = 0;
        // The closure always returns a value, so the update cannot fail.
        let _ = self.debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |debt| {
            repaid = debt.min(cost);
            Some(debt - repaid)
        });
        self.room.add_permits(cost - repaid);
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.room.available_permits()
    }
}

impl Bill {
    /// Waits until there is room for what was handed in: whoever waits reads no further, so between the sockets and the
    /// disk there is the budget and one read of each adapter at most.
    pub async fn pay(mut self) {
        let Some((cost, budget)) = self.owed.as_ref().map(|(n, budget)| (*n, Arc::clone(budget)))
        else {
            return;
        };
        // The budget is never closed; if it were, there would be nothing to wait for.
        if let Ok(permit) = budget.room.acquire_many(cost as u32).await {
            permit.forget();
            self.owed = None;
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some((cost, budget)) = self.owed.take() {
            budget.debt.fetch_add(cost, Ordering::Relaxed);
        }
    }
}

/// The reason's spelling when a message names a device that its sender may not publish for.
pub(super) const UNKNOWN_DEVICE: &str = "unknown_device";

/// The same for people; a few names say enough.
pub(super) fn unknown_device(names: &[&str]) -> String {
    let shown = names.iter().take(5).map(|name| {
        let name: String = name.chars().take(64).collect();
        format!("`{name}`")
    });
    let more = if names.len() > 5 { " and others" } else { "" };
    let shown: Vec<_> = shown.collect();
    format!(
        "no device behind this one is called {}{more}; give it this gateway, and this name as its address",
        shown.join(", ")
    )
}

/// The hub is shutting down and takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// One device's messages being taken in: holds the device's track, so take all that is there and let go. Not for
/// holding across an await.
#[derive(Debug)]
pub struct Desk<'a> {
    intake: &'a Intake,
    station: &'a Station,
    track: MutexGuard<'a, Track>,
    draft: &'a mut Draft,
    received_at: Timestamp,
}

impl Desk<'_> {
    /// Whether anything came that must go to the disk.
    pub fn has_news(&self) -> bool {
        self.draft.uplinks > 0
    }

    /// Hands what was taken to the disk, before the device's track is let go: so batches of one device come to the disk in
    /// the order in which they were judged, and a repetition is never acknowledged before its original. The receipt is
    /// signed when this batch, and every one before it, is durable: an empty one (all repetitions) has its place too.
    ///
    /// # Errors
    /// When the hub is shutting down and takes nothing more.
    pub fn hand_in(self, receipt: Option<Receipt>) -> Result<Bill, Closed> {
        let Desk { intake, track, draft, .. } = self;
        let next = Vec::with_capacity(draft.measurements.len());
        let measurements = std::mem::replace(&mut draft.measurements, next);
        intake.counters.taken(
            std::mem::take(&mut draft.uplinks),
            std::mem::take(&mut draft.undecoded),
            &std::mem::take(&mut draft.tally),
        );
        let bill = intake.post(measurements, receipt);
        drop(track);
        bill
    }

    /// Decodes and normalizes one message. A payload that does not decode is kept with the station, counted, and
    /// returned as the error; the draft is then as before.
    ///
    /// # Errors
    /// When the profile cannot decode the payload.
    pub fn message(&mut self, topic: &str, payload: &[u8]) -> Result<(), DecodeError> {
        self.draft.uplinks += 1;
        let message = Message { topic, payload };
        let memory = self.station.memory_of_decoder();
        match self.station.profile.decode_message(message, memory, &mut self.draft.decoded) {
            Ok(()) => {
                let decoded = std::mem::take(&mut self.draft.decoded);
                for (report, readings) in decoded.reports() {
                    match report.device.as_deref().filter(|name| !self.station.is_called(name)) {
                        None => self.normalize(report.time, readings),
                        Some(name) => self.refuse_foreign(name, topic, payload),
                    }
                }
                self.draft.decoded = decoded;
                Ok(())
            }
            Err(error) => {
                self.draft.undecoded += 1;
                self.station.keep_undecoded(Undecoded {
                    received_at: self.received_at,
                    topic: topic.to_owned(),
                    reason: error.reason(),
                    message: error.to_string(),
                    payload: payload.to_vec(),
                    size: payload.len(),
                });
                Err(error)
            }
        }
    }

    /// A device that is no gateway speaks for itself only.
    fn refuse_foreign(&mut self, name: &str, topic: &str, payload: &[u8]) {
        self.draft.undecoded += 1;
        self.station.keep_undecoded(Undecoded {
            received_at: self.received_at,
            topic: topic.to_owned(),
            reason: UNKNOWN_DEVICE,
            message: unknown_device(&[name]),
            payload: payload.to_vec(),
            size: payload.len(),
        });
    }

    /// Normalizes one report of what a gateway brought; see [`Intake::hand_out`].
    pub(super) fn report(&mut self, time: DeviceTime, readings: &[Reading]) {
        self.normalize(time, readings);
    }

    /// Normalizes what a bus poller read.
    pub fn polled(&mut self, readings: &[Reading]) {
        self.draft.uplinks += 1;
        self.normalize(DeviceTime::Unsaid, readings);
    }

    fn normalize(&mut self, time: DeviceTime, readings: &[Reading]) {
        self.draft.tally += normalize::normalize(
            &self.station.profile,
            &mut self.track,
            &self.station.series,
            time,
            readings,
            self.received_at,
            &mut self.draft.measurements,
        );
    }
}

impl Intake {
    pub(super) fn new(
        stations: Arc<ArcSwap<StationTable>>,
        queue: mpsc::UnboundedSender<Batch>,
        budget: Arc<Budget>,
        counters: Arc<Counters>,
    ) -> Self {
        Intake { stations, queue, budget, counters }
    }

    /// Looks at how full the way to the disk is.
    pub fn room(&self) -> RoomGauge {
        RoomGauge(Arc::clone(&self.budget))
    }

    /// The stations now.
    pub fn stations(&self) -> Arc<StationTable> {
        self.stations.load_full()
    }

    /// The version of the stations now: cheaper to ask than the stations.
    pub fn version(&self) -> u64 {
        self.stations.load().version
    }

    /// Opens a desk for what came from `station` at `received_at`.
    pub fn desk<'a>(
        &'a self,
        station: &'a Station,
        received_at: Timestamp,
        draft: &'a mut Draft,
    ) -> Desk<'a> {
        station.heard(received_at);
        Desk { intake: self, station, track: station.track(), draft, received_at }
    }

    /// Hands in nothing but a receipt: it is signed when everything that this adapter handed in before is on disk.
    ///
    /// # Errors
    /// When the hub is shutting down and takes nothing more.
    pub fn seal(&self, receipt: Receipt) -> Result<Bill, Closed> {
        self.post(Vec::new(), Some(receipt))
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn post(
        &self,
        measurements: Vec<Measurement>,
        receipt: Option<Receipt>,
    ) -> Result<Bill, Closed> {
        let cost = measurements.len().clamp(1, IN_FLIGHT_READINGS);
        let batch = Batch { measurements, receipt, cost };
        let bill = self.budget.charge(cost);
        match self.queue.send(batch) {
            Ok(()) => Ok(bill),
            // Nothing is given back any more, so nothing must be paid.
            Err(_) => Err(Closed),
        }
    }
}
