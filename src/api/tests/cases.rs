//! Cases over HTTP: the moves, their refusals, photos, units.

use serde_json::json;

use super::*;

const JSON: &str = "application/json";

async fn unit(rig: &Rig) {
    let body = json!({ "name": { "zh": "西片", "en": "West" }, "members": ["admin"] }).to_string();
    let put = rig.request("PUT /api/v1/units/west", &[("content-type", JSON)], body);
    assert_eq!(rig.send(put).await.status, StatusCode::OK);
}

async fn make(rig: &Rig, id: u64, wanted: &str, body: Value) -> Answer {
    rig.post(&format!("/api/v1/cases/{id}/{wanted}"), JSON, &body.to_string()).await
}

#[tokio::test]
async fn an_alert_that_stands_opens_a_case_that_closes_only_when_the_sensor_agrees() {
    let rig = Rig::new();
    unit(&rig).await;
    let body =
        json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "mh-2" });
    let by_hand = rig.post("/api/v1/cases", JSON, &body.to_string()).await;
    assert_eq!(by_hand.status, StatusCode::CREATED, "{}", by_hand.text());
    let list = rig.get("/api/v1/cases?open=true").await.json();
    assert_eq!(list["cases"].as_array().unwrap().len(), 2, "{list}");
    let case = &list["cases"][1];
    assert_eq!((&case["asset"], &case["opened_by"]), (&json!("mh-1"), &Value::Null));
    assert_eq!((&case["stage"], &case["severity"]), (&json!("opened"), &json!("critical")));
    let id = case["id"].as_u64().unwrap();

    let sent = make(&rig, id, "dispatch", json!({ "version": 1, "unit": "west" })).await.json();
    assert_eq!((&sent["stage"], &sent["unit"]), (&json!("dispatched"), &json!("west")));
    assert_eq!(sent["deadlines"]["accept"], "2026-09-21T14:18:20Z");
    let stale = make(&rig, id, "accept", json!({ "version": 1 })).await;
    assert_eq!((stale.status, &stale.json()["current"]), (StatusCode::CONFLICT, &json!(2)));
    let illegal = make(&rig, id, "report", json!({ "version": 2 })).await.json();
    assert_eq!(
        (&illegal["code"], &illegal["stage"]),
        (&json!("illegal_move"), &json!("dispatched"))
    );
    assert_eq!(illegal["allowed"], json!(["accept", "return", "recall"]));
    make(&rig, id, "accept", json!({ "version": 2, "note": "on my way" })).await;
    make(&rig, id, "report", json!({ "version": 3 })).await;
    let own = make(&rig, id, "verify", json!({ "version": 4 })).await;
    assert_eq!((own.status, &own.json()["handler"]), (StatusCode::FORBIDDEN, &json!("admin")));

    let shown = rig.get(&format!("/api/v1/cases/{id}")).await.json();
    assert_eq!(shown["lacking"][0]["missing"], "clear");
    assert_eq!(
        (&shown["lacking"][0]["value"], &shown["lacking"][0]["clear"]),
        (&json!(2.5), &json!(1.8))
    );
    assert_eq!(shown["events"].as_array().unwrap().len(), 4);
    assert_eq!(shown["events"][2]["note"], "on my way");
    assert_eq!(shown["suggested_unit"], "west");
}

#[tokio::test]
async fn a_case_that_waits_for_its_sensor_is_told_what_is_missing() {
    let rig = Rig::new();
    // The first request follows the alerts.
    let body = json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "gate-1" });
    rig.post("/api/v1/cases", JSON, &body.to_string()).await;
    let list = rig.get("/api/v1/cases?asset=mh-1").await.json();
    let id = list["cases"][0]["id"].as_u64().unwrap();
    let refused = make(&rig, id, "close", json!({ "version": 1 })).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let problem = refused.json();
    assert_eq!(problem["code"], "sensor_disagrees");
    assert_eq!(
        (&problem["lacking"][0]["missing"], &problem["allowed"]),
        (&json!("clear"), &json!(["dispatch", "close"]))
    );
    let empty = make(&rig, id, "close", json!({ "version": 1, "site_check": "  " })).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    let closed =
        make(&rig, id, "close", json!({ "version": 1, "site_check": "dry, sensor broken" }))
            .await
            .json();
    let proof = json!({ "by": "site_check", "person": "admin", "reason": "dry, sensor broken" });
    assert_eq!((&closed["stage"], &closed["proof"]), (&json!("closed"), &proof));
    let again =
        rig.post(&format!("/api/v1/cases/{id}/reopen"), JSON, r#"{"reason":"wet again"}"#).await;
    assert_eq!((again.status, &again.json()["reopens"]), (StatusCode::CREATED, &json!(id)));
}

#[tokio::test]
async fn wrong_requests_change_nothing_and_say_what_would_be_right() {
    let rig = Rig::new();
    unit(&rig).await;
    let body =
        json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "mh-2" });
    let id =
        rig.post("/api/v1/cases", JSON, &body.to_string()).await.json()["id"].as_u64().unwrap();
    let twice = rig.post("/api/v1/cases", JSON, &body.to_string()).await;
    assert_eq!((twice.status, &twice.json()["id"]), (StatusCode::CONFLICT, &json!(id)));
    for (wanted, body, status, says) in [
        ("teleport", json!({ "version": 1 }), 404, "dispatch, accept"),
        ("dispatch", json!({ "version": 1 }), 400, "needs a `unit`"),
        ("dispatch", json!({ "version": 1, "unit": "nowhere" }), 404, "nowhere"),
        (
            "dispatch",
            json!({ "version": 1, "unit": "west", "person": "eve" }),
            400,
            "its people are admin",
        ),
        (
            "accept",
            json!({ "version": 1, "unit": "west" }),
            400,
            "`unit` does not belong to `accept`",
        ),
        ("accept", json!({ "version": 1, "unti": "west" }), 400, "unti"),
        ("return", json!({ "version": 1, "reason": "x".repeat(2001) }), 400, "at most 2000 fit"),
    ] {
        let answer = make(&rig, id, wanted, body).await;
        assert_eq!(answer.status.as_u16(), status, "{wanted}: {}", answer.text());
        assert!(answer.text().contains(says), "{wanted}: {}", answer.text());
    }
    assert_eq!(
        make(&rig, 99, "accept", json!({ "version": 1 })).await.status,
        StatusCode::NOT_FOUND
    );
    let shown = rig.get(&format!("/api/v1/cases/{id}")).await.json();
    assert_eq!(shown["case"]["version"], 1);
}

#[tokio::test]
async fn a_photo_is_kept_shown_and_nothing_else_is() {
    let rig = Rig::new();
    let body =
        json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "mh-2" });
    let id =
        rig.post("/api/v1/cases", JSON, &body.to_string()).await.json()["id"].as_u64().unwrap();
    let png = b"\x89PNG\r\n\x1a\nnot much of one".to_vec();
    let path = format!("/api/v1/cases/{id}/photos");
    let put = |bytes: Vec<u8>| {
        rig.request(&format!("POST {path}"), &[("content-type", "image/png")], bytes)
    };
    let stored = rig.send(put(png.clone())).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{}", stored.text());
    let name = stored.json()["name"].as_str().unwrap().to_owned();
    let shown = rig.get(&format!("{path}/{name}")).await;
    assert_eq!((shown.header("content-type"), &shown.body[..]), ("image/png", &png[..]));
    assert_eq!(rig.send(put(b"<svg/>".to_vec())).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(rig.get(&format!("{path}/../../../etc")).await.status, StatusCode::NOT_FOUND);
}
