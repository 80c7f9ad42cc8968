//! Grafana's words: data sources, panels, their places, units, the dashboard around them (schema 39, Grafana 10 and newer).

use serde_json::{Value, json};

use crate::model::Label;

/// The variable that names the data source: whoever loads a dashboard chooses his own.
const SOURCE: &str = "${source}";
/// Grafana's grid.
const GRID_WIDTH: u32 = 24;

/// Where the readings lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Prometheus, or VictoriaMetrics by the same queries.
    Prometheus,
    /// InfluxDB 2 by Flux.
    InfluxDb,
}

/// How a panel draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Lines,
    States,
    Number,
}

/// A panel before it has its place.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) look: Look,
    /// A query with its legend.
    pub(super) queries: Vec<(String, &'static str)>,
    /// Grafana's unit.
    pub(super) unit: String,
    /// Steps from low to high: from this value on (`None`: from the beginning), this colour.
    pub(super) steps: Vec<(Option<f64>, &'static str)>,
    /// What codes mean.
    pub(super) states: Vec<(f64, String)>,
}

impl Source {
    pub(super) const ALL: [Source; 2] = [Source::Prometheus, Source::InfluxDb];

    /// Grafana's name of it.
    pub(super) fn plugin(self) -> &'static str {
        match self {
            Source::Prometheus => "prometheus",
            Source::InfluxDb => "influxdb",
        }
    }
}

impl Panel {
    pub(super) fn new(title: String, look: Look, unit: &str) -> Self {
        let (queries, steps, states) = (Vec::new(), Vec::new(), Vec::new());
        Panel { title, look, queries, unit: unit.to_owned(), steps, states }
    }

    pub(super) fn query(mut self, query: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push((query.into(), legend));
        self
    }

    fn size(&self) -> (u32, u32) {
        match self.look {
            Look::Number => (6, 4),
            Look::Lines | Look::States => (12, 8),
        }
    }

    fn json(&self, id: usize, (x, y): (u32, u32), source: Source) -> Value {
        let (w, h) = self.size();
        let datasource = json!({ "type": source.plugin(), "uid": SOURCE });
        let targets = self.queries.iter().enumerate().map(|(i, (query, legend))| {
            let ref_id = char::from(b'A' + u8::try_from(i).unwrap_or(25).min(25)).to_string();
            match source {
                Source::Prometheus => json!({
                    "datasource": datasource, "editorMode": "code", "expr": query, "legendFormat": legend, "range": true,
                    "refId": ref_id,
                }),
                Source::InfluxDb => json!({ "datasource": datasource, "query": query, "refId": ref_id }),
            }
        });
        let steps = match self.steps.as_slice() {
            [] => vec![json!({ "color": "text", "value": null })],
            steps => steps
                .iter()
                .map(|(value, color)| json!({ "color": color, "value": value }))
                .collect(),
        };
        let mut defaults = json!({
            "unit": self.unit,
            "thresholds": { "mode": "absolute", "steps": steps },
        });
        if source == Source::InfluxDb {
            // Flux names every column; the device alone is what people look for.
            defaults["displayName"] = json!("${__field.labels.device}");
        }
        let mut options = json!({});
        match self.look {
            Look::Lines => {
                let line = if self.steps.is_empty() { "off" } else { "line" };
                defaults["custom"] = json!({
                    "drawStyle": "line", "lineWidth": 1, "showPoints": "auto", "spanNulls": 3_600_000,
                    "thresholdsStyle": { "mode": line },
                });
                options = json!({
                    "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                    "tooltip": { "mode": "multi", "sort": "desc" },
                });
            }
            Look::States => {
                let mut meanings = serde_json::Map::new();
                for (i, (code, text)) in self.states.iter().enumerate() {
                    meanings.insert(code.to_string(), json!({ "index": i, "text": text }));
                }
                defaults["mappings"] = json!([{ "type": "value", "options": meanings }]);
                defaults["custom"] =
                    json!({ "fillOpacity": 70, "lineWidth": 0, "spanNulls": true });
                options = json!({ "mergeValues": true, "rowHeight": 0.8, "showValue": "auto" });
            }
            Look::Number => {
                options = json!({
                    "colorMode": "value", "graphMode": "none",
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                });
            }
        }
        let kind = match self.look {
            Look::Lines => "timeseries",
            Look::States => "state-timeline",
            Look::Number => "stat",
        };
        json!({
            "id": id, "type": kind, "title": self.title, "datasource": datasource,
            "gridPos": { "x": x, "y": y, "w": w, "h": h },
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "interval": "1m", "options": options, "targets": targets.collect::<Vec<_>>(),
        })
    }
}

/// A dashboard of panels, laid out in their order, with variables of its own beside the data source.
pub(super) fn dashboard(
    uid: &str,
    title: &str,
    description: &str,
    source: Source,
    variables: Vec<Value>,
    panels: &[Panel],
) -> Value {
    let chosen = json!({
        "name": "source", "label": "数据源 / Source", "type": "datasource", "query": source.plugin(), "refresh": 1,
        "hide": 0, "includeAll": false, "multi": false, "regex": "", "options": [], "current": {},
    });
    let variables: Vec<_> = std::iter::once(chosen).chain(variables).collect();
    let mut places = Vec::new();
    let (mut x, mut y, mut row) = (0, 0, 0);
    for (i, panel) in panels.iter().enumerate() {
        let (w, h) = panel.size();
        let is_taller = row != 0 && h != row;
        if x + w > GRID_WIDTH || is_taller {
            (x, y) = (0, y + row);
        }
        places.push(panel.json(i + 1, (x, y), source));
        (x, row) = (x + w, h);
    }
    let mut json = json!({
        "uid": uid, "title": title, "description": description, "tags": ["townhub"],
        "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "timezone": "browser", "refresh": "1m",
        "time": { "from": "now-24h", "to": "now" },
        "annotations": { "list": [] }, "links": [], "panels": places,
        "templating": { "list": variables },
    });
    // However the JSON library was built: sorted.
    json.sort_all_objects();
    json
}

/// A text in both languages, Chinese first.
pub(super) fn both(label: &Label) -> String {
    if label.zh == label.en { label.zh.clone() } else { format!("{} / {}", label.zh, label.en) }
}

/// Grafana's name of a UCUM unit; what it has no name for is written behind the number.
pub(super) fn unit(ucum: &str) -> String {
    let known = match ucum {
        "" | "1" => "none",
        "m" => "lengthm",
        "mm" => "lengthmm",
        "m/s" => "velocityms",
        "%" => "percent",
        "[ppm]" => "ppm",
        "Cel" => "celsius",
        "V" => "volt",
        "A" => "amp",
        "kW" => "kwatt",
        "kPa" => "pressurekpa",
        "deg" => "degree",
        "dB{mW}" => "dBm",
        "s" => "s",
        "min" => "m",
        "h" => "h",
        other => return format!("suffix: {}", written(other)),
    };
    known.to_owned()
}

/// A UCUM unit as people write it.
fn written(ucum: &str) -> String {
    match ucum {
        "{vehicle}" => "辆".to_owned(),
        "uS/cm" => "µS/cm".to_owned(),
        other => {
            let mut text = other.replace("m3", "m³").replace(['{', '}', '[', ']'], " ");
            while text.contains("  ") {
                text = text.replace("  ", " ");
            }
            text.trim().to_owned()
        }
    }
}
