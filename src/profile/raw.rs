//! A profile file as it is written: every key with its place in the file, nothing checked but the types.
//!
//! One set of structs, so that the parser and what is generated from it cannot drift apart. Keys that a profile must
//! have are optional here: that they are missing is said by `compile`, together with everything else that is wrong.

use std::collections::BTreeMap;
use std::fmt;

use super::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::model::Label;

/// A value that may be absent, with its place.
pub(super) type Maybe<T> = Option<Spanned<T>>;

/// A table with free keys, each with its place.
pub(super) type Named<T> = BTreeMap<Spanned<String>, T>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawProfile {
    pub(super) profile: Maybe<i64>,
    pub(super) id: Maybe<String>,
    pub(super) name: Maybe<RawText>,
    pub(super) manufacturer: Maybe<String>,
    pub(super) model: Maybe<String>,
    pub(super) kind: Maybe<String>,
    /// The maker's register map or payload description; for people, read by nobody.
    #[allow(dead_code)]
    pub(super) docs: Maybe<String>,
    pub(super) headline: Maybe<String>,
    pub(super) source: Maybe<RawSource>,
    pub(super) staleness: Maybe<RawStaleness>,
    #[serde(default)]
    pub(super) points: Named<RawPoint>,
    #[serde(default)]
    pub(super) quality: Vec<Spanned<RawQuality>>,
    /// Alerts that are conditions over several points.
    #[serde(default)]
    pub(super) alert: Vec<Spanned<RawConditionAlert>>,
    #[serde(default)]
    pub(super) commands: Named<RawCommand>,
    #[serde(default)]
    pub(super) test: Vec<Spanned<RawTest>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as [source.mqtt]")]
pub(super) struct RawSource {
    pub(super) mqtt: Maybe<RawMqtt>,
    pub(super) modbus: Maybe<RawModbus>,
    pub(super) lorawan: Maybe<RawLorawan>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawMqtt {
    pub(super) topic: Maybe<String>,
    pub(super) payload: Maybe<String>,
    pub(super) time: Maybe<RawTime>,
    /// How a message names its device.
    pub(super) device: Maybe<RawDevice>,
    /// JSON: where the list of reports stands.
    pub(super) each: Maybe<String>,
    /// Binary formats: how the bytes travel.
    pub(super) encoding: Maybe<String>,
    /// Binary: which byte of a number comes first.
    pub(super) endian: Maybe<String>,
    /// Binary: how many bytes a frame has.
    pub(super) length: Maybe<i64>,
    pub(super) min_length: Maybe<i64>,
    pub(super) max_length: Maybe<i64>,
    /// Binary: bytes that are always the same, in hex, by the first of them.
    #[serde(default)]
    pub(super) constants: Named<Spanned<String>>,
    /// Text: between two cells.
    pub(super) separator: Maybe<String>,
    /// Text: between a key and its value.
    pub(super) assign: Maybe<String>,
    /// Text: what lines for people start with.
    pub(super) comment: Maybe<String>,
    /// Text: how many lines are a head.
    pub(super) skip_lines: Maybe<i64>,
    /// Text: words that mean "no value".
    #[serde(default)]
    pub(super) no_value: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { path = \"/ts\", format = \"unix_ms\" }"
)]
pub(super) struct RawTime {
    pub(super) path: Maybe<String>,
    pub(super) format: Maybe<String>,
    /// A report without it is no doubt.
    pub(super) optional: Maybe<bool>,
    /// It stands beside the list of reports, not in each.
    pub(super) outside: Maybe<bool>,
    /// What a local time looks like.
    pub(super) pattern: Maybe<String>,
    /// Whose clock a local time shows.
    pub(super) zone: Maybe<String>,
    pub(super) channel: Maybe<i64>,
    pub(super) byte: Maybe<i64>,
    #[serde(rename = "type")]
    pub(super) number: Maybe<String>,
    pub(super) endian: Maybe<String>,
    pub(super) length: Maybe<i64>,
    pub(super) column: Maybe<i64>,
    pub(super) key: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { path = \"/id\" }")]
pub(super) struct RawDevice {
    pub(super) path: Maybe<String>,
    /// SenML: the full name with {device} in it.
    pub(super) name: Maybe<String>,
    pub(super) column: Maybe<i64>,
    pub(super) key: Maybe<String>,
    /// A report without it is of the sender itself.
    pub(super) optional: Maybe<bool>,
    /// It stands beside the list of reports, not in each.
    pub(super) outside: Maybe<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawModbus {
    pub(super) word_order: Maybe<String>,
    pub(super) max_registers: Maybe<i64>,
    pub(super) max_gap: Maybe<i64>,
    pub(super) timeout: Maybe<String>,
    pub(super) min_request_gap: Maybe<String>,
    pub(super) zero_based: Maybe<bool>,
    #[serde(default)]
    pub(super) poll: Named<Spanned<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { codec = \"parkio-p1.js\" }")]
pub(super) struct RawLorawan {
    /// The codec's file, beside the profile or in a folder below it.
    pub(super) codec: Maybe<String>,
    /// The ports that carry readings; all when it is left out.
    pub(super) ports: Maybe<Vec<i64>>,
    /// Who wraps the frames; either network server when it is left out.
    pub(super) envelope: Maybe<String>,
    /// Where uplinks are published; the topics of ChirpStack and The Things Stack when it is left out.
    pub(super) topic: Maybe<String>,
    /// Where the codec's values say their own time; the network's when it is left out.
    pub(super) time: Maybe<RawTime>,
    /// Where the codec's values hold a list of earlier reports.
    pub(super) each: Maybe<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStaleness {
    pub(super) expect_every: Maybe<String>,
    pub(super) stale_after: Maybe<String>,
    pub(super) dead_after: Maybe<String>,
    pub(super) severity: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as [points.level]")]
pub(super) struct RawPoint {
    pub(super) label: Maybe<RawText>,
    pub(super) unit: Maybe<String>,
    pub(super) read: Maybe<RawRead>,
    /// In place of `read`: computes the point from others, for example `level_up - level_down`.
    pub(super) expr: Maybe<String>,
    pub(super) range: Maybe<Vec<f64>>,
    pub(super) deadband: Maybe<f64>,
    pub(super) max_rate: Maybe<f64>,
    pub(super) flatline: Maybe<String>,
    pub(super) states: Maybe<Named<RawState>>,
    #[serde(default)]
    pub(super) alerts: Named<RawAlert>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { when = \"battery < 2.8\", ... }")]
pub(super) struct RawQuality {
    /// A condition over the points, for example `battery < 2.8`.
    pub(super) when: Maybe<String>,
    /// The points that are not to be trusted while it holds.
    pub(super) mark: Maybe<Vec<Spanned<String>>>,
    /// How far they are to be trusted at most.
    #[serde(rename = "as")]
    pub(super) grade: Maybe<String>,
    pub(super) why: Maybe<RawText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { path = \"/level\" }")]
pub(super) struct RawRead {
    pub(super) path: Maybe<String>,
    pub(super) table: Maybe<String>,
    pub(super) address: Maybe<i64>,
    #[serde(rename = "type")]
    pub(super) number: Maybe<String>,
    pub(super) word_order: Maybe<String>,
    /// The one bit of a register, or of a number in a frame, that is the value.
    pub(super) bit: Maybe<i64>,
    /// The lowest and the highest bit of the value.
    pub(super) bits: Maybe<Vec<i64>>,
    /// How many registers a text has; how many bytes a text or a BCD number of a frame has.
    pub(super) length: Maybe<i64>,
    pub(super) poll: Maybe<String>,
    pub(super) scale: Maybe<f64>,
    pub(super) offset: Maybe<f64>,
    #[serde(default)]
    pub(super) invalid: Vec<Spanned<f64>>,
    /// SenML: the end of the full name.
    pub(super) name: Maybe<String>,
    /// SenML: the unit that a record must have.
    pub(super) u: Maybe<String>,
    /// SenML: the record's sum is read, not its value.
    pub(super) sum: Maybe<bool>,
    /// Sparkplug B.
    pub(super) metric: Maybe<String>,
    pub(super) alias: Maybe<i64>,
    /// Cayenne LPP.
    pub(super) channel: Maybe<i64>,
    pub(super) component: Maybe<String>,
    /// Binary: the first byte, from 0.
    pub(super) byte: Maybe<i64>,
    pub(super) endian: Maybe<String>,
    /// Text.
    pub(super) column: Maybe<i64>,
    pub(super) key: Maybe<String>,
    /// A frame or a line may end before it.
    pub(super) optional: Maybe<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { above = 2.5, clear = 2.3, severity = \"major\", text = \"Level high\" }"
)]
pub(super) struct RawAlert {
    pub(super) above: Maybe<f64>,
    pub(super) below: Maybe<f64>,
    pub(super) equals: Maybe<RawValue>,
    pub(super) clear: Maybe<f64>,
    /// Several limits that are one alert, mildest first: its severity goes up and down with them.
    pub(super) ladder: Maybe<Vec<Spanned<RawRung>>>,
    /// The limits are of how much the value has risen within this time.
    pub(super) rise: Maybe<String>,
    /// The limits are of how much the value has fallen within this time.
    pub(super) fall: Maybe<String>,
    /// The limits are of the sum of the readings of this time.
    pub(super) sum: Maybe<String>,
    /// True when the value stays the same for so long while readings come.
    pub(super) flat: Maybe<String>,
    /// How far apart the readings of a flat line may be, in the point's unit; nothing if it is not said.
    pub(super) band: Maybe<f64>,
    #[serde(rename = "for")]
    pub(super) on_delay: Maybe<String>,
    #[serde(rename = "clear_for")]
    pub(super) off_delay: Maybe<String>,
    /// An alert that has stood acknowledged for so long rings again.
    pub(super) re_alarm: Maybe<String>,
    /// How often it may come before it is chattering; the town's own figure if it is not said.
    pub(super) flap: Maybe<RawFlap>,
    /// The town's schedule by which it is in force.
    pub(super) schedule: Maybe<String>,
    pub(super) severity: Maybe<String>,
    pub(super) text: Maybe<RawText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { severity = \"major\", above = 1.96, clear = 1.91 }"
)]
pub(super) struct RawRung {
    pub(super) severity: Maybe<String>,
    pub(super) above: Maybe<f64>,
    pub(super) below: Maybe<f64>,
    pub(super) clear: Maybe<f64>,
    /// What people read while it is the worst; the alert's text if it is not said.
    pub(super) text: Maybe<RawText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { times = 5, within = \"10min\" }")]
pub(super) struct RawFlap {
    /// So many raises are no chattering yet; 0: it is never chattering.
    pub(super) times: Maybe<i64>,
    pub(super) within: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { name = \"...\", when = \"...\" }")]
pub(super) struct RawConditionAlert {
    /// Its name within the device.
    pub(super) name: Maybe<String>,
    /// A condition over the points, for example `inflow > 2 * outflow`.
    pub(super) when: Maybe<String>,
    #[serde(rename = "for")]
    pub(super) on_delay: Maybe<String>,
    #[serde(rename = "clear_for")]
    pub(super) off_delay: Maybe<String>,
    /// How old a point's reading may be, against the newest of them.
    pub(super) max_age: Maybe<String>,
    /// An alert that has stood acknowledged for so long rings again.
    pub(super) re_alarm: Maybe<String>,
    /// How often it may come before it is chattering; the town's own figure if it is not said.
    pub(super) flap: Maybe<RawFlap>,
    /// The town's schedule by which it is in force.
    pub(super) schedule: Maybe<String>,
    pub(super) severity: Maybe<String>,
    pub(super) text: Maybe<RawText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTest {
    pub(super) name: Maybe<String>,
    pub(super) device: Maybe<String>,
    pub(super) topic: Maybe<String>,
    pub(super) payload: Maybe<String>,
    /// The payload's bytes, for those that are no text.
    pub(super) hex: Maybe<String>,
    pub(super) base64: Maybe<String>,
    /// Earlier tests whose messages came before on the same device.
    #[serde(default)]
    pub(super) after: Vec<Spanned<String>>,
    /// What each report of the message must be.
    #[serde(default)]
    pub(super) reports: Vec<Spanned<RawReport>>,
    pub(super) registers: Maybe<RawRegisters>,
    #[serde(default)]
    pub(super) expect: Named<Spanned<RawValue>>,
    pub(super) time: Maybe<String>,
    #[serde(default)]
    pub(super) missing: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bad: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) uncertain: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) alerts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) pending: Vec<Spanned<String>>,
    pub(super) error: Maybe<String>,
    pub(super) command: Maybe<Named<Spanned<f64>>>,
    #[serde(default)]
    pub(super) given: Named<Spanned<RawValue>>,
    pub(super) writes: Maybe<Vec<RawWrites>>,
    pub(super) refused: Maybe<String>,
    pub(super) two_person: Maybe<bool>,
    pub(super) downlink: Maybe<RawDownlinkTest>,
    pub(super) port: Maybe<i64>,
}

/// One report of a fixture's message: the same words as the fixture's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as [[test.reports]]")]
pub(super) struct RawReport {
    pub(super) device: Maybe<String>,
    pub(super) time: Maybe<String>,
    #[serde(default)]
    pub(super) expect: Named<Spanned<RawValue>>,
    #[serde(default)]
    pub(super) missing: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bad: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) uncertain: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) alerts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) pending: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { holding = { 100 = [500] } }")]
pub(super) struct RawRegisters {
    #[serde(default)]
    pub(super) coil: Named<Spanned<Vec<i64>>>,
    #[serde(default)]
    pub(super) discrete: Named<Spanned<Vec<i64>>>,
    #[serde(default)]
    pub(super) holding: Named<Spanned<Vec<i64>>>,
    #[serde(default)]
    pub(super) input: Named<Spanned<Vec<i64>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as [commands.set_opening]")]
pub(super) struct RawCommand {
    pub(super) label: Maybe<RawText>,
    pub(super) arg: Maybe<RawArg>,
    pub(super) write: Maybe<RawWrite>,
    pub(super) downlink: Maybe<RawDownlink>,
    pub(super) require: Maybe<RawConditions>,
    pub(super) watch: Maybe<RawConditions>,
    pub(super) two_person: Maybe<RawConditions>,
    #[serde(default)]
    pub(super) site: Named<RawSite>,
    pub(super) readback: Maybe<RawReadback>,
    pub(super) confirm: Maybe<RawConfirm>,
    pub(super) role: Maybe<String>,
    pub(super) fresh: Maybe<String>,
    pub(super) deliver_within: Maybe<String>,
    pub(super) emergency: Maybe<bool>,
    pub(super) stop: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { unit = \"%\", range = [0, 100] }")]
pub(super) struct RawArg {
    pub(super) unit: Maybe<String>,
    pub(super) range: Maybe<Vec<f64>>,
    pub(super) step: Maybe<f64>,
    pub(super) max_change: Maybe<f64>,
    pub(super) from: Maybe<String>,
    pub(super) tolerance: Maybe<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { table = \"holding\", address = 200, type = \"u16\" } or { format = \"json\" }"
)]
pub(super) struct RawWrite {
    pub(super) table: Maybe<String>,
    pub(super) address: Maybe<i64>,
    #[serde(rename = "type")]
    pub(super) number: Maybe<String>,
    pub(super) word_order: Maybe<String>,
    pub(super) scale: Maybe<f64>,
    pub(super) offset: Maybe<f64>,
    pub(super) value: Maybe<f64>,
    pub(super) format: Maybe<String>,
    pub(super) hex: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { port = 10, data = { ... } }")]
pub(super) struct RawDownlink {
    pub(super) port: Maybe<i64>,
    #[schemars(with = "serde_json::Value")]
    pub(super) data: Maybe<toml::Value>,
}

/// A formula, or a list of formulas with what their failure means.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RawConditions {
    One(String),
    Many(Vec<RawCondition>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { expr = \"remote == 1\", reason = \"blocked-by-mode\", text = \"...\" }"
)]
pub(super) struct RawCondition {
    pub(super) expr: Maybe<String>,
    pub(super) reason: Maybe<String>,
    pub(super) text: Maybe<RawText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { unit = \"m\", default = 2.0 }")]
pub(super) struct RawSite {
    pub(super) unit: Maybe<String>,
    pub(super) default: Maybe<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { point = \"setpoint\", tolerance = 0.1, within = \"2s\" }"
)]
pub(super) struct RawReadback {
    pub(super) point: Maybe<String>,
    pub(super) tolerance: Maybe<f64>,
    pub(super) within: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { point = \"opening\", tolerance = 1.0, within = \"180s\" }"
)]
pub(super) struct RawConfirm {
    pub(super) point: Maybe<String>,
    pub(super) tolerance: Maybe<f64>,
    pub(super) equals: Maybe<RawValue>,
    pub(super) settled: Maybe<String>,
    pub(super) within: Maybe<String>,
    pub(super) every: Maybe<String>,
    pub(super) lost_after: Maybe<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { table = \"holding\", address = 200, words = [420] }"
)]
pub(super) struct RawWrites {
    pub(super) table: Maybe<String>,
    pub(super) address: Maybe<i64>,
    pub(super) words: Maybe<Vec<i64>>,
}

/// What a command sends: a payload as text, or a LoRaWAN downlink.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RawDownlinkTest {
    Payload(String),
    Lorawan(RawDownlinkBytes),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table such as { port = 10, hex = \"A501\" }")]
pub(super) struct RawDownlinkBytes {
    pub(super) port: Maybe<i64>,
    pub(super) hex: Maybe<String>,
}

/// A text for people: one for both languages, or one for each.
#[derive(Debug, JsonSchema)]
#[schemars(with = "TextForms")]
pub(super) struct RawText(pub(super) Label);

/// A state: its name, or a table with its name, what people read, and what the device writes.
#[derive(Debug, JsonSchema)]
#[schemars(with = "StateForms")]
pub(super) struct RawState {
    pub(super) name: String,
    pub(super) text: Option<String>,
    pub(super) label: Option<Label>,
}

/// A number, or the name of a state.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RawValue {
    Number(f64),
    Name(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BothLanguages {
    zh: String,
    en: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StateTable {
    name: String,
    zh: Option<String>,
    en: Option<String>,
    text: Option<String>,
}

/// What [`RawText`] reads, for the schema.
#[allow(dead_code)]
#[derive(JsonSchema)]
#[schemars(untagged)]
enum TextForms {
    Same(String),
    Each(BothLanguages),
}

/// What [`RawState`] reads, for the schema.
#[allow(dead_code)]
#[derive(JsonSchema)]
#[schemars(untagged)]
enum StateForms {
    Name(String),
    Table(StateTable),
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = RawText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or { zh = \"...\", en = \"...\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawText, E> {
        Ok(RawText(Label::same(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawText, A::Error> {
        let BothLanguages { zh, en } =
            BothLanguages::deserialize(MapAccessDeserializer::new(table))?;
        Ok(RawText(Label { zh, en }))
    }
}

impl<'de> Deserialize<'de> for RawConditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionsVisitor)
    }
}

struct ConditionsVisitor;

impl<'de> Visitor<'de> for ConditionsVisitor {
    type Value = RawConditions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a formula, or a list of { expr = \"...\", reason = \"...\", text = \"...\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawConditions, E> {
        Ok(RawConditions::One(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<RawConditions, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(RawConditions::Many)
    }
}

impl<'de> Deserialize<'de> for RawDownlinkTest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DownlinkTestVisitor)
    }
}

struct DownlinkTestVisitor;

impl<'de> Visitor<'de> for DownlinkTestVisitor {
    type Value = RawDownlinkTest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload as text, `hex:` and digits, or { port = 10, hex = \"A501\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawDownlinkTest, E> {
        Ok(RawDownlinkTest::Payload(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawDownlinkTest, A::Error> {
        RawDownlinkBytes::deserialize(MapAccessDeserializer::new(table))
            .map(RawDownlinkTest::Lorawan)
    }
}

impl<'de> Deserialize<'de> for RawState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StateVisitor)
    }
}

struct StateVisitor;

impl<'de> Visitor<'de> for StateVisitor {
    type Value = RawState;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state's name, or { name = \"...\", zh = \"...\", en = \"...\" }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<RawState, E> {
        Ok(RawState { name: name.to_owned(), text: None, label: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawState, A::Error> {
        let state = StateTable::deserialize(MapAccessDeserializer::new(table))?;
        let label = match (state.zh, state.en) {
            (Some(zh), Some(en)) => Some(Label { zh, en }),
            (None, None) => None,
            (zh, _) => {
                let missing = if zh.is_none() { "zh" } else { "en" };
                return Err(de::Error::missing_field(missing));
            }
        };
        Ok(RawState { name: state.name, text: state.text, label })
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a state's name")
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(n as f64))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(x))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<RawValue, E> {
        Ok(RawValue::Name(name.to_owned()))
    }
}
