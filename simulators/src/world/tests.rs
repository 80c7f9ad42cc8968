use std::collections::HashMap;

use serde_json::Value;

use super::*;

/// A morning: 10:13 in the town.
const START_MS: i64 = 1_789_956_800_000;

/// What a device published: script second, payload.
type Log = HashMap<String, Vec<(i64, Vec<u8>)>>;

fn world(script: &str, seed: u64) -> World {
    let town = Arc::new(Town::wuzhen().unwrap());
    let script = crate::run::load_script(script, &town).unwrap();
    World::new(town, script, &Start { seed, speed: 1.0, now_ms: START_MS })
}

/// Plays the demo by seconds and keeps all that was published; `look` sees the world every second.
fn play(script: &str, seed: u64, seconds: i64, mut look: impl FnMut(i64, &World)) -> Log {
    let mut world = world(script, seed);
    let mut log = Log::new();
    for second in 1..=seconds {
        for effect in world.step(START_MS + second * 1000) {
            if let Effect::Publish { device, payload } = effect {
                let id = world.town.devices[device].id.clone();
                log.entry(id).or_default().push((second, payload));
            }
        }
        look(second, &world);
    }
    log
}

/// The numbers of a metric, with the second when they were published.
fn numbers(log: &Log, device: &str, pointer: &str) -> Vec<(i64, f64)> {
    let messages = log.get(device).map_or(&[][..], Vec::as_slice);
    let number =
        |payload: &[u8]| serde_json::from_slice::<Value>(payload).ok()?.pointer(pointer)?.as_f64();
    messages.iter().filter_map(|(at, payload)| Some((*at, number(payload)?))).collect()
}

fn first(series: &[(i64, f64)], wanted: impl Fn(f64) -> bool) -> Option<i64> {
    series.iter().find(|(_, value)| wanted(*value)).map(|(at, _)| *at)
}

/// The devices of which a metric meets a wish at some time.
fn devices_with(
    log: &Log,
    prefix: &str,
    pointer: &str,
    wanted: impl Fn(f64) -> bool + Copy,
) -> usize {
    let of_kind = log.keys().filter(|id| id.starts_with(prefix));
    of_kind.filter(|id| first(&numbers(log, id, pointer), wanted).is_some()).count()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let record = |seed| {
        let mut world = world("demo", seed);
        let mut all = Vec::new();
        // Odd steps: the bytes depend on the times that are passed in, and on nothing else.
        for step in 1..600 {
            all.extend(world.step(START_MS + step * 137));
        }
        all
    };
    let (one, again, other) = (record(1), record(1), record(2));
    assert!(one.len() > 600, "{}", one.len());
    assert!(one == again, "the same seed repeats");
    assert!(one != other, "another seed differs");
}

#[test]
fn the_demo_shows_its_first_alerts_within_a_minute() {
    let mut motor = None;
    let log = play("demo", 1, 60, |second, world| {
        if world.gate(2).motor == Motor::Fault && motor.is_none() {
            motor = Some(second);
        }
    });
    assert!(motor.is_some_and(|at| (15..=17).contains(&at)), "{motor:?}");
    let ch4 = numbers(&log, "mh-007", "/gas/ch4");
    assert!(first(&ch4, |ch4| ch4 > 20.0).is_some(), "{ch4:?}");
    let cover = first(&numbers(&log, "mh-033", "/cover"), |cover| cover == 1.0);
    assert!(cover.is_some_and(|at| at <= 31), "{cover:?}");
    assert!(first(&numbers(&log, "mh-033", "/tilt"), |tilt| tilt > 10.0).is_some());
    assert!(first(&numbers(&log, "mh-021", "/bat"), |volts| volts < 3.3).is_some());
    let pressure = numbers(&log, "pf-106", "/p_kpa");
    assert!(first(&pressure, |kpa| kpa < 140.0).is_some_and(|at| at > 30), "{pressure:?}");
    assert_eq!(log.len(), 496, "every device that publishes has reported, and the gates have not");
}

#[test]
fn the_demo_floods_a_few_manholes_and_the_canals_and_calms_down() {
    for seed in 1..=3 {
        check_flood(seed);
    }
}

fn check_flood(seed: u64) {
    let (mut canal_peak, mut canal_end) = (0.0_f64, 0.0_f64);
    let log = play("demo", seed, 900, |_, world| {
        let levels = (0..world.town.basins.len()).map(|basin| world.canals.level_m(basin));
        canal_end = levels.fold(0.0, f64::max);
        canal_peak = canal_peak.max(canal_end);
    });
    let major = devices_with(&log, "mh-", "/level_mm", |mm| mm > 1800.0);
    let critical = devices_with(&log, "mh-", "/level_mm", |mm| mm > 2500.0);
    assert!((3..=30).contains(&major) && (1..=15).contains(&critical), "{major} {critical}");
    assert!(canal_peak > 1.58 && canal_peak < 1.9, "{canal_peak}");
    assert!(canal_end < 1.4, "{canal_end}");
    for id in log.keys().filter(|id| id.starts_with("mh-")) {
        let last = numbers(&log, id, "/level_mm").last().unwrap().1;
        assert!(last < 1000.0, "{id} ends at {last} mm");
    }
    let gas = numbers(&log, "mh-007", "/gas/ch4").last().unwrap().1;
    assert!(gas < 8.0, "{gas}");
}

#[test]
fn a_blocked_pipe_shows_above_and_below() {
    let log = play("demo", 1, 24, |_, _| {});
    let before = |id| numbers(&log, id, "/level_mm").last().unwrap().1;
    let (above, below) = (before("mh-054"), before("mh-055"));
    // Without the storm, so that only the blockage is seen.
    let mut world = world("calm", 1);
    world.sewer.manhole_mut(53).unwrap().set_open(0.02);
    for second in 1..=2400 {
        world.step(START_MS + second * 1000);
    }
    let depth = |manhole: usize| world.sewer.manholes()[manhole].depth() * 1000.0;
    assert!(depth(53) > above + 100.0, "{} {above}", depth(53));
    assert!(depth(54) < below, "{} {below}", depth(54));
}

#[test]
fn the_demos_sick_devices_are_sick() {
    let log = play("demo", 1, 300, |_, _| {});
    let skewed = numbers(&log, "mh-012", "/ts");
    let ahead = |(at, ts): &(i64, f64)| *ts as i64 - (START_MS + at * 1000);
    assert!(skewed.iter().any(|sample| ahead(sample) == 3_600_000), "{skewed:?}");
    let twice = &log["cl-003"];
    assert!(twice.windows(2).any(|pair| pair[0] == pair[1]), "the same message twice");
    assert!(log["mh-039"].iter().any(|(_, bytes)| serde_json::from_slice::<Value>(bytes).is_err()));
    let silent = log["cl-007"].last().unwrap().0;
    assert!(silent <= 35, "{silent}");
    let backfilled: Vec<_> =
        numbers(&log, "mh-027", "/ts").into_iter().filter(|(at, _)| *at == 165).collect();
    assert!(backfilled.len() >= 10, "{backfilled:?}");
    assert!(!backfilled.is_sorted_by(|a, b| a.1 <= b.1), "out of order");
    let unplugged = numbers(&log, "mh-018", "/ts");
    assert!(
        !unplugged.iter().any(|(at, _)| (70..160).contains(at))
            && unplugged.last().unwrap().0 > 160
    );
}

#[test]
fn a_stuck_bay_keeps_its_word() {
    let log = play("demo", 1, 900, |_, _| {});
    let occupied = |id: &str| numbers(&log, id, "/occ");
    let stuck = occupied("pb-042");
    let after: Vec<_> = stuck.iter().filter(|(at, _)| (41..900).contains(at)).collect();
    assert!(after.len() >= 2, "its heartbeat goes on: {stuck:?}");
    assert!(after.windows(2).all(|pair| pair[0].1 == pair[1].1));
    let lively = (1..=400).filter(|n| occupied(&format!("pb-{n:03}")).len() > 4).count();
    assert!(lively > 50, "{lively}");
}

#[test]
fn a_commanded_gate_moves_and_its_levels_follow_the_canals() {
    let mut world = world("calm", 1);
    let before = world.gate(0);
    world.command_gate(0, before.setpoint + 100);
    world.step(START_MS + 1000);
    assert_eq!(world.gate(0).motor, Motor::Opening);
    for second in 2..60 {
        world.step(START_MS + second * 1000);
    }
    let after = world.gate(0);
    assert_eq!((after.opening, after.motor), (before.opening + 100, Motor::Stopped));
    assert!(after.level_up_m > 0.5 && after.level_down_m > 0.5);
}

#[test]
fn a_clock_that_jumps_neither_stops_nor_floods_the_town() {
    let mut world = world("demo", 1);
    world.step(START_MS + 20_000);
    let after_sleep = world.step(START_MS + 86_400_000);
    assert!(after_sleep.len() <= world.town.devices.len(), "{}", after_sleep.len());
    assert!(world.script_s() <= 10.0);
    world.step(START_MS);
    assert!(world.script_s() <= 10.0, "a clock that is set back moves nothing");
}

/// A calm day with these events, moved on by a minute a step for so many hours; returns what was published, by minute.
fn day(events: &str, hours: i64, mut look: impl FnMut(i64, &mut World)) -> Log {
    let town = Arc::new(Town::wuzhen().unwrap());
    let (_, calm) = Script::BUILT_IN.iter().find(|(name, _)| *name == "calm").unwrap();
    let script = Script::parse(&format!("{calm}\n{events}"), &town).unwrap();
    let mut world = World::new(town, script, &Start { seed: 5, speed: 1.0, now_ms: START_MS });
    let mut log = Log::new();
    for minute in 1..=hours * 60 {
        for effect in world.advance(START_MS + minute * 60_000) {
            if let Effect::Publish { device, payload } = effect {
                let id = world.town.devices[device].id.clone();
                log.entry(id).or_default().push((minute, payload));
            }
        }
        look(minute, &mut world);
    }
    log
}

#[test]
fn a_spike_is_one_message_and_a_drift_goes_on_until_it_is_repaired() {
    let events = r#"
        [[event]]
        at_s = 600
        do.spikes = { device = "cl-001", by = 1.5, every = 4 }
        [[event]]
        at_s = 600
        do.drift = { device = "cl-008", per_h = 0.5 }
    "#;
    let log = day(events, 4, |minute, world| {
        if minute == 130 {
            let drifting = world.town.device_index("cl-008").unwrap();
            assert!(world.repair(drifting).is_empty());
            let on: Vec<usize> = world.goes_on().map(|(event, ..)| event).collect();
            assert_eq!(on, [0], "the spikes go on");
        }
    });
    let spiky = numbers(&log, "cl-001", "/level_m");
    let high = spiky.iter().filter(|(_, level)| *level > 2.0).count();
    assert!((56..=58).contains(&high), "one in four of 230 minutes: {high}");
    assert!(spiky.windows(2).all(|pair| pair[0].1 < 2.0 || pair[1].1 < 2.0), "never two");
    let drifting = numbers(&log, "cl-008", "/level_m");
    let at = |minute| drifting.iter().find(|(at, _)| *at >= minute).unwrap().1;
    assert!((at(129) - at(9) - 1.0).abs() < 0.05, "two hours: {} {}", at(9), at(129));
    assert!((at(132) - at(9)).abs() < 0.05, "calibrated: {}", at(132));
}

#[test]
fn an_abandoned_car_stays_and_every_other_car_is_gone_within_a_day() {
    let event = "[[event]]\nat_s = 60\ndo.abandoned = { device = \"pb-042\" }";
    let log = day(event, 50, |_, _| {});
    let longest = |id: &str| {
        let mut since = None;
        let mut longest = 0;
        for (minute, occupied) in numbers(&log, id, "/occ") {
            since = if occupied == 1.0 { since.or(Some(minute)) } else { None };
            longest = longest.max(since.map_or(0, |since| minute - since));
        }
        longest
    };
    assert!(longest("pb-042") > 46 * 60, "{}", longest("pb-042"));
    for bay in (1..=400).filter(|bay| *bay != 42) {
        let id = format!("pb-{bay:03}");
        assert!(longest(&id) < 24 * 60, "{id}: {} minutes", longest(&id));
    }
}
