//! Profiles and devices for tests. A device's unit number stands in its name, and a register's value tells
//! unit, table and address, so that a value in the wrong place cannot look right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ingest::modbus::Target;
use crate::model::{AssetKind, DeviceId, Label, PointIndex, Severity};
use crate::profile::{
    ModbusSource, NumberType, Part, Point, Profile, Read, RegisterKind, RegisterRead, Source,
    Staleness, Table, WordOrder,
};
use crate::registry::ModbusAddress;

pub(in super::super) const FAST: Duration = Duration::from_millis(100);
pub(in super::super) const SLOW: Duration = Duration::from_secs(1);
pub(in super::super) const TIMEOUT: Duration = Duration::from_millis(50);

pub(in super::super) fn source(max_registers: u16, max_gap: u16) -> ModbusSource {
    ModbusSource {
        max_registers,
        max_gap,
        timeout: TIMEOUT,
        min_request_gap: Duration::ZERO,
        poll: BTreeMap::from([("fast".to_owned(), FAST), ("slow".to_owned(), SLOW)]),
    }
}

pub(in super::super) fn point(
    name: &str,
    table: Table,
    address: u16,
    number: NumberType,
    poll: &str,
) -> Point {
    let kind = RegisterKind { number, order: WordOrder::ABCD };
    Point {
        name: name.parse().unwrap(),
        label: Label::same(name),
        unit: "1".to_owned(),
        read: Read::Register(RegisterRead {
            table,
            address,
            kind,
            part: Part::Whole,
            poll: poll.to_owned(),
        }),
        scale: 1.0,
        offset: 0.0,
        range: None,
        deadband: None,
        max_rate: None,
        flatline: None,
        sentinels: Vec::new(),
        states: None,
        alerts: Vec::new(),
    }
}

pub(in super::super) fn profile(source: ModbusSource, points: Vec<Point>) -> Profile {
    Profile {
        id: "test".parse().unwrap(),
        name: Label::same("test"),
        manufacturer: "Test".to_owned(),
        model: "T-1".to_owned(),
        kind: AssetKind::SluiceGate,
        source: Source::Modbus(source),
        staleness: Staleness {
            expect_every: None,
            stale_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(60),
            severity: Severity::Minor,
        },
        points,
        headline: PointIndex(0),
        commands: vec![],
        logic: Default::default(),
    }
}

/// What the tests poll: three requests at [`FAST`], one at [`SLOW`].
pub(super) fn gate(source: ModbusSource) -> Arc<Profile> {
    let points = vec![
        point("opening", Table::Holding, 100, NumberType::U16, "fast"),
        point("level", Table::Input, 10, NumberType::U32, "fast"),
        point("motor", Table::Input, 14, NumberType::U16, "fast"),
        point("remote", Table::Discrete, 3, NumberType::Bit, "fast"),
        point("setpoint", Table::Holding, 200, NumberType::U16, "slow"),
    ];
    Arc::new(profile(source, points))
}

/// How many points [`gate`] has.
pub(super) const GATE_POINTS: usize = 5;

/// The value of a holding (`input == false`) or input register.
pub(super) fn word(unit: u8, is_input: bool, address: u16) -> u16 {
    u16::from(unit) * 1_000 + u16::from(is_input) * 500 + address
}

/// The value of a discrete input.
pub(super) fn bit(unit: u8, address: u16) -> bool {
    (u16::from(unit) + address) % 2 == 1
}

/// The one right raw value of a point of [`gate`].
pub(super) fn right_value(unit: u8, point: PointIndex) -> f64 {
    match point.0 {
        0 => f64::from(word(unit, false, 100)),
        1 => f64::from(word(unit, true, 10)) * 65_536.0 + f64::from(word(unit, true, 11)),
        2 => f64::from(word(unit, true, 14)),
        3 => f64::from(u8::from(bit(unit, 3))),
        _ => f64::from(word(unit, false, 200)),
    }
}

pub(super) fn device(unit: u8) -> DeviceId {
    format!("unit-{unit:02}").parse().unwrap()
}

pub(super) fn unit_of(device: &DeviceId) -> u8 {
    device.as_str().trim_start_matches("unit-").parse().unwrap()
}

pub(super) fn target(endpoint: &str, unit: u8, profile: &Arc<Profile>) -> Target {
    Target {
        device: device(unit),
        address: ModbusAddress { endpoint: endpoint.to_owned(), unit },
        profile: Arc::clone(profile),
    }
}
