//! What must be told although nothing can be written: the hub's critical troubles while the disk takes nothing.
//!
//! The one way around the outbox. Takes the open troubles, hands on [`Job`]s that are in no table, one for each trouble and
//! channel in a run of the hub. When the disk takes something again, `follow` meets the trouble in its log and counts it as
//! told, so that only its end is told then.

use std::time::Duration;

use super::{Job, Post};
use crate::model::{Severity, Timestamp};
use crate::notify::channel::Failure;
use crate::notify::notice::{Entry, Notice, TroubleEntry};
use crate::notify::route::{self, News};
use crate::notify::{EventKind, MessageId};
use crate::trouble::{Code, Trouble, TroubleId};

/// The number of a message that is in no table.
const UNWRITTEN: MessageId = MessageId(0);

/// After how long one that was not taken is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// How an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// On its way, or taken.
    Told,
    /// Its channel failed; not before this time again.
    Failed(Timestamp),
}

impl Post {
    /// What is to be told past the disk: every critical one of these that a channel has not been told of.
    pub fn alarm(&mut self, open: &[Trouble], now: Timestamp) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for trouble in open.iter().filter(|trouble| trouble.severity == Severity::Critical) {
            for lane in 0..self.settings.channels.len() {
                let is_free = jobs.iter().all(|job| job.channel != lane);
                if is_free && self.must_alarm(lane, trouble, now) {
                    self.alarms.insert((lane, trouble.id), Alarm::Told);
                    jobs.push(self.alarm_of(lane, trouble, now));
                }
            }
        }
        jobs
    }

    /// The disk takes what it is given, and the log was followed to its end: what is told from now on is told by the outbox.
    pub fn calm(&mut self) {
        self.alarms.clear();
    }

    fn must_alarm(&mut self, lane: usize, trouble: &Trouble, now: Timestamp) -> bool {
        let spec = &self.settings.channels[lane];
        let is_own = trouble.code == Code::Channel && trouble.subject == spec.name;
        let news = News {
            kind: EventKind::SystemRaised,
            severity: trouble.severity,
            zone: None,
            level: 0,
        };
        let hears = route::channels(&self.settings.routes, &news, now).contains(&lane);
        let is_told = match self.alarms.get(&(lane, trouble.id)) {
            Some(Alarm::Told) => true,
            Some(Alarm::Failed(until)) => *until > now,
            None => self.told_on_disk(&spec.name, trouble),
        };
        let state = &mut self.state.lanes[lane];
        let is_busy = state.in_flight.is_some() || state.spent.used(now) >= spec.per_minute;
        hears && !is_own && !is_told && !is_busy
    }

    /// Asked of the disk, for memory may hold what a transaction that failed was about to write.
    fn told_on_disk(&self, channel: &str, trouble: &Trouble) -> bool {
        // Who was told of a low disk was not told of a full one.
        let sql = "SELECT count(*) FROM notify_told_trouble
                   WHERE channel = ? AND trouble = ? AND severity <= ?";
        let told = (channel, trouble.id.0 as i64, trouble.severity.rank());
        let count = self
            .db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(told, |row| row.get::<_, i64>(0)));
        count.is_ok_and(|count| count > 0)
    }

    fn alarm_of(&self, channel: usize, trouble: &Trouble, now: Timestamp) -> Job {
        let mut notice = Notice::empty(now, false);
        notice.count(trouble.severity);
        notice.places = 1;
        notice.troubles.push(trouble.id.0);
        notice.entries.push(Entry::Trouble(TroubleEntry::new(trouble, EventKind::SystemRaised)));
        // The same key again is the same message.
        let key = format!("{}-trouble-{}", self.state.town_key, trouble.id.0);
        Job { channel, id: UNWRITTEN, key, attempt: 1, notice }
    }

    /// An alarm's attempt is over; says whether the job was one.
    pub(super) fn alarm_done(
        &mut self,
        job: &Job,
        outcome: &Result<Option<String>, Failure>,
        now: Timestamp,
    ) -> bool {
        if job.id != UNWRITTEN {
            return false;
        }
        if let Some(lane) = self.state.lanes.get_mut(job.channel) {
            lane.spent.add(now);
        }
        if outcome.is_err() {
            self.alarm_missed(job, now);
        }
        true
    }

    /// The channel could not take the job: not now, then.
    pub fn alarm_missed(&mut self, job: &Job, now: Timestamp) {
        if job.id == UNWRITTEN {
            for id in &job.notice.troubles {
                let alarm = Alarm::Failed(now.plus(PAUSE));
                self.alarms.insert((job.channel, TroubleId(*id)), alarm);
            }
        }
    }
}
