//! Commands over MQTT: kept on disk until the device has taken them, delivered again until it says so, and believed only
//! by its readings.

use serde_json::{Value, json};

use super::support::device::{Device, Level, field, packet, publish_packet};
use super::support::gate::end_of;
use super::support::live::Live;
use super::support::process::HubProcess;
use super::support::{Town, now_us};

/// A gate that publishes.
pub const GATE: &str = r#"
profile      = 1
id           = "mq-gate"
name         = { zh = "闸", en = "Gate" }
manufacturer = "townhub"
model        = "T-2"
kind         = "sluice-gate"

[source.mqtt]
payload = "json"
time    = { path = "/ts", format = "unix_us" }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.opening]
label = { zh = "开度", en = "Opening" }
unit  = "%"
read  = { path = "/opening" }
range = [0, 100]

[points.remote]
label  = { zh = "控制方式", en = "Control" }
read   = { path = "/remote" }
states = { 0 = "local", 1 = "remote" }

[commands.set_opening]
label   = { zh = "调节开度", en = "Move gate" }
role    = "operator"
arg     = { unit = "%", range = [0, 100], max_change = 50, from = "opening" }
require = "remote == 1"
confirm = { point = "opening", tolerance = 1, within = "20s", every = "50ms" }

[[test]]
name     = "a document with id, command and target"
given    = { opening = 30, remote = "remote" }
command  = { set_opening = 42 }
downlink = '{"id":1,"command":"set_opening","target":42}'
"#;

/// SUBSCRIBE to the device's commands at QoS 1; reads the SUBACK.
async fn subscribe(device: &mut Device) {
    let topic = format!("devices/{}/commands", device.id);
    let body = [&[0, 1][..], &field(topic.as_bytes()), &[1]].concat();
    device.send(&packet(0x82, &body)).await;
    let suback = device.read_packet().await.expect("SUBACK");
    assert_eq!((suback[0], suback.last()), (0x90, Some(&1)), "{suback:?}");
}

/// The next packet as a PUBLISH: whether it is a repetition, its packet identifier and its document.
async fn command(device: &mut Device) -> (bool, [u8; 2], Value) {
    let bytes = device.read_packet().await.expect("PUBLISH");
    assert_eq!(bytes[0] & 0b1111_0110, 0x32, "a PUBLISH at QoS 1: {bytes:?}");
    let topic = 2 + usize::from(bytes[3]);
    let id = [bytes[2 + topic], bytes[3 + topic]];
    let document = serde_json::from_slice(&bytes[4 + topic..]).expect("JSON");
    (bytes[0] & 0b1000 != 0, id, document)
}

async fn report(device: &mut Device, opening: f64) {
    let payload = format!(r#"{{"ts":{},"opening":{opening},"remote":1}}"#, now_us());
    device.send(&publish_packet(Level::V4, 1, 7, &device.topic(), payload.as_bytes())).await;
    let puback = device.read_packet().await.expect("PUBACK");
    assert_eq!(puback, [0x40, 2, 0, 7]);
}

/// Selects and confirms.
pub async fn order(hub: &HubProcess, target: f64) -> u64 {
    let post = async |path: &str, body: Value| {
        let (status, answer) = hub.post(path, "application/json", body.to_string()).await;
        assert!(status < 300, "{answer}");
        answer
    };
    let body = json!({ "device": "mq-1", "command": "set_opening", "target": target });
    let selected = post("/api/v1/commands", body).await;
    let id = selected["command"]["id"].as_u64().expect("an id");
    let body = json!({ "challenge": selected["challenge"] });
    post(&format!("/api/v1/commands/{id}/confirm"), body).await;
    id
}

async fn town() -> (Town, HubProcess) {
    let town = Town::new("");
    let profiles = town.home.folder.parent().expect("a parent").join("profiles");
    std::fs::write(profiles.join("mq-gate.toml"), GATE).expect("a profile");
    let hub = town.home.start();
    hub.import_devices("mq-gate", &["mq-1".to_owned()]).await;
    (town, hub)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_device_takes_its_command_when_it_wakes_and_a_restart_loses_nothing() {
    let (town, hub) = town().await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "mq-1").await;
    let mut live = Live::open(&hub, "").await;
    report(&mut device, 30.0).await;
    drop(device);
    let id = order(&hub, 42.0).await;
    live.next("command", |command| command["step"] == "writing").await;
    hub.kill();
    let hub = town.home.start();
    let mut live = Live::open(&hub, "").await;

    let mut device = Device::connect(hub.mqtt, Level::V4, "mq-1").await;
    subscribe(&mut device).await;
    let (again, _, document) = command(&mut device).await;
    assert_eq!((again, &document["id"], &document["target"]), (false, &json!(id), &json!(42)));
    // It falls asleep before it has said that it took it.
    drop(device);
    let mut device = Device::connect(hub.mqtt, Level::V4, "mq-1").await;
    subscribe(&mut device).await;
    let (again, packet_id, document) = command(&mut device).await;
    assert_eq!((again, &document["id"]), (true, &json!(id)), "marked as a repetition");
    device.send(&packet(0x40, &packet_id)).await;
    live.next("command", |command| command["step"] == "moving").await;
    report(&mut device, 36.0).await;
    live.next("command", |command| command["value"] == 36.0).await;
    report(&mut device, 42.0).await;
    assert_eq!(end_of(&mut live, id).await["state"], "reached");

    let mut device = Device::connect(hub.mqtt, Level::V4, "mq-1").await;
    subscribe(&mut device).await;
    device.send(&[0xC0, 0]).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0xD0, 0], "nothing waits any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_no_is_a_fault_and_one_that_says_done_is_not_believed() {
    let (_town, hub) = town().await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "mq-1").await;
    let mut live = Live::open(&hub, "").await;
    report(&mut device, 30.0).await;
    subscribe(&mut device).await;
    let id = order(&hub, 40.0).await;
    let (_, packet_id, _) = command(&mut device).await;
    device.send(&packet(0x40, &packet_id)).await;
    live.next("command", |command| command["step"] == "moving").await;
    for (status, reason) in [("done", ""), ("refused", "local")] {
        let payload = json!({ "id": id, "status": status, "reason": reason }).to_string();
        device
            .send(&publish_packet(Level::V4, 0, 0, "devices/mq-1/replies", payload.as_bytes()))
            .await;
    }
    let end = end_of(&mut live, id).await;
    assert_eq!((&end["state"], &end["cause"]), (&json!("fault"), &json!("blocked-by-process")));
    assert!(end["text"]["en"].as_str().expect("a text").contains("local"), "{end}");
}
