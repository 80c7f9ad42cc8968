//! The map's GeoJSON (RFC 7946).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Crs;
use crate::alert::Alert;
use crate::api::geo::middle;
use crate::api::points::{finite, state};
use crate::api::wire;
use crate::live::{AssetState, Freshness};
use crate::model::{AssetKind, Family, Grade, Label, Reason, Sample, Timestamp};
use crate::profile::Point;
use crate::registry::Asset;

/// The map.
#[derive(Serialize, ToSchema)]
#[schema(as = Map)]
pub(crate) struct FeatureCollection<'a> {
    #[serde(rename = "type")]
    #[schema(value_type = CollectionType)]
    kind: &'static str,
    pub(super) features: Vec<Feature<'a>>,
    /// Playback only: the alerts that stood at that time.
    #[schema(value_type = Option<Vec<wire::Alert>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<&'a [Alert]>,
    townhub: Snapshot,
}

/// Always `FeatureCollection`.
#[derive(Serialize, ToSchema)]
#[allow(dead_code)]
pub(crate) enum CollectionType {
    FeatureCollection,
}

/// Always `Feature`.
#[derive(Serialize, ToSchema)]
#[allow(dead_code)]
pub(crate) enum FeatureType {
    Feature,
}

/// Where the live feed goes on from this map.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Snapshot {
    /// The run of the hub.
    pub(super) epoch: u32,
    /// The last event that this map shows: `?since=<epoch>-<seq>`.
    pub(super) seq: u64,
    /// When it was made; in playback, the time that it shows.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Timestamp,
}

/// An asset, or a cluster of assets with nothing to report.
#[derive(Serialize, ToSchema)]
#[schema(as = MapFeature)]
pub(crate) struct Feature<'a> {
    #[serde(rename = "type")]
    #[schema(value_type = FeatureType)]
    kind: &'static str,
    /// The asset's number; a cluster has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[schema(value_type = wire::Geometry)]
    geometry: geojson::Geometry,
    properties: Properties<'a>,
}

/// What a feature shows.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = MapProperties)]
enum Properties<'a> {
    Asset(AssetProperties<'a>),
    Cluster(ClusterProperties),
}

/// What an asset shows now.
#[derive(Serialize, ToSchema)]
#[schema(as = MapAsset)]
struct AssetProperties<'a> {
    asset: &'a str,
    #[schema(value_type = wire::AssetKind)]
    kind: AssetKind,
    #[schema(value_type = wire::Family)]
    family: Family,
    #[schema(value_type = wire::Label)]
    name: &'a Label,
    #[schema(required)]
    zone: Option<&'a str>,
    /// The lot of a bay.
    #[schema(required)]
    parent: Option<&'a str>,
    /// The street that its import names.
    #[schema(required)]
    street: Option<&'a str>,
    /// Where it is in WGS-84, longitude and latitude: only on a map in other coordinates, which navigation must not take.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<[f64; 2]>,
    /// The worst open alert: 0 none, 1 critical, 2 major, 3 minor, 4 info.
    severity: u8,
    /// Whether every open alert is acknowledged.
    acknowledged: bool,
    /// How old its values are; null when no device observes it.
    #[schema(required, value_type = Option<wire::Freshness>)]
    freshness: Option<Freshness>,
    #[schema(value_type = wire::Grade)]
    grade: Grade,
    /// The code of the headline point, when that is a state.
    #[schema(required)]
    state: Option<f64>,
    /// The value that stands for the asset; null until one was heard.
    #[schema(required)]
    headline: Option<Headline<'a>>,
}

/// A cluster.
#[derive(Serialize, ToSchema)]
#[schema(as = MapCluster)]
struct ClusterProperties {
    /// Always true.
    cluster: bool,
    /// How many assets it stands for.
    count: usize,
    /// How many of each kind.
    kinds: BTreeMap<&'static str, usize>,
}

/// The value that stands for an asset.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Headline<'a> {
    device: &'a str,
    metric: &'a str,
    #[schema(value_type = wire::Label)]
    label: &'a Label,
    /// UCUM unit.
    unit: &'a str,
    /// Null when the device gave no number.
    #[schema(required)]
    value: Option<f64>,
    /// What the value means, when the point is a state.
    #[schema(value_type = Option<wire::Label>, required)]
    state: Option<&'a Label>,
    #[schema(value_type = wire::Grade)]
    quality: Grade,
    #[schema(value_type = Option<wire::Reason>, required)]
    reason: Option<Reason>,
    #[schema(value_type = String, format = DateTime)]
    observed_at: Timestamp,
}

/// An asset with what is known of it now.
#[derive(Clone)]
pub(super) struct Shown<'a> {
    pub(super) asset: &'a Asset,
    /// None when no device observes it.
    pub(super) state: Option<AssetState>,
    pub(super) headline: Option<Headline<'a>>,
}

impl Shown<'_> {
    pub(super) fn severity(&self) -> u8 {
        self.state.map_or(0, |state| state.severity)
    }
}

impl<'a> Headline<'a> {
    pub(super) fn new(device: &'a str, point: &'a Point, sample: Sample) -> Self {
        let value = finite(sample);
        Headline {
            device,
            metric: point.name.as_str(),
            label: &point.label,
            unit: &point.unit,
            value,
            state: state(point, value),
            quality: sample.quality.grade,
            reason: sample.quality.reason,
            observed_at: sample.observed_at,
        }
    }
}

impl<'a> FeatureCollection<'a> {
    pub(super) fn new(
        features: Vec<Feature<'a>>,
        alerts: Option<&'a [Alert]>,
        townhub: Snapshot,
    ) -> Self {
        FeatureCollection { kind: "FeatureCollection", features, alerts, townhub }
    }
}

impl<'a> Feature<'a> {
    /// An asset's own feature.
    pub(super) fn asset(shown: &Shown<'a>, crs: Crs) -> Self {
        let (asset, state) = (shown.asset, shown.state);
        let properties = AssetProperties {
            asset: asset.id.as_str(),
            kind: asset.kind,
            family: asset.kind.family(),
            name: &asset.name,
            zone: asset.zone.as_ref().map(|zone| zone.as_str()),
            parent: asset.parent.as_ref().map(|parent| parent.as_str()),
            street: asset.properties.get("street").and_then(serde_json::Value::as_str),
            position: if crs == Crs::Wgs84 {
                None
            } else {
                middle(&asset.geometry).map(Into::into)
            },
            severity: shown.severity(),
            acknowledged: state.is_some_and(|state| state.acknowledged),
            freshness: state.map(|state| state.freshness),
            grade: state.map_or(Grade::Good, |state| state.grade),
            state: state.and_then(|state| state.state),
            headline: shown.headline.clone(),
        };
        Feature {
            kind: "Feature",
            id: Some(asset.number.0),
            geometry: crs.geojson(&asset.geometry),
            properties: Properties::Asset(properties),
        }
    }

    /// A cluster at a place in the client's coordinates.
    pub(super) fn cluster((lon, lat): (f64, f64), members: &[&Shown<'_>]) -> Self {
        let place = geo::Geometry::from(geo::Point::new(lon, lat));
        let mut kinds = BTreeMap::new();
        for member in members {
            *kinds.entry(member.asset.kind.as_str()).or_default() += 1;
        }
        Feature {
            kind: "Feature",
            id: None,
            geometry: Crs::Wgs84.geojson(&place),
            properties: Properties::Cluster(ClusterProperties {
                cluster: true,
                count: members.len(),
                kinds,
            }),
        }
    }
}
