//! Every kind of rule: ladders, windows, flat lines, expressions; quality; re-alarm and chattering.

use super::*;
use crate::alert::{Spell, What, rehearse};
use crate::model::Reason;

const DOUBT: Quality = Quality::uncertain(Reason::Rate);
const FROZEN: Quality = Quality::uncertain(Reason::Frozen);
const BAD: Quality = Quality::bad(Reason::Range);

/// What goes in.
#[derive(Debug, Clone, Copy)]
enum In {
    /// A Good reading of the first series.
    Good(i64, f64),
    /// A reading of any series and quality.
    Of(u32, i64, f64, Quality),
    Tick(i64),
    Acknowledge(i64),
}

use In::{Acknowledge, Good, Of, Tick};

/// Runs the steps, calmly and with a crash after each, and compares the events as `what severity @hub time`.
#[track_caller]
fn check(rule: &Rule, steps: &[In], expected: &[&str]) {
    for crashes in [false, true] {
        let mut town = Town::new();
        let rules = std::slice::from_ref(rule);
        let mut engine = town.open(rules, at(0));
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Good(time, value) => town.commit(&mut engine, vec![reading(0, time, value)]),
                Of(series, time, value, quality) => {
                    let m = Measurement { quality, ..reading(series, time, value) };
                    town.commit(&mut engine, vec![m]);
                }
                Tick(now) => engine.tick(at(now)),
                Acknowledge(now) => {
                    for alert in engine.open_alerts() {
                        engine.acknowledge(alert.id, None, "li", None, at(now)).unwrap();
                    }
                }
            }
            if crashes {
                // People and the clock are not replayed.
                if matches!(step, Tick(_) | Acknowledge(_)) {
                    engine.commit().unwrap();
                }
                if i % 3 == 0 {
                    engine.checkpoint().unwrap();
                }
                drop(engine);
                engine = town.open(rules, at(0));
                town.replay(&mut engine);
            }
        }
        engine.commit().unwrap();
        assert_eq!(events(&town), expected, "crashes: {crashes}");
    }
}

fn events(town: &Town) -> Vec<String> {
    let all = town.alerts().into_iter().flat_map(|(_, events)| events);
    let text = |e: AlertEvent| {
        format!("{} {} @{}", e.what.as_str(), e.severity, e.at.as_micros() / 1_000_000)
    };
    all.map(text).collect()
}

#[test]
fn a_ladder_is_one_alert_that_goes_up_and_down() {
    let canal = ladder(0, Signal::Value, &[1.0, 2.0, 3.0, 4.0]);
    check(
        &canal,
        &[Good(1, 1.5), Good(2, 3.5), Good(3, 2.6), Good(4, 2.5), Good(5, 1.2), Good(6, 0.5)],
        &[
            "raised info @1",
            "severity_up major @2",
            "severity_down minor @4",
            "severity_down info @5",
            "returned info @6",
        ],
    );
    // At once to the top, and at once down: one event each.
    check(&canal, &[Good(1, 9.0), Good(2, 0.0)], &["raised critical @1", "returned critical @2"]);
}

#[test]
fn each_step_has_its_own_delays() {
    let canal = delays(ladder(0, Signal::Value, &[1.0, 2.0]), 60, 30);
    check(
        &canal,
        &[Good(0, 1.2), Good(40, 2.2), Good(70, 2.2), Good(100, 2.2), Good(110, 0.0), Tick(140)],
        &["raised info @70", "severity_up minor @100", "returned minor @140"],
    );
    // Both run out while nobody looks: in their order.
    check(
        &canal,
        &[Good(0, 1.2), Good(40, 2.2), Good(500, 2.2)],
        &["raised info @500", "severity_up minor @500"],
    );
}

#[test]
fn a_worse_step_asks_again_for_somebody() {
    let canal = ladder(0, Signal::Value, &[1.0, 2.0]);
    check(
        &canal,
        &[Good(1, 1.5), Acknowledge(2), Good(3, 2.5), Acknowledge(4), Good(5, 1.2), Good(6, 0.0)],
        &[
            "raised info @1",
            "acknowledged info @2",
            "severity_up minor @3",
            "rearmed minor @3",
            "acknowledged minor @4",
            "severity_down info @5",
            "returned info @6",
        ],
    );
}

#[test]
fn the_alert_says_what_its_highest_step_says() {
    let mut town = Town::new();
    let own = Label::new("\u{7ea2}\u{8272}", "Red");
    let canal = with(ladder(0, Signal::Value, &[1.0, 2.0]), |spec| {
        let AlertTest::Limit { rungs, .. } = &mut spec.test else { unreachable!() };
        rungs[1].text = Some(own.clone());
    });
    let mut engine = town.open(std::slice::from_ref(&canal), at(0));
    town.commit(&mut engine, vec![reading(0, 1, 1.5), reading(0, 2, 2.5)]);
    let alert = engine.commit().unwrap().remove(0);
    assert_eq!((alert.limit, alert.clear, &alert.text), (Some(2.0), Some(1.5), &own));
    assert_eq!((alert.value, alert.peak, alert.since), (Some(1.5), Some(2.5), at(1)));
    town.commit(&mut engine, vec![reading(0, 3, 1.2)]);
    let alert = engine.commit().unwrap().remove(0);
    assert_eq!((alert.severity, alert.worst), (Severity::Info, Severity::Minor));
    assert_eq!(
        (alert.limit, alert.peak, alert.text),
        (Some(1.0), Some(2.5), canal.spec.text.clone())
    );
}

#[test]
fn a_rise_looks_at_the_lowest_of_its_window() {
    let rise = ladder(0, Signal::Rise { window: secs(60) }, &[5.0]);
    check(
        &rise,
        // From 10 to 15.5 within the minute; then the 10 is out of it.
        &[Good(0, 10.0), Good(30, 12.0), Good(60, 15.5), Good(90, 15.6), Good(151, 15.6)],
        &["raised info @60", "returned info @90"],
    );
    check(&rise, &[Good(0, 10.0), Good(61, 20.0)], &[]);
    check(&rise, &[Good(0, 20.0), Good(30, 10.0)], &[]);
}

#[test]
fn a_fall_is_the_other_way_round() {
    let burst = ladder(0, Signal::Fall { window: secs(60) }, &[50.0]);
    check(
        &burst,
        &[Good(0, 300.0), Good(1, 310.0), Good(30, 259.0), Good(100, 259.0)],
        &["raised info @30", "returned info @100"],
    );
}

#[test]
fn a_sum_is_of_what_came_in_the_window() {
    let rain = ladder(0, Signal::Sum { window: secs(600) }, &[10.0, 20.0]);
    check(
        &rain,
        &[
            Good(0, 6.0),
            Good(300, 5.0),
            // The first is just out: what fell until then is no part of the window.
            Good(600, 4.0),
            Good(700, 12.0),
            Good(1400, 0.0),
        ],
        &[
            "raised info @300",
            "returned info @600",
            "raised_again minor @700",
            "returned minor @1400",
        ],
    );
}

#[test]
fn a_flat_line_needs_readings_and_counts_frozen_ones() {
    let stuck = flat(0, 0.1, 600);
    check(
        &stuck,
        &[Good(0, 1.0), Good(300, 1.05), Good(599, 1.0), Good(600, 1.1), Good(700, 1.3)],
        &["raised minor @600", "returned minor @700"],
    );
    // The normalizer's doubt of a value that stands still is the very thing.
    let frozen = |time| Of(0, time, 1.0, FROZEN);
    check(&stuck, &[Good(0, 1.0), frozen(400), frozen(700)], &["raised minor @700"]);
    // Silent for longer than that: nobody knows.
    check(&stuck, &[Good(0, 1.0), Good(601, 1.0), Good(1200, 1.0)], &[]);
    check(&stuck, &[Good(0, 1.0), Tick(5_000)], &[]);
    // Another doubt, or no value at all, is no reading of it.
    check(
        &stuck,
        &[Good(0, 1.0), Of(0, 300, 9.0, DOUBT), Of(0, 500, 9.0, BAD), Good(600, 1.0)],
        &["raised minor @600"],
    );
}

#[test]
fn an_expression_looks_at_the_newest_of_each_input() {
    let head = holds(&[0, 1], "a - b > 1 'm'", 100);
    let b = |time, value| Of(1, time, value, Quality::GOOD);
    check(
        &head,
        &[Good(0, 5.0), b(10, 4.5), Good(20, 6.0), b(30, 5.5)],
        &["raised major @20", "returned major @30"],
    );
    // An input that is too old raises nothing, and clears nothing.
    check(&head, &[b(0, 4.0), Good(101, 6.0)], &[]);
    check(&head, &[b(0, 4.0), Good(100, 6.0), Good(101, 4.0)], &["raised major @100"]);
    // Nor does one whose newest reading is not Good, though the one before was.
    for quality in [DOUBT, BAD] {
        check(&head, &[b(0, 4.0), Of(1, 10, 4.0, quality), Good(20, 6.0)], &[]);
        check(
            &head,
            &[b(0, 4.0), Good(5, 6.0), Of(1, 10, 9.0, quality), Good(20, 6.0)],
            &["raised major @5"],
        );
    }
    // What came late is not the present.
    check(&head, &[b(50, 5.0), Of(1, 40, 1.0, Quality::LATE), Good(60, 5.5)], &[]);
}

/// What each quality may do to each kind, from a stand in which a Good reading would raise, clear, or hold it.
#[test]
fn only_good_raises_and_uncertain_keeps() {
    let kinds: [(Rule, f64, f64); 5] = [
        (above(0, 2.0, 1.0), 3.0, 0.0),
        (ladder(0, Signal::Value, &[2.0, 9.0]), 3.0, 0.0),
        (equals(0, 3.0), 3.0, 0.0),
        (ladder(0, Signal::Sum { window: secs(5) }, &[2.0]), 3.0, 0.0),
        (holds(&[0], "a > 2 'm'", 100), 3.0, 0.0),
    ];
    for (rule, on, off) in kinds {
        let severity = rule.spec.test.severity(0);
        let raised = format!("raised {severity} @10");
        let returned = format!("returned {severity} @60");
        for quality in [DOUBT, BAD, Quality::LATE] {
            // It raises nothing, and clears nothing.
            check(&rule, &[Of(0, 10, on, quality), Tick(99)], &[]);
            check(&rule, &[Good(10, on), Of(0, 20, off, quality), Tick(99)], &[&raised]);
        }
        // Off since 30, for 30 s: a doubtful reading beyond the limit says that it may not be over.
        let patient = delays(rule, 0, 30);
        let steps = |quality| [Good(10, on), Good(30, off), Of(0, 40, on, quality), Tick(60)];
        check(&patient, &steps(DOUBT), &[&raised]);
        check(&patient, &steps(BAD), &[&raised, &returned]);
        check(&patient, &steps(Quality::LATE), &[&raised, &returned]);
    }
}

#[test]
fn an_alert_that_is_left_alone_rings_again() {
    let rule = with(above(0, 2.0, 1.0), |spec| spec.re_alarm = Some(secs(100)));
    check(
        &rule,
        &[Good(1, 3.0), Tick(500), Acknowledge(501), Tick(600), Tick(601), Acknowledge(610)],
        &[
            "raised major @1",
            "acknowledged major @501",
            "rearmed major @601",
            "acknowledged major @610",
        ],
    );
    // Over by then: no.
    check(
        &rule,
        &[Good(1, 3.0), Acknowledge(2), Good(50, 0.0), Tick(500)],
        &["raised major @1", "acknowledged major @2", "returned major @50"],
    );
}

#[test]
fn what_comes_and_goes_too_often_is_one_alert_until_it_is_quiet() {
    let rule = with(above(0, 2.0, 1.0), |spec| {
        spec.flap = Some(Flap { times: 2, within: secs(100) });
    });
    let noise = |from: i64| [Good(from, 3.0), Good(from + 5, 0.0)];
    let mut steps: Vec<In> = [10, 20, 30, 40, 50].into_iter().flat_map(noise).collect();
    steps.extend([Tick(154), Tick(155)]);
    check(
        &rule,
        &steps,
        &[
            "raised major @10",
            "returned major @15",
            "raised_again major @20",
            "returned major @25",
            "raised_again major @30",
            "chattering major @30",
            "settled major @155",
            "returned major @155",
        ],
    );
    // Still so when it is quiet: it stays. And each time is counted from the last one.
    let steps = [noise(10), noise(20), noise(30), noise(120)].concat();
    let steps = [steps, vec![Good(130, 3.0), Good(230, 3.0), Good(300, 0.0)]].concat();
    let expected = ["chattering major @30", "settled major @230", "returned major @300"];
    let mut town = Town::new();
    let mut engine = town.open(std::slice::from_ref(&rule), at(0));
    for step in steps {
        let Good(time, value) = step else { unreachable!() };
        town.commit(&mut engine, vec![reading(0, time, value)]);
    }
    engine.commit().unwrap();
    assert_eq!(events(&town)[5..], expected);
}

#[test]
fn a_chattering_ladder_still_goes_up() {
    let canal = with(ladder(0, Signal::Value, &[1.0, 2.0]), |spec| {
        spec.flap = Some(Flap { times: 1, within: secs(100) });
    });
    check(
        &canal,
        &[
            Good(1, 1.5),
            Good(2, 0.0),
            Good(3, 1.5),
            Good(4, 0.0),
            Good(5, 2.5),
            Good(6, 1.2),
            Tick(106),
        ],
        &[
            "raised info @1",
            "returned info @2",
            "raised_again info @3",
            "chattering info @3",
            "severity_up minor @5",
            "settled minor @106",
            "severity_down info @106",
        ],
    );
}

#[test]
fn the_towns_flap_is_for_rules_without_one() {
    let mut town = Town::new();
    let rule = with(above(0, 2.0, 1.0), |spec| spec.flap = None);
    let engine = town.open(&[rule], at(0));
    let mut engine = engine.with_flap(Flap { times: 1, within: secs(60) });
    for (time, value) in [(1, 3.0), (2, 0.0), (3, 3.0)] {
        town.commit(&mut engine, vec![reading(0, time, value)]);
    }
    assert!(engine.commit().unwrap()[0].chattering);
    let (alert, events) = town.alerts().remove(0);
    assert!(alert.chattering && alert.raised_count == 2);
    assert_eq!(events.last().unwrap().what, What::Chattering);
}

#[test]
fn new_rungs_stand_as_the_alert_says() {
    let mut town = Town::new();
    let mut engine = town.open(&[ladder(0, Signal::Value, &[1.0, 3.0])], at(0));
    town.commit(&mut engine, vec![reading(0, 1, 3.5)]);
    engine.commit().unwrap();
    // A third rung beyond the value, and the second one is wider: nothing rings for that.
    let wider = ladder(0, Signal::Value, &[1.0, 3.4, 9.0]);
    engine.set_rules(vec![wider.clone()], at(2));
    let alert = engine.commit().unwrap().remove(0);
    assert_eq!((alert.severity, alert.limit, alert.version), (Severity::Minor, Some(3.4), 2));
    town.commit(&mut engine, vec![reading(0, 3, 9.5), reading(0, 4, 1.2)]);
    engine.commit().unwrap();
    let expected = [
        "raised minor @1",
        "rule_changed minor @2",
        "severity_up major @3",
        "severity_down info @4",
    ];
    assert_eq!(events(&town), expected);
}

#[test]
fn a_window_of_a_new_rule_is_filled_from_the_store() {
    let mut town = Town::new();
    let mut engine = town.open(&[above(0, 99.0, 98.0)], at(0));
    town.commit(&mut engine, vec![reading(0, 0, 6.0), reading(0, 100, 3.0)]);
    engine.set_rules(vec![ladder(0, Signal::Sum { window: secs(600) }, &[10.0])], at(150));
    town.remember(&mut engine);
    assert_eq!(engine.wanted(), []);
    town.commit(&mut engine, vec![reading(0, 200, 2.0)]);
    assert_eq!(engine.commit().unwrap()[0].value, Some(11.0));
}

#[test]
fn a_rehearsal_is_what_the_engine_would_have_done() {
    let canal = delays(ladder(0, Signal::Value, &[1.0, 2.0]), 60, 30);
    let history = [(0, 1.2), (40, 2.2), (200, 2.4), (210, 0.0), (300, 1.5), (400, 1.6)];
    let history = history.map(|(time, value)| reading(0, time, value));
    let outcome = rehearse(&canal, history, at(500));
    let spell = |since, raised, cleared: Option<i64>, severity, value, peak| Spell {
        since: at(since),
        raised: at(raised),
        cleared: cleared.map(at),
        severity,
        value: Some(value),
        peak: Some(peak),
    };
    let expected = [
        spell(0, 60, Some(240), Severity::Minor, 1.2, 2.4),
        spell(300, 360, None, Severity::Info, 1.5, 1.6),
    ];
    assert_eq!((outcome.spells, outcome.readings), (expected.to_vec(), 6));

    let silence = rehearse(&no_data(0, 60), [reading(0, 0, 1.0), reading(0, 100, 1.0)], at(160));
    let ends: Vec<_> = silence.spells.iter().map(|s| (s.since, s.raised, s.cleared)).collect();
    assert_eq!(ends, [(at(0), at(60), Some(at(100))), (at(100), at(160), None)]);
}
