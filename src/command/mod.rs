//! Commands: select, confirm, execute, read back. A device is moved only when it is safe, and believed only when it says
//! so itself.
//!
//! Takes what people ask for ([`Commands::select`], [`Commands::confirm`], [`Commands::cancel`], [`Commands::stop`]);
//! hands on orders to a [`Bus`] or, as messages on disk, to the MQTT door, and every step to the tables, the audit log and
//! the live feed. What a command may do stands in the profile; here is no gate, no metre and no register address.
//!
//! - `machine`: one command's life, pure. `check`: whether it may be sent, pure.
//! - `tables`: the disk; a step is there before anybody sees it, and EXECUTING before the first byte goes out.
//! - `room`: the one owner of the commands that have not ended. `execute`: one task for each that executes.
//!
//! Two hazards are designed out: an order that is sent twice (the machine gives it once, an unknown outcome and a restart
//! are read, not repeated), and a second person who is the first (the challenge is made for one user, device, target and
//! present value).
//!
//! Never here: HTTP, a payload's meaning, a reading's history.

mod check;
mod execute;
pub mod machine;
mod room;
mod tables;

use serde::{Deserialize, Serialize};

use crate::model::{AssetId, AssetNumber, Cause, DeviceId, Label, Timestamp};

pub use check::{Fact, Permission, Refusal, Situation};
pub use execute::{Bus, Reply, Work, run};
pub use room::{Around, Ask, Commands};
pub use tables::{Failure, MAX_LISTED, Message};

/// A command's number: kept for life, grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub u64);

/// A command's state as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Phase {
    Selected,
    Confirmed,
    Executing,
    Reached,
    Timeout,
    Fault,
    Cancelled,
}

/// A command as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its number.
    pub id: CommandId,
    /// Grows with every step.
    pub version: u32,
    /// Who is told.
    pub device: DeviceId,
    /// The asset that moves.
    pub asset: Option<AssetId>,
    /// Its number on the map.
    pub asset_number: Option<AssetNumber>,
    /// The command's name in the profile.
    pub command: String,
    /// What people read.
    pub label: Label,
    /// UCUM unit of the values.
    pub unit: String,
    /// Where to.
    pub target: Option<f64>,
    /// Where from, when it was selected.
    pub present: Option<f64>,
    /// What the point itself said last.
    pub value: Option<f64>,
    /// Where it stands.
    pub state: Phase,
    /// What an executing command waits for: writing, in_doubt, echo or moving.
    pub step: Option<String>,
    /// Why it ended as it did.
    pub cause: Option<Cause>,
    /// The same in words.
    pub text: Option<Label>,
    /// What the end rests on.
    pub facts: Vec<Fact>,
    /// One step, and ends what else executes.
    pub emergency: bool,
    /// Why another person has to confirm; `None` when the same may.
    pub second_person: Option<Label>,
    /// Who selected it.
    pub selected_by: String,
    /// When.
    pub selected_at: Timestamp,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// When.
    pub confirmed_at: Option<Timestamp>,
    /// When it was given to the device's link.
    pub sent_at: Option<Timestamp>,
    /// When the present step is over.
    pub deadline: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// A note for the others.
    pub note: Option<String>,
}

/// One step of a command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandEvent {
    /// select, confirm, execute, ... and the ends.
    pub what: String,
    /// When.
    pub at: Timestamp,
    /// Who; the hub itself is `(hub)`.
    pub actor: String,
    /// Why.
    pub cause: Option<String>,
}

/// Which commands to list.
#[derive(Debug, Clone, Default)]
pub struct CommandQuery {
    /// Only those that have not ended.
    pub open_only: bool,
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only of this asset.
    pub asset: Option<AssetId>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only those with a smaller number: the next page.
    pub before: Option<CommandId>,
    /// At most this many.
    pub limit: usize,
}

/// Why something cannot be done with a command.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CommandError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no command {}", .0.0)]
    NotFound(CommandId),
    #[error("there is no device `{0}`, or its profile is not in force")]
    UnknownDevice(DeviceId),
    #[error("`{found}` is no command of this device; it has {}", list(.known))]
    UnknownCommand { found: String, known: Vec<String> },
    #[error("the commands cannot be kept")]
    Tables(#[from] Failure),
    #[error("the hub is shutting down")]
    ShuttingDown,
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Phase {
    /// The state's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Selected => "selected",
            Phase::Confirmed => "confirmed",
            Phase::Executing => "executing",
            Phase::Reached => "reached",
            Phase::Timeout => "timeout",
            Phase::Fault => "fault",
            Phase::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens.
    pub fn is_end(self) -> bool {
        !matches!(self, Phase::Selected | Phase::Confirmed | Phase::Executing)
    }
}
