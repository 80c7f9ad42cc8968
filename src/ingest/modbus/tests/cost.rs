//! What polling costs: run with `cargo test --release --lib modbus::tests::cost -- --ignored --nocapture`.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use super::super::{PollSink, Poller, Target};
use super::fault_server::{FaultServer, Wrong};
use super::profile::{point, profile, source, target};
use crate::clock::Clock;
use crate::model::{DeviceId, Reading, Timestamp};
use crate::profile::{NumberType, Profile, Table};

/// Counts good readings by device.
#[derive(Default)]
struct Counter(Mutex<HashMap<DeviceId, u64>>);

impl PollSink for Counter {
    async fn deliver(&self, device: &DeviceId, _received_at: Timestamp, readings: &[Reading]) {
        let good = readings.iter().filter(|reading| !reading.comm_fault).count() as u64;
        *self.0.lock().unwrap().entry(device.clone()).or_default() += good;
    }

    fn link(&self, _device: &DeviceId, _up: bool) {}
}

impl Counter {
    fn read(&self) -> HashMap<DeviceId, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// Processor time of the calling thread so far.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// A server on a thread of its own, so that its cost is not counted.
fn serve(server: FaultServer) -> String {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().to_string()).unwrap();
            server.listen(listener).await;
        });
    });
    address.recv().unwrap()
}

/// A hundred registers, each a point.
fn hundred(timeout: Duration, period: Duration) -> Arc<Profile> {
    let mut source = source(120, 8);
    source.timeout = timeout;
    source.poll.insert("fast".to_owned(), period);
    let names: Vec<String> = (0..100).map(|i| format!("r{i}")).collect();
    let points = names.iter().zip(0..);
    let points = points.map(|(name, i)| point(name, Table::Holding, i, NumberType::U16, "fast"));
    Arc::new(profile(source, points.collect()))
}

/// Polls and returns the share of one core that it took, and the readings of each device.
fn poll(targets: Vec<Target>, span: Duration) -> (f64, HashMap<DeviceId, u64>, u64) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let counter = Arc::new(Counter::default());
        let poller = Poller::new(Clock::system(), Arc::clone(&counter));
        assert_eq!(poller.update(targets), []);
        sleep(Duration::from_secs(2)).await;
        let (before, from, started) = (counter.read(), cpu(), Instant::now());
        sleep(span).await;
        let share = (cpu() - from).as_secs_f64() / started.elapsed().as_secs_f64();
        let after = counter.read();
        let overruns = poller.stats().iter().flat_map(|bus| &bus.units).map(|u| u.overruns).sum();
        poller.shutdown().await;
        let news = after.into_iter().map(|(device, n)| {
            let before = before.get(&device).copied().unwrap_or_default();
            (device, n - before)
        });
        (share, news.collect(), overruns)
    })
}

#[test]
#[ignore = "measures"]
fn fifty_units_at_ten_hertz() {
    let span = Duration::from_secs(20);
    let profile = hundred(Duration::from_secs(1), Duration::from_millis(100));
    for endpoints in [1, 50] {
        let servers: Vec<String> = (0..endpoints).map(|_| serve(FaultServer::default())).collect();
        let targets =
            (1..=50).map(|u: u8| target(&servers[usize::from(u) % endpoints], u, &profile));
        let (share, readings, overruns) = poll(targets.collect(), span);
        let total: u64 = readings.values().sum();
        println!(
            "50 units x 100 registers at 10 Hz behind {endpoints} endpoints: {:.1} % of a core, \
             {:.0} readings/s, {overruns} overruns",
            share * 100.0,
            total as f64 / span.as_secs_f64()
        );
    }
}

#[test]
#[ignore = "measures"]
fn one_dead_unit_of_ten() {
    let span = Duration::from_secs(60);
    let profile = hundred(Duration::from_millis(500), Duration::from_secs(1));
    let server = FaultServer::default();
    server.always(7, Some(Wrong::Silent));
    let endpoint = serve(server);
    let targets = (1..=10).map(|unit| target(&endpoint, unit, &profile)).collect();
    let (_, readings, _) = poll(targets, span);
    let polls: Vec<u64> = readings.values().map(|n| n / 100).filter(|&n| n > 0).collect();
    println!("polls of nine units in {span:?} beside a dead one: {polls:?}");
}
