//! The sealed block: up to [`MAX_READINGS`] readings of one series, or of several neighbours, as compressed columns.
//!
//! A block is a directory of slices, one for each series in it, and then the columns of all slices together. A slice
//! turns its readings into small numbers first (steps of time, steps of a value scaled to whole numbers), and keeps out
//! of a column altogether when all its numbers there are the same; pco then squeezes the columns. So a state that never
//! changes costs a few bytes, and a level in millimetres costs its noise.

use super::numbers::{
    Bytes, Defect, MAX_DECIMALS, append_checksum, scale, unscale, verified, write_signed,
    write_varint,
};
use super::pack::{read_column, read_floats, write_column, write_floats};
use super::row::quality;
use crate::model::{Measurement, SeriesId, Timestamp};

/// The most readings in a block: what has to be decoded to see one of them.
pub(super) const MAX_READINGS: usize = 4096;

/// First byte of every block of this layout.
const LAYOUT: u8 = 1;

const MICROS_PER_SEC: i64 = 1_000_000;

/// Units that a slice's time steps may be whole multiples of, in microseconds.
const TIME_UNITS: [u64; 3] = [MICROS_PER_SEC as u64, 1_000, 1];

/// Of this many values, one may be no decimal number (a NaN among levels) and is then kept beside the column.
const READINGS_PER_EXCEPTION: usize = 64;

/// The flags of a slice.
mod flag {
    pub(super) const TIME_UNIT: u8 = 0b0000_0011;
    pub(super) const REGULAR: u8 = 0b0000_0100;
    pub(super) const VALUES: u8 = 0b0001_1000;
    pub(super) const CONSTANT: u8 = 0b0000_0000;
    pub(super) const STEPS: u8 = 0b0000_1000;
    pub(super) const OFFSETS: u8 = 0b0001_0000;
    pub(super) const FLOATS: u8 = 0b0001_1000;
    pub(super) const ONE_LAG: u8 = 0b0010_0000;
    pub(super) const ONE_QUALITY: u8 = 0b0100_0000;
    pub(super) const CLOCK: u8 = 0b1000_0000;
}

/// The columns of a block.
#[derive(Debug, Default)]
struct Columns {
    times: Vec<i64>,
    numbers: Vec<i64>,
    floats: Vec<f64>,
    lags: Vec<i64>,
    qualities: Vec<i64>,
}

/// The bytes of a block. The readings are sorted by (series, observed_at), each such pair only once, and at most
/// [`MAX_READINGS`].
pub(super) fn encode(readings: &[Measurement]) -> Result<Vec<u8>, Defect> {
    let mut out = vec![LAYOUT];
    let mut columns = Columns::default();
    let slices = || readings.chunk_by(|a, b| a.series == b.series);
    write_varint(&mut out, slices().count() as u64);
    let mut series_before = 0;
    let mut time_before = 0;
    for slice in slices() {
        let (series, time) = (slice[0].series.0, slice[0].observed_at.as_micros());
        write_varint(&mut out, u64::from(series - series_before));
        write_varint(&mut out, slice.len() as u64);
        write_signed(&mut out, time.wrapping_sub(time_before));
        (series_before, time_before) = (series, time);
        encode_slice(slice, &mut out, &mut columns);
    }
    write_column(&mut out, &columns.times)?;
    write_column(&mut out, &columns.numbers)?;
    write_floats(&mut out, &columns.floats)?;
    write_column(&mut out, &columns.lags)?;
    write_column(&mut out, &columns.qualities)?;
    append_checksum(&mut out, 0);
    Ok(out)
}

fn encode_slice(slice: &[Measurement], out: &mut Vec<u8>, columns: &mut Columns) {
    let flags_at = out.len();
    out.push(0);
    let flags = encode_times(slice, out, columns)
        | encode_values(slice, out, columns)
        | encode_lags(slice, out, columns)
        | encode_qualities(slice, out, columns);
    out[flags_at] = flags;
}

fn encode_times(slice: &[Measurement], out: &mut Vec<u8>, columns: &mut Columns) -> u8 {
    let step = |pair: &[Measurement]| {
        pair[1].observed_at.as_micros().wrapping_sub(pair[0].observed_at.as_micros()) as u64
    };
    let steps = || slice.windows(2).map(step);
    let fits = |unit: &u64| steps().all(|step| step % unit == 0);
    let code = TIME_UNITS.iter().position(fits).unwrap_or(TIME_UNITS.len() - 1);
    let unit = TIME_UNITS[code];
    let first = steps().next().unwrap_or(0);
    if steps().all(|step| step == first) {
        write_varint(out, first / unit);
        return code as u8 | flag::REGULAR;
    }
    let steps: Vec<i64> = steps().map(|step| (step / unit) as i64).collect();
    code as u8 | relate_times(&steps, out, &mut columns.times)
}

/// Writes the steps of time less the usual step, or how far each time is off a clock that ticks with the usual step: a
/// device that waits a minute after each reading, or one that has a timetable and is a little late each time.
fn relate_times(steps: &[i64], out: &mut Vec<u8>, column: &mut Vec<i64>) -> u8 {
    let mut sorted = steps.to_vec();
    let (_, &mut usual, _) = sorted.select_nth_unstable(steps.len() / 2);
    write_signed(out, usual);
    let apart = || steps.iter().map(|step| step.wrapping_sub(usual));
    let off_clock = || {
        apart().scan(0_i64, |off, step| {
            *off = off.wrapping_add(step);
            Some(*off)
        })
    };
    if bits(off_clock()) < bits(apart()) {
        column.extend(off_clock());
        return flag::CLOCK;
    }
    column.extend(apart());
    0
}

/// About how many bits the numbers need.
fn bits(numbers: impl Iterator<Item = i64>) -> u32 {
    numbers.map(|n| 64 - n.unsigned_abs().leading_zeros()).sum()
}

fn encode_values(slice: &[Measurement], out: &mut Vec<u8>, columns: &mut Columns) -> u8 {
    let first = slice[0].value.to_bits();
    if slice.iter().all(|m| m.value.to_bits() == first) {
        out.extend_from_slice(&first.to_le_bytes());
        return flag::CONSTANT;
    }
    let Some(scaled) = Scaled::of(slice) else {
        columns.floats.extend(slice.iter().map(|m| m.value));
        return flag::FLOATS;
    };
    out.push(scaled.decimals);
    write_varint(out, scaled.exceptions.len() as u64);
    for &at in &scaled.exceptions {
        write_varint(out, at as u64);
        out.extend_from_slice(&slice[at].value.to_le_bytes());
    }
    write_signed(out, scaled.numbers[0]);
    relate(&scaled.numbers, &mut columns.numbers)
}

/// A slice's values as whole numbers.
struct Scaled {
    decimals: u8,
    numbers: Vec<i64>,
    /// Places of values that are no decimal number; there, `numbers` repeats the neighbour.
    exceptions: Vec<usize>,
}

impl Scaled {
    /// With the fewest decimals that do.
    fn of(slice: &[Measurement]) -> Option<Self> {
        let allowed = slice.len() / READINGS_PER_EXCEPTION;
        let mut numbers = Vec::with_capacity(slice.len());
        let mut exceptions = Vec::new();
        'decimals: for decimals in 0..=MAX_DECIMALS {
            numbers.clear();
            exceptions.clear();
            let mut neighbour = 0;
            for (at, m) in slice.iter().enumerate() {
                let (number, exact) = scale(m.value, decimals);
                if exact {
                    neighbour = number;
                } else if exceptions.len() < allowed {
                    exceptions.push(at);
                } else {
                    continue 'decimals;
                }
                numbers.push(neighbour);
            }
            return Some(Scaled { decimals, numbers, exceptions });
        }
        None
    }
}

/// Writes all numbers but the first as steps from one to the next, or as offsets from the first, whichever are the
/// smaller numbers: a level wanders, a noisy sensor jumps about one value.
fn relate(numbers: &[i64], column: &mut Vec<i64>) -> u8 {
    let steps = || numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let offsets = || numbers[1..].iter().map(|n| n.wrapping_sub(numbers[0]));
    if bits(offsets()) < bits(steps()) {
        column.extend(offsets());
        return flag::OFFSETS;
    }
    column.extend(steps());
    flag::STEPS
}

/// Whole seconds are enough to tell a late reading from a prompt one, and mostly one and the same number.
fn lag_secs(m: &Measurement) -> i64 {
    let lag = m.received_at.as_micros().saturating_sub(m.observed_at.as_micros());
    lag.div_euclid(MICROS_PER_SEC)
}

fn encode_lags(slice: &[Measurement], out: &mut Vec<u8>, columns: &mut Columns) -> u8 {
    let first = lag_secs(&slice[0]);
    if slice.iter().all(|m| lag_secs(m) == first) {
        write_signed(out, first);
        return flag::ONE_LAG;
    }
    columns.lags.extend(slice.iter().map(lag_secs));
    0
}

fn encode_qualities(slice: &[Measurement], out: &mut Vec<u8>, columns: &mut Columns) -> u8 {
    let first = slice[0].quality;
    if slice.iter().all(|m| m.quality == first) {
        out.push(first.to_byte());
        return flag::ONE_QUALITY;
    }
    columns.qualities.extend(slice.iter().map(|m| i64::from(m.quality.to_byte())));
    0
}

/// What the directory says of one slice.
struct Slice {
    series: SeriesId,
    count: usize,
    first_time: i64,
    time_unit: u64,
    times: Times,
    values: Values,
    lags: Part<i64>,
    qualities: Part<i64>,
}

/// Where a slice's numbers come from.
#[derive(Clone, Copy)]
enum Part<T> {
    Same(T),
    Column,
}

#[derive(Clone, Copy)]
enum Times {
    Regular { step: u64 },
    Steps { usual: i64 },
    OffClock { usual: i64 },
}

enum Values {
    Constant(u64),
    Scaled { steps: bool, decimals: u8, first: i64, exceptions: Vec<(usize, u64)> },
    Floats,
}

/// The readings of a block, or only those of one series in it.
pub(super) fn decode(block: &[u8], only: Option<SeriesId>) -> Result<Vec<Measurement>, Defect> {
    let mut bytes = verified(block)?;
    if bytes.byte()? != LAYOUT {
        return Err(Defect("its layout is unknown"));
    }
    let slices = read_directory(&mut bytes)?;
    let wanted = |slice: &Slice| only.is_none_or(|series| series == slice.series);
    let wanted_count: usize = slices.iter().filter(|s| wanted(s)).map(|s| s.count).sum();
    if wanted_count == 0 {
        return Ok(Vec::new());
    }
    let total = |count: fn(&Slice) -> usize| slices.iter().map(count).sum::<usize>();
    let times = read_column(&mut bytes, total(Slice::times_in_column))?;
    let numbers = read_column(&mut bytes, total(Slice::numbers_in_column))?;
    let floats = read_floats(&mut bytes, total(Slice::floats_in_column))?;
    let lags = read_column(&mut bytes, total(Slice::lags_in_column))?;
    let qualities = read_column(&mut bytes, total(Slice::qualities_in_column))?;
    bytes.end()?;

    let mut cursor = Cursor {
        times: &times,
        numbers: &numbers,
        floats: &floats,
        lags: &lags,
        qualities: &qualities,
    };
    let mut readings = Vec::with_capacity(wanted_count);
    for slice in &slices {
        let own = cursor.split(slice)?;
        if wanted(slice) {
            own.read(slice, &mut readings)?;
        }
    }
    Ok(readings)
}

impl Slice {
    fn times_in_column(&self) -> usize {
        if matches!(self.times, Times::Regular { .. }) { 0 } else { self.count - 1 }
    }

    fn numbers_in_column(&self) -> usize {
        if matches!(self.values, Values::Scaled { .. }) { self.count - 1 } else { 0 }
    }

    fn floats_in_column(&self) -> usize {
        if matches!(self.values, Values::Floats) { self.count } else { 0 }
    }

    fn lags_in_column(&self) -> usize {
        if matches!(self.lags, Part::Column) { self.count } else { 0 }
    }

    fn qualities_in_column(&self) -> usize {
        if matches!(self.qualities, Part::Column) { self.count } else { 0 }
    }
}

fn read_directory(bytes: &mut Bytes<'_>) -> Result<Vec<Slice>, Defect> {
    let count = bytes.count(MAX_READINGS)?;
    let mut slices = Vec::with_capacity(count);
    let (mut series, mut time, mut readings) = (0_u32, 0_i64, 0);
    for _ in 0..count {
        let gap = u32::try_from(bytes.varint()?).ok();
        series = gap.and_then(|gap| series.checked_add(gap)).ok_or(Defect("no series number"))?;
        let count = bytes.count(MAX_READINGS - readings)?;
        if count == 0 {
            return Err(Defect("a slice is empty"));
        }
        readings += count;
        time = time.wrapping_add(bytes.signed()?);
        slices.push(read_slice(bytes, SeriesId(series), count, time)?);
    }
    Ok(slices)
}

fn read_slice(
    bytes: &mut Bytes<'_>,
    series: SeriesId,
    count: usize,
    first_time: i64,
) -> Result<Slice, Defect> {
    let flags = bytes.byte()?;
    let unit_code = usize::from(flags & flag::TIME_UNIT);
    let time_unit = *TIME_UNITS.get(unit_code).ok_or(Defect("a unit of time is unknown"))?;
    let times = match (flags & flag::REGULAR != 0, flags & flag::CLOCK != 0) {
        (true, _) => Times::Regular { step: bytes.varint()? },
        (false, false) => Times::Steps { usual: bytes.signed()? },
        (false, true) => Times::OffClock { usual: bytes.signed()? },
    };
    let values = match flags & flag::VALUES {
        flag::CONSTANT => Values::Constant(u64::from_le_bytes(bytes.array()?)),
        flag::FLOATS => Values::Floats,
        relation => read_scaled(bytes, relation == flag::STEPS, count)?,
    };
    let lags = if flags & flag::ONE_LAG != 0 { Part::Same(bytes.signed()?) } else { Part::Column };
    let qualities = if flags & flag::ONE_QUALITY != 0 {
        Part::Same(i64::from(bytes.byte()?))
    } else {
        Part::Column
    };
    Ok(Slice { series, count, first_time, time_unit, times, values, lags, qualities })
}

fn read_scaled(bytes: &mut Bytes<'_>, steps: bool, count: usize) -> Result<Values, Defect> {
    let decimals = bytes.byte()?;
    if decimals > MAX_DECIMALS {
        return Err(Defect("a scale is unknown"));
    }
    let exceptions = (0..bytes.count(count)?)
        .map(|_| Ok((bytes.count(count - 1)?, u64::from_le_bytes(bytes.array()?))))
        .collect::<Result<_, _>>()?;
    Ok(Values::Scaled { steps, decimals, first: bytes.signed()?, exceptions })
}

/// The unread rest of each column.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    times: &'a [i64],
    numbers: &'a [i64],
    floats: &'a [f64],
    lags: &'a [i64],
    qualities: &'a [i64],
}

impl<'a> Cursor<'a> {
    /// The slice's own part of each column.
    fn split(&mut self, slice: &Slice) -> Result<Cursor<'a>, Defect> {
        fn part<'a, T>(column: &mut &'a [T], count: usize) -> Result<&'a [T], Defect> {
            column.split_off(..count).ok_or(Defect("a column is too short"))
        }
        Ok(Cursor {
            times: part(&mut self.times, slice.times_in_column())?,
            numbers: part(&mut self.numbers, slice.numbers_in_column())?,
            floats: part(&mut self.floats, slice.floats_in_column())?,
            lags: part(&mut self.lags, slice.lags_in_column())?,
            qualities: part(&mut self.qualities, slice.qualities_in_column())?,
        })
    }

    fn read(self, slice: &Slice, out: &mut Vec<Measurement>) -> Result<(), Defect> {
        let start = out.len();
        // The time by the clock, in its units after the first one.
        let mut ticks = 0_i64;
        for at in 0..slice.count {
            let mut off = 0;
            if at > 0 {
                let (step, off_clock) = match slice.times {
                    Times::Regular { step } => (step as i64, 0),
                    Times::Steps { usual } => (usual.wrapping_add(self.times[at - 1]), 0),
                    Times::OffClock { usual } => (usual, self.times[at - 1]),
                };
                ticks = ticks.wrapping_add(step);
                off = off_clock;
            }
            let since = (ticks.wrapping_add(off) as u64).wrapping_mul(slice.time_unit) as i64;
            let time = slice.first_time.wrapping_add(since);
            let lag = match slice.lags {
                Part::Same(lag) => lag,
                Part::Column => self.lags[at],
            };
            let quality = quality(match slice.qualities {
                Part::Same(quality) => quality,
                Part::Column => self.qualities[at],
            })?;
            out.push(Measurement {
                series: slice.series,
                quality,
                observed_at: Timestamp::from_micros(time),
                received_at: Timestamp::from_micros(
                    time.saturating_add(lag.saturating_mul(MICROS_PER_SEC)),
                ),
                value: 0.0,
            });
        }
        self.read_values(&slice.values, &mut out[start..]);
        Ok(())
    }

    fn read_values(self, values: &Values, out: &mut [Measurement]) {
        match values {
            Values::Constant(bits) => {
                out.iter_mut().for_each(|m| m.value = f64::from_bits(*bits));
            }
            Values::Floats => {
                out.iter_mut().zip(self.floats).for_each(|(m, value)| m.value = *value);
            }
            Values::Scaled { steps, decimals, first, exceptions } => {
                let mut number = *first;
                out[0].value = unscale(number, *decimals);
                for (m, n) in out[1..].iter_mut().zip(self.numbers) {
                    number = if *steps { number } else { *first }.wrapping_add(*n);
                    m.value = unscale(number, *decimals);
                }
                for &(at, bits) in exceptions {
                    out[at].value = f64::from_bits(bits);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{any_measurement, bits};
    use super::*;
    use crate::model::Quality;

    /// What a sealed reading is: the same, but its arrival in whole seconds after its observation.
    fn sealed(mut m: Measurement) -> Measurement {
        let lag = lag_secs(&m).saturating_mul(MICROS_PER_SEC);
        m.received_at = Timestamp::from_micros(m.observed_at.as_micros().saturating_add(lag));
        m
    }

    fn sorted(mut readings: Vec<Measurement>) -> Vec<Measurement> {
        readings.sort_by_key(|m| (m.series, m.observed_at));
        readings.dedup_by_key(|m| (m.series, m.observed_at));
        readings
    }

    proptest! {
        #[test]
        fn a_block_comes_back_bit_by_bit(readings in prop::collection::vec(any_measurement(), 1..300)) {
            let readings = sorted(readings);
            let block = encode(&readings).unwrap();
            let expected: Vec<_> = readings.iter().copied().map(sealed).collect();
            prop_assert_eq!(bits(&decode(&block, None).unwrap()), bits(&expected));
            let series = readings[readings.len() / 2].series;
            let own: Vec<_> = expected.into_iter().filter(|m| m.series == series).collect();
            prop_assert_eq!(bits(&decode(&block, Some(series)).unwrap()), bits(&own));
        }

        #[test]
        fn a_damaged_block_is_found(
            readings in prop::collection::vec(any_measurement(), 1..100),
            at: prop::sample::Index,
            flip in 1..=u8::MAX,
        ) {
            let mut block = encode(&sorted(readings)).unwrap();
            let cut = at.index(block.len());
            prop_assert!(decode(&block[..cut], None).is_err());
            block[cut] ^= flip;
            prop_assert!(decode(&block, None).is_err());
            // A wrong number behind a right checksum is refused or read, but never panics.
            block.truncate(block.len() - 4);
            append_checksum(&mut block, 0);
            let _ = decode(&block, None);
        }
    }

    fn day_of(value: impl Fn(i64) -> f64, jitter_ms: impl Fn(i64) -> i64) -> Vec<Measurement> {
        let minute = |n: i64| {
            let observed_at = Timestamp::from_millis(1_790_000_000_000 + n * 60_000 + jitter_ms(n));
            Measurement {
                series: SeriesId(7),
                quality: Quality::GOOD,
                observed_at,
                received_at: Timestamp::from_micros(observed_at.as_micros() + 250_000 + n),
                value: value(n),
            }
        };
        (0..1440).map(minute).collect()
    }

    #[test]
    fn what_does_not_change_costs_next_to_nothing() {
        let state = encode(&day_of(|_| 1.0, |_| 0)).unwrap();
        assert!(state.len() < 48, "{}", state.len());
    }

    #[test]
    fn a_missing_number_does_not_spoil_its_neighbours() {
        let level = |n: i64| ((n / 7) % 40) as f64 / 1000.0 + 1.0;
        let whole = encode(&day_of(level, |_| 0)).unwrap().len();
        let gap = |n: i64| if n == 700 { f64::NAN } else { level(n) };
        let holed = encode(&day_of(gap, |_| 0)).unwrap();
        assert!(holed.len() < whole + 40, "{whole} {}", holed.len());
        assert!(decode(&holed, None).unwrap()[700].value.is_nan());
    }

    #[test]
    fn a_device_with_a_timetable_costs_its_lateness() {
        // Off by one of eight milliseconds: three bits, where steps from one to the next would need more.
        let late = |n: i64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 33).rem_euclid(8);
        let block = encode(&day_of(|_| 1.0, late)).unwrap();
        assert!(block.len() < 1440 * 3 / 8 + 80, "{}", block.len());
    }

    #[test]
    fn a_wandering_level_takes_less_than_a_byte() {
        let noise = |n: i64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 33;
        let level = |n: i64| 1.0 + (n / 3 + noise(n) % 3) as f64 / 1000.0;
        let block = encode(&day_of(level, |n| noise(n).rem_euclid(8))).unwrap();
        assert!(block.len() < 1440, "{}", block.len());
    }
}
