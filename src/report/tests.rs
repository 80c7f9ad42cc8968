//! The figures, from hand-made logs; and the published month, through the real tables.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use jiff::tz::TimeZone;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::*;
use crate::alert::{Alert, AlertId, RuleKey};
use crate::case::{
    Actor, Case, CaseId, Evidence, Missing, Move, Registrar, Remarks, Settings, Subject, Unit,
};
use crate::clock::Clock;
use crate::config::CaseConfig;
use crate::model::{AssetId, AssetKind, Label, Role, Severity, Timestamp, ZoneId};
use crate::registry::Registry;

/// Midnight in Wuzhen, 2026-09-01.
const SEPTEMBER: Timestamp = Timestamp::from_secs(1_788_192_000);
const DAY: u64 = 24 * 60;

fn after(minutes: u64) -> Timestamp {
    SEPTEMBER.plus(Duration::from_secs(minutes * 60))
}

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn frame(minutes: u64, by: Option<By>) -> Frame {
    Frame::new(Span { from: SEPTEMBER, to: after(minutes) }, by, &zone())
}

fn story(rule: &str, severity: Severity, log: &[(u64, Deed)]) -> AlertStory {
    AlertStory {
        id: AlertId(1),
        rule: RuleKey {
            device: "d".parse().unwrap(),
            metric: Some("level".parse().unwrap()),
            name: rule.to_owned(),
        },
        text: Label::same(rule),
        labels: Labels {
            zone: Some(rule.parse().unwrap()),
            unit: None,
            kind: Some(AssetKind::Manhole),
            severity,
        },
        has_case: true,
        events: log
            .iter()
            .map(|&(minute, what)| AlertMoment { what, at: after(minute), severity })
            .collect(),
    }
}

fn alarms_of(frame: Frame, operators: u32, stories: &[AlertStory]) -> AlarmReport {
    let mut count = AlarmCount::new(frame, operators);
    stories.iter().for_each(|story| count.add(story));
    count.finish()
}

#[test]
fn a_calm_hour_meets_every_target_but_the_top_ten() {
    let log = [(5, Deed::Raised), (7, Deed::Acknowledged), (35, Deed::Returned)];
    let report = alarms_of(frame(60, None), 1, &[story("high", Severity::Minor, &log)]);
    let AlarmFigures { alarms, rate, peak, peak_at, in_flood, stale, priorities, .. } =
        report.total;
    assert_eq!((alarms, rate.value, rate.verdict), (1, Some(1.0 / 6.0), Verdict::Met));
    assert_eq!((peak.value, peak_at), (Some(1.0), Some(SEPTEMBER)));
    assert_eq!((in_flood.value, in_flood.verdict), (Some(0.0), Verdict::Met));
    assert_eq!(stale.verdict, Verdict::Met);
    assert_eq!((priorities.low, priorities.high_share.verdict), (1, Verdict::Met));
    assert_eq!(report.total.acknowledge.median_s, Some(120.0));
    assert_eq!(report.total.clear.p90_s, Some(1800.0));
    assert_eq!((report.top[0].rule.name.as_str(), report.top[0].share), ("high", 1.0));
    assert_eq!(
        (report.former.alarms, report.former.priorities.high_share.verdict),
        (0, Verdict::Unknown)
    );
}

#[test]
fn a_flood_begins_above_ten_and_ends_below_five() {
    // Eleven, then six, then five, then four, then eleven in the ten minutes of the clock.
    let stories: Vec<AlertStory> = [11, 6, 5, 4, 11]
        .into_iter()
        .zip(0u64..)
        .flat_map(|(n, ten)| (0..n).map(move |i| (ten * 10, i)))
        .map(|(minute, i)| {
            story(&format!("r{minute}-{i}"), Severity::Major, &[(minute, Deed::Raised)])
        })
        .collect();
    let report = alarms_of(frame(60, None), 1, &stories);
    let total = &report.total;
    assert_eq!((total.floods, total.longest_flood_s), (2, 1800.0));
    assert_eq!((total.in_flood.value, total.in_flood.verdict), (Some(4.0 / 6.0), Verdict::Missed));
    assert_eq!(total.overloaded.value, Some(2.0 / 6.0));
    assert_eq!((total.peak.value, total.peak.verdict), (Some(11.0), Verdict::Missed));
    assert_eq!(report.top.len(), 10);
    // Two operators share the load: no flood.
    let shared = alarms_of(frame(60, None), 2, &stories).total;
    assert_eq!((shared.floods, shared.peak.value), (0, Some(5.5)));
}

#[test]
fn info_is_no_alarm_and_what_nobody_hears_burdens_nobody() {
    let info = story("i", Severity::Info, &[(1, Deed::Raised)]);
    let at_once = story("s", Severity::Critical, &[(2, Deed::Raised), (2, Deed::Suppressed(true))]);
    let shelved = story(
        "h",
        Severity::Major,
        &[
            (3, Deed::Raised),
            (13, Deed::Shelved(true)),
            (20, Deed::Returned),
            (21, Deed::Raised),
            (43, Deed::Shelved(false)),
        ],
    );
    let total = alarms_of(frame(60, None), 1, &[info, at_once, shelved]).total;
    assert_eq!((total.info, total.held_back), (1, 2));
    // Raised, and back on the list when it was unshelved.
    assert_eq!((total.alarms, total.priorities.medium, total.priorities.high), (2, 2, 0));
    assert_eq!((total.shelved.count, total.shelved.hours), (1, 0.5));
    assert_eq!((total.suppressed.count, total.suppressed.hours), (1, 58.0 / 60.0));
    assert_eq!(total.priorities.high_and_medium_share.verdict, Verdict::Missed);
}

#[test]
fn what_ends_on_the_shelf_is_nobodys_deed_and_what_still_stands_after_it_asks_again() {
    let over = story(
        "over",
        Severity::Major,
        &[
            (1, Deed::Raised),
            (2, Deed::Shelved(true)),
            (30, Deed::Returned),
            (30, Deed::Waived),
            (40, Deed::Shelved(false)),
        ],
    );
    let stands = story(
        "stands",
        Severity::Major,
        &[
            (1, Deed::Raised),
            (3, Deed::Acknowledged),
            (4, Deed::Shelved(true)),
            (30, Deed::Shelved(false)),
            (36, Deed::Acknowledged),
        ],
    );
    let total = alarms_of(frame(60, None), 1, &[over, stands]).total;
    // Two when they were raised, one back from the shelf.
    assert_eq!((total.alarms, total.held_back), (3, 0));
    // Two minutes and six minutes: the shelf of the one that was over is nobody's time.
    assert_eq!(total.acknowledge.count, 2);
    assert_eq!(Deed::of("acknowledged", false), Deed::Waived);
}

#[test]
fn stale_alarms_are_counted_at_the_end_of_each_day() {
    let long = story("long", Severity::Minor, &[(60, Deed::Raised), (3 * DAY, Deed::Returned)]);
    let shelved = story(
        "shelved",
        Severity::Minor,
        &[(0, Deed::Raised), (2 * DAY + 5, Deed::Shelved(true)), (4 * DAY, Deed::Returned)],
    );
    let info = story("info", Severity::Info, &[(0, Deed::Raised)]);
    let report = alarms_of(frame(4 * DAY, Some(By::Day)), 1, &[long, shelved, info]);
    // At the end of the second day both stand for more than a day, at the end of the third the first one only.
    assert_eq!((report.total.stale.value, report.total.stale_mean), (Some(2.0), Some(0.75)));
    let days: Vec<(String, Option<f64>)> = report
        .groups
        .into_iter()
        .map(|group| (group.key.unwrap(), group.figures.stale.value))
        .collect();
    let expected =
        [("2026-09-01", 0.0), ("2026-09-02", 2.0), ("2026-09-03", 1.0), ("2026-09-04", 0.0)];
    assert_eq!(days, expected.map(|(day, n)| (day.to_owned(), Some(n))));
}

#[test]
fn a_rule_chatters_by_its_flap_detection_or_by_three_rings_in_a_minute() {
    let flapping = story("flaps", Severity::Minor, &[(1, Deed::Raised), (2, Deed::Chattering)]);
    let mut rings = story("rings", Severity::Minor, &[]);
    for second in [0, 20, 40] {
        let at = after(9).plus(Duration::from_secs(second));
        let moment = |what| AlertMoment { what, at, severity: Severity::Minor };
        rings.events.extend([moment(Deed::Raised)]);
        let back = at.plus(Duration::from_secs(5));
        rings.events.push(AlertMoment {
            what: Deed::Returned,
            at: back,
            severity: Severity::Minor,
        });
    }
    let slow =
        story("slow", Severity::Minor, &[(1, Deed::Raised), (3, Deed::Raised), (4, Deed::Raised)]);
    let report = alarms_of(frame(60, None), 1, &[flapping, rings, slow]);
    let names: Vec<&str> = report.chatterers.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["flaps", "rings"]);
    assert_eq!(report.total.chattering.verdict, Verdict::Missed);
}

#[test]
fn a_divided_report_adds_up() {
    let log = [(5, Deed::Raised), (DAY + 5, Deed::Acknowledged), (DAY + 6, Deed::Returned)];
    let mut stories =
        vec![story("east", Severity::Major, &log), story("west", Severity::Minor, &log)];
    stories[1].events.push(AlertMoment {
        what: Deed::Raised,
        at: after(DAY + 9),
        severity: Severity::Minor,
    });
    stories[0].labels.zone = None;
    for by in By::ALL {
        let report = alarms_of(frame(2 * DAY, Some(by)), 1, &stories);
        let sum: u64 = report.groups.iter().map(|group| group.figures.alarms).sum();
        assert_eq!((sum, report.total.alarms), (3, 3), "{by}");
        let waits: u64 = report.groups.iter().map(|group| group.figures.acknowledge.count).sum();
        assert_eq!(waits, 2, "{by}");
    }
    let keys = |by| {
        let report = alarms_of(frame(2 * DAY, Some(by)), 1, &stories);
        report.groups.into_iter().map(|group| group.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(By::Zone), [Some("west".to_owned()), None], "what has no zone comes last");
    assert_eq!(keys(By::Severity), [Some("major".to_owned()), Some("minor".to_owned())]);
    assert_eq!(keys(By::Week), [Some("2026-W36".to_owned())]);
}

#[test]
fn what_happened_before_stands_beside() {
    let span = Span { from: after(DAY), to: after(2 * DAY) };
    let frame = Frame::new(span, Some(By::Zone), &zone());
    let before = story(
        "west",
        Severity::Minor,
        &[(5, Deed::Raised), (6, Deed::Returned), (7, Deed::Raised)],
    );
    let report = alarms_of(frame, 1, &[before]);
    assert_eq!(report.former_span, Span { from: SEPTEMBER, to: after(DAY) });
    assert_eq!((report.total.alarms, report.former.alarms), (0, 2));
    // It stands on: at the end of the day after, it is stale.
    assert_eq!((report.total.stale.value, report.former.stale.value), (Some(1.0), Some(0.0)));
    let group = &report.groups[0];
    assert_eq!((group.figures.alarms, group.former.as_ref().unwrap().alarms), (0, 2));
}

/// Sensors that agree with everybody.
struct Agreeing;

impl Evidence for Agreeing {
    fn lacking(&self, _: &Alert, _: Duration, _: Timestamp) -> Option<Missing> {
        None
    }
}

/// The whole town is asked for; every second asset stands in the west.
struct Everywhere;

impl Places for Everywhere {
    fn place(&self, asset: Option<&AssetId>) -> Option<Place> {
        let number: Option<u64> =
            asset.and_then(|id| id.as_str().strip_prefix("mh-")?.parse().ok());
        let zone = number.map(|n| if n % 2 == 0 { "xizha" } else { "dongzha" }.parse().unwrap());
        Some(Place { zone, kind: asset.map(|_| AssetKind::Manhole) })
    }

    fn wants(&self, _: Option<&ZoneId>) -> bool {
        true
    }
}

/// The real tables and the real registrar; alerts are written as the alert room writes them.
struct Office {
    _dir: TempDir,
    db: Connection,
    registrar: Registrar,
    alerts: u64,
}

fn settings() -> Settings {
    CaseConfig::default().settings().unwrap()
}

fn person(name: &str, role: Role) -> Actor {
    Actor { name: name.to_owned(), role, zones: None }
}

impl Office {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, _) = Clock::manual(SEPTEMBER);
        let registry = Registry::open(&dir.path().join("town.db"), clock).unwrap();
        let quick = || {
            let db = registry.connect().unwrap();
            // Nothing here is about a power cut.
            db.execute_batch("PRAGMA synchronous = OFF").unwrap();
            db
        };
        let mut registrar = Registrar::open(quick(), settings()).unwrap();
        let unit = Unit {
            id: "west".parse().unwrap(),
            name: Label::same("West crew"),
            zones: Vec::new(),
            kinds: Vec::new(),
            members: vec!["hand".to_owned()],
            version: 0,
        };
        registrar.put_unit(unit, "admin", SEPTEMBER).unwrap();
        Office { _dir: dir, db: quick(), registrar, alerts: 0 }
    }

    fn raise(&mut self, asset: u64, severity: Severity, at: Timestamp) -> AlertId {
        self.alerts += 1;
        let id = self.alerts as i64;
        self.db
            .execute(
                "INSERT INTO alert (id, version, device, metric, name, kind, asset, asset_number, severity, worst,
                     text_zh, text_en, unit, active, since, raised_at)
                 VALUES (?1, 0, ?2, 'level', 'high', 'limit', ?3, 1, ?4, ?4, '高', '=High', 'm', 1, ?5, ?5)",
                params![id, format!("d-{asset}"), format!("mh-{asset}"), severity.rank(), at.as_micros()],
            )
            .unwrap();
        self.log(AlertId(self.alerts), "raised", severity, at);
        AlertId(self.alerts)
    }

    fn log(&self, id: AlertId, what: &str, severity: Severity, at: Timestamp) {
        let counted = "UPDATE alert SET version = version + 1 WHERE id = ?";
        self.db.execute(counted, [id.0 as i64]).unwrap();
        self.db
            .execute(
                "INSERT INTO alert_event (alert, version, what, at, severity, actor)
                 SELECT id, version, ?2, ?3, ?4, iif(?2 = 'acknowledged', acknowledged_by, NULL) FROM alert WHERE id = ?1",
                params![id.0 as i64, what, at.as_micros(), severity.rank()],
            )
            .unwrap();
    }

    fn acknowledge(&self, id: AlertId, at: Timestamp) {
        let seen = "UPDATE alert SET acknowledged_at = ?2, acknowledged_by = 'op' WHERE id = ?1";
        self.db.execute(seen, params![id.0 as i64, at.as_micros()]).unwrap();
        self.log(id, "acknowledged", Severity::Major, at);
    }

    fn clear(&self, id: AlertId, at: Timestamp) {
        let over = "UPDATE alert SET active = 0, cleared_at = ?2 WHERE id = ?1";
        self.db.execute(over, params![id.0 as i64, at.as_micros()]).unwrap();
        self.log(id, "returned", Severity::Major, at);
    }

    fn follow(&mut self, at: Timestamp) -> Vec<Case> {
        let places = |alert: &Alert| {
            let place = Everywhere.place(alert.asset.as_ref()).unwrap();
            (place.zone, place.kind)
        };
        self.registrar.follow(at, &places).unwrap()
    }

    fn make(&mut self, id: CaseId, version: u32, wanted: Move, at: Timestamp) {
        let who = match &wanted {
            Move::Dispatch { .. } => person("disp", Role::Dispatcher),
            Move::Accept | Move::Handle | Move::Report => person("hand", Role::Handler),
            _ => person("sup", Role::Supervisor),
        };
        let remarks = Remarks::default();
        self.registrar.make(id, version, &wanted, remarks, &who, &Agreeing, at).unwrap();
    }

    /// A whole case but for its closing: dispatched 10 min after its opening, done after `minutes` more.
    fn handle(&mut self, id: CaseId, opened: Timestamp, minutes: u64) -> Timestamp {
        let unit = "west".parse().unwrap();
        let on = |minutes: u64| opened.plus(Duration::from_secs(minutes * 60));
        self.make(id, 1, Move::Dispatch { unit, person: None }, on(10));
        self.make(id, 2, Move::Accept, on(14));
        self.make(id, 3, Move::Handle, on(30));
        self.make(id, 4, Move::Report, on(10 + minutes));
        self.make(id, 5, Move::Verify, on(15 + minutes));
        on(20 + minutes)
    }
}

/// The month that a town published (domain, section 6): received 1054, opened 996, due 972, closed 911 (93.72 %), of them
/// 737 on time (75.82 %).
#[test]
fn the_published_month_reads_as_it_was_published() {
    let mut office = Office::new();
    // A major case has 6 h from its dispatch. One case every 40 minutes: the last one on the 28th.
    for n in 0..996u64 {
        let at = after(n * 40);
        let alert = office.raise(n, Severity::Major, at);
        let opened = office.follow(at);
        assert_eq!((opened.len(), opened[0].alerts[0]), (1, alert));
        let id = opened[0].id;
        if n < 58 {
            // What is told of a case that is open already opens none.
            office.raise(n, Severity::Minor, at);
            office.follow(at);
        }
        let version = if n < 58 { 2 } else { 1 };
        match n {
            // Closed on time, late, and not at all: due all the same.
            0..911 => {
                let minutes = if n < 737 { 350 } else { 400 };
                close(&mut office, id, version, at, minutes);
                office.acknowledge(alert, at.plus(Duration::from_secs(90)));
                office.clear(alert, at.plus(Duration::from_secs(3600)));
            }
            911..972 => {
                let unit = "west".parse().unwrap();
                office.make(id, version, Move::Dispatch { unit, person: None }, at);
            }
            // Nobody was sent: not due.
            _ => {}
        }
    }
    let report = cases(&office.db, frame(30 * DAY, Some(By::Unit)), &Everywhere).unwrap();
    let total = report.total;
    assert_eq!((total.received, total.opened, total.due), (1054, 996, 972));
    assert_eq!((total.closed, total.on_time, total.closings), (911, 737, 911));
    let per_cent = |rate: Option<f64>| format!("{:.2} %", rate.unwrap() * 100.0);
    assert_eq!(per_cent(total.closing_rate), "93.72 %");
    assert_eq!(per_cent(total.on_time_rate), "75.82 %");
    assert_eq!(total.rework_rate, Some(0.0));
    assert_eq!((total.acknowledge.median_s, total.acknowledge.count), (Some(90.0), 911));
    assert_eq!((total.accept.median_s, total.arrive.p90_s), (Some(240.0), Some(1200.0)));
    assert_eq!((total.dispatch.count, total.clear.median_s), (972, Some(3600.0)));
    assert_eq!(
        report.groups.iter().map(|g| g.key.as_deref()).collect::<Vec<_>>(),
        [Some("west"), None]
    );
    assert_eq!(report.groups[0].figures.due, 972);

    let weeks = cases(&office.db, frame(30 * DAY, Some(By::Week)), &Everywhere).unwrap();
    let sum =
        |of: fn(&CaseFigures) -> u64| weeks.groups.iter().map(|g| of(&g.figures)).sum::<u64>();
    assert_eq!((weeks.groups.len(), sum(|f| f.received), sum(|f| f.due)), (5, 1054, 972));
    let zones = cases(&office.db, frame(30 * DAY, Some(By::Zone)), &Everywhere).unwrap();
    let opened: Vec<u64> = zones.groups.iter().map(|group| group.figures.opened).collect();
    assert_eq!(opened, [498, 498]);

    let alarms = alarms(&office.db, frame(30 * DAY, Some(By::Unit)), &Everywhere, 1).unwrap();
    assert_eq!((alarms.total.alarms, alarms.groups[0].key.as_deref()), (1054, Some("west")));
    exports(&office);
}

fn close(office: &mut Office, id: CaseId, version: u32, at: Timestamp, minutes: u64) {
    let unit = "west".parse().unwrap();
    let on = |minutes: u64| at.plus(Duration::from_secs(minutes * 60));
    let moves = [
        (10, Move::Dispatch { unit, person: None }),
        (14, Move::Accept),
        (30, Move::Handle),
        (10 + minutes, Move::Report),
        (15 + minutes, Move::Verify),
        (20 + minutes, Move::Close { site_check: None }),
    ];
    for (version, (minute, wanted)) in (version..).zip(moves) {
        office.make(id, version, wanted, on(minute));
    }
}

/// Every row is exported once, page by page, oldest first.
fn exports(office: &Office) {
    let span = Span { from: SEPTEMBER, to: after(30 * DAY) };
    let sheets = Sheets { language: Language::En, zone: zone() };
    let (first, next) = alert_page(&office.db, span, None, &Everywhere).unwrap();
    let (second, end) = alert_page(&office.db, span, next, &Everywhere).unwrap();
    assert_eq!((first.len(), second.len(), end), (PAGE, 54, None));
    let ids: Vec<u64> = first.iter().chain(&second).map(|(alert, ..)| alert.id.0).collect();
    assert_eq!(ids, (1..=1054).collect::<Vec<u64>>());
    let lines = String::from_utf8(sheets.alerts(&second).unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 54);
    // A text that a spreadsheet would take for a formula is a text.
    assert!(
        lines.starts_with("1001,d-942,level,high,limit,mh-942,manhole,xizha,major,major,'=High,"),
        "{lines}"
    );
    let (cases, _) = case_page(&office.db, span, None, &Everywhere).unwrap();
    let lines = String::from_utf8(sheets.case_rows(&cases).unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 996);
    assert!(lines.contains(",west,"), "who handled it is known after it is closed");
    assert!(lines.contains("2026-09-01T00:00:00+08:00"), "the town's own time");
}

#[test]
fn a_case_that_comes_back_is_rework_and_a_promise_that_is_late_is_not_kept() {
    let mut office = Office::new();
    let hour = |hours: u64| after(hours * 60);
    let first = office.raise(1, Severity::Critical, SEPTEMBER);
    let id = office.follow(SEPTEMBER)[0].id;
    let end = office.handle(id, SEPTEMBER, 100);
    office.clear(first, end);
    office.make(id, 6, Move::Close { site_check: None }, end);
    office.raise(1, Severity::Critical, hour(5));
    let again = office.follow(hour(5));
    assert!(again.iter().any(|case| case.reopens == Some(id)));
    // Closed by its sensor before anybody was sent: never due.
    let calm = office.raise(2, Severity::Major, hour(6));
    let calm_case = office.follow(hour(6))[0].id;
    office.clear(calm, hour(7));
    office.make(calm_case, 1, Move::Close { site_check: None }, hour(8));
    // By hand: received without an alert.
    let subject = Subject {
        asset: None,
        kind: None,
        zone: Some("xizha".parse().unwrap()),
        device: None,
        title: Label::same("Patrol"),
    };
    let op = person("op", Role::Operator);
    office.registrar.register(subject, Severity::Minor, &op, None, hour(9)).unwrap();

    let total = cases(&office.db, frame(DAY, None), &Everywhere).unwrap().total;
    assert_eq!(
        (total.received, total.opened, total.due, total.closed, total.on_time),
        (4, 4, 1, 1, 1)
    );
    assert_eq!((total.closings, total.reopened, total.rework_rate), (2, 1, Some(0.5)));
    // Before it came back, it was no rework; before it was closed, it was due and not closed.
    let sooner = cases(&office.db, frame(4 * 60, None), &Everywhere).unwrap().total;
    assert_eq!((sooner.closings, sooner.reopened), (1, 0));
    let due = Span { from: SEPTEMBER, to: hour(2).plus(Duration::from_secs(601)) };
    let open = cases(&office.db, Frame::new(due, None, &zone()), &Everywhere).unwrap().total;
    assert_eq!((open.due, open.closed, open.closing_rate), (1, 1, Some(1.0)));
    let due = Span { from: after(125), to: after(131) };
    let open = cases(&office.db, Frame::new(due, None, &zone()), &Everywhere).unwrap().total;
    assert_eq!((open.due, open.closings), (1, 0), "its deadline alone falls into it");
}

#[test]
fn a_sheet_opens_in_a_spreadsheet() {
    let log = [(5, Deed::Raised), (7, Deed::Acknowledged)];
    let report = alarms_of(frame(60, Some(By::Zone)), 1, &[story("xizha", Severity::Minor, &log)]);
    let text = |language| {
        let sheets = Sheets { language, zone: zone() };
        String::from_utf8(sheets.alarms(&report).unwrap()).unwrap()
    };
    let zh = text(Language::Zh);
    assert!(zh.starts_with("\u{feff}分组,从,到,报警数,"), "{zh}");
    let lines: Vec<&str> = zh.lines().collect();
    assert!(
        lines[1].starts_with(
            "合计,2026-09-01T00:00:00+08:00,2026-09-01T01:00:00+08:00,1,0,0,0.1667,met,"
        ),
        "{zh}"
    );
    assert!(lines[2].starts_with("上期合计,2026-08-31T23:00:00+08:00,"), "{zh}");
    assert!(lines[3].starts_with("xizha,"), "{zh}");
    let columns = |line: &str| line.split(',').count();
    assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{zh}");
    assert!(text(Language::En).starts_with("\u{feff}group,from,to,alarms,"));
}

/// `cargo test --release --lib report::tests::a_year -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: run it in release"]
fn a_year_of_100_000_alerts() {
    let mut office = Office::new();
    office.db.execute_batch("BEGIN").unwrap();
    for n in 0..100_000u64 {
        let at = after(n * 5);
        let severity =
            [Severity::Minor, Severity::Minor, Severity::Major, Severity::Info][n as usize % 4];
        let alert = office.raise(n % 997, severity, at);
        office.acknowledge(alert, at.plus(Duration::from_secs(60)));
        office.clear(alert, at.plus(Duration::from_secs(900)));
    }
    office.db.execute_batch("COMMIT").unwrap();
    for by in [None, Some(By::Zone), Some(By::Day), Some(By::Unit)] {
        let begun = std::time::Instant::now();
        let report = alarms(&office.db, frame(365 * DAY, by), &Everywhere, 1).unwrap();
        println!("alarms by {by:?}: {:?} for {} alarms", begun.elapsed(), report.total.alarms);
        let begun = std::time::Instant::now();
        let report = cases(&office.db, frame(365 * DAY, by), &Everywhere).unwrap();
        println!("cases by {by:?}: {:?} for {} received", begun.elapsed(), report.total.received);
    }
    let begun = std::time::Instant::now();
    let month = Span { from: after(300 * DAY), to: after(330 * DAY) };
    let report =
        alarms(&office.db, Frame::new(month, Some(By::Day), &zone()), &Everywhere, 1).unwrap();
    println!("a month of it: {:?} for {} alarms", begun.elapsed(), report.total.alarms);
}
