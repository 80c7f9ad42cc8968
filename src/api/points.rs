//! A device's points: newest value, range, states and limits, as clients read them.

use serde::Serialize;
use utoipa::ToSchema;

use super::wire;
use crate::model::{Grade, Label, MetricName, Reason, Sample, Severity, Timestamp};
use crate::profile::{AlertSpec, AlertTest, Point, Side, Signal, State};

/// A point of a device with its newest value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Point)]
pub(crate) struct PointBody {
    #[schema(value_type = String)]
    metric: MetricName,
    #[schema(value_type = wire::Label)]
    label: Label,
    /// UCUM unit; `1` for states and counts.
    unit: String,
    /// Null when nothing was heard yet, or the device gave no number.
    #[schema(required)]
    value: Option<f64>,
    /// What the value means, when the point is a state.
    #[schema(value_type = Option<wire::Label>, required)]
    state: Option<Label>,
    /// Null when nothing was heard yet.
    #[schema(value_type = Option<wire::Grade>, required)]
    grade: Option<Grade>,
    #[schema(value_type = Option<wire::Reason>, required)]
    reason: Option<Reason>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    observed_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    received_at: Option<Timestamp>,
    /// The plausible values: least and greatest.
    #[schema(required)]
    range: Option<[f64; 2]>,
    #[schema(required)]
    states: Option<Vec<StateBody>>,
    limits: Vec<LimitBody>,
}

/// A state's code and name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PointState)]
pub(crate) struct StateBody {
    code: f64,
    name: String,
    #[schema(value_type = wire::Label)]
    label: Label,
}

/// A limit of a point: one of above, below, equals.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitBody {
    name: String,
    #[schema(value_type = wire::Severity)]
    severity: Severity,
    /// Raised above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    /// Raised below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    /// Raised while the state has this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    equals: Option<f64>,
    /// Over when the value is back at this.
    #[serde(skip_serializing_if = "Option::is_none")]
    clear: Option<f64>,
    /// How long it must be so before it is raised, in seconds.
    on_delay_s: f64,
    #[schema(value_type = wire::Label)]
    text: Label,
}

/// A point with its newest sample.
pub(crate) fn point(point: &Point, sample: Option<Sample>) -> PointBody {
    let value = sample.and_then(finite);
    PointBody {
        metric: point.name.clone(),
        label: point.label.clone(),
        unit: point.unit.clone(),
        value,
        state: state(point, value).cloned(),
        grade: sample.map(|sample| sample.quality.grade),
        reason: sample.and_then(|sample| sample.quality.reason),
        observed_at: sample.map(|sample| sample.observed_at),
        received_at: sample.map(|sample| sample.received_at),
        range: point.range.map(|(least, greatest)| [least, greatest]),
        states: point.states.as_deref().map(|states| states.iter().map(StateBody::from).collect()),
        limits: point.alerts.iter().flat_map(|spec| LimitBody::all(spec)).collect(),
    }
}

/// The sample's value; none when the device gave no number.
pub(crate) fn finite(sample: Sample) -> Option<f64> {
    Some(sample.value).filter(|value| value.is_finite())
}

/// What a value means, when the point is a state.
pub(crate) fn state(point: &Point, value: Option<f64>) -> Option<&Label> {
    let (states, code) = (point.states.as_deref()?, value?);
    states.iter().find(|state| state.code == code).map(|state| &state.label)
}

impl From<&State> for StateBody {
    fn from(state: &State) -> Self {
        StateBody { code: state.code, name: state.name.clone(), label: state.label.clone() }
    }
}

impl LimitBody {
    /// The limits of an alert, mildest first; none for one that a value alone does not raise.
    fn all(spec: &AlertSpec) -> Vec<Self> {
        let limit = |step: usize| LimitBody {
            name: spec.name.clone(),
            severity: spec.test.severity(step),
            above: None,
            below: None,
            equals: None,
            clear: None,
            on_delay_s: spec.on_delay.as_secs_f64(),
            text: spec.text_of(step).clone(),
        };
        match &spec.test {
            AlertTest::Limit { of: Signal::Value, side, rungs } => {
                let each = rungs.iter().enumerate().map(|(step, rung)| LimitBody {
                    above: (*side == Side::Above).then_some(rung.limit),
                    below: (*side == Side::Below).then_some(rung.limit),
                    clear: Some(rung.clear),
                    ..limit(step)
                });
                each.collect()
            }
            AlertTest::Equals { code, .. } => vec![LimitBody { equals: Some(*code), ..limit(0) }],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_names_only_its_own_test() {
        let test = AlertTest::limit(Side::Above, 2.0, 1.8, Severity::Critical);
        let spec = AlertSpec {
            on_delay: Duration::from_millis(1500),
            ..AlertSpec::new("surcharge", Label::new("满管", "Surcharge"), test)
        };
        let json = serde_json::to_value(&LimitBody::all(&spec)[0]).unwrap();
        let expected = serde_json::json!({
            "name": "surcharge", "severity": "critical", "above": 2.0, "clear": 1.8,
            "on_delay_s": 1.5, "text": {"zh": "满管", "en": "Surcharge"},
        });
        assert_eq!(json, expected);
    }
}
