//! Which time a report is about: its span, the civil periods in it, and the span before it.
//!
//! Days, weeks and months are those of the town's time zone; a week begins on Monday. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::model::Timestamp;

/// From a time on, before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

/// What a report is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The zone of the asset.
    Zone,
    /// The unit that a case was dispatched to last.
    Unit,
    /// The kind of the asset.
    Kind,
    /// The severity.
    Severity,
    /// The civil day.
    Day,
    /// The civil week, from Monday.
    Week,
    /// The civil month.
    Month,
}

/// A text that names no division.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` divides no report; write one of {}", By::ALL.map(By::as_str).join(", "))]
pub struct UnknownBy {
    /// The text that was given.
    pub found: String,
}

/// A civil period within a report's span; the first and the last one may be cut short by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// `2026-09-21`, `2026-W39` or `2026-09`.
    pub key: String,
    /// When it is.
    pub span: Span,
}

impl Span {
    /// Whether the moment lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }

    /// The part of it between two moments; `None` when there is none.
    pub fn clip(&self, from: Timestamp, to: Timestamp) -> Option<Span> {
        let part = Span { from: self.from.max(from), to: self.to.min(to) };
        (part.from < part.to).then_some(part)
    }

    /// The civil periods in it, in order. None for a division by something else than time.
    pub fn periods(&self, by: By, zone: &TimeZone) -> Vec<Period> {
        let Some(first) = date(self.from, zone).map(|date| by.begin(date)) else {
            return Vec::new();
        };
        let mut periods = Vec::new();
        let mut begin = by.is_time().then_some(first);
        while let Some(day) = begin {
            let next = by.next(day);
            let (Some(from), to) = (midnight(day, zone), next.and_then(|day| midnight(day, zone)))
            else {
                break;
            };
            match self.clip(from, to.unwrap_or(self.to)) {
                Some(span) => periods.push(Period { key: by.key(day), span }),
                None => break,
            }
            begin = next;
        }
        periods
    }

    /// The span to compare with: as many months before when it is made of whole months; else as many days when it is
    /// made of whole days; else the same time before.
    pub fn former(&self, zone: &TimeZone) -> Span {
        let whole = |at| date(at, zone).filter(|day| midnight(*day, zone) == Some(at));
        let before = whole(self.from).zip(whole(self.to)).and_then(|(from, to)| {
            let months = (i32::from(to.year()) - i32::from(from.year())) * 12
                + i32::from(to.month() - from.month());
            let back = match (from.day(), to.day()) {
                (1, 1) => months.months(),
                _ => from.until(to).ok()?.get_days().days(),
            };
            midnight(from.checked_sub(back).ok()?, zone)
        });
        let from = before.unwrap_or_else(|| self.from.minus(self.length()));
        Span { from, to: self.from }
    }
}

impl By {
    /// Every division.
    pub const ALL: [By; 7] =
        [By::Zone, By::Unit, By::Kind, By::Severity, By::Day, By::Week, By::Month];

    /// Its spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Zone => "zone",
            By::Unit => "unit",
            By::Kind => "kind",
            By::Severity => "severity",
            By::Day => "day",
            By::Week => "week",
            By::Month => "month",
        }
    }

    /// Whether it divides time.
    pub fn is_time(self) -> bool {
        matches!(self, By::Day | By::Week | By::Month)
    }

    fn begin(self, date: Date) -> Date {
        match self {
            By::Week => {
                let back = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(back.days()).unwrap_or(date)
            }
            By::Month => date.first_of_month(),
            _ => date,
        }
    }

    fn next(self, date: Date) -> Option<Date> {
        let step = match self {
            By::Week => 1.week(),
            By::Month => 1.month(),
            _ => 1.day(),
        };
        date.checked_add(step).ok()
    }

    fn key(self, date: Date) -> String {
        match self {
            By::Week => {
                let week = date.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            By::Month => date.strftime("%Y-%m").to_string(),
            _ => date.to_string(),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for By {
    type Err = UnknownBy;

    fn from_str(text: &str) -> Result<Self, UnknownBy> {
        let known = By::ALL.into_iter().find(|by| by.as_str() == text);
        known.ok_or_else(|| UnknownBy { found: text.to_owned() })
    }
}

/// The civil day of a moment; `None` beyond the years that a calendar has.
fn date(at: Timestamp, zone: &TimeZone) -> Option<Date> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(zone.to_datetime(at).date())
}

/// When a civil day begins.
fn midnight(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    let start = day.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> TimeZone {
        TimeZone::get("Asia/Shanghai").expect("the zone is built in")
    }

    fn span(from: &str, to: &str) -> Span {
        Span { from: from.parse().expect("a time"), to: to.parse().expect("a time") }
    }

    fn check_periods(by: By, expected: &[(&str, &str)]) {
        let asked = span("2026-09-29T12:00:00+08:00", "2026-10-06T00:00:00+08:00");
        let found = asked.periods(by, &shanghai());
        let found: Vec<(String, String)> =
            found.into_iter().map(|period| (period.key, period.span.from.to_string())).collect();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(key, from)| ((*key).to_owned(), (*from).to_owned())).collect();
        assert_eq!(found, expected, "{by}");
    }

    #[test]
    fn periods_begin_at_the_towns_midnight_and_are_cut_by_the_span() {
        check_periods(
            By::Month,
            &[("2026-09", "2026-09-29T04:00:00Z"), ("2026-10", "2026-09-30T16:00:00Z")],
        );
        check_periods(
            By::Week,
            &[("2026-W40", "2026-09-29T04:00:00Z"), ("2026-W41", "2026-10-04T16:00:00Z")],
        );
        let days = span("2026-09-29T12:00:00+08:00", "2026-10-01T00:00:00.000001+08:00")
            .periods(By::Day, &shanghai());
        let keys: Vec<&str> = days.iter().map(|period| period.key.as_str()).collect();
        assert_eq!(keys, ["2026-09-29", "2026-09-30", "2026-10-01"]);
        check_periods(By::Zone, &[]);
    }

    #[test]
    fn a_span_is_compared_with_the_like_of_it() {
        let check = |from: &str, to: &str, expected: &str| {
            let span = span(from, to);
            let former = span.former(&shanghai());
            assert_eq!(former, Span { from: expected.parse().expect("a time"), to: span.from });
        };
        // October has 31 days, September 30: a month is compared with a month.
        let (oct, nov) = ("2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00");
        check(oct, nov, "2026-09-01T00:00:00+08:00");
        check(
            "2026-01-01T00:00:00+08:00",
            "2027-01-01T00:00:00+08:00",
            "2025-01-01T00:00:00+08:00",
        );
        check(
            "2026-09-07T00:00:00+08:00",
            "2026-09-14T00:00:00+08:00",
            "2026-08-31T00:00:00+08:00",
        );
        check(
            "2026-09-07T06:00:00+08:00",
            "2026-09-07T09:30:00+08:00",
            "2026-09-07T02:30:00+08:00",
        );
    }

    #[test]
    fn the_end_of_time_ends_the_periods() {
        let far = Span {
            from: Timestamp::from_micros(i64::MAX - 1),
            to: Timestamp::from_micros(i64::MAX),
        };
        assert!(far.periods(By::Day, &shanghai()).is_empty());
        let last = span("9999-12-01T00:00:00Z", "9999-12-30T12:00:00Z");
        assert!(!last.periods(By::Month, &shanghai()).is_empty());
        assert!("year".parse::<By>().unwrap_err().to_string().contains("zone, unit, kind"));
    }
}
