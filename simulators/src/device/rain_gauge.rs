//! wz-rg1: rain since the last report. Its clock counts seconds.

use serde::Serialize;

use super::{json, rounded};

/// What the gauge counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Rain since the last report in mm.
    pub rain_mm: f64,
    /// Battery in volts.
    pub battery_v: f64,
}

#[derive(Serialize)]
struct Payload {
    ts: i64,
    rain_mm: f64,
    bat: f64,
}

impl Reading {
    pub(super) fn encode(&self, clock_ms: i64) -> Vec<u8> {
        json(&Payload {
            ts: clock_ms.div_euclid(1000),
            rain_mm: rounded(self.rain_mm, 1),
            bat: rounded(self.battery_v, 2),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_the_model_sends() {
        super::super::check(
            super::super::Reading::Rain(Reading { rain_mm: 0.2, battery_v: 3.6 }),
            1_790_000_000_999,
            r#"{"ts":1790000000,"rain_mm":0.2,"bat":3.6}"#,
        );
    }
}
