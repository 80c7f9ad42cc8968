//! What is wrong with the hub itself, now and since when: one list that every face shows and that people are told of.
//!
//! Takes findings ([`Look`]) from the hub, which asks the rooms, and the time; hands on [`Trouble`]s: what began, what got
//! worse, what ended. A link that flaps for some seconds is no trouble ([`Holds`]), and what is away again while it is
//! still counted as open is the same trouble. Open ones and a log of them are in the town's state file, so that a restart
//! neither forgets since when nor tells twice; what cannot be written, because the disk is the trouble, is shown from
//! memory and written as soon as the disk takes it.
//!
//! Never asks another room: those know nothing of it. A device that is silent is an alert, never a trouble: it says
//! something of the town, not of the hub.
//!
//! # Layout
//! `watch` the pure state machine · `words` what people read · `tables` the disk · `room` the one owner of all three ·
//! `config` how long a trouble must last.

mod config;
mod room;
#[cfg(test)]
mod sample;
mod tables;
mod watch;
mod words;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Label, Severity, Timestamp};

pub use config::TroubleConfig;
pub use room::{Room, Troubles};
pub use tables::{MAX_LISTED, TroubleQuery, find, list};
pub use watch::{Change, Holds, Watch, What};

/// A trouble's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TroubleId(pub u64);

/// What can be wrong with the hub.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = TroubleCode)]
pub enum Code {
    /// A part of the hub is not up; its subject is the part.
    Part,
    /// The data's disk is low (major) or full (critical): then no readings are taken.
    Disk,
    /// The last backup failed.
    Backup,
    /// The external broker does not serve the hub; its subject is the address.
    Broker,
    /// The upstream broker of the bridge does not; its subject is the address.
    Bridge,
    /// Messages of the bridge were given up for lack of room; its subject is the address.
    BridgeLosing,
    /// The remote store engine does not take readings; its subject is the engine.
    Engine,
    /// Its queue is over its bound: readings are given up to rollups.
    EngineOverfull,
    /// It refuses readings for good.
    EngineRefuses,
    /// A bounded queue between the rooms fills up; its subject is the queue.
    Queue,
    /// A Modbus bus is not connected; its subject is the endpoint.
    Bus,
    /// A profile file is refused; its subject is the file.
    Profile,
    /// A notification channel fails; its subject is the channel.
    Channel,
    /// Services miss messages because they read too slowly.
    Services,
    /// The clock leapt ahead and is not believed.
    Clock,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 15] = [
        Code::Part,
        Code::Disk,
        Code::Backup,
        Code::Broker,
        Code::Bridge,
        Code::BridgeLosing,
        Code::Engine,
        Code::EngineOverfull,
        Code::EngineRefuses,
        Code::Queue,
        Code::Bus,
        Code::Profile,
        Code::Channel,
        Code::Services,
        Code::Clock,
    ];

    /// Its spelling in the tables, the API and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Part => "part",
            Code::Disk => "disk",
            Code::Backup => "backup",
            Code::Broker => "broker",
            Code::Bridge => "bridge",
            Code::BridgeLosing => "bridge_losing",
            Code::Engine => "engine",
            Code::EngineOverfull => "engine_overfull",
            Code::EngineRefuses => "engine_refuses",
            Code::Queue => "queue",
            Code::Bus => "bus",
            Code::Profile => "profile",
            Code::Channel => "channel",
            Code::Services => "services",
            Code::Clock => "clock",
        }
    }

    fn parse(text: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// Numbers and causes behind a trouble; what does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The cause, in the words of whoever met it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Label>,
    /// What waits, or was given up, refused or missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The share that is free or taken, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u64>,
    /// Bytes that are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Below so many free bytes no readings are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_below_bytes: Option<u64>,
}

impl Facts {
    /// A cause only, in one language as programs say it.
    pub fn because(why: &str) -> Self {
        Facts { why: Some(Label::same(why)), ..Facts::default() }
    }

    /// A count only.
    pub fn count(count: u64) -> Self {
        Facts { count: Some(count), ..Facts::default() }
    }
}

/// Something that is wrong at this moment, as the hub found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// Of what: an address, a channel, a file; empty when there is one only.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when, if its room knows.
    pub since: Option<Timestamp>,
    /// Numbers and causes.
    pub facts: Facts,
}

impl Finding {
    /// Of which its room does not know since when.
    pub fn new(code: Code, subject: &str, severity: Severity, facts: Facts) -> Self {
        Finding { code, subject: subject.to_owned(), severity, since: None, facts }
    }
}

/// What a look at all rooms found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// What is wrong; a code and subject stand here once.
    pub bad: Vec<Finding>,
    /// Of what nobody can say yet whether it is well, after a start or while a room is busy: what stood goes on standing.
    /// Without a subject: whatever the subject.
    pub unknown: Vec<(Code, Option<String>)>,
}

/// Something that is, or was, wrong with the hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trouble {
    /// Its number.
    pub id: TroubleId,
    /// What is wrong.
    pub code: Code,
    /// Of what: an address, a channel, a file; empty when there is one only.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when it is so.
    pub since: Timestamp,
    /// When it had lasted long enough to be told.
    pub raised_at: Timestamp,
    /// Since when all is well again; null while it is not.
    pub ended_at: Option<Timestamp>,
    /// Numbers and causes.
    pub facts: Facts,
    /// What is wrong, in words.
    pub text: Label,
    /// What to do, and what the hub does by itself.
    pub remedy: Label,
}

/// What everybody may know of a trouble: that there is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mark {
    /// Its number.
    pub id: TroubleId,
    /// What is wrong.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Since when it is so.
    pub since: Timestamp,
    /// Since when all is well again.
    pub ended_at: Option<Timestamp>,
}

impl Trouble {
    /// As it is known to everybody, without addresses, files or causes.
    pub fn mark(&self) -> Mark {
        let Trouble { id, code, severity, since, ended_at, .. } = *self;
        Mark { id, code, severity, since, ended_at }
    }

    /// The same for somebody who may not know addresses, files and causes.
    pub fn veiled(&self) -> Trouble {
        let facts = Facts::default();
        let (text, remedy) = words::veiled();
        Trouble { subject: String::new(), facts, text, remedy, ..self.clone() }
    }

    /// Puts the words to the facts.
    fn said(mut self) -> Self {
        (self.text, self.remedy) = words::of(self.code, &self.subject, self.severity, &self.facts);
        self
    }
}

/// Why the room cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TroubleError {
    /// SQLite said no.
    #[error("the trouble tables failed")]
    Database(#[from] rusqlite::Error),
}
