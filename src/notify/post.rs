//! The one owner of what waits, what was told and what is sent: follows the logs, makes messages, hands them out.
//!
//! Every change happens in memory and in one transaction; when SQLite refuses, memory is read from the disk again. It
//! neither sends nor knows the time: both are handed in.
//!
//! # Layout
//! `state` what is in memory, and how it is read · `follow` from logs to what waits · `compose` from what waits to messages ·
//! `deliver` from messages to attempts, and back · `alarm` past a disk that takes nothing. Here: whose turn it is, and the one transaction around each ([`Work`]).

mod alarm;
mod compose;
mod deliver;
mod follow;
mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;
use utoipa::ToSchema;

use self::alarm::Alarm;
use self::compose::Watch;
use self::follow::PAGE;
use self::state::{State, Told, adopt};
use super::channel::Failure;
use super::config::Settings;
use super::notice::Notice;
use super::{MessageId, NotifyError};
use crate::alert::Alert;
use crate::case;
use crate::model::{DeviceId, Label, Timestamp, ZoneId};
use crate::trouble::TroubleId;

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
    /// What was told past a disk that takes nothing, by channel and trouble.
    alarms: HashMap<(usize, TroubleId), Alarm>,
}

/// One transaction at work.
struct Work<'w> {
    tx: &'w Transaction<'w>,
    state: &'w mut State,
    settings: &'w Settings,
    counters: &'w Counters,
    alarms: &'w HashMap<(usize, TroubleId), Alarm>,
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
        adopt(&tx, &settings, now)?;
        tx.commit()?;
        let state = State::load(&db, &settings, now, &[])?;
        let (counters, alarms) = (Arc::default(), HashMap::new());
        Ok(Post { db, settings, state, counters, is_stale: false, swept_at: None, alarms })
    }

    /// Follows the logs to their ends, makes the messages that are due, and returns those to be sent now: at most one per
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
        while self.transact(now, |work| work.follow_troubles())? == PAGE {}
        let is_due = self.swept_at.is_none_or(|at| now.since(at) >= SWEEP);
        self.transact(now, |work| {
            if is_due {
                work.sweep()?;
            }
            work.settle_alarms()?;
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
        if self.alarm_done(job, &outcome, now) {
            return Ok(());
        }
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
        if !self.alarms.is_empty()
            || self.is_stale
            || self.swept_at.is_none_or(|at| now.since(at) >= SWEEP)
        {
            return Ok(true);
        }
        let Post { db, settings, state, .. } = self;
        let news: bool = db
            .prepare_cached(
                "SELECT (SELECT coalesce(max(seq), 0) FROM alert_event) > ?
                     OR (SELECT coalesce(max(seq), 0) FROM case_event) > ?
                     OR (SELECT coalesce(max(seq), 0) FROM trouble_event) > ?",
            )?
            .query_row([state.alert_seq, state.case_seq, state.trouble_seq], |row| row.get(0))?;
        if news {
            return Ok(true);
        }
        let State { lanes, open, .. } = state;
        let Some(open) = open else { return Ok(true) };
        // What holds others back need be known only where something waits: it is a walk over all open alerts.
        let watch = match lanes.iter().any(|lane| !lane.pending.is_empty()) {
            true => Watch::of(open),
            false => Watch::default(),
        };
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
        let Post { db, settings, state, counters, is_stale, alarms, .. } = self;
        let in_flight: Vec<_> = state.lanes.iter().map(|lane| lane.in_flight).collect();
        if *is_stale {
            *state = State::load(db, settings, now, &in_flight)?;
            *is_stale = false;
        }
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        *is_stale = true;
        let done = work(&mut Work { tx: &tx, state, settings, counters, alarms, now });
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
