//! Commands over HTTP, in a time that the test moves.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const JSON: &str = "application/json";

async fn select(rig: &Rig, device: &str, target: f64) -> (StatusCode, Value) {
    let body = json!({ "device": device, "command": "set_level", "target": target });
    let answer = rig.post("/api/v1/commands", JSON, &body.to_string()).await;
    (answer.status, answer.json())
}

async fn confirm(rig: &Rig, id: &Value, challenge: &Value) -> (StatusCode, Value) {
    let body = json!({ "challenge": challenge }).to_string();
    let answer = rig.post(&format!("/api/v1/commands/{id}/confirm"), JSON, &body).await;
    (answer.status, answer.json())
}

async fn check_refusal(rig: &Rig, device: &str, target: f64, cause: &str, rule: &str) {
    let (_, refused) = select(rig, device, target).await;
    assert_eq!((&refused["cause"], &refused["rule"]), (&json!(cause), &json!(rule)), "{refused}");
    assert_eq!(refused["code"], "command_refused");
    assert!(refused["text"]["zh"].is_string() && refused["text"]["en"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_old_values_refuse_with_what_they_rest_on() {
    let rig = Rig::new();
    check_refusal(&rig, "d-1", 9.0, "invalid-position", "range").await;
    check_refusal(&rig, "d-1", 1.0, "step-limitation", "max_change").await;
    check_refusal(&rig, "d-2", 1.0, "blocked-by-health", "health").await;
    rig.hand.advance(Duration::from_secs(240));
    let (status, refused) = select(&rig, "d-1", 2.0).await;
    assert_eq!((status, &refused["cause"]), (StatusCode::CONFLICT, &json!("blocked-by-health")));
    let fact = &refused["facts"][0];
    assert_eq!((&fact["name"], &fact["age_s"]), (&json!("level"), &json!(300.0)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_over_after_thirty_seconds() {
    let rig = Rig::new();
    let (status, selected) = select(&rig, "d-1", 2.0).await;
    assert_eq!(status, StatusCode::CREATED, "{selected}");
    let id = &selected["command"]["id"];
    rig.hand.advance(Duration::from_secs(30));
    let (status, refused) = confirm(&rig, id, &selected["challenge"]).await;
    assert_eq!((status, &refused["cause"]), (StatusCode::CONFLICT, &json!("time-limit-over")));
    let listed = rig.get("/api/v1/commands?device=d-1").await.json();
    assert_eq!(listed["commands"][0]["id"], *id, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_selection_frees_the_device_and_its_challenge_is_void() {
    let rig = Rig::new();
    let (_, selected) = select(&rig, "d-1", 2.0).await;
    let id = &selected["command"]["id"];
    check_refusal(&rig, "d-1", 2.0, "object-already-selected", "busy").await;
    let cancelled = rig.post(&format!("/api/v1/commands/{id}/cancel"), JSON, "{}").await.json();
    assert_eq!(
        (&cancelled["state"], &cancelled["cause"]),
        (&json!("cancelled"), &json!("abortion-by-cancel"))
    );
    let (_, refused) = confirm(&rig, id, &selected["challenge"]).await;
    assert_eq!(refused["cause"], "object-not-selected");
    assert_eq!(select(&rig, "d-1", 2.0).await.0, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_or_no_device_is_named() {
    let rig = Rig::new();
    let body = r#"{"device":"d-1","command":"open","target":1}"#;
    let refused = rig.post("/api/v1/commands", JSON, body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json()["known"], json!(["set_level"]));
    let refused = rig.post("/api/v1/commands/stop", JSON, r#"{"device":"d-1"}"#).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(select(&rig, "d-9", 1.0).await.0, StatusCode::NOT_FOUND);
    assert_eq!(rig.get("/api/v1/commands?state=gone").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(rig.get("/api/v1/commands/77").await.status, StatusCode::NOT_FOUND);
}
