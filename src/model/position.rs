//! Where things are: WGS-84 degrees, everywhere inside the hub.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point on the ground, WGS-84 (CGCS2000 is the same to a centimetre). Finite and in range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    lon: f64,
    lat: f64,
}

/// A box of longitudes and latitudes in degrees, west <= east and south <= north.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bbox {
    /// Western edge in degrees.
    pub west: f64,
    /// Southern edge in degrees.
    pub south: f64,
    /// Eastern edge in degrees.
    pub east: f64,
    /// Northern edge in degrees.
    pub north: f64,
}

/// Why numbers are no position, or a text is no box.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PositionError {
    /// The longitude is not between -180 and 180.
    #[error("longitude {0} is not between -180 and 180 degrees")]
    Longitude(f64),
    /// The latitude is not between -90 and 90.
    #[error("latitude {0} is not between -90 and 90 degrees")]
    Latitude(f64),
    /// The text does not hold four numbers.
    #[error(
        "`{0}` is no bbox; write west,south,east,north in degrees, for example 120.46,30.73,120.51,30.77"
    )]
    NotABbox(String),
    /// The edges are the wrong way round.
    #[error("bbox {0} is inside out: west must be <= east and south <= north")]
    InsideOut(String),
}

impl Position {
    /// A position from degrees.
    ///
    /// # Errors
    /// When a number is not finite or outside -180..180 and -90..90.
    pub fn new(lon: f64, lat: f64) -> Result<Self, PositionError> {
        if !(-180.0..=180.0).contains(&lon) {
            return Err(PositionError::Longitude(lon));
        }
        if !(-90.0..=90.0).contains(&lat) {
            return Err(PositionError::Latitude(lat));
        }
        Ok(Position { lon, lat })
    }

    /// Longitude in degrees, east positive.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Latitude in degrees, north positive.
    pub fn lat(self) -> f64 {
        self.lat
    }
}

impl FromStr for Bbox {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let not_a_bbox = || PositionError::NotABbox(text.to_owned());
        let numbers: Vec<f64> = text
            .split(',')
            .map(|part| part.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| not_a_bbox())?;
        let [west, south, east, north] = numbers[..] else { return Err(not_a_bbox()) };
        let low = Position::new(west, south)?;
        let high = Position::new(east, north)?;
        if low.lon > high.lon || low.lat > high.lat {
            return Err(PositionError::InsideOut(text.to_owned()));
        }
        Ok(Bbox { west, south, east, north })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bbox_is_four_numbers_the_right_way_round() {
        assert!("120.46,30.73,120.51,30.77".parse::<Bbox>().is_ok());
        assert!(matches!("1,2,3".parse::<Bbox>(), Err(PositionError::NotABbox(_))));
        assert!(matches!("a,b,c,d".parse::<Bbox>(), Err(PositionError::NotABbox(_))));
        assert!(matches!("5,0,1,2".parse::<Bbox>(), Err(PositionError::InsideOut(_))));
        assert!(matches!("0,0,181,2".parse::<Bbox>(), Err(PositionError::Longitude(_))));
        assert!(matches!("0,NaN,1,2".parse::<Bbox>(), Err(PositionError::Latitude(_))));
    }
}
