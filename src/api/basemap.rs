//! The ground of the map: what it is, and its document or tiles. Every request of a page stays on this host.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::error::Problem;
use super::state::Hub;
use super::wire;
use crate::basemap::{Base, BaseMap, Datum, Ground, TilePlace};
use crate::model::Label;

/// A page may keep a tile so long without asking: maps change by the month.
const TILE_KEPT: &str = "private, max-age=86400";

/// Where tiles are. The base map's version stands behind it, so that no page shows the kept tiles of another base map.
const TILES: &str = "/api/v1/basemap/tiles/{layer}/{z}/{x}/{y}";

/// The ground of the map.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BaseMap)]
pub(crate) struct BaseMapAnswer {
    /// `schematic`, `file`, `tianditu` or `xyz`.
    #[schema(value_type = BaseName)]
    base: Base,
    /// The coordinates in which it is drawn: ask for the map in the same (`/map?crs=`).
    #[schema(value_type = DatumName)]
    crs: Datum,
    /// How to draw it.
    kind: Kind,
    /// Raster: the layers' names, the lowest first. Vector: `base`.
    layers: Vec<&'static str>,
    /// Where its tiles are, when it has tiles.
    #[schema(required)]
    tiles: Option<String>,
    /// Where its document is, when it is one.
    #[schema(required)]
    data: Option<&'static str>,
    /// Vector: the layers in the tiles, as far as they are told.
    parts: Vec<String>,
    min_zoom: u8,
    max_zoom: u8,
    /// West, south, east, north in degrees; null: everywhere.
    #[schema(required)]
    bounds: Option<[f64; 4]>,
    /// Whose map it is, to be shown on it as plain text.
    #[schema(value_type = Option<wire::Label>, required)]
    attribution: Option<Label>,
    /// Why the configured base map is not drawn; null when it is.
    #[schema(required)]
    problem: Option<String>,
}

/// The base maps' names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum BaseName {
    Schematic,
    File,
    Tianditu,
    Xyz,
}

/// The coordinates' names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum DatumName {
    Wgs84,
    Gcj02,
}

/// How a ground is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BaseMapKind)]
enum Kind {
    /// The console brings it along; it is drawn, not surveyed.
    Schematic,
    /// One GeoJSON document.
    Geojson,
    /// Pictures of 256 pixels.
    Raster,
    /// Vector tiles (MVT).
    Vector,
}

/// Which base map the console draws, and how.
#[utoipa::path(get, path = "/api/v1/basemap", tag = "map", responses((status = 200, body = BaseMapAnswer)))]
pub(crate) async fn show(State(hub): State<Hub>) -> Json<BaseMapAnswer> {
    Json(BaseMapAnswer::of(&hub.basemap, hub.attribution.as_ref()))
}

impl BaseMapAnswer {
    /// `configured` is what the town wants to be said of the map's makers.
    fn of(map: &BaseMap, configured: Option<&Label>) -> Self {
        let (kind, layers, parts, zooms, bounds) = match map.ground() {
            Ground::Schematic => (Kind::Schematic, vec![], vec![], (0, 22), None),
            Ground::Document => (Kind::Geojson, vec![], vec![], (0, 22), None),
            Ground::Raster { layers, zooms, bounds } => {
                (Kind::Raster, layers, vec![], zooms, bounds)
            }
            Ground::Vector { parts, zooms, bounds } => {
                (Kind::Vector, vec!["base"], parts, zooms, bounds)
            }
        };
        let own = match map.base() {
            Base::Tianditu => Some(Label::new("天地图", "Tianditu")),
            _ => map.attribution().map(|text| Label::new(text, text)),
        };
        BaseMapAnswer {
            base: map.base(),
            crs: map.datum(),
            kind,
            layers,
            tiles: matches!(kind, Kind::Raster | Kind::Vector)
                .then(|| format!("{TILES}?v={}", map.version())),
            data: (kind == Kind::Geojson).then_some("/api/v1/basemap/data"),
            parts,
            min_zoom: zooms.0,
            max_zoom: zooms.1,
            bounds,
            attribution: configured.filter(|_| map.problem().is_none()).cloned().or(own),
            problem: map.problem().map(str::to_owned),
        }
    }
}

/// The base map's GeoJSON document, when it is one.
#[utoipa::path(
    get, path = "/api/v1/basemap/data", tag = "map",
    responses(
        (status = 200, content_type = "application/geo+json", description = "The file as it is"),
        (status = 304, description = "Nothing changed since the ETag in If-None-Match"),
    )
)]
pub(crate) async fn data(State(hub): State<Hub>, headers: HeaderMap) -> Result<Response, Problem> {
    let missing = || Problem::not_found("document of the base map", "data");
    let document = hub.basemap.document().ok_or_else(missing)?;
    let hash = Sha256::digest(&document);
    let hash = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    let etag = format!("W/\"{hash}\"");
    let common = [(ETAG, etag.clone()), (CACHE_CONTROL, "private, no-cache".to_owned())];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag.as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    Ok((common, [(CONTENT_TYPE, "application/geo+json")], document).into_response())
}

/// A tile of the base map, from its archive or through the hub from the map server.
#[utoipa::path(
    get, path = "/api/v1/basemap/tiles/{layer}/{z}/{x}/{y}", tag = "map",
    params(
        ("layer" = String, Path, description = "One of the base map's `layers`"),
        ("z" = u8, Path, description = "Zoom"),
        ("x" = u32, Path, description = "Column from the west"),
        ("y" = u32, Path, description = "Row from the north"),
    ),
    responses(
        (status = 200, content_type = "image/png", description = "A picture, or a vector tile"),
        (status = 204, description = "The map has nothing there"),
    )
)]
pub(crate) async fn tile(
    State(hub): State<Hub>,
    Path((layer, z, x, y)): Path<(String, u8, u32, u32)>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("tile", &format!("{z}/{x}/{y}"));
    let place = TilePlace::new(z, x, y).ok_or_else(missing)?;
    let tile = hub.basemap.tile(&layer, place).await.map_err(|why| {
        // The page shows its map without this tile; the log tells why.
        tracing::warn!(why = %crate::error_chain(&why), z, x, y, "no tile of the base map");
        Problem::unavailable(why.to_string())
    })?;
    let kept = [(CACHE_CONTROL, TILE_KEPT)];
    let Some(tile) = tile else {
        return Ok((StatusCode::NO_CONTENT, kept).into_response());
    };
    let mut answer = (kept, [(CONTENT_TYPE, tile.media)], tile.bytes).into_response();
    if tile.gzip {
        let gzip = axum::http::HeaderValue::from_static("gzip");
        answer.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schematic_says_that_it_is_one() {
        let said = Label::new("测绘院", "The surveyors");
        let answer = BaseMapAnswer::of(&BaseMap::schematic(), Some(&said));
        assert_eq!(
            (answer.base, answer.crs, answer.kind),
            (Base::Schematic, Datum::Wgs84, Kind::Schematic)
        );
        assert_eq!((answer.tiles, answer.data, answer.problem), (None, None, None));
        assert_eq!(answer.attribution, Some(said));
    }
}
