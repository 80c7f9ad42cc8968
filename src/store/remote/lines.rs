//! InfluxDB's line protocol: how a reading is written for both engines. The names are those of [`names`].
//!
//! Encoded here and not by a client library: the crates that do it escape backslashes and line breaks wrongly, and one bad
//! line is silently dropped by VictoriaMetrics or has InfluxDB refuse all of its batch. What a name may have is narrow
//! ([`DeviceId`](crate::model::DeviceId), [`MetricName`](crate::model::MetricName)), so that the protocol's escapes, which
//! cannot write every text, are never needed: a test holds that against a reader of the protocol.

use std::io::Write;
use std::time::Duration;

use crate::model::{Grade, Measurement, Timestamp};
use crate::store::{Bucket, SeriesKey, Tier, names};

/// How exactly times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// Whole milliseconds, rounded down.
    Millis,
    /// Microseconds.
    Micros,
}

impl Precision {
    /// The time as the engine keeps it.
    pub(super) fn kept(self, time: Timestamp) -> Timestamp {
        match self {
            Precision::Millis => {
                Timestamp::from_micros(time.as_micros().div_euclid(1_000).saturating_mul(1_000))
            }
            Precision::Micros => time,
        }
    }

    /// How many microseconds are one time.
    pub(super) fn width(self) -> Duration {
        match self {
            Precision::Millis => Duration::from_millis(1),
            Precision::Micros => Duration::from_micros(1),
        }
    }

    fn number(self, time: Timestamp) -> i64 {
        match self {
            Precision::Millis => time.as_micros().div_euclid(1_000),
            Precision::Micros => time.as_micros(),
        }
    }
}

/// The end of the times that engines can keep, in 2262, where nanoseconds in 64 bits end.
pub(super) const LATEST: Timestamp = Timestamp::from_micros(i64::MAX / 1_000);

/// Whether engines can keep this time, from 1970 on. A reading of another time is kept by the hub's own store only.
pub(super) fn is_sendable(time: Timestamp) -> bool {
    (Timestamp::EPOCH..LATEST).contains(&time)
}

/// Adds the line of a reading. A number that is none (NaN, infinite) has no field: what remains is the reading's quality.
pub(super) fn push_reading(
    out: &mut Vec<u8>,
    key: &SeriesKey,
    m: &Measurement,
    precision: Precision,
) {
    push_series(out, key);
    if m.value.is_finite() {
        let field = if m.quality.grade == Grade::Bad { names::BAD } else { names::VALUE };
        push_text(out, field);
        out.push(b'=');
        push_float(out, m.value);
        out.push(b',');
    }
    push_integer(out, names::QUALITY, i64::from(m.quality.to_byte()));
    let lag = m.received_at.as_micros().saturating_sub(m.observed_at.as_micros());
    let lag = lag.div_euclid(1_000_000);
    if lag != 0 {
        out.push(b',');
        push_integer(out, names::LAG, lag);
    }
    push_end(out, precision.number(m.observed_at));
}

/// Adds the line of a window whose readings the queue gave up.
pub(super) fn push_rollup(
    out: &mut Vec<u8>,
    key: &SeriesKey,
    tier: Tier,
    bucket: &Bucket,
    precision: Precision,
) {
    push_series(out, key);
    let numbers = [
        ("mean", bucket.mean),
        ("min", bucket.min),
        ("max", bucket.max),
        ("last", bucket.last),
        ("good_share", bucket.good_share),
        ("time_mean", bucket.time_mean),
        ("occupied_share", bucket.occupied_share),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| number.is_finite()) {
        push_text(out, &names::rollup(tier, name));
        out.push(b'=');
        push_float(out, number);
        out.push(b',');
    }
    push_integer(out, &names::rollup(tier, "count"), bucket.count as i64);
    push_end(out, precision.number(bucket.start));
}

fn push_series(out: &mut Vec<u8>, key: &SeriesKey) {
    push_text(out, names::measurement(&key.metric));
    out.push(b',');
    push_text(out, names::DEVICE);
    out.push(b'=');
    push_text(out, key.device.as_str());
    out.push(b' ');
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn push_integer(out: &mut Vec<u8>, name: &str, number: i64) {
    push_text(out, name);
    push(out, format_args!("={number}i"));
}

/// The shortest text that reads back as the same number; never an exponent, which not every reader takes.
fn push_float(out: &mut Vec<u8>, number: f64) {
    push(out, format_args!("{number}"));
}

fn push_end(out: &mut Vec<u8>, time: i64) {
    push(out, format_args!(" {time}\n"));
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes what is written to it");
}

#[cfg(test)]
pub(super) mod reader {
    //! A strict reader of the protocol, by its reference: what it does not know it refuses.

    /// A line, read.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Line {
        pub(crate) measurement: String,
        pub(crate) tags: Vec<(String, String)>,
        pub(crate) fields: Vec<(String, Field)>,
        pub(crate) time: i64,
    }

    /// A field's value.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(crate) enum Field {
        Float(f64),
        Integer(i64),
    }

    /// Reads every line.
    pub(crate) fn read(text: &str) -> Result<Vec<Line>, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        text.lines().map(|line| read_line(line).map_err(|why| format!("{why}: `{line}`"))).collect()
    }

    fn read_line(line: &str) -> Result<Line, String> {
        let parts = split(line, ' ')?;
        let [series, fields, time] = parts.as_slice() else {
            return Err(format!("{} parts instead of 3", parts.len()));
        };
        let mut names = split(series, ',')?.into_iter();
        let measurement = names.next().filter(|name| !name.is_empty());
        let measurement = measurement.ok_or("no measurement")?;
        if measurement.starts_with('_') {
            return Err("names with `_` in front are the engine's own".to_owned());
        }
        let tags = names.map(|tag| pair(&tag)).collect::<Result<Vec<_>, _>>()?;
        if !tags.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("tags stand twice or out of order".to_owned());
        }
        let field = |field: &String| {
            let (name, value) = pair(field)?;
            Ok((name, read_field(&value)?))
        };
        let fields = split(fields, ',')?.iter().map(field).collect::<Result<Vec<_>, String>>()?;
        let time = time.parse().map_err(|_| format!("`{time}` is no time"))?;
        Ok(Line { measurement: unescape(&measurement)?, tags, fields, time })
    }

    fn read_field(text: &str) -> Result<Field, String> {
        if let Some(number) = text.strip_suffix('i') {
            return number
                .parse()
                .map(Field::Integer)
                .map_err(|_| format!("`{text}` is no number"));
        }
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
        let number = text.parse().ok().filter(|number: &f64| plain && number.is_finite());
        number.map(Field::Float).ok_or_else(|| format!("`{text}` is no number"))
    }

    fn pair(text: &str) -> Result<(String, String), String> {
        let parts = split(text, '=')?;
        match parts.as_slice() {
            [name, value] if !name.is_empty() && !value.is_empty() => {
                Ok((unescape(name)?, unescape(value)?))
            }
            _ => Err(format!("`{text}` is no pair")),
        }
    }

    /// At every `by` that has no backslash in front of it.
    fn split(text: &str, by: char) -> Result<Vec<String>, String> {
        let (mut parts, mut escaped) = (vec![String::new()], false);
        for c in text.chars() {
            if c == by && !escaped {
                parts.push(String::new());
            } else if let Some(part) = parts.last_mut() {
                part.push(c);
            }
            escaped = c == '\\' && !escaped;
        }
        if escaped { Err("it ends with a backslash".to_owned()) } else { Ok(parts) }
    }

    fn unescape(text: &str) -> Result<String, String> {
        if text.contains(['\\', '\n', '\r', '\t', '"']) {
            return Err(format!("`{text}` has what no name of ours has"));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::reader::{Field, Line, read};
    use super::*;
    use crate::model::{Quality, SeriesId};

    fn key(device: &str, metric: &str) -> SeriesKey {
        SeriesKey { device: device.parse().unwrap(), metric: metric.parse().unwrap() }
    }

    fn text_of(m: &Measurement, key: &SeriesKey, precision: Precision) -> String {
        let mut out = Vec::new();
        push_reading(&mut out, key, m, precision);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reading_is_the_line_that_the_names_promise() {
        let mut m = Measurement {
            series: SeriesId(0),
            quality: Quality::GOOD,
            observed_at: Timestamp::from_micros(1_790_000_000_000_999),
            received_at: Timestamp::from_micros(1_790_000_000_500_000),
            value: 1.243,
        };
        let key = key("mh-014", "level");
        let line = "level,device=mh-014 value=1.243,quality=0i 1790000000000999\n";
        assert_eq!(text_of(&m, &key, Precision::Micros), line);
        m.quality = Quality::bad(crate::model::Reason::Range);
        m.received_at = Timestamp::from_micros(1_790_000_090_500_000);
        let line = "level,device=mh-014 bad=1.243,quality=6i,lag=90i 1790000000000\n";
        assert_eq!(text_of(&m, &key, Precision::Millis), line);
        m.value = f64::NAN;
        let line = "level,device=mh-014 quality=6i,lag=90i 1790000000000\n";
        assert_eq!(text_of(&m, &key, Precision::Millis), line);
    }

    proptest! {
        #[test]
        fn every_reading_reads_back(
            device in "[A-Za-z0-9._:-]{1,64}",
            metric in "[a-z][a-z0-9_]{0,30}",
            m in crate::store::embedded::tests::any_measurement(),
        ) {
            let key = key(&device, &metric);
            let read = read(&text_of(&m, &key, Precision::Micros)).map_err(TestCaseError::fail)?;
            let [Line { measurement, tags, fields, time }] = read.as_slice() else {
                return Err(TestCaseError::fail("not one line"));
            };
            prop_assert_eq!(measurement, &metric);
            prop_assert_eq!(tags.as_slice(), &[("device".to_owned(), device)]);
            prop_assert_eq!(*time, m.observed_at.as_micros());
            let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, v)| *v);
            prop_assert_eq!(field("quality"), Some(Field::Integer(i64::from(m.quality.to_byte()))));
            let (own, other) = match m.quality.grade {
                Grade::Bad => ("bad", "value"),
                _ => ("value", "bad"),
            };
            prop_assert_eq!(field(other), None);
            prop_assert_eq!(field(own), Some(m.value).filter(|v| v.is_finite()).map(Field::Float));
        }
    }
}
