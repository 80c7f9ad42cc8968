//! The one owner of what waits, what was told and what is sent: follows both logs, makes messages, hands them out.
//!
//! Every change happens in memory and in one transaction; when SQLite refuses, memory is read from the disk again. It
//! neither sends nor knows the time: both are handed in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::channel::Failure;
use super::config::{ChannelSpec, Settings};
use super::group::{self, Batch, Pace, Pending, Room, Spent, Subject};
use super::notice::{self, AlertEntry, CaseEntry, Entry, MAX_ENTRIES, Notice};
use super::route::{self, News};
use super::tables;
use super::{EventKind, MessageId, NotifyError};
use crate::alert::{self, Alert, AlertId, AlertQuery};
use crate::audit::{self, Entry as AuditEntry};
use crate::case::{self, Case, CaseEvent, CaseId, Happened};
use crate::model::{DeviceId, Label, Severity, Timestamp, ZoneId};

/// Entries of a log in one transaction.
const PAGE: usize = 500;

/// The first pause after an attempt that failed; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How often what waits is looked at when there are no news: thousands may wait in a storm.
const LOOK: Duration = Duration::from_millis(500);

/// How often old messages are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Where something stands, as people and routes know it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// What it is called.
    pub name: Option<Label>,
    /// The zone it lies in.
    pub zone: Option<ZoneId>,
    /// The gateway that its device stands behind.
    pub gateway: Option<DeviceId>,
}

/// What the room asks of the town.
pub trait Places {
    /// Where an alert's asset stands.
    fn alert(&self, alert: &Alert) -> Place;

    /// Where a case's subject stands.
    fn case(&self, subject: &case::Subject) -> Place;
}

/// A message that is handed to its channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The channel's place in the settings.
    pub channel: usize,
    /// Its number.
    pub id: MessageId,
    /// By this its receiver knows it when it comes twice.
    pub key: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What it tells.
    pub notice: Notice,
}

/// What the room did since the hub's start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages made.
    made: AtomicU64,
    /// Of these, merged ones.
    merged: AtomicU64,
    /// Alerts and cases' events in them.
    mentions: AtomicU64,
    /// Messages sent.
    sent: AtomicU64,
    /// Attempts that failed.
    attempts_failed: AtomicU64,
    /// Messages given up.
    failed: AtomicU64,
    /// What was over before it was told.
    over: AtomicU64,
}

/// How a channel is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChannelState {
    /// Its name.
    pub name: String,
    /// webhook, dingtalk, wecom, email or mqtt.
    pub kind: &'static str,
    /// The host that it speaks to.
    pub target: String,
    /// The last attempt failed.
    pub failing: bool,
    /// Messages that are not sent yet.
    pub waiting: usize,
    /// Alerts and cases' events that wait to be told.
    pub pending: usize,
    /// Messages of the last days that were given up.
    pub failed: u64,
    /// Attempts of the last minute.
    pub used: u32,
    /// Messages a minute at most.
    pub per_minute: u32,
    /// Its service throttles it until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub hold_until: Option<Timestamp>,
    /// The last success.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sent_at: Option<Timestamp>,
    /// The last failure.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failed_at: Option<Timestamp>,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// The owner.
#[derive(Debug)]
pub struct Post {
    db: Connection,
    settings: Settings,
    state: State,
    counters: Arc<Counters>,
    /// The last transaction failed: memory is not what is on disk.
    is_stale: bool,
    swept_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct State {
    alert_seq: i64,
    case_seq: i64,
    town_key: String,
    lanes: Vec<Lane>,
    /// `None` until the first step: where things stand is asked of the town then.
    open: Option<HashMap<AlertId, Open>>,
}

/// A channel's half of the state.
#[derive(Debug, Default)]
struct Lane {
    pending: BTreeMap<Subject, Pending>,
    told: HashMap<AlertId, Told>,
    bundles: HashMap<String, Timestamp>,
    queue: BTreeMap<MessageId, Queued>,
    spent: Spent,
    in_flight: Option<MessageId>,
    /// What waits was looked at then, and nothing of it was due.
    looked_at: Option<Timestamp>,
    merged_at: Option<Timestamp>,
    hold_until: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    error: Option<String>,
}

/// What inhibition and repeats must know of an open alert.
#[derive(Debug)]
struct Open {
    root: String,
    severity: Severity,
    active: bool,
    is_acknowledged: bool,
    /// Not shelved, suppressed or out of service.
    tells: bool,
    zone: Option<ZoneId>,
    bundle: String,
    device: DeviceId,
    gateway: Option<DeviceId>,
    is_silence: bool,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    repeats: u32,
    repeat_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Queued {
    severity: Severity,
    merged: bool,
    next_at: Timestamp,
    give_up_at: Timestamp,
    attempts: u32,
}

/// One transaction at work.
struct Work<'w> {
    tx: &'w Transaction<'w>,
    state: &'w mut State,
    settings: &'w Settings,
    counters: &'w Counters,
    now: Timestamp,
}

impl Post {
    /// Takes up what the last run left, from the tables in `db` (made by the registry's migrations). Channels that are no
    /// longer configured lose what waits for them: their messages have failed, and say why. When the last run had no
    /// channel at all, nothing that happened before now is told.
    ///
    /// # Errors
    /// When the tables cannot be read or written.
    pub fn open(
        mut db: Connection,
        settings: Settings,
        now: Timestamp,
    ) -> Result<Self, NotifyError> {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        adopt(&tx, &settings)?;
        tx.commit()?;
        let state = State::load(&db, &settings, now, &[])?;
        Ok(Post { db, settings, state, counters: Arc::default(), is_stale: false, swept_at: None })
    }

    /// Follows both logs to their ends, makes the messages that are due, and returns those to be sent now: at most one per
    /// channel, and none to a channel that has one under way. All of it is on disk.
    ///
    /// # Errors
    /// When SQLite fails; what is not done then comes with the next call.
    pub fn step(&mut self, now: Timestamp, places: &dyn Places) -> Result<Vec<Job>, NotifyError> {
        if self.settings.channels.is_empty() || !self.has_work(now)? {
            return Ok(Vec::new());
        }
        self.transact(now, |work| work.look_around(places))?;
        while self.transact(now, |work| work.follow_alerts(places))? == PAGE {}
        while self.transact(now, |work| work.follow_cases(places))? == PAGE {}
        let is_due = self.swept_at.is_none_or(|at| now.since(at) >= SWEEP);
        self.transact(now, |work| {
            if is_due {
                work.sweep()?;
            }
            work.remind()?;
            work.compose(places)?;
            work.hand_out()
        })
        .inspect(|_| self.swept_at = if is_due { Some(now) } else { self.swept_at })
    }

    /// A message's attempt is over. `answer`: what its receiver wanted, and what became of it.
    ///
    /// # Errors
    /// When SQLite fails: the message will be sent again, under the same key.
    pub fn done(
        &mut self,
        job: &Job,
        outcome: Result<Option<String>, Failure>,
        now: Timestamp,
    ) -> Result<(), NotifyError> {
        let written = self.transact(now, |work| work.settle(job, &outcome));
        if written.is_err()
            && let Some(lane) = self.state.lanes.get_mut(job.channel)
        {
            lane.in_flight = None;
        }
        written
    }

    /// A waiting or failed message is tried again now.
    ///
    /// # Errors
    /// When there is no such message, it is neither waiting nor failed, or SQLite fails.
    pub fn retry(&mut self, id: MessageId, by: &str, now: Timestamp) -> Result<(), NotifyError> {
        self.transact(now, |work| work.retry(id, by))
    }

    /// Makes a message that only tries a channel.
    ///
    /// # Errors
    /// When there is no such channel, messages wait there anyhow, or SQLite fails.
    pub fn test(
        &mut self,
        channel: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<MessageId, NotifyError> {
        self.transact(now, |work| work.test(channel, by))
    }

    /// How every channel is.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn channels(&mut self, now: Timestamp) -> Result<Vec<ChannelState>, NotifyError> {
        let Post { db, settings, state, .. } = self;
        let mut states = Vec::new();
        for (spec, lane) in settings.channels.iter().zip(&mut state.lanes) {
            let failed = db
                .prepare_cached(
                    "SELECT count(*) FROM notify_message WHERE channel = ? AND state = 'failed'",
                )?
                .query_row([&spec.name], |row| row.get::<_, i64>(0))?;
            states.push(ChannelState {
                name: spec.name.clone(),
                kind: spec.way.kind().as_str(),
                target: spec.way.target(),
                failing: lane.failed_at.is_some() && lane.failed_at > lane.sent_at,
                waiting: lane.queue.len(),
                pending: lane.pending.len(),
                failed: failed.unsigned_abs(),
                used: lane.spent.used(now),
                per_minute: spec.per_minute,
                hold_until: lane.hold_until.filter(|until| *until > now),
                last_sent_at: lane.sent_at,
                last_failed_at: lane.failed_at,
                last_error: lane.error.clone(),
            });
        }
        Ok(states)
    }

    /// What the room did since the hub's start; shared, for the metrics.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a step would do anything: asked ten times a second, so without a write lock.
    fn has_work(&mut self, now: Timestamp) -> Result<bool, NotifyError> {
        if self.is_stale || self.swept_at.is_none_or(|at| now.since(at) >= SWEEP) {
            return Ok(true);
        }
        let Post { db, settings, state, .. } = self;
        let news: bool = db
            .prepare_cached(
                "SELECT (SELECT coalesce(max(seq), 0) FROM alert_event) > ?
                     OR (SELECT coalesce(max(seq), 0) FROM case_event) > ?",
            )?
            .query_row([state.alert_seq, state.case_seq], |row| row.get(0))?;
        if news {
            return Ok(true);
        }
        let State { lanes, open, .. } = state;
        let Some(open) = open else { return Ok(true) };
        let watch = Watch::of(open);
        Ok(settings.channels.iter().zip(lanes).any(|(spec, lane)| {
            let is_reminded = |told: &Told| told.repeat_at.is_some_and(|at| at <= now);
            lane.told.values().any(is_reminded)
                || lane.ready(spec, now).is_some()
                || lane.queue.values().any(|queued| queued.give_up_at <= now)
                || lane.is_due(spec, &settings.pace, open, &watch, now)
        }))
    }

    fn transact<T>(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, NotifyError>,
    ) -> Result<T, NotifyError> {
        let Post { db, settings, state, counters, is_stale, .. } = self;
        let in_flight: Vec<_> = state.lanes.iter().map(|lane| lane.in_flight).collect();
        if *is_stale {
            *state = State::load(db, settings, now, &in_flight)?;
            *is_stale = false;
        }
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        *is_stale = true;
        let done = work(&mut Work { tx: &tx, state, settings, counters, now });
        let done = done.and_then(|value| Ok(tx.commit().map(|()| value)?));
        match &done {
            Ok(_) => *is_stale = false,
            Err(_) => {
                for (lane, in_flight) in state.lanes.iter_mut().zip(in_flight) {
                    lane.in_flight = in_flight;
                }
            }
        }
        done
    }
}

/// Brings the tables to the channels that are configured now.
fn adopt(tx: &Transaction<'_>, settings: &Settings) -> Result<(), NotifyError> {
    let known: Vec<String> = tx
        .prepare("SELECT name FROM notify_channel")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if known.is_empty() {
        tx.execute(
            "UPDATE notify_progress SET alert_seq = (SELECT coalesce(max(seq), 0) FROM alert_event),
                 case_seq = (SELECT coalesce(max(seq), 0) FROM case_event)",
            [],
        )?;
    }
    for name in known {
        if settings.channels.iter().any(|channel| channel.name == name) {
            continue;
        }
        let failed = tx.execute(
            "UPDATE notify_message SET state = 'failed', error = 'the channel is not configured any more'
             WHERE channel = ? AND state IN ('waiting', 'sending')",
            [&name],
        )?;
        let dropped = tx.execute("DELETE FROM notify_pending WHERE channel = ?", [&name])?;
        for table in ["notify_told", "notify_bundle", "notify_attempt"] {
            tx.execute(&format!("DELETE FROM {table} WHERE channel = ?"), [&name])?;
        }
        tx.execute("DELETE FROM notify_channel WHERE name = ?", [&name])?;
        warn!(channel = name, failed, dropped, "a channel is not configured any more");
    }
    for channel in &settings.channels {
        tx.execute("INSERT OR IGNORE INTO notify_channel (name) VALUES (?)", [&channel.name])?;
    }
    Ok(())
}

impl State {
    /// Reads everything. Messages that were on their way are to be sent now, but for those in flight.
    fn load(
        db: &Connection,
        settings: &Settings,
        now: Timestamp,
        in_flight: &[Option<MessageId>],
    ) -> Result<State, NotifyError> {
        let mut state =
            db.query_row("SELECT alert_seq, case_seq, town_key FROM notify_progress", [], |row| {
                Ok(State {
                    alert_seq: row.get(0)?,
                    case_seq: row.get(1)?,
                    town_key: row.get(2)?,
                    ..State::default()
                })
            })?;
        let names: HashMap<&str, usize> = settings
            .channels
            .iter()
            .enumerate()
            .map(|(at, spec)| (spec.name.as_str(), at))
            .collect();
        state.lanes.resize_with(settings.channels.len(), Lane::default);
        for (lane, in_flight) in state.lanes.iter_mut().zip(in_flight) {
            lane.in_flight = *in_flight;
        }
        let of = |name: &str| names.get(name).copied();
        let mut rows = db.prepare("SELECT * FROM notify_pending")?;
        for row in rows.query_map([], tables::pending_of)? {
            let (channel, subject, pending) = row?;
            let Some(lane) = of(&channel) else { continue };
            state.lanes[lane].pending.insert(subject, pending);
        }
        state.load_channels(db, &of)?;
        state.load_queue(db, &of, now)?;
        Ok(state)
    }

    fn load_channels(
        &mut self,
        db: &Connection,
        of: &dyn Fn(&str) -> Option<usize>,
    ) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT * FROM notify_channel")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>("name")?) else { continue };
            let time =
                |name| row.get::<_, Option<i64>>(name).map(|us| us.map(Timestamp::from_micros));
            let lane = &mut self.lanes[lane];
            lane.merged_at = time("merged_at")?;
            lane.hold_until = time("hold_until")?;
            lane.sent_at = time("sent_at")?;
            lane.failed_at = time("failed_at")?;
            lane.error = row.get("error")?;
        }
        let mut rows = db.prepare("SELECT channel, alert, repeats, repeat_at FROM notify_told")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            let repeat_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros);
            let told = Told { repeats: row.get(2)?, repeat_at };
            self.lanes[lane].told.insert(AlertId(row.get::<_, i64>(1)? as u64), told);
        }
        let mut rows = db.prepare("SELECT channel, bundle, told_at FROM notify_bundle")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            self.lanes[lane].bundles.insert(row.get(1)?, Timestamp::from_micros(row.get(2)?));
        }
        Ok(())
    }

    fn load_queue(
        &mut self,
        db: &Connection,
        of: &dyn Fn(&str) -> Option<usize>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut rows = db.prepare(
            "SELECT id, channel, state, severity, merged, next_at, give_up_at, attempts FROM notify_message
             WHERE state IN ('waiting', 'sending')",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>("channel")?) else { continue };
            let id = MessageId(row.get::<_, i64>("id")? as u64);
            let next_at = match row.get::<_, String>("state")?.as_str() {
                // The hub was killed while it was on its way: perhaps it arrived, so it goes again under the same key.
                "sending" => now,
                _ => Timestamp::from_micros(row.get("next_at")?),
            };
            let queued = Queued {
                severity: tables::severity_of(row)?,
                merged: row.get("merged")?,
                next_at,
                give_up_at: Timestamp::from_micros(row.get("give_up_at")?),
                attempts: row.get("attempts")?,
            };
            self.lanes[lane].queue.insert(id, queued);
        }
        let mut rows =
            db.prepare("SELECT channel, message, ended FROM notify_attempt ORDER BY ended")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            let id = MessageId(row.get::<_, i64>(1)? as u64);
            let lane = &mut self.lanes[lane];
            match row.get::<_, Option<i64>>(2)? {
                Some(ended) => lane.spent.add(Timestamp::from_micros(ended).min(now)),
                None if lane.in_flight == Some(id) => {}
                None => lane.spent.add(now),
            }
        }
        Ok(())
    }
}

fn root_of(alert: &Alert) -> String {
    match &alert.asset {
        Some(asset) => format!("asset:{asset}"),
        None => format!("device:{}", alert.rule.device),
    }
}

impl Open {
    fn new(alert: &Alert, place: &Place) -> Self {
        let root = root_of(alert);
        let is_silence = alert.kind == "no_data";
        // Devices that fall silent together stand behind one gateway more often than in one zone.
        let bundle = match (&place.gateway, &place.zone) {
            (Some(gateway), _) if is_silence => format!("gateway:{gateway}"),
            (_, Some(zone)) => format!("zone:{zone}"),
            _ => root.clone(),
        };
        Open {
            root,
            severity: alert.severity,
            active: alert.active,
            is_acknowledged: alert.acknowledged_at.is_some(),
            tells: alert.is_annunciated(),
            zone: place.zone.clone(),
            bundle,
            device: alert.rule.device.clone(),
            gateway: place.gateway.clone(),
            is_silence,
        }
    }
}

/// What holds others back at this moment.
struct Watch<'o> {
    critical: HashSet<&'o str>,
    silent: HashSet<&'o DeviceId>,
}

impl<'o> Watch<'o> {
    fn of(open: &'o HashMap<AlertId, Open>) -> Self {
        let stands = || open.values().filter(|open| open.active && open.tells);
        let critical = stands().filter(|open| open.severity == Severity::Critical);
        let silent = stands().filter(|open| open.is_silence);
        Watch {
            critical: critical.map(|open| open.root.as_str()).collect(),
            silent: silent.map(|open| &open.device).collect(),
        }
    }

    /// Whether something that stands makes this not worth telling now.
    fn holds(&self, pending: &Pending, open: Option<&Open>) -> bool {
        if !matches!(pending.event, EventKind::Raised | EventKind::Reminder) {
            return false;
        }
        let Some(open) = open else { return false };
        let is_milder =
            pending.severity < Severity::Critical && self.critical.contains(open.root.as_str());
        let gateway = open.gateway.as_ref().filter(|_| open.is_silence);
        is_milder || gateway.is_some_and(|gateway| self.silent.contains(gateway))
    }
}

impl Lane {
    /// Whether anything is to be told now, as far as was looked.
    fn is_due(
        &mut self,
        spec: &ChannelSpec,
        pace: &Pace,
        open: &HashMap<AlertId, Open>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> bool {
        if self.looked_at.is_some_and(|at| at <= now && now.since(at) < LOOK) {
            return false;
        }
        let is_due = !self.due(spec, pace, open, watch, now).is_empty();
        self.looked_at = (!is_due).then_some(now);
        is_due
    }

    /// What is to be told now.
    fn due(
        &mut self,
        spec: &ChannelSpec,
        pace: &Pace,
        open: &HashMap<AlertId, Open>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> Vec<Batch> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let room = Room {
            per_minute: spec.per_minute,
            used: self.spent.used(now).saturating_add(waiting),
            merged_at: self.merged_at,
            merged_waits: self.queue.values().any(|queued| queued.merged),
        };
        let free = self.pending.iter().filter(|(subject, pending)| match subject {
            Subject::Alert(id) => !watch.holds(pending, open.get(id)),
            Subject::Case(..) => true,
        });
        group::batches(free, &self.bundles, room, pace, now)
    }

    /// The message that may be sent now: the worst, and of these the oldest.
    fn ready(&mut self, spec: &ChannelSpec, now: Timestamp) -> Option<MessageId> {
        let is_held = self.hold_until.is_some_and(|until| until > now);
        if self.queue.is_empty()
            || is_held
            || self.in_flight.is_some()
            || self.spent.used(now) >= spec.per_minute
        {
            return None;
        }
        let due = self
            .queue
            .iter()
            .filter(|(_, queued)| queued.next_at <= now && queued.give_up_at > now);
        due.min_by_key(|(id, queued)| (queued.severity.rank(), **id)).map(|(id, _)| *id)
    }
}

impl Work<'_> {
    /// Finds the open alerts and where they stand, once.
    fn look_around(&mut self, places: &dyn Places) -> Result<(), NotifyError> {
        if self.state.open.is_some() {
            return Ok(());
        }
        let mut open = HashMap::new();
        let mut query =
            AlertQuery { open_only: true, limit: alert::MAX_LISTED, ..AlertQuery::default() };
        loop {
            let page = alert::list(self.tx, &query)?;
            let Some(last) = page.last() else { break };
            query.before = Some(last.id);
            open.extend(
                page.iter().map(|alert| (alert.id, Open::new(alert, &places.alert(alert)))),
            );
        }
        self.state.open = Some(open);
        Ok(())
    }

    fn open(&self, id: AlertId) -> Option<&Open> {
        self.state.open.as_ref()?.get(&id)
    }

    /// A page of the alerts' log; returns how long it was.
    fn follow_alerts(&mut self, places: &dyn Places) -> Result<usize, NotifyError> {
        let news: Vec<(i64, u64, String)> = self
            .tx
            .prepare_cached(
                "SELECT seq, alert, what FROM alert_event WHERE seq > ? ORDER BY seq LIMIT ?",
            )?
            .query_map([self.state.alert_seq, PAGE as i64], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        for (_, alert, what) in &news {
            if let Some(alert) = alert::find(self.tx, AlertId(*alert))? {
                self.on_alert(&alert, what, places)?;
            }
        }
        if let Some((seq, ..)) = news.last() {
            self.tx.execute("UPDATE notify_progress SET alert_seq = ?", [seq])?;
            self.state.alert_seq = *seq;
        }
        Ok(news.len())
    }

    /// An alert changed; it is told as it is now, whatever happened on the way.
    fn on_alert(
        &mut self,
        alert: &Alert,
        what: &str,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        let open = Open::new(alert, &places.alert(alert));
        for lane in 0..self.state.lanes.len() {
            self.on_alert_in(lane, alert, &open, what)?;
        }
        let known = self.state.open.get_or_insert_default();
        match alert.is_open() {
            true => known.insert(alert.id, open),
            false => known.remove(&alert.id),
        };
        Ok(())
    }

    fn on_alert_in(
        &mut self,
        lane: usize,
        alert: &Alert,
        open: &Open,
        what: &str,
    ) -> Result<(), NotifyError> {
        let subject = Subject::Alert(alert.id);
        let waiting = self.state.lanes[lane].pending.get(&subject).cloned();
        let was_told = self.state.lanes[lane].told.contains_key(&alert.id);
        let event = self.event_of(alert, open, what, waiting.as_ref(), was_told);
        let event = event.filter(|kind| {
            let is_waiting = waiting.as_ref().is_some_and(|waiting| waiting.event == *kind);
            is_waiting || self.hears(lane, *kind, open.severity, open.zone.as_ref(), 0)
        });
        // News of its end that nobody has read yet is not undone by more that the channel does not want.
        let is_end =
            |kind: &EventKind| matches!(kind, EventKind::Acknowledged | EventKind::Returned);
        let event = event.or_else(|| {
            waiting.as_ref().map(|w| w.event).filter(|kind| is_end(kind) && !alert.active)
        });
        match (event, waiting) {
            (Some(event), waiting) => {
                let since = waiting
                    .as_ref()
                    .filter(|waiting| waiting.event == event)
                    .map_or(self.now, |w| w.since);
                let pending = Pending {
                    event,
                    bundle: open.bundle.clone(),
                    root: open.root.clone(),
                    severity: open.severity,
                    since,
                };
                self.put(lane, subject, pending)?;
            }
            (None, Some(_)) => {
                self.drop_pending(lane, subject)?;
                self.counters.over.fetch_add(1, Ordering::Relaxed);
            }
            (None, None) => {}
        }
        if !alert.is_open() {
            self.forget_told(lane, alert.id)?;
        } else if open.is_acknowledged && was_told {
            self.put_told(lane, alert.id, Told { repeats: 0, repeat_at: None })?;
        }
        Ok(())
    }

    /// What a channel is told of an alert after this event, if its routes want it; `None`: nothing (any more).
    fn event_of(
        &self,
        alert: &Alert,
        open: &Open,
        what: &str,
        waiting: Option<&Pending>,
        was_told: bool,
    ) -> Option<EventKind> {
        let is_waiting =
            waiting.is_some_and(|w| matches!(w.event, EventKind::Raised | EventKind::Reminder));
        let surfaced = matches!(what, "unshelved" | "unsuppressed" | "in_service");
        let rings = surfaced
            || matches!(what, "raised" | "severity_up" | "rearmed" | "chattering")
            || (what == "raised_again" && !alert.chattering);
        let is_quiet = alert.is_open() && !open.tells;
        if is_quiet {
            return None;
        }
        if alert.active && (!open.is_acknowledged || surfaced) {
            // What waits goes on waiting, with its present severity.
            return match (rings, waiting) {
                (true, _) => Some(EventKind::Raised),
                (false, Some(waiting)) if is_waiting => Some(waiting.event),
                (false, _) => None,
            };
        }
        match what {
            "acknowledged" if was_told => Some(EventKind::Acknowledged),
            "returned" | "rule_removed" if was_told => Some(EventKind::Returned),
            // News of its end that nobody has read yet stands.
            _ => waiting
                .map(|w| w.event)
                .filter(|event| matches!(event, EventKind::Acknowledged | EventKind::Returned)),
        }
    }

    /// A page of the cases' log; returns how long it was.
    fn follow_cases(&mut self, places: &dyn Places) -> Result<usize, NotifyError> {
        let news: Vec<(i64, u64, u32)> = self
            .tx
            .prepare_cached(
                "SELECT seq, case_id, version FROM case_event WHERE seq > ? ORDER BY seq LIMIT ?",
            )?
            .query_map([self.state.case_seq, PAGE as i64], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        for (_, id, version) in &news {
            if let Some((case, event)) = self.case_at(CaseId(*id), *version)? {
                self.on_case(&case, &event, places)?;
            }
        }
        if let Some((seq, ..)) = news.last() {
            self.tx.execute("UPDATE notify_progress SET case_seq = ?", [seq])?;
            self.state.case_seq = *seq;
        }
        Ok(news.len())
    }

    /// The case as it was after the event of this version.
    fn case_at(&self, id: CaseId, version: u32) -> Result<Option<(Case, CaseEvent)>, NotifyError> {
        let mut told: Option<Case> = None;
        for event in case::history(self.tx, id)? {
            match &mut told {
                Some(case) => case.on(&event),
                None => told = Case::open(&event),
            }
            if event.version == version {
                return Ok(told.map(|case| (case, event)));
            }
        }
        Ok(None)
    }

    fn on_case(
        &mut self,
        case: &Case,
        event: &CaseEvent,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        if matches!(event.happened, Happened::Closed { .. }) {
            self.case_is_over(case.id)?;
        }
        let Some(kind) = notice::kind_of(&event.happened) else { return Ok(()) };
        let level = if kind == EventKind::CaseEscalated { case.escalation } else { 0 };
        let zone = case.subject.zone.clone().or_else(|| places.case(&case.subject).zone);
        for lane in 0..self.state.lanes.len() {
            if self.hears(lane, kind, case.severity, zone.as_ref(), level) {
                let pending = Pending {
                    event: kind,
                    bundle: format!("case:{}", case.id.0),
                    root: case.root(),
                    severity: case.severity,
                    since: self.now,
                };
                self.put(lane, Subject::Case(case.id, event.version), pending)?;
            }
        }
        Ok(())
    }

    /// Nobody need hear any more that a closed case is late or that a unit is sent to it.
    fn case_is_over(&mut self, id: CaseId) -> Result<(), NotifyError> {
        use EventKind::{CaseDispatched, CaseEscalated, CaseOverdue};
        for lane in 0..self.state.lanes.len() {
            let of_case = self.state.lanes[lane]
                .pending
                .range(Subject::Case(id, 0)..=Subject::Case(id, u32::MAX));
            let over = of_case
                .filter(|(_, p)| matches!(p.event, CaseDispatched | CaseEscalated | CaseOverdue));
            let over: Vec<Subject> = over.map(|(subject, _)| *subject).collect();
            for subject in over {
                self.drop_pending(lane, subject)?;
                self.counters.over.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn hears(
        &self,
        lane: usize,
        kind: EventKind,
        severity: Severity,
        zone: Option<&ZoneId>,
        level: u8,
    ) -> bool {
        let news = News { kind, severity, zone, level };
        route::channels(&self.settings.routes, &news, self.now).contains(&lane)
    }

    /// Alerts that nobody acknowledged for too long wait to be told again.
    fn remind(&mut self) -> Result<(), NotifyError> {
        for lane in 0..self.state.lanes.len() {
            let due = self.state.lanes[lane].told.iter();
            let due = due.filter(|(_, told)| told.repeat_at.is_some_and(|at| at <= self.now));
            let due: Vec<(AlertId, Told)> = due.map(|(id, told)| (*id, *told)).collect();
            for (id, told) in due {
                let stands = self.open(id).filter(|open| open.tells && !open.is_acknowledged);
                let pending = stands
                    .filter(|open| {
                        self.hears(lane, EventKind::Reminder, open.severity, open.zone.as_ref(), 0)
                    })
                    .map(|open| Pending {
                        event: EventKind::Reminder,
                        bundle: open.bundle.clone(),
                        root: open.root.clone(),
                        severity: open.severity,
                        since: self.now,
                    });
                let subject = Subject::Alert(id);
                let is_waiting = self.state.lanes[lane].pending.contains_key(&subject);
                match pending.filter(|_| !is_waiting) {
                    Some(pending) => {
                        self.put(lane, subject, pending)?;
                        self.put_told(lane, id, Told { repeat_at: None, ..told })?;
                    }
                    // Quiet, unwanted at this hour, or told anyhow: looked at again after the same time.
                    None => {
                        let next = self.now.plus(self.settings.pace.repeat_after(told.repeats));
                        self.put_told(lane, id, Told { repeat_at: Some(next), ..told })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes messages of what is due.
    fn compose(&mut self, places: &dyn Places) -> Result<(), NotifyError> {
        for lane in 0..self.state.lanes.len() {
            let State { lanes, open, .. } = &mut *self.state;
            let open = &*open.get_or_insert_default();
            let spec = &self.settings.channels[lane];
            let due = lanes[lane].due(spec, &self.settings.pace, open, &Watch::of(open), self.now);
            for batch in due {
                self.make(lane, batch, places)?;
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        lane: usize,
        mut batch: Batch,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        let pending = &self.state.lanes[lane].pending;
        batch
            .subjects
            .sort_by_key(|subject| (pending.get(subject).map(|p| p.severity.rank()), *subject));
        let notice = self.notice(lane, &batch, places)?;
        self.counters.mentions.fetch_add(notice.total as u64, Ordering::Relaxed);
        self.counters.merged.fetch_add(u64::from(batch.is_merged), Ordering::Relaxed);
        self.insert(
            lane,
            &notice,
            batch.is_merged,
            batch.subjects.iter().map(|subject| subject.columns()),
        )?;
        for subject in &batch.subjects {
            let pending = self.state.lanes[lane].pending.get(subject).cloned();
            self.drop_pending(lane, *subject)?;
            if let (Subject::Alert(id), Some(pending)) = (*subject, pending) {
                self.was_told(lane, id, pending.event)?;
            }
        }
        let now = self.now;
        let name = &self.settings.channels[lane].name;
        for bundle in batch.bundles {
            self.tx
                .prepare_cached("INSERT OR REPLACE INTO notify_bundle (channel, bundle, told_at) VALUES (?, ?, ?)")?
                .execute(params![name, bundle, now.as_micros()])?;
            self.state.lanes[lane].bundles.insert(bundle, now);
        }
        if batch.is_merged {
            self.state.lanes[lane].merged_at = Some(now);
            self.write_channel(lane)?;
        }
        Ok(())
    }

    /// An alert was put into a message: when it is told again.
    fn was_told(&mut self, lane: usize, id: AlertId, event: EventKind) -> Result<(), NotifyError> {
        let Some(open) = self.open(id) else { return Ok(()) };
        let before = self.state.lanes[lane].told.get(&id).map_or(0, |told| told.repeats);
        let repeats = match event {
            EventKind::Raised => 0,
            EventKind::Reminder => before.saturating_add(1),
            _ => return Ok(()),
        };
        let wait = self.settings.pace.repeat_after(repeats);
        let repeat_at = (!open.is_acknowledged).then(|| self.now.plus(wait));
        self.put_told(lane, id, Told { repeats, repeat_at })
    }

    fn notice(
        &self,
        lane: usize,
        batch: &Batch,
        places: &dyn Places,
    ) -> Result<Notice, NotifyError> {
        let lane = &self.state.lanes[lane];
        let mut notice = Notice::empty(self.now, batch.is_merged);
        let mut roots = HashSet::new();
        let units = case::units(self.tx)?;
        for subject in &batch.subjects {
            let Some(pending) = lane.pending.get(subject) else { continue };
            notice.count(pending.severity);
            roots.insert(pending.root.as_str());
            let is_listed = notice.entries.len() < MAX_ENTRIES;
            match *subject {
                Subject::Alert(id) => {
                    notice.alerts.push(id.0);
                    if let Some(alert) = alert::find(self.tx, id)?.filter(|_| is_listed) {
                        let case = tables::case_of_alert(self.tx, id)?;
                        let repeats = lane.told.get(&id).map_or(0, |told| told.repeats);
                        let repeats =
                            if pending.event == EventKind::Reminder { repeats + 1 } else { 0 };
                        let entry = AlertEntry::new(
                            &alert,
                            pending.event,
                            &places.alert(&alert),
                            case,
                            repeats,
                        );
                        notice.entries.push(Entry::Alert(entry));
                    }
                }
                Subject::Case(id, version) => {
                    if !notice.cases.contains(&id.0) {
                        notice.cases.push(id.0);
                    }
                    if let Some((case, event)) = self.case_at(id, version)? {
                        let entry = CaseEntry::new(
                            &case,
                            &event,
                            pending.event,
                            &places.case(&case.subject),
                        );
                        for person in people_of(&entry, &units) {
                            if !notice.people.contains(&person) {
                                notice.people.push(person);
                            }
                        }
                        notice.entries.extend(is_listed.then_some(Entry::Case(entry)));
                    }
                }
            }
        }
        notice.places = roots.len();
        Ok(notice)
    }

    fn insert(
        &mut self,
        lane: usize,
        notice: &Notice,
        merged: bool,
        mentions: impl Iterator<Item = (&'static str, i64, u32)>,
    ) -> Result<MessageId, NotifyError> {
        let now = self.now;
        let give_up_at = now.plus(self.settings.pace.give_up);
        let text = serde_json::to_string(notice).map_err(|why| {
            NotifyError::Database(rusqlite::Error::ToSqlConversionFailure(Box::new(why)))
        })?;
        self.tx
            .prepare_cached(
                "INSERT INTO notify_message
                     (channel, state, severity, merged, created_at, give_up_at, next_at, attempts, notice)
                 VALUES (?, 'waiting', ?, ?, ?, ?, ?, 0, ?)",
            )?
            .execute(params![
                self.settings.channels[lane].name,
                notice.severity.rank(),
                merged,
                now.as_micros(),
                give_up_at.as_micros(),
                now.as_micros(),
                text,
            ])?;
        let id = self.tx.last_insert_rowid();
        for (what, number, _) in mentions {
            self.tx
                .prepare_cached(
                    "INSERT OR IGNORE INTO notify_mention (message, what, number) VALUES (?, ?, ?)",
                )?
                .execute(params![id, what, number])?;
        }
        let id = MessageId(id as u64);
        let queued =
            Queued { severity: notice.severity, merged, next_at: now, give_up_at, attempts: 0 };
        self.state.lanes[lane].queue.insert(id, queued);
        self.counters.made.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// Marks the messages that go out now, one per channel at most.
    fn hand_out(&mut self) -> Result<Vec<Job>, NotifyError> {
        let mut jobs = Vec::new();
        for lane in 0..self.state.lanes.len() {
            self.expire(lane)?;
            let spec = &self.settings.channels[lane];
            let Some(id) = self.state.lanes[lane].ready(spec, self.now) else { continue };
            let attempt =
                self.state.lanes[lane].queue.get(&id).map_or(1, |queued| queued.attempts + 1);
            self.tx
                .prepare_cached(
                    "UPDATE notify_message SET state = 'sending', attempts = ? WHERE id = ?",
                )?
                .execute(params![attempt, id.0 as i64])?;
            self.tx
                .prepare_cached("INSERT OR REPLACE INTO notify_attempt (channel, message, attempt) VALUES (?, ?, ?)")?
                .execute(params![spec.name, id.0 as i64, attempt])?;
            let notice = self
                .tx
                .prepare_cached("SELECT notice FROM notify_message WHERE id = ?")?
                .query_row([id.0 as i64], tables::notice_of)?;
            let key = tables::key_of(&self.state.town_key, id);
            let lane_state = &mut self.state.lanes[lane];
            lane_state.in_flight = Some(id);
            if let Some(queued) = lane_state.queue.get_mut(&id) {
                queued.attempts = attempt;
            }
            jobs.push(Job { channel: lane, id, key, attempt, notice });
        }
        Ok(jobs)
    }

    /// Messages whose time ran out while they waited.
    fn expire(&mut self, lane: usize) -> Result<(), NotifyError> {
        let state = &self.state.lanes[lane];
        let over = state
            .queue
            .iter()
            .filter(|(id, q)| q.give_up_at <= self.now && state.in_flight != Some(**id));
        let over: Vec<MessageId> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.fail(lane, id, None)?;
        }
        Ok(())
    }

    fn fail(&mut self, lane: usize, id: MessageId, why: Option<&str>) -> Result<(), NotifyError> {
        self.tx
            .prepare_cached(
                "UPDATE notify_message
                 SET state = 'failed', error = coalesce(?, error, 'its time ran out before it could be sent') WHERE id = ?",
            )?
            .execute(params![why, id.0 as i64])?;
        self.state.lanes[lane].queue.remove(&id);
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        let channel = &self.settings.channels[lane].name;
        error!(
            channel,
            message = id.0,
            error = why,
            "a notification was given up; it can be retried by hand"
        );
        Ok(())
    }

    fn settle(
        &mut self,
        job: &Job,
        outcome: &Result<Option<String>, Failure>,
    ) -> Result<(), NotifyError> {
        let (lane, now) = (job.channel, self.now);
        if self.state.lanes[lane].in_flight == Some(job.id) {
            self.state.lanes[lane].in_flight = None;
        }
        self.state.lanes[lane].spent.add(now);
        let channel = &self.settings.channels[lane].name;
        self.tx
            .prepare_cached("UPDATE notify_attempt SET ended = ? WHERE channel = ? AND message = ? AND attempt = ?")?
            .execute(params![now.as_micros(), channel, job.id.0 as i64, job.attempt])?;
        match outcome {
            Ok(answer) => {
                self.tx
                    .prepare_cached(
                        "UPDATE notify_message SET state = 'sent', sent_at = ?, answer = ?, error = NULL WHERE id = ?",
                    )?
                    .execute(params![now.as_micros(), answer, job.id.0 as i64])?;
                let state = &mut self.state.lanes[lane];
                state.queue.remove(&job.id);
                if state.failed_at > state.sent_at {
                    info!(channel, "the notification channel works again");
                }
                (state.sent_at, state.hold_until) = (Some(now), None);
                self.counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => self.on_failure(job, failure)?,
        }
        self.write_channel(lane)
    }

    fn on_failure(&mut self, job: &Job, failure: &Failure) -> Result<(), NotifyError> {
        let (lane, now) = (job.channel, self.now);
        let channel = &self.settings.channels[lane].name;
        self.counters.attempts_failed.fetch_add(1, Ordering::Relaxed);
        let state = &mut self.state.lanes[lane];
        if state.failed_at <= state.sent_at {
            warn!(channel, error = failure.why(), "a notification channel fails");
        }
        (state.failed_at, state.error) = (Some(now), Some(failure.why().to_owned()));
        let next_at = match failure {
            Failure::Refused(why) => return self.fail(lane, job.id, Some(why)),
            Failure::Throttled { wait, .. } => {
                state.hold_until = Some(now.plus(*wait));
                now.plus(*wait)
            }
            Failure::Temporary(_) => now.plus(pause(job.id, job.attempt)),
        };
        let give_up_at = state.queue.get(&job.id).map_or(now, |queued| queued.give_up_at);
        if next_at >= give_up_at {
            return self.fail(lane, job.id, Some(failure.why()));
        }
        if let Some(queued) = state.queue.get_mut(&job.id) {
            queued.next_at = next_at;
        }
        self.tx
            .prepare_cached(
                "UPDATE notify_message SET state = 'waiting', next_at = ?, error = ? WHERE id = ?",
            )?
            .execute(params![next_at.as_micros(), failure.why(), job.id.0 as i64])?;
        Ok(())
    }

    fn retry(&mut self, id: MessageId, by: &str) -> Result<(), NotifyError> {
        let found: Option<(String, String, Severity, bool, u32)> = self
            .tx
            .prepare_cached("SELECT * FROM notify_message WHERE id = ?")?
            .query_row([i64::try_from(id.0).unwrap_or(-1)], |row| {
                let severity = tables::severity_of(row)?;
                Ok((
                    row.get("channel")?,
                    row.get("state")?,
                    severity,
                    row.get("merged")?,
                    row.get("attempts")?,
                ))
            })
            .optional()?;
        let (channel, state, severity, merged, attempts) =
            found.ok_or(NotifyError::NoMessage(id))?;
        let lane = self.lane(&channel)?;
        let state = match state.as_str() {
            "sent" => "sent already",
            "sending" if self.state.lanes[lane].in_flight == Some(id) => "being sent",
            _ => "",
        };
        if !state.is_empty() {
            return Err(NotifyError::NotUnsent { id, state });
        }
        let (now, give_up_at) = (self.now, self.now.plus(self.settings.pace.give_up));
        self.tx.execute(
            "UPDATE notify_message SET state = 'waiting', next_at = ?, give_up_at = ? WHERE id = ?",
            params![now.as_micros(), give_up_at.as_micros(), id.0 as i64],
        )?;
        let queued = Queued { severity, merged, next_at: now, give_up_at, attempts };
        self.state.lanes[lane].queue.insert(id, queued);
        self.log(by, "notification.retry", &id.0.to_string())
    }

    fn test(&mut self, channel: &str, by: &str) -> Result<MessageId, NotifyError> {
        let lane = self.lane(channel)?;
        if self.state.lanes[lane].queue.len() as u32 >= self.settings.channels[lane].per_minute / 2
        {
            return Err(NotifyError::Busy(channel.to_owned()));
        }
        let id = self.insert(lane, &Notice::trial(self.now), false, std::iter::empty())?;
        self.log(by, "notification.test", channel)?;
        Ok(id)
    }

    fn lane(&self, name: &str) -> Result<usize, NotifyError> {
        let channels = &self.settings.channels;
        channels.iter().position(|channel| channel.name == name).ok_or_else(|| {
            NotifyError::NoChannel {
                name: name.to_owned(),
                known: channels.iter().map(|channel| channel.name.clone()).collect(),
            }
        })
    }

    fn log(&self, by: &str, action: &str, subject: &str) -> Result<(), NotifyError> {
        let detail = serde_json::Value::Null;
        Ok(audit::append(
            self.tx,
            &AuditEntry { at: self.now, actor: by, action, subject, detail },
        )?)
    }

    /// What is old: messages that people looked at long ago, bundles and attempts that mean nothing any more.
    fn sweep(&mut self) -> Result<(), NotifyError> {
        let before = |age: Duration| self.now.minus(age).as_micros();
        let pace = &self.settings.pace;
        self.tx.execute(
            "DELETE FROM notify_message WHERE created_at < ? AND state IN ('sent', 'failed')",
            [before(pace.keep)],
        )?;
        self.tx.execute("DELETE FROM notify_bundle WHERE told_at < ?", [before(pace.interval)])?;
        self.tx.execute("DELETE FROM notify_attempt WHERE ended < ?", [before(SWEEP)])?;
        for lane in &mut self.state.lanes {
            lane.bundles.retain(|_, told| self.now.since(*told) < pace.interval);
        }
        Ok(())
    }

    fn put(&mut self, lane: usize, subject: Subject, pending: Pending) -> Result<(), NotifyError> {
        let state = &mut self.state.lanes[lane];
        if state.pending.get(&subject) != Some(&pending) {
            tables::put_pending(self.tx, &self.settings.channels[lane].name, subject, &pending)?;
            state.pending.insert(subject, pending);
        }
        Ok(())
    }

    fn drop_pending(&mut self, lane: usize, subject: Subject) -> Result<(), NotifyError> {
        tables::delete_pending(self.tx, &self.settings.channels[lane].name, subject)?;
        self.state.lanes[lane].pending.remove(&subject);
        Ok(())
    }

    fn put_told(&mut self, lane: usize, id: AlertId, told: Told) -> Result<(), NotifyError> {
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO notify_told (channel, alert, repeats, repeat_at) VALUES (?, ?, ?, ?)")?
            .execute(params![
                self.settings.channels[lane].name,
                id.0 as i64,
                told.repeats,
                told.repeat_at.map(Timestamp::as_micros),
            ])?;
        self.state.lanes[lane].told.insert(id, told);
        Ok(())
    }

    fn forget_told(&mut self, lane: usize, id: AlertId) -> Result<(), NotifyError> {
        if self.state.lanes[lane].told.remove(&id).is_some() {
            self.tx
                .prepare_cached("DELETE FROM notify_told WHERE channel = ? AND alert = ?")?
                .execute(params![self.settings.channels[lane].name, id.0 as i64])?;
        }
        Ok(())
    }

    fn write_channel(&self, lane: usize) -> Result<(), NotifyError> {
        let state = &self.state.lanes[lane];
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        self.tx
            .prepare_cached(
                "UPDATE notify_channel SET merged_at = ?, hold_until = ?, sent_at = ?, failed_at = ?, error = ?
                 WHERE name = ?",
            )?
            .execute(params![
                micros(state.merged_at),
                micros(state.hold_until),
                micros(state.sent_at),
                micros(state.failed_at),
                state.error,
                self.settings.channels[lane].name,
            ])?;
        Ok(())
    }
}

/// Whom a case's event concerns: the person that it names; all of the unit when it is dispatched or escalated, its first
/// when it is late.
fn people_of(entry: &CaseEntry, units: &[case::Unit]) -> Vec<String> {
    let unit = units.iter().find(|unit| Some(unit.id.as_str()) == entry.unit.as_deref());
    let members = unit.map_or(&[][..], |unit| unit.members.as_slice());
    match (entry.event, &entry.person) {
        (EventKind::CaseDispatched | EventKind::CaseOverdue, Some(person)) => vec![person.clone()],
        (EventKind::CaseDispatched | EventKind::CaseEscalated, _) => members.to_vec(),
        (EventKind::CaseOverdue, None) => members.first().cloned().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// How long a message waits after its `attempt`-th failure: doubling, and up to a quarter longer, so that what failed
/// together does not come again together. The same message always waits as long: a test can say so.
fn pause(id: MessageId, attempt: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    let mixed =
        (id.0 ^ u64::from(attempt).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    pause + pause.mul_f64(mixed as f64 / 1024.0)
}

impl Counters {
    /// Every count with its name in the metrics.
    pub fn read(&self) -> [(&'static str, u64); 7] {
        [
            ("made", &self.made),
            ("merged", &self.merged),
            ("mentions", &self.mentions),
            ("sent", &self.sent),
            ("attempt_failed", &self.attempts_failed),
            ("given_up", &self.failed),
            ("over_before_told", &self.over),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}
