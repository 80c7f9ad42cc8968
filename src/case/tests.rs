//! The room as a whole: stories, refusals, deadlines, and a thousand random walks with a crash at any step.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::*;
use crate::model::{AssetKind, Label, Role, ZoneId};

const SCHEMAS: [&str; 6] = [
    include_str!("../audit/schema.sql"),
    include_str!("../alert/schema.sql"),
    include_str!("../alert/event_seq.sql"),
    include_str!("../alert/loop.sql"),
    include_str!("../alert/aside.sql"),
    include_str!("schema.sql"),
];

/// A Monday, nine o'clock in Wuzhen.
const MONDAY: Timestamp = Timestamp::from_secs(1_790_557_200);

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// What the sensors say in a test: the alerts that are not well yet.
#[derive(Default)]
struct Sensors(Vec<(AlertId, Missing)>);

impl Evidence for Sensors {
    fn lacking(&self, alert: &Alert, _: Duration, _: Timestamp) -> Option<Missing> {
        if alert.active {
            return Some(Missing::Clear {
                value: alert.value,
                clear: alert.clear,
                unit: alert.unit.clone(),
            });
        }
        self.0.iter().find(|(id, _)| *id == alert.id).map(|(_, missing)| missing.clone())
    }
}

struct Town {
    _dir: TempDir,
    path: PathBuf,
    registrar: Registrar,
    alerts: u64,
}

fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    // A crash here is a process that ends, not a machine: no need to wait for the disk.
    db.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;").unwrap();
    db
}

fn settings() -> Settings {
    Settings {
        opens_from: Severity::Major,
        hold: minutes(3),
        reopens_within: minutes(24 * 60),
        escalates_after: vec![minutes(10), minutes(30)],
        promises: Promises::default(),
        calendar: DutyCalendar::new(&CalendarConfig::default()).unwrap(),
    }
}

fn actor(name: &str, role: Role) -> Actor {
    Actor { name: name.to_owned(), role, zones: None }
}

fn op() -> Actor {
    actor("op", Role::Operator)
}

fn disp() -> Actor {
    actor("disp", Role::Dispatcher)
}

fn hand() -> Actor {
    actor("hand", Role::Handler)
}

fn sup() -> Actor {
    actor("sup", Role::Supervisor)
}

fn dispatch() -> Move {
    Move::Dispatch { unit: "west".parse().unwrap(), person: None }
}

fn close() -> Move {
    Move::Close { site_check: None }
}

impl Town {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("town.db");
        for schema in SCHEMAS {
            connect(&path).execute_batch(schema).unwrap();
        }
        let mut registrar = Registrar::open(connect(&path), settings()).unwrap();
        let unit = Unit {
            id: "west".parse().unwrap(),
            name: Label::same("West crew"),
            zones: Vec::new(),
            kinds: Vec::new(),
            members: vec!["hand".to_owned(), "hand2".to_owned()],
            version: 0,
        };
        registrar.put_unit(unit, "admin", MONDAY).unwrap();
        Town { _dir: dir, path, registrar, alerts: 0 }
    }

    /// What kill -9 and a restart do.
    fn crash(&mut self) {
        self.registrar = Registrar::open(connect(&self.path), settings()).unwrap();
    }

    /// An alert is raised on an asset; the registrar has not looked yet.
    fn raise(&mut self, asset: &str, severity: Severity, at: Timestamp) -> AlertId {
        self.alerts += 1;
        let db = connect(&self.path);
        db.execute(
            "INSERT INTO alert (id, version, device, metric, name, kind, asset, asset_number, severity,
                 text_zh, text_en, value, limit_value, clear_value, unit, active, since, raised_at)
             VALUES (?1, 0, ?2, 'level', 'high', 'limit', ?3, 1, ?4, '高', 'High', 3, 2, 1, 'm', 1, ?5, ?5)",
            params![self.alerts as i64, format!("dev-{asset}"), asset, severity.rank(), at.as_micros()],
        )
        .unwrap();
        let id = AlertId(self.alerts);
        self.log(id, "raised", at);
        id
    }

    fn set_active(&self, id: AlertId, active: bool, at: Timestamp) {
        let db = connect(&self.path);
        let changed = "UPDATE alert SET active = ?2, cleared_at = ?3 WHERE id = ?1";
        db.execute(changed, params![id.0 as i64, active, (!active).then_some(at.as_micros())])
            .unwrap();
        self.log(id, if active { "raised_again" } else { "returned" }, at);
    }

    fn log(&self, id: AlertId, what: &str, at: Timestamp) {
        let db = connect(&self.path);
        db.execute("UPDATE alert SET version = version + 1 WHERE id = ?", [id.0 as i64]).unwrap();
        db.execute(
            "INSERT INTO alert_event (alert, version, what, at)
             SELECT id, version, ?2, ?3 FROM alert WHERE id = ?1",
            params![id.0 as i64, what, at.as_micros()],
        )
        .unwrap();
    }

    fn follow(&mut self, at: Timestamp) -> Vec<Case> {
        let places =
            |_: &Alert| (Some("xizha".parse::<ZoneId>().unwrap()), Some(AssetKind::Manhole));
        self.registrar.follow(at, &places).unwrap()
    }

    fn only(&self) -> Case {
        let cases: Vec<&Case> = self.registrar.cases().collect();
        assert_eq!(cases.len(), 1, "{cases:?}");
        cases[0].clone()
    }

    fn make(&mut self, wanted: Move, who: &Actor, at: Timestamp) -> Result<Case, CaseError> {
        let Case { id, version, .. } = self.only();
        let sensors = Sensors::default();
        self.registrar.make(id, version, &wanted, Remarks::default(), who, &sensors, at)
    }

    /// What the disk says of the open cases: by the log, and by the copy for lists.
    fn on_disk(&self) -> (Vec<Case>, Vec<serde_json::Value>) {
        let db = connect(&self.path);
        let query = CaseQuery { open_only: true, limit: MAX_LISTED, ..CaseQuery::default() };
        let mut listed = list(&db, &query).unwrap();
        listed.reverse();
        (tables::open_cases(&db).unwrap(), listed)
    }
}

#[test]
fn a_case_runs_from_its_alert_to_the_sensors_agreement() {
    let mut town = Town::new();
    let alert = town.raise("mh-1", Severity::Critical, MONDAY);
    let opened = town.follow(MONDAY);
    assert_eq!(
        (opened.len(), &opened[0].stage, opened[0].severity),
        (1, &Stage::Opened, Severity::Critical)
    );
    let dispatched = town.make(dispatch(), &disp(), MONDAY).unwrap();
    let deadlines = dispatched.deadlines.unwrap();
    assert_eq!(deadlines.accept, Some(MONDAY.plus(minutes(5))));
    assert_eq!(deadlines.fix, MONDAY.plus(minutes(120)));
    town.make(Move::Accept, &hand(), MONDAY.plus(minutes(4))).unwrap();
    let at_work = town.make(Move::Handle, &hand(), MONDAY.plus(minutes(20))).unwrap();
    assert_eq!(at_work.arrived_at, Some(MONDAY.plus(minutes(20))));
    town.make(Move::Report, &hand(), MONDAY.plus(minutes(90))).unwrap();
    town.make(Move::Verify, &sup(), MONDAY.plus(minutes(95))).unwrap();
    let refused = town.make(close(), &sup(), MONDAY.plus(minutes(96))).unwrap_err();
    let CaseError::Refused(Refusal::Sensor { lacking, allowed }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(lacking[0].alert, alert);
    assert!(matches!(lacking[0].what, Missing::Clear { value: Some(3.0), clear: Some(1.0), .. }));
    assert_eq!(allowed, [MoveKind::Reject, MoveKind::Close]);
    town.set_active(alert, false, MONDAY.plus(minutes(100)));
    town.follow(MONDAY.plus(minutes(100)));
    let closed = town.make(close(), &sup(), MONDAY.plus(minutes(104))).unwrap();
    assert_eq!(closed.stage, Stage::Closed { proof: Proof::Sensor });
    assert_eq!(town.registrar.cases().count(), 0);
    let told: Vec<u32> = history(&connect(&town.path), closed.id)
        .unwrap()
        .iter()
        .map(|event| event.version)
        .collect();
    assert_eq!(told, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn alerts_of_one_root_are_one_case_and_mild_ones_open_none() {
    let mut town = Town::new();
    town.raise("mh-1", Severity::Minor, MONDAY);
    assert!(town.follow(MONDAY).is_empty());
    let first = town.raise("mh-1", Severity::Major, MONDAY);
    let second = town.raise("mh-1", Severity::Critical, MONDAY);
    let third = town.raise("mh-1", Severity::Info, MONDAY);
    town.follow(MONDAY);
    let case = town.only();
    assert_eq!(case.alerts, [first, second, third]);
    assert_eq!(case.severity, Severity::Critical);
    assert!(town.follow(MONDAY).is_empty(), "nothing is followed twice");
}

#[test]
fn what_comes_back_undoes_the_report_or_opens_a_linked_case() {
    let mut town = Town::new();
    let alert = town.raise("mh-1", Severity::Major, MONDAY);
    town.follow(MONDAY);
    for (wanted, who) in [(dispatch(), disp()), (Move::Accept, hand()), (Move::Report, hand())] {
        town.make(wanted, &who, MONDAY).unwrap();
    }
    town.set_active(alert, false, MONDAY.plus(minutes(1)));
    town.set_active(alert, true, MONDAY.plus(minutes(2)));
    town.follow(MONDAY.plus(minutes(2)));
    assert_eq!(town.only().stage, Stage::Opened, "the sensor rejects the report");

    town.set_active(alert, false, MONDAY.plus(minutes(3)));
    let closed = town.make(close(), &sup(), MONDAY.plus(minutes(9))).unwrap();
    let again = town.raise("mh-1", Severity::Major, MONDAY.plus(minutes(60)));
    town.follow(MONDAY.plus(minutes(60)));
    let case = town.only();
    assert_eq!((case.reopens, &case.alerts[..]), (Some(closed.id), &[again][..]));
    let former = tables::case(&connect(&town.path), closed.id).unwrap().unwrap();
    assert_eq!(former.reopened_as, Some(case.id));
}

#[test]
fn every_wrong_move_is_refused_and_changes_nothing() {
    let mut town = Town::new();
    town.raise("mh-1", Severity::Major, MONDAY);
    town.follow(MONDAY);
    let refused = |town: &mut Town, wanted, who: &Actor, says: &str| {
        let before = town.on_disk();
        let why = town.make(wanted, who, MONDAY).unwrap_err().to_string();
        assert!(why.contains(says), "{why} should say {says}");
        assert_eq!(town.on_disk(), before);
    };
    refused(&mut town, dispatch(), &op(), "needs the right `dispatch`");
    refused(&mut town, Move::Accept, &hand(), "a case that is opened cannot be moved by `accept`");
    let nobody = Move::Dispatch { unit: "east".parse().unwrap(), person: None };
    refused(&mut town, nobody, &disp(), "no unit `east`");
    let stranger = Move::Dispatch { unit: "west".parse().unwrap(), person: Some("op".to_owned()) };
    refused(
        &mut town,
        stranger,
        &disp(),
        "`op` does not belong to unit west; its people are hand, hand2",
    );
    town.make(dispatch(), &disp(), MONDAY).unwrap();
    refused(&mut town, Move::Accept, &actor("other", Role::Handler), "the case is with unit west");
    refused(&mut town, Move::Return { reason: "  ".to_owned() }, &hand(), "needs a reason");
    town.make(Move::Accept, &hand(), MONDAY).unwrap();
    town.make(Move::Report, &hand(), MONDAY).unwrap();
    refused(&mut town, Move::Verify, &actor("hand", Role::Admin), "hand handled this case");
    let id = town.only().id;
    let stale = town.registrar.make(
        id,
        1,
        &Move::Verify,
        Remarks::default(),
        &sup(),
        &Sensors::default(),
        MONDAY,
    );
    assert!(matches!(stale, Err(CaseError::VersionConflict { current: 4, given: 1, .. })));
    let elsewhere = Actor { zones: Some(vec!["dongzha".parse().unwrap()]), ..sup() };
    let unseen = town.registrar.make(
        id,
        4,
        &Move::Verify,
        Remarks::default(),
        &elsewhere,
        &Sensors::default(),
        MONDAY,
    );
    assert!(matches!(unseen, Err(CaseError::NotFound(_))), "a foreign zone shows nothing");
}

#[test]
fn a_site_check_needs_a_supervisor_and_a_reason() {
    let mut town = Town::new();
    town.raise("mh-1", Severity::Major, MONDAY);
    town.follow(MONDAY);
    let check = |reason: &str| Move::Close { site_check: Some(reason.to_owned()) };
    assert!(town.make(check("seen dry"), &op(), MONDAY).is_err());
    assert!(town.make(check(" "), &sup(), MONDAY).is_err());
    let closed = town.make(check("seen dry, sensor broken"), &sup(), MONDAY).unwrap();
    let proof =
        Proof::SiteCheck { person: "sup".to_owned(), reason: "seen dry, sensor broken".to_owned() };
    assert_eq!(closed.stage, Stage::Closed { proof });
}

#[test]
fn what_is_late_is_overdue_and_then_escalated() {
    let mut town = Town::new();
    town.raise("mh-1", Severity::Critical, MONDAY);
    town.follow(MONDAY);
    town.make(dispatch(), &disp(), MONDAY).unwrap();
    let look = |town: &mut Town, at: u64| {
        town.registrar.tick(MONDAY.plus(minutes(at))).unwrap();
        let case = town.only();
        (case.overdue, case.escalation)
    };
    assert_eq!(look(&mut town, 5), (None, 0), "due is not overdue");
    assert_eq!(look(&mut town, 6), (Some(Step::Accept), 0));
    assert_eq!(look(&mut town, 15), (Some(Step::Accept), 1));
    assert_eq!(look(&mut town, 15), (Some(Step::Accept), 1), "told once");
    town.crash();
    assert_eq!(look(&mut town, 36), (Some(Step::Accept), 2));
    town.make(Move::Accept, &hand(), MONDAY.plus(minutes(37))).unwrap();
    assert_eq!(look(&mut town, 38), (Some(Step::Arrive), 0), "the next step is late already");
    // Sent again, it does not win time for the town.
    town.make(Move::Recall { reason: "ill".to_owned() }, &disp(), MONDAY.plus(minutes(40)))
        .unwrap();
    let again = town.make(dispatch(), &disp(), MONDAY.plus(minutes(50))).unwrap();
    let deadlines = again.deadlines.unwrap();
    assert_eq!(
        (deadlines.accept, deadlines.fix),
        (Some(MONDAY.plus(minutes(55))), MONDAY.plus(minutes(120)))
    );
}

/// One step of a random walk.
#[derive(Debug, Clone)]
enum Walk {
    Raise { asset: u8, severity: usize },
    Return { alert: u8 },
    Again { alert: u8 },
    Move { case: u8, wanted: usize, who: usize },
    Tick,
    Crash,
}

fn walks() -> impl Strategy<Value = Vec<Walk>> {
    let step = prop_oneof![
        2 => (0u8..3, 0usize..4).prop_map(|(asset, severity)| Walk::Raise { asset, severity }),
        2 => any::<u8>().prop_map(|alert| Walk::Return { alert }),
        1 => any::<u8>().prop_map(|alert| Walk::Again { alert }),
        8 => (any::<u8>(), 0usize..10, 0usize..5).prop_map(|(case, wanted, who)| Walk::Move { case, wanted, who }),
        1 => Just(Walk::Tick),
        2 => Just(Walk::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

fn walk(town: &mut Town, step: &Walk, at: Timestamp) {
    let existing = |alert: u8, town: &Town| {
        (town.alerts > 0).then(|| AlertId(1 + u64::from(alert) % town.alerts))
    };
    match *step {
        Walk::Raise { asset, severity } => {
            town.raise(&format!("mh-{asset}"), Severity::ALL[severity], at);
            town.follow(at);
        }
        Walk::Return { alert } => {
            existing(alert, town).into_iter().for_each(|id| town.set_active(id, false, at))
        }
        Walk::Again { alert } => {
            existing(alert, town).into_iter().for_each(|id| town.set_active(id, true, at));
            town.follow(at);
        }
        Walk::Move { case, wanted, who } => {
            let cases: Vec<(CaseId, u32)> =
                town.registrar.cases().map(|case| (case.id, case.version)).collect();
            let Some(&(id, version)) = cases.get(usize::from(case) % cases.len().max(1)) else {
                return;
            };
            let reason = || "because".to_owned();
            let wanted = match MoveKind::ALL.get(wanted) {
                Some(MoveKind::Dispatch) => dispatch(),
                Some(MoveKind::Accept) => Move::Accept,
                Some(MoveKind::Return) => Move::Return { reason: reason() },
                Some(MoveKind::Recall) => Move::Recall { reason: reason() },
                Some(MoveKind::Handle) => Move::Handle,
                Some(MoveKind::Report) => Move::Report,
                Some(MoveKind::Verify) => Move::Verify,
                Some(MoveKind::Reject) => Move::Reject { reason: reason() },
                Some(MoveKind::Close) => close(),
                None => Move::Close { site_check: Some(reason()) },
            };
            let who = [op(), disp(), hand(), sup(), actor("admin", Role::Admin)][who].clone();
            let before = town.on_disk();
            let sensors = Sensors::default();
            let outcome =
                town.registrar.make(id, version, &wanted, Remarks::default(), &who, &sensors, at);
            assert!(outcome.is_ok() || town.on_disk() == before, "a refusal changes nothing");
        }
        Walk::Tick => drop(town.registrar.tick(at).unwrap()),
        Walk::Crash => town.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn whatever_happens_the_log_tells_it(steps in walks()) {
        let mut town = Town::new();
        for (i, step) in steps.iter().enumerate() {
            walk(&mut town, step, MONDAY.plus(minutes(7 * i as u64)));
            let in_memory: Vec<Case> = town.registrar.cases().cloned().collect();
            let (told, listed) = town.on_disk();
            prop_assert_eq!(&in_memory, &told);
            let rows: Vec<_> = in_memory.iter().map(|case| serde_json::to_value(case).unwrap()).collect();
            prop_assert_eq!(rows, listed);
            let roots: std::collections::BTreeSet<String> = in_memory.iter().map(Case::root).collect();
            prop_assert_eq!(roots.len(), in_memory.len(), "one open case for each root");
        }
        let twice = "SELECT count(*) FROM (SELECT 1 FROM case_event GROUP BY case_id, version HAVING count(*) > 1)";
        let twice: i64 = connect(&town.path).query_row(twice, [], |row| row.get(0)).unwrap();
        prop_assert_eq!(twice, 0);
    }
}
