//! The duty calendar: when a deadline that counts in working time is due.
//!
//! The town's management knows three ways of counting (domain: 紧急工作时, 工作时, 工作日): the clock, working hours, and
//! working days. Pure: no clock, the caller says when it starts. Wall time is local to the calendar's zone; where a clock
//! is put forward, a working hour that does not exist is worked an hour later, as jiff's "compatible" rule says.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Timestamp;

/// How far ahead a due time is looked for: a calendar without a working day in so long is a mistake.
const HORIZON_DAYS: usize = 5 * 366;

/// How much time a step may take, and how it is counted: `30min`, `4 working hours`, `1 working day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// 紧急工作时: by the clock, day and night.
    Clock(Duration),
    /// 工作时: only while people work.
    WorkingHours(Duration),
    /// 工作日: until work ends on so many working days after the day of the start.
    WorkingDays(u16),
}

/// A text that says no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no time for a step; write for example 30min, 4 working hours or 1 working day"
)]
pub struct BudgetError {
    /// The text that was given.
    pub found: String,
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let error = || BudgetError { found: text.to_owned() };
        let number = |rest: &str| rest.trim().parse::<u16>().map_err(|_| error());
        let words = |unit: &str| {
            let rest =
                text.trim().strip_suffix(unit).or(text.trim().strip_suffix(&format!("{unit}s")));
            rest.map(number)
        };
        if let Some(days) = words("working day") {
            return Ok(Budget::WorkingDays(days?));
        }
        if let Some(hours) = words("working hour") {
            return Ok(Budget::WorkingHours(Duration::from_secs(u64::from(hours?) * 3600)));
        }
        let clock =
            text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
        clock.map(Budget::Clock).ok_or_else(error)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// When people work. Checked: made by [`DutyCalendar::new`] only.
#[derive(Debug, Clone)]
pub struct DutyCalendar {
    zone: TimeZone,
    /// The working times of a day, in order, without overlap; never empty.
    shifts: Vec<Shift>,
    weekdays: BTreeSet<i8>,
    holidays: BTreeSet<Date>,
    /// Days off that are worked to make up for a holiday (调休).
    make_up: BTreeSet<Date>,
}

/// A working time within a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shift {
    from: Time,
    to: Time,
}

/// A duty calendar as the configuration writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalendarConfig {
    /// IANA time zone.
    pub zone: String,
    /// Working times of a day: `08:30-12:00`.
    pub hours: Vec<String>,
    /// Working days of a week: `mon` to `sun`.
    pub weekdays: Vec<String>,
    /// Days that are not worked: `2026-10-01`.
    pub holidays: Vec<String>,
    /// Days off that are worked to make up for a holiday.
    pub make_up_days: Vec<String>,
}

/// What is wrong with a calendar's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("duty.{key} = `{found}`: {remedy}")]
pub struct CalendarError {
    /// The key.
    pub key: &'static str,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub remedy: &'static str,
}

impl Default for CalendarConfig {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        CalendarConfig {
            zone: "Asia/Shanghai".to_owned(),
            hours: texts(&["08:30-12:00", "13:30-17:30"]),
            weekdays: texts(&["mon", "tue", "wed", "thu", "fri"]),
            holidays: Vec::new(),
            make_up_days: Vec::new(),
        }
    }
}

impl DutyCalendar {
    /// Checks a configuration.
    ///
    /// # Errors
    /// The first value that makes no calendar.
    pub fn new(config: &CalendarConfig) -> Result<Self, CalendarError> {
        let zone = TimeZone::get(&config.zone)
            .map_err(|_| wrong("zone", &config.zone, "use an IANA name such as Asia/Shanghai"))?;
        let mut shifts = Vec::new();
        for text in &config.hours {
            shifts.push(shift(text).ok_or_else(|| {
                wrong("hours", text, "write from-to within a day, for example 08:30-12:00")
            })?);
        }
        shifts.sort_by_key(|shift| shift.from);
        if let Some(pair) = shifts.windows(2).find(|pair| pair[1].from < pair[0].to) {
            let found = format!("{} and {}", pair[0].to, pair[1].from);
            return Err(wrong("hours", &found, "two working times overlap"));
        }
        let weekdays = parse_all(
            "weekdays",
            &config.weekdays,
            "use mon, tue, wed, thu, fri, sat, sun",
            weekday,
        )?;
        let date = |text: &str| text.parse::<Date>().ok();
        let remedy = "write a date such as 2026-10-01";
        let holidays = parse_all("holidays", &config.holidays, remedy, date)?;
        let make_up = parse_all("make_up_days", &config.make_up_days, remedy, date)?;
        if shifts.is_empty() {
            return Err(wrong("hours", "[]", "give at least one working time"));
        }
        if weekdays.is_empty() {
            return Err(wrong("weekdays", "[]", "give at least one working day"));
        }
        Ok(DutyCalendar { zone, shifts, weekdays, holidays, make_up })
    }

    /// When a step that starts at `start` is due. A working hour that began counts from `start` on; a start outside
    /// working time counts from the next shift. Saturates at five years.
    pub fn due(&self, start: Timestamp, budget: Budget) -> Timestamp {
        match budget {
            Budget::Clock(time) => start.plus(time),
            Budget::WorkingHours(time) => self.after_working(start, time),
            Budget::WorkingDays(0) => start,
            Budget::WorkingDays(days) => self.after_days(start, days),
        }
    }

    /// Whether people work at this time.
    pub fn is_working(&self, at: Timestamp) -> bool {
        let Some(day) = self.day_of(at) else { return false };
        self.is_working_day(day) && self.spans(day).any(|(from, to)| from <= at && at < to)
    }

    fn after_working(&self, start: Timestamp, mut left: Duration) -> Timestamp {
        let Some(first) = self.day_of(start) else { return start.plus(left) };
        for day in first.series(jiff::Span::new().days(1)).take(HORIZON_DAYS) {
            if !self.is_working_day(day) {
                continue;
            }
            for (from, to) in self.spans(day) {
                let from = from.max(start);
                let worked = to.since(from);
                if worked >= left && to > from {
                    return from.plus(left);
                }
                left = left.saturating_sub(worked);
            }
        }
        start.plus(Duration::from_secs(HORIZON_DAYS as u64 * 24 * 3600))
    }

    fn after_days(&self, start: Timestamp, days: u16) -> Timestamp {
        let Some(first) = self.day_of(start) else { return start };
        first
            .series(jiff::Span::new().days(1))
            .skip(1)
            .take(HORIZON_DAYS)
            .filter(|day| self.is_working_day(*day))
            .nth(usize::from(days) - 1)
            .and_then(|day| self.spans(day).last())
            .map_or(start.plus(Duration::from_secs(HORIZON_DAYS as u64 * 24 * 3600)), |(_, end)| {
                end
            })
    }

    /// The zone of its wall time.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether the day is one of the holidays.
    pub fn is_holiday(&self, day: Date) -> bool {
        self.holidays.contains(&day)
    }

    /// Whether people work on this day: on a usual working day that is no holiday, and on a day that makes up for one.
    pub fn is_working_day(&self, day: Date) -> bool {
        let is_usual = self.weekdays.contains(&day.weekday().to_monday_zero_offset());
        self.make_up.contains(&day) || (is_usual && !self.holidays.contains(&day))
    }

    /// The working times of a working day.
    fn spans(&self, day: Date) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let at = move |time: Time| {
            let zoned = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
        };
        self.shifts.iter().filter_map(move |shift| Some((at(shift.from)?, at(shift.to)?)))
    }

    /// The local date; `None` far outside the years that have one.
    pub fn day_of(&self, at: Timestamp) -> Option<Date> {
        let time = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
        Some(time.to_zoned(self.zone.clone()).date())
    }
}

fn wrong(key: &'static str, found: &str, remedy: &'static str) -> CalendarError {
    CalendarError { key, found: found.to_owned(), remedy }
}

fn parse_all<T: Ord>(
    key: &'static str,
    texts: &[String],
    remedy: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<BTreeSet<T>, CalendarError> {
    texts.iter().map(|text| parse(text).ok_or_else(|| wrong(key, text, remedy))).collect()
}

fn weekday(text: &str) -> Option<i8> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let at = days.iter().position(|&day| day == text)?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?)
        .ok()
        .map(|day| day.to_monday_zero_offset())
}

/// `08:30-12:00`; 24:00 is the day's end.
fn shift(text: &str) -> Option<Shift> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| match text.trim() {
        "24:00" => Some(Time::MAX),
        text => text.parse::<Time>().ok(),
    };
    let shift = Shift { from: time(from)?, to: time(to)? };
    (shift.from < shift.to).then_some(shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn wuzhen() -> DutyCalendar {
        let dates = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let config = CalendarConfig {
            holidays: dates(&[
                "2026-10-01",
                "2026-10-02",
                "2026-10-05",
                "2026-10-06",
                "2026-10-07",
            ]),
            make_up_days: dates(&["2026-10-10"]),
            ..CalendarConfig::default()
        };
        DutyCalendar::new(&config).expect("a calendar")
    }

    #[track_caller]
    fn check(start: &str, budget: Budget, expected: &str) {
        let at = |text: &str| format!("{text}+08:00").parse::<Timestamp>().expect("a time");
        let due = wuzhen().due(at(start), budget);
        assert_eq!(due, at(expected), "{start} and {budget:?}: {due}");
    }

    #[test]
    fn the_clock_runs_day_and_night() {
        check("2026-10-01T23:30:00", Budget::Clock(2 * HOUR), "2026-10-02T01:30:00");
    }

    #[test]
    fn working_hours_count_while_people_work() {
        // A Monday: four hours from nine are one o'clock and a half after the noon break.
        check("2026-09-28T09:00:00", Budget::WorkingHours(4 * HOUR), "2026-09-28T14:30:00");
        check("2026-09-28T12:30:00", Budget::WorkingHours(HOUR), "2026-09-28T14:30:00");
        check("2026-09-28T20:00:00", Budget::WorkingHours(HOUR), "2026-09-29T09:30:00");
        // An hour that ends with the shift is due then, not after the break.
        check("2026-09-28T11:00:00", Budget::WorkingHours(HOUR), "2026-09-28T12:00:00");
        check("2026-09-28T09:00:00", Budget::WorkingHours(Duration::ZERO), "2026-09-28T09:00:00");
    }

    #[test]
    fn holidays_are_skipped_and_make_up_days_are_worked() {
        // The last working hour before the holiday week, then Thursday the 8th.
        check("2026-09-30T17:00:00", Budget::WorkingHours(HOUR), "2026-10-08T09:00:00");
        check("2026-09-30T17:00:00", Budget::WorkingDays(1), "2026-10-08T17:30:00");
        check("2026-09-30T17:00:00", Budget::WorkingDays(3), "2026-10-10T17:30:00");
        check("2026-10-03T09:00:00", Budget::WorkingDays(1), "2026-10-08T17:30:00");
    }

    #[test]
    fn what_makes_no_calendar_is_refused() {
        let refused = |config: CalendarConfig| DutyCalendar::new(&config).expect_err("refused").key;
        let default = CalendarConfig::default;
        let one = |text: &str| vec![text.to_owned()];
        assert_eq!(refused(CalendarConfig { zone: "Wuzhen".to_owned(), ..default() }), "zone");
        for hours in [one("9"), one("12:00-08:30"), vec![], one("25:00-26:00")] {
            assert_eq!(refused(CalendarConfig { hours, ..default() }), "hours");
        }
        let overlapping = vec!["08:00-12:00".to_owned(), "11:00-13:00".to_owned()];
        assert_eq!(refused(CalendarConfig { hours: overlapping, ..default() }), "hours");
        assert_eq!(refused(CalendarConfig { weekdays: one("monday"), ..default() }), "weekdays");
        assert_eq!(refused(CalendarConfig { holidays: one("1 October"), ..default() }), "holidays");
    }

    #[test]
    fn a_budget_is_written_as_people_say_it() {
        let check =
            |text: &str, expected| assert_eq!(text.parse::<Budget>().ok(), expected, "{text}");
        check("30min", Some(Budget::Clock(HOUR / 2)));
        check("6h", Some(Budget::Clock(6 * HOUR)));
        check("4 working hours", Some(Budget::WorkingHours(4 * HOUR)));
        check("1 working day", Some(Budget::WorkingDays(1)));
        check("3 working days", Some(Budget::WorkingDays(3)));
        for wrong in
            ["soon", "working day", "-1 working days", "1.5 working days", "99999999 working hours"]
        {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn due_is_never_before_the_start_and_grows_with_the_budget(
            start in 1_700_000_000i64..2_000_000_000, minutes in 0u64..50_000, more in 0u64..5_000,
        ) {
            let calendar = wuzhen();
            let start = Timestamp::from_secs(start);
            let due = |minutes: u64| {
                calendar.due(start, Budget::WorkingHours(Duration::from_secs(minutes * 60)))
            };
            prop_assert!(due(minutes) >= start);
            prop_assert!(due(minutes + more) >= due(minutes));
            // Just before it is due, somebody is at work.
            prop_assert!(minutes == 0 || calendar.is_working(due(minutes).minus(Duration::from_micros(1))));
        }
    }
}
