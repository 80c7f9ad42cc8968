//! The things of a town: devices, assets, zones.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use geo::{Centroid, Geometry, Haversine, InterpolateLine, Point};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// The device that may publish for it.
    pub gateway: Option<DeviceId>,
    /// What its gateway calls it; `None` when that is its id.
    pub address: Option<DeviceAddress>,
}

/// What a gateway calls one of its devices: a DevEUI, a Sparkplug device id, a SenML base name. Sixteen hexadecimal
/// digits, however they are grouped, are a DevEUI and are kept in lower case without separators.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeviceAddress(Arc<str>);

/// The longest address in bytes: twice a device's id, for SenML base names are URNs.
const MAX_ADDRESS_BYTES: usize = 128;

/// A text that no gateway could call a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address has 1 to {MAX_ADDRESS_BYTES} bytes without spaces, control characters and / + #"
)]
pub struct AddressError;

impl DeviceAddress {
    /// The address's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text under which a name that stands in a message is looked up.
    pub fn plain(name: &str) -> std::borrow::Cow<'_, str> {
        let is_separator = |c: char| matches!(c, '-' | ':');
        let digits = name.chars().filter(|&c| !is_separator(c)).count();
        let is_eui = digits == 16
            && name.chars().all(|c| c.is_ascii_hexdigit() || is_separator(c))
            && name.starts_with(|c: char| !is_separator(c));
        if is_eui && name.chars().any(|c| is_separator(c) || c.is_ascii_uppercase()) {
            let plain = name.chars().filter(|&c| !is_separator(c)).map(|c| c.to_ascii_lowercase());
            return plain.collect::<String>().into();
        }
        name.into()
    }
}

impl FromStr for DeviceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_foreign =
            |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '+' | '#');
        if text.is_empty() || text.len() > MAX_ADDRESS_BYTES || text.contains(is_foreign) {
            return Err(AddressError);
        }
        Ok(DeviceAddress(DeviceAddress::plain(text).into()))
    }
}

impl Serialize for DeviceAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Device {
    /// What its gateway calls it.
    pub fn name_at_gateway(&self) -> &str {
        self.address.as_ref().map_or(self.id.as_str(), DeviceAddress::as_str)
    }
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
    /// The asset that this one hangs on (power, a link, the water itself): `upstream` among its properties. When that one
    /// is down, this one's silence is explained.
    pub fn upstream(&self) -> Option<AssetId> {
        self.properties.get("upstream")?.as_str()?.parse().ok()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dev_eui_is_one_however_it_is_written() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                text.parse::<DeviceAddress>().map(|a| a.to_string()),
                Ok(expected.to_owned())
            );
        };
        check("A8404137E182428C", "a8404137e182428c");
        check("a8-40-41-37-e1-82-42-8c", "a8404137e182428c");
        check("A8:40:41:37:E1:82:42:8C", "a8404137e182428c");
        check("urn:dev:mac:0024befffe804ff1", "urn:dev:mac:0024befffe804ff1");
        check("MH-014", "MH-014");
        for bad in ["", "a/b", "a b", "+", "#", "a\0", &"x".repeat(129)] {
            assert_eq!(bad.parse::<DeviceAddress>(), Err(AddressError), "{bad}");
        }
    }
}
