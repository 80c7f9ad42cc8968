//! Rehearsals over HTTP: the level of `mh-1` was 0.5 three minutes ago, 0.75 (uncertain) after that, and is 2.5 now.

use serde_json::json;

use super::*;

async fn rehearse(rig: &Rig, body: Value) -> Answer {
    rig.post("/api/v1/rules/rehearse", "application/json", &body.to_string()).await
}

fn of_surcharge(further: Value) -> Value {
    let mut body = json!({ "device": "d-1", "metric": "level", "from": "2026-09-21T00:00:00Z" });
    body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_rule_is_played_beside_the_present_one_and_the_log() {
    let rig = Rig::new();
    let set = json!({ "rungs": { "critical": { "limit": 0.4, "clear": 0.3 } } });
    let answer = rehearse(&rig, of_surcharge(json!({ "name": "surcharge", "set": set }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let played = answer.json();
    // Lower, it would have been raised by the first reading already; the uncertain one raises and clears nothing.
    let proposed = &played["proposed"];
    assert_eq!(proposed["readings"], 3);
    assert_eq!(proposed["spells"][0]["raised"], "2026-09-21T14:10:20Z", "{played}");
    assert_eq!(
        (&proposed["spells"][0]["value"], &proposed["spells"][0]["peak"]),
        (&json!(0.5), &json!(2.5))
    );
    assert_eq!(
        (&proposed["sums"]["active_s"], &proposed["sums"]["is_active"]),
        (&json!(180.0), &json!(true))
    );
    let present = &played["present"];
    assert_eq!(present["spells"][0]["raised"], "2026-09-21T14:12:20Z", "{played}");
    assert_eq!(
        (&present["sums"]["raised"], &present["sums"]["worst"]),
        (&json!(1), &json!("critical"))
    );
    let log = &played["recorded"];
    assert_eq!((&log["sums"]["raised"], &log["spells"][0]["cleared"]), (&json!(1), &Value::Null));
    assert_eq!(log["spells"][0]["severity"], "critical");
    // Nothing is in force but what was.
    let overrides = rig.get("/api/v1/rules/overrides").await.json();
    assert_eq!(overrides["overrides"], json!([]));
}

#[tokio::test]
async fn a_new_rule_and_silence_are_played_too() {
    let rig = Rig::new();
    let rule = json!({ "below": 0.6, "clear": 0.7, "severity": "minor", "text": "low" });
    let played = rehearse(&rig, of_surcharge(json!({ "rule": rule }))).await.json();
    assert_eq!(played["proposed"]["spells"][0]["cleared"], "2026-09-21T14:12:20Z", "{played}");
    assert_eq!((&played["present"], &played["recorded"]), (&Value::Null, &Value::Null));
    let silence = json!({
        "device": "d-1", "name": "no_data", "set": { "after": "90s" }, "from": "2026-09-21T00:00:00Z",
    });
    let played = rehearse(&rig, silence).await.json();
    // Three readings of the level, one of the cover; the first gap is a minute long, then nothing until now, a minute later.
    assert_eq!(
        (&played["proposed"]["readings"], &played["proposed"]["sums"]["raised"]),
        (&json!(4), &json!(0))
    );
}

#[tokio::test]
async fn what_cannot_be_rehearsed_hears_why() {
    let rig = Rig::new();
    let rule = json!({ "above": 11.0, "severity": "minor", "text": "high" });
    for (further, status, says) in [
        (json!({}), 400, "name a present rule"),
        (json!({ "name": "nothing" }), 404, "level/surcharge"),
        (json!({ "name": "surcharge", "set": {}, "rule": rule.clone() }), 400, "give one of them"),
        (json!({ "set": {} }), 400, "needs the `name`"),
        (json!({ "name": "surcharge", "set": { "enabled": false } }), 400, "raises nothing"),
        (json!({ "name": "surcharge", "from": "2020-01-01T00:00:00Z" }), 400, "more than 366 days"),
        (
            json!({ "name": "surcharge", "from": "2030-01-01T00:00:00Z" }),
            400,
            "is not before the end",
        ),
        (json!({ "rule": rule }), 422, "range"),
        (json!({ "device": "d-99", "name": "surcharge" }), 404, "there is no device"),
        (json!({ "name": "surcharge", "limit": 1 }), 400, "unknown field"),
    ] {
        let answer = rehearse(&rig, of_surcharge(further.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{further}: {}", answer.text());
        assert!(answer.text().contains(says), "{further}: {}", answer.text());
    }
}
