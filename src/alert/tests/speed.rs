//! How long a reading takes: `cargo test --release --lib alert::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

const SERIES: u32 = 30_000;
const READINGS: usize = 6_000_000;

/// Prints ns per reading; `value` says what the `i`th reading of a series is.
fn measure(what: &str, rules: Vec<Rule>, value: fn(usize) -> f64) {
    let town = Town::new();
    let mut engine = town.open(&rules, at(0));
    let mut batch = Vec::with_capacity(5_000);
    let mut spent = Duration::ZERO;
    let mut alerts = 0;
    for commit in 0..READINGS / 5_000 {
        batch.clear();
        batch.extend((0..5_000).map(|i| {
            let n = commit * 5_000 + i;
            // 7919 is prime: neighbours in a batch are not neighbours in memory.
            let series = (n * 7919) as u32 % SERIES;
            let round = n / SERIES as usize;
            reading(series, round as i64 + 1, value(round))
        }));
        let start = Instant::now();
        engine.judge(CommitSeq(commit as u64 + 1), &batch);
        spent += start.elapsed();
        alerts += engine.commit().unwrap().len();
    }
    let ns = spent.as_nanos() as f64 / READINGS as f64;
    println!("{what}: {ns:.1} ns/reading, {alerts} alert changes");
}

#[test]
#[ignore = "a measurement: run it in release"]
fn a_reading_takes_a_few_nanoseconds() {
    let of_device = |i: u32| {
        // Three series to a device, as in the benchmark.
        let mut rule = no_data(i, 1_000_000);
        rule.series = (0..3).map(|j| SeriesId(i * 3 + j)).collect();
        rule
    };
    let limits = || (0..SERIES).map(|i| delays(above(i, 6.0, 4.0), 0, 60));
    let silence = || (0..SERIES / 3).map(of_device);
    measure("no rule", Vec::new(), |_| 1.0);
    measure("silence", silence().collect(), |_| 1.0);
    measure("a limit, quiet", limits().collect(), |_| 1.0);
    measure("a limit and silence, quiet", limits().chain(silence()).collect(), |_| 1.0);
    measure("a limit, always beyond", limits().collect(), |_| 9.0);
    let chatter = |round: usize| if round.is_multiple_of(2) { 9.0 } else { 1.0 };
    measure("a limit, in and out", limits().collect(), chatter);
}

/// 10 000 devices of three series: a ladder of four, a limit, a fall, a sum, an expression over two points, and silence.
#[test]
#[ignore = "a measurement: run it in release"]
fn five_rules_of_every_kind_on_ten_thousand_devices() {
    let town = || {
        let of_device = |i: u32| {
            let (a, b, c) = (i * 3, i * 3 + 1, i * 3 + 2);
            let mut silence = no_data(a, 1_000_000);
            silence.series = [a, b, c].map(SeriesId).into();
            let window = Duration::from_secs(600);
            [
                delays(ladder(a, Signal::Value, &[6.0, 7.0, 8.0, 9.0]), 0, 60),
                ladder(b, Signal::Fall { window }, &[5.0, 8.0]),
                ladder(c, Signal::Sum { window }, &[1e6, 2e6]),
                holds(&[a, b], "a - b > 5 'm'", 600),
                silence,
            ]
        };
        (0..SERIES / 3).flat_map(of_device).collect::<Vec<Rule>>()
    };
    measure("every kind, quiet", town(), |_| 1.0);
    measure("every kind, wandering", town(), |round| (round % 7) as f64 / 2.0);
    measure("every kind, a raise or a return each", town(), |round| (round % 2) as f64 * 9.0);
}
