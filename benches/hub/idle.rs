//! What 10 000 devices cost that are connected and say nothing, and how fast the hub starts with them.

use std::time::Instant;

use super::generator::connect;
use super::process::Home;
use super::procfs;

const CONNECTIONS: usize = 10_000;

pub fn run(home: &Home) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure(home));
}

async fn measure(home: &Home) {
    let hub = home.start();
    let devices: Vec<String> = (0..CONNECTIONS).map(|i| format!("idle-{i:05}")).collect();
    let begin = Instant::now();
    hub.import_devices("bench-3", &devices).await;
    println!("import of {CONNECTIONS} devices         {:.2?}", begin.elapsed());
    let (took, well) = hub.terminate();
    assert!(well, "ends well after {took:?}");
    let begin = Instant::now();
    let hub = home.start();
    println!("start with {CONNECTIONS} devices        {:.2?}", begin.elapsed());
    let before = procfs::memory_mib(hub.pid(), "VmRSS");
    let begin = Instant::now();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for device in &devices {
        connections.push(connect(hub.mqtt, device).await);
    }
    let took = begin.elapsed();
    let after = procfs::memory_mib(hub.pid(), "VmRSS");
    println!("{} connections, one after the other in {took:.2?}", connections.len());
    println!("RSS before, with them           {before:.0} MiB, {after:.0} MiB");
    println!(
        "RSS per idle connection         {:.1} KiB",
        (after - before) * 1024.0 / CONNECTIONS as f64
    );
}
