//! What the hub keeps: one value of one series at one time, with its quality.

use serde::{Deserialize, Serialize};

use super::{Quality, SeriesId, Timestamp};

/// One value of one series, in the unit of the profile's point: what normalizing makes and every later
/// room takes. 40 bytes, copied freely, held in batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which device and metric.
    pub series: SeriesId,
    /// How far the value can be trusted.
    pub quality: Quality,
    /// When the world had this value (SensorThings' phenomenonTime).
    pub observed_at: Timestamp,
    /// When the hub heard of it.
    pub received_at: Timestamp,
    /// The value in the point's UCUM unit, or a state's code. NaN only when the quality is Bad and the
    /// device gave no number at all.
    pub value: f64,
}

/// A stored measurement of a series that the reader already knows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When the world had this value.
    pub observed_at: Timestamp,
    /// When the hub heard of it. The time since `observed_at` is kept in whole seconds, rounded down, once the reading is
    /// sealed, and from the start when it is longer than 17 minutes.
    pub received_at: Timestamp,
    /// As in [`Measurement::value`].
    pub value: f64,
    /// How far the value can be trusted.
    pub quality: Quality,
}

impl From<Measurement> for Sample {
    fn from(m: Measurement) -> Self {
        Sample {
            observed_at: m.observed_at,
            received_at: m.received_at,
            value: m.value,
            quality: m.quality,
        }
    }
}

impl Sample {
    /// The measurement of this series that it is.
    pub fn of(self, series: SeriesId) -> Measurement {
        let Sample { observed_at, received_at, value, quality } = self;
        Measurement { series, quality, observed_at, received_at, value }
    }
}
