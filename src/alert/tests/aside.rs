//! What is put aside: by whom, how long, and what is said when it ends.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::alert::{
    AlertError, AlertId, Cause, Covered, MAX_MAINTENANCE, Maintenance, Places, Plan, Shelf, Site,
    Standing, Wish, maintenance, past,
};

const HOUR: i64 = 3600;

/// A hub that is started anew from the disk before every step, so that nothing hangs on what it remembers.
struct Hub {
    town: Town,
    rules: Vec<Rule>,
    places: Vec<Site>,
    engine: Option<Engine>,
    now: i64,
    /// What rang at which second: playback must tell it in the end.
    looks: BTreeMap<i64, Vec<Alert>>,
}

impl Hub {
    fn new(rules: Vec<Rule>, places: Vec<Site>) -> Self {
        let mut hub =
            Hub { town: Town::new(), rules, places, engine: None, now: 0, looks: BTreeMap::new() };
        hub.restart();
        hub
    }

    fn restart(&mut self) {
        self.looks.remove(&self.now);
        self.engine = None;
        let mut engine = self.town.open(&self.rules, at(self.now));
        engine.set_places(Places::new(self.places.clone()), at(self.now));
        self.town.replay(&mut engine);
        engine.commit().unwrap();
        self.engine = Some(engine);
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    /// Does something at this second and commits it.
    fn at<T>(&mut self, now: i64, act: impl FnOnce(&mut Engine, Timestamp) -> T) -> T {
        self.now = now;
        self.looks.remove(&now);
        let done = act(self.engine(), at(now));
        self.engine().commit().unwrap();
        done
    }

    fn read(&mut self, series: u32, now: i64, value: f64) {
        self.now = now;
        self.looks.remove(&now);
        let mut engine = self.engine.take().unwrap();
        self.town.commit(&mut engine, vec![reading(series, now, value)]);
        engine.commit().unwrap();
        self.engine = Some(engine);
    }

    fn tick(&mut self, now: i64) {
        self.at(now, |engine, now| engine.tick(now));
    }

    fn shelve(&mut self, now: i64, alert: u64, until: i64) -> Result<Alert, AlertError> {
        self.at(now, |engine, now| {
            engine.shelve(AlertId(alert), &wish("ann"), at(until), Severity::Critical, now)
        })
    }

    /// The history of an alert, `what` by `what`; and what its events say must be what it says.
    #[track_caller]
    fn history(&self, alert: u64) -> Vec<&'static str> {
        let alerts = self.town.alerts();
        let (alert, events) = alerts.into_iter().find(|(a, _)| a.id.0 == alert).unwrap();
        assert_eq!(told(&events), (alert.standing.clone(), alert.acknowledged_at), "{events:?}");
        events.iter().map(|event| event.what.as_str()).collect()
    }

    fn annunciated(&mut self) -> Vec<u64> {
        let mut open: Vec<Alert> =
            self.engine().open_alerts().into_iter().filter(Alert::is_annunciated).collect();
        open.sort_unstable_by_key(|alert| alert.id);
        let ids = open.iter().map(|alert| alert.id.0).collect();
        self.looks.insert(self.now, open);
        ids
    }
}

/// Whatever a scenario is about: when it is over, each moment in it can be played back as it was.
impl Drop for Hub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let db = self.town.connect();
        for (&second, rang) in &self.looks {
            let told = past::at(&db, at(second)).unwrap();
            let shown = |alert: &Alert| {
                let acknowledged = (alert.acknowledged_at, alert.acknowledged_by.clone());
                (alert.id, alert.version, alert.severity, alert.active, acknowledged)
            };
            let [told, rang] = [&told, rang].map(|all| all.iter().map(shown).collect::<Vec<_>>());
            assert_eq!(told, rang, "second {second}");
        }
    }
}

#[test]
fn a_shelf_that_is_moved_while_it_lasts_still_ends_once_in_playback() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5)], vec![]);
    hub.read(0, 10, 3.0);
    hub.at(12, |engine, now| engine.acknowledge(AlertId(1), None, "ann", None, now)).unwrap();
    assert_eq!(hub.annunciated(), [1]);
    hub.shelve(20, 1, 20 + HOUR).unwrap();
    hub.shelve(30, 1, 30 + 2 * HOUR).unwrap();
    assert_eq!(hub.annunciated(), [] as [u64; 0]);
    hub.at(40, |engine, now| engine.unshelve(AlertId(1), &wish("bob"), now)).unwrap();
    assert_eq!(hub.annunciated(), [1]);
    hub.at(50, |engine, now| engine.acknowledge(AlertId(1), None, "bob", None, now)).unwrap();
    assert_eq!(hub.annunciated(), [1]);
    hub.read(0, 60, 1.0);
    assert_eq!(hub.annunciated(), [] as [u64; 0]);
    // Before it was raised nothing stood, and the first acknowledgement is the one of then.
    let db = hub.town.connect();
    assert_eq!(past::at(&db, at(9)).unwrap(), []);
    let then = past::at(&db, at(15)).unwrap();
    assert_eq!(then[0].acknowledged_by.as_deref(), Some("ann"));
}

fn wish(who: &str) -> Wish {
    Wish { version: None, who: who.to_owned(), reason: "sensor is being cleaned".to_owned() }
}

fn site(series: u32, gateway: Option<u32>, upstream: Option<u32>) -> Site {
    Site {
        device: format!("dev-{series}").parse().unwrap(),
        gateway: gateway.map(|g| format!("dev-{g}").parse().unwrap()),
        asset: Some(format!("asset-{series}").parse().unwrap()),
        upstream: upstream.map(|u| format!("asset-{u}").parse().unwrap()),
        zone: Some("east".parse().unwrap()),
    }
}

/// Standing and acknowledgement, told from the events alone.
fn told(events: &[AlertEvent]) -> (Standing, Option<Timestamp>) {
    let mut standing = Standing::default();
    let mut acknowledged = None;
    for event in events {
        let part = event.detail.clone().unwrap_or(Value::Null);
        match event.what.as_str() {
            "acknowledged" => acknowledged = Some(event.at),
            "shelved" | "unshelved" => standing.shelved = serde_json::from_value(part).unwrap(),
            "suppressed" | "unsuppressed" => {
                standing.suppressed = serde_json::from_value(part).unwrap();
            }
            "out_of_service" | "in_service" => {
                standing.out_of_service = serde_json::from_value(part).unwrap();
            }
            "rearmed" => acknowledged = None,
            _ => {}
        }
        let ends = ["unshelved", "unsuppressed", "in_service"].contains(&event.what.as_str());
        if ends && standing.is_clear() && event.active {
            acknowledged = None;
        }
    }
    (standing, acknowledged)
}

#[test]
fn a_shelf_outlives_its_alert_and_ends_by_itself() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5)], vec![site(0, None, None)]);
    hub.read(0, 10, 3.0);
    let shelved = hub.shelve(20, 1, 20 + HOUR).unwrap();
    assert_eq!(shelved.standing.shelved.as_ref().map(|shelf| shelf.until), Some(at(20 + HOUR)));
    assert_eq!(hub.annunciated(), [] as [u64; 0]);
    hub.restart();
    // It returns: nobody has to acknowledge what was put aside. Its rule's next alert is born under the shelf.
    hub.read(0, 30, 1.0);
    assert_eq!(hub.history(1), ["raised", "shelved", "returned", "acknowledged"]);
    hub.restart();
    hub.read(0, 40, 3.0);
    assert_eq!(hub.history(2), ["raised", "shelved"]);
    assert_eq!(hub.annunciated(), [] as [u64; 0]);
    hub.at(50, |engine, now| engine.acknowledge(AlertId(2), None, "ann", None, now)).unwrap();
    hub.tick(19 + HOUR);
    hub.restart();
    hub.tick(20 + HOUR);
    assert_eq!(hub.history(2), ["raised", "shelved", "acknowledged", "unshelved"]);
    assert_eq!(hub.annunciated(), [2], "announced as if new");
    hub.restart();
    assert_eq!(hub.annunciated(), [2]);
    let left: i64 = hub
        .town
        .connect()
        .query_row("SELECT count(*) FROM alert_shelf", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_shelf_that_is_over_ends_with_the_next_tick_whatever_was_ordered_in_between() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5), above(1, 2.0, 1.5)], vec![]);
    hub.read(0, 10, 3.0);
    hub.read(1, 10, 3.0);
    hub.shelve(20, 1, 100).unwrap();
    hub.shelve(110, 2, 110 + HOUR).unwrap();
    hub.tick(111);
    assert_eq!(hub.history(1), ["raised", "shelved", "unshelved"]);
}

#[test]
fn a_shelf_is_refused_when_it_is_too_long_too_severe_stale_or_of_nothing() {
    let critical = rule(1, "flood", AlertTest::limit(Side::Above, 2.0, 1.5, Severity::Critical));
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5), critical], vec![]);
    hub.read(0, 10, 3.0);
    hub.read(1, 10, 3.0);
    let before = hub.town.alerts();
    let bad = |outcome: Result<Alert, AlertError>| {
        assert!(matches!(outcome, Err(AlertError::BadShelf { .. })), "{outcome:?}")
    };
    bad(hub.shelve(20, 1, 21 + 8 * HOUR));
    bad(hub.shelve(20, 2, 21 + HOUR));
    bad(hub.shelve(20, 1, 20));
    let refused = hub.shelve(20, 9, 30);
    assert!(matches!(refused, Err(AlertError::NotFound(AlertId(9)))));
    let refused = hub.at(20, |engine, now| {
        engine.shelve(AlertId(2), &wish("ann"), at(30), Severity::Major, now)
    });
    assert!(matches!(refused, Err(AlertError::TooSevere { severity: Severity::Critical, .. })));
    let stale = Wish { version: Some(7), ..wish("ann") };
    let refused =
        hub.at(20, |engine, now| engine.shelve(AlertId(1), &stale, at(30), Severity::Major, now));
    assert!(matches!(refused, Err(AlertError::VersionConflict { current: 1, given: 7, .. })));
    let refused = hub.at(20, |engine, now| engine.unshelve(AlertId(1), &wish("ann"), now));
    assert!(matches!(refused, Err(AlertError::NotSo { so: "shelved", .. })));
    let refused =
        hub.at(20, |engine, now| engine.put_in_service(AlertId(1), true, &wish("ann"), now));
    assert!(matches!(refused, Err(AlertError::NotSo { .. })));
    assert_eq!(hub.town.alerts(), before);
    hub.shelve(20, 1, 20 + 8 * HOUR).unwrap();
    hub.at(30, |engine, now| engine.unshelve(AlertId(1), &wish("bob"), now)).unwrap();
    assert_eq!(hub.history(1), ["raised", "shelved", "unshelved"]);
}

#[test]
fn a_device_is_out_of_service_until_somebody_puts_it_back() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5), equals(0, 9.0), above(1, 2.0, 1.5)], vec![]);
    hub.read(0, 10, 3.0);
    hub.read(1, 10, 3.0);
    hub.at(20, |engine, now| engine.take_out_of_service(AlertId(1), true, &wish("eng"), now))
        .unwrap();
    assert_eq!(hub.annunciated(), [2]);
    hub.restart();
    hub.read(0, 30, 9.0);
    assert_eq!(hub.history(3), ["raised", "out_of_service"], "another rule of the device");
    hub.tick(1_000 * HOUR);
    assert_eq!(hub.annunciated(), [2], "it does not end by itself");
    hub.at(1_000 * HOUR, |engine, now| engine.put_in_service(AlertId(3), true, &wish("eng"), now))
        .unwrap();
    assert_eq!(hub.annunciated(), [1, 2, 3]);
    assert_eq!(hub.history(1), ["raised", "out_of_service", "in_service"]);
}

#[test]
fn a_silent_gateway_explains_the_silence_of_its_devices_and_nothing_else() {
    let rules = vec![no_data(0, 100), no_data(1, 100), no_data(2, 100), above(1, 2.0, 1.5)];
    let places = vec![site(0, None, None), site(1, Some(0), None), site(2, Some(0), None)];
    let mut hub = Hub::new(rules, places);
    hub.read(1, 10, 3.0);
    hub.read(2, 20, 1.0);
    hub.tick(110);
    hub.tick(130);
    // Gateway (2), device 1 (3) and device 2 (4) are silent; the level (1) stands.
    let causes = |hub: &Hub| -> Vec<(u64, Option<Cause>)> {
        let alerts = hub.town.alerts().into_iter();
        alerts.map(|(a, _)| (a.id.0, a.standing.suppressed.map(|s| s.cause))).collect()
    };
    let gateway = || Some(Cause::Gateway("dev-0".parse().unwrap()));
    assert_eq!(causes(&hub), [(1, None), (2, None), (3, gateway()), (4, gateway())]);
    assert_eq!(hub.annunciated(), [1, 2]);
    // The gateway is back: its devices get their full time. One uses it, one does not.
    hub.read(0, 200, 1.0);
    assert_eq!(hub.annunciated(), [1, 2]);
    hub.read(1, 250, 3.0);
    assert_eq!(hub.history(3), ["raised", "suppressed", "returned", "acknowledged"]);
    hub.read(0, 290, 1.0);
    hub.tick(299);
    assert_eq!(hub.history(4), ["raised", "suppressed"]);
    hub.tick(300);
    assert_eq!(hub.history(4), ["raised", "suppressed", "unsuppressed"]);
    assert_eq!(hub.annunciated(), [1, 2, 4]);
}

#[test]
fn a_gateway_that_fails_twice_gives_its_devices_their_full_time_twice() {
    let places = vec![site(0, None, None), site(1, Some(0), None)];
    let mut hub = Hub::new(vec![no_data(0, 50), no_data(1, 100)], places);
    hub.read(0, 10, 1.0);
    hub.read(1, 10, 1.0);
    hub.tick(60);
    hub.tick(110);
    // Back: device 1 (2) has until 300. Before that the gateway is gone again, and comes back after it.
    hub.read(0, 200, 1.0);
    hub.tick(250);
    hub.read(0, 400, 1.0);
    assert_eq!(hub.history(2), ["raised", "suppressed"]);
    hub.read(0, 440, 1.0);
    hub.read(0, 480, 1.0);
    hub.tick(499);
    assert_eq!(hub.history(2), ["raised", "suppressed"]);
    hub.tick(500);
    assert_eq!(hub.history(2), ["raised", "suppressed", "unsuppressed"]);
}

#[test]
fn a_shelf_that_is_longer_than_a_worse_severity_allows_ends_with_its_row() {
    let mut hub = Hub::new(vec![ladder(0, Signal::Value, &[1.0, 2.0, 3.0, 4.0])], vec![]);
    hub.read(0, 10, 1.5);
    hub.shelve(20, 1, 20 + 10 * HOUR).unwrap();
    hub.read(0, 20 + 2 * HOUR, 5.0);
    assert_eq!(hub.history(1), ["raised", "shelved", "severity_up", "unshelved"]);
    assert_eq!(hub.annunciated(), [1]);
    let left: i64 = hub
        .town
        .connect()
        .query_row("SELECT count(*) FROM alert_shelf", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_gateway_that_falls_silent_last_takes_its_devices_along_and_a_restart_gives_grace() {
    let rules = vec![no_data(0, 200), no_data(1, 100)];
    let mut hub = Hub::new(rules, vec![site(0, None, None), site(1, Some(0), None)]);
    hub.tick(100);
    assert_eq!(hub.annunciated(), [1]);
    hub.tick(200);
    assert_eq!(hub.history(1), ["raised", "suppressed"]);
    assert_eq!(hub.annunciated(), [2]);
    hub.restart();
    assert_eq!((hub.history(1), hub.annunciated()), (vec!["raised", "suppressed"], vec![2]));
    hub.read(0, 300, 1.0);
    hub.now = 350;
    hub.restart();
    hub.tick(449);
    assert_eq!(hub.history(1), ["raised", "suppressed"]);
    hub.tick(450);
    assert_eq!(hub.history(1), ["raised", "suppressed", "unsuppressed"]);
}

#[test]
fn what_lies_upstream_and_is_down_explains_what_hangs_on_it_but_not_in_a_circle() {
    let rules: Vec<Rule> = (0..3).map(|i| no_data(i, 100)).collect();
    let chain = vec![site(0, None, None), site(1, None, Some(0)), site(2, None, Some(1))];
    let mut hub = Hub::new(rules.clone(), chain);
    hub.tick(100);
    assert_eq!(hub.annunciated(), [1]);
    let first = Cause::Upstream("asset-0".parse().unwrap());
    for (alert, _) in &hub.town.alerts()[1..] {
        assert_eq!(alert.standing.suppressed.as_ref().map(|s| &s.cause), Some(&first));
    }
    let circle = vec![site(0, None, Some(2)), site(1, None, Some(0)), site(2, None, Some(1))];
    let mut hub = Hub::new(rules, circle);
    hub.tick(100);
    // Device 1 was explained until the circle closed, and gets its grace.
    assert_eq!(hub.annunciated(), [1, 3]);
    hub.tick(200);
    assert_eq!(hub.annunciated(), [1, 2, 3], "in a circle nobody explains anybody");
}

#[test]
fn a_maintenance_window_silences_its_place_from_beginning_to_end() {
    let mut hub = Hub::new(
        vec![above(0, 2.0, 1.5), above(1, 2.0, 1.5)],
        vec![site(0, None, None), Site { zone: None, ..site(1, None, None) }],
    );
    hub.read(0, 10, 3.0);
    hub.read(1, 10, 3.0);
    let plan = |from: i64, until: i64| Plan {
        covers: Covered::Zone("east".parse().unwrap()),
        from: at(from),
        until: at(until),
        reason: "pump overhaul".to_owned(),
        by: "eng".to_owned(),
    };
    let planned = hub.at(20, |engine, now| engine.plan_maintenance(plan(100, 200), now)).unwrap();
    assert_eq!((planned.number, hub.annunciated()), (1, vec![1, 2]));
    hub.restart();
    hub.tick(100);
    assert_eq!(hub.annunciated(), [2]);
    let standing = &hub.town.alerts()[0].0.standing;
    let cause = standing.suppressed.as_ref().map(|s| s.cause.clone());
    assert_eq!(cause, Some(Cause::Maintenance(1, "pump overhaul".to_owned())));
    hub.restart();
    hub.tick(200);
    assert_eq!(hub.annunciated(), [1, 2]);
    assert_eq!(hub.history(1), ["raised", "suppressed", "unsuppressed"]);

    hub.now = 250;
    hub.restart();
    assert!(hub.engine().standings.windows.is_empty(), "what is over is not taken up again");

    let begun = hub.at(300, |engine, now| engine.plan_maintenance(plan(0, 400), now)).unwrap();
    assert_eq!((begun.number, begun.from, hub.annunciated()), (2, at(300), vec![2]));
    hub.restart();
    hub.at(310, |engine, now| engine.end_maintenance(2, "bob", now)).unwrap();
    assert_eq!(hub.annunciated(), [1, 2]);
    hub.restart();
    assert_eq!(hub.annunciated(), [1, 2]);
    let gone = hub.at(320, |engine, now| engine.end_maintenance(2, "bob", now));
    assert!(matches!(gone, Err(AlertError::NoWindow(2))));
    for (from, until) in [(500, 400), (330, 330 + MAX_MAINTENANCE.as_secs() as i64 + 1), (0, 10)] {
        let refused = hub.at(330, |engine, now| engine.plan_maintenance(plan(from, until), now));
        assert!(matches!(refused, Err(AlertError::BadWindow)), "{from}..{until}");
    }
    let listed = maintenance(&hub.town.connect(), at(0), 10).unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|Maintenance { number, ended_by, .. }| (*number, ended_by.as_deref()))
        .collect();
    assert_eq!(listed, [(2, Some("bob")), (1, None)]);
    assert_eq!(maintenance(&hub.town.connect(), at(250), 10).unwrap().len(), 1);
}

#[test]
fn two_reasons_to_be_silent_both_have_to_end() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5)], vec![site(0, None, None)]);
    hub.read(0, 10, 3.0);
    hub.shelve(20, 1, 100).unwrap();
    hub.at(30, |engine, now| engine.take_out_of_service(AlertId(1), false, &wish("eng"), now))
        .unwrap();
    hub.tick(100);
    assert_eq!(hub.annunciated(), [] as [u64; 0]);
    hub.at(110, |engine, now| engine.acknowledge(AlertId(1), None, "ann", None, now)).unwrap();
    hub.at(120, |engine, now| engine.put_in_service(AlertId(1), false, &wish("eng"), now)).unwrap();
    assert_eq!(
        hub.history(1),
        ["raised", "shelved", "out_of_service", "unshelved", "acknowledged", "in_service"]
    );
    assert_eq!(hub.annunciated(), [1]);
}

#[test]
fn a_shelf_on_a_closed_alert_keeps_the_next_one_quiet_and_is_audited() {
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5)], vec![]);
    hub.read(0, 10, 3.0);
    hub.at(20, |engine, now| engine.acknowledge(AlertId(1), None, "ann", None, now)).unwrap();
    hub.read(0, 30, 1.0);
    let shelved = hub.shelve(40, 1, 40 + HOUR).unwrap();
    let expected = Shelf {
        by: "ann".to_owned(),
        reason: "sensor is being cleaned".to_owned(),
        at: at(40),
        until: at(40 + HOUR),
    };
    assert_eq!(shelved.standing.shelved, Some(expected));
    hub.restart();
    hub.read(0, 50, 3.0);
    assert_eq!(hub.history(2), ["raised", "shelved"]);
    let audited: i64 = hub
        .town
        .connect()
        .query_row("SELECT count(*) FROM audit WHERE action = 'alert.shelved'", [], |r| r.get(0))
        .unwrap();
    assert_eq!(audited, 1);
}

#[test]
fn the_first_alert_of_a_root_is_marked() {
    let other = rule(0, "flood", beyond(2.5, 2.0));
    let mut hub = Hub::new(vec![above(0, 2.0, 1.5), other, above(1, 2.0, 1.5)], vec![]);
    hub.read(0, 10, 2.2);
    assert!(!hub.town.alerts()[0].0.first_in_group);
    hub.read(0, 20, 3.0);
    hub.read(1, 30, 3.0);
    let firsts = |hub: &Hub| -> Vec<bool> {
        hub.town.alerts().iter().map(|(alert, _)| alert.first_in_group).collect()
    };
    assert_eq!(firsts(&hub), [true, false, false], "a lone one is the first of nothing");
    hub.restart();
    // Ten minutes later the flood comes back as a new alert: another group.
    hub.at(30, |engine, now| engine.acknowledge(AlertId(2), None, "ann", None, now)).unwrap();
    hub.read(0, 40, 2.0);
    hub.read(0, 20 + 700, 3.0);
    assert_eq!(firsts(&hub), [true, false, false, false]);
}
