//! Thirty days of the town, in the hub's own rooms, by a clock that the test holds.
//!
//! townsim's world (its script `month`: each kind of trouble once, calm days between) speaks the bytes of its devices into
//! the real intake; they are decoded by the shipped profiles, normalized, stored, judged, and become cases that simulated
//! people work on. At the end, against the truth of the script: every trouble had its alert and its case, no alert was
//! without a cause, calm days were silent, and every case was closed by its sensor.

mod people;
mod rig;
mod truth;

use std::sync::Arc;
use std::time::{Duration, Instant};

use townsim::run::load_script;
use townsim::town::{Observes, Town};
use townsim::world::{Effect, Start, World};

use crate::alert::{self, Alert, AlertQuery};
use crate::case::{self, CaseQuery};
use crate::config::{CaseConfig, Config};
use crate::model::{Reason, Severity, Timestamp};

use people::People;
use rig::Rig;
use truth::{Duty, Truth};

/// The weather, the traffic, the noise, and how much haste people make.
const SEED: u64 = 20_260_601;
/// A Monday's midnight in Wuzhen, in the flood season.
const MONDAY: Timestamp = Timestamp::from_secs(1_780_243_200);
const DAYS: u64 = 30;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How many minutes the hub's rooms look at once while nothing urgent is the matter.
const QUIET_MINUTES: u64 = 5;

/// The town alive, with the hub that hears it.
struct Month {
    town: Arc<Town>,
    world: World,
    rig: Rig,
    truth: Truth,
    /// Readings of a sensor that repeats itself, as the hub judged them.
    frozen: usize,
    /// Spikes that came in and did not pass for news.
    doubted: usize,
}

impl Month {
    fn new() -> Self {
        let town = Arc::new(Town::wuzhen().expect("the town"));
        let script = load_script("month", &town).expect("the script");
        let start = Start { seed: SEED, speed: 1.0, now_ms: millis(MONDAY) };
        let world = World::new(Arc::clone(&town), script, &start);
        // Every alert opens a case here, the mildest, too: the loop is to be seen closed for each of them.
        let case = CaseConfig { opens_from: Severity::Info, ..CaseConfig::default() };
        let rig = Rig::new(&town, MONDAY, Config { case, ..Config::default() });
        Month { town, world, rig, truth: Truth::default(), frozen: 0, doubted: 0 }
    }

    /// A minute of the town.
    fn live(&mut self, now: Timestamp) {
        self.rig.set_time(now);
        let effects = self.world.advance(millis(now));
        self.publish(effects);
        self.truth.look(&self.world, now);
        let doubt = |sample: Option<crate::model::Sample>, reason| {
            sample.is_some_and(|sample| sample.quality.reason == Some(reason))
        };
        self.frozen += usize::from(doubt(self.rig.latest("mh-044", "level"), Reason::Frozen));
        self.doubted += usize::from(doubt(self.rig.latest("cl-003", "level"), Reason::Rate));
    }

    fn publish(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            // Who loses its connection says nothing; that is all that the hub's rooms see of it.
            if let Effect::Publish { device, payload } = effect {
                let device = &self.town.devices[device];
                self.rig.hear(&device.id, &device.topic(), &payload);
            }
        }
    }

    /// The gates are polled, and everything that came is stored and judged.
    async fn settle(&mut self) {
        let town = Arc::clone(&self.town);
        for device in &town.devices {
            if let Observes::Gate(gate) = device.observes {
                self.rig.poll(&device.id, &self.world.gate(gate));
            }
        }
        self.rig.settle().await;
    }
}

fn millis(time: Timestamp) -> i64 {
    time.as_millis()
}

/// Everything that the hub has said in the run.
struct Said {
    alerts: Vec<Alert>,
    cases: Vec<serde_json::Value>,
}

impl Said {
    fn read(rig: &Rig) -> Self {
        let db = rig.rooms.registry.connect().expect("the tables");
        let mut alerts: Vec<Alert> = Vec::new();
        loop {
            let before = alerts.last().map(|alert| alert.id);
            let query = AlertQuery { before, limit: alert::MAX_LISTED, ..AlertQuery::default() };
            let page = alert::list(&db, &query).expect("alerts");
            if page.is_empty() {
                break;
            }
            alerts.extend(page);
        }
        let query = CaseQuery { limit: case::MAX_LISTED, ..CaseQuery::default() };
        let cases = case::list(&db, &query).expect("cases");
        assert!(cases.len() < case::MAX_LISTED, "all on one page");
        alerts.reverse();
        Said { alerts, cases }
    }

    /// The case that an alert belongs to.
    fn case_of(&self, alert: &Alert) -> Vec<&serde_json::Value> {
        let has = |case: &&serde_json::Value| {
            case["alerts"].as_array().is_some_and(|alerts| alerts.contains(&alert.id.0.into()))
        };
        self.cases.iter().filter(has).collect()
    }
}

fn name(alert: &Alert) -> String {
    let metric = alert.rule.metric.as_ref().map_or("silence", |metric| metric.as_str());
    format!(
        "alert {} {} {metric}/{} {:?} raised {} value {:?} peak {:?}",
        alert.id.0,
        alert.rule.device,
        alert.rule.name,
        alert.severity,
        alert.raised_at,
        alert.value,
        alert.peak
    )
}

#[tokio::test]
async fn thirty_days_end_with_every_case_closed_by_its_sensor() {
    let wall = Instant::now();
    let mut month = Month::new();
    let mut people = People::new(&month.rig, SEED).await;
    let mut is_busy = false;
    let mut looks = 0_u64;
    for minute in 1..=DAYS * 24 * 60 {
        let now = MONDAY.plus(MINUTE * minute as u32);
        month.live(now);
        if !is_busy && minute % QUIET_MINUTES != 0 {
            continue;
        }
        looks += 1;
        month.settle().await;
        let mut repaired = Vec::new();
        is_busy = people.act(&month.rig, &mut |device| repaired.push(device.to_owned())).await;
        for device in repaired {
            let index = month.town.device_index(&device).expect("a device of the town");
            let effects = month.world.repair(index);
            month.publish(effects);
        }
    }
    let said = Said::read(&month.rig);
    let counts = month.rig.counts();
    let deeds = &people.deeds;
    let (wall, alerts, cases) = (wall.elapsed(), said.alerts.len(), said.cases.len());
    println!(
        "seed {SEED}: {DAYS} days in {:.1} s, {} readings, {} payloads that nobody could read, {looks} looks, \
         {alerts} alerts, {cases} cases, {deeds:?}",
        wall.as_secs_f64(),
        counts.stored,
        month.rig.undecoded,
    );
    check(&month, &said);
    let open = month.rig.open_alerts();
    assert!(open.is_empty(), "nothing stands after a calm tail: {open:?}");
    assert!(deeds.refused > 0, "somebody tried to close too early");
    assert!(deeds.overdue > 0 && deeds.escalated > 0, "somebody was too slow: {deeds:?}");
    assert!(month.frozen > 0, "a sensor that repeats itself for three days is doubted");
    assert!(month.doubted > 0, "a spike is doubted");
    assert!(month.rig.undecoded > 0, "half a payload cannot be read");
    month.rig.stop().await;
}

/// Holds what the hub said against the truth.
fn check(month: &Month, said: &Said) {
    let Month { town, truth, .. } = month;
    let mut wrong = Vec::new();
    for alert in &said.alerts {
        if !truth.explains(alert, town) {
            wrong.push(format!("without a cause: {}", name(alert)));
        }
        let cases = said.case_of(alert);
        if cases.len() != 1 {
            wrong.push(format!("in {} cases: {}", cases.len(), name(alert)));
        }
    }
    for case in &said.cases {
        if case["stage"] != "closed" || case["proof"]["by"] != "sensor" {
            wrong.push(format!("not closed by its sensor: {case}"));
        }
    }
    for cause in truth.causes() {
        let fulfilled = said.alerts.iter().any(|alert| truth.fulfils(cause, alert, town));
        if truth.duty(cause) != Duty::Nothing && !fulfilled {
            wrong.push(format!("without an alert: {cause:?}"));
        }
    }
    let mut calm = 0;
    for day in 0..DAYS as u32 {
        let (from, to) = (MONDAY.plus(DAY * day), MONDAY.plus(DAY * (day + 1)));
        if !truth.is_calm(from, to) {
            continue;
        }
        calm += 1;
        let raised = said.alerts.iter().filter(|alert| (from..to).contains(&alert.raised_at));
        wrong.extend(raised.map(|alert| format!("on calm day {}: {}", day + 1, name(alert))));
    }
    let flooded = said.alerts.iter().filter(|alert| truth::is_flooded(alert)).count();
    if flooded == 0 {
        wrong.push("no storm and no blockage filled a manhole".to_owned());
    }
    println!("{flooded} alerts of full manholes");
    println!("{calm} calm days of {DAYS}, {} causes", truth.causes().count());
    assert!(calm >= 8, "too few calm days: {calm}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
