//! Rollups: what a series did in a minute, an hour or a day, as one row. Pure; no table, no thread.
//!
//! A reading holds until the next one of its series, at most as long as the series' [`Nature`] says; a Bad one holds
//! nothing. So a window that has no reading may still have a row: of the value that holds into it. All three tiers are
//! counted from the raw readings, never one from another, so an error cannot add up.
//!
//! What a row keeps is exact but for two numbers: a sum is freed of floating-point noise (1e-12 of it), and a
//! time-weighted mean is rounded to a tenth of the resolution that the readings have, 3 to 6 decimals.

use super::numbers::{
    Bytes, Defect, MAX_DECIMALS, append_checksum, decimals_of, scale, unscale, verified,
    write_signed, write_varint,
};
use super::pack::{read_column, read_floats, write_column, write_floats};
use crate::model::{Grade, Measurement, Timestamp};
use crate::store::{Bucket, Nature, Tier};

/// A day in microseconds. Days are UTC's: the tiers' windows are those of the clock, not of a place.
pub(super) const DAY: i64 = 86_400_000_000;

/// Days that have rollups: 1970 to 2243. A reading of another time is kept raw only.
pub(super) const DAYS: std::ops::Range<i64> = 0..100_000;

/// First byte of every chunk of this layout.
const LAYOUT: u8 = 1;

/// The most rows in a chunk: the minutes of a day.
const MAX_ROWS: usize = 1_440;

/// How much floating-point noise a sum may have, as a share of it.
const NOISE: f64 = 1e-12;

/// The decimals of a time-weighted mean: one more than its readings have, and no fewer than this many, for the mean of
/// counts and states.
const MEAN_DECIMALS: u8 = 3;

impl Tier {
    /// A window in microseconds.
    pub(super) fn width(self) -> i64 {
        match self {
            Tier::Minute => 60_000_000,
            Tier::Hour => 3_600_000_000,
            Tier::Day => DAY,
        }
    }

    /// What one chunk of rows covers, in microseconds: a few kilobytes, whole days.
    pub(super) fn chunk(self) -> i64 {
        match self {
            Tier::Minute => DAY,
            Tier::Hour => 8 * DAY,
            Tier::Day => 128 * DAY,
        }
    }
}

/// A window being counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tally {
    /// Readings stored, of whatever quality.
    pub(super) stored: u64,
    /// Good ones among them.
    pub(super) good: u64,
    /// Values that count: not Bad, and a number.
    pub(super) count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
    /// Microseconds for which a value held, and those for which it was the occupied state.
    held: i64,
    occupied: i64,
    /// Value times microseconds.
    area: f64,
}

impl Tally {
    fn new() -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        let (sum, last, area) = (0.0, f64::NAN, 0.0);
        Tally { stored: 0, good: 0, count: 0, sum, min, max, last, held: 0, occupied: 0, area }
    }

    fn add(&mut self, m: &Measurement) {
        self.stored += 1;
        self.good += u64::from(m.quality.grade == Grade::Good);
        if counts(m) {
            self.count += 1;
            self.sum += m.value;
            self.min = self.min.min(m.value);
            self.max = self.max.max(m.value);
            self.last = m.value;
        }
    }

    fn hold(&mut self, value: f64, micros: i64, nature: &Nature) {
        self.held += micros;
        self.area += value * micros as f64;
        if nature.occupied == Some(value) {
            self.occupied += micros;
        }
    }

    /// Adds a window that lies after everything counted so far.
    pub(super) fn add_row(&mut self, row: &Row) {
        let other = row.tally;
        self.stored += other.stored;
        self.good += other.good;
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.count > 0 {
            self.last = other.last;
        }
        self.held += other.held;
        self.occupied += other.occupied;
        self.area += other.area;
    }

    fn time_mean(&self) -> f64 {
        if self.held > 0 { self.area / self.held as f64 } else { f64::NAN }
    }

    /// As the store shows it.
    pub(super) fn bucket(self, start: Timestamp, nature: &Nature) -> Bucket {
        let counted = |value: f64| if self.count > 0 { value } else { f64::NAN };
        let is_state = nature.occupied.is_some() && self.held > 0;
        let occupied_share =
            if is_state { self.occupied as f64 / self.held as f64 } else { f64::NAN };
        Bucket {
            start,
            count: self.count,
            mean: counted(self.sum / self.count as f64),
            min: counted(self.min),
            max: counted(self.max),
            last: self.last,
            good_share: self.good as f64 / self.stored as f64,
            time_mean: self.time_mean(),
            occupied_share,
        }
    }

    /// As a row keeps it.
    fn settled(mut self) -> Self {
        self.sum = without_noise(self.sum);
        let ends = [self.min, self.max, self.last].map(decimals_of);
        let finest = ends.into_iter().try_fold(0, |finest, decimals| Some(decimals?.max(finest)));
        if let Some(decimals) = finest.filter(|_| self.count > 0 && self.held > 0) {
            let mean = rounded(self.time_mean(), (decimals + 1).clamp(MEAN_DECIMALS, MAX_DECIMALS));
            self.area = mean * self.held as f64;
        }
        self
    }
}

fn counts(m: &Measurement) -> bool {
    m.quality.grade != Grade::Bad && !m.value.is_nan()
}

fn rounded(value: f64, decimals: u8) -> f64 {
    let back = unscale(scale(value, decimals).0, decimals);
    // Numbers too large to be scaled come back as something else.
    if (back - value).abs() <= 0.51 * unscale(1, decimals) { back } else { value }
}

fn without_noise(sum: f64) -> f64 {
    let clean = |&clean: &f64| sum.is_finite() && (clean - sum).abs() <= NOISE * sum.abs();
    (0..=MAX_DECIMALS).map(|decimals| rounded(sum, decimals)).find(clean).unwrap_or(sum)
}

/// One window of a tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// Its start in microseconds.
    pub(super) start: i64,
    /// What was counted.
    pub(super) tally: Tally,
}

/// Windows of equal length, counted in the order of time.
#[derive(Debug)]
pub(super) struct Windows {
    from: i64,
    step: u64,
    current: Option<(u64, Tally)>,
    done: Vec<(u64, Tally)>,
}

impl Windows {
    /// Windows of `step` microseconds from `from` on.
    pub(super) fn new(from: i64, step: i64) -> Self {
        Windows { from, step: step.unsigned_abs().max(1), current: None, done: Vec::new() }
    }

    /// The window that holds this time, which is not before any asked for earlier.
    pub(super) fn at(&mut self, time: i64) -> &mut Tally {
        let number = time.abs_diff(self.from) / self.step;
        if let Some(done) = self.current.take_if(|(current, _)| *current != number) {
            self.done.push(done);
        }
        &mut self.current.get_or_insert_with(|| (number, Tally::new())).1
    }

    /// Where the window ends that holds this time.
    fn end(&self, time: i64) -> i64 {
        let rest = self.step - time.abs_diff(self.from) % self.step;
        time.saturating_add_unsigned(rest)
    }

    /// All windows in which something was counted, with their starts.
    pub(super) fn finish(mut self) -> impl Iterator<Item = (i64, Tally)> {
        self.done.extend(self.current.take());
        let start =
            move |number: u64| self.from.wrapping_add(number.wrapping_mul(self.step) as i64);
        self.done.into_iter().map(move |(number, tally)| (start(number), tally))
    }

    /// The same as rows.
    pub(super) fn rows(self) -> Vec<Row> {
        self.finish().map(|(start, tally)| Row { start, tally: tally.settled() }).collect()
    }
}

/// Readings in order of time, told to windows: each counts in its own, and holds into the next.
#[derive(Debug)]
pub(super) struct Holding {
    from: i64,
    to: i64,
    nature: Nature,
    hold: i64,
    /// The value that holds, since when it is not told, and its end.
    held: Option<(f64, i64, i64)>,
}

impl Holding {
    /// Of the time from `from` to `to`. Readings are to be pushed from [`Nature::hold`] before it.
    pub(super) fn new(from: i64, to: i64, nature: Nature) -> Self {
        Holding { from, to, hold: nature.hold_micros(), nature, held: None }
    }

    /// The next reading.
    pub(super) fn push(&mut self, m: &Measurement, windows: &mut [Windows]) {
        let at = m.observed_at.as_micros();
        self.pass(at, windows);
        if at >= self.from {
            windows.iter_mut().for_each(|windows| windows.at(at).add(m));
        }
        self.held =
            (counts(m) && self.hold > 0).then(|| (m.value, at, at.saturating_add(self.hold)));
    }

    /// No more readings.
    pub(super) fn end(mut self, windows: &mut [Windows]) {
        self.pass(self.to, windows);
    }

    fn pass(&mut self, time: i64, windows: &mut [Windows]) {
        let Some((value, since, end)) = self.held.take() else { return };
        let stop = end.min(time).min(self.to);
        for windows in windows {
            let mut at = since.max(self.from);
            while at < stop {
                let next = windows.end(at).min(stop);
                windows.at(at).hold(value, next - at, &self.nature);
                at = next;
            }
        }
    }
}

/// How a column of numbers is written.
mod form {
    pub(super) const SAME: u8 = 0;
    pub(super) const AS_LAST: u8 = 1;
    pub(super) const SCALED: u8 = 2;
    pub(super) const FLOATS: u8 = 3;
}

/// The bytes of a chunk: rows of one tier, sorted, at least one.
pub(super) fn encode(rows: &[Row], tier: Tier) -> Result<Vec<u8>, Defect> {
    let mut out = vec![LAYOUT];
    write_varint(&mut out, rows.len() as u64);
    let number = |row: &Row| row.start.div_euclid(tier.width());
    let first = rows.first().map_or(0, number);
    write_signed(&mut out, first);
    let place = |(row, at): (&Row, i64)| number(row) - first - at;
    write_whole(&mut out, rows.iter().zip(0..).map(place))?;
    write_whole(&mut out, rows.iter().map(|row| row.tally.stored as i64))?;
    write_whole(&mut out, rows.iter().map(|row| (row.tally.stored - row.tally.good) as i64))?;
    write_whole(&mut out, rows.iter().map(|row| (row.tally.stored - row.tally.count) as i64))?;
    write_whole(&mut out, rows.iter().map(|row| tier.width() - row.tally.held))?;
    write_whole(&mut out, rows.iter().map(|row| row.tally.occupied))?;
    let last = filled(rows, |tally| (tally.count > 0).then_some(tally.last));
    write_numbers(&mut out, &last, &[])?;
    let fields: [fn(&Tally) -> f64; 3] = [|tally| tally.sum, |tally| tally.min, |tally| tally.max];
    for field in fields {
        let column = filled(rows, |tally| (tally.count > 0).then(|| field(tally)));
        write_numbers(&mut out, &column, &last)?;
    }
    let column = filled(rows, |tally| (tally.held > 0).then(|| time_mean_kept(tally)));
    write_numbers(&mut out, &column, &last)?;
    append_checksum(&mut out, 0);
    Ok(out)
}

/// The mean that [`Tally::settled`] rounded, freed of what multiplying it by the time added.
fn time_mean_kept(tally: &Tally) -> f64 {
    without_noise(tally.time_mean())
}

/// A column in which absent numbers repeat their neighbour.
fn filled(rows: &[Row], number: impl Fn(&Tally) -> Option<f64>) -> Vec<f64> {
    let mut neighbour = rows.iter().find_map(|row| number(&row.tally)).unwrap_or(0.0);
    let fill = |row: &Row| {
        neighbour = number(&row.tally).unwrap_or(neighbour);
        neighbour
    };
    rows.iter().map(fill).collect()
}

fn write_whole(out: &mut Vec<u8>, column: impl Iterator<Item = i64>) -> Result<(), Defect> {
    let column: Vec<i64> = column.collect();
    let first = column.first().copied().unwrap_or(0);
    if column.iter().all(|&n| n == first) {
        out.push(form::SAME);
        write_signed(out, first);
        return Ok(());
    }
    out.push(form::SCALED);
    write_column(out, &column)
}

fn write_numbers(out: &mut Vec<u8>, column: &[f64], last: &[f64]) -> Result<(), Defect> {
    let alike = |other: &[f64]| {
        other.len() == column.len()
            && column.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits())
    };
    let first = column.first().copied().unwrap_or(0.0);
    if column.iter().all(|n| n.to_bits() == first.to_bits()) {
        out.push(form::SAME);
        out.extend_from_slice(&first.to_bits().to_le_bytes());
        return Ok(());
    }
    if alike(last) {
        out.push(form::AS_LAST);
        return Ok(());
    }
    let finest = column.iter().try_fold(0, |finest, &n| Some(decimals_of(n)?.max(finest)));
    let scaled = |decimals: u8| {
        let scaled: Vec<(i64, bool)> = column.iter().map(|&n| scale(n, decimals)).collect();
        scaled.iter().all(|(_, exact)| *exact).then_some((decimals, scaled))
    };
    let Some((decimals, scaled)) = finest.and_then(scaled) else {
        out.push(form::FLOATS);
        return write_floats(out, column);
    };
    out.push(form::SCALED);
    out.push(decimals);
    write_signed(out, scaled[0].0);
    let steps: Vec<i64> = scaled.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    write_column(out, &steps)
}

/// What [`encode`] wrote.
pub(super) fn decode(chunk: &[u8], tier: Tier) -> Result<Vec<Row>, Defect> {
    let mut bytes = verified(chunk)?;
    if bytes.byte()? != LAYOUT {
        return Err(Defect("its layout is unknown"));
    }
    let count = bytes.count(MAX_ROWS)?;
    let first = bytes.signed()?;
    let [places, stored, not_good, not_counted, not_held, occupied] =
        [(); 6].map(|()| read_whole(&mut bytes, count));
    let (places, stored, not_good) = (places?, stored?, not_good?);
    let (not_counted, not_held, occupied) = (not_counted?, not_held?, occupied?);
    let last = read_numbers(&mut bytes, count, &[])?;
    let [sum, min, max, mean] = [(); 4].map(|()| read_numbers(&mut bytes, count, &last));
    let (sum, min, max, mean) = (sum?, min?, max?, mean?);
    bytes.end()?;
    let row = |at: usize| {
        let number = first.wrapping_add(places[at]).wrapping_add(at as i64);
        let part = |of: i64, without: i64| of.wrapping_sub(without).max(0);
        let counted = part(stored[at], not_counted[at]) as u64;
        let held = part(tier.width(), not_held[at]);
        let mut tally = Tally {
            stored: stored[at].max(0) as u64,
            good: part(stored[at], not_good[at]) as u64,
            held,
            occupied: occupied[at],
            area: if held > 0 { mean[at] * held as f64 } else { 0.0 },
            ..Tally::new()
        };
        if counted > 0 {
            let (sum, min, max, last) = (sum[at], min[at], max[at], last[at]);
            tally = Tally { count: counted, sum, min, max, last, ..tally };
        }
        Row { start: number.wrapping_mul(tier.width()), tally }
    };
    Ok((0..count).map(row).collect())
}

fn read_whole(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<i64>, Defect> {
    match bytes.byte()? {
        form::SAME => Ok(vec![bytes.signed()?; count]),
        form::SCALED => read_column(bytes, count),
        _ => Err(Defect("a column's form is unknown")),
    }
}

fn read_numbers(bytes: &mut Bytes<'_>, count: usize, last: &[f64]) -> Result<Vec<f64>, Defect> {
    match bytes.byte()? {
        form::SAME => Ok(vec![f64::from_bits(u64::from_le_bytes(bytes.array()?)); count]),
        form::AS_LAST if last.len() == count => Ok(last.to_vec()),
        form::SCALED => {
            let decimals = bytes.byte()?;
            if decimals > MAX_DECIMALS {
                return Err(Defect("a scale is unknown"));
            }
            let mut number = bytes.signed()?;
            let mut numbers = vec![unscale(number, decimals)];
            for step in read_column(bytes, count.saturating_sub(1))? {
                number = number.wrapping_add(step);
                numbers.push(unscale(number, decimals));
            }
            Ok(numbers)
        }
        form::FLOATS => read_floats(bytes, count),
        _ => Err(Defect("a column's form is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::tests::any_measurement;
    use super::*;
    use crate::model::{Quality, Reason, SeriesId};

    const T0: i64 = 20_718 * DAY;

    fn reading(second: i64, value: f64) -> Measurement {
        let at = Timestamp::from_micros(T0 + second * 1_000_000);
        Measurement {
            series: SeriesId(0),
            quality: Quality::GOOD,
            observed_at: at,
            received_at: at,
            value,
        }
    }

    fn rows(readings: &[Measurement], nature: Nature, tier: Tier) -> Vec<Row> {
        let mut windows = [Windows::new(T0, tier.width())];
        let mut holding = Holding::new(T0, T0 + DAY, nature);
        readings.iter().for_each(|m| holding.push(m, &mut windows));
        holding.end(&mut windows);
        let [windows] = windows;
        windows.rows()
    }

    #[test]
    fn a_value_holds_until_the_next_one_or_its_time_is_over() {
        let hold = Duration::from_secs(1_800);
        let nature = Nature { hold, occupied: Some(1.0), ..Nature::default() };
        let bad = Measurement { quality: Quality::bad(Reason::Comm), ..reading(5_400, 1.0) };
        let readings = [reading(-600, 1.0), reading(600, 0.0), reading(4_500, 1.0), bad];
        let hours = rows(&readings, nature, Tier::Hour);
        let bucket = |row: &Row| row.tally.bucket(Timestamp::from_micros(row.start), &nature);
        let [first, second] = [bucket(&hours[0]), bucket(&hours[1])];
        // 600 s of 1 that came before, 1800 s of 0, nothing known; then 900 s of 1 until the fault.
        assert_eq!((first.count, first.occupied_share, first.time_mean), (1, 0.25, 0.25));
        assert_eq!((second.count, second.good_share, second.occupied_share), (1, 0.5, 1.0));
        assert_eq!(hours.len(), 2);
        let level = Nature { occupied: None, ..nature };
        assert!(hours[0].tally.bucket(Timestamp::EPOCH, &level).occupied_share.is_nan());
    }

    #[test]
    fn a_day_of_quiet_minutes_is_small() {
        let nature = Nature { hold: Duration::from_secs(180), ..Nature::default() };
        let level = |n: i64| reading(n * 60 + n % 3, 1.0 + (n / 7 % 40) as f64 / 1_000.0);
        let day: Vec<_> = (0..1_440).map(level).collect();
        let size = |tier| encode(&rows(&day, nature, tier), tier).unwrap().len();
        assert!(size(Tier::Minute) < 3_000, "{}", size(Tier::Minute));
        assert!(size(Tier::Hour) < 400, "{}", size(Tier::Hour));
    }

    proptest! {
        #[test]
        fn a_chunk_comes_back_and_a_damaged_one_is_found(
            mut readings in prop::collection::vec(any_measurement(), 1..120),
            hold in 0..4_000_u64,
            at: prop::sample::Index,
            flip in 1..=u8::MAX,
        ) {
            readings.iter_mut().for_each(|m| {
                m.observed_at = Timestamp::from_micros(T0 + m.observed_at.as_micros().rem_euclid(DAY));
            });
            readings.sort_by_key(|m| m.observed_at);
            let hold = Duration::from_secs(hold);
            let nature = Nature { hold, occupied: Some(1.0), ..Nature::default() };
            for tier in [Tier::Minute, Tier::Hour, Tier::Day] {
                let rows = rows(&readings, nature, tier);
                let mut chunk = encode(&rows, tier).unwrap();
                let back = decode(&chunk, tier).unwrap();
                let shown = |rows: &[Row]| {
                    let bucket = |row: &Row| {
                        let at = Timestamp::from_micros(row.start);
                        let shown = row.tally.bucket(at, &nature);
                        (format!("{:?}", Bucket { time_mean: 0.0, ..shown }), shown.time_mean)
                    };
                    rows.iter().map(bucket).collect::<Vec<_>>()
                };
                for ((back, mean), (expected, wanted)) in shown(&back).iter().zip(shown(&rows)) {
                    prop_assert_eq!(back, &expected);
                    let near = (mean - wanted).abs() <= 1e-11 * wanted.abs();
                    prop_assert!(near || mean.to_bits() == wanted.to_bits() || (mean.is_nan() && wanted.is_nan()), "{} {}", mean, wanted);
                }
                prop_assert_eq!(back.len(), rows.len());
                let cut = at.index(chunk.len());
                prop_assert!(decode(&chunk[..cut], tier).is_err());
                chunk[cut] ^= flip;
                prop_assert!(decode(&chunk, tier).is_err());
                chunk.truncate(chunk.len() - 4);
                append_checksum(&mut chunk, 0);
                let _ = decode(&chunk, tier);
            }
        }
    }
}
