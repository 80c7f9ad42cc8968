//! The normative statements of MQTT 3.1.1 and 5 that the door claims, row by row: as a service, as a device where it
//! applies, and at mosquitto, the broker that people compare us with.
//!
//! A row that is marked as a gap must fail: one that passes unexpectedly is an error too, at mosquitto as well, so the list
//! of what is left out stays true. `cargo test --test hub -- standards --nocapture` prints the table.

mod script;
mod wire;

use std::sync::Arc;

use script::{Row, Side, Stage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::device::Level;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::secret_of;
use crate::support::{Town, devices};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mqtt/statements.txt");

/// How the reason of a gap begins that chance may close.
const BY_CHANCE: &str = "mostly: ";

/// Rows that run at once: each is a few clients, and most of its time is waiting.
const AT_ONCE: usize = 32;

struct Outcome {
    row: Arc<Row>,
    index: usize,
    level: Level,
    side: Side,
    result: Result<(), String>,
}

impl Outcome {
    fn gap(&self) -> Option<&str> {
        let gaps = self.row.gaps.iter();
        gaps.filter(|(side, level, _)| {
            *side == self.side && level.is_none_or(|level| level == self.level)
        })
        .map(|(.., why)| why.as_str())
        .next()
    }

    /// What is wrong with it, or with what the table says of it.
    fn fault(&self) -> Option<String> {
        let name = format!("{:?} {:?} {}", self.level, self.side, self.row.what);
        match (&self.result, self.gap(), self.side) {
            (Ok(()), None, _) | (Err(_), Some(_), _) => None,
            // That another release of it, or a busy machine, fails a row is not our fault.
            (Err(_), None, Side::Mosquitto) => None,
            // It looks every few seconds, so it may be right by chance.
            (Ok(()), Some(gap), _) if gap.starts_with(BY_CHANCE) => None,
            (Ok(()), Some(gap), _) => Some(format!("{name}: passes, but is listed as: {gap}")),
            (Err(why), None, _) => Some(format!("{name}: {why}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_that_the_door_claims_holds() {
    let text = std::fs::read_to_string(SCRIPT).expect("the script");
    let only = std::env::var("ROW").unwrap_or_default();
    let rows = script::rows(&text).into_iter().filter(|row| row.what.contains(&only));
    let rows: Vec<_> = rows.map(Arc::new).collect();
    assert!(!rows.is_empty(), "no row of the table has `{only}` in it");
    let town = Town::new("");
    let arguments = ["service", "put", "svc-c", "--publish", "c/#", "--subscribe", "c/#"];
    let arguments = [&arguments[..], &["--subscribe", "devices/#"]].concat();
    let output = town.home.command(&arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let hub = town.home.start();
    hub.import_devices("probe", &devices(2 * rows.len())).await;
    let mosquitto = Mosquitto::start().await;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (index, row) in rows.iter().enumerate() {
        for (level, _) in &row.ids {
            let number = 2 * index + usize::from(*level == Level::V5);
            let (device, place) = (format!("probe-{number}"), format!("c/{number}"));
            let sides = [
                (row.for_services, Side::Services, hub.mqtt, &place, "svc-c", secret.clone()),
                (
                    row.for_devices,
                    Side::Devices,
                    hub.mqtt,
                    &format!("devices/{device}"),
                    &*device,
                    secret_of(&device),
                ),
                (true, Side::Mosquitto, mosquitto.address, &place, "svc-c", secret.clone()),
            ];
            for (_, side, address, place, user, password) in
                sides.into_iter().filter(|(runs, ..)| *runs)
            {
                let stage = Stage {
                    address,
                    level: *level,
                    place: place.clone(),
                    user: user.to_owned(),
                    password,
                    device: (device.clone(), secret_of(&device)),
                    is_strict: side != Side::Mosquitto,
                };
                let (row, room) = (Arc::clone(row), Arc::clone(&room));
                running.spawn(async move {
                    let _room = room.acquire_owned().await.expect("it is never closed");
                    let result = row.run(&stage).await;
                    Outcome { row, index, level: stage.level, side, result }
                });
            }
        }
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by_key(|outcome| (outcome.index, outcome.level as u8));
    print_table(&rows, &outcomes);
    let faults: Vec<_> = outcomes.iter().filter_map(Outcome::fault).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Every row, and the counts by group as the README shows them.
fn print_table(rows: &[Arc<Row>], outcomes: &[Outcome]) {
    let mark = |index, level, side| {
        let mut found = outcomes.iter();
        let found = found.find(|o| (o.index, o.level, o.side) == (index, level, side));
        found.map_or("-", |outcome| if outcome.result.is_ok() { "ok" } else { "FAILS" })
    };
    println!("| statement | what | service | device | mosquitto |");
    for (index, row) in rows.iter().enumerate() {
        for (level, ids) in &row.ids {
            let [service, device, mosquitto] = [Side::Services, Side::Devices, Side::Mosquitto]
                .map(|side| mark(index, *level, side));
            let ids = ids.join(" ");
            println!("| {level:?} {ids} | {} | {service} | {device} | {mosquitto} |", row.what);
        }
    }
    println!();
    for outcome in outcomes.iter().filter(|outcome| outcome.result.is_err()) {
        let why = outcome.result.as_ref().expect_err("just filtered");
        println!("{:?} {:?} {}: {why}", outcome.level, outcome.side, outcome.row.what);
    }
    println!("\n| | services | devices | mosquitto |");
    let mut groups: Vec<_> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.dedup();
    let count = |group: Option<&str>, side| {
        let of = outcomes.iter().filter(|outcome| outcome.side == side);
        let of = of.filter(|outcome| group.is_none_or(|group| outcome.row.group == group));
        let (passed, all) = of.fold((0, 0), |(passed, all), outcome| {
            (passed + usize::from(outcome.result.is_ok()), all + 1)
        });
        if all == 0 { "-".to_owned() } else { format!("{passed} / {all}") }
    };
    for group in groups.into_iter().map(Some).chain([None]) {
        let [service, device, mosquitto] =
            [Side::Services, Side::Devices, Side::Mosquitto].map(|side| count(group, side));
        println!("| {} | {service} | {device} | {mosquitto} |", group.unwrap_or("all"));
    }
}
