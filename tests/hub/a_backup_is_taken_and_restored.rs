//! A backup is taken while devices send; the hub is killed and its data is lost; restored, everything that was
//! acknowledged before the backup began is there, and the alert and its case go on.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::peers_that_we_did_not_write_are_served::{peer, python};
use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::live::Live;
use crate::support::process::{Home, HubProcess};
use crate::support::{Town, devices, now_us, series};

fn run(home: &Home, arguments: &[&str]) -> (bool, String, String) {
    let output = home.command(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn done(home: &Home, arguments: &[&str]) -> String {
    let (is_good, out, err) = run(home, arguments);
    assert!(is_good, "{arguments:?}: {out} {err}");
    out
}

/// Publishes and waits for the acknowledgement, until the hub is gone. What was acknowledged: times in milliseconds.
async fn send(mut device: Device, acknowledged: Arc<Mutex<Vec<u64>>>) {
    let topic = device.topic();
    for number in 1_u64.. {
        let at_ms = now_us() / 1_000;
        let id = (number % 60_000 + 1) as u16;
        let packet =
            publish_packet(Level::V4, 1, id, &topic, &payload(at_ms * 1_000, number as f64));
        if tokio::io::AsyncWriteExt::write_all(&mut device.stream, &packet).await.is_err() {
            return;
        }
        let Some(packet) = device.read_packet().await else { return };
        assert_eq!(packet[0], 0x40, "a PUBACK");
        acknowledged.lock().expect("a list").push(at_ms);
        // The next one is of another millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn open_alerts(hub: &HubProcess) -> Value {
    let answer = hub.get("/api/v1/alerts").await;
    answer["alerts"]
        .as_array()
        .or(answer.as_array())
        .map_or(answer.clone(), |all| Value::Array(all.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_the_backup_survives_the_loss_of_the_data() {
    let town = Town::new("max_messages_per_second = 0\n");
    let home = &town.home;
    let hub = home.start();
    let ids = devices(4);
    hub.import_devices("probe", &ids).await;

    // An alert, and its case.
    let mut live = Live::open(&hub, "").await;
    let mut first = Device::connect(hub.mqtt, Level::V4, &ids[0]).await;
    let topic = first.topic();
    first.send(&publish_packet(Level::V4, 1, 1, &topic, &payload(now_us(), 950_000.0))).await;
    assert!(first.read_packet().await.is_some());
    live.next("alert", |alert| alert["device"] == ids[0].as_str()).await;
    let case = live.next("case", |_| true).await.data;

    let acknowledged: Vec<Arc<Mutex<Vec<u64>>>> = (1..4).map(|_| Arc::default()).collect();
    let mut sending = Vec::new();
    for (id, acknowledged) in ids[1..].iter().zip(&acknowledged) {
        let device = Device::connect(hub.mqtt, Level::V4, id).await;
        sending.push(tokio::spawn(send(device, Arc::clone(acknowledged))));
    }
    let some = || acknowledged.iter().all(|list| list.lock().expect("a list").len() > 20);
    while !some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before: Vec<Vec<u64>> =
        acknowledged.iter().map(|list| list.lock().expect("a list").clone()).collect();
    let backups = home.folder.join("backups");
    let backup =
        tokio::task::block_in_place(|| done(home, &["backup", backups.to_str().expect("text")]));
    tokio::task::block_in_place(|| {
        done(home, &["check"]);
        done(home, &["check", &backup]);
        let (is_good, _, err) = run(home, &["restore", &backup]);
        assert!(!is_good && err.contains("a hub works on"), "{err}");
    });
    let during = acknowledged[0].lock().expect("a list").len();
    assert!(during > before[0].len(), "readings are taken during a backup");
    let alert = open_alerts(&hub).await[0]["id"].clone();
    hub.kill();
    for task in sending {
        task.await.expect("a sender ends well");
    }

    // The disk is lost.
    std::fs::rename(home.folder.join("data"), home.folder.join("lost")).expect("it was there");
    tokio::task::block_in_place(|| done(home, &["restore", &backup]));
    let hub = home.start();
    for (id, before) in ids[1..].iter().zip(&before) {
        let answer = hub.get(&series(id)).await;
        let points = answer["points"].as_array().expect("points");
        let times: Vec<u64> = points.iter().map(|point| point[0].as_u64().expect("ms")).collect();
        for time in before {
            assert!(times.contains(time), "{id}: acknowledged before the backup, and lost");
        }
    }
    assert_eq!(open_alerts(&hub).await[0]["id"], alert, "the alert is still open");
    let path = format!("/api/v1/cases/{}", case["id"]);
    let response = hub.request(Method::GET, &path).send().await.expect("an answer");
    assert!(response.status().is_success(), "the case is there: {}", response.status());
    // The loop goes on: the level falls, and the alert knows.
    let mut live = Live::open(&hub, "").await;
    let mut first = Device::connect(hub.mqtt, Level::V4, &ids[0]).await;
    first.send(&publish_packet(Level::V4, 1, 1, &topic, &payload(now_us(), 100.0))).await;
    assert!(first.read_packet().await.is_some());
    live.next("alert", |event| event["id"] == alert && event["active"] == false).await;

    // Somebody else's program reads the export.
    let out = home.folder.join("out.parquet");
    tokio::task::block_in_place(|| {
        let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
        let arguments = [
            "export",
            "--from",
            &day.to_string(),
            "--to",
            &end.to_string(),
            "--format",
            "parquet",
            out.to_str().expect("text"),
        ];
        done(home, &arguments);
    });
    let output = Command::new(python())
        .arg(peer("duckdb_reads.py"))
        .arg(&out)
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read["types"]["observed_at"], "TIMESTAMP WITH TIME ZONE");
    assert_eq!(read["types"]["value"], "DOUBLE");
    assert_eq!(read["units"], serde_json::json!(["m"]));
    assert_eq!(read["last"][&ids[0]], 100.0);
    for id in &ids {
        let answer = hub.get(&series(id)).await;
        let stored = answer["points"].as_array().expect("points").len();
        assert_eq!(read["rows"][id], stored, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_makes_backups_by_itself_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[store.backup]\nfolder = {:?}\nevery = \"1d\"\nkeep = 2\n[store.disk]\nstop_below = \"1 MB\"\n",
        folder.path().join("backups")
    );
    let town = Town::new(&config);
    let hub = town.home.start();
    let wanted = async {
        loop {
            let status = hub.get("/api/v1/status").await;
            if status["backups"]["last_at"].is_string() {
                break status["backups"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let backups = tokio::time::timeout(Duration::from_secs(20), wanted)
        .await
        .expect("the first is made at once");
    assert_eq!(backups["failure"], Value::Null);
    let metrics = hub.request(Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("townhub_backup{what=\"failed\"} 0"), "{metrics}");
    assert!(metrics.contains("townhub_backup{what=\"age_seconds\"}"), "{metrics}");
    let made = std::fs::read_dir(folder.path().join("backups")).expect("a folder");
    let made =
        made.filter_map(Result::ok).filter(|entry| entry.path().join("manifest.json").exists());
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 1);
    assert!(made[0].path().join("townhub.toml").is_file(), "with its configuration");
    assert!(made[0].path().join("profiles/probe.toml").is_file(), "and its profiles");
    assert!(hub.terminate().1, "it ends well");
}
