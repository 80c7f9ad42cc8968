//! One walk: what happens at each step hangs on the seed and the step's number alone, and on what the disk knows.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;

use crate::alert::{Alert, Engine, Rule, RuleKey, Wish};
use crate::case::{
    Actor, CalendarConfig, Case, DutyCalendar, Evidence, Missing, Move, Promises, Registrar,
    Remarks, Settings,
};
use crate::model::{
    AssetKind, AssetNumber, Label, Measurement, Quality, Reason, Role, SeriesId, Severity,
    Timestamp,
};
use crate::profile::{AlertSpec, AlertTest, Flap, Rung, Side, Signal};
use crate::store::{EmbeddedStore, SeriesKey, Store};

/// A Monday, nine o'clock in Wuzhen.
pub(super) const START: Timestamp = Timestamp::from_secs(1_790_557_200);
/// Between two steps.
const STEP: Duration = Duration::from_secs(20);
/// Series, each of its own device; two of them on one asset.
const SERIES: u32 = 6;

/// What a walk is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) steps: u64,
    /// Whether silence is watched. A restart gives every device its full time again, so such a walk is not the same with
    /// and without a kill; what it says must still be what its log says.
    pub(super) with_silence: bool,
}

/// How far the disk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) alert_events: i64,
    pub(super) case_events: i64,
    pub(super) commits: u64,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Readings come, are stored and judged.
    Hear,
    /// The judge looks at the time.
    Tick,
    /// The operator acknowledges the oldest alert that nobody has seen.
    Acknowledge,
    /// Somebody tries to put an alert aside, or to take it back.
    Aside,
    Checkpoint,
    /// The registrar follows the alerts' log.
    Follow,
    /// The registrar looks at deadlines.
    Deadlines,
    /// Somebody tries to move a case.
    Move,
}

/// The rooms of a walk, at work on its folder.
pub(super) struct Walk {
    plan: Plan,
    store: EmbeddedStore,
    series: Vec<SeriesId>,
    engine: Engine,
    registrar: Registrar,
    log: Connection,
}

/// The sensors agree when the alert is over.
struct Sensors;

impl Evidence for Sensors {
    fn lacking(&self, alert: &Alert, _: Duration, _: Timestamp) -> Option<Missing> {
        let (value, clear, unit) = (alert.value, alert.clear, alert.unit.clone());
        alert.active.then_some(Missing::Clear { value, clear, unit })
    }
}

/// Opens the town's state as the hub does, but for one thing: a kill ends a process, not a machine, so nobody has to wait
/// for the disk itself.
pub(super) fn connect(folder: &Path) -> Connection {
    let db = Connection::open(folder.join("town.db")).expect("the state file");
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;").expect("pragmas");
    db.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    db
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// How the walk's town runs its cases.
pub(super) fn settings() -> Settings {
    Settings {
        opens_from: Severity::Minor,
        hold: Duration::ZERO,
        reopens_within: secs(600),
        escalates_after: vec![secs(60), secs(300)],
        promises: Promises::default(),
        calendar: DutyCalendar::new(&CalendarConfig::default()).expect("a calendar"),
    }
}

/// One rule of every kind, with every kind of patience.
fn rules(series: &[SeriesId], with_silence: bool) -> Vec<Rule> {
    let rung = |severity, limit, clear| Rung { severity, limit, clear, text: None };
    let ladder = AlertTest::Limit {
        of: Signal::Value,
        side: Side::Above,
        rungs: vec![rung(Severity::Minor, 6.0, 4.0), rung(Severity::Critical, 8.0, 7.0)],
    };
    let rise = AlertTest::Limit {
        of: Signal::Rise { window: secs(120) },
        side: Side::Above,
        rungs: vec![rung(Severity::Major, 5.0, 2.0)],
    };
    let flat = AlertTest::Flat { band: 0.5, after: secs(90), severity: Severity::Minor };
    let state = AlertTest::Equals { code: 5.0, severity: Severity::Major };
    let low = AlertTest::limit(Side::Below, 2.0, 3.0, Severity::Major);
    let high = AlertTest::limit(Side::Above, 6.0, 5.0, Severity::Major);
    let silence = AlertTest::NoData { after: secs(300), severity: Severity::Minor };
    let flap = Flap { times: 3, within: secs(300) };
    let patient = |name: &str, test, on, off| AlertSpec {
        on_delay: secs(on),
        off_delay: secs(off),
        flap: Some(Flap::NEVER),
        ..AlertSpec::new(name, Label::same(name), test)
    };
    let mut specs = vec![
        (0, patient("ladder", ladder, 0, 0)),
        (1, patient("low", low, 20, 0)),
        (2, AlertSpec { flap: Some(flap), ..patient("state", state, 0, 30) }),
        (3, AlertSpec { re_alarm: Some(secs(180)), ..patient("high", high, 40, 40) }),
        (4, patient("flat", flat, 0, 0)),
        (5, patient("rise", rise, 0, 20)),
    ];
    if with_silence {
        specs.push((5, patient("silence", silence, 0, 0)));
    }
    let rule = |(place, spec): (usize, AlertSpec)| Rule {
        key: RuleKey {
            device: device(place as u32).parse().expect("an id"),
            metric: (spec.name != "silence").then(|| "level".parse().expect("a name")),
            name: spec.name.clone(),
        },
        series: vec![series[place]],
        asset: Some((
            format!("asset-{}", place / 2).parse().expect("an id"),
            AssetNumber(place as u32 / 2 + 1),
        )),
        unit: "m".to_owned(),
        spec: Arc::new(spec),
    };
    specs.into_iter().map(rule).collect()
}

fn device(place: u32) -> String {
    format!("dev-{place}")
}

impl Walk {
    /// Takes up what the disk knows, as a started hub does: the readings that were stored and not judged are judged now.
    pub(super) fn open(folder: &Path, plan: Plan) -> Self {
        let store = EmbeddedStore::open(&folder.join("readings.db")).expect("the readings");
        let key = |place| SeriesKey {
            device: device(place).parse().expect("an id"),
            metric: "level".parse().expect("a name"),
        };
        let series = store.series(&(0..SERIES).map(key).collect::<Vec<_>>()).expect("series");
        let rules = rules(&series, plan.with_silence);
        let mut engine = Engine::open(connect(folder), rules, START).expect("an engine");
        engine.align(store.stats().expect("figures").last_commit);
        for past in engine.wanted() {
            let samples = store.range(past.series, past.from, past.to, 100_000).expect("readings");
            engine.remember(past.series, &samples);
        }
        let replayed = store.replay(engine.watermark(), &mut |seq, batch| {
            engine.judge(seq, batch);
            ControlFlow::Continue(())
        });
        replayed.expect("the replay");
        engine.commit().expect("written");
        store.release(engine.checkpoint().expect("written"));
        let registrar = Registrar::open(connect(folder), settings()).expect("a registrar");
        Walk { plan, store, series, engine, registrar, log: connect(folder) }
    }

    /// How far the disk has come.
    pub(super) fn progress(&self) -> Progress {
        let count = |table: &str| {
            let sql = format!("SELECT coalesce(max(seq), 0) FROM {table}");
            self.log.query_row(&sql, [], |row| row.get(0)).expect("a number")
        };
        Progress {
            alert_events: count("alert_event"),
            case_events: count("case_event"),
            commits: self.store.stats().expect("figures").last_commit.0,
        }
    }

    /// Whether a step was done already, by a life that was ended before it could say so. `before` is how far the disk had
    /// come when the step began. A step that left no trace is done again.
    pub(super) fn was_done(&self, step: u64, before: Progress) -> bool {
        let now = self.progress();
        match self.act(step) {
            Act::Hear => now.commits > before.commits,
            Act::Tick | Act::Acknowledge | Act::Aside => now.alert_events > before.alert_events,
            Act::Follow | Act::Deadlines | Act::Move => now.case_events > before.case_events,
            Act::Checkpoint => false,
        }
    }

    /// Does a step; what it changed is on disk when this returns.
    pub(super) fn step(&mut self, step: u64) {
        let now = time(step);
        let mut rng = self.rng(step);
        match self.act(step) {
            Act::Hear => {
                let batch = self.readings(&mut rng, now);
                let seq = self.store.append(&[&batch]).expect("stored");
                self.engine.judge(seq, &batch);
                self.engine.commit().expect("written");
            }
            Act::Tick => {
                self.engine.tick(now);
                self.engine.commit().expect("written");
            }
            Act::Acknowledge => {
                let unseen = |alert: &&Alert| alert.acknowledged_at.is_none();
                let open = self.engine.open_alerts();
                if let Some(alert) = open.iter().filter(unseen).min_by_key(|alert| alert.id) {
                    let done =
                        self.engine.acknowledge(alert.id, Some(alert.version), "op", None, now);
                    done.expect("nobody has seen it");
                    self.engine.commit().expect("written");
                }
            }
            Act::Aside => self.try_to_put_aside(&mut rng, now),
            Act::Checkpoint => self.store.release(self.engine.checkpoint().expect("written")),
            Act::Follow => {
                let places = |_: &Alert| (None, Some(AssetKind::Manhole));
                self.registrar.follow(now, &places).expect("followed");
            }
            Act::Deadlines => drop(self.registrar.tick(now).expect("looked at")),
            Act::Move => self.try_a_move(&mut rng, now),
        }
    }

    /// Does every step from `from` on and says so each time, when it is on disk.
    pub(super) fn walk(&mut self, from: u64, mut before: Progress, out: &mut dyn std::io::Write) {
        for step in from..self.plan.steps {
            if step > from || !self.was_done(step, before) {
                self.step(step);
            }
            before = self.progress();
            let Progress { alert_events, case_events, commits } = before;
            writeln!(out, "walked {step} {alert_events} {case_events} {commits}").expect("heard");
            out.flush().expect("heard");
        }
    }

    fn rng(&self, step: u64) -> StdRng {
        StdRng::seed_from_u64(self.plan.seed.wrapping_mul(1_000_003).wrapping_add(step))
    }

    fn act(&self, step: u64) -> Act {
        // A generator of its own: what a step does must not hang on how its kind was drawn.
        let mut rng = StdRng::seed_from_u64(!self.plan.seed.wrapping_mul(7_919).wrapping_add(step));
        match rng.random_range(0..100) {
            0..40 => Act::Hear,
            40..52 => Act::Tick,
            52..59 => Act::Acknowledge,
            59..63 => Act::Aside,
            63..66 => Act::Checkpoint,
            66..76 => Act::Follow,
            76..81 => Act::Deadlines,
            _ => Act::Move,
        }
    }

    /// A few readings; one in six is none that raises.
    fn readings(&self, rng: &mut StdRng, now: Timestamp) -> Vec<Measurement> {
        let one = |nth: u32| {
            let series = self.series[rng.random_range(0..self.series.len())];
            let quality = match rng.random_range(0..18) {
                0 => Quality::LATE,
                1 => Quality::bad(Reason::Range),
                2 => Quality::uncertain(Reason::Rate),
                _ => Quality::GOOD,
            };
            let observed_at = now.plus(Duration::from_millis(u64::from(nth)));
            let value = f64::from(rng.random_range(0..10_u8));
            Measurement { series, quality, observed_at, received_at: now, value }
        };
        (0..4).map(one).collect()
    }

    /// Shelved, taken out of service, or back: what is not so is refused.
    fn try_to_put_aside(&mut self, rng: &mut StdRng, now: Timestamp) {
        let open = self.engine.open_alerts();
        if open.is_empty() {
            return;
        }
        let id = open[rng.random_range(0..open.len())].id;
        let wish = Wish { version: None, who: "op".to_owned(), reason: "because".to_owned() };
        let whole = rng.random_bool(0.3);
        let until = now.plus(secs(rng.random_range(60..400)));
        let engine = &mut self.engine;
        // A refusal is an answer, too.
        let _ = match rng.random_range(0..5) {
            0..2 => engine.shelve(id, &wish, until, Severity::Critical, now),
            2 => engine.unshelve(id, &wish, now),
            3 => engine.take_out_of_service(id, whole, &wish, now),
            _ => engine.put_in_service(id, whole, &wish, now),
        };
        engine.commit().expect("written");
    }

    /// Anybody tries anything with any case; most of it is refused, and changes nothing.
    fn try_a_move(&mut self, rng: &mut StdRng, now: Timestamp) {
        let cases: Vec<Case> = self.registrar.cases().cloned().collect();
        if cases.is_empty() {
            return;
        }
        let case = &cases[rng.random_range(0..cases.len())];
        let reason = || "because".to_owned();
        let unit = || "west".parse().expect("an id");
        let (wanted, name, role) = match rng.random_range(0..12) {
            0..2 => (Move::Dispatch { unit: unit(), person: None }, "disp", Role::Dispatcher),
            2..4 => (Move::Accept, "hand", Role::Handler),
            4 => (Move::Return { reason: reason() }, "hand", Role::Handler),
            5 => (Move::Recall { reason: reason() }, "disp", Role::Dispatcher),
            6 => (Move::Handle, "hand", Role::Handler),
            7..9 => (Move::Report, "hand", Role::Handler),
            9 => (Move::Verify, "sup", Role::Supervisor),
            10 => (Move::Reject { reason: reason() }, "sup", Role::Supervisor),
            _ => {
                let site_check = rng.random_bool(0.3).then(reason);
                (Move::Close { site_check }, "sup", Role::Supervisor)
            }
        };
        let actor = Actor { name: name.to_owned(), role, zones: None };
        let (id, version) = (case.id, case.version);
        // A refusal is an answer, too.
        let _ =
            self.registrar.make(id, version, &wanted, Remarks::default(), &actor, &Sensors, now);
    }
}

/// When a step happens.
fn time(step: u64) -> Timestamp {
    START.plus(STEP * (step as u32 + 1))
}
