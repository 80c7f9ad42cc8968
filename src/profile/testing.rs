//! What the decoders' tests share.

use super::{Decoded, DeviceTime};

/// Each report as its device, time and `point=raw` pairs.
pub(super) fn shown(out: &Decoded) -> Vec<String> {
    out.reports()
        .map(|(report, readings)| {
            let time = match report.time {
                DeviceTime::Unsaid => "now".to_owned(),
                DeviceTime::At(time) => time.to_string(),
                DeviceTime::History(time) => format!("{time}(history)"),
                DeviceTime::Relative(micros) => format!("{}s", micros as f64 / 1e6),
                DeviceTime::Unreadable => "?".to_owned(),
            };
            let device = report.device.as_deref().unwrap_or("-");
            readings.iter().fold(format!("{device} {time}"), |text, reading| {
                let fault = if reading.comm_fault { "!" } else { "" };
                format!("{text} {}={}{fault}", reading.point.0, reading.raw)
            })
        })
        .collect()
}
