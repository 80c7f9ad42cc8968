//! The store alone: a day of a town, as fast as it can be taken in, and the questions that are asked of it.
//!
//! `cargo bench --bench store` prints a table. `STORE_BENCH_SERIES` and `STORE_BENCH_MINUTES` change the town's size,
//! `STORE_BENCH_RATE` (readings a second) holds the load back to what is wanted instead of what is possible.
//!
//! `cargo bench --bench store -- years` takes two years of a town (`STORE_BENCH_DAYS`, `STORE_BENCH_SERIES`), or as much of
//! them as `STORE_BENCH_MOST_SECS` and `STORE_BENCH_MOST_GB` allow. `cargo bench --bench store -- forgetting` takes ninety
//! days of one that keeps its readings for a month, and those of its states for ten days.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use townhub::model::{Measurement, Quality, Reason, SeriesId, Timestamp};
use townhub::store::{Cutoffs, EmbeddedStore, Nature, SeriesKey, Store};

/// Readings in a commit.
const BATCH: usize = 5_000;

/// 2026-09-21T14:13:20Z.
const START_MS: i64 = 1_790_000_000_000;

/// Clock ticks in which /proc counts processor time.
const TICKS_PER_SEC: f64 = 100.0;

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

fn main() -> Result<()> {
    let folder = tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir())?;
    let path = folder.path().join("readings.db");
    if std::env::args().any(|word| word == "years") {
        return years(&path);
    }
    if std::env::args().any(|word| word == "forgetting") {
        return forgetting(&path);
    }
    let series = setting("STORE_BENCH_SERIES", 10_000)?;
    let minutes = setting("STORE_BENCH_MINUTES", 1_440)?;
    let rate = setting("STORE_BENCH_RATE", 0)?;
    let store = EmbeddedStore::open(&path)?;
    let mut town = Town::new(&store, series)?;
    fill(&store, &mut town, minutes, rate)?;
    seal(&store)?;
    ask(&store, series, minutes)?;
    drop(store);
    reopen(&path, &mut town, minutes)
}

fn setting(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a whole number")),
        Err(_) => Ok(default),
    }
}

fn row(what: &str, value: impl std::fmt::Display) {
    println!("| {what:<44} | {value:>24} |");
}

/// Levels in millimetres that wander, and every fifth series a state that rarely changes. Each device has its own second
/// of the minute and is a few milliseconds off it; one reading in a thousand is no number.
struct Town {
    random: SmallRng,
    levels_mm: Vec<i64>,
    batch: Vec<Measurement>,
}

impl Town {
    fn new(store: &EmbeddedStore, series: usize) -> Result<Self> {
        let keys = (0..series).map(|n| {
            let (device, metric) = (format!("mh-{:05}", n / 5), format!("point_{}", n % 5));
            Ok(SeriesKey { device: device.parse()?, metric: metric.parse()? })
        });
        let keys: Vec<SeriesKey> = keys.collect::<Result<_>>()?;
        let numbers = store.series(&keys)?;
        let nature = |(n, number)| {
            let occupied = Town::is_state(n).then_some(1.0);
            let class = u8::from(Town::is_state(n));
            (number, Nature { hold: Duration::from_secs(180), occupied, class, minutes: false })
        };
        let natures: Vec<_> = numbers.into_iter().enumerate().map(nature).collect();
        store.describe(&natures)?;
        let mut random = SmallRng::seed_from_u64(7);
        let levels_mm = (0..series).map(|_| random.random_range(200..2_000)).collect();
        Ok(Town { random, levels_mm, batch: Vec::with_capacity(BATCH) })
    }

    fn is_state(n: usize) -> bool {
        n % 5 == 4
    }

    /// Calls `take` with the commits of one minute; what is no whole commit goes with the next.
    fn minute(
        &mut self,
        minute: usize,
        mut take: impl FnMut(&[Measurement]) -> Result<()>,
    ) -> Result<()> {
        for n in 0..self.levels_mm.len() {
            let reading = self.reading(n, minute);
            self.batch.push(reading);
            if self.batch.len() == BATCH {
                take(&self.batch)?;
                self.batch.clear();
            }
        }
        Ok(())
    }

    fn reading(&mut self, n: usize, minute: usize) -> Measurement {
        let chance: u64 = self.random.random();
        let phase_ms = (n * 7_919 % 60_000) as i64;
        let jitter_ms = (chance % 10) as i64;
        let observed_ms = START_MS + minute as i64 * 60_000 + phase_ms + jitter_ms;
        let level = &mut self.levels_mm[n];
        let (value, quality) = if Town::is_state(n) {
            *level = if (chance >> 8).is_multiple_of(500) { 1 - *level % 2 } else { *level % 2 };
            (*level as f64, Quality::GOOD)
        } else {
            *level = (*level + (chance >> 8) as i64 % 5 - 2).clamp(0, 3_000);
            match (chance >> 20).is_multiple_of(1_000) {
                true => (f64::NAN, Quality::bad(Reason::Sentinel)),
                false => (*level as f64 / 1_000.0, Quality::GOOD),
            }
        };
        let delay_micros = 20_000 + (chance >> 32) as i64 % 300_000;
        Measurement {
            series: SeriesId(n as u32),
            quality,
            observed_at: Timestamp::from_millis(observed_ms),
            received_at: Timestamp::from_micros(observed_ms * 1_000 + delay_micros),
            value,
        }
    }
}

fn fill(store: &EmbeddedStore, town: &mut Town, minutes: usize, rate: usize) -> Result<()> {
    let mut commits = Vec::new();
    let mut readings = 0;
    let mut making = Duration::ZERO;
    let (began, cpu) = (Instant::now(), cpu_secs()?);
    let mut last = Instant::now();
    for minute in 0..minutes {
        town.minute(minute, |batch| {
            if rate > 0 {
                let due = Duration::from_secs_f64(readings as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            making += last.elapsed();
            let before = Instant::now();
            let seq = store.append(&[batch])?;
            commits.push(before.elapsed());
            store.release(seq);
            readings += batch.len();
            last = Instant::now();
            Ok(())
        })?;
    }
    let all = began.elapsed();
    let wall = all - if rate > 0 { Duration::ZERO } else { making };
    let cpu = cpu_secs()? - cpu - if rate > 0 { 0.0 } else { making.as_secs_f64() };
    row("readings, each commit on disk", readings);
    row(
        "million readings/s (making them counted)",
        format!("{:.2}", readings as f64 / all.as_secs_f64() / 1e6),
    );
    row(
        "million readings/s (making them not counted)",
        format!("{:.2}", readings as f64 / wall.as_secs_f64() / 1e6),
    );
    row(
        "CPU s per million readings, keeper included",
        format!("{:.3}", cpu / readings as f64 * 1e6),
    );
    row("commit p50 / p99 / max", percentiles(&mut commits));
    row("hot when filled", store.stats()?.hot_readings);
    row("memory now / peak", memory()?);
    Ok(())
}

/// Days of a town, and how the commits went.
struct Course {
    days: usize,
    readings: usize,
    commits: Vec<Duration>,
    making: Duration,
}

/// Takes in whole days until all are there, or `go_on` says no.
fn live(
    store: &EmbeddedStore,
    town: &mut Town,
    days: usize,
    mut go_on: impl FnMut(usize) -> Result<bool>,
) -> Result<Course> {
    let mut course = Course { days: 0, readings: 0, commits: Vec::new(), making: Duration::ZERO };
    let mut last = Instant::now();
    while course.days < days && go_on(course.days)? {
        for minute in course.days * 1_440..(course.days + 1) * 1_440 {
            town.minute(minute, |batch| {
                course.making += last.elapsed();
                let before = Instant::now();
                let seq = store.append(&[batch])?;
                course.commits.push(before.elapsed());
                store.release(seq);
                course.readings += batch.len();
                last = Instant::now();
                Ok(())
            })?;
        }
        course.days += 1;
    }
    Ok(course)
}

impl Course {
    fn tell(&mut self, all: Duration, cpu: f64) -> Result<()> {
        row("days / readings, each commit on disk", format!("{} / {}", self.days, self.readings));
        let rate = self.readings as f64 / all.as_secs_f64() / 1e6;
        row("million readings/s (making them counted)", format!("{rate:.2}"));
        let cpu = (cpu - self.making.as_secs_f64()) / self.readings as f64 * 1e6;
        row("CPU s per million readings, keeper included", format!("{cpu:.3}"));
        row("commit p50 / p99 / max", percentiles(&mut self.commits));
        row("memory now / peak", memory()?);
        Ok(())
    }
}

/// Two years.
fn years(path: &Path) -> Result<()> {
    let series = setting("STORE_BENCH_SERIES", 1_000)?;
    let days = setting("STORE_BENCH_DAYS", 730)?;
    let most = Duration::from_secs(setting("STORE_BENCH_MOST_SECS", 3_600)? as u64);
    let most_bytes = setting("STORE_BENCH_MOST_GB", 14)? as u64 * 1_000_000_000;
    let store = EmbeddedStore::open(path)?;
    let mut town = Town::new(&store, series)?;
    let (began, cpu) = (Instant::now(), cpu_secs()?);
    let mut course = live(&store, &mut town, days, |_| {
        Ok(began.elapsed() < most && store.stats()?.disk_bytes < most_bytes)
    })?;
    course.tell(began.elapsed(), cpu_secs()? - cpu)?;
    seal(&store)?;
    drop(store);
    let before = Instant::now();
    let store = EmbeddedStore::open(path)?;
    row("open", format!("{:.1?}", before.elapsed()));
    ask_years(&store, series, course.days)?;
    row("memory now / peak", memory()?);
    Ok(())
}

fn ask_years(store: &EmbeddedStore, series: usize, days: usize) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(9);
    let mut times = Vec::new();
    let first = Timestamp::from_millis(START_MS).as_micros().div_euclid(86_400_000_000) + 1;
    let day = |number: i64| Timestamp::from_micros((first + number) * 86_400_000_000);
    for _ in 0..2_000 {
        let one = SeriesId(random.random_range(0..series) as u32);
        let from = day(random.random_range(0..days as i64 - 1));
        let before = Instant::now();
        let samples = store.range(one, from, from.plus(DAY), usize::MAX)?;
        times.push(before.elapsed());
        assert!((1_439..=1_441).contains(&samples.len()), "one reading a minute");
    }
    row("24 h of readings, any day, p50 / p99 / max", percentiles(&mut times));
    for (what, length, step) in
        [("a year by day", 365, DAY), ("30 days by hour", 30, Duration::from_secs(3_600))]
    {
        times.clear();
        let length = length.min(days as i64 - 1);
        for _ in 0..2_000 {
            let one = SeriesId(random.random_range(0..series) as u32);
            let from = day(random.random_range(0..days as i64 - length));
            let before = Instant::now();
            let steps = store.aggregate(one, from, from.plus(DAY * length as u32), step)?;
            times.push(before.elapsed());
            let expected = length as u64 * DAY.as_secs() / step.as_secs();
            assert_eq!(steps.buckets.len() as u64, expected, "no step is empty");
        }
        row(&format!("{what} ({length} days), p50 / p99 / max"), percentiles(&mut times));
    }
    times.clear();
    let end = day(days as i64 - 1);
    for _ in 0..500 {
        let one = SeriesId(random.random_range(0..series) as u32);
        let before = Instant::now();
        store.range(one, end.minus(DAY), end, usize::MAX)?;
        times.push(before.elapsed());
    }
    row("the last 24 h of readings, p50 / p99 / max", percentiles(&mut times));
    Ok(())
}

/// Ninety days, of which sixty are forgotten on the way: once for each day, as the hub does, while commits go on.
fn forgetting(path: &Path) -> Result<()> {
    let series = setting("STORE_BENCH_SERIES", 2_000)?;
    let days = setting("STORE_BENCH_DAYS", 90)?;
    let store = EmbeddedStore::open(path)?;
    let mut town = Town::new(&store, series)?;
    let (began, cpu) = (Instant::now(), cpu_secs()?);
    let (tell, told) = mpsc::channel::<usize>();
    let forgotten = Mutex::new((0_u64, Vec::new()));
    let (shared, result) = (&store, &forgotten);
    let mut course = std::thread::scope(|scope| {
        let forgetter = scope.spawn(move || -> Result<()> {
            while let Ok(day) = told.recv() {
                // Days that were told meanwhile are done with it.
                let day = told.try_iter().last().unwrap_or(day);
                let today = Timestamp::from_millis(START_MS).plus(DAY * day as u32);
                let before = |days: u32| Some(today.minus(DAY * days));
                let classes =
                    [30, 10].map(|days| Cutoffs { raw: before(days), ..Cutoffs::default() });
                loop {
                    let began = Instant::now();
                    let step = shared.forget(&classes)?;
                    let mut result = result.lock().expect("nobody panicked");
                    result.0 += step.readings;
                    result.1.push(began.elapsed());
                    drop(result);
                    if step.waits {
                        std::thread::sleep(Duration::from_millis(100));
                    } else if !step.more {
                        break;
                    }
                }
            }
            Ok(())
        });
        let course = live(&store, &mut town, days, |day| Ok(tell.send(day).is_ok()));
        drop(tell);
        forgetter.join().expect("the forgetting thread ends")?;
        course
    })?;
    course.tell(began.elapsed(), cpu_secs()? - cpu)?;
    let (readings, mut steps) = forgotten.into_inner().expect("nobody panicked");
    row("readings forgotten on the way", readings);
    row("a step of forgetting p50 / p99 / max", percentiles(&mut steps));
    seal(&store)
}

fn seal(store: &EmbeddedStore) -> Result<()> {
    let (began, cpu) = (Instant::now(), cpu_secs()?);
    store.seal_now()?;
    row(
        "seal the rest, merge, give space back",
        format!("{:.2?}, {:.2} s CPU", began.elapsed(), cpu_secs()? - cpu),
    );
    let stats = store.stats()?;
    let per_reading = |bytes: u64| format!("{:.3}", bytes as f64 / stats.sealed_readings as f64);
    row("sealed readings", stats.sealed_readings);
    let (minute, hour, day) = (stats.minute_bytes, stats.hour_bytes, stats.day_bytes);
    row("bytes of rollups: 1 min / 1 h / 1 day", format!("{minute} / {hour} / {day}"));
    row("bytes per reading, blocks", per_reading(stats.sealed_bytes));
    row("bytes per reading, all files", per_reading(stats.disk_bytes));
    Ok(())
}

fn ask(store: &EmbeddedStore, series: usize, minutes: usize) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(8);
    let from = Timestamp::from_millis(START_MS);
    let to = from.plus(Duration::from_secs(minutes as u64 * 60 + 120));
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let one = SeriesId(random.random_range(0..series) as u32);
        let before = Instant::now();
        let samples = store.range(one, from, to, usize::MAX)?;
        times.push(before.elapsed());
        assert_eq!(samples.len(), minutes, "a series has one reading a minute");
    }
    row("all of one series p50 / p99 / max", percentiles(&mut times));
    times.clear();
    for _ in 0..500 {
        let one = SeriesId(random.random_range(0..series) as u32);
        let before = Instant::now();
        store.aggregate(one, from, to, Duration::from_secs(3_600))?;
        times.push(before.elapsed());
    }
    row("hours of one series p50 / p99 / max", percentiles(&mut times));
    times.clear();
    for _ in 0..20 {
        let before = Instant::now();
        assert_eq!(store.latest()?.len(), series);
        times.push(before.elapsed());
    }
    row("latest of all series p50 / p99 / max", percentiles(&mut times));
    Ok(())
}

/// Opens the store with a million unsealed readings in it.
fn reopen(path: &Path, town: &mut Town, minutes: usize) -> Result<()> {
    let mut store = EmbeddedStore::open(path)?;
    for minute in minutes..minutes + 1_000_000_usize.div_ceil(town.levels_mm.len()) {
        town.minute(minute, |batch| Ok(store.append(&[batch]).map(drop)?))?;
    }
    drop(store);
    let before = Instant::now();
    store = EmbeddedStore::open(path)?;
    row("open, a million readings unsealed", format!("{:.1?}", before.elapsed()));
    row("memory now / peak", memory()?);
    drop(store);
    Ok(())
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{:.2?} / {:.2?} / {:.2?}", at(0.5), at(0.99), at(1.0))
}

/// Processor time of this process so far.
fn cpu_secs() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("the name's end in /proc/self/stat")?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SEC)
}

fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mb = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kb.unwrap_or(0) / 1_024
    };
    Ok(format!("{} / {} MB", mb("VmRSS"), mb("VmHWM")))
}
