//! The things of a town: devices, assets, zones.

use geo::{Centroid, Geometry, Haversine, InterpolateLine, Point};
use serde::Serialize;

use crate::model::{AssetId, AssetKind, AssetNumber, DeviceId, Label, Position, ProfileId, ZoneId};

/// A device as the registry knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// Its id, MQTT user name and topic level.
    pub id: DeviceId,
    /// What it is called.
    pub name: Label,
    /// The device model.
    pub profile: ProfileId,
    /// The asset that it observes.
    pub asset: Option<AssetId>,
    /// Where a Modbus device is reached; `None` for devices that publish.
    pub modbus: Option<ModbusAddress>,
}

/// A unit behind a Modbus endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ModbusAddress {
    /// `host:port`, `rtu+tcp://host:port` or `rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1`; see
    /// [`Endpoint`](crate::model::Endpoint).
    pub endpoint: String,
    /// The unit (slave) number: 1 to 247; over TCP also 0 or 255 for the Modbus TCP server itself.
    pub unit: u8,
}

/// A thing that stands somewhere in the town.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asset {
    /// Its id.
    pub id: AssetId,
    /// Its number on the map, kept for life.
    pub number: AssetNumber,
    /// What it is.
    pub kind: AssetKind,
    /// What it is called.
    pub name: Label,
    /// The zone it is listed under: the one that was given, else the smallest that contains it.
    pub zone: Option<ZoneId>,
    /// Its parent: the lot of a bay.
    pub parent: Option<AssetId>,
    /// Where it is: a point; or a line for a pipe, an outline for a parking lot. WGS-84.
    #[serde(skip)]
    pub geometry: Geometry<f64>,
    /// The rest of what its import said.
    pub properties: serde_json::Map<String, serde_json::Value>,
}

/// An area of the town.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Zone {
    /// Its id.
    pub id: ZoneId,
    /// What it is called.
    pub name: Label,
    /// Its outline. WGS-84.
    #[serde(skip)]
    pub geometry: geo::MultiPolygon<f64>,
}

impl Asset {
    /// The one point that stands for the asset: itself, the middle of its line, the centroid of its outline.
    ///
    /// # Panics
    /// When the geometry is empty or off the globe, which neither an import nor a stored row can make it.
    pub fn position(&self) -> Position {
        let point = match &self.geometry {
            Geometry::Point(point) => Some(*point),
            Geometry::LineString(line) => middle(line),
            other => other.centroid(),
        };
        point
            .and_then(|point| Position::new(point.x(), point.y()).ok())
            .expect("an asset's geometry is checked on its way in")
    }
}

/// The point halfway along a line. A line of no length (which an import refuses) has no ratio: then its start.
fn middle(line: &geo::LineString<f64>) -> Option<Point<f64>> {
    Haversine
        .point_at_ratio_from_start(line, 0.5)
        .filter(|point| point.x().is_finite() && point.y().is_finite())
        .or_else(|| line.points().next())
}
