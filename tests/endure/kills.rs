//! SIGKILL at random moments under load; and the same with the power cut, so that what was not synced is gone too.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fleet::Fleet;
use crate::frail::Frail;
use crate::support::{PROBE, Town};
use crate::task::{Outcome, Task};

const DEVICES: usize = 8;
/// A hub that was killed is ready again within this time, debug build, on a busy machine.
const START: Duration = Duration::from_secs(10);

/// No limit of a device's rate, and no alert counts as chattering: every wave is an alert of its own.
pub const CONFIG: &str = "max_messages_per_second = 0\n[alert.flap]\ntimes = 0\n";

pub fn run(task: &Task) -> Outcome {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let town = Town::new(CONFIG);
    runtime.block_on(kills(task, &town, task.kills(100, 5), &mut || ()))
}

/// The same on a disk that loses its power with the hub: what was not synced is gone.
pub fn power_cuts(task: &Task) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = Frail::mount(&folder.path().join("disk"), &folder.path().join("home/data"));
    let mut disk = match mount {
        Ok(disk) => disk,
        Err(why) => return Outcome::Skipped(format!("cannot mount a FUSE file system: {why}")),
    };
    let town = Town::on(folder, CONFIG, &[("probe.toml", PROBE)]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut gone = 0;
    let outcome = runtime.block_on(kills(task, &town, task.kills(100, 5), &mut || {
        gone += disk.power_cut();
        disk.power_on().expect("it can be mounted again");
    }));
    // Unmounted before its folder is cleared away.
    drop(disk);
    let Outcome::Well(mut counted) = outcome else { return outcome };
    counted.push(format!("{gone} writes that were not synced were gone"));
    Outcome::Well(counted)
}

async fn kills(task: &Task, town: &Town, kills: u64, after: &mut impl FnMut()) -> Outcome {
    let mut chance = StdRng::seed_from_u64(task.seed);
    let mut fleet = Fleet::new(DEVICES);
    let mut slowest = Duration::ZERO;
    let mut start = || {
        let begin = Instant::now();
        let hub = town.home.start();
        slowest = slowest.max(begin.elapsed());
        hub
    };
    for round in 0..kills {
        let hub = start();
        if round == 0 {
            fleet.register(&hub).await;
        }
        let sending = fleet.send(hub.mqtt);
        tokio::time::sleep(Duration::from_millis(chance.random_range(20..600))).await;
        hub.kill();
        after();
        fleet.devices = sending.cut_off().await;
    }
    let hub = start();
    fleet.settle(&hub).await;
    fleet.check_readings(&hub).await;
    let (raises, alerts, cases) = fleet.check_alerts(&hub).await;
    let n = fleet.acknowledged();
    assert!(n > 200 * kills, "the load was one: {n}");
    assert!(slowest < START, "ready after {slowest:?}");
    Outcome::Well(vec![
        format!("{kills} kills"),
        format!("{n} acknowledged readings, none lost, none twice"),
        format!("{raises} raises in {alerts} alerts and {cases} cases, each once"),
        format!("slowest start {:.2} s", slowest.as_secs_f64()),
    ])
}
