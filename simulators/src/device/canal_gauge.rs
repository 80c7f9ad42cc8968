//! wz-cl1: level of a canal, in the 1985 datum.

use serde::Serialize;

use super::{json, rounded};

/// What the gauge sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Level in metres, 1985 datum.
    pub level_m: f64,
    /// Battery in volts.
    pub battery_v: f64,
}

#[derive(Serialize)]
struct Payload {
    ts: i64,
    level_m: f64,
    bat: f64,
}

impl Reading {
    pub(super) fn encode(&self, clock_ms: i64) -> Vec<u8> {
        json(&Payload {
            ts: clock_ms,
            level_m: rounded(self.level_m, 3),
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
            super::super::Reading::Canal(Reading { level_m: 1.2304, battery_v: 3.6 }),
            1_790_000_000_000,
            r#"{"ts":1790000000000,"level_m":1.23,"bat":3.6}"#,
        );
    }
}
