//! Counting readings that come from somewhere else.

use super::rollup::{Holding, Windows};
use crate::model::{Measurement, Timestamp};
use crate::store::{Bucket, Nature};

/// Steps of `step` microseconds from `from` to `to`, as [`Store::aggregate`](crate::store::Store::aggregate) would count
/// them, of readings by time that begin [`Nature::hold`] before `from`.
pub(in crate::store) fn count_steps(
    readings: impl IntoIterator<Item = Measurement>,
    nature: Nature,
    (from, to): (Timestamp, Timestamp),
    step: i64,
) -> Vec<Bucket> {
    let (from, to) = (from.as_micros(), to.as_micros());
    let mut windows = [Windows::new(from, step)];
    let mut holding = Holding::new(from, to, nature);
    for m in readings {
        holding.push(&m, &mut windows);
    }
    holding.end(&mut windows);
    let [windows] = windows;
    let shown = windows.finish().filter(|(_, tally)| tally.stored > 0);
    shown.map(|(start, tally)| tally.bucket(Timestamp::from_micros(start), &nature)).collect()
}
