//! Places on a map small enough to be flat: degrees for files, metres for physics.

use serde::Deserialize;

/// Metres in a degree of latitude.
const M_PER_DEG_LAT: f64 = 111_195.0;

/// A place in WGS-84 degrees. In files it is `[lon, lat]`, as in GeoJSON.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "[f64; 2]")]
pub struct Point {
    /// Longitude in degrees, east positive.
    pub lon: f64,
    /// Latitude in degrees, north positive.
    pub lat: f64,
}

impl From<[f64; 2]> for Point {
    fn from([lon, lat]: [f64; 2]) -> Self {
        Point { lon, lat }
    }
}

impl Point {
    /// How far `other` is from here, in metres east and north.
    pub fn offset_to(self, other: Point) -> (f64, f64) {
        let east = (other.lon - self.lon) * M_PER_DEG_LAT * self.lat.to_radians().cos();
        (east, (other.lat - self.lat) * M_PER_DEG_LAT)
    }

    /// The distance to `other` in metres.
    pub fn distance(self, other: Point) -> f64 {
        let (east, north) = self.offset_to(other);
        east.hypot(north)
    }

    /// The place `east` and `north` metres from here.
    pub fn moved(self, east: f64, north: f64) -> Point {
        let lon = self.lon + east / (M_PER_DEG_LAT * self.lat.to_radians().cos());
        Point { lon, lat: self.lat + north / M_PER_DEG_LAT }
    }

    /// `[lon, lat]` with seven decimals (a centimetre), for GeoJSON.
    pub fn to_json(self) -> serde_json::Value {
        let round = |degrees: f64| (degrees * 1e7).round() / 1e7;
        serde_json::json!([round(self.lon), round(self.lat)])
    }
}

/// The length of a line in metres.
pub fn length(line: &[Point]) -> f64 {
    line.windows(2).map(|pair| pair[0].distance(pair[1])).sum()
}

/// The place `distance_m` metres along `line`; before its start the start, beyond its end the end.
///
/// # Panics
/// When the line has no point.
pub fn along(line: &[Point], distance_m: f64) -> Point {
    let mut left = distance_m.max(0.0);
    for pair in line.windows(2) {
        let step = pair[0].distance(pair[1]);
        if left <= step && step > 0.0 {
            let (east, north) = pair[0].offset_to(pair[1]);
            return pair[0].moved(east * left / step, north * left / step);
        }
        left -= step;
    }
    line[line.len() - 1]
}

/// The part of `line` between two distances in metres, with its inner corners.
pub fn section(line: &[Point], from_m: f64, to_m: f64) -> Vec<Point> {
    let mut points = vec![along(line, from_m)];
    let mut walked = 0.0;
    for pair in line.windows(2) {
        walked += pair[0].distance(pair[1]);
        if walked > from_m + 1.0 && walked < to_m - 1.0 {
            points.push(pair[1]);
        }
    }
    points.push(along(line, to_m));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORNER: [Point; 3] = [
        Point { lon: 120.48, lat: 30.74 },
        Point { lon: 120.48, lat: 30.741 },
        Point { lon: 120.481, lat: 30.741 },
    ];

    #[test]
    fn a_move_and_its_offset_agree() {
        let start = CORNER[0];
        let (east, north) = start.offset_to(start.moved(120.0, -45.0));
        assert!((east - 120.0).abs() < 1e-6 && (north + 45.0).abs() < 1e-6);
    }

    #[test]
    fn a_walk_along_a_line_turns_its_corners() {
        let total = length(&CORNER);
        assert!((total - 206.8).abs() < 0.5, "{total}");
        assert_eq!(along(&CORNER, -5.0), CORNER[0]);
        assert_eq!(along(&CORNER, 1e9), CORNER[2]);
        assert!((CORNER[0].distance(along(&CORNER, 50.0)) - 50.0).abs() < 0.01);
        let part = section(&CORNER, 50.0, 150.0);
        assert_eq!(part.len(), 3, "the corner is kept");
        assert!((length(&part) - 100.0).abs() < 0.1);
    }
}
