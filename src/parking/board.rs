//! What a visitor reads before he drives.

use serde::Serialize;

use super::{Counts, Occupation};
use crate::model::{AssetId, Label, Position, Timestamp};

/// Where the number of cars goes: the last half hour against the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// More cars than half an hour ago.
    Filling,
    /// About as many.
    Steady,
    /// Fewer.
    Emptying,
}

/// The least change of half an hour that is a trend, in cars and in per cent of the bays: the larger counts.
const LEAST_CHANGE: (i64, i64) = (2, 3);

/// A lot now.
#[derive(Debug, Clone, PartialEq)]
pub struct LotNow {
    /// Its id.
    pub id: AssetId,
    /// What it is called.
    pub name: Label,
    /// Where it is, WGS-84.
    pub position: Position,
    /// Its bays.
    pub counts: Counts,
    /// What a driver should know.
    pub occupation: Occupation,
    /// Where it goes; `None` when too little is known.
    pub trend: Option<Trend>,
    /// When its newest reading was taken; `None` when none was heard.
    pub observed_at: Option<Timestamp>,
}

/// All lots that are shown to the public, in the order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// When anything on it last changed.
    pub changed_at: Timestamp,
    /// The lots.
    pub lots: Vec<LotNow>,
    /// How many lots there are beyond those.
    pub left_out: usize,
}

impl Trend {
    /// The trend of parts (their bays, cars then, cars now) in a lot of `bays`; `None` when less than half of the bays are
    /// known both times.
    pub fn new(
        bays: u32,
        parts: impl IntoIterator<Item = (u32, Option<u32>, Option<u32>)>,
    ) -> Option<Self> {
        let (mut known, mut change) = (0_i64, 0_i64);
        for (size, then, now) in parts {
            if let (Some(then), Some(now)) = (then, now) {
                known += i64::from(size);
                change += i64::from(now.min(size)) - i64::from(then.min(size));
            }
        }
        let bays = i64::from(bays);
        if bays == 0 || known * 2 < bays {
            return None;
        }
        let (cars, percent) = LEAST_CHANGE;
        let is_change = change.abs() >= cars && change.abs() * 100 >= bays * percent;
        Some(match change {
            _ if !is_change => Trend::Steady,
            1.. => Trend::Filling,
            _ => Trend::Emptying,
        })
    }
}
