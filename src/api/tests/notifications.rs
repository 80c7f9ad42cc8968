//! Notifications over HTTP, and cases that answers move.

use serde_json::json;

use super::*;
use crate::hub::notices::Hand;
use crate::notify::{MoveRequest, Moves};

const JSON: &str = "application/json";

#[tokio::test]
async fn without_configuration_nothing_is_sent_and_the_api_says_so() {
    let rig = Rig::new();
    let channels = rig.get("/api/v1/notifications/channels").await.json();
    assert_eq!(channels, json!({ "configured": false, "channels": [] }));
    let list = rig.get("/api/v1/notifications?state=failed").await.json();
    assert_eq!(list, json!({ "notifications": [], "next_before": null }));
    let test = rig.post("/api/v1/notifications/channels/pager/test", JSON, "").await;
    assert_eq!(test.status, StatusCode::NOT_FOUND);
    assert!(test.text().contains("[notify.channels.NAME]"), "{}", test.text());
    for path in ["/api/v1/notifications/1", "/api/v1/notifications/x"] {
        assert_eq!(rig.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let retry = rig.post("/api/v1/notifications/7/retry", JSON, "").await;
    assert_eq!(
        (retry.status, &retry.json()["what"]),
        (StatusCode::NOT_FOUND, &json!("notification"))
    );
    let wrong = rig.get("/api/v1/notifications?state=lost").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text().contains("states are waiting, sending, sent, failed"), "{}", wrong.text());
    let status = rig.get("/api/v1/status").await.json();
    assert_eq!(
        status["notifications"],
        json!({ "channels": 0, "failing": [], "waiting": 0, "failed": 0 })
    );
}

#[tokio::test]
async fn an_answer_moves_a_case_as_its_user_may_and_only_once() {
    let rig = Rig::new();
    let body = json!({ "name": { "zh": "西片", "en": "West" }, "members": ["crew"] }).to_string();
    let put = rig.request("PUT /api/v1/units/west", &[("content-type", JSON)], body);
    assert_eq!(rig.send(put).await.status, StatusCode::OK);
    let user =
        |name: &str, role: Role| crate::registry::User { name: name.to_owned(), role, zones: None };
    rig.registry.add_user(&user("crew", Role::Handler)).unwrap();
    rig.registry.add_user(&user("desk", Role::Dispatcher)).unwrap();
    let body =
        json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "mh-2" });
    let case = rig.post("/api/v1/cases", JSON, &body.to_string()).await.json();
    let hand = Hand { registry: rig.registry.clone(), office: rig.office.clone() };
    let wants = |text: Value| {
        let mut text = text;
        text["case"] = case["id"].clone();
        serde_json::from_value::<MoveRequest>(text).unwrap()
    };
    let make = |who: &str, text: Value| hand.make(who.to_owned(), wants(text));
    let dispatch = json!({ "version": 1, "move": "dispatch", "unit": "west" });
    let refused = make("crew", dispatch.clone()).await;
    assert!(refused.contains("is refused: `dispatch` needs the right `dispatch`"), "{refused}");
    let refused = make("nobody", dispatch.clone()).await;
    assert!(refused.contains("there is no user `nobody`"), "{refused}");
    let refused = make("desk", json!({ "version": 1, "move": "dispatch" })).await;
    assert!(refused.contains("needs a `unit`"), "{refused}");
    let done = make("desk", dispatch.clone()).await;
    assert!(done.ends_with("dispatch, version 2"), "{done}");
    let again = make("desk", dispatch).await;
    assert!(again.contains("at version 2, not 1"), "{again}");
    let accepted = make("crew", json!({ "version": 2, "move": "accept", "note": "T-17" })).await;
    assert!(accepted.ends_with("accept, version 3"), "{accepted}");
    let shown = rig.get(&format!("/api/v1/cases/{}", case["id"])).await.json();
    assert_eq!(
        (&shown["case"]["stage"], &shown["case"]["handler"]),
        (&json!("accepted"), &json!("crew"))
    );
    assert_eq!(shown["events"][2]["note"], "T-17");
    let kept_out = crate::registry::UserChange { disabled: Some(true), ..Default::default() };
    rig.registry.change_user("crew", &kept_out).unwrap();
    let refused = make("crew", json!({ "version": 3, "move": "report" })).await;
    assert!(refused.contains("disabled"), "{refused}");
}
