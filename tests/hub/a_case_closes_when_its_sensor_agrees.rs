//! The whole loop over real MQTT and HTTP, with a SIGKILL after each half: an alert opens a case, a crew is sent and does its
//! work, and nobody can close it before the sensor says that all is well.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::live::Live;
use crate::support::process::{Home, HubProcess};
use crate::support::{Town, devices, now_us};

const OVER: f64 = 950_000.0;
const CALM: f64 = 100.0;
/// Its sensor's word counts at once: the time that it must hold is proven in the case room's own tests.
const CONFIG: &str = "[case]\nhold = \"0s\"";

/// A person with a token.
pub struct Person {
    name: &'static str,
    token: String,
}

impl Person {
    pub fn new(home: &Home, name: &'static str, role: &str) -> Self {
        let run = |arguments: &[&str]| {
            let output = home.command(arguments).output().expect("the hub runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        run(&["user", "add", name, "--role", role]);
        let token = run(&["token", "create", "--label", name, "--user", name]);
        Person { name, token }
    }

    /// Makes a move; returns the status and the case, or what is wrong.
    async fn make(&self, hub: &HubProcess, wanted: &str, case: u64, body: Value) -> (u16, Value) {
        let path = format!("/api/v1/cases/{case}/{wanted}");
        let request = hub
            .request(Method::POST, &path)
            .header("authorization", format!("Bearer {}", self.token))
            .json(&body);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// Makes a move that must succeed on the present version.
    pub async fn does(&self, hub: &HubProcess, wanted: &str, case: u64, extra: Value) -> Value {
        let version = show(hub, case).await["case"]["version"].clone();
        let mut body = json!({ "version": version, "note": format!("{}: {wanted}", self.name) });
        for (key, value) in extra.as_object().expect("members") {
            body[key] = value.clone();
        }
        let (status, answer) = self.make(hub, wanted, case, body).await;
        assert_eq!(status, 200, "{} {wanted}: {answer}", self.name);
        answer
    }
}

async fn show(hub: &HubProcess, case: u64) -> Value {
    hub.get(&format!("/api/v1/cases/{case}")).await
}

async fn publish(hub: &HubProcess, level: f64) {
    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let topic = device.topic();
    device.send(&publish_packet(Level::V4, 1, 7, &topic, &payload(now_us(), level))).await;
    assert_eq!(device.read_packet().await.expect("an answer"), [0x40, 2, 0, 7]);
}

#[tokio::test]
async fn raised_sent_done_refused_killed_and_closed_by_the_sensor() {
    let town = Town::new(CONFIG);
    let dispatcher = Person::new(&town.home, "dispatcher", "dispatcher");
    let crew = Person::new(&town.home, "crew", "handler");
    let supervisor = Person::new(&town.home, "supervisor", "supervisor");
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let unit = json!({ "name": { "zh": "抢修队", "en": "Crew" }, "members": ["crew"] });
    let put = hub.request(Method::PUT, "/api/v1/units/crew").json(&unit).send().await;
    assert!(put.expect("an answer").status().is_success());

    let mut live = Live::open(&hub, "").await;
    publish(&hub, OVER).await;
    let alert = live.next("alert", |alert| alert["active"] == true).await.data;
    let opened = live.next("case", |case| case["stage"] == "opened").await.data;
    let case = opened["id"].as_u64().expect("a number");
    assert_eq!(
        (&opened["alerts"], &opened["severity"]),
        (&json!([alert["id"]]), &json!("critical"))
    );

    let sent = dispatcher.does(&hub, "dispatch", case, json!({ "unit": "crew" })).await;
    assert!(sent["deadlines"]["fix"].is_string(), "the clock starts at dispatch: {sent}");
    crew.does(&hub, "accept", case, json!({})).await;
    let before = show(&hub, case).await;
    hub.kill();

    let hub = town.home.start();
    let after = show(&hub, case).await;
    assert_eq!((&after["case"], &after["events"]), (&before["case"], &before["events"]));
    crew.does(&hub, "handle", case, json!({})).await;
    crew.does(&hub, "report", case, json!({})).await;
    let version = show(&hub, case).await["case"]["version"].clone();
    let (status, problem) = crew.make(&hub, "verify", case, json!({ "version": version })).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    supervisor.does(&hub, "verify", case, json!({})).await;

    let version = show(&hub, case).await["case"]["version"].clone();
    let close = json!({ "version": version });
    let (status, problem) = supervisor.make(&hub, "close", case, close.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("sensor_disagrees")), "{problem}");
    let lacking = &problem["lacking"][0];
    assert_eq!((&lacking["alert"], &lacking["missing"]), (&alert["id"], &json!("clear")));
    assert_eq!((&lacking["value"], &lacking["clear"]), (&json!(OVER), &json!(800_000.0)));
    assert_eq!(problem["allowed"], json!(["reject", "close"]));
    hub.kill();

    let hub = town.home.start();
    let (status, problem) = supervisor.make(&hub, "close", case, close.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("sensor_disagrees")), "{problem}");
    let mut live = Live::open(&hub, "").await;
    publish(&hub, CALM).await;
    live.next("alert", |alert| alert["active"] == false).await;
    let stale = json!({ "version": 1 });
    let (status, problem) = supervisor.make(&hub, "close", case, stale).await;
    assert_eq!((status, &problem["code"]), (409, &json!("version_conflict")), "{problem}");
    let (status, closed) = supervisor.make(&hub, "close", case, close).await;
    assert_eq!((status, &closed["stage"]), (200, &json!("closed")), "{closed}");
    assert_eq!(closed["proof"], json!({ "by": "sensor" }));
    hub.kill();

    let hub = town.home.start();
    let detail = show(&hub, case).await;
    let events: Vec<(u64, &str)> = detail["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| (event["version"].as_u64().expect("one"), event["what"].as_str().expect("it")))
        .collect();
    let told = ["opened", "dispatched", "accepted", "handled", "reported", "verified", "closed"];
    let told: Vec<(u64, &str)> = (1..).zip(told).collect();
    assert_eq!(events, told, "nothing lost, nothing twice");
    let open = hub.get("/api/v1/cases?open=true").await;
    assert_eq!(open["cases"], json!([]));
}
