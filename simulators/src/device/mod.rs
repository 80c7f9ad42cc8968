//! What the devices say: one file per model, each with the bytes that the model sends.
//!
//! These encoders share nothing with the hub's decoders on purpose: the two meet only on the wire.

pub mod bay;
pub mod canal_gauge;
pub mod manhole;
pub mod pipe;
pub mod rain_gauge;

/// A reading, ready to be encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Of a manhole sensor.
    Manhole(manhole::Reading),
    /// Of a pipe logger.
    Pipe(pipe::Reading),
    /// Of a rain gauge.
    Rain(rain_gauge::Reading),
    /// Of a canal gauge.
    Canal(canal_gauge::Reading),
    /// Of a bay sensor.
    Bay(bay::Reading),
}

impl Reading {
    /// The payload that the device sends when its own clock shows `clock_ms` (Unix, milliseconds).
    pub fn encode(&self, clock_ms: i64) -> Vec<u8> {
        match self {
            Reading::Manhole(reading) => reading.encode(clock_ms),
            Reading::Pipe(reading) => reading.encode(clock_ms),
            Reading::Rain(reading) => reading.encode(clock_ms),
            Reading::Canal(reading) => reading.encode(clock_ms),
            Reading::Bay(reading) => reading.encode(clock_ms),
        }
    }
}

impl Reading {
    /// Moves the value that the device is there for: level, pressure, rain or temperature.
    pub(crate) fn shift(&mut self, by: f64) {
        match self {
            Reading::Manhole(reading) => reading.level_m = (reading.level_m + by).max(0.0),
            Reading::Pipe(reading) => reading.pressure_kpa = (reading.pressure_kpa + by).max(0.0),
            Reading::Rain(reading) => reading.rain_mm = (reading.rain_mm + by).max(0.0),
            Reading::Canal(reading) => reading.level_m += by,
            Reading::Bay(reading) => reading.temperature_c += by,
        }
    }
}

/// `value` with so many decimals, so that a payload does not show the noise of binary fractions.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    // Adding zero turns -0 into 0.
    (value * scale).round() / scale + 0.0
}

/// JSON of a payload. The structs here hold numbers and texts only, which always serialize.
fn json(payload: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).expect("a struct of numbers and texts is JSON")
}

#[cfg(test)]
fn check(reading: Reading, clock_ms: i64, expected: &str) {
    assert_eq!(String::from_utf8(reading.encode(clock_ms)).unwrap(), expected);
}
