//! One shape for everything: a raw value and a device's own time become a [`Measurement`] with a unit, one
//! trusted time and a quality.
//!
//! Takes what a profile decoded and the [`Track`] of the device; hands on measurements in the order of the payload.
//! Only here is a value scaled, and only here does it get its quality. Never reads the time (the caller says when the
//! payload came), never drops a reading silently: what is not handed on is a duplicate and counted as one.
//!
//! Which time a reading gets: the device's own, if it named one that can be true; otherwise the hub's. A device that
//! names no time cannot repeat itself recognisably, so its readings are kept apart by a microsecond; a device whose
//! time is wrong, unreadable or missing gets the hub's time and Uncertain(clock).
//!
//! What a profile derives from its points follows in the same measurements, and its quality rules have marked them; see
//! `derive`.

mod derive;
mod point;
mod time;

use std::ops::AddAssign;

use crate::model::{
    Measurement, PointIndex, Quality, Reading, Reason, Sample, SeriesId, Timestamp,
};
use crate::profile::expr::Operand;
use crate::profile::{DeviceTime, Point, Profile};

use derive::{Memory, Moment, Report};
use point::PointTrack;

/// What the normalizer remembers of one device: the newest reading of each of its points. One owner at a time.
#[derive(Debug)]
pub struct Track {
    points: Box<[PointTrack]>,
    /// The newest time that any reading of the device has got.
    newest: Option<Timestamp>,
    memory: Memory,
}

/// What became of a message's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Handed on, whatever their quality.
    pub measured: u32,
    /// Not handed on: the reading of this series and time was there already.
    pub duplicates: u32,
    /// Handed on as history: out of order, or long after they were observed.
    pub late: u32,
    /// Handed on with the hub's time, because the device's cannot be true.
    pub clock: u32,
    /// Handed on as Bad.
    pub bad: u32,
    /// Handed on as Uncertain.
    pub uncertain: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.measured += other.measured;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.clock += other.clock;
        self.bad += other.bad;
        self.uncertain += other.uncertain;
    }
}

impl Track {
    /// A track of a device that nothing was heard from yet.
    pub fn new(profile: &Profile) -> Self {
        Track {
            points: vec![PointTrack::default(); profile.points.len()].into(),
            newest: None,
            memory: Memory::of(profile),
        }
    }

    /// Takes up what the store knows, so that a restart does not mistake an old reading for news. Unknown
    /// points (the profile lost them) are ignored.
    pub fn seed(&mut self, point: PointIndex, newest: &Sample) {
        if let Some(track) = self.points.get_mut(usize::from(point.0)) {
            track.remember(newest.observed_at, newest.value, newest.quality);
            self.newest = self.newest.max(Some(newest.observed_at));
            let known = Operand { value: newest.value, quality: newest.quality };
            self.memory.remember(point, newest.observed_at, known);
        }
    }
}

/// What one reading says by itself, without its past: for a command that has just asked for it.
pub fn value_of(point: &Point, reading: &Reading) -> (f64, Quality) {
    let value = point::convert(reading.raw, point);
    (value, point::judge(reading, value, point).unwrap_or(Quality::GOOD))
}

/// Turns one report of a device into measurements, appended to `out`. `series` numbers the profile's points; `time` is
/// what the device said of when it observed them.
///
/// A reading whose point the profile does not have cannot come from its decoder and is left out.
pub fn normalize(
    profile: &Profile,
    track: &mut Track,
    series: &[SeriesId],
    time: DeviceTime,
    readings: &[Reading],
    received_at: Timestamp,
    out: &mut Vec<Measurement>,
) -> Tally {
    let is_history = matches!(time, DeviceTime::History(_));
    let time = time::judge(time, received_at, track.newest);
    let is_old = is_history || received_at.since(time.observed_at) > profile.staleness.stale_after;
    let begin = out.len();
    let mut tally = Tally::default();
    for reading in readings {
        let index = usize::from(reading.point.0);
        let (Some(point), Some(&series), Some(point_track)) =
            (profile.points.get(index), series.get(index), track.points.get_mut(index))
        else {
            continue;
        };
        if point_track.newest() == Some(time.observed_at) {
            tally.duplicates += 1;
            continue;
        }
        let is_late =
            is_old || point_track.newest().is_some_and(|newest| time.observed_at < newest);
        let value = point::convert(reading.raw, point);
        let quality = point::judge(reading, value, point)
            .or(time.is_wrong.then_some(Quality::uncertain(Reason::Clock)))
            .or_else(|| point_track.doubt(value, time.observed_at, is_late, point))
            .unwrap_or(if is_late { Quality::LATE } else { Quality::GOOD });
        point_track.remember(time.observed_at, value, quality);
        tally.count(quality, is_late);
        out.push(Measurement {
            series,
            quality,
            observed_at: time.observed_at,
            received_at,
            value,
        });
    }
    if !profile.logic.is_empty() {
        let is_history = is_old || track.newest.is_some_and(|newest| time.observed_at < newest);
        let moment = Moment { observed_at: time.observed_at, received_at, is_history };
        let (measured, tally) = (out, &mut tally);
        Report { profile, track: &mut *track, series, moment, measured, begin, tally }
            .complete(readings);
    }
    track.newest = track.newest.max(Some(time.observed_at));
    tally
}

impl Tally {
    /// A quality that was counted already has got worse.
    fn recount(&mut self, from: Quality, to: Quality) {
        use crate::model::Grade;
        let count = |grade| (u32::from(from.grade == grade), u32::from(to.grade == grade));
        let (bad, uncertain) = (count(Grade::Bad), count(Grade::Uncertain));
        self.bad = self.bad - bad.0 + bad.1;
        self.uncertain = self.uncertain - uncertain.0 + uncertain.1;
    }

    fn count(&mut self, quality: Quality, is_late: bool) {
        use crate::model::Grade;
        self.measured += 1;
        self.late += u32::from(is_late);
        self.clock += u32::from(quality.reason == Some(Reason::Clock));
        self.bad += u32::from(quality.grade == Grade::Bad);
        self.uncertain += u32::from(quality.grade == Grade::Uncertain);
    }
}

#[cfg(test)]
mod tests;
