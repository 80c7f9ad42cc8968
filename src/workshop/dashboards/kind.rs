//! The dashboards of the readings: one for each kind of asset, with a panel for each metric that the profiles of the kind
//! have, named, measured and limited as they say.

use serde_json::{Value, json};

use super::Dashboard;
use super::grafana::{Look, Panel, Source, both, dashboard as around, unit};
use crate::model::{AssetKind, Severity};
use crate::profile::{AlertTest, Point, Profile, Rung, Side, Signal};
use crate::store::names::{DEVICE, VALUE, measurement, promql_name};

/// What is in force at the very least: no limit.
const CALM: &str = "transparent";

/// The dashboard of a kind; `None` when no profile is made for it.
pub(super) fn dashboard(
    profiles: &[Profile],
    kind: AssetKind,
    source: Source,
) -> Option<Dashboard> {
    let mut points: Vec<&Point> = Vec::new();
    let of_kind = profiles.iter().filter(|profile| profile.kind == kind);
    for point in of_kind.flat_map(|profile| &profile.points) {
        // The first profile that has a metric names it.
        if points.iter().all(|known| known.name != point.name) {
            points.push(point);
        }
    }
    if points.is_empty() {
        return None;
    }
    let mut panels = vec![reporting(&points, source)];
    panels.extend(points.iter().map(|point| {
        let mut panel = panel(point, source);
        let units = units(profiles, kind, point);
        if units.len() > 1 {
            // An axis of two units would lie, and so would the limits of one of them.
            panel.title = format!("{} ({})", panel.title, units.join(" | "));
            panel.unit = "none".to_owned();
            panel.steps.clear();
        }
        panel
    }));
    let (zh, en) = name(kind);
    let plugin = source.plugin();
    let json = around(
        &format!("townhub-{kind}-{plugin}"),
        &format!("townhub · {zh} / {en}"),
        "由设备型号生成,请勿手改 / Made from the device profiles by `townhub dashboards`; do not edit.",
        source,
        variables(&points, source),
        &panels,
    );
    Some(Dashboard { file: format!("{plugin}-{kind}.json"), json })
}

fn name(kind: AssetKind) -> (&'static str, &'static str) {
    match kind {
        AssetKind::Manhole => ("检查井", "Manholes"),
        AssetKind::Pipe => ("管道", "Pipes"),
        AssetKind::RainGauge => ("雨量站", "Rain gauges"),
        AssetKind::CanalGauge => ("河道水位站", "Canal gauges"),
        AssetKind::SluiceGate => ("水闸", "Sluice gates"),
        AssetKind::ParkingBay => ("车位", "Parking bays"),
        AssetKind::ParkingLot => ("停车场", "Car parks"),
    }
}

/// The units that the profiles of a kind give a metric: one, unless its models differ (a battery in V and in %).
pub(super) fn units<'a>(profiles: &'a [Profile], kind: AssetKind, of: &Point) -> Vec<&'a str> {
    let mut units: Vec<&str> = Vec::new();
    for profile in profiles.iter().filter(|profile| profile.kind == kind) {
        for point in profile.points.iter().filter(|point| point.name == of.name) {
            if !units.contains(&point.unit.as_str()) {
                units.push(&point.unit);
            }
        }
    }
    units
}

/// Any of the metrics, as a pattern.
fn any(points: &[&Point], each: impl Fn(&Point) -> String) -> String {
    points.iter().map(|point| each(point)).collect::<Vec<_>>().join("|")
}

/// How many devices have said anything in the last hour.
fn reporting(points: &[&Point], source: Source) -> Panel {
    let title = "一小时内有数据的设备 / Devices heard within an hour".to_owned();
    let panel = Panel::new(title, Look::Number, "none");
    match source {
        Source::Prometheus => {
            let names = any(points, |point| promql_name(&point.name, VALUE));
            panel.query(
                format!(
                    "count(count by ({DEVICE}) (last_over_time({{__name__=~\"{names}\", {DEVICE}=~\"$device\"}}[1h])))"
                ),
                "",
            )
        }
        Source::InfluxDb => {
            let names = any(points, |point| measurement(&point.name).to_owned());
            panel.query(
                format!(
                    "from(bucket: \"${{bucket}}\")\n  |> range(start: -1h)\n  |> filter(fn: (r) => r._measurement =~ \
                     /^({names})$/ and r._field == \"{VALUE}\")\n  |> filter(fn: (r) => r.{DEVICE} =~ \
                     /^${{device:regex}}$/)\n  |> last()\n  |> group()\n  |> distinct(column: \"{DEVICE}\")\n  |> count()"
                ),
                "",
            )
        }
    }
}

fn panel(point: &Point, source: Source) -> Panel {
    let look = if point.states.is_some() { Look::States } else { Look::Lines };
    let mut panel = Panel::new(both(&point.label), look, &unit(&point.unit));
    panel.steps = if look == Look::Lines { steps(point) } else { Vec::new() };
    panel.states =
        point.states.iter().flatten().map(|state| (state.code, both(&state.label))).collect();
    let is_state = look == Look::States;
    match source {
        Source::Prometheus => {
            let fold = if is_state { "last_over_time" } else { "avg_over_time" };
            let name = promql_name(&point.name, VALUE);
            panel.query(
                format!("{fold}({name}{{{DEVICE}=~\"$device\"}}[$__interval])"),
                "{{device}}",
            )
        }
        Source::InfluxDb => {
            let fold = if is_state { "last" } else { "mean" };
            let name = measurement(&point.name);
            panel.query(
                format!(
                    "from(bucket: \"${{bucket}}\")\n  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n  |> \
                     filter(fn: (r) => r._measurement == \"{name}\" and r._field == \"{VALUE}\")\n  |> filter(fn: (r) => \
                     r.{DEVICE} =~ /^${{device:regex}}$/)\n  |> aggregateWindow(every: v.windowPeriod, fn: {fold}, \
                     createEmpty: false)\n  |> keep(columns: [\"_time\", \"_value\", \"{DEVICE}\"])"
                ),
                "",
            )
        }
    }
}

/// The limits of a point's value as Grafana's steps: the severest below, calm, the severest above.
fn steps(point: &Point) -> Vec<(Option<f64>, &'static str)> {
    let (mut below, mut above): (Vec<&Rung>, Vec<&Rung>) = (Vec::new(), Vec::new());
    for alert in &point.alerts {
        if let AlertTest::Limit { of: Signal::Value, side, rungs } = &alert.test {
            match side {
                Side::Above => above.extend(rungs),
                Side::Below => below.extend(rungs),
            }
        }
    }
    if below.is_empty() && above.is_empty() {
        return Vec::new();
    }
    below.sort_by(|a, b| a.limit.total_cmp(&b.limit));
    above.sort_by(|a, b| a.limit.total_cmp(&b.limit));
    // A step's colour holds from its value on: below a limit stands the colour of that limit.
    let mut steps = vec![(None, below.first().map_or(CALM, |rung| colour(rung.severity)))];
    for (i, rung) in below.iter().enumerate() {
        steps.push((Some(rung.limit), below.get(i + 1).map_or(CALM, |next| colour(next.severity))));
    }
    steps.extend(above.iter().map(|rung| (Some(rung.limit), colour(rung.severity))));
    steps
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "#bf1628",
        Severity::Major => "#e8730c",
        Severity::Minor => "#f0c419",
        Severity::Info => "#1a5fb4",
    }
}

/// Which devices: those that have any of the metrics.
fn variables(points: &[&Point], source: Source) -> Vec<Value> {
    let datasource = json!({ "type": source.plugin(), "uid": "${source}" });
    let (query, before) = match source {
        Source::Prometheus => {
            let names = any(points, |point| promql_name(&point.name, VALUE));
            let query = format!("label_values({{__name__=~\"{names}\"}}, {DEVICE})");
            (json!({ "query": query, "refId": "devices" }), None)
        }
        Source::InfluxDb => {
            let names = any(points, |point| measurement(&point.name).to_owned());
            let query = format!(
                "import \"influxdata/influxdb/schema\"\nschema.tagValues(bucket: \"${{bucket}}\", tag: \"{DEVICE}\", \
                 predicate: (r) => r._measurement =~ /^({names})$/, start: -30d)"
            );
            let bucket = json!({
                "name": "bucket", "label": "存储桶 / Bucket", "type": "textbox", "query": "townhub", "hide": 0,
                "current": { "text": "townhub", "value": "townhub" }, "options": [],
            });
            (json!(query), Some(bucket))
        }
    };
    let device = json!({
        "name": "device", "label": "设备 / Device", "type": "query", "datasource": datasource, "query": query,
        "refresh": 2, "sort": 1, "regex": "", "hide": 0, "includeAll": true, "allValue": ".*", "multi": true, "options": [],
        "current": { "text": ["All"], "value": ["$__all"] },
    });
    before.into_iter().chain([device]).collect()
}
