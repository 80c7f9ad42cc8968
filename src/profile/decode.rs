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
    /// The device's own time of a reading that it says itself is not about the present.
    History(Timestamp),
    /// So many microseconds after (before, when negative) the message was sent: a device without a clock.
    Relative(i64),
    /// The profile names a time that the message does not have, or not in a form that can be read.
    Unreadable,
}

/// The most reports and readings of one message: days of a logger's memory, and what a hostile message can cost.
const MAX_REPORTS: usize = 4_096;
const MAX_READINGS: usize = 65_536;

impl DeviceTime {
    /// The device's own time, when it said one.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            DeviceTime::At(time) | DeviceTime::History(time) => Some(time),
            DeviceTime::Unsaid | DeviceTime::Relative(_) | DeviceTime::Unreadable => None,
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

    /// Opens the next report unless the last one is of the same device and time.
    ///
    /// # Errors
    /// When the message says more than the hub takes at once.
    pub(super) fn open(
        &mut self,
        device: Option<&str>,
        time: DeviceTime,
    ) -> Result<(), DecodeError> {
        if self.readings.len() >= MAX_READINGS {
            return Err(DecodeError::TooMany { what: "readings", most: MAX_READINGS });
        }
        match self.reports.last() {
            Some(last) if last.time == time && last.device.as_deref() == device => Ok(()),
            _ => self.open_next(device, time),
        }
    }

    /// As [`Decoded::open`], but always a report of its own: one that got no readings makes room for it.
    pub(super) fn open_next(
        &mut self,
        device: Option<&str>,
        time: DeviceTime,
    ) -> Result<(), DecodeError> {
        if self.reports.last().is_some_and(|last| last.readings.is_empty()) {
            self.reports.pop();
        }
        if self.reports.len() >= MAX_REPORTS {
            return Err(DecodeError::TooMany { what: "reports", most: MAX_REPORTS });
        }
        if self.readings.len() >= MAX_READINGS {
            return Err(DecodeError::TooMany { what: "readings", most: MAX_READINGS });
        }
        self.begin(device, time);
        Ok(())
    }

    /// Closes a message of several reports: those without readings go, the others come in the order of their time. A
    /// logger may send its newest line first; judged in that order, all others would be late.
    pub(super) fn close(&mut self) {
        self.reports.retain(|report| !report.readings.is_empty());
        self.reports.sort_by_key(|report| match report.time {
            DeviceTime::At(time) | DeviceTime::History(time) => (0, time.as_micros()),
            DeviceTime::Relative(micros) => (1, micros),
            DeviceTime::Unsaid | DeviceTime::Unreadable => (1, 0),
        });
    }

    /// Says of which device all reports are.
    pub(super) fn set_device_of_all(&mut self, device: Option<&str>) {
        self.reports.iter_mut().for_each(|report| report.device = device.map(Box::from));
    }

    /// Says when all reports were observed.
    pub(super) fn set_time_of_all(&mut self, time: DeviceTime) {
        self.reports.iter_mut().for_each(|report| report.time = time);
    }

    /// Says of which device the report that was opened last is.
    pub(super) fn set_device(&mut self, device: Option<&str>) {
        if let Some(report) = self.reports.last_mut() {
            report.device = device.map(Box::from);
        }
    }

    /// Whether the report that was opened last has readings.
    pub(super) fn last_has_readings(&self) -> bool {
        self.reports.last().is_some_and(|report| !report.readings.is_empty())
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
    /// The payload is no SenML.
    #[error("payload is not SenML: {0}")]
    NotSenml(String),
    /// The payload is no Sparkplug B message.
    #[error("payload is not Sparkplug B: {0}")]
    NotSparkplug(String),
    /// The payload is no Cayenne LPP frame.
    #[error("payload is not Cayenne LPP: {0}")]
    NotLpp(String),
    /// The payload is no text, or not in the form that the profile says.
    #[error("payload is not text: {0}")]
    NotText(String),
    /// The payload should be hex or base64 and is not.
    #[error("payload is not {encoding}: {why}")]
    NotEncoded {
        /// `hex` or `base64`.
        encoding: &'static str,
        /// What stands there instead.
        why: String,
    },
    /// The frame is not as long as the profile says, or a field stands beyond its end.
    #[error("the frame has {found} bytes; expected {expected}")]
    WrongLength {
        /// Its length.
        found: usize,
        /// What would be right.
        expected: String,
    },
    /// Bytes that are always the same in such a frame are not.
    #[error("byte {byte} begins {found}; expected {expected}")]
    WrongConstant {
        /// Where they stand, from 0.
        byte: usize,
        /// What stands there, in hex.
        found: String,
        /// What should, in hex.
        expected: String,
    },
    /// A line has fewer columns than the profile reads.
    #[error("line {line} has {found} columns; column {column} is read")]
    TooFewColumns {
        /// The line, from 1.
        line: usize,
        /// How many it has.
        found: usize,
        /// The one that is read, from 0.
        column: usize,
    },
    /// A value has another unit than the profile says.
    #[error("{place} is in {found}; expected {expected}")]
    WrongUnit {
        /// Where it stands.
        place: String,
        /// Its unit.
        found: String,
        /// The profile's.
        expected: String,
    },
    /// A metric is named by a number that no birth message explained.
    #[error("the alias {alias} is unknown{}: no birth message named it", .device.as_deref().map(|d| format!(" for {d}")).unwrap_or_default())]
    UnknownAlias {
        /// The number.
        alias: u64,
        /// The device behind the node.
        device: Option<String>,
    },
    /// The topic says that the message is no telemetry.
    #[error(
        "`{0}` is no Sparkplug message type that a device sends; expected NBIRTH, DBIRTH, NDATA, DDATA, NDEATH or DDEATH"
    )]
    WrongTopic(String),
    /// The profile says where a message names its device, and it does not.
    #[error("{place} does not name its device: {why}")]
    NoDevice {
        /// Which report.
        place: String,
        /// Where the name should be, or what stands there.
        why: String,
    },
    /// More than the hub takes in one message.
    #[error("a message has at most {most} {what}")]
    TooMany {
        /// Reports or readings.
        what: &'static str,
        /// How many are taken.
        most: usize,
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
            DecodeError::NotSenml(_) => "not_senml",
            DecodeError::NotSparkplug(_) => "not_sparkplug",
            DecodeError::NotLpp(_) => "not_lpp",
            DecodeError::NotText(_) => "not_text",
            DecodeError::NotEncoded { .. } => "not_encoded",
            DecodeError::WrongLength { .. } => "wrong_length",
            DecodeError::WrongConstant { .. } => "wrong_constant",
            DecodeError::TooFewColumns { .. } => "too_few_columns",
            DecodeError::WrongUnit { .. } => "wrong_unit",
            DecodeError::UnknownAlias { .. } => "unknown_alias",
            DecodeError::WrongTopic(_) => "wrong_topic",
            DecodeError::NoDevice { .. } => "no_device",
            DecodeError::TooMany { .. } => "too_many",
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
