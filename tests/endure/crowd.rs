//! Consumers that do not read, clients that come and go, and more load than the hub takes: nobody else is harmed, and memory
//! stays flat.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::fleet::Fleet;
use crate::kills::CONFIG;
use crate::procfs;
use crate::support::device::{
    Device, Level, connect_packet, field, packet, payload, publish_packet,
};
use crate::support::process::{HubProcess, secret_of};
use crate::support::{PROBE, Town, now_us};
use crate::task::{Outcome, Task};
use crate::watch::{Memory, Watch};

/// A controller that is polled every 100 ms.
const SLAVE: &str = r#"
profile      = 1
id           = "slave"
name         = "Controller"
manufacturer = "townhub"
model        = "T-2"
kind         = "manhole"

[source.modbus]
timeout = "300ms"
poll    = { fast = "100ms" }

[staleness]
stale_after = "1h"
dead_after  = "2h"

[points.level]
label = "Level"
unit  = "m"
read  = { table = "holding", address = 0, type = "u16", poll = "fast" }
"#;

/// Growth of a hub that has warmed up, in KiB a minute, in a run that is long enough to tell.
const MOST_SLOPE: f64 = 2_048.0;
const MOST_MIB: f64 = 400.0;
/// Acknowledged within this time, whatever others do.
const MOST_WAIT: Duration = Duration::from_secs(2);

fn on_runtime<F: Future>(work: F) -> F::Output {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work)
}

/// SSE pages and MQTT services that stop reading, a webhook that never answers, a Modbus controller that is silent.
pub fn dead_consumers(task: &Task) -> Outcome {
    on_runtime(async {
        let (address, polled) = silent_peer().await;
        let (hook, told) = silent_peer().await;
        let config = format!(
            "{CONFIG}[notify.channels.dead]\nkind = \"webhook\"\nurl = \"http://{hook}/hook\"\n"
        );
        let mut town =
            Town::with_profiles(&config, &[("probe.toml", PROBE), ("slave.toml", SLAVE)]);
        town.home.log = Some(town.home.folder.join("log"));
        let put = town.home.command(&["service", "put", "svc-deaf", "--subscribe", "devices/#"]);
        let output = { put }.output().expect("it runs");
        let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        let hub = town.home.start();
        let mut fleet = Fleet::new(20);
        fleet.register(&hub).await;
        let rows: String = (1..=20).map(|i| format!("slave-{i},slave,{address},{i}\n")).collect();
        let csv = format!("id,profile,modbus_endpoint,modbus_unit\n{rows}");
        let (status, report) = hub.post("/api/v1/devices/import", "text/csv", csv).await;
        assert_eq!(status, 200, "{report}");
        let mut deaf = Vec::new();
        for i in 0..50 {
            deaf.push(page(&hub, &town).await);
            deaf.push(service_that_does_not_read(hub.mqtt, i, &secret).await);
        }
        let watch = Watch::begin(hub.pid());
        let slowest = load(&hub, &mut fleet, task.time(60, 5)).await;
        let memory = watch.end();
        fleet.check_readings(&hub).await;
        fleet.check_alerts(&hub).await;
        flat(&memory);
        let [polled, told] = [polled, told].map(|taken| taken.load(Ordering::Relaxed));
        assert!(polled > 0 && told > 0, "polls {polled}, messages {told}");
        assert!(slowest < MOST_WAIT, "others wait {slowest:?}");
        Outcome::Well(vec![
            "50 pages and 50 services that do not read, a silent webhook, 20 silent controllers"
                .to_owned(),
            format!("{} acknowledged readings, none lost, none twice", fleet.acknowledged()),
            format!("slowest query {:.2} s", slowest.as_secs_f64()),
            memory.describe(),
        ])
    })
}

/// A thousand clients that connect, say something and go, again and again, while others work.
pub fn reconnects(task: &Task) -> Outcome {
    const CLIENTS: usize = 1_000;
    on_runtime(async {
        let mut town = Town::new(CONFIG);
        town.home.log = Some(town.home.folder.join("log"));
        let hub = town.home.start();
        let mut fleet = Fleet::new(8);
        fleet.register(&hub).await;
        let restless: Vec<String> = (0..CLIENTS).map(|i| format!("restless-{i}")).collect();
        hub.import_devices("probe", &restless).await;
        let (rounds, time) = (Arc::new(AtomicU64::new(0)), task.time(60, 5));
        let end = Instant::now() + time;
        let mut tasks = tokio::task::JoinSet::new();
        for id in restless {
            tasks.spawn(come_and_go(hub.mqtt, id, end, Arc::clone(&rounds)));
        }
        let before = procfs::cpu_seconds(hub.pid());
        let watch = Watch::begin(hub.pid());
        let slowest = load(&hub, &mut fleet, time).await;
        let memory = watch.end();
        let cpu = procfs::cpu_seconds(hub.pid()) - before;
        tasks.join_all().await;
        fleet.check_readings(&hub).await;
        fleet.check_alerts(&hub).await;
        flat(&memory);
        let rounds = rounds.load(Ordering::Relaxed);
        assert!(rounds > CLIENTS as u64, "they came again: {rounds}");
        Outcome::Well(vec![
            format!("{rounds} connections of {CLIENTS} clients in {:.0} s", time.as_secs_f64()),
            format!(
                "{} acknowledged readings of others, none lost, none twice",
                fleet.acknowledged()
            ),
            format!("slowest query {:.2} s, hub CPU {cpu:.0} s", slowest.as_secs_f64()),
            memory.describe(),
        ])
    })
}

/// Ten times the load that the hub takes: what it does not take stands in the devices' sockets.
pub fn overload(task: &Task) -> Outcome {
    on_runtime(async {
        let mut town = Town::new(CONFIG);
        town.home.log = Some(town.home.folder.join("log"));
        let hub = town.home.start();
        let ids: Vec<String> = (0..200).map(|i| format!("flood-{i}")).collect();
        hub.import_devices("probe", &ids).await;
        let first = flood(&hub, &ids, f64::INFINITY, Duration::from_secs(5)).await;
        let takes = first.per_s();
        let offered = 10.0 * takes;
        let watch = Watch::begin(hub.pid());
        let flooded = flood(&hub, &ids, offered, task.time(60, 5)).await;
        let memory = watch.end();
        let status = hub.get("/api/v1/status").await;
        let stored = status["readings"]["stored"].as_u64().expect("a number");
        let acknowledged = first.acknowledged + flooded.acknowledged;
        assert!(stored >= acknowledged, "{stored} stored of {acknowledged}");
        flat(&memory);
        Outcome::Well(vec![
            format!("takes {takes:.0} messages/s beside the generator"),
            format!("{offered:.0}/s offered, {:.0}/s acknowledged", flooded.per_s()),
            format!("slowest query {:.2} s", flooded.slowest.as_secs_f64()),
            memory.describe(),
        ])
    })
}

/// A steady load for an hour, with pages that read, and its memory's slope.
pub fn soak(task: &Task) -> Outcome {
    on_runtime(async {
        let mut town = Town::new(CONFIG);
        town.home.log = Some(town.home.folder.join("log"));
        let hub = town.home.start();
        let mut fleet = Fleet::new(20);
        fleet.register(&hub).await;
        let pages: Vec<_> =
            futures_util::future::join_all((0..10).map(|_| page(&hub, &town))).await;
        let reading: Vec<_> = pages.into_iter().map(|page| tokio::spawn(read_all(page))).collect();
        let watch = Watch::begin(hub.pid());
        let time = task.time(3_600, 10);
        let before = procfs::cpu_seconds(hub.pid());
        let slowest = load(&hub, &mut fleet, time).await;
        let cpu = procfs::cpu_seconds(hub.pid()) - before;
        let memory = watch.end();
        fleet.check_readings(&hub).await;
        let (raises, alerts, cases) = fleet.check_alerts(&hub).await;
        reading.iter().for_each(tokio::task::JoinHandle::abort);
        flat(&memory);
        Outcome::Well(vec![
            format!("{:.0} min", time.as_secs_f64() / 60.0),
            format!("{} acknowledged readings, none lost, none twice", fleet.acknowledged()),
            format!("{raises} raises in {alerts} alerts and {cases} cases"),
            format!("slowest query {:.2} s, hub CPU {cpu:.0} s", slowest.as_secs_f64()),
            memory.describe(),
        ])
    })
}

fn flat(memory: &Memory) {
    assert!(memory.max_mib() < MOST_MIB, "{}", memory.describe());
    let slope = memory.slope_kib_per_minute();
    assert!(memory.minutes() < 9.0 || slope < MOST_SLOPE, "{}", memory.describe());
}

/// The fleet sends for so long, and everything is acknowledged in the end; returns how long the slowest query took.
async fn load(hub: &HubProcess, fleet: &mut Fleet, time: Duration) -> Duration {
    let sending = fleet.keep_sending(hub.mqtt);
    let slowest = ask(hub, time).await;
    fleet.devices = sending.finish(Duration::from_secs(60)).await;
    slowest
}

/// Asks the API ten times a second; returns how long the slowest answer took.
async fn ask(hub: &HubProcess, time: Duration) -> Duration {
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    while begin.elapsed() < time {
        let asked = Instant::now();
        hub.get("/api/v1/alerts?open=true").await;
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    slowest
}

/// A peer that takes connections and says nothing, ever; how many it took.
async fn silent_peer() -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let taken = Arc::new(AtomicU64::new(0));
    tokio::spawn(take_and_say_nothing(silent, Arc::clone(&taken)));
    (address, taken)
}

async fn take_and_say_nothing(listener: TcpListener, taken: Arc<AtomicU64>) {
    let mut kept = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        taken.fetch_add(1, Ordering::Relaxed);
        kept.push(stream);
        // The oldest is let go: a dead peer has no endless sockets either.
        if kept.len() > 200 {
            kept.remove(0);
        }
    }
}

/// A live feed whose head was read.
async fn page(hub: &HubProcess, town: &Town) -> TcpStream {
    let mut stream = TcpStream::connect(hub.http).await.expect("the hub listens");
    let request = format!(
        "GET /api/v1/live HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\n\r\n",
        town.home.token()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

async fn read_all(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
}

async fn service_that_does_not_read(hub: SocketAddr, i: usize, secret: &str) -> TcpStream {
    let mut stream = TcpStream::connect(hub).await.expect("the hub listens");
    let client = format!("deaf-{i}");
    stream.write_all(&connect_packet(Level::V4, &client, "svc-deaf", secret)).await.expect("sent");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.expect("an answer");
    assert_eq!(connack, [0x20, 2, 0, 0], "{client} is let in");
    let body = [&[0, 1][..], &field(b"devices/#"), &[1]].concat();
    stream.write_all(&packet(0x82, &body)).await.expect("sent");
    let mut suback = [0; 5];
    stream.read_exact(&mut suback).await.expect("an answer");
    assert_eq!(suback[..4], [0x90, 3, 0, 1]);
    stream
}

async fn come_and_go(hub: SocketAddr, id: String, end: Instant, rounds: Arc<AtomicU64>) {
    // With a session that the client wants kept: the hub must not keep a thing for each of them for ever.
    let mut connect = connect_packet(Level::V4, &id, &id, &secret_of(&id));
    let flags = 2 + 6 + 1;
    connect[flags] &= !0b10;
    let body = [&field(format!("devices/{id}/commands/#").as_bytes())[..], &[1]].concat();
    let subscribe = packet(0x82, &[&[0, 1][..], &body].concat());
    while Instant::now() < end {
        let round = async {
            let mut stream = TcpStream::connect(hub).await?;
            stream.write_all(&connect).await?;
            let mut connack = [0; 4];
            stream.read_exact(&mut connack).await?;
            stream.write_all(&subscribe).await?;
            let mut suback = [0; 5];
            stream.read_exact(&mut suback).await?;
            std::io::Result::Ok(connack)
        };
        if let Ok(connack) = round.await {
            assert_eq!(connack[3], 0, "{id} is let in: {connack:?}");
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a flood came to.
struct Flooded {
    acknowledged: u64,
    seconds: f64,
    slowest: Duration,
}

impl Flooded {
    fn per_s(&self) -> f64 {
        self.acknowledged as f64 / self.seconds
    }
}

/// All devices together want to send so many messages a second, whatever is acknowledged.
async fn flood(hub: &HubProcess, ids: &[String], per_s: f64, time: Duration) -> Flooded {
    let mut streams = Vec::new();
    for id in ids {
        streams.push(Device::connect(hub.mqtt, Level::V4, id).await);
    }
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let each = per_s / ids.len() as f64;
    for Device { stream, id } in streams {
        let (read, write) = stream.into_split();
        tasks.spawn(send_at(write, id, each));
        tasks.spawn(count_acknowledgements(read, Arc::clone(&acknowledged)));
    }
    let begin = Instant::now();
    let slowest = ask(hub, time).await;
    let seconds = begin.elapsed().as_secs_f64();
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    tasks.shutdown().await;
    Flooded { acknowledged, seconds, slowest }
}

/// Writes what is due at this rate, as soon as the socket takes it.
async fn send_at(mut write: OwnedWriteHalf, id: String, per_s: f64) {
    const BURST: u64 = 64;
    let topic = format!("devices/{id}/telemetry");
    let (begin, mut sent, mut last) = (Instant::now(), 0_u64, 0);
    let mut burst = Vec::new();
    loop {
        if sent as f64 > begin.elapsed().as_secs_f64() * per_s {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        burst.clear();
        for _ in 0..BURST {
            sent += 1;
            // A clock that never stands still.
            last = now_us().max(last + 1);
            let body = payload(last, (sent % 700_000) as f64);
            let id = (sent % 60_000 + 1) as u16;
            burst.extend(publish_packet(Level::V4, 1, id, &topic, &body));
        }
        // Cut off: the flood is over.
        if write.write_all(&burst).await.is_err() {
            return;
        }
    }
}

async fn count_acknowledgements(mut read: OwnedReadHalf, acknowledged: Arc<AtomicU64>) {
    let (mut buffer, mut bytes) = (vec![0; 16 * 1024], 0);
    while let Ok(n) = read.read(&mut buffer).await
        && n > 0
    {
        bytes += n;
        acknowledged.fetch_add((bytes / 4) as u64, Ordering::Relaxed);
        bytes %= 4;
    }
}
