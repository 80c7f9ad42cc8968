//! What a payload said, or why nobody can tell.

use crate::model::{Reading, Timestamp};

/// What a payload said. Reused between messages: [`Decoded::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The device's own time, if the profile names one and the payload had it.
    pub time: Option<Timestamp>,
    /// The points that the payload had.
    pub readings: Vec<Reading>,
}

impl Decoded {
    /// Forgets the last message.
    pub fn clear(&mut self) {
        self.time = None;
        self.readings.clear();
    }
}

/// Why a payload could not be decoded. An expected outcome: counted by [`DecodeError::reason`], kept for a look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload is no JSON.
    #[error("payload is not JSON: {0}")]
    NotJson(String),
    /// A point's place holds something that is no number, state or bool.
    #[error("{path} is {found}; expected a number{}", .states.as_deref().map(|s| format!(" or one of {s}")).unwrap_or_default())]
    WrongType {
        /// The JSON pointer.
        path: String,
        /// What stands there.
        found: String,
        /// The state names that would do.
        states: Option<String>,
    },
    /// The device's time is not in the profile's format.
    #[error("time at {path} is {found}; expected {expected}")]
    BadTime {
        /// The JSON pointer.
        path: String,
        /// What stands there.
        found: String,
        /// The profile's format.
        expected: &'static str,
    },
    /// None of the profile's points stands in the payload.
    #[error("none of the profile's points is in the payload")]
    NoPoint,
}

impl DecodeError {
    /// The reason's spelling in counters and in the API.
    pub fn reason(&self) -> &'static str {
        match self {
            DecodeError::NotJson(_) => "not_json",
            DecodeError::WrongType { .. } => "wrong_type",
            DecodeError::BadTime { .. } => "bad_time",
            DecodeError::NoPoint => "no_point",
        }
    }
}
