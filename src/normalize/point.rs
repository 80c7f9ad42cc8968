//! One point's value: its scale, its plausibility, and what its past says about it.

use crate::model::{Grade, Quality, Reading, Reason, Timestamp};
use crate::profile::Point;

/// The past of one point that its next reading is judged by.
#[derive(Debug, Clone, Default)]
pub(super) struct PointTrack {
    newest: Option<Timestamp>,
    /// The newest Good value and its time: what a rate of change is measured from. A spike then marks itself, not
    /// the value that follows it.
    good: Option<(Timestamp, f64)>,
    /// Since when the exact same value has come.
    unchanged: Option<(Timestamp, f64)>,
}

/// The value in the point's unit. Dividing by 1000 instead of multiplying by 0.001 gives the decimal that the device
/// meant, bit for bit, which the store then keeps in a few bits.
pub(super) fn convert(raw: f64, point: &Point) -> f64 {
    let scaled = if point.scale == 1.0 {
        raw
    } else {
        let divisor = (1.0 / point.scale).round();
        if divisor.abs() > 1.0 && 1.0 / divisor == point.scale {
            raw / divisor
        } else {
            raw * point.scale
        }
    };
    scaled + point.offset
}

/// What the value alone says: `None` when there is nothing against it.
pub(super) fn judge(reading: &Reading, value: f64, point: &Point) -> Option<Quality> {
    if reading.comm_fault {
        return Some(Quality::bad(Reason::Comm));
    }
    if !reading.raw.is_finite() || point.sentinels.contains(&reading.raw) {
        return Some(Quality::bad(Reason::Sentinel));
    }
    judge_value(value, point)
}

/// What a number says that is there: `None` when there is nothing against it.
pub(super) fn judge_value(value: f64, point: &Point) -> Option<Quality> {
    if let Some(states) = &point.states
        && !states.iter().any(|state| state.code == value)
    {
        return Some(Quality::bad(Reason::State));
    }
    if let Some((low, high)) = point.range
        && !(low..=high).contains(&value)
    {
        return Some(Quality::bad(Reason::Range));
    }
    None
}

impl PointTrack {
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// What the point's past says against a plausible value: `None` when nothing. A late value is history and is not
    /// held against the present.
    pub(super) fn doubt(
        &self,
        value: f64,
        observed_at: Timestamp,
        is_late: bool,
        point: &Point,
    ) -> Option<Quality> {
        if is_late {
            return None;
        }
        if let (Some(max_rate), Some((at, good))) = (point.max_rate, self.good) {
            let seconds = observed_at.since(at).as_secs_f64();
            if (value - good).abs() > max_rate * seconds {
                return Some(Quality::uncertain(Reason::Rate));
            }
        }
        if let (Some(flatline), Some((since, same))) = (point.flatline, self.unchanged)
            && same == value
            && observed_at.since(since) > flatline
        {
            return Some(Quality::uncertain(Reason::Frozen));
        }
        None
    }

    /// A rule says that the value of this time is not to be trusted: no change is measured from it.
    pub(super) fn distrust(&mut self, observed_at: Timestamp) {
        self.good = self.good.filter(|(at, _)| *at != observed_at);
    }

    pub(super) fn remember(&mut self, observed_at: Timestamp, value: f64, quality: Quality) {
        if self.newest.is_some_and(|newest| observed_at <= newest) {
            return;
        }
        self.newest = Some(observed_at);
        if quality.grade == Grade::Good {
            self.good = Some((observed_at, value));
        }
        if self.unchanged.is_none_or(|(_, same)| same != value) {
            self.unchanged = Some((observed_at, value));
        }
    }
}
