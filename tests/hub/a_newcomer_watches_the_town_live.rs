//! The story of a first run: the simulated town introduces itself over HTTP, publishes over MQTT, answers over Modbus;
//! alerts rise within a minute; the console shows them in Chromium, and one is acknowledged there.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::live::Live;
use crate::support::process::{Home, HubProcess};

/// `townsim run` with the demo script; ended when dropped.
struct Town(Child);

impl Town {
    fn start(home: &Home, hub: &HubProcess) -> Self {
        let townsim = Path::new(env!("CARGO_BIN_EXE_townhub")).with_file_name("townsim");
        let child = Command::new(&townsim)
            .args(["run", "--script", "demo", "--duration", "120"])
            .args(["--hub", &format!("http://{}", hub.http), "--mqtt", &hub.mqtt.to_string()])
            .arg("--key-file")
            .arg(home.folder.join("townsim.key"))
            .env("TOWNSIM_TOKEN", home.token())
            .env("RUST_LOG", "warn")
            .spawn()
            .unwrap_or_else(|why| {
                panic!("{}: {why}; `cargo build --workspace`", townsim.display())
            });
        Town(child)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_town_is_on_the_map_and_raises_alerts_within_a_minute() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_townhub"));
    let home = Home::new(binary, folder.path(), &root.join("device-profiles"), "");
    let output = home.command(&["user", "reset", "admin"]).output().expect("it runs");
    let password = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = home.start();
    let mut live = Live::open(&hub, "").await;
    let _town = Town::start(&home, &hub);
    let raised = |name: &'static str| move |alert: &serde_json::Value| alert["name"] == name;
    let minute = Duration::from_secs(60);
    // A gate over Modbus, a manhole over MQTT.
    live.within(minute, "alert", raised("fault")).await;
    live.within(minute, "alert", raised("open")).await;
    let status = hub.get("/api/v1/status").await;
    assert_eq!(
        (&status["devices"]["total"], &status["devices"]["never"]),
        (&502.into(), &0.into())
    );
    let map = hub.get("/api/v1/map?zoom=16").await;
    assert!(map["features"].as_array().expect("features").len() > 500);

    let pictures = root.join("target/pictures");
    let output = Command::new("npx")
        .args(["playwright", "test", "smoke"])
        .current_dir(root.join("dashboards/console"))
        .env("HUB_URL", format!("http://{}", hub.http))
        .env("HUB_PASSWORD", &password)
        .env("PICTURES", &pictures)
        .output()
        .expect("the console's tests are installed: `make console`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    for picture in ["hub-zh-light.png", "hub-en-dark.png"] {
        let bytes = std::fs::metadata(pictures.join(picture)).expect("a picture").len();
        assert!(bytes > 50_000, "{picture} shows something: {bytes} bytes");
    }
    let answer = hub.get("/api/v1/alerts?open=true&limit=1000").await;
    let alerts = answer["alerts"].as_array().expect("a list");
    assert!(alerts.iter().any(|alert| !alert["acknowledged_at"].is_null()), "one was acknowledged");
}
