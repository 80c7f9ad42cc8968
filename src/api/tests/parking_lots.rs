//! What a visitor reads without a login, and what he does not.

use serde_json::json;

use super::*;

const LOTS: &str = "id,kind,name_zh,name_en,zone,parent,lon,lat\n\
    L1,parking-lot,子夜路停车场,Ziye Road,,,120.4851,30.74536\n\
    B1,parking-bay,一号,1,,L1,120.4851,30.7454\n\
    B2,parking-bay,二号,2,,L1,120.4852,30.7454\n";

#[tokio::test]
async fn everybody_reads_the_board_and_nobody_waits_for_its_making() {
    let mut rig = Rig::new();
    rig.registry.import_assets_csv(LOTS.as_bytes(), ImportMode::Apply).unwrap();
    let early = rig.send(request("GET /api/v1/parking", &[], "")).await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE);
    rig.lots.look().unwrap();
    let answer = rig.send(request("GET /api/v1/parking", &[], "")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "public, max-age=5");
    let lot = json!({
        "id": "L1", "name": {"zh": "子夜路停车场", "en": "Ziye Road"},
        "position": [120.4851, 30.74536], "position_gcj02": null,
        "capacity": 2, "free": {"least": 0, "most": 2}, "occupied": {"least": 0, "most": 2},
        "unknown": 2, "closed": 0, "occupation": "unknown", "trend": null, "observed_at": null,
    });
    let mut found = answer.json()["lots"][0].clone();
    let shifted = found["position_gcj02"].take();
    for (axis, expected) in [120.489_528, 30.743_101].into_iter().enumerate() {
        // The vector of the domain notes, within half a unit of its last digit.
        assert!((shifted[axis].as_f64().unwrap() - expected).abs() < 1e-6, "{shifted}");
    }
    assert_eq!(found, lot);

    let etag = answer.header("etag").to_owned();
    let again = rig.send(request("GET /api/v1/parking", &[("if-none-match", &etag)], "")).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    // A board that is no longer kept is not shown as if it were.
    rig.hand.advance(Duration::from_secs(61));
    let abandoned = rig.send(request("GET /api/v1/parking", &[], "")).await;
    assert_eq!(abandoned.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn figures_are_for_those_who_may_see_the_lot() {
    let rig = Rig::new();
    rig.registry.import_assets_csv(LOTS.as_bytes(), ImportMode::Apply).unwrap();
    let stranger = rig.send(request("GET /api/v1/parking/figures", &[], "")).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let figures = rig.get("/api/v1/parking/figures?lot=L1").await.json();
    assert_eq!(figures["to"], "2026-09-21T14:13:20Z");
    let lot = &figures["lots"][0];
    assert_eq!((&lot["capacity"], &lot["known"]), (&json!(2), &json!(0.0)));
    assert_eq!(lot["utilisation"], json!({"least": 0.0, "most": 1.0}));
    assert_eq!(lot["max_stay_s"], 259_200.0);
    let missing = rig.get("/api/v1/parking/figures?lot=mh-1").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "a manhole is no lot");
    let wrong = rig.get("/api/v1/parking/figures?from=yesterday").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_the_publics_files_are_open() {
    let rig = Rig::new();
    let status = |line: &'static str| {
        let asked = rig.send(request(line, &[], ""));
        async move { asked.await.status.as_u16() }
    };
    assert_eq!(status("GET /parking").await, 200);
    assert_eq!(status("GET /open/nothing.js").await, 404);
    assert_eq!(status("GET /open/..%2Findex.html").await, 404);
    assert_eq!(status("GET /open/..%2Fassets%2Fbasemap.json").await, 404);
    assert_eq!(status("GET /assets/basemap.json").await, 401);
    assert_eq!(status("GET /wall").await, 401);
    assert_eq!(status("GET /parking.html").await, 401);
}
