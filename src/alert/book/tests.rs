//! The rule book over a real file: who wins, what is refused, what is remembered.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::alert::Rule;
use crate::calendar::CalendarConfig;
use crate::model::{AssetKind, AssetNumber, Label, SeriesId, Severity};
use crate::profile::{AlertTest, Profile, read_text};
use crate::registry::{Asset, Device};

const SCHEMA: &str = concat!(include_str!("schema.sql"), include_str!("../../audit/schema.sql"));

/// A level with two single limits, and a battery; silence after 5 minutes.
const PROFILE: &str = r#"
profile = 1
id = "probe"
name = "Probe"
manufacturer = "Acme"
model = "P1"
kind = "manhole"
[source.mqtt]
payload = "json"
[staleness]
dead_after = "5min"
stale_after = "3min"
severity = "minor"
[points.level]
label = "Level"
unit = "m"
read = { path = "/level" }
range = [0, 5]
alerts.high = { above = 1.5, clear = 1.4, for = "30s", severity = "minor", text = "High" }
alerts.flood = { above = 2.5, clear = 2.4, severity = "critical", text = "Flood" }
[points.battery]
label = "Battery"
unit = "V"
read = { path = "/bat" }
range = [2, 4.2]
alerts.low = { below = 3.3, clear = 3.4, severity = "minor", text = "Low" }
"#;

/// Devices d-0 to d-2: in zone a, in zone a on a gate, in zone b.
struct Rig {
    _dir: TempDir,
    path: PathBuf,
    profile: Profile,
    things: Vec<(Device, Asset)>,
    series: Vec<SeriesId>,
}

impl Rig {
    fn new(places: &[(&str, AssetKind)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("town.db");
        Connection::open(&path).unwrap().execute_batch(SCHEMA).unwrap();
        let profile = read_text("probe.toml", PROFILE).unwrap().profile;
        let thing = |(i, (zone, kind)): (usize, &(&str, AssetKind))| {
            let asset = Asset {
                id: format!("a-{i}").parse().unwrap(),
                number: AssetNumber(i as u32),
                kind: *kind,
                name: Label::same("a"),
                zone: Some(zone.parse().unwrap()),
                parent: None,
                geometry: geo::Point::new(120.0, 30.0).into(),
                properties: Default::default(),
            };
            let device = Device {
                id: format!("d-{i}").parse().unwrap(),
                name: Label::same("d"),
                profile: "probe".parse().unwrap(),
                asset: Some(asset.id.clone()),
                modbus: None,
                gateway: None,
                address: None,
            };
            (device, asset)
        };
        let things: Vec<_> = places.iter().enumerate().map(thing).collect();
        let series = (0..2 * things.len() as u32).map(SeriesId).collect();
        Rig { _dir: dir, path, profile, things, series }
    }

    fn three() -> Self {
        Rig::new(&[
            ("a", AssetKind::Manhole),
            ("a", AssetKind::SluiceGate),
            ("b", AssetKind::Manhole),
        ])
    }

    fn book(&self) -> Book {
        let calendar = DutyCalendar::new(&CalendarConfig::default()).unwrap();
        Book::open(Connection::open(&self.path).unwrap(), calendar).unwrap()
    }

    fn subjects(&self) -> impl Iterator<Item = Subject<'_>> {
        self.things.iter().zip(self.series.chunks(2)).map(|((device, asset), series)| Subject {
            device,
            asset: Some(asset),
            profile: &self.profile,
            series,
        })
    }

    fn put<T: Leaf + Tried>(
        &self,
        book: &Book,
        id: &str,
        version: u32,
        body: T,
    ) -> Result<Page<T>, BookError> {
        book.put(id, version, body, self.subjects(), &change())
    }

    fn set(&self, book: &Book, id: &str, body: Value) -> Result<Page<Override>, BookError> {
        self.put(book, id, 0, serde_json::from_value(body).unwrap())
    }

    fn rules(&self, book: &Book, now: Timestamp) -> Vec<Rule> {
        book.rules(self.subjects(), now).rules
    }

    fn rule(&self, book: &Book, device: &str, name: &str) -> Option<Rule> {
        let is_it = |rule: &Rule| rule.key.device.as_str() == device && rule.key.name == name;
        self.rules(book, NOW).into_iter().find(is_it)
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn change() -> Change<'static> {
    Change { who: "eva", at: NOW, why: "a test" }
}

fn limit(rule: &Rule) -> f64 {
    rule.spec.test.rungs()[0].limit
}

#[test]
fn the_most_specific_override_wins_field_by_field() {
    let rig = Rig::three();
    let book = rig.book();
    let rung = |limit: f64| json!({ "minor": { "limit": limit } });
    let high = json!({ "metric": "level", "rule": "high" });
    let set = |id: &str, scope: Value, set: Value| {
        rig.set(&book, id, json!({ "scope": scope, "select": high, "set": set })).unwrap();
    };
    set("town", json!({}), json!({ "rungs": rung(1.6), "for": "1min", "clear_for": "2min" }));
    set("kind", json!({ "kind": "manhole" }), json!({ "rungs": rung(1.7), "for": "2min" }));
    set("zone", json!({ "zone": "a" }), json!({ "rungs": rung(1.8) }));
    set("both", json!({ "zone": "a", "kind": "manhole" }), json!({ "rungs": rung(1.9) }));
    let check = |device: &str, expected: f64, on_delay_s: u64| {
        let rule = rig.rule(&book, device, "high").unwrap();
        assert_eq!(limit(&rule), expected, "{device}");
        assert_eq!(rule.spec.on_delay, Duration::from_secs(on_delay_s), "{device}");
        assert_eq!(rule.spec.off_delay, Duration::from_secs(120), "{device}");
    };
    check("d-0", 1.9, 120);
    check("d-1", 1.8, 60);
    check("d-2", 1.7, 120);
    set("one", json!({ "device": "d-0" }), json!({ "rungs": rung(2.0) }));
    check("d-0", 2.0, 120);
    // Others of the device are as the profile says, and share its spec.
    let flood = rig.rule(&book, "d-0", "flood").unwrap();
    assert!(Arc::ptr_eq(&flood.spec, &rig.profile.points[0].alerts[1]));

    let all: Vec<_> = rig.subjects().collect();
    let shown = book.effective(&all[..1], &all, NOW);
    let high = shown.iter().find(|rule| rule.key.name == "high").unwrap();
    let json = serde_json::to_value(high).unwrap();
    assert_eq!(json["from"]["rungs"], json!({ "override": "one", "scope": "device" }));
    assert_eq!(json["from"]["for"], json!({ "override": "kind", "scope": "kind" }));
    assert_eq!(json["from"]["clear_for"], json!({ "override": "town", "scope": "town" }));
    assert_eq!(json["origin"], json!({ "profile": "probe" }));
    assert_eq!(
        (&json["rule"]["for"], &json["rule"]["ladder"][0]["above"]),
        (&json!("2min"), &json!(2.0))
    );
    assert_eq!((&json["enabled"], &json["in_force"]), (&json!(true), &json!(true)));

    // Back to what the profile says, one by one.
    for id in ["one", "both", "zone", "kind", "town"] {
        book.delete::<Override>(id, 1, &change()).unwrap();
    }
    assert_eq!(limit(&rig.rule(&book, "d-0", "high").unwrap()), 1.5);
}

#[test]
fn a_rule_is_switched_off_and_its_silence_changed() {
    let rig = Rig::three();
    let book = rig.book();
    let off = json!({ "scope": { "zone": "b" }, "select": { "rule": "low" }, "set": { "enabled": false } });
    rig.set(&book, "off", off).unwrap();
    assert!(rig.rule(&book, "d-2", "low").is_none());
    assert!(rig.rule(&book, "d-1", "low").is_some());
    let slow = json!({ "scope": {}, "select": { "rule": "no_data" }, "set": { "after": "2h", "severity": "major" } });
    rig.set(&book, "slow", slow).unwrap();
    let after = Duration::from_secs(7200);
    let silence = rig.rule(&book, "d-2", "no_data").unwrap();
    assert_eq!(silence.spec.test, AlertTest::NoData { after, severity: Severity::Major });
}

#[test]
fn what_would_spoil_a_rule_is_refused_with_the_rule_and_the_reason() {
    let rig = Rig::three();
    let book = rig.book();
    let check = |scope: Value, select: Value, set: Value, says: &str| {
        let body = json!({ "scope": scope, "select": select, "set": set });
        match rig.set(&book, "x", body) {
            Err(BookError::Invalid { errors, .. }) => {
                assert!(errors.iter().any(|error| error.contains(says)), "{says}: {errors:?}");
            }
            other => panic!("{says}: {other:?}"),
        }
        assert!(book.pages().get::<Override>("x").is_none());
    };
    let high = json!({ "rule": "high" });
    let rungs = |rung: Value| json!({ "rungs": { "minor": rung } });
    let town = json!({});
    check(
        town.clone(),
        high.clone(),
        rungs(json!({ "limit": 9 })),
        "d-0 level high: minor: never raised: 9 against the point's range 0 to 5",
    );
    check(
        town.clone(),
        high.clone(),
        rungs(json!({ "limit": 1.3 })),
        "clear 1.4 must be at or below the limit 1.3",
    );
    check(
        town.clone(),
        high.clone(),
        rungs(json!({ "clear": -1 })),
        "never clears: -1 is not inside the range 0 to 5",
    );
    check(
        town.clone(),
        high.clone(),
        json!({ "rungs": { "major": { "limit": 2 } } }),
        "there is no rung major; its rungs are minor",
    );
    check(town.clone(), high.clone(), json!({ "after": "1h" }), "`after` is for silence");
    check(
        town.clone(),
        json!({ "rule": "no_data" }),
        rungs(json!({ "limit": 2 })),
        "`rungs` are for limits",
    );
    check(town.clone(), json!({ "rule": "no_data" }), json!({ "after": "0s" }), "longer than 0s");
    check(
        town.clone(),
        json!({ "rule": "hihg" }),
        json!({ "enabled": false }),
        "means no rule of the 3 devices",
    );
    check(
        town.clone(),
        high.clone(),
        json!({ "schedule": "flood" }),
        "there is no schedule `flood`",
    );
    check(town.clone(), high.clone(), json!({}), "sets nothing");
    check(
        json!({ "device": "d-0", "zone": "a" }),
        high.clone(),
        json!({ "enabled": false }),
        "not both",
    );
    let unknown = json!({ "scope": {}, "set": { "delay": "1s" } });
    assert!(
        serde_json::from_value::<Override>(unknown).unwrap_err().to_string().contains("`delay`")
    );
    let months = json!({ "scope": {}, "set": { "for": "5m" } });
    assert!(serde_json::from_value::<Override>(months).unwrap_err().to_string().contains("`min`"));
    for id in ["", "Flood", "a b", "always", &"x".repeat(65)] {
        let body = json!({ "scope": {}, "select": high, "set": { "enabled": false } });
        assert!(matches!(rig.set(&book, id, body), Err(BookError::BadId { .. })), "{id}");
    }
}

#[test]
fn a_page_that_no_longer_fits_is_set_aside_and_shown() {
    let mut rig = Rig::three();
    let book = rig.book();
    let body = json!({
        "scope": {}, "select": { "rule": "high" }, "set": { "rungs": { "minor": { "limit": 4.5 } } },
    });
    rig.set(&book, "high", body).unwrap();
    // The next version of the profile measures up to 3 m only.
    rig.profile = read_text("probe.toml", &PROFILE.replace("[0, 5]", "[0, 3]")).unwrap().profile;
    assert_eq!(limit(&rig.rule(&book, "d-0", "high").unwrap()), 1.5);
    let all: Vec<_> = rig.subjects().collect();
    let shown = book.effective(&all[..1], &all, NOW);
    let high = shown.iter().find(|rule| rule.key.name == "high").unwrap();
    assert!(high.problems[0].contains("never raised: 4.5"), "{:?}", high.problems);
    assert!(high.from.is_empty() && high.in_force);
}

#[test]
fn a_rule_is_in_force_within_its_schedule_only() {
    let rig = Rig::three();
    let book = rig.book();
    let spec = |seasons: &str| ScheduleSpec {
        seasons: vec![seasons.to_owned()],
        ..ScheduleSpec::default()
    };
    let flood = Timetable::try_from(spec("04-15..10-15")).unwrap();
    rig.put(&book, "flood", 0, flood).unwrap();
    let body = json!({ "scope": {}, "select": { "rule": "high" }, "set": { "schedule": "flood" } });
    rig.set(&book, "high", body).unwrap();
    let at = |text: &str| format!("{text}+08:00").parse::<Timestamp>().unwrap();
    let highs = |now| {
        let in_force = book.rules(rig.subjects(), now);
        let highs = in_force.rules.iter().filter(|rule| rule.key.name == "high").count();
        (highs, in_force.next_change)
    };
    assert_eq!(highs(at("2026-10-15T23:59:59")), (3, Some(at("2026-10-16T00:00:00"))));
    assert_eq!(highs(at("2026-10-16T00:00:00")), (0, Some(at("2027-04-15T00:00:00"))));
    let refused = book.delete::<Timetable>("flood", 1, &change()).unwrap_err();
    assert!(refused.to_string().contains("override high"), "{refused}");
    let all_year = Timetable::try_from(spec("01-01..12-31")).unwrap();
    rig.put(&book, "flood", 1, all_year).unwrap();
    assert_eq!(highs(at("2026-12-01T12:00:00")), (3, None));
    book.delete::<Override>("high", 1, &change()).unwrap();
    book.delete::<Timetable>("flood", 2, &change()).unwrap();
}

#[test]
fn the_towns_own_rules_watch_a_metric_or_several_points() {
    let rig = Rig::three();
    let book = rig.book();
    let own = |body: Value| serde_json::from_value::<Own>(body).unwrap();
    let metric = own(json!({
        "device": "d-0", "metric": "level",
        "rule": { "above": 3, "clear": 2.9, "for": "1min", "severity": "major", "text": "Near the bridge" },
    }));
    rig.put(&book, "bridge", 0, metric).unwrap();
    let rule = rig.rule(&book, "d-0", "town:bridge").unwrap();
    assert_eq!((limit(&rule), rule.spec.on_delay.as_secs(), rule.unit.as_str()), (3.0, 60, "m"));
    assert_eq!(rule.series, [SeriesId(0)]);
    let inputs = json!({
        "up": { "device": "d-0", "metric": "level" },
        "down": { "device": "d-2", "metric": "level", "max_age": "20min" },
    });
    let expression = |when: &str| {
        own(json!({
            "device": "d-0", "inputs": inputs,
            "rule": { "when": when, "severity": "major", "text": { "zh": "落差", "en": "Head" } },
        }))
    };
    rig.put(&book, "head", 0, expression("up - down > 0.5")).unwrap();
    let rule = rig.rule(&book, "d-0", "town:head").unwrap();
    let AlertTest::Holds { expr, severity } = &rule.spec.test else { panic!("{rule:?}") };
    assert_eq!((*severity, rule.key.metric.as_ref()), (Severity::Major, None));
    // The inputs stand in the order of their names, and so do the series.
    let ages: Vec<u64> = expr.inputs.iter().map(|input| input.max_age.as_secs()).collect();
    assert_eq!((ages, rule.series), (vec![1200, 900], vec![SeriesId(4), SeriesId(0)]));

    let check = |own: Own, says: &str| match rig.put(&book, "bad", 0, own) {
        Err(BookError::Invalid { errors, .. }) => {
            assert!(errors.join("; ").contains(says), "{says}: {errors:?}");
        }
        other => panic!("{says}: {other:?}"),
    };
    check(expression("up - lown > 0.5"), "lown");
    check(expression("up - down"), "when: at");
    check(expression("1 > 0"), "names none of its `inputs`");
    let on =
        |metric: &str, rule: Value| own(json!({ "device": "d-0", "metric": metric, "rule": rule }));
    check(on("lvl", json!({ "above": 3 })), "has no `lvl`; it has level, battery");
    check(on("level", json!({ "above": 3, "text": "x" })), "`severity` is missing");
    check(on("level", json!({ "above": 30, "severity": "major", "text": "x" })), "never raised");
    check(on("level", json!({ "abov": 3 })), "abov");
    check(
        own(json!({ "device": "d-9", "metric": "level", "rule": {} })),
        "device `d-9` is not at work",
    );
    check(own(json!({ "device": "d-0", "rule": {} })), "name a `metric`, or `inputs`");
}

#[test]
fn changes_name_their_version_and_are_remembered_for_ever() {
    let rig = Rig::three();
    let book = rig.book();
    let body = |limit: f64| -> Override {
        serde_json::from_value(json!({
            "scope": {}, "select": { "rule": "high" }, "set": { "rungs": { "minor": { "limit": limit } } },
        }))
        .unwrap()
    };
    rig.put(&book, "high", 0, body(1.6)).unwrap();
    for given in [0, 2] {
        let refused = rig.put(&book, "high", given, body(1.9)).unwrap_err();
        assert!(matches!(refused, BookError::VersionConflict { current: 1, .. }), "{refused}");
    }
    assert_eq!(rig.put(&book, "high", 1, body(1.7)).unwrap().version, 2);
    assert!(matches!(
        book.delete::<Override>("high", 1, &change()),
        Err(BookError::VersionConflict { .. })
    ));
    assert!(matches!(
        book.delete::<Override>("low", 1, &change()),
        Err(BookError::NotFound { .. })
    ));
    // Another hub takes it up from the disk.
    drop(book);
    let book = rig.book();
    assert_eq!(limit(&rig.rule(&book, "d-1", "high").unwrap()), 1.7);
    book.delete::<Override>("high", 2, &change()).unwrap();

    let db = Connection::open(&rig.path).unwrap();
    let history = changes(&db, &ChangeQuery { limit: 10, ..ChangeQuery::default() }).unwrap();
    let limits: Vec<_> = history
        .iter()
        .map(|change| {
            let limit = |page: &Option<Value>| {
                page.as_ref().map(|page| page["set"]["rungs"]["minor"]["limit"].as_f64().unwrap())
            };
            (change.version, limit(&change.before), limit(&change.after))
        })
        .collect();
    assert_eq!(limits, [(3, Some(1.7), None), (2, Some(1.6), Some(1.7)), (1, None, Some(1.6))]);
    assert_eq!((history[0].actor.as_str(), history[0].why.as_str()), ("eva", "a test"));
    let query = ChangeQuery { id: Some("low".into()), limit: 10, ..ChangeQuery::default() };
    assert_eq!(changes(&db, &query).unwrap(), []);
    for sql in ["DELETE FROM rule_change", "UPDATE rule_change SET why = 'no'"] {
        assert!(db.execute(sql, []).unwrap_err().to_string().contains("append-only"));
    }
    let audited: i64 = db
        .query_row("SELECT count(*) FROM audit WHERE action LIKE 'rule.%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(audited, 3);
}

/// Prints how long the rules of a large town take. Run it alone: `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "prints a time; run it alone"]
fn rules_of_ten_thousand_devices() {
    let places: Vec<String> = (0..100).map(|i| format!("z-{i}")).collect();
    let places: Vec<(&str, AssetKind)> =
        (0..10_000).map(|i| (places[i % 100].as_str(), AssetKind::Manhole)).collect();
    let rig = Rig::new(&places);
    let book = rig.book();
    for zone in 0..100 {
        let body = json!({
            "scope": { "zone": format!("z-{zone}") }, "select": { "rule": "high" },
            "set": { "for": "2min" },
        });
        rig.set(&book, &format!("zone-{zone}"), body).unwrap();
    }
    for device in 0..500 {
        let body = json!({
            "scope": { "device": format!("d-{device}") }, "select": { "rule": "flood" },
            "set": { "rungs": { "critical": { "limit": 2.6 } } },
        });
        rig.set(&book, &format!("device-{device}"), body).unwrap();
    }
    let started = Instant::now();
    let rules = rig.rules(&book, NOW).len();
    println!("{rules} rules, 600 overrides: {:?}", started.elapsed());
}
