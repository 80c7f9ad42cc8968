//! What an adapter hands on: bytes or registers from a device that we know.

use super::{DeviceId, Timestamp};

/// Something that a device sent or that was read from it, before anybody gave it a meaning.
#[derive(Debug, Clone, Copy)]
pub struct Uplink<'a> {
    /// The device, as it was authenticated or as its bus is configured; never as the payload says.
    pub device: &'a DeviceId,
    /// When the hub heard it.
    pub received_at: Timestamp,
    /// What was heard.
    pub body: UplinkBody<'a>,
}

/// The two shapes that a device's news comes in.
#[derive(Debug, Clone, Copy)]
pub enum UplinkBody<'a> {
    /// A message with its topic.
    Message {
        /// The topic it was published to.
        topic: &'a str,
        /// The payload as it came.
        payload: &'a [u8],
    },
    /// Values that a bus poller read, already by point: the poller holds the register map.
    Polled(&'a [Reading]),
}

/// The number of a point within its profile, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointIndex(pub u16);

/// A point of a profile with the raw value that the device gave, before scale, range and unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Which point.
    pub point: PointIndex,
    /// The number that stood in the payload or the registers; NaN when the device said "no value"
    /// (JSON null, a NaN register pair, a bus fault).
    pub raw: f64,
    /// The bus refused this point or did not answer: the value is Bad(comm), whatever `raw` is.
    pub comm_fault: bool,
}
