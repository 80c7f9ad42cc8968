//! The store against a model, through crashes, damage and reopening.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::keeper::{Keeper, Step};
use super::shared::{Shared, lock};
use super::{EmbeddedStore, Limits};
use crate::model::{Grade, Measurement, Quality, Reason, Sample, SeriesId, Timestamp};
use crate::store::{Bucket, CommitSeq, Cutoffs, Nature, SeriesKey, Store, StoreError, Tier};

/// Measurements of few series and times, so that they collide, with values of every kind.
pub(in crate::store) fn any_measurement() -> impl Strategy<Value = Measurement> {
    let series = 0..6_u32;
    let base = 1_790_000_000_000_000_i64;
    let observed = prop_oneof![
        8 => (0..500_i64).prop_map(move |n| base + n * 60_000_000),
        2 => (0..500_i64).prop_map(move |n| base + n * 60_000_000 + n % 7 * 1_000),
        1 => any::<i64>(),
    ];
    let lag = prop_oneof![8 => 0..3_000_000_i64, 1 => -5_000_000..10_000_000_000_000_i64];
    let value = prop_oneof![
        8 => (-5000..5000_i64).prop_map(|n| n as f64 / 1000.0),
        2 => (0..3_i64).prop_map(|n| n as f64),
        1 => any::<u64>().prop_map(f64::from_bits),
    ];
    let quality = prop_oneof![
        6 => Just(Quality::GOOD),
        1 => Just(Quality::LATE),
        1 => Just(Quality::uncertain(Reason::Rate)),
        1 => Just(Quality { grade: Grade::Bad, reason: Some(Reason::Sentinel) }),
    ];
    (series, observed, lag, value, quality).prop_map(|(series, observed, lag, value, quality)| {
        Measurement {
            series: SeriesId(series),
            quality,
            observed_at: Timestamp::from_micros(observed),
            received_at: Timestamp::from_micros(observed.saturating_add(lag)),
            value,
        }
    })
}

/// Comparable although NaN is not.
pub(super) fn bits(readings: &[Measurement]) -> Vec<(u32, u8, i64, i64, u64)> {
    let bits = |m: &Measurement| {
        let times = (m.observed_at.as_micros(), m.received_at.as_micros());
        (m.series.0, m.quality.to_byte(), times.0, times.1, m.value.to_bits())
    };
    readings.iter().map(bits).collect()
}

const SERIES: u32 = 6;
const START: i64 = 1_790_000_000;
const BEGINNING: Timestamp = Timestamp::from_micros(i64::MIN);
const END: Timestamp = Timestamp::from_micros(i64::MAX);

/// So small that a few batches are sealed and a few seals are merged.
const SMALL: Limits = Limits { seal_at: 30, max_hot: 1_000_000, max_age: Duration::MAX };

fn keys(count: u32) -> Vec<SeriesKey> {
    let key = |n: u32| SeriesKey {
        device: format!("dev-{n}").parse().unwrap(),
        metric: "level".parse().unwrap(),
    };
    (0..count).map(key).collect()
}

/// The reading of a series at a number of minutes, arrived half a second later.
fn reading(series: u32, minute: i64, value: f64) -> Measurement {
    let observed_at = Timestamp::from_secs(START + minute * 60);
    Measurement {
        series: SeriesId(series),
        quality: Quality::GOOD,
        observed_at,
        received_at: observed_at.plus(Duration::from_millis(500)),
        value,
    }
}

fn file_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("readings.db")
}

/// A store whose keeper moves only when told to.
struct Stepped {
    dir: tempfile::TempDir,
    store: EmbeddedStore,
    keeper: Keeper,
}

impl Stepped {
    fn new() -> Self {
        let stepped = Self::open(tempfile::tempdir().unwrap());
        stepped.store.series(&keys(SERIES)).unwrap();
        stepped
    }

    fn open(dir: tempfile::TempDir) -> Self {
        let shared = Arc::new(Shared::open(&file_in(&dir), SMALL).unwrap());
        let keeper = Keeper::new(Arc::clone(&shared)).unwrap();
        Stepped { dir, store: EmbeddedStore::of(shared, None), keeper }
    }

    fn reopen(self) -> Self {
        let Stepped { dir, store, keeper } = self;
        drop((store, keeper));
        Self::open(dir)
    }

    /// Goes on with a copy of the files as they are at this moment, which is what a power cut leaves.
    fn crash(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["readings.db", "readings.db-wal"] {
            std::fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        Self::open(copy)
    }

    fn release_all(&self) {
        self.store.release(self.store.stats().unwrap().last_commit);
    }

    fn step(&mut self) -> Step {
        self.keeper.step().unwrap()
    }

    fn until_idle(&mut self) {
        while self.step() == Step::Worked {}
    }
}

/// What the store must show.
#[derive(Default)]
struct Model {
    readings: BTreeMap<(u32, Timestamp), Measurement>,
    commits: Vec<Vec<Measurement>>,
    released: usize,
}

impl Model {
    fn append(&mut self, batch: &[Measurement]) {
        for m in batch {
            self.readings.entry((m.series.0, m.observed_at)).or_insert(*m);
        }
        self.commits.push(batch.to_vec());
    }

    fn range(&self, series: u32, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let range = self.readings.range((series, from)..(series, to));
        range.map(|(_, m)| Sample::from(*m)).collect()
    }

    fn check(&self, store: &EmbeddedStore, from: Timestamp, to: Timestamp) {
        for series in 0..SERIES {
            let found = store.range(SeriesId(series), from, to, usize::MAX).unwrap();
            let expected = self.range(series, from, to);
            assert_same(&found, &expected);
            let some = store.range(SeriesId(series), from, to, 3).unwrap();
            assert_same(&some, &expected[..expected.len().min(3)]);
        }
        let mut newest: BTreeMap<u32, Sample> = BTreeMap::new();
        for ((series, _), m) in &self.readings {
            newest.insert(*series, Sample::from(*m));
        }
        let latest = store.latest().unwrap();
        assert_eq!(latest.len(), newest.len());
        for (series, sample) in latest {
            assert_same(&[sample], &[newest[&series.0]]);
        }
    }

    /// Commits that are not released are replayed, whole and in order; released ones perhaps.
    fn check_replay(&self, store: &EmbeddedStore) {
        let mut next = None;
        let mut each = |seq: CommitSeq, batch: &[Measurement]| {
            assert!(next.is_none_or(|next| next == seq.0), "a commit is missing before {seq:?}");
            next = Some(seq.0 + 1);
            assert_eq!(bits(batch), bits(&self.commits[seq.0 as usize - 1]));
            ControlFlow::Continue(())
        };
        store.replay(CommitSeq(0), &mut each).unwrap();
        let end = self.commits.len() as u64 + 1;
        assert!(next == Some(end) || (next.is_none() && self.released + 1 >= end as usize));
        assert_eq!(store.stats().unwrap().last_commit.0 + 1, end);
    }
}

/// The same but for the arrival, of which a sealed reading keeps the whole seconds of its lag.
fn assert_same(found: &[Sample], expected: &[Sample]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.observed_at, expected.observed_at);
        assert_eq!(found.value.to_bits(), expected.value.to_bits());
        assert_eq!(found.quality, expected.quality);
        let lost = expected.received_at.as_micros() - found.received_at.as_micros();
        assert!((0..1_000_000).contains(&lost), "{found:?} {expected:?}");
    }
}

#[derive(Debug, Clone)]
enum Move {
    Append(Vec<Measurement>),
    Release,
    Step,
    UntilIdle,
    Reopen,
    Crash,
    Look(i64, i64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => prop::collection::vec(any_measurement(), 1..60).prop_map(Move::Append),
        3 => Just(Move::Release),
        6 => Just(Move::Step),
        2 => Just(Move::UntilIdle),
        1 => Just(Move::Reopen),
        2 => Just(Move::Crash),
        2 => (0..500_i64, 0..200_i64).prop_map(|(from, length)| Move::Look(from, length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_shows_what_was_appended_whatever_happens(moves in prop::collection::vec(any_move(), 1..70)) {
        let mut stepped = Stepped::new();
        let mut model = Model::default();
        for next in moves {
            match next {
                Move::Append(batch) => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    stepped.store.append(&[first, second]).unwrap();
                    model.append(&batch);
                }
                Move::Release => {
                    stepped.release_all();
                    model.released = model.commits.len();
                }
                Move::Step => drop(stepped.step()),
                Move::UntilIdle => stepped.until_idle(),
                Move::Reopen => stepped = stepped.reopen(),
                Move::Crash => stepped = stepped.crash(),
                Move::Look(from, length) => {
                    let from = Timestamp::from_secs(START + from * 60);
                    model.check(&stepped.store, from, from.plus(Duration::from_secs(length as u64 * 60)));
                }
            }
        }
        model.check_replay(&stepped.store);
        model.check(&stepped.store, BEGINNING, END);
        stepped.release_all();
        stepped.until_idle();
        model.check(&stepped.store, BEGINNING, END);
    }

    #[test]
    fn an_aggregate_is_what_one_would_count_by_hand(
        batch in prop::collection::vec(any_measurement(), 1..200),
        from in 0..500_i64,
        minutes in 1..90_u64,
    ) {
        let mut stepped = Stepped::new();
        let (sealed, hot) = batch.split_at(batch.len() / 2);
        stepped.store.append(&[sealed]).unwrap();
        stepped.release_all();
        stepped.until_idle();
        stepped.store.append(&[hot]).unwrap();
        let from = Timestamp::from_secs(START + from * 60);
        let to = from.plus(Duration::from_secs(86_400));
        let step = Duration::from_secs(minutes * 60);
        let samples = stepped.store.range(SeriesId(1), from, to, usize::MAX).unwrap();
        let found = stepped.store.aggregate(SeriesId(1), from, to, step).unwrap().buckets;
        prop_assert_eq!(format!("{found:?}"), format!("{:?}", by_hand(&samples, from, step)));
    }
}

fn by_hand(samples: &[Sample], from: Timestamp, step: Duration) -> Vec<Bucket> {
    let number = |s: &Sample| s.observed_at.since(from).as_micros() / step.as_micros();
    let bucket = |all: &[Sample]| {
        let counts = |s: &&Sample| s.quality.grade != Grade::Bad && !s.value.is_nan();
        let values: Vec<f64> = all.iter().filter(counts).map(|s| s.value).collect();
        let best = |better: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, better);
        let good = all.iter().filter(|s| s.quality.grade == Grade::Good).count();
        Bucket {
            start: from.plus(step * u32::try_from(number(&all[0])).unwrap()),
            count: values.len() as u64,
            mean: values.iter().fold(0.0, |sum, value| sum + value) / values.len() as f64,
            min: best(f64::min),
            max: best(f64::max),
            last: values.last().copied().unwrap_or(f64::NAN),
            good_share: good as f64 / all.len() as f64,
            time_mean: f64::NAN,
            occupied_share: f64::NAN,
        }
    };
    samples.chunk_by(|a, b| number(a) == number(b)).map(bucket).collect()
}

/// Rows of minutes are kept although the readings are as few.
const NATURE: Nature =
    Nature { hold: Duration::from_secs(40 * 60), occupied: Some(1.0), class: 0, minutes: true };

impl Stepped {
    /// Seals and rolls up everything that there is.
    fn settle(&mut self) {
        self.release_all();
        lock(&self.store.shared.status).head_is_due = true;
        self.until_idle();
        self.roll_up();
    }

    /// Rolls up what is sealed, whether its day is over or not.
    fn roll_up(&mut self) {
        lock(&self.store.shared.status).roll_before = Some(i64::MAX);
        self.until_idle();
    }
}

impl Model {
    /// The steps as one would count them from the readings, with no thought of speed.
    fn steps(&self, series: u32, from: Timestamp, to: Timestamp, step: i64) -> Vec<Bucket> {
        let samples = self.range(series, from.minus(NATURE.hold), to);
        let own: Vec<Sample> = samples.iter().filter(|s| s.observed_at >= from).copied().collect();
        let mut buckets = by_hand(&own, from, Duration::from_micros(step as u64));
        for bucket in &mut buckets {
            let start = bucket.start.as_micros();
            let end = start.saturating_add(step).min(to.as_micros());
            let (mut held, mut area, mut occupied) = (0, 0.0, 0);
            for (at, sample) in samples.iter().enumerate() {
                let time = sample.observed_at.as_micros();
                let next = samples.get(at + 1).map_or(i64::MAX, |s| s.observed_at.as_micros());
                let until = time.saturating_add(NATURE.hold.as_micros() as i64).min(next);
                let micros = until.min(end).saturating_sub(time.max(start));
                if micros > 0 && sample.quality.grade != Grade::Bad && !sample.value.is_nan() {
                    held += micros;
                    area += sample.value * micros as f64;
                    occupied += if sample.value == 1.0 { micros } else { 0 };
                }
            }
            if held > 0 {
                bucket.time_mean = area / held as f64;
                bucket.occupied_share = occupied as f64 / held as f64;
            }
        }
        buckets
    }

    fn check_steps(&self, store: &EmbeddedStore, from: Timestamp, to: Timestamp) {
        for series in 0..SERIES {
            for (step, tier) in
                [(1, Tier::Minute), (7, Tier::Minute), (180, Tier::Hour), (2 * 1_440, Tier::Day)]
            {
                let step = step * 60_000_000_i64;
                let width = Duration::from_micros(step as u64);
                let from = from.as_micros() - from.as_micros().rem_euclid(tier.width());
                let from = Timestamp::from_micros(from);
                let found = store.aggregate(SeriesId(series), from, to, width).unwrap();
                assert!(found.tier.is_none_or(|found| found == tier));
                let expected = self.steps(series, from, to, step);
                assert_eq!(found.buckets.len(), expected.len());
                for (found, expected) in found.buckets.iter().zip(&expected) {
                    assert_alike(found, expected);
                }
            }
        }
    }
}

/// The same but for the order in which numbers were added, and the rounding of a time-weighted mean.
fn assert_alike(found: &Bucket, expected: &Bucket) {
    let exact = |b: &Bucket| format!("{:?}", Bucket { mean: 0.0, time_mean: 0.0, ..*b });
    assert_eq!(exact(found), exact(expected));
    let pairs = [(found.mean, expected.mean, 1e-9), (found.time_mean, expected.time_mean, 6e-4)];
    for (a, b, noise) in pairs {
        // A value that holds from an earlier window may be larger than all in this one.
        let size = 1.0 + expected.min.abs().max(expected.max.abs()).max(b.abs());
        let is_near = (a - b).abs() <= noise * size || (a.is_nan() && b.is_nan());
        assert!(is_near, "{found:?} {expected:?}");
    }
}

/// Over three days, so that windows of every tier begin and end, and with no value so large that the order in which
/// numbers are added matters.
fn spread(mut m: Measurement) -> Measurement {
    if m.value.abs() > 1e6 {
        m.value = 0.5;
    }
    let since = m.observed_at.as_micros().wrapping_sub(START * 1_000_000);
    if (0..500 * 60_000_000).contains(&since) {
        m.observed_at = Timestamp::from_micros(START * 1_000_000 + since * 9);
    }
    m
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rollups_are_what_the_readings_say_whatever_happens(moves in prop::collection::vec(any_move(), 1..50)) {
        let mut stepped = Stepped::new();
        let nature = |n| Nature { minutes: n % 2 == 0, ..NATURE };
        let all: Vec<_> = (0..SERIES).map(|n| (SeriesId(n), nature(n))).collect();
        stepped.store.describe(&all).unwrap();
        let mut model = Model::default();
        for next in moves {
            match next {
                Move::Append(batch) => {
                    let batch: Vec<_> = batch.into_iter().map(spread).collect();
                    stepped.store.append(&[&batch]).unwrap();
                    model.append(&batch);
                }
                Move::Release => stepped.release_all(),
                Move::Step => drop(stepped.step()),
                Move::UntilIdle => stepped.roll_up(),
                Move::Reopen => stepped = stepped.reopen(),
                Move::Crash => stepped = stepped.crash(),
                Move::Look(from, length) => {
                    let from = Timestamp::from_secs(START + from * 60 * 9);
                    let to = from.plus(Duration::from_secs(length as u64 * 60 * 9 + 1));
                    model.check_steps(&stepped.store, from, to);
                }
            }
        }
        let (from, to) = (Timestamp::from_secs(START), Timestamp::from_secs(START + 90 * 3_600));
        model.check_steps(&stepped.store, from, to);
        stepped.settle();
        model.check_steps(&stepped.store, from, to);
        // Now all of it comes from rows.
        let to = Timestamp::from_micros(from.as_micros().div_euclid(super::rollup::DAY) * super::rollup::DAY + 4 * super::rollup::DAY);
        let from = to.minus(Duration::from_secs(4 * 86_400));
        let day = Duration::from_secs(86_400);
        prop_assert_eq!(stepped.store.aggregate(SeriesId(1), from, to, day).unwrap().tier, Some(Tier::Day));
        model.check_steps(&stepped.store, from, to);
    }
}

#[test]
fn rollups_outlive_their_readings() {
    let mut stepped = Stepped::new();
    stepped.store.describe(&[(SeriesId(0), NATURE)]).unwrap();
    let readings: Vec<_> =
        (0..6 * 1_440 / 10).map(|n| reading(0, n * 10, (n % 5) as f64)).collect();
    let mut model = Model::default();
    stepped.store.append(&[&readings]).unwrap();
    model.append(&readings);
    stepped.settle();
    let (from, to) = (Timestamp::from_secs(START), Timestamp::from_secs(START + 5 * 86_400));
    let cutoff = from.plus(Duration::from_secs(7 * 86_400));
    assert_eq!(stepped.store.delete_before(cutoff).unwrap(), readings.len() as u64);
    stepped = stepped.reopen();
    assert_eq!(stepped.store.range(SeriesId(0), from, to, 9).unwrap(), []);
    // A straggler of such a day is kept, and changes nothing.
    stepped.store.append(&[&[reading(0, 5, 99.0)]]).unwrap();
    stepped.settle();
    let hours = |end| (from.as_micros() / 3_600_000_000 + end) * 3_600_000_000;
    let (from, to) = (Timestamp::from_micros(hours(1)), Timestamp::from_micros(hours(100)));
    model.check_steps(&stepped.store, from, to);
    assert_eq!(stepped.store.range(SeriesId(0), BEGINNING, END, 9).unwrap().len(), 1);
}

#[test]
fn a_day_is_rolled_up_when_it_is_over_and_again_when_more_of_it_comes() {
    let mut stepped = Stepped::new();
    stepped.store.describe(&[(SeriesId(0), NATURE)]).unwrap();
    let rolled = |stepped: &Stepped, day: i64| {
        let sql = "SELECT count(*) FROM rollup WHERE tier = 0 AND chunk = ?1";
        let conn = Connection::open(file_in(&stepped.dir)).unwrap();
        conn.query_row(sql, [day], |row| row.get::<_, i64>(0)).unwrap()
    };
    let mut model = Model::default();
    let first = START / 86_400;
    let mut append =
        |stepped: &mut Stepped, hours: std::ops::Range<i64>, late: Option<Measurement>| {
            let mut batch: Vec<_> = hours.map(|hour| reading(0, hour * 60, hour as f64)).collect();
            batch.extend(late);
            stepped.store.append(&[&batch]).unwrap();
            model.append(&batch);
            stepped.release_all();
            lock(&stepped.store.shared.status).head_is_due = true;
            stepped.until_idle();
            let from = Timestamp::from_secs(first * 86_400);
            model.check_steps(&stepped.store, from, from.plus(Duration::from_secs(4 * 86_400)));
        };
    // 14:13 to 01:13: it is too early. Three hours later the first day is counted, and the second is not.
    append(&mut stepped, 0..12, None);
    assert_eq!((rolled(&stepped, first), rolled(&stepped, first + 1)), (0, 0));
    append(&mut stepped, 12..15, None);
    assert_eq!((rolled(&stepped, first), rolled(&stepped, first + 1)), (1, 0));
    // A latecomer of the first day, which arrives on the second, is seen at once and counted with it.
    let late =
        Measurement { received_at: reading(0, 16 * 60, 0.0).received_at, ..reading(0, 90, 7.0) };
    append(&mut stepped, 15..16, Some(late));
    append(&mut stepped, 16..40, None);
    assert_eq!((rolled(&stepped, first), rolled(&stepped, first + 1)), (1, 1));
    let (from, to) =
        (Timestamp::from_secs(first * 86_400), Timestamp::from_secs((first + 1) * 86_400));
    let day = stepped.store.aggregate(SeriesId(0), from, to, Duration::from_secs(86_400)).unwrap();
    assert_eq!((day.tier, day.buckets[0].count), (Some(Tier::Day), 11));
}

#[test]
fn minutes_of_a_series_that_reports_once_a_minute_are_counted_from_its_readings() {
    let mut stepped = Stepped::new();
    let nature = Nature { minutes: false, ..NATURE };
    stepped.store.describe(&[(SeriesId(0), nature), (SeriesId(1), nature)]).unwrap();
    let mut model = Model::default();
    let batch: Vec<_> =
        (0..2 * 1_440).map(|minute| reading(0, minute, (minute % 5) as f64)).collect();
    let tenths: Vec<_> = (0..2 * 8_640)
        .map(|n| {
            let at = reading(1, 0, 0.0).observed_at.plus(Duration::from_secs(10 * n));
            Measurement { observed_at: at, received_at: at, ..reading(1, 0, (n % 3) as f64) }
        })
        .collect();
    stepped.store.append(&[&batch, &tenths]).unwrap();
    model.append(&batch);
    model.append(&tenths);
    stepped.settle();
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    let minutes = "SELECT count(*), min(series) FROM rollup WHERE tier = 0";
    let found: (i64, i64) =
        conn.query_row(minutes, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    // Only the day that is whole has enough readings: 14 h of one every 10 s are not.
    assert_eq!(found, (1, 1));
    let from = Timestamp::from_secs(START - 6 * 3_600);
    model.check_steps(&stepped.store, from, from.plus(Duration::from_secs(3 * 86_400)));
    let stats = stepped.store.stats().unwrap();
    let sum = |tier: i64| {
        let sql = "SELECT sum(length(data)) FROM rollup WHERE tier = ?1";
        conn.query_row(sql, [tier], |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    let kept = (stats.minute_bytes, stats.hour_bytes, stats.day_bytes);
    assert_eq!(kept, (sum(0), sum(1), sum(2)));
    assert_eq!(stats.oldest_raw, Some(Timestamp::from_secs(START)));
}

#[test]
fn each_class_of_series_goes_in_its_own_time() {
    let mut stepped = Stepped::new();
    let class = |n: u32| Nature { class: (n % 3) as u8, ..NATURE };
    let all: Vec<_> = (0..SERIES).map(|n| (SeriesId(n), class(n))).collect();
    stepped.store.describe(&all).unwrap();
    let days = 80;
    for number in 0..days * 6 {
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, number * 240, number as f64)).collect();
        stepped.store.append(&[&batch]).unwrap();
        stepped.release_all();
        stepped.until_idle();
    }
    stepped.settle();
    let at = |day: i64| Some(Timestamp::from_secs((START / 86_400 + day) * 86_400));
    let none = Cutoffs::default();
    let cutoffs = [
        Cutoffs { raw: at(40), ..none },
        Cutoffs { raw: at(70), rollups: [at(70), None, None] },
        none,
    ];
    let forget = |stepped: &mut Stepped| {
        let mut readings = 0;
        loop {
            let step = stepped.store.forget(&cutoffs).unwrap();
            readings += step.readings;
            stepped.until_idle();
            if !step.waits && !step.more {
                return readings;
            }
        }
    };
    let oldest = |stepped: &Stepped, series| {
        let range = stepped.store.range(SeriesId(series), BEGINNING, END, 1).unwrap();
        range[0].observed_at
    };
    let before = stepped.store.stats().unwrap();
    let gone = forget(&mut stepped);
    let after = stepped.store.stats().unwrap();
    assert!(gone > 2 * 6 * (30 + 60) && after.sealed_readings == before.sealed_readings - gone);
    assert!(after.sealed_bytes < before.sealed_bytes);
    let start = Timestamp::from_secs(START);
    let day = Duration::from_secs(86_400);
    for series in 0..SERIES {
        // What must not go is there, and what is left of the others is less than a month too old.
        let (oldest, cutoff) = (oldest(&stepped, series), cutoffs[series as usize % 3].raw);
        match cutoff {
            None => assert_eq!(oldest, start),
            Some(cutoff) => {
                assert!(oldest <= cutoff.plus(Duration::from_secs(4 * 3_600)));
                assert!(oldest >= cutoff.minus(day * 30));
            }
        }
    }
    // A second look finds nothing, and the rows tell of all days but for the minutes that went.
    assert_eq!(forget(&mut stepped), 0);
    let (from, to) = (at(0).unwrap(), at(days + 1).unwrap());
    for (series, tier, count) in [(0, 1_440, 480), (1, 1_440, 480), (1, 60, 480), (2, 1_440, 480)] {
        let step = Duration::from_secs(tier * 60);
        let steps = stepped.store.aggregate(SeriesId(series), from, to, step).unwrap();
        assert_eq!(steps.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), count);
    }
    let minutes = |series| {
        let step = Duration::from_secs(60);
        stepped.store.aggregate(SeriesId(series), from, to, step).unwrap().buckets.len()
    };
    assert_eq!((minutes(0), minutes(2)), (480, 480));
    assert!((60..120).contains(&minutes(1)), "{}", minutes(1));
    assert_eq!(stepped.store.stats().unwrap().oldest_raw, Some(start));
}

#[test]
fn a_file_of_the_first_format_is_rolled_up() {
    let mut stepped = two_blocks();
    let downgrade = "ALTER TABLE series DROP COLUMN hold; ALTER TABLE series DROP COLUMN occupied;
        ALTER TABLE run DROP COLUMN rolled; ALTER TABLE run DROP COLUMN heard; ALTER TABLE run DROP COLUMN spoiled;
        ALTER TABLE run DROP COLUMN trimmed; ALTER TABLE block DROP COLUMN oldest;
        ALTER TABLE series DROP COLUMN class; ALTER TABLE series DROP COLUMN minutes;
        ALTER TABLE series DROP COLUMN raw_from; ALTER TABLE mark DROP COLUMN rolled;
        ALTER TABLE mark DROP COLUMN minute_bytes; ALTER TABLE mark DROP COLUMN hour_bytes;
        ALTER TABLE mark DROP COLUMN day_bytes; DROP TABLE rollup; PRAGMA user_version = 1";
    Connection::open(file_in(&stepped.dir)).unwrap().execute_batch(downgrade).unwrap();
    stepped = stepped.reopen();
    let day = Duration::from_secs(86_400);
    let (from, to) = (Timestamp::EPOCH.plus(20_717 * day), Timestamp::EPOCH.plus(20_722 * day));
    let ask = |stepped: &Stepped| stepped.store.aggregate(SeriesId(1), from, to, day).unwrap();
    let before = ask(&stepped);
    stepped.until_idle();
    let after = ask(&stepped);
    assert_eq!((before.tier, after.tier), (Some(Tier::Day), Some(Tier::Day)));
    assert_eq!(after.buckets.iter().map(|b| b.count).sum::<u64>(), 2_000);
    assert_eq!(format!("{:?}", before.buckets), format!("{:?}", after.buckets));
}

#[test]
fn a_crash_after_any_step_of_the_keeper_loses_and_repeats_nothing() {
    let mut stepped = Stepped::new();
    let mut model = Model::default();
    // Nine generations in five days, most of which are over: enough for a merge.
    for hour in 0..9 * 6 {
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, hour * 120, f64::from(s))).collect();
        stepped.store.append(&[&batch]).unwrap();
        model.append(&batch);
        stepped.release_all();
        for _ in 0..2 {
            stepped.step();
            stepped = stepped.crash();
            model.check(&stepped.store, BEGINNING, END);
            stepped.release_all();
        }
    }
    while stepped.step() == Step::Worked {
        stepped = stepped.crash();
        model.check(&stepped.store, BEGINNING, END);
        stepped.release_all();
    }
    let stats = stepped.store.stats().unwrap();
    assert_eq!(stats.sealed_readings + stats.hot_readings, 9 * 6 * u64::from(SERIES));
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    let merged = "SELECT count(*) FROM run WHERE level = 1 AND rolled = 9223372036854775807";
    assert_eq!(conn.query_row(merged, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn runs_are_merged_until_their_slices_are_long() {
    let mut stepped = Stepped::new();
    for hour in 0..70 * 6 {
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, hour * 60, f64::from(s))).collect();
        stepped.store.append(&[&batch]).unwrap();
        stepped.release_all();
        stepped.until_idle();
    }
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT max(level) FROM run") >= 2);
    let some = 3 * 7 + 10;
    assert!(count("SELECT count(*) FROM run") <= some, "eight of a level, and a day that waits");
    assert_eq!(count("SELECT count(*) FROM block WHERE run NOT IN (SELECT id FROM run)"), 0);
    let stats = stepped.store.stats().unwrap();
    assert_eq!(stats.sealed_readings + stats.hot_readings, 70 * 6 * u64::from(SERIES));
}

#[test]
fn the_first_block_of_a_slice_is_found_by_the_index() {
    let stepped = Stepped::new();
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    let sql = "EXPLAIN QUERY PLAN SELECT id FROM block WHERE run = 1 AND (last_series, last_time) >= (2, 3)
               ORDER BY last_series, last_time LIMIT 1";
    let plan: String = conn.query_row(sql, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("block_by_key (run=? AND (last_series,last_time)>(?,?))"), "{plan}");
}

#[test]
fn series_keep_their_numbers() {
    let stepped = Stepped::new();
    let wanted = keys(SERIES + 2);
    let twice = [wanted[7].clone(), wanted[0].clone(), wanted[7].clone(), wanted[6].clone()];
    let expected = [6, 0, 6, 7].map(SeriesId);
    assert_eq!(stepped.store.series(&twice).unwrap(), expected);
    let stepped = stepped.reopen();
    assert_eq!(stepped.store.series(&twice).unwrap(), expected);
    assert_eq!(stepped.store.all_series()[6], wanted[7]);
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let stepped = Stepped::new();
    let store = &stepped.store;
    let refused =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::BadQuery(_))));
    let (day, second) = (Timestamp::from_secs(86_400), Duration::from_secs(1));
    refused(store.append(&[&[reading(SERIES, 0, 1.0)]]).map(drop));
    refused(store.range(SeriesId(SERIES), Timestamp::EPOCH, day, 1).map(drop));
    refused(store.range(SeriesId(0), day, Timestamp::EPOCH, 1).map(drop));
    refused(store.aggregate(SeriesId(0), Timestamp::EPOCH, day, Duration::ZERO).map(drop));
    refused(store.aggregate(SeriesId(0), BEGINNING, END, second).map(drop));
    assert_eq!(store.range(SeriesId(0), day, day, 1).unwrap(), []);
    assert_eq!(store.append(&[]).unwrap(), CommitSeq(0), "nothing is no commit");
}

/// Two series sealed as two blocks.
fn two_blocks() -> Stepped {
    let mut stepped = Stepped::new();
    for series in 0..2 {
        let rows: Vec<_> = (0..2000).map(|n| reading(series, n, n as f64)).collect();
        stepped.store.append(&[&rows]).unwrap();
    }
    stepped.settle();
    assert_eq!(stepped.store.stats().unwrap().hot_readings, 0);
    stepped
}

#[test]
fn old_blocks_are_deleted_whole() {
    let stepped = two_blocks();
    let at = |minute: i64| Timestamp::from_secs(START + minute * 60);
    assert_eq!(
        stepped.store.delete_before(at(1999)).unwrap(),
        0,
        "each block has a reading at 1999"
    );
    stepped.store.append(&[&[reading(0, 5000, 1.0)]]).unwrap();
    let bytes = stepped.store.stats().unwrap().sealed_bytes;
    assert_eq!(stepped.store.delete_before(at(2000)).unwrap(), 4000);
    let left = stepped.store.range(SeriesId(0), BEGINNING, END, 10).unwrap();
    assert_eq!(left, [Sample::from(reading(0, 5000, 1.0))]);
    let stats = stepped.store.stats().unwrap();
    assert!(bytes > 0 && stats.sealed_bytes == 0 && stats.sealed_readings == 0);
    assert_eq!(stepped.store.latest().unwrap().len(), 2, "the last that was known stays known");
}

#[test]
fn a_block_across_the_cutoff_stays() {
    let mut stepped = Stepped::new();
    let early: Vec<_> = (0..1500).map(|n| reading(0, n, 1.0)).collect();
    let late: Vec<_> = (3000..4500).map(|n| reading(1, n, 1.0)).collect();
    stepped.store.append(&[&early, &late]).unwrap();
    stepped.settle();
    let cutoff = Timestamp::from_secs(START + 4000 * 60);
    assert_eq!(stepped.store.delete_before(cutoff).unwrap(), 1500);
    let left = |series| stepped.store.range(SeriesId(series), BEGINNING, END, 9999).unwrap().len();
    assert_eq!((left(0), left(1)), (0, 1500));
    assert_eq!(stepped.store.stats().unwrap().sealed_readings, 1500);
}

#[test]
fn deleting_while_runs_are_merged_brings_nothing_back() {
    let mut stepped = Stepped::new();
    for minute in 0..8 * 6 {
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, minute, 1.0)).collect();
        stepped.store.append(&[&batch]).unwrap();
        stepped.release_all();
        while stepped.store.stats().unwrap().hot_readings >= 30 {
            stepped.step();
        }
    }
    lock(&stepped.store.shared.status).roll_before = Some(i64::MAX);
    let runs = "SELECT count(*) FROM run WHERE state = 0";
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    let writing = || conn.query_row(runs, [], |row| row.get::<_, i64>(0)).unwrap();
    // A merge's first step is its last one here, so it is stopped before by hand: the plan is made, nothing is written.
    while writing() == 0 {
        assert!(stepped.keeper.begin_merge().unwrap());
    }
    let cutoff = Timestamp::from_secs(START + 20 * 60);
    let deleted = stepped.store.delete_before(cutoff).unwrap();
    assert!(deleted > 0);
    stepped.until_idle();
    let stats = stepped.store.stats().unwrap();
    assert_eq!(stats.sealed_readings + stats.hot_readings, 8 * 36 - deleted);
    let left = stepped.store.range(SeriesId(0), BEGINNING, END, 999).unwrap().len() as u64;
    assert_eq!(left, 48 - deleted / 6);
}

fn spoil(path: &Path, sql: &str) {
    let conn = Connection::open(path).unwrap();
    assert_eq!(conn.execute(sql, []).unwrap(), 1);
}

#[test]
fn a_damaged_block_is_named_and_harms_only_its_own_series() {
    let stepped = two_blocks();
    spoil(
        &file_in(&stepped.dir),
        "UPDATE block SET data = CAST(substr(data, 1, 40) || x'00' || substr(data, 42) AS BLOB) WHERE last_series = 0",
    );
    let stepped = stepped.reopen();
    let damaged = stepped.store.range(SeriesId(0), BEGINNING, END, 9999);
    let Err(StoreError::Damaged { what, why }) = damaged else { panic!("{damaged:?}") };
    assert_eq!((what.as_str(), why.as_str()), ("1 of run 1", "its checksum does not match"));
    assert_eq!(stepped.store.range(SeriesId(1), BEGINNING, END, 9999).unwrap().len(), 2000);
}

#[test]
fn a_damaged_block_does_not_stop_the_keeper() {
    let mut stepped = Stepped::new();
    for hour in 0..9 * 6 {
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, hour * 120, 1.0)).collect();
        stepped.store.append(&[&batch]).unwrap();
        stepped.release_all();
        if hour == 10 {
            stepped.until_idle();
            spoil(&file_in(&stepped.dir), "UPDATE block SET data = x'0011223344' WHERE run = 1");
        }
        stepped.until_idle();
    }
    let settled = "SELECT count(*) FROM run WHERE state = 2";
    let conn = Connection::open(file_in(&stepped.dir)).unwrap();
    assert_eq!(conn.query_row(settled, [], |row| row.get::<_, i64>(0)).unwrap(), 8);
}

#[test]
fn a_damaged_hot_row_is_named_when_the_store_is_opened() {
    let stepped = Stepped::new();
    stepped.store.append(&[&[reading(0, 1, 1.0)]]).unwrap();
    let path = file_in(&stepped.dir);
    spoil(&path, "UPDATE hot SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB)");
    let opened = Shared::open(&path, SMALL);
    let Err(StoreError::Damaged { what, .. }) = opened else { panic!("{opened:?}") };
    assert_eq!(what, "of commit 1");
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let stepped = Stepped::new();
    let path = file_in(&stepped.dir);
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    let opened = Shared::open(&path, SMALL);
    assert!(matches!(opened, Err(StoreError::Format { found: 9, known: 3 })), "{opened:?}");
}

#[test]
fn a_full_store_waits_for_the_release() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { seal_at: 50, max_hot: 100, max_age: Duration::MAX };
    let store = EmbeddedStore::open_with(&file_in(&dir), limits).unwrap();
    store.series(&keys(1)).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for commit in 0..40 {
                let batch: Vec<_> = (0..25).map(|n| reading(0, commit * 25 + n, 1.0)).collect();
                tell.send(store.append(&[&batch]).unwrap()).unwrap();
            }
            drop(tell);
        });
        // Four commits fit; every further one needs the release of an earlier one.
        let mut unreleased: Vec<CommitSeq> = told.iter().take(4).collect();
        assert!(told.try_recv().is_err());
        while let Some(last) = unreleased.last() {
            assert!(store.stats().unwrap().hot_readings <= 100);
            store.release(*last);
            unreleased.clear();
            unreleased.extend(told.recv());
        }
    });
    assert!(store.seal_now().unwrap());
    assert_eq!(store.range(SeriesId(0), BEGINNING, END, 9999).unwrap().len(), 1000);
    assert_eq!(store.stats().unwrap().sealed_readings, 1000);
}

#[test]
fn what_is_not_released_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&file_in(&dir)).unwrap();
    store.series(&keys(1)).unwrap();
    store.append(&[&[reading(0, 1, 1.0)]]).unwrap();
    assert!(!store.seal_now().unwrap());
    assert_eq!(store.stats().unwrap().hot_readings, 1);
    store.release(CommitSeq(1));
    assert!(store.seal_now().unwrap());
    assert_eq!(store.stats().unwrap().hot_readings, 0);
}

#[test]
fn what_is_on_its_way_into_a_run_is_always_seen() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { seal_at: 600, max_hot: 5_000, max_age: Duration::MAX };
    let store = EmbeddedStore::open_with(&file_in(&dir), limits).unwrap();
    store.series(&keys(SERIES)).unwrap();
    let commits = 800;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for minute in 0..commits {
                let batch: Vec<_> =
                    (0..SERIES).map(|s| reading(s, minute, minute as f64)).collect();
                let seq = store.append(&[&batch]).unwrap();
                store.release(seq);
            }
        });
        let mut seen = 0;
        while seen < commits {
            let acknowledged = store.stats().unwrap().last_commit.0 as i64;
            let samples = store.range(SeriesId(3), BEGINNING, END, usize::MAX).unwrap();
            let values: Vec<i64> = samples.iter().map(|s| s.value as i64).collect();
            seen = values.len() as i64;
            assert!(seen >= acknowledged, "{seen} of {acknowledged}");
            assert!(values.into_iter().eq(0..seen));
        }
    });
}

#[test]
fn sealing_gives_the_space_of_hot_rows_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&file_in(&dir)).unwrap();
    store.series(&keys(SERIES)).unwrap();
    for minute in 0..100 {
        let batch: Vec<_> = (0..2000)
            .map(|n| reading(n % 6, minute * 400 + i64::from(n / 6), f64::from(n % 6)))
            .collect();
        store.append(&[&batch]).unwrap();
    }
    let before = store.stats().unwrap().disk_bytes;
    store.release(CommitSeq(100));
    assert!(store.seal_now().unwrap());
    let stats = store.stats().unwrap();
    assert!(stats.disk_bytes < 300_000 && before > 1_500_000, "{before} {stats:?}");
}

#[test]
fn a_log_that_was_copied_is_cut_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&file_in(&dir)).unwrap();
    store.series(&keys(SERIES)).unwrap();
    assert!(store.seal_now().unwrap());
    assert_eq!(store.shared.file_bytes("-wal"), 0);
    store.series(&keys(SERIES + 1)).unwrap();
    assert!(store.shared.file_bytes("-wal") > 0);
    lock(&store.shared.status).log_bytes = 0;
    assert!(store.seal_now().unwrap());
    assert_eq!(store.shared.file_bytes("-wal"), 0);
}

const CHILD_FOLDER: &str = "TOWNHUB_STORE_TEST_FOLDER";

/// The other half of the next test: appends until it is killed, and tells each commit that it was promised.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let limits = Limits { seal_at: 400, max_hot: 4_000, max_age: Duration::MAX };
    let store = EmbeddedStore::open_with(&Path::new(&folder).join("readings.db"), limits).unwrap();
    store.series(&keys(SERIES)).unwrap();
    loop {
        let minute = store.stats().unwrap().last_commit.0 as i64;
        let batch: Vec<_> = (0..SERIES).map(|s| reading(s, minute, minute as f64)).collect();
        let seq = store.append(&[&batch]).unwrap();
        store.release(seq);
        writeln!(std::io::stderr(), "{}", seq.0).unwrap();
    }
}

#[test]
fn a_killed_store_has_every_acknowledged_commit_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0_u64;
    for more in [1, 40, 230, 77, 650, 310] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::embedded::tests::child_that_appends_until_it_is_killed"])
            .arg("--nocapture")
            .env(CHILD_FOLDER, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let goal = acknowledged + more;
        while acknowledged < goal {
            acknowledged = told.next().unwrap().parse().unwrap_or(acknowledged);
        }
        child.kill().unwrap();
        acknowledged = told.filter_map(|line| line.parse().ok()).last().unwrap_or(acknowledged);
        child.wait().unwrap();

        let store = EmbeddedStore::open(&file_in(&dir)).unwrap();
        for series in 0..SERIES {
            let samples = store.range(SeriesId(series), BEGINNING, END, usize::MAX).unwrap();
            assert!(samples.len() as u64 >= acknowledged);
            assert!(samples.iter().map(|s| s.value as u64).eq(0..samples.len() as u64));
        }
        acknowledged = store.stats().unwrap().last_commit.0;
    }
}
