//! A document of another system (YAML, TOML or JSON) that remembers what was read of it: what nobody asked for was not
//! understood, and is listed with its line.

use std::cell::Cell;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use toml::de::{DeTable, DeValue};

/// Deeper than this is no description of a device.
const MAX_DEPTH: usize = 64;

/// A value, its line (0 when unknown), and whether anybody read it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    seen: Cell<bool>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    fn new(line: usize, value: Value) -> Self {
        Node { line, seen: Cell::new(false), value }
    }

    /// The first document of a YAML text.
    pub(super) fn yaml(text: &str) -> Result<Node, String> {
        let documents = MarkedYaml::load_from_str(text).map_err(|why| why.to_string())?;
        let first = documents.first().ok_or("the file is empty")?;
        from_yaml(first, 0)
    }

    pub(super) fn toml(text: &str) -> Result<Node, String> {
        let table = DeTable::parse(text).map_err(|why| why.to_string())?;
        from_toml_table(table.get_ref(), text, 1, 0)
    }

    pub(super) fn json(text: &str) -> Result<Node, String> {
        let value = serde_json::from_str(text).map_err(|why| why.to_string())?;
        Ok(from_json(&value))
    }

    /// The value of a key, which counts as read.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Table(entries) = &self.value else { return None };
        let (_, found) = entries.iter().find(|(name, _)| name == key)?;
        found.seen.set(true);
        Some(found).filter(|node| !matches!(node.value, Value::Null))
    }

    /// The text of a key; numbers and truths are texts, too.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_text()
    }

    /// The number of a key, also when it is written as a text.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_number()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    pub(super) fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match &self.value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }

    pub(super) fn as_flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// Whether it is a number by its type.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.value, Value::Number(_))
    }

    /// The elements of a list, which count as read; none for anything else.
    pub(super) fn items(&self) -> &[Node] {
        let Value::List(items) = &self.value else { return &[] };
        items.iter().for_each(|item| item.seen.set(true));
        items
    }

    /// The entries of a table, which count as read; none for anything else.
    pub(super) fn entries(&self) -> &[(String, Node)] {
        let Value::Table(entries) = &self.value else { return &[] };
        entries.iter().for_each(|(_, value)| value.seen.set(true));
        entries
    }

    /// Keys that say nothing of the device's values and are left out knowingly.
    pub(super) fn leave_out(&self, keys: &[&str]) {
        for key in keys {
            if let Some(node) = self.get(key) {
                node.see_all();
            }
        }
    }

    pub(super) fn see_all(&self) {
        self.seen.set(true);
        match &self.value {
            Value::List(items) => items.iter().for_each(Node::see_all),
            Value::Table(entries) => entries.iter().for_each(|(_, value)| value.see_all()),
            _ => {}
        }
    }

    /// Adds every key that nobody read, as `file:line: path`.
    pub(super) fn unread(&self, file: &str, path: &str, out: &mut Vec<String>) {
        let mut look = |name: String, child: &Node| {
            if child.seen.get() {
                child.unread(file, &name, out);
            } else {
                out.push(format!("{file}:{}: `{name}` is not understood", child.line));
            }
        };
        match &self.value {
            Value::Table(entries) => {
                for (key, child) in entries {
                    let dot = if path.is_empty() { "" } else { "." };
                    look(format!("{path}{dot}{key}"), child);
                }
            }
            Value::List(items) => {
                for (i, child) in items.iter().enumerate() {
                    look(format!("{path}[{i}]"), child);
                }
            }
            _ => {}
        }
    }
}

fn from_yaml(node: &MarkedYaml<'_>, depth: usize) -> Result<Node, String> {
    let line = node.span.start.line();
    if depth > MAX_DEPTH {
        return Err(format!("line {line}: nested too deeply"));
    }
    let value = match &node.data {
        YamlData::Value(Scalar::Boolean(truth)) => Value::Bool(*truth),
        YamlData::Value(Scalar::Integer(number)) => Value::Number(*number as f64),
        YamlData::Value(Scalar::FloatingPoint(number)) => Value::Number(number.into_inner()),
        YamlData::Value(Scalar::String(text)) => Value::Text(text.to_string()),
        YamlData::Sequence(items) => {
            let items = items.iter().map(|item| from_yaml(item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        YamlData::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = from_yaml(key, depth + 1)?.as_text().unwrap_or_default();
                Ok::<_, String>((key, from_yaml(value, depth + 1)?))
            });
            Value::Table(entries.collect::<Result<_, _>>()?)
        }
        YamlData::Tagged(_, inner) => return from_yaml(inner, depth + 1),
        _ => Value::Null,
    };
    Ok(Node::new(line, value))
}

fn from_toml_table(
    table: &DeTable<'_>,
    text: &str,
    line: usize,
    depth: usize,
) -> Result<Node, String> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let line = line_of(text, key.span().start);
        let node = from_toml(value.get_ref(), text, line, depth + 1)?;
        entries.push((line, (key.get_ref().to_string(), node)));
    }
    entries.sort_by_key(|(line, _)| *line);
    Ok(Node::new(line, Value::Table(entries.into_iter().map(|(_, entry)| entry).collect())))
}

fn from_toml(value: &DeValue<'_>, text: &str, line: usize, depth: usize) -> Result<Node, String> {
    if depth > MAX_DEPTH {
        return Err(format!("line {line}: nested too deeply"));
    }
    let value = match value {
        DeValue::String(found) => Value::Text(found.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Value::Null, |number| Value::Number(number as f64))
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| {
                let line = line_of(text, item.span().start);
                from_toml(item.get_ref(), text, line, depth + 1)
            });
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => return from_toml_table(table, text, line, depth),
    };
    Ok(Node::new(line, value))
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// serde_json bounds the depth itself.
fn from_json(value: &serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Table(
            entries.iter().map(|(key, value)| (key.clone(), from_json(value))).collect(),
        ),
    };
    Node::new(0, value)
}
