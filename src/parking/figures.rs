//! How well a lot was used over a period.

use std::time::Duration;

use serde::Serialize;

use super::Counts;
use super::timeline::Timeline;
use crate::model::{AssetId, Position, Timestamp};

/// A bay that has not changed for so long while its neighbours have is stuck: its sensor, or a car that nobody drives.
pub const STUCK_AFTER: Duration = Duration::from_secs(72 * 3600);
/// How many of the nearest bays of its lot are a bay's neighbours.
pub const NEIGHBOURS: usize = 4;
/// The most overstays that are told of one lot; the longest are.
pub const MAX_OVERSTAYS: usize = 200;

/// What a figure asks of one sensor.
#[derive(Debug, Clone)]
pub struct Part {
    /// The bay; the lot itself for a counter at its gate.
    pub asset: AssetId,
    /// Where it is.
    pub position: Position,
    /// How many bays it speaks for.
    pub size: u32,
    /// Whether it watches a single bay: only then can a car be told from the next one.
    pub is_bay: bool,
    /// From [`STUCK_AFTER`] before the period to its end.
    pub timeline: Timeline,
}

/// A share between 0 and 1 of which only the bounds may be known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// At least this.
    pub least: f64,
    /// At most this.
    pub most: f64,
}

/// A car that stood, or stands, longer than it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overstay {
    /// The bay.
    pub bay: AssetId,
    /// Since when it is known to stand there.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Whether it stands there at the end of the period.
    pub standing: bool,
}

/// How well a lot was used. Closed bays count as if they were not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Bays that may be used.
    pub capacity: u32,
    /// The share of the bays' time of which it is known whether a car stood there.
    pub known: f64,
    /// Occupied bays per bay at the end of the period.
    pub occupancy: Share,
    /// Occupied time per bay and time.
    pub utilisation: Share,
    /// Cars that were seen to take a bay; `None` without sensors in the bays.
    pub arrivals: Option<u32>,
    /// Arrivals per bay and day.
    pub turnover: Option<f64>,
    /// How long those stayed that left in the period and were seen to arrive, in seconds; `None` when there is none.
    pub mean_stay_s: Option<f64>,
    /// How many those are.
    pub stays: u32,
    /// Cars that stood longer than the lot's limit, the longest first; [`MAX_OVERSTAYS`] at most.
    pub overstays: Vec<Overstay>,
    /// Bays that have not changed for [`STUCK_AFTER`] while most of their neighbours have.
    pub stuck: Vec<AssetId>,
}

impl Figures {
    /// The figures of a lot from `from` to `to`, where cars may stay for `limit`. None of them divides by zero: a lot
    /// without bays, or a period without length, has shares of 0 to 1 and no turnover.
    pub fn new(
        from: Timestamp,
        to: Timestamp,
        capacity: u32,
        limit: Duration,
        parts: &[Part],
    ) -> Self {
        let period_s = to.since(from).as_secs_f64();
        let whole_s = f64::from(capacity) * period_s;
        let (taken_s, known_s) = times(from, parts);
        let now = parts.iter().map(|part| (part.size, part.timeline.at(to)));
        let now = Counts::new(capacity, 0, now).occupied;
        let has_bays = parts.iter().any(|part| part.is_bay);
        let bays = || parts.iter().filter(|part| part.is_bay);
        let arrivals = bays().map(|bay| bay.timeline.arrivals(from)).sum::<u32>();
        let per_bay_and_day = f64::from(arrivals) / (whole_s / 86_400.0);
        let (stays, stayed_s) = complete_stays(from, bays());
        Figures {
            capacity,
            known: share(known_s, whole_s),
            occupancy: Share {
                least: share(f64::from(now.least), f64::from(capacity)),
                most: share(f64::from(now.most), f64::from(capacity)),
            },
            utilisation: Share {
                least: share(taken_s, whole_s),
                most: share(taken_s + (whole_s - known_s).max(0.0), whole_s),
            },
            arrivals: has_bays.then_some(arrivals),
            turnover: Some(per_bay_and_day).filter(|rate| has_bays && rate.is_finite()),
            mean_stay_s: (stays > 0).then(|| stayed_s / f64::from(stays)),
            stays,
            overstays: overstays(from, to, limit, bays()),
            stuck: stuck(to, parts),
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// Bay-seconds with a car, and those of which it is known.
fn times(from: Timestamp, parts: &[Part]) -> (f64, f64) {
    let (mut taken_s, mut known_s) = (0.0, 0.0);
    for part in parts {
        for (start, end, cars) in part.timeline.spans(from) {
            let Some(cars) = cars else { continue };
            let seconds = end.since(start).as_secs_f64();
            taken_s += f64::from(cars.min(part.size)) * seconds;
            known_s += f64::from(part.size) * seconds;
        }
    }
    (taken_s, known_s)
}

/// How many cars left that were seen to arrive, and their time in seconds.
fn complete_stays<'a>(from: Timestamp, bays: impl Iterator<Item = &'a Part>) -> (u32, f64) {
    bays.flat_map(|bay| bay.timeline.stays())
        .filter(|stay| stay.arrived && stay.left && stay.until >= from)
        .fold((0, 0.0), |(count, sum), stay| {
            (count + 1, sum + stay.until.since(stay.since).as_secs_f64())
        })
}

fn overstays<'a>(
    from: Timestamp,
    to: Timestamp,
    limit: Duration,
    bays: impl Iterator<Item = &'a Part>,
) -> Vec<Overstay> {
    let mut found: Vec<_> = bays
        .flat_map(|bay| bay.timeline.stays().map(move |stay| (bay, stay)))
        .filter(|(_, stay)| stay.until > from && stay.until.since(stay.since) > limit)
        .map(|(bay, stay)| Overstay {
            bay: bay.asset.clone(),
            since: stay.since,
            until: stay.until,
            standing: stay.until == to && !stay.left,
        })
        .collect();
    found.sort_by_key(|stay| std::cmp::Reverse(stay.until.since(stay.since)));
    found.truncate(MAX_OVERSTAYS);
    found
}

/// Bays that stood still while more than half of the nearest bays that are known of did not.
fn stuck(to: Timestamp, parts: &[Part]) -> Vec<AssetId> {
    let from = to.minus(STUCK_AFTER);
    let bays: Vec<(&Part, bool)> = parts
        .iter()
        .filter(|part| part.is_bay)
        .filter_map(|bay| Some((bay, bay.timeline.changed(from)?)))
        .collect();
    let still = bays.iter().filter(|(_, changed)| !changed);
    still
        .filter(|(bay, _)| {
            let others = bays.iter().filter(|(other, _)| other.asset != bay.asset);
            let mut near: Vec<(f64, bool)> = others
                .map(|(other, changed)| (apart(bay.position, other.position), *changed))
                .collect();
            if near.len() > NEIGHBOURS {
                near.select_nth_unstable_by(NEIGHBOURS - 1, |a, b| a.0.total_cmp(&b.0));
                near.truncate(NEIGHBOURS);
            }
            near.iter().filter(|(_, changed)| *changed).count() * 2 > near.len()
        })
        .map(|(bay, _)| bay.asset.clone())
        .collect()
}

/// A measure that grows with the distance of two places of one lot.
fn apart(a: Position, b: Position) -> f64 {
    let east = (a.lon() - b.lon()) * a.lat().to_radians().cos();
    let north = a.lat() - b.lat();
    east * east + north * north
}
