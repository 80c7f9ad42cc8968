//! Schedules: when a rule is in force. Pure: the time is handed in.
//!
//! Wall time is that of the town's duty calendar, which also knows the holidays. A schedule names days (kind of day,
//! weekdays, seasons) and hours of them. Hours that end on the next day (`22:00-06:00`) belong to the day on which they
//! begin: a Friday night ends on Saturday morning.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use crate::calendar::DutyCalendar;
use crate::model::Timestamp;

/// How far ahead the next change is looked for: two years have every season and most holidays.
const HORIZON_DAYS: usize = 2 * 366;

/// The most hours and the most seasons of one schedule.
const MAX_PARTS: usize = 24;

/// A schedule as people write it. Everything that is left out is no limit; so an empty one is always in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSpec {
    /// Hours of a day, `08:00-18:00`; past midnight `22:00-06:00`; `24:00` is a day's end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<String>,
    /// Days of a week: `mon` to `sun`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<String>,
    /// Which kind of day, by the duty calendar.
    #[serde(skip_serializing_if = "Days::is_every")]
    pub days: Days,
    /// Parts of a year, both ends included: `04-15..10-15`; over New Year `11-15..03-15`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seasons: Vec<String>,
}

/// A kind of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// Any.
    #[default]
    Every,
    /// People work: usual working days that are no holidays, and days that make up for one.
    Working,
    /// Nobody works: weekends and holidays.
    Off,
    /// Holidays.
    Holiday,
}

impl Days {
    fn is_every(&self) -> bool {
        *self == Days::Every
    }
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = `{found}`: {remedy}")]
pub struct ScheduleError {
    /// The key.
    pub key: &'static str,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// A checked schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    hours: Vec<Hours>,
    /// By offset from Monday; empty is every day.
    weekdays: BTreeSet<i8>,
    days: Days,
    seasons: Vec<Season>,
}

/// Hours of a day; they end on the next one when `to` is not after `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hours {
    from: Time,
    /// `None` is midnight, the end of the day.
    to: Option<Time>,
}

/// Months and days, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Season {
    from: (i8, i8),
    to: (i8, i8),
}

impl ScheduleSpec {
    /// Checks it.
    ///
    /// # Errors
    /// The first value that makes no schedule, with what would be right.
    pub fn check(&self) -> Result<Schedule, ScheduleError> {
        for (key, parts) in [("hours", &self.hours), ("seasons", &self.seasons)] {
            if parts.len() > MAX_PARTS {
                return Err(wrong(key, &parts.len().to_string(), "give 24 at most"));
            }
        }
        let hours = self
            .hours
            .iter()
            .map(|text| hours(text).ok_or_else(|| wrong("hours", text, HOURS)))
            .collect::<Result<_, _>>()?;
        let weekdays = self
            .weekdays
            .iter()
            .map(|text| weekday(text).ok_or_else(|| wrong("weekdays", text, WEEKDAYS)))
            .collect::<Result<_, _>>()?;
        let seasons = self
            .seasons
            .iter()
            .map(|text| season(text).ok_or_else(|| wrong("seasons", text, SEASONS)))
            .collect::<Result<_, _>>()?;
        Ok(Schedule { hours, weekdays, days: self.days, seasons })
    }
}

const HOURS: &str = "write from-to, for example 08:00-18:00, or 22:00-06:00 over midnight";
const WEEKDAYS: &str = "use mon, tue, wed, thu, fri, sat, sun";
const SEASONS: &str = "write month-day..month-day, for example 04-15..10-15";

impl Schedule {
    /// Whether it is in force at this time.
    pub fn holds(&self, at: Timestamp, calendar: &DutyCalendar) -> bool {
        let Some(today) = calendar.day_of(at) else { return false };
        let yesterday = today.yesterday().ok();
        [yesterday, Some(today)]
            .into_iter()
            .flatten()
            .any(|day| self.spans(day, calendar).any(|(from, to)| from <= at && at < to))
    }

    /// The next time after `at` at which it comes into force or goes out of it; `None` when that is not within two years.
    pub fn next_change(&self, at: Timestamp, calendar: &DutyCalendar) -> Option<Timestamp> {
        let holds = self.holds(at, calendar);
        let first = calendar.day_of(at)?.yesterday().ok()?;
        let days = first.series(1.day()).take(HORIZON_DAYS);
        if !holds {
            let starts = days.flat_map(|day| self.spans(day, calendar).map(|(from, _)| from));
            // Days come in order, so the first day that has one has the earliest.
            return min_of_first(starts.filter(|from| *from > at));
        }
        // In force: until the end of a chain of spans that touch or overlap.
        let mut end = at;
        for day in days {
            let mut spans: Vec<_> = self.spans(day, calendar).collect();
            spans.sort_unstable();
            for (from, to) in spans {
                if from <= end && to > end {
                    end = to;
                }
            }
            let next = day.tomorrow().ok().and_then(|day| start_of(day, calendar))?;
            if end > at && end < next {
                return Some(end);
            }
        }
        None
    }

    /// The times in which it is in force that begin on this day.
    fn spans<'a>(
        &'a self,
        day: Date,
        calendar: &'a DutyCalendar,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> + 'a {
        const WHOLE_DAY: [Hours; 1] = [Hours { from: Time::MIN, to: None }];
        let hours = if self.hours.is_empty() { &WHOLE_DAY[..] } else { &self.hours };
        let hours = if self.is_day(day, calendar) { hours } else { &[] };
        hours.iter().filter_map(move |hours| {
            let at = |day: Date, time| moment(day, time, calendar);
            let from = at(day, hours.from)?;
            let to = match hours.to {
                Some(to) if to > hours.from => at(day, to)?,
                Some(to) => at(day.tomorrow().ok()?, to)?,
                None => at(day.tomorrow().ok()?, Time::MIN)?,
            };
            Some((from, to))
        })
    }

    fn is_day(&self, day: Date, calendar: &DutyCalendar) -> bool {
        let weekday = day.weekday().to_monday_zero_offset();
        let is_kind = match self.days {
            Days::Every => true,
            Days::Working => calendar.is_working_day(day),
            Days::Off => !calendar.is_working_day(day),
            Days::Holiday => calendar.is_holiday(day),
        };
        is_kind
            && (self.weekdays.is_empty() || self.weekdays.contains(&weekday))
            && (self.seasons.is_empty() || self.seasons.iter().any(|season| season.has(day)))
    }
}

impl Season {
    fn has(&self, day: Date) -> bool {
        let day = (day.month(), day.day());
        if self.from <= self.to {
            self.from <= day && day <= self.to
        } else {
            day >= self.from || day <= self.to
        }
    }
}

/// The least of the first two days' worth of starts: spans of one day need not be in order, those of two days are.
fn min_of_first(mut starts: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
    let first = starts.next()?;
    Some(starts.take(2 * MAX_PARTS).fold(first, Timestamp::min))
}

fn start_of(day: Date, calendar: &DutyCalendar) -> Option<Timestamp> {
    moment(day, Time::MIN, calendar)
}

fn moment(day: Date, time: Time, calendar: &DutyCalendar) -> Option<Timestamp> {
    let zoned = day.to_datetime(time).to_zoned(calendar.zone().clone()).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

fn wrong(key: &'static str, found: &str, remedy: &'static str) -> ScheduleError {
    ScheduleError { key, found: found.to_owned(), remedy }
}

fn weekday(text: &str) -> Option<i8> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    days.iter().position(|&day| day == text).and_then(|at| i8::try_from(at).ok())
}

/// `08:00-18:00`.
fn hours(text: &str) -> Option<Hours> {
    let (from, to) = text.split_once('-')?;
    let from = from.trim().parse::<Time>().ok()?;
    let to = match to.trim() {
        "24:00" => None,
        to => Some(to.parse::<Time>().ok()?),
    };
    (to != Some(from)).then_some(Hours { from, to })
}

/// `04-15..10-15`.
fn season(text: &str) -> Option<Season> {
    let (from, to) = text.split_once("..")?;
    // A leap year, so that 02-29 is a day.
    let day = |text: &str| {
        let date = format!("2028-{}", text.trim()).parse::<Date>().ok()?;
        Some((date.month(), date.day()))
    };
    Some(Season { from: day(from)?, to: day(to)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::CalendarConfig;

    fn calendar() -> DutyCalendar {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        DutyCalendar::new(&CalendarConfig {
            holidays: texts(&["2026-10-01", "2026-10-02", "2026-10-05"]),
            make_up_days: texts(&["2026-10-10"]),
            ..CalendarConfig::default()
        })
        .expect("a calendar")
    }

    fn at(text: &str) -> Timestamp {
        format!("{text}:00+08:00").parse().expect("a time")
    }

    fn spec(text: &str) -> Schedule {
        let spec: ScheduleSpec = serde_json::from_str(text).expect("JSON");
        spec.check().expect("a schedule")
    }

    #[track_caller]
    fn check(text: &str, now: &str, holds: bool, next: Option<&str>) {
        let (schedule, calendar) = (spec(text), calendar());
        assert_eq!(schedule.holds(at(now), &calendar), holds, "{text} at {now}");
        assert_eq!(schedule.next_change(at(now), &calendar), next.map(at), "{text} at {now}");
    }

    #[test]
    fn the_flood_season_begins_and_ends_at_midnight() {
        let flood = r#"{"seasons": ["04-15..10-15"]}"#;
        check(flood, "2026-04-14T23:59", false, Some("2026-04-15T00:00"));
        check(flood, "2026-04-15T00:00", true, Some("2026-10-16T00:00"));
        check(flood, "2026-10-15T23:59", true, Some("2026-10-16T00:00"));
        check(flood, "2026-10-16T00:00", false, Some("2027-04-15T00:00"));
        let winter = r#"{"seasons": ["11-15..03-15"]}"#;
        check(winter, "2026-12-31T12:00", true, Some("2027-03-16T00:00"));
        check(winter, "2026-07-01T12:00", false, Some("2026-11-15T00:00"));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = r#"{"hours": ["22:00-06:00"], "weekdays": ["fri"]}"#;
        // 2026-09-25 is a Friday.
        check(night, "2026-09-25T05:00", false, Some("2026-09-25T22:00"));
        check(night, "2026-09-26T05:59", true, Some("2026-09-26T06:00"));
        check(night, "2026-09-26T06:00", false, Some("2026-10-02T22:00"));
    }

    #[test]
    fn holidays_and_make_up_days_count_as_the_duty_calendar_says() {
        let work = r#"{"days": "working", "hours": ["08:00-12:00", "12:00-18:00"]}"#;
        check(work, "2026-09-30T09:00", true, Some("2026-09-30T18:00"));
        check(work, "2026-09-30T18:00", false, Some("2026-10-06T08:00"));
        check(work, "2026-10-10T08:00", true, Some("2026-10-10T18:00"));
        let holiday = r#"{"days": "holiday"}"#;
        check(holiday, "2026-10-01T00:00", true, Some("2026-10-03T00:00"));
        check(holiday, "2026-10-06T00:00", false, None);
        check(r#"{"days": "off"}"#, "2026-10-02T10:00", true, Some("2026-10-06T00:00"));
    }

    #[test]
    fn an_empty_schedule_is_always_in_force() {
        check("{}", "2026-09-25T05:00", true, None);
        check(r#"{"hours": ["00:00-24:00"]}"#, "2026-09-25T05:00", true, None);
    }

    #[test]
    fn what_makes_no_schedule_is_refused_with_what_would() {
        let refused = |text: &str| {
            let spec: ScheduleSpec = serde_json::from_str(text).expect("JSON");
            spec.check().expect_err(text).to_string()
        };
        for hours in ["9", "08:00-08:00", "25:00-26:00", "08:00"] {
            let error = refused(&format!(r#"{{"hours": ["{hours}"]}}"#));
            assert!(error.contains("08:00-18:00"), "{error}");
        }
        for season in ["04-15", "13-01..14-01", "02-30..03-01"] {
            assert!(refused(&format!(r#"{{"seasons": ["{season}"]}}"#)).contains("04-15..10-15"));
        }
        assert!(refused(r#"{"weekdays": ["monday"]}"#).contains("use mon, tue"));
        let many = vec!["08:00-09:00"; MAX_PARTS + 1];
        assert!(refused(&serde_json::json!({ "hours": many }).to_string()).contains("24 at most"));
        assert!(serde_json::from_str::<ScheduleSpec>(r#"{"hour": []}"#).is_err());
    }

    proptest! {
        #[test]
        fn nothing_changes_before_the_next_change(
            start in 1_780_000_000i64..1_800_000_000,
            from in 0u32..24, to in 0u32..24, weekday in 0usize..8, part in 0.01f64..0.99,
        ) {
            prop_assume!(from != to);
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let spec = ScheduleSpec {
                hours: vec![format!("{from:02}:00-{to:02}:00"), "12:30-13:00".to_owned()],
                weekdays: days.get(weekday).map(|&day| vec![day.to_owned()]).unwrap_or_default(),
                ..ScheduleSpec::default()
            };
            let (schedule, calendar) = (spec.check().expect("a schedule"), calendar());
            let start = Timestamp::from_secs(start);
            let now = schedule.holds(start, &calendar);
            let next = schedule.next_change(start, &calendar).expect("every week has one");
            prop_assert!(next > start);
            prop_assert_eq!(schedule.holds(next, &calendar), !now);
            let between = start.plus(next.since(start).mul_f64(part));
            prop_assert_eq!(schedule.holds(between, &calendar), now);
        }
    }
}
