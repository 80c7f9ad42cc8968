//! One device, one message after the other, and what the hub believes of each.

use std::time::Duration;

use super::*;
use crate::model::{AssetKind, Label, Severity};
use crate::profile::{ModbusSource, Point, Read, Source, Staleness, State};

const T0: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(T0 + seconds)
}

fn point() -> Point {
    Point {
        name: "level".parse().expect("a metric name"),
        label: Label::same("level"),
        unit: "m".to_owned(),
        read: Read::Json("/level".to_owned()),
        scale: 0.001,
        offset: 0.0,
        range: Some((0.0, 6.0)),
        deadband: None,
        max_rate: None,
        flatline: None,
        sentinels: vec![65_535.0],
        states: None,
        alerts: Vec::new(),
    }
}

fn profile(point: Point) -> Profile {
    let modbus = ModbusSource {
        max_registers: 60,
        max_gap: 8,
        timeout: Duration::from_millis(800),
        min_request_gap: Duration::ZERO,
        poll: [].into(),
    };
    Profile {
        id: "p".parse().expect("a profile id"),
        name: Label::same("p"),
        manufacturer: "m".to_owned(),
        model: "m".to_owned(),
        kind: AssetKind::Manhole,
        source: Source::Modbus(modbus),
        staleness: Staleness {
            expect_every: None,
            stale_after: Duration::from_secs(600),
            dead_after: Duration::from_secs(3600),
            severity: Severity::Minor,
        },
        points: vec![point],
        headline: PointIndex(0),
        commands: vec![],
        logic: Default::default(),
    }
}

/// One message: the device's time and the hub's, in seconds after T0, and the raw value.
type Message = (Option<i64>, i64, f64);

/// Sends the messages and returns, for each, the reading that was handed on: its time after T0 in microseconds, its
/// value and its quality.
fn run(point: Point, messages: &[Message]) -> Vec<Option<(i64, f64, Quality)>> {
    let profile = profile(point);
    let mut track = Track::new(&profile);
    messages
        .iter()
        .map(|&(device_time, received, raw)| {
            let time = device_time.map_or(DeviceTime::Unsaid, |time| DeviceTime::At(at(time)));
            let readings = [Reading { point: PointIndex(0), raw, comm_fault: false }];
            let series = [SeriesId(7)];
            let mut out = Vec::new();
            normalize(&profile, &mut track, &series, time, &readings, at(received), &mut out);
            out.first().map(|m| (m.observed_at.as_micros() - T0 * 1_000_000, m.value, m.quality))
        })
        .collect()
}

fn check(point: Point, messages: &[Message], expected: &[Option<Quality>]) {
    let qualities: Vec<_> =
        run(point, messages).into_iter().map(|r| r.map(|(_, _, q)| q)).collect();
    assert_eq!(qualities, expected);
}

#[test]
fn a_scaled_value_is_the_decimal_that_the_device_meant() {
    for raw in 0..6_000 {
        let got = run(point(), &[(None, 0, f64::from(raw))])[0].expect("handed on").1;
        let meant: f64 = format!("{}.{:03}", raw / 1000, raw % 1000).parse().expect("a number");
        assert_eq!(got.to_bits(), meant.to_bits());
    }
    let odd = Point { scale: 0.3, offset: 1.0, ..point() };
    assert_eq!(run(odd, &[(None, 0, 2.0)])[0].expect("handed on").1, 2.0 * 0.3 + 1.0);
}

#[test]
fn an_implausible_value_is_bad_and_says_why() {
    let bad = |reason| Some(Quality::bad(reason));
    check(
        point(),
        &[
            (None, 0, 6_001.0),
            (None, 1, -1.0),
            (None, 2, 65_535.0),
            (None, 3, f64::NAN),
            (None, 4, 6_000.0),
        ],
        &[
            bad(Reason::Range),
            bad(Reason::Range),
            bad(Reason::Sentinel),
            bad(Reason::Sentinel),
            Some(Quality::GOOD),
        ],
    );
    let states = vec![State { code: 0.0, name: "closed".to_owned(), label: Label::same("closed") }];
    let cover = Point { scale: 1.0, range: None, states: Some(states), ..point() };
    check(cover, &[(None, 0, 0.0), (None, 1, 3.0)], &[Some(Quality::GOOD), bad(Reason::State)]);
}

#[test]
fn the_same_reading_twice_is_one_reading() {
    check(point(), &[(Some(0), 1, 5.0), (Some(0), 2, 5.0)], &[Some(Quality::GOOD), None]);
}

#[test]
fn a_message_without_a_time_is_never_a_duplicate() {
    let times: Vec<_> = run(point(), &[(None, 0, 5.0), (None, 0, 5.0), (None, 0, 5.0)])
        .into_iter()
        .map(|r| r.expect("handed on").0)
        .collect();
    assert_eq!(times, [0, 1, 2]);
}

#[test]
fn a_reading_out_of_order_or_long_delayed_is_history() {
    check(
        point(),
        &[
            (Some(100), 100, 5.0),
            (Some(50), 101, 5.0),
            (Some(110), 110, 5.0),
            (Some(120), 721, 5.0),
        ],
        &[Some(Quality::GOOD), Some(Quality::LATE), Some(Quality::GOOD), Some(Quality::LATE)],
    );
}

#[test]
fn a_wrong_clock_gets_the_hubs_time_and_a_doubt() {
    let doubt = Some(Quality::uncertain(Reason::Clock));
    let messages = [(Some(3_600), 0, 5.0), (Some(-T0), 1, 5.0), (Some(119), 2, 5.0)];
    check(point(), &messages, &[doubt, doubt, Some(Quality::GOOD)]);
    let observed = run(point(), &messages)[0].expect("handed on").0;
    assert_eq!(observed, 0, "the hub's time stands in");
}

#[test]
fn a_spike_marks_itself_and_not_its_neighbours() {
    let fast = Point { max_rate: Some(0.01), ..point() };
    check(
        fast,
        &[(None, 0, 1_000.0), (None, 10, 3_000.0), (None, 20, 1_050.0)],
        &[Some(Quality::GOOD), Some(Quality::uncertain(Reason::Rate)), Some(Quality::GOOD)],
    );
}

#[test]
fn a_flat_line_is_doubted_until_it_moves() {
    let flat = Point { flatline: Some(Duration::from_secs(60)), ..point() };
    check(
        flat,
        &[(None, 0, 1.0), (None, 60, 1.0), (None, 61, 1.0), (None, 62, 2.0)],
        &[
            Some(Quality::GOOD),
            Some(Quality::GOOD),
            Some(Quality::uncertain(Reason::Frozen)),
            Some(Quality::GOOD),
        ],
    );
}

#[test]
fn a_seeded_track_knows_an_old_reading_for_what_it_is() {
    let profile = profile(point());
    let mut track = Track::new(&profile);
    let newest =
        Sample { observed_at: at(100), received_at: at(100), value: 1.0, quality: Quality::GOOD };
    track.seed(PointIndex(0), &newest);
    track.seed(PointIndex(9), &newest);
    let time = DeviceTime::At(at(90));
    let readings = [Reading { point: PointIndex(0), raw: 1.0, comm_fault: false }];
    let (series, mut out) = ([SeriesId(0)], Vec::new());
    let tally = normalize(&profile, &mut track, &series, time, &readings, at(101), &mut out);
    assert_eq!((tally.late, out[0].quality), (1, Quality::LATE));
}

#[test]
fn a_time_that_cannot_be_read_is_a_doubt_and_no_loss() {
    let profile = profile(point());
    let mut track = Track::new(&profile);
    let readings = [Reading { point: PointIndex(0), raw: 5.0, comm_fault: false }];
    let (series, mut out) = ([SeriesId(0)], Vec::new());
    let time = DeviceTime::Unreadable;
    normalize(&profile, &mut track, &series, time, &readings, at(7), &mut out);
    assert_eq!((out[0].observed_at, out[0].quality), (at(7), Quality::uncertain(Reason::Clock)));
}

#[test]
fn history_is_late_and_a_time_relative_to_now_is_not() {
    let profile = profile(point());
    let mut track = Track::new(&profile);
    let readings = [Reading { point: PointIndex(0), raw: 5.0, comm_fault: false }];
    let (series, mut out) = ([SeriesId(0)], Vec::new());
    for time in
        [DeviceTime::History(at(6)), DeviceTime::Relative(500_000), DeviceTime::Relative(i64::MAX)]
    {
        normalize(&profile, &mut track, &series, time, &readings, at(7), &mut out);
    }
    let found: Vec<_> = out.iter().map(|m| (m.observed_at.as_micros(), m.quality)).collect();
    let later = |micros: i64| at(7).as_micros() + micros;
    let doubt = Quality::uncertain(Reason::Clock);
    let expected = [
        (at(6).as_micros(), Quality::LATE),
        (later(500_000), Quality::GOOD),
        (later(500_001), doubt),
    ];
    assert_eq!(found, expected);
}

/// A gate with levels on both sides, what is computed from them, and a rule for a weak battery.
const GATE: &str = r#"
profile = 1
id = "p"
name = "p"
manufacturer = "m"
model = "m"
kind = "sluice-gate"
source.mqtt.payload = "json"
staleness.stale_after = "10min"
[points.level_up]
label = "Up"
unit = "m"
read = { path = "/up" }
range = [0, 10]
[points.steep]
label = "Head beyond 2 m"
expr = "head > 2"
states = { 0 = "no", 1 = "yes" }
[points.level_down]
label = "Down"
unit = "mm"
read = { path = "/down" }
range = [0, 10000]
max_rate = 100
[points.head]
label = "Head"
unit = "m"
expr = "level_up - level_down"
range = [-3, 3]
[points.battery]
label = "Battery"
unit = "V"
read = { path = "/bat" }
[points.share]
label = "Share"
unit = "1"
expr = "level_down / level_up"
[[quality]]
when = "battery < 2.8"
mark = ["level_down"]
as = "uncertain"
why = "Battery too low"
[[quality]]
when = "head < -2"
mark = ["level_up"]
as = "bad"
why = "Water does not stand so"
"#;

/// The points of [`GATE`] by number.
const UP: u16 = 0;
const DOWN: u16 = 2;
const BATTERY: u16 = 4;

fn gate() -> Profile {
    let shown = |errors: Vec<crate::profile::ProfileError>| errors[0].to_string();
    crate::profile::read_text("p.toml", GATE).map_err(shown).expect("a profile").profile
}

/// One device of the profile [`GATE`], report by report.
struct Gate {
    profile: Profile,
    track: Track,
}

impl Gate {
    fn new() -> Self {
        let profile = gate();
        Gate { track: Track::new(&profile), profile }
    }

    /// Takes in a report of `time`, received at `received`; returns what was measured as `name value quality`.
    fn report(&mut self, time: i64, received: i64, readings: &[(u16, f64)]) -> Vec<String> {
        let readings: Vec<_> = readings
            .iter()
            .map(|&(point, raw)| Reading { point: PointIndex(point), raw, comm_fault: false })
            .collect();
        let series: Vec<_> = (10..16).map(SeriesId).collect();
        let mut out = Vec::new();
        let time = DeviceTime::At(at(time));
        let (track, received) = (&mut self.track, at(received));
        let tally = normalize(&self.profile, track, &series, time, &readings, received, &mut out);
        assert_eq!(tally.measured as usize, out.len());
        let count = |grade| out.iter().filter(|m| m.quality.grade == grade).count() as u32;
        use crate::model::Grade;
        assert_eq!((tally.bad, tally.uncertain), (count(Grade::Bad), count(Grade::Uncertain)));
        out.iter()
            .map(|m| {
                let point = &self.profile.points[m.series.index() - 10];
                let reason = m.quality.reason.map_or(String::new(), |r| format!(" {}", r.as_str()));
                format!("{} {} {}{reason}", point.name, m.value, m.quality.grade)
            })
            .collect()
    }
}

#[test]
fn a_derived_point_comes_when_any_of_its_inputs_does() {
    let mut gate = Gate::new();
    assert_eq!(gate.report(0, 0, &[(UP, 3.5)]), ["level_up 3.5 good"], "nothing is guessed");
    let expected = ["level_down 1400 good", "head 2.1 good", "share 0.4 good", "steep 1 good"];
    assert_eq!(gate.report(1, 1, &[(DOWN, 1400.0)]), expected, "the other level is known");
    let expected = ["level_up 2.8 good", "head 1.4 good", "share 0.5 good", "steep 0 good"];
    assert_eq!(gate.report(2, 2, &[(UP, 2.8)]), expected);
    assert_eq!(gate.report(3, 3, &[(BATTERY, 3.6)]), ["battery 3.6 good"], "of no use to them");
    assert!(gate.report(2, 4, &[(UP, 2.8)]).is_empty(), "a repetition computes nothing");
}

#[test]
fn a_derived_point_is_trusted_as_far_as_its_inputs() {
    let mut gate = Gate::new();
    let expected = ["level_up 11 bad range", "level_down 1000 good"];
    let found = gate.report(0, 0, &[(UP, 11.0), (DOWN, 1000.0)]);
    assert_eq!(found[..2], expected);
    assert_eq!((found[2].as_str(), found[4].as_str()), ("head 10 bad range", "steep 1 bad range"));
    // Older than ten minutes: the level below may have changed.
    let found = gate.report(601, 601, &[(UP, 2.0)]);
    let stale = ["head 1 uncertain stale", "share 0.5 uncertain stale", "steep 0 uncertain stale"];
    assert_eq!(found[1..], stale);
    // Its own range counts too, and what cannot be computed is no number.
    let found = gate.report(700, 700, &[(UP, 9.0), (DOWN, 0.0)]);
    assert_eq!(found[2..], ["head 9 bad range", "share 0 good", "steep 1 bad range"]);
    let found = gate.report(800, 800, &[(UP, 0.0)]);
    assert_eq!(found[1..], ["head 0 good", "share NaN bad computed", "steep 0 good"]);
}

#[test]
fn a_late_report_is_computed_from_itself_alone() {
    let mut gate = Gate::new();
    gate.report(100, 100, &[(UP, 3.0), (DOWN, 1000.0)]);
    assert_eq!(gate.report(50, 101, &[(UP, 2.0)]), ["level_up 2 good late"]);
    let found = gate.report(60, 102, &[(UP, 2.0), (DOWN, 500.0)]);
    let expected = ["level_up 2 good late", "level_down 500 good late", "head 1.5 good late"];
    assert_eq!(found[..3], expected);
    // What came late is not the present.
    assert_eq!(gate.report(110, 110, &[(UP, 4.0)])[1], "head 3 good");
    // Long delayed, though newer than all else.
    assert_eq!(gate.report(120, 900, &[(UP, 2.0)]), ["level_up 2 good late"]);
}

#[test]
fn a_rule_marks_until_its_condition_is_gone() {
    let mut gate = Gate::new();
    let found = gate.report(0, 0, &[(UP, 3.0), (DOWN, 1000.0), (BATTERY, 2.7)]);
    let doubt = ["level_down 1000 uncertain rule", "battery 2.7 good", "head 2 uncertain rule"];
    assert_eq!(found[1..4], doubt, "what is computed from it inherits the doubt");
    assert_eq!(gate.report(10, 10, &[(DOWN, 1001.0)])[0], "level_down 1001 uncertain rule");
    gate.report(20, 20, &[(BATTERY, 3.6)]);
    // From a value that is not to be trusted no change is measured either.
    let found = gate.report(21, 21, &[(DOWN, 2000.0)]);
    assert_eq!(found[..2], ["level_down 2000 good", "head 1 good"]);
    // A battery that was not heard of is no reason.
    let mut other = Gate::new();
    assert_eq!(other.report(0, 0, &[(DOWN, 1000.0)]), ["level_down 1000 good"]);
    // A Bad condition is none.
    other.report(1, 1, &[(BATTERY, f64::NAN)]);
    assert_eq!(other.report(2, 2, &[(DOWN, 1000.0)])[0], "level_down 1000 good");
}

#[test]
fn a_rule_over_derived_points_marks_what_they_came_from_and_all_that_follows() {
    let mut gate = Gate::new();
    let found = gate.report(0, 0, &[(UP, 1.0), (DOWN, 3500.0)]);
    let expected = [
        "level_up 1 bad rule",
        "level_down 3500 good",
        "head -2.5 bad rule",
        "share 3.5 bad rule",
        "steep 0 bad rule",
    ];
    assert_eq!(found, expected);
    // It is remembered as Bad, and is as long as the condition holds.
    assert_eq!(gate.report(1, 1, &[(DOWN, 3501.0)])[1], "head -2.501 bad rule");
}

#[test]
fn a_seeded_track_computes_with_what_the_store_knows() {
    let mut gate = Gate::new();
    let newest =
        Sample { observed_at: at(100), received_at: at(100), value: 3.0, quality: Quality::GOOD };
    gate.track.seed(PointIndex(UP), &newest);
    assert_eq!(gate.report(110, 110, &[(DOWN, 1000.0)])[1], "head 2 good");
}
