//! Rules: what is watched, what is tested, and how a device's rules follow from its profile.

use std::time::Duration;

use serde::Serialize;

use crate::model::{AssetId, AssetNumber, DeviceId, Label, MetricName, SeriesId, Severity};
use crate::profile::{AlertSpec, AlertTest, Point, Profile};
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

/// A rule in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name. Of two rules with one name only the first is in force.
    pub key: RuleKey,
    /// The series it watches: one for a limit or a state (further ones are not looked at), all of the device's for
    /// silence.
    pub series: Vec<SeriesId>,
    /// The asset that the device observes.
    pub asset: Option<(AssetId, AssetNumber)>,
    /// What is tested.
    pub test: Test,
    /// How long it must be true, in event time. Not used for silence, which has its own `after`.
    pub on_delay: Duration,
    /// How long it must be over, in event time. Not used for silence: one reading is proof of life.
    pub off_delay: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// What people read.
    pub text: Label,
    /// UCUM unit of limit and value.
    pub unit: String,
}

/// What a rule tests. Limit and clear value make one two-valued signal: it goes on beyond `limit`, goes off within
/// `clear`, and between the two it stays as it is. The delays are counted on that signal.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// On above `limit`, off at or below `clear`.
    Above {
        /// Raises when the value is greater.
        limit: f64,
        /// Clears when the value is no greater; not above `limit`.
        clear: f64,
    },
    /// On below `limit`, off at or above `clear`.
    Below {
        /// Raises when the value is less.
        limit: f64,
        /// Clears when the value is no less; not below `limit`.
        clear: f64,
    },
    /// On while the state has this code, off at any other.
    Equals {
        /// The state's code.
        code: f64,
        /// What the state is called.
        state: Label,
    },
    /// Nothing heard (by `received_at`) from any of the series for this long, whatever the quality.
    NoData {
        /// The longest silence that means nothing.
        after: Duration,
    },
}

/// What a value says to a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The signal is on.
    Beyond,
    /// In the hysteresis: the signal stays as it is.
    Between,
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
        spec: &AlertSpec,
    ) -> Rule {
        Rule {
            key: RuleKey {
                device: device.clone(),
                metric: Some(point.name.clone()),
                name: spec.name.clone(),
            },
            series: vec![series],
            asset,
            test: match spec.test {
                AlertTest::Above { limit, clear } => Test::Above { limit, clear },
                AlertTest::Below { limit, clear } => Test::Below { limit, clear },
                AlertTest::Equals { code } => Test::Equals { code, state: state_of(point, code) },
            },
            on_delay: spec.on_delay,
            off_delay: spec.off_delay,
            severity: spec.severity,
            text: spec.text.clone(),
            unit: point.unit.clone(),
        }
    }

    /// The rule of a device's silence, from its profile's staleness.
    fn no_data(
        device: &DeviceId,
        asset: Option<(AssetId, AssetNumber)>,
        profile: &Profile,
        series: &[SeriesId],
    ) -> Rule {
        Rule {
            key: RuleKey { device: device.clone(), metric: None, name: "no_data".to_owned() },
            series: series.to_vec(),
            asset,
            test: Test::NoData { after: profile.staleness.dead_after },
            on_delay: Duration::ZERO,
            off_delay: Duration::ZERO,
            severity: profile.staleness.severity,
            text: Label::new("设备无数据", "No data from device"),
            unit: "s".to_owned(),
        }
    }
}

/// What the profile calls the state with this code; the number itself when it has no such state.
fn state_of(point: &Point, code: f64) -> Label {
    let states = point.states.as_deref().unwrap_or_default();
    match states.iter().find(|state| state.code == code) {
        Some(state) => state.label.clone(),
        None => Label::same(&code.to_string()),
    }
}

/// All rules of a device: every limit and state of its profile's points, and its silence. `series` are the numbers of
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
    let silence = Rule::no_data(&device.id, asset.clone(), profile, series);
    limits.chain([silence]).collect()
}

impl Test {
    /// limit, state or no_data: the alert's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Test::Above { .. } | Test::Below { .. } => "limit",
            Test::Equals { .. } => "state",
            Test::NoData { .. } => "no_data",
        }
    }

    /// The limit that people are shown; for silence its length in seconds.
    pub fn limit(&self) -> Option<f64> {
        match self {
            Test::Above { limit, .. } | Test::Below { limit, .. } => Some(*limit),
            Test::Equals { .. } => None,
            Test::NoData { after } => Some(after.as_secs_f64()),
        }
    }

    /// The clear value that people are shown.
    pub fn clear(&self) -> Option<f64> {
        match self {
            Test::Above { clear, .. } | Test::Below { clear, .. } => Some(*clear),
            Test::Equals { .. } | Test::NoData { .. } => None,
        }
    }

    /// What `value` says. NaN says nothing.
    pub(super) fn verdict(&self, value: f64) -> Verdict {
        let (beyond, within) = match self {
            Test::Above { limit, clear } => (value > *limit, value <= *clear),
            Test::Below { limit, clear } => (value < *limit, value >= *clear),
            Test::Equals { code, .. } => (value == *code, value != *code && !value.is_nan()),
            Test::NoData { .. } => (false, false),
        };
        match (beyond, within) {
            (true, _) => Verdict::Beyond,
            (false, true) => Verdict::Within,
            (false, false) => Verdict::Between,
        }
    }

    /// `value`, if it lies further beyond the limit than `peak`. States and silence have no peak.
    pub(super) fn further(&self, peak: Option<f64>, value: f64) -> Option<f64> {
        let is_further = match self {
            Test::Above { .. } => peak.is_none_or(|peak| value > peak),
            Test::Below { .. } => peak.is_none_or(|peak| value < peak),
            Test::Equals { .. } | Test::NoData { .. } => false,
        };
        is_further.then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{AssetKind, PointIndex};
    use crate::profile::{ModbusSource, Read, Source, Staleness, State};

    fn check(test: &Test, value: f64, expected: Verdict) {
        assert_eq!(test.verdict(value), expected, "{value} against {test:?}");
    }

    fn point() -> Point {
        let spec = |name: &str, test, on_delay| AlertSpec {
            name: name.to_owned(),
            test,
            on_delay: Duration::from_secs(on_delay),
            off_delay: Duration::from_secs(30),
            severity: Severity::Critical,
            text: Label::new("井盖开", "Cover open"),
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
                spec("open", AlertTest::Equals { code: 1.0 }, 60),
                spec("odd", AlertTest::Above { limit: 5.0, clear: 4.0 }, 0),
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
        let state = Label::new("开", "Open");
        assert_eq!(rules[0].test, Test::Equals { code: 1.0, state });
        assert_eq!((rules[0].on_delay.as_secs(), rules[0].off_delay.as_secs()), (60, 30));
        assert_eq!(rules[0].key.metric.as_ref().map(MetricName::as_str), Some("cover"));
        assert_eq!(rules[1].test, Test::Above { limit: 5.0, clear: 4.0 });
        assert_eq!(rules[2].test, Test::NoData { after: Duration::from_secs(3600) });
        assert_eq!((rules[2].severity, &rules[2].key.metric), (Severity::Minor, &None));
        assert!(
            rules.iter().all(|rule| rule.series == [SeriesId(7)] && rule.key.device == device.id)
        );
    }

    #[test]
    fn a_value_is_beyond_between_or_within() {
        let above = Test::Above { limit: 2.5, clear: 2.3 };
        check(&above, 2.51, Verdict::Beyond);
        check(&above, 2.5, Verdict::Between);
        check(&above, 2.3, Verdict::Within);
        check(&above, f64::NAN, Verdict::Between);
        let below = Test::Below { limit: 3.3, clear: 3.4 };
        check(&below, 3.2, Verdict::Beyond);
        check(&below, 3.3, Verdict::Between);
        check(&below, 3.4, Verdict::Within);
        let open = Test::Equals { code: 1.0, state: Label::same("open") };
        check(&open, 1.0, Verdict::Beyond);
        check(&open, 0.0, Verdict::Within);
        check(&open, f64::NAN, Verdict::Between);
    }

    #[test]
    fn the_peak_lies_on_the_limits_side() {
        let above = Test::Above { limit: 2.0, clear: 1.0 };
        let below = Test::Below { limit: 1.0, clear: 2.0 };
        assert_eq!(above.further(Some(3.0), 4.0), Some(4.0));
        assert_eq!(above.further(Some(3.0), 2.0), None);
        assert_eq!(below.further(Some(0.5), 0.4), Some(0.4));
        assert_eq!(below.further(None, 0.4), Some(0.4));
        assert_eq!(Test::NoData { after: Duration::ZERO }.further(None, 1.0), None);
    }
}
