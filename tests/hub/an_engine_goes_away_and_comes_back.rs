//! The hub with VictoriaMetrics behind it: devices and pages do not notice that it is away, a kill in the middle loses nothing, and
//! when it is back it has every reading.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::process::HubProcess;
use crate::support::{Town, devices, now_us, series};

const READINGS: u64 = 200;

/// VictoriaMetrics of the test; ends with it.
struct Engine(Child);

impl Engine {
    /// `None`, loudly, where it is not installed.
    fn start(address: SocketAddr, folder: &std::path::Path) -> Option<Self> {
        let child = Command::new("victoria-metrics")
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", folder.display()))
            .args(["-retentionPeriod=1y", "-memory.allowedBytes=128MB", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Engine(child)),
            Err(why) => {
                eprintln!(
                    "SKIPPED: victoria-metrics cannot be run ({why}); `make deps` installs it"
                );
                None
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_and_pages_do_not_notice() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let address = address.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let town = Town::new(&format!(
        "[store]\nengine = \"victoriametrics\"\nvictoriametrics = {{ url = \"http://{address}\" }}\n"
    ));
    let ids = devices(1);
    let Some(engine) = Engine::start(address, folder.path()) else { return };
    let hub = town.home.start();
    hub.import_devices("probe", &ids).await;
    // It has no past, so the hub knows that all of it is here.
    wait_for(&hub, "the engine is found", |remote| remote["up"] == true).await;
    drop(engine);
    publish(&hub, &ids[0], 0..READINGS / 2).await;
    wait_for(&hub, "the failure is told", |remote| remote["up"] == false).await;
    let remote = hub.get("/api/v1/status").await["remote"].clone();
    assert_eq!(remote["engine"], "VictoriaMetrics");
    assert!(remote["problem"]["why"].as_str().is_some_and(|why| why.contains("does not answer")));
    hub.kill();
    let hub = town.home.start();
    publish(&hub, &ids[0], READINGS / 2..READINGS).await;
    let count = |answer: &serde_json::Value| answer["points"].as_array().map(Vec::len);
    assert_eq!(count(&hub.get(&series(&ids[0])).await), Some(READINGS as usize), "read from here");
    wait_for(&hub, "all of it waits", |remote| remote["queue_readings"] == READINGS).await;
    let metrics = hub.request(Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a text");
    assert!(metrics.contains(&format!("townhub_store_queue{{what=\"readings\"}} {READINGS}")));

    let Some(_engine) = Engine::start(address, folder.path()) else { return };
    wait_for(&hub, "it is sent", |remote| remote["up"] == true && remote["queue_readings"] == 0)
        .await;
    let export = format!("http://{address}/api/v1/export?match[]=level_quality&start=1");
    let stored = reqwest::get(export).await.expect("an answer").text().await.expect("a text");
    let line: serde_json::Value = serde_json::from_str(stored.trim()).expect("one series");
    assert_eq!(line["metric"]["device"], *ids[0]);
    let times = line["timestamps"].as_array().expect("times");
    let times: std::collections::BTreeSet<i64> = times.iter().filter_map(|t| t.as_i64()).collect();
    assert_eq!(times.len(), READINGS as usize);
}

/// Sends readings, each a millisecond after the other, and waits until they are acknowledged.
async fn publish(hub: &HubProcess, id: &str, readings: std::ops::Range<u64>) {
    let mut device = Device::connect(hub.mqtt, Level::V4, id).await;
    let begin = now_us() / 1_000_000 * 1_000_000;
    for n in readings {
        let (topic, body) = (device.topic(), payload(begin + n * 1_000, n as f64));
        device.send(&publish_packet(Level::V4, 1, n as u16 + 1, &topic, &body)).await;
        let answer = device.read_packet().await.expect("a PUBACK");
        assert_eq!(answer[0], 0x40);
    }
}

/// Waits until the hub says so of its engine.
async fn wait_for(hub: &HubProcess, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    for _ in 0..1_200 {
        let status = hub.get("/api/v1/status").await;
        if is_so(&status["remote"]) {
            return;
        }
        // The hub has no way to call back.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: {}", hub.get("/api/v1/status").await["remote"]);
}
