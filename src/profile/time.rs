//! How a device spells its own time.

use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

use super::value::{Value, plain_number};
use crate::model::Timestamp;

/// The spellings of a device's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// `2026-09-21T14:13:20Z`.
    Rfc3339,
    /// What a clock on the wall shows, by a pattern and a time zone of the profile.
    Local,
}

/// Reads times of one spelling.
#[derive(Debug, Clone)]
pub(super) enum TimeReader {
    /// A count of this many microseconds since 1970.
    Unix(i64),
    Rfc3339,
    Local(LocalTime),
}

/// A pattern such as `%Y-%m-%d %H:%M:%S` and the zone whose clock it shows.
///
/// Where the clock is set back, an hour comes twice: the first of the two is meant. Where it is set forward, an hour
/// does not exist: it is read as if the clock had not been set. This is RFC 5545's rule, so that the same text always
/// is the same time. A pattern with `%z` says which it is, and the zone is not asked.
#[derive(Debug, Clone)]
pub(super) struct LocalTime {
    pattern: Box<str>,
    zone: TimeZone,
}

/// Why a pattern and a zone spell no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("`{0}` is no time zone; write an IANA name, for example Asia/Shanghai")]
    Zone(String),
    #[error("the pattern cannot be read: {0}")]
    Broken(String),
    #[error(
        "the pattern does not say the whole time; it needs a date, an hour and a minute, for example \
         %Y-%m-%d %H:%M:%S"
    )]
    Partial,
}

impl PatternError {
    /// Whether the zone is wrong, not the pattern.
    pub(super) fn is_of_zone(&self) -> bool {
        matches!(self, PatternError::Zone(_))
    }
}

impl TimeFormat {
    /// Every format.
    pub const ALL: [TimeFormat; 5] = [
        TimeFormat::UnixS,
        TimeFormat::UnixMs,
        TimeFormat::UnixUs,
        TimeFormat::Rfc3339,
        TimeFormat::Local,
    ];

    /// The format's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            TimeFormat::UnixS => "unix_s",
            TimeFormat::UnixMs => "unix_ms",
            TimeFormat::UnixUs => "unix_us",
            TimeFormat::Rfc3339 => "rfc3339",
            TimeFormat::Local => "local",
        }
    }

    /// Its reader; `None` for local times, which need a pattern and a zone.
    pub(super) fn reader(self) -> Option<TimeReader> {
        match self {
            TimeFormat::UnixS => Some(TimeReader::Unix(1_000_000)),
            TimeFormat::UnixMs => Some(TimeReader::Unix(1_000)),
            TimeFormat::UnixUs => Some(TimeReader::Unix(1)),
            TimeFormat::Rfc3339 => Some(TimeReader::Rfc3339),
            TimeFormat::Local => None,
        }
    }
}

impl TimeReader {
    /// The time that a value stands for.
    pub(super) fn read(&self, value: Value<'_>) -> Option<Timestamp> {
        let micros = match (self, value) {
            (TimeReader::Unix(unit), Value::Int(n)) => n.checked_mul(*unit)?,
            (TimeReader::Unix(unit), Value::Float(x)) => whole_micros(x * *unit as f64)?,
            (TimeReader::Unix(unit), Value::Text(text)) => match text.parse::<i64>() {
                Ok(n) => n.checked_mul(*unit)?,
                Err(_) => whole_micros(plain_number(text)? * *unit as f64)?,
            },
            (TimeReader::Rfc3339, Value::Text(text)) => return text.parse().ok(),
            (TimeReader::Local(local), Value::Text(text)) => local.read(text)?,
            // Compact patterns such as %Y%m%d%H%M%S come as a number too.
            (TimeReader::Local(local), Value::Int(n)) => local.read(&n.to_string())?,
            _ => return None,
        };
        written(micros)
    }
}

impl LocalTime {
    /// Checks both.
    pub(super) fn new(pattern: &str, zone: &str) -> Result<Self, PatternError> {
        let zone = TimeZone::get(zone).map_err(|_| PatternError::Zone(zone.to_owned()))?;
        let local = LocalTime { pattern: pattern.into(), zone };
        // 14:13 and the 21st cannot be mistaken for anything that a pattern leaves out.
        let sample = jiff::civil::date(2026, 9, 21).at(14, 13, 0, 0);
        let sample = sample.to_zoned(local.zone.clone()).map_err(broken)?;
        let text = strtime::format(pattern, &sample).map_err(broken)?;
        strtime::parse(pattern, &text).map_err(broken)?;
        match local.read(&text) {
            Some(micros) if micros == sample.timestamp().as_microsecond() => Ok(local),
            _ => Err(PatternError::Partial),
        }
    }

    /// Microseconds since 1970.
    fn read(&self, text: &str) -> Option<i64> {
        let parts: BrokenDownTime = strtime::parse(&*self.pattern, text.trim()).ok()?;
        let time = match parts.offset() {
            Some(_) => parts.to_timestamp().ok()?,
            None => {
                let local = parts.to_datetime().ok()?;
                self.zone.to_ambiguous_timestamp(local).compatible().ok()?
            }
        };
        Some(time.as_microsecond())
    }
}

fn broken(error: jiff::Error) -> PatternError {
    PatternError::Broken(error.to_string())
}

/// What can be written as RFC 3339.
const YEARS_0_TO_9999_US: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// A time that can be written.
pub(super) fn written(micros: i64) -> Option<Timestamp> {
    YEARS_0_TO_9999_US.contains(&micros).then(|| Timestamp::from_micros(micros))
}

/// The nearest whole number of microseconds, when an `i64` can hold it (2^63 is not one of them).
pub(super) fn whole_micros(micros: f64) -> Option<i64> {
    let micros = micros.round();
    (-(2f64.powi(63))..2f64.powi(63)).contains(&micros).then_some(micros as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, zone: &str, text: &str, expected: Option<&str>) {
        let local = LocalTime::new(pattern, zone).expect("a pattern");
        let found = TimeReader::Local(local).read(Value::Text(text));
        assert_eq!(found.map(|time| time.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_local_time_is_read_by_its_zone() {
        let usual = "%Y-%m-%d %H:%M:%S";
        check(usual, "Asia/Shanghai", "2026-09-21 22:13:20", Some("2026-09-21T14:13:20Z"));
        check(usual, "UTC", " 2026-09-21 22:13:20 ", Some("2026-09-21T22:13:20Z"));
        check("%d/%m/%y %H:%M", "Asia/Shanghai", "21/09/26 22:13", Some("2026-09-21T14:13:00Z"));
        check("%Y%m%d%H%M%S", "Asia/Shanghai", "20260921221320", Some("2026-09-21T14:13:20Z"));
        check(
            "%Y-%m-%d %H:%M:%S%.f",
            "UTC",
            "2026-09-21 22:13:20.25",
            Some("2026-09-21T22:13:20.25Z"),
        );
        check("%Y-%m-%dT%H:%M%z", "UTC", "2026-09-21T22:13+0800", Some("2026-09-21T14:13:00Z"));
        check(usual, "Asia/Shanghai", "2026-02-30 22:13:20", None);
        check(usual, "Asia/Shanghai", "2026-09-21", None);
        check(usual, "Asia/Shanghai", "", None);
        let compact = LocalTime::new("%Y%m%d%H%M%S", "UTC").expect("a pattern");
        let found = TimeReader::Local(compact).read(Value::Int(20_260_921_221_320));
        assert_eq!(found.map(|time| time.to_string()).as_deref(), Some("2026-09-21T22:13:20Z"));
    }

    #[test]
    fn an_hour_that_comes_twice_or_never_is_always_the_same_time() {
        let check = |text, expected| check("%Y-%m-%d %H:%M", "Europe/Berlin", text, Some(expected));
        // 02:30 comes twice on the day on which summer time ends: the first, still at +02:00, is meant.
        check("2026-10-25 02:30", "2026-10-25T00:30:00Z");
        check("2026-10-25 03:00", "2026-10-25T02:00:00Z");
        // 02:30 does not exist on the day on which it starts: an hour later by the clock that was set.
        check("2026-03-29 02:30", "2026-03-29T01:30:00Z");
        // China's own summer time, the last of which ended on 15 September 1991.
        super::tests::check(
            "%Y-%m-%d %H:%M",
            "Asia/Shanghai",
            "1991-09-14 12:00",
            Some("1991-09-14T03:00:00Z"),
        );
    }

    #[test]
    fn a_pattern_says_the_whole_time() {
        #[track_caller]
        fn check(pattern: &str, zone: &str, expected: &str) {
            let error = LocalTime::new(pattern, zone).expect_err(pattern).to_string();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
        check("%Y-%m-%d", "Asia/Shanghai", "does not say the whole time");
        check("%H:%M:%S", "Asia/Shanghai", "does not say the whole time");
        check("%Y-%m-%d %H", "Asia/Shanghai", "does not say the whole time");
        check("%Y-%m-%d %I:%M", "Asia/Shanghai", "does not say the whole time");
        check("soon", "Asia/Shanghai", "does not say the whole time");
        check("%Q-%m", "Asia/Shanghai", "cannot be read");
        check("%Y-%m-%d %H:%M", "Asia/Wuzhen", "`Asia/Wuzhen` is no time zone");
    }
}
