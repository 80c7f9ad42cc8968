//! Fixtures of a profile: what goes in, and what must come out. They are run by [`crate::trial`].

use std::collections::BTreeMap;

use super::{RegisterWrite, Table};
use crate::model::{PointIndex, Severity, Timestamp};

/// One `[[test]]` of a profile, checked against its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixture {
    /// What it shows.
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What the device sends.
    pub input: Input,
    /// The message's topic; empty when the fixture does not say.
    pub topic: String,
    /// Messages that came before, each with its topic: births.
    pub before: Vec<(String, Vec<u8>)>,
    /// Exactly the reports of the message in the order of their time, when the fixture says them one by one; then it
    /// says nothing of the message as a whole.
    pub reports: Option<Vec<ReportFixture>>,
    /// Values that must come out, Good or not: numbers in the point's unit, states by their code.
    pub expect: Vec<(PointIndex, f64)>,
    /// When the readings were observed.
    pub time: Option<Timestamp>,
    /// Points that must not come out.
    pub missing: Vec<PointIndex>,
    /// Points that must come out Bad; all that are neither here nor in `uncertain` must be Good.
    pub bad: Vec<PointIndex>,
    /// Points that must come out Uncertain.
    pub uncertain: Vec<PointIndex>,
    /// Exactly the alerts that are raised at once.
    pub alerts: Vec<ExpectedAlert>,
    /// Exactly the alerts that are true and wait for their on-delay.
    pub pending: Vec<ExpectedAlert>,
    /// The payload must be refused with a reason or a message that holds this text.
    pub error: Option<String>,
}

/// What one report of a message must be.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportFixture {
    /// How it names its device.
    pub device: Option<String>,
    /// What must come out of it, as if it had come alone.
    pub alone: Fixture,
}

/// What a device sends in a fixture.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A payload.
    Message(Vec<u8>),
    /// A LoRaWAN frame.
    Frame {
        /// Its port.
        port: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The words of its register map that can be read.
    Registers(BTreeMap<(Table, u16), u16>),
    /// Nothing: a person asks something of it.
    Command(Box<Given>),
}

/// A command that is asked for, and what must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What is true: fresh and Good. All else was never heard of.
    pub values: Vec<(PointIndex, f64)>,
    /// Which command, by its place in the profile.
    pub command: usize,
    /// Its target.
    pub target: Option<f64>,
    /// What must go out.
    pub sent: Option<Sent>,
    /// The rule or the cause that must refuse it.
    pub refused: Option<String>,
    /// Whether another person must confirm; not looked at when the fixture does not say.
    pub second_person: Option<bool>,
}

/// What goes out to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Registers.
    Writes(Vec<RegisterWrite>),
    /// A message; two JSON documents are equal when they say the same.
    Payload(Vec<u8>),
    /// A LoRaWAN downlink.
    Lorawan {
        /// The port.
        port: u8,
        /// The payload.
        bytes: Vec<u8>,
    },
}

/// An alert of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertRef {
    /// The point that it belongs to; `None` for one over several points.
    pub point: Option<PointIndex>,
    /// Its place among the point's alerts, or among those over several points.
    pub alert: usize,
}

/// An alert that must be raised, or wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedAlert {
    /// Which.
    pub alert: AlertRef,
    /// At which severity; `None`: at any.
    pub severity: Option<Severity>,
}
