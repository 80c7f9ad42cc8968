//! wz-pb1: whether a car stands in a bay. Its clock counts seconds.

use serde::Serialize;

use super::{json, rounded};

/// What the sensor sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whether a car stands over it.
    pub occupied: bool,
    /// Battery in volts.
    pub battery_v: f64,
    /// Temperature of the ground in degrees Celsius.
    pub temperature_c: f64,
}

#[derive(Serialize)]
struct Payload {
    ts: i64,
    occ: u8,
    bat: f64,
    temp: f64,
}

impl Reading {
    pub(super) fn encode(&self, clock_ms: i64) -> Vec<u8> {
        json(&Payload {
            ts: clock_ms.div_euclid(1000),
            occ: u8::from(self.occupied),
            bat: rounded(self.battery_v, 2),
            temp: rounded(self.temperature_c, 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_the_model_sends() {
        let reading = Reading { occupied: false, battery_v: 3.41, temperature_c: 21.5 };
        super::super::check(
            super::super::Reading::Bay(reading),
            1_790_000_000_000,
            r#"{"ts":1790000000,"occ":0,"bat":3.41,"temp":21.5}"#,
        );
    }
}
