//! What a message said, or why nobody can tell.

use std::ops::Range;

use crate::model::{PointIndex, Reading, Timestamp};

/// What a message said: one report or several, of one device or of several. Reused between messages:
/// [`Decoded::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Decoded {
    reports: Vec<Report>,
    /// The readings of all reports, one report after the other.
    readings: Vec<Reading>,
}

/// What one device measured at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the message names the device; `None` for the one that it came from.
    pub device: Option<Box<str>>,
    /// The device's own time.
    pub time: DeviceTime,
    readings: Range<usize>,
}

/// What a message says of the time at which its readings were observed. None of these loses a reading: the normalizer
/// judges what is not [`DeviceTime::At`] or cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceTime {
    /// The profile names no time, or allows that it is left out: the hub's own stands.
    #[default]
    Unsaid,
    /// The device's own time.
    At(Timestamp),
    /// The profile names a time that the message does not have, or not in a form that can be read.
    Unreadable,
}

impl DeviceTime {
    /// The device's own time, when it said one.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            DeviceTime::At(time) => Some(time),
            DeviceTime::Unsaid | DeviceTime::Unreadable => None,
        }
    }
}

impl Decoded {
    /// Forgets the last message.
    pub fn clear(&mut self) {
        self.reports.clear();
        self.readings.clear();
    }

    /// Opens the next report; what is pushed from now on belongs to it.
    pub fn begin(&mut self, device: Option<&str>, time: DeviceTime) {
        let here = self.readings.len();
        self.reports.push(Report { device: device.map(Box::from), time, readings: here..here });
    }

    /// Adds a reading to the report that was opened last; opens one of the sender itself if there is none.
    pub fn push(&mut self, reading: Reading) {
        if self.reports.is_empty() {
            self.begin(None, DeviceTime::Unsaid);
        }
        self.readings.push(reading);
        let end = self.readings.len();
        if let Some(report) = self.reports.last_mut() {
            report.readings.end = end;
        }
    }

    /// Says when the report that was opened last was observed; opens one of the sender itself if there is none.
    pub fn set_time(&mut self, time: DeviceTime) {
        match self.reports.last_mut() {
            Some(report) => report.time = time,
            None => self.begin(None, time),
        }
    }

    /// Takes a point's readings out of the report that was opened last.
    pub fn forget(&mut self, point: PointIndex) {
        let Some(report) = self.reports.last_mut() else { return };
        let mut kept = report.readings.start;
        for at in report.readings.clone() {
            if self.readings[at].point != point {
                self.readings.swap(kept, at);
                kept += 1;
            }
        }
        self.readings.truncate(kept);
        report.readings.end = kept;
    }

    /// The reports, each with its readings, in the order of the message.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = (&Report, &[Reading])> {
        self.reports.iter().map(|report| (report, &self.readings[report.readings.clone()]))
    }

    /// Whether no report has a reading.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// The readings of all reports.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }
}

/// Why a payload could not be decoded. An expected outcome: counted by [`DecodeError::reason`], kept for a look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload is no JSON.
    #[error("payload is not JSON: {0}")]
    NotJson(String),
    /// A point's place holds something that is no number, state or bool.
    #[error("{path} is {found}; expected a number{}", .states.as_deref().map(|s| format!(" or one of {s}")).unwrap_or_default())]
    WrongType {
        /// The JSON pointer.
        path: String,
        /// What stands there.
        found: String,
        /// The state names that would do.
        states: Option<String>,
    },
    /// The payload is no network server's uplink.
    #[error("payload is no uplink; expected {expected}")]
    NoEnvelope {
        /// Whose would be right.
        expected: &'static str,
    },
    /// An uplink, but with nothing of the application's in it.
    #[error("the message carries no frame")]
    NoFrame,
    /// The frame in an envelope is no base64.
    #[error("the frame is no base64: {0}")]
    NoBase64(String),
    /// The frame is of a port that carries no readings.
    #[error("a frame of port {port}; the profile reads {expected}")]
    OtherPort {
        /// Its port.
        port: u8,
        /// The profile's.
        expected: String,
    },
    /// The codec has no answer.
    #[error(transparent)]
    Codec(#[from] crate::codec::CodecError),
    /// None of the profile's points stands in the payload.
    #[error("none of the profile's points is in the payload")]
    NoPoint,
}

impl DecodeError {
    /// The reason's spelling in counters and in the API.
    pub fn reason(&self) -> &'static str {
        match self {
            DecodeError::NotJson(_) => "not_json",
            DecodeError::WrongType { .. } => "wrong_type",
            DecodeError::NoEnvelope { .. } => "no_envelope",
            DecodeError::NoFrame => "no_frame",
            DecodeError::NoBase64(_) => "no_base64",
            DecodeError::OtherPort { .. } => "other_port",
            DecodeError::Codec(error) => error.reason(),
            DecodeError::NoPoint => "no_point",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(point: u16, raw: f64) -> Reading {
        Reading { point: PointIndex(point), raw, comm_fault: false }
    }

    #[test]
    fn readings_belong_to_the_report_that_was_opened_last() {
        let mut decoded = Decoded::default();
        decoded.push(reading(0, 1.0));
        decoded.push(reading(1, 2.0));
        decoded.begin(Some("b"), DeviceTime::Unreadable);
        decoded.push(reading(0, 3.0));
        decoded.push(reading(1, 4.0));
        decoded.push(reading(0, 5.0));
        decoded.forget(PointIndex(0));
        let found: Vec<_> =
            decoded.reports().map(|(r, readings)| (r.device.as_deref(), readings.len())).collect();
        assert_eq!(found, [(None, 2), (Some("b"), 1)]);
        assert_eq!(decoded.readings()[2], reading(1, 4.0));
        decoded.clear();
        assert!(decoded.is_empty() && decoded.reports().len() == 0);
    }
}
