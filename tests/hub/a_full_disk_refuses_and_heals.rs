//! A data folder on a file system of its own that fills up: readings are refused, not lost, the town's own state goes on,
//! and all is well again when there is room.
//!
//! Needs the right to mount; without it, the scenarios say so and prove nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::hook::{Hook, QUICK, channel};
use crate::support::process::{Home, HubProcess};
use crate::support::{PROBE, devices, now_us, series};

/// The whole file system.
const SIZE_MB: u64 = 96;

/// A file system in memory; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let options = format!("size={SIZE_MB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: this needs the right to mount a file system (run it as root)");
        }
        mounted.then(|| SmallDisk(folder.to_owned()))
    }

    fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.0).expect("it says");
        found.f_bavail * found.f_frsize
    }

    /// Takes all but so much.
    fn fill(&self, left_bytes: u64) {
        let mut filler = std::fs::File::create(self.0.join("filler")).expect("a file");
        let bytes = self.free_bytes().saturating_sub(left_bytes);
        // What does not fit any more fills it all the same.
        let _ = std::io::copy(&mut std::io::Read::take(std::io::repeat(1), bytes), &mut filler);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it was there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

struct Scene {
    hub: HubProcess,
    disk: SmallDisk,
    device: Device,
    sent: u16,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new(config: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let profiles = folder.path().join("profiles");
        std::fs::create_dir(&profiles).expect("a folder");
        std::fs::write(profiles.join("probe.toml"), PROBE).expect("a profile");
        let disk = SmallDisk::mount(&folder.path().join("home/data"))?;
        let binary = Path::new(env!("CARGO_BIN_EXE_townhub"));
        let home = Home::new(binary, &folder.path().join("home"), &profiles, config);
        let hub = home.start();
        let ids = devices(1);
        hub.import_devices("probe", &ids).await;
        let device = Device::connect(hub.mqtt, Level::V4, &ids[0]).await;
        Some(Scene { hub, disk, device, sent: 0, _folder: folder })
    }

    async fn publish(&mut self) {
        self.sent += 1;
        let body = payload(now_us() / 1_000 * 1_000, f64::from(self.sent));
        let topic = self.device.topic();
        self.device.send(&publish_packet(Level::V4, 1, self.sent, &topic, &body)).await;
    }

    /// The number of the message that is acknowledged next, if one is.
    async fn acknowledged(&mut self, within: Duration) -> Option<u16> {
        let packet = tokio::time::timeout(within, self.device.read_packet()).await.ok()?;
        let packet = packet.expect("connected");
        assert_eq!(packet[0], 0x40, "a PUBACK");
        Some(u16::from_be_bytes([packet[2], packet[3]]))
    }

    /// Waits until the status has it.
    async fn until(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let wanted = async {
            loop {
                let status = self.hub.get("/api/v1/status").await;
                if is_it(&status["disk"]) {
                    break status["disk"].clone();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wanted).await.expect("the status says so")
    }

    async fn readyz(&self) -> (u16, String) {
        let response = self.hub.request(Method::GET, "/readyz").send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Waits until the hub says that it is ready; it looks at its parts once a second.
    async fn until_ready(&self) {
        let ready = async {
            while self.readyz().await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready).await.expect("ready again");
    }

    async fn all_are_there(&self) {
        let answer = self.hub.get(&series(&self.device.id)).await;
        let values: Vec<f64> = answer["points"]
            .as_array()
            .expect("points")
            .iter()
            .map(|point| point[1].as_f64().expect("a value"))
            .collect();
        let expected: Vec<f64> = (1..=self.sent).map(f64::from).collect();
        assert_eq!(values, expected);
    }
}

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_are_refused_before_the_disk_is_full() {
    let config = "[store.disk]\nwarn_below = \"60 MB\"\nstop_below = \"20 MB\"\n";
    let Some(mut scene) = Scene::new(config).await else { return };
    scene.publish().await;
    assert_eq!(scene.acknowledged(LONG).await, Some(1));
    scene.until(|disk| disk["state"] == "ok").await;

    scene.disk.fill(40_000_000);
    scene.until(|disk| disk["state"] == "low").await;
    scene.publish().await;
    assert_eq!(scene.acknowledged(LONG).await, Some(2), "a warning stops nothing");
    assert_eq!(scene.readyz().await.0, 200);

    scene.disk.fill(10_000_000);
    let disk = scene.until(|disk| disk["state"] == "full").await;
    assert_eq!(disk["stop_below_bytes"], 20_000_000);
    scene.publish().await;
    assert_eq!(scene.acknowledged(SHORT).await, None, "nothing is acknowledged");
    let (status, body) = scene.readyz().await;
    assert!(status == 503 && body.contains("store"), "{status} {body}");
    let metrics = scene.hub.request(Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("townhub_disk{what=\"state\"} 2"), "{metrics}");
    // The town's own state has room.
    scene.hub.import_devices("probe", &["probe-new".to_owned()]).await;

    scene.disk.make_room();
    assert_eq!(scene.acknowledged(LONG).await, Some(3), "and then it is");
    scene.until(|disk| disk["state"] == "ok").await;
    scene.until_ready().await;
    scene.all_are_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_ends_while_its_disk_is_full() {
    let config = "[store.disk]\nwarn_below = \"60 MB\"\nstop_below = \"20 MB\"\n";
    let Some(mut scene) = Scene::new(config).await else { return };
    scene.disk.fill(10_000_000);
    scene.until(|disk| disk["state"] == "full").await;
    scene.publish().await;
    assert_eq!(scene.acknowledged(SHORT).await, None, "it waits for room");
    let (took, well) = scene.hub.terminate();
    assert!(well && took < LONG, "it ends, after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_a_byte_left_harms_nothing() {
    // The guard is as good as off: others fill the disk faster than it looks.
    let config = "[store.disk]\nwarn_below = \"1 KB\"\nstop_below = \"1 KB\"\n";
    let Some(mut scene) = Scene::new(config).await else { return };
    scene.publish().await;
    assert_eq!(scene.acknowledged(LONG).await, Some(1));
    scene.disk.fill(0);
    // What the log has room for is still taken; then nothing is.
    let mut last = 1;
    loop {
        scene.publish().await;
        match scene.acknowledged(SHORT).await {
            Some(number) => last = number,
            None => break,
        }
    }
    assert!(last < scene.sent);
    scene.disk.make_room();
    while last < scene.sent {
        last = scene.acknowledged(LONG).await.expect("acknowledged in the end");
    }
    scene.all_are_there().await;
}

/// A message that cannot be written cannot be sent as others are; this one must be all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_of_a_disk_without_a_byte_left_and_of_its_end() {
    let mut hook = Hook::start().await;
    let config = format!(
        "[store.disk]\nwarn_below = \"60 MB\"\nstop_below = \"20 MB\"\n[trouble]\nend_after = \"1s\"\n{QUICK}{}",
        channel("duty", hook.address)
    );
    let Some(scene) = Scene::new(&config).await else { return };
    scene.disk.fill(0);
    let raised = hook.next().await;
    let first = raised["entries"][0].clone();
    assert_eq!((&first["event"], &first["code"]), (&"system.raised".into(), &"disk".into()));
    assert_eq!(first["severity"], "critical", "{raised}");
    let open = scene.hub.get("/api/v1/troubles").await["troubles"].clone();
    assert!(open.as_array().is_some_and(|open| open.iter().any(|one| one["code"] == "disk")));

    scene.disk.make_room();
    let returned = loop {
        let told = hook.next().await;
        let entry = told["entries"][0].clone();
        assert_eq!(entry["trouble"], first["trouble"], "{told}");
        // What a disk without room left unsettled comes again under its key.
        if entry["event"] != "system.raised" {
            break entry;
        }
        assert_eq!(told["id"], raised["id"], "{told}");
    };
    assert_eq!(returned["event"], "system.returned", "{returned}");
}
