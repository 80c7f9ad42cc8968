//! Messages: how many at QoS 1, and how soon a subscriber has one. mosquitto beside the hub's door.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::generator::{Template, acknowledged, connect, now_us};
use super::process::{Home, HubProcess};
use super::server::Server;
use super::{head, procfs, row};

const CONNECTIONS: usize = 200;
/// Unacknowledged messages of one connection.
const IN_FLIGHT: usize = 512;
/// Messages written at once.
const BURST: usize = 64;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(10);
/// Of one connection, when the latency is measured: 1 000 messages a second together.
const PERIOD: Duration = Duration::from_millis(200);

const PROFILE: &str = r#"
profile      = 1
id           = "bench-3"
name         = "Bench device with three points"
manufacturer = "townhub"
model        = "B-3"
kind         = "manhole"

[source.mqtt]
payload = "json"
time    = { path = "/ts", format = "unix_us", optional = true }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.level]
label = "Level"
unit  = "m"
read  = { path = "/level_mm", scale = 0.001 }
range = [0, 10]
alerts.high = { above = 9.0, clear = 8.0, severity = "critical", text = "Level high" }

[points.flow]
label = "Flow"
unit  = "m3/h"
read  = { path = "/flow", scale = 0.1 }
range = [-500, 5000]

[points.temperature]
label = "Water temperature"
unit  = "Cel"
read  = { path = "/temp", scale = 0.1 }
range = [-20, 60]
"#;

/// What a load came to.
struct Load {
    per_s: f64,
    cpu_per_million: f64,
    peak_mib: f64,
}

/// The hub with its devices and the secret of a service.
async fn hub(folder: &Path) -> (HubProcess, Vec<String>, String) {
    let profiles = folder.join("profiles");
    std::fs::create_dir_all(&profiles).expect("a folder");
    std::fs::write(profiles.join("bench-3.toml"), PROFILE).expect("a profile");
    // The one that was built with the benchmark, unless another is named.
    let built = Path::new(env!("CARGO_BIN_EXE_townhub")).to_owned();
    let binary = std::env::var_os("TOWNHUB_TEST_BINARY").map_or(built, Into::into);
    let mut home =
        Home::new(&binary, &folder.join("home"), &profiles, "max_messages_per_second = 0\n");
    // A subscriber that is behind is told of in every second line.
    home.log = Some(folder.join("log"));
    let mut put = home.command(&["service", "put", "svc-bench", "--subscribe", "devices/#"]);
    let output = put.output().expect("the hub runs");
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = home.start();
    let devices: Vec<String> = (0..CONNECTIONS).map(|i| format!("bench-{i:03}")).collect();
    hub.import_devices("bench-3", &devices).await;
    (hub, devices, secret)
}

pub async fn throughput() {
    let folder = tempfile::tempdir().expect("a folder");
    head(
        "Messages at QoS 1",
        "mosquitto",
        "200 connections, JSON of 99 bytes, 512 in flight each. Hub: a PUBACK says that 3 readings are on disk; they are\n\
         judged, and a service is subscribed to all of them (QoS 0, it may miss some). mosquitto: a PUBACK says that the\n\
         message is in memory; persistence is on (saved every second), one subscriber with a session gets all at QoS 1.",
    );
    let (hub, devices, secret) = hub(folder.path()).await;
    let subscriber = subscribe(hub.mqtt, "svc-bench", &secret, 0).await;
    let ours = load(hub.mqtt, hub.pid(), &devices, subscriber).await;
    drop(hub);
    let theirs = match Server::mosquitto(folder.path()).await {
        None => None,
        Some(server) => {
            let subscriber = subscribe(server.at, "any", "any", 1).await;
            Some(load(server.at, server.pid(), &devices, subscriber).await)
        }
    };
    let of = |figure: fn(&Load) -> f64| (figure(&ours), theirs.as_ref().map(figure));
    let print = |what: &str, (ours, theirs): (f64, Option<f64>)| row(what, ours, theirs);
    print("acknowledged messages/s", of(|load| load.per_s));
    print("server CPU s per million messages", of(|load| load.cpu_per_million));
    print("peak RSS, MiB", of(|load| load.peak_mib));
}

pub async fn latency() {
    let folder = tempfile::tempdir().expect("a folder");
    head(
        "From a device's publish to a subscriber",
        "mosquitto",
        "200 connections, 1 000 messages/s together at QoS 1, one MQTT subscriber to devices/# at QoS 0; ms from just\n\
         before the write to the subscriber's parse. The hub's is behind the disk. (The hub's live feed, alerts included:\n\
         `cargo bench --bench hub -- latency`.)",
    );
    let (hub, devices, secret) = hub(folder.path()).await;
    let subscriber = subscribe(hub.mqtt, "svc-bench", &secret, 0).await;
    let ours = delays(hub.mqtt, &devices, subscriber).await;
    drop(hub);
    let theirs = match Server::mosquitto(folder.path()).await {
        None => None,
        Some(server) => {
            let subscriber = subscribe(server.at, "any", "any", 0).await;
            Some(delays(server.at, &devices, subscriber).await)
        }
    };
    let at = |delays: &[u64], share: f64| {
        delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1_000.0
    };
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        row(&format!("{name}, ms"), at(&ours, share), theirs.as_ref().map(|all| at(all, share)));
    }
    row("messages that came", ours.len() as f64, theirs.map(|all| all.len() as f64));
}

/// Everybody sends as fast as acknowledgements come; the subscriber takes what comes.
async fn load(at: SocketAddr, pid: u32, devices: &[String], subscriber: Subscriber) -> Load {
    let (acked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let reading = tokio::spawn(subscriber.read(|_| ()));
    let mut tasks = JoinSet::new();
    for device in devices {
        let stream = connect(at, device).await;
        tasks.spawn(send(stream, device.clone(), Arc::clone(&acked), Arc::clone(&stop)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (begin, before) = (Instant::now(), acked.load(Ordering::Relaxed));
    let cpu = procfs::cpu_seconds(pid);
    tokio::time::sleep(MEASURED).await;
    let seconds = begin.elapsed().as_secs_f64();
    let messages = (acked.load(Ordering::Relaxed) - before) as f64;
    let cpu = procfs::cpu_seconds(pid) - cpu;
    let peak_mib = procfs::memory_mib(pid, "VmHWM");
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    reading.abort();
    Load { per_s: messages / seconds, cpu_per_million: cpu / messages * 1e6, peak_mib }
}

async fn send(mut stream: TcpStream, device: String, acked: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut template = Template::new(&device);
    let mut out = Vec::with_capacity(BURST * 256);
    let (mut buffer, mut rest) = (vec![0; 16 * 1024], 0);
    let (mut sent, mut in_flight, mut time) = (0_u64, 0, now_us());
    while !stop.load(Ordering::Relaxed) {
        while in_flight + BURST <= IN_FLIGHT {
            out.clear();
            for _ in 0..BURST {
                // A device's own clock never stands still and never runs ahead.
                time += 1;
                out.extend_from_slice(template.patch(sent, time, 1_000 + (sent / 50 % 400) as u32));
                sent += 1;
            }
            in_flight += BURST;
            stream.write_all(&out).await.expect("the server reads");
        }
        let n = acknowledged(&mut stream, &mut buffer, &mut rest).await;
        in_flight -= n;
        acked.fetch_add(n as u64, Ordering::Relaxed);
        time = time.max(now_us());
    }
}

/// The delays of all messages in microseconds, the shortest first.
async fn delays(at: SocketAddr, devices: &[String], subscriber: Subscriber) -> Vec<u64> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(subscriber.read(move |payload| {
        let said = payload.windows(5).position(|w| w == b"\"ts\":").expect("a time") + 5;
        let digits = std::str::from_utf8(&payload[said..said + 16]).expect("digits");
        let sent: u64 = digits.parse().expect("digits");
        // The other end is gone when the measurement is over.
        let _ = sender.send(now_us().saturating_sub(sent));
    }));
    let mut tasks = JoinSet::new();
    for (i, device) in devices.iter().enumerate() {
        let mut stream = connect(at, device).await;
        let device = device.clone();
        tasks.spawn(async move {
            let mut template = Template::new(&device);
            let (mut buffer, mut rest) = ([0; 64], 0);
            let begin = tokio::time::Instant::now() + PERIOD * i as u32 / CONNECTIONS as u32;
            let mut ticks = tokio::time::interval_at(begin, PERIOD);
            for sequence in 0..(MEASURED.as_millis() / PERIOD.as_millis()) as u64 {
                ticks.tick().await;
                stream.write_all(template.patch(sequence, now_us(), 1_000)).await.expect("sent");
                acknowledged(&mut stream, &mut buffer, &mut rest).await;
            }
        });
    }
    let expected = devices.len() as u64 * (MEASURED.as_millis() / PERIOD.as_millis()) as u64;
    let mut delays = Vec::new();
    let all = async {
        while (delays.len() as u64) < expected {
            delays.extend(receiver.recv().await);
        }
    };
    // A subscriber at QoS 0 may miss some: the table says how many came.
    let _ = tokio::time::timeout(MEASURED + Duration::from_secs(5), all).await;
    reading.abort();
    tasks.join_all().await;
    delays.sort_unstable();
    delays
}

/// A client that is subscribed to all telemetry.
struct Subscriber(TcpStream);

async fn subscribe(at: SocketAddr, user: &str, secret: &str, qos: u8) -> Subscriber {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let field = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    // With a session that is kept, where the service level is 1.
    let flags = if qos == 0 { 0b1100_0010 } else { 0b1100_0000 };
    let mut body = field("MQTT");
    body.extend([4, flags, 0, 0]);
    for text in ["subscriber", user, secret] {
        body.extend(field(text));
    }
    assert!(body.len() < 128, "one length byte");
    stream.write_all(&[&[0x10, body.len() as u8][..], &body].concat()).await.expect("sent");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.expect("an answer");
    assert_eq!(connack[3], 0, "let in");
    let body = [&[0, 1][..], &field("devices/#"), &[qos]].concat();
    stream.write_all(&[&[0x82, body.len() as u8][..], &body].concat()).await.expect("sent");
    let mut suback = [0; 5];
    stream.read_exact(&mut suback).await.expect("an answer");
    assert_eq!(suback[4], qos, "subscribed");
    Subscriber(stream)
}

impl Subscriber {
    /// Calls `each` with every payload, and acknowledges what wants it, until the connection ends.
    async fn read(mut self, mut each: impl FnMut(&[u8])) {
        let mut buffer = Vec::with_capacity(256 * 1024);
        let mut acks = Vec::new();
        while self.0.read_buf(&mut buffer).await.is_ok_and(|n| n > 0) {
            let mut at = 0;
            while let Some((first, body, end)) = frame(&buffer[at..]) {
                let body = &buffer[at..][body..end];
                at += end;
                if first >> 4 != 3 {
                    continue;
                }
                let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                let is_acknowledged = first & 0b0110 != 0;
                if is_acknowledged {
                    acks.extend([0x40, 2, body[topic], body[topic + 1]]);
                }
                each(&body[topic + 2 * usize::from(is_acknowledged)..]);
            }
            buffer.drain(..at);
            if self.0.write_all(&acks).await.is_err() {
                return;
            }
            acks.clear();
        }
    }
}

/// First byte, where the body begins, and where the packet ends; `None` when it is not whole.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let mut length = 0;
    for (i, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            let end = 2 + i + length;
            return (bytes.len() >= end).then_some((bytes[0], 2 + i, end));
        }
    }
    None
}
