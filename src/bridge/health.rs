//! How the bridge is, for people and for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{error, info, warn};

use super::outbox::Overflow;
use crate::clock::Clock;
use crate::link::Standing;
use crate::model::{Label, Timestamp};

/// How the bridge is.
#[derive(Debug)]
pub struct Health {
    address: String,
    max: usize,
    clock: Clock,
    state: Mutex<State>,
    /// What was put in less what left; below zero for the moment in which it has left and is not counted as put in.
    waiting: AtomicI64,
    sent: AtomicU64,
    unheard: AtomicU64,
    refused: AtomicU64,
    lost_readings: AtomicU64,
    lost_alerts: AtomicU64,
    skipped_commits: AtomicU64,
    connections: AtomicU64,
}

#[derive(Debug)]
struct State {
    link: Standing,
    /// The queue is full, and something was given up since it was.
    overflows: bool,
    /// The last refusal of the upstream broker on this connection.
    refusal: Option<String>,
    /// Why the queue's file cannot be used, by whose hands it was tried.
    disk: [Option<String>; 2],
}

/// Who uses the queue's file: what goes well for one says nothing of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    Collector = 0,
    Courier = 1,
}

/// How it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// `host:port`.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// What is wrong.
    pub problem: Option<Label>,
    /// Messages that wait.
    pub waiting: usize,
    /// How many may.
    pub max: usize,
    /// Messages that the upstream broker has taken since the start.
    pub sent: u64,
    /// Messages that it refused.
    pub refused: u64,
    /// Messages that were given up for lack of room.
    pub lost: u64,
}

impl Health {
    pub(super) fn new(address: String, max: usize, clock: Clock) -> Self {
        let state = State {
            link: Standing::new(clock.now()),
            overflows: false,
            refusal: None,
            disk: [None, None],
        };
        Health {
            address,
            max,
            clock,
            state: Mutex::new(state),
            waiting: AtomicI64::new(0),
            sent: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lost_readings: AtomicU64::new(0),
            lost_alerts: AtomicU64::new(0),
            skipped_commits: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn up(&self) {
        let mut state = self.state();
        let away = state.link.up(self.clock.now());
        state.refusal = None;
        drop(state);
        self.connections.fetch_add(1, Ordering::Relaxed);
        let upstream = &self.address;
        match away.map(|away| away.as_secs()) {
            Some(away_s) => {
                info!(upstream, away_s, waiting = self.waiting(), "the upstream broker is back");
            }
            None => info!(upstream, "connected to the upstream broker"),
        }
    }

    /// Logged once an outage, and again when its cause changes.
    pub(super) fn away(&self, why: &str) {
        if !self.state().link.away(self.clock.now(), why) {
            return;
        }
        warn!(
            upstream = self.address,
            cause = why,
            "no connection to the upstream broker; what goes up is kept"
        );
    }

    pub(super) fn waiting(&self) -> usize {
        usize::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn set_waiting(&self, waiting: usize) {
        self.waiting.store(waiting as i64, Ordering::Relaxed);
    }

    /// So many were put in, and so many given up for them.
    pub(super) fn put(&self, messages: usize, overflow: Overflow) {
        let lost = overflow.readings + overflow.alerts;
        self.waiting.fetch_add(messages as i64 - lost as i64, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        self.lost_readings.fetch_add(overflow.readings as u64, Ordering::Relaxed);
        self.lost_alerts.fetch_add(overflow.alerts as u64, Ordering::Relaxed);
        if !std::mem::replace(&mut self.state().overflows, true) {
            error!(
                upstream = self.address,
                max = self.max,
                "the bridge's queue is full: the oldest readings are given up until the upstream broker is back"
            );
        }
    }

    /// So many left the queue.
    pub(super) fn left(&self, messages: usize) {
        self.waiting.fetch_sub(messages as i64, Ordering::Relaxed);
        // Not at the first free place: a queue that stays full would be told again and again.
        if self.waiting() < self.max / 2 {
            self.state().overflows = false;
        }
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The broker has it, and nobody listens there.
    pub(super) fn unheard(&self) {
        self.sent();
        self.unheard.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, topic: &str, reason: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let text = format!("{topic}: {reason}");
        if self.state().refusal.replace(text).is_none() {
            warn!(
                upstream = self.address,
                topic,
                reason,
                "the upstream broker refuses a message; allow its topic to the hub's account there"
            );
        }
    }

    /// Commits that were sealed before they were read.
    pub(super) fn skipped(&self, commits: u64) {
        self.skipped_commits.fetch_add(commits, Ordering::Relaxed);
        error!(
            commits,
            "the bridge was too slow or was off: readings of these commits do not go up"
        );
    }

    /// Whether the queue's file can be used; an error is logged once.
    pub(super) fn disk(&self, hand: Hand, outcome: Result<(), String>) {
        let mut state = self.state();
        let known = &mut state.disk[hand as usize];
        match outcome {
            Ok(()) => *known = None,
            Err(why) if known.as_ref() == Some(&why) => {}
            Err(why) => {
                error!(error = why, "cannot use the bridge's queue; trying again");
                *known = Some(why);
            }
        }
    }

    /// How it is now.
    pub fn look(&self) -> Look {
        let state = self.state();
        let address = &self.address;
        let problem = if let Some(why) = state.disk.iter().flatten().next() {
            Some(Label::new(
                format!("上报队列文件无法使用（{why}），正在自动重试"),
                format!("the bridge's queue cannot be used ({why}); trying again"),
            ))
        } else if state.overflows {
            Some(Label::new(
                format!("上报队列已满，最早的读数正在被丢弃；请恢复与上级服务器 {address} 的连接"),
                format!(
                    "the bridge's queue is full and the oldest readings are given up; bring {address} back"
                ),
            ))
        } else if let Some(why) = state.link.cause() {
            Some(Label::new(
                format!(
                    "与上级 MQTT 服务器 {address} 的连接已断开（{why}），数据暂存，正在自动重连"
                ),
                format!(
                    "no connection to the upstream broker {address} ({why}); everything is kept, trying again"
                ),
            ))
        } else {
            state.refusal.as_ref().map(|refusal| {
                Label::new(
                    format!("上级 MQTT 服务器拒绝消息（{refusal}），请在上级授权该主题"),
                    format!(
                        "the upstream broker refuses a message ({refusal}); allow the topic there"
                    ),
                )
            })
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Look {
            address: address.clone(),
            connected: state.link.is_up(),
            since: state.link.since(),
            problem,
            waiting: self.waiting(),
            max: self.max,
            sent: get(&self.sent),
            refused: get(&self.refused),
            lost: get(&self.lost_readings) + get(&self.lost_alerts),
        }
    }

    /// The counters by what became of what, for Prometheus.
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        [
            ("sent", &self.sent),
            ("unheard", &self.unheard),
            ("refused", &self.refused),
            ("lost_reading", &self.lost_readings),
            ("lost_alert", &self.lost_alerts),
            ("skipped_commit", &self.skipped_commits),
            ("connection", &self.connections),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_told_until_half_of_it_has_left() {
        let (clock, _) = Clock::manual(Timestamp::from_secs(100));
        let health = Health::new("c:1883".to_owned(), 10, clock);
        health.up();
        health.left(10);
        assert_eq!(health.waiting(), 0, "sent before it is counted");
        health.put(20, Overflow::default());
        assert_eq!(health.look().problem, None);
        health.put(2, Overflow { readings: 2, alerts: 0 });
        assert!(health.look().problem.expect("words").en.contains("queue is full"));
        assert_eq!((health.look().waiting, health.look().lost), (10, 2));
        health.left(4);
        assert!(health.look().problem.is_some());
        health.left(2);
        assert_eq!(health.look().problem, None);
        health.disk(Hand::Courier, Err("read-only".to_owned()));
        health.disk(Hand::Collector, Ok(()));
        assert!(health.look().problem.expect("words").en.contains("read-only"), "of the other one");
        health.disk(Hand::Courier, Ok(()));
        health.away("timeout");
        assert!(health.look().problem.expect("words").en.contains("c:1883 (timeout)"));
    }
}
