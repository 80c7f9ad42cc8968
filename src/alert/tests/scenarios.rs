//! Scripts of one rule: what goes in, and the events that come out.

use super::*;
use crate::alert::AlertError;
use crate::model::Reason;

/// One step of a script; times in seconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A Good reading, heard when it was observed.
    Good(i64, f64),
    /// A Good reading, observed and heard at different times.
    Delayed(i64, i64, f64),
    /// A reading of another quality.
    Other(i64, f64, Quality),
    /// The clock.
    Tick(i64),
    /// Somebody acknowledges whatever is open.
    Acknowledge(i64),
}

use Step::{Acknowledge, Delayed, Good, Other, Tick};

/// How the hub runs while a script goes through it: the events must not hang on it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Run {
    CommitEveryStep,
    CommitAtTheEnd,
    CrashAfterEveryStep,
}

/// Runs `steps` from midnight on and compares all events, as `alert what @hub time`, in the order of alerts.
#[track_caller]
fn check(rule: Rule, steps: &[Step], expected: &[&str]) {
    for run in [Run::CommitEveryStep, Run::CommitAtTheEnd, Run::CrashAfterEveryStep] {
        // The replay cannot bring back silence, which is the clock's: see the test of restarts.
        let is_silence = matches!(rule.spec.test, AlertTest::NoData { .. });
        if !(is_silence && run == Run::CrashAfterEveryStep) {
            assert_eq!(events_of(&rule, steps, run), expected, "{run:?}");
        }
    }
}

fn events_of(rule: &Rule, steps: &[Step], run: Run) -> Vec<String> {
    let mut town = Town::new();
    let mut engine = town.open(std::slice::from_ref(rule), at(0));
    for (i, step) in steps.iter().enumerate() {
        take(&mut town, &mut engine, *step);
        let is_reading = !matches!(step, Tick(_) | Acknowledge(_));
        match run {
            Run::CommitEveryStep => drop(engine.commit().unwrap()),
            Run::CommitAtTheEnd => {}
            Run::CrashAfterEveryStep => {
                if !is_reading {
                    engine.commit().unwrap();
                }
                if i % 3 == 0 {
                    engine.checkpoint().unwrap();
                }
                drop(engine);
                engine = town.open(std::slice::from_ref(rule), at(0));
                town.replay(&mut engine);
            }
        }
    }
    engine.commit().unwrap();
    let histories = town.alerts().into_iter().flat_map(|(_, events)| events);
    histories
        .map(|e| format!("{} {} @{}", e.alert.0, e.what.as_str(), e.at.as_micros() / 1_000_000))
        .collect()
}

fn take(town: &mut Town, engine: &mut Engine, step: Step) {
    let measurement = match step {
        Good(time, value) => reading(0, time, value),
        Delayed(observed, received, value) => {
            Measurement { received_at: at(received), ..reading(0, observed, value) }
        }
        Other(time, value, quality) => Measurement { quality, ..reading(0, time, value) },
        Tick(now) => return engine.tick(at(now)),
        Acknowledge(now) => {
            for alert in engine.open_alerts() {
                engine.acknowledge(alert.id, None, "li", None, at(now)).unwrap();
            }
            return;
        }
    };
    town.commit(engine, vec![measurement]);
}

#[test]
fn a_limit_raises_beyond_and_clears_within() {
    check(
        above(0, 2.5, 2.3),
        &[Good(1, 2.5), Good(2, 2.6), Good(3, 2.4), Good(4, 2.7), Good(5, 2.3), Good(6, 2.4)],
        &["1 raised @2", "1 returned @5"],
    );
    check(
        below(0, 3.3, 3.4),
        &[Good(1, 3.3), Good(2, 3.2), Good(3, 3.35), Good(4, 3.4)],
        &["1 raised @2", "1 returned @4"],
    );
    check(
        equals(0, 1.0),
        &[Good(1, 0.0), Good(2, 1.0), Good(3, 1.0), Good(4, 2.0)],
        &["1 raised @2", "1 returned @4"],
    );
}

#[test]
fn an_on_delay_is_counted_from_the_first_reading_beyond() {
    let rule = || delays(above(0, 2.0, 1.0), 60, 0);
    // A later reading ends it; the hub knew when it came.
    check(rule(), &[Good(10, 3.0), Good(69, 3.0), Good(70, 3.0)], &["1 raised @70"]);
    // So does the clock.
    check(rule(), &[Good(10, 3.0), Tick(69), Tick(70)], &["1 raised @70"]);
    // Between limit and clear value it goes on.
    check(rule(), &[Good(10, 3.0), Good(30, 1.5), Good(75, 1.5)], &["1 raised @75"]);
    // A reading within the clear value ends it, and it begins anew.
    check(rule(), &[Good(10, 3.0), Good(30, 1.0), Good(50, 3.0), Tick(109)], &[]);
    check(rule(), &[Good(10, 3.0), Good(30, 1.0), Good(50, 3.0), Tick(110)], &["1 raised @110"]);
}

#[test]
fn a_value_holds_until_the_next_one() {
    // Whether or not a tick came between: 3.0 stood for 90 s.
    let rule = || delays(above(0, 2.0, 1.0), 60, 0);
    check(rule(), &[Good(10, 3.0), Good(100, 0.0)], &["1 raised @100", "1 returned @100"]);
    check(rule(), &[Good(10, 3.0), Tick(90), Good(100, 0.0)], &["1 raised @90", "1 returned @100"]);
}

#[test]
fn an_off_delay_holds_the_alert() {
    let rule = || delays(above(0, 2.0, 1.0), 0, 30);
    check(rule(), &[Good(1, 3.0), Good(10, 0.5), Tick(39)], &["1 raised @1"]);
    check(rule(), &[Good(1, 3.0), Good(10, 0.5), Tick(40)], &["1 raised @1", "1 returned @40"]);
    // Between clear value and limit it goes on; beyond the limit it is off.
    check(
        rule(),
        &[Good(1, 3.0), Good(10, 0.5), Good(20, 1.5), Good(40, 1.5)],
        &["1 raised @1", "1 returned @40"],
    );
    check(rule(), &[Good(1, 3.0), Good(10, 0.5), Good(20, 2.5), Tick(500)], &["1 raised @1"]);
    // It ran out before the value came back.
    check(
        rule(),
        &[Good(1, 3.0), Good(10, 0.5), Good(45, 3.0)],
        &["1 raised @1", "1 returned @45", "1 raised_again @45"],
    );
}

#[test]
fn only_news_raises_and_clears() {
    let rule = || above(0, 2.0, 1.0);
    let bad = Quality::bad(Reason::Range);
    let unsure = Quality::uncertain(Reason::Rate);
    for quality in [bad, unsure, Quality::LATE] {
        check(rule(), &[Other(1, 3.0, quality), Tick(100)], &[]);
        check(rule(), &[Good(1, 3.0), Other(2, 0.0, quality), Tick(100)], &["1 raised @1"]);
    }
    // Older than the last news, and the last news itself once more.
    check(rule(), &[Good(10, 0.0), Delayed(9, 11, 3.0), Delayed(10, 12, 3.0)], &[]);
    check(rule(), &[Good(10, 3.0), Delayed(9, 11, 0.0), Delayed(10, 12, 0.0)], &["1 raised @10"]);
    // A bad reading in between has no say in what is older.
    check(rule(), &[Good(1, 0.0), Other(10, 0.0, bad), Delayed(5, 11, 3.0)], &["1 raised @11"]);
    check(rule(), &[Good(1, f64::NAN), Good(2, f64::INFINITY)], &["1 raised @2"]);
}

#[test]
fn an_unacknowledged_alert_comes_back_as_itself_and_a_closed_one_does_not() {
    let rule = || above(0, 2.0, 1.0);
    check(
        rule(),
        &[Good(1, 3.0), Good(2, 0.0), Good(3, 4.0), Acknowledge(4), Good(5, 0.0), Good(6, 3.0)],
        &[
            "1 raised @1",
            "1 returned @2",
            "1 raised_again @3",
            "1 acknowledged @4",
            "1 returned @5",
            "2 raised @6",
        ],
    );
    check(
        rule(),
        &[Good(1, 3.0), Good(2, 0.0), Acknowledge(3), Good(4, 3.0)],
        &["1 raised @1", "1 returned @2", "1 acknowledged @3", "2 raised @4"],
    );
}

#[test]
fn a_silent_device_is_heard_by_any_reading() {
    let rule = || no_data(0, 60);
    // Never heard: from the hub's start on.
    check(rule(), &[Tick(59), Tick(60), Tick(500)], &["1 raised @60"]);
    // Heard: from then on, by the hub's clock and not the device's.
    check(rule(), &[Delayed(0, 30, 0.0), Tick(89), Tick(90)], &["1 raised @90"]);
    for quality in [Quality::LATE, Quality::bad(Reason::Comm)] {
        check(
            rule(),
            &[Tick(60), Other(70, 0.0, quality), Tick(129), Tick(130)],
            &["1 raised @60", "1 returned @70", "1 raised_again @130"],
        );
    }
}

#[test]
fn an_alert_says_what_raised_it_and_how_far_it_went() {
    let mut town = Town::new();
    let mut engine = town.open(&[delays(above(0, 2.0, 1.0), 10, 0)], at(0));
    for (time, value) in [(100, 2.5), (105, 4.0), (112, 3.0), (120, 5.0), (130, 2.0)] {
        town.commit(&mut engine, vec![reading(0, time, value)]);
    }
    let alert = engine.commit().unwrap().remove(0);
    assert_eq!((alert.value, alert.peak), (Some(2.5), Some(5.0)));
    assert_eq!((alert.limit, alert.clear), (Some(2.0), Some(1.0)));
    assert_eq!((alert.since, alert.raised_at), (at(100), at(112)));
    assert_eq!((alert.version, alert.active, alert.kind), (1, true, "limit"));

    // A higher peak waits for the checkpoint, and is shown at once.
    town.commit(&mut engine, vec![reading(0, 140, 6.0)]);
    assert!(!engine.is_dirty());
    assert_eq!(engine.open_alerts()[0].peak, Some(6.0));
    assert_eq!(town.alerts()[0].0.peak, Some(5.0));
    engine.checkpoint().unwrap();
    assert_eq!(town.alerts()[0].0, engine.open_alerts()[0]);
    assert_eq!(engine.commit().unwrap(), []);
}

#[test]
fn an_alert_that_comes_back_keeps_its_furthest_value() {
    let mut town = Town::new();
    let mut engine = town.open(&[above(0, 2.0, 1.0)], at(0));
    let values = [3.0, 9.0, 0.0, 4.0, 5.0];
    town.commit(&mut engine, (1..).zip(values).map(|(time, v)| reading(0, time, v)).collect());
    let alert = engine.commit().unwrap().remove(0);
    assert_eq!((alert.version, alert.since, alert.peak), (3, at(1), Some(9.0)));
    town.commit(&mut engine, vec![reading(0, 10, 10.0)]);
    assert_eq!(engine.open_alerts()[0].peak, Some(10.0));
}

#[test]
fn rules_of_one_series_raise_in_their_order() {
    let mut town = Town::new();
    let surcharge = rule(3, "surcharge", beyond(2.5, 2.3));
    let rules = [below(5, 1.0, 2.0), surcharge, above(3, 1.8, 1.6), no_data(3, 60)];
    let mut engine = town.open(&rules, at(0));
    town.commit(&mut engine, vec![reading(3, 1, 3.0), reading(5, 1, 0.5), reading(99, 1, 9.0)]);
    let names: Vec<String> = engine.commit().unwrap().into_iter().map(|a| a.rule.name).collect();
    assert_eq!(names, ["surcharge", "high", "low"]);
}

#[test]
fn a_person_acknowledges_once_and_knows_what() {
    let mut town = Town::new();
    let mut engine = town.open(&[above(0, 2.0, 1.0)], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.0)]);
    let id = engine.commit().unwrap()[0].id;

    let stale = engine.acknowledge(id, Some(7), "li", None, at(2));
    assert!(matches!(stale, Err(AlertError::VersionConflict { current: 1, given: 7, .. })));
    let alert = engine.acknowledge(id, Some(1), "li", Some("on my way"), at(2)).unwrap();
    assert_eq!((alert.version, alert.acknowledged_at), (2, Some(at(2))));
    assert_eq!(
        (alert.acknowledged_by.as_deref(), alert.note.as_deref()),
        (Some("li"), Some("on my way"))
    );
    assert_eq!(engine.commit().unwrap(), std::slice::from_ref(&alert));
    assert_eq!(town.alerts()[0].1[1].note.as_deref(), Some("on my way"));

    let again = |engine: &mut Engine| engine.acknowledge(id, None, "wang", None, at(3));
    let is_refused =
        |result| matches!(result, Err(AlertError::AlreadyAcknowledged { by, .. }) if by == "li");
    assert!(is_refused(again(&mut engine)));
    // Closed, and no longer in memory.
    town.commit(&mut engine, vec![reading(0, 4, 0.0)]);
    assert!(!engine.commit().unwrap()[0].is_open());
    assert!(engine.open_alerts().is_empty());
    assert!(is_refused(again(&mut engine)));
    let none = engine.acknowledge(super::super::AlertId(99), None, "li", None, at(5));
    assert!(matches!(none, Err(AlertError::NotFound(_))));
}

#[test]
fn changed_limits_keep_the_condition_and_gone_rules_clear_it() {
    let mut town = Town::new();
    let pending = delays(above(1, 2.0, 1.0), 60, 0);
    let mut engine = town.open(&[above(0, 2.0, 1.0), pending.clone()], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.0), reading(1, 1, 3.0)]);
    engine.commit().unwrap();

    // The same rule with a wider limit, on another asset: still active, now against the new clear value.
    let mut wider = above(0, 5.0, 4.0);
    wider.asset = None;
    engine.set_rules(vec![wider.clone(), pending], at(2));
    let alert = engine.commit().unwrap().remove(0);
    assert!(
        alert.active && alert.version == 2 && alert.limit == Some(5.0) && alert.asset.is_none()
    );
    // The other rule's delay went on.
    engine.tick(at(61));
    assert_eq!(engine.commit().unwrap()[0].since, at(1));

    engine.set_rules(vec![wider], at(70));
    let removed = engine.commit().unwrap().remove(0);
    assert!(!removed.active && removed.is_open() && removed.cleared_at == Some(at(70)));
    town.commit(&mut engine, vec![reading(0, 80, 3.9), reading(1, 80, 9.0)]);
    engine.commit().unwrap();
    let last: Vec<_> =
        town.alerts().iter().map(|(_, events)| events.last().unwrap().what.as_str()).collect();
    assert_eq!(last, ["returned", "rule_removed"]);
}

#[test]
fn a_device_that_is_added_later_is_watched_from_then_on() {
    let town = Town::new();
    let mut engine = town.open(&[no_data(0, 60)], at(0));
    engine.set_rules(vec![no_data(0, 60), no_data(1, 60)], at(50));
    assert_eq!(engine.next_deadline(), Some(at(60)));
    engine.tick(at(109));
    assert_eq!(engine.commit().unwrap().len(), 1);
    engine.tick(at(110));
    assert_eq!(engine.commit().unwrap()[0].since, at(50));
}
