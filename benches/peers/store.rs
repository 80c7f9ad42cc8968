//! Readings: how many a second come in, what they take on the disk, and how soon questions are answered. VictoriaMetrics
//! beside the embedded store.
//!
//! `PEERS_MINUTES` is the length of the town's history (a reading a minute of each of 10 000 series).

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use townhub::model::{Measurement, Quality, SeriesId, Timestamp};
use townhub::store::{EmbeddedStore, SeriesKey, Store as _};

use super::server::Server;
use super::{head, procfs, row};

const SERIES: usize = 10_000;
/// Readings in a commit, and in a POST.
const BATCH: usize = 5_000;
/// 2026-09-21T14:13:20Z.
const START_MS: i64 = 1_790_000_000_000;

/// What a store came to.
struct Figures {
    per_s: f64,
    cpu_per_million: f64,
    peak_mib: f64,
    bytes_per_reading: f64,
    /// Milliseconds, p50 and p99.
    whole: [f64; 2],
    hours: [f64; 2],
    latest: [f64; 2],
}

/// Levels in millimetres that wander; each device has its own second of the minute.
struct Town {
    random: SmallRng,
    levels_mm: Vec<i64>,
}

impl Town {
    fn new() -> Self {
        let mut random = SmallRng::seed_from_u64(7);
        let levels_mm = (0..SERIES).map(|_| random.random_range(200..2_000)).collect();
        Town { random, levels_mm }
    }

    /// The readings of one minute: series, time in milliseconds, level in metres.
    fn minute(&mut self, minute: usize) -> Vec<(usize, i64, f64)> {
        let Town { random, levels_mm } = self;
        let readings = levels_mm.iter_mut().enumerate().map(|(n, level)| {
            let phase_ms = (n * 7_919 % 60_000) as i64 + random.random_range(0..10_i64);
            *level = (*level + random.random_range(-2..=2)).clamp(0, 3_000);
            (n, START_MS + minute as i64 * 60_000 + phase_ms, *level as f64 / 1_000.0)
        });
        readings.collect()
    }
}

pub async fn run() {
    let minutes = std::env::var("PEERS_MINUTES").map_or(240, |n| n.parse().expect("a number"));
    println!("history of {minutes} minutes, {} readings", minutes * SERIES);
    let folder = tempfile::tempdir_in("target").expect("a folder");
    let theirs = match Server::victoria_metrics(folder.path()).await {
        None => None,
        Some(server) => Some(victoria_metrics(&server, folder.path(), minutes).await),
    };
    let ours = embedded(folder.path(), minutes);
    head(
        "Readings",
        "VictoriaMetrics",
        "10 000 series, a reading a minute, 5 000 at a time. Hub: the embedded store called in this process; a commit is on\n\
         disk when it returns. VictoriaMetrics: POST /api/v1/import/prometheus over 127.0.0.1; what it took is in memory and\n\
         on disk some seconds later. Making of readings and of text not counted. Queries: ours without HTTP, theirs with.",
    );
    let print = |what: &str, figure: fn(&Figures) -> f64| {
        row(what, figure(&ours), theirs.as_ref().map(figure));
    };
    print("readings/s", |f| f.per_s);
    print("CPU s per million readings", |f| f.cpu_per_million);
    print("peak RSS, MiB (ours with the benchmark itself)", |f| f.peak_mib);
    print("bytes per reading, all files, after merging", |f| f.bytes_per_reading);
    print("all of one series, p50 ms", |f| f.whole[0]);
    print("all of one series, p99 ms", |f| f.whole[1]);
    print("hourly means of one series, p50 ms", |f| f.hours[0]);
    print("hourly means of one series, p99 ms", |f| f.hours[1]);
    print("latest of all series, p50 ms", |f| f.latest[0]);
    print("latest of all series, p99 ms", |f| f.latest[1]);
}

fn embedded(folder: &Path, minutes: usize) -> Figures {
    let store = EmbeddedStore::open(&folder.join("readings.db")).expect("a store");
    let key = |n: usize| SeriesKey {
        device: format!("mh-{n:05}").parse().expect("an id"),
        metric: "level".parse().expect("a name"),
    };
    let keys: Vec<SeriesKey> = (0..SERIES).map(key).collect();
    let numbers = store.series(&keys).expect("numbers");
    let own = std::process::id();
    let (mut town, mut taken, mut cpu) = (Town::new(), Duration::ZERO, 0.0);
    for minute in 0..minutes {
        let of = |(n, ms, value): (usize, i64, f64)| Measurement {
            series: numbers[n],
            quality: Quality::GOOD,
            observed_at: Timestamp::from_millis(ms),
            received_at: Timestamp::from_millis(ms + 100),
            value,
        };
        let readings: Vec<Measurement> = town.minute(minute).into_iter().map(of).collect();
        let (begin, before) = (Instant::now(), procfs::cpu_seconds(own));
        for batch in readings.chunks(BATCH) {
            let seq = store.append(&[batch]).expect("on disk");
            store.release(seq);
        }
        taken += begin.elapsed();
        cpu += procfs::cpu_seconds(own) - before;
    }
    let (begin, before) = (Instant::now(), procfs::cpu_seconds(own));
    store.seal_now().expect("sealed");
    // Merging belongs to the price, and is not waited for by who writes.
    cpu += procfs::cpu_seconds(own) - before;
    println!("sealing the rest took {:.1?}", begin.elapsed());
    let readings = (minutes * SERIES) as f64;
    let stats = store.stats().expect("figures");
    let (from, to) = (Timestamp::from_millis(START_MS), Timestamp::from_millis(end_ms(minutes)));
    let mut random = SmallRng::seed_from_u64(8);
    let mut one = || SeriesId(random.random_range(0..SERIES) as u32);
    Figures {
        per_s: readings / taken.as_secs_f64(),
        cpu_per_million: cpu / readings * 1e6,
        peak_mib: procfs::memory_mib(own, "VmHWM"),
        bytes_per_reading: stats.disk_bytes as f64 / readings,
        whole: timed(500, || {
            let samples = store.range(one(), from, to, usize::MAX).expect("samples");
            assert_eq!(samples.len(), minutes);
        }),
        hours: timed(500, || {
            let hour = Duration::from_secs(3_600);
            store.aggregate(one(), from, to, hour).expect("means");
        }),
        latest: timed(20, || assert_eq!(store.latest().expect("samples").len(), SERIES)),
    }
}

async fn victoria_metrics(server: &Server, folder: &Path, minutes: usize) -> Figures {
    let client = reqwest::Client::new();
    let at = format!("http://{}", server.at);
    let mut town = Town::new();
    let before = procfs::cpu_seconds(server.pid());
    let mut taken = Duration::ZERO;
    for minute in 0..minutes {
        for batch in town.minute(minute).chunks(BATCH) {
            let mut text = String::new();
            for (n, ms, value) in batch {
                writeln!(text, "level{{device=\"mh-{n:05}\"}} {value} {ms}").expect("memory");
            }
            let begin = Instant::now();
            let request = client.post(format!("{at}/api/v1/import/prometheus")).body(text);
            let response = request.send().await.expect("an answer");
            assert!(response.status().is_success(), "{}", response.status());
            taken += begin.elapsed();
        }
    }
    for work in ["force_flush", "force_merge"] {
        let request = client.get(format!("{at}/internal/{work}")).send();
        assert!(request.await.expect("an answer").status().is_success(), "{work}");
    }
    let cpu = procfs::cpu_seconds(server.pid()) - before;
    let (from, to) = (START_MS / 1_000, end_ms(minutes) / 1_000);
    let mut random = SmallRng::seed_from_u64(8);
    let mut one = || format!("mh-{:05}", random.random_range(0..SERIES));
    let whole = asked(500, || {
        let url = format!(
            "{at}/api/v1/export?match[]=level{{device=\"{}\"}}&start={from}&end={to}",
            one()
        );
        (client.get(url), minutes)
    })
    .await;
    let hours = asked(500, || {
        let query = format!("avg_over_time(level{{device=\"{}\"}}[1h])", one());
        (
            client.get(format!(
                "{at}/api/v1/query_range?query={query}&start={from}&end={to}&step=1h"
            )),
            0,
        )
    })
    .await;
    let latest = asked(20, || {
        let query = format!("last_over_time(level[{}s])", to - from);
        (client.get(format!("{at}/api/v1/query?query={query}&time={to}")), SERIES)
    })
    .await;
    let peak_mib = procfs::memory_mib(server.pid(), "VmHWM");
    let readings = (minutes * SERIES) as f64;
    Figures {
        per_s: readings / taken.as_secs_f64(),
        cpu_per_million: cpu / readings * 1e6,
        peak_mib,
        bytes_per_reading: bytes_in(&folder.join("data")) as f64 / readings,
        whole,
        hours,
        latest,
    }
}

fn end_ms(minutes: usize) -> i64 {
    START_MS + minutes as i64 * 60_000 + 60_000
}

fn timed(times: usize, mut question: impl FnMut()) -> [f64; 2] {
    let ask = |_| {
        let begin = Instant::now();
        question();
        begin.elapsed()
    };
    percentiles((0..times).map(ask).collect())
}

/// Asks over HTTP; every answer holds at least so many values.
async fn asked(
    times: usize,
    mut question: impl FnMut() -> (reqwest::RequestBuilder, usize),
) -> [f64; 2] {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let (request, least) = question();
        let begin = Instant::now();
        let response = request.send().await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
        let body = response.bytes().await.expect("a body");
        took.push(begin.elapsed());
        let commas = body.iter().filter(|byte| **byte == b',').count();
        assert!(commas >= least, "{} values wanted: {}", least, String::from_utf8_lossy(&body));
    }
    percentiles(took)
}

fn percentiles(mut took: Vec<Duration>) -> [f64; 2] {
    took.sort_unstable();
    [0.5, 0.99]
        .map(|share| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0)
}

/// Bytes of all files in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let size = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) => found.len(),
            // Merged away meanwhile.
            Err(_) => 0,
        }
    };
    entries.map(size).sum()
}
