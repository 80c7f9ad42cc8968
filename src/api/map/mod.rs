//! The map: every asset with what it shows now, as one GeoJSON document to start the live feed from.

mod cluster;
mod feature;
mod past;

use std::collections::HashSet;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::error::Problem;
use super::extract::{Params, parse, parse_list};
use super::geo::Crs;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use crate::alert::Alert;
use crate::live::Cursor;
use crate::model::{AssetKind, Bbox, Timestamp, ZoneId};
use crate::pipeline::Station;
use crate::registry::Asset;
use cluster::{CROWD, whole_cells};
use feature::{Feature, FeatureCollection, Headline, Shown, Snapshot};
use past::{MAX_OBSERVED, Past};

/// Below this zoom, crowds of assets with nothing to report are drawn as clusters.
const CLUSTER_BELOW_ZOOM: f64 = 16.0;
/// The map's zooms.
const ZOOMS: std::ops::RangeInclusive<f64> = 0.0..=24.0;

/// Which part of the map.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MapParams {
    /// `west,south,east,north` in degrees; absent: the whole town.
    bbox: Option<String>,
    /// Only these kinds, separated by commas: `manhole,pipe`.
    kinds: Option<String>,
    /// Only in these zones, separated by commas.
    zones: Option<String>,
    /// The map's zoom, 0 to 24, of 512-pixel tiles: below 16, where more than 24 assets with nothing to report lie within 64
    /// pixels, one cluster stands for them.
    zoom: Option<f64>,
    /// Playback: the town at this time (RFC 3339), not now. For at most 5 000 observed assets at once.
    at: Option<String>,
    /// The coordinates to draw in: `wgs84` (else) or `gcj02`.
    crs: Option<String>,
}

/// What is asked for, checked.
#[derive(Debug, Clone, PartialEq)]
struct MapQuery {
    bbox: Option<Bbox>,
    kinds: HashSet<AssetKind>,
    zones: HashSet<ZoneId>,
    at: Option<Timestamp>,
    cluster_zoom: Option<f64>,
    crs: Crs,
}

/// Every asset in sight with what it shows now. `townhub` carries the event id from which the live feed goes on.
#[utoipa::path(
    get, path = "/api/v1/map", tag = "map", params(MapParams),
    responses(
        (status = 200, content_type = "application/geo+json", body = FeatureCollection<'_>),
        (status = 304, description = "Nothing changed since the ETag in If-None-Match"),
    )
)]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<MapParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = params.check()?;
    let document = hub.blocking(Work::Query, move |hub| build(hub, &sight, &query)).await?;
    Ok(document.respond(&headers))
}

impl MapParams {
    fn check(&self) -> Result<MapQuery, Problem> {
        let crs = parse::<Crs>("crs", self.crs.as_deref())?.unwrap_or_default();
        let seen: Option<Bbox> = parse("bbox", self.bbox.as_deref())?;
        if let Some(zoom) = self.zoom.filter(|zoom| !ZOOMS.contains(zoom)) {
            return Err(Problem::bad_query("zoom", format!("{zoom} is not between 0 and 24")));
        }
        let cluster_zoom = self.zoom.filter(|&zoom| zoom < CLUSTER_BELOW_ZOOM);
        let bbox = seen.map(|seen| crs.search_box(seen));
        Ok(MapQuery {
            bbox: bbox.map(|bbox| cluster_zoom.map_or(bbox, |zoom| whole_cells(bbox, zoom))),
            kinds: parse_list("kinds", self.kinds.as_deref())?.into_iter().collect(),
            zones: parse_list("zones", self.zones.as_deref())?.into_iter().collect(),
            at: parse("at", self.at.as_deref())?,
            cluster_zoom,
            crs,
        })
    }
}

/// A finished map.
struct Document {
    json: Vec<u8>,
    etag: String,
}

fn build(hub: &AppState, sight: &Sight, query: &MapQuery) -> Result<Document, Problem> {
    // First the cursor, then the present: what changes in between is in both, and nothing is in neither.
    let cursor = hub.feed.cursor();
    let (town, stations) = (hub.registry.town(), hub.present.stations());
    let mut assets: Vec<&Asset> = match query.bbox {
        Some(bbox) => town.assets_in(bbox).into_iter().map(AsRef::as_ref).collect(),
        None => town.assets.values().map(AsRef::as_ref).collect(),
    };
    assets.retain(|asset| sight.may_see(asset));
    assets.retain(|asset| query.kinds.is_empty() || query.kinds.contains(&asset.kind));
    assets.retain(|asset| {
        query.zones.is_empty() || asset.zone.as_ref().is_some_and(|zone| query.zones.contains(zone))
    });
    assets.sort_unstable_by_key(|asset| asset.number);
    if let Some(at) = query.at {
        return build_past(hub, sight, query, &assets, at);
    }
    let shown: Vec<Shown<'_>> = assets
        .into_iter()
        .map(|asset| Shown {
            asset,
            state: hub.present.state(asset.number),
            headline: stations.of_asset(asset.number).first().and_then(|s| headline(hub, s)),
        })
        .collect();
    let features = features(&shown, query);
    let at = hub.clock.now();
    let snapshot = Snapshot { epoch: cursor.epoch, seq: cursor.seq, at };
    Document::new(features, None, snapshot, cursor)
}

/// The map of a moment that has passed. It changes only with readings that come late, so its tag has no cursor.
fn build_past(
    hub: &AppState,
    sight: &Sight,
    query: &MapQuery,
    assets: &[&Asset],
    at: Timestamp,
) -> Result<Document, Problem> {
    let (town, stations) = (hub.registry.town(), hub.present.stations());
    if at > hub.clock.now() {
        return Err(Problem::bad_query(
            "at",
            "that is still to come; leave it out for the present",
        ));
    }
    let observed =
        assets.iter().filter(|asset| !stations.of_asset(asset.number).is_empty()).count();
    if observed > MAX_OBSERVED {
        let why = format!(
            "{observed} observed assets are more than {MAX_OBSERVED}; ask for a bbox, kinds or zones"
        );
        return Err(Problem::bad_query("at", why).with("observed", observed));
    }
    let past = Past::read(hub, &town, sight, at)?;
    let shown: Vec<Shown<'_>> =
        assets.iter().map(|asset| past.shown(asset, &stations)).collect::<Result<_, _>>()?;
    let features = features(&shown, query);
    let alerts = past.into_alerts();
    let epoch = hub.feed.cursor().epoch;
    let none = Cursor { epoch, seq: 0 };
    Document::new(features, Some(&alerts), Snapshot { epoch, seq: 0, at }, none)
}

/// The headline point of the station that speaks for an asset: its first, as in its state.
fn headline<'a>(hub: &AppState, station: &'a Station) -> Option<Headline<'a>> {
    let index = usize::from(station.profile.headline.0);
    let sample = hub.present.latest(*station.series.get(index)?)?;
    let point = station.profile.points.get(index)?;
    Some(Headline::new(station.device.id.as_str(), point, sample))
}

/// Assets as features; those with nothing to report as clusters, when the map is far out.
fn features<'a>(shown: &[Shown<'a>], query: &MapQuery) -> Vec<Feature<'a>> {
    let Some(zoom) = query.cluster_zoom else {
        return shown.iter().map(|one| Feature::asset(one, query.crs)).collect();
    };
    let (quiet, loud): (Vec<_>, Vec<_>) = shown.iter().partition(|one| one.severity() == 0);
    let mut features: Vec<_> = loud.iter().map(|one| Feature::asset(one, query.crs)).collect();
    for cell in cluster::grid(&quiet, zoom, |one| super::geo::middle(&one.asset.geometry)) {
        if cell.members.len() > CROWD {
            let place = query.crs.show(cell.lon, cell.lat);
            features.push(Feature::cluster(place, &cell.members));
        } else {
            features.extend(cell.members.iter().map(|one| Feature::asset(one, query.crs)));
        }
    }
    features
}

impl Document {
    fn new(
        features: Vec<Feature<'_>>,
        alerts: Option<&[Alert]>,
        snapshot: Snapshot,
        cursor: Cursor,
    ) -> Result<Self, Problem> {
        let json = serde_json::to_vec(&FeatureCollection::new(features, alerts, snapshot));
        let json = json.map_err(Problem::internal)?;
        // The snapshot is the last member, and its time alone makes no other map: the tag covers what stands before it, and
        // the cursor, so that a page that must read the map again does not get an old cursor from its cache. Weak, because
        // the body may go out compressed.
        let tail = serde_json::to_vec(&snapshot).map_err(Problem::internal)?.len() + 1;
        let digest = Sha256::digest(&json[..json.len().saturating_sub(tail)]);
        let hash = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        let etag = format!("W/\"{cursor}-{hash}\"");
        Ok(Document { json, etag })
    }

    fn respond(self, headers: &HeaderMap) -> Response {
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| matches!(tag.trim(), tag if tag == self.etag || tag == "*"));
        let common = [(ETAG, self.etag), (CACHE_CONTROL, "private, no-cache".to_owned())];
        if known {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(CONTENT_TYPE, "application/geo+json")], self.json).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{AssetState, Freshness};
    use crate::model::{AssetNumber, Grade, Label, Timestamp};

    fn asset(number: u32, lon: f64, lat: f64) -> Asset {
        Asset {
            id: format!("mh-{number}").parse().unwrap(),
            number: AssetNumber(number),
            kind: AssetKind::Manhole,
            name: Label::new("井", "Manhole"),
            zone: None,
            parent: None,
            geometry: geo::Point::new(lon, lat).into(),
            properties: serde_json::Map::new(),
        }
    }

    fn shown(asset: &Asset, severity: u8) -> Shown<'_> {
        let state = AssetState {
            asset: asset.number,
            severity,
            acknowledged: false,
            freshness: Freshness::Fresh,
            state: Some(1.0),
            grade: Grade::Good,
        };
        Shown { asset, state: Some(state), headline: None }
    }

    fn query(params: &[(&str, &str)]) -> Result<MapQuery, Problem> {
        let of = |name: &str| params.iter().find(|p| p.0 == name).map(|p| p.1.to_owned());
        let zoom = of("zoom").map(|zoom| zoom.parse().unwrap());
        MapParams {
            bbox: of("bbox"),
            kinds: of("kinds"),
            zones: of("zones"),
            zoom,
            at: of("at"),
            crs: of("crs"),
        }
        .check()
    }

    #[test]
    fn a_query_is_checked_whole() {
        let good = query(&[("bbox", "120,30,121,31"), ("kinds", "manhole,pipe"), ("zoom", "11.9")]);
        let good = good.unwrap();
        assert_eq!(good.kinds.len(), 2);
        assert_eq!(good.cluster_zoom, Some(11.9));
        assert_eq!(query(&[("zoom", "16")]).unwrap().cluster_zoom, None);
        assert!(query(&[("at", "2026-09-21T14:00:00Z")]).unwrap().at.is_some());
        for wrong in [
            ("bbox", "1,2,3"),
            ("kinds", "tree"),
            ("zoom", "NaN"),
            ("crs", "epsg:4326"),
            ("at", "noon"),
        ] {
            assert!(query(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_crowd_of_quiet_ones_is_a_cluster_and_the_loud_ones_are_not() {
        let assets: Vec<_> =
            (0..30).map(|n| asset(n, 120.48 + f64::from(n) * 1e-5, 30.74)).collect();
        let few: Vec<_> = (40..44).map(|n| asset(n, 121.48, 30.74)).collect();
        let mut all: Vec<_> = assets.iter().map(|asset| shown(asset, 0)).collect();
        all[2] = shown(&assets[2], 1);
        all.extend(few.iter().map(|asset| shown(asset, 0)));
        let of = |zoom: &str| {
            let features = features(&all, &query(&[("zoom", zoom)]).unwrap());
            serde_json::to_value(features).unwrap()
        };
        let far_out = of("11");
        assert_eq!(far_out.as_array().unwrap().len(), 1 + 1 + 4, "{far_out:#}");
        assert_eq!(far_out[0]["id"], 2);
        assert_eq!(far_out[0]["properties"]["severity"], 1);
        let clusters: Vec<_> = far_out
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["properties"]["cluster"] == true)
            .collect();
        assert_eq!(clusters.len(), 1);
        assert_eq!(clusters[0]["properties"]["count"], 29);
        assert_eq!(clusters[0]["properties"]["kinds"], serde_json::json!({"manhole": 29}));
        assert!(clusters[0]["properties"].get("severity").is_none());
        assert_eq!(of("16").as_array().unwrap().len(), 34);
    }

    #[test]
    fn the_tag_follows_what_is_shown_and_the_cursor_but_not_the_time() {
        let one = asset(1, 120.48, 30.74);
        let tag = |severity, seq, at| {
            let features = features(&[shown(&one, severity)], &query(&[]).unwrap());
            let snapshot = Snapshot { epoch: 7, seq, at: Timestamp::from_secs(at) };
            Document::new(features, None, snapshot, Cursor { epoch: 7, seq }).unwrap().etag
        };
        let first = tag(0, 1, 0);
        assert_eq!(first, tag(0, 1, 60));
        assert_ne!(first, tag(1, 1, 0));
        assert_ne!(first, tag(0, 2, 0));
        let document = || Document { json: vec![], etag: first.clone() };
        let mut headers = HeaderMap::new();
        assert_eq!(document().respond(&headers).status(), StatusCode::OK);
        headers.insert(IF_NONE_MATCH, format!("\"x\", {first}").parse().unwrap());
        assert_eq!(document().respond(&headers).status(), StatusCode::NOT_MODIFIED);
    }
}
