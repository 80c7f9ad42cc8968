//! JSON payloads: the profile's pointers, compiled into a tree that one pass over the payload is led by.
//!
//! This runs once per message. The good path does not allocate: members that the profile does not name are skipped
//! unread, keys are compared as they stand in the payload, and values go straight into the reused [`Decoded`]. A payload
//! that holds a list of reports is walked in the same pass: each element of the list is led by a tree of its own.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::payload::wrong_type;
use super::time::TimeReader;
use super::value::{Value, raw};
use crate::model::{PointIndex, Reading};

/// The most members of one JSON object that a profile may name: what was seen of them is kept in a bit each.
const MAX_MEMBERS: usize = 256;

/// Why a text cannot be one of a profile's JSON pointers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PointerError {
    #[error("`{0}` is no JSON pointer; it starts with `/`, for example {1}")]
    NoSlash(String, String),
    #[error("`~` in a JSON pointer is followed by 0 (for ~) or 1 (for /)")]
    BadEscape,
    #[error("`{inner}` reads inside the value that `{outer}` reads as a number")]
    Nested { outer: String, inner: String },
    #[error("at most {MAX_MEMBERS} members of one object can be read")]
    TooManyMembers,
}

/// A compiled set of pointers.
#[derive(Debug, Default)]
pub(super) struct JsonDecoder {
    root: Node,
    /// What a payload says of its time when it does not have it.
    untimed: DeviceTime,
    /// The tree of one element, until [`JsonDecoder::read_each`] puts it where the list stands.
    element: Option<Node>,
    shape: Shape,
}

/// What a payload holds besides the values of one report of its sender.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    /// A list of reports.
    is_list: bool,
    /// Whether reports name their device, and whether each must.
    devices: Option<Named>,
}

/// How a report names its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Always.
    Always,
    /// One that does not is of the sender itself.
    Sometimes,
}

/// A place in the payload.
#[derive(Debug)]
enum Node {
    /// Nothing is read here, but further in.
    Branch(Vec<Child>),
    /// A value is read here.
    Leaf(Leaf),
    /// A list stands here, and each of its elements is a report.
    Each(Box<Each>),
}

#[derive(Debug)]
struct Each {
    path: Box<str>,
    element: Node,
    untimed: DeviceTime,
}

#[derive(Debug)]
struct Child {
    key: Box<str>,
    /// The key as an index, should the payload have an array here.
    index: Option<usize>,
    node: Node,
}

#[derive(Debug)]
struct Leaf {
    path: Box<str>,
    sinks: Vec<Sink>,
}

/// What a value is for.
#[derive(Debug)]
pub(super) enum Sink {
    /// A point's raw value; a text may name one of its states.
    Point { point: PointIndex, states: Box<[(String, f64)]> },
    /// The device's own time.
    Time(TimeReader),
    /// The name of the device that the report is of.
    Device,
    /// The time of all reports of a list, said once beside it.
    TimeOfAll(TimeReader),
    /// The device of all reports of a list, said once beside it.
    DeviceOfAll,
}

/// What one pass over a payload finds out besides values.
#[derive(Debug, Default)]
struct Findings {
    /// Why the payload was refused, when it was not the JSON's fault.
    failure: Option<DecodeError>,
    time_of_all: Option<DeviceTime>,
    device_of_all: Option<String>,
}

impl Default for Node {
    fn default() -> Self {
        Node::Branch(Vec::new())
    }
}

impl JsonDecoder {
    /// The decoder of payloads that hold a list of reports: pointers count from its elements. Where the list stands is
    /// said last, to [`JsonDecoder::read_each`].
    pub(super) fn of_list() -> Self {
        JsonDecoder { element: Some(Node::default()), ..JsonDecoder::default() }
    }

    /// A time that a payload leaves out is no doubt: the hub's own stands.
    pub(super) fn allow_untimed(&mut self) {
        self.untimed = DeviceTime::Unsaid;
    }

    /// Says that reports name their device.
    pub(super) fn name_devices(&mut self, named: Named) {
        self.shape.devices = Some(named);
    }

    /// Adds a place to read (RFC 6901; the empty pointer is the whole payload, or the whole element of a list).
    pub(super) fn add(&mut self, pointer: &str, sink: Sink) -> Result<(), PointerError> {
        if matches!(sink, Sink::Time(_)) {
            self.untimed = DeviceTime::Unreadable;
        }
        let is_beside = matches!(sink, Sink::TimeOfAll(_) | Sink::DeviceOfAll);
        let tree = self.element.as_mut().filter(|_| !is_beside).unwrap_or(&mut self.root);
        tree.at(pointer)?.read_here(pointer, sink)
    }

    /// Says where the list of reports stands.
    pub(super) fn read_each(&mut self, pointer: &str) -> Result<(), PointerError> {
        let Some(element) = self.element.take() else { return Ok(()) };
        self.shape.is_list = true;
        let each = Each { path: pointer.into(), element, untimed: self.untimed };
        match self.root.at(pointer)? {
            place @ Node::Branch(_) if place.first_path().is_none() => {
                *place = Node::Each(Box::new(each));
                Ok(())
            }
            taken => Err(nested(taken.first_path().unwrap_or_default(), pointer)),
        }
    }

    /// Reads one payload into `out`, which holds nothing on an error.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        out.clear();
        if !self.shape.is_list {
            out.begin(None, self.untimed);
        }
        let mut findings = Findings::default();
        let mut json = serde_json::Deserializer::from_slice(payload);
        let read = Walk { node: &self.root, out, findings: &mut findings }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        let result = match (read, findings.failure.take()) {
            (Ok(()), _) if out.is_empty() => Err(DecodeError::NoPoint),
            (Ok(()), _) => match self.shape {
                Shape { is_list: false, devices: None } => return Ok(()),
                shape => shape.finish(findings, out),
            },
            (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(DecodeError::NotJson(error.to_string())),
        };
        if result.is_err() {
            out.clear();
        }
        result
    }
}

impl Shape {
    /// What is said once for all reports, and that each names its device if it must.
    fn finish(self, findings: Findings, out: &mut Decoded) -> Result<(), DecodeError> {
        if let Some(time) = findings.time_of_all {
            out.set_time_of_all(time);
        }
        if let Some(device) = findings.device_of_all {
            out.set_device_of_all(Some(&device));
        }
        let nameless = |(report, readings): (&super::Report, &[Reading])| {
            report.device.is_none() && !readings.is_empty()
        };
        let nameless = out.reports().position(nameless);
        if let Some(at) = nameless.filter(|_| self.devices == Some(Named::Always)) {
            let why = "nothing stands there".to_owned();
            return Err(DecodeError::NoDevice { place: format!("report {at}"), why });
        }
        out.close();
        Ok(())
    }
}

fn no_slash(pointer: &str) -> PointerError {
    let path = pointer.trim_start_matches(['$', '.']).replace(['.', '['], "/").replace(']', "");
    PointerError::NoSlash(pointer.to_owned(), format!("/{path}"))
}

fn unescape(token: &str) -> Result<String, PointerError> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(PointerError::BadEscape),
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Ok(text)
}

/// RFC 6901 section 4: digits without a leading zero.
fn array_index(key: &str) -> Option<usize> {
    let is_index = key == "0" || !key.starts_with(['0', '+']);
    key.parse().ok().filter(|_| is_index)
}

impl Child {
    /// Byte by byte: keys are a few bytes long, and a call to `memcmp` costs more than that.
    fn is_named(&self, key: &[u8]) -> bool {
        self.key.len() == key.len()
            && self.key.bytes().zip(key).all(|(ours, theirs)| ours == *theirs)
    }
}

impl Node {
    /// The place that a pointer leads to.
    fn at(&mut self, pointer: &str) -> Result<&mut Node, PointerError> {
        let mut node = self;
        if !pointer.is_empty() {
            let tokens = pointer.strip_prefix('/').ok_or_else(|| no_slash(pointer))?;
            for token in tokens.split('/') {
                node = node.child(unescape(token)?, pointer)?;
            }
        }
        Ok(node)
    }

    fn child(&mut self, key: String, pointer: &str) -> Result<&mut Node, PointerError> {
        let children = match self {
            Node::Branch(children) => children,
            Node::Leaf(leaf) => return Err(nested(&leaf.path, pointer)),
            Node::Each(each) => return Err(nested(&each.path, pointer)),
        };
        let at = match children.iter().position(|child| *child.key == *key) {
            Some(at) => at,
            None if children.len() == MAX_MEMBERS => return Err(PointerError::TooManyMembers),
            None => {
                let index = array_index(&key);
                children.push(Child { key: key.into(), index, node: Node::default() });
                children.len() - 1
            }
        };
        Ok(&mut children[at].node)
    }

    fn read_here(&mut self, pointer: &str, sink: Sink) -> Result<(), PointerError> {
        match self {
            Node::Leaf(leaf) => leaf.sinks.push(sink),
            Node::Each(each) => return Err(nested(&each.path, pointer)),
            Node::Branch(_) => match self.first_path() {
                Some(inner) => return Err(nested(pointer, inner)),
                None => *self = Node::Leaf(Leaf { path: pointer.into(), sinks: vec![sink] }),
            },
        }
        Ok(())
    }

    /// The pointer of the first place below here that is read.
    fn first_path(&self) -> Option<&str> {
        match self {
            Node::Leaf(leaf) => Some(&leaf.path),
            Node::Each(each) => Some(&each.path),
            Node::Branch(children) => children.iter().find_map(|child| child.node.first_path()),
        }
    }

    /// Takes back what was read below here: the payload named this member again, and the last one counts.
    fn forget(&self, out: &mut Decoded) {
        match self {
            Node::Branch(children) => children.iter().for_each(|child| child.node.forget(out)),
            Node::Leaf(leaf) => leaf.sinks.iter().for_each(|sink| match sink {
                Sink::Point { point, .. } => out.forget(*point),
                Sink::Time(_) => out.set_time(DeviceTime::Unreadable),
                Sink::Device => out.set_device(None),
                // The later one overwrites it.
                Sink::TimeOfAll(_) | Sink::DeviceOfAll => {}
            }),
            // Whatever was read stood in the list.
            Node::Each(_) => out.clear(),
        }
    }
}

fn nested(outer: &str, inner: &str) -> PointerError {
    PointerError::Nested { outer: outer.to_owned(), inner: inner.to_owned() }
}

impl Leaf {
    fn take(
        &self,
        value: Value<'_>,
        out: &mut Decoded,
        findings: &mut Findings,
    ) -> Result<(), DecodeError> {
        for sink in &self.sinks {
            match sink {
                Sink::Point { point, states } => {
                    let raw = raw(value, states)
                        .ok_or_else(|| wrong_type(self.path.to_string(), value, states))?;
                    out.push(Reading { point: *point, raw, comm_fault: false });
                }
                _ if matches!(value, Value::Null) => {}
                Sink::Time(reader) => {
                    out.set_time(reader.read(value).map_or(DeviceTime::Unreadable, DeviceTime::At));
                }
                Sink::TimeOfAll(reader) => {
                    let time = reader.read(value).map_or(DeviceTime::Unreadable, DeviceTime::At);
                    findings.time_of_all = Some(time);
                }
                Sink::Device => out.set_device(Some(&self.device(value)?)),
                Sink::DeviceOfAll => findings.device_of_all = Some(self.device(value)?),
            }
        }
        Ok(())
    }

    fn device(&self, value: Value<'_>) -> Result<String, DecodeError> {
        match value {
            Value::Text(name) if !name.is_empty() => Ok(name.to_owned()),
            Value::Int(number) => Ok(number.to_string()),
            other => Err(DecodeError::NoDevice {
                place: self.path.to_string(),
                why: format!("it is {other}"),
            }),
        }
    }
}

/// One step of the pass: the place in the payload that comes next.
struct Walk<'a> {
    node: &'a Node,
    out: &'a mut Decoded,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn take<E: de::Error>(self, value: Value<'_>) -> Result<(), E> {
        // A number where the profile looks further in is no error: the points are simply not there.
        let Node::Leaf(leaf) = self.node else { return Ok(()) };
        leaf.take(value, self.out, self.findings).map_err(|failure| self.findings.refuse(failure))
    }

    /// Reads a list of reports.
    fn walk_list<'de, A: SeqAccess<'de>>(
        self,
        each: &Each,
        mut elements: A,
    ) -> Result<(), A::Error> {
        let Walk { out, findings, .. } = self;
        for index in 0usize.. {
            out.open_next(None, each.untimed).map_err(|failure| findings.refuse(failure))?;
            let walk = Walk { node: &each.element, out, findings };
            match elements.next_element_seed(walk) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    findings.place_in(each, index);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Devices that send a list of reports send one as it is.
    fn walk_only<'de, A: MapAccess<'de>>(self, each: &Each, members: A) -> Result<(), A::Error> {
        self.out.open_next(None, each.untimed).map_err(|failure| self.findings.refuse(failure))?;
        Walk { node: &each.element, out: self.out, findings: self.findings }.visit_map(members)
    }
}

impl Findings {
    #[cold]
    fn refuse<E: de::Error>(&mut self, failure: DecodeError) -> E {
        self.failure = Some(failure);
        E::custom("refused")
    }

    /// Completes the path of a refusal, which counts from the list's element.
    fn place_in(&mut self, each: &Each, index: usize) {
        if let Some(
            DecodeError::WrongType { path: place, .. } | DecodeError::NoDevice { place, .. },
        ) = &mut self.failure
        {
            *place = format!("{}/{index}{place}", each.path);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.take(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<(), E> {
        self.take(Value::Bool(b))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<(), E> {
        self.take(Value::Int(n))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<(), E> {
        self.take(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<(), E> {
        self.take(Value::Float(x))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.take(Value::Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let children = match self.node {
            Node::Branch(children) => children,
            Node::Leaf(_) => return self.take(Value::Object),
            Node::Each(each) => return self.walk_only(each, members),
        };
        let mut seen = [0u64; MAX_MEMBERS / 64];
        // Devices send their members in one order, and profiles mostly name them in it.
        let mut next = 0;
        while let Some(found) = members.next_key_seed(FindChild { children, next })? {
            let Some(at) = found else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            next = at + 1;
            let node = &children[at].node;
            let (word, bit) = (at / 64, 1 << (at % 64));
            if seen[word] & bit != 0 {
                node.forget(self.out);
            }
            seen[word] |= bit;
            members.next_value_seed(Walk { node, out: self.out, findings: self.findings })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let children = match self.node {
            Node::Branch(children) => children,
            Node::Leaf(_) => return self.take(Value::Array),
            Node::Each(each) => return self.walk_list(each, elements),
        };
        for index in 0.. {
            let more = match children.iter().find(|child| child.index == Some(index)) {
                Some(Child { node, .. }) => elements
                    .next_element_seed(Walk { node, out: self.out, findings: self.findings })?
                    .is_some(),
                None => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a key and finds the child that it names, trying the `next` one first. As bytes: a key that is no UTF-8 names
/// none of ours, and checking the others would cost more than comparing them.
struct FindChild<'a> {
    children: &'a [Child],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for FindChild<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for FindChild<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: de::Error>(self, key: &[u8]) -> Result<Option<usize>, E> {
        if self.children.get(self.next).is_some_and(|child| child.is_named(key)) {
            return Ok(Some(self.next));
        }
        Ok(self.children.iter().position(|child| child.is_named(key)))
    }
}

#[cfg(test)]
mod tests;
