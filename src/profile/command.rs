//! Commands of a device model: what may be asked of it, under which conditions, how it is told, and how it shows that it
//! has done it.
//!
//! Data only: the command room judges and executes; the fixtures of a profile judge by the same function.

use std::time::Duration;

use super::Table;
use super::expr::Expr;
use super::registers::{self, RegisterKind, RegisterWrite};
use crate::model::{Cause, Label, PointIndex, Role};

/// Names that a command's formulas may use beside its points and the values of its site, in this order behind them.
pub const NAMES: [&str; 3] = ["target", "change", "critical"];

/// One command of a profile.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// Its name, for example `set_opening`.
    pub name: String,
    /// What people read.
    pub label: Label,
    /// Its target value; `None` for one that needs none (stop).
    pub arg: Option<Arg>,
    /// How the device is told.
    pub order: Order,
    /// What must hold before it is sent: on fresh Good values only.
    pub require: Vec<Condition>,
    /// What must hold while it executes: the first that does not ends it as a FAULT.
    pub watch: Vec<Condition>,
    /// When any of these holds, another person has to confirm.
    pub two_person: Vec<Condition>,
    /// Values of the asset that the formulas use.
    pub site: Vec<SiteValue>,
    /// The setpoint's echo.
    pub readback: Option<Readback>,
    /// How the point itself shows that the command is done; `None` for a message whose effect nobody can measure.
    pub confirm: Option<Confirm>,
    /// Who may: every role that has all the rights of this one.
    pub role: Role,
    /// How old a value may be that a condition rests on.
    pub fresh: Duration,
    /// How late a device that sleeps may still take it.
    pub deliver: Duration,
    /// One step, also while another command executes, which it ends.
    pub emergency: bool,
    /// The emergency command that takes this one back while it executes.
    pub stop: Option<String>,
}

/// A command's target value.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    /// UCUM unit.
    pub unit: String,
    /// Smallest and largest target.
    pub range: (f64, f64),
    /// Targets are multiples of this.
    pub step: Option<f64>,
    /// The largest distance from the present value.
    pub max_change: Option<f64>,
    /// The point with the present value.
    pub from: Option<PointIndex>,
    /// How far the present value may move between selection and confirmation.
    pub tolerance: f64,
}

/// How a device is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Registers are written.
    Registers(RegisterOrder),
    /// A JSON document with id, command and target is published to `devices/{device}/commands`.
    Json,
    /// These bytes, and the target behind them if it has a place, are published there.
    Bytes(ByteOrder),
    /// The profile's codec makes a LoRaWAN downlink of this.
    Lorawan {
        /// The port.
        port: u8,
        /// What `encodeDownlink` gets.
        data: serde_json::Value,
    },
}

/// A number in registers.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterOrder {
    /// Holding registers or coils.
    pub table: Table,
    /// Zero-based address.
    pub address: u16,
    /// How the registers make a number.
    pub kind: RegisterKind,
    /// target = raw * scale + offset.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// What is written by a command without a target, as it stands in the registers.
    pub value: Option<f64>,
}

/// Bytes with a number at their end.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteOrder {
    /// The first bytes.
    pub prefix: Vec<u8>,
    /// The target's type and byte order, and what makes it raw: target = raw * scale.
    pub target: Option<(RegisterKind, f64)>,
}

/// What goes to the device.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// Registers.
    Writes(Vec<RegisterWrite>),
    /// A message's payload.
    Message(Vec<u8>),
    /// What a codec has to encode.
    Lorawan {
        /// The port.
        port: u8,
        /// What `encodeDownlink` gets.
        data: serde_json::Value,
    },
}

/// A formula with what its failure means.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What must hold.
    pub expr: Expr,
    /// The formula as it stands in the profile.
    pub source: String,
    /// Why a command is refused that does not satisfy it.
    pub cause: Cause,
    /// What people read then.
    pub text: Label,
    /// Whether it rests on the command's target, and so says nothing of the device alone.
    pub needs_target: bool,
}

/// A value of the asset: from its properties, else a default.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteValue {
    /// The property's name, and the name in formulas.
    pub name: String,
    /// UCUM unit.
    pub unit: String,
    /// What counts when the asset does not say.
    pub default: Option<f64>,
}

/// Where a setpoint echoes.
#[derive(Debug, Clone, PartialEq)]
pub struct Readback {
    /// The point.
    pub point: PointIndex,
    /// How far it may be from the target.
    pub tolerance: f64,
    /// How soon.
    pub within: Duration,
}

/// How the point itself shows that a command is done.
#[derive(Debug, Clone)]
pub struct Confirm {
    /// The point.
    pub point: PointIndex,
    /// What it must show.
    pub goal: Goal,
    /// What must hold besides: the motor stands.
    pub settled: Option<Expr>,
    /// How soon.
    pub within: Duration,
    /// How often it is looked at.
    pub every: Duration,
    /// The link counts as lost after this long without a Good value.
    pub lost_after: Duration,
}

/// What a point must show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The target, this close.
    Target {
        /// In the point's unit.
        tolerance: f64,
    },
    /// A state's code or a number.
    Equals(f64),
}

impl CommandSpec {
    /// What goes to the device for this target; `id` stands in a JSON document. `None` when the target does not fit.
    pub fn outgoing(&self, id: u64, target: Option<f64>) -> Option<Outgoing> {
        match &self.order {
            Order::Registers(order) => {
                let raw = match order.value {
                    Some(value) => value,
                    None => to_raw(target? - order.offset, order.scale),
                };
                let values = registers::encode(order.kind, raw)?;
                let write = RegisterWrite { table: order.table, address: order.address, values };
                Some(Outgoing::Writes(vec![write]))
            }
            Order::Json => {
                let mut body = serde_json::json!({ "id": id, "command": self.name });
                if let Some(target) = target {
                    body["target"] = number(target);
                }
                Some(Outgoing::Message(body.to_string().into_bytes()))
            }
            Order::Bytes(order) => {
                let mut bytes = order.prefix.clone();
                if let Some((kind, scale)) = order.target {
                    let words = registers::encode(kind, to_raw(target?, scale))?;
                    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
                }
                Some(Outgoing::Message(bytes))
            }
            Order::Lorawan { port, data } => {
                Some(Outgoing::Lorawan { port: *port, data: data.clone() })
            }
        }
    }

    /// The points that it reads while it executes, each once, in the order of the profile.
    pub fn watched(&self) -> Vec<PointIndex> {
        let confirm = self.confirm.iter();
        let own = confirm.clone().map(|confirm| confirm.point);
        let settled = confirm.filter_map(|confirm| confirm.settled.as_ref());
        let exprs = self.watch.iter().map(|condition| &condition.expr).chain(settled);
        let mut points: Vec<_> = own.chain(exprs.flat_map(|e| e.inputs().to_vec())).collect();
        points.sort_unstable();
        points.dedup();
        points
    }
}

/// A whole target without a decimal point: a small device's parser may know no other.
fn number(target: f64) -> serde_json::Value {
    let is_whole = target.fract() == 0.0 && target.abs() < 1e15;
    if is_whole { (target as i64).into() } else { target.into() }
}

/// A target as the raw number of its registers.
fn to_raw(value: f64, scale: f64) -> f64 {
    let raw = value / scale;
    // A target of 42 % in tenths is 420, not 420.00000000000006.
    let whole = raw.round();
    if (raw - whole).abs() < 1e-6 * whole.abs().max(1.0) { whole } else { raw }
}
