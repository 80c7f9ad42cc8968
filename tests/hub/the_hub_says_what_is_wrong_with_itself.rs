//! What is wrong with the hub itself is told everywhere, once, and its end too, over a SIGKILL in between.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Town;
use crate::support::hook::{Hook, PATIENCE, QUICK, channel};
use crate::support::live::Live;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::HubProcess;

/// Held back only as long as needed to see that it is.
const TROUBLE: &str = "[trouble]\nraise_after = \"1s\"\nend_after = \"1s\"\n";

/// Asks until the answer is as wanted.
async fn when(hub: &HubProcess, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let answer = hub.get(path).await;
        if is_it(&answer) {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_away_is_told_once_over_a_restart_and_so_is_its_return() {
    let mut hook = Hook::start().await;
    let mut broker = Mosquitto::start().await;
    let town = Town::new(&format!(
        "{}{TROUBLE}{QUICK}{}",
        broker.section("hub-1", ""),
        channel("tickets", hook.address)
    ));
    let hub = town.home.start();
    when(&hub, "/api/v1/status", |status| status["broker"]["connected"] == true).await;
    assert_eq!(hub.get("/api/v1/troubles").await["troubles"], json!([]));
    let mut live = Live::open(&hub, "").await;

    broker.down();
    let began = live.within(PATIENCE, "trouble", |one| one["code"] == "broker").await.data;
    assert!(began["ended_at"].is_null() && began.get("subject").is_none(), "{began}");
    let open = hub.get("/api/v1/troubles").await["troubles"].clone();
    assert_eq!(open.as_array().map(Vec::len), Some(1), "{open}");
    let port = broker.address.port().to_string();
    assert!(open[0]["text"]["zh"].as_str().is_some_and(|text| text.contains(&port)), "{open}");
    let raised = hook.next().await;
    let entry = &raised["entries"][0];
    assert_eq!((&entry["event"], &entry["code"]), (&json!("system.raised"), &json!("broker")));
    assert_eq!((&entry["trouble"], &raised["troubles"]), (&open[0]["id"], &json!([open[0]["id"]])));
    assert!(raised["title"].as_str().is_some_and(|title| title.contains(&port)), "{raised}");
    let metrics = hub.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("townhub_trouble{code=\"broker\"} 1"), "{metrics}");

    // What a kill left on its way would come twice, under one key; here it has arrived.
    let sent = |list: &Value| list["notifications"].as_array().map_or(0, Vec::len);
    when(&hub, "/api/v1/notifications?state=sent", |list| sent(list) == 1).await;
    hub.kill();
    let hub = town.home.start();
    let again = hub.get("/api/v1/troubles").await["troubles"].clone();
    assert_eq!((&again[0]["id"], &again[0]["since"]), (&open[0]["id"], &open[0]["since"]));
    // It is found anew, and is the same.
    when(&hub, "/api/v1/status", |status| !status["broker"]["problem"].is_null()).await;

    let mut live = Live::open(&hub, "").await;
    broker.up().await;
    let ended = live.within(PATIENCE, "trouble", |one| !one["ended_at"].is_null()).await.data;
    assert_eq!(ended["id"], open[0]["id"]);
    let returned = hook.next().await;
    let entry = &returned["entries"][0];
    assert_eq!(
        (&entry["event"], &entry["trouble"]),
        (&json!("system.returned"), &open[0]["id"]),
        "{returned}"
    );
    assert_eq!(hub.get("/api/v1/troubles").await["troubles"], json!([]));
    let over = hub.get("/api/v1/troubles?ended=true").await["troubles"].clone();
    assert_eq!((over.as_array().map(Vec::len), &over[0]["id"]), (Some(1), &open[0]["id"]));
    assert_eq!(sent(&hub.get("/api/v1/notifications").await), 2, "nothing was told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_fails_is_told_of_by_another_one() {
    let mut hook = Hook::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = nobody.local_addr().expect("an address");
    drop(nobody);
    let channels = channel("broken", nowhere) + &channel("tickets", hook.address);
    let town = Town::new(&format!("{TROUBLE}{QUICK}{channels}"));
    let hub = town.home.start();
    let path = "/api/v1/notifications/channels/broken/test";
    let (status, made) = hub.post(path, "application/json", String::new()).await;
    assert_eq!(status, 202, "{made}");
    let raised = hook.next().await;
    let entry = &raised["entries"][0];
    assert_eq!(
        (&entry["event"], &entry["code"], &entry["subject"]),
        (&json!("system.raised"), &json!("channel"), &json!("broken")),
        "{raised}"
    );
    let own = hub.get("/api/v1/notifications?channel=broken").await["notifications"].clone();
    assert_eq!(own.as_array().map(Vec::len), Some(1), "its test only: {own}");
}
