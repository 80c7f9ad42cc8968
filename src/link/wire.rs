//! One connection, by rumqttc, in one shape for both protocol versions.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as packet5;
use rumqttc::{TlsConfiguration, Transport, v5};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::server::{Protocol, Server, Tls};

/// What may wait inside rumqttc to be written: an answer for every packet identifier that there is, and what is asked
/// beside. So handing in an answer never fails while the connection lives.
const REQUESTS: usize = 65_535 + 1_024;

/// The largest packet in either direction. The broker is told (MQTT 5) and leaves larger ones out; in 3.1.1 a larger one
/// would break the connection again and again, so the limit is far above what anybody sends.
const PACKET_BYTES: u32 = 16 * 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT_SECONDS: u64 = 5;

/// What a client asks of the broker when it connects.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// How long the broker keeps the session of a client that is away (MQTT 5; in 3.1.1 that is the broker's own affair).
    pub session_expiry: Duration,
    /// Messages that the broker may send ahead of their acknowledgement (MQTT 5).
    pub receive_maximum: u16,
    /// Messages that are sent to the broker ahead of its acknowledgement.
    pub in_flight: u16,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::enum_variant_names, reason = "the standard's names")]
pub enum Quality {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

/// A PUBLISH from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Not yet known to be UTF-8.
    pub topic: Bytes,
    /// What it says.
    pub payload: Bytes,
    /// How it is acknowledged.
    pub quality: Quality,
    /// By which it is acknowledged; 0 at QoS 0.
    pub id: u16,
    /// Whether the broker kept it, so that it may be old.
    pub retain: bool,
}

/// A filter to be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// With its wildcards and its share group.
    pub path: String,
    /// Whether what the broker kept is wanted too (MQTT 5; in 3.1.1 it always comes).
    pub wants_retained: bool,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// It is there.
    Connected {
        /// Whether the broker knows the session from before.
        is_resumed: bool,
    },
    /// The broker sent a message.
    Message(Message),
    /// The broker let go of a message at QoS 2: its identifier may name another.
    Released(u16),
    /// The next of the handed-in messages went out, under this packet identifier.
    Sent(u16),
    /// The broker has a message, or says why not.
    Acknowledged {
        /// Which.
        id: u16,
        /// Whether it has it.
        outcome: Outcome,
    },
    /// The answers to the oldest SUBSCRIBE that was not answered: for each filter why it is refused, if it is.
    Subscribed(Vec<Option<String>>),
    /// Nothing that an owner must know.
    Other,
}

/// What the broker says to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Taken,
    /// It has it, and nobody listens (only MQTT 5 says so).
    Unheard,
    /// It will not have it.
    Refused(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The password's file.
    #[error("cannot read the password file {}", file.display())]
    Password {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authority's file.
    #[error("{} holds no certificate in PEM", file.display())]
    Authority {
        /// Which.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// No authority in it, or none that is one.
    #[error("no certificate authority to check the broker's certificate with; name one in `ca`")]
    NoAuthority,
    /// rustls refuses.
    #[error("cannot speak TLS")]
    Tls(#[from] rustls::Error),
    /// The broker said no.
    #[error("the broker refuses this client: {0}")]
    Refused(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Lost(String),
}

/// The way to hand in what goes to the broker. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub enum Sender {
    /// 3.1.1.
    V4(rumqttc::AsyncClient),
    /// 5.
    V5(v5::AsyncClient),
}

/// What comes from the broker; nothing moves on a connection that is not polled.
#[allow(missing_debug_implementations, reason = "rumqttc's event loop has none")]
pub enum Events {
    /// 3.1.1.
    V4(Box<rumqttc::EventLoop>),
    /// 5.
    V5(Box<v5::EventLoop>),
}

/// A connection that is not made yet: the first [`Events::poll`] does.
///
/// # Errors
/// When a file that it needs cannot be used.
pub fn open(server: &Server, wishes: &Wishes) -> Result<(Sender, Events), LinkError> {
    let login = server.login()?;
    let transport = match &server.tls {
        None => Transport::Tcp,
        Some(tls) => Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls.config()?))),
    };
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_SECONDS);
    Ok(match server.protocol {
        Protocol::V4 => {
            let mut options =
                rumqttc::MqttOptions::new(&server.client_id, &server.host, server.port);
            let size = PACKET_BYTES as usize;
            options
                .set_transport(transport)
                .set_keep_alive(server.keep_alive)
                .set_clean_session(false)
                .set_manual_acks(true)
                .set_inflight(wishes.in_flight)
                .set_max_packet_size(size, size);
            if let Some((user, password)) = login {
                options.set_credentials(user, password);
            }
            let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
            events.set_network_options(network);
            (Sender::V4(client), Events::V4(Box::new(events)))
        }
        Protocol::V5 => {
            let mut options = v5::MqttOptions::new(&server.client_id, &server.host, server.port);
            let expiry = u32::try_from(wishes.session_expiry.as_secs()).unwrap_or(u32::MAX);
            options
                .set_transport(transport)
                .set_keep_alive(server.keep_alive)
                .set_clean_start(false)
                .set_manual_acks(true)
                .set_outgoing_inflight_upper_limit(wishes.in_flight)
                .set_connection_timeout(CONNECT_SECONDS)
                .set_network_options(network)
                // No topic aliases are granted: rumqttc hands on messages before it has looked an alias up.
                .set_connect_properties(packet5::ConnectProperties {
                    session_expiry_interval: Some(expiry),
                    receive_maximum: Some(wishes.receive_maximum),
                    max_packet_size: Some(PACKET_BYTES),
                    ..packet5::ConnectProperties::new()
                });
            if let Some((user, password)) = login {
                options.set_credentials(user, password);
            }
            let (client, events) = v5::AsyncClient::new(options, REQUESTS);
            (Sender::V5(client), Events::V5(Box::new(events)))
        }
    })
}

impl Server {
    fn login(&self) -> Result<Option<(String, String)>, LinkError> {
        let Some(user) = self.username.clone() else { return Ok(None) };
        let Some(file) = &self.password_file else { return Ok(Some((user, String::new()))) };
        let failed = |source| LinkError::Password { file: file.clone(), source };
        let password = std::fs::read_to_string(file).map_err(failed)?;
        Ok(Some((user, password.trim().to_owned())))
    }
}

impl Tls {
    fn config(&self) -> Result<ClientConfig, LinkError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                let failed = |source| LinkError::Authority { file: file.clone(), source };
                let certificates = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(failed)?;
                roots.add_parsable_certificates(certificates);
            }
            // A system's store may hold a broken certificate among good ones.
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        if roots.is_empty() {
            return Err(LinkError::NoAuthority);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// The connection has ended; whoever polls it learns why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Sender {
    /// Acknowledges a message: PUBACK or PUBREC.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn acknowledge(&self, quality: Quality, id: u16) -> Result<(), Gone> {
        match self {
            Sender::V4(client) => {
                let mut publish = rumqttc::Publish::new("", qos4(quality), Vec::new());
                publish.pkid = id;
                client.try_ack(&publish).map_err(|_| Gone)
            }
            Sender::V5(client) => {
                let mut publish = packet5::Publish::new("", qos5(quality), Bytes::new(), None);
                publish.pkid = id;
                client.try_ack(&publish).map_err(|_| Gone)
            }
        }
    }

    /// Sends a message at QoS 1; [`Event::Sent`] follows, then [`Event::Acknowledged`].
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), Gone> {
        match self {
            Sender::V4(client) => client
                .try_publish(topic, rumqttc::QoS::AtLeastOnce, false, payload)
                .map_err(|_| Gone),
            Sender::V5(client) => client
                .try_publish(topic, qos5(Quality::AtLeastOnce), false, payload)
                .map_err(|_| Gone),
        }
    }

    /// Subscribes at QoS 2, so that every message comes as it was published.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn subscribe(&self, filters: &[Filter]) -> Result<(), Gone> {
        match self {
            Sender::V4(client) => {
                let of = |filter: &Filter| {
                    rumqttc::SubscribeFilter::new(filter.path.clone(), rumqttc::QoS::ExactlyOnce)
                };
                client.try_subscribe_many(filters.iter().map(of)).map_err(|_| Gone)
            }
            Sender::V5(client) => {
                let of = |filter: &Filter| {
                    let mut wanted =
                        packet5::Filter::new(filter.path.clone(), qos5(Quality::ExactlyOnce));
                    wanted.retain_forward_rule = if filter.wants_retained {
                        packet5::RetainForwardRule::OnEverySubscribe
                    } else {
                        packet5::RetainForwardRule::Never
                    };
                    wanted
                };
                client.try_subscribe_many(filters.iter().map(of)).map_err(|_| Gone)
            }
        }
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn unsubscribe(&self, filter: &str) -> Result<(), Gone> {
        match self {
            Sender::V4(client) => client.try_unsubscribe(filter).map_err(|_| Gone),
            Sender::V5(client) => client.try_unsubscribe(filter).map_err(|_| Gone),
        }
    }

    /// Says goodbye. The session stays.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn disconnect(&self) -> Result<(), Gone> {
        match self {
            Sender::V4(client) => client.try_disconnect().map_err(|_| Gone),
            Sender::V5(client) => client.try_disconnect().map_err(|_| Gone),
        }
    }
}

impl Events {
    /// The next event. Not cancel safe: a poll that is dropped may lose an answer that it was writing.
    ///
    /// # Errors
    /// When the connection cannot be made, or has ended. There is no other after that.
    pub async fn poll(&mut self) -> Result<Event, LinkError> {
        let event = match self {
            Events::V4(events) => events.poll().await.map(event4).map_err(|why| failed4(&why)),
            Events::V5(events) => events.poll().await.map(event5).map_err(|why| failed5(&why)),
        }?;
        if matches!(event, Event::Connected { is_resumed: true }) {
            self.expect_releases();
        }
        Ok(event)
    }

    /// What came with the last event, in the same read. Never waits.
    pub fn buffered(&mut self) -> Option<Event> {
        match self {
            Events::V4(events) => events.state.events.pop_front().map(event4),
            Events::V5(events) => events.state.events.pop_front().map(event5),
        }
    }

    /// A resumed session repeats the PUBREL of messages at QoS 2 that an earlier connection, or an earlier run of the hub,
    /// had answered with PUBREC [MQTT-4.4.0-1]. rumqttc has forgotten them and takes such a PUBREL for a breach of protocol:
    /// it would cut the connection, meet the same PUBREL on the next, and so for ever. So it is told that every identifier
    /// may be released. Some milliseconds, once a connection.
    fn expect_releases(&mut self) {
        match self {
            Events::V4(events) => {
                let mut publish = rumqttc::Publish::new("", rumqttc::QoS::ExactlyOnce, Vec::new());
                for id in 1..=u16::MAX {
                    publish.pkid = id;
                    let packet = rumqttc::Packet::Publish(publish.clone());
                    if events.state.handle_incoming_packet(packet).is_ok() {
                        events.state.events.pop_back();
                    }
                }
            }
            Events::V5(events) => {
                let quality = qos5(Quality::ExactlyOnce);
                let mut publish = packet5::Publish::new("", quality, Bytes::new(), None);
                for id in 1..=u16::MAX {
                    publish.pkid = id;
                    let packet = packet5::Packet::Publish(publish.clone());
                    if events.state.handle_incoming_packet(packet).is_ok() {
                        events.state.events.pop_back();
                    }
                }
            }
        }
    }
}

fn event4(event: rumqttc::Event) -> Event {
    use rumqttc::{Outgoing, Packet};
    match event {
        rumqttc::Event::Incoming(Packet::ConnAck(connack)) => {
            Event::Connected { is_resumed: connack.session_present }
        }
        rumqttc::Event::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            topic: publish.topic.into(),
            payload: publish.payload,
            quality: match publish.qos {
                rumqttc::QoS::AtMostOnce => Quality::AtMostOnce,
                rumqttc::QoS::AtLeastOnce => Quality::AtLeastOnce,
                rumqttc::QoS::ExactlyOnce => Quality::ExactlyOnce,
            },
            id: publish.pkid,
            retain: publish.retain,
        }),
        rumqttc::Event::Incoming(Packet::PubRel(release)) => Event::Released(release.pkid),
        rumqttc::Event::Incoming(Packet::PubAck(ack)) => {
            Event::Acknowledged { id: ack.pkid, outcome: Outcome::Taken }
        }
        rumqttc::Event::Incoming(Packet::SubAck(ack)) => Event::Subscribed(
            ack.return_codes
                .iter()
                .map(|code| {
                    let is_refused = *code == rumqttc::SubscribeReasonCode::Failure;
                    is_refused.then(|| "refused (MQTT 3.1.1 gives no reason)".to_owned())
                })
                .collect(),
        ),
        rumqttc::Event::Outgoing(Outgoing::Publish(id)) => Event::Sent(id),
        _ => Event::Other,
    }
}

fn event5(event: v5::Event) -> Event {
    use packet5::{Packet, PubAckReason};
    match event {
        v5::Event::Incoming(Packet::ConnAck(connack)) => {
            Event::Connected { is_resumed: connack.session_present }
        }
        v5::Event::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            topic: publish.topic,
            payload: publish.payload,
            quality: match publish.qos as u8 {
                0 => Quality::AtMostOnce,
                1 => Quality::AtLeastOnce,
                _ => Quality::ExactlyOnce,
            },
            id: publish.pkid,
            retain: publish.retain,
        }),
        v5::Event::Incoming(Packet::PubRel(release)) => Event::Released(release.pkid),
        v5::Event::Incoming(Packet::PubAck(ack)) => {
            let outcome = match ack.reason {
                PubAckReason::Success => Outcome::Taken,
                PubAckReason::NoMatchingSubscribers => Outcome::Unheard,
                reason => Outcome::Refused(words(&reason)),
            };
            Event::Acknowledged { id: ack.pkid, outcome }
        }
        v5::Event::Incoming(Packet::SubAck(ack)) => Event::Subscribed(
            ack.return_codes
                .iter()
                .map(|code| match code {
                    packet5::SubscribeReasonCode::Success(_) => None,
                    refused => Some(words(refused)),
                })
                .collect(),
        ),
        v5::Event::Outgoing(rumqttc::Outgoing::Publish(id)) => Event::Sent(id),
        _ => Event::Other,
    }
}

/// rumqttc's errors repeat their sources in their own words.
fn failed4(error: &rumqttc::ConnectionError) -> LinkError {
    match error {
        rumqttc::ConnectionError::ConnectionRefused(code) => LinkError::Refused(words(code)),
        rumqttc::ConnectionError::Io(why) => LinkError::Lost(why.to_string()),
        other => LinkError::Lost(other.to_string()),
    }
}

fn failed5(error: &v5::ConnectionError) -> LinkError {
    match error {
        v5::ConnectionError::ConnectionRefused(code) => LinkError::Refused(words(code)),
        v5::ConnectionError::Io(why) => LinkError::Lost(why.to_string()),
        v5::ConnectionError::MqttState(v5::StateError::ServerDisconnect {
            reason_code, ..
        }) => LinkError::Refused(words(reason_code)),
        other => LinkError::Lost(other.to_string()),
    }
}

/// A reason code's name as words: `NotAuthorized` is `not authorized`.
fn words(reason: &dyn std::fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{reason:?}").chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
    }
    text
}

fn qos4(quality: Quality) -> rumqttc::QoS {
    match quality {
        Quality::AtMostOnce => rumqttc::QoS::AtMostOnce,
        Quality::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
        Quality::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
    }
}

fn qos5(quality: Quality) -> v5::mqttbytes::QoS {
    match quality {
        Quality::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
        Quality::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
        Quality::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_code_is_words() {
        assert_eq!(words(&packet5::SubscribeReasonCode::NotAuthorized), "not authorized");
    }

    #[tokio::test]
    async fn a_resumed_session_may_release_what_an_earlier_connection_took() {
        for protocol in [Protocol::V4, Protocol::V5] {
            let server = Server::new(super::super::ServerKeys {
                section: "test",
                url: "mqtt://127.0.0.1:1",
                client_id: "a",
                username: None,
                password_file: None,
                ca: None,
                protocol,
                keep_alive: Duration::from_secs(30),
            });
            let wishes = Wishes {
                session_expiry: Duration::from_secs(1),
                receive_maximum: 10,
                in_flight: 10,
            };
            let (_, mut events) = open(&server.expect("a server"), &wishes).expect("options");
            events.expect_releases();
            assert!(events.buffered().is_none(), "nothing that an owner would take for a message");
            let released = match &mut events {
                Events::V4(events) => {
                    let release = rumqttc::Packet::PubRel(rumqttc::PubRel::new(65_535));
                    events.state.handle_incoming_packet(release).is_ok()
                }
                Events::V5(events) => {
                    let release = packet5::Packet::PubRel(packet5::PubRel::new(65_535, None));
                    events.state.handle_incoming_packet(release).is_ok()
                }
            };
            assert!(released, "{protocol:?}");
        }
    }
}
