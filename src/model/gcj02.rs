//! GCJ-02, the shifted coordinates of Chinese base maps. Forward only: nothing shifted ever comes back in.

use std::f64::consts::PI;

/// Semi-major axis of the Krasovsky 1940 ellipsoid in metres.
const A: f64 = 6_378_245.0;
/// Its eccentricity squared.
const EE: f64 = 0.006_693_421_622_965_943;
/// The shift applies inside this box only: longitudes, latitudes.
const CHINA: ((f64, f64), (f64, f64)) = ((72.004, 137.8347), (0.8293, 55.8271));

/// A WGS-84 longitude and latitude in degrees as GCJ-02, rounded to 1e-7 degrees (a centimetre). Outside China it is the
/// same.
pub fn from_wgs84(lon: f64, lat: f64) -> (f64, f64) {
    let ((west, east), (south, north)) = CHINA;
    if !(west..=east).contains(&lon) || !(south..=north).contains(&lat) {
        return (lon, lat);
    }
    let (x, y) = (lon - 105.0, lat - 35.0);
    let phi = lat.to_radians();
    let magic = 1.0 - EE * phi.sin().powi(2);
    let meridian = A * (1.0 - EE) / (magic * magic.sqrt());
    let parallel = A / magic.sqrt() * phi.cos();
    let shifted_lon = lon + (east_shift_m(x, y) / parallel).to_degrees();
    let shifted_lat = lat + (north_shift_m(x, y) / meridian).to_degrees();
    (round(shifted_lon), round(shifted_lat))
}

fn round(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}

/// The ripple that both directions share, in metres.
fn ripple(x: f64) -> f64 {
    (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0
}

fn north_shift_m(x: f64, y: f64) -> f64 {
    -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + ripple(x)
        + (20.0 * (y * PI).sin() + 40.0 * (y / 3.0 * PI).sin()) * 2.0 / 3.0
        + (160.0 * (y / 12.0 * PI).sin() + 320.0 * (y * PI / 30.0).sin()) * 2.0 / 3.0
}

fn east_shift_m(x: f64, y: f64) -> f64 {
    300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + ripple(x)
        + (20.0 * (x * PI).sin() + 40.0 * (x / 3.0 * PI).sin()) * 2.0 / 3.0
        + (150.0 * (x / 12.0 * PI).sin() + 300.0 * (x / 30.0 * PI).sin()) * 2.0 / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the domain notes, within half a unit of their last digit.
    #[test]
    fn wuzhen_shifts_by_the_known_amount() {
        let check = |wgs: (f64, f64), gcj: (f64, f64)| {
            let (lat, lon) = wgs;
            let (x, y) = from_wgs84(lon, lat);
            assert!((y - gcj.0).abs() < 1e-6 && (x - gcj.1).abs() < 1e-6, "{y} {x}, not {gcj:?}");
        };
        check((30.74536, 120.4851), (30.743_101, 120.489_528));
        check((30.748_162, 120.484_409), (30.745_906, 120.488_840));
    }

    #[test]
    fn the_rest_of_the_world_is_where_it_is() {
        assert_eq!(from_wgs84(2.35, 48.85), (2.35, 48.85));
    }
}
