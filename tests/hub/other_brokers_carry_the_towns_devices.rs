//! A broker that is not the hub's own carries the town's devices: acknowledged after the disk, shared between hubs, away and
//! back again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rumqttc::{Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use super::a_kill_loses_nothing_that_was_acknowledged::stored;
use super::a_sleeping_device_finds_its_command::{GATE, order};
use super::support::device::payload;
use super::support::ejabberd::Ejabberd;
use super::support::gate::end_of;
use super::support::live::Live;
use super::support::mosquitto::{Mosquitto, connect, publish};
use super::support::process::HubProcess;
use super::support::{Town, devices, now_us};

/// Long enough for a loaded machine; nothing waits so long when it works.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for the hub's status until it is as wanted.
async fn status_when(hub: &HubProcess, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let status = hub.get("/api/v1/status").await;
        if is_wanted(&status["broker"]) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", status["broker"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a reading until the hub hears it: then its subscriptions stand.
async fn subscribed(broker: &Mosquitto, hub: &HubProcess, device: &str) {
    let begin = Instant::now();
    loop {
        // Before those that a test counts.
        let hello =
            (format!("devices/{device}/telemetry"), payload(now_us(), 1.0), QoS::AtLeastOnce);
        broker.publish(vec![hello]).await;
        if hub.get("/api/v1/status").await["broker"]["received"].as_u64() > Some(0) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "the hub hears nothing");
    }
}

/// Readings a millisecond apart, taken in turns by the devices.
fn readings(
    ids: &[String],
    begin_us: u64,
    numbers: std::ops::Range<u64>,
    qos: &[QoS],
) -> Vec<(String, Vec<u8>, QoS)> {
    numbers
        .map(|n| {
            let i = usize::try_from(n).expect("small");
            let topic = format!("devices/{}/telemetry", ids[i % ids.len()]);
            (topic, payload(begin_us + n * 1_000, n as f64), qos[i % qos.len()])
        })
        .collect()
}

/// The values that a hub has of these devices since `begin_us`.
async fn values(hub: &HubProcess, ids: &[String], begin_us: u64) -> Vec<u64> {
    let mut values = Vec::new();
    for id in ids {
        let found = stored(hub, id, begin_us).await;
        values.extend(found.into_iter().map(|(_, value)| value as u64));
    }
    values.sort_unstable();
    values
}

/// Waits until the hubs together have every value below `count`; returns what each has.
async fn all_there(
    hubs: &[&HubProcess],
    ids: &[String],
    begin_us: u64,
    count: u64,
) -> Vec<Vec<u64>> {
    let begin = Instant::now();
    loop {
        let mut each = Vec::new();
        for hub in hubs {
            each.push(values(hub, ids, begin_us).await);
        }
        let union: BTreeSet<u64> = each.iter().flatten().copied().collect();
        if union.len() as u64 == count && union.last() == Some(&(count - 1)) {
            return each;
        }
        let missing: Vec<u64> = (0..count).filter(|n| !union.contains(n)).take(10).collect();
        assert!(begin.elapsed() < PATIENCE, "{} of {count}; missing {missing:?} ...", union.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A microsecond time on a whole millisecond, as the API tells times.
fn whole_ms() -> u64 {
    now_us() / 1_000 * 1_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_took_is_there_after_kills_and_a_broker_restart() {
    for protocol in ["5", "3.1.1"] {
        let mut broker = Mosquitto::start().await;
        let town = Town::new(&broker.section("hub-1", &format!("protocol = \"{protocol}\"")));
        let ids = devices(4);
        let mut hub = town.home.start();
        hub.import_devices("probe", &ids).await;
        subscribed(&broker, &hub, &ids[0]).await;
        let begin = whole_ms();
        let both = [QoS::AtLeastOnce, QoS::ExactlyOnce];
        for round in 0..3 {
            let from = round * 1_000;
            let sending = broker.publish(readings(&ids, begin, from..from + 1_000, &both));
            let killing = async {
                // In the middle: something of this round came, and not all of it.
                let before = hub.get("/api/v1/status").await["broker"]["received"].as_u64();
                status_when(&hub, |broker| broker["received"].as_u64() > before).await;
                hub.kill();
            };
            tokio::join!(sending, killing);
            hub = town.home.start();
        }
        all_there(&[&hub], &ids, begin, 3_000).await;

        // All three qualities while everybody is up, and an outage of the broker that is told in words.
        let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        broker.publish(readings(&ids, begin, 3_000..3_300, &all)).await;
        all_there(&[&hub], &ids, begin, 3_300).await;
        status_when(&hub, |broker| broker["unacknowledged"] == 0).await;
        broker.down();
        let away = status_when(&hub, |broker| broker["connected"] == false).await;
        let words = away["broker"]["problem"]["zh"].as_str().expect("words");
        assert!(words.contains("正在自动重连"), "{words}");
        broker.up().await;
        status_when(&hub, |broker| broker["connected"] == true).await;
        broker.publish(readings(&ids, begin, 3_300..3_400, &both)).await;
        let there = all_there(&[&hub], &ids, begin, 3_400).await;
        assert_eq!(there[0].len(), 3_400, "nothing is there twice");
        let status = hub.get("/api/v1/status").await;
        assert_eq!(status["broker"]["problem"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_share_the_load_and_one_takes_over() {
    let broker = Mosquitto::start().await;
    let towns = ["hub-1", "hub-2"].map(|name| Town::new(&broker.section(name, "share = \"town\"")));
    let ids = devices(4);
    let [first, second] = [&towns[0], &towns[1]].map(|town| town.home.start());
    for hub in [&first, &second] {
        hub.import_devices("probe", &ids).await;
        subscribed(&broker, hub, &ids[0]).await;
    }
    let begin = whole_ms();
    let qos = [QoS::AtLeastOnce];
    broker.publish(readings(&ids, begin, 0..400, &qos)).await;
    let each = all_there(&[&first, &second], &ids, begin, 400).await;
    for values in &each {
        assert!((50..=350).contains(&values.len()), "shared: {} of 400", values.len());
    }
    first.kill();
    broker.publish(readings(&ids, begin, 400..800, &qos)).await;
    // The one that is left takes over; what the broker kept for the other one waits for it.
    let begin_of_wait = Instant::now();
    while values(&second, &ids, begin).await.last() < Some(&790) {
        assert!(begin_of_wait.elapsed() < PATIENCE, "the second hub takes over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = towns[0].home.start();
    let each = all_there(&[&first, &second], &ids, begin, 800).await;
    let twice = each[0].iter().filter(|value| each[1].contains(value)).count();
    println!("{} and {} of 800, {twice} in both", each[0].len(), each[1].len());
    assert!(twice < 200, "each reading goes to one hub: {twice} went to both");
}

/// What a broker keeps for a member of the group that is away waits for that member (Mosquitto keeps half of everything); when
/// its session has expired, the others get all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_session_of_a_dead_hub_is_over_the_other_one_gets_everything() {
    let broker = Mosquitto::start().await;
    let more = "share = \"town\"\nsession_expiry = \"1s\"";
    let towns = ["hub-1", "hub-2"].map(|name| Town::new(&broker.section(name, more)));
    let ids = devices(1);
    let [first, second] = [&towns[0], &towns[1]].map(|town| town.home.start());
    for hub in [&first, &second] {
        hub.import_devices("probe", &ids).await;
        subscribed(&broker, hub, &ids[0]).await;
    }
    first.kill();
    let begin = whole_ms();
    let begin_of_wait = Instant::now();
    for batch in 0.. {
        let numbers = batch * 10..(batch + 1) * 10;
        let first_status = second.get("/api/v1/status").await;
        let before = first_status["broker"]["received"].as_u64();
        broker.publish(readings(&ids, begin, numbers.clone(), &[QoS::AtLeastOnce])).await;
        // Its own share comes at once, and so would the rest.
        status_when(&second, |broker| {
            broker["received"].as_u64() >= before.map(|n| n + 5) && broker["unacknowledged"] == 0
        })
        .await;
        let there = values(&second, &ids, begin).await;
        if numbers.clone().all(|n| there.contains(&n)) {
            return;
        }
        assert!(begin_of_wait.elapsed() < PATIENCE, "the second hub gets everything: {there:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_down_and_who_is_unknown_is_refused() {
    let broker = Mosquitto::start().await;
    let town = Town::with_profiles(&broker.section("hub-1", ""), &[("mq-gate.toml", GATE)]);
    let hub = town.home.start();
    hub.import_devices("mq-gate", &["mq-1".to_owned()]).await;
    let report = |opening: f64| {
        let text = format!(r#"{{"ts":{},"opening":{opening},"remote":1}}"#, now_us());
        ("devices/mq-1/telemetry".to_owned(), text.into_bytes(), QoS::AtLeastOnce)
    };
    let begin = Instant::now();
    while hub.get("/api/v1/status").await["readings"]["stored"].as_u64() < Some(2) {
        broker.publish(vec![report(30.0)]).await;
        assert!(begin.elapsed() < PATIENCE, "the hub hears nothing");
    }
    let mut live = Live::open(&hub, "").await;
    // Nobody listens yet: a broker that says so has not delivered the command, so it goes out again.
    let id = order(&hub, 42.0).await;
    live.next("command", |command| command["step"] == "writing").await;
    let begin = Instant::now();
    while !metrics(&hub).await.contains("townhub_broker_total{outcome=\"command_unheard\"} 1") {
        assert!(begin.elapsed() < PATIENCE, "the broker says that nobody listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (device, mut events) = broker.client("the-gate").await;
    device.subscribe("devices/mq-1/commands", QoS::AtLeastOnce).await.expect("asked");
    let document: Value = loop {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.expect("connected") {
            break serde_json::from_slice(&publish.payload).expect("JSON");
        }
    };
    assert_eq!((&document["id"], &document["target"]), (&json!(id), &json!(42)));
    live.next("command", |command| command["step"] == "moving").await;
    broker.publish(vec![report(42.0)]).await;
    assert_eq!(end_of(&mut live, id).await["state"], "reached");

    let stranger = "devices/stranger/telemetry".to_owned();
    broker.publish(vec![(stranger, b"{}".to_vec(), QoS::AtLeastOnce)]).await;
    let status = status_when(&hub, |broker| broker["refused"] == 1).await;
    assert_eq!(status["broker"]["commands"], 1);
    assert!(
        metrics(&hub).await.contains("townhub_mqtt_refusals_total{reason=\"unknown_device\"} 1")
    );
    status_when(&hub, |broker| broker["unacknowledged"] == 0).await;

    // What a device says of itself is the device's, kept by the broker or not.
    let before = status["broker"]["received"].as_u64();
    let (client, mut events) = broker.client("mq-1").await;
    client
        .publish("devices/mq-1/status", QoS::AtLeastOnce, true, "offline")
        .await
        .expect("handed in");
    tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let status = status_when(&hub, |broker| broker["received"].as_u64() > before).await;
    assert_eq!(status["broker"]["refused"], 1);
}

async fn metrics(hub: &HubProcess) -> String {
    let response = hub.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    response.text().await.expect("text")
}

/// An authority, its certificate for 127.0.0.1, and an account.
fn make_secrets(folder: &Path) {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(folder).output();
        let output = output.unwrap_or_else(|why| panic!("{program}: {why}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("name.ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    for command in [
        format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"),
        format!("req {key} -subj /CN=broker -keyout key.pem -out cert.csr"),
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile name.ext -out cert.pem"
            .to_owned(),
    ] {
        run("openssl", &command.split_whitespace().collect::<Vec<_>>());
    }
    run("mosquitto_passwd", &["-b", "-c", "accounts", "hub", "right"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_signs_in_over_tls_and_heals_when_its_password_does() {
    let folder = tempfile::tempdir().expect("a folder");
    make_secrets(folder.path());
    let files = ["key.pem", "cert.pem", "accounts"];
    let broker = Mosquitto::start_with(
        "certfile cert.pem\nkeyfile key.pem\nallow_anonymous false\npassword_file accounts\n",
        |to| {
            for file in files {
                std::fs::copy(folder.path().join(file), to.join(file)).expect("copied");
            }
        },
    )
    .await;
    let (ca, password) = (folder.path().join("ca.pem"), folder.path().join("password"));
    std::fs::write(&password, "wrong\n").expect("a file");
    let section = format!(
        "[broker]\nurl = \"mqtts://{}\"\nclient_id = \"hub-1\"\nusername = \"hub\"\npassword_file = {password:?}\n\
         ca = {ca:?}\n",
        broker.address
    );
    let town = Town::new(&section);
    let hub = town.home.start();
    let away = status_when(&hub, |broker| broker["problem"] != Value::Null).await;
    let words = away["broker"]["problem"]["en"].as_str().expect("words");
    assert!(words.contains("refuses this client: not authorized"), "{words}");
    std::fs::write(&password, "right\n").expect("a file");
    status_when(&hub, |broker| broker["connected"] == true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_another_make_carries_them_and_says_what_it_cannot() {
    let broker = Ejabberd::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "any\n").expect("a file");
    let section = format!(
        "[broker]\nurl = \"mqtt://{}\"\nclient_id = \"hub-1\"\nusername = \"hub@localhost\"\n\
         password_file = {password:?}\n",
        broker.address
    );
    let publish = async |messages| {
        let mut options =
            MqttOptions::new("publisher", broker.address.ip().to_string(), broker.address.port());
        options.set_credentials("device@localhost", "any");
        publish(connect(options).await, messages).await;
    };
    let town = Town::new(&section);
    let ids = devices(4);
    let hub = town.home.start();
    hub.import_devices("probe", &ids).await;
    let begin = Instant::now();
    while hub.get("/api/v1/status").await["broker"]["received"].as_u64() == Some(0) {
        let topic = format!("devices/{}/telemetry", ids[0]);
        publish(vec![(topic, payload(now_us(), 1.0), QoS::AtLeastOnce)]).await;
        assert!(begin.elapsed() < PATIENCE, "the hub hears nothing");
    }
    let begin = whole_ms();
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    publish(readings(&ids, begin, 0..300, &all)).await;
    all_there(&[&hub], &ids, begin, 300).await;
    hub.kill();
    publish(readings(&ids, begin, 300..600, &[QoS::AtLeastOnce, QoS::ExactlyOnce])).await;
    let hub = town.home.start();
    all_there(&[&hub], &ids, begin, 600).await;

    let sharing = Town::new(
        &section.replace("hub-1", "hub-2").replace("[broker]", "[broker]\nshare = \"town\""),
    );
    let hub = sharing.home.start();
    let away = status_when(&hub, |broker| broker["problem"] != Value::Null).await;
    let words = away["broker"]["problem"]["en"].as_str().expect("words").to_owned();
    assert!(words.contains("shared subscription"), "{words}");
}
