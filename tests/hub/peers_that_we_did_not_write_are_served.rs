//! mosquitto's clients and paho at the MQTT door, pymodbus behind the poller, mbpoll beside it.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::json;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::live::Live;
use crate::support::process::{Home, HubProcess, secret_of};
use crate::support::{Town, devices, now_us, series};

/// Python with paho and pymodbus, as `make test` installs it.
pub fn python() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-peers/bin/python");
    std::env::var_os("TOWNHUB_TEST_PYTHON").map_or_else(|| default.into(), PathBuf::from)
}

pub fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn mosquitto(tool: &str, hub: &HubProcess, user: &str, secret: &str, more: &[&str]) -> Command {
    let mut command = Command::new(tool);
    let port = hub.mqtt.port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-u", user, "-P", secret]).args(more);
    command
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// A peer that runs until it is dropped, and what it prints.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the peer is installed");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Running { child, lines }
    }

    /// The first line that holds `part`.
    pub fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("a line with {part}"));
            let line = line.expect("text");
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_publishes_in_both_versions_at_every_qos() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut expected = Vec::new();
    for version in ["311", "5"] {
        for qos in ["0", "1", "2"] {
            let body = format!(r#"{{"ts":{},"level":{version}{qos}}}"#, now_us());
            let topic = "probes/mill-lane/probe-0/up";
            let arguments = ["-V", version, "-q", qos, "-t", topic, "-m", &body];
            let output =
                mosquitto("mosquitto_pub", &hub, "probe-0", &secret_of("probe-0"), &arguments)
                    .output()
                    .expect("mosquitto_pub is installed");
            assert!(output.status.success(), "{}", text(&output));
            expected.push(format!("{version}{qos}").parse::<f64>().expect("a number"));
        }
    }
    // Nothing says that a message at QoS 0 has come but the next one of its device that is acknowledged.
    let answer = hub.get(&series("probe-0")).await;
    let stored: Vec<_> =
        answer["points"].as_array().expect("points").iter().map(|p| &p[1]).collect();
    assert_eq!(stored, expected);
    let output = mosquitto("mosquitto_pub", &hub, "probe-0", "wrong", &["-t", "x", "-m", "y"])
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    assert!(text(&output).to_lowercase().contains("user name or password"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_publishes_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [certificate, key] = ["hub.pem", "hub.key"].map(|name| folder.path().join(name));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", text(&output));
    let tls = format!(
        "tls = {{ listen = \"127.0.0.1:0\", certificate = {certificate:?}, key = {key:?} }}\n"
    );
    let town = Town::new(&tls);
    let (hub, tls) = town.home.start_with(|address| address("mqtts"));
    hub.import_devices("probe", &devices(1)).await;
    let port = tls.port().to_string();
    let arguments =
        ["-V", "5", "-q", "1", "-t", "devices/probe-0/telemetry", "-m", r#"{"level":42}"#];
    let publish = |more: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-u", "probe-0", "-P"]);
        command.arg(secret_of("probe-0")).args(arguments).args(more);
        command.output().expect("mosquitto_pub is installed")
    };
    let output = publish(&["--cafile", certificate.to_str().expect("a path")]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(hub.get(&series("probe-0")).await["points"][0][1], 42.0);
    assert!(!publish(&[]).status.success(), "no plain text on the TLS port");
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_sub_sees_what_devices_publish_and_what_was_retained() {
    let town = Town::new("");
    let arguments = ["service", "put", "svc-dash", "--subscribe", "devices/#"];
    let output = town.home.command(&arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    for version in ["311", "5"] {
        let arguments = ["-V", version, "-d", "-t", "devices/+/telemetry", "-F", "got %t %p"];
        let mut command = mosquitto("stdbuf", &hub, "svc-dash", &secret, &arguments);
        // -d lines and messages come unbuffered only so.
        let mut command = with_line_buffering(&mut command, "mosquitto_sub");
        let mut subscriber = Running::start(&mut command);
        subscriber.line_with("Subscribed");
        let body = payload(now_us(), 7.5);
        device.send(&publish_packet(Level::V4, 1, 3, "devices/probe-0/telemetry", &body)).await;
        let got = subscriber.line_with("got ");
        assert!(got.ends_with(std::str::from_utf8(&body).expect("text")), "{got}");
    }
    let mut retained = publish_packet(Level::V4, 1, 4, "devices/probe-0/status", b"online");
    retained[0] |= 1;
    device.send(&retained).await;
    let arguments = ["-C", "1", "-W", "10", "-t", "devices/probe-0/status"];
    let output = mosquitto("mosquitto_sub", &hub, "svc-dash", &secret, &arguments)
        .output()
        .expect("it runs");
    assert_eq!(text(&output).trim(), "online");
    let output = mosquitto("mosquitto_sub", &hub, "svc-dash", &secret, &["-W", "10", "-t", "#"])
        .output()
        .expect("it runs");
    assert!(text(&output).contains("denied"), "{}", text(&output));
    // A last will is a publish too.
    let arguments =
        ["--will-topic", "devices/x/telemetry", "--will-payload", "x", "-t", "devices/#"];
    let output = mosquitto("mosquitto_sub", &hub, "svc-dash", &secret, &arguments)
        .output()
        .expect("it runs");
    assert!(text(&output).contains("not authorised"), "{}", text(&output));
}

/// The same arguments for `tool`, run by stdbuf with line buffering.
fn with_line_buffering(stdbuf: &mut Command, tool: &str) -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", tool]).args(stdbuf.get_args());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_is_served_in_both_versions() {
    let town = Town::new("");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let output = Command::new(python())
        .arg(peer("paho_device.py"))
        .args([&hub.mqtt.port().to_string(), "probe-0", &secret_of("probe-0")])
        .output()
        .expect("Python with paho: run `make deps`");
    assert!(output.status.success(), "{}", text(&output));
    let path = series("probe-0");
    assert_eq!(hub.get(&path).await["points"].as_array().expect("points").len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pymodbus_gate_is_polled_and_mbpoll_moves_it() {
    let mut gate = Running::start(Command::new(python()).arg(peer("pymodbus_gate.py")));
    let port = gate.line_with("PORT").split_whitespace().nth(1).expect("a port").to_owned();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
    let hub = Path::new(env!("CARGO_BIN_EXE_townhub"));
    let hub = Home::new(hub, folder.path(), &profiles, "").start();
    let asset = json!({ "type": "FeatureCollection", "features": [{
        "type": "Feature",
        "geometry": { "type": "Point", "coordinates": [120.4851, 30.745] },
        "properties": { "id": "SG-1", "kind": "sluice-gate", "name_zh": "闸", "name_en": "Gate" },
    }]});
    let (status, report) =
        hub.post("/api/v1/assets/import", "application/geo+json", asset.to_string()).await;
    assert_eq!(status, 200, "{report}");
    let number = hub.get("/api/v1/assets/SG-1").await["number"].clone();
    let mut live = Live::open(&hub, &format!("?assets={number}")).await;
    let csv = format!(
        "id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret\n\
         sg-1,wz-sg200,SG-1,闸,Gate,127.0.0.1:{port},1,\n"
    );
    let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv).await;
    assert_eq!(status, 200, "{report}");
    let is_opening = |value: f64| {
        move |data: &serde_json::Value| {
            let rows = data.as_array().into_iter().flatten();
            rows.into_iter().any(|row| row[2] == "opening" && row[3] == value)
        }
    };
    live.next("value", |data| data.as_array().into_iter().flatten().any(|row| row[2] == "opening"))
        .await;
    let output = Command::new("mbpoll")
        .args(["-0", "-1", "-m", "tcp", "-p", &port, "-a", "1", "-t", "4", "-r", "100"])
        .args(["127.0.0.1", "753"])
        .output()
        .expect("mbpoll is installed");
    assert!(output.status.success(), "{}", text(&output));
    live.next("value", is_opening(75.3)).await;
    let shown = hub.get("/api/v1/devices/sg-1").await;
    assert_eq!(shown["connected"], true);
    drop(gate);
    let is_down = |data: &serde_json::Value| {
        data.as_array().into_iter().flatten().any(|row| row[2] == "opening" && row[5] == "comm")
    };
    live.next("value", is_down).await;
}
