//! How many messages a second come to the disk and to the alert engine, at what price.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::generator::{Template, acknowledged, connect, now_us};
use super::process::Home;
use super::procfs;

const CONNECTIONS: usize = 200;
/// Unacknowledged messages of one connection.
const IN_FLIGHT: usize = 512;
/// Messages written at once.
const BURST: usize = 64;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(15);

pub fn run(home: &Home) {
    // One thread for the generator: the other core and what this one leaves are the hub's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure(home));
}

async fn measure(home: &Home) {
    let hub = home.start();
    let devices: Vec<String> = (0..CONNECTIONS).map(|i| format!("bench-{i:03}")).collect();
    hub.import_devices("bench-3", &devices).await;
    let acked = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = devices
        .iter()
        .map(|d| tokio::spawn(send(hub.mqtt, d.clone(), Arc::clone(&acked), Arc::clone(&stop))))
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let own = std::process::id();
    let (begin, before) = (Instant::now(), acked.load(Ordering::Relaxed));
    let (hub_cpu, own_cpu) = (procfs::cpu_seconds(hub.pid()), procfs::cpu_seconds(own));
    tokio::time::sleep(MEASURED).await;
    let seconds = begin.elapsed().as_secs_f64();
    let messages = (acked.load(Ordering::Relaxed) - before) as f64;
    let hub_cpu = procfs::cpu_seconds(hub.pid()) - hub_cpu;
    let own_cpu = procfs::cpu_seconds(own) - own_cpu;
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.expect("a sender ends well");
    }
    // Every device's last message is over its limit: the alert engine has seen everything when all have an alert.
    let begin = Instant::now();
    let alerts = loop {
        let alerts = hub.get("/api/v1/alerts?open=true&limit=1000").await;
        let n = alerts["alerts"].as_array().expect("a list").len();
        if n >= CONNECTIONS || begin.elapsed() > Duration::from_secs(10) {
            break n;
        }
    };
    let judged = begin.elapsed();
    let status = hub.get("/api/v1/status").await;
    println!("connections                     {CONNECTIONS}");
    println!(
        "payload                         {} bytes",
        Template::new(&devices[0]).payload_bytes()
    );
    println!("durable messages/s              {:.0}", messages / seconds);
    println!("durable readings/s              {:.0}", 3.0 * messages / seconds);
    println!("hub CPU s / million readings    {:.3}", hub_cpu / (3.0 * messages / 1e6));
    println!("hub CPU                         {:.0} %", 100.0 * hub_cpu / seconds);
    println!("generator CPU                   {:.0} %", 100.0 * own_cpu / seconds);
    println!("peak RSS                        {:.0} MiB", procfs::memory_mib(hub.pid(), "VmHWM"));
    println!("alerts after the last message   {alerts} of {CONNECTIONS} in {judged:.1?}");
    println!("sent and acknowledged           {sent}, stored {}", status["readings"]["stored"]);
    println!("store                           {}", status["store"]);
    let (took, well) = hub.terminate();
    println!("SIGTERM to end                  {took:.1?}, {}", if well { "well" } else { "badly" });
}

/// Sends until told to stop, then one message over the limit; returns how many were acknowledged.
async fn send(
    hub: SocketAddr,
    device: String,
    acked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut stream = connect(hub, &device).await;
    let mut template = Template::new(&device);
    let mut out = Vec::with_capacity(BURST * 256);
    let (mut buffer, mut rest) = (vec![0; 16 * 1024], 0);
    let (mut sent, mut in_flight, mut time) = (0_u64, 0, now_us());
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        while in_flight + BURST <= IN_FLIGHT || is_last {
            out.clear();
            for _ in 0..if is_last { 1 } else { BURST } {
                // A device's own clock: it never stands still and never runs ahead of the hub's.
                time += 1;
                let level = if is_last { 9_500 } else { 1_000 + (sent / 50 % 400) as u32 };
                out.extend_from_slice(template.patch(sent, time, level));
                sent += 1;
                in_flight += 1;
            }
            stream.write_all(&out).await.expect("the hub reads");
            if is_last {
                break;
            }
        }
        while in_flight > 0 {
            let n = acknowledged(&mut stream, &mut buffer, &mut rest).await;
            in_flight -= n;
            acked.fetch_add(n as u64, Ordering::Relaxed);
            if !is_last && in_flight + BURST <= IN_FLIGHT {
                break;
            }
        }
        time = time.max(now_us());
        if is_last {
            return sent;
        }
    }
}
