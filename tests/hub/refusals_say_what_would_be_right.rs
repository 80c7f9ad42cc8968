//! Bad payloads, unknown things, broken files: each is refused with what is wrong, and kept where a person can see it.

use serde_json::json;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::{Town, devices, now_us, series};

#[tokio::test]
async fn a_payload_that_does_not_decode_is_kept_and_shown() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V5, "probe-0").await;
    let topic = device.topic();
    for (body, reason) in [
        (&b"{\"ts\":1, \"level\":"[..], "not_json"),
        (&b"\xFF\xFE"[..], "not_json"),
        (&b"{\"level\":[1]}"[..], "wrong_type"),
        (&b"{\"other\":1}"[..], "no_point"),
    ] {
        device.send(&publish_packet(Level::V5, 1, 3, &topic, body)).await;
        let answer = device.read_packet().await.expect("an answer");
        assert_eq!(answer, [0x40, 3, 0, 3, 0x99], "payload format invalid");
        let shown = hub.get("/api/v1/devices/probe-0").await;
        let kept = &shown["undecoded"][0];
        assert_eq!(kept["reason"], reason, "{kept}");
        assert_eq!(kept["size"], body.len());
        assert!(kept["message"].as_str().expect("text").len() > 10);
    }
    for _ in 0..40 {
        device.send(&publish_packet(Level::V5, 0, 0, &topic, b"x")).await;
    }
    device.send(&publish_packet(Level::V5, 1, 4, &topic, &payload(now_us(), 2.5))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 4]);
    let shown = hub.get("/api/v1/devices/probe-0").await;
    assert_eq!(shown["undecoded"].as_array().expect("a list").len(), 16, "bounded");
    let stored = hub.get(&series("probe-0")).await;
    assert_eq!(stored["points"][0][1], 2.5, "and the device goes on");
    let status = hub.get("/api/v1/status").await;
    assert_eq!(status["readings"]["undecoded"], 44);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_told_what_would() {
    let town = Town::new("");
    let hub = town.home.start();
    for (path, status, says) in [
        ("/api/v1/map?bbox=1,2,3", 400, "west,south,east,north"),
        ("/api/v1/map?bbox=5,0,1,2", 400, "inside out"),
        ("/api/v1/map?kinds=castle", 400, "manhole"),
        ("/api/v1/devices/nobody", 404, "nobody"),
        ("/api/v1/series/nobody/level", 404, "nobody"),
        ("/api/v1/nothing", 404, ""),
    ] {
        let answer = hub.request(reqwest::Method::GET, path).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        let problem: serde_json::Value = answer.json().await.expect("JSON");
        assert!(problem["detail"].to_string().contains(says), "{path}: {problem}");
    }
}

#[tokio::test]
async fn an_import_with_one_bad_row_changes_nothing() {
    let town = Town::new("");
    let hub = town.home.start();
    let csv = "id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret\n\
               good,probe,,好,Good,,,\n\
               bad/id,probe,,坏,Bad,,,\n\
               lost,prob,,丢,Lost,,,\n";
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv.to_owned()).await;
    assert_eq!((status, &report["applied"]), (422, &json!(false)), "{report}");
    assert_eq!((&report["accepted"], &report["rejected"]), (&json!(1), &json!(2)));
    assert_eq!(report["rows"][1]["status"], "rejected");
    assert!(report["rows"][2]["errors"].to_string().contains("probe"), "a near miss: {report}");
    assert_eq!(hub.get("/api/v1/devices").await["devices"], json!([]));
}

#[test]
fn a_broken_configuration_is_refused_by_name() {
    let town = Town::new("");
    let file = town.home.folder.join("townhub.toml");
    for (text, says) in [
        ("[mqtt]\nlissten = 'x'\n", "listen"),
        ("[mqtt]\nlisten = 'nowhere'\n", "mqtt.listen = nowhere"),
        (
            "profiles = '/does/not/exist'\n[http]\nlisten='127.0.0.1:0'\n[mqtt]\nlisten='127.0.0.1:0'\n",
            "/does/not/exist",
        ),
        ("= 3", "townhub.toml"),
    ] {
        let data = format!("data = {:?}\n", town.home.folder.join("other"));
        let text = if text.starts_with('[') || text.starts_with('p') {
            data + text
        } else {
            text.to_owned()
        };
        std::fs::write(&file, text).expect("a file");
        let output = town.home.command(&["run"]).output().expect("it runs");
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(says), "{error} should say {says}");
        assert!(!error.contains("panicked"), "{error}");
    }
}
