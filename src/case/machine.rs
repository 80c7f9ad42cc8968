//! One case's life: a pure state machine with guarded moves. It reads no clock, no table and no sensor; what the guards
//! need to know is handed in.
//!
//! ```text
//!            dispatch            accept            report            verify            close
//!   Opened ------------> Dispatched ----> Accepted -------> Reported -------> Verified ------> Closed
//!     ^  ^                 |  |             |                  |                 |                |
//!     |  +-----return------+  +--recall-----+                  |                 |                | reopen: a new case,
//!     |                                                        |                 |                v linked to this one
//!     +----------------------- reject -------------------------+-----------------+
//! ```
//! A case that nobody was sent to yet may be closed at once when its sensor says that all is well: the rain stopped.

//! The seven steps of town management (domain section 6): collecting and evaluating stand outside, in the alert room and
//! in the reports. Opening and closing belong to the supervision centre, dispatch to the command centre: two rights, and
//! nobody verifies what they handled themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::UnitId;
use crate::model::{Right, Timestamp};

/// Where a case stands, and what it knows there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// 案卷建立: registered, nobody is sent yet.
    Opened,
    /// 任务派遣: a unit has it.
    Dispatched {
        /// Which unit.
        unit: UnitId,
        /// Who of the unit, when it was said.
        person: Option<String>,
    },
    /// 任务处理: somebody is on it.
    Accepted {
        /// Whose unit.
        unit: UnitId,
        /// Who handles it.
        handler: String,
    },
    /// 处理反馈: handled, says the handler.
    Reported {
        /// Whose unit.
        unit: UnitId,
        /// Who handled it.
        handler: String,
    },
    /// 核查: seen to be right by somebody else.
    Verified {
        /// Who handled it.
        handler: String,
        /// Who looked.
        verifier: String,
    },
    /// 结案: over.
    Closed {
        /// What says that all is well.
        proof: Proof,
    },
}

/// What a case is closed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Proof {
    /// Every alert of the case is over: its sensor is fresh, Good and beyond its clear value for the hold time.
    Sensor,
    /// A person looked at the site and says why that must do.
    SiteCheck {
        /// Who.
        person: String,
        /// Why.
        reason: String,
    },
}

/// What somebody wants to do with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Send a unit, perhaps a person of it.
    Dispatch {
        /// Which unit.
        unit: UnitId,
        /// Who of it.
        person: Option<String>,
    },
    /// Take it on.
    Accept,
    /// Give it back to the command centre: not ours, not possible now.
    Return {
        /// Why.
        reason: String,
    },
    /// Take a dispatched or accepted case back, to send somebody else.
    Recall {
        /// Why.
        reason: String,
    },
    /// Something to add while it is handled: a note, photos, readings. Moves nothing.
    Handle,
    /// It is done.
    Report,
    /// It is seen to be done.
    Verify,
    /// It is not done: back to the command centre.
    Reject {
        /// Why.
        reason: String,
    },
    /// It is over.
    Close {
        /// The reason of a site check, when no sensor can say so.
        site_check: Option<String>,
    },
}

/// The kinds of moves, as the API spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the moves' own documentation says it")]
pub enum MoveKind {
    Dispatch,
    Accept,
    Return,
    Recall,
    Handle,
    Report,
    Verify,
    Reject,
    Close,
}

/// A text that names no move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown move `{found}`; moves are {}", MoveKind::ALL.map(MoveKind::as_str).join(", "))]
pub struct UnknownMove {
    /// The text that was given.
    pub found: String,
}

/// What the guards must know besides the case itself.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who moves.
    pub actor: &'a str,
    /// Whether the actor has this right, in the case's zone.
    pub may: &'a dyn Fn(Right) -> bool,
    /// The units that the actor belongs to.
    pub units: &'a [UnitId],
    /// What the sensors of the case's alerts still lack; empty when all of them agree.
    pub lacking: &'a [Lacking],
}

/// What a sensor still lacks before it says that all is well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lacking {
    /// The alert.
    pub alert: crate::alert::AlertId,
    /// What is missing.
    #[serde(flatten)]
    pub what: Missing,
}

/// What is missing of a sensor's agreement.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "missing", rename_all = "snake_case")]
pub enum Missing {
    /// The condition is still active.
    Clear {
        /// The newest value.
        value: Option<f64>,
        /// The value that it must be within.
        clear: Option<f64>,
        /// UCUM.
        unit: String,
    },
    /// It is within its clear value, but not yet for the hold time.
    Hold {
        /// Until when it must stay there.
        until: Timestamp,
    },
    /// The newest reading is too old to say anything.
    Fresh {
        /// When it was observed; `None` when there is none.
        observed_at: Option<Timestamp>,
    },
    /// The newest reading is not Good.
    Good,
}

/// Why a move is refused: nothing has changed then.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The case does not stand where this move begins.
    #[error("a case that is {stage} cannot be moved by `{wanted}`; possible are: {}", spell(.allowed))]
    Illegal {
        /// The wanted move.
        wanted: MoveKind,
        /// Where the case stands.
        stage: &'static str,
        /// What the actor may do now.
        allowed: Vec<MoveKind>,
    },
    /// The actor has not the right.
    #[error("`{wanted}` needs the right `{needs}`")]
    Right {
        /// What the actor wanted to do.
        wanted: &'static str,
        /// The right.
        needs: Right,
    },
    /// The actor does not belong to the unit that has the case.
    #[error("the case is with unit {unit}{}; only its people move it", .person.as_ref().map(|p| format!(" ({p})")).unwrap_or_default())]
    OtherUnit {
        /// The unit.
        unit: UnitId,
        /// The person, when one was named.
        person: Option<String>,
    },
    /// The one who handled does not verify.
    #[error("{handler} handled this case: somebody else verifies it")]
    OwnWork {
        /// Who.
        handler: String,
    },
    /// The sensors do not say that all is well.
    #[error(
        "the sensor does not say that all is well yet; wait for it, or close with a site check and its reason"
    )]
    Sensor {
        /// What each lacks.
        lacking: Vec<Lacking>,
        /// What the actor may do now.
        allowed: Vec<MoveKind>,
    },
    /// A reason that must be said is empty.
    #[error("`{wanted}` needs a reason")]
    NoReason {
        /// The wanted move.
        wanted: MoveKind,
    },
}

fn spell(moves: &[MoveKind]) -> String {
    if moves.is_empty() {
        return "none for you".to_owned();
    }
    moves.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

impl Stage {
    /// Its spelling in the API and the tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Stage::Opened => "opened",
            Stage::Dispatched { .. } => "dispatched",
            Stage::Accepted { .. } => "accepted",
            Stage::Reported { .. } => "reported",
            Stage::Verified { .. } => "verified",
            Stage::Closed { .. } => "closed",
        }
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self, Stage::Closed { .. })
    }

    /// The stage after a move, or why not.
    ///
    /// # Errors
    /// [`Refusal`]; the stage is as before.
    pub fn after(&self, wanted: &Move, facts: &Facts<'_>) -> Result<Stage, Refusal> {
        let kind = wanted.kind();
        let needs = kind.needs(wanted);
        if !(facts.may)(needs) {
            return Err(Refusal::Right { wanted: kind.as_str(), needs });
        }
        if wanted.reason().is_some_and(|reason| reason.trim().is_empty()) {
            return Err(Refusal::NoReason { wanted: kind });
        }
        let handler = || facts.actor.to_owned();
        Ok(match (self, wanted) {
            (Stage::Opened, Move::Dispatch { unit, person }) => {
                Stage::Dispatched { unit: unit.clone(), person: person.clone() }
            }
            (Stage::Dispatched { unit, person }, Move::Accept) => {
                self.check_unit(unit, person.as_deref(), facts)?;
                Stage::Accepted { unit: unit.clone(), handler: handler() }
            }
            (Stage::Dispatched { unit, person }, Move::Return { .. }) => {
                self.check_unit(unit, person.as_deref(), facts)?;
                Stage::Opened
            }
            (Stage::Accepted { unit, .. }, Move::Return { .. }) => {
                self.check_unit(unit, None, facts)?;
                Stage::Opened
            }
            (Stage::Dispatched { .. } | Stage::Accepted { .. }, Move::Recall { .. }) => {
                Stage::Opened
            }
            (Stage::Accepted { unit, .. }, Move::Handle) => {
                self.check_unit(unit, None, facts)?;
                self.clone()
            }
            (Stage::Accepted { unit, .. }, Move::Report) => {
                self.check_unit(unit, None, facts)?;
                Stage::Reported { unit: unit.clone(), handler: handler() }
            }
            (Stage::Reported { handler, .. }, Move::Verify) if handler == facts.actor => {
                return Err(Refusal::OwnWork { handler: handler.clone() });
            }
            (Stage::Reported { handler, .. }, Move::Verify) => {
                Stage::Verified { handler: handler.clone(), verifier: facts.actor.to_owned() }
            }
            (Stage::Reported { .. } | Stage::Verified { .. }, Move::Reject { .. }) => Stage::Opened,
            (Stage::Closed { .. }, Move::Close { .. }) => {
                return Err(self.illegal(kind, facts));
            }
            (_, Move::Close { site_check: Some(reason) }) => {
                let (person, reason) = (facts.actor.to_owned(), reason.trim().to_owned());
                Stage::Closed { proof: Proof::SiteCheck { person, reason } }
            }
            (Stage::Opened | Stage::Verified { .. }, Move::Close { site_check: None }) => {
                if !facts.lacking.is_empty() {
                    let (lacking, allowed) = (facts.lacking.to_vec(), self.allowed(facts));
                    return Err(Refusal::Sensor { lacking, allowed });
                }
                Stage::Closed { proof: Proof::Sensor }
            }
            _ => return Err(self.illegal(kind, facts)),
        })
    }

    /// What the actor may do now, as far as rights and the stage say it; a close may still wait for the sensor.
    pub fn allowed(&self, facts: &Facts<'_>) -> Vec<MoveKind> {
        MoveKind::ALL.into_iter().filter(|kind| self.begins(*kind, facts)).collect()
    }

    fn begins(&self, kind: MoveKind, facts: &Facts<'_>) -> bool {
        let may = |right| (facts.may)(right);
        let is_ours =
            |unit: &UnitId, person: Option<&str>| self.check_unit(unit, person, facts).is_ok();
        match (self, kind) {
            (Stage::Opened, MoveKind::Dispatch) => may(Right::Dispatch),
            (Stage::Dispatched { unit, person }, MoveKind::Accept | MoveKind::Return) => {
                may(Right::Handle) && is_ours(unit, person.as_deref())
            }
            (
                Stage::Accepted { unit, .. },
                MoveKind::Return | MoveKind::Handle | MoveKind::Report,
            ) => may(Right::Handle) && is_ours(unit, None),
            (Stage::Dispatched { .. } | Stage::Accepted { .. }, MoveKind::Recall) => {
                may(Right::Dispatch)
            }
            (Stage::Reported { handler, .. }, MoveKind::Verify) => {
                may(Right::Verify) && handler != facts.actor
            }
            (Stage::Reported { .. } | Stage::Verified { .. }, MoveKind::Reject) => {
                may(Right::Verify)
            }
            (Stage::Opened | Stage::Verified { .. }, MoveKind::Close) => may(Right::Verify),
            _ => false,
        }
    }

    fn check_unit(
        &self,
        unit: &UnitId,
        person: Option<&str>,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        let is_theirs =
            facts.units.contains(unit) && person.is_none_or(|person| person == facts.actor);
        if is_theirs {
            return Ok(());
        }
        Err(Refusal::OtherUnit { unit: unit.clone(), person: person.map(str::to_owned) })
    }

    fn illegal(&self, wanted: MoveKind, facts: &Facts<'_>) -> Refusal {
        Refusal::Illegal { wanted, stage: self.as_str(), allowed: self.allowed(facts) }
    }
}

impl Move {
    /// Which kind of move it is.
    pub fn kind(&self) -> MoveKind {
        match self {
            Move::Dispatch { .. } => MoveKind::Dispatch,
            Move::Accept => MoveKind::Accept,
            Move::Return { .. } => MoveKind::Return,
            Move::Recall { .. } => MoveKind::Recall,
            Move::Handle => MoveKind::Handle,
            Move::Report => MoveKind::Report,
            Move::Verify => MoveKind::Verify,
            Move::Reject { .. } => MoveKind::Reject,
            Move::Close { .. } => MoveKind::Close,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Move::Return { reason } | Move::Recall { reason } | Move::Reject { reason } => {
                Some(reason)
            }
            Move::Close { site_check } => site_check.as_deref(),
            _ => None,
        }
    }
}

impl MoveKind {
    /// Every move, in the order of a case's life.
    pub const ALL: [MoveKind; 9] = [
        MoveKind::Dispatch,
        MoveKind::Accept,
        MoveKind::Return,
        MoveKind::Recall,
        MoveKind::Handle,
        MoveKind::Report,
        MoveKind::Verify,
        MoveKind::Reject,
        MoveKind::Close,
    ];

    /// Its spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            MoveKind::Dispatch => "dispatch",
            MoveKind::Accept => "accept",
            MoveKind::Return => "return",
            MoveKind::Recall => "recall",
            MoveKind::Handle => "handle",
            MoveKind::Report => "report",
            MoveKind::Verify => "verify",
            MoveKind::Reject => "reject",
            MoveKind::Close => "close",
        }
    }

    /// The right that a move needs. A site check is a supervisor's word against the sensor's silence.
    fn needs(self, wanted: &Move) -> Right {
        match self {
            MoveKind::Dispatch | MoveKind::Recall => Right::Dispatch,
            MoveKind::Accept | MoveKind::Return | MoveKind::Handle | MoveKind::Report => {
                Right::Handle
            }
            MoveKind::Verify | MoveKind::Reject => Right::Verify,
            MoveKind::Close if matches!(wanted, Move::Close { site_check: Some(_) }) => {
                Right::Supervise
            }
            MoveKind::Close => Right::Verify,
        }
    }
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl fmt::Display for MoveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MoveKind {
    type Err = UnknownMove;

    fn from_str(text: &str) -> Result<Self, UnknownMove> {
        let found = MoveKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownMove { found: text.to_owned() })
    }
}
