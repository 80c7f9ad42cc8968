//! Properties over random histories: against a plain reference judge, through crashes, and with noise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::alert::What;
use crate::model::{Grade, Reason};

/// After every history: all delays are over by then.
const END: i64 = 100_000;

fn rules() -> Vec<Rule> {
    vec![
        above(0, 6.0, 4.0),
        delays(rule(0, "very_high", beyond(7.0, 5.0)), 20, 10),
        delays(below(1, 2.0, 3.0), 10, 0),
        delays(equals(2, 5.0), 0, 15),
        delays(rule(2, "slow", beyond(6.0, 6.0)), 40, 40),
    ]
}

/// Readings of three series, mostly in order and Good, heard up to 5 s later, in the order in which they are heard.
fn arbitrary_history(len: usize) -> impl Strategy<Value = Vec<Measurement>> {
    let one = (0..3_u32, -6..15_i64, 0..5_i64, 0..10_u8, 0..12_u8);
    prop::collection::vec(one, 0..len).prop_map(|steps| {
        let mut now = 1_000;
        let each = steps.into_iter().map(|(series, step, delay, value, quality)| {
            now += step;
            Measurement {
                quality: match quality {
                    0 => Quality::LATE,
                    1 => Quality::bad(Reason::Range),
                    2 => Quality::uncertain(Reason::Rate),
                    _ => Quality::GOOD,
                },
                received_at: at(now + delay),
                ..reading(series, now, f64::from(value))
            }
        });
        each.collect()
    })
}

/// An edge of a condition: on or off, and the hub's time.
type Edge = (bool, Timestamp);

/// What the events of a rule's alerts amount to.
fn edges(town: &Town) -> BTreeMap<RuleKey, Vec<Edge>> {
    let mut edges: BTreeMap<RuleKey, Vec<Edge>> = BTreeMap::new();
    for (alert, events) in town.alerts() {
        let each = events.iter().filter_map(|event| match event.what {
            What::Raised | What::RaisedAgain => Some((true, event.at)),
            What::Returned => Some((false, event.at)),
            _ => None,
        });
        edges.entry(alert.rule).or_default().extend(each);
    }
    edges
}

/// The reference: looks at the whole history at once. Cuts the two-valued signal into runs, and asks of each run
/// whether it lasted as long as its delay.
fn reference(rule: &Rule, history: &[Measurement]) -> Vec<Edge> {
    let mut news: Vec<&Measurement> = Vec::new();
    for m in history.iter().filter(|m| m.series == rule.series[0] && m.quality.is_news()) {
        if news.last().is_none_or(|last| m.observed_at > last.observed_at) {
            news.push(m);
        }
    }
    let mut runs: Vec<(bool, Timestamp)> = vec![(false, Timestamp::from_micros(i64::MIN))];
    for m in &news {
        let last = runs[runs.len() - 1].0;
        let is_on = match &rule.spec.test {
            AlertTest::Limit { side, rungs, .. } => {
                let (limit, clear) = (rungs[0].limit, rungs[0].clear);
                side.is_beyond(m.value, limit) || (last && side.is_beyond(m.value, clear))
            }
            AlertTest::Equals { code, .. } => m.value == *code,
            _ => unreachable!(),
        };
        if is_on != last {
            runs.push((is_on, m.observed_at));
        }
    }
    // The hub learns of a time by the first news from then on, or at the end.
    let heard =
        |time| news.iter().find(|m| m.observed_at >= time).map_or(at(END), |m| m.received_at);
    let mut raised = false;
    let mut edges = Vec::new();
    for (i, &(is_on, start)) in runs.iter().enumerate() {
        let over = start.plus(if is_on { rule.spec.on_delay } else { rule.spec.off_delay });
        let lasts = runs.get(i + 1).is_none_or(|&(_, end)| end >= over);
        if is_on != raised && lasts {
            raised = is_on;
            edges.push((is_on, heard(over)));
        }
    }
    edges
}

/// Judges `history` in commits of `size` and lets all delays run out.
fn judge_all(rules: &[Rule], history: &[Measurement], size: usize) -> Town {
    let mut town = Town::new();
    let mut engine = town.open(rules, at(0));
    for batch in history.chunks(size) {
        town.commit(&mut engine, batch.to_vec());
    }
    engine.tick(at(END));
    engine.commit().unwrap();
    town
}

/// What a hub does, in any order.
#[derive(Debug, Clone)]
enum Act {
    Judge(usize),
    Commit,
    Checkpoint,
    /// The clock, which the hub commits at once.
    Tick(i64),
    /// Somebody acknowledges the oldest open alert, which the hub commits at once.
    Acknowledge,
    Crash,
}

fn arbitrary_acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1..6_usize).prop_map(Act::Judge),
        3 => Just(Act::Commit),
        1 => Just(Act::Checkpoint),
        1 => (1_000..1_600_i64).prop_map(Act::Tick),
        1 => Just(Act::Acknowledge),
        2 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 0..60)
}

/// Goes through `acts`, with or without the crashes.
fn act_out(rules: &[Rule], acts: &[Act], history: &[Measurement], crashes: bool) -> Town {
    let mut town = Town::new();
    let mut rest = history;
    let mut engine = town.open(rules, at(0));
    for act in acts {
        match *act {
            Act::Judge(n) => {
                let (batch, later) = rest.split_at(n.min(rest.len()));
                rest = later;
                town.commit(&mut engine, batch.to_vec());
            }
            Act::Commit => drop(engine.commit().unwrap()),
            Act::Checkpoint => drop(engine.checkpoint().unwrap()),
            Act::Tick(now) => {
                engine.tick(at(now));
                engine.commit().unwrap();
            }
            Act::Acknowledge => {
                if let Some(alert) = engine.open_alerts().iter().min_by_key(|alert| alert.id) {
                    // Refused when it was acknowledged before: the same with and without a crash.
                    let _ = engine.acknowledge(alert.id, None, "li", None, at(7));
                    engine.commit().unwrap();
                }
            }
            Act::Crash if crashes => {
                drop(engine);
                engine = town.open(rules, at(0));
                town.replay(&mut engine);
            }
            Act::Crash => {}
        }
    }
    engine.checkpoint().unwrap();
    town
}

/// Rules of every kind over the three series.
fn all_kinds() -> Vec<Rule> {
    let flapping = |rule| with(rule, |spec| spec.flap = Some(Flap { times: 2, within: secs(40) }));
    let sum = Signal::Sum { window: secs(30) };
    let mut doubled = delays(ladder(1, Signal::Rise { window: secs(25) }, &[2.0, 5.0]), 0, 10);
    doubled.key.name = "rise".to_owned();
    vec![
        delays(ladder(0, Signal::Value, &[3.0, 5.0, 7.0, 8.0]), 10, 15),
        flapping(above(0, 6.0, 4.0)),
        flapping(delays(ladder(1, sum, &[8.0, 16.0]), 5, 5)),
        doubled,
        delays(ladder(2, Signal::Fall { window: secs(25) }, &[3.0]), 5, 0),
        flat(2, 3.0, 12),
        delays(holds(&[0, 1, 2], "a + b > 9 'm' || c > 8 'm'", 20), 5, 5),
        with(equals(2, 5.0), |spec| spec.re_alarm = Some(secs(50))),
    ]
}

/// As the normalizer marks it: what is not later than all before of its series is late. Some doubts are of frozen values.
fn in_order(history: Vec<Measurement>) -> Vec<Measurement> {
    let mut newest: BTreeMap<SeriesId, Timestamp> = BTreeMap::new();
    let mark = |mut m: Measurement| {
        let newest = newest.entry(m.series).or_insert(Timestamp::from_micros(i64::MIN));
        if m.observed_at <= *newest {
            m.quality = Quality::LATE;
        } else if m.quality == Quality::uncertain(Reason::Rate) && m.value < 5.0 {
            m.quality = Quality::uncertain(Reason::Frozen);
        }
        *newest = m.observed_at.max(*newest);
        m
    };
    history.into_iter().map(mark).collect()
}

/// When an alert of any rule of the town was at which severity: the worst of those that are active, after each event.
fn severities(town: &Town, of: impl Fn(&RuleKey) -> bool) -> Vec<(Timestamp, Option<Severity>)> {
    let mut changes: Vec<(Timestamp, RuleKey, Option<Severity>)> = Vec::new();
    for (alert, events) in town.alerts().into_iter().filter(|(alert, _)| of(&alert.rule)) {
        changes.extend(
            events.iter().map(|event| {
                (event.at, alert.rule.clone(), event.active.then_some(event.severity))
            }),
        );
    }
    changes.sort_by_key(|(at, ..)| *at);
    let mut now: BTreeMap<RuleKey, Option<Severity>> = BTreeMap::new();
    let mut shown: Vec<(Timestamp, Option<Severity>)> = Vec::new();
    for (at, rule, severity) in changes {
        now.insert(rule, severity);
        let worst = now.values().copied().max().flatten();
        // What happens at one time is seen at once.
        if shown.last().is_some_and(|(last, _)| *last == at) {
            shown.pop();
        }
        if shown.last().is_none_or(|(_, last)| *last != worst) {
            shown.push((at, worst));
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_judges_as_the_reference_does(history in arbitrary_history(120), size in 1..20_usize) {
        // What a doubtful reading keeps hangs on the stand that it finds: the reference knows none.
        let certain = |m: &Measurement| m.quality.grade != Grade::Uncertain;
        let history: Vec<Measurement> = history.into_iter().filter(certain).collect();
        let town = judge_all(&rules(), &history, size);
        let edges = edges(&town);
        for rule in rules() {
            let expected = reference(&rule, &history);
            prop_assert_eq!(edges.get(&rule.key).cloned().unwrap_or_default(), expected, "{:?}", rule.key);
        }
    }

    #[test]
    fn a_crash_changes_nothing(history in arbitrary_history(120), acts in arbitrary_acts()) {
        let calm = act_out(&rules(), &acts, &history, false);
        let crashed = act_out(&rules(), &acts, &history, true);
        prop_assert_eq!(calm.alerts(), crashed.alerts());
        prop_assert_eq!(calm.delays(), crashed.delays());
    }

    #[test]
    fn a_crash_changes_nothing_of_any_kind(
        history in arbitrary_history(120),
        acts in arbitrary_acts(),
    ) {
        let history = in_order(history);
        let calm = act_out(&all_kinds(), &acts, &history, false);
        let crashed = act_out(&all_kinds(), &acts, &history, true);
        prop_assert_eq!(calm.alerts(), crashed.alerts());
        prop_assert_eq!(calm.delays(), crashed.delays());
    }

    #[test]
    fn a_ladder_is_the_worst_of_its_steps(
        history in arbitrary_history(120),
        (on, off) in (0..30_u64, 0..30_u64),
    ) {
        // Events are put in order by the hub's time, which never goes back.
        let mut newest = at(0);
        let history: Vec<Measurement> = history
            .into_iter()
            .map(|m| {
                newest = newest.max(m.received_at);
                Measurement { received_at: newest, ..m }
            })
            .collect();
        let whole = delays(ladder(0, Signal::Value, &[3.0, 5.0, 6.0, 8.0]), on, off);
        let AlertTest::Limit { rungs, .. } = &whole.spec.test else { unreachable!() };
        let alone = |rung: &Rung| {
            let test = AlertTest::limit(Side::Above, rung.limit, rung.clear, rung.severity);
            delays(rule(0, &format!("alone-{}", rung.severity), test), on, off)
        };
        let parts: Vec<Rule> = rungs.iter().map(alone).collect();
        let rules = [vec![whole.clone()], parts].concat();
        let town = judge_all(&rules, &history, 7);
        let of_whole = severities(&town, |key| *key == whole.key);
        let of_parts = severities(&town, |key| *key != whole.key);
        prop_assert_eq!(of_whole, of_parts);
    }

    #[test]
    fn looking_at_the_clock_more_often_changes_only_when_people_hear_of_it(
        history in arbitrary_history(60),
    ) {
        let history: Vec<Measurement> = history.into_iter().filter(|m| m.series.0 == 0).collect();
        let calm = judge_all(&rules(), &history, 1);
        let mut town = Town::new();
        let mut engine = town.open(&rules(), at(0));
        for (i, m) in history.iter().enumerate() {
            town.commit(&mut engine, vec![*m]);
            // As late as can be without passing by a reading that is still to come.
            let heard = history[..=i].iter().filter(|m| m.quality.is_news());
            let last = heard.map(|m| m.observed_at).max();
            let to_come = history[i + 1..].iter().filter(|m| m.quality.is_news());
            let next = to_come.map(|m| m.observed_at).filter(|&time| Some(time) > last).min();
            engine.tick(next.or(last).unwrap_or(at(0)));
        }
        engine.tick(at(END));
        engine.commit().unwrap();
        let edges_only = |town| {
            let edges = edges(town).into_iter();
            edges.map(|(key, edges)| (key, edges.into_iter().map(|(on, _)| on).collect())).collect()
        };
        let (calm, busy): (Vec<(RuleKey, Vec<bool>)>, Vec<_>) = (edges_only(&calm), edges_only(&town));
        prop_assert_eq!(calm, busy);
    }

    #[test]
    fn repeated_late_and_doubtful_readings_change_nothing(
        history in arbitrary_history(80),
        noise in prop::collection::vec((0..80_usize, 0..4_u8, 0..10_u8), 0..80),
    ) {
        let mut noisy = history.clone();
        for (place, kind, value) in noise {
            let Some(&former) = noisy.get(place) else { continue };
            let value = f64::from(value);
            let copy = match kind {
                0 => former,
                1 => Measurement { quality: Quality::LATE, value, ..former },
                2 => Measurement { quality: Quality::bad(Reason::Comm), value, ..former },
                _ => Measurement { observed_at: former.observed_at.minus(secs(1)), value, ..former },
            };
            // The last kind is older than news only if the former reading was some.
            if kind < 3 || former.quality.is_news() {
                noisy.insert(place + 1, copy);
            }
        }
        let (calm, noisy) = (judge_all(&rules(), &history, 7), judge_all(&rules(), &noisy, 7));
        prop_assert_eq!(calm.alerts(), noisy.alerts());
    }
}
