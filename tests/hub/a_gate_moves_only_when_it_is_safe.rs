//! Gate commands against townsim's real Modbus controller: select, confirm, read back, and all that can go wrong.

use serde_json::{Value, json};
use townsim::gate::Condition;

use super::support::gate::{GateTown, ask, confirm, end_of, select, until_moving};
use super::support::live::Live;
use super::support::process::HubProcess;

/// Selects and confirms a move by li, and waits until the gate moves.
async fn set_off(town: &GateTown, hub: &HubProcess, live: &mut Live, opening: f64) -> u64 {
    let (id, challenge) = select(hub, &town.li, opening).await;
    let (status, answer) = confirm(hub, &town.li, id, &challenge).await;
    assert_eq!(status, 200, "{answer}");
    until_moving(live, id).await;
    id
}

fn check(command: &Value, state: &str, cause: Value) {
    assert_eq!((&command["state"], &command["cause"]), (&state.into(), &cause), "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_is_reached_when_the_gate_says_so() {
    let town = GateTown::new().await;
    let hub = town.start().await;
    let mut live = Live::open(&hub, "").await;
    let (id, challenge) = select(&hub, &town.li, 42.0).await;
    let second = json!({ "device": "sg-1", "command": "set_opening", "target": 40 });
    let (status, refused) = ask(&hub, &town.wang, "/api/v1/commands", second.clone()).await;
    assert_eq!((status, &refused["cause"]), (409, &json!("object-already-selected")), "{refused}");
    let (status, refused) = confirm(&hub, &town.wang, id, &challenge).await;
    assert_eq!((status, &refused["cause"]), (403, &json!("no-access-authority")), "{refused}");
    let (status, refused) = confirm(&hub, &town.li, id, "0").await;
    assert_eq!((status, &refused["cause"]), (409, &json!("object-not-selected")), "{refused}");
    assert_eq!(town.controller.writes(), 0);
    let (status, answer) = confirm(&hub, &town.li, id, &challenge).await;
    assert_eq!(status, 200, "{answer}");
    until_moving(&mut live, id).await;
    let (_, refused) = ask(&hub, &town.li, "/api/v1/commands", second).await;
    assert_eq!(refused["cause"], "command-already-in-execution", "{refused}");
    assert_eq!(hub.get("/api/v1/devices/sg-1").await["command"]["id"], id);
    check(&end_of(&mut live, id).await, "reached", Value::Null);
    assert_eq!((town.opening(), town.controller.writes()), (420, 1));
    let (status, refused) = confirm(&hub, &town.li, id, &challenge).await;
    assert_eq!((status, &refused["cause"]), (409, &json!("object-not-selected")), "replayed");
    let shown = hub.get(&format!("/api/v1/commands/{id}")).await;
    let steps: Vec<_> =
        shown["events"].as_array().expect("events").iter().map(|e| &e["what"]).collect();
    assert_eq!(steps, ["select", "confirm", "execute", "written", "echoed", "reached"]);
    let audit = hub.get("/api/v1/audit").await.to_string();
    for action in
        ["command.select", "command.confirm", "command.confirm_refused", "command.reached"]
    {
        assert!(audit.contains(action), "{action} stands in the audit log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_forbid_is_refused_and_nothing_is_written() {
    let town = GateTown::new().await;
    let hub = town.start().await;
    let refuse = async |target: f64, cause: &str, rule: &str| {
        let body = json!({ "device": "sg-1", "command": "set_opening", "target": target });
        let (_, refused) = ask(&hub, &town.li, "/api/v1/commands", body).await;
        let found = (&refused["cause"], &refused["rule"]);
        assert_eq!(found, (&json!(cause), &json!(rule)), "{refused}");
        refused
    };
    refuse(101.0, "invalid-position", "range").await;
    refuse(42.05, "invalid-position", "step").await;
    refuse(90.0, "step-limitation", "max_change").await;
    for (condition, cause) in [
        (Condition::Local, "blocked-by-mode"),
        (Condition::EmergencyStop, "blocked-by-interlocking"),
        (Condition::NoMains, "blocked-by-interlocking"),
    ] {
        town.set(condition, true);
        town.until_known(&hub).await;
        let refused = refuse(42.0, cause, "require").await;
        assert!(!refused["facts"].as_array().expect("facts").is_empty(), "{refused}");
        town.set(condition, false);
        town.until_known(&hub).await;
    }
    town.set(Condition::Navigation, true);
    town.until_known(&hub).await;
    refuse(20.0, "blocked-by-interlocking", "require").await;
    town.set(Condition::LinkDown, true);
    // The poller's own words: the link is gone, and its values with it.
    let mut live = Live::open(&hub, "?assets=1").await;
    live.next("value", |rows| rows.to_string().contains("\"opening\",null,2")).await;
    let refused = refuse(40.0, "blocked-by-health", "health").await;
    assert_eq!(refused["facts"][0]["name"], "opening", "{refused}");
    assert_eq!(town.controller.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_step_needs_another_person() {
    let town = GateTown::new().await;
    let hub = town.start().await;
    let mut live = Live::open(&hub, "").await;
    let (id, challenge) = select(&hub, &town.li, 60.0).await;
    assert_eq!(challenge, "", "whoever selected it has nothing to confirm with");
    let shown = |token: String| {
        let path = format!("/api/v1/commands/{id}");
        let request = hub.request(reqwest::Method::GET, &path).bearer_auth(token);
        async { request.send().await.expect("an answer").json::<Value>().await.expect("JSON") }
    };
    let others = shown(town.wang.clone()).await["challenge"].as_str().expect("one").to_owned();
    let (status, refused) = confirm(&hub, &town.li, id, &others).await;
    assert_eq!((status, &refused["cause"]), (403, &json!("no-access-authority")), "{refused}");
    let (status, answer) = confirm(&hub, &town.wang, id, &others).await;
    assert_eq!((status, &answer["confirmed_by"]), (200, &json!("wang")), "{answer}");
    check(&end_of(&mut live, id).await, "reached", Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_does_not_arrive_is_not_believed() {
    for (condition, state, cause) in [
        (Condition::Tripped, "fault", "abortion-by-trip"),
        (Condition::Local, "fault", "blocked-by-mode"),
        (Condition::LinkDown, "fault", "abortion-by-communication-loss"),
        (Condition::Stuck, "timeout", "time-limit-over"),
    ] {
        let town = GateTown::new().await;
        town.set_pace(0.05);
        let hub = town.start().await;
        let mut live = Live::open(&hub, "").await;
        let id = set_off(&town, &hub, &mut live, 45.0).await;
        town.set(condition, true);
        let end = end_of(&mut live, id).await;
        check(&end, state, cause.into());
        assert_eq!(town.controller.writes(), 1, "{condition:?}: nothing is sent twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_runs_on_is_a_fault() {
    let town = GateTown::new().await;
    let hub = town.start().await;
    let mut live = Live::open(&hub, "").await;
    town.set(Condition::Overshoot, true);
    let (id, challenge) = select(&hub, &town.li, 40.0).await;
    let (status, answer) = confirm(&hub, &town.li, id, &challenge).await;
    assert_eq!(status, 200, "{answer}");
    check(&end_of(&mut live, id).await, "fault", "ended-with-overshoot".into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_one_step_and_ends_what_moves() {
    let town = GateTown::new().await;
    town.set_pace(0.05);
    let hub = town.start().await;
    let mut live = Live::open(&hub, "").await;
    let id = set_off(&town, &hub, &mut live, 45.0).await;
    let body = json!({ "device": "sg-1", "note": "a boat" });
    let (status, stop) = ask(&hub, &town.wang, "/api/v1/commands/stop", body).await;
    assert_eq!((status, &stop["emergency"]), (201, &json!(true)), "{stop}");
    check(&end_of(&mut live, id).await, "cancelled", "abortion-by-cancel".into());
    check(&end_of(&mut live, stop["id"].as_u64().expect("an id")).await, "reached", Value::Null);
    let stood = town.opening();
    assert!((300..450).contains(&stood), "{stood}");
    let again = set_off(&town, &hub, &mut live, 32.0).await;
    let path = format!("/api/v1/commands/{again}/cancel");
    let (status, answer) = ask(&hub, &town.li, &path, json!({})).await;
    assert_eq!((status, &answer["state"]), (200, &json!("cancelled")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hub_reads_what_it_had_sent_and_sends_nothing_again() {
    let town = GateTown::new().await;
    town.set_pace(0.05);
    let hub = town.start().await;
    let mut live = Live::open(&hub, "").await;
    let id = set_off(&town, &hub, &mut live, 45.0).await;
    hub.kill();
    town.set_pace(0.5);
    let hub = town.home.start();
    let mut live = Live::open(&hub, "").await;
    let shown = hub.get(&format!("/api/v1/commands/{id}")).await["command"].clone();
    let end = if shown["state"] == "reached" { shown } else { end_of(&mut live, id).await };
    check(&end, "reached", Value::Null);
    assert_eq!(town.controller.writes(), 1);
}
