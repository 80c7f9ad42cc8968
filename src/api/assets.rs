//! Assets: the things that stand in the town.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::devices::{DeviceBody, describe, is_named};
use super::error::Problem;
use super::extract::{Params, limit, parse};
use super::geo::{Crs, middle};
use super::sight::Sight;
use super::state::{Hub, Work};
use super::wire;
use crate::live::{AssetState, Freshness};
use crate::model::{
    AssetId, AssetKind, AssetNumber, Bbox, Family, Grade, Label, Position, PositionError, ZoneId,
};
use crate::registry::{Asset, Town};

const DEFAULT_LIMIT: usize = 1000;

/// Which assets to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only those in `west,south,east,north`, degrees.
    bbox: Option<String>,
    /// Only of this kind.
    kind: Option<String>,
    /// Only of this zone.
    zone: Option<String>,
    /// Only those with this in their id or name.
    q: Option<String>,
    /// Nearest to `lon,lat` first, with their distance; else by id.
    near: Option<String>,
    /// At most this many (1 to 10 000, else 1 000).
    limit: Option<usize>,
}

/// What is asked for, checked.
#[derive(Debug)]
struct ListQuery {
    bbox: Option<Bbox>,
    kind: Option<AssetKind>,
    zone: Option<ZoneId>,
    find: String,
    near: Option<Position>,
    limit: usize,
}

/// Assets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Assets {
    assets: Vec<AssetSummary>,
}

/// An asset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetSummary {
    #[schema(value_type = String)]
    asset: AssetId,
    /// Its number on the map and in the live feed.
    #[schema(value_type = u32)]
    number: AssetNumber,
    #[schema(value_type = wire::AssetKind)]
    kind: AssetKind,
    #[schema(value_type = wire::Label)]
    name: Label,
    #[schema(value_type = Option<String>, required)]
    zone: Option<ZoneId>,
    #[schema(value_type = Option<String>, required)]
    parent: Option<AssetId>,
    /// Longitude and latitude in degrees, WGS-84; the middle of a line.
    #[schema(required)]
    position: Option<[f64; 2]>,
    /// Metres from `near`.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance_m: Option<f64>,
}

/// An asset with its state and its devices.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Asset)]
pub(crate) struct AssetBody {
    #[serde(flatten)]
    summary: AssetSummary,
    #[schema(value_type = wire::Family)]
    family: Family,
    #[schema(value_type = wire::Geometry)]
    geometry: geojson::Geometry,
    /// The rest of what its import said.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    properties: Map<String, Value>,
    state: StateBody,
    devices: Vec<DeviceBody>,
}

/// What the map shows of an asset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AssetState)]
pub(crate) struct StateBody {
    /// The worst open alert: 0 none, 1 critical to 4 info.
    severity: u8,
    /// Whether every open alert is acknowledged.
    acknowledged: bool,
    /// How old its values are; null when no device observes it.
    #[schema(required, value_type = Option<wire::Freshness>)]
    freshness: Option<Freshness>,
    /// The code of the headline point, when that is a state.
    #[schema(required)]
    state: Option<f64>,
    #[schema(value_type = wire::Grade)]
    grade: Grade,
}

/// Lists assets.
#[utoipa::path(get, path = "/api/v1/assets", tag = "assets", params(ListParams), responses((status = 200, body = Assets)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Assets>, Problem> {
    let query = params.check()?;
    let assets =
        hub.blocking(Work::Query, move |hub| Ok(select(&hub.registry.town(), &sight, &query)));
    Ok(Json(Assets { assets: assets.await? }))
}

/// An asset with its state and its devices.
#[utoipa::path(get, path = "/api/v1/assets/{id}", tag = "assets", params(("id" = String, Path)), responses((status = 200, body = AssetBody)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<AssetBody>, Problem> {
    let town = hub.registry.town();
    let asset = sight.asset(&town, &id)?;
    Ok(Json(AssetBody {
        summary: AssetSummary::new(asset, None),
        family: asset.kind.family(),
        geometry: Crs::Wgs84.geojson(&asset.geometry),
        properties: asset.properties.clone(),
        state: StateBody::new(hub.present.state(asset.number)),
        devices: town.devices_of(&asset.id).iter().map(|device| describe(&hub, device)).collect(),
    }))
}

impl ListParams {
    fn check(&self) -> Result<ListQuery, Problem> {
        let near = self.near.as_deref().map(place).transpose();
        Ok(ListQuery {
            bbox: parse("bbox", self.bbox.as_deref())?,
            kind: parse("kind", self.kind.as_deref())?,
            zone: parse("zone", self.zone.as_deref())?,
            find: self.q.as_deref().unwrap_or_default().to_lowercase(),
            near: near.map_err(|why| Problem::bad_query("near", why))?,
            limit: limit(self.limit, DEFAULT_LIMIT)?,
        })
    }
}

/// `lon,lat` in degrees.
fn place(text: &str) -> Result<Position, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let (lon, lat) =
        text.split_once(',').and_then(|(lon, lat)| Some((number(lon)?, number(lat)?))).ok_or_else(
            || format!("`{text}` is no place; write lon,lat, for example 120.485,30.745"),
        )?;
    Position::new(lon, lat).map_err(|error: PositionError| error.to_string())
}

impl ListQuery {
    fn matches(&self, sight: &Sight, asset: &Asset) -> bool {
        sight.may_see(asset)
            && self.kind.is_none_or(|kind| asset.kind == kind)
            && (self.zone.is_none() || asset.zone == self.zone)
            && is_named(&self.find, asset.id.as_str(), &asset.name)
    }
}

fn select(town: &Town, sight: &Sight, query: &ListQuery) -> Vec<AssetSummary> {
    if let Some(near) = query.near {
        let in_box = query.bbox.map(|bbox| {
            town.assets_in(bbox).into_iter().map(|asset| asset.number).collect::<HashSet<_>>()
        });
        // Every asset by distance, because a filter may pass over the nearest ones.
        return town
            .nearest(near, town.assets.len())
            .into_iter()
            .filter(|(asset, _)| query.matches(sight, asset))
            .filter(|(asset, _)| in_box.as_ref().is_none_or(|seen| seen.contains(&asset.number)))
            .take(query.limit)
            .map(|(asset, distance_m)| AssetSummary::new(asset, Some(distance_m)))
            .collect();
    }
    let mut found: Vec<_> = match query.bbox {
        Some(bbox) => town.assets_in(bbox),
        None => town.assets.values().collect(),
    };
    found.retain(|asset| query.matches(sight, asset));
    found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    found.into_iter().take(query.limit).map(|asset| AssetSummary::new(asset, None)).collect()
}

impl AssetSummary {
    fn new(asset: &Asset, distance_m: Option<f64>) -> Self {
        AssetSummary {
            asset: asset.id.clone(),
            number: asset.number,
            kind: asset.kind,
            name: asset.name.clone(),
            zone: asset.zone.clone(),
            parent: asset.parent.clone(),
            position: middle(&asset.geometry).map(|(lon, lat)| [lon, lat]),
            distance_m,
        }
    }
}

impl StateBody {
    fn new(state: Option<AssetState>) -> Self {
        StateBody {
            severity: state.map_or(0, |state| state.severity),
            acknowledged: state.is_some_and(|state| state.acknowledged),
            freshness: state.map(|state| state.freshness),
            state: state.and_then(|state| state.state),
            grade: state.map_or(Grade::Good, |state| state.grade),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_two_numbers_on_the_earth() {
        assert_eq!(place("120.485, 30.745"), Ok(Position::new(120.485, 30.745).unwrap()));
        assert!(place("120.485").unwrap_err().contains("lon,lat"));
        assert!(place("30.745;120.485").is_err());
        assert!(place("30.745,120.485").unwrap_err().contains("latitude"));
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        let wrong = [
            ListParams { kind: Some("tree".into()), ..ListParams::default() },
            ListParams { bbox: Some("1,2".into()), ..ListParams::default() },
            ListParams { limit: Some(0), ..ListParams::default() },
            ListParams { zone: Some("a b".into()), ..ListParams::default() },
        ];
        for params in wrong {
            assert!(params.check().is_err(), "{params:?}");
        }
        assert_eq!(ListParams::default().check().unwrap().limit, DEFAULT_LIMIT);
    }
}
