//! An engineer edits a profile under a running hub: what is good comes into force, what is broken does not, and why is
//! shown; devices stay connected all the while.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::live::Live;
use crate::support::process::HubProcess;
use crate::support::{PROBE, Town, devices, now_us, series};

async fn publish(device: &mut Device, level: f64) {
    let topic = device.topic();
    device.send(&publish_packet(Level::V4, 1, 7, &topic, &payload(now_us(), level))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 7]);
}

/// Asks for the profiles until `is_it` holds. The hub looks at its folder every second and says nothing of it on the
/// feed, so there is no event to wait for.
async fn profiles_when(hub: &HubProcess, is_it: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            let profiles = hub.get("/api/v1/profiles").await;
            if is_it(&profiles) {
                return profiles;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("the profiles become so")
}

const FIXTURE: &str =
    "\n[[test]]\nname = \"calm\"\npayload = '{\"level\": 5}'\nexpect = { level = 5 }\n";

#[tokio::test]
async fn edited_broken_and_mended() {
    let town = Town::new("");
    let file = town.home.folder.join("../profiles/probe.toml");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut live = Live::open(&hub, "").await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    publish(&mut device, 100.0).await;
    let first = hub.get("/api/v1/profiles").await;
    let first = &first["profiles"][0];
    assert_eq!((&first["file"], &first["tests_passed"]), (&json!("probe.toml"), &json!(0)));

    // A lower limit comes into force, and the next reading is judged by it, over the connection that stands.
    let edited = PROBE.replacen("above = 900000, clear = 800000", "above = 500, clear = 400", 1);
    std::fs::write(&file, format!("{edited}{FIXTURE}")).expect("written");
    let shown = profiles_when(&hub, |p| p["profiles"][0]["version"] != first["version"]).await;
    assert_eq!(shown["profiles"][0]["tests_passed"], 1, "{shown}");
    let second = shown["profiles"][0]["version"].clone();
    publish(&mut device, 600.0).await;
    let raised = live.next("alert", |alert| alert["active"] == true).await;
    assert_eq!((&raised.data["limit"], &raised.data["value"]), (&json!(500.0), &json!(600.0)));

    // A fixture that fails keeps it out: the reason is shown and the former version goes on.
    let wrong = FIXTURE.replacen("expect = { level = 5 }", "expect = { level = 6 }", 1);
    let renamed = edited.replacen("above = 500, clear = 400", "above = 50, clear = 40", 1);
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, format!("{renamed}{wrong}")).expect("written");
    std::fs::rename(&beside, &file).expect("renamed");
    let shown = profiles_when(&hub, |p| p["refused"] != json!([])).await;
    let refused = &shown["refused"][0];
    assert_eq!((&refused["file"], &refused["running"]), (&json!("probe.toml"), &json!("probe")));
    assert!(refused["errors"][0].to_string().contains("the test `calm` fails"), "{refused}");
    assert!(refused["since"].is_string(), "{refused}");
    assert_eq!(shown["profiles"][0]["version"], second);
    assert_eq!(shown["profiles"][0]["is_outdated"], true);
    let detail = hub.get("/api/v1/profiles/probe").await;
    assert_eq!(detail["points_in_full"][0]["alerts"][0]["limit"], 500.0, "{detail}");
    assert!(detail["text"].to_string().contains("above = 500"), "the text of what runs");
    publish(&mut device, 300.0).await;
    let cleared = live.next("alert", |alert| alert["active"] == false).await;
    assert_eq!(cleared.data["id"], raised.data["id"]);

    // Torn in the middle, then whole again.
    std::fs::write(&file, &edited[..edited.len() / 2]).expect("written");
    let (status, shown) =
        hub.post("/api/v1/profiles/reload", "application/json", "{}".to_owned()).await;
    assert_eq!((status, &shown["refused"][0]["running"]), (200, &json!("probe")), "{shown}");
    std::fs::write(&file, format!("{renamed}{FIXTURE}")).expect("written");
    let (_, shown) = hub.post("/api/v1/profiles/reload", "application/json", "{}".to_owned()).await;
    assert_eq!(
        (&shown["refused"], &shown["profiles"][0]["is_outdated"]),
        (&json!([]), &json!(false))
    );
    publish(&mut device, 60.0).await;
    let raised = live.next("alert", |alert| alert["active"] == true).await;
    assert_eq!(raised.data["limit"], 50.0);

    // The series is the same all along.
    let stored = hub.get(&series("probe-0")).await;
    let values: Vec<_> =
        stored["points"].as_array().expect("points").iter().map(|p| &p[1]).collect();
    assert_eq!(values, [&json!(100.0), &json!(600.0), &json!(300.0), &json!(60.0)]);
}

#[tokio::test]
async fn a_deleted_profile_serves_its_devices_on() {
    let town = Town::new("");
    let folder = town.home.folder.join("../profiles");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    std::fs::remove_file(folder.join("probe.toml")).expect("removed");
    let shown = profiles_when(&hub, |p| p["profiles"][0]["is_removed"] == true).await;
    assert_eq!(shown["profiles"][0]["devices"], 1);
    publish(&mut device, 5.0).await;
    std::fs::rename(&folder, folder.with_extension("away")).expect("moved");
    let shown = profiles_when(&hub, |p| p["refused"] != json!([])).await;
    assert!(shown["refused"][0]["errors"][0].to_string().contains("cannot read"), "{shown}");
    publish(&mut device, 6.0).await;
    std::fs::rename(folder.with_extension("away"), &folder).expect("moved back");
    std::fs::write(folder.join("probe.toml"), PROBE).expect("written");
    profiles_when(&hub, |p| p["profiles"][0]["is_removed"] == false && p["refused"] == json!([]))
        .await;
    publish(&mut device, 7.0).await;
}
