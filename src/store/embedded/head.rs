//! The memory of what is not sealed yet.
//!
//! A generation is a log of readings in arrival order, each linked to the one before it of its series. Appending is
//! sequential and costs a few nanoseconds whatever the number of series; nothing is ever moved or grown by copying, so
//! the memory is what the readings take: 26 bytes each, and 4 for each series.

use crate::model::{Measurement, Quality, SeriesId, Timestamp};
use crate::store::CommitSeq;

/// Readings per piece of the log: about 0.8 MB each.
const SEGMENT: usize = 1 << 15;

/// No reading before this one.
const NONE: u32 = u32::MAX;

/// Lags shorter than this many microseconds (18 minutes) are kept exactly, longer ones in whole seconds.
const EXACT_LAG: i64 = 1 << 30;

const MICROS_PER_SEC: i64 = 1_000_000;

/// The readings of consecutive commits.
#[derive(Debug)]
pub(super) struct Generation {
    commits: Option<(CommitSeq, CommitSeq)>,
    received: Option<(Timestamp, Timestamp)>,
    /// By series: the newest arrival's place in the log.
    last: Vec<u32>,
    log: Vec<Segment>,
    len: usize,
}

#[derive(Debug)]
struct Segment {
    observed: Vec<i64>,
    value: Vec<f64>,
    lag: Vec<i32>,
    previous: Vec<u32>,
    quality: Vec<Quality>,
}

impl Segment {
    fn new() -> Self {
        Segment {
            observed: Vec::with_capacity(SEGMENT),
            value: Vec::with_capacity(SEGMENT),
            lag: Vec::with_capacity(SEGMENT),
            previous: Vec::with_capacity(SEGMENT),
            quality: Vec::with_capacity(SEGMENT),
        }
    }
}

impl Generation {
    /// A generation without readings.
    pub(super) fn new() -> Self {
        Generation { commits: None, received: None, last: Vec::new(), log: Vec::new(), len: 0 }
    }

    /// How many readings it holds, repeated ones too.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first and the last commit in it.
    pub(super) fn commits(&self) -> Option<(CommitSeq, CommitSeq)> {
        self.commits
    }

    /// Its series numbers lie below this.
    pub(super) fn series_end(&self) -> u32 {
        self.last.len() as u32
    }

    /// The time between the earliest and the latest arrival. Clocks are for others: a store that hears nothing has
    /// nothing to do either.
    pub(super) fn age(&self) -> std::time::Duration {
        self.received.map_or(std::time::Duration::ZERO, |(first, last)| last.since(first))
    }

    /// When the last reading came; long ago when there is none.
    pub(super) fn heard(&self) -> Timestamp {
        self.received.map_or(Timestamp::from_micros(i64::MIN), |(_, last)| last)
    }

    /// The first and the last time that a reading was observed.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.log.iter().flat_map(|segment| segment.observed.iter().copied());
        let (first, last) = (times().min()?, times().max()?);
        Some((Timestamp::from_micros(first), Timestamp::from_micros(last)))
    }

    /// Takes a commit's readings. Commits come in order.
    pub(super) fn push(&mut self, seq: CommitSeq, batch: &[Measurement]) {
        let first = self.commits.map_or(seq, |(first, _)| first);
        self.commits = Some((first, seq));
        for m in batch {
            self.push_one(m);
        }
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
        let (earliest, latest) = self.received.unwrap_or((first.received_at, last.received_at));
        self.received = Some((earliest.min(first.received_at), latest.max(last.received_at)));
    }

    fn push_one(&mut self, m: &Measurement) {
        if m.series.index() >= self.last.len() {
            self.last.resize(m.series.index() + 1, NONE);
        }
        if self.len.is_multiple_of(SEGMENT) {
            self.log.push(Segment::new());
        }
        let Some(segment) = self.log.last_mut() else { return };
        let last = &mut self.last[m.series.index()];
        segment.previous.push(std::mem::replace(last, self.len as u32));
        segment.observed.push(m.observed_at.as_micros());
        segment.value.push(m.value);
        segment.lag.push(pack_lag(m.observed_at, m.received_at));
        segment.quality.push(m.quality);
        self.len += 1;
    }

    /// Adds the series' readings with `from <= observed_at <= until` to `out`, by time, of each time the first arrival.
    pub(super) fn collect(
        &self,
        series: SeriesId,
        from: Timestamp,
        until: Timestamp,
        out: &mut Vec<Measurement>,
    ) {
        let start = out.len();
        let mut next = self.last.get(series.index()).copied().unwrap_or(NONE);
        while next != NONE {
            let (segment, at) = (&self.log[next as usize / SEGMENT], next as usize % SEGMENT);
            let observed_at = Timestamp::from_micros(segment.observed[at]);
            if from <= observed_at && observed_at <= until {
                out.push(Measurement {
                    series,
                    quality: segment.quality[at],
                    observed_at,
                    received_at: unpack_lag(observed_at, segment.lag[at]),
                    value: segment.value[at],
                });
            }
            next = segment.previous[at];
        }
        let found = &mut out[start..];
        found.reverse();
        if !found.is_sorted_by(|a, b| a.observed_at < b.observed_at) {
            // Stable: of the same time, the first arrival stays first and so survives.
            found.sort_by_key(|m| m.observed_at);
            let mut tail = out.split_off(start);
            tail.dedup_by_key(|m| m.observed_at);
            out.append(&mut tail);
        }
    }
}

fn pack_lag(observed: Timestamp, received: Timestamp) -> i32 {
    let lag = received.as_micros().saturating_sub(observed.as_micros());
    if lag.abs() < EXACT_LAG {
        return lag as i32;
    }
    // Whole seconds, set off beyond the exact lags, up to 34 years.
    let seconds = lag.div_euclid(MICROS_PER_SEC).clamp(1 - EXACT_LAG, EXACT_LAG - 1);
    (seconds + EXACT_LAG * lag.signum()) as i32
}

fn unpack_lag(observed: Timestamp, packed: i32) -> Timestamp {
    let packed = i64::from(packed);
    let lag = if packed.abs() < EXACT_LAG {
        packed
    } else {
        (packed - EXACT_LAG * packed.signum()) * MICROS_PER_SEC
    };
    Timestamp::from_micros(observed.as_micros().saturating_add(lag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_exact_when_short_and_in_seconds_when_long() {
        let observed = Timestamp::from_micros(1_790_000_000_123_456);
        let check = |lag: i64, kept: i64| {
            let received = Timestamp::from_micros(observed.as_micros() + lag);
            let back = unpack_lag(observed, pack_lag(observed, received));
            assert_eq!(back.as_micros() - observed.as_micros(), kept, "{lag}");
        };
        check(0, 0);
        check(-1, -1);
        check(EXACT_LAG - 1, EXACT_LAG - 1);
        check(1 - EXACT_LAG, 1 - EXACT_LAG);
        check(EXACT_LAG, 1_073_000_000);
        check(-EXACT_LAG, -1_074_000_000);
        check(86_400_000_001, 86_400_000_000);
        check(i64::MAX / 4 * 3, (EXACT_LAG - 1) * MICROS_PER_SEC);
    }

    #[test]
    fn of_the_same_time_the_first_arrival_stays() {
        let reading = |secs: i64, value: f64| Measurement {
            series: SeriesId(3),
            quality: Quality::GOOD,
            observed_at: Timestamp::from_secs(secs),
            received_at: Timestamp::from_secs(secs),
            value,
        };
        let mut generation = Generation::new();
        generation.push(CommitSeq(7), &[reading(20, 1.0), reading(10, 2.0), reading(20, 3.0)]);
        generation.push(CommitSeq(8), &[reading(10, 4.0), reading(30, 5.0)]);
        let mut found = Vec::new();
        let until = Timestamp::from_secs(20);
        generation.collect(SeriesId(3), Timestamp::EPOCH, until, &mut found);
        assert_eq!(found, [reading(10, 2.0), reading(20, 1.0)]);
        assert_eq!(generation.commits(), Some((CommitSeq(7), CommitSeq(8))));
        assert_eq!(generation.age(), std::time::Duration::from_secs(20));
    }
}
