//! The words that every room shares: who reported, what, when, how good, where.
//!
//! Takes nothing, hands on types only. No room's behaviour lives here, and nothing here reads the time,
//! a file or a socket. One type per step of the data's way: an uplink (bytes from somebody
//! we know, borrowed: see `pipeline::Desk`) → [`Reading`] (a point of a profile with its raw value) → [`Measurement`] (a
//! series, a unit, a quality) → [`Sample`] (what the store gives back).

mod cause;
mod endpoint;
pub mod gcj02;
mod id;
mod kind;
mod label;
mod measurement;
mod position;
mod quality;
mod reading;
mod role;
mod severity;
pub mod size;
mod time;

pub use cause::{Cause, UnknownCause};
pub use endpoint::{Endpoint, EndpointError, Line, Parity, Transport};
pub use id::{
    AssetId, AssetNumber, DeviceId, IdError, MetricName, ProfileId, SeriesId, UnitId, ZoneId,
};
pub use kind::{AssetKind, Family, UnknownKind};
pub use label::Label;
pub use measurement::{Measurement, Sample};
pub use position::{Bbox, Position, PositionError};
pub use quality::{Grade, Quality, Reason};
pub use reading::{PointIndex, Reading};
pub use role::{Right, Role, UnknownRight, UnknownRole};
pub use severity::{Severity, UnknownSeverity};
pub use time::{TimeError, Timestamp};
