//! Text payloads: lines of columns or of `key=value` pairs, each line a report.

use std::borrow::Cow;
use std::collections::HashMap;

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::json::Named;
use super::payload::Target;
use super::time::TimeReader;
use super::value::Value;

/// Where a value stands in a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    /// The column, from 0.
    Column(usize),
    /// The key before the `=`.
    Key(String),
}

/// What stands between two cells of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    /// One such sign; what stands between quotes is one cell.
    Sign(char),
    /// Any number of spaces and tabs.
    Spaces,
}

/// Reads the cells that a profile names.
#[derive(Debug)]
pub(super) struct TextDecoder {
    pub(super) layout: Layout,
    sinks: Vec<Sink>,
    /// Sinks by key; those by column are found by their place.
    by_key: HashMap<Box<str>, Vec<usize>>,
    untimed: DeviceTime,
    devices: Option<Named>,
}

/// How lines are written.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) separator: Separator,
    /// Between a key and its value.
    pub(super) assign: char,
    /// Lines that start so are for people.
    pub(super) comment: Option<Box<str>>,
    /// So many lines are a head, not reports.
    pub(super) skip_lines: usize,
    /// Texts by which the device says "no value", besides an empty cell.
    pub(super) no_value: Vec<Box<str>>,
}

#[derive(Debug)]
struct Sink {
    cell: Cell,
    purpose: Purpose,
}

/// What a cell is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A point's raw value; `is_optional`: the line may end before it.
    Point { target: Target, is_optional: bool },
    /// The device's own time.
    Time(TimeReader),
    /// The name of the device that the line is of.
    Device,
}

impl TextDecoder {
    /// The decoder of lines that are written so.
    pub(super) fn new(layout: Layout) -> Self {
        TextDecoder {
            layout,
            sinks: Vec::new(),
            by_key: HashMap::new(),
            untimed: DeviceTime::Unsaid,
            devices: None,
        }
    }

    /// Adds a cell to read.
    pub(super) fn add(&mut self, cell: Cell, purpose: Purpose) {
        if matches!(purpose, Purpose::Time(_)) {
            self.untimed = DeviceTime::Unreadable;
        }
        if let Cell::Key(key) = &cell {
            self.by_key.entry(key.as_str().into()).or_default().push(self.sinks.len());
        }
        self.sinks.push(Sink { cell, purpose });
    }

    /// A time that a line leaves out is no doubt: the hub's own stands.
    pub(super) fn allow_untimed(&mut self) {
        self.untimed = DeviceTime::Unsaid;
    }

    /// Says that lines name their device.
    pub(super) fn name_devices(&mut self, named: Named) {
        self.devices = Some(named);
    }

    /// Reads one payload into `out`.
    pub(super) fn decode(&self, payload: &[u8], out: &mut Decoded) -> Result<(), DecodeError> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            DecodeError::NotText(format!("byte {} is no UTF-8", error.valid_up_to()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // What stands in the cells of the line at hand, by the number of the sink: the later of two equal keys counts.
        let mut found: Vec<Option<Cow<'_, str>>> = Vec::new();
        let comment = self.layout.comment.as_deref();
        for (number, line) in text.lines().enumerate().skip(self.layout.skip_lines) {
            let line = line.trim();
            if line.is_empty() || comment.is_some_and(|comment| line.starts_with(comment)) {
                continue;
            }
            found.clear();
            found.resize(self.sinks.len(), None);
            let columns = self.find(line, &mut found);
            self.take(number + 1, columns, &found, out)?;
        }
        if out.is_empty() { Err(DecodeError::NoPoint) } else { Ok(()) }
    }

    /// Finds the cells that are read; says how many columns there are.
    fn find<'l>(&self, line: &'l str, found: &mut [Option<Cow<'l, str>>]) -> usize {
        let mut columns = 0;
        for cell in self.layout.separator.split(line) {
            if self.by_key.is_empty() {
                for (sink, found) in self.sinks.iter().zip(found.iter_mut()) {
                    if sink.cell == Cell::Column(columns) {
                        *found = Some(cell.clone());
                    }
                }
            } else if let Some((key, value)) = cell.split_once(self.layout.assign) {
                for &sink in self.by_key.get(key.trim()).into_iter().flatten() {
                    found[sink] = Some(Cow::Owned(value.trim().to_owned()));
                }
            }
            columns += 1;
        }
        columns
    }

    fn take(
        &self,
        line: usize,
        columns: usize,
        found: &[Option<Cow<'_, str>>],
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let cells = || self.sinks.iter().zip(found);
        let mut time = self.untimed;
        let mut device = None;
        for (sink, cell) in cells() {
            let cell = cell.as_deref().filter(|cell| !self.is_no_value(cell));
            match (&sink.purpose, cell) {
                (Purpose::Time(reader), Some(cell)) => {
                    let said = reader.read(Value::Text(cell));
                    time = said.map_or(DeviceTime::Unreadable, DeviceTime::At);
                }
                (Purpose::Device, cell) => device = cell,
                _ => {}
            }
        }
        out.open_next(device, time)?;
        for (Sink { cell: place, purpose }, cell) in cells() {
            let Purpose::Point { target, is_optional } = purpose else { continue };
            match (cell.as_deref(), place) {
                (None, Cell::Column(column)) if !is_optional => {
                    return Err(DecodeError::TooFewColumns {
                        line,
                        found: columns,
                        column: *column,
                    });
                }
                (None, _) => {}
                (Some(cell), _) => {
                    let value =
                        if self.is_no_value(cell) { Value::Null } else { Value::Text(cell) };
                    target.take(value, || format!("line {line}, {place}"), out)?;
                }
            }
        }
        if device.is_none() && self.devices == Some(Named::Always) && out.last_has_readings() {
            let why = "nothing stands there".to_owned();
            return Err(DecodeError::NoDevice { place: format!("line {line}"), why });
        }
        Ok(())
    }

    fn is_no_value(&self, cell: &str) -> bool {
        cell.is_empty() || self.layout.no_value.iter().any(|word| **word == *cell)
    }
}

impl Separator {
    /// The cells of a line, without the spaces around them.
    fn split<'l>(self, line: &'l str) -> Box<dyn Iterator<Item = Cow<'l, str>> + 'l> {
        match self {
            Separator::Spaces => Box::new(line.split_whitespace().map(Cow::Borrowed)),
            Separator::Sign(sign) => Box::new(Cells { rest: Some(line), sign }),
        }
    }
}

/// The cells of a line with a sign between them.
struct Cells<'l> {
    rest: Option<&'l str>,
    sign: char,
}

impl<'l> Iterator for Cells<'l> {
    type Item = Cow<'l, str>;

    fn next(&mut self) -> Option<Cow<'l, str>> {
        let rest = self.rest?.trim_start();
        if let Some(quoted) = rest.strip_prefix('"')
            && let Some((cell, rest)) = self.unquote(quoted)
        {
            self.rest = rest;
            return Some(cell);
        }
        let (cell, rest) = match rest.split_once(self.sign) {
            Some((cell, rest)) => (cell, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(Cow::Borrowed(cell.trim()))
    }
}

impl<'l> Cells<'l> {
    /// A cell in quotes and what comes after it; `None` when its end is missing: then the quote is a sign like others.
    fn unquote(&self, quoted: &'l str) -> Option<(Cow<'l, str>, Option<&'l str>)> {
        // A quote within quotes is doubled (RFC 4180).
        let mut from = 0;
        let end = loop {
            let at = from + quoted[from..].find('"')?;
            if !quoted[at + 1..].starts_with('"') {
                break at;
            }
            from = at + 2;
        };
        let (cell, rest) = (&quoted[..end], quoted[end + 1..].trim_start());
        let cell = if cell.contains('"') { cell.replace("\"\"", "\"").into() } else { cell.into() };
        match rest.strip_prefix(self.sign) {
            Some(rest) => Some((cell, Some(rest))),
            None if rest.is_empty() => Some((cell, None)),
            None => None,
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cell::Column(column) => write!(f, "column {column}"),
            Cell::Key(key) => write!(f, "key `{key}`"),
        }
    }
}

#[cfg(test)]
mod tests;
