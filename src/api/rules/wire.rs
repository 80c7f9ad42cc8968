//! How the rule book looks in JSON, for the OpenAPI document: see [`crate::api::wire`].
#![allow(dead_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::wire::{AlertKind, AssetKind, Label, Severity};

/// Where an override counts: nothing is the town; a device; a zone, a kind of asset, or both.
#[derive(ToSchema, Serialize)]
pub(crate) struct RuleScope {
    device: Option<String>,
    zone: Option<String>,
    kind: Option<AssetKind>,
}

/// Which rules there: what is left out may be any.
#[derive(ToSchema, Serialize)]
pub(crate) struct RuleSelector {
    profile: Option<String>,
    metric: Option<String>,
    rule: Option<String>,
}

/// What an override sets. Durations are texts: `90s`, `15min`, `6h`.
#[derive(ToSchema, Serialize)]
pub(crate) struct RulePatch {
    /// False: the rule is not in force at all.
    enabled: Option<bool>,
    /// On-delay.
    #[serde(rename = "for")]
    on_delay: Option<String>,
    /// Off-delay.
    clear_for: Option<String>,
    /// For rules of one severity.
    severity: Option<Severity>,
    /// Limits and clear values by the severity of their rung.
    rungs: Option<BTreeMap<String, RungPatch>>,
    /// How long silence or a flat line may last.
    after: Option<String>,
    /// After how long an acknowledged alert that stands rings again; `0s` is never.
    re_alarm: Option<String>,
    flap: Option<RuleFlap>,
    /// A schedule by its name; `always` for none.
    schedule: Option<String>,
    text: Option<Label>,
}

/// A rung's new values.
#[derive(ToSchema, Serialize)]
pub(crate) struct RungPatch {
    limit: Option<f64>,
    clear: Option<f64>,
}

/// More than so many raises within so long are chatter; 0 times is never.
#[derive(ToSchema, Serialize)]
pub(crate) struct RuleFlap {
    times: u32,
    within: String,
}

/// An override of the rule book.
#[derive(ToSchema, Serialize)]
pub(crate) struct OverridePage {
    id: String,
    /// Grows with every change.
    version: u32,
    scope: RuleScope,
    select: RuleSelector,
    set: RulePatch,
    changed_by: String,
    #[schema(format = DateTime)]
    changed_at: String,
}

/// A rule of the town's own.
#[derive(ToSchema, Serialize)]
pub(crate) struct OwnRule {
    /// The device that it belongs to.
    device: String,
    /// What it watches; absent for an expression.
    metric: Option<String>,
    /// What an expression's names mean.
    inputs: Option<BTreeMap<String, OwnInput>>,
    /// With a profile's keys: `above`, `clear`, `for`, `severity`, `text`; `when` for an expression.
    #[schema(value_type = Object)]
    rule: serde_json::Value,
}

/// A point that an expression names.
#[derive(ToSchema, Serialize)]
pub(crate) struct OwnInput {
    device: String,
    metric: String,
    /// A reading that is older than this, against the newest of the inputs, raises nothing.
    max_age: Option<String>,
}

/// A rule of the town's own, on its page.
#[derive(ToSchema, Serialize)]
pub(crate) struct OwnPage {
    id: String,
    /// Grows with every change.
    version: u32,
    #[serde(flatten)]
    own: OwnRule,
    changed_by: String,
    #[schema(format = DateTime)]
    changed_at: String,
}

/// When a schedule is in force, in the town's wall time. What is left out is no limit.
#[derive(ToSchema, Serialize)]
pub(crate) struct ScheduleTimes {
    /// `08:00-18:00`; over midnight `22:00-06:00`.
    hours: Option<Vec<String>>,
    /// `mon` to `sun`.
    weekdays: Option<Vec<String>>,
    /// By the duty calendar.
    days: Option<ScheduleDays>,
    /// `04-15..10-15`, both ends included.
    seasons: Option<Vec<String>>,
}

/// A kind of day.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScheduleDays {
    Every,
    Working,
    Off,
    Holiday,
}

/// A schedule, on its page.
#[derive(ToSchema, Serialize)]
pub(crate) struct SchedulePage {
    id: String,
    /// Grows with every change.
    version: u32,
    #[serde(flatten)]
    when: ScheduleTimes,
    changed_by: String,
    #[schema(format = DateTime)]
    changed_at: String,
}

/// A rule, in force or not, and where its fields come from.
#[derive(ToSchema, Serialize)]
pub(crate) struct EffectiveRule {
    device: String,
    /// Null for the device's silence and for rules over several points.
    #[schema(required)]
    metric: Option<String>,
    name: String,
    kind: AlertKind,
    #[schema(required)]
    asset: Option<String>,
    #[schema(required)]
    zone: Option<String>,
    /// UCUM unit of its limits.
    unit: String,
    /// `{"profile": id}` or `{"own": id}`.
    #[schema(value_type = Object)]
    origin: serde_json::Value,
    /// False when an override switches it off.
    enabled: bool,
    /// Whether it is judged by now: enabled, and within its schedule.
    in_force: bool,
    /// Its fields, by their names in profiles; a limit is always a ladder.
    #[schema(value_type = Object)]
    rule: serde_json::Value,
    /// Which override set a field; what is not here comes from the origin.
    from: BTreeMap<String, RuleSource>,
    /// Why an override is set aside for this rule, or what else is wrong.
    problems: Vec<String>,
}

/// The override that set a field.
#[derive(ToSchema, Serialize)]
pub(crate) struct RuleSource {
    #[serde(rename = "override")]
    id: String,
    /// town, kind, zone, zone and kind, or device.
    scope: String,
}

/// One change of the rule book.
#[derive(ToSchema, Serialize)]
pub(crate) struct RuleChange {
    seq: i64,
    #[schema(format = DateTime)]
    at: String,
    actor: String,
    /// override, own or schedule.
    what: String,
    id: String,
    version: u32,
    /// The page before; null when it was made.
    #[schema(value_type = Option<Object>, required)]
    before: Option<serde_json::Value>,
    /// The page after; null when it was deleted.
    #[schema(value_type = Option<Object>, required)]
    after: Option<serde_json::Value>,
    why: String,
}
