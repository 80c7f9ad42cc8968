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
