//! The hub's wall clock jumps under load: an hour ahead, an hour back, to 1970, into the next century. libfaketime (Debian's
//! `faketime`) moves the clock of the real process; its monotonic clock goes on, as when somebody sets a computer's time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::fleet::Fleet;
use crate::kills::CONFIG;
use crate::support::Town;
use crate::support::process::HubProcess;
use crate::task::{Outcome, Task};

const DEVICES: usize = 8;
/// Time is taken from here by the process that is under test only.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// From the true time, in libfaketime's words.
const JUMPS: [&str; 5] = ["+1h", "-1h", "@1970-01-02 00:00:00", "-1d", "@2101-01-01 00:00:00"];

pub fn run(task: &Task) -> Outcome {
    let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
        return Outcome::Skipped("needs Debian's package `faketime`".to_owned());
    };
    let mut town = Town::new(CONFIG);
    town.home.log = Some(town.home.folder.join("log"));
    let clock = Clock(town.home.folder.join("clock"));
    clock.set("+0");
    let file = clock.0.display().to_string();
    town.home.environment = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        // Its shared memory is for families of processes; each codec's process may keep the true time.
        ("FAKETIME_DISABLE_SHM", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(jump(task, &town, &clock))
}

/// The file that libfaketime reads at every question.
struct Clock(PathBuf);

impl Clock {
    fn set(&self, time: &str) {
        // In one step: a half-written time would be one more jump.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{time}\n")).expect("a file");
        std::fs::rename(new, &self.0).expect("a file");
    }
}

/// The hub's time, which must be the one that it was moved to.
async fn says(hub: &HubProcess, jump: &str) -> String {
    let response = hub.request(reqwest::Method::GET, "/api/v1/status").send().await;
    let response = response.expect("an answer");
    if response.status().as_u16() == 401 {
        assert!(jump.starts_with("@2101"), "{jump}: our token is still good");
        return "that our token is over".to_owned();
    }
    let status: serde_json::Value = response.json().await.expect("JSON");
    let at: jiff::Timestamp = status["at"].as_str().expect("a time").parse().expect("a time");
    let expected = match jump.strip_prefix('@') {
        Some(time) => format!("{}Z", time.replace(' ', "T")).parse().expect("a time"),
        None => {
            let hours = jiff::SignedDuration::from_hours(if jump.ends_with('d') { 24 } else { 1 });
            let now = jiff::Timestamp::now();
            if jump.starts_with('-') { now - hours } else { now + hours }
        }
    };
    let off = at.duration_since(expected).abs();
    assert!(off < jiff::SignedDuration::from_secs(60), "{jump}: the clock jumped: {at}");
    at.to_string()
}

async fn jump(task: &Task, town: &Town, clock: &Clock) -> Outcome {
    let mut chance = StdRng::seed_from_u64(task.seed);
    let mut fleet = Fleet::new(DEVICES);
    let mut hub = town.home.start();
    fleet.register(&hub).await;
    let mut jumps = JUMPS;
    jumps.shuffle(&mut chance);
    let sending = fleet.keep_sending(hub.mqtt);
    let pause = |chance: &mut StdRng| Duration::from_millis(chance.random_range(800..2_500));
    for jump in jumps {
        tokio::time::sleep(pause(&mut chance)).await;
        clock.set(jump);
        let (begin, before) = (Instant::now(), fleet.acknowledged());
        while fleet.acknowledged() < before + 100 {
            assert!(begin.elapsed() < Duration::from_secs(10), "{jump}: readings are taken on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("{jump:<22} the hub says {}", says(&hub, jump).await);
        tokio::time::sleep(pause(&mut chance)).await;
        clock.set("+0");
    }
    fleet.devices = sending.finish(Duration::from_secs(60)).await;
    let counts = hub.get("/api/v1/status").await["readings"].clone();
    // Devices that said times which the hub could not believe got its own, and their readings are kept: as many as came.
    let mut kept = 0;
    let mut marked = 0;
    let now = jiff::Timestamp::now();
    let days = |n: i64| jiff::SignedDuration::from_hours(24 * n);
    let years = [
        ("1970-01-01T00:00:00Z".to_owned(), "1970-06-01T00:00:00Z".to_owned()),
        ((now - days(30)).to_string(), (now + days(30)).to_string()),
        ("2100-12-01T00:00:00Z".to_owned(), "2101-06-01T00:00:00Z".to_owned()),
    ];
    for device in &fleet.devices {
        for (from, to) in &years {
            let (n, doubtful) = device.kept(&hub, from, to).await;
            kept += n;
            marked += doubtful;
        }
    }
    let sent: u64 = fleet.acknowledged();
    assert_eq!(kept, sent, "every acknowledged reading is kept");
    let alerts = hub.get("/api/v1/alerts?limit=1000").await;
    let alerts = alerts["alerts"].as_array().expect("a list").clone();
    let others: Vec<_> = alerts.iter().filter(|alert| alert["kind"] != "limit").collect();
    assert!(others.is_empty(), "no false alerts: {others:?}");
    // A restart with the clock in the past finds everything.
    hub.kill();
    clock.set("-1h");
    hub = town.home.start();
    hub.get("/api/v1/status").await;
    let panicked = std::fs::read_to_string(town.home.folder.join("log")).expect("a log");
    assert!(!panicked.contains("panicked"), "{panicked}");
    Outcome::Well(vec![
        format!("{} jumps", jumps.len()),
        format!("{sent} acknowledged readings, all kept, {marked} of them marked `clock`"),
        format!("{} alerts, all of them of a level", alerts.len()),
        format!("a restart an hour in the past; counts {counts}"),
    ])
}
