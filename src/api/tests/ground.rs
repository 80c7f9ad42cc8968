//! The base map, as a page meets it.

use axum::Router;
use axum::extract::Request;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use pmtiles::{Compression, PmTilesWriter, TileCoord, TileType};
use serde_json::json;

use super::*;
use crate::basemap::{Base, Datum};
use crate::config::MapConfig;

const TILES: &str = "/api/v1/basemap/tiles";

#[tokio::test]
async fn the_schematic_has_no_tiles_and_says_so() {
    let rig = Rig::new();
    let ground = rig.get("/api/v1/basemap").await.json();
    assert_eq!((&ground["base"], &ground["kind"]), (&json!("schematic"), &json!("schematic")));
    assert_eq!(rig.get("/api/v1/basemap/data").await.status, StatusCode::NOT_FOUND);
    let tile = rig.get("/api/v1/basemap/tiles/base/0/0/0").await;
    assert_eq!((tile.status, tile.body.len()), (StatusCode::NO_CONTENT, 0));
    for nowhere in ["3/8/0", "99/0/0", "300/0/0", "1/-1/0", "1/a/0"] {
        let status = rig.get(&format!("/api/v1/basemap/tiles/base/{nowhere}")).await.status;
        assert!(status.is_client_error(), "{nowhere}: {status}");
    }
    let login = rig.send(request("GET /api/v1/basemap/tiles/base/0/0/0", &[], "")).await;
    assert_eq!(login.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_map_server_is_asked_by_the_hub_and_its_key_is_in_no_answer() {
    /// Knows its key; sends column 1 elsewhere, and says who asked for what in column 0.
    async fn server(request: Request) -> Response {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        match (path, query) {
            ("/5/0/7.png", "tk=s3cret") => {
                let known = request.headers().keys().map(|name| name.as_str().to_owned());
                ([("content-type", "image/png")], known.collect::<Vec<_>>().join(","))
                    .into_response()
            }
            ("/5/1/7.png", _) => {
                (StatusCode::FOUND, [(LOCATION, "http://127.0.0.1:9/?tk=s3cret")]).into_response()
            }
            _ => StatusCode::FORBIDDEN.into_response(),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(server)).await });
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "s3cret\n").unwrap();
    let config = MapConfig {
        base: Base::Xyz,
        url: Some(format!("http://{address}/{{z}}/{{x}}/{{y}}.png?tk={{key}}")),
        key_file: Some(key.path().to_owned()),
        crs: Datum::Gcj02,
        ..MapConfig::default()
    };
    let rig = Rig::on(BaseMap::open(&config).await);

    let ground = rig.get("/api/v1/basemap").await;
    let told = ground.json();
    assert_eq!((&told["kind"], &told["crs"]), (&json!("raster"), &json!("gcj02")));
    assert_eq!(told["layers"], json!(["base"]));
    let tiles = told["tiles"].as_str().unwrap();
    assert!(tiles.starts_with("/api/v1/basemap/tiles/{layer}/{z}/{x}/{y}?v="), "{tiles}");
    let path = tiles.replace("{layer}/{z}/{x}/{y}", "base/5/0/7");
    let picture = rig.get(&path).await;
    assert_eq!((picture.status, picture.header("content-type")), (StatusCode::OK, "image/png"));
    assert!(picture.header("cache-control").starts_with("private"));
    // Nothing of who asks goes on to the map server: no cookie, no token.
    let known: Vec<_> = picture.text().split(',').collect();
    assert!(!known.contains(&"authorization") && !known.contains(&"cookie"), "{known:?}");

    let redirected = rig.get(&format!("{TILES}/base/5/1/7")).await;
    let refused = rig.get(&format!("{TILES}/base/5/2/7")).await;
    let nowhere = rig.get(&format!("{TILES}/http:%2F%2F127.0.0.1/5/0/7")).await;
    assert_eq!(redirected.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(nowhere.status, StatusCode::NO_CONTENT, "a layer is a name, never an address");
    for answer in [ground, redirected, refused] {
        let all = format!("{:?} {}", answer.headers, answer.text());
        assert!(!all.contains("s3cret") && !all.contains(&address.to_string()), "{all}");
    }
}

#[tokio::test]
async fn a_broken_address_is_told_without_itself() {
    let config = MapConfig {
        base: Base::Xyz,
        url: Some("https://tiles.example/{z}/{x}?tk=s3cret".to_owned()),
        ..MapConfig::default()
    };
    let rig = Rig::on(BaseMap::open(&config).await);
    let ground = rig.get("/api/v1/basemap").await;
    assert_eq!(ground.json()["kind"], "schematic");
    let problem = ground.json()["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("{y}") && !problem.contains("s3cret"), "{problem}");
}

#[tokio::test]
async fn files_are_served_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("town.geojson");
    std::fs::write(&file, r#"{"type": "FeatureCollection", "features": []}"#).unwrap();
    let config = MapConfig { base: Base::File, file: Some(file), ..MapConfig::default() };
    let rig = Rig::on(BaseMap::open(&config).await);
    assert_eq!(rig.get("/api/v1/basemap").await.json()["data"], "/api/v1/basemap/data");
    let data = rig.get("/api/v1/basemap/data").await;
    assert_eq!(data.header("content-type"), "application/geo+json");
    let known = [("if-none-match", data.header("etag"))];
    let again = rig.send(rig.request("GET /api/v1/basemap/data", &known, "")).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);

    let file = folder.path().join("town.pmtiles");
    let mut writer = PmTilesWriter::new(TileType::Mvt)
        .tile_compression(Compression::Gzip)
        .metadata(r#"{"vector_layers": [{"id": "water"}]}"#)
        .create(std::fs::File::create(&file).unwrap())
        .unwrap();
    writer.add_tile(TileCoord::new(1, 1, 0).unwrap(), b"tile").unwrap();
    writer.finalize().unwrap();
    let config = MapConfig { base: Base::File, file: Some(file), ..MapConfig::default() };
    let rig = Rig::on(BaseMap::open(&config).await);
    let told = rig.get("/api/v1/basemap").await.json();
    assert_eq!((&told["kind"], &told["parts"]), (&json!("vector"), &json!(["water"])));
    let tile = rig.get(&format!("{TILES}/base/1/1/0")).await;
    assert_eq!(tile.header("content-encoding"), "gzip");
    assert_eq!(tile.header("content-type"), "application/vnd.mapbox-vector-tile");
    assert_eq!(rig.get(&format!("{TILES}/base/1/0/0")).await.status, StatusCode::NO_CONTENT);
}
