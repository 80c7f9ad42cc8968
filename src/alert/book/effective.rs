//! The rules in force: what profiles say, as overrides change it, and the town's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::own::{Devices, Own};
use super::patch::{Override, check};
use super::{Book, BookError, Leaf, Page, Pages, Timetable, Tried};
use crate::alert::{Rule, RuleKey, Site, rules_of};
use crate::model::{AssetId, AssetKind, ProfileId, SeriesId, Timestamp, ZoneId};
use crate::profile::{AlertSpec, AlertTest, Point, Profile, Signal, format_duration};
use crate::registry::{Asset, Device};

/// The id of a page that is only supposed: no page on disk has it, and it sorts after all that have the same scope.
const SUPPOSED: &str = "~supposed";

/// A device at work, as the book looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The device.
    pub device: &'a Device,
    /// The asset that it observes.
    pub asset: Option<&'a Asset>,
    /// Its profile.
    pub profile: &'a Profile,
    /// The series of its profile's points, in their order.
    pub series: &'a [SeriesId],
}

/// What the judge works by.
#[derive(Debug)]
pub struct InForce {
    /// The rules.
    pub rules: Vec<Rule>,
    /// When a schedule next changes them; `None` when not within two years.
    pub next_change: Option<Timestamp>,
}

/// A rule, in force or not, and where its fields come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Device, metric and name.
    #[serde(flatten)]
    pub key: RuleKey,
    /// limit, rise, fall, sum, state, flat, condition or no_data.
    pub kind: &'static str,
    /// The asset that its alerts are listed under.
    pub asset: Option<AssetId>,
    /// Its zone.
    pub zone: Option<ZoneId>,
    /// UCUM unit of its limits.
    pub unit: String,
    /// Who says it first.
    pub origin: Origin,
    /// False when an override switches it off.
    pub enabled: bool,
    /// Whether it is judged by now: enabled, and within its schedule.
    pub in_force: bool,
    /// Its fields, by their names in profiles.
    pub rule: Value,
    /// Which override set a field; what is not here comes from the origin.
    pub from: BTreeMap<&'static str, Source>,
    /// Why an override is set aside for this rule, or what else is wrong.
    pub problems: Vec<String>,
    #[serde(skip)]
    spec: Arc<AlertSpec>,
}

/// Who says a rule first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The device's profile.
    Profile(ProfileId),
    /// The town, on the page of this id.
    Own(String),
}

/// The override that set a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its id.
    #[serde(rename = "override")]
    pub id: String,
    /// town, kind, zone, zone and kind, or device.
    pub scope: &'static str,
}

/// The overrides, to be found by scope.
pub(super) struct Index<'p> {
    town: Vec<&'p Page<Override>>,
    by_kind: HashMap<AssetKind, Vec<&'p Page<Override>>>,
    by_zone: HashMap<&'p str, Vec<&'p Page<Override>>>,
    by_device: HashMap<&'p str, Vec<&'p Page<Override>>>,
    schedules: HashSet<&'p str>,
}

/// A rule with what overrides made of it.
pub(super) struct Patched {
    pub(super) key: RuleKey,
    rule: Rule,
    enabled: bool,
    from: BTreeMap<&'static str, Source>,
    pub(super) problems: Vec<String>,
}

impl<'a> Subject<'a> {
    /// The zone that its asset is listed under.
    pub fn zone(&self) -> Option<&'a ZoneId> {
        self.asset.and_then(|asset| asset.zone.as_ref())
    }

    /// Where it stands.
    pub fn site(&self) -> Site {
        Site {
            device: self.device.id.clone(),
            gateway: self.device.gateway.clone(),
            asset: self.asset.map(|asset| asset.id.clone()),
            upstream: self.asset.and_then(Asset::upstream),
            zone: self.zone().cloned(),
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let asset = self.asset.map(|asset| (asset.id.clone(), asset.number));
        rules_of(self.device, asset, self.profile, self.series)
    }

    fn point(&self, key: &RuleKey) -> Option<&'a Point> {
        let metric = key.metric.as_ref()?;
        self.profile.point(metric.as_str()).map(|(_, point)| point)
    }
}

impl<'p> Index<'p> {
    pub(super) fn new(pages: &'p Pages) -> Self {
        let mut index = Index {
            town: Vec::new(),
            by_kind: HashMap::new(),
            by_zone: HashMap::new(),
            by_device: HashMap::new(),
            schedules: pages.all::<Timetable>().map(|page| page.id.as_str()).collect(),
        };
        for page in pages.all::<Override>() {
            let scope = &page.body.scope;
            match (&scope.device, &scope.zone, scope.kind) {
                (Some(device), ..) => index.by_device.entry(device.as_str()).or_default(),
                (None, Some(zone), _) => index.by_zone.entry(zone.as_str()).or_default(),
                (None, None, Some(kind)) => index.by_kind.entry(kind).or_default(),
                (None, None, None) => &mut index.town,
            }
            .push(page);
        }
        index
    }

    /// The overrides in whose scope a device is, the weakest first.
    fn of(&self, subject: &Subject<'_>) -> Vec<&'p Page<Override>> {
        let by_kind = subject.asset.and_then(|asset| self.by_kind.get(&asset.kind));
        let by_zone = subject.zone().and_then(|zone| self.by_zone.get(zone.as_str()));
        let by_device = self.by_device.get(subject.device.id.as_str());
        let mut found: Vec<_> = [Some(&self.town), by_kind, by_zone, by_device]
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .filter(|page| page.body.scope.has(subject))
            .collect();
        found.sort_by(|a, b| (a.body.rank(), &a.id).cmp(&(b.body.rank(), &b.id)));
        found
    }

    /// The rules of a device's profile with what overrides make of them.
    pub(super) fn profile_rules(&self, subject: &Subject<'_>) -> Vec<Patched> {
        let overrides = self.of(subject);
        let rules = subject.rules().into_iter();
        rules.map(|rule| self.patch(subject, rule, &overrides)).collect()
    }

    fn patch(&self, subject: &Subject<'_>, rule: Rule, overrides: &[&Page<Override>]) -> Patched {
        let mut patched = Patched {
            key: rule.key.clone(),
            rule,
            enabled: true,
            from: BTreeMap::new(),
            problems: Vec::new(),
        };
        let mut spec: Option<AlertSpec> = None;
        for page in overrides {
            let Override { scope, select, set } = &page.body;
            if !select.has(&subject.profile.id, &patched.key) {
                continue;
            }
            let mut problems = Vec::new();
            set.apply(
                spec.get_or_insert_with(|| AlertSpec::clone(&patched.rule.spec)),
                &mut problems,
            );
            let source = Source { id: page.id.clone(), scope: scope.word() };
            patched.from.extend(set.fields().map(|field| (field, source.clone())));
            patched.enabled = set.enabled.unwrap_or(patched.enabled);
            let by = |why: String| format!("override {}: {why}", page.id);
            patched.problems.extend(problems.into_iter().map(by));
        }
        if let Some(spec) = spec {
            patched.problems.extend(check(&spec, subject.point(&patched.key)));
            if patched.problems.is_empty() {
                patched.rule.spec = Arc::new(spec);
            } else {
                // The rule runs as its profile says; only the switch is beyond doubt.
                patched.from.retain(|field, _| *field == "enabled");
            }
        }
        if let Some(schedule) = &patched.rule.spec.schedule
            && !self.schedules.contains(schedule.as_str())
        {
            patched
                .problems
                .push(format!("there is no schedule `{schedule}`; the rule is in force always"));
        }
        patched
    }
}

impl Book {
    /// The rules in force for these devices.
    pub fn rules<'s>(
        &self,
        subjects: impl Iterator<Item = Subject<'s>>,
        now: Timestamp,
    ) -> InForce {
        let pages = self.pages();
        let index = Index::new(&pages);
        let calendar = &self.0.calendar;
        // Once for each schedule, not for each rule.
        let idle: HashSet<&str> = pages
            .all::<Timetable>()
            .filter(|page| !page.body.schedule().holds(now, calendar))
            .map(|page| page.id.as_str())
            .collect();
        let subjects: Vec<Subject<'s>> = subjects.collect();
        let own = own_rules(&pages, &subjects);
        let mut rules: Vec<Rule> = subjects
            .iter()
            .flat_map(|subject| index.profile_rules(subject))
            .filter(|patched| patched.enabled)
            .map(|patched| patched.rule)
            .chain(own.into_iter().filter_map(|(_, rule)| rule.ok()))
            .collect();
        let named: HashSet<String> =
            rules.iter().filter_map(|rule| rule.spec.schedule.clone()).collect();
        rules.retain(|rule| !rule.spec.schedule.as_deref().is_some_and(|name| idle.contains(name)));
        let next_change = pages
            .all::<Timetable>()
            .filter(|page| named.contains(&page.id))
            .filter_map(|page| page.body.schedule().next_change(now, calendar))
            .min();
        InForce { rules, next_change }
    }

    /// The rules of some devices, in force or not, with where each field comes from. Rules of the town's own are among
    /// them when they belong to one of these devices and `all` has every device that they name.
    pub fn effective<'s>(
        &self,
        wanted: &[Subject<'s>],
        all: &[Subject<'s>],
        now: Timestamp,
    ) -> Vec<Effective> {
        let pages = self.pages();
        let index = Index::new(&pages);
        let mut own: HashMap<String, Vec<(String, Rule)>> = HashMap::new();
        for (id, rule) in own_rules(&pages, all) {
            if let Ok(rule) = rule {
                own.entry(rule.key.device.to_string()).or_default().push((id, rule));
            }
        }
        let mut found = Vec::new();
        for subject in wanted {
            let shown = |rule: Rule, origin, enabled, from, problems| {
                let in_force =
                    enabled && pages.holds(rule.spec.schedule.as_deref(), now, &self.0.calendar);
                Effective {
                    kind: rule.spec.test.kind(),
                    asset: subject.asset.map(|asset| asset.id.clone()),
                    zone: subject.zone().cloned(),
                    unit: rule.unit,
                    origin,
                    enabled,
                    in_force,
                    rule: spec_json(&rule.spec),
                    from,
                    problems,
                    spec: rule.spec,
                    key: rule.key,
                }
            };
            found.extend(index.profile_rules(subject).into_iter().map(|patched| {
                let Patched { rule, enabled, from, problems, .. } = patched;
                let origin = Origin::Profile(subject.profile.id.clone());
                shown(rule, origin, enabled, from, problems)
            }));
            let own = own.remove(subject.device.id.as_str()).unwrap_or_default();
            found.extend(
                own.into_iter().map(|(id, rule)| {
                    shown(rule, Origin::Own(id), true, BTreeMap::new(), Vec::new())
                }),
            );
        }
        found
    }
}

impl Book {
    /// The rules of one device whatever their schedules say, as they would be with one page more; as they are without.
    /// The page wins over every other of its scope. Nothing is written, and nobody judges by it.
    ///
    /// # Errors
    /// When the page would be refused.
    pub fn suppose<'s, T: Leaf + Tried>(
        &self,
        body: Option<T>,
        device: &Subject<'s>,
        all: &[Subject<'s>],
    ) -> Result<Vec<Rule>, BookError> {
        let mut pages = Pages::clone(&self.pages());
        if let Some(body) = body {
            let id = SUPPOSED.to_owned();
            let (changed_by, changed_at) = (String::new(), Timestamp::EPOCH);
            let page = Page { id: id.clone(), version: 1, body, changed_by, changed_at };
            T::of_mut(&mut pages).insert(id.clone(), page.clone());
            let errors = T::errors(&pages, &page, all.iter().copied());
            if !errors.is_empty() {
                return Err(BookError::Invalid { what: T::WHAT, id, errors });
            }
        }
        let index = Index::new(&pages);
        let of_profile = index.profile_rules(device).into_iter();
        let of_profile = of_profile.filter(|patched| patched.enabled).map(|patched| patched.rule);
        let own = own_rules(&pages, all).into_iter().filter_map(|(_, rule)| rule.ok());
        let own = own.filter(|rule| rule.key.device == device.device.id);
        Ok(of_profile.chain(own).collect())
    }
}

impl Effective {
    /// The rule as the judge has it.
    pub fn spec(&self) -> &Arc<AlertSpec> {
        &self.spec
    }
}

/// The town's own rules, by page; an error when one does not fit the devices of the moment.
fn own_rules(pages: &Pages, subjects: &[Subject<'_>]) -> Vec<(String, Result<Rule, Vec<String>>)> {
    if pages.all::<Own>().next().is_none() {
        return Vec::new();
    }
    let devices: Devices<'_, '_> =
        subjects.iter().map(|subject| (subject.device.id.as_str(), subject)).collect();
    let rule = |page: &Page<Own>| -> Result<Rule, Vec<String>> {
        let own = &page.body;
        let spec = own.compile(&page.id, &devices)?;
        let subject = devices.get(own.device.as_str()).ok_or_else(Vec::new)?;
        let series_of = |device: &str, metric: &str| {
            let subject = devices.get(device)?;
            let (index, _) = subject.profile.point(metric)?;
            subject.series.get(usize::from(index.0)).copied()
        };
        let (series, unit) = match (&spec.test, &own.metric) {
            (AlertTest::Holds { expr, .. }, _) => {
                let of = |input: &crate::profile::ConditionInput| {
                    let device = input.device.as_ref().unwrap_or(&own.device);
                    series_of(device.as_str(), input.metric.as_str())
                };
                (expr.inputs.iter().filter_map(of).collect(), "1".to_owned())
            }
            (_, Some(metric)) => {
                let unit = subject.profile.point(metric.as_str()).map(|(_, p)| p.unit.clone());
                let series = series_of(own.device.as_str(), metric.as_str());
                (series.into_iter().collect(), unit.unwrap_or_default())
            }
            (_, None) => (subject.series.to_vec(), "s".to_owned()),
        };
        let asset = subject.asset.map(|asset| (asset.id.clone(), asset.number));
        Ok(Rule { key: own.key(&page.id), series, asset, unit, spec: Arc::new(spec) })
    };
    pages.all::<Own>().map(|page| (page.id.clone(), rule(page))).collect()
}

/// A rule's fields under their names in profiles, those that are set; a limit is always shown as a ladder.
pub(super) fn spec_json(spec: &AlertSpec) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    put("text", json!(spec.text));
    put("for", json!(format_duration(spec.on_delay)));
    put("clear_for", json!(format_duration(spec.off_delay)));
    put("re_alarm", json!(spec.re_alarm.map(format_duration)));
    let flap = spec
        .flap
        .map(|flap| json!({ "times": flap.times, "within": format_duration(flap.within) }));
    put("flap", json!(flap));
    put("schedule", json!(spec.schedule));
    match &spec.test {
        AlertTest::Limit { of, side, rungs } => {
            match of {
                Signal::Value => {}
                Signal::Rise { window } => put("rise", json!(format_duration(*window))),
                Signal::Fall { window } => put("fall", json!(format_duration(*window))),
                Signal::Sum { window } => put("sum", json!(format_duration(*window))),
            }
            let rungs = rungs.iter().map(|rung| {
                let mut shown = json!({
                    "severity": rung.severity,
                    side.as_str(): rung.limit,
                    "clear": rung.clear,
                });
                if let Some(text) = &rung.text {
                    shown["text"] = json!(text);
                }
                shown
            });
            put("ladder", Value::Array(rungs.collect()));
        }
        AlertTest::Equals { code, severity } => {
            put("equals", json!(code));
            put("severity", json!(severity));
        }
        AlertTest::Flat { band, after, severity } => {
            put("flat", json!(format_duration(*after)));
            put("band", json!(band));
            put("severity", json!(severity));
        }
        AlertTest::Holds { expr, severity } => {
            put("when", json!(expr.text));
            put("severity", json!(severity));
        }
        AlertTest::NoData { after, severity } => {
            put("after", json!(format_duration(*after)));
            put("severity", json!(severity));
        }
    }
    Value::Object(fields)
}
