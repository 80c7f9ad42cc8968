//! From a device's publish to the alert on the feed, its acknowledgement, a SIGKILL, and its end by the sensor.

use serde_json::json;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::live::Live;
use crate::support::process::HubProcess;
use crate::support::{Town, devices, now_us, series};

const OVER: f64 = 950_000.0;
const CALM: f64 = 100.0;

async fn publish(device: &mut Device, time: u64, level: f64) {
    let topic = device.topic();
    device.send(&publish_packet(Level::V4, 1, 7, &topic, &payload(time, level))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 7]);
}

async fn alerts(hub: &HubProcess) -> Vec<serde_json::Value> {
    let answer = hub.get("/api/v1/alerts?open=false&limit=100").await;
    answer["alerts"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn raised_acknowledged_killed_cleared() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut live = Live::open(&hub, "").await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    publish(&mut device, now_us(), OVER).await;
    let raised = live.next("alert", |alert| alert["active"] == true).await;
    assert_eq!(raised.data["severity"], "critical");
    assert_eq!(raised.data["value"], OVER);
    assert_eq!(raised.data["limit"], 900_000.0);
    assert_eq!(raised.data["text"]["zh"], "水位过高");

    let path = format!("/api/v1/alerts/{}/acknowledge", raised.data["id"]);
    let stale = json!({ "version": 99 }).to_string();
    let (status, problem) = hub.post(&path, "application/json", stale).await;
    assert_eq!((status, &problem["code"]), (409, &json!("version_conflict")), "{problem}");
    let note = json!({ "version": raised.data["version"], "note": "crew on its way" }).to_string();
    let (status, acknowledged) = hub.post(&path, "application/json", note.clone()).await;
    assert_eq!((status, &acknowledged["acknowledged_by"]), (200, &json!("admin")));
    let (status, problem) = hub.post(&path, "application/json", "{}".to_owned()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_acknowledged")));

    hub.kill();
    let hub = town.home.start();
    let after = alerts(&hub).await;
    assert_eq!(after.len(), 1, "nothing lost, nothing raised again: {after:?}");
    assert_eq!(after[0]["id"], raised.data["id"]);
    assert_eq!(after[0]["acknowledged_by"], "admin");
    assert_eq!(after[0]["active"], true);

    let mut live = Live::open(&hub, "").await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    // Late data is history: it does not end a present alert.
    publish(&mut device, now_us() - 600_000_000, CALM).await;
    publish(&mut device, now_us(), 850_000.0).await;
    publish(&mut device, now_us(), CALM).await;
    let cleared = live.next("alert", |alert| alert["active"] == false).await;
    assert_eq!(cleared.data["id"], raised.data["id"]);
    assert_eq!(alerts(&hub).await.len(), 1);
    let open = hub.get("/api/v1/alerts?open=true").await;
    assert_eq!(open["alerts"], json!([]));
}

#[tokio::test]
async fn late_doubtful_and_bad_readings_raise_nothing() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    publish_v5(&mut device, now_us(), CALM).await;
    publish_v5(&mut device, now_us() - 5_000_000, OVER).await;
    publish_v5(&mut device, now_us() + 3_600_000_000, OVER).await;
    publish_v5(&mut device, now_us() + 1_000, 1_000_001.0).await;
    assert_eq!(alerts(&hub).await, Vec::<serde_json::Value>::new());
    let stored = hub.get(&series("probe-0")).await;
    let reasons: Vec<_> =
        stored["points"].as_array().expect("points").iter().map(|p| &p[3]).collect();
    assert_eq!(reasons, [&json!("late"), &json!(null), &json!("clock"), &json!("range")]);
}

async fn publish_v5(device: &mut Device, time: u64, level: f64) {
    let topic = device.topic();
    device.send(&publish_packet(Level::V5, 1, 7, &topic, &payload(time, level))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 7]);
}

#[tokio::test]
async fn a_page_that_lost_its_connection_goes_on_where_it_was() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    let mut first = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let mut second = Device::connect(hub.mqtt, Level::V4, "probe-1").await;
    let mut live = Live::open(&hub, "").await;
    publish(&mut first, now_us(), OVER).await;
    let seen = live.next("alert", |alert| alert["device"] == "probe-0").await;
    drop(live);
    publish(&mut second, now_us(), OVER).await;
    let mut live = Live::open(&hub, &format!("?since={}", seen.id)).await;
    live.next("alert", |alert| alert["device"] == "probe-1").await;

    let mut foreign = Live::open(&hub, "?since=1-1").await;
    let reload = foreign.next("reload", |_| true).await;
    assert_eq!(reload.data["reason"], "epoch");
}
