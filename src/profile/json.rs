//! JSON payloads: the profile's pointers, compiled into a tree that one pass over the payload is led by.
//!
//! This runs once per message. The good path does not allocate: members that the profile does not name are skipped
//! unread, keys are compared as they stand in the payload, and values go straight into the reused [`Decoded`].

mod value;

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::decode::{DecodeError, Decoded, DeviceTime};
use crate::model::{PointIndex, Reading};

pub use value::TimeFormat;
use value::{Value, raw};

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
}

/// A place in the payload.
#[derive(Debug)]
enum Node {
    /// Nothing is read here, but further in.
    Branch(Vec<Child>),
    /// A value is read here.
    Leaf(Leaf),
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
    Time(TimeFormat),
}

impl Default for Node {
    fn default() -> Self {
        Node::Branch(Vec::new())
    }
}

impl JsonDecoder {
    /// A time that a payload leaves out is no doubt: the hub's own stands.
    pub(super) fn allow_untimed(&mut self) {
        self.untimed = DeviceTime::Unsaid;
    }

    /// Adds a place to read (RFC 6901; the empty pointer is the whole payload).
    pub(super) fn add(&mut self, pointer: &str, sink: Sink) -> Result<(), PointerError> {
        if matches!(sink, Sink::Time(_)) {
            self.untimed = DeviceTime::Unreadable;
        }
        let mut node = &mut self.root;
        if !pointer.is_empty() {
            let tokens = pointer.strip_prefix('/').ok_or_else(|| no_slash(pointer))?;
            for token in tokens.split('/') {
                node = node.child(unescape(token)?, pointer)?;
            }
        }
        node.read_here(pointer, sink)
    }

    /// Reads one payload into `out`, which holds nothing on an error.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        out.clear();
        out.begin(None, self.untimed);
        let mut failure = None;
        let mut json = serde_json::Deserializer::from_slice(payload);
        let read = Walk { node: &self.root, out, failure: &mut failure }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        let result = match (read, failure) {
            (Ok(()), _) if out.is_empty() => Err(DecodeError::NoPoint),
            (Ok(()), _) => return Ok(()),
            (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(DecodeError::NotJson(error.to_string())),
        };
        out.clear();
        result
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
    fn child(&mut self, key: String, pointer: &str) -> Result<&mut Node, PointerError> {
        let children = match self {
            Node::Branch(children) => children,
            Node::Leaf(leaf) => return Err(nested(&leaf.path, pointer)),
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
            Node::Branch(children) => match children.first() {
                Some(child) => return Err(nested(pointer, child.node.first_path())),
                None => *self = Node::Leaf(Leaf { path: pointer.into(), sinks: vec![sink] }),
            },
        }
        Ok(())
    }

    fn first_path(&self) -> &str {
        match self {
            Node::Leaf(leaf) => &leaf.path,
            Node::Branch(children) => children.first().map_or("", |child| child.node.first_path()),
        }
    }

    /// Takes back what was read below here: the payload named this member again, and the last one counts.
    fn forget(&self, out: &mut Decoded) {
        match self {
            Node::Branch(children) => children.iter().for_each(|child| child.node.forget(out)),
            Node::Leaf(leaf) => leaf.sinks.iter().for_each(|sink| match sink {
                Sink::Point { point, .. } => out.forget(*point),
                Sink::Time(_) => out.set_time(DeviceTime::Unreadable),
            }),
        }
    }
}

fn nested(outer: &str, inner: &str) -> PointerError {
    PointerError::Nested { outer: outer.to_owned(), inner: inner.to_owned() }
}

impl Leaf {
    fn take(&self, value: Value<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        for sink in &self.sinks {
            match sink {
                Sink::Point { point, states } => {
                    let raw = raw(value, states).ok_or_else(|| self.wrong_type(value, states))?;
                    out.push(Reading { point: *point, raw, comm_fault: false });
                }
                Sink::Time(_) if matches!(value, Value::Null) => {}
                Sink::Time(format) => {
                    out.set_time(format.read(value).map_or(DeviceTime::Unreadable, DeviceTime::At));
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn wrong_type(&self, found: Value<'_>, states: &[(String, f64)]) -> DecodeError {
        let names = states.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        DecodeError::WrongType {
            path: self.path.to_string(),
            found: found.to_string(),
            states: Some(names).filter(|names| !names.is_empty()),
        }
    }
}

/// One step of the pass: the place in the payload that comes next.
struct Walk<'a> {
    node: &'a Node,
    out: &'a mut Decoded,
    /// Why the payload was refused, when it was not the JSON's fault.
    failure: &'a mut Option<DecodeError>,
}

impl Walk<'_> {
    fn take<E: de::Error>(self, value: Value<'_>) -> Result<(), E> {
        // A number where the profile looks further in is no error: the points are simply not there.
        let Node::Leaf(leaf) = self.node else { return Ok(()) };
        leaf.take(value, self.out).map_err(|failure| {
            *self.failure = Some(failure);
            E::custom("refused")
        })
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
        let Node::Branch(children) = self.node else { return self.take(Value::Object) };
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
            members.next_value_seed(Walk { node, out: self.out, failure: self.failure })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Node::Branch(children) = self.node else { return self.take(Value::Array) };
        for index in 0.. {
            let more = match children.iter().find(|child| child.index == Some(index)) {
                Some(Child { node, .. }) => elements
                    .next_element_seed(Walk { node, out: self.out, failure: self.failure })?
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
