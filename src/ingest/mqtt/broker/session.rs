//! One client's session: what waits for it, what is under way to it, and what it has sent at QoS 2.
//!
//! It outlives the connection for as long as the client asked. What is sent and not acknowledged is sent again, marked and
//! in its order, when the client is back [MQTT-4.4.0-1].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::frame::Version;
use super::message::{Delivery, Message};
use super::trie::Options;
use crate::registry::ServiceAccount;

/// Messages that wait for one client; beyond it the oldest goes.
const QUEUE_MESSAGES: usize = 10_000;

/// Bytes that wait for one client or are under way to it.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that wait for all clients together; beyond it those who are away lose theirs first.
const ALL_BYTES: usize = 128 * 1024 * 1024;

/// Bytes under way to one client that are not acknowledged: one message always may be.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes written for a client that its socket has not taken. What is less urgent waits; QoS 0 is dropped.
const OUT_BYTES: usize = 256 * 1024;

const PUBREL: u8 = 0x62;

/// What all queues hold, and what did not find room.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) bytes: usize,
    pub(super) dropped: u64,
    /// The last number that a message was given, for the disk.
    pub(super) last_row: i64,
}

impl Ledger {
    fn number(&mut self, delivery: &mut Delivery) {
        if delivery.row == 0 {
            self.last_row += 1;
            delivery.row = self.last_row;
        }
    }

    /// Whether all queues together hold more than they may.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > ALL_BYTES
    }
}

/// A client's session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) client: String,
    pub(super) link: Option<Link>,
    /// How long it outlives its connection, in seconds.
    pub(super) expiry: u32,
    /// Since when it has had no connection.
    pub(super) away_since: Option<Instant>,
    pub(super) ends_at: Option<Instant>,
    pub(super) will: Option<Will>,
    pub(super) will_at: Option<Instant>,
    /// By filter, as it was written.
    pub(super) subscriptions: HashMap<String, Options>,
    /// Retained messages that are still to be sent.
    pub(super) replays: VecDeque<Replay>,
    /// QoS 2 messages that came and are not released.
    pub(super) unreleased: HashSet<u16>,
    /// It is not on disk as it is here.
    pub(super) is_changed: bool,
    /// Its messages up to this number were written down; `None` when nothing of it was.
    stored_through: Option<i64>,
    /// Those of them that are done.
    gone: Vec<i64>,
    queue: VecDeque<Delivery>,
    in_flight: VecDeque<InFlight>,
    /// Of those in flight, how many were sent on this connection.
    outstanding: usize,
    queue_bytes: usize,
    in_flight_bytes: usize,
    last_id: u16,
}

/// The connection of a session.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) version: Version,
    pub(super) account: Arc<ServiceAccount>,
    /// What its socket is to be given.
    pub(super) out: Vec<u8>,
    pub(super) wake: Arc<Notify>,
    /// Messages that may be under way at once.
    pub(super) window: usize,
    pub(super) max_packet_bytes: usize,
    /// What the client's aliases stand for.
    pub(super) aliases: HashMap<u16, Box<str>>,
}

/// What is published when a connection is lost.
#[derive(Debug)]
pub(in super::super) struct Will {
    pub(in super::super) message: Arc<Message>,
    /// In seconds.
    pub(in super::super) delay: u32,
}

/// A subscription that asked for what is retained.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) filter: String,
    pub(super) options: Options,
    /// The last topic that was sent.
    pub(super) after: Option<Box<str>>,
}

#[derive(Debug)]
struct InFlight {
    id: u16,
    step: Step,
    is_sent: bool,
}

#[derive(Debug)]
enum Step {
    Sent(Delivery),
    /// PUBREC came; PUBREL was sent.
    Released,
}

impl InFlight {
    fn delivery(&self) -> Option<&Delivery> {
        match &self.step {
            Step::Sent(delivery) => Some(delivery),
            Step::Released => None,
        }
    }
}

impl Session {
    pub(super) fn is_up(&self) -> bool {
        self.link.is_some()
    }

    /// Writes for the client, if it is there.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(link) = &mut self.link {
            link.out.extend_from_slice(bytes);
            link.wake.notify_one();
        }
    }

    /// Hands on a message, or keeps it for later.
    pub(super) fn deliver(&mut self, delivery: Delivery, now: Instant, ledger: &mut Ledger) {
        if delivery.qos > 0 {
            self.is_changed = true;
            self.enqueue(delivery, ledger);
            return self.pump(now, ledger);
        }
        // QoS 0 does not wait for who is away, nor for who does not read.
        let Some(link) = &mut self.link else { return };
        if link.out.len() >= OUT_BYTES {
            ledger.dropped += 1;
            return;
        }
        if !delivery.write(None, false, link.version, link.max_packet_bytes, now, &mut link.out) {
            ledger.dropped += 1;
        }
        link.wake.notify_one();
    }

    fn enqueue(&mut self, mut delivery: Delivery, ledger: &mut Ledger) {
        ledger.number(&mut delivery);
        let size = delivery.message.size();
        self.queue.push_back(delivery);
        self.queue_bytes += size;
        ledger.bytes += size;
        while self.queue.len() > QUEUE_MESSAGES || self.queue_bytes > QUEUE_BYTES {
            self.drop_oldest(ledger);
        }
    }

    /// Drops the oldest of what waits until all queues together hold no more than they may, or nothing waits here.
    pub(super) fn shrink(&mut self, ledger: &mut Ledger) {
        self.is_changed = true;
        while ledger.is_over() && !self.queue.is_empty() {
            self.drop_oldest(ledger);
        }
    }

    fn drop_oldest(&mut self, ledger: &mut Ledger) {
        let Some(oldest) = self.queue.pop_front() else { return };
        self.queue_bytes -= oldest.message.size();
        ledger.bytes -= oldest.message.size();
        ledger.dropped += 1;
        self.is_done_with(&oldest);
    }

    /// What waits for the client, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Whether anything waits for the client or is under way to it.
    pub(super) fn holds_any(&self) -> bool {
        self.queue_bytes + self.in_flight_bytes > 0
    }

    /// Whether another message may be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            self.outstanding < link.window
                && link.out.len() < OUT_BYTES
                && self.in_flight_bytes < IN_FLIGHT_BYTES
        })
    }

    /// Sends what waits, as far as the client has room; nothing overtakes what is retained.
    pub(super) fn pump(&mut self, now: Instant, ledger: &mut Ledger) {
        while self.replays.is_empty() && self.has_room() {
            let Some(delivery) = self.queue.pop_front() else { return };
            self.queue_bytes -= delivery.message.size();
            ledger.bytes -= delivery.message.size();
            self.send(delivery, now, ledger);
        }
    }

    /// Sends a message, unless it has expired or is larger than the client takes: then it is as if it were done
    /// [MQTT-3.1.2-25].
    pub(super) fn send(&mut self, mut delivery: Delivery, now: Instant, ledger: &mut Ledger) {
        if delivery.message.has_expired(now) {
            return self.is_done_with(&delivery);
        }
        let id = (delivery.qos > 0).then(|| self.free_id());
        let Some(link) = &mut self.link else { return };
        link.wake.notify_one();
        if !delivery.write(id, false, link.version, link.max_packet_bytes, now, &mut link.out) {
            ledger.dropped += 1;
            return self.is_done_with(&delivery);
        }
        if let Some(id) = id {
            ledger.number(&mut delivery);
            let size = delivery.message.size();
            self.in_flight_bytes += size;
            ledger.bytes += size;
            self.in_flight.push_back(InFlight { id, step: Step::Sent(delivery), is_sent: true });
            self.outstanding += 1;
        }
    }

    /// On a new connection: what was under way is sent again, in its order and under its identifiers.
    pub(super) fn resend(&mut self, now: Instant, ledger: &mut Ledger) {
        let mut at = 0;
        while let (Some(item), Some(link)) = (self.in_flight.get_mut(at), &mut self.link) {
            let has_room = self.outstanding < link.window && link.out.len() < OUT_BYTES;
            if item.is_sent || !has_room {
                at += 1;
                continue;
            }
            let (version, max_bytes) = (link.version, link.max_packet_bytes);
            let fits = match &item.step {
                Step::Sent(delivery) => {
                    delivery.write(Some(item.id), true, version, max_bytes, now, &mut link.out)
                }
                Step::Released => {
                    let [high, low] = item.id.to_be_bytes();
                    link.out.extend([PUBREL, 2, high, low]);
                    true
                }
            };
            link.wake.notify_one();
            item.is_sent = true;
            self.outstanding += 1;
            if fits {
                at += 1;
            } else {
                ledger.dropped += 1;
                self.is_done(at, ledger);
            }
        }
    }

    /// PUBACK: done, whatever its code says [MQTT-4.4.0-2].
    pub(super) fn acknowledged(&mut self, id: u16, ledger: &mut Ledger) {
        let is_it = |item: &InFlight| matches!(&item.step, Step::Sent(one) if one.qos == 1);
        let place = self.in_flight.iter().position(|item| item.id == id && is_it(item));
        if let Some(place) = place {
            self.is_done(place, ledger);
        }
    }

    /// PUBREC: an error ends the delivery, else it is released.
    pub(super) fn received(&mut self, id: u16, is_error: bool, ledger: &mut Ledger) {
        let place = self.in_flight.iter().position(|item| item.id == id);
        let [high, low] = id.to_be_bytes();
        let Some(place) = place else {
            // A client that does not know it as done asks for its release; it gets it, with "not found" where that can be said.
            let is_v5 = self.link.as_ref().is_some_and(|link| link.version == Version::V5);
            let known: &[u8] = &[PUBREL, 2, high, low];
            let unknown: &[u8] = &[PUBREL, 3, high, low, super::PACKET_IDENTIFIER_NOT_FOUND];
            self.write(if is_v5 { unknown } else { known });
            return;
        };
        if is_error {
            return self.is_done(place, ledger);
        }
        let item = &mut self.in_flight[place];
        self.outstanding += usize::from(!item.is_sent);
        item.is_sent = true;
        if let Step::Sent(delivery) = std::mem::replace(&mut item.step, Step::Released) {
            let size = delivery.message.size();
            self.in_flight_bytes -= size;
            ledger.bytes -= size;
            self.is_done_with(&delivery);
        }
        self.write(&[PUBREL, 2, high, low]);
    }

    /// PUBCOMP: done.
    pub(super) fn completed(&mut self, id: u16, ledger: &mut Ledger) {
        let is_released = |item: &InFlight| matches!(item.step, Step::Released);
        let place = self.in_flight.iter().position(|item| item.id == id && is_released(item));
        if let Some(place) = place {
            self.is_done(place, ledger);
        }
    }

    fn is_done(&mut self, place: usize, ledger: &mut Ledger) {
        let Some(item) = self.in_flight.remove(place) else { return };
        self.outstanding -= usize::from(item.is_sent);
        if let Step::Sent(delivery) = item.step {
            self.in_flight_bytes -= delivery.message.size();
            ledger.bytes -= delivery.message.size();
            self.is_done_with(&delivery);
        }
    }

    /// Where the disk has it, the disk may let go of it.
    fn is_done_with(&mut self, delivery: &Delivery) {
        if self.stored_through.is_some_and(|through| (1..=through).contains(&delivery.row)) {
            self.gone.push(delivery.row);
        }
    }

    /// The messages that are not on disk, and the numbers of those that need not be there any more. From now on all up to
    /// number `through` count as written.
    pub(super) fn store(&mut self, through: i64) -> (Vec<Delivery>, Vec<i64>) {
        let former = self.stored_through.replace(through).unwrap_or(0);
        let all = self.in_flight.iter().filter_map(InFlight::delivery).chain(&self.queue);
        let new = all.filter(|delivery| delivery.row > former).cloned().collect();
        (new, std::mem::take(&mut self.gone))
    }

    /// Whether anything of it was written down.
    pub(super) fn is_stored(&self) -> bool {
        self.stored_through.is_some()
    }

    /// Nothing of it is on disk.
    pub(super) fn forget_stored(&mut self) {
        self.stored_through = None;
        self.gone.clear();
    }

    /// Packet identifiers of what is under way, and its numbers; 0 where only the release is.
    pub(super) fn under_way(&self) -> Vec<(u16, i64)> {
        let row = |item: &InFlight| item.delivery().map_or(0, |delivery| delivery.row);
        self.in_flight.iter().map(|item| (item.id, row(item))).collect()
    }

    pub(super) fn last_id(&self) -> u16 {
        self.last_id
    }

    /// As it was written down, with its messages by number.
    pub(super) fn restored(
        under_way: &[(u16, i64)],
        last_id: u16,
        mut messages: BTreeMap<i64, Delivery>,
        ledger: &mut Ledger,
    ) -> Self {
        let last_row = messages.keys().next_back().copied().unwrap_or(0);
        ledger.last_row = ledger.last_row.max(last_row);
        let mut session = Session { last_id, stored_through: Some(last_row), ..Session::default() };
        for &(id, row) in under_way {
            let step = match messages.remove(&row) {
                Some(delivery) => {
                    session.in_flight_bytes += delivery.message.size();
                    Step::Sent(delivery)
                }
                None if row == 0 => Step::Released,
                // It was done within the last second before a kill.
                None => continue,
            };
            session.in_flight.push_back(InFlight { id, step, is_sent: false });
        }
        session.queue = messages.into_values().collect();
        session.queue_bytes = session.queue.iter().map(|delivery| delivery.message.size()).sum();
        ledger.bytes += session.in_flight_bytes + session.queue_bytes;
        session
    }

    /// The connection is gone: nothing that was sent on it counts as sent.
    pub(super) fn unlink(&mut self) -> Option<Link> {
        self.is_changed = true;
        self.outstanding = 0;
        self.in_flight.iter_mut().for_each(|item| item.is_sent = false);
        self.link.take()
    }

    /// The session is over; what it held is free. What it had as a member of a group and did not acknowledge is returned, for
    /// another member; but not what was sent at QoS 2, which may have arrived [MQTT-4.8.2-5].
    pub(super) fn release(self, ledger: &mut Ledger) -> impl Iterator<Item = Delivery> + use<> {
        ledger.bytes -= self.queue_bytes + self.in_flight_bytes;
        let sent = self.in_flight.into_iter().filter_map(|item| match item.step {
            Step::Sent(delivery) if delivery.qos == 1 => Some(delivery),
            Step::Sent(_) | Step::Released => None,
        });
        let shared = sent.chain(self.queue).filter(|delivery| delivery.share.is_some());
        // In another session it is another message on disk.
        shared.map(|delivery| Delivery { row: 0, ..delivery })
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.ends_at, self.will_at].into_iter().flatten().min()
    }

    /// The numbers of what waits.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<i64> {
        self.queue.iter().map(|delivery| delivery.row).collect()
    }

    /// Counts again what is counted; returns what it holds of the ledger.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let waiting: usize = self.queue.iter().map(|delivery| delivery.message.size()).sum();
        assert_eq!(self.queue_bytes, waiting, "what waits");
        assert!(self.queue.len() <= QUEUE_MESSAGES && waiting <= QUEUE_BYTES);
        let of = |item: &InFlight| match &item.step {
            Step::Sent(delivery) => delivery.message.size(),
            Step::Released => 0,
        };
        let sizes = || self.in_flight.iter().map(of);
        assert_eq!(self.in_flight_bytes, sizes().sum::<usize>(), "what is under way");
        let largest = sizes().max().unwrap_or(0);
        assert!(self.in_flight_bytes < IN_FLIGHT_BYTES + largest || largest == 0);
        assert_eq!(self.outstanding, self.in_flight.iter().filter(|item| item.is_sent).count());
        let ids: HashSet<u16> = self.in_flight.iter().map(|item| item.id).collect();
        assert!(ids.len() == self.in_flight.len() && !ids.contains(&0), "identifiers");
        assert!(ids.len() <= usize::from(super::IN_FLIGHT));
        waiting + self.in_flight_bytes
    }

    fn free_id(&mut self) -> u16 {
        loop {
            // 0 is no identifier [MQTT-2.2.1-3].
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|item| item.id == self.last_id) {
                return self.last_id;
            }
        }
    }
}
