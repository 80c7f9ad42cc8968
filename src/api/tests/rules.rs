//! The rule book, shelves and maintenance over HTTP.

use serde_json::json;

use super::*;

const JSON: &str = "application/json";

/// A request of somebody with a token.
async fn call(rig: &Rig, token: &str, line: &str, body: &Value) -> Answer {
    rig.as_token(token, line, &body.to_string()).await
}

fn high(zone: &str, limit: f64) -> Value {
    json!({
        "why": "the bridge is low", "scope": { "zone": zone }, "select": { "rule": "surcharge" },
        "set": { "rungs": { "critical": { "limit": limit } } },
    })
}

#[tokio::test]
async fn an_override_is_in_force_when_it_is_answered_and_says_where_it_comes_from() {
    let rig = Rig::with_zones().await;
    let eva = rig.token_of("eva", Role::Engineer, None);
    // `mh-1` stands at 2.5 m, beyond its profile's 2.0.
    let open = rig.get("/api/v1/alerts?open=true").await.json();
    assert_eq!(open["alerts"][0]["limit"], 2.0);
    let put = "PUT /api/v1/rules/overrides/bridge";
    let made = call(&rig, &eva, put, &high("east", 2.2)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!((&made.json()["version"], &made.json()["changed_by"]), (&json!(1), &json!("eva")));
    let open = rig.get("/api/v1/alerts?open=true").await.json();
    assert_eq!(open["alerts"][0]["limit"], 2.2, "the judge has it already");

    let rules = rig.get("/api/v1/rules?device=d-1").await.json();
    let rules = rules["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    let from = json!({ "override": "bridge", "scope": "zone" });
    assert_eq!((&rules[0]["name"], &rules[0]["from"]["rungs"]), (&json!("surcharge"), &from));
    assert_eq!((&rules[1]["name"], &rules[1]["metric"]), (&json!("no_data"), &Value::Null));
    let west = rig.get("/api/v1/rules?zone=west").await.json();
    assert_eq!(
        (&west["rules"][0]["device"], &west["rules"][0]["from"]),
        (&json!("d-3"), &json!({}))
    );
    let page = rig.get("/api/v1/rules?limit=1").await.json();
    assert_eq!(page["next_after"], "d-1");
    assert_eq!(rig.get("/api/v1/rules?after=d-2").await.json()["rules"][0]["device"], "d-3");

    let stale = call(&rig, &eva, put, &high("east", 2.3)).await;
    assert_eq!((stale.status, &stale.json()["current"]), (StatusCode::CONFLICT, &json!(1)));
    let mut next = high("east", 2.3);
    next["version"] = json!(1);
    assert_eq!(call(&rig, &eva, put, &next).await.json()["version"], 2);
    let gone = "DELETE /api/v1/rules/overrides/bridge?version=";
    let stale = call(&rig, &eva, &format!("{gone}1&why=no"), &Value::Null).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    let done = call(&rig, &eva, &format!("{gone}2&why=done"), &Value::Null).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{}", done.text());
    assert_eq!(rig.get("/api/v1/alerts?open=true").await.json()["alerts"][0]["limit"], 2.0);
    let history = rig.get("/api/v1/rules/history").await.json();
    let whys: Vec<&str> =
        history["changes"].as_array().unwrap().iter().map(|c| c["why"].as_str().unwrap()).collect();
    assert_eq!(whys, ["done", "the bridge is low", "the bridge is low"]);
    assert_eq!(history["changes"][1]["before"]["set"]["rungs"]["critical"]["limit"], 2.2);
}

#[tokio::test]
async fn wrong_pages_change_nothing_and_say_what_would_be_right() {
    let rig = Rig::with_zones().await;
    let eva = rig.token_of("eva", Role::Engineer, None);
    let put = "PUT /api/v1/rules/overrides/x";
    let check = async |line: &str, body: Value, status: u16, says: &str| {
        let answer = call(&rig, &eva, line, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{line} {}", answer.text());
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
    };
    check(put, high("east", 99.0), 422, "never raised: 99").await;
    check(put, high("mars", 2.2), 404, "mars").await;
    let device = json!({ "why": "x", "scope": { "device": "d-9" }, "set": { "enabled": false } });
    check(put, device, 404, "d-9").await;
    let mut silent = high("east", 2.2);
    silent["why"] = json!(" ");
    check(put, silent, 400, "say why").await;
    let mut odd = high("east", 2.2);
    odd["sets"] = json!({});
    check(put, odd, 400, "sets").await;
    check("PUT /api/v1/rules/overrides/A%20B", high("east", 2.2), 400, "lower case").await;
    check("GET /api/v1/rules/overrides/x", Value::Null, 404, "there is no override `x`").await;
    check("GET /api/v1/rules/own/x", Value::Null, 404, "there is no own `x`").await;
    check("GET /api/v1/rules?zone=mars", Value::Null, 404, "mars").await;
    check("GET /api/v1/rules?kind=tree", Value::Null, 400, "sluice-gate").await;
    check("GET /api/v1/rules/history?what=all", Value::Null, 400, "override, own or schedule")
        .await;
    let hours = |hours: &str| json!({ "why": "nights", "when": { "hours": [hours] } });
    check("PUT /api/v1/schedules/night", hours("22-6"), 422, "22:00-06:00 over midnight").await;
    check("GET /api/v1/schedules/night", Value::Null, 404, "night").await;
    assert_eq!(rig.get("/api/v1/rules/history").await.json()["changes"], json!([]));

    let made = call(&rig, &eva, "PUT /api/v1/schedules/night", &hours("22:00-06:00")).await;
    // The clock stands at 22:13 in Shanghai.
    assert_eq!((made.status, &made.json()["in_force"]), (StatusCode::CREATED, &json!(true)));
    assert_eq!(made.json()["next_change"], "2026-09-21T22:00:00Z");
    let mut nightly = high("east", 2.2);
    nightly["set"] = json!({ "schedule": "night" });
    assert_eq!(call(&rig, &eva, put, &nightly).await.status, StatusCode::CREATED);
    check("DELETE /api/v1/schedules/night?version=1&why=x", Value::Null, 409, "override x").await;
    let own = json!({ "why": "x", "rule": { "device": "d-1", "metric": "level",
        "rule": { "above": 9, "clear": 8, "severity": "major", "text": "High" } } });
    let made = call(&rig, &eva, "PUT /api/v1/rules/own/brim", &own).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let rules = rig.get("/api/v1/rules?device=d-1").await.json();
    assert_eq!(rules["rules"][2]["origin"], json!({ "own": "brim" }));
}

#[tokio::test]
async fn rules_of_foreign_zones_are_as_if_they_were_not_there() {
    let rig = Rig::with_zones().await;
    let eva = rig.token_of("eva", Role::Engineer, None);
    let wei = rig.token_of("wei", Role::Engineer, Some(&["west"]));
    call(&rig, &eva, "PUT /api/v1/rules/overrides/east", &high("east", 2.2)).await;
    let check = async |line: &str, body: Value, status: u16| {
        let answer = call(&rig, &wei, line, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{line} {}", answer.text());
        answer
    };
    check("GET /api/v1/rules/overrides/east", Value::Null, 404).await;
    check("PUT /api/v1/rules/overrides/east", high("west", 2.2), 404).await;
    check("DELETE /api/v1/rules/overrides/east?version=1&why=x", Value::Null, 404).await;
    check("PUT /api/v1/rules/overrides/mine", high("east", 2.2), 404).await;
    check("PUT /api/v1/schedules/x", json!({ "why": "x", "when": {} }), 403).await;
    let mut town = high("west", 2.2);
    town["scope"] = json!({});
    check("PUT /api/v1/rules/overrides/mine", town, 403).await;
    check("PUT /api/v1/rules/overrides/mine", high("west", 2.2), 201).await;
    let list = check("GET /api/v1/rules/overrides", Value::Null, 200).await.json();
    assert_eq!(list["overrides"].as_array().unwrap().len(), 1);
    assert_eq!(list["overrides"][0]["id"], "mine");
    let history = check("GET /api/v1/rules/history", Value::Null, 200).await.json();
    assert_eq!(history["changes"].as_array().unwrap().len(), 1);
    let rules = check("GET /api/v1/rules", Value::Null, 200).await.json();
    assert!(rules["rules"].as_array().unwrap().iter().all(|rule| rule["device"] == "d-3"));
    check("GET /api/v1/rules?device=d-1", Value::Null, 404).await;
    let own = json!({ "why": "x", "rule": { "device": "d-1", "metric": "level", "rule": {} } });
    check("PUT /api/v1/rules/own/x", own, 404).await;
    let sue = rig.token_of("sue", Role::Supervisor, Some(&["west"]));
    let line = "POST /api/v1/alerts/1/shelve";
    let foreign = call(&rig, &sue, line, &json!({ "for": "1h", "reason": "x" })).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let window = json!({ "zone": "east", "until": "2026-09-22T00:00:00Z", "reason": "x" });
    assert_eq!(
        call(&rig, &sue, "POST /api/v1/maintenance", &window).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        call(&rig, &sue, "GET /api/v1/alerts/1", &Value::Null).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_critical_alert_is_shelved_by_a_supervisor_for_an_hour_at_most() {
    let rig = Rig::with_zones().await;
    let ann = rig.token_of("ann", Role::Operator, None);
    let sue = rig.token_of("sue", Role::Supervisor, None);
    let shelve = "POST /api/v1/alerts/1/shelve";
    let hour = json!({ "for": "1h", "reason": "sensor is being cleaned" });
    let refused = call(&rig, &ann, shelve, &hour).await;
    assert_eq!(
        (refused.status, &refused.json()["right"]),
        (StatusCode::FORBIDDEN, &json!("supervise"))
    );
    let long = call(&rig, &sue, shelve, &json!({ "for": "61min", "reason": "x" })).await;
    assert_eq!((long.status, &long.json()["longest_s"]), (StatusCode::BAD_REQUEST, &json!(3600)));
    for body in [
        json!({ "reason": "x" }),
        json!({ "for": "1h", "until": "2026-09-21T15:00:00Z", "reason": "x" }),
        json!({ "for": "1h", "reason": "" }),
        json!({ "for": "soon", "reason": "x" }),
        json!({ "until": "2026-09-21T14:00:00Z", "reason": "x" }),
    ] {
        let answer = call(&rig, &sue, shelve, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    }
    let shelved = call(&rig, &sue, shelve, &hour).await;
    assert_eq!(shelved.status, StatusCode::OK, "{}", shelved.text());
    assert_eq!(shelved.json()["standing"]["shelved"]["until"], "2026-09-21T15:13:20Z");
    let listed = async |standing: &str| {
        let list = rig.get(&format!("/api/v1/alerts?standing={standing}")).await.json();
        list["alerts"].as_array().unwrap().len()
    };
    assert_eq!((listed("annunciated").await, listed("shelved").await), (0, 1));
    assert_eq!(rig.get("/api/v1/alerts?standing=asleep").await.status, StatusCode::BAD_REQUEST);
    let town = rig.registry.town();
    let number = town.assets["mh-1"].number;
    let feature = rig.get("/api/v1/assets/mh-1").await;
    assert_eq!(feature.status, StatusCode::OK, "{number:?}");
    let shown = rig.get("/api/v1/alerts/1").await.json();
    let whats: Vec<&str> =
        shown["events"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["raised", "shelved"]);
    assert_eq!(
        (&shown["events"][1]["actor"], &shown["events"][1]["note"]),
        (&json!("sue"), &json!("sensor is being cleaned"))
    );

    let unshelve = "POST /api/v1/alerts/1/unshelve";
    let stale = call(&rig, &sue, unshelve, &json!({ "reason": "clean", "version": 1 })).await;
    assert_eq!((stale.status, &stale.json()["current"]), (StatusCode::CONFLICT, &json!(2)));
    let done = call(&rig, &ann, unshelve, &json!({ "reason": "clean", "version": 2 })).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let again = call(&rig, &ann, unshelve, &json!({ "reason": "clean" })).await;
    assert_eq!((again.status, &again.json()["code"]), (StatusCode::CONFLICT, &json!("not_so")));
    assert_eq!(listed("annunciated").await, 1);
    for id in ["99", "x", "18446744073709551615"] {
        let answer = call(&rig, &sue, &format!("POST /api/v1/alerts/{id}/shelve"), &hour).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn engineers_take_devices_out_of_service_and_plan_maintenance() {
    let rig = Rig::with_zones().await;
    let eva = rig.token_of("eva", Role::Engineer, None);
    let out = json!({ "reason": "broken", "whole_device": true });
    let line = "POST /api/v1/alerts/1/out-of-service";
    let ann = rig.token_of("ann", Role::Operator, None);
    assert_eq!(call(&rig, &ann, line, &out).await.status, StatusCode::FORBIDDEN);
    let answer = call(&rig, &eva, line, &out).await.json();
    assert_eq!(answer["standing"]["out_of_service"]["by"], "eva");
    let back = "POST /api/v1/alerts/1/in-service";
    let wrong = call(&rig, &eva, back, &json!({ "reason": "works" })).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    let answer = call(&rig, &eva, back, &json!({ "reason": "works", "whole_device": true })).await;
    assert_eq!(answer.json()["standing"]["out_of_service"], Value::Null);

    let plan = "POST /api/v1/maintenance";
    let window = json!({ "asset": "mh-1", "until": "2026-09-21T20:00:00Z", "reason": "overhaul" });
    let made = call(&rig, &eva, plan, &window).await;
    assert_eq!((made.status, &made.json()["number"]), (StatusCode::CREATED, &json!(1)));
    let suppressed = rig.get("/api/v1/alerts?standing=suppressed").await.json();
    let cause = &suppressed["alerts"][0]["standing"]["suppressed"]["cause"];
    assert_eq!(*cause, json!({ "maintenance": [1, "overhaul"] }));
    for (body, says) in [
        (json!({ "until": "2026-09-21T20:00:00Z", "reason": "x" }), "one of"),
        (
            json!({ "asset": "mh-1", "zone": "east", "until": "2026-09-21T20:00:00Z", "reason": "x" }),
            "one of",
        ),
        (json!({ "asset": "mh-1", "until": "2026-09-21T10:00:00Z", "reason": "x" }), "31 days"),
        (json!({ "asset": "mh-1", "until": "2027-09-21T10:00:00Z", "reason": "x" }), "31 days"),
    ] {
        let answer = call(&rig, &eva, plan, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
    }
    assert_eq!(
        rig.get("/api/v1/maintenance").await.json()["maintenance"].as_array().unwrap().len(),
        1
    );
    let ended = call(&rig, &eva, "DELETE /api/v1/maintenance/1", &Value::Null).await;
    assert_eq!(ended.json()["ended_by"], "eva");
    let gone = call(&rig, &eva, "DELETE /api/v1/maintenance/1", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.get("/api/v1/maintenance").await.json()["maintenance"], json!([]));
    let past = rig.get("/api/v1/maintenance?past=true").await.json();
    // What ended this very moment counts as over.
    assert_eq!(past["maintenance"][0]["number"], 1);
}

#[tokio::test]
async fn many_alerts_are_acknowledged_at_once_each_by_itself() {
    let rig = Rig::with_zones().await;
    let ann = rig.token_of("ann", Role::Operator, None);
    let line = "POST /api/v1/alerts/acknowledge";
    for body in [json!({}), json!({ "ids": [1], "filter": {} }), json!({ "ids": vec![1; 1001] })] {
        assert_eq!(call(&rig, &ann, line, &body).await.status, StatusCode::BAD_REQUEST);
    }
    let none = json!({ "filter": { "zone": "west" } });
    assert_eq!(call(&rig, &ann, line, &none).await.json()["results"], json!([]));
    // A filter means what is in sight, and tells of nothing else.
    let wei = rig.token_of("wei", Role::Operator, Some(&["west"]));
    let everything = json!({ "filter": {} });
    assert_eq!(call(&rig, &wei, line, &everything).await.json()["results"], json!([]));
    let east = json!({ "filter": { "zone": "east" } });
    assert_eq!(call(&rig, &wei, line, &east).await.status, StatusCode::NOT_FOUND);
    let all = json!({ "filter": { "severities": ["critical"], "zone": "east" }, "note": "seen" });
    let results = call(&rig, &ann, line, &all).await.json();
    assert_eq!(results["results"], json!([{ "id": 1, "outcome": "acknowledged", "version": 2 }]));
    let results = call(&rig, &ann, line, &json!({ "ids": [7, 1] })).await.json();
    let outcomes: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|r| r["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("already_acknowledged"), json!("not_found")]);
    let results = call(&rig, &wei, line, &json!({ "ids": [1] })).await.json();
    assert_eq!(results["results"][0]["outcome"], "not_found");
}

#[tokio::test]
async fn a_shelved_alert_opens_no_case_until_it_speaks() {
    let rig = Rig::with_zones().await;
    let shelve = json!({ "for": "1h", "reason": "sensor is being cleaned" }).to_string();
    let shelved = rig.post("/api/v1/alerts/1/shelve", JSON, &shelve).await;
    assert_eq!(shelved.status, StatusCode::OK, "{}", shelved.text());
    let cases = async || {
        // A change follows the alerts first, even one that is refused.
        let body = json!({ "title": { "zh": "巡查", "en": "Patrol" }, "severity": "minor", "asset": "gate-1" });
        rig.post("/api/v1/cases", JSON, &body.to_string()).await;
        rig.get("/api/v1/cases?asset=mh-1").await.json()["cases"].as_array().unwrap().len()
    };
    assert_eq!(cases().await, 0);
    rig.post("/api/v1/alerts/1/unshelve", JSON, r#"{"reason":"clean"}"#).await;
    assert_eq!(cases().await, 1);
}
