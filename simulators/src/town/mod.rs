//! The town: what stands where, what observes it, and how its waters hang together.
//!
//! [`Town::wuzhen`] reads the files in `towns/wuzhen/` (they are part of the binary) and lays out manholes along
//! streets, bays in lots and so on. The layout does not depend on the seed of a run: the same town, other weather.

mod build;
mod export;
mod file;
pub mod plan;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::geo::Point;
use plan::{BasinPlan, GatePlan, LotPlan, MainPlan, ManholePlan};

pub use build::TownError;

/// A text in both languages of the town.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// What an asset is, in the hub's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A manhole of a sewer.
    Manhole,
    /// A sewer pipe or a water main.
    Pipe,
    /// A rain gauge.
    RainGauge,
    /// A level gauge on a canal.
    CanalGauge,
    /// A sluice gate.
    SluiceGate,
    /// A car park.
    ParkingLot,
    /// One parking bay.
    ParkingBay,
}

impl Kind {
    /// The spelling in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Manhole => "manhole",
            Kind::Pipe => "pipe",
            Kind::RainGauge => "rain-gauge",
            Kind::CanalGauge => "canal-gauge",
            Kind::SluiceGate => "sluice-gate",
            Kind::ParkingLot => "parking-lot",
            Kind::ParkingBay => "parking-bay",
        }
    }
}

/// The model of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Manhole level, gas and cover.
    Mh1,
    /// Pipe flow and supply pressure.
    Pf2,
    /// Rain gauge.
    Rg1,
    /// Canal level.
    Cl1,
    /// Parking bay.
    Pb1,
    /// Sluice gate controller, over Modbus TCP.
    Sg200,
}

impl Profile {
    /// The profile's id in the hub.
    pub fn id(self) -> &'static str {
        match self {
            Profile::Mh1 => "wz-mh1",
            Profile::Pf2 => "wz-pf2",
            Profile::Rg1 => "wz-rg1",
            Profile::Cl1 => "wz-cl1",
            Profile::Pb1 => "wz-pb1",
            Profile::Sg200 => "wz-sg200",
        }
    }
}

/// The shape of an asset on the map.
#[derive(Debug, Clone, PartialEq)]
pub enum Geometry {
    /// A place.
    Point(Point),
    /// A line, from upstream to downstream.
    Line(Vec<Point>),
    /// An outline, not closed: its last point joins the first.
    Polygon(Vec<Point>),
}

/// A thing that stands somewhere in the town.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Its id, upper case: `MH-001`.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: Label,
    /// The id of its zone.
    pub zone: String,
    /// The id of the lot that a bay belongs to.
    pub parent: Option<String>,
    /// Where it is.
    pub geometry: Geometry,
    /// Dimensions and the like, by kind.
    pub properties: Map<String, Value>,
}

/// What a device looks at: an index into the plans of the town.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observes {
    /// A manhole.
    Manhole(usize),
    /// The sewer pipe below `manhole`; the logger's pressure channel sits on the water `main` in the same trench.
    SewerPipe {
        /// The manhole at the pipe's upper end.
        manhole: usize,
        /// The main beside it.
        main: usize,
    },
    /// A water main.
    Main(usize),
    /// The rain at a place.
    Rain(usize),
    /// The level of a basin.
    Basin(usize),
    /// A sluice gate.
    Gate(usize),
    /// A parking bay.
    Bay(usize),
}

/// A device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its id, which is also its MQTT user name: the asset's id in lower case.
    pub id: String,
    /// Its model.
    pub profile: Profile,
    /// The id of the asset that it observes.
    pub asset: String,
    /// What it is called.
    pub name: Label,
    /// The id of the zone that it stands in: the site in a manhole's topic.
    pub site: String,
    /// What it looks at.
    pub observes: Observes,
}

impl Device {
    /// The topic that it publishes on.
    pub fn topic(&self) -> String {
        match self.profile {
            Profile::Mh1 => format!("sewer/{}/{}/up", self.site, self.id),
            _ => format!("devices/{}/telemetry", self.id),
        }
    }

    /// The topic of its retained `online` / `offline`.
    pub fn status_topic(&self) -> String {
        format!("devices/{}/status", self.id)
    }
}

/// The whole town.
#[derive(Debug, Clone)]
pub struct Town {
    /// What it is called.
    pub name: Label,
    /// Its middle.
    pub centre: Point,
    /// Its zones, as a GeoJSON FeatureCollection.
    pub zones: Value,
    /// Everything that stands somewhere; a lot before its bays.
    pub assets: Vec<Asset>,
    /// Everything that reports.
    pub devices: Vec<Device>,
    /// Manholes and the pipes below them.
    pub manholes: Vec<ManholePlan>,
    /// Water mains.
    pub mains: Vec<MainPlan>,
    /// Canals.
    pub basins: Vec<BasinPlan>,
    /// Sluice gates.
    pub gates: Vec<GatePlan>,
    /// Where it rains for the basins and for the gauges.
    pub gauges: Vec<Point>,
    /// Car parks, in the order of their bays.
    pub lots: Vec<LotPlan>,
}

impl Town {
    /// The demo town.
    ///
    /// # Errors
    /// When the files that the binary carries are inconsistent; a test keeps that from happening.
    pub fn wuzhen() -> Result<Self, TownError> {
        build::build(
            include_str!("../../towns/wuzhen/town.toml"),
            include_str!("../../towns/wuzhen/zones.geojson"),
        )
    }

    /// The index of a device.
    pub fn device_index(&self, id: &str) -> Option<usize> {
        self.devices.iter().position(|device| device.id == id)
    }
}
