//! The one thread that knows what is true now: takes commits in their order, keeps the latest values, runs the alert
//! engine, and tells the live feed what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::committer::Commit;
use super::holdback::Holdback;
use super::present::{self, Now, Present};
use super::station::{Station, StationTable};
use crate::alert::book::{Book, InForce};
use crate::alert::{Alert, AlertError, AlertId, Engine, Past, Places};
use crate::clock::Clock;
use crate::live::{AssetState, Feed, Freshness, ValueChange};
use crate::model::{AssetNumber, Grade, Measurement, Sample, Timestamp};
use crate::store::{Store, StoreError};

/// Commits between the disk and the judge. A judge that falls behind makes the committer wait, and with it the
/// sockets; 64 commits are a few tens of milliseconds at full load.
const QUEUE_COMMITS: usize = 64;

/// Readings judged before the watermark is written though nothing else changed: the store may seal only what is
/// below it.
const CHECKPOINT_READINGS: usize = 250_000;

/// Time after which it is written in a quiet town.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// How often every asset's age is looked at.
const FRESHNESS_EVERY: Duration = Duration::from_secs(1);

/// Refused writes of alerts after which the log is told again: there are some tens a second, and a full disk often holds the
/// log, too.
const REMIND_REFUSALS: u32 = 1_500;

/// The most readings of one series that windows are filled with: a day of one a second. Of more, the oldest are left out.
const MAX_REMEMBERED: usize = 100_000;

/// What the judge is told.
#[derive(Debug)]
pub enum JudgeMessage {
    /// Readings that are on disk.
    Commit(Commit),
    /// The stations or the rule book changed: new rules, new assets.
    Stations,
    /// Time passed.
    Tick,
    /// What a person wants of the alerts.
    Order(Order),
}

/// What a person wants of the engine: made in memory, written, and only then answered.
pub struct Order(Box<Make>);

type Make = dyn FnOnce(&mut Engine, Timestamp) -> Answer + Send;

/// Hears whether what the order did is on disk.
type Answer = Box<dyn FnOnce(Result<(), AlertError>) + Send>;

impl Order {
    /// `make` changes the engine; `answer` gets what it made, or why it is not on disk.
    pub(super) fn new<T: Send + 'static>(
        make: impl FnOnce(&mut Engine, Timestamp) -> Result<T, AlertError> + Send + 'static,
        answer: impl FnOnce(Result<T, AlertError>) + Send + 'static,
    ) -> Self {
        Order(Box::new(move |engine: &mut Engine, now: Timestamp| -> Answer {
            let outcome = make(engine, now);
            Box::new(move |written| answer(outcome.and_then(|made| written.map(|()| made))))
        }))
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

/// Why the judge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The alert tables.
    #[error("cannot take up the alerts")]
    Alert(#[from] AlertError),
    /// The readings.
    #[error("cannot read what was stored")]
    Store(#[from] StoreError),
    /// The system has no thread left.
    #[error("cannot start the judge's thread")]
    Thread(#[source] std::io::Error),
}

/// The judge's thread.
#[derive(Debug)]
pub struct Judge {
    thread: thread::JoinHandle<()>,
}

/// What the judge needs from the other rooms.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    /// When the engine's rules change by their schedules.
    pub(crate) rules_until: Option<Timestamp>,
    pub(crate) book: Book,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) stations: Arc<ArcSwap<StationTable>>,
    pub(crate) feed: Feed,
    pub(crate) clock: Clock,
    /// What another reader of the commits has not read yet.
    pub(crate) holdback: Arc<Holdback>,
}

struct State {
    parts: Parts,
    table: Arc<StationTable>,
    now: Arc<Now>,
    /// The version of the town that is judged by.
    taken_up: watch::Sender<u64>,
    open: BTreeMap<AlertId, Arc<Alert>>,
    open_by_asset: HashMap<AssetNumber, BTreeSet<AlertId>>,
    touched: BTreeSet<AssetNumber>,
    readings_since_checkpoint: usize,
    checkpoint_at: Timestamp,
    freshness_at: Timestamp,
    /// Writes of alerts that the disk refused since the last one that it took.
    refusals: u32,
    /// When the rules were looked up; a clock that is before that was set back.
    rules_from: Timestamp,
    /// When a schedule next changes the rules.
    rules_until: Option<Timestamp>,
}

impl Judge {
    /// Takes up the alerts, replays what was stored after the engine's watermark, and starts the thread. It ends when
    /// every sender is gone. Blocks while it replays.
    ///
    /// # Errors
    /// When the alerts or the readings cannot be read.
    pub(crate) fn start(
        parts: Parts,
        latest: Vec<Option<Sample>>,
    ) -> Result<(Self, mpsc::Sender<JudgeMessage>, Present), JudgeError> {
        let (sender, queue) = mpsc::channel(QUEUE_COMMITS);
        let now = Arc::new(Now::default());
        *now.latest_mut() = latest;
        let (taken_up, watched) = watch::channel(0);
        let present = Present {
            stations: Arc::clone(&parts.stations),
            now: Arc::clone(&now),
            judge: sender.downgrade(),
            taken_up: watched,
        };
        let mut state = State::new(parts, now, taken_up);
        state.take_up()?;
        let thread = thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || state.run(queue))
            .map_err(JudgeError::Thread)?;
        Ok((Judge { thread }, sender, present))
    }

    /// Waits for the thread's end. Blocks.
    pub fn join(self) {
        if self.thread.join().is_err() {
            error!("the judge thread panicked");
        }
    }
}

impl State {
    fn new(parts: Parts, now: Arc<Now>, taken_up: watch::Sender<u64>) -> Self {
        let table = parts.stations.load_full();
        let start = parts.clock.now();
        State {
            rules_from: start,
            rules_until: parts.rules_until,
            parts,
            table,
            now,
            taken_up,
            open: BTreeMap::new(),
            open_by_asset: HashMap::new(),
            touched: BTreeSet::new(),
            readings_since_checkpoint: 0,
            checkpoint_at: start.plus(CHECKPOINT_EVERY),
            freshness_at: start.plus(FRESHNESS_EVERY),
            refusals: 0,
        }
    }

    /// Everything that the last run knew: open alerts, and the commits that it stored but had not judged.
    fn take_up(&mut self) -> Result<(), JudgeError> {
        self.set_table();
        let now = self.parts.clock.now();
        self.parts.engine.set_places(places_of(&self.table), now);
        // Before the replay: what a crash would repeat must not share a write with it.
        self.parts.engine.commit()?;
        for alert in self.parts.engine.open_alerts() {
            self.keep(alert);
        }
        let store = Arc::clone(&self.parts.store);
        self.parts.engine.align(store.stats()?.last_commit);
        self.remember()?;
        let engine = &mut self.parts.engine;
        store.replay(engine.watermark(), &mut |seq, batch| {
            engine.judge(seq, batch);
            ControlFlow::Continue(())
        })?;
        self.persist()?;
        self.checkpoint();
        self.now.set_alerts(self.sorted_alerts());
        self.show();
        Ok(())
    }

    /// Gives the engine the readings that its windows need from before.
    fn remember(&mut self) -> Result<(), StoreError> {
        for past in self.parts.engine.wanted() {
            let store = &self.parts.store;
            let samples = newest(past, MAX_REMEMBERED, |from, limit| {
                store.range(past.series, from, past.to, limit)
            })?;
            self.parts.engine.remember(past.series, &samples);
        }
        Ok(())
    }

    fn run(mut self, mut queue: mpsc::Receiver<JudgeMessage>) {
        let mut waiting = Vec::with_capacity(QUEUE_COMMITS);
        while queue.blocking_recv_many(&mut waiting, QUEUE_COMMITS) > 0 {
            for message in waiting.drain(..) {
                self.handle(message);
            }
            // One write for all commits that waited: in a storm that is what keeps the judge up with the disk.
            self.commit_changes();
            self.show();
        }
        self.checkpoint();
    }

    fn handle(&mut self, message: JudgeMessage) {
        match message {
            JudgeMessage::Commit(commit) => self.judge(&commit),
            // What follows must not share a write with the commits before it: a replay would see them otherwise.
            JudgeMessage::Stations => {
                self.commit_changes();
                self.table = self.parts.stations.load_full();
                let now = self.parts.clock.now();
                let InForce { rules, next_change } = rules_of(&self.table, &self.parts.book, now);
                (self.rules_from, self.rules_until) = (now, next_change);
                self.parts.engine.set_rules(rules, now);
                if let Err(why) = self.remember() {
                    // The windows begin here then: later than they could, but not wrong.
                    error!(error = %crate::error_chain(&why), "cannot look up readings for rules");
                }
                self.parts.engine.set_places(places_of(&self.table), now);
                self.set_table();
                self.commit_changes();
            }
            JudgeMessage::Tick => self.tick(),
            JudgeMessage::Order(Order(make)) => {
                self.commit_changes();
                let now = self.parts.clock.now();
                let answer = make(&mut self.parts.engine, now);
                answer(self.persist_and_show());
            }
        }
    }

    fn judge(&mut self, commit: &Commit) {
        // A new device may be heard before the message that tells of it: its table is always stored first.
        if self.parts.stations.load().version != self.table.version {
            self.handle(JudgeMessage::Stations);
        }
        let now = Arc::clone(&self.now);
        let mut latest = now.latest_mut();
        for batch in &commit.batches {
            for &measurement in batch {
                self.note(measurement, &mut latest);
            }
        }
        drop(latest);
        for batch in &commit.batches {
            self.parts.engine.judge(commit.seq, batch);
            self.readings_since_checkpoint += batch.len();
            self.send_values(batch);
        }
        if self.readings_since_checkpoint >= CHECKPOINT_READINGS {
            self.checkpoint();
        }
    }

    /// One reading: it may be the newest of its series, and may change what the map shows of its asset. That an asset
    /// is fresh again is seen with the next look at every asset's age.
    fn note(&mut self, measurement: Measurement, latest: &mut Vec<Option<Sample>>) {
        let Some(owner) = self.table.owner(measurement.series) else { return };
        let old = latest.get(measurement.series.index()).copied().flatten();
        if !present::take(latest, measurement) {
            return;
        }
        let station = self.table.station(owner.station);
        let Some(asset) = &station.asset else { return };
        let is_headline = owner.point == station.profile.headline;
        let shows_change = is_headline
            && old.is_none_or(|old| {
                old.quality.grade != measurement.quality.grade || old.value != measurement.value
            });
        if shows_change {
            self.touched.insert(asset.number);
        }
    }

    fn send_values(&self, batch: &[Measurement]) {
        if !self.parts.feed.wants_any_values() {
            return;
        }
        let changes: Vec<ValueChange<'_>> = batch
            .iter()
            .filter_map(|m| {
                let owner = self.table.owner(m.series)?;
                let station = self.table.station(owner.station);
                let asset = station.asset.as_ref()?.number;
                self.parts.feed.wants_values(asset).then(|| ValueChange {
                    asset,
                    device: station.device.id.as_str(),
                    metric: station.profile.points[usize::from(owner.point.0)].name.as_str(),
                    sample: (*m).into(),
                })
            })
            .collect();
        if !changes.is_empty() {
            self.parts.feed.values(&changes);
        }
    }

    fn tick(&mut self) {
        self.commit_changes();
        let now = self.parts.clock.now();
        self.parts.engine.tick(now);
        self.commit_changes();
        if self.rules_until.is_some_and(|until| now >= until || now < self.rules_from) {
            self.handle(JudgeMessage::Stations);
        }
        if is_due(now, self.freshness_at, FRESHNESS_EVERY) {
            self.freshness_at = now.plus(FRESHNESS_EVERY);
            // A few nanoseconds an asset: cheaper than a timer for each of them.
            self.touched.extend(self.table.assets());
        }
        if is_due(now, self.checkpoint_at, CHECKPOINT_EVERY) {
            self.checkpoint();
        }
    }

    /// Writes what the engine changed and shows it. On an error the engine keeps its changes for the next try.
    fn commit_changes(&mut self) {
        match self.persist_and_show() {
            Ok(()) if self.refusals > 0 => {
                info!(refusals = self.refusals, "alerts are written again");
                self.refusals = 0;
            }
            Ok(()) => {}
            Err(why) => {
                if self.refusals.is_multiple_of(REMIND_REFUSALS) {
                    let error = crate::error_chain(&why);
                    error!(error, "cannot write alerts; they are kept and tried again");
                }
                self.refusals = self.refusals.saturating_add(1);
            }
        }
    }

    fn persist_and_show(&mut self) -> Result<(), AlertError> {
        if !self.parts.engine.is_dirty() {
            return Ok(());
        }
        let changed = self.persist()?;
        self.now.set_alerts(self.sorted_alerts());
        for alert in &changed {
            self.parts.feed.alert(alert);
        }
        Ok(())
    }

    fn persist(&mut self) -> Result<Vec<Alert>, AlertError> {
        let changed = self.parts.engine.commit()?;
        for alert in &changed {
            self.keep(alert.clone());
        }
        Ok(changed)
    }

    fn keep(&mut self, alert: Alert) {
        // A changed rule may have moved the alert to another asset.
        if let Some(asset) = self.open.remove(&alert.id).and_then(|former| former.asset_number) {
            self.touched.insert(asset);
            if let Some(open) = self.open_by_asset.get_mut(&asset) {
                open.remove(&alert.id);
            }
        }
        if let Some(asset) = alert.asset_number {
            self.touched.insert(asset);
        }
        if !alert.is_open() {
            return;
        }
        // The map shows what is announced.
        if let Some(asset) = alert.asset_number.filter(|_| alert.is_annunciated()) {
            self.open_by_asset.entry(asset).or_default().insert(alert.id);
        }
        self.open.insert(alert.id, Arc::new(alert));
    }

    fn sorted_alerts(&self) -> Vec<Arc<Alert>> {
        let mut open: Vec<_> = self.open.values().cloned().collect();
        open.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.id.cmp(&a.id)));
        open
    }

    fn checkpoint(&mut self) {
        self.readings_since_checkpoint = 0;
        self.checkpoint_at = self.parts.clock.now().plus(CHECKPOINT_EVERY);
        match self.parts.engine.checkpoint() {
            Ok(through) => self.parts.store.release(self.parts.holdback.allow(through)),
            Err(why) => {
                error!(error = %crate::error_chain(&why), "cannot write the judge's watermark");
            }
        }
    }

    /// After a change of stations: everything that is counted by station or asset is looked at anew.
    fn set_table(&mut self) {
        self.touched.extend(self.table.assets());
        self.now.states_mut().retain(|asset, _| !self.table.of_asset(*asset).is_empty());
        self.taken_up.send_replace(self.table.town_version);
    }

    /// Sends the states of touched assets that are not what the map shows already.
    fn show(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let at = self.parts.clock.now();
        let touched = std::mem::take(&mut self.touched);
        let shown: Vec<AssetState> =
            touched.into_iter().filter_map(|asset| self.state_of(asset, at)).collect();
        let mut states = self.now.states_mut();
        let changed: Vec<AssetState> = shown
            .into_iter()
            .filter(|state| states.insert(state.asset, *state) != Some(*state))
            .collect();
        drop(states);
        if !changed.is_empty() {
            self.parts.feed.states(&changed);
        }
    }

    fn state_of(&self, asset: AssetNumber, at: Timestamp) -> Option<AssetState> {
        let stations = self.table.of_asset(asset);
        let first = stations.first()?;
        let open = self.open_by_asset.get(&asset);
        let alerts = || open.into_iter().flatten().filter_map(|id| self.open.get(id));
        let headline = self.headline(first);
        Some(AssetState {
            asset,
            severity: alerts().map(|alert| alert.severity).max().map_or(0, |s| s.rank()),
            acknowledged: open.is_some_and(|open| !open.is_empty())
                && alerts().all(|alert| alert.acknowledged_at.is_some()),
            freshness: stations.iter().map(|s| self.freshness(s, at)).max()?,
            // NaN is never equal to itself: a state without a number would look changed for ever.
            state: headline
                .filter(|sample| first.shows_state() && sample.value.is_finite())
                .map(|sample| sample.value),
            grade: headline.map_or(Grade::Good, |sample| sample.quality.grade),
        })
    }

    fn headline(&self, station: &Station) -> Option<Sample> {
        let series = station.series.get(usize::from(station.profile.headline.0))?;
        self.now.latest().get(series.index()).copied().flatten()
    }

    fn freshness(&self, station: &Station, at: Timestamp) -> Freshness {
        let Some(newest) = newest_of(station, &self.now.latest()) else { return Freshness::Never };
        let age = at.since(newest);
        if age > station.profile.staleness.dead_after {
            Freshness::Dead
        } else if age > station.profile.staleness.stale_after {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

fn newest_of(station: &Station, latest: &[Option<Sample>]) -> Option<Timestamp> {
    station
        .series
        .iter()
        .filter_map(|series| latest.get(series.index()).copied().flatten())
        .map(|sample| sample.observed_at)
        .max()
}

/// The rules in force for every station.
pub(crate) fn rules_of(table: &StationTable, book: &Book, now: Timestamp) -> InForce {
    book.rules(table.iter().map(|station| station.subject()), now)
}

fn places_of(table: &StationTable) -> Places {
    Places::new(table.iter().map(|station| station.subject().site()))
}

/// The newest of a series' readings in `past`, at most `most`: the store gives the oldest first, so the past is halved until
/// it holds no more.
fn newest(
    past: Past,
    most: usize,
    range: impl Fn(Timestamp, usize) -> Result<Vec<Sample>, StoreError>,
) -> Result<Vec<Sample>, StoreError> {
    let mut from = past.from;
    loop {
        let samples = range(from, most.saturating_add(1))?;
        let half = past.to.since(from) / 2;
        if samples.len() <= most || half.is_zero() {
            return Ok(samples);
        }
        from = from.plus(half);
    }
}

/// Whether it is time, also when the clock was set back since: `at` then lies further away than it ever can.
fn is_due(now: Timestamp, at: Timestamp, every: Duration) -> bool {
    now >= at || at > now.plus(every)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Quality, SeriesId};

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let at = Timestamp::from_secs;
        let is_due = |now| is_due(at(now), at(1_000), Duration::from_secs(30));
        assert_eq!([969, 970, 999, 1_000, 2_000].map(is_due), [true, false, false, true, true]);
    }

    #[test]
    fn of_too_many_readings_the_newest_are_remembered() {
        let at = Timestamp::from_secs;
        let sample = |secs| Sample {
            observed_at: at(secs),
            received_at: at(secs),
            value: 1.0,
            quality: Quality::GOOD,
        };
        let past = Past { series: SeriesId(0), from: at(0), to: at(1_000) };
        let range = |from: Timestamp, limit: usize| {
            Ok((0..1_000).map(sample).filter(|s| s.observed_at >= from).take(limit).collect())
        };
        let found = newest(past, 300, range).expect("a store that never fails");
        let ends = (found.first().map(|s| s.observed_at), found.last().map(|s| s.observed_at));
        assert_eq!((found.len(), ends), (250, (Some(at(750)), Some(at(999)))));
        assert_eq!(newest(past, 1_000, range).expect("the same").len(), 1_000);
    }
}
