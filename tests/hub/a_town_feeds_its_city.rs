//! The bridge: a town's readings, alerts and moves of cases go up, through an outage of the upstream broker and a kill of the
//! hub, in order and at least once; and a city hub takes them in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::a_case_closes_when_its_sensor_agrees::Person;
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

/// Debian's mosquitto_sub with a session that stays. Killed when dropped.
struct Subscriber {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Subscriber {
    /// Returns when the broker has its subscription.
    async fn start(broker: &Mosquitto, filter: &str) -> Self {
        let (host, port) = (broker.address.ip().to_string(), broker.address.port().to_string());
        // Its debug lines come unbuffered only so.
        let mut child = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args(["-d", "-v", "-c", "-q", "1", "-i", "city-sub"])
            .args(["-h", &host, "-p", &port, "-t", filter])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub; `make deps` installs it");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (said, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        let mut subscriber = Subscriber { child, lines };
        while !subscriber.line().await.starts_with("Subscribed") {}
        subscriber
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.recv()).await.expect("in time").expect("it runs")
    }

    /// The next message.
    async fn next(&mut self) -> (String, Value) {
        loop {
            let line = self.line().await;
            if let Some((topic, body)) = line.split_once(' ').filter(|_| line.starts_with("towns/"))
            {
                return (topic.to_owned(), serde_json::from_str(body).expect("JSON"));
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_move_of_a_case_goes_up_through_an_outage_and_a_kill() {
    let mut broker = Mosquitto::start().await;
    let mut city = Subscriber::start(&broker, "towns/wuzhen/cases/#").await;
    let section = format!(
        "[bridge]\nurl = \"mqtt://{}\"\nclient_id = \"wuzhen\"\ntown = \"wuzhen\"\nreadings = \"\"\n",
        broker.address
    );
    let town = Town::new(&section);
    let dispatcher = Person::new(&town.home, "dispatcher", "dispatcher");
    let crew = Person::new(&town.home, "crew", "handler");
    let supervisor = Person::new(&town.home, "supervisor", "supervisor");
    let hub = town.home.start();
    let ids = devices(1);
    hub.import_devices("probe", &ids).await;
    let unit = json!({ "name": { "zh": "抢修队", "en": "Crew" }, "members": ["crew"] });
    let put = hub.request(Method::PUT, "/api/v1/units/crew").json(&unit).send().await;
    assert!(put.expect("an answer").status().is_success());
    let mut client = Device::connect(hub.mqtt, Level::V4, &ids[0]).await;
    let high = payload(now_us(), 950_000.0);
    client.send(&publish_packet(Level::V4, 1, 1, &client.topic(), &high)).await;
    client.read_packet().await.expect("PUBACK");

    let (topic, opened) = city.next().await;
    let case = opened["case"]["id"].as_u64().expect("a number");
    assert_eq!(topic, format!("towns/wuzhen/cases/{case}"));
    assert_eq!((&opened["event"], &opened["town"]), (&"opened".into(), &"wuzhen".into()));
    assert_eq!(opened["case"]["device"], ids[0].as_str(), "{opened}");
    assert_eq!(opened["actor"], Value::Null, "by the hub: {opened}");

    dispatcher.does(&hub, "dispatch", case, json!({ "unit": "crew" })).await;
    let (_, sent) = city.next().await;
    assert_eq!((&sent["event"], &sent["actor"]), (&"dispatched".into(), &"dispatcher".into()));
    assert_eq!(sent["move"]["unit"], "crew", "{sent}");
    assert_eq!(
        (&sent["case"]["stage"], &sent["case"]["unit"]),
        (&"dispatched".into(), &"crew".into())
    );

    broker.down();
    crew.does(&hub, "accept", case, json!({})).await;
    bridge_when(&hub, |bridge| bridge["waiting"] == 1 && bridge["connected"] == false).await;
    crew.does(&hub, "handle", case, json!({})).await;
    hub.kill();
    let hub = town.home.start();
    crew.does(&hub, "report", case, json!({})).await;
    supervisor.does(&hub, "verify", case, json!({})).await;
    bridge_when(&hub, |bridge| bridge["waiting"] == 4).await;
    broker.up().await;
    let mut ids = BTreeSet::new();
    let mut events = Vec::new();
    while events.last().is_none_or(|last| last != "verified") {
        let (_, body) = city.next().await;
        if ids.insert(body["id"].as_str().expect("an id").to_owned()) {
            events.push(body["event"].as_str().expect("a name").to_owned());
        }
    }
    assert_eq!(events, ["accepted", "handled", "reported", "verified"], "in order");
    bridge_when(&hub, |bridge| bridge["waiting"] == 0 && bridge["problem"] == Value::Null).await;
}

/// What was heard of readings, by message id, of alerts and of cases.
#[derive(Default)]
struct Heard {
    /// Value by id.
    readings: BTreeMap<String, u64>,
    /// First hearings, by device.
    order: BTreeMap<String, Vec<u64>>,
    alerts: Vec<Value>,
    cases: Vec<Value>,
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
            if topic.starts_with("towns/wuzhen/cases/") {
                self.cases.push(body);
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
        bridge_when(&hub, |bridge| bridge["waiting"] == 203 && bridge["connected"] == false).await;
    assert!(away["problem"]["zh"].as_str().expect("words").contains("数据暂存"), "{away}");
    // Whatever of this is not yet in the queue is taken from the store after the kill.
    send(&hub, &ids[0], begin, 400..500).await;
    hub.kill();
    let hub = town.home.start();
    send(&hub, &ids[0], begin, 500..600).await;
    bridge_when(&hub, |bridge| bridge["waiting"] == 403).await;
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
    // The reading, its alert, and the case that this opens.
    bridge_when(&hub, |bridge| bridge["waiting"] == 3).await;
    send(&hub, &ids[0], begin, 1..251).await;
    // Below its clear value: the alert comes back, which is news too.
    let full = bridge_when(&hub, |bridge| bridge["lost"] == 154).await;
    assert_eq!(full["waiting"], 100);
    assert!(full["problem"]["en"].as_str().expect("words").contains("queue is full"), "{full}");
    broker.up().await;
    let mut heard = Heard::default();
    heard.until(&mut hears, 97, 2).await;
    assert_eq!(heard.order[&ids[0]], (154..251).collect::<Vec<u64>>(), "the newest stay");
    let events: BTreeSet<_> =
        heard.alerts.iter().filter_map(|alert| alert["event"].as_str()).collect();
    assert_eq!(events, ["raised", "returned"].into());
    assert_eq!(heard.cases[0]["event"], "opened");
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
