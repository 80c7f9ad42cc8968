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
use super::session::{End, Session, set_status};
use super::topics::{self, OwnTopic};
use crate::model::Timestamp;
use crate::pipeline::{
    Bill, Closed, Decoding, Draft, Listed, Parcel, Receipt, Station, StationTable,
};
use crate::profile::{Decoded, Profile};

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
    received_at: Timestamp,
}

/// Where a letter goes.
enum Route<'a> {
    Telemetry(&'a Arc<Station>),
    Status(&'a Arc<Station>),
    Replies,
    Refused(Refusal, u8),
}

impl Mail {
    pub(super) fn letter(publish: &Publish<'_>, received_at: Timestamp) -> Self {
        Mail::Letter(Letter {
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.to_vec(),
            payload: publish.payload.to_vec(),
            received_at,
        })
    }
}

/// Whether a device's messages may concern others.
pub(super) fn takes_second_road(stations: &StationTable, station: &Station) -> bool {
    stations.behind(&station.device.id).is_some()
}

/// Whether `filter` asks for the commands of a listed device.
pub(super) fn may_hear<S>(session: &Session<S>, filter: &str) -> bool {
    let stations = session.around.intake.stations();
    let listed = stations.behind(&session.station.device.id);
    listed.is_some_and(|listed| topics::listed_commands(listed, filter).is_some())
}

/// Where a letter goes, with its topic.
fn route<'a, 'm>(
    gateway: &'a Arc<Station>,
    listed: Option<&'a Listed>,
    letter: &'m Letter,
) -> Result<(&'m str, Route<'a>), End> {
    let topic = std::str::from_utf8(&letter.topic)
        .map_err(|_| End::Refused(Refusal::Malformed("a topic that is not UTF-8")))?;
    if !topics::is_topic(topic) {
        return Ok((topic, Route::Refused(Refusal::BadTopic, acks::TOPIC_NAME_INVALID)));
    }
    let own = topics::own(gateway, topic).map(|own| (gateway, own));
    let route = match own.or_else(|| topics::listed(listed?, topic)) {
        Some((station, OwnTopic::Telemetry)) => Route::Telemetry(station),
        Some((station, OwnTopic::Status)) => Route::Status(station),
        // Answers to commands go to whoever listens.
        Some((_, OwnTopic::Replies)) => Route::Replies,
        None => Route::Refused(Refusal::NotAuthorized(topic.to_owned()), acks::NOT_AUTHORIZED),
    };
    Ok((topic, route))
}

/// Reads payloads as their profiles say, all that one read brought at a time.
async fn decode(work: Vec<(Arc<Profile>, &[u8])>) -> Vec<Decoding> {
    let read = |(profile, payload): (Arc<Profile>, &[u8])| {
        let mut decoded = Decoded::default();
        let outcome = profile.decode(payload, &mut decoded).map(|()| decoded);
        Decoding { profile, outcome }
    };
    work.into_iter().map(read).collect()
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
                work.extend(parcel.profiles().into_iter().map(|p| (p, &letter.payload[..])));
            }
            shares.push(work.len() - before);
        }
        let decodings = decode(work).await;
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
            Route::Replies => {}
        }
        self.around.services.relay(topic, &letter.payload, letter.retain);
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
