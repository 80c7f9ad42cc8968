//! What goes up, as JSON.
//!
//! A message of readings holds what one device said of one moment, in the units of its profile, with the quality of each value.
//! A city hub takes it with a profile whose points read `/values/{metric}` and whose time is `/observed_at`. The id of a
//! message is the same whenever it is made again, so whoever must not count twice can tell.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::config::BridgeConfig;
use super::outbox::{Kind, Message};
use crate::alert::Alert;
use crate::case::{CaseNews, Happened};
use crate::model::{Grade, Measurement, SeriesId, Timestamp};
use crate::pipeline::{Station, StationTable};
use crate::store::CommitSeq;

/// Which stations and points series belong to, for one table of stations.
#[derive(Default)]
pub(super) struct Directory {
    /// Of the table. Tables' versions begin at 1.
    version: u64,
    owners: HashMap<SeriesId, (Arc<Station>, usize)>,
}

impl Directory {
    /// Takes up another table.
    pub(super) fn take_up(&mut self, stations: &StationTable, config: &BridgeConfig) {
        if self.version == stations.version {
            return;
        }
        self.version = stations.version;
        let is_wanted = |station: &&Arc<Station>| {
            config.kinds.is_empty() || config.kinds.contains(&station.profile.kind)
        };
        self.owners = stations
            .iter()
            .filter(is_wanted)
            .flat_map(|station| {
                let points = station.profile.points.iter().enumerate();
                let wanted = points.filter(|(_, point)| {
                    config.metrics.is_empty() || config.metrics.contains(&point.name)
                });
                wanted.map(|(index, _)| (station.series[index], (Arc::clone(station), index)))
            })
            .collect();
    }
}

/// What one device said of one moment.
struct Report<'a> {
    station: &'a Station,
    observed_at: Timestamp,
    received_at: Timestamp,
    values: Map<String, Value>,
    units: Map<String, Value>,
    quality: Map<String, Value>,
}

/// The messages of a commit, in the order of its readings.
pub(super) fn readings(
    directory: &Directory,
    config: &BridgeConfig,
    seq: CommitSeq,
    commit: &[Measurement],
) -> Vec<Message> {
    let mut reports: Vec<Report<'_>> = Vec::new();
    let mut places: HashMap<(&str, Timestamp), usize> = HashMap::new();
    for measurement in commit {
        let Some((station, index)) = directory.owners.get(&measurement.series) else { continue };
        let Measurement { quality, observed_at, received_at, value, .. } = *measurement;
        if quality.grade == Grade::Bad && !config.bad {
            continue;
        }
        let place = *places.entry((station.device.id.as_str(), observed_at)).or_insert_with(|| {
            reports.push(Report {
                station,
                observed_at,
                received_at,
                values: Map::new(),
                units: Map::new(),
                quality: Map::new(),
            });
            reports.len() - 1
        });
        let point = &station.profile.points[*index];
        let metric = point.name.to_string();
        let report = &mut reports[place];
        report.units.insert(metric.clone(), point.unit.to_string().into());
        report.quality.insert(metric.clone(), json!(quality));
        // A Bad reading may have no number: then it is null.
        report.values.insert(metric, json!(value));
    }
    let messages =
        reports.into_iter().enumerate().map(|(n, report)| report.message(config, seq, n));
    messages.collect()
}

impl Report<'_> {
    fn message(self, config: &BridgeConfig, seq: CommitSeq, n: usize) -> Message {
        let device = &self.station.device.id;
        let body = json!({
            "id": format!("{}-r{}-{n}", config.town, seq.0),
            "town": config.town,
            "device": device,
            "profile": self.station.profile.id,
            "kind": self.station.profile.kind,
            "asset": self.station.asset.as_ref().map(|asset| &asset.id),
            "observed_at": self.observed_at,
            "received_at": self.received_at,
            "values": self.values,
            "units": self.units,
            "quality": self.quality,
        });
        let topic = config.topic(&config.readings, device);
        Message { kind: Kind::Reading, topic, payload: body.to_string().into_bytes() }
    }
}

/// An entry of the alerts' log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) seq: i64,
    pub(super) what: String,
    pub(super) at: Timestamp,
}

/// A message about an alert: what happened, and the alert as it is now.
pub(super) fn alert(config: &BridgeConfig, news: &News, alert: &Alert) -> Message {
    #[derive(Serialize)]
    struct Body<'a> {
        id: String,
        town: &'a str,
        event: &'a str,
        at: Timestamp,
        alert: &'a Alert,
    }
    let body = Body {
        id: format!("{}-a{}", config.town, news.seq),
        town: &config.town,
        event: &news.what,
        at: news.at,
        alert,
    };
    let topic = config.topic(&config.alerts, &alert.rule.device);
    // An alert is plain data with texts as keys: it always is JSON.
    let payload = serde_json::to_vec(&body).unwrap_or_default();
    Message { kind: Kind::Alert, topic, payload }
}

/// A message about a move of a case: what happened, by whom, and the case as it is now.
pub(super) fn case(config: &BridgeConfig, news: &CaseNews) -> Message {
    #[derive(Serialize)]
    struct Body<'a> {
        id: String,
        town: &'a str,
        event: Value,
        at: Timestamp,
        actor: Option<&'a str>,
        note: Option<&'a str>,
        #[serde(rename = "move")]
        happened: &'a Happened,
        case: &'a Value,
    }
    let CaseNews { seq, event, case, .. } = news;
    let body = Body {
        id: format!("{}-c{seq}", config.town),
        town: &config.town,
        event: json!(event.happened)["what"].take(),
        at: event.at,
        actor: event.actor.as_deref(),
        note: event.note.as_deref(),
        happened: &event.happened,
        case,
    };
    // Plain data with texts as keys, as an alert is.
    let payload = serde_json::to_vec(&body).unwrap_or_default();
    Message { kind: Kind::Alert, topic: config.topic_of_case(event.case), payload }
}
