//! How bad an alert is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The four severities, mildest first so that `max` is the worst. On the map they are numbered the other
/// way round, 1 for critical to 4 for info: see [`Severity::rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; blue.
    Info,
    /// Plan a visit; yellow.
    Minor,
    /// Act within the hour; orange.
    Major,
    /// Act now; red.
    Critical,
}

/// A text that names no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown severity `{found}`; severities are critical, major, minor, info")]
pub struct UnknownSeverity {
    /// The text that was given.
    pub found: String,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Severity; 4] =
        [Severity::Critical, Severity::Major, Severity::Minor, Severity::Info];

    /// The severity's spelling in files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Minor => "minor",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }

    /// The number in the map's symbols: 1 critical, 2 major, 3 minor, 4 info. 0 is left for "none".
    pub fn rank(self) -> u8 {
        4 - self as u8
    }

    /// The severity of this rank.
    pub fn from_rank(rank: u8) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.rank() == rank)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        Severity::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| UnknownSeverity { found: text.to_owned() })
    }
}
