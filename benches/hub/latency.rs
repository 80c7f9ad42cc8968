//! From a device's publish to the alert on the live feed, at a steady 1 000 messages a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::generator::{Template, acknowledged, connect, now_us};
use super::process::{Home, HubProcess};

const CONNECTIONS: usize = 200;
/// Each connection sends five messages a second: 1 000 together.
const PERIOD: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_secs(20);
/// Every fifth message of a device goes over the limit, the next comes back.
const EVERY: u64 = 5;

type Sent = Arc<Mutex<HashMap<String, Instant>>>;

pub fn run(home: &Home) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure(home));
}

async fn measure(home: &Home) {
    let hub = home.start();
    let devices: Vec<String> = (0..CONNECTIONS).map(|i| format!("bench-{i:03}")).collect();
    hub.import_devices("bench-3", &devices).await;
    let sent: Sent = Arc::default();
    let listener = tokio::spawn(listen(events(&hub).await, Arc::clone(&sent)));
    let mut senders = Vec::new();
    for (i, device) in devices.iter().enumerate() {
        let stream = connect(hub.mqtt, device).await;
        // Spread over the period, as devices are.
        let offset = PERIOD * i as u32 / CONNECTIONS as u32;
        senders.push(tokio::spawn(send(stream, device.clone(), offset, Arc::clone(&sent))));
    }
    for sender in senders {
        sender.await.expect("a sender ends well");
    }
    // The last alerts are on their way; the feed ends with the hub.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (_, well) = hub.terminate();
    assert!(well);
    let mut latencies = listener.await.expect("the listener ends well");
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!("alerts raised                   {}", latencies.len());
    println!("publish -> live feed p50        {:.2} ms", at(0.50).as_secs_f64() * 1e3);
    println!("publish -> live feed p99        {:.2} ms", at(0.99).as_secs_f64() * 1e3);
    println!("publish -> live feed max        {:.2} ms", at(1.0).as_secs_f64() * 1e3);
}

async fn events(hub: &HubProcess) -> reqwest::Response {
    let request = hub.request(reqwest::Method::GET, "/api/v1/live");
    let response = request.send().await.expect("an answer");
    assert!(response.status().is_success());
    response
}

async fn listen(response: reqwest::Response, sent: Sent) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut text = String::new();
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        let now = Instant::now();
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if !event.contains("event: alert") && !event.contains("event:alert") {
                continue;
            }
            let data = event.lines().find_map(|l| l.strip_prefix("data:")).expect("data");
            let alert: serde_json::Value = serde_json::from_str(data).expect("JSON");
            let device = alert["device"].as_str().expect("a device");
            if alert["active"] == true
                && alert["name"] == "high"
                && let Some(begin) = sent.lock().expect("whole").remove(device)
            {
                latencies.push(now - begin);
            }
        }
    }
    latencies
}

async fn send(mut stream: TcpStream, device: String, offset: Duration, sent: Sent) {
    let mut template = Template::new(&device);
    let mut buffer = [0; 64];
    let begin = tokio::time::Instant::now() + offset;
    let mut ticks = tokio::time::interval_at(begin, PERIOD);
    let mut rest = 0;
    for sequence in 0..(MEASURED.as_millis() / PERIOD.as_millis()) as u64 {
        ticks.tick().await;
        let is_over = sequence % EVERY == EVERY - 1;
        let level = if is_over { 9_500 } else { 1_000 };
        if is_over {
            sent.lock().expect("whole").insert(device.clone(), Instant::now());
        }
        let packet = template.patch(sequence, now_us(), level);
        stream.write_all(packet).await.expect("the hub reads");
        acknowledged(&mut stream, &mut buffer, &mut rest).await;
    }
}
