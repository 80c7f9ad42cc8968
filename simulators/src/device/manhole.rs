//! wz-mh1: level, gas and cover of a manhole.

use serde::Serialize;

use super::{json, rounded};

/// What the sensor sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Depth over the invert in metres.
    pub level_m: f64,
    /// Methane in % of the lower explosive limit.
    pub ch4_lel: f64,
    /// Hydrogen sulphide in ppm.
    pub h2s_ppm: f64,
    /// Oxygen in % by volume.
    pub o2_vol: f64,
    /// Whether the cover is off.
    pub cover_open: bool,
    /// Tilt of the cover in degrees.
    pub tilt_deg: f64,
    /// Battery in volts.
    pub battery_v: f64,
}

#[derive(Serialize)]
struct Payload {
    ts: i64,
    level_mm: i64,
    gas: Gas,
    cover: u8,
    tilt: f64,
    bat: f64,
}

#[derive(Serialize)]
struct Gas {
    ch4: f64,
    h2s: f64,
    o2: f64,
}

impl Reading {
    pub(super) fn encode(&self, clock_ms: i64) -> Vec<u8> {
        json(&Payload {
            ts: clock_ms,
            level_mm: (self.level_m * 1000.0).round() as i64,
            gas: Gas {
                ch4: rounded(self.ch4_lel, 1),
                h2s: rounded(self.h2s_ppm, 1),
                o2: rounded(self.o2_vol, 1),
            },
            cover: u8::from(self.cover_open),
            tilt: rounded(self.tilt_deg, 1),
            bat: rounded(self.battery_v, 2),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_the_model_sends() {
        let reading = Reading {
            level_m: 1.2434,
            ch4_lel: 2.04,
            h2s_ppm: 0.4,
            o2_vol: 20.9,
            cover_open: false,
            tilt_deg: 1.2,
            battery_v: 3.611,
        };
        super::super::check(
            super::super::Reading::Manhole(reading),
            1_790_000_000_000,
            r#"{"ts":1790000000000,"level_mm":1243,"gas":{"ch4":2.0,"h2s":0.4,"o2":20.9},"cover":0,"tilt":1.2,"bat":3.61}"#,
        );
    }
}
