//! Geometry for display: the shift to GCJ-02 and GeoJSON. Everything else in the hub is WGS-84.

use std::str::FromStr;

use geo::{Centroid, MapCoords};

use crate::model::{Bbox, gcj02};

/// The coordinates in which a client draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Crs {
    /// As stored.
    #[default]
    Wgs84,
    /// Shifted, for base maps of Chinese providers.
    Gcj02,
}

/// A text that names no coordinate system of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown crs `{0}`; it is wgs84 or gcj02")]
pub(crate) struct UnknownCrs(String);

impl FromStr for Crs {
    type Err = UnknownCrs;

    fn from_str(text: &str) -> Result<Self, UnknownCrs> {
        match text {
            "wgs84" => Ok(Crs::Wgs84),
            "gcj02" => Ok(Crs::Gcj02),
            other => Err(UnknownCrs(other.to_owned())),
        }
    }
}

/// More than the shift is anywhere, in degrees (it stays below 0.01).
const MOST_SHIFT: f64 = 0.01;

impl Crs {
    /// A stored coordinate as the client draws it.
    pub(crate) fn show(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Crs::Wgs84 => (lon, lat),
            Crs::Gcj02 => gcj02::from_wgs84(lon, lat),
        }
    }

    /// A stored geometry as GeoJSON in the client's coordinates.
    pub(crate) fn geojson(self, geometry: &geo::Geometry<f64>) -> geojson::Geometry {
        let value = match self {
            Crs::Wgs84 => geojson::GeometryValue::from(geometry),
            Crs::Gcj02 => {
                let shown = geometry.map_coords(|c| self.show(c.x, c.y).into());
                geojson::GeometryValue::from(&shown)
            }
        };
        geojson::Geometry::new(value)
    }

    /// The stored box to search for what a client sees in `seen`. We never shift backwards: a box that was read off a
    /// shifted map is widened by more than the shift, so that nothing in sight is missed.
    pub(crate) fn search_box(self, seen: Bbox) -> Bbox {
        match self {
            Crs::Wgs84 => seen,
            Crs::Gcj02 => Bbox {
                west: (seen.west - MOST_SHIFT).max(-180.0),
                south: (seen.south - MOST_SHIFT).max(-90.0),
                east: (seen.east + MOST_SHIFT).min(180.0),
                north: (seen.north + MOST_SHIFT).min(90.0),
            },
        }
    }
}

/// The one point (longitude, latitude) that stands for a geometry: a point itself, the middle of all else.
pub(crate) fn middle(geometry: &geo::Geometry<f64>) -> Option<(f64, f64)> {
    geometry.centroid().map(|point| (point.x(), point.y()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_map_misses_nothing_at_its_edges() {
        let seen: Bbox = "120.46,30.73,120.51,30.77".parse().unwrap();
        assert_eq!(Crs::Wgs84.search_box(seen), seen);
        let wide = Crs::Gcj02.search_box(seen);
        for (lon, lat) in [(120.4561, 30.7325), (120.5055, 30.7722)] {
            let (x, y) = Crs::Gcj02.show(lon, lat);
            let is_seen =
                (seen.west..=seen.east).contains(&x) && (seen.south..=seen.north).contains(&y);
            assert!(is_seen, "{x} {y}");
            assert!((wide.west..=wide.east).contains(&lon));
            assert!((wide.south..=wide.north).contains(&lat));
        }
    }

    #[test]
    fn a_line_is_shifted_whole() {
        let ends = vec![(120.4851, 30.7454), (0.0, 0.0)];
        let line = geo::Geometry::from(geo::LineString::from(ends));
        let json = serde_json::to_value(Crs::Gcj02.geojson(&line)).unwrap();
        assert_eq!(json["type"], "LineString");
        assert_eq!(json["coordinates"][1], serde_json::json!([0.0, 0.0]), "outside China");
        let lon = json["coordinates"][0][0].as_f64().unwrap();
        assert!((lon - 120.489_528).abs() < 1e-5, "{lon}");
        assert_eq!(middle(&geo::Point::new(1.0, 2.0).into()), Some((1.0, 2.0)));
    }
}
