//! Parking: how many bays are free, and how well a lot is used.
//!
//! Takes the town's lots and bays, what is true now, and what was; hands on a [`Board`] for whoever looks for a bay, which a
//! [`Keeper`] keeps at its own pace however many look at it, and [`Figures`] for whoever plans. All judgement is pure:
//! [`Counts`] of this moment, [`Timeline`]s of a period.
//!
//! What is not known stays so. A bay that is silent, doubtful or broken is neither free nor taken, and a lot with such a bay
//! tells a [`Span`] of counts.
//!
//! *Never here: HTTP, a person's position, a guess.*

mod board;
mod figures;
mod keeper;
mod lots;
#[cfg(test)]
mod tests;
mod timeline;

use serde::Serialize;

pub use board::{Board, LotNow, Trend};
pub use figures::{Figures, MAX_OVERSTAYS, NEIGHBOURS, Overstay, STUCK_AFTER, Share};
pub use keeper::{Around, Keeper, Parking};
pub use lots::{FiguresError, FiguresOf, Lot, MAX_BAY_DAYS, lots};
pub use timeline::{Stay, Timeline};

/// A lot is nearly full from this share of taken bays on, in per cent.
const NEARLY_FULL_FROM: u64 = 95;
/// It no longer is below this one.
const NEARLY_FULL_BELOW: u64 = 90;

/// A number of which only the bounds may be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// At least so many.
    pub least: u32,
    /// At most so many.
    pub most: u32,
}

/// The bays of a lot at one moment: `free`, `occupied`, `unknown` and `closed` together are the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All bays.
    pub capacity: u32,
    /// Bays that stand empty and may be used.
    pub free: Span,
    /// Bays with a car.
    pub occupied: Span,
    /// Bays of which nothing is known.
    pub unknown: u32,
    /// Bays that are closed.
    pub closed: u32,
}

/// What a driver should know of a lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupation {
    /// There are free bays.
    Open,
    /// There are few: 95 % of the bays are taken, or were and fewer than 90 % are not yet.
    NearlyFull,
    /// There is none.
    Full,
    /// Nobody may park.
    Closed,
    /// Nothing is known of any bay.
    Unknown,
}

impl Counts {
    /// Counts a lot. Each part is the number of bays that it speaks for and the cars in them, if that is known. Bays that
    /// the lot has beyond its parts are unknown ones.
    pub fn new(
        capacity: u32,
        closed: u32,
        parts: impl IntoIterator<Item = (u32, Option<u32>)>,
    ) -> Self {
        let (mut known, mut cars) = (0_u32, 0_u32);
        for (size, found) in parts {
            if let Some(found) = found {
                known = known.saturating_add(size);
                cars = cars.saturating_add(found.min(size));
            }
        }
        let in_use = capacity.saturating_sub(closed);
        let unknown = in_use.saturating_sub(known);
        let free = known.saturating_sub(cars);
        Counts {
            capacity,
            free: Span { least: free, most: free + unknown },
            occupied: Span { least: cars, most: cars + unknown },
            unknown,
            closed: closed.min(capacity),
        }
    }

    /// The bays that may be used.
    pub fn in_use(&self) -> u32 {
        self.capacity - self.closed
    }

    /// Whether the lot is nearly full, when it was (or was not) before. What is not known moves it neither way.
    pub fn is_nearly_full(&self, was: bool) -> bool {
        let bays = u64::from(self.in_use());
        let reaches = |cars: u32, percent: u64| u64::from(cars) * 100 >= bays * percent;
        if bays == 0 {
            return false;
        }
        if was {
            reaches(self.occupied.most, NEARLY_FULL_BELOW)
        } else {
            reaches(self.occupied.least, NEARLY_FULL_FROM)
        }
    }

    /// What a driver should know.
    pub fn occupation(&self, nearly_full: bool) -> Occupation {
        match self.in_use() {
            0 if self.capacity > 0 => Occupation::Closed,
            bays if bays == self.unknown => Occupation::Unknown,
            _ if self.free.most == 0 => Occupation::Full,
            _ if nearly_full => Occupation::NearlyFull,
            _ => Occupation::Open,
        }
    }
}
