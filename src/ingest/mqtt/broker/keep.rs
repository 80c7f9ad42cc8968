//! What of the broker outlives the hub: sessions that are kept, what waits in them at QoS 1 and 2, and what is retained.
//!
//! The broker says what has changed since it was last asked, and takes up what was kept; the file is [`super::super::kept`]'s.
//! A message that came and went between two questions costs the disk nothing. Wills are not kept: whose hub is gone is not
//! said to be gone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::topics;
use super::message::{Delivery, Message, after};
use super::session::Session;
use super::trie::Options;
use super::{Broker, LONGEST_EXPIRY};
use crate::model::Timestamp;

/// One moment by both clocks: what ends at an [`Instant`] is kept by the time of day.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Moment {
    pub(in super::super) now: Instant,
    pub(in super::super) time: Timestamp,
}

impl Moment {
    pub(in super::super) fn micros_of(self, at: Instant) -> i64 {
        let ahead = at.saturating_duration_since(self.now).as_micros();
        let behind = self.now.saturating_duration_since(at).as_micros();
        let [ahead, behind] = [ahead, behind].map(|us| i64::try_from(us).unwrap_or(i64::MAX));
        self.time.as_micros().saturating_add(ahead).saturating_sub(behind)
    }

    /// `None` when it is over.
    pub(in super::super) fn instant_of(self, micros: i64) -> Option<Instant> {
        let left = u64::try_from(micros.saturating_sub(self.time.as_micros())).ok();
        let left = left.filter(|left| *left > 0).map(std::time::Duration::from_micros)?;
        self.now.checked_add(left)
    }
}

/// What the disk must do to be as the broker is.
#[derive(Debug, Default)]
pub(in super::super) struct Changes {
    /// What was kept before counts for nothing.
    pub(in super::super) is_all: bool,
    /// Clients whose sessions have ended; first, because a new one may be in `sessions`.
    pub(in super::super) ended: Vec<String>,
    pub(in super::super) sessions: Vec<Changed>,
    /// By topic; `None` where nothing is retained any more.
    pub(in super::super) retained: Vec<(Box<str>, Option<Arc<Message>>)>,
}

/// A session as it is now, and what is new in it.
#[derive(Debug)]
pub(in super::super) struct Changed {
    pub(in super::super) client: String,
    pub(in super::super) state: State,
    pub(in super::super) new: Vec<Delivery>,
    /// The numbers of messages that are done.
    pub(in super::super) gone: Vec<i64>,
}

/// A session without its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct State {
    /// In seconds.
    pub(super) expiry: u32,
    /// In microseconds of the time of day; `None` while it is connected.
    pub(super) ends_at: Option<i64>,
    pub(super) subscriptions: Vec<(String, Options)>,
    pub(super) unreleased: Vec<u16>,
    /// Packet identifier and message; 0 where only the release is under way.
    pub(super) in_flight: Vec<(u16, i64)>,
    pub(super) last_id: u16,
}

/// A session that was kept, with its messages in their order.
#[derive(Debug)]
pub(in super::super) struct Kept {
    pub(in super::super) client: String,
    pub(in super::super) state: State,
    pub(in super::super) messages: Vec<Delivery>,
}

impl Changes {
    pub(in super::super) fn is_empty(&self) -> bool {
        !self.is_all
            && self.ended.is_empty()
            && self.sessions.is_empty()
            && self.retained.is_empty()
    }
}

impl Broker {
    /// What has changed since this was last asked.
    pub(in super::super) fn changes(&mut self, moment: Moment) -> Changes {
        let mut changes = Changes {
            is_all: std::mem::take(&mut self.is_unknown_to_disk),
            ended: std::mem::take(&mut self.ended),
            sessions: Vec::new(),
            retained: self.retained.changes(),
        };
        let through = self.ledger.last_row;
        for session in self.sessions.values_mut() {
            if !std::mem::take(&mut session.is_changed) {
                continue;
            }
            if session.expiry == 0 {
                if session.is_stored() {
                    changes.ended.push(session.client.clone());
                    session.forget_stored();
                }
                continue;
            }
            let (new, gone) = session.store(through);
            let state = State {
                expiry: session.expiry,
                ends_at: session.ends_at.map(|at| moment.micros_of(at)),
                subscriptions: session.subscriptions.clone().into_iter().collect(),
                unreleased: session.unreleased.iter().copied().collect(),
                in_flight: session.under_way(),
                last_id: session.last_id(),
            };
            changes.sessions.push(Changed { client: session.client.clone(), state, new, gone });
        }
        changes
    }

    /// The disk did not take the changes: the next ones are everything.
    pub(in super::super) fn disk_failed(&mut self) {
        self.is_unknown_to_disk = true;
        self.ended.clear();
        self.retained.all_changed();
        for session in self.sessions.values_mut() {
            session.is_changed = true;
            session.forget_stored();
        }
    }

    /// Takes up what was kept. Nobody is connected yet.
    pub(in super::super) fn take_up(
        &mut self,
        sessions: Vec<Kept>,
        retained: Vec<Message>,
        now: Moment,
    ) {
        for message in retained {
            self.retained.put(&Arc::new(message), now.now);
        }
        self.retained.changes();
        for Kept { client, state, messages } in sessions {
            let ends_at = match state.ends_at {
                Some(micros) => now.instant_of(micros),
                None => after(now.now, state.expiry),
            };
            if ends_at.is_none() {
                self.ended.push(client);
                continue;
            }
            self.last_number += 1;
            let id = self.last_number;
            for (path, options) in &state.subscriptions {
                self.subscriptions.insert(path, id, *options);
                *self.interest.entry(topics::share(path).1.to_owned()).or_default() += 1;
                self.interest_has_changed = true;
            }
            let messages = messages.into_iter().map(|delivery| (delivery.row, delivery)).collect();
            let mut session =
                Session::restored(&state.in_flight, state.last_id, messages, &mut self.ledger);
            session.client.clone_from(&client);
            session.expiry = state.expiry.min(LONGEST_EXPIRY);
            (session.away_since, session.ends_at) = (Some(now.now), ends_at);
            session.subscriptions = state.subscriptions.into_iter().collect();
            session.unreleased = state.unreleased.into_iter().collect();
            self.by_client.insert(client, id);
            self.sessions.insert(id, session);
        }
        self.make_room(now.now);
    }
}
