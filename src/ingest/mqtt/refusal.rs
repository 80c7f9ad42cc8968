//! Everything that the door says no to, with the protocol's code for it, counted and logged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::clock::Clock;
use crate::model::Timestamp;
use crate::registry::EnrolError;

/// Why a connection, a packet or a subscription is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No CONNECT came in time.
    #[error("no CONNECT within the time allowed")]
    ConnectTimeout,
    /// The first packet is no CONNECT.
    #[error("the first packet is no CONNECT")]
    NotConnect,
    /// A protocol version that the door does not speak.
    #[error("protocol level {0} is not spoken here; use 4 (MQTT 3.1.1) or 5 (MQTT 5)")]
    UnsupportedVersion(u8),
    /// Unknown name or wrong secret.
    #[error("unknown device or wrong secret")]
    BadCredentials,
    /// Known, but its profile is not in force.
    #[error("the device's profile is not in force; see GET /api/v1/profiles")]
    NoProfile,
    /// A topic or filter that is not the client's own.
    #[error("topic `{0}` is not this client's")]
    NotAuthorized(String),
    /// A topic that is none: empty, with a wildcard, not UTF-8.
    #[error("a topic that is none")]
    BadTopic,
    /// A packet that breaks the standard's form.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// A packet at the wrong moment.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A packet over the size limit.
    #[error("packet larger than the limit")]
    PacketTooLarge,
    /// A topic alias, though none was granted.
    #[error("topic alias used, though the maximum is 0")]
    TopicAlias,
    /// More unacknowledged messages than were granted.
    #[error("more unacknowledged messages than the receive maximum")]
    ReceiveMaximum,
    /// Nothing heard for one and a half times the keep-alive.
    #[error("nothing heard for one and a half times the keep-alive")]
    KeepAlive,
    /// The client does not read what it is sent.
    #[error("the client does not read what it is sent")]
    SlowReader,
    /// The same client connected again.
    #[error("the same client connected again")]
    TakenOver,
    /// The door is full.
    #[error("too many connections")]
    TooManyConnections,
    /// A device that wants to register itself may not.
    #[error("not enrolled: {0}")]
    Enrolment(EnrolError),
    /// Somebody at the hub ended the session.
    #[error("the session was ended by an administrator")]
    Administrative,
    /// The hub goes down.
    #[error("the hub is shutting down")]
    ShuttingDown,
    /// A message on another broker that names no device of the town.
    #[error("no device publishes to `{0}`; register it, or name the topic in its profile")]
    UnknownDevice(String),
    /// A message on another broker that may be of several devices.
    #[error("`{0}` may be of several devices that have one address; use their ids in the topic")]
    AmbiguousDevice(String),
    /// A filter that is none: a wildcard in the wrong place, a share without a name.
    #[error("a topic filter that is none")]
    BadFilter,
    /// A way to authenticate that is not spoken here.
    #[error("an authentication method, though only user name and password are spoken here")]
    AuthenticationMethod,
    /// A client identifier that cannot be used.
    #[error("a session is to be kept, but the client has no identifier to know it by")]
    ClientIdentifier,
    /// A kept session ends, because a new one needs its room.
    #[error(
        "too many sessions: of those without a connection, this one had none for the longest time"
    )]
    TooManySessions,
}

impl Refusal {
    /// The reason's spelling in counters and in the log.
    pub fn as_str(&self) -> &'static str {
        REASONS[self.index()]
    }

    /// The MQTT 5 reason code (section 2.4), in CONNACK or DISCONNECT.
    pub(super) fn v5_code(&self) -> u8 {
        match self {
            Refusal::Malformed(_) => 0x81,
            Refusal::Protocol(_) | Refusal::NotConnect | Refusal::ConnectTimeout => 0x82,
            Refusal::UnsupportedVersion(_) => 0x84,
            Refusal::BadCredentials => 0x86,
            Refusal::NotAuthorized(_) | Refusal::UnknownDevice(_) | Refusal::AmbiguousDevice(_) => {
                0x87
            }
            Refusal::NoProfile => 0x88,
            Refusal::TooManyConnections | Refusal::TooManySessions | Refusal::SlowReader => 0x97,
            Refusal::ClientIdentifier => 0x85,
            Refusal::AuthenticationMethod => 0x8C,
            Refusal::BadFilter => 0x8F,
            Refusal::ShuttingDown => 0x8B,
            Refusal::KeepAlive => 0x8D,
            Refusal::TakenOver => 0x8E,
            Refusal::BadTopic => 0x90,
            Refusal::ReceiveMaximum => 0x93,
            Refusal::TopicAlias => 0x94,
            Refusal::PacketTooLarge => 0x95,
            Refusal::Administrative => 0x98,
            Refusal::Enrolment(why) => match why {
                EnrolError::BadId(_) | EnrolError::ReservedId(_) => 0x85,
                EnrolError::NoOwnSecret
                | EnrolError::WeakSecret
                | EnrolError::IdTaken
                | EnrolError::UnknownKey => 0x86,
                EnrolError::Expired(_) | EnrolError::Revoked(_) | EnrolError::Rejected => 0x87,
                EnrolError::Unavailable => 0x88,
                EnrolError::LockedOut => 0x8A,
                EnrolError::UsedUp(_) | EnrolError::Full => 0x97,
            },
        }
    }

    /// The MQTT 3.1.1 return code for CONNACK (table 3.1).
    pub(super) fn v4_connack_code(&self) -> u8 {
        match self {
            Refusal::UnsupportedVersion(_) => 1,
            Refusal::ClientIdentifier => 2,
            Refusal::BadCredentials => 4,
            Refusal::Enrolment(why) => match why {
                EnrolError::BadId(_) | EnrolError::ReservedId(_) => 2,
                EnrolError::Unavailable => 3,
                EnrolError::NoOwnSecret
                | EnrolError::WeakSecret
                | EnrolError::IdTaken
                | EnrolError::UnknownKey => 4,
                _ => 5,
            },
            Refusal::NotAuthorized(_) => 5,
            _ => 3,
        }
    }

    fn index(&self) -> usize {
        match self {
            Refusal::ConnectTimeout => 0,
            Refusal::NotConnect => 1,
            Refusal::UnsupportedVersion(_) => 2,
            Refusal::BadCredentials => 3,
            Refusal::NoProfile => 4,
            Refusal::NotAuthorized(_) => 5,
            Refusal::BadTopic => 6,
            Refusal::Malformed(_) => 7,
            Refusal::Protocol(_) => 8,
            Refusal::PacketTooLarge => 9,
            Refusal::TopicAlias => 10,
            Refusal::ReceiveMaximum => 11,
            Refusal::KeepAlive => 12,
            Refusal::SlowReader => 13,
            Refusal::TakenOver => 14,
            Refusal::TooManyConnections => 15,
            Refusal::ShuttingDown => 16,
            Refusal::BadFilter => 17,
            Refusal::Enrolment(_) => 18,
            Refusal::Administrative => 19,
            Refusal::AuthenticationMethod => 20,
            Refusal::ClientIdentifier => 21,
            Refusal::TooManySessions => 22,
            Refusal::UnknownDevice(_) => 23,
            Refusal::AmbiguousDevice(_) => 24,
        }
    }
}

const REASONS: [&str; 25] = [
    "connect_timeout",
    "not_connect",
    "unsupported_version",
    "bad_credentials",
    "no_profile",
    "not_authorized",
    "bad_topic",
    "malformed",
    "protocol_error",
    "packet_too_large",
    "topic_alias",
    "receive_maximum",
    "keep_alive",
    "slow_reader",
    "taken_over",
    "too_many_connections",
    "shutting_down",
    "bad_filter",
    "enrolment",
    "administrative",
    "authentication_method",
    "client_identifier",
    "too_many_sessions",
    "unknown_device",
    "ambiguous_device",
];

/// The security log: every refusal is counted; the same refusal of the same client is logged once in a while only, so
/// that a hostile device cannot fill the disk.
#[derive(Debug)]
pub struct SecurityLog {
    counts: [AtomicU64; REASONS.len()],
    logged: Mutex<HashMap<(String, &'static str), Timestamp>>,
    clock: Clock,
}

/// How long the same refusal of the same client stays quiet.
const QUIET: Duration = Duration::from_secs(600);

/// Clients remembered; beyond it the memory starts anew, which costs a few repeated lines.
const REMEMBERED: usize = 4_096;

impl SecurityLog {
    /// An empty log.
    pub fn new(clock: Clock) -> Self {
        SecurityLog { counts: Default::default(), logged: Mutex::default(), clock }
    }

    /// Counts a refusal of `who` (a device, a service, or an address), and logs it if it is news.
    pub fn refused(&self, who: &str, refusal: &Refusal) {
        self.counts[refusal.index()].fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (who.to_owned(), refusal.as_str());
        if logged.get(&key).is_some_and(|&at| now.since(at) < QUIET) {
            return;
        }
        if logged.len() >= REMEMBERED {
            logged.clear();
        }
        logged.insert(key, now);
        drop(logged);
        warn!(target: "security", client = who, reason = refusal.as_str(), "refused: {refusal}");
    }

    /// The refusals so far, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.counts.iter().map(|n| n.load(Ordering::Relaxed)))
    }
}
