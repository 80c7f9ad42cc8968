//! The services' broker: sessions, subscriptions, retained messages and wills of MQTT 3.1.1 and 5.
//!
//! Takes packets of connected services and messages of devices and of the hub; writes into the outboxes of the connections.
//! One value without I/O, tasks or a clock of its own: an event and the time go in, bytes come out, so a test feeds events
//! and looks. [`super::services::Services`] holds it behind one lock, which nobody keeps across a wait: an actor with a
//! queue per direction would be a copy more for each message, and a bound more to get wrong.
//!
//! Never here: a socket, a device's session, a file. Sessions and retained messages are in memory, within bounds; what of
//! them outlives the hub is told to whoever keeps it ([`keep`]).
//!
//! Why not rumqttd's router, which stood here before: of the table of statements in `tests/hub` it passed 138 to 142 rows of
//! 211 (it raced), behind a second server on loopback ports, three threads and two more copies of every message. Its codec
//! stays.

#[cfg(test)]
mod fuzz;
mod keep;
mod message;
mod packets;
mod retained;
mod session;
#[cfg(test)]
mod tests;
mod trie;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use keep::{Changes, Kept, Moment};
pub(super) use message::{Delivery, Message, put_variable_integer, will_properties};
pub(super) use session::Will;

use super::frame::Version;
use super::refusal::{Refusal, SecurityLog};
use super::topics;
use crate::registry::ServiceAccount;
use message::after;
use retained::Retained;
use session::{Ledger, Link, Session};
use trie::{Match, Options, SessionId, Trie};

/// Sessions, connected or kept: programs, not devices.
const MAX_SESSIONS: usize = 1_024;

/// Connected services.
const MAX_CONNECTED: usize = 256;

/// Filters of one session.
const MAX_SUBSCRIPTIONS: usize = 1_000;

/// Messages under way to one client, whatever it would take.
const IN_FLIGHT: u16 = 1_024;

/// The longest that a session outlives its connection, in seconds: a week. 3.1.1 knows no end, so this is its end too.
pub(super) const LONGEST_EXPIRY: u32 = 7 * 24 * 3_600;

/// Topic aliases that a client may use on one connection.
pub(super) const TOPIC_ALIASES: u16 = 16;

// Reason codes (MQTT 5, section 2.4).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
const PACKET_IDENTIFIER_NOT_FOUND: u8 = 0x92;
const QUOTA_EXCEEDED: u8 = 0x97;
/// The only "no" of 3.1.1's SUBACK.
const FAILURE: u8 = 0x80;

/// All that the services' side knows.
#[derive(Debug)]
pub(super) struct Broker {
    sessions: HashMap<SessionId, Session>,
    by_client: HashMap<String, SessionId>,
    subscriptions: Trie,
    retained: Retained,
    ledger: Ledger,
    /// Plain filters, and how many subscriptions name each.
    interest: HashMap<String, usize>,
    interest_has_changed: bool,
    /// Clients whose sessions have ended, and are on disk.
    ended: Vec<String>,
    /// The disk is not as it was told.
    is_unknown_to_disk: bool,
    log: Arc<SecurityLog>,
    last_number: u64,
    /// Kept for its room.
    found: Vec<Match>,
}

/// A service that connects.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its account and its identifier.
    pub(super) client: String,
    pub(super) version: Version,
    pub(super) account: Arc<ServiceAccount>,
    pub(super) is_clean: bool,
    /// How long its session outlives the connection, in seconds.
    pub(super) expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) max_packet_bytes: usize,
    pub(super) will: Option<Will>,
}

/// A connection, as its task names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkId {
    session: SessionId,
    number: u64,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// Without DISCONNECT.
    Lost,
    /// With one.
    Goodbye {
        /// Its reason code was another than 0x00.
        with_will: bool,
        /// The session's new expiry.
        expiry: Option<u32>,
    },
}

/// What became of a published message.
struct Published {
    has_subscriber: bool,
    /// If it is to be retained.
    has_room: bool,
}

impl Broker {
    /// One that knows nobody.
    pub(super) fn new(log: Arc<SecurityLog>) -> Self {
        Broker {
            sessions: HashMap::new(),
            by_client: HashMap::new(),
            subscriptions: Trie::default(),
            retained: Retained::default(),
            ledger: Ledger::default(),
            interest: HashMap::new(),
            interest_has_changed: false,
            ended: Vec::new(),
            is_unknown_to_disk: false,
            log,
            last_number: 0,
            found: Vec::new(),
        }
    }

    /// Lets a service in. `connack` writes the first packet from whether its session was there; what waits follows. Where
    /// there are too many sessions the one whose client is away longest ends.
    ///
    /// # Errors
    /// When too many are connected.
    pub(super) fn connect(
        &mut self,
        arrival: Arrival,
        connack: impl FnOnce(bool) -> Vec<u8>,
        now: Instant,
    ) -> Result<(LinkId, Arc<Notify>), Refusal> {
        self.tick(now);
        if let Some(&former) = self.by_client.get(&arrival.client) {
            // The former connection is lost by being taken over [MQTT-3.1.4-3].
            self.unlink(former, Parting::Lost, now);
            if arrival.is_clean || !self.is_still_granted(former, &arrival.account) {
                self.end(former, now);
            }
        }
        if self.sessions.values().filter(|session| session.is_up()).count() >= MAX_CONNECTED {
            return Err(Refusal::TooManyConnections);
        }
        let kept = self.by_client.get(&arrival.client).copied();
        if kept.is_none() && self.sessions.len() >= MAX_SESSIONS {
            self.displace(now)?;
        }
        self.last_number += 1;
        let number = self.last_number;
        let id = *self.by_client.entry(arrival.client.clone()).or_insert(number);
        let session = self.sessions.entry(id).or_default();
        session.is_changed = true;
        let wake = Arc::new(Notify::new());
        session.client = arrival.client;
        session.expiry = arrival.expiry.min(LONGEST_EXPIRY);
        session.will = arrival.will;
        (session.away_since, session.ends_at, session.will_at) = (None, None, None);
        session.link = Some(Link {
            number,
            version: arrival.version,
            account: arrival.account,
            out: connack(kept.is_some()),
            wake: Arc::clone(&wake),
            window: usize::from(arrival.receive_maximum.min(IN_FLIGHT)),
            max_packet_bytes: arrival.max_packet_bytes,
            aliases: HashMap::new(),
        });
        wake.notify_one();
        self.pump(id, now);
        self.make_room(now);
        Ok((LinkId { session: id, number }, wake))
    }

    /// A connection has ended; one that was taken over has nothing to say.
    pub(super) fn part(&mut self, link: LinkId, parting: Parting, now: Instant) {
        if self.session(link).is_ok() {
            self.unlink(link.session, parting, now);
            self.make_room(now);
        }
    }

    /// What its socket is to be given; then there is room for more.
    ///
    /// # Errors
    /// When another connection has taken the session over.
    pub(super) fn take_out(&mut self, link: LinkId, now: Instant) -> Result<Vec<u8>, Refusal> {
        let session = self.session(link)?;
        let out = session.link.as_mut().map(|link| std::mem::take(&mut link.out));
        self.pump(link.session, now);
        Ok(out.unwrap_or_default())
    }

    /// Publishes a message of a device or of the hub itself.
    pub(super) fn publish_own(&mut self, message: Message, now: Instant) {
        let published = self.publish(None, &Arc::new(message), now);
        if !published.has_room {
            self.ledger.dropped += 1;
        }
        self.make_room(now);
    }

    /// Does what is due: delayed wills, sessions that end.
    pub(super) fn tick(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let due = self.sessions.iter().filter(|(_, session)| is_due(session.deadline()));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if is_due(session.ends_at) {
                self.end(id, now);
            } else {
                session.will_at = None;
                let will = session.will.take();
                self.do_will(will, now);
            }
        }
        self.make_room(now);
    }

    /// When the next thing is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Session::deadline).min()
    }

    /// Messages that found no room on their way to a service.
    pub(super) fn dropped(&self) -> u64 {
        self.ledger.dropped
    }

    /// The plain filters of all subscriptions, if they have changed since this was last asked.
    pub(super) fn changed_interest(&mut self) -> Option<Vec<Box<str>>> {
        std::mem::take(&mut self.interest_has_changed)
            .then(|| self.interest.keys().map(|filter| filter.as_str().into()).collect())
    }

    fn session(&mut self, link: LinkId) -> Result<&mut Session, Refusal> {
        let session = self.sessions.get_mut(&link.session);
        let session = session
            .filter(|session| session.link.as_ref().is_some_and(|own| own.number == link.number))
            .ok_or(Refusal::TakenOver)?;
        session.is_changed = true;
        Ok(session)
    }

    /// Whether a kept session asks for nothing that its account may not hear any more; else what waits in it is not for its
    /// eyes either.
    fn is_still_granted(&self, id: SessionId, account: &ServiceAccount) -> bool {
        let session = self.sessions.get(&id);
        let mut filters = session.into_iter().flat_map(|session| session.subscriptions.keys());
        filters.all(|filter| may_hear(account, topics::share(filter).1))
    }

    /// A session loses its connection, and its client's will is done, now or later (MQTT 5, section 3.1.2.5).
    fn unlink(&mut self, id: SessionId, parting: Parting, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.unlink().is_none() {
            return;
        }
        if let Parting::Goodbye { with_will, expiry } = parting {
            if !with_will {
                session.will = None;
            }
            session.expiry = expiry.unwrap_or(session.expiry).min(LONGEST_EXPIRY);
        }
        if session.expiry == 0 {
            return self.end(id, now);
        }
        session.away_since = Some(now);
        session.ends_at = after(now, session.expiry);
        match session.will.take_if(|will| will.delay == 0) {
            None => {
                session.will_at = session.will.as_ref().and_then(|will| after(now, will.delay));
            }
            will => self.do_will(will, now),
        }
    }

    /// A session ends, and with it whatever delay its will had.
    fn end(&mut self, id: SessionId, now: Instant) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.by_client.remove(&session.client);
        if session.is_stored() {
            self.ended.push(session.client.clone());
        }
        for filter in session.subscriptions.keys() {
            self.subscriptions.remove(filter, id);
            self.forget_interest(filter);
        }
        let will = session.will.take();
        for orphan in session.release(&mut self.ledger) {
            self.share_again(orphan, now);
        }
        self.do_will(will, now);
    }

    /// Ends the session whose client is away longest, so that there is room for another.
    fn displace(&mut self, now: Instant) -> Result<(), Refusal> {
        let longest = self.longest_away(|_| true).ok_or(Refusal::TooManySessions)?;
        let client = self.sessions.get(&longest).map(|session| session.client.as_str());
        self.log.refused(client.unwrap_or_default(), &Refusal::TooManySessions);
        self.end(longest, now);
        Ok(())
    }

    /// When all queues together hold too much, something goes: first what waits for those who are away longest, then what
    /// was under way to them, with their sessions (a packet identifier that is free again could pass for the old message),
    /// and only then the oldest of the connected client that lets the most wait.
    ///
    /// Called behind each whole event, never within one: what it ends may publish wills.
    fn make_room(&mut self, now: Instant) {
        while self.ledger.is_over() {
            let heaviest = |(id, session): (&SessionId, &Session)| (session.waiting_bytes(), *id);
            if let Some(id) = self.longest_away(|session| session.waiting_bytes() > 0) {
                self.shrink(id);
            } else if let Some(id) = self.longest_away(Session::holds_any) {
                self.ledger.dropped += 1;
                self.end(id, now);
            } else if let Some((1.., id)) = self.sessions.iter().map(heaviest).max() {
                self.shrink(id);
            } else {
                // All is under way, which has bounds of its own.
                return;
            }
        }
    }

    fn shrink(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.shrink(&mut self.ledger);
        }
    }

    /// Of the sessions without a connection that are so, the one that has none for the longest time.
    fn longest_away(&self, is_wanted: impl Fn(&Session) -> bool) -> Option<SessionId> {
        let away = self.sessions.iter().filter(|(_, session)| is_wanted(session));
        let away = away.filter_map(|(id, session)| Some((session.away_since?, *id)));
        away.min().map(|(_, id)| id)
    }

    /// What a member of a group left behind goes to another.
    fn share_again(&mut self, orphan: Delivery, now: Instant) {
        let sessions = &self.sessions;
        let is_up = |id| sessions.get(&id).is_some_and(Session::is_up);
        let path = orphan.share.as_deref().unwrap_or("");
        let Some(chosen) = self.subscriptions.choose(path, is_up) else { return };
        let Options { qos, identifier, .. } = chosen.options;
        let delivery = Delivery {
            qos: qos.min(orphan.message.qos),
            identifiers: identifier.into_iter().collect(),
            ..orphan
        };
        if let Some(session) = self.sessions.get_mut(&chosen.session) {
            session.deliver(delivery, now, &mut self.ledger);
        }
    }

    fn do_will(&mut self, will: Option<Will>, now: Instant) {
        if let Some(will) = will {
            self.publish(None, &will.message, now);
        }
    }

    fn publish(
        &mut self,
        sender: Option<SessionId>,
        message: &Arc<Message>,
        now: Instant,
    ) -> Published {
        let has_room = !message.retain || self.retained.put(message, now);
        let mut found = std::mem::take(&mut self.found);
        let sessions = &self.sessions;
        let is_up = |id| sessions.get(&id).is_some_and(Session::is_up);
        self.subscriptions.matches(&message.topic, is_up, &mut found);
        let mut deliveries: Vec<(SessionId, Delivery)> = Vec::with_capacity(found.len());
        for matched in found.drain(..) {
            let Match { session, options, share } = matched;
            let Options { qos, no_local, retain_as_published, identifier } = options;
            if no_local && sender == Some(session) {
                continue;
            }
            let (qos, retain) = (qos.min(message.qos), message.retain && retain_as_published);
            // Of one client's overlapping subscriptions one copy, at the greatest QoS, with all identifiers
            // [MQTT-3.3.4-2, -4]; what it gets as a member of a group comes beside it.
            let known = deliveries.iter_mut().find(|(known, delivery)| {
                *known == session && delivery.share.is_none() && share.is_none()
            });
            if let Some((_, delivery)) = known {
                delivery.qos = delivery.qos.max(qos);
                delivery.retain |= retain;
                delivery.identifiers.extend(identifier);
                continue;
            }
            let (message, identifiers) = (Arc::clone(message), identifier.into_iter().collect());
            let delivery = Delivery { message, qos, retain, identifiers, share, row: 0 };
            deliveries.push((session, delivery));
        }
        self.found = found;
        let has_subscriber = !deliveries.is_empty();
        for (session, delivery) in deliveries {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.deliver(delivery, now, &mut self.ledger);
            }
        }
        Published { has_subscriber, has_room }
    }

    /// Sends a client what waits for it: what was under way, what is retained, and the queue.
    fn pump(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.resend(now, &mut self.ledger);
        while session.has_room() {
            let Some(replay) = session.replays.front_mut() else { break };
            let next = self.retained.next(&replay.filter, replay.after.as_deref(), now);
            let Some(message) = next else {
                session.replays.pop_front();
                continue;
            };
            replay.after = Some(message.topic.clone());
            let Options { qos, identifier, .. } = replay.options;
            let delivery = Delivery {
                message: Arc::clone(message),
                qos: qos.min(message.qos),
                retain: true,
                identifiers: identifier.into_iter().collect(),
                share: None,
                row: 0,
            };
            session.send(delivery, now, &mut self.ledger);
        }
        session.pump(now, &mut self.ledger);
    }

    fn forget_interest(&mut self, filter: &str) {
        let (_, plain) = topics::share(filter);
        if let Some(count) = self.interest.get_mut(plain) {
            *count -= 1;
            if *count == 0 {
                self.interest.remove(plain);
                self.interest_has_changed = true;
            }
        }
    }
}

/// Whether the service may subscribe to this filter, without its share.
fn may_hear(account: &ServiceAccount, filter: &str) -> bool {
    account.subscribe.iter().any(|granted| topics::covers(granted, filter))
}

/// Whether the service may publish to this topic.
pub(super) fn check_publish(account: &ServiceAccount, topic: &[u8]) -> Result<(), Refusal> {
    let topic = std::str::from_utf8(topic).map_err(|_| Refusal::BadTopic)?;
    if !topics::is_topic(topic) {
        return Err(Refusal::BadTopic);
    }
    if account.publish.iter().any(|filter| topics::matches(filter, topic)) {
        return Ok(());
    }
    Err(Refusal::NotAuthorized(topic.to_owned()))
}
