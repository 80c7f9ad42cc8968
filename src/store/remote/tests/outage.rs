//! The engine goes away, the hub is killed in the middle, the engine is killed in the middle: nothing lost, nothing doubled.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::engine::Engine;
use super::super::{QueueConfig, RemoteStore, VictoriaMetricsConfig};
use super::victoria::Victoria;
use super::{wait_until, wait_until_sent};
use crate::clock::Clock;
use crate::model::{Measurement, Quality, SeriesId, Timestamp};
use crate::store::{Limits, SeriesKey, Store};

/// 2023: every engine takes it.
const START: i64 = 1_700_000_000;

/// The child of a test: the same program, told where by these.
const CHILD: &str = "TOWNHUB_TEST_OUTAGE_FOLDER";
const CHILD_URL: &str = "TOWNHUB_TEST_OUTAGE_URL";
const CHILD_SECONDS: &str = "TOWNHUB_TEST_OUTAGE_SECONDS";

/// A town: readings a second, each of a series of its own.
const SERIES: u32 = 1_000;
const TURNS: i64 = 10;

fn town(store: &RemoteStore, series: u32) -> Vec<SeriesId> {
    let key = |n| SeriesKey {
        device: format!("gauge-{n}").parse().unwrap(),
        metric: "outage".parse().unwrap(),
    };
    store.series(&(0..series).map(key).collect::<Vec<_>>()).unwrap()
}

/// A second of the town: ten readings of each series, so 10 000.
fn second(series: &[SeriesId], second: i64) -> Vec<Measurement> {
    let reading = |turn: i64, n: usize| {
        let observed_at = Timestamp::from_millis((START + second) * 1_000 + turn * 100);
        let value = ((second * 7 + n as i64 * 13) % 4_000) as f64 / 1_000.0;
        Measurement {
            series: series[n],
            quality: Quality::GOOD,
            observed_at,
            received_at: observed_at,
            value,
        }
    };
    (0..TURNS).flat_map(|turn| (0..series.len()).map(move |n| reading(turn, n))).collect()
}

fn open(folder: &Path, engine: impl Engine + 'static) -> RemoteStore {
    let limits = Limits { seal_at: 100_000, ..Limits::STANDARD };
    let queue = QueueConfig::default();
    let path = folder.join("readings.db");
    RemoteStore::open(&path, limits, Box::new(engine), queue, Clock::system()).unwrap()
}

/// Not a test of its own: the hub that is killed. Says every second that it has acknowledged.
#[test]
fn child_that_is_killed() {
    let (Ok(folder), Ok(url)) = (std::env::var(CHILD), std::env::var(CHILD_URL)) else { return };
    let seconds: i64 = std::env::var(CHILD_SECONDS).unwrap().parse().unwrap();
    let config = VictoriaMetricsConfig { url: Some(url), ..VictoriaMetricsConfig::default() };
    let folder = PathBuf::from(folder);
    let queue = QueueConfig::default();
    let engine =
        super::super::victoriametrics::VictoriaMetrics::new(&config, queue.timeout).unwrap();
    let store = open(&folder, engine.settling_in(Duration::from_millis(200)));
    let series = town(&store, SERIES);
    let first = store.stats().unwrap().last_commit.0 as i64;
    for n in first..seconds {
        let seq = store.append(&[&second(&series, n)]).unwrap();
        store.release(seq);
        println!("acknowledged {}", seq.0);
    }
    println!("all");
    // Goes on sending until somebody ends it.
    std::thread::sleep(Duration::from_secs(600));
}

struct Hub {
    child: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Hub {
    fn start(folder: &Path, url: &str, seconds: i64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::remote::tests::outage::child_that_is_killed", "--nocapture"])
            .env(CHILD, folder)
            .env(CHILD_URL, url)
            .env(CHILD_SECONDS, seconds.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Hub { child, says }
    }

    /// Waits until it says this; returns the last second that it acknowledged.
    fn wait_for(&mut self, word: &str) -> i64 {
        let mut last = 0;
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            // The harness writes its own words in front of the first line.
            if let Some((_, number)) = line.trim_end().rsplit_once("acknowledged ") {
                last = number.parse().unwrap();
            }
            if line.contains(word) {
                return last;
            }
            line.clear();
        }
        panic!("the child ended before it said `{word}`");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An outage of so many seconds, written as fast as the disk takes it, with a kill in the middle of it and another in the
/// middle of the draining; then what the engine has is counted, and asked for by way of a store without any of it.
fn an_outage_of(seconds: i64) {
    let Some(mut server) = Victoria::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    server.kill();
    let started = Instant::now();
    let mut hub = Hub::start(folder.path(), &server.url(), seconds);
    let half = hub.wait_for(&format!("acknowledged {}", seconds / 2));
    hub.kill();
    let mut hub = Hub::start(folder.path(), &server.url(), seconds);
    hub.wait_for("all");
    let (filled, readings) = (started.elapsed(), seconds * 10_000);
    assert!(half >= seconds / 2);
    hub.kill();

    // What waits, and its bytes.
    let store = open(folder.path(), server.engine(Duration::from_millis(200)));
    wait_until(&store, "it is counted", |store| {
        let status = store.remote().unwrap();
        status.queue_readings as i64 == readings && !status.up
    });
    let status = store.remote().unwrap();
    assert!(status.problem.is_some(), "{status:?}");
    let bytes = status.queue_bytes as f64 / readings as f64;
    drop(store);

    // The engine is back; the hub is killed while it sends.
    assert!(server.launch().unwrap());
    let mut hub = Hub::start(folder.path(), &server.url(), seconds);
    hub.wait_for("all");
    let deadline = Instant::now() + Duration::from_secs(300);
    while server.stored("outage_quality") == 0 {
        assert!(Instant::now() < deadline, "the hub sends nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    hub.kill();

    let drained = Instant::now();
    let store = open(folder.path(), server.engine(Duration::from_millis(200)));
    let begun = store.remote().unwrap().sent;
    wait_until(&store, "it is sent", |store| store.post.has_sent_all());
    let (sent, took) = (store.remote().unwrap().sent - begun, drained.elapsed());
    drop(store);
    eprintln!(
        "{readings} readings acknowledged in {:.1} s ({:.0}/s), {bytes:.1} bytes each in the queue; {sent} drained in {:.1} s ({:.0}/s); {} samples stored for them",
        filled.as_secs_f64(),
        readings as f64 / filled.as_secs_f64(),
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64(),
        server.stored_at_last("outage_quality", readings as u64),
    );

    // A hub that lost its file reads all of it from the engine: each once, though some were sent twice.
    let elsewhere = tempfile::tempdir().unwrap();
    let store = open(elsewhere.path(), server.engine(Duration::from_millis(200)));
    let series = town(&store, SERIES);
    let (from, to) =
        (Timestamp::from_secs(START - 3_600), Timestamp::from_secs(START + seconds + 3_600));
    let whole = Duration::from_secs(to.since(from).as_secs());
    for (n, &own) in series.iter().enumerate().step_by(series.len() / 20) {
        let found = store.range(own, from, to, usize::MAX).unwrap();
        let expected =
            (0..seconds * TURNS).map(|at| Timestamp::from_millis(START * 1_000 + at * 100));
        assert!(found.iter().map(|sample| sample.observed_at).eq(expected), "{}", found.len());
        let steps = store.aggregate(own, from, to, whole).unwrap();
        let count: u64 = steps.buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!(count as i64, seconds * TURNS, "no reading counts twice");
        let values = (0..seconds).map(|at| ((at * 7 + n as i64 * 13) % 4_000) as f64 / 1_000.0);
        let mean = values.sum::<f64>() / seconds as f64;
        assert!((steps.buckets[0].mean - mean).abs() < 1e-9);
    }
}

#[test]
fn an_outage_loses_and_doubles_nothing() {
    an_outage_of(30);
}

/// An hour at 10 000 readings a second: `cargo test --lib -- --ignored an_hour_of_outage --nocapture`; a part of it with
/// `TOWNHUB_OUTAGE_SECONDS`.
#[test]
#[ignore = "36 million readings; it takes minutes"]
fn an_hour_of_outage_loses_and_doubles_nothing() {
    let seconds = std::env::var("TOWNHUB_OUTAGE_SECONDS").ok();
    an_outage_of(seconds.map_or(3_600, |seconds| seconds.parse().unwrap()));
}

#[test]
fn an_engine_that_is_killed_gets_again_what_it_had_not_saved() {
    let Some(mut server) = Victoria::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), server.engine(Duration::from_secs(60)));
    let series = town(&store, SERIES);
    let seq = store.append(&[&second(&series, 0)]).unwrap();
    store.release(seq);
    wait_until(&store, "it is acknowledged", |store| store.remote().unwrap().sent == 10_000);
    assert_eq!(store.remote().unwrap().queue_readings, 10_000, "it may still be lost");
    server.kill();
    store.append(&[&second(&series, 1)]).unwrap();
    wait_until(&store, "the failure is seen", |store| !store.remote().unwrap().up);
    assert!(server.launch().unwrap());
    wait_until(&store, "all of it is sent again", |store| {
        store.remote().unwrap().sent == 30_000 && store.remote().unwrap().up
    });
    drop(store);
    assert!(server.stored_at_last("outage_quality", 20_000) >= 20_000);
    let elsewhere = tempfile::tempdir().unwrap();
    let store = open(elsewhere.path(), server.engine(Duration::from_millis(20)));
    wait_until_sent(&store);
    let series = town(&store, SERIES);
    let (from, to) = (Timestamp::from_secs(START), Timestamp::from_secs(START + 2));
    for own in series {
        assert_eq!(store.range(own, from, to, 99).unwrap().len(), 20);
    }
}

#[test]
fn over_the_bound_the_engine_gets_rollups_and_the_readings_stay() {
    const FEW: u32 = 50;
    let Some(mut server) = Victoria::start() else { return };
    server.kill();
    let folder = tempfile::tempdir().unwrap();
    let queue = QueueConfig { max: 20_000, ..QueueConfig::default() };
    let limits = Limits { seal_at: 300, ..Limits::STANDARD };
    let engine = server.engine(Duration::from_millis(20));
    let path = folder.path().join("readings.db");
    let store = RemoteStore::open(&path, limits, Box::new(engine), queue, Clock::system()).unwrap();
    let series = town(&store, FEW);
    // Each second in an hour of its own: what is given up is told by its hours.
    for n in 0..20 {
        store.release(store.append(&[&second(&series, n * 3_600)]).unwrap());
    }
    assert!(store.post.local.seal_now().unwrap());
    wait_until(&store, "the oldest are given up", |store| {
        let status = store.remote().unwrap();
        status.folded > 0 && status.queue_bytes <= 20_000
    });
    let folded = store.remote().unwrap().folded;
    assert!(folded < 10_000 && folded.is_multiple_of(500), "{folded}");
    assert!(server.launch().unwrap());
    wait_until(&store, "the engine has the rest", |store| {
        store.post.has_sent_all() && store.post.local.first_gap().unwrap().is_none()
    });
    let hours = folded / 500;
    let windows = hours * u64::from(FEW);
    for (name, count) in [("quality", 10_000 - folded), ("count_1h", windows), ("mean_1m", windows)]
    {
        assert_eq!(server.stored_at_last(&format!("outage_{name}"), count), count, "{name}");
    }
    // The hub has all of them, and keeps them.
    let long_after = Timestamp::from_secs(START + 30 * 86_400);
    store.delete_before(long_after).unwrap();
    let found = store.range(series[7], Timestamp::from_secs(START), long_after, 999).unwrap();
    assert_eq!(found.len(), 200);
    drop(store);
    let reopened = open(folder.path(), server.engine(Duration::from_millis(20)));
    assert_eq!(reopened.remote().unwrap().folded, folded, "it is not forgotten");
}
