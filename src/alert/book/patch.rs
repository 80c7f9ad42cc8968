//! Overrides: fields of profile rules that the town sets otherwise, for a place, a kind of asset, or one device.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ALWAYS, Page, Pages, Subject, Tried};
use crate::alert::RuleKey;
use crate::model::{AssetKind, DeviceId, Label, MetricName, ProfileId, Severity, ZoneId};
use crate::profile::{AlertSpec, AlertTest, Flap, Point, Rung, Side, format_duration};

/// What an override changes, where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Where.
    pub scope: Scope,
    /// Which rules there.
    #[serde(default)]
    pub select: Selector,
    /// What of them.
    pub set: Patch,
}

/// Where an override counts. At most one of: a device; a zone, a kind of asset, or both. Nothing at all is the town.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// One device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Devices whose asset is listed under this zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneId>,
    /// Devices whose asset is of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<AssetKind>,
}

/// Which rules of a device. What is left out may be any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// Of devices of this profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// Of this metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricName>,
    /// Of this name: `surcharge`, `no_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What is set. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patch {
    /// False: the rule is not in force at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// On-delay.
    #[serde(rename = "for", with = "span", skip_serializing_if = "Option::is_none")]
    pub on_delay: Option<Duration>,
    /// Off-delay.
    #[serde(rename = "clear_for", with = "span", skip_serializing_if = "Option::is_none")]
    pub off_delay: Option<Duration>,
    /// How bad it is; for rules of one severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Limits and clear values, by the severity of their rung.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rungs: BTreeMap<Severity, RungPatch>,
    /// How long silence or a flat line may last.
    #[serde(with = "span", skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// After how long an acknowledged alert that stands rings again; `0s` is never.
    #[serde(with = "span", skip_serializing_if = "Option::is_none")]
    pub re_alarm: Option<Duration>,
    /// When it chatters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flap: Option<FlapPatch>,
    /// A schedule by its name; `always` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What people read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Label>,
}

/// A rung's new values.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RungPatch {
    /// Raises beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Clears within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<f64>,
}

/// More than so many raises within so long are chatter; 0 times is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlapPatch {
    /// How many.
    pub times: u32,
    /// Within how long.
    #[serde(with = "must_span")]
    pub within: Duration,
}

impl Scope {
    /// How much it narrows: device 4, zone and kind 3, zone 2, kind 1, town 0.
    pub fn rank(&self) -> u8 {
        match (&self.device, &self.zone, &self.kind) {
            (Some(_), ..) => 4,
            (None, Some(_), Some(_)) => 3,
            (None, Some(_), None) => 2,
            (None, None, Some(_)) => 1,
            (None, None, None) => 0,
        }
    }

    /// In a word, for people who ask where a field comes from.
    pub fn word(&self) -> &'static str {
        ["town", "kind", "zone", "zone and kind", "device"][usize::from(self.rank())]
    }

    /// Whether a device is in it.
    pub fn has(&self, subject: &Subject<'_>) -> bool {
        self.device.as_ref().is_none_or(|id| *id == subject.device.id)
            && self.zone.as_ref().is_none_or(|zone| subject.zone() == Some(zone))
            && self.kind.is_none_or(|kind| subject.asset.is_some_and(|asset| asset.kind == kind))
    }
}

impl Selector {
    fn rank(&self) -> u8 {
        u8::from(self.rule.is_some()) * 4
            + u8::from(self.metric.is_some()) * 2
            + u8::from(self.profile.is_some())
    }

    /// Whether it means this rule of a device of this profile.
    pub fn has(&self, profile: &ProfileId, key: &RuleKey) -> bool {
        self.profile.as_ref().is_none_or(|wanted| wanted == profile)
            && self.metric.as_ref().is_none_or(|wanted| Some(wanted) == key.metric.as_ref())
            && self.rule.as_ref().is_none_or(|wanted| *wanted == key.name)
    }
}

impl Override {
    /// Of two overrides of one rule the one with the greater rank wins.
    pub(super) fn rank(&self) -> (u8, u8) {
        (self.scope.rank(), self.select.rank())
    }

    pub(super) fn names(&self, schedule: &str) -> bool {
        self.set.schedule.as_deref() == Some(schedule)
    }

    /// What is wrong with it by itself.
    fn faults(&self, pages: &Pages) -> Vec<String> {
        let mut faults = Vec::new();
        let Scope { device, zone, kind } = &self.scope;
        if device.is_some() && (zone.is_some() || kind.is_some()) {
            faults.push("a scope is a device, or a zone and a kind; not both".to_owned());
        }
        if self.set == Patch::default() {
            faults.push("`set` sets nothing; delete the override instead".to_owned());
        }
        if let Some(name) = self.set.schedule.as_deref()
            && name != ALWAYS
            && !pages.schedules.contains_key(name)
        {
            faults.push(no_schedule(name, pages));
        }
        if let Some(text) = &self.set.text
            && (text.zh.trim().is_empty() || text.en.trim().is_empty())
        {
            faults.push("`text` needs zh and en".to_owned());
        }
        faults
    }
}

pub(super) fn no_schedule(name: &str, pages: &Pages) -> String {
    let known: Vec<&str> = pages.schedules.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    format!("there is no schedule `{name}`; there are: {known} (and `{ALWAYS}`)")
}

impl Tried for Override {
    fn errors<'s>(
        pages: &Pages,
        page: &Page<Self>,
        subjects: impl Iterator<Item = Subject<'s>>,
    ) -> Vec<String> {
        let mut errors = page.body.faults(pages);
        if !errors.is_empty() {
            return errors;
        }
        let Override { scope, select, .. } = &page.body;
        let index = super::effective::Index::new(pages);
        let (mut devices, mut rules) = (0, 0);
        for subject in subjects.filter(|subject| scope.has(subject)) {
            devices += 1;
            for effective in index.profile_rules(&subject) {
                if !select.has(&subject.profile.id, &effective.key) {
                    continue;
                }
                rules += 1;
                let of = &effective.key;
                let metric = of.metric.as_ref().map_or("", |metric| metric.as_str());
                let place = format!("{} {metric} {}: ", of.device, of.name).replace("  ", " ");
                errors.extend(effective.problems.iter().map(|why| format!("{place}{why}")));
                if errors.len() > super::MAX_ERRORS {
                    return errors;
                }
            }
        }
        if devices > 0 && rules == 0 {
            errors.push(format!(
                "`select` means no rule of the {devices} devices in its scope; GET /api/v1/rules lists them"
            ));
        }
        errors
    }
}

impl Patch {
    /// The names of the fields that it sets, as in its JSON.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static str> {
        [
            ("enabled", self.enabled.is_some()),
            ("for", self.on_delay.is_some()),
            ("clear_for", self.off_delay.is_some()),
            ("severity", self.severity.is_some()),
            ("rungs", !self.rungs.is_empty()),
            ("after", self.after.is_some()),
            ("re_alarm", self.re_alarm.is_some()),
            ("flap", self.flap.is_some()),
            ("schedule", self.schedule.is_some()),
            ("text", self.text.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
    }

    /// Sets its fields in `spec`; says what does not fit that rule.
    pub(super) fn apply(&self, spec: &mut AlertSpec, problems: &mut Vec<String>) {
        set(&mut spec.on_delay, self.on_delay);
        set(&mut spec.off_delay, self.off_delay);
        if let Some(after) = self.re_alarm {
            spec.re_alarm = (!after.is_zero()).then_some(after);
        }
        if let Some(FlapPatch { times, within }) = self.flap {
            spec.flap = Some(Flap { times, within });
        }
        if let Some(name) = &self.schedule {
            spec.schedule = (name != ALWAYS).then(|| name.clone());
        }
        self.apply_to_test(&mut spec.test, problems);
        if let Some(text) = &self.text {
            spec.text = text.clone();
            if let AlertTest::Limit { rungs, .. } = &mut spec.test {
                rungs.iter_mut().for_each(|rung| rung.text = None);
            }
        }
    }

    fn apply_to_test(&self, test: &mut AlertTest, problems: &mut Vec<String>) {
        let is_limit = matches!(test, AlertTest::Limit { .. });
        match test {
            AlertTest::Limit { rungs, .. } => self.apply_to_rungs(rungs, problems),
            AlertTest::Flat { after, severity, .. } | AlertTest::NoData { after, severity } => {
                set(after, self.after);
                set(severity, self.severity);
            }
            AlertTest::Equals { severity, .. } | AlertTest::Holds { severity, .. } => {
                set(severity, self.severity);
                if self.after.is_some() {
                    problems.push("`after` is for silence and flat lines; use `for`".to_owned());
                }
            }
        }
        if !is_limit && !self.rungs.is_empty() {
            problems.push("`rungs` are for limits; this rule has none".to_owned());
        }
        if is_limit && self.after.is_some() {
            problems.push("`after` is for silence and flat lines; use `for`".to_owned());
        }
    }

    fn apply_to_rungs(&self, rungs: &mut [Rung], problems: &mut Vec<String>) {
        for (severity, patch) in &self.rungs {
            match rungs.iter_mut().find(|rung| rung.severity == *severity) {
                Some(rung) => {
                    set(&mut rung.limit, patch.limit);
                    set(&mut rung.clear, patch.clear);
                }
                None => {
                    let has: Vec<_> = rungs.iter().map(|rung| rung.severity.as_str()).collect();
                    let has = has.join(", ");
                    problems.push(format!("there is no rung {severity}; its rungs are {has}"));
                }
            }
        }
        match (rungs, self.severity) {
            (_, None) => {}
            ([one], Some(severity)) => one.severity = severity,
            (_, Some(_)) => {
                problems.push("a ladder's severities are its rungs'; set `rungs`".to_owned());
            }
        }
    }
}

fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// What would keep a rule from ever being raised or cleared, as for a profile's alert. `point` is what it watches; `None`
/// for rules over a device or several points.
pub(super) fn check(spec: &AlertSpec, point: Option<&Point>) -> Vec<String> {
    let mut problems = Vec::new();
    if let AlertTest::Limit { of, side, rungs } = &spec.test {
        let reach = of.reach(point.and_then(|point| point.range));
        check_rungs(*side, rungs, reach, &mut problems);
    }
    if let AlertTest::NoData { after, .. } | AlertTest::Flat { after, .. } = &spec.test
        && after.is_zero()
    {
        problems.push("`after` must be longer than 0s".to_owned());
    }
    if let Some(flap) = &spec.flap
        && flap.times > Flap::MOST
    {
        problems.push(format!("`flap` counts at most {} times", Flap::MOST));
    }
    if let Some(flap) = &spec.flap
        && flap.times > 0
        && flap.within.is_zero()
    {
        problems.push("`flap` counts within more than 0s; 0 times is never".to_owned());
    }
    problems
}

fn check_rungs(side: Side, rungs: &[Rung], range: Option<(f64, f64)>, problems: &mut Vec<String>) {
    let is_above = matches!(side, Side::Above);
    let is_within = |value: f64, limit: f64| if is_above { value <= limit } else { value >= limit };
    for Rung { severity, limit, clear, .. } in rungs {
        if !limit.is_finite() || !clear.is_finite() {
            problems.push(format!("{severity}: limit and clear are numbers"));
            continue;
        }
        if !is_within(*clear, *limit) {
            let word = if is_above { "below" } else { "above" };
            problems
                .push(format!("{severity}: clear {clear} must be at or {word} the limit {limit}"));
        }
        let Some((low, high)) = range else { continue };
        let (is_never, is_always) = match is_above {
            true => (*limit >= high, *limit < low),
            false => (*limit <= low, *limit > high),
        };
        if is_never || is_always {
            let when = if is_never { "never" } else { "always" };
            problems.push(format!(
                "{severity}: {when} raised: {limit} against the point's range {low} to {high}"
            ));
        }
        if !(low..=high).contains(clear) {
            problems.push(format!(
                "{severity}: never clears: {clear} is not inside the range {low} to {high}"
            ));
        }
    }
    for pair in rungs.windows(2) {
        let [mild, bad] = pair else { continue };
        if bad.severity <= mild.severity {
            problems.push(format!(
                "{} must stand before {}: rungs go from mild to bad",
                bad.severity, mild.severity
            ));
        }
        let is_nearer = |mild: f64, bad: f64| if is_above { bad < mild } else { bad > mild };
        if is_nearer(mild.limit, bad.limit) || is_nearer(mild.clear, bad.clear) {
            problems.push(format!(
                "{}: limit {} and clear {} must lie no nearer than those of {}, {} and {}",
                bad.severity, bad.limit, bad.clear, mild.severity, mild.limit, mild.clear
            ));
        }
    }
}

/// Durations as people write them, and as profiles do.
mod span {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => to.serialize_str(&format_duration(*duration)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| crate::profile::parse_duration(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

mod must_span {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        crate::profile::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}
