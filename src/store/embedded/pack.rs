//! Columns of numbers, squeezed by pco.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use super::numbers::{Bytes, Defect, write_varint};

/// How hard pco tries. On the benchmark's town 4, 6 and 8 differ by 0.5 % in bytes, and in time by less than two runs do.
const LEVEL: usize = 6;

/// How wide the numbers of a column are. Narrow ones make smaller tables inside pco and go through it faster.
mod width {
    pub(super) const TWO: u8 = 2;
    pub(super) const FOUR: u8 = 4;
    pub(super) const EIGHT: u8 = 8;
}

/// Writes whole numbers; nothing when there are none. The reader must know how many there are.
pub(super) fn write_column(out: &mut Vec<u8>, column: &[i64]) -> Result<(), Defect> {
    let (Some(&least), Some(&greatest)) = (column.iter().min(), column.iter().max()) else {
        return Ok(());
    };
    let fits = |low: i64, high: i64| low <= least && greatest <= high;
    // The block has made small numbers of them already, so pco need not search for a better way to see them.
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::NoOp);
    if fits(i64::from(i16::MIN), i64::from(i16::MAX)) {
        let narrow: Vec<i16> = column.iter().map(|&n| n as i16).collect();
        squeeze(out, width::TWO, &narrow, &config)
    } else if fits(i64::from(i32::MIN), i64::from(i32::MAX)) {
        let narrow: Vec<i32> = column.iter().map(|&n| n as i32).collect();
        squeeze(out, width::FOUR, &narrow, &config)
    } else {
        squeeze(out, width::EIGHT, column, &config)
    }
}

/// Writes values that are no short decimal numbers; nothing when there are none.
pub(super) fn write_floats(out: &mut Vec<u8>, column: &[f64]) -> Result<(), Defect> {
    if column.is_empty() {
        return Ok(());
    }
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    squeeze(out, width::EIGHT, column, &config)
}

fn squeeze<T: Number>(
    out: &mut Vec<u8>,
    width: u8,
    column: &[T],
    config: &ChunkConfig,
) -> Result<(), Defect> {
    let mut squeezed = Vec::new();
    let refused = |_| Defect("its numbers cannot be compressed");
    let file = FileCompressor::default();
    file.write_header(&mut squeezed).map_err(refused)?;
    let mut chunk = file.chunk_compressor(column, config).map_err(refused)?;
    chunk.write_meta(&mut squeezed).map_err(refused)?;
    chunk.write_page(0, &mut squeezed).map_err(refused)?;
    out.push(width);
    write_varint(out, squeezed.len() as u64);
    out.extend_from_slice(&squeezed);
    Ok(())
}

/// The `count` numbers that [`write_column`] wrote.
pub(super) fn read_column(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<i64>, Defect> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match bytes.byte()? {
        width::TWO => Ok(release::<i16>(bytes, count)?.into_iter().map(i64::from).collect()),
        width::FOUR => Ok(release::<i32>(bytes, count)?.into_iter().map(i64::from).collect()),
        width::EIGHT => release::<i64>(bytes, count),
        _ => Err(Defect("a column's width is unknown")),
    }
}

/// The `count` values that [`write_floats`] wrote.
pub(super) fn read_floats(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<f64>, Defect> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match bytes.byte()? {
        width::EIGHT => release::<f64>(bytes, count),
        _ => Err(Defect("a column's width is unknown")),
    }
}

/// `count` is bounded by the caller; pco fills exactly this much or fails.
fn release<T: Number + Default>(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<T>, Defect> {
    let size = usize::try_from(bytes.varint()?).map_err(|_| Defect("a column is too long"))?;
    let squeezed = bytes.take(size)?;
    let damaged = |_| Defect("a column does not decompress");
    let (file, rest) = FileDecompressor::new(squeezed).map_err(damaged)?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).map_err(damaged)?;
    let mut page = chunk.page_decompressor(rest, count).map_err(damaged)?;
    let mut column = vec![T::default(); count];
    let progress = page.read(&mut column).map_err(damaged)?;
    if progress.n_processed != count {
        return Err(Defect("a column is too short"));
    }
    Ok(column)
}
