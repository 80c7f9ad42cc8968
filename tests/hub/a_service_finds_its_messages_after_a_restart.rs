//! A service with a session that stays is away while the hub is killed, and while it is stopped in order: what it subscribed to
//! and what waited for it is there when both are back.

use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use rusqlite::{Connection, OpenFlags};
use tokio::time::timeout;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::process::HubProcess;
use crate::support::{Town, devices, now_us};

const PATIENCE: Duration = Duration::from_secs(30);

/// Connects under one name; returns whether the hub knew the session.
async fn connect(hub: &HubProcess, secret: &str) -> (AsyncClient, EventLoop, bool) {
    let mut options = MqttOptions::new("wall", hub.mqtt.ip().to_string(), hub.mqtt.port());
    options.set_credentials("svc-dash", secret).set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 10);
    match events.poll().await.expect("it is let in") {
        Event::Incoming(Packet::ConnAck(connack)) => (client, events, connack.session_present),
        other => panic!("{other:?}"),
    }
}

/// The payloads of the next messages.
async fn read(events: &mut EventLoop, many: usize) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while payloads.len() < many {
        let event = timeout(PATIENCE, events.poll()).await.expect("in time").expect("connected");
        if let Event::Incoming(Packet::Publish(publish)) = event {
            payloads.push(publish.payload.to_vec());
        }
    }
    payloads
}

/// The device sends readings, each acknowledged; returns their payloads.
async fn send(hub: &HubProcess, many: u16) -> Vec<Vec<u8>> {
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let mut sent = Vec::new();
    for id in 1..=many {
        let body = payload(now_us(), f64::from(id));
        device.send(&publish_packet(Level::V4, 1, id, &device.topic(), &body)).await;
        device.read_packet().await.expect("PUBACK");
        sent.push(body);
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_session_outlives_a_kill_and_a_stop() {
    let town = Town::new("");
    let arguments = ["service", "put", "svc-dash", "--subscribe", "devices/#"];
    let output = town.home.command(&arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let (client, mut events, is_known) = connect(&hub, &secret).await;
    assert!(!is_known);
    client.subscribe("devices/+/telemetry", QoS::AtLeastOnce).await.expect("asked");
    while !matches!(events.poll().await.expect("connected"), Event::Incoming(Packet::SubAck(_))) {}
    drop((client, events));

    let sent = send(&hub, 3).await;
    let file = town.home.folder.join("data/services.db");
    let kept = || {
        let db = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.query_row("SELECT count(*) FROM message", (), |row| row.get::<_, i64>(0))
    };
    let begin = Instant::now();
    while kept().ok() != Some(3) {
        assert!(begin.elapsed() < PATIENCE, "{:?} in {}", kept(), file.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hub.kill();
    let hub = town.home.start();
    let (client, mut events, is_known) = connect(&hub, &secret).await;
    assert!(is_known, "the session is there");
    assert_eq!(read(&mut events, 3).await, sent);
    client.disconnect().await.expect("connected");
    while events.poll().await.is_ok() {}

    let sent = send(&hub, 5).await;
    let (_, is_orderly) = hub.terminate();
    assert!(is_orderly);
    let hub = town.home.start();
    let (_client, mut events, is_known) = connect(&hub, &secret).await;
    assert!(is_known, "the session is there");
    assert_eq!(read(&mut events, 5).await, sent, "each once, in order");
}
