//! The bridge: a town's readings and alerts go up, through an outage of the upstream broker and a kill of the hub, in order and
//! at least once; and a city hub takes them in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::a_kill_loses_nothing_that_was_acknowledged::stored;
use super::support::device::{Device, Level, payload, publish_packet};
use super::support::mosquitto::Mosquitto;
use super::support::process::{HubProcess, secret_of};
use super::support::{PROBE, Town, devices, now_us};

/// Long enough for a loaded machine; nothing waits so long when it works.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the city reads what a town's hub sends.
const FROM_TOWNS: &str = r#"
profile      = 1
id           = "town-probe"
name         = { zh = "镇级探头", en = "Probe of a town" }
manufacturer = "townhub"
model        = "T-1 by bridge"
kind         = "manhole"

[source.mqtt]
payload = "json"
time    = { path = "/observed_at", format = "rfc3339" }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.level]
label = { zh = "水位", en = "Level" }
unit  = "m"
read  = { path = "/values/level" }
range = [0, 1000000]
"#;

/// Sends readings a millisecond apart, and returns when the hub has acknowledged them all.
async fn send(hub: &HubProcess, device: &str, begin_us: u64, numbers: std::ops::Range<u64>) {
    let mut client = Device::connect(hub.mqtt, Level::V4, device).await;
    let mut packets = Vec::new();
    let count = numbers.clone().count();
    for n in numbers {
        let id = u16::try_from(n + 1).expect("small");
        let body = payload(begin_us + n * 1_000, n as f64);
        packets.extend(publish_packet(Level::V4, 1, id, &client.topic(), &body));
    }
    client.send(&packets).await;
    for _ in 0..count {
        assert_eq!(client.read_packet().await.expect("PUBACK")[0], 0x40);
    }
}

async fn bridge_when(hub: &HubProcess, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let status = hub.get("/api/v1/status").await;
        if is_wanted(&status["bridge"]) {
            return status["bridge"].clone();
        }
        assert!(begin.elapsed() < PATIENCE, "{}", status["bridge"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a client with a persistent session hears, whatever happens to the broker.
async fn listen(broker: &Mosquitto) -> mpsc::UnboundedReceiver<(String, Value)> {
    let mut options =
        MqttOptions::new("city", broker.address.ip().to_string(), broker.address.port());
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("towns/#", QoS::AtLeastOnce).await.expect("asked");
    let (found, hears) = mpsc::unbounded_channel();
    let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let _client = client;
        let mut subscribed = Some(subscribed);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let body = serde_json::from_slice(&publish.payload).expect("JSON");
                    if found.send((publish.topic, body)).is_err() {
                        return;
                    }
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    subscribed.take().map(|subscribed| subscribed.send(()));
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    timeout(PATIENCE, is_subscribed).await.expect("in time").expect("subscribed");
    hears
}

/// What was heard of readings, by message id, and of alerts.
#[derive(Default)]
struct Heard {
    /// Value by id.
    readings: BTreeMap<String, u64>,
    /// First hearings, by device.
    order: BTreeMap<String, Vec<u64>>,
    alerts: Vec<Value>,
}

impl Heard {
    async fn until(
        &mut self,
        hears: &mut mpsc::UnboundedReceiver<(String, Value)>,
        readings: usize,
        alerts: usize,
    ) {
        while self.readings.len() < readings || self.alerts.len() < alerts {
            let next = timeout(PATIENCE, hears.recv()).await;
            let (topic, body) = next
                .unwrap_or_else(|_| {
                    panic!("{} readings, {} alerts", self.readings.len(), self.alerts.len())
                })
                .expect("it listens");
            if topic.starts_with("towns/wuzhen/alerts/") {
                self.alerts.push(body);
                continue;
            }
            let device = body["device"].as_str().expect("a device").to_owned();
            assert_eq!(topic, format!("towns/wuzhen/readings/{device}"));
            let quality = &body["quality"]["level"];
            assert_eq!(
                (&body["units"]["level"], &quality["grade"]),
                (&"m".into(), &"good".into()),
                "{body}"
            );
            let value = body["values"]["level"].as_f64().expect("a value") as u64;
            let id = body["id"].as_str().expect("an id").to_owned();
            if self.readings.insert(id, value).is_none() {
                self.order.entry(device).or_default().push(value);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_and_a_kill_lose_nothing_and_the_order_stays() {
    let mut broker = Mosquitto::start().await;
    let mut hears = listen(&broker).await;
    let section = format!(
        "[bridge]\nurl = \"mqtt://{}\"\nclient_id = \"wuzhen\"\ntown = \"wuzhen\"\n",
        broker.address
    );
    let town = Town::new(&section);
    let ids = devices(2);
    let hub = town.home.start();
    hub.import_devices("probe", &ids).await;
    let begin = now_us() / 1_000 * 1_000;
    let mut heard = Heard::default();
    send(&hub, &ids[0], begin, 0..200).await;
    send(&hub, &ids[1], begin, 0..200).await;
    heard.until(&mut hears, 400, 0).await;

    broker.down();
    send(&hub, &ids[0], begin, 200..400).await;
    // Beyond the limit of a critical alert.
    let mut client = Device::connect(hub.mqtt, Level::V4, &ids[1]).await;
    let high = payload(begin + 200_000, 950_000.0);
    client.send(&publish_packet(Level::V4, 1, 1, &client.topic(), &high)).await;
    client.read_packet().await.expect("PUBACK");
    let away =
        bridge_when(&hub, |bridge| bridge["waiting"] == 202 && bridge["connected"] == false).await;
    assert!(away["problem"]["zh"].as_str().expect("words").contains("数据暂存"), "{away}");
    // Whatever of this is not yet in the queue is taken from the store after the kill.
    send(&hub, &ids[0], begin, 400..500).await;
    hub.kill();
    let hub = town.home.start();
    send(&hub, &ids[0], begin, 500..600).await;
    bridge_when(&hub, |bridge| bridge["waiting"] == 402).await;
    broker.up().await;
    heard.until(&mut hears, 801, 1).await;
    bridge_when(&hub, |bridge| bridge["waiting"] == 0 && bridge["problem"] == Value::Null).await;

    assert_eq!(
        heard.order[&ids[0]],
        (0..600).collect::<Vec<u64>>(),
        "in order, each once by its id"
    );
    let alert = &heard.alerts[0];
    assert_eq!((&alert["event"], &alert["town"]), (&"raised".into(), &"wuzhen".into()), "{alert}");
    assert_eq!(alert["alert"]["severity"], "critical");
    assert_eq!(alert["alert"]["device"], ids[1].as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_bound_the_oldest_readings_go_and_the_alert_stays() {
    let mut broker = Mosquitto::start().await;
    let mut hears = listen(&broker).await;
    broker.down();
    let section = format!(
        "[bridge]\nurl = \"mqtt://{}\"\nclient_id = \"wuzhen\"\ntown = \"wuzhen\"\nmax = 100\n",
        broker.address
    );
    let town = Town::new(&section);
    let ids = devices(1);
    let hub = town.home.start();
    hub.import_devices("probe", &ids).await;
    let begin = now_us() / 1_000 * 1_000;
    let mut client = Device::connect(hub.mqtt, Level::V4, &ids[0]).await;
    let high = payload(begin, 950_000.0);
    client.send(&publish_packet(Level::V4, 1, 1, &client.topic(), &high)).await;
    client.read_packet().await.expect("PUBACK");
    bridge_when(&hub, |bridge| bridge["waiting"] == 2).await;
    send(&hub, &ids[0], begin, 1..251).await;
    // Below its clear value: the alert comes back, which is news too.
    let full = bridge_when(&hub, |bridge| bridge["lost"] == 153).await;
    assert_eq!(full["waiting"], 100);
    assert!(full["problem"]["en"].as_str().expect("words").contains("queue is full"), "{full}");
    broker.up().await;
    let mut heard = Heard::default();
    heard.until(&mut hears, 98, 2).await;
    assert_eq!(heard.order[&ids[0]], (153..251).collect::<Vec<u64>>(), "the newest stay");
    let events: BTreeSet<_> =
        heard.alerts.iter().filter_map(|alert| alert["event"].as_str()).collect();
    assert_eq!(events, ["raised", "returned"].into());
    bridge_when(&hub, |bridge| bridge["waiting"] == 0 && bridge["problem"] == Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_city_hub_takes_in_what_a_town_sends() {
    let city = Town::with_profiles("", &[("probe.toml", PROBE), ("from-towns.toml", FROM_TOWNS)]);
    let city_hub = city.home.start();
    let ids = devices(2);
    let csv = format!(
        "id,profile,gateway,secret\nwuzhen,probe,,{}\n{},town-probe,wuzhen,\n{},town-probe,wuzhen,\n",
        secret_of("wuzhen"),
        ids[0],
        ids[1]
    );
    let (status, report) = city_hub.post("/api/v1/devices/import", "text/csv", csv).await;
    assert_eq!(status, 200, "{report}");
    let password = city.home.folder.join("password-of-wuzhen");
    std::fs::write(&password, secret_of("wuzhen")).expect("a file");
    // To the city's door, as a gateway that speaks for its town's devices.
    let section = format!(
        "[bridge]\nurl = \"mqtt://{}\"\nclient_id = \"wuzhen\"\nusername = \"wuzhen\"\npassword_file = {password:?}\n\
         town = \"wuzhen\"\nreadings = \"devices/{{device}}/telemetry\"\nalerts = \"\"\n",
        city_hub.mqtt
    );
    let town = Town::new(&section);
    let hub = town.home.start();
    hub.import_devices("probe", &[ids.clone(), vec!["stranger".to_owned()]].concat()).await;
    let begin = now_us() / 1_000 * 1_000;
    send(&hub, &ids[0], begin, 0..150).await;
    hub.kill();
    let hub = town.home.start();
    send(&hub, &ids[1], begin, 0..150).await;
    // One that the city does not know costs the others nothing, and is told.
    send(&hub, "stranger", begin, 0..1).await;
    let refused = bridge_when(&hub, |bridge| bridge["refused"] == 1).await;
    let words = refused["problem"]["en"].as_str().expect("words");
    assert!(words.contains("devices/stranger/telemetry: not authorized"), "{words}");
    bridge_when(&hub, |bridge| bridge["waiting"] == 0).await;
    for id in &ids {
        let there = stored(&city_hub, id, begin).await;
        let expected: Vec<_> = (0..150).map(|n| (begin + n * 1_000, n as f64)).collect();
        assert_eq!(there, expected, "{id}");
    }
}
