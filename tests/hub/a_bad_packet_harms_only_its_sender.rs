//! Packets that make rumqttd's codec or router panic, and others that no client should send: each is refused, and the
//! hub goes on as before.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::device::{
    Device, Level, connect_packet, field, packet, payload, publish_packet,
};
use crate::support::process::{HubProcess, secret_of};
use crate::support::{Town, devices, now_us};

async fn is_alive(hub: &HubProcess) {
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-1").await;
    let topic = device.topic();
    device.send(&publish_packet(Level::V4, 1, 9, &topic, &payload(now_us(), 1.0))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 9]);
}

/// Reads until the hub closes the connection; returns the last packet.
async fn closed(device: &mut Device) -> Option<Vec<u8>> {
    let mut last = None;
    while let Some(packet) = device.read_packet().await {
        last = Some(packet);
    }
    last
}

async fn refusals(hub: &HubProcess, reason: &str) -> u64 {
    let text = hub.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    let text = text.text().await.expect("text");
    let line = format!("townhub_mqtt_refusals_total{{reason=\"{reason}\"}} ");
    let value =
        text.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or_else(|| panic!("{line}"));
    value.parse().expect("a number")
}

#[tokio::test]
async fn what_only_a_server_sends_is_refused() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    for level in [Level::V4, Level::V5] {
        // CONNACK, SUBACK, UNSUBACK, PINGRESP and the reserved types 0 and 15 (AUTH is not spoken here).
        for first in [0x20, 0x90, 0xB0, 0xD0, 0x00, 0xF0] {
            let mut device = Device::connect(hub.mqtt, level, "probe-0").await;
            device.send(&packet(first, &[0, 0, 0])).await;
            let last = closed(&mut device).await;
            if level == Level::V5 {
                assert_eq!(last.expect("DISCONNECT")[..3], [0xE0, 2, 0x81], "{first:#x}");
            }
        }
    }
    assert!(refusals(&hub, "malformed").await >= 12);
    is_alive(&hub).await;
}

#[tokio::test]
async fn malformed_packets_are_refused_with_their_reason() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    let subscribe_nothing = packet(0x82, &[0, 1, 0]);
    let alias = packet(0x30, &[&field(b"")[..], &[3, 0x23, 0, 1]].concat());
    let not_utf8 = packet(0x30, &[&field(&[0xFF, 0xFE])[..], &[0]].concat());
    let huge = vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    let endless_length = vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let qos_3 = packet(0x36, &[&field(b"t")[..], &[0, 1, 0]].concat());
    let id_0 = packet(0x32, &[&field(b"t")[..], &[0, 0, 0]].concat());
    let again = connect_packet(Level::V5, "probe-0", "probe-0", &secret_of("probe-0"));
    for (bytes, code) in [
        (subscribe_nothing, None),
        (alias, Some(0x94)),
        (not_utf8, Some(0x81)),
        (huge, Some(0x95)),
        (endless_length, Some(0x81)),
        (qos_3, Some(0x81)),
        (id_0, Some(0x81)),
        (again, Some(0x82)),
    ] {
        let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
        device.send(&bytes).await;
        let last = closed(&mut device).await.expect("DISCONNECT");
        assert_eq!(last[0], 0xE0, "{bytes:x?}: {last:x?}");
        if let Some(code) = code {
            assert_eq!(last[2], code, "{bytes:x?}: {last:x?}");
        }
    }
    is_alive(&hub).await;
}

#[tokio::test]
async fn what_comes_before_connect_is_refused() {
    let town = Town::new("connect_timeout = \"1s\"\n");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    let level_3 = packet(0x10, &[&field(b"MQIsdp")[..], &[3, 2, 0, 60], &field(b"c")].concat());
    let level_9 = packet(0x10, &[&field(b"MQTT")[..], &[9, 2, 0, 60], &field(b"c")].concat());
    let wrong = connect_packet(Level::V4, "probe-0", "probe-0", "not the secret at all");
    let unknown = connect_packet(Level::V5, "x", "nobody", "not the secret at all");
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    for (bytes, answer) in [
        (level_3, Some(vec![0x20, 2, 0, 1])),
        (level_9, Some(vec![0x20, 3, 0, 0x84, 0])),
        (wrong, Some(vec![0x20, 2, 0, 4])),
        (unknown, Some(vec![0x20, 3, 0, 0x86, 0])),
        (packet(0xC0, &[]), None),
        (http, None),
        (Vec::new(), None),
    ] {
        let mut stream = TcpStream::connect(hub.mqtt).await.expect("the hub listens");
        stream.write_all(&bytes).await.expect("sent");
        let mut device = Device { stream, id: String::new() };
        assert_eq!(closed(&mut device).await, answer, "{bytes:x?}");
    }
    assert_eq!(refusals(&hub, "connect_timeout").await, 1);
    assert_eq!(refusals(&hub, "bad_credentials").await, 2);
    is_alive(&hub).await;
}

#[tokio::test]
async fn a_topic_that_is_not_ones_own_is_refused() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    for topic in ["devices/probe-1/telemetry", "probes/x/probe-1/up", "井/1", "a/+/b", "$SYS/x"] {
        let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
        device.send(&publish_packet(Level::V5, 1, 3, topic, b"{}")).await;
        let answer = device.read_packet().await.expect("an answer");
        assert_eq!((answer[0], &answer[2..4]), (0x40, &[0, 3][..]), "{topic}: {answer:x?}");
        assert!([0x87, 0x90].contains(&answer[4]), "{topic}: {answer:x?}");
        // The connection stays: MQTT 5 can refuse one message.
        device.send(&[0xC0, 0]).await;
        assert_eq!(device.read_packet().await.expect("PINGRESP"), [0xD0, 0]);
        let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
        device.send(&publish_packet(Level::V4, 1, 3, topic, b"{}")).await;
        assert_eq!(closed(&mut device).await, None, "{topic}");
    }
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    for (filter, code) in
        [("devices/probe-0/commands", 1), ("devices/probe-1/commands", 0x80), ("#", 0x80)]
    {
        let body = [&[0, 5][..], &field(filter.as_bytes()), &[1]].concat();
        device.send(&packet(0x82, &body)).await;
        assert_eq!(device.read_packet().await.expect("SUBACK"), [0x90, 3, 0, 5, code], "{filter}");
    }
    is_alive(&hub).await;
}
