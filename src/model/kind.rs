//! The kinds of things that the town connects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an asset is, and what a profile's device is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetKind {
    /// A manhole of a sewer: level, gas, cover.
    Manhole,
    /// A pipe or a gauging point on one: flow, pressure.
    Pipe,
    /// A rain gauge.
    RainGauge,
    /// A level gauge on a canal.
    CanalGauge,
    /// A sluice gate.
    SluiceGate,
    /// One parking bay.
    ParkingBay,
    /// A car park: the lot that bays belong to.
    ParkingLot,
}

/// The three kinds of things in the words of the town: the map's main filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Underground pipes and what belongs to them.
    Pipes,
    /// Sluice gates and the water that they hold.
    Gates,
    /// Parking.
    Parking,
}

/// A text that names no asset kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind `{found}`; kinds are {}", AssetKind::ALL.map(AssetKind::as_str).join(", "))]
pub struct UnknownKind {
    /// The text that was given.
    pub found: String,
}

impl AssetKind {
    /// Every kind.
    pub const ALL: [AssetKind; 7] = [
        AssetKind::Manhole,
        AssetKind::Pipe,
        AssetKind::RainGauge,
        AssetKind::CanalGauge,
        AssetKind::SluiceGate,
        AssetKind::ParkingBay,
        AssetKind::ParkingLot,
    ];

    /// The kind's spelling in files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            AssetKind::Manhole => "manhole",
            AssetKind::Pipe => "pipe",
            AssetKind::RainGauge => "rain-gauge",
            AssetKind::CanalGauge => "canal-gauge",
            AssetKind::SluiceGate => "sluice-gate",
            AssetKind::ParkingBay => "parking-bay",
            AssetKind::ParkingLot => "parking-lot",
        }
    }

    /// Which of the town's three kinds of things this is.
    pub fn family(self) -> Family {
        match self {
            AssetKind::Manhole | AssetKind::Pipe | AssetKind::RainGauge => Family::Pipes,
            AssetKind::CanalGauge | AssetKind::SluiceGate => Family::Gates,
            AssetKind::ParkingBay | AssetKind::ParkingLot => Family::Parking,
        }
    }
}

impl fmt::Display for AssetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AssetKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        AssetKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind { found: text.to_owned() })
    }
}
