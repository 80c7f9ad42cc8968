//! One connected service: its packets, checked one by one, go to the services' broker; what the broker sends comes back.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rumqttd::protocol::{Filter, Login, Packet, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::codec::{self, Hello, Request};
use super::frame::{self, Frame, PacketType, Version};
use super::publish::{Publish, Qos};
use super::refusal::Refusal;
use super::services::{Services, Subscriptions, plain};
use super::topics;
use crate::registry::ServiceAccount;

/// The name under which the door connects to the services' broker.
pub(super) const INTERNAL_USER: &str = "door";

/// The largest packet of a service.
const MAX_PACKET_BYTES: usize = 1024 * 1024;

/// How long a service may take to read what it is sent, before its connection ends.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// rumqttd refuses a keep-alive of 0 ("for ever"); the longest that can be written is a working day.
const LONGEST_KEEP_ALIVE: u16 = u16::MAX;

/// A service's relay.
pub(super) struct Relay<S> {
    client: S,
    broker: TcpStream,
    version: Version,
    account: Arc<ServiceAccount>,
    services: Services,
    subscriptions: Subscriptions,
    is_clean: bool,
}

/// What becomes of a packet from the service.
enum Verdict {
    Forward,
    /// Not forwarded; this is the answer.
    Answer(BytesMut),
    /// Forwarded, and the last one.
    Last,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<S> {
    /// Connects to the broker with the service's own CONNECT, but the door's credentials.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(super) async fn open(
        client: S,
        mut hello: Hello,
        account: Arc<ServiceAccount>,
        services: Services,
    ) -> Result<Self, Refusal> {
        let version = hello.version;
        scope_client(&mut hello.connect.client_id, &account)?;
        hello.login = Some(Login {
            username: INTERNAL_USER.to_owned(),
            password: services.password().to_owned(),
        });
        if hello.connect.keep_alive == 0 {
            hello.connect.keep_alive = LONGEST_KEEP_ALIVE;
        }
        let is_clean = hello.connect.clean_session || hello.connect.client_id.is_empty();
        let subscriptions = services.subscriptions(&hello.connect.client_id, is_clean);
        let bytes = codec::write_hello(hello)?;
        let unavailable = |_| Refusal::Unavailable;
        let mut broker =
            TcpStream::connect(services.address(version)).await.map_err(unavailable)?;
        broker.write_all(&bytes).await.map_err(unavailable)?;
        Ok(Relay { client, broker, version, account, services, subscriptions, is_clean })
    }

    /// Relays until either side ends.
    ///
    /// # Errors
    /// When the service breaks the protocol or its grants, or the hub ends the connection.
    pub(super) async fn run(
        mut self,
        early: Vec<u8>,
        mut kick: oneshot::Receiver<Refusal>,
    ) -> Result<(), Refusal> {
        let mut up = BytesMut::from(early.as_slice());
        let mut down = BytesMut::new();
        loop {
            if !self.take(&mut up).await? {
                return Ok(());
            }
            tokio::select! {
                reason = &mut kick => {
                    let reason = reason.unwrap_or(Refusal::ShuttingDown);
                    Self::refuse(&mut self.client, self.version, &reason).await;
                    return Err(reason);
                }
                read = self.client.read_buf(&mut up) => match read {
                    Ok(n) if n > 0 => {}
                    _ => return Ok(()),
                },
                read = self.broker.read_buf(&mut down) => match read {
                    Ok(n) if n > 0 => {
                        // Whole packets only: an answer of the door's own may come between two of them.
                        let whole = frame::whole(&down)?;
                        let ready = down.split_to(whole);
                        self.answer(&ready).await?;
                    }
                    _ => return Ok(()),
                },
            }
        }
    }

    /// The refusal as the service's protocol says it, and the end.
    pub(super) async fn refuse(client: &mut S, version: Version, refusal: &Refusal) {
        if version == Version::V5 {
            // A client that is gone already, or does not read, does not need to hear it.
            let goodbye = [0xE0, 2, refusal.v5_code(), 0];
            let _ = timeout(GOODBYE_TIMEOUT, client.write_all(&goodbye)).await;
        }
        let _ = timeout(GOODBYE_TIMEOUT, client.shutdown()).await;
    }

    /// Takes every whole packet; false after the last one.
    async fn take(&mut self, up: &mut BytesMut) -> Result<bool, Refusal> {
        loop {
            let (length, verdict) = match frame::next(up, MAX_PACKET_BYTES) {
                Ok(None) => return Ok(true),
                Ok(Some(frame)) => (frame.whole.len(), self.judge(&frame)),
                Err(refusal) => (0, Err(refusal)),
            };
            match verdict {
                Ok(Verdict::Answer(answer)) => self.answer(&answer).await?,
                Ok(forward @ (Verdict::Forward | Verdict::Last)) => {
                    // A service that does not read what it subscribed to stops the broker, and with it this write.
                    let sent = timeout(WRITE_TIMEOUT, self.broker.write_all(&up[..length])).await;
                    if !matches!(sent, Ok(Ok(()))) || matches!(forward, Verdict::Last) {
                        return Ok(false);
                    }
                }
                Err(refusal) => {
                    Self::refuse(&mut self.client, self.version, &refusal).await;
                    return Err(refusal);
                }
            }
            up.advance(length);
        }
    }

    fn judge(&mut self, frame: &Frame<'_>) -> Result<Verdict, Refusal> {
        match frame.kind {
            PacketType::Publish => self.judge_publish(&Publish::read(frame, self.version)?),
            PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect => {
                match codec::request(frame, self.version)? {
                    Request::Subscribe { id, filters } => self.judge_subscribe(id, &filters),
                    Request::Unsubscribe { filters, .. } => {
                        filters.iter().for_each(|filter| self.subscriptions.remove(filter));
                        Ok(Verdict::Forward)
                    }
                    Request::Disconnect { .. } => Ok(Verdict::Last),
                }
            }
            PacketType::Connect => Err(Refusal::Protocol("a second CONNECT")),
            PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::PingReq => Ok(Verdict::Forward),
        }
    }

    fn judge_publish(&self, publish: &Publish<'_>) -> Result<Verdict, Refusal> {
        let refusal = match check_publish(&self.account, publish.topic) {
            Ok(()) => return Ok(Verdict::Forward),
            Err(refusal) => refusal,
        };
        match (self.version, publish.qos) {
            (Version::V5, Qos::AtLeastOnce(id)) => {
                self.services.log().refused(&self.account.name, &refusal);
                let [high, low] = id.to_be_bytes();
                Ok(Verdict::Answer(BytesMut::from(
                    &[0x40, 3, high, low, super::acks::NOT_AUTHORIZED][..],
                )))
            }
            _ => Err(refusal),
        }
    }

    /// All filters of a SUBSCRIBE, or none: the broker's answer then fits the question.
    fn judge_subscribe(&mut self, id: u16, filters: &[Filter]) -> Result<Verdict, Refusal> {
        let is_granted = |filter: &Filter| {
            let path = plain(&filter.path);
            // rumqttd's router panics when a kept session with unacknowledged messages leaves a shared subscription.
            let is_safe = self.is_clean || !filter.path.starts_with("$share/");
            is_safe
                && path.as_bytes().first().is_some_and(u8::is_ascii)
                && topics::is_filter(path)
                && self.account.subscribe.iter().any(|granted| topics::covers(granted, path))
        };
        let Some(refused) = filters.iter().find(|filter| !is_granted(filter)) else {
            filters.iter().for_each(|filter| self.subscriptions.add(&filter.path));
            return Ok(Verdict::Forward);
        };
        let refusal = Refusal::NotAuthorized(refused.path.clone());
        self.services.log().refused(&self.account.name, &refusal);
        let code = match self.version {
            Version::V4 => SubscribeReasonCode::Failure,
            Version::V5 => SubscribeReasonCode::NotAuthorized,
        };
        let return_codes = vec![code; filters.len()];
        let packet = Packet::SubAck(SubAck { pkid: id, return_codes }, None);
        codec::write(packet, self.version).map(Verdict::Answer)
    }

    async fn answer(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match timeout(WRITE_TIMEOUT, self.client.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::SlowReader),
        }
    }
}

/// Gives the client a name of its own account's: rumqttd knows a session by its client identifier alone, and neither
/// another account's session nor the door's feed may be taken over by naming it.
fn scope_client(client: &mut String, account: &ServiceAccount) -> Result<(), Refusal> {
    if client.contains(['+', '$', '#', '/']) {
        return Err(Refusal::Protocol("a client identifier with + $ # or /"));
    }
    if !client.is_empty() {
        *client = format!("{}:{client}", account.name);
    }
    Ok(())
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
