//! Gateways: messages for several devices, and LoRaWAN networks, whose payloads a codec reads.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::device::{Device, Level, publish_packet};
use crate::support::process::{HubProcess, secret_of};
use crate::support::{PROBE, Town, now_us};

/// A LoRaWAN tracker of one number.
const TRACKER: &str = r#"
profile      = 1
id           = "tracker"
name         = { zh = "节点", en = "Node" }
manufacturer = "townhub"
model        = "L-1"
kind         = "manhole"

[source.lorawan]
codec = "tracker.js"

[points.level]
label = { zh = "水位", en = "Level" }
unit  = "m"
read  = { path = "/level" }
range = [0, 1000000]
alerts.high = { above = 900, clear = 800, severity = "critical", text = { zh = "水位过高", en = "Level high" } }
"#;

const CODEC: &str = "function decodeUplink(input) {
    if (input.bytes.length < 2) return { errors: ['too short'] };
    return { data: { level: input.bytes[0] * 256 + input.bytes[1] } };
}";

const EUI: &str = "a8404137e182428c";

/// A hub with the gateway `gw-1`, and behind it two probes, one by an address, and a LoRaWAN device.
async fn start(town: &Town) -> HubProcess {
    let hub = town.home.start();
    let csv = format!(
        "id,profile,gateway,address,secret\n\
         probe-1,probe,gw-1,,{}\n\
         probe-2,probe,gw-1,north-2,\n\
         node-1,tracker,gw-1,A8-40-41-37-E1-82-42-8C,\n\
         probe-9,probe,gw-2,,\n\
         gw-1,probe,,,{}\n\
         gw-2,probe,,,{}\n",
        secret_of("probe-1"),
        secret_of("gw-1"),
        secret_of("gw-2"),
    );
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv).await;
    assert_eq!(status, 200, "{report}");
    hub
}

fn town() -> Town {
    Town::with_profiles(
        "",
        &[("probe.toml", PROBE), ("tracker.toml", TRACKER), ("tracker.js", CODEC)],
    )
}

async fn levels(hub: &HubProcess, device: &str) -> Vec<f64> {
    let answer = hub.get(&crate::support::series(device)).await;
    let points = answer["points"].as_array().expect("points");
    points.iter().map(|point| point[1].as_f64().expect("a number")).collect()
}

fn payload(level: f64) -> Vec<u8> {
    json!({ "ts": now_us(), "level": level }).to_string().into_bytes()
}

/// As ChirpStack 4 publishes it.
fn uplink(eui: &str, time: &str, frame: &str) -> Vec<u8> {
    let uplink = json!({
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time": time,
        "deviceInfo": { "tenantId": "1", "applicationId": "1", "deviceName": "node", "devEui": eui },
        "devAddr": "00189440", "dr": 1, "fCnt": 10, "fPort": 2, "data": frame,
        "rxInfo": [{ "gatewayId": "0016c001f153a14c", "rssi": -48, "snr": 9.5 }],
    });
    uplink.to_string().into_bytes()
}

async fn acks(device: &mut Device, n: usize) -> Vec<(u16, u8)> {
    let mut found = Vec::new();
    for _ in 0..n {
        let packet = device.read_packet().await.expect("an acknowledgement");
        assert_eq!(packet[0], 0x40, "{packet:?}");
        found.push((
            u16::from_be_bytes([packet[2], packet[3]]),
            packet.get(4).copied().unwrap_or(0),
        ));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_gets_its_own_and_answers_come_in_order() {
    let town = town();
    let hub = start(&town).await;
    let mut gateway = Device::connect(hub.mqtt, Level::V5, "gw-1").await;
    let topics = [
        "devices/probe-1/telemetry",
        "devices/north-2/telemetry",
        "probes/mill/probe-1/up",
        "devices/gw-1/telemetry",
        // Somebody else's, in a place of devices and in one of the hub's own.
        "probes/mill/probe-9/up",
        "devices/probe-9/telemetry",
        "devices/probe-2/telemetry",
    ];
    let bytes: Vec<u8> = topics
        .iter()
        .zip(1_u16..)
        .flat_map(|(topic, id)| publish_packet(Level::V5, 1, id, topic, &payload(f64::from(id))))
        .collect();
    gateway.send(&bytes).await;
    let expected = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0x87), (6, 0x87), (7, 0)];
    assert_eq!(acks(&mut gateway, 7).await, expected);
    assert_eq!(levels(&hub, "probe-1").await, [1.0, 3.0]);
    assert_eq!(levels(&hub, "probe-2").await, [2.0, 7.0]);
    assert_eq!(levels(&hub, "gw-1").await, [4.0]);
    assert!(levels(&hub, "probe-9").await.is_empty());
    let shown = hub.get("/api/v1/devices/gw-1").await;
    assert_eq!(shown["undecoded"][0]["reason"], "unknown_device", "{shown}");
    assert!(shown["undecoded"][0]["message"].as_str().expect("text").contains("`probe-9`"));
    let listed = hub.get("/api/v1/devices/probe-2").await;
    assert_eq!((&listed["gateway"], &listed["address"]), (&json!("gw-1"), &json!("north-2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_one_reading_and_a_goodbye_loses_nothing() {
    let town = town();
    let hub = start(&town).await;
    let mut gateway = Device::connect(hub.mqtt, Level::V4, "gw-1").await;
    // At QoS 2, twice before its release; then QoS 0 with a DISCONNECT right behind it.
    let body = payload(5.0);
    let first = publish_packet(Level::V4, 2, 9, "devices/probe-1/telemetry", &body);
    let mut again = publish_packet(Level::V4, 2, 9, "devices/probe-1/telemetry", &payload(6.0));
    again[0] |= 0x08;
    gateway.send(&[first, again].concat()).await;
    for _ in 0..2 {
        assert_eq!(gateway.read_packet().await.expect("PUBREC")[..], [0x50, 2, 0, 9]);
    }
    gateway.send(&[0x62, 2, 0, 9]).await;
    assert_eq!(gateway.read_packet().await.expect("PUBCOMP")[..], [0x70, 2, 0, 9]);
    assert_eq!(levels(&hub, "probe-1").await, [5.0]);
    let last = publish_packet(Level::V4, 0, 0, "devices/probe-2/telemetry", &payload(7.0));
    gateway.send(&[last, vec![0xE0, 0]].concat()).await;
    assert!(gateway.read_packet().await.is_none(), "the hub closes");
    // Whatever came before the close is stored when the device's next message is acknowledged.
    let mut gateway = Device::connect(hub.mqtt, Level::V4, "gw-1").await;
    gateway
        .send(&publish_packet(Level::V4, 1, 1, "devices/probe-2/telemetry", &payload(8.0)))
        .await;
    acks(&mut gateway, 1).await;
    assert_eq!(levels(&hub, "probe-2").await, [7.0, 8.0]);
    // The device itself may speak, too.
    let mut probe = Device::connect(hub.mqtt, Level::V4, "probe-1").await;
    probe.send(&publish_packet(Level::V4, 1, 1, "devices/probe-1/telemetry", &body)).await;
    acks(&mut probe, 1).await;
    assert_eq!(levels(&hub, "probe-1").await, [5.0], "the same reading on another way is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lorawan_uplink_is_decoded_judged_and_acknowledged() {
    let town = town();
    let hub = start(&town).await;
    let topic = format!("application/1/device/{EUI}/event/up");
    let now = jiff::Timestamp::now().to_string();
    // 0x03E8 is 1 000.
    let body = String::from_utf8(uplink(EUI, &now, "A+g=")).expect("text");
    let port = hub.mqtt.port().to_string();
    let output = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-u", "gw-1", "-P", &secret_of("gw-1")])
        .args(["-V", "311", "-q", "1", "-t", &topic, "-m", &body])
        .output()
        .expect("mosquitto_pub is installed");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(levels(&hub, "node-1").await, [1000.0]);
    let mut gateway = Device::connect(hub.mqtt, Level::V5, "gw-1").await;
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string();
    let letters = [
        (topic.as_str(), uplink(EUI, &later, "A+k=")),
        // A frame that the codec refuses, an event that is no uplink, a device that nobody listed.
        (topic.as_str(), uplink(EUI, &later, "Aw==")),
        ("application/1/device/a8404137e182428c/event/join", b"{}".to_vec()),
        (
            "application/1/device/0000000000000001/event/up",
            uplink("0000000000000001", &later, "A+g="),
        ),
    ];
    let bytes: Vec<u8> = letters
        .iter()
        .zip(1_u16..)
        .flat_map(|((topic, body), id)| publish_packet(Level::V5, 1, id, topic, body))
        .collect();
    gateway.send(&bytes).await;
    assert_eq!(acks(&mut gateway, 4).await, [(1, 0), (2, 0x99), (3, 0), (4, 0x87)]);
    assert_eq!(levels(&hub, "node-1").await, [1000.0, 1001.0]);
    let shown = hub.get("/api/v1/devices/node-1").await;
    assert_eq!(shown["undecoded"][0]["reason"], "codec_error", "{shown}");
    let raised = |alerts: &Value| {
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().any(|alert| alert["device"] == "node-1")
    };
    let judged = async {
        while !raised(&hub.get("/api/v1/alerts").await) {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, judged).await.expect("an alert of node-1");
}

/// Bays of which one message tells several.
const BAYS: &str = include_str!("../../device-profiles/hx-gw6.toml");
/// A Sparkplug B controller.
const SPARKPLUG: &str = include_str!("../../device-profiles/hx-sp4.toml");
const GATEWAY: &str = include_str!("../../device-profiles/gateway.toml");

#[tokio::test(flavor = "multi_thread")]
async fn one_message_tells_of_several_bays_and_of_one_that_is_not_listed() {
    let town = Town::with_profiles("", &[("gateway.toml", GATEWAY), ("hx-gw6.toml", BAYS)]);
    let hub = town.home.start();
    let csv = format!(
        "id,profile,gateway,address,secret\nbay-1,hx-gw6,gw-1,0c:01,\nbay-2,hx-gw6,gw-1,0c:02,\ngw-1,gateway,,,{}\n",
        secret_of("gw-1")
    );
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv).await;
    assert_eq!(status, 200, "{report}");
    let bay =
        |mac: &str, battery| json!({ "mac": mac, "st": { "car": 1, "bat": battery }, "rssi": -90 });
    let bays = json!({ "bays": [bay("0c:01", 88), bay("0c:03", 70), bay("0c:02", 77)] });
    let mut gateway = Device::connect(hub.mqtt, Level::V4, "gw-1").await;
    let topic = gateway.topic();
    gateway.send(&publish_packet(Level::V4, 1, 1, &topic, bays.to_string().as_bytes())).await;
    let heartbeat = br#"{"uptime_s":60}"#;
    gateway.send(&publish_packet(Level::V4, 1, 2, &topic, heartbeat)).await;
    assert_eq!(acks(&mut gateway, 2).await, [(1, 0), (2, 0)]);
    let stored = async |device: &str, metric: &str| {
        let path = crate::support::series(device).replace("/level?", &format!("/{metric}?"));
        hub.get(&path).await["points"][0][1].clone()
    };
    assert_eq!(
        (stored("bay-1", "battery").await, stored("bay-2", "battery").await),
        (json!(88.0), json!(77.0))
    );
    assert_eq!(stored("gw-1", "uptime").await, 60.0);
    let shown = hub.get("/api/v1/devices/gw-1").await;
    let undecoded = shown["undecoded"].as_array().expect("a list");
    assert_eq!(undecoded.len(), 1, "{shown}");
    assert!(undecoded[0]["message"].as_str().expect("text").contains("`0c:03`"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparkplug_node_brings_its_units() {
    let town = Town::with_profiles("", &[("gateway.toml", GATEWAY), ("hx-sp4.toml", SPARKPLUG)]);
    let hub = town.home.start();
    let csv = format!(
        "id,profile,gateway,address,secret\ngate-1,hx-sp4,node-1,west,\nnode-1,gateway,,,{}\n",
        secret_of("node-1")
    );
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv).await;
    assert_eq!(status, 200, "{report}");
    let mut node = Device::connect(hub.mqtt, Level::V4, "node-1").await;
    // seq 0 and no metric; then Gate/Opening as a double without an alias, which is 1.5.
    let birth = [0x18, 0];
    let metric =
        [&[0x0A, 12][..], b"Gate/Opening", &[0x20, 10, 0x69], &1.5_f64.to_le_bytes()].concat();
    let data = [&[0x12, metric.len() as u8][..], &metric, &[0x18, 1]].concat();
    node.send(&publish_packet(Level::V4, 1, 1, "spBv1.0/wuzhen/NBIRTH/node-1", &birth)).await;
    node.send(&publish_packet(Level::V4, 1, 2, "spBv1.0/wuzhen/DDATA/node-1/west", &data)).await;
    node.send(&publish_packet(Level::V4, 1, 3, "spBv1.0/wuzhen/DDATA/node-1/east", &data)).await;
    assert_eq!(acks(&mut node, 3).await, [(1, 0), (2, 0), (3, 0)]);
    let path = crate::support::series("gate-1").replace("/level?", "/opening?");
    assert_eq!(hub.get(&path).await["points"][0][1], 1.5);
    let shown = hub.get("/api/v1/devices/node-1").await;
    let undecoded = shown["undecoded"].as_array().expect("a list");
    assert_eq!(
        (undecoded.len(), &undecoded[0]["reason"]),
        (1, &json!("unknown_device")),
        "{shown}"
    );
}
