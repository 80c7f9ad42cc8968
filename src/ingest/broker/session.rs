//! One connection to the broker: takes what it sends, hands it to the pipeline, and acknowledges what is on disk.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::health::Health;
use super::post::Post;
use super::routes::{Route, Routes};
use super::{BrokerConfig, Kept};
use crate::ingest::mqtt::gateway::{Work, decode};
use crate::ingest::mqtt::topics::OwnTopic;
use crate::ingest::mqtt::{Refusal, Surroundings, Word, set_status};
use crate::link::{Event, Events, Gone, LinkError, Message, Quality, Sender};
use crate::model::Timestamp;
use crate::pipeline::{Bill, Closed, Decoding, Draft, Parcel, Progress, Receipt, StationTable};
use crate::profile;

/// How often the subscriptions are compared with the profiles, and commands that nobody heard are tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Filters in one SUBSCRIBE: some brokers take no more, and a packet stays small.
const FILTERS_AT_ONCE: usize = 8;

/// How long a connection that ends waits for the disk, so that it can still acknowledge.
const LAST_ACKS: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The hub goes down.
    GoingDown,
    /// It broke, or could not be made.
    Lost(LinkError),
}

/// A message and where it goes.
struct Letter {
    message: Message,
    topic: String,
    route: Route,
    received_at: Timestamp,
}

impl Letter {
    /// The message as its gateway brought it.
    fn parcel<'a>(&'a self, stations: &'a StationTable) -> Option<Parcel<'a>> {
        let Route::Station { addressee, gateway, own: OwnTopic::Telemetry } = &self.route else {
            return None;
        };
        // What the broker kept may be of any age: it must not be said to be now.
        (!self.message.retain).then(|| Parcel {
            gateway,
            listed: stations.behind(&gateway.device.id),
            addressee,
            topic: &self.topic,
            payload: &self.message.payload,
            received_at: self.received_at,
        })
    }
}

pub(super) struct Session<'a> {
    pub(super) around: &'a Surroundings,
    pub(super) config: &'a BrokerConfig,
    pub(super) health: &'a Health,
    pub(super) kept: &'a mut Kept,
    sender: Sender,
    routes: Routes,
    draft: Draft,
    progress: Arc<Progress>,
    batch: u64,
    /// Acknowledgements, in the order of the messages [MQTT-4.6.0-2], and the batch that must be durable first.
    owed: VecDeque<(u64, Quality, u16)>,
    post: Post,
    /// What the broker was asked for on this connection.
    subscribed: BTreeSet<String>,
    /// The table of stations that it was asked by.
    asked_by: Option<u64>,
    /// The filters of every SUBSCRIBE that is not answered yet.
    asked: VecDeque<Vec<String>>,
    is_up: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        around: &'a Surroundings,
        config: &'a BrokerConfig,
        health: &'a Health,
        kept: &'a mut Kept,
        sender: Sender,
    ) -> Self {
        Session {
            around,
            config,
            health,
            kept,
            sender,
            routes: Routes::default(),
            draft: Draft::default(),
            progress: Arc::default(),
            batch: 1,
            owed: VecDeque::new(),
            post: Post::default(),
            subscribed: BTreeSet::new(),
            asked_by: None,
            asked: VecDeque::new(),
            is_up: false,
        }
    }

    /// Serves the connection until either side ends it.
    pub(super) async fn run(
        &mut self,
        mut events: Events,
        going_down: impl Future<Output = ()>,
    ) -> End {
        let mut going_down = pin!(going_down);
        let mut mail = self.around.commands.mail_changes();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let progress = Arc::clone(&self.progress);
        loop {
            // The poll is never dropped half-way: it may be writing an answer.
            let event = {
                let mut poll = pin!(events.poll());
                loop {
                    tokio::select! {
                        biased;
                        () = &mut going_down => break None,
                        () = progress.changed(), if !self.owed.is_empty() => self.acknowledge(),
                        Ok(()) = mail.changed(), if self.is_up => self.send_mail(),
                        _ = looks.tick(), if self.is_up => {
                            self.subscribe();
                            self.send_mail();
                        }
                        event = &mut poll => break Some(event),
                    }
                }
            };
            let Some(event) = event else { break };
            let mut next = match event {
                Ok(event) => Some(event),
                Err(why) => return End::Lost(why),
            };
            let mut letters = Vec::new();
            while let Some(event) = next {
                self.on_event(event, &mut letters);
                next = events.buffered();
            }
            if !letters.is_empty() && self.take(letters).await.is_err() {
                break;
            }
        }
        self.finish(&mut events).await;
        End::GoingDown
    }

    fn on_event(&mut self, event: Event, letters: &mut Vec<Letter>) {
        match event {
            Event::Connected { is_resumed } => {
                self.is_up = true;
                self.kept.pause.up();
                self.health.up();
                if !is_resumed {
                    self.kept.unreleased.clear();
                }
                self.subscribe();
                self.send_mail();
            }
            Event::Message(message) => letters.push(self.address(message)),
            Event::Released(id) => {
                self.kept.unreleased.remove(&id);
            }
            Event::Sent(id) => self.post.went_out(id),
            Event::Acknowledged { id, outcome } => {
                self.kept.pause.reset();
                self.post.answered(id, &outcome, &self.around.commands, self.health);
                self.send_mail();
            }
            Event::Subscribed(answers) => self.on_subscribed(answers),
            Event::Other => {}
        }
    }

    fn address(&mut self, message: Message) -> Letter {
        self.health.counts.received.fetch_add(1, Ordering::Relaxed);
        let received_at = self.around.clock.now();
        let Ok(topic) = std::str::from_utf8(&message.topic).map(str::to_owned) else {
            let route = Route::Refused(Refusal::BadTopic);
            return Letter { message, topic: String::new(), route, received_at };
        };
        if message.payload.len() > self.around.max_packet_bytes {
            let route = Route::Refused(Refusal::PacketTooLarge);
            return Letter { message, topic, route, received_at };
        }
        let stations = self.around.intake.stations();
        let (route, is_news) = self.routes.find(&stations, &topic);
        if let (Route::Station { addressee, .. }, true) = (&route, is_news) {
            self.kept.heard.insert(addressee.device.id.clone());
        }
        Letter { message, topic, route, received_at }
    }

    /// Decodes and hands in what one read brought, owes the answers, and waits until there is room for it: nothing more
    /// is read meanwhile, so the broker keeps what the hub has no room for. A disk that refuses for longer than the
    /// keep-alive ends the connection; the broker sends again what is not acknowledged.
    async fn take(&mut self, letters: Vec<Letter>) -> Result<(), Closed> {
        let stations = self.around.intake.stations();
        let mut work = Vec::new();
        let mut shares = Vec::with_capacity(letters.len());
        // Those of this read: they are not owed yet.
        let mut fresh: HashSet<u16> = HashSet::new();
        let mut is_repetition = Vec::with_capacity(letters.len());
        for letter in &letters {
            let Message { quality, id, .. } = letter.message;
            let mut is_known = || self.kept.unreleased.contains(&id) || !fresh.insert(id);
            is_repetition.push(quality == Quality::ExactlyOnce && is_known());
            let before = work.len();
            if let (Some(parcel), Some(false)) = (letter.parcel(&stations), is_repetition.last()) {
                let Parcel { topic, payload, addressee, received_at, .. } = parcel;
                let memory = addressee.memory_of_decoder();
                let message = profile::Message { topic, payload };
                let profiles = parcel.profiles().into_iter();
                work.extend(profiles.map(|profile| Work { profile, message, memory, received_at }));
            }
            shares.push(work.len() - before);
        }
        let decodings = decode(&self.around.codecs, work).await;
        let mut decodings = &decodings[..];
        let mut bills = Vec::new();
        for ((letter, share), is_repetition) in letters.iter().zip(shares).zip(is_repetition) {
            let (own, rest) = decodings.split_at(share);
            decodings = rest;
            if !is_repetition {
                self.deliver(letter, &stations, own, &mut bills)?;
            }
            self.owe(&letter.message);
        }
        let receipt = Receipt { progress: Arc::clone(&self.progress), number: self.batch };
        self.batch += 1;
        bills.push(self.around.intake.seal(receipt)?);
        for bill in bills {
            bill.pay().await;
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        letter: &Letter,
        stations: &StationTable,
        decodings: &[Decoding],
        bills: &mut Vec<Bill>,
    ) -> Result<(), Closed> {
        let Letter { message, topic, route, received_at } = letter;
        let (addressee, own) = match route {
            Route::Station { addressee, own, .. } => (addressee, own),
            Route::Aside => return Ok(()),
            Route::Refused(refusal) => {
                self.health.counts.refused.fetch_add(1, Ordering::Relaxed);
                self.around.services.log().refused("broker", refusal);
                return Ok(());
            }
        };
        match own {
            OwnTopic::Telemetry => match letter.parcel(stations) {
                Some(parcel) => {
                    let handed =
                        self.around.intake.hand_out(&parcel, decodings, &mut self.draft)?;
                    bills.extend(handed.bills);
                }
                None => {
                    self.health.counts.retained.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            },
            OwnTopic::Status => set_status(addressee, &message.payload, *received_at),
            OwnTopic::Replies if message.retain => return Ok(()),
            OwnTopic::Replies => {
                self.around.commands.reply(&addressee.device.id, &message.payload);
            }
        }
        self.around.services.relay(Word {
            topic,
            payload: &message.payload,
            properties: &[],
            qos: message.quality as u8,
            retain: message.retain,
        });
        Ok(())
    }

    fn owe(&mut self, message: &Message) {
        if message.quality == Quality::AtMostOnce {
            return;
        }
        if message.quality == Quality::ExactlyOnce {
            self.kept.unreleased.insert(message.id);
        }
        self.owed.push_back((self.batch, message.quality, message.id));
        self.health.unacknowledged.store(self.owed.len(), Ordering::Relaxed);
    }

    fn acknowledge(&mut self) {
        let durable = self.progress.durable();
        let mut acknowledged = 0;
        while let Some((_, quality, id)) = self.owed.pop_front_if(|(batch, ..)| *batch <= durable) {
            // A connection that is gone is noticed by its poll.
            let _ = self.sender.acknowledge(quality, id);
            acknowledged += 1;
        }
        self.health.counts.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
        self.health.unacknowledged.store(self.owed.len(), Ordering::Relaxed);
    }

    fn send_mail(&mut self) {
        let stations = self.around.intake.stations();
        let heard = &mut self.kept.heard;
        // A connection that is gone is noticed by its poll.
        let _ = self.post.send(&self.around.commands, &stations, heard, &self.sender);
    }

    /// Asks for what the profiles name now, and no more for what they do not.
    fn subscribe(&mut self) {
        let stations = self.around.intake.stations();
        if self.asked_by == Some(stations.version) {
            return;
        }
        let BrokerConfig { share, filters, .. } = self.config;
        let wanted = self.routes.filters(&stations, share.as_deref(), filters);
        let paths: BTreeSet<String> = wanted.iter().map(|filter| filter.path.clone()).collect();
        // The broker keeps the subscriptions of former connections and of former runs.
        let former: Vec<String> = self.kept.filters.difference(&paths).cloned().collect();
        let news: Vec<_> =
            wanted.into_iter().filter(|f| !self.subscribed.contains(&f.path)).collect();
        let outcome: Result<(), Gone> = (|| {
            for filter in &former {
                self.sender.unsubscribe(filter)?;
            }
            for some in news.chunks(FILTERS_AT_ONCE) {
                self.sender.subscribe(some)?;
                self.asked.push_back(some.iter().map(|filter| filter.path.clone()).collect());
            }
            Ok(())
        })();
        if outcome.is_ok() {
            self.asked_by = Some(stations.version);
            self.subscribed.clone_from(&paths);
            self.kept.keep_filters(paths);
        }
    }

    fn on_subscribed(&mut self, answers: Vec<Option<String>>) {
        let filters = self.asked.pop_front().unwrap_or_default();
        let refused: Vec<_> = filters
            .into_iter()
            .zip(answers)
            .filter_map(|(filter, refusal)| Some((filter, refusal?)))
            .collect();
        if !refused.is_empty() {
            self.health.refused_filters(refused);
        }
    }

    /// The last acknowledgements and the goodbye; the session stays at the broker.
    async fn finish(&mut self, events: &mut Events) {
        if !self.is_up {
            return;
        }
        let progress = Arc::clone(&self.progress);
        let last = self.batch - 1;
        let goodbye = async {
            while progress.durable() < last {
                progress.changed().await;
            }
            self.acknowledge();
            if self.sender.disconnect().is_ok() {
                // Ends when the broker closes the connection behind the goodbye.
                while events.poll().await.is_ok() {}
            }
        };
        // Whoever is not answered in time will send again: that is what QoS 1 is for.
        let _ = timeout(LAST_ACKS, goodbye).await;
    }
}
