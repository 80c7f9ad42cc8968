//! Disks that fail: full, refusing to sync or to write, slow. Nothing that was acknowledged is lost, the hub says what is
//! wrong and goes on being asked, and heals by itself when the disk does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fleet::Fleet;
use crate::frail::Frail;
use crate::kills::CONFIG;
use crate::support::process::HubProcess;
use crate::support::{PROBE, Town};
use crate::task::{Outcome, Task};
use crate::watch::Watch;

const DEVICES: usize = 8;
/// Far more than the hub keeps free for the town's own state.
const DISK_BYTES: u64 = 512 << 20;
/// The hub takes readings again so soon after the disk does.
const HEALS_WITHIN: Duration = Duration::from_secs(10);
/// It says so soon that the disk refuses.
const SAYS_WITHIN: Duration = Duration::from_secs(10);
/// Memory may not grow with what waits.
const MOST_MIB: f64 = 400.0;

/// Syncs and writes fail for a while, again and again; sometimes the hub is killed and the power cut in the middle of it.
pub fn failing(task: &Task) -> Outcome {
    on_frail_disk(|disk, town| {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(fail(task, disk, town))
    })
}

/// Every write takes milliseconds, every sync half a second.
pub fn slow(task: &Task) -> Outcome {
    on_frail_disk(|disk, town| {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(crawl(task, disk, town))
    })
}

/// The file system is full, again and again.
pub fn full(task: &Task) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk =
        match SmallDisk::mount(&folder.path().join("image"), &folder.path().join("home/data")) {
            Ok(disk) => disk,
            Err(why) => return Outcome::Skipped(why),
        };
    let mut town = Town::on(folder, CONFIG, &[("probe.toml", PROBE)]);
    town.home.log = Some(town.home.folder.join("log"));
    let outcome =
        tokio::runtime::Runtime::new().expect("a runtime").block_on(fill(task, &disk, &town));
    drop(disk);
    outcome
}

fn on_frail_disk(run: impl FnOnce(&mut Frail, &Town) -> Outcome) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = Frail::mount(&folder.path().join("disk"), &folder.path().join("home/data"));
    let mut disk = match mount {
        Ok(disk) => disk,
        Err(why) => return Outcome::Skipped(format!("cannot mount a FUSE file system: {why}")),
    };
    let mut town = Town::on(folder, CONFIG, &[("probe.toml", PROBE)]);
    town.home.log = Some(town.home.folder.join("log"));
    let outcome = run(&mut disk, &town);
    // Unmounted before its folder is cleared away.
    drop(disk);
    outcome
}

async fn fail(task: &Task, disk: &mut Frail, town: &Town) -> Outcome {
    let mut chance = StdRng::seed_from_u64(task.seed);
    let rounds = task.kills(12, 3);
    let mut fleet = Fleet::new(DEVICES);
    let mut hub = town.home.start();
    fleet.register(&hub).await;
    let (mut gone, mut kills, mut healed) = (0, 0, Duration::ZERO);
    for round in 0..rounds {
        let sending = fleet.keep_sending(hub.mqtt);
        more_is_acknowledged(&fleet).await;
        let fault = if round % 2 == 0 { &disk.faults.sync_fails } else { &disk.faults.write_fails };
        fault.store(true, Ordering::SeqCst);
        is_said(&hub).await;
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..1_500))).await;
        let is_cut = round % 3 == 2;
        if is_cut {
            sending.stop();
            hub.kill();
            fleet.devices = sending.cut_off().await;
            disk.faults.sync_fails.store(false, Ordering::SeqCst);
            disk.faults.write_fails.store(false, Ordering::SeqCst);
            gone += disk.power_cut();
            disk.power_on().expect("it can be mounted again");
            hub = town.home.start();
            kills += 1;
        } else {
            fault.store(false, Ordering::SeqCst);
            healed = healed.max(more_is_acknowledged(&fleet).await);
            fleet.devices = sending.finish(Duration::from_secs(60)).await;
        }
    }
    fleet.settle(&hub).await;
    fleet.check_readings(&hub).await;
    let (raises, alerts, cases) = fleet.check_alerts(&hub).await;
    let log = std::fs::read_to_string(town.home.folder.join("log")).expect("a log");
    assert!(log.contains("cannot write readings"), "the log says so: {log}");
    Outcome::Well(vec![
        format!("{rounds} failures of the disk, {kills} with a kill and a power cut"),
        format!("{} requests answered EIO", disk.faults.failures.load(Ordering::SeqCst)),
        format!("{gone} writes gone"),
        format!("{} acknowledged readings, none lost, none twice", fleet.acknowledged()),
        format!("{raises} raises in {alerts} alerts and {cases} cases, each once"),
        format!("acknowledging again at most {:.2} s after the disk", healed.as_secs_f64()),
    ])
}

async fn crawl(task: &Task, disk: &mut Frail, town: &Town) -> Outcome {
    let time = task.time(30, 5);
    let mut fleet = Fleet::new(50);
    let hub = town.home.start();
    fleet.register(&hub).await;
    disk.faults.write_ms.store(5, Ordering::SeqCst);
    disk.faults.sync_ms.store(500, Ordering::SeqCst);
    let watch = Watch::begin(hub.pid());
    let syncs = disk.faults.syncs.load(Ordering::SeqCst);
    let sending = fleet.keep_sending(hub.mqtt);
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    while begin.elapsed() < time {
        let asked = Instant::now();
        hub.get("/api/v1/alerts?open=true").await;
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (n, syncs) = (fleet.acknowledged(), disk.faults.syncs.load(Ordering::SeqCst) - syncs);
    let memory = watch.end();
    disk.faults.write_ms.store(0, Ordering::SeqCst);
    disk.faults.sync_ms.store(0, Ordering::SeqCst);
    fleet.devices = sending.finish(Duration::from_secs(60)).await;
    fleet.settle(&hub).await;
    fleet.check_readings(&hub).await;
    fleet.check_alerts(&hub).await;
    assert!(n > 0, "something is acknowledged");
    assert!(memory.max_mib() < MOST_MIB, "{}", memory.describe());
    Outcome::Well(vec![
        format!("{syncs} syncs of 0.5 s in {:.0} s", begin.elapsed().as_secs_f64()),
        format!("{n} readings acknowledged meanwhile, none lost, none twice"),
        format!("slowest query {:.2} s", slowest.as_secs_f64()),
        memory.describe(),
    ])
}

async fn fill(task: &Task, disk: &SmallDisk, town: &Town) -> Outcome {
    let mut chance = StdRng::seed_from_u64(task.seed);
    let rounds = task.kills(6, 2);
    let mut fleet = Fleet::new(DEVICES);
    let mut hub = town.home.start();
    fleet.register(&hub).await;
    let (mut healed, mut kills) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let sending = fleet.keep_sending(hub.mqtt);
        more_is_acknowledged(&fleet).await;
        disk.fill();
        is_said(&hub).await;
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..1_500))).await;
        if round % 3 == 2 {
            sending.stop();
            hub.kill();
            fleet.devices = sending.cut_off().await;
            hub = starts_when_there_is_room(town, disk);
            kills += 1;
            continue;
        }
        disk.make_room();
        healed = healed.max(more_is_acknowledged(&fleet).await);
        fleet.devices = sending.finish(Duration::from_secs(60)).await;
    }
    fleet.settle(&hub).await;
    fleet.check_readings(&hub).await;
    let (raises, alerts, cases) = fleet.check_alerts(&hub).await;
    // Told when it begins, and now and then: a log that grows fast is one more thing that fills a disk.
    let log = std::fs::read_to_string(town.home.folder.join("log")).expect("a log");
    let told = log.lines().filter(|line| line.contains("cannot write alerts")).count();
    assert!(told as u64 <= 2 * rounds, "{told} lines on alerts that cannot be written");
    Outcome::Well(vec![
        format!(
            "{rounds} times full to the last block, {kills} with a kill and a start on the full disk"
        ),
        format!("{} acknowledged readings, none lost, none twice", fleet.acknowledged()),
        format!("{raises} raises in {alerts} alerts and {cases} cases, each once"),
        format!("acknowledging again at most {:.2} s after there was room", healed.as_secs_f64()),
    ])
}

/// Starts a hub on a disk that is full to the last block: it works, or says why not and starts by itself when there is
/// room.
fn starts_when_there_is_room(town: &Town, disk: &SmallDisk) -> HubProcess {
    let log = || std::fs::read_to_string(town.home.folder.join("log")).unwrap_or_default();
    let said = |log: &str| log.matches("the hub cannot start: the disk").count();
    let before = said(&log());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| town.home.start());
        let begin = Instant::now();
        while !starting.is_finished() && said(&log()) == before {
            assert!(begin.elapsed() < SAYS_WITHIN, "it starts, or says why not: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        disk.make_room();
        starting.join().expect("it starts when there is room")
    })
}

/// Waits for the next acknowledgement, and returns how long.
async fn more_is_acknowledged(fleet: &Fleet) -> Duration {
    let (begin, before) = (Instant::now(), fleet.acknowledged());
    while fleet.acknowledged() == before {
        assert!(begin.elapsed() < HEALS_WITHIN, "nothing is acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begin.elapsed()
}

/// Waits until the hub says that its store does not take readings; it lives all the while.
async fn is_said(hub: &HubProcess) {
    let begin = Instant::now();
    loop {
        let alive = hub.request(reqwest::Method::GET, "/healthz").send().await.expect("an answer");
        assert!(alive.status().is_success(), "alive");
        let ready = hub.request(reqwest::Method::GET, "/readyz").send().await.expect("an answer");
        if !ready.status().is_success() {
            let said = ready.text().await.expect("a body");
            assert!(said.contains("store"), "the store is named: {said}");
            return;
        }
        assert!(begin.elapsed() < SAYS_WITHIN, "/readyz says that the store does not write");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An ext4 file system of its own in a file.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(image: &Path, at: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(at).expect("a folder");
        let file = std::fs::File::create(image).expect("a file");
        file.set_len(DISK_BYTES).expect("a sparse file");
        // Without blocks that only root may take: the hub is root here.
        let mut make = Command::new("mkfs.ext4");
        let mut mount = Command::new("mount");
        for command in [
            make.args(["-q", "-m", "0", "-F"]).arg(image),
            mount.args(["-o", "loop"]).arg(image).arg(at),
        ] {
            let output = command
                .output()
                .map_err(|why| format!("{}: {why}", command.get_program().display()))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        Ok(SmallDisk { at: at.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Takes every block that is left, while others write.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("a file");
        let filled = std::io::copy(&mut std::io::repeat(0xA5), &mut file);
        let why = filled.expect_err("it is full at some time");
        assert_eq!(why.kind(), std::io::ErrorKind::StorageFull, "{why}");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it was there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a hub that a panic left behind may still be there for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
