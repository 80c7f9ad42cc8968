//! What a decoder or a bus poller makes of an uplink: raw values by point, before anybody judged them.

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
