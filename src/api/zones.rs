//! Zones: the areas of the town.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::geo::Crs;
use super::sight::Sight;
use super::state::Hub;
use super::wire;
use crate::model::{Label, ZoneId};
use crate::registry::Town;

/// Zones as GeoJSON.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Zones {
    /// Always `FeatureCollection`.
    #[serde(rename = "type")]
    kind: &'static str,
    features: Vec<ZoneFeature>,
}

/// A zone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneFeature {
    /// Always `Feature`.
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = String)]
    id: ZoneId,
    #[schema(value_type = wire::Geometry)]
    geometry: geojson::Geometry,
    properties: ZoneProperties,
}

/// What a zone is called.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneProperties {
    #[schema(value_type = String)]
    zone: ZoneId,
    #[schema(value_type = wire::Label)]
    name: Label,
}

/// Every zone in sight, WGS-84.
#[utoipa::path(get, path = "/api/v1/zones", tag = "zones", responses((status = 200, content_type = "application/geo+json", body = Zones)))]
pub(crate) async fn list(State(hub): State<Hub>, sight: Sight) -> GeoJson<Zones> {
    GeoJson(collection(&hub.registry.town(), &sight))
}

fn collection(town: &Town, sight: &Sight) -> Zones {
    let mut zones: Vec<_> =
        town.zones.values().filter(|zone| sight.may_see_zone(&zone.id)).collect();
    zones.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let features = zones.into_iter().map(|zone| ZoneFeature {
        kind: "Feature",
        id: zone.id.clone(),
        geometry: Crs::Wgs84.geojson(&geo::Geometry::from(zone.geometry.clone())),
        properties: ZoneProperties { zone: zone.id.clone(), name: zone.name.clone() },
    });
    Zones { kind: "FeatureCollection", features: features.collect() }
}

/// JSON that calls itself GeoJSON.
pub(crate) struct GeoJson<T>(T);

impl<T: Serialize> axum::response::IntoResponse for GeoJson<T> {
    fn into_response(self) -> axum::response::Response {
        let kind = [(axum::http::header::CONTENT_TYPE, "application/geo+json")];
        (kind, Json(self.0)).into_response()
    }
}
