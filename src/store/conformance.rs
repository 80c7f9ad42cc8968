//! What every store does, whatever is behind it: the same tests on each. A store of many engines is one promise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::{Bucket, CommitSeq, EmbeddedStore, Limits, Nature, SeriesKey, Store, StoreError};
use crate::model::{Grade, Measurement, Quality, Reason, Sample, SeriesId, Timestamp};

/// A kind of store.
pub(super) trait Bench {
    type Store: Store;

    /// Opens the store whose own files are in this folder.
    fn open(&self, folder: &Path) -> Self::Store;

    /// Makes old of everything so far: sealed, and where there is an engine, read from it alone. Every commit was released.
    fn age(&self, store: &Self::Store);

    /// Whether deleted readings are gone, and not only gone from here.
    fn forgets(&self) -> bool;
}

/// 2023, on a whole hour: every engine takes it on any day that this may be tested.
const START: i64 = 1_699_999_200;
const FOREVER: (Timestamp, Timestamp) =
    (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
const MINUTE: Duration = Duration::from_secs(60);

/// Runs every test.
pub(super) fn suite(bench: &impl Bench) {
    readings_come_back_near_and_far(bench);
    the_same_twice_is_one(bench);
    steps_are_counted_rightly(bench);
    the_newest_outlives_the_rest(bench);
    commits_are_replayed_until_released(bench);
    what_cannot_be_is_refused(bench);
    old_readings_go(bench);
}

#[test]
fn the_embedded_store_conforms() {
    suite(&Embedded);
}

struct Embedded;

impl Bench for Embedded {
    type Store = EmbeddedStore;

    fn open(&self, folder: &Path) -> EmbeddedStore {
        EmbeddedStore::open_with(&folder.join("readings.db"), SMALL).unwrap()
    }

    fn age(&self, store: &EmbeddedStore) {
        assert!(store.seal_now().unwrap());
    }

    fn forgets(&self) -> bool {
        true
    }
}

/// Few readings are sealed already.
pub(super) const SMALL: Limits = Limits { seal_at: 50, max_hot: 1_000_000, max_age: Duration::MAX };

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

fn key(test: &str, n: u32) -> SeriesKey {
    SeriesKey { device: format!("{test}-{n}").parse().unwrap(), metric: "level".parse().unwrap() }
}

fn reading(series: SeriesId, secs: i64, value: f64, quality: Quality) -> Measurement {
    let observed_at = at(secs);
    Measurement { series, quality, observed_at, received_at: observed_at, value }
}

/// Comparable although NaN is not.
fn bits(samples: &[Sample]) -> Vec<(i64, i64, u64, u8)> {
    let bits = |s: &Sample| {
        let value = if s.value.is_nan() { f64::NAN } else { s.value };
        let times = (s.observed_at.as_micros(), s.received_at.as_micros());
        (times.0, times.1, value.to_bits(), s.quality.to_byte())
    };
    samples.iter().map(bits).collect()
}

/// A store of its own with series of names of its own: an engine is shared.
fn opened<B: Bench>(bench: &B, test: &str, n: u32) -> (tempfile::TempDir, B::Store, Vec<SeriesId>) {
    let folder = tempfile::tempdir().unwrap();
    let store = bench.open(folder.path());
    let keys: Vec<_> = (0..n).map(|n| key(test, n)).collect();
    let series = store.series(&keys).unwrap();
    (folder, store, series)
}

/// Readings of every quality, out of order, on several days, late ones among them.
fn assorted(series: &[SeriesId]) -> Vec<Measurement> {
    let qualities = [
        Quality::GOOD,
        Quality::GOOD,
        Quality::LATE,
        Quality::uncertain(Reason::Rate),
        Quality::bad(Reason::Range),
        Quality::bad(Reason::Sentinel),
    ];
    let mut all = Vec::new();
    for (n, &series) in series.iter().enumerate() {
        for i in 0..120_i64 {
            // A step that is prime to the number: every place once, never in order.
            let place = i * 37 % 120;
            let quality = qualities[(place as usize + n) % qualities.len()];
            let value = match place % 11 {
                3 if quality.grade == Grade::Bad => f64::NAN,
                _ => (place * 7 % 50 - 10) as f64 / 8.0,
            };
            let mut m = reading(series, place * 1_999, value, quality);
            m.observed_at = Timestamp::from_millis(m.observed_at.as_millis() + place % 5 * 13);
            m.received_at = m.observed_at.plus(Duration::from_secs(place as u64 % 4 * 1_200));
            all.push(m);
        }
    }
    all
}

/// What a store has to have of these: by time, of each time the first.
fn kept(all: &[Measurement], series: SeriesId) -> Vec<Sample> {
    let mut by_time = BTreeMap::new();
    for m in all.iter().filter(|m| m.series == series) {
        by_time.entry(m.observed_at).or_insert(Sample::from(*m));
    }
    by_time.into_values().collect()
}

fn readings_come_back_near_and_far<B: Bench>(bench: &B) {
    let (folder, store, series) = opened(bench, "range", 3);
    let all = assorted(&series);
    for commit in all.chunks(70) {
        let (first, rest) = commit.split_at(commit.len() / 2);
        store.append(&[first, rest]).unwrap();
    }
    let check = |store: &B::Store, when: &str| {
        for &series in &series {
            let expected = kept(&all, series);
            let found = store.range(series, FOREVER.0, FOREVER.1, usize::MAX).unwrap();
            assert_eq!(bits(&found), bits(&expected), "{when}");
            let (from, to) = (expected[20].observed_at, expected[90].observed_at);
            let found = store.range(series, from, to, usize::MAX).unwrap();
            assert_eq!(bits(&found), bits(&expected[20..90]), "{when}: from is in it, to is not");
            let found = store.range(series, from, to, 7).unwrap();
            assert_eq!(bits(&found), bits(&expected[20..27]), "{when}: the oldest first");
            let between = from.plus(Duration::from_millis(1));
            assert_eq!(store.range(series, between, between, 9).unwrap(), []);
            let found = store.range(series, between, to, 1).unwrap();
            assert_eq!(bits(&found), bits(&expected[21..22]), "{when}");
        }
    };
    check(&store, "new");
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    check(&store, "old");
    drop(store);
    let store = bench.open(folder.path());
    assert_eq!(store.series(&[key("range", 2)]).unwrap(), [series[2]], "numbers last");
    check(&store, "reopened");
    let late = reading(series[0], 5, 42.0, Quality::LATE);
    store.append(&[&[late]]).unwrap();
    let found = store.range(series[0], at(5), at(6), 9).unwrap();
    assert_eq!(bits(&found), bits(&[late.into()]), "a late one among the old");
}

fn the_same_twice_is_one<B: Bench>(bench: &B) {
    let (_folder, store, series) = opened(bench, "twice", 1);
    let own = series[0];
    let first = [
        reading(own, 0, 1.0, Quality::GOOD),
        reading(own, 20, 2.0, Quality::bad(Reason::Range)),
        reading(own, 20, 3.0, Quality::GOOD),
        reading(own, 40, 4.0, Quality::GOOD),
    ];
    store.append(&[&first]).unwrap();
    let expected = kept(&first, own);
    let check = |when: &str| {
        let found = store.range(own, FOREVER.0, FOREVER.1, 9).unwrap();
        assert_eq!(bits(&found), bits(&expected), "{when}");
        for step in [Duration::from_secs(3_600), Duration::from_secs(3_601)] {
            let steps = store.aggregate(own, at(0), at(3_600), step).unwrap();
            let [Bucket { count: 2, good_share, .. }] = steps.buckets[..] else {
                panic!("{when}: {steps:?}");
            };
            assert!((good_share - 2.0 / 3.0).abs() < 1e-12);
        }
    };
    check("new");
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    check("old");
    let again = first.map(|m| Measurement { value: m.value + 10.0, ..m });
    store.append(&[&again]).unwrap();
    store.append(&[&first]).unwrap();
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    check("told again with other values");
}

/// The definition, as slow as it is plain.
fn counted(
    samples: &[Sample],
    (from, to): (Timestamp, Timestamp),
    step: Duration,
    nature: &Nature,
) -> Vec<Bucket> {
    let mut steps = Vec::new();
    let mut start = from;
    while start < to {
        let end = start.plus(step).min(to);
        let own: Vec<&Sample> =
            samples.iter().filter(|s| start <= s.observed_at && s.observed_at < end).collect();
        let usable = |s: &Sample| s.quality.grade != Grade::Bad && !s.value.is_nan();
        let values: Vec<f64> = own.iter().filter(|s| usable(s)).map(|s| s.value).collect();
        let (mut held, mut area, mut occupied) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate().filter(|(_, s)| usable(s)) {
            let next = samples.get(n + 1).map_or(FOREVER.1, |next| next.observed_at);
            let until = next.min(sample.observed_at.plus(nature.hold)).min(end);
            let since = sample.observed_at.max(start);
            let time = until.as_micros().saturating_sub(since.as_micros()).max(0) as f64;
            held += time;
            area += time * sample.value;
            occupied += if nature.occupied == Some(sample.value) { time } else { 0.0 };
        }
        if !own.is_empty() {
            let number = |number: Option<f64>| number.unwrap_or(f64::NAN);
            let share = |part: f64| if held > 0.0 { part / held } else { f64::NAN };
            let good = own.iter().filter(|s| s.quality.grade == Grade::Good).count();
            steps.push(Bucket {
                start,
                count: values.len() as u64,
                mean: values.iter().sum::<f64>() / values.len() as f64,
                min: number(values.iter().copied().reduce(f64::min)),
                max: number(values.iter().copied().reduce(f64::max)),
                last: number(values.last().copied()),
                good_share: good as f64 / own.len() as f64,
                time_mean: share(area),
                occupied_share: nature.occupied.map_or(f64::NAN, |_| share(occupied)),
            });
        }
        start = end;
    }
    steps
}

fn assert_alike(found: &[Bucket], expected: &[Bucket], what: &str) {
    let starts = |steps: &[Bucket]| steps.iter().map(|b| (b.start, b.count)).collect::<Vec<_>>();
    assert_eq!(starts(found), starts(expected), "{what}");
    let numbers =
        |b: &Bucket| [b.mean, b.min, b.max, b.last, b.good_share, b.time_mean, b.occupied_share];
    for (found, expected) in found.iter().zip(expected) {
        for (n, (one, other)) in numbers(found).into_iter().zip(numbers(expected)).enumerate() {
            // A rollup's time-weighted mean is rounded to a thousandth of what the readings resolve.
            let exact = if n == 5 { 1e-3 } else { 1e-9 };
            let alike = (one - other).abs() <= exact * other.abs().max(1.0);
            assert!(alike || one.is_nan() && other.is_nan(), "{what}: {found:?} is {expected:?}");
        }
    }
}

pub(super) fn steps_are_counted_rightly<B: Bench>(bench: &B) {
    let (_folder, store, series) = opened(bench, "steps", 3);
    let natures = [
        Nature::default(),
        Nature { hold: Duration::from_secs(1_000), occupied: None, ..Nature::default() },
        Nature { hold: Duration::from_secs(30_000), occupied: Some(0.25), ..Nature::default() },
    ];
    store.describe(&series.iter().copied().zip(natures).collect::<Vec<_>>()).unwrap();
    let all = assorted(&series);
    store.append(&[&all]).unwrap();
    let check = |when: &str| {
        for (&series, nature) in series.iter().zip(natures) {
            let samples = kept(&all, series);
            for (from, to, step) in [
                (0, 240_000, 3_600),
                (0, 200_000, 86_400),
                (7_200, 60_000, 60),
                (-500, 240_500, 4_321),
                (13, 90_000, 7),
                (100_000, 100_001, 100),
            ] {
                let (span, step) = ((at(from), at(to)), Duration::from_secs(step));
                let found = store.aggregate(series, span.0, span.1, step).unwrap().buckets;
                let what = format!("{when}: {from} to {to} by {step:?} with {nature:?}");
                assert_alike(&found, &counted(&samples, span, step, &nature), &what);
            }
        }
    };
    check("new");
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    check("old");
}

fn the_newest_outlives_the_rest<B: Bench>(bench: &B) {
    let (folder, store, series) = opened(bench, "newest", 3);
    let one = reading(series[0], 100, 1.5, Quality::GOOD);
    let before = reading(series[0], 50, 2.5, Quality::GOOD);
    let other = reading(series[1], 70, f64::NAN, Quality::bad(Reason::Comm));
    store.append(&[&[one, other, before]]).unwrap();
    let check = |store: &B::Store| {
        let latest = store.latest().unwrap();
        let find = |series| latest.iter().find(|(own, _)| *own == series).map(|(_, s)| *s);
        assert_eq!(find(series[0]).map(|s| bits(&[s])), Some(bits(&[one.into()])));
        assert_eq!(find(series[1]).map(|s| bits(&[s])), Some(bits(&[other.into()])));
        assert_eq!(find(series[2]), None);
    };
    check(&store);
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    store.delete_before(at(1_000_000)).unwrap();
    check(&store);
    drop(store);
    check(&bench.open(folder.path()));
}

fn commits_are_replayed_until_released<B: Bench>(bench: &B) {
    let (folder, store, series) = opened(bench, "replay", 1);
    assert_eq!(store.append(&[]).unwrap(), CommitSeq(0), "nothing is no commit");
    let one = [reading(series[0], 0, 1.0, Quality::GOOD)];
    let two =
        [reading(series[0], 10, 2.0, Quality::GOOD), reading(series[0], 5, 3.0, Quality::LATE)];
    let (first, second) = (store.append(&[&one]).unwrap(), store.append(&[&two]).unwrap());
    assert_eq!((first, second), (CommitSeq(1), CommitSeq(2)));
    let replayed = |store: &B::Store, after| {
        let mut found = Vec::new();
        let mut each = |seq, batch: &[Measurement]| {
            found.push((seq, batch.to_vec()));
            ControlFlow::Continue(())
        };
        store.replay(after, &mut each).unwrap();
        found
    };
    let both = vec![(first, one.to_vec()), (second, two.to_vec())];
    assert_eq!(replayed(&store, CommitSeq(0)), both);
    assert_eq!(replayed(&store, first), both[1..]);
    let mut read = 0;
    let mut one_only = |_: CommitSeq, _: &[Measurement]| {
        read += 1;
        ControlFlow::Break(())
    };
    store.replay(CommitSeq(0), &mut one_only).unwrap();
    assert_eq!(read, 1, "whoever has had enough is shown no more");
    drop(store);
    let store = bench.open(folder.path());
    assert_eq!(store.stats().unwrap().last_commit, second);
    assert_eq!(replayed(&store, CommitSeq(0)), both, "they are on disk");
    store.release(second);
    bench.age(&store);
    assert_eq!(store.append(&[&one]).unwrap(), CommitSeq(3));
    assert_eq!(replayed(&store, CommitSeq(0)), [(CommitSeq(3), one.to_vec())]);
}

fn what_cannot_be_is_refused<B: Bench>(bench: &B) {
    let (_folder, store, series) = opened(bench, "refused", 1);
    let own = reading(series[0], 0, 1.0, Quality::GOOD);
    let unknown = SeriesId(u32::MAX);
    let strange = Measurement { series: unknown, ..own };
    let refused = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::BadQuery(_))), "{outcome:?}");
    };
    refused(store.append(&[&[own], &[strange]]).map(drop));
    assert_eq!(store.range(series[0], FOREVER.0, FOREVER.1, 9).unwrap(), [], "nothing of it");
    refused(store.describe(&[(unknown, Nature::default())]));
    refused(store.range(unknown, at(0), at(1), 9).map(drop));
    refused(store.range(series[0], at(1), at(0), 9).map(drop));
    refused(store.aggregate(series[0], at(0), at(1), Duration::ZERO).map(drop));
    refused(store.aggregate(unknown, at(0), at(1), MINUTE).map(drop));
    refused(store.aggregate(series[0], at(1), at(0), MINUTE).map(drop));
    let year = Duration::from_secs(366 * 86_400);
    let step = Duration::from_secs(1);
    refused(store.aggregate(series[0], at(0), at(0).plus(year), step).map(drop));
}

fn old_readings_go<B: Bench>(bench: &B) {
    let (_folder, store, series) = opened(bench, "old", 1);
    let own = series[0];
    let day = 86_400;
    let old: Vec<_> = (0..100).map(|n| reading(own, n * 60, 1.0, Quality::GOOD)).collect();
    store.append(&[&old]).unwrap();
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    let new: Vec<_> = (0..100).map(|n| reading(own, 30 * day + n, 2.0, Quality::GOOD)).collect();
    store.append(&[&new]).unwrap();
    store.release(CommitSeq(u64::MAX));
    bench.age(&store);
    store.delete_before(at(20 * day)).unwrap();
    let found = store.range(own, at(20 * day), FOREVER.1, usize::MAX).unwrap();
    assert_eq!(found.len(), new.len(), "younger ones stay");
    let found = store.range(own, FOREVER.0, at(20 * day), usize::MAX).unwrap();
    assert_eq!(found.len(), if bench.forgets() { 0 } else { old.len() });
    let hours = store.aggregate(own, at(0), at(7_200), Duration::from_secs(3_600)).unwrap();
    let counts: Vec<u64> = hours.buckets.iter().map(|bucket| bucket.count).collect();
    assert_eq!(counts, [60, 40], "rollups outlive them");
}
