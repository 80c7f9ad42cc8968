//! One device's MQTT session: 3.1.1 or 5 behind one face.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::{ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, Packet, QoS, v5};

use super::{Account, Broker, OFFLINE, QUEUE_MESSAGES};

/// How often a silent device says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Messages that a device sends before it waits for an acknowledgement.
const IN_FLIGHT: u16 = 8;

/// Something that came of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// It is connected.
    Connected,
    /// The broker has one message.
    Acknowledged,
    /// Nothing of interest.
    Other,
}

/// Why a session is not connected.
#[derive(Debug)]
pub(super) enum Lost {
    /// The broker knows the device and does not let it in.
    Refused(String),
    /// No connection, or no more.
    Broken(String),
}

/// The sending end of a session. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Client {
    V4(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

impl Client {
    /// Queues a message; `false` when the queue is full.
    pub(super) fn publish(&self, topic: &str, qos: QoS, retain: bool, payload: Vec<u8>) -> bool {
        match self {
            Client::V4(client) => client.try_publish(topic, qos, retain, payload).is_ok(),
            Client::V5(client) => {
                let qos = match qos {
                    QoS::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
                    QoS::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
                    QoS::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
                };
                client.try_publish(topic, qos, retain, payload).is_ok()
            }
        }
    }

    /// Queues the goodbye; `false` when the queue is full.
    pub(super) fn disconnect(&self) -> bool {
        match self {
            Client::V4(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

/// A session. What it had not delivered when a connection broke is sent on the next one, as a device with QoS 1 does.
pub(super) enum Session {
    V4 { events: Box<rumqttc::EventLoop>, kept: VecDeque<rumqttc::Request> },
    V5 { events: Box<v5::EventLoop>, kept: VecDeque<v5::Request> },
}

impl Session {
    pub(super) fn new(account: &Account, broker: &Broker) -> (Client, Session) {
        if account.version5 { version_5(account, broker) } else { version_4(account, broker) }
    }

    /// The next thing that happens. Connects when there is no connection.
    pub(super) async fn poll(&mut self) -> Result<Notice, Lost> {
        match self {
            Session::V4 { events, kept } => match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    events.pending.append(kept);
                    Ok(Notice::Connected)
                }
                Ok(Event::Incoming(Packet::PubAck(_))) => Ok(Notice::Acknowledged),
                Ok(_) => Ok(Notice::Other),
                Err(ConnectionError::ConnectionRefused(code)) => Err(refused(code)),
                Err(error) => {
                    self.keep();
                    Err(Lost::Broken(error.to_string()))
                }
            },
            Session::V5 { events, kept } => match events.poll().await {
                Ok(v5::Event::Incoming(v5::Incoming::ConnAck(_))) => {
                    events.pending.append(kept);
                    Ok(Notice::Connected)
                }
                Ok(v5::Event::Incoming(v5::Incoming::PubAck(_))) => Ok(Notice::Acknowledged),
                Ok(_) => Ok(Notice::Other),
                Err(v5::ConnectionError::ConnectionRefused(code)) => {
                    Err(Lost::Refused(format!("{code:?}")))
                }
                Err(error) => {
                    self.keep();
                    Err(Lost::Broken(error.to_string()))
                }
            },
        }
    }

    /// Cuts the connection without a word.
    pub(super) fn cut(&mut self) {
        match self {
            Session::V4 { events, .. } => events.clean(),
            Session::V5 { events, .. } => events.clean(),
        }
        self.keep();
    }

    /// Takes what was not acknowledged out of rumqttc's hands: it forgets it when the broker has no old session.
    fn keep(&mut self) {
        match self {
            Session::V4 { events, kept } => {
                for request in events.pending.drain(..) {
                    if let rumqttc::Request::Publish(mut publish) = request {
                        publish.pkid = 0;
                        kept.push_back(rumqttc::Request::Publish(publish));
                    }
                }
                let surplus = kept.len().saturating_sub(QUEUE_MESSAGES);
                kept.drain(..surplus);
            }
            Session::V5 { events, kept } => {
                for request in events.pending.drain(..) {
                    if let v5::Request::Publish(mut publish) = request {
                        publish.pkid = 0;
                        kept.push_back(v5::Request::Publish(publish));
                    }
                }
                let surplus = kept.len().saturating_sub(QUEUE_MESSAGES);
                kept.drain(..surplus);
            }
        }
    }
}

fn refused(code: ConnectReturnCode) -> Lost {
    Lost::Refused(format!("{code:?}"))
}

fn version_4(account: &Account, broker: &Broker) -> (Client, Session) {
    let mut options = MqttOptions::new(&account.id, &broker.host, broker.port);
    options
        .set_credentials(&account.id, &account.secret)
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(IN_FLIGHT)
        .set_pending_throttle(Duration::ZERO)
        .set_last_will(LastWill::new(&account.status_topic, OFFLINE, QoS::AtLeastOnce, true));
    let (client, events) = rumqttc::AsyncClient::new(options, QUEUE_MESSAGES);
    (Client::V4(client), Session::V4 { events: Box::new(events), kept: VecDeque::new() })
}

fn version_5(account: &Account, broker: &Broker) -> (Client, Session) {
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    let will = v5::mqttbytes::v5::LastWill::new(&account.status_topic, OFFLINE, qos, true, None);
    let mut options = v5::MqttOptions::new(&account.id, &broker.host, broker.port);
    options
        .set_credentials(&account.id, &account.secret)
        .set_keep_alive(KEEP_ALIVE)
        .set_outgoing_inflight_upper_limit(IN_FLIGHT)
        .set_pending_throttle(Duration::ZERO)
        .set_last_will(will);
    let (client, events) = v5::AsyncClient::new(options, QUEUE_MESSAGES);
    (Client::V5(client), Session::V5 { events: Box::new(events), kept: VecDeque::new() })
}
