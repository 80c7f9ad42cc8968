//! The second road: the messages of a gateway, which may concern several devices, and those that need a codec.
//!
//! The first road decodes in place, under one device's track, inside one read. Here a message is copied out of the read
//! buffer, and after the read each is decoded (which may take its time: a codec is another process), handed to the stations
//! that it concerns, and answered. Nothing more is read meanwhile, so a gateway is slowed down as a device is.
//!
//! Messages are answered in the order in which they came [MQTT-4.6.0-2], and only when all that was taken of them is on disk:
//! what a read brought is handed in station by station, and then sealed with one receipt; batches come to the disk in
//! the order in which they were handed in, so the seal covers them all.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::acks;
use super::publish::{Publish, Qos};
use super::refusal::Refusal;
use super::services::Word;
use super::session::{End, Session, set_status};
use super::topics::{self, OwnTopic};
use crate::codec::{Codecs, Job};
use crate::model::{DeviceId, Timestamp};
use crate::pipeline::{
    Bill, Closed, Decoding, Draft, Listed, Parcel, Receipt, Station, StationTable,
};
use crate::profile::{DecodeError, Decoded, Memory, Message, Profile};

/// What came on the second road, in its order.
#[derive(Debug)]
pub(super) enum Mail {
    Letter(Letter),
    /// PUBREL.
    Release(u16),
}

/// A PUBLISH, copied out of the read buffer.
#[derive(Debug)]
pub(super) struct Letter {
    qos: Qos,
    retain: bool,
    topic: Vec<u8>,
    payload: Vec<u8>,
    properties: Vec<u8>,
    received_at: Timestamp,
}

/// Where a letter goes.
enum Route<'a, 'm> {
    Telemetry(&'a Arc<Station>),
    Status(&'a Arc<Station>),
    /// Answers to commands.
    Replies(&'a Arc<Station>),
    /// Not for the hub itself.
    Relayed,
    /// Telemetry of a device that does not stand behind this gateway.
    Unlisted(&'m str),
    Refused(Refusal, u8),
}

impl Mail {
    pub(super) fn letter(publish: &Publish<'_>, received_at: Timestamp) -> Self {
        Mail::Letter(Letter {
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.to_vec(),
            payload: publish.payload.to_vec(),
            properties: publish.properties.to_vec(),
            received_at,
        })
    }
}

/// Whether a device's messages may concern others.
pub(super) fn takes_second_road(stations: &StationTable, station: &Station) -> bool {
    stations.behind(&station.device.id).is_some() || station.profile.lorawan().is_some()
}

/// The listed device whose commands `filter` asks for.
pub(super) fn heard_device<S>(session: &Session<S>, filter: &str) -> Option<DeviceId> {
    let stations = session.around.intake.stations();
    let listed = stations.behind(&session.station.device.id)?;
    topics::listed_commands(listed, filter).map(|station| station.device.id.clone())
}

/// Where a letter goes, with its topic.
fn route<'a, 'm>(
    gateway: &'a Arc<Station>,
    listed: Option<&'a Listed>,
    letter: &'m Letter,
) -> Result<(&'m str, Route<'a, 'm>), End> {
    let topic = std::str::from_utf8(&letter.topic)
        .map_err(|_| End::Refused(Refusal::Malformed("a topic that is not UTF-8")))?;
    if !topics::is_topic(topic) {
        return Ok((topic, Route::Refused(Refusal::BadTopic, acks::TOPIC_NAME_INVALID)));
    }
    let own = topics::own(gateway, topic).map(|own| (gateway, own));
    let route = match own.or_else(|| topics::listed(gateway, listed?, topic)) {
        Some((station, OwnTopic::Telemetry)) => Route::Telemetry(station),
        Some((station, OwnTopic::Status)) => Route::Status(station),
        Some((station, OwnTopic::Replies)) => Route::Replies(station),
        None => match listed {
            Some(listed) if let Some(name) = topics::unlisted(listed, topic) => {
                Route::Unlisted(name)
            }
            Some(listed) if topics::is_network_event(listed, topic) => Route::Relayed,
            _ => Route::Refused(Refusal::NotAuthorized(topic.to_owned()), acks::NOT_AUTHORIZED),
        },
    };
    Ok((topic, route))
}

/// A payload that a profile has to read.
pub(in crate::ingest) struct Work<'m> {
    pub(in crate::ingest) profile: Arc<Profile>,
    pub(in crate::ingest) message: Message<'m>,
    /// What whom the topic names said before.
    pub(in crate::ingest) memory: &'m Memory,
    pub(in crate::ingest) received_at: Timestamp,
}

/// Reads payloads as their profiles say; all that need a codec in one go.
pub(in crate::ingest) async fn decode(codecs: &Codecs, work: Vec<Work<'_>>) -> Vec<Decoding> {
    let mut jobs = Vec::new();
    let mut opened = Vec::with_capacity(work.len());
    for Work { profile, message, received_at, .. } in &work {
        let job = profile.lorawan().map(|lorawan| lorawan.job(message.payload, *received_at));
        jobs.extend(job.iter().flatten().cloned());
        opened.push(job);
    }
    let outcomes = if jobs.is_empty() { Vec::new() } else { codecs.call(jobs).await };
    let mut outcomes = outcomes.into_iter();
    let mut read = |work: Work<'_>, job: Option<Result<Job, DecodeError>>| {
        let Work { profile, message, memory, .. } = work;
        let mut decoded = Decoded::default();
        let outcome = match (profile.lorawan(), job) {
            (Some(lorawan), Some(Ok(job))) => match outcomes.next() {
                Some(outcome) => lorawan.finish(&job, outcome, &mut decoded),
                None => Err(DecodeError::NoPoint),
            },
            (_, Some(Err(unopened))) => Err(unopened),
            _ => profile.decode_message(message, memory, &mut decoded),
        };
        Decoding { profile, outcome: outcome.map(|()| decoded) }
    };
    work.into_iter().zip(opened).map(|(work, job)| read(work, job)).collect()
}

/// What a delivery goes with from letter to letter.
struct Round<'a> {
    gateway: &'a Arc<Station>,
    listed: Option<&'a Listed>,
    draft: Draft,
    bills: Vec<Bill>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Decodes and hands in what came on the second road, and waits until there is room for it.
    pub(super) async fn deliver(&mut self) -> Result<(), End> {
        let mail = std::mem::take(&mut self.mail);
        let stations = self.around.intake.stations();
        let known = stations.get(self.station.device.id.as_str()).cloned();
        let gateway = known.ok_or(End::Refused(Refusal::NoProfile))?;
        let listed = stations.behind(&gateway.device.id);
        let mut work = Vec::new();
        let mut shares = Vec::with_capacity(mail.len());
        for item in &mail {
            let before = work.len();
            if let Mail::Letter(letter) = item
                && let Ok((topic, Route::Telemetry(addressee))) = route(&gateway, listed, letter)
            {
                let parcel = letter.parcel(topic, &gateway, listed, addressee);
                let message = Message { topic, payload: &letter.payload };
                let (memory, received_at) = (addressee.memory_of_decoder(), letter.received_at);
                let profiles = parcel.profiles().into_iter();
                work.extend(profiles.map(|profile| Work { profile, message, memory, received_at }));
            }
            shares.push(work.len() - before);
        }
        let decodings = decode(&self.around.codecs, work).await;
        let mut decodings = &decodings[..];
        let draft = std::mem::take(&mut self.draft);
        let mut round = Round { gateway: &gateway, listed, draft, bills: Vec::new() };
        let mut outcome = Ok(());
        for (item, share) in mail.iter().zip(shares) {
            let (own, rest) = decodings.split_at(share);
            decodings = rest;
            outcome = match item {
                Mail::Letter(letter) => self.deliver_letter(letter, own, &mut round),
                Mail::Release(id) => {
                    self.acks.release(*id, &mut self.out);
                    Ok(())
                }
            };
            if outcome.is_err() {
                break;
            }
        }
        let Round { draft, mut bills, .. } = round;
        self.draft = draft;
        if !bills.is_empty() || self.acks.owes_for(self.batch) {
            let receipt = Receipt { progress: Arc::clone(&self.progress), number: self.batch };
            self.batch += 1;
            match self.around.intake.seal(receipt) {
                Ok(bill) => bills.push(bill),
                Err(Closed) => return Err(End::Refused(Refusal::ShuttingDown)),
            }
        }
        for bill in bills {
            bill.pay().await;
        }
        outcome
    }

    fn deliver_letter(
        &mut self,
        letter: &Letter,
        decodings: &[Decoding],
        round: &mut Round<'_>,
    ) -> Result<(), End> {
        let code = if self.acks.is_repetition(letter.qos) {
            acks::SUCCESS
        } else {
            self.take_letter(letter, decodings, round)?
        };
        self.acks.owe(letter.qos, self.batch, code);
        Ok(())
    }

    /// Takes a letter where its topic says, and returns the reason code that answers it.
    fn take_letter(
        &mut self,
        letter: &Letter,
        decodings: &[Decoding],
        round: &mut Round<'_>,
    ) -> Result<u8, End> {
        let (topic, route) = route(round.gateway, round.listed, letter)?;
        let mut code = acks::SUCCESS;
        match route {
            Route::Refused(refusal, code) => {
                return self.refuse_message(letter.qos, refusal, code);
            }
            Route::Telemetry(addressee) => {
                let parcel = letter.parcel(topic, round.gateway, round.listed, addressee);
                let unpacked = self.around.intake.hand_out(&parcel, decodings, &mut round.draft);
                let unpacked = unpacked.map_err(|Closed| End::Refused(Refusal::ShuttingDown))?;
                round.bills.extend(unpacked.bills);
                if !unpacked.is_taken {
                    code = acks::PAYLOAD_FORMAT_INVALID;
                }
            }
            Route::Status(station) => set_status(station, &letter.payload, letter.received_at),
            Route::Replies(station) => {
                self.around.commands.reply(&station.device.id, &letter.payload);
            }
            Route::Unlisted(name) => {
                let parcel = letter.parcel(topic, round.gateway, round.listed, round.gateway);
                self.around.intake.keep_unknown(&parcel, name);
                return Ok(acks::NOT_AUTHORIZED);
            }
            Route::Relayed => {}
        }
        let Letter { qos, retain, payload, properties, .. } = letter;
        let (qos, retain) = (qos.level(), *retain);
        self.around.services.relay(Word { topic, payload, properties, qos, retain });
        Ok(code)
    }
}

impl Letter {
    fn parcel<'a>(
        &'a self,
        topic: &'a str,
        gateway: &'a Arc<Station>,
        listed: Option<&'a Listed>,
        addressee: &'a Arc<Station>,
    ) -> Parcel<'a> {
        let (payload, received_at) = (&self.payload[..], self.received_at);
        Parcel { gateway, listed, addressee, topic, payload, received_at }
    }
}
