//! From a device's publish to a webhook and an MQTT topic, over a SIGKILL while the message is on its way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::{Town, devices, now_us};

struct Hook {
    hangs: AtomicBool,
    seen: mpsc::UnboundedSender<(HeaderMap, Value)>,
}

async fn take(
    State(hook): State<Arc<Hook>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    hook.seen.send((headers, body)).expect("the test listens");
    if hook.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    StatusCode::OK
}

async fn hook() -> (SocketAddr, Arc<Hook>, mpsc::UnboundedReceiver<(HeaderMap, Value)>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let hook = Arc::new(Hook { hangs: AtomicBool::new(true), seen });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&hook));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, hook, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_that_was_on_its_way_comes_again_under_its_key() {
    let (address, hook, mut requests) = hook().await;
    let town = Town::new(&format!(
        "[notify.channels.tickets]\nkind = \"webhook\"\nurl = \"http://{address}/hook\"\nlanguage = \"en\"\n\
         [notify.channels.bus]\nkind = \"mqtt\"\ntopic = \"town/alerts\"\n"
    ));
    let put = ["service", "put", "svc-board", "--subscribe", "town/#"];
    let output = town.home.command(&put).output().expect("it runs");
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = town.home.start();
    hub.import_devices("probe", &devices(1)).await;
    let mut options = MqttOptions::new("board", "127.0.0.1", hub.mqtt.port());
    options.set_credentials("svc-board", secret).set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 4);
    client.subscribe("town/#", QoS::AtMostOnce).await.expect("a request");
    while !matches!(events.poll().await.expect("a connection"), Event::Incoming(Packet::SubAck(_)))
    {
    }

    let mut device = Device::connect(hub.mqtt, Level::V4, "probe-0").await;
    let packet = publish_packet(Level::V4, 1, 7, &device.topic(), &payload(now_us(), 950_000.0));
    device.send(&packet).await;
    let published = loop {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.expect("a message") {
            break publish;
        }
    };
    let told: Value = serde_json::from_slice(&published.payload).expect("JSON");
    assert_eq!((&told["severity"], &told["total"]), (&json!("critical"), &json!(1)), "{told}");
    let (first, body) = requests.recv().await.expect("a request");
    assert_eq!(body["title"], "[Wuzhen] critical alert: probe-0 Level high");
    assert_eq!(body["entries"][0]["device"], "probe-0");

    hub.kill();
    hook.hangs.store(false, Ordering::SeqCst);
    let hub = town.home.start();
    let (second, again) = requests.recv().await.expect("a request");
    assert_eq!(
        (&first["idempotency-key"], &body["entries"]),
        (&second["idempotency-key"], &again["entries"])
    );
    let waits = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let list = hub.get("/api/v1/notifications?channel=tickets&state=sent").await;
            if list["notifications"].as_array().is_some_and(|list| !list.is_empty()) {
                break list;
            }
            tokio::task::yield_now().await;
        }
    });
    let list = waits.await.expect("it is sent");
    assert_eq!(
        (&list["notifications"][0]["attempts"], &list["notifications"][0]["total"]),
        (&json!(2), &json!(1))
    );
    let alert = &again["alerts"][0];
    let of_alert = hub.get(&format!("/api/v1/notifications?alert={alert}")).await;
    assert_eq!(of_alert["notifications"].as_array().map(Vec::len), Some(2), "one for each channel");

    let (status, made) = hub
        .post("/api/v1/notifications/channels/tickets/test", "application/json", String::new())
        .await;
    assert_eq!(status, 202, "{made}");
    let (_, test) = requests.recv().await.expect("a request");
    assert_eq!((&test["test"], &test["message"]), (&json!(true), &made["id"]));
    let channels = hub.get("/api/v1/notifications/channels").await;
    assert_eq!(channels["channels"][1]["target"], "127.0.0.1", "{channels}");
    let metrics = hub.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("townhub_notifications_total{outcome=\"sent\"}"), "{metrics}");
    let (took, well) = hub.terminate();
    assert!(well && took < Duration::from_secs(5), "{took:?}");
}
