//! The town's own rules: on one metric of a device, or an expression over points of several devices.
//!
//! One on a metric is written as a profile's alert is, and read by the same reader. One over several points names them
//! (`inputs`) and says `when`. It belongs to one device, whose asset its alert is listed under.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::patch::{check, no_schedule};
use super::{ALWAYS, Page, Pages, Subject, Tried};
use crate::alert::RuleKey;
use crate::model::{DeviceId, Label, MetricName, Severity};
use crate::profile::expr::{self, Kind, Scope};
use crate::profile::{
    self, AlertSpec, AlertTest, Condition, ConditionInput, Flap, Point, parse_duration,
};

/// The most points that one expression may name.
const MAX_INPUTS: usize = 16;

/// A reading that is older than this raises nothing, when the rule does not say otherwise and the device's profile is not
/// slower.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// What stands before the id in the rule's name, so that it is never one of a profile's.
const PREFIX: &str = "town:";

/// A rule of the town's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The device that it belongs to.
    pub device: DeviceId,
    /// What it watches; absent for an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricName>,
    /// What an expression's names mean.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
    /// The rule, with a profile's keys: `above`, `clear`, `for`, `severity`, `text`; or `when` for an expression.
    pub rule: Map<String, Value>,
}

/// A point that an expression names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub metric: MetricName,
    /// A reading that is older than this, against the newest of the inputs, raises nothing; absent: the time after which
    /// its device is stale, at least 15 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
}

/// An expression's rule, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpression {
    when: String,
    severity: Severity,
    text: Label,
    #[serde(rename = "for", default)]
    on_delay: Option<String>,
    #[serde(rename = "clear_for", default)]
    off_delay: Option<String>,
    #[serde(default)]
    re_alarm: Option<String>,
    #[serde(default)]
    flap: Option<super::patch::FlapPatch>,
    #[serde(default)]
    schedule: Option<String>,
}

/// Devices by their id.
pub(super) type Devices<'a, 's> = HashMap<&'a str, &'a Subject<'s>>;

impl Own {
    /// Every device that it names.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        std::iter::once(&self.device).chain(self.inputs.values().map(|input| &input.device))
    }

    /// Its name in the judge.
    pub(super) fn key(&self, id: &str) -> RuleKey {
        RuleKey {
            device: self.device.clone(),
            metric: self.metric.clone(),
            name: format!("{PREFIX}{id}"),
        }
    }

    pub(super) fn names(&self, schedule: &str) -> bool {
        self.rule.get("schedule").and_then(Value::as_str) == Some(schedule)
    }

    /// What it means for these devices.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub(super) fn compile(
        &self,
        id: &str,
        devices: &Devices<'_, '_>,
    ) -> Result<AlertSpec, Vec<String>> {
        let spec = match &self.metric {
            Some(metric) if self.inputs.is_empty() => {
                let (_, point) = point(devices, &self.device, metric)?;
                profile::read_alert("rule", &self.rule, point)?
            }
            Some(_) => {
                return Err(vec!["a rule has a `metric`, or `inputs` and `when`; not both".into()]);
            }
            None => self.compile_expression(devices)?,
        };
        Ok(AlertSpec { name: self.key(id).name, ..spec })
    }

    fn compile_expression(&self, devices: &Devices<'_, '_>) -> Result<AlertSpec, Vec<String>> {
        if self.inputs.is_empty() {
            return Err(vec!["name a `metric`, or `inputs` for an expression".into()]);
        }
        if self.inputs.len() > MAX_INPUTS {
            return Err(vec![format!("an expression names {MAX_INPUTS} points at most")]);
        }
        if !devices.contains_key(self.device.as_str()) {
            return Err(vec![no_device(&self.device)]);
        }
        let raw: RawExpression = serde_json::from_value(Value::Object(self.rule.clone()))
            .map_err(|why| vec![format!("rule: {why}")])?;
        let mut scope = Scope::default();
        let mut asked = HashMap::new();
        for (name, input) in &self.inputs {
            let (subject, point) = point(devices, &input.device, &input.metric)?;
            let kind = match &point.states {
                Some(states) => Kind::State(states),
                None => Kind::Number(&point.unit),
            };
            let max_age = match &input.max_age {
                Some(text) => duration("max_age", text)?,
                None => MAX_AGE.max(subject.profile.staleness.stale_after),
            };
            asked.insert(scope.add(name, kind), (input, max_age));
        }
        let compiled = expr::compile(&raw.when, &scope, Kind::Bool).map_err(|errors| {
            let tell = |error: expr::ExprError| {
                let help = error.help.join("; ");
                let found = raw.when.get(error.at).unwrap_or_default();
                format!("when: at `{found}`: {} {help}", error.message).trim_end().to_owned()
            };
            errors.into_iter().map(tell).collect::<Vec<_>>()
        })?;
        let inputs = compiled.inputs().iter().filter_map(|index| {
            let (input, max_age) = asked.get(index)?;
            Some(ConditionInput {
                asked_as: *index,
                device: Some(input.device.clone()),
                metric: input.metric.clone(),
                max_age: *max_age,
            })
        });
        let inputs: Vec<_> = inputs.collect();
        if inputs.is_empty() {
            return Err(vec!["when: it names none of its `inputs`".into()]);
        }
        let expr = Condition { text: raw.when, expr: compiled, inputs };
        let optional =
            |key, text: Option<String>| text.map(|text| duration(key, &text)).transpose();
        Ok(AlertSpec {
            on_delay: optional("for", raw.on_delay)?.unwrap_or_default(),
            off_delay: optional("clear_for", raw.off_delay)?.unwrap_or_default(),
            re_alarm: optional("re_alarm", raw.re_alarm)?,
            flap: raw.flap.map(|flap| Flap { times: flap.times, within: flap.within }),
            schedule: raw.schedule.filter(|name| name != ALWAYS),
            ..AlertSpec::new("", raw.text, AlertTest::Holds { expr, severity: raw.severity })
        })
    }
}

impl Tried for Own {
    fn errors<'s>(
        pages: &Pages,
        page: &Page<Self>,
        subjects: impl Iterator<Item = Subject<'s>>,
    ) -> Vec<String> {
        let named: Vec<Subject<'s>> = subjects
            .filter(|subject| page.body.devices().any(|id| *id == subject.device.id))
            .collect();
        let devices: Devices<'_, 's> =
            named.iter().map(|subject| (subject.device.id.as_str(), subject)).collect();
        match page.body.compile(&page.id, &devices) {
            Err(errors) => errors,
            Ok(spec) => {
                let watched = page.body.metric.as_ref();
                let watched = watched.and_then(|m| point(&devices, &page.body.device, m).ok());
                let mut errors = check(&spec, watched.map(|(_, point)| point));
                if let Some(name) = &spec.schedule
                    && pages.get::<super::Timetable>(name).is_none()
                {
                    errors.push(no_schedule(name, pages));
                }
                errors
            }
        }
    }
}

fn no_device(device: &DeviceId) -> String {
    format!("device `{device}` is not at work: there is none, or its profile is not in force")
}

/// A device's point.
fn point<'a, 's>(
    devices: &Devices<'a, 's>,
    device: &DeviceId,
    metric: &MetricName,
) -> Result<(&'a Subject<'s>, &'a Point), Vec<String>> {
    let subject = *devices.get(device.as_str()).ok_or_else(|| vec![no_device(device)])?;
    let found = subject.profile.point(metric.as_str());
    let (_, point) = found.ok_or_else(|| {
        let has: Vec<&str> = subject.profile.points.iter().map(|p| p.name.as_str()).collect();
        vec![format!("device `{device}` has no `{metric}`; it has {}", has.join(", "))]
    })?;
    Ok((subject, point))
}

fn duration(key: &str, text: &str) -> Result<Duration, Vec<String>> {
    parse_duration(text).map_err(|why| vec![format!("{key}: {why}")])
}
