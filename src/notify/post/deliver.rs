//! From the outbox to jobs, and from their outcomes back: hands out, settles, tries again, gives up, sweeps.
//!
//! Takes the lanes' queues and what became of each attempt; hands on [`Job`]s, one under way per channel at most. Here are
//! the orders of people too: to retry a message, to try a channel.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use tracing::{error, info, warn};

use super::state::{Lane, Queued};
use super::{Job, SWEEP, Work};
use crate::audit::{self, Entry as AuditEntry};
use crate::model::{Severity, Timestamp};
use crate::notify::channel::Failure;
use crate::notify::config::ChannelSpec;
use crate::notify::notice::Notice;
use crate::notify::{MessageId, NotifyError, tables};

/// The first pause after an attempt that failed; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

impl Lane {
    /// The message that may be sent now: the worst, and of these the oldest.
    pub(super) fn ready(&mut self, spec: &ChannelSpec, now: Timestamp) -> Option<MessageId> {
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
    /// Marks the messages that go out now, one per channel at most.
    pub(super) fn hand_out(&mut self) -> Result<Vec<Job>, NotifyError> {
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

    pub(super) fn settle(
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

    pub(super) fn retry(&mut self, id: MessageId, by: &str) -> Result<(), NotifyError> {
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

    pub(super) fn test(&mut self, channel: &str, by: &str) -> Result<MessageId, NotifyError> {
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
    pub(super) fn sweep(&mut self) -> Result<(), NotifyError> {
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
