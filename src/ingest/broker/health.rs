//! How the broker is, for people and for Prometheus.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::clock::Clock;
use crate::link::Standing;
use crate::model::{Label, Timestamp};

/// What is counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) received: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) retained: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) commands_unheard: AtomicU64,
    pub(super) commands_refused: AtomicU64,
}

/// How the broker is.
#[derive(Debug)]
pub struct Health {
    address: String,
    clock: Clock,
    state: Mutex<State>,
    pub(super) counts: Counts,
    pub(super) unacknowledged: AtomicUsize,
}

#[derive(Debug)]
struct State {
    link: Standing,
    /// Subscriptions that the broker refuses, with its reason.
    refused: Vec<(String, String)>,
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
    /// Messages that came since the start.
    pub received: u64,
    /// Messages that wait for the disk before they are acknowledged.
    pub unacknowledged: usize,
    /// Messages that were of no device.
    pub refused: u64,
    /// Commands that the broker has taken.
    pub commands: u64,
}

impl Health {
    pub(super) fn new(address: String, clock: Clock) -> Self {
        let state = State { link: Standing::new(clock.now()), refused: Vec::new() };
        Health {
            address,
            clock,
            state: Mutex::new(state),
            counts: Counts::default(),
            unacknowledged: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn up(&self) {
        let mut state = self.state();
        let away = state.link.up(self.clock.now());
        state.refused = Vec::new();
        drop(state);
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        let broker = &self.address;
        match away.map(|away| away.as_secs()) {
            Some(away_s) => info!(broker, away_s, "the broker is back"),
            None => info!(broker, "connected to the broker"),
        }
    }

    /// Logged once an outage, and again when its cause changes.
    pub(super) fn away(&self, why: &str) {
        if !self.state().link.away(self.clock.now(), why) {
            return;
        }
        warn!(broker = self.address, cause = why, "no connection to the broker; trying again");
    }

    pub(super) fn refused_filters(&self, refused: Vec<(String, String)>) {
        for (filter, reason) in &refused {
            warn!(
                broker = self.address,
                filter,
                reason,
                "the broker refuses a subscription; allow it to the hub's account there"
            );
        }
        self.state().refused.extend(refused);
    }

    /// How it is now.
    pub fn look(&self) -> Look {
        let state = self.state();
        let Health { address, counts, .. } = self;
        let problem = match (state.link.cause(), state.refused.first()) {
            (Some(why), _) => Some(Label::new(
                format!("与 MQTT 服务器 {address} 的连接已断开（{why}），正在自动重连"),
                format!("no connection to the broker {address} ({why}); trying again"),
            )),
            (None, Some((filter, reason))) => Some(Label::new(
                format!("MQTT 服务器拒绝订阅 {filter}（{reason}），请在服务器上授权"),
                format!("the broker refuses the subscription {filter} ({reason}); allow it there"),
            )),
            _ => None,
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Look {
            address: address.clone(),
            connected: state.link.is_up(),
            since: state.link.since(),
            problem,
            received: get(&counts.received),
            unacknowledged: self.unacknowledged.load(Ordering::Relaxed),
            refused: get(&counts.refused),
            commands: get(&counts.commands),
        }
    }

    /// The counters by what became of what, for Prometheus.
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let Counts {
            received,
            acknowledged,
            refused,
            retained,
            connections,
            commands,
            commands_unheard,
            commands_refused,
        } = &self.counts;
        [
            ("received", received),
            ("acknowledged", acknowledged),
            ("refused", refused),
            ("retained_not_taken", retained),
            ("connection", connections),
            ("command_taken", commands),
            ("command_unheard", commands_unheard),
            ("command_refused", commands_refused),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_in_words_and_ends() {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(100));
        let health = Health::new("b:1883".to_owned(), clock);
        assert_eq!(health.look().problem, None);
        health.away("connection refused");
        hand.advance(std::time::Duration::from_secs(5));
        health.away("timeout");
        let look = health.look();
        assert_eq!((look.connected, look.since), (false, Timestamp::from_secs(100)));
        assert!(look.problem.expect("words").en.contains("b:1883 (timeout)"));
        health.up();
        assert_eq!(
            (health.look().connected, health.look().since),
            (true, Timestamp::from_secs(105))
        );
        health.refused_filters(vec![("a/#".to_owned(), "not authorized".to_owned())]);
        assert!(health.look().problem.expect("words").en.contains("a/# (not authorized)"));
        health.up();
        assert_eq!(health.look().problem, None);
    }
}
