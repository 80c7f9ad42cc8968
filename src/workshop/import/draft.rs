//! A profile under construction from another system's description, and how it is written.
//!
//! What nobody but a person can say stands as a `# TODO(human): ...` line above its place: a comment, so that the
//! profile passes `check` as it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::{both, number, quoted};
use crate::model::MetricName;
use crate::profile::{SCHEMA_FILE, unit_code};

/// A profile as far as the other system said it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    /// The `[source...]` table.
    pub(super) source: String,
    pub(super) expect_every: Option<String>,
    pub(super) points: Vec<DraftPoint>,
    /// `[[test]]` tables.
    pub(super) tests: String,
    /// Files beside the profile: name and text.
    pub(super) beside: Vec<(String, String)>,
    /// What was not understood, each with its place.
    pub(super) notes: Vec<String>,
}

/// A point as far as the other system said it.
#[derive(Debug, Default)]
pub(super) struct DraftPoint {
    pub(super) name: String,
    pub(super) label: String,
    /// As the other system spells it.
    pub(super) unit: Option<String>,
    /// The inside of `read = { ... }`.
    pub(super) read: String,
    pub(super) range: Option<(f64, f64)>,
    /// Names of the states 0, 1, ...
    pub(super) states: Vec<String>,
}

impl Draft {
    /// A point's name that is a metric name and not taken yet.
    pub(super) fn free_name(&self, wish: &str) -> String {
        let base = metric(wish);
        let taken: BTreeSet<&str> = self.points.iter().map(|point| point.name.as_str()).collect();
        let numbered = (2..).map(|n| format!("{base}_{n}"));
        std::iter::once(base.clone())
            .chain(numbered)
            .find(|name| !taken.contains(name.as_str()))
            .unwrap_or(base)
    }

    pub(super) fn write(&self, origin: &str) -> String {
        let name = if self.name.is_empty() { &self.id } else { &self.name };
        let or = |text: &str, other: &str| quoted(if text.is_empty() { other } else { text });
        let mut text = format!(
            "#:schema ./{SCHEMA_FILE}\n\
             # Imported from {origin}. Look through it line by line: an import knows no more than its source.\n\
             profile      = 1\n\
             id           = {}\n\
             # TODO(human): the name in Chinese\n\
             name         = {}\n\
             manufacturer = {}\n\
             model        = {}\n\
             # TODO(human): manhole, pipe, rain-gauge, canal-gauge, sluice-gate, parking-bay or parking-lot\n\
             kind         = \"pipe\"\n\n{}\n[staleness]\n",
            quoted(&self.id),
            both(name, name),
            or(&self.manufacturer, "unknown"),
            or(&self.model, &self.id),
            self.source,
        );
        match &self.expect_every {
            Some(every) => {
                let _ = writeln!(text, "expect_every = {}", quoted(every));
            }
            None => text.push_str(
                "# TODO(human): how often the device reports\n\
                 expect_every = \"15min\"\n",
            ),
        }
        text.push_str("severity     = \"minor\"\n");
        for point in &self.points {
            point.write(&mut text);
        }
        if self.tests.is_empty() {
            text.push_str(
                "\n# TODO(human): a [[test]] with bytes or registers from the data sheet and what they mean\n",
            );
        }
        text.push_str(&self.tests);
        text
    }
}

impl DraftPoint {
    fn write(&self, text: &mut String) {
        let DraftPoint { name, label, read, .. } = self;
        let _ = write!(text, "\n[points.{name}]\nlabel = {}\n", both(label, label));
        if self.states.is_empty() {
            let said = self.unit.as_deref().unwrap_or_default();
            match unit_code(said).filter(|_| !said.is_empty()) {
                Some(code) => {
                    let _ = writeln!(text, "unit  = {}", quoted(&code));
                }
                None if said.is_empty() => {
                    text.push_str("# TODO(human): the unit; the source says none\nunit  = \"1\"\n");
                }
                None => {
                    let said = said.replace(char::is_control, " ");
                    let _ = writeln!(
                        text,
                        "# TODO(human): the unit in UCUM; the source says {said}\nunit  = \"1\""
                    );
                }
            }
        }
        let _ = writeln!(text, "read  = {{ {read} }}");
        if let Some((low, high)) =
            self.range.filter(|(low, high)| low < high && self.states.is_empty())
        {
            let _ = writeln!(text, "range = [{}, {}]", number(low), number(high));
        }
        if !self.states.is_empty() {
            let states: Vec<String> = self
                .states
                .iter()
                .enumerate()
                .map(|(code, name)| format!("{code} = {}", quoted(name)))
                .collect();
            let _ = writeln!(text, "states = {{ {} }}", states.join(", "));
        }
    }
}

/// A metric name out of any name: `WaterLevel (m)` is `water_level_m`.
pub(super) fn metric(name: &str) -> String {
    let mut metric = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && was_lower {
                metric.push('_');
            }
            metric.push(c.to_ascii_lowercase());
            was_lower = !c.is_ascii_uppercase();
        } else if !metric.is_empty() && !metric.ends_with('_') {
            metric.push('_');
            was_lower = false;
        }
    }
    let metric: String = metric.trim_end_matches('_').chars().take(60).collect();
    if metric.parse::<MetricName>().is_ok() { metric } else { "value".to_owned() }
}

/// A profile id out of any name.
pub(super) fn profile_id(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' })
        .take(60)
        .collect();
    let id = dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if id.is_empty() { "imported".to_owned() } else { id }
}
