//! What is wrong with the hub: who sees how much of it.

use super::*;
use crate::trouble::{Code, Facts, Finding, Look};

fn broker_away() -> Look {
    let finding = Finding {
        code: Code::Broker,
        subject: "10.0.0.7:1883".to_owned(),
        severity: Severity::Major,
        since: None,
        facts: Facts::because("connection refused"),
    };
    Look { bad: vec![finding], unknown: Vec::new() }
}

#[tokio::test]
async fn open_and_ended_ones_are_listed_and_zones_see_no_address() {
    let mut rig = Rig::with_zones().await;
    assert_eq!(rig.get("/api/v1/troubles").await.json()["troubles"], serde_json::json!([]));
    rig.troubles.look(&broker_away(), NOW);
    let listed = rig.get("/api/v1/troubles").await.json();
    let one = &listed["troubles"][0];
    assert_eq!((&one["code"], &one["severity"]), (&"broker".into(), &"major".into()), "{one}");
    assert!(one["text"]["zh"].as_str().unwrap().contains("10.0.0.7:1883"), "{one}");
    assert!(one["remedy"]["en"].as_str().unwrap().contains("connection refused"), "{one}");

    let bearer = format!("Bearer {}", rig.token_of("wang", Role::Operator, Some(&["west"])));
    let asked = request("GET /api/v1/troubles", &[("authorization", &bearer)], "");
    let seen = rig.send(asked).await;
    assert!(!seen.text().contains("10.0.0.7") && !seen.text().contains("refused"), "{seen:?}");
    assert_eq!(seen.json()["troubles"][0]["code"], "broker");

    rig.troubles.look(&Look::default(), NOW);
    assert_eq!(rig.get("/api/v1/troubles").await.json()["troubles"], serde_json::json!([]));
    let over = rig.get("/api/v1/troubles?ended=true&limit=1").await.json();
    assert_eq!(over["troubles"][0]["id"], 1, "{over}");
    assert_eq!(over["next_before"], 1);
    let next = rig.get("/api/v1/troubles?ended=true&before=1").await.json();
    assert_eq!((&next["troubles"], &next["next_before"]), (&serde_json::json!([]), &Value::Null));
}
