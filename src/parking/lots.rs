//! The lots of the town, with the sensors that speak for their bays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::figures::{Figures, Part, STUCK_AFTER};
use super::timeline::Timeline;
use crate::model::{AssetId, AssetKind, Grade, Label, Sample, SeriesId, Timestamp};
use crate::pipeline::{Station, StationTable};
use crate::profile::Point;
use crate::registry::{Asset, Town};
use crate::store::{Store, StoreError};

/// How long a car may stay where the lot says nothing else: then it is taken for an abandoned one.
const DEFAULT_MAX_STAY: Duration = Duration::from_secs(72 * 3600);
/// The most bays that a lot may say it has.
const MAX_CAPACITY: u32 = 100_000;
/// Readings in one answer of the store.
const PAGE: usize = 10_000;
/// The most readings of one sensor: one every ten seconds for a month. Beyond, it is not known what it said.
const MAX_READINGS: usize = 300_000;
/// The most bays times days of one question for figures: a large car park over a quarter of a year.
pub const MAX_BAY_DAYS: u64 = 100_000;

/// A car park.
#[derive(Debug, Clone)]
pub struct Lot {
    /// The lot itself.
    pub asset: Arc<Asset>,
    /// Every bay, also those without a sensor.
    pub capacity: u32,
    /// Bays that are closed (`closed` in their or the lot's properties).
    pub closed: u32,
    /// Whether it is shown to everybody (all are, but those with `public: false`).
    pub is_public: bool,
    /// How long a car may stay: `max_stay_h`, else 72 h.
    pub max_stay: Duration,
    /// Who speaks for its bays.
    pub(super) sensors: Vec<Sensor>,
}

/// A sensor in a bay, or a counter at the gate.
#[derive(Debug, Clone)]
pub(super) struct Sensor {
    pub(super) asset: Arc<Asset>,
    pub(super) series: SeriesId,
    /// The bays that it speaks for.
    pub(super) size: u32,
    pub(super) stale_after: Duration,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// The codes for a free and an occupied bay.
    Bay { free: Option<f64>, occupied: f64 },
    /// The number is that of the cars inside.
    Cars,
}

/// A lot's figures.
#[derive(Debug, Clone)]
pub struct FiguresOf {
    /// The lot's id.
    pub id: AssetId,
    /// What it is called.
    pub name: Label,
    /// How long a car may stay.
    pub max_stay: Duration,
    /// How well it was used.
    pub figures: Figures,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// Too much at a time.
    #[error(
        "{bays} bays over {days} days are more than {MAX_BAY_DAYS} bay-days; ask for one lot, or for less time"
    )]
    TooMuch {
        /// How many bays.
        bays: u64,
        /// How many days.
        days: u64,
    },
    /// The store cannot be read.
    #[error("the readings cannot be read")]
    Store(#[from] StoreError),
}

/// Every lot of the town, in the order of their ids. The bays of a lot are its children; without any, a device at the lot
/// itself counts its cars.
pub fn lots(town: &Town, stations: &StationTable) -> Vec<Lot> {
    let mut bays: HashMap<&AssetId, Vec<&Arc<Asset>>> = HashMap::new();
    for asset in town.assets.values().filter(|asset| asset.kind == AssetKind::ParkingBay) {
        if let Some(lot) = &asset.parent {
            bays.entry(lot).or_default().push(asset);
        }
    }
    let all = town.assets.values().filter(|asset| asset.kind == AssetKind::ParkingLot);
    let mut lots: Vec<Lot> =
        all.map(|asset| Lot::new(asset, bays.remove(&asset.id), stations)).collect();
    lots.sort_by(|a, b| a.asset.id.cmp(&b.asset.id));
    lots
}

impl Lot {
    fn new(asset: &Arc<Asset>, bays: Option<Vec<&Arc<Asset>>>, stations: &StationTable) -> Self {
        let mut bays = bays.unwrap_or_default();
        bays.sort_by(|a, b| a.id.cmp(&b.id));
        let said = number(asset, "capacity")
            .map_or(0, |bays| bays.clamp(0.0, f64::from(MAX_CAPACITY)) as u32);
        let capacity = said.max(u32::try_from(bays.len()).unwrap_or(u32::MAX));
        let open: Vec<_> = bays.iter().filter(|bay| !is_closed(bay)).collect();
        let closed = if is_closed(asset) { capacity } else { (bays.len() - open.len()) as u32 };
        let sensors = if closed == capacity {
            Vec::new()
        } else if bays.is_empty() {
            Sensor::counter(asset, capacity, stations).into_iter().collect()
        } else {
            open.into_iter().filter_map(|bay| Sensor::of_bay(bay, stations)).collect()
        };
        let hours = number(asset, "max_stay_h").filter(|hours| (0.1..=8_760.0).contains(hours));
        Lot {
            capacity,
            closed,
            is_public: flag(asset, "public") != Some(false),
            max_stay: hours.map_or(DEFAULT_MAX_STAY, |h| Duration::from_secs_f64(h * 3600.0)),
            sensors,
            asset: Arc::clone(asset),
        }
    }

    /// The bays that may be used.
    pub fn in_use(&self) -> u32 {
        self.capacity.saturating_sub(self.closed)
    }

    /// How well it was used. Blocks.
    fn figures(
        &self,
        store: &dyn Store,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<FiguresOf, StoreError> {
        let parts: Vec<Part> = self
            .sensors
            .iter()
            .map(|sensor| {
                Ok(Part {
                    asset: sensor.asset.id.clone(),
                    position: sensor.asset.position(),
                    size: sensor.size,
                    is_bay: matches!(sensor.meaning, Meaning::Bay { .. }),
                    timeline: sensor.timeline(store, from.minus(STUCK_AFTER), to)?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(FiguresOf {
            id: self.asset.id.clone(),
            name: self.asset.name.clone(),
            max_stay: self.max_stay,
            figures: Figures::new(from, to, self.in_use(), self.max_stay, &parts),
        })
    }
}

impl FiguresOf {
    /// The figures of every lot from `from` to `to`. Blocks.
    ///
    /// # Errors
    /// When that is more than [`MAX_BAY_DAYS`], or the store fails.
    pub fn of(
        lots: &[Lot],
        store: &dyn Store,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Self>, FiguresError> {
        let bays: u64 = lots.iter().map(|lot| lot.sensors.len() as u64).sum();
        let days = to.since(from).as_secs().div_ceil(86_400);
        if bays.saturating_mul(days) > MAX_BAY_DAYS {
            return Err(FiguresError::TooMuch { bays, days });
        }
        lots.iter().map(|lot| Ok(lot.figures(store, from, to)?)).collect()
    }
}

impl Sensor {
    /// The sensor of a bay: the headline of the first device that watches it, when that is a state with an `occupied`.
    fn of_bay(bay: &Arc<Asset>, stations: &StationTable) -> Option<Self> {
        stations.of_asset(bay.number).iter().find_map(|station| {
            let states = headline(station)?.states.as_deref()?;
            let code = |name| states.iter().find(|state| state.name == name).map(|s| s.code);
            let meaning = Meaning::Bay { free: code("free"), occupied: code("occupied")? };
            Sensor::new(bay, station, 1, meaning)
        })
    }

    /// The counter of a lot: the first device that watches it and whose headline is a number of vehicles.
    fn counter(lot: &Arc<Asset>, capacity: u32, stations: &StationTable) -> Option<Self> {
        stations.of_asset(lot.number).iter().find_map(|station| {
            let counts_cars = headline(station)?.unit == "{vehicle}";
            counts_cars.then(|| Sensor::new(lot, station, capacity, Meaning::Cars))?
        })
    }

    fn new(asset: &Arc<Asset>, station: &Station, size: u32, meaning: Meaning) -> Option<Self> {
        let series = *station.series.get(usize::from(station.profile.headline.0))?;
        let stale_after = station.profile.staleness.stale_after;
        Some(Sensor { asset: Arc::clone(asset), series, size, stale_after, meaning })
    }

    /// The cars that a reading tells of; `None` unless it can be trusted.
    pub(super) fn cars(&self, sample: &Sample) -> Option<u32> {
        if sample.quality.grade != Grade::Good {
            return None;
        }
        match self.meaning {
            Meaning::Bay { occupied, .. } if sample.value == occupied => Some(1),
            Meaning::Bay { free: Some(free), .. } if sample.value == free => Some(0),
            Meaning::Bay { .. } => None,
            Meaning::Cars if !sample.value.is_finite() || sample.value < 0.0 => None,
            Meaning::Cars => Some((sample.value.round() as u32).min(self.size)),
        }
    }

    /// The cars now, by the newest reading.
    pub(super) fn cars_now(&self, latest: Option<Sample>, now: Timestamp) -> Option<u32> {
        let sample = latest.filter(|sample| now.since(sample.observed_at) <= self.stale_after)?;
        self.cars(&sample)
    }

    /// What it said over a period. Blocks.
    pub(super) fn timeline(
        &self,
        store: &dyn Store,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Timeline, StoreError> {
        let mut readings = Vec::new();
        let mut next = from.minus(self.stale_after);
        while next < to && readings.len() < MAX_READINGS {
            let page = store.range(self.series, next, to, PAGE)?;
            let Some(last) = page.last() else { break };
            next = last.observed_at.plus(Duration::from_micros(1));
            let is_last = page.len() < PAGE;
            readings.extend(page.iter().map(|sample| (sample.observed_at, self.cars(sample))));
            if is_last {
                break;
            }
        }
        Ok(Timeline::new(from, to, self.stale_after, readings))
    }
}

fn headline(station: &Station) -> Option<&Point> {
    station.profile.points.get(usize::from(station.profile.headline.0))
}

fn is_closed(asset: &Asset) -> bool {
    flag(asset, "closed") == Some(true)
}

fn flag(asset: &Asset, name: &str) -> Option<bool> {
    asset.properties.get(name)?.as_bool()
}

/// A property that is a number, or a text with one.
fn number(asset: &Asset, name: &str) -> Option<f64> {
    let value = asset.properties.get(name)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Some(number).filter(|number| number.is_finite())
}
