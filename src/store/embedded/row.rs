//! The hot row: all measurements of one commit as one block of bytes, written before anybody is told "done".
//!
//! Speed first: each column is a base and offsets of 0, 1, 2, 4 or 8 bytes, whichever is enough for the whole column.
//! Five thousand readings of a town take about 11 bytes each and a few nanoseconds.

use super::numbers::{
    Bytes, Defect, MAX_DECIMALS, append_checksum, decimals_of, scale, unscale, verified,
};
use crate::model::{Measurement, Quality, SeriesId, Timestamp};

/// The most readings in one row: what a reader of a damaged row can be made to allocate for.
pub(super) const MAX_READINGS: usize = 1 << 20;

/// First byte of every row of this layout.
const LAYOUT: u8 = 1;

/// How many values are looked at to guess the decimals of a column.
const PROBES: usize = 8;

/// Stands for "not scaled, the f64's own bits".
const UNSCALED: u8 = u8::MAX;

/// Writes rows; keeps its buffers between them.
#[derive(Debug, Default)]
pub(super) struct RowEncoder {
    column: Vec<i64>,
    values: Vec<f64>,
    out: Vec<u8>,
}

impl RowEncoder {
    /// One row with the measurements of all batches, in order; at most [`MAX_READINGS`].
    pub(super) fn encode(&mut self, batches: &[&[Measurement]]) -> &[u8] {
        let count: usize = batches.iter().map(|batch| batch.len()).sum();
        self.out.clear();
        self.out.push(LAYOUT);
        self.out.extend_from_slice(&(count as u32).to_le_bytes());
        self.whole(batches, |m| i64::from(m.series.0));
        self.times(batches, |m| m.observed_at.as_micros());
        self.times(batches, |m| m.received_at.as_micros());
        self.decimals(batches);
        self.whole(batches, |m| i64::from(m.quality.to_byte()));
        append_checksum(&mut self.out, 0);
        &self.out
    }

    fn gather(&mut self, batches: &[&[Measurement]], field: impl Fn(&Measurement) -> i64) {
        self.column.clear();
        for batch in batches {
            self.column.extend(batch.iter().map(&field));
        }
    }

    fn whole(&mut self, batches: &[&[Measurement]], field: impl Fn(&Measurement) -> i64) {
        self.gather(batches, field);
        write_offsets(&mut self.out, &self.column);
    }

    /// Devices mostly tell milliseconds: such a column is divided before it is written.
    fn times(&mut self, batches: &[&[Measurement]], field: impl Fn(&Measurement) -> i64) {
        self.gather(batches, field);
        let millis = self.column.iter().all(|micros| micros % 1_000 == 0);
        if millis {
            self.column.iter_mut().for_each(|micros| *micros /= 1_000);
        }
        self.out.push(u8::from(millis));
        write_offsets(&mut self.out, &self.column);
    }

    fn decimals(&mut self, batches: &[&[Measurement]]) {
        self.values.clear();
        for batch in batches {
            self.values.extend(batch.iter().map(|m| m.value));
        }
        let probes = self.values.iter().take(PROBES).map(|&value| decimals_of(value));
        let guess = probes.map(|decimals| decimals.unwrap_or(0)).max().unwrap_or(0);
        let fits = |&decimals: &u8| scale_all(&self.values, decimals, &mut self.column);
        match [guess, MAX_DECIMALS].into_iter().find(fits) {
            Some(decimals) => self.out.push(decimals),
            None => {
                self.out.push(UNSCALED);
                self.column.clear();
                self.column.extend(self.values.iter().map(|value| value.to_bits() as i64));
            }
        }
        write_offsets(&mut self.out, &self.column);
    }
}

fn scale_all(values: &[f64], decimals: u8, into: &mut Vec<i64>) -> bool {
    let mut all_exact = true;
    into.clear();
    into.extend(values.iter().map(|&value| {
        let (scaled, exact) = scale(value, decimals);
        all_exact &= exact;
        scaled
    }));
    all_exact
}

fn write_offsets(out: &mut Vec<u8>, column: &[i64]) {
    let base = column.iter().copied().min().unwrap_or(0);
    let top = column.iter().copied().max().unwrap_or(0);
    let width = match top.wrapping_sub(base) as u64 {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    out.push(width);
    out.extend_from_slice(&base.to_le_bytes());
    match width {
        0 => {}
        1 => write_width::<1>(out, column, base),
        2 => write_width::<2>(out, column, base),
        4 => write_width::<4>(out, column, base),
        _ => write_width::<8>(out, column, base),
    }
}

fn write_width<const N: usize>(out: &mut Vec<u8>, column: &[i64], base: i64) {
    let start = out.len();
    out.resize(start + column.len() * N, 0);
    let (slots, _) = out[start..].as_chunks_mut::<N>();
    for (slot, number) in slots.iter_mut().zip(column) {
        slot.copy_from_slice(&number.wrapping_sub(base).to_le_bytes()[..N]);
    }
}

/// The measurements of a row.
pub(super) fn decode(row: &[u8]) -> Result<Vec<Measurement>, Defect> {
    let mut bytes = verified(row)?;
    if bytes.byte()? != LAYOUT {
        return Err(Defect("its layout is unknown"));
    }
    let count = u32::from_le_bytes(bytes.array()?) as usize;
    if count > MAX_READINGS {
        return Err(Defect("a count is out of bounds"));
    }
    let series = read_offsets(&mut bytes, count)?;
    let observed = read_times(&mut bytes, count)?;
    let received = read_times(&mut bytes, count)?;
    let values = read_values(&mut bytes, count)?;
    let qualities = read_offsets(&mut bytes, count)?;
    bytes.end()?;
    let mut measurements = Vec::with_capacity(count);
    for at in 0..count {
        measurements.push(Measurement {
            series: SeriesId(u32::try_from(series[at]).map_err(|_| Defect("no series number"))?),
            quality: quality(qualities[at])?,
            observed_at: Timestamp::from_micros(observed[at]),
            received_at: Timestamp::from_micros(received[at]),
            value: values[at],
        });
    }
    Ok(measurements)
}

/// The quality that a stored number stands for.
pub(super) fn quality(number: i64) -> Result<Quality, Defect> {
    let known = u8::try_from(number).ok().and_then(Quality::from_byte);
    known.ok_or(Defect("a quality is unknown"))
}

fn read_offsets(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<i64>, Defect> {
    let width = usize::from(bytes.byte()?);
    let base = i64::from_le_bytes(bytes.array()?);
    if !matches!(width, 0 | 1 | 2 | 4 | 8) {
        return Err(Defect("a column's width is unknown"));
    }
    let data = bytes.take(count * width)?;
    Ok(match width {
        0 => vec![base; count],
        1 => read_width::<1>(data, base),
        2 => read_width::<2>(data, base),
        4 => read_width::<4>(data, base),
        _ => read_width::<8>(data, base),
    })
}

fn read_width<const N: usize>(data: &[u8], base: i64) -> Vec<i64> {
    let (slots, _) = data.as_chunks::<N>();
    let widen = |slot: &[u8; N]| {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(slot);
        base.wrapping_add(i64::from_le_bytes(wide))
    };
    slots.iter().map(widen).collect()
}

fn read_times(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<i64>, Defect> {
    let unit = if bytes.byte()? == 0 { 1 } else { 1_000 };
    let mut column = read_offsets(bytes, count)?;
    column.iter_mut().for_each(|time| *time = time.wrapping_mul(unit));
    Ok(column)
}

fn read_values(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<f64>, Defect> {
    let decimals = bytes.byte()?;
    let column = read_offsets(bytes, count)?;
    match decimals {
        UNSCALED => Ok(column.into_iter().map(|bits| f64::from_bits(bits as u64)).collect()),
        0..=MAX_DECIMALS => Ok(column.into_iter().map(|n| unscale(n, decimals)).collect()),
        _ => Err(Defect("a column's scale is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{any_measurement, bits};
    use super::*;

    proptest! {
        #[test]
        fn a_row_comes_back_bit_by_bit(batches in prop::collection::vec(prop::collection::vec(any_measurement(), 0..40), 0..4)) {
            let slices: Vec<&[Measurement]> = batches.iter().map(Vec::as_slice).collect();
            let mut encoder = RowEncoder::default();
            let back = decode(encoder.encode(&slices)).unwrap();
            prop_assert_eq!(bits(&back), bits(&batches.concat()));
        }

        #[test]
        fn a_damaged_row_is_found(rows in prop::collection::vec(any_measurement(), 1..40), at: prop::sample::Index, flip in 1..=u8::MAX) {
            let mut encoder = RowEncoder::default();
            let mut row = encoder.encode(&[&rows]).to_vec();
            let cut = at.index(row.len());
            prop_assert!(decode(&row[..cut]).is_err());
            row[cut] ^= flip;
            prop_assert!(decode(&row).is_err());
            // A wrong number behind a right checksum is refused or read, but never panics.
            row.truncate(row.len() - 4);
            append_checksum(&mut row, 0);
            let _ = decode(&row);
        }
    }

    #[test]
    fn a_towns_row_is_small() {
        let level = |n: u32| Measurement {
            series: SeriesId(n),
            quality: Quality::GOOD,
            observed_at: Timestamp::from_millis(1_790_000_000_000 + i64::from(n % 977)),
            received_at: Timestamp::from_micros(1_790_000_001_000_000 + i64::from(n)),
            value: f64::from(n % 3000) / 1000.0,
        };
        let rows: Vec<Measurement> = (0..5000).map(level).collect();
        let size = RowEncoder::default().encode(&[&rows]).len();
        assert!(size < 5000 * 9, "{size}");
    }
}
