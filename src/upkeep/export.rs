//! Readings for other programs: CSV and Parquet, of any span, in bounded memory, beside a hub that runs.
//!
//! By series and time; of the same series and time there is one. With [`Export::by_day`] one file a day (UTC) in folders
//! `date=2026-11-28`, as DuckDB, Spark and pandas read them; else one file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::check::Pair;
use super::error::UpkeepError;
use super::manifest::{DATA, NAME};
use super::stop::Stop;
use crate::model::{Measurement, MetricName, SeriesId, Timestamp};
use crate::profile::ProfileSet;
use crate::store::{ReadingsFile, SeriesKey};

const DAY: i64 = 86_400_000_000;

/// Rows of a row group: what is held in memory, some 15 MB; and what a reader skips at once by its statistics.
const ROWS: usize = 1 << 17;

const SCHEMA: &str = "message readings {
    required int64 observed_at (TIMESTAMP(MICROS, true));
    required int64 received_at (TIMESTAMP(MICROS, true));
    required binary device (STRING);
    required binary metric (STRING);
    optional binary unit (STRING);
    optional double value;
    required binary quality (STRING);
    optional binary reason (STRING);
}";

const COLUMNS: [&str; 8] =
    ["observed_at", "received_at", "device", "metric", "unit", "value", "quality", "reason"];

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, UTF-8, a header line; times in RFC 3339.
    Csv,
    /// Apache Parquet, snappy; times are microseconds by UTC.
    Parquet,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Export {
    /// Observed at or after this.
    pub from: Timestamp,
    /// Observed before this.
    pub to: Timestamp,
    /// Only these devices; empty is all.
    pub devices: Vec<String>,
    /// Only these metrics; empty is all.
    pub metrics: Vec<String>,
    /// How.
    pub format: Format,
    /// One file a day, in folders.
    pub by_day: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Readings.
    pub rows: u64,
    /// Series among them.
    pub series: usize,
    /// Files.
    pub files: usize,
}

impl Export {
    /// Writes what is wanted of a data folder or a backup to `out`: a file, or with [`Export::by_day`] a folder. A file is
    /// there when it is whole.
    ///
    /// # Errors
    /// When the readings cannot be read or `out` cannot be written, is there already, or some of the span is in an
    /// engine only.
    pub fn write(
        &self,
        folder: &Path,
        profiles: &ProfileSet,
        out: &Path,
        stop: &Stop,
    ) -> Result<Exported, UpkeepError> {
        if self.from >= self.to {
            let why = format!("the span ends ({}) before it begins ({})", self.to, self.from);
            return Err(UpkeepError::BadQuery(why));
        }
        if out.exists() {
            let why = format!("{} is there already; name a new file or folder", out.display());
            return Err(UpkeepError::BadQuery(why));
        }
        let pair = match folder.join(NAME).exists() {
            true => Pair::still(&folder.join(DATA), stop)?,
            false => Pair::beside(folder, stop)?,
        };
        let Some(readings) = &pair.readings else {
            let why = "there are no readings: the hub never ran on this folder".to_owned();
            return Err(UpkeepError::BadQuery(why));
        };
        let file = ReadingsFile::over(&readings.conn);
        if let Some(near) = file.near_from()?.filter(|near| self.from < *near) {
            let why = format!(
                "raw readings before {near} are in the engine only; export them there, or begin at that time"
            );
            return Err(UpkeepError::BadQuery(why));
        }
        let keys = file.keys()?;
        let units = units(&pair.town.conn, profiles)
            .map_err(UpkeepError::database(&folder.join(super::TOWN)))?;
        let wanted: Vec<Column> = self.columns(&keys, &units);
        let mut is_wanted = vec![false; keys.len()];
        wanted.iter().for_each(|column| is_wanted[column.series.index()] = true);
        let is_wanted = |series: SeriesId| is_wanted.get(series.index()) == Some(&true);
        let scan = file.scan(&is_wanted, self.from, self.to)?;
        let mut done = Exported { series: wanted.len(), ..Exported::default() };
        let mut write = |to: &Path, span: (Timestamp, Timestamp)| -> Result<(), UpkeepError> {
            let mut table = None;
            for column in &wanted {
                stop.check()?;
                scan.each::<UpkeepError>(column.series, span, |m| {
                    let table = match &mut table {
                        Some(table) => table,
                        none => none.insert(Table::create(to, self.format)?),
                    };
                    done.rows += 1;
                    table.push(column, m)
                })?;
            }
            // One file has its header even when it has no row; a day without a row has no file.
            if table.is_none() && !self.by_day {
                table = Some(Table::create(to, self.format)?);
            }
            if let Some(table) = table {
                table.finish()?;
                done.files += 1;
            }
            Ok(())
        };
        if !self.by_day {
            write(out, (self.from, self.to))?;
            return Ok(done);
        }
        std::fs::create_dir_all(out).map_err(UpkeepError::file(out))?;
        if let Some((first, last)) = scan.days(self.from, self.to) {
            for day in first..=last {
                let (start, end) = (day.saturating_mul(DAY), (day + 1).saturating_mul(DAY));
                let from = self.from.max(Timestamp::from_micros(start));
                let to = self.to.min(Timestamp::from_micros(end));
                let date = jiff::Timestamp::from_microsecond(start)
                    .map_or_else(|_| day.to_string(), |at| at.strftime("%Y-%m-%d").to_string());
                let name = format!("readings.{}", self.format.extension());
                write(&out.join(format!("date={date}")).join(name), (from, to))?;
            }
        }
        Ok(done)
    }

    fn columns(
        &self,
        keys: &[SeriesKey],
        units: &HashMap<(String, MetricName), String>,
    ) -> Vec<Column> {
        let is_listed =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        let mut columns: Vec<Column> = keys
            .iter()
            .zip(0..)
            .filter(|(key, _)| {
                is_listed(&self.devices, key.device.as_str())
                    && is_listed(&self.metrics, key.metric.as_str())
            })
            .map(|(key, number)| Column {
                series: SeriesId(number),
                device: key.device.as_str().into(),
                metric: key.metric.as_str().into(),
                unit: units
                    .get(&(key.device.as_str().to_owned(), key.metric.clone()))
                    .map(|unit| unit.as_str().into()),
            })
            .collect();
        // By name, so that the same readings make the same file.
        columns.sort_by(|a, b| (&a.device, &a.metric).cmp(&(&b.device, &b.metric)));
        columns
    }
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }
}

/// A series and what is the same in all its rows.
#[derive(Debug)]
struct Column {
    series: SeriesId,
    device: Arc<str>,
    metric: Arc<str>,
    unit: Option<Arc<str>>,
}

/// The units by device and metric: those of the devices' present profiles.
fn units(
    town: &rusqlite::Connection,
    profiles: &ProfileSet,
) -> rusqlite::Result<HashMap<(String, MetricName), String>> {
    let mut units = HashMap::new();
    let mut statement = town.prepare("SELECT id, profile FROM devices")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (device, profile): (String, String) = (row.get(0)?, row.get(1)?);
        let Some(profile) = profiles.profiles.get(profile.as_str()) else { continue };
        for point in &profile.points {
            units.insert((device.clone(), point.name.clone()), point.unit.clone());
        }
    }
    Ok(units)
}

/// A file that is being written, under another name until it is whole.
enum Table {
    Csv { writer: Box<csv::Writer<BufWriter<File>>>, names: Names },
    Parquet { sheet: Box<Sheet>, names: Names },
}

/// A Parquet file and the row group that is being filled for it.
struct Sheet {
    writer: SerializedFileWriter<BufWriter<File>>,
    rows: Rows,
}

struct Names {
    partial: PathBuf,
    whole: PathBuf,
}

impl Table {
    fn create(to: &Path, format: Format) -> Result<Self, UpkeepError> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(UpkeepError::file(parent))?;
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let names = Names { partial: partial.into(), whole: to.to_owned() };
        let file = File::create(&names.partial).map_err(UpkeepError::file(&names.partial))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(match format {
            Format::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(file));
                writer.write_record(COLUMNS)?;
                Table::Csv { writer, names }
            }
            Format::Parquet => {
                let schema = Arc::new(parse_message_type(SCHEMA)?);
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_created_by(format!("townhub version {}", env!("CARGO_PKG_VERSION")))
                    .build();
                let writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
                Table::Parquet { sheet: Box::new(Sheet { writer, rows: Rows::default() }), names }
            }
        })
    }

    fn push(&mut self, column: &Column, m: &Measurement) -> Result<(), UpkeepError> {
        match self {
            Table::Csv { writer, .. } => {
                let value = if m.value.is_nan() { String::new() } else { m.value.to_string() };
                let reason = m.quality.reason.map_or("", |reason| reason.as_str());
                writer.write_record([
                    m.observed_at.to_string().as_str(),
                    &m.received_at.to_string(),
                    &column.device,
                    &column.metric,
                    column.unit.as_deref().unwrap_or_default(),
                    &value,
                    m.quality.grade.as_str(),
                    reason,
                ])?;
            }
            Table::Parquet { sheet, .. } => {
                sheet.rows.push(column, m);
                if sheet.rows.observed.len() >= ROWS {
                    sheet.rows.write(&mut sheet.writer)?;
                }
            }
        }
        Ok(())
    }

    /// Brings it to the disk and gives it its name.
    fn finish(self) -> Result<(), UpkeepError> {
        let (file, names) = match self {
            Table::Csv { writer, names } => {
                let file = writer
                    .into_inner()
                    .map_err(|why| UpkeepError::file(&names.partial)(why.into_error()))?;
                (file, names)
            }
            Table::Parquet { mut sheet, names } => {
                sheet.rows.write(&mut sheet.writer)?;
                (sheet.writer.into_inner()?, names)
            }
        };
        let written = || -> std::io::Result<()> {
            let mut file = file;
            file.flush()?;
            file.get_ref().sync_all()?;
            std::fs::rename(&names.partial, &names.whole)
        };
        written().map_err(UpkeepError::file(&names.whole))
    }
}

/// A row group that is being filled. A level of 0 is "absent", of 1 "there is one"; the values are only those that are.
#[derive(Default)]
struct Rows {
    observed: Vec<i64>,
    received: Vec<i64>,
    device: Vec<ByteArray>,
    metric: Vec<ByteArray>,
    unit: (Vec<ByteArray>, Vec<i16>),
    value: (Vec<f64>, Vec<i16>),
    quality: Vec<ByteArray>,
    reason: (Vec<ByteArray>, Vec<i16>),
    /// Of the last series: the same bytes serve all its rows.
    texts: Option<(SeriesId, ByteArray, ByteArray, Option<ByteArray>)>,
}

impl Rows {
    fn push(&mut self, column: &Column, m: &Measurement) {
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let is_same = self.texts.as_ref().is_some_and(|(series, ..)| *series == column.series);
        if !is_same {
            let unit = column.unit.as_deref().map(text);
            self.texts = Some((column.series, text(&column.device), text(&column.metric), unit));
        }
        let Some((_, device, metric, unit)) = &self.texts else { return };
        self.observed.push(m.observed_at.as_micros());
        self.received.push(m.received_at.as_micros());
        self.device.push(device.clone());
        self.metric.push(metric.clone());
        self.unit.1.push(i16::from(unit.is_some()));
        self.unit.0.extend(unit.clone());
        self.value.1.push(i16::from(!m.value.is_nan()));
        self.value.0.extend(Some(m.value).filter(|value| !value.is_nan()));
        self.quality.push(ByteArray::from(m.quality.grade.as_str()));
        self.reason.1.push(i16::from(m.quality.reason.is_some()));
        self.reason.0.extend(m.quality.reason.map(|reason| ByteArray::from(reason.as_str())));
    }

    /// Writes what there is as a row group.
    fn write(
        &mut self,
        writer: &mut SerializedFileWriter<BufWriter<File>>,
    ) -> Result<(), UpkeepError> {
        let rows = std::mem::take(self);
        if rows.observed.is_empty() {
            return Ok(());
        }
        let mut group = writer.next_row_group()?;
        write_column::<Int64Type>(&mut group, &rows.observed, None)?;
        write_column::<Int64Type>(&mut group, &rows.received, None)?;
        write_column::<ByteArrayType>(&mut group, &rows.device, None)?;
        write_column::<ByteArrayType>(&mut group, &rows.metric, None)?;
        write_column::<ByteArrayType>(&mut group, &rows.unit.0, Some(&rows.unit.1))?;
        write_column::<DoubleType>(&mut group, &rows.value.0, Some(&rows.value.1))?;
        write_column::<ByteArrayType>(&mut group, &rows.quality, None)?;
        write_column::<ByteArrayType>(&mut group, &rows.reason.0, Some(&rows.reason.1))?;
        group.close()?;
        Ok(())
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), UpkeepError> {
    let missing = || UpkeepError::BadQuery("the table has more columns than its schema".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()?;
    Ok(())
}

/// A moment as people write it: RFC 3339, or a day (UTC), at its begin.
///
/// # Errors
/// When it is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    at.map(|at| Timestamp::from_micros(at.as_microsecond())).ok_or_else(|| {
        format!("`{text}` is no time; write for example 2026-11-28 or 2026-11-28T08:00:00+08:00")
    })
}
