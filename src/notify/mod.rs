//! Notifications: who is told of alerts, cases and the hub's own troubles, once, and by what way.
//!
//! Takes the logs of the alert, the case and the trouble room, followed by its own durable cursors, and the time; hands on
//! messages to channels (webhook, DingTalk, WeCom, e-mail, MQTT). None of these rooms knows it. Never judges, never moves a
//! case itself: what a receiver answers is made by the case room, guarded like any person's move.
//!
//! # From an event to a message
//! An event chooses channels ([`route`]); there the alert *waits* in its bundle (its zone, its gateway, or its root). The
//! bundle waits a little for company, then becomes one message, and for some minutes after it none: [`group`]. What is over
//! before its bundle is told is not told. A critical alert of the same root holds milder ones back while it stands, a
//! gateway's silence that of its devices; held is not dropped: whoever is still there afterwards is told. Whatever is told
//! is the alert's state at that moment, not its history.
//!
//! The hub's own troubles are one bundle. Routes of zones never hear of them, and a channel that fails is told of by the
//! others, never by itself.
//!
//! # The budget
//! A channel takes so many messages a minute. Half are for single bundles; then what is due goes out as one merged message,
//! so far apart that the limit is never passed. A merged message counts everything and names the worst; every alert in it
//! stands in its list (`notify_mention`), so none is unmentioned. While a channel is down its bundles merge too: its outbox
//! holds a dozen messages, not thousands. Each attempt counts, retries and tests too, from its end: however long a message
//! was on its way, its service never sees one more than the limit in a minute, not after a restart either.
//!
//! # kill -9
//! What waits, what was told, the message and the cursors change in one transaction ([`post::Post::step`]), so an event
//! becomes a message exactly once. Sending is at least once: a message is marked before it goes out, and what a kill left
//! marked goes out again under the same id, by which its receiver knows it. It is tried with growing pauses for a day, then
//! it has failed, stays in the list, and can be tried again by hand. When SQLite refuses, the room reads its state from the
//! disk again: the disk is what is true.
//!
//! # Layout
//! `config` checked settings · `route` who hears · `group` when, how many together · `notice` what is told · `words` in
//! which words · `post` the one owner, with its steps: `post::follow` from the logs to what waits, `post::compose` from that
//! to messages, `post::deliver` from those to attempts and back, over `post::state` · `tables` the disk · `notifier` its
//! thread and the channels' tasks · `channel` one file per way.

pub(crate) mod channel;
pub(crate) mod config;
mod group;
mod notice;
mod notifier;
mod post;
mod route;
mod tables;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

use crate::alert::AlertError;
use crate::case::CaseError;
use crate::trouble::TroubleError;

pub use channel::{Answer, Channel, Failure, Payload, Publish, Unbuildable};
pub use config::{Kind, NotifyConfig, NotifyConfigError, Secret, Settings};
pub use notice::{AlertEntry, CaseEntry, Counts, Entry, Notice, TroubleEntry};
#[cfg(test)]
pub(crate) use notifier::silent;
pub use notifier::{
    Desk, MoveRequest, Moves, Notifier, NotifierThread, Parts, StartError, Surroundings, Tasks,
};
pub use post::{ChannelState, Counters, Job, Place, Places, Post};
pub use tables::{MAX_LISTED, Message, MessageQuery, State, find, list};

/// A message's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub u64);

/// What somebody can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// An alert is there, is there again, or is worse.
    #[serde(rename = "alert.raised")]
    Raised,
    /// Nobody has acknowledged it yet.
    #[serde(rename = "alert.reminder")]
    Reminder,
    /// Somebody has.
    #[serde(rename = "alert.acknowledged")]
    Acknowledged,
    /// The sensor says that all is well.
    #[serde(rename = "alert.returned")]
    Returned,
    /// A case was opened.
    #[serde(rename = "case.opened")]
    CaseOpened,
    /// A unit is sent.
    #[serde(rename = "case.dispatched")]
    CaseDispatched,
    /// Somebody took it on.
    #[serde(rename = "case.accepted")]
    CaseAccepted,
    /// It is back at the command centre: returned, recalled or rejected.
    #[serde(rename = "case.returned")]
    CaseReturned,
    /// Done, says the handler.
    #[serde(rename = "case.reported")]
    CaseReported,
    /// Done, says somebody else.
    #[serde(rename = "case.verified")]
    CaseVerified,
    /// A deadline has passed.
    #[serde(rename = "case.overdue")]
    CaseOverdue,
    /// It passed long ago: the next level must know.
    #[serde(rename = "case.escalated")]
    CaseEscalated,
    /// Over.
    #[serde(rename = "case.closed")]
    CaseClosed,
    /// Something is wrong with the hub itself, or worse than before.
    #[serde(rename = "system.raised")]
    SystemRaised,
    /// It is over.
    #[serde(rename = "system.returned")]
    SystemReturned,
    /// Somebody tries the channel.
    #[serde(rename = "test")]
    Test,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 16] = [
        EventKind::Raised,
        EventKind::Reminder,
        EventKind::Acknowledged,
        EventKind::Returned,
        EventKind::CaseOpened,
        EventKind::CaseDispatched,
        EventKind::CaseAccepted,
        EventKind::CaseReturned,
        EventKind::CaseReported,
        EventKind::CaseVerified,
        EventKind::CaseOverdue,
        EventKind::CaseEscalated,
        EventKind::CaseClosed,
        EventKind::SystemRaised,
        EventKind::SystemReturned,
        EventKind::Test,
    ];

    /// Its spelling in the configuration, the tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Raised => "alert.raised",
            EventKind::Reminder => "alert.reminder",
            EventKind::Acknowledged => "alert.acknowledged",
            EventKind::Returned => "alert.returned",
            EventKind::CaseOpened => "case.opened",
            EventKind::CaseDispatched => "case.dispatched",
            EventKind::CaseAccepted => "case.accepted",
            EventKind::CaseReturned => "case.returned",
            EventKind::CaseReported => "case.reported",
            EventKind::CaseVerified => "case.verified",
            EventKind::CaseOverdue => "case.overdue",
            EventKind::CaseEscalated => "case.escalated",
            EventKind::CaseClosed => "case.closed",
            EventKind::SystemRaised => "system.raised",
            EventKind::SystemReturned => "system.returned",
            EventKind::Test => "test",
        }
    }
}

/// Why the notify room cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// SQLite said no.
    #[error("the notification tables failed")]
    Database(#[from] rusqlite::Error),
    /// The alerts cannot be read.
    #[error("cannot read the alerts of a message")]
    Alert(#[from] AlertError),
    /// The cases cannot be read.
    #[error("cannot read the cases of a message")]
    Case(#[from] CaseError),
    /// The hub's troubles cannot be read.
    #[error("cannot read the troubles of a message")]
    Trouble(#[from] TroubleError),
    /// A row that no version of the hub writes.
    #[error("the notification tables are damaged: {0}")]
    Damaged(String),
    /// No channel of this name.
    #[error("there is no channel `{name}`; {}", known_channels(.known))]
    NoChannel {
        /// The name that was given.
        name: String,
        /// The channels that there are.
        known: Vec<String>,
    },
    /// No message of this number.
    #[error("there is no notification {}", .0.0)]
    NoMessage(MessageId),
    /// It was sent, or is being sent at this moment.
    #[error("notification {} is {state}; only one that is waiting or has failed is tried again", .id.0)]
    NotUnsent {
        /// Which.
        id: MessageId,
        /// What it is.
        state: &'static str,
    },
    /// The channel's outbox is full of tests already.
    #[error("channel `{0}` has messages waiting already: they are its test")]
    Busy(String),
    /// The hub is going down.
    #[error("the hub is shutting down; try again when it is back")]
    ShuttingDown,
}

fn known_channels(known: &[String]) -> String {
    if known.is_empty() {
        return "none is configured: write [notify.channels.NAME] into the configuration"
            .to_owned();
    }
    format!("the channels are {}", known.join(", "))
}
