//! What the routes answer.

use futures_util::StreamExt;
use serde_json::json;

use super::*;

#[tokio::test]
async fn the_map_shows_every_asset_and_where_the_feed_goes_on() {
    let rig = Rig::new();
    let cursor = rig.feed.cursor();
    let answer = rig.get("/api/v1/map").await;
    assert_eq!(answer.header("content-type"), "application/geo+json");
    let map = answer.json();
    assert_eq!(map["townhub"]["epoch"], EPOCH);
    assert_eq!(map["townhub"]["seq"], cursor.seq);
    assert_eq!(map["townhub"]["at"], "2026-09-21T14:13:20Z");
    let features = map["features"].as_array().unwrap();
    assert_eq!(features.len(), 3);
    let of = |asset: &str| {
        features.iter().find(|f| f["properties"]["asset"] == asset).unwrap()["properties"].clone()
    };
    let full = of("mh-1");
    assert_eq!((&full["severity"], &full["acknowledged"]), (&json!(1), &json!(false)));
    assert_eq!((&full["freshness"], &full["family"]), (&json!("fresh"), &json!("pipes")));
    let headline = json!({
        "device": "d-1", "metric": "level", "label": {"zh": "点", "en": "level"}, "unit": "m",
        "value": 2.5, "state": null, "quality": "good", "reason": null,
        "observed_at": "2026-09-21T14:12:20Z",
    });
    assert_eq!(full["headline"], headline);
    let silent = of("mh-2");
    assert_eq!((&silent["freshness"], &silent["headline"]), (&json!("never"), &Value::Null));

    let etag = answer.header("etag").to_owned();
    let again = rig.request("GET /api/v1/map", &[("if-none-match", &etag)], "");
    assert_eq!(rig.send(again).await.status, StatusCode::NOT_MODIFIED);
    let small = rig.request("GET /api/v1/map", &[("accept-encoding", "gzip")], "");
    assert_eq!(rig.send(small).await.header("content-encoding"), "gzip");

    let count = |map: Value| map["features"].as_array().unwrap().len();
    assert_eq!(count(rig.get("/api/v1/map?kinds=sluice-gate").await.json()), 1);
    let bbox = "/api/v1/map?bbox=120.484,30.745,120.4855,30.746";
    assert_eq!(count(rig.get(bbox).await.json()), 1);
    let shifted = rig.get("/api/v1/map?crs=gcj02&kinds=manhole").await.json();
    let lon = shifted["features"][0]["geometry"]["coordinates"][0].as_f64().unwrap();
    assert!((lon - 120.489_528).abs() < 1e-5, "{lon}");
    // Who navigates there takes the place itself; a map that is not shifted has it already.
    let position = shifted["features"][0]["properties"]["position"][0].as_f64().unwrap();
    assert!((position - 120.4851).abs() < 1e-7, "{position}");
    assert!(full.get("position").is_none(), "{full}");
}

#[tokio::test]
async fn an_alert_is_listed_and_acknowledged_once() {
    let rig = Rig::new();
    let list = rig.get("/api/v1/alerts?open=true&severity=critical").await.json();
    let alert = &list["alerts"][0];
    assert_eq!((&alert["device"], &alert["asset"]), (&json!("d-1"), &json!("mh-1")));
    assert_eq!((&alert["value"], &alert["limit"]), (&json!(2.5), &json!(2.0)));
    assert_eq!((&alert["active"], &list["next_before"]), (&json!(true), &Value::Null));
    assert_eq!(rig.get("/api/v1/alerts?device=d-2").await.json()["alerts"], json!([]));

    let path = format!("/api/v1/alerts/{}/acknowledge", alert["id"]);
    let version = alert["version"].as_u64().unwrap();
    let json = "application/json";
    let stale = json!({"version": version + 7}).to_string();
    let conflict = rig.post(&path, json, &stale).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert_eq!(conflict.json()["code"], "version_conflict");
    assert_eq!(conflict.json()["current"], version);

    let body = json!({"version": version, "note": " crew is out "}).to_string();
    let done = rig.post(&path, json, &body).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert_eq!(done.json()["acknowledged_by"], rig.user);
    assert_eq!(done.json()["note"], "crew is out");
    let again = rig.post(&path, json, "{}").await;
    assert_eq!(again.json()["code"], "already_acknowledged");
    assert_eq!(again.json()["by"], rig.user);

    let page = rig.get("/api/v1/alerts?limit=1").await.json();
    let next = format!("/api/v1/alerts?limit=1&before={}", page["next_before"]);
    assert_eq!(rig.get(&next).await.json()["alerts"], json!([]));
}

#[tokio::test]
async fn a_device_shows_its_points_with_quality_and_limits() {
    let rig = Rig::new();
    let device = rig.get("/api/v1/devices/d-1").await.json();
    assert_eq!((&device["profile"], &device["freshness"]), (&json!("probe"), &json!("never")));
    assert_eq!(device["modbus"], json!({"endpoint": "127.0.0.1:1502", "unit": 1}));
    let level = &device["points"][0];
    assert_eq!((&level["value"], &level["grade"]), (&json!(2.5), &json!("good")));
    assert_eq!(level["limits"][0]["above"], 2.0);
    assert_eq!(level["range"], json!([0.0, 10.0]));
    let cover = &device["points"][1];
    assert_eq!((&cover["value"], &cover["reason"]), (&Value::Null, &json!("sentinel")));
    assert_eq!(cover["states"][0]["name"], "open");

    let list = rig.get("/api/v1/devices?q=PROBE%202&profile=probe").await.json();
    assert_eq!(list["devices"].as_array().unwrap().len(), 1);
    assert!(list["devices"][0].get("points").is_none());
    let asset = rig.get("/api/v1/assets/mh-1").await.json();
    assert_eq!(asset["state"]["severity"], 1);
    assert_eq!(asset["devices"][0]["id"], "d-1");
    assert_eq!(asset["geometry"]["type"], "Point");
    let profiles = rig.get("/api/v1/profiles").await.json();
    assert_eq!(profiles["profiles"][0]["devices"], 2);
}

#[tokio::test]
async fn a_device_is_made_once_and_gets_new_secrets() {
    let rig = Rig::new();
    let json = "application/json";
    let body =
        json!({"id": "d-3", "profile": "probe", "asset": "mh-2", "name": "三号"}).to_string();
    let made = rig.post("/api/v1/devices", json, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.json()["device"]["name"], json!({"zh": "三号", "en": "三号"}));
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    let twice = rig.post("/api/v1/devices", json, &body).await;
    assert_eq!(
        (twice.status, &twice.json()["code"]),
        (StatusCode::CONFLICT, &json!("already_exists"))
    );
    for wrong in [
        json!({"id": "d-4", "profile": "none"}),
        json!({"id": "d-4", "profile": "probe", "asset": "nowhere"}),
    ] {
        let refused = rig.post("/api/v1/devices", json, &wrong.to_string()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    }
    let fresh = rig.post("/api/v1/devices/d-3/secret", json, "").await.json();
    assert_ne!(fresh["secret"], secret);
    assert_eq!(
        rig.post("/api/v1/devices/d-9/secret", json, "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn an_import_reports_every_row_and_applies_whole_or_not_at_all() {
    let rig = Rig::new();
    let path = "/api/v1/assets/import";
    let head = "id,kind,name_zh,name_en,zone,parent,lon,lat\n";
    let good = format!("{head}mh-7,manhole,七,Seven,,,120.48,30.74\n");
    let bad = format!("{good}mh-8,tree,八,Eight,,,120.48,30.74\n");
    let refused = rig.post(path, "text/csv", &bad).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let report = refused.json();
    assert_eq!((&report["applied"], &report["rejected"]), (&json!(false), &json!(1)));
    assert_eq!(report["rows"][1]["status"], "rejected");
    let dry = rig.post(&format!("{path}?dry_run=true"), "text/csv; charset=utf-8", &good).await;
    assert_eq!((dry.status, &dry.json()["applied"]), (StatusCode::OK, &json!(false)));
    assert_eq!(rig.get("/api/v1/assets/mh-7").await.status, StatusCode::NOT_FOUND);
    let done = rig.post(path, "text/csv", &good).await;
    assert_eq!(done.json()["applied"], true);
    assert_eq!(rig.get("/api/v1/assets/mh-7").await.status, StatusCode::OK);

    let zone = json!({"type": "FeatureCollection", "features": [{
        "type": "Feature", "properties": {"id": "xizha", "name": "西栅"},
        "geometry": {"type": "Polygon", "coordinates":
            [[[120.47, 30.74], [120.48, 30.74], [120.48, 30.75], [120.47, 30.74]]]},
    }]});
    let done = rig.post("/api/v1/zones/import", "application/geo+json", &zone.to_string()).await;
    assert_eq!(done.json()["applied"], true, "{done:?}");
    let zones = rig.get("/api/v1/zones").await.json();
    assert_eq!(zones["features"][0]["id"], "xizha");
}

#[tokio::test]
async fn assets_are_found_by_place_kind_and_name() {
    let rig = Rig::new();
    let ids = |list: Value| -> Vec<String> {
        let assets = list["assets"].as_array().unwrap();
        assets.iter().map(|asset| asset["asset"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(rig.get("/api/v1/assets").await.json()), ["gate-1", "mh-1", "mh-2"]);
    let near = rig.get("/api/v1/assets?near=120.4862,30.7454&kind=manhole").await.json();
    assert!(near["assets"][0]["distance_m"].as_f64().unwrap() < 20.0, "{near}");
    assert_eq!(ids(near), ["mh-2", "mh-1"]);
    let one = "/api/v1/assets?near=120.4862,30.7454&kind=sluice-gate&limit=1";
    assert_eq!(ids(rig.get(one).await.json()), ["gate-1"]);
    assert_eq!(ids(rig.get("/api/v1/assets?q=WANGJIN").await.json()), ["gate-1"]);
    assert_eq!(ids(rig.get("/api/v1/assets?limit=1").await.json()), ["gate-1"]);
}

#[tokio::test]
async fn history_comes_as_readings_steps_or_csv() {
    let rig = Rig::new();
    let path = "/api/v1/series/d-1/level";
    let readings = rig.get(path).await.json();
    let t = NOW.as_millis();
    let expected = json!([
        [t - 180_000, 0.5, 0, null],
        [t - 120_000, 0.75, 1, "rate"],
        [t - 60_000, 2.5, 0, null],
    ]);
    assert_eq!((&readings["points"], &readings["truncated"]), (&expected, &json!(false)));
    let cut = rig.get(&format!("{path}?limit=2")).await.json();
    assert_eq!((cut["points"].as_array().unwrap().len(), &cut["truncated"]), (2, &json!(true)));
    let steps = rig.get(&format!("{path}?step=1h&agg=max")).await.json();
    assert_eq!((&steps["step_s"], &steps["agg"]), (&json!(3600.0), &json!("max")));
    let count: u64 =
        steps["points"].as_array().unwrap().iter().map(|step| step[5].as_u64().unwrap()).sum();
    assert_eq!(count, 3);
    assert_eq!((&steps["source"], &steps["from"]), (&json!("1h"), &json!("2026-09-20T14:00:00Z")));
    let csv = rig.request(&format!("GET {path}"), &[("accept", "text/csv")], "");
    let csv = rig.send(csv).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text().lines().count(), 4);
    assert!(csv.text().contains("2026-09-21T14:11:20Z,0.75,uncertain,rate"), "{}", csv.text());
}

#[tokio::test]
async fn status_counts_devices_and_alerts() {
    let rig = Rig::new();
    let status = rig.get("/api/v1/status").await.json();
    assert_eq!(status["devices"]["total"], 2);
    assert_eq!(status["alerts"]["critical"], json!({"active": 1, "unacknowledged": 1}));
    assert_eq!((&status["epoch"], &status["town"]["name"]["zh"]), (&json!(EPOCH), &json!("乌镇")));
    assert_eq!(status["store"]["hot_readings"], 4);
    assert_eq!(rig.get("/metrics").await.status, StatusCode::OK);
    let page = rig.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
}

#[tokio::test]
async fn the_feed_greets_resumes_and_is_never_compressed() {
    let rig = Rig::new();
    let cursor = rig.feed.cursor();
    let line = format!("GET /api/v1/live?since={cursor}&assets=1");
    let live = rig.request(&line, &[("accept-encoding", "gzip")], "");
    let response = rig.router.clone().oneshot(live).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(!response.headers().contains_key("content-encoding"));
    let mut events = response.into_body().into_data_stream();
    let mut next = async || {
        let chunk = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
        String::from_utf8(chunk.unwrap().unwrap().unwrap().to_vec()).unwrap()
    };
    let hello = next().await;
    assert!(hello.starts_with(&format!("id: {cursor}\nevent: hello\n")), "{hello}");
    assert!(hello.contains("2026-09-21T14:13:20Z"));

    let list = rig.get("/api/v1/alerts").await.json();
    let path = format!("/api/v1/alerts/{}/acknowledge", list["alerts"][0]["id"]);
    rig.post(&path, "application/json", "{}").await;
    let alert = next().await;
    assert!(alert.contains("event: alert\n") && alert.contains("acknowledged_by"), "{alert}");
    let mut heard = alert;
    while !heard.contains("event: state\n") {
        heard = next().await;
    }
    assert!(heard.contains("data: [["), "{heard}");

    rig.feed.close();
    let end = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
    assert!(end.unwrap().is_none(), "the hub can go down");
}

#[tokio::test(start_paused = true)]
async fn the_feed_beats() {
    let rig = Rig::new();
    let live = rig.request("GET /api/v1/live", &[], "");
    let response = rig.router.clone().oneshot(live).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    events.next().await;
    let before = tokio::time::Instant::now();
    let beat = events.next().await.unwrap().unwrap();
    assert!(
        beat.ends_with(b"event: beat\ndata: {\"at\":\"2026-09-21T14:13:20Z\"}\n\n"),
        "{beat:?}"
    );
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_moment_of_the_past_is_shown_as_it_was() {
    let rig = Rig::new();
    let at = |seconds: u64| NOW.plus(Duration::from_secs(seconds));
    let look = |map: &Value| {
        let all = map["features"].as_array().unwrap().clone();
        all.into_iter().find(|f| f["properties"]["asset"] == "mh-1").unwrap()["properties"].clone()
    };
    // Before the last reading: three quarters of a metre, and nothing stood.
    let before = rig.get("/api/v1/map?at=2026-09-21T14:11:40Z").await.json();
    let shown = look(&before);
    assert_eq!(shown["headline"]["value"], 0.75, "{shown:#}");
    assert_eq!((&shown["severity"], &shown["freshness"]), (&json!(0), &json!("fresh")));
    assert_eq!(before["alerts"], json!([]));
    assert_eq!(before["townhub"]["at"], "2026-09-21T14:11:40Z");

    // Now: the alert stands. Later somebody acknowledges it, which changes nothing about before.
    let alerts = rig.get("/api/v1/alerts?open=true").await.json();
    let id = alerts["alerts"][0]["id"].as_u64().unwrap();
    rig.hand.advance(Duration::from_secs(120));
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let done = rig.post(&path, "application/json", "{\"note\": \"seen\"}").await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let then = rig.get(&format!("/api/v1/map?at={}", at(0))).await.json();
    assert_eq!(look(&then)["severity"], 1);
    assert_eq!(look(&then)["acknowledged"], false);
    assert_eq!(then["alerts"][0]["acknowledged_at"], Value::Null);
    assert_eq!(then["alerts"][0]["note"], Value::Null);
    let after = rig.get(&format!("/api/v1/map?at={}", at(120))).await.json();
    assert_eq!(look(&after)["acknowledged"], true);
    assert_eq!(after["alerts"][0]["note"], "seen");

    // A day before nobody had spoken, and what is to come is not shown.
    let dead = rig.get("/api/v1/map?at=2026-09-20T14:00:00Z&zoom=16").await.json();
    assert_eq!(look(&dead)["freshness"], "dead");
    assert_eq!(look(&dead)["headline"], Value::Null);
    let future = rig.get("/api/v1/map?at=2026-09-22T00:00:00Z").await;
    assert_eq!(
        (future.status, &future.json()["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("at"))
    );

    // The same moment has the same tag, whatever happens now.
    let path = "/api/v1/map?at=2026-09-21T14:11:40Z";
    let tag = rig.get(path).await.header("etag").to_owned();
    rig.hand.advance(Duration::from_secs(5));
    let again = rig.send(rig.request(&format!("GET {path}"), &[("if-none-match", &tag)], "")).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}
