//! Readings put together again from their fields, which engines keep as series of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Quality, Sample, Timestamp};

/// The fields of one series' readings by time, in microseconds. A time that comes twice is one.
#[derive(Debug, Default)]
pub(super) struct Columns {
    value: BTreeMap<i64, f64>,
    bad: BTreeMap<i64, f64>,
    quality: BTreeMap<i64, u8>,
    lag: BTreeMap<i64, i64>,
}

impl Columns {
    /// Takes one field's value; a field or a quality that is none of ours is somebody else's.
    pub(super) fn put(&mut self, field: &str, time: i64, number: f64) {
        use crate::store::names::{BAD, LAG, QUALITY, VALUE};
        match field {
            VALUE => drop(self.value.insert(time, number)),
            BAD => drop(self.bad.insert(time, number)),
            QUALITY => drop(self.quality.insert(time, number as u8)),
            LAG => drop(self.lag.insert(time, number as i64)),
            _ => {}
        }
    }

    /// The readings: every time that has a quality.
    pub(super) fn samples(self) -> impl Iterator<Item = Sample> {
        let Columns { value, bad, quality, lag } = self;
        quality.into_iter().filter_map(move |(time, byte)| {
            let observed_at = Timestamp::from_micros(time);
            let lag = lag.get(&time).copied().unwrap_or(0);
            let apart = Duration::from_secs(lag.unsigned_abs());
            let number = value.get(&time).or_else(|| bad.get(&time));
            Some(Sample {
                observed_at,
                received_at: if lag < 0 {
                    observed_at.minus(apart)
                } else {
                    observed_at.plus(apart)
                },
                value: number.copied().unwrap_or(f64::NAN),
                quality: Quality::from_byte(byte)?,
            })
        })
    }
}
