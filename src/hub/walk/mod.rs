//! A thousand kills. A child walks through conditions, acknowledgements, moves and deadlines on a real store and a real
//! state file, and says each step once it is on disk; its parent kills it (SIGKILL) at any moment, looks whether the disk
//! tells one story, and sends the next child to walk on from there. At the end the walk must stand where one that was never
//! killed stands, row by row.
//!
//! Now and then a power cut is played as well: the state file without the end of its write-ahead log must open, and tell a
//! beginning of the same story.

mod model;
mod walker;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::case::{Registrar, Unit};
use crate::clock::Clock;
use crate::model::Label;
use crate::registry::Registry;

use model::Disk;
use walker::{Plan, Progress, START, Walk, connect};

const KILLS: usize = 1_000;
/// Of one walk: about ten lives long.
const STEPS: u64 = 110;
/// At most so many steps of one life.
const LIFE: u64 = 20;
/// After the last step that a child said, it is killed within this time: inside the next ones.
const LINGER: Duration = Duration::from_millis(4);
/// Walks at once: they wait for the disk most of the time.
const THREADS: usize = 4;
/// Pages that SQLite lets the log grow to before it writes them into the file itself; a shorter log was never written
/// back, so cutting its end off is what a power cut does.
const LOG_BYTES: u64 = 1_000 * 4_096;

/// How a child is told its walk: folder, seed, steps, with silence, first step, and how far the disk had come before it.
const TASK: &str = "TOWNHUB_WALK";

/// The child's side: run by the parent below, as a process of its own.
#[test]
#[ignore = "the walk that is killed; `a_thousand_kills_lose_nothing_and_repeat_nothing` starts it"]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (folder, numbers) = task.rsplit_once('|').expect("a task");
    let numbers: Vec<u64> = numbers.split(' ').map(|n| n.parse().expect("a number")).collect();
    let [seed, steps, silence, from, alert_events, case_events, commits] = numbers[..] else {
        panic!("no task: {task}");
    };
    let plan = Plan { seed, steps, with_silence: silence == 1 };
    let before =
        Progress { alert_events: alert_events as i64, case_events: case_events as i64, commits };
    let mut walk = Walk::open(Path::new(folder), plan);
    // Not the test harness's captured output.
    walk.walk(from, before, &mut std::io::stdout().lock());
}

/// A state file with its tables and one unit, and no readings yet.
fn make(folder: &Path) {
    drop(Registry::open(&folder.join("town.db"), Clock::manual(START).0).expect("a town"));
    let mut registrar = Registrar::open(connect(folder), walker::settings()).expect("a registrar");
    let unit = Unit {
        id: "west".parse().expect("an id"),
        name: Label::same("West crew"),
        zones: Vec::new(),
        kinds: Vec::new(),
        members: vec!["hand".to_owned()],
        version: 0,
    };
    registrar.put_unit(unit, "admin", START).expect("a unit");
}

/// The first step that was not said, and how far the disk had come when the last one was.
struct Heard {
    next: u64,
    progress: Progress,
}

impl Heard {
    /// Takes up a line of the child's.
    fn take(&mut self, line: &str) -> bool {
        // The harness writes its own words in front of the first one.
        let Some((_, said)) = line.split_once("walked ") else { return false };
        let numbers: Vec<i64> = said.split(' ').map(|n| n.parse().expect("a number")).collect();
        let [step, alert_events, case_events, commits] = numbers[..] else {
            panic!("not said in one piece: {line}");
        };
        assert_eq!(step as u64, self.next, "one step after the other");
        self.next += 1;
        self.progress = Progress { alert_events, case_events, commits: commits as u64 };
        true
    }
}

fn start(folder: &Path, plan: Plan, heard: &Heard) -> Child {
    let Plan { seed, steps, with_silence } = plan;
    let Progress { alert_events, case_events, commits } = heard.progress;
    let (silence, next) = (u8::from(with_silence), heard.next);
    let task = format!(
        "{}|{seed} {steps} {silence} {next} {alert_events} {case_events} {commits}",
        folder.display()
    );
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "hub::walk::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TASK, task)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child")
}

/// Lets a child walk, and kills it. Returns whether it came to the end of its walk before.
fn live(folder: &Path, plan: Plan, heard: &mut Heard, chance: &mut StdRng) -> bool {
    let mut child = start(folder, plan, heard);
    let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
    let last = heard.next + chance.random_range(0..LIFE);
    while heard.next < last {
        let Some(line) = lines.next() else { break };
        heard.take(&line.expect("a line"));
    }
    // Not a wait for something: the moment of the kill is the test's chance.
    std::thread::sleep(LINGER.mul_f64(chance.random()));
    child.kill().expect("a child of ours");
    // What it said before it was killed counts.
    for line in lines {
        heard.take(&line.expect("a line"));
    }
    let ended = child.wait().expect("it ends");
    assert!(ended.success() || ended.code().is_none(), "it failed by itself: {ended}");
    ended.success()
}

/// The state file without the end of its log opens, and tells a beginning of the same story.
fn cut_the_power(folder: &Path, chance: &mut StdRng) -> bool {
    let log = folder.join("town.db-wal");
    let length = std::fs::metadata(&log).map_or(0, |log| log.len());
    if length == 0 || length >= LOG_BYTES {
        return false;
    }
    let cut = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.join("town.db"), cut.path().join("town.db")).expect("copied");
    let bytes = std::fs::read(&log).expect("the log");
    let kept = chance.random_range(0..=bytes.len());
    std::fs::write(cut.path().join("town.db-wal"), &bytes[..kept]).expect("written");
    model::check(&connect(cut.path()), Progress::default()).expect("a story from its beginning");
    let (short, whole) = (Disk::read(cut.path()), Disk::read(folder));
    for log in ["alert_event", "case_event"] {
        let (short, whole) = (&short.tables[log], &whole.tables[log]);
        assert!(whole.starts_with(short), "{log}: {} rows are no beginning", short.len());
    }
    true
}

/// One walk with its kills; returns how many, and how many power cuts.
fn walk(plan: Plan, template: &Path) -> (usize, usize) {
    let killed = tempfile::tempdir().expect("a folder");
    std::fs::copy(template.join("town.db"), killed.path().join("town.db")).expect("copied");
    let mut chance = StdRng::seed_from_u64(plan.seed);
    let mut heard = Heard { next: 0, progress: Progress::default() };
    let (mut kills, mut cuts) = (0, 0);
    loop {
        let is_over = live(killed.path(), plan, &mut heard, &mut chance);
        // Before anybody opens the files: who closes them last writes the log back.
        if kills % 5 == 0 {
            cuts += usize::from(cut_the_power(killed.path(), &mut chance));
        }
        let told = model::check(&connect(killed.path()), heard.progress);
        told.unwrap_or_else(|why| panic!("seed {}, kill {kills}: {why}", plan.seed));
        if is_over {
            break;
        }
        kills += 1;
    }
    assert_eq!(heard.next, plan.steps, "every step was said");
    if !plan.with_silence {
        let calm = tempfile::tempdir().expect("a folder");
        std::fs::copy(template.join("town.db"), calm.path().join("town.db")).expect("copied");
        let mut never = Walk::open(calm.path(), plan);
        never.walk(0, Progress::default(), &mut std::io::sink());
        drop(never);
        // Running delays are written along with an alert or a checkpoint, which a start makes.
        for folder in [killed.path(), calm.path()] {
            drop(Walk::open(folder, plan));
        }
        let (killed, calm) = (Disk::read(killed.path()), Disk::read(calm.path()));
        for (table, rows) in &calm.tables {
            assert_eq!(&killed.tables[table], rows, "seed {}: {table}", plan.seed);
        }
    }
    (kills, cuts)
}

#[test]
fn a_thousand_kills_lose_nothing_and_repeat_nothing() {
    let begin = Instant::now();
    let template = tempfile::tempdir().expect("a folder");
    make(template.path());
    let (kills, cuts, walks) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while kills.load(Ordering::Relaxed) < KILLS {
                    let seed = walks.fetch_add(1, Ordering::Relaxed) as u64;
                    let plan = Plan { seed, steps: STEPS, with_silence: seed % 4 == 3 };
                    let (killed, cut) = walk(plan, template.path());
                    kills.fetch_add(killed, Ordering::Relaxed);
                    cuts.fetch_add(cut, Ordering::Relaxed);
                }
            });
        }
    });
    let (kills, cuts) = (kills.into_inner(), cuts.into_inner());
    println!(
        "{kills} kills in {} walks and {cuts} power cuts in {:.1} s",
        walks.into_inner(),
        begin.elapsed().as_secs_f64()
    );
    assert!(cuts > KILLS / 10, "the power was cut, too: {cuts}");
}
