//! The hub's endurance: the real binary, over real sockets, through what a town does to it in years.
//!
//! One program with named scenarios: `make torture`, or `cargo test --test endure -- torture [NAME...] [--seed N]
//! [--kills N] [--seconds N] [--short]`. Prints a row for each with its seed, what was counted, the verdict, and the
//! command that repeats it. The hub under test is the one of this build, or the one that `TOWNHUB_TEST_BINARY` names.
//!
//! Without `torture` (so in `make test`) a short run of the kills and of the power cuts. Every scenario is bounded in time, memory and disk.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod clocks;
mod crowd;
mod disks;
mod fleet;
mod frail;
mod kills;
#[path = "../../benches/hub/procfs.rs"]
mod procfs;
#[path = "../hub/support/mod.rs"]
#[allow(dead_code)]
mod support;
mod task;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use task::{Outcome, Task};

type Run = fn(&Task) -> Outcome;

/// Every scenario, in the order in which they run.
const SCENARIOS: &[(&str, Run)] = &[
    ("kills", kills::run),
    ("power-cuts", kills::power_cuts),
    ("failing-disk", disks::failing),
    ("slow-disk", disks::slow),
    ("full-disk", disks::full),
    ("clock-jumps", clocks::run),
    ("dead-consumers", crowd::dead_consumers),
    ("reconnects", crowd::reconnects),
    ("overload", crowd::overload),
    ("soak", crowd::soak),
];

/// What runs with the other tests.
const SHORT: &[&str] = &["kills", "power-cuts"];

/// A seed that nobody has to think about; another one is another run.
const SEED: u64 = 20_261_128;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_torture = arguments.next_if_eq("torture").is_some();
    let mut task = Task { seed: SEED, kills: None, time: None, is_short: !is_torture };
    let mut names: Vec<String> = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse().unwrap_or_else(|_| panic!("{argument} needs a number, not `{value}`"))
        };
        match argument.as_str() {
            "--seed" => task.seed = number(),
            "--kills" => task.kills = Some(number()),
            "--seconds" => task.time = Some(Duration::from_secs(number())),
            "--short" => task.is_short = true,
            // Flags of the usual test harness, which cargo hands to every test program.
            flag if flag.starts_with('-') && !is_torture => {}
            name => names.push(name.to_owned()),
        }
    }
    let known = |name: &str| SCENARIOS.iter().any(|(known, _)| *known == name);
    if is_torture && let Some(wrong) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        eprintln!("no scenario is called `{wrong}`; there are {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let is_wanted = |name: &str| match is_torture {
        true => names.is_empty() || names.iter().any(|n| n == name),
        false => SHORT.contains(&name) && names.iter().all(|part| name.contains(part.as_str())),
    };
    let wanted: Vec<_> = SCENARIOS.iter().filter(|(name, _)| is_wanted(name)).collect();
    println!("hub: {}", support::binary().display());
    let rows: Vec<Row> = wanted.iter().map(|(name, run)| Row::of(name, *run, &task)).collect();
    println!("\n| scenario | seed | took | verdict | counted |\n|---|---|---|---|---|");
    rows.iter().for_each(Row::print);
    println!();
    for row in &rows {
        println!("{:<14} {}", row.name, task.command(row.name));
    }
    ExitCode::from(u8::from(rows.iter().any(|row| row.outcome.is_err())))
}

/// A scenario that ran.
struct Row {
    name: &'static str,
    seed: u64,
    took: Duration,
    outcome: Result<Outcome, String>,
}

impl Row {
    fn of(name: &'static str, run: Run, task: &Task) -> Self {
        println!("\n## {name}, seed {}", task.seed);
        let (begin, inner) = (Instant::now(), task.clone());
        let thread = std::thread::Builder::new().name(name.to_owned());
        let outcome = thread.spawn(move || run(&inner)).expect("a thread").join();
        let outcome = outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default()
        });
        Row { name, seed: task.seed, took: begin.elapsed(), outcome }
    }

    fn print(&self) {
        let (verdict, counted) = match &self.outcome {
            Ok(Outcome::Well(counted)) => ("held", counted.join("; ")),
            Ok(Outcome::Skipped(why)) => ("SKIPPED", why.clone()),
            Err(why) => ("BROKE", why.replace('\n', " ")),
        };
        let Row { name, seed, took, .. } = self;
        println!("| {name} | {seed} | {:.1} s | {verdict} | {counted} |", took.as_secs_f64());
    }
}
