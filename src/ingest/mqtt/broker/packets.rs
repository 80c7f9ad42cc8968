//! What a connected service sends, packet by packet, and what it is answered.

use std::sync::Arc;

use bytes::Bytes;
use rumqttd::protocol::{Filter, RetainForwardRule};
use tokio::time::Instant;

use super::super::acks::{NOT_AUTHORIZED, SUCCESS};
use super::super::codec::{self, Request};
use super::super::frame::{Fields, Frame, PacketType, Version};
use super::super::properties;
use super::super::publish::{Publish, Qos};
use super::super::refusal::Refusal;
use super::super::session::RECEIVE_MAXIMUM;
use super::super::topics;
use super::message::{Message, put_variable_integer};
use super::session::{Replay, Session};
use super::trie::{MAX_LEVELS, Options};
use super::{
    Broker, FAILURE, LinkId, MAX_SUBSCRIPTIONS, NO_MATCHING_SUBSCRIBERS, NO_SUBSCRIPTION_EXISTED,
    PACKET_IDENTIFIER_NOT_FOUND, Parting, Published, QUOTA_EXCEEDED, TOPIC_ALIASES, check_publish,
    may_hear,
};
use crate::registry::ServiceAccount;

impl Broker {
    /// Takes a packet of a connected service; how it parts, if this is its last.
    ///
    /// # Errors
    /// When it breaks the protocol or its grants, and when another connection has taken the session over.
    pub(in super::super) fn take(
        &mut self,
        link: LinkId,
        frame: &Frame<'_>,
        now: Instant,
    ) -> Result<Option<Parting>, Refusal> {
        let session = self.session(link)?;
        let version = session.link.as_ref().map_or(Version::V4, |link| link.version);
        match frame.kind {
            PacketType::Publish => self.on_publish(link, frame, version, now)?,
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
                self.on_acknowledgement(link, frame, version, now)?;
            }
            PacketType::PingReq => session.write(&[0xD0, 0]),
            PacketType::Connect => return Err(Refusal::Protocol("a second CONNECT")),
            PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect => {
                match codec::request(frame, version)? {
                    Request::Subscribe { id, filters, identifier } => {
                        self.on_subscribe(link, id, &filters, identifier, now)?;
                    }
                    Request::Unsubscribe { id, filters } => {
                        self.on_unsubscribe(link, id, &filters)?;
                    }
                    Request::Disconnect { with_will, session_expiry } => {
                        if session.expiry == 0 && session_expiry.is_some_and(|seconds| seconds > 0)
                        {
                            return Err(Refusal::Protocol("a session for who asked for none"));
                        }
                        return Ok(Some(Parting::Goodbye { with_will, expiry: session_expiry }));
                    }
                }
            }
        }
        Ok(None)
    }

    fn on_publish(
        &mut self,
        link: LinkId,
        frame: &Frame<'_>,
        version: Version,
        now: Instant,
    ) -> Result<(), Refusal> {
        let publish = Publish::read_with_alias(frame, version)?;
        let session = self.session(link)?;
        let topic = session.topic_of(&publish)?;
        let account = session.link.as_ref().map(|link| Arc::clone(&link.account));
        let account = account.ok_or(Refusal::TakenOver)?;
        if let Err(refusal) = check_publish(&account, topic.as_bytes()) {
            let may_go_on = version == Version::V5 && publish.qos != Qos::AtMostOnce;
            if !may_go_on || refusal == Refusal::BadTopic {
                return Err(refusal);
            }
            self.log.refused(&account.name, &refusal);
            self.acknowledge(link, publish.qos, NOT_AUTHORIZED, version)?;
            return Ok(());
        }
        if let Qos::ExactlyOnce(id) = publish.qos {
            if session.unreleased.contains(&id) {
                return self.acknowledge(link, publish.qos, SUCCESS, version);
            }
            if session.unreleased.len() >= usize::from(RECEIVE_MAXIMUM) {
                return Err(Refusal::ReceiveMaximum);
            }
        }
        let message = Message {
            topic,
            payload: Bytes::copy_from_slice(publish.payload),
            properties: Box::default(),
            qos: publish.qos.level(),
            retain: publish.retain,
            expires_at: None,
        };
        let message = Arc::new(message.with_properties(publish.properties, now));
        let published = self.publish(Some(link.session), &message, now);
        self.make_room(now);
        let code = match published {
            Published { has_room: false, .. } => QUOTA_EXCEEDED,
            Published { has_subscriber: false, .. } => NO_MATCHING_SUBSCRIBERS,
            _ => SUCCESS,
        };
        self.acknowledge(link, publish.qos, code, version)
    }

    fn acknowledge(
        &mut self,
        link: LinkId,
        qos: Qos,
        code: u8,
        version: Version,
    ) -> Result<(), Refusal> {
        let session = self.session(link)?;
        let (packet, id) = match qos {
            Qos::AtMostOnce => return Ok(()),
            Qos::AtLeastOnce(id) => (0x40, id),
            Qos::ExactlyOnce(id) => {
                // An error ends the delivery: no PUBREL will follow (MQTT 5, section 4.3.3). 3.1.1 cannot say it.
                if code < FAILURE || version == Version::V4 {
                    session.unreleased.insert(id);
                }
                (0x50, id)
            }
        };
        session.answer(packet, id, code, version);
        Ok(())
    }

    fn on_acknowledgement(
        &mut self,
        link: LinkId,
        frame: &Frame<'_>,
        version: Version,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut fields = Fields(frame.body);
        let id = fields.u16()?;
        let code = if fields.0.is_empty() { SUCCESS } else { fields.u8()? };
        if !fields.0.is_empty() {
            properties::check(fields.properties()?, properties::OF_ACK)?;
        }
        self.session(link)?;
        let (Some(session), ledger) = (self.sessions.get_mut(&link.session), &mut self.ledger)
        else {
            return Err(Refusal::TakenOver);
        };
        match frame.kind {
            PacketType::PubAck => session.acknowledged(id, ledger),
            PacketType::PubRec => session.received(id, code >= FAILURE, ledger),
            PacketType::PubComp => session.completed(id, ledger),
            _ => {
                let is_known = session.unreleased.remove(&id);
                let code = if is_known { SUCCESS } else { PACKET_IDENTIFIER_NOT_FOUND };
                session.answer(0x70, id, code, version);
            }
        }
        self.pump(link.session, now);
        Ok(())
    }

    fn on_subscribe(
        &mut self,
        link: LinkId,
        packet_id: u16,
        filters: &[Filter],
        identifier: Option<u32>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let own = self.session(link)?.link.as_ref();
        let (account, version) =
            own.map(|own| (Arc::clone(&own.account), own.version)).ok_or(Refusal::TakenOver)?;
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            codes.push(match self.subscribe(link, &account, filter, identifier)? {
                Ok(qos) => qos,
                Err(_) if version == Version::V4 => FAILURE,
                Err(code) => code,
            });
        }
        self.session(link)?.write(&list_answer(0x90, packet_id, version, &codes));
        self.pump(link.session, now);
        Ok(())
    }

    /// One filter: the QoS that is granted, or the reason code.
    fn subscribe(
        &mut self,
        link: LinkId,
        account: &ServiceAccount,
        filter: &Filter,
        identifier: Option<u32>,
    ) -> Result<Result<u8, u8>, Refusal> {
        let (share, plain) = topics::share(&filter.path);
        if !may_hear(account, plain) {
            let refusal = Refusal::NotAuthorized(filter.path.clone());
            self.log.refused(&account.name, &refusal);
            return Ok(Err(NOT_AUTHORIZED));
        }
        let session = self.session(link)?;
        let is_known = session.subscriptions.contains_key(&filter.path);
        let is_full = !is_known && session.subscriptions.len() >= MAX_SUBSCRIPTIONS;
        if is_full || plain.split('/').count() > MAX_LEVELS {
            return Ok(Err(QUOTA_EXCEEDED));
        }
        let options = Options {
            qos: filter.qos as u8,
            no_local: filter.nolocal,
            retain_as_published: filter.preserve_retain,
            identifier,
        };
        session.subscriptions.insert(filter.path.clone(), options);
        let asks = match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => !is_known,
            RetainForwardRule::Never => false,
        };
        if asks && share.is_none() {
            session.replays.retain(|replay| replay.filter != plain);
            session.replays.push_back(Replay { filter: plain.to_owned(), options, after: None });
        }
        self.subscriptions.insert(&filter.path, link.session, options);
        if !is_known {
            *self.interest.entry(plain.to_owned()).or_default() += 1;
            self.interest_has_changed = true;
        }
        Ok(Ok(options.qos))
    }

    fn on_unsubscribe(
        &mut self,
        link: LinkId,
        packet_id: u16,
        filters: &[String],
    ) -> Result<(), Refusal> {
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            let session = self.session(link)?;
            let (share, plain) = topics::share(filter);
            if session.subscriptions.remove(filter).is_none() {
                codes.push(NO_SUBSCRIPTION_EXISTED);
                continue;
            }
            session.replays.retain(|replay| share.is_some() || replay.filter != plain);
            self.subscriptions.remove(filter, link.session);
            self.forget_interest(filter);
            codes.push(SUCCESS);
        }
        let session = self.session(link)?;
        match session.link.as_ref().map(|own| own.version) {
            Some(Version::V5) => {
                session.write(&list_answer(0xB0, packet_id, Version::V5, &codes));
            }
            // 3.1.1's has no codes.
            _ => session.write(&list_answer(0xB0, packet_id, Version::V4, &[])),
        }
        Ok(())
    }
}

impl Session {
    /// The topic of a message, by its name or by what stands for it on this connection.
    fn topic_of(&mut self, publish: &Publish<'_>) -> Result<Box<str>, Refusal> {
        let topic = std::str::from_utf8(publish.topic).map_err(|_| Refusal::BadTopic)?;
        let Some(alias) = publish.alias else { return Ok(topic.into()) };
        let aliases = self.link.as_mut().map(|link| &mut link.aliases);
        let aliases = aliases.filter(|_| alias <= TOPIC_ALIASES).ok_or(Refusal::TopicAlias)?;
        if topic.is_empty() {
            return aliases.get(&alias).cloned().ok_or(Refusal::TopicAlias);
        }
        aliases.insert(alias, topic.into());
        Ok(topic.into())
    }

    /// PUBACK, PUBREC or PUBCOMP.
    fn answer(&mut self, packet: u8, id: u16, code: u8, version: Version) {
        let [high, low] = id.to_be_bytes();
        if version == Version::V5 && code != SUCCESS {
            self.write(&[packet, 3, high, low, code]);
        } else {
            self.write(&[packet, 2, high, low]);
        }
    }
}

/// SUBACK or UNSUBACK.
fn list_answer(packet: u8, id: u16, version: Version, codes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![packet];
    let is_v5 = version == Version::V5;
    put_variable_integer(2 + usize::from(is_v5) + codes.len(), &mut bytes);
    bytes.extend(id.to_be_bytes());
    if is_v5 {
        bytes.push(0);
    }
    bytes.extend_from_slice(codes);
    bytes
}
