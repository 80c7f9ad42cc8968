//! Rules: what is watched, what is tested, and how a device's rules follow from its profile.

use std::sync::Arc;

use serde::Serialize;

use crate::model::{AssetId, AssetNumber, DeviceId, Label, MetricName, SeriesId, Severity};
use crate::profile::{AlertSpec, AlertTest, ConditionInput, Point, Profile};
use crate::registry::Device;

/// A rule's name: stable across restarts, so that its condition is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RuleKey {
    /// The device that it watches.
    pub device: DeviceId,
    /// The metric; `None` for the device's silence.
    pub metric: Option<MetricName>,
    /// Its name within the point: `surcharge`, `no_data`.
    pub name: String,
}

/// A rule in force: a spec that is bound to its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name. Of two rules with one name only the first is in force.
    pub key: RuleKey,
    /// The series it watches: one for what tests one point (further ones are not looked at), one for each input of an
    /// expression, in their order, and all of the device's for silence.
    pub series: Vec<SeriesId>,
    /// The asset that the device observes.
    pub asset: Option<(AssetId, AssetNumber)>,
    /// UCUM unit of limit and value; `s` for silence.
    pub unit: String,
    /// What is tested, how patiently, and what people read. Shared by all devices of a profile.
    pub spec: Arc<AlertSpec>,
}

/// What a value says to a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The signal is on.
    Beyond,
    /// In the hysteresis, or not to be trusted: the signal stays as it is.
    Between,
    /// Beyond, but not to be trusted: what is active stays active, and nothing is raised.
    Keep,
    /// The signal is off.
    Within,
}

impl Rule {
    /// The rule of one limit or state in a profile. `series` is the point's.
    pub fn from_spec(
        device: &DeviceId,
        asset: Option<(AssetId, AssetNumber)>,
        point: &Point,
        series: SeriesId,
        spec: &Arc<AlertSpec>,
    ) -> Rule {
        Rule {
            key: RuleKey {
                device: device.clone(),
                metric: Some(point.name.clone()),
                name: spec.name.clone(),
            },
            series: vec![series],
            asset,
            unit: point.unit.clone(),
            spec: Arc::clone(spec),
        }
    }

    /// The highest step that is no worse than `severity`; the mildest when all are.
    pub(super) fn nearest_step(&self, severity: Severity) -> usize {
        let test = &self.spec.test;
        (0..test.steps()).rev().find(|&step| test.severity(step) <= severity).unwrap_or(0)
    }

    /// The rule of a condition over a device's points; `None` when a point that it asks for has no series.
    fn over_points(
        device: &DeviceId,
        asset: Option<(AssetId, AssetNumber)>,
        profile: &Profile,
        series: &[SeriesId],
        spec: &Arc<AlertSpec>,
    ) -> Option<Rule> {
        let AlertTest::Holds { expr, .. } = &spec.test else { return None };
        let series_of = |input: &ConditionInput| {
            let (index, _) = profile.point(input.metric.as_str())?;
            series.get(usize::from(index.0)).copied()
        };
        Some(Rule {
            key: RuleKey { device: device.clone(), metric: None, name: spec.name.clone() },
            series: expr.inputs.iter().map(series_of).collect::<Option<_>>()?,
            asset,
            unit: "1".to_owned(),
            spec: Arc::clone(spec),
        })
    }

    /// The rule of a device's silence, from its profile's staleness.
    fn no_data(
        device: &DeviceId,
        asset: Option<(AssetId, AssetNumber)>,
        profile: &Profile,
        series: &[SeriesId],
    ) -> Rule {
        let test = AlertTest::NoData {
            after: profile.staleness.dead_after,
            severity: profile.staleness.severity,
        };
        let text = Label::new("设备无数据", "No data from device");
        Rule {
            key: RuleKey { device: device.clone(), metric: None, name: "no_data".to_owned() },
            series: series.to_vec(),
            asset,
            unit: "s".to_owned(),
            spec: Arc::new(AlertSpec::new("no_data", text, test)),
        }
    }
}

/// All rules of a device: every alert of its profile's points, those over several points, and its silence. `series` are the numbers of
/// the points' series, in the order of the profile.
pub fn rules_of(
    device: &Device,
    asset: Option<(AssetId, AssetNumber)>,
    profile: &Profile,
    series: &[SeriesId],
) -> Vec<Rule> {
    let limits = profile.points.iter().zip(series).flat_map(|(point, &series)| {
        let asset = asset.clone();
        point
            .alerts
            .iter()
            .map(move |spec| Rule::from_spec(&device.id, asset.clone(), point, series, spec))
    });
    let conditions = profile
        .logic
        .alerts
        .iter()
        .filter_map(|spec| Rule::over_points(&device.id, asset.clone(), profile, series, spec));
    let silence = Rule::no_data(&device.id, asset.clone(), profile, series);
    limits.chain(conditions).chain([silence]).collect()
}

/// The limit that people are shown for the `rung`th step; for silence its length in seconds, for a flat line its band.
pub(super) fn shown_limit(test: &AlertTest, rung: usize) -> Option<f64> {
    match test {
        AlertTest::Limit { rungs, .. } => rungs.get(rung).map(|rung| rung.limit),
        AlertTest::Flat { band, .. } => Some(*band),
        AlertTest::NoData { after, .. } => Some(after.as_secs_f64()),
        AlertTest::Equals { .. } | AlertTest::Holds { .. } => None,
    }
}

/// The clear value that people are shown for the `rung`th step.
pub(super) fn shown_clear(test: &AlertTest, rung: usize) -> Option<f64> {
    test.rungs().get(rung).map(|rung| rung.clear)
}

/// What `value` says to the `rung`th step of a limit or to a state. NaN says nothing.
pub(super) fn verdict(test: &AlertTest, rung: usize, value: f64) -> Verdict {
    let (beyond, within) = match test {
        AlertTest::Limit { side, rungs, .. } => match rungs.get(rung) {
            Some(rung) => (side.is_beyond(value, rung.limit), side.is_within(value, rung.clear)),
            None => (false, false),
        },
        AlertTest::Equals { code, .. } => (value == *code, value != *code && !value.is_nan()),
        AlertTest::Flat { .. } | AlertTest::Holds { .. } | AlertTest::NoData { .. } => {
            (false, false)
        }
    };
    match (beyond, within) {
        (true, _) => Verdict::Beyond,
        (false, true) => Verdict::Within,
        (false, false) => Verdict::Between,
    }
}

/// `value`, if it lies further beyond the limits than `peak`. Only limits have a peak.
pub(super) fn further(test: &AlertTest, peak: Option<f64>, value: f64) -> Option<f64> {
    let AlertTest::Limit { side, .. } = test else { return None };
    peak.is_none_or(|peak| side.is_beyond(value, peak)).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::model::{AssetKind, PointIndex};
    use crate::profile::{ModbusSource, Read, Side, Source, Staleness, State};

    fn check(test: &AlertTest, value: f64, expected: Verdict) {
        assert_eq!(verdict(test, 0, value), expected, "{value} against {test:?}");
    }

    fn above(limit: f64, clear: f64) -> AlertTest {
        AlertTest::limit(Side::Above, limit, clear, Severity::Critical)
    }

    fn below(limit: f64, clear: f64) -> AlertTest {
        AlertTest::limit(Side::Below, limit, clear, Severity::Critical)
    }

    fn point() -> Point {
        let spec = |name: &str, test, on_delay| {
            Arc::new(AlertSpec {
                on_delay: Duration::from_secs(on_delay),
                off_delay: Duration::from_secs(30),
                ..AlertSpec::new(name, Label::new("井盖开", "Cover open"), test)
            })
        };
        Point {
            name: "cover".parse().expect("a metric name"),
            label: Label::new("井盖", "Cover"),
            unit: "1".to_owned(),
            read: Read::Json("/cover".to_owned()),
            scale: 1.0,
            offset: 0.0,
            range: None,
            deadband: None,
            max_rate: None,
            flatline: None,
            sentinels: Vec::new(),
            states: Some(vec![State {
                code: 1.0,
                name: "open".to_owned(),
                label: Label::new("开", "Open"),
            }]),
            alerts: vec![
                spec("open", AlertTest::Equals { code: 1.0, severity: Severity::Critical }, 60),
                spec("odd", above(5.0, 4.0), 0),
            ],
        }
    }

    #[test]
    fn a_devices_rules_are_its_limits_its_states_and_its_silence() {
        let profile = Profile {
            id: "mh1".parse().expect("a profile id"),
            name: Label::same("MH1"),
            manufacturer: "Aqua".to_owned(),
            model: "MH1".to_owned(),
            kind: AssetKind::Manhole,
            source: Source::Modbus(ModbusSource {
                max_registers: 120,
                max_gap: 8,
                timeout: Duration::from_secs(1),
                min_request_gap: Duration::ZERO,
                poll: BTreeMap::new(),
            }),
            staleness: Staleness {
                expect_every: None,
                stale_after: Duration::from_secs(60),
                dead_after: Duration::from_secs(3600),
                severity: Severity::Minor,
            },
            points: vec![point()],
            headline: PointIndex(0),
            commands: vec![],
            logic: Default::default(),
        };
        let device = Device {
            id: "mh-014".parse().expect("a device id"),
            name: Label::same("MH 14"),
            profile: profile.id.clone(),
            asset: None,
            modbus: None,
            gateway: None,
            address: None,
        };
        let rules = rules_of(&device, None, &profile, &[SeriesId(7)]);
        let names: Vec<&str> = rules.iter().map(|rule| rule.key.name.as_str()).collect();
        assert_eq!(names, ["open", "odd", "no_data"]);
        assert_eq!(rules[0].spec, profile.points[0].alerts[0]);
        assert_eq!(rules[0].key.metric.as_ref().map(MetricName::as_str), Some("cover"));
        assert_eq!(rules[1].spec.test, above(5.0, 4.0));
        let after = Duration::from_secs(3600);
        assert_eq!(rules[2].spec.test, AlertTest::NoData { after, severity: Severity::Minor });
        assert_eq!(rules[2].key.metric, None);
        assert!(
            rules.iter().all(|rule| rule.series == [SeriesId(7)] && rule.key.device == device.id)
        );
    }

    #[test]
    fn a_value_is_beyond_between_or_within() {
        let high = above(2.5, 2.3);
        check(&high, 2.51, Verdict::Beyond);
        check(&high, 2.5, Verdict::Between);
        check(&high, 2.3, Verdict::Within);
        check(&high, f64::NAN, Verdict::Between);
        let low = below(3.3, 3.4);
        check(&low, 3.2, Verdict::Beyond);
        check(&low, 3.3, Verdict::Between);
        check(&low, 3.4, Verdict::Within);
        let open = AlertTest::Equals { code: 1.0, severity: Severity::Critical };
        check(&open, 1.0, Verdict::Beyond);
        check(&open, 0.0, Verdict::Within);
        check(&open, f64::NAN, Verdict::Between);
    }

    #[test]
    fn the_peak_lies_on_the_limits_side() {
        assert_eq!(further(&above(2.0, 1.0), Some(3.0), 4.0), Some(4.0));
        assert_eq!(further(&above(2.0, 1.0), Some(3.0), 2.0), None);
        assert_eq!(further(&below(1.0, 2.0), Some(0.5), 0.4), Some(0.4));
        assert_eq!(further(&below(1.0, 2.0), None, 0.4), Some(0.4));
        let silence = AlertTest::NoData { after: Duration::ZERO, severity: Severity::Minor };
        assert_eq!(further(&silence, None, 1.0), None);
    }
}
