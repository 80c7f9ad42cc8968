//! Sparkplug B payloads (Eclipse Sparkplug 3.0): metrics by name, or by the alias that a birth message gave them.
//!
//! A data message may name a metric by its alias alone and leave out its type: both were said once, in the birth. What
//! births said is kept in the device's [`Memory`], by the name of the device behind the node; a node sends births anew
//! whenever it connects, so a hub that starts anew has them before the first data. For devices that do not, a profile
//! may say alias and type itself.
//!
//! A metric that has both a name and an alias teaches its alias whatever the topic, so that a node may also publish to
//! its plain telemetry topic. Metrics are decoded one at a time: a message costs no more memory than its longest one.

mod wire;

use std::collections::{BTreeMap, HashMap};

use super::TopicTemplate;
use super::decode::{DecodeError, Decoded, DeviceTime};
use super::payload::{Encoding, Memory, Message, Target};
use super::time::written;
use super::value::Value;
use crate::model::Reading;
use wire::{Metric, MetricValue};

pub(super) use wire::DataType;

/// The most metrics of one node that are remembered, and the longest name: the largest nodes in use have a few thousand.
const MAX_METRICS: usize = 8_192;
const MAX_NAME_BYTES: usize = 256;

/// The value of the property `Quality` that stands for a good value; the others are bad (0) and stale (500).
const QUALITY_GOOD: u32 = 192;

/// Reads the metrics that a profile names.
#[derive(Debug, Default)]
pub(super) struct SparkplugDecoder {
    slots: HashMap<Box<str>, Vec<Slot>>,
    /// What the profile says of aliases, for devices that send no births.
    declared: HashMap<u64, Box<str>>,
    /// Every point has a declared alias: others need not be known.
    all_declared: bool,
    encoding: Encoding,
    /// A message without a time is no doubt.
    untimed: DeviceTime,
    topic: Option<TopicTemplate>,
}

/// One point.
#[derive(Debug)]
struct Slot {
    target: Target,
    /// The type, where neither message nor birth says it.
    kind: Option<DataType>,
}

/// A metric as births described it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: Box<str>,
    kind: Option<DataType>,
}

/// What births said of a node's metrics: by device ("" for the node itself) and alias; the types by name too.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    devices: BTreeMap<Box<str>, Births>,
    count: usize,
}

#[derive(Debug, Default)]
struct Births {
    by_alias: HashMap<u64, Known>,
    kinds: HashMap<Box<str>, DataType>,
}

/// What a topic says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address<'t> {
    kind: Kind,
    /// The device behind the node; "" for the node itself.
    device: &'t str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All that was known of the node, or of the device, is over.
    Birth,
    Data,
    Death,
    /// The topic is none of Sparkplug's.
    Unsaid,
}

impl<'t> Address<'t> {
    /// `spBv1.0/{group}/{type}/{node}` or `spBv1.0/{group}/{type}/{node}/{device}`, wherever it begins.
    fn of(topic: &'t str) -> Result<Self, DecodeError> {
        let mut levels = topic.split('/').skip_while(|level| *level != "spBv1.0").skip(1);
        let Some((kind, device)) = levels.next().and_then(|_group| {
            let kind = levels.next()?;
            levels.next().map(|_node| (kind, levels.next().unwrap_or_default()))
        }) else {
            return Ok(Address { kind: Kind::Unsaid, device: "" });
        };
        let kind = match kind {
            "NBIRTH" | "DBIRTH" => Kind::Birth,
            "NDATA" | "DDATA" => Kind::Data,
            "NDEATH" | "DDEATH" => Kind::Death,
            other => return Err(DecodeError::WrongTopic(other.to_owned())),
        };
        Ok(Address { kind, device })
    }
}

impl SparkplugDecoder {
    /// The decoder of a profile with this topic.
    pub(super) fn new(topic: Option<TopicTemplate>, encoding: Encoding, is_optional: bool) -> Self {
        let untimed = if is_optional { DeviceTime::Unsaid } else { DeviceTime::Unreadable };
        SparkplugDecoder { topic, encoding, untimed, all_declared: true, ..Default::default() }
    }

    /// Adds a metric to read.
    pub(super) fn add(
        &mut self,
        metric: &str,
        alias: Option<u64>,
        kind: Option<DataType>,
        target: Target,
    ) {
        self.all_declared &= alias.is_some();
        if let Some(alias) = alias {
            self.declared.insert(alias, metric.into());
        }
        self.slots.entry(metric.into()).or_default().push(Slot { target, kind });
    }

    /// Reads one message into `out`, and births into `memory`.
    pub(super) fn decode(
        &self,
        message: Message<'_>,
        memory: &Memory,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let address = Address::of(message.topic)?;
        let payload = self.encoding.open(message.payload)?;
        let time = wire::check(&payload)?;
        let mut aliases = memory.aliases();
        match address.kind {
            // A death carries the number of the birth that is over, and nothing that was measured.
            Kind::Death => return Ok(()),
            Kind::Birth => aliases.forget(address.device),
            Kind::Data | Kind::Unsaid => {}
        }
        // First what the message teaches, then what it says: a refused value teaches its alias all the same.
        wire::for_each_metric(&payload, |metric| {
            aliases.learn(address.device, &metric);
            Ok(())
        })?;
        let births = aliases.devices.get(address.device);
        let device = self.device(message.topic, address.device);
        wire::for_each_metric(&payload, |metric| self.take(metric, device, births, time, out))?;
        match address.kind {
            Kind::Birth => Ok(()),
            _ if out.is_empty() => Err(DecodeError::NoPoint),
            _ => Ok(()),
        }
    }

    /// How the message names its device: not at all where the profile's own topic did so already.
    fn device<'t>(&self, topic: &str, device: &'t str) -> Option<&'t str> {
        let own = self.topic.as_ref().and_then(|template| template.device_in(topic));
        Some(device).filter(|device| !device.is_empty() && own != Some(device))
    }

    fn take(
        &self,
        metric: Metric,
        device: Option<&str>,
        births: Option<&Births>,
        message_time: Option<u64>,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let known = metric.alias.and_then(|alias| births?.by_alias.get(&alias));
        let name = match (metric.name.as_deref(), metric.alias) {
            (Some(name), _) if !name.is_empty() => name,
            (_, Some(alias)) => {
                let declared = self.declared.get(&alias).map(|name| &**name);
                match known.map(|known| &*known.name).or(declared) {
                    Some(name) => name,
                    None if self.all_declared => return Ok(()),
                    None => {
                        let device = device.map(str::to_owned);
                        return Err(DecodeError::UnknownAlias { alias, device });
                    }
                }
            }
            (_, None) => return Ok(()),
        };
        let Some(slots) = self.slots.get(name) else { return Ok(()) };
        let said = metric.datatype.and_then(DataType::of_number);
        let said = said.or(known.and_then(|known| known.kind));
        let said = said.or_else(|| births?.kinds.get(name).copied());
        out.open(device, self.time(&metric, message_time))?;
        for Slot { target, kind } in slots {
            let value = read(&metric, said.or(*kind));
            let raw = target.raw(value, || format!("metric `{name}`"))?;
            let comm_fault = metric.quality().is_some_and(|quality| quality != QUALITY_GOOD);
            out.push(Reading { point: target.point, raw, comm_fault });
        }
        Ok(())
    }

    fn time(&self, metric: &Metric, message_time: Option<u64>) -> DeviceTime {
        let Some(millis) = metric.timestamp.or(message_time) else { return self.untimed };
        let time =
            i64::try_from(millis).ok().and_then(|millis| written(millis.checked_mul(1_000)?));
        match time {
            Some(time) if metric.is_historical == Some(true) => DeviceTime::History(time),
            Some(time) => DeviceTime::At(time),
            None => DeviceTime::Unreadable,
        }
    }
}

/// A metric's value by its type. Signed numbers travel as unsigned ones of the same bits, and short ones in longer.
fn read(metric: &Metric, kind: Option<DataType>) -> Value<'_> {
    if metric.is_null == Some(true) {
        return Value::Null;
    }
    match (&metric.value, kind) {
        (None, _) => Value::Null,
        (Some(MetricValue::Int(n)), Some(DataType::Int8)) => Value::Int(i64::from(*n as i8)),
        (Some(MetricValue::Int(n)), Some(DataType::Int16)) => Value::Int(i64::from(*n as i16)),
        (Some(MetricValue::Int(n)), Some(DataType::Int32)) => Value::Int(i64::from(*n as i32)),
        (Some(MetricValue::Int(n)), _) => Value::Int(i64::from(*n)),
        (Some(MetricValue::Long(n)), Some(kind)) if kind.is_signed() => Value::Int(*n as i64),
        (Some(MetricValue::Long(n)), _) => {
            i64::try_from(*n).map_or(Value::Float(*n as f64), Value::Int)
        }
        (Some(MetricValue::Float(x)), _) => number(f64::from(*x)),
        (Some(MetricValue::Double(x)), _) => number(*x),
        (Some(MetricValue::Boolean(b)), _) => Value::Bool(*b),
        (Some(MetricValue::Text(text)), _) => Value::Text(text),
        (Some(MetricValue::Bytes(_)), _) => Value::Array,
        (Some(MetricValue::DataSet(_) | MetricValue::Template(_)), _) => Value::Object,
    }
}

/// An infinite number is no more a value than NaN.
fn number(x: f64) -> Value<'static> {
    if x.is_finite() { Value::Float(x) } else { Value::Null }
}

impl Aliases {
    /// A birth of the node ends all that was known of it and of the devices behind it; one of a device, of that device.
    fn forget(&mut self, device: &str) {
        if device.is_empty() {
            self.devices.clear();
            self.count = 0;
        } else if let Some(births) = self.devices.remove(device) {
            self.count -= births.len();
        }
    }

    fn learn(&mut self, device: &str, metric: &Metric) {
        let Some(name) = metric.name.as_deref().filter(|name| !name.is_empty()) else { return };
        let kind = metric.datatype.and_then(DataType::of_number);
        let fits = name.len() <= MAX_NAME_BYTES && device.len() <= MAX_NAME_BYTES;
        if !fits || (metric.alias.is_none() && kind.is_none()) {
            return;
        }
        if !self.devices.contains_key(device) {
            if self.count >= MAX_METRICS {
                return;
            }
            self.devices.insert(device.into(), Births::default());
        }
        let Some(births) = self.devices.get_mut(device) else { return };
        let before = births.len();
        let has_room = self.count < MAX_METRICS;
        if let Some(alias) =
            metric.alias.filter(|alias| has_room || births.by_alias.contains_key(alias))
        {
            births.by_alias.insert(alias, Known { name: name.into(), kind });
        }
        if let Some(kind) = kind.filter(|_| has_room || births.kinds.contains_key(name)) {
            births.kinds.insert(name.into(), kind);
        }
        self.count += births.len() - before;
    }
}

impl Births {
    fn len(&self) -> usize {
        self.by_alias.len() + self.kinds.len()
    }
}

#[cfg(test)]
mod tests;
