//! Meaning: device profiles, one TOML file per device model, and the decoders compiled from them.
//!
//! Takes the profile folder and raw payloads; hands on [`Reading`](crate::model::Reading)s with raw values. Never scales a value,
//! judges a range or reads the time: that is the normalizer's.

mod alert;
mod binary;
mod cayenne;
pub mod command;
mod compile;
mod decode;
mod duration;
mod error;
mod example;
pub mod expr;
mod fixture;
mod json;
mod lint;
mod logic;
mod lorawan;
mod parse;
mod payload;
mod raw;
pub mod registers;
mod schema;
mod senml;
mod set;
mod spanned;
mod sparkplug;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod topic;
mod unit;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::CodecError;
use crate::model::{AssetKind, Label, MetricName, PointIndex, ProfileId, Severity};

use payload::Decoder;

pub use alert::{AlertSpec, AlertTest, Condition, ConditionInput, Flap, Rung, Side, Signal};
pub use command::CommandSpec;
pub(crate) use compile::read_alert;
pub use decode::{DecodeError, Decoded, DeviceTime, Report};
pub(crate) use duration::format as format_duration;
pub(crate) use duration::parse as parse_duration;
pub use error::ProfileError;
pub use example::{Example, example};
pub use fixture::{AlertRef, ExpectedAlert, Fixture, Given, Input, ReportFixture, Sent};
pub use logic::{Derived, Logic, QualityRule};
pub use lorawan::{EnvelopeKind, LorawanSource};
pub use payload::{Encoding, Memory, Message, PayloadFormat, Place};
pub use registers::{
    MaskWrite, NumberType, Part, RegisterKind, RegisterRead, RegisterWrite, Table, WordOrder,
};
pub use schema::{SCHEMA_FILE, json_schema};
pub(crate) use set::taken;
pub use set::{
    Fingerprint, ProfileFile, ProfileSet, RefusedProfile, SourceFile, Version, check_file,
    find_files, fingerprint, read_file, read_folder, read_text,
};
pub use time::TimeFormat;
pub use topic::{TopicError, TopicTemplate};
pub(crate) use unit::code as unit_code;

/// A device model: how it speaks and what its points mean. Checked and compiled; immutable.
#[derive(Debug)]
pub struct Profile {
    /// Its id, which devices name.
    pub id: ProfileId,
    /// What it is called.
    pub name: Label,
    /// Who makes the device.
    pub manufacturer: String,
    /// The maker's model name.
    pub model: String,
    /// What it is made for.
    pub kind: AssetKind,
    /// How it speaks.
    pub source: Source,
    /// When its silence means something.
    pub staleness: Staleness,
    /// Its points, in the order of the file: a [`PointIndex`] counts here.
    pub points: Vec<Point>,
    /// The point that stands for the whole device on the map (`headline = "..."`, else the first).
    pub headline: PointIndex,
    /// What it may be told, in the order of the file.
    pub commands: Vec<CommandSpec>,
    /// What it computes from its own points.
    pub logic: Logic,
}

/// How a device speaks.
#[derive(Debug)]
pub enum Source {
    /// It publishes.
    Mqtt(MqttSource),
    /// It is polled.
    Modbus(ModbusSource),
    /// Its network's server publishes for it.
    Lorawan(LorawanSource),
}

/// A publishing device's topic and payload.
#[derive(Debug)]
pub struct MqttSource {
    /// Where it publishes telemetry besides `devices/{device}/telemetry`.
    pub topic: Option<TopicTemplate>,
    decoder: Decoder,
}

/// A polled device's bus settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusSource {
    /// Longest read in registers.
    pub max_registers: u16,
    /// Widest hole that a merged read may span.
    pub max_gap: u16,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Quiet time between two requests.
    pub min_request_gap: Duration,
    /// Named poll rates.
    pub poll: BTreeMap<String, Duration>,
}

/// When a device's silence means something.
#[derive(Debug, Clone, PartialEq)]
pub struct Staleness {
    /// How often it reports.
    pub expect_every: Option<Duration>,
    /// Older values are shown as stale, and a reading that arrives later than this after it was observed is late.
    pub stale_after: Duration,
    /// Silence of this length raises the device's no-data alert.
    pub dead_after: Duration,
    /// The no-data alert's severity.
    pub severity: Severity,
}

/// One value that the device reports.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its metric name.
    pub name: MetricName,
    /// What it is called.
    pub label: Label,
    /// UCUM unit; `1` for states and counts.
    pub unit: String,
    /// Where it stands in a payload or a register map.
    pub read: Read,
    /// Value = raw * scale + offset.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// Plausible values; outside is Bad(range).
    pub range: Option<(f64, f64)>,
    /// Smallest change that matters for showing.
    pub deadband: Option<f64>,
    /// Fastest plausible change in units per second.
    pub max_rate: Option<f64>,
    /// How long the exact same value is plausible.
    pub flatline: Option<Duration>,
    /// Raw values that mean "no value".
    pub sentinels: Vec<f64>,
    /// Codes and names, when the point is a state.
    pub states: Option<Vec<State>>,
    /// Limits.
    pub alerts: Vec<Arc<AlertSpec>>,
}

/// A state's code and name.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The number that the device sends and the store keeps.
    pub code: f64,
    /// The name used in profiles and rules.
    pub name: String,
    /// What people read.
    pub label: Label,
}

/// Where a point's raw value stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// A JSON pointer (RFC 6901).
    Json(String),
    /// A register.
    Register(RegisterRead),
    /// A place in a payload of another format than JSON.
    Payload(Place),
    /// Nowhere: it is computed from other points; see [`Logic`].
    Derived,
}

impl Profile {
    /// As [`Profile::decode_message`], for a payload by itself: without its topic, and without what the device said
    /// before.
    ///
    /// # Errors
    /// When the payload is not what the profile says; see [`DecodeError`].
    pub fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        self.decode_message(Message { topic: "", payload }, &Memory::default(), out)
    }

    /// Decodes a message into `out` (cleared first). All or nothing: on an error `out` holds no readings. A message may
    /// be well and say nothing (a birth or a death). `memory` is the sender's, the same from message to message.
    ///
    /// # Errors
    /// When the payload is not what the profile says; see [`DecodeError`].
    pub fn decode_message(
        &self,
        message: Message<'_>,
        memory: &Memory,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        match &self.source {
            Source::Mqtt(mqtt) => mqtt.decoder.decode(message, memory, out),
            Source::Modbus(_) => {
                out.clear();
                Err(DecodeError::NoPoint)
            }
            // Its codec is in another process; who calls here has no way to it.
            Source::Lorawan(_) => {
                out.clear();
                Err(CodecError::Unavailable("this way has none".to_owned()).into())
            }
        }
    }

    /// How its frames are read, when it is a LoRaWAN device: that needs a codec, see [`LorawanSource`].
    pub fn lorawan(&self) -> Option<&LorawanSource> {
        match &self.source {
            Source::Lorawan(lorawan) => Some(lorawan),
            _ => None,
        }
    }

    /// Every alert: those of the points in the order of the file, then those over several points.
    pub fn alerts(&self) -> impl Iterator<Item = (AlertRef, &Arc<AlertSpec>)> {
        let of_points = self.points.iter().enumerate().flat_map(|(i, point)| {
            let point_index = Some(PointIndex(i as u16));
            let refs = point.alerts.iter().enumerate();
            refs.map(move |(alert, spec)| (AlertRef { point: point_index, alert }, spec))
        });
        let of_device = self.logic.alerts.iter().enumerate();
        of_points.chain(of_device.map(|(alert, spec)| (AlertRef { point: None, alert }, spec)))
    }

    /// An alert's name with its point's: `level.high`, or only its own.
    pub fn alert_path(&self, alert: AlertRef, spec: &AlertSpec) -> String {
        let point = alert.point.and_then(|point| self.points.get(usize::from(point.0)));
        point.map_or(spec.name.clone(), |point| format!("{}.{}", point.name, spec.name))
    }

    /// The command of this name.
    pub fn command(&self, name: &str) -> Option<&CommandSpec> {
        self.commands.iter().find(|command| command.name == name)
    }

    /// The point of this name.
    pub fn point(&self, name: &str) -> Option<(PointIndex, &Point)> {
        self.points
            .iter()
            .enumerate()
            .find(|(_, point)| point.name.as_str() == name)
            .map(|(i, point)| (PointIndex(i as u16), point))
    }
}
