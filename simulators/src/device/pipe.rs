//! wz-pf2: flow of a pipe and pressure of the supply.

use serde::Serialize;

use super::{json, rounded};

/// What the logger sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Flow in m3/h.
    pub flow_m3h: f64,
    /// Pressure in kPa.
    pub pressure_kpa: f64,
    /// Battery in percent.
    pub battery_percent: f64,
}

#[derive(Serialize)]
struct Payload {
    t: String,
    flow_m3h: f64,
    p_kpa: f64,
    bat: i64,
}

impl Reading {
    pub(super) fn encode(&self, clock_ms: i64) -> Vec<u8> {
        // Only a clock beyond the year 9999 has no text; the epoch then shows that it is broken.
        let t = jiff::Timestamp::from_millisecond(clock_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        json(&Payload {
            t: t.to_string(),
            flow_m3h: rounded(self.flow_m3h, 1),
            p_kpa: rounded(self.pressure_kpa, 1),
            bat: self.battery_percent.round() as i64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_the_model_sends() {
        let reading = Reading { flow_m3h: 123.44, pressure_kpa: 310.52, battery_percent: 88.2 };
        super::super::check(
            super::super::Reading::Pipe(reading),
            1_790_000_000_250,
            r#"{"t":"2026-09-21T14:13:20.25Z","flow_m3h":123.4,"p_kpa":310.5,"bat":88}"#,
        );
    }
}
