//! How far a value can be trusted, and why not further.

use std::fmt;

use serde::{Deserialize, Serialize};

/// OPC UA's three grades. Only Good readings raise an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// The value is what the sensor measured.
    Good = 0,
    /// The value may be off; shown, never a reason to raise an alert.
    Uncertain = 1,
    /// The value is not to be used.
    Bad = 2,
}

/// Why a value is not plainly Good. A closed list: it is stored as a number, so only append to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Outside the point's plausible range.
    Range = 1,
    /// Changed faster than the point can.
    Rate = 2,
    /// Has not changed for longer than the point can stay flat.
    Frozen = 3,
    /// One of the values by which the device says "no value", or no number at all.
    Sentinel = 4,
    /// The device's time is in the future or decades off; the hub's own time stands in for it.
    Clock = 5,
    /// Older than the profile's staleness allows.
    Stale = 6,
    /// Arrived out of order or long after it was observed: history, not the present.
    Late = 7,
    /// The same reading was already there.
    Duplicate = 8,
    /// The bus or the device reported a fault for this point.
    Comm = 9,
    /// A number that is none of the point's states.
    State = 10,
    /// A derived value that cannot be computed: a division by zero, the root of a negative number.
    Computed = 11,
    /// A quality rule of the profile holds and says that the point is not to be trusted.
    Rule = 12,
}

/// A grade with its reason, if there is one. A late reading is Good for history and carries
/// [`Reason::Late`], which keeps it from the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quality {
    /// Good, Uncertain or Bad.
    pub grade: Grade,
    /// Why; never absent on Uncertain or Bad.
    pub reason: Option<Reason>,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Reason; 12] = [
        Reason::Range,
        Reason::Rate,
        Reason::Frozen,
        Reason::Sentinel,
        Reason::Clock,
        Reason::Stale,
        Reason::Late,
        Reason::Duplicate,
        Reason::Comm,
        Reason::State,
        Reason::Computed,
        Reason::Rule,
    ];

    /// The reason's spelling in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Range => "range",
            Reason::Rate => "rate",
            Reason::Frozen => "frozen",
            Reason::Sentinel => "sentinel",
            Reason::Clock => "clock",
            Reason::Stale => "stale",
            Reason::Late => "late",
            Reason::Duplicate => "duplicate",
            Reason::Comm => "comm",
            Reason::State => "state",
            Reason::Computed => "computed",
            Reason::Rule => "rule",
        }
    }
}

impl Quality {
    /// Good, with nothing to say.
    pub const GOOD: Quality = Quality { grade: Grade::Good, reason: None };

    /// Good for history, but not news: never raises or clears an alert.
    pub const LATE: Quality = Quality { grade: Grade::Good, reason: Some(Reason::Late) };

    /// Bad for this reason.
    pub const fn bad(reason: Reason) -> Self {
        Quality { grade: Grade::Bad, reason: Some(reason) }
    }

    /// Uncertain for this reason.
    pub const fn uncertain(reason: Reason) -> Self {
        Quality { grade: Grade::Uncertain, reason: Some(reason) }
    }

    /// The worse of two, for a value that both went into: the lower grade with its reason; of equal grades the first
    /// that has a reason.
    #[inline]
    pub fn worst(self, other: Quality) -> Self {
        let is_worse = other.grade > self.grade
            || (other.grade == self.grade && self.reason.is_none() && other.reason.is_some());
        if is_worse { other } else { self }
    }

    /// Whether the reading may raise or clear an alert: Good, and about the present.
    pub fn is_news(self) -> bool {
        self == Quality::GOOD
    }

    /// One byte for the store: the grade in the two low bits, the reason's number above.
    pub fn to_byte(self) -> u8 {
        self.grade as u8 | self.reason.map_or(0, |reason| (reason as u8) << 2)
    }

    /// The quality of a stored byte; `None` for a byte that this version never writes.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let grade = match byte & 0b11 {
            0 => Grade::Good,
            1 => Grade::Uncertain,
            2 => Grade::Bad,
            _ => return None,
        };
        let reason = match byte >> 2 {
            0 => None,
            n => Some(*Reason::ALL.get(usize::from(n) - 1)?),
        };
        Some(Quality { grade, reason })
    }
}

impl Grade {
    /// Its spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Good => "good",
            Grade::Uncertain => "uncertain",
            Grade::Bad => "bad",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_keeps_its_reason() {
        let (doubt, bad) = (Quality::uncertain(Reason::Stale), Quality::bad(Reason::Range));
        for (one, other, worst) in [
            (Quality::GOOD, Quality::GOOD, Quality::GOOD),
            (Quality::GOOD, Quality::LATE, Quality::LATE),
            (Quality::LATE, doubt, doubt),
            (doubt, bad, bad),
        ] {
            assert_eq!((one.worst(other), other.worst(one)), (worst, worst));
        }
        assert_eq!(doubt.worst(Quality::uncertain(Reason::Rate)), doubt, "the first one stays");
    }

    #[test]
    fn a_quality_survives_its_byte() {
        let reasons = Reason::ALL.map(Some).into_iter().chain([None]);
        for reason in reasons {
            for grade in [Grade::Good, Grade::Uncertain, Grade::Bad] {
                let quality = Quality { grade, reason };
                assert_eq!(Quality::from_byte(quality.to_byte()), Some(quality));
            }
        }
        assert_eq!(Quality::from_byte(0b11), None);
        assert_eq!(Quality::from_byte(13 << 2), None);
    }
}
