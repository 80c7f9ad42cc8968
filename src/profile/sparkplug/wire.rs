//! The protobuf messages of Sparkplug B, as far as they are read: `sparkplug_b.proto` of Eclipse Tahu by hand.

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::profile::DecodeError;

/// Numbers of fields of `Payload`.
const TIMESTAMP: u32 = 1;
const METRICS: u32 = 2;

/// One metric of a payload.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) alias: Option<u64>,
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "3")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) datatype: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub(super) is_historical: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) is_null: Option<bool>,
    #[prost(message, optional, tag = "9")]
    pub(super) properties: Option<Properties>,
    #[prost(oneof = "MetricValue", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub(super) value: Option<MetricValue>,
}

/// A metric's value as it travels.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum MetricValue {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
    #[prost(bytes, tag = "16")]
    Bytes(Vec<u8>),
    /// A message of its own, unread.
    #[prost(bytes, tag = "17")]
    DataSet(Vec<u8>),
    /// A message of its own, unread.
    #[prost(bytes, tag = "18")]
    Template(Vec<u8>),
}

/// Properties of a metric: keys, and a value for each.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Properties {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    values: Vec<Property>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Property {
    #[prost(uint32, optional, tag = "3")]
    int: Option<u32>,
}

/// The types of numbers for which the bits alone do not say the value, and the others by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::profile) enum DataType {
    Int8,
    Int16,
    Int32,
    Int64,
    Unsigned,
    Other,
}

impl DataType {
    /// Those that a profile may name.
    pub(in crate::profile) const ALL: [DataType; 5] =
        [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::Unsigned];

    /// The type's spelling in profiles.
    pub(in crate::profile) fn as_str(self) -> &'static str {
        match self {
            DataType::Int8 => "int8",
            DataType::Int16 => "int16",
            DataType::Int32 => "int32",
            DataType::Int64 => "int64",
            DataType::Unsigned => "unsigned",
            DataType::Other => "other",
        }
    }

    /// The type that a message names by its number.
    pub(super) fn of_number(number: u32) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(DataType::Int8),
            2 => Some(DataType::Int16),
            3 => Some(DataType::Int32),
            4 => Some(DataType::Int64),
            5..=8 => Some(DataType::Unsigned),
            _ => Some(DataType::Other),
        }
    }

    pub(super) fn is_signed(self) -> bool {
        !matches!(self, DataType::Unsigned | DataType::Other)
    }
}

impl Metric {
    /// The property `Quality`, when it has one.
    pub(super) fn quality(&self) -> Option<u32> {
        let properties = self.properties.as_ref()?;
        let at = properties.keys.iter().position(|key| key == "Quality")?;
        properties.values.get(at)?.int
    }
}

/// Whether a payload is whole, and its time in milliseconds since 1970.
pub(super) fn check(payload: &[u8]) -> Result<Option<u64>, DecodeError> {
    let mut time = None;
    walk(payload, |tag, wire_type, rest| match (tag, wire_type) {
        (TIMESTAMP, WireType::Varint) => {
            time = Some(decode_varint(rest).map_err(not_sparkplug)?);
            Ok(())
        }
        _ => skip(tag, wire_type, rest),
    })?;
    Ok(time)
}

/// Hands every metric to `take`, until it refuses one.
pub(super) fn for_each_metric(
    payload: &[u8],
    mut take: impl FnMut(Metric) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    walk(payload, |tag, wire_type, rest| match (tag, wire_type) {
        (METRICS, WireType::LengthDelimited) => {
            take(Metric::decode_length_delimited(&mut *rest).map_err(not_sparkplug)?)
        }
        _ => skip(tag, wire_type, rest),
    })
}

fn walk(
    mut rest: &[u8],
    mut field: impl FnMut(u32, WireType, &mut &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(not_sparkplug)?;
        field(tag, wire_type, &mut rest)?;
    }
    Ok(())
}

fn skip(tag: u32, wire_type: WireType, rest: &mut &[u8]) -> Result<(), DecodeError> {
    skip_field(wire_type, tag, rest, DecodeContext::default()).map_err(not_sparkplug)
}

fn not_sparkplug(error: prost::DecodeError) -> DecodeError {
    DecodeError::NotSparkplug(error.to_string())
}
