//! Provisioning: devices that register themselves, tables of thousands, secrets that follow each other.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::peers_that_we_did_not_write_are_served::{peer, python};
use crate::support::device::{Device, Level, connect_packet, packet, publish_packet};
use crate::support::process::{HubProcess, secret_of};
use crate::support::{Town, devices, series};

const OWN: &str = "own-secret-of-16-chars";

/// An enrolment key made on the command line.
fn key(town: &Town, more: &[&str]) -> String {
    let arguments = [&["enrolment", "create", "--profile", "probe", "--expires", "1h"][..], more];
    let output = town.home.command(&arguments.concat()).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// What the hub answers to a CONNECT with the user name `enroll`.
async fn connack(hub: &HubProcess, level: Level, device: &str, user: &str, password: &str) -> u8 {
    let (mut device, code) = connect(hub, level, device, user, password).await;
    // Whoever is let in says goodbye.
    let _ = device.stream.write_all(&[0xE0, 0]).await;
    code
}

async fn connect(
    hub: &HubProcess,
    level: Level,
    device: &str,
    user: &str,
    password: &str,
) -> (Device, u8) {
    let mut stream = TcpStream::connect(hub.mqtt).await.expect("the hub listens");
    stream.write_all(&connect_packet(level, device, user, password)).await.expect("sent");
    let mut device = Device { stream, id: device.to_owned() };
    let connack = device.read_packet().await.expect("an answer");
    (device, connack[3])
}

async fn post(hub: &HubProcess, path: &str, body: Value) -> (u16, Value) {
    hub.post(path, "application/json", body.to_string()).await
}

async fn waiting(hub: &HubProcess) -> Vec<Value> {
    let answer = hub.get("/api/v1/devices?state=waiting").await;
    answer["waiting"].as_array().expect("a list").clone()
}

/// Waits until the hub shows what it should.
async fn until(hub: &HubProcess, is_so: impl Fn(&[Value]) -> bool) {
    let seen = async {
        while !is_so(&waiting(hub).await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), seen).await.expect("seen in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_waits_is_approved_and_what_it_said_is_stored_then() {
    let town = Town::new("");
    let password = format!("{}:{OWN}", key(&town, &[]));
    let hub = town.home.start();
    let mut child = Command::new(python())
        .arg(peer("paho_enrol.py"))
        .args([&hub.mqtt.port().to_string(), "new-1", &password])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python with paho: run `make deps`");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "connected");
    until(&hub, |all| {
        all.first().is_some_and(|w| w["published"][0]["payload"] == "{\"level\": 7.5}")
    })
    .await;
    let found = waiting(&hub).await;
    assert_eq!((&found[0]["id"], &found[0]["connected"]), (&json!("new-1"), &json!(true)));
    assert_eq!(found[0]["profile"], "probe");
    assert_eq!(hub.get("/api/v1/devices").await["waiting_total"], 1);
    let (status, _) = post(&hub, "/api/v1/devices/new-1/approve", json!({ "name": "New" })).await;
    assert_eq!(status, 200);
    assert_eq!(lines.next().expect("a line").expect("text"), "connected", "it comes back");
    assert_eq!(lines.next().expect("a line").expect("text"), "acknowledged");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(hub.get(&series("new-1")).await["points"][0][1], 7.5);
    assert!(waiting(&hub).await.is_empty());
    assert_eq!(connack(&hub, Level::V4, "any", "new-1", OWN).await, 0, "its id and own secret");
    let audit = town.home.command(&["enrolment", "list"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&audit.stdout).contains("1/50\tprobe"), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_register_is_told_in_his_protocols_words() {
    let town = Town::new("");
    let key = key(&town, &["--max", "1"]);
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let good = format!("{key}:{OWN}");
    let check = async |device: &str, password: &str, v4: u8, v5: u8| {
        assert_eq!(
            connack(&hub, Level::V4, device, "enroll", password).await,
            v4,
            "{device} 3.1.1"
        );
        assert_eq!(connack(&hub, Level::V5, device, "enroll", password).await, v5, "{device} 5");
    };
    check("", &good, 2, 0x85).await;
    check("a/b", &good, 2, 0x85).await;
    check("svc-x", &good, 2, 0x85).await;
    check("new-1", &key, 4, 0x86).await;
    check("new-1", &format!("{key}:short"), 4, 0x86).await;
    check("new-1", &format!("wrong:{OWN}"), 4, 0x86).await;
    check("probe-0", &good, 4, 0x86).await;
    assert!(waiting(&hub).await.is_empty(), "nothing was made");
    // A client that cannot choose its identifier says it in the user name.
    assert_eq!(connack(&hub, Level::V4, "random-77", "enroll:new-1", &good).await, 0);
    check("new-2", &good, 5, 0x97).await;
    let (status, _) = post(&hub, "/api/v1/devices/new-1/reject", json!({})).await;
    assert_eq!(status, 204);
    check("new-1", &good, 5, 0x87).await;
    assert!(waiting(&hub).await.is_empty());
    let (status, problem) = post(&hub, "/api/v1/devices/new-1/approve", json!({})).await;
    assert_eq!(status, 404, "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_device_is_answered_nothing_that_would_mean_stored() {
    let town = Town::new("");
    let hub = town.home.start();
    let new = json!({ "label": "north", "max_devices": 2, "expires_in_hours": 1 });
    let (status, made) = post(&hub, "/api/v1/enrolments", new).await;
    assert_eq!(status, 201, "{made}");
    let password = format!("{}:{OWN}", made["key"].as_str().expect("a key"));
    let (mut device, code) = connect(&hub, Level::V5, "new-1", "enroll", &password).await;
    assert_eq!(code, 0);
    device.send(&publish_packet(Level::V5, 1, 1, &device.topic(), b"{\"level\":1}")).await;
    device.send(&packet(0xC0, &[])).await;
    assert_eq!(device.read_packet().await.expect("PUBACK")[..], [0x40, 3, 0, 1, 0x87]);
    assert_eq!(device.read_packet().await.expect("PINGRESP")[0], 0xD0);
    let (mut old, code) = connect(&hub, Level::V4, "new-2", "enroll", &password).await;
    assert_eq!(code, 0);
    old.send(&publish_packet(Level::V4, 1, 1, &old.topic(), b"{\"level\":1}")).await;
    old.send(&packet(0xC0, &[])).await;
    assert_eq!(old.read_packet().await.expect("PINGRESP")[0], 0xD0, "and no PUBACK");
    let (status, refused) = post(&hub, "/api/v1/devices/new-1/approve", json!({})).await;
    assert_eq!(status, 422, "no profile: {refused}");
    let approval = json!({ "profile": "probe" });
    let (status, _) = post(&hub, "/api/v1/devices/new-1/approve", approval).await;
    assert_eq!(status, 200);
    let goodbye = device.read_packet().await.expect("DISCONNECT");
    assert_eq!(goodbye[..3], [0xE0, 2, 0x98]);
    let id = made["enrolment"]["id"].as_i64().expect("a number");
    let path = format!("/api/v1/enrolments/{id}");
    let status = hub.request(Method::DELETE, &path).send().await.expect("an answer").status();
    assert_eq!(status, 204);
    assert_eq!(connack(&hub, Level::V5, "new-3", "enroll", &password).await, 0x87, "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_follow_each_other_with_grace_and_end_sessions_when_asked() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2)).await;
    let old = secret_of("probe-0");
    let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    let path = "/api/v1/devices/probe-0/secret?grace_hours=24&disconnect=true";
    let (status, made) = post(&hub, path, json!({})).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(device.read_packet().await.expect("DISCONNECT")[..3], [0xE0, 2, 0x98]);
    let new = made["secret"].as_str().expect("a secret");
    assert_eq!(connack(&hub, Level::V4, "x", "probe-0", &old).await, 0, "grace");
    assert_eq!(connack(&hub, Level::V4, "x", "probe-0", new).await, 0);
    assert_eq!(connack(&hub, Level::V4, "x", "probe-0", &old).await, 4, "the new one was used");

    let body = json!({ "profile": "probe" }).to_string();
    let request = hub.request(Method::POST, "/api/v1/devices/secrets").body(body);
    let request = request.header("content-type", "application/json").header("accept", "text/csv");
    let table = request.send().await.expect("an answer").text().await.expect("text");
    let rows: Vec<_> = table.lines().collect();
    assert_eq!((rows[0], rows.len()), ("id,secret", 3), "{table}");
    let (id, secret) = rows[2].split_once(',').expect("two columns");
    assert_eq!(connack(&hub, Level::V4, "x", id, secret).await, 0);
    assert_eq!(connack(&hub, Level::V4, "x", id, &secret_of(id)).await, 4);
    let (status, _) = post(&hub, "/api/v1/devices/secrets", json!({})).await;
    assert_eq!(status, 422, "not everybody by mistake");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_devices_come_from_a_table_and_go_into_one() {
    let town = Town::new("");
    let rows: String = (0..10_000).map(|n| format!("d-{n},probe\n")).collect();
    let file = town.home.folder.join("devices.csv");
    std::fs::write(&file, format!("id,profile\n{rows}x y,prob\n")).expect("a file");
    let run = |more: &[&str]| town.home.command(more).output().expect("it runs");
    let path = file.to_str().expect("text");
    let refused = run(&["devices", "import", path]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{said}");
    assert!(said.contains("row 10001") && said.contains("did you mean `probe`?"), "{said}");
    std::fs::write(&file, format!("id,profile\n{rows}")).expect("a file");
    let dry = run(&["devices", "import", path, "--dry-run"]);
    assert!(dry.status.success() && dry.stdout.is_empty(), "{dry:?}");
    let begin = std::time::Instant::now();
    let made = run(&["devices", "import", path]);
    println!("10 000 devices on the command line: {:?}", begin.elapsed());
    assert!(made.status.success());
    assert_eq!(String::from_utf8_lossy(&made.stdout).lines().count(), 10_001);
    let table = String::from_utf8(run(&["devices", "export"]).stdout).expect("text");
    let hub = town.home.start();
    let begin = std::time::Instant::now();
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", table).await;
    println!("10 000 unchanged over HTTP: {:?}", begin.elapsed());
    assert_eq!((status, &report["accepted"]), (200, &json!(10_000)));
    assert!(
        report["rows"].as_array().expect("rows").iter().all(|row| row["status"] == "unchanged")
    );
    let more: String = (0..10_000).map(|n| format!("e-{n},probe\n")).collect();
    let request =
        hub.request(Method::POST, "/api/v1/devices/import").body(format!("id,profile\n{more}"));
    let request = request.header("content-type", "text/csv").header("accept", "text/csv");
    let begin = std::time::Instant::now();
    let table = request.send().await.expect("an answer").text().await.expect("text");
    println!("10 000 new over HTTP: {:?}", begin.elapsed());
    assert_eq!(table.lines().count(), 10_001);
}
