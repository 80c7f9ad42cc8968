//! Sessions, wills, rates, takeovers, QoS 2, SIGTERM, and a client that does not read.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::device::{Device, Level, field, packet, payload, publish_packet};
use crate::support::process::secret_of;
use crate::support::{Town, devices, now_us, series};

#[tokio::test]
async fn a_second_connection_takes_over() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut first = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    let mut second = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    assert_eq!(first.read_packet().await.expect("DISCONNECT"), [0xE0, 2, 0x8E, 0]);
    second.send(&[0xC0, 0]).await;
    assert_eq!(second.read_packet().await.expect("PINGRESP"), [0xD0, 0]);
}

#[tokio::test]
async fn exactly_once_is_once() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    let topic = device.topic();
    // No device time: only the packet identifier tells a repetition from a second reading.
    let mut publish = publish_packet(Level::V5, 2, 11, &topic, br#"{"level":5}"#);
    device.send(&publish).await;
    assert_eq!(device.read_packet().await.expect("PUBREC"), [0x50, 2, 0, 11]);
    publish[0] |= 0b1000;
    device.send(&publish).await;
    assert_eq!(device.read_packet().await.expect("PUBREC"), [0x50, 2, 0, 11]);
    device.send(&[0x62, 2, 0, 11]).await;
    assert_eq!(device.read_packet().await.expect("PUBCOMP"), [0x70, 2, 0, 11]);
    let answer = hub.get(&series("probe-0")).await;
    assert_eq!(answer["points"].as_array().expect("points").len(), 1);
}

#[tokio::test]
async fn a_silent_client_is_let_go_and_its_will_is_done() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut body = field(b"MQTT");
    // Clean session, user name, password, retained will; keep-alive of one second.
    body.extend([4, 0b1110_0110, 0, 1]);
    for text in ["c", "devices/probe-0/status", "gone", "probe-0", &secret_of("probe-0")] {
        body.extend(field(text.as_bytes()));
    }
    let stream = tokio::net::TcpStream::connect(hub.mqtt).await.expect("the hub listens");
    let mut device = Device { stream, id: "probe-0".to_owned() };
    device.send(&packet(0x10, &body)).await;
    assert_eq!(device.read_packet().await.expect("CONNACK"), [0x20, 2, 0, 0]);
    assert_eq!(hub.get("/api/v1/devices/probe-0").await["connected"], true);
    let silent = tokio::time::timeout(Duration::from_secs(5), device.read_packet()).await;
    assert_eq!(silent.expect("one and a half seconds"), None);
    assert_eq!(hub.get("/api/v1/devices/probe-0").await["connected"], false);

    let mut body = field(b"MQTT");
    body.extend([4, 0b1110_0110, 0, 1]);
    for text in ["c", "devices/other/status", "gone", "probe-0", &secret_of("probe-0")] {
        body.extend(field(text.as_bytes()));
    }
    let stream = tokio::net::TcpStream::connect(hub.mqtt).await.expect("the hub listens");
    let mut device = Device { stream, id: "probe-0".to_owned() };
    device.send(&packet(0x10, &body)).await;
    assert_eq!(device.read_packet().await.expect("CONNACK"), [0x20, 2, 0, 5], "not its topic");
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_nothing_is_dropped() {
    let town = Town::new("max_messages_per_second = 20\n");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let topic = device.topic();
    let begin = tokio::time::Instant::now();
    // Ten seconds' worth come at once and are read a buffer at a time: the third round goes over, the others wait.
    for round in 0..5_u16 {
        for i in 0..80_u16 {
            let time = now_us() + u64::from(round) * 1_000 + u64::from(i);
            let bytes =
                publish_packet(Level::V4, 1, 1 + round * 80 + i, &topic, &payload(time, 1.0));
            device.send(&bytes).await;
        }
        for i in 0..80_u16 {
            let [high, low] = (1 + round * 80 + i).to_be_bytes();
            assert_eq!(device.read_packet().await.expect("PUBACK"), [0x40, 2, high, low]);
        }
    }
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(4), "slowed down: {took:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_harms_only_itself() {
    let town = Town::new("max_messages_per_second = 0\n");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    let mut deaf = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let flood = tokio::spawn(async move {
        let topic = deaf.topic();
        let mut id = 0_u16;
        // Until the hub's patience ends, or for a bounded number of messages.
        for _ in 0..400 {
            let mut out = Vec::new();
            for _ in 0..500 {
                id = id % 60_000 + 1;
                out.extend(publish_packet(Level::V4, 1, id, &topic, br#"{"level":5}"#));
            }
            let sent =
                tokio::time::timeout(Duration::from_secs(2), deaf.stream.write_all(&out)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    let mut other = Device::connect(hub.mqtt, Level::V4, "probe-1").await;
    let topic = other.topic();
    for i in 1..=50_u16 {
        other.send(&publish_packet(Level::V4, 1, i, &topic, &payload(now_us(), 1.0))).await;
        let ack = tokio::time::timeout(Duration::from_secs(2), other.read_packet()).await;
        assert!(ack.expect("served as before").is_some());
    }
    flood.await.expect("the flood ends");
}

#[tokio::test]
async fn sigterm_acknowledges_what_came_and_ends_in_time() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(50)).await;
    let mut connected = Vec::new();
    for id in devices(50) {
        let mut device = Device::connect(hub.mqtt, Level::V5, &id).await;
        let topic = device.topic();
        device.send(&publish_packet(Level::V5, 1, 1, &topic, &payload(now_us(), 3.0))).await;
        connected.push(device);
    }
    // Everything that was read is answered before the goodbye.
    for device in &mut connected {
        assert_eq!(device.read_packet().await.expect("PUBACK"), [0x40, 2, 0, 1]);
    }
    let (took, well) = tokio::task::spawn_blocking(|| hub.terminate()).await.expect("it ends");
    assert!(well && took < Duration::from_secs(5), "{took:?}");
    for device in &mut connected {
        assert_eq!(device.read_packet().await.expect("DISCONNECT"), [0xE0, 2, 0x8B, 0]);
    }
}
