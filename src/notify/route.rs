//! Which channels hear of what. Pure.

use std::collections::BTreeSet;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::EventKind;
use crate::model::{Severity, Timestamp, ZoneId};

/// One way from events to channels. Every route is looked at; a channel that several name hears a thing once.
#[derive(Debug, Clone)]
pub struct Route {
    /// Places of channels in the settings.
    pub channels: BTreeSet<usize>,
    /// Only in these zones; empty is the whole town, and what lies in no zone.
    pub zones: BTreeSet<ZoneId>,
    /// The mildest severity.
    pub from: Severity,
    /// Which kinds of events.
    pub events: BTreeSet<EventKind>,
    /// Only then; `None` is always.
    pub hours: Option<Hours>,
    /// Escalations from this level on; `None` is every level.
    pub level: Option<u8>,
}

/// Hours of a day, on some days of a week, by the town's wall clock.
#[derive(Debug, Clone)]
pub struct Hours {
    zone: TimeZone,
    from: Time,
    /// `None`: midnight at the day's end.
    to: Option<Time>,
    /// Empty is every day.
    days: Vec<Weekday>,
}

/// What a route must know of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct News<'a> {
    /// What happened.
    pub kind: EventKind,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub zone: Option<&'a ZoneId>,
    /// The level of an escalation; 0 for all else.
    pub level: u8,
}

/// The channels that hear of this at this time.
pub(super) fn channels(routes: &[Route], news: &News<'_>, at: Timestamp) -> BTreeSet<usize> {
    let hears = routes.iter().filter(|route| route.hears(news, at));
    hears.flat_map(|route| route.channels.iter().copied()).collect()
}

impl Route {
    fn hears(&self, news: &News<'_>, at: Timestamp) -> bool {
        let is_level = news.kind != EventKind::CaseEscalated
            || self.level.is_none_or(|level| news.level >= level);
        let is_zone =
            self.zones.is_empty() || news.zone.is_some_and(|zone| self.zones.contains(zone));
        is_level
            && is_zone
            && news.severity >= self.from
            && self.events.contains(&news.kind)
            && self.hours.as_ref().is_none_or(|hours| hours.contain(at))
    }
}

impl Hours {
    /// `08:00-20:00`, or over midnight `20:00-08:00`; `None` when it is none.
    pub fn parse(text: &str, days: &[Weekday], zone: TimeZone) -> Option<Hours> {
        let (from, to) = text.split_once('-')?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            if !digits(hour) || !digits(minute) {
                return None;
            }
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let to = match to.trim() {
            "24:00" => None,
            to => Some(time(to)?),
        };
        let from = time(from)?;
        (Some(from) != to).then(|| Hours { zone, from, to, days: days.to_vec() })
    }

    /// Whether this moment lies in them: `from` does, `to` does not. A night belongs to the day that it began on.
    pub fn contain(&self, at: Timestamp) -> bool {
        let Ok(time) = jiff::Timestamp::from_microsecond(at.as_micros()) else { return false };
        let local = time.to_zoned(self.zone.clone());
        let (now, today) = (local.time(), local.weekday());
        let is_day = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        match self.to {
            None => now >= self.from && is_day(today),
            Some(to) if self.from < to => now >= self.from && now < to && is_day(today),
            Some(to) => {
                (now >= self.from && is_day(today)) || (now < to && is_day(today.previous()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn hours(text: &str, days: &[Weekday]) -> Hours {
        Hours::parse(text, days, TimeZone::get("Asia/Shanghai").expect("a zone")).expect("hours")
    }

    #[test]
    fn hours_go_by_the_towns_clock_and_over_midnight() {
        let check = |hours: &Hours, time: &str, expected: bool| {
            assert_eq!(hours.contain(at(time)), expected, "{time} in {hours:?}");
        };
        let day = hours("08:00-20:00", &[]);
        check(&day, "2026-11-27T08:00:00+08:00", true);
        check(&day, "2026-11-27T19:59:59+08:00", true);
        check(&day, "2026-11-27T20:00:00+08:00", false);
        check(&day, "2026-11-27T08:00:00Z", true);
        check(&day, "2026-11-27T13:00:00Z", false);
        // Friday night: it began on Friday.
        let night = hours("20:00-08:00", &[Weekday::Friday]);
        check(&night, "2026-11-27T21:00:00+08:00", true);
        check(&night, "2026-11-28T07:59:00+08:00", true);
        check(&night, "2026-11-28T08:00:00+08:00", false);
        check(&night, "2026-11-28T21:00:00+08:00", false);
        check(&night, "2026-11-27T07:00:00+08:00", false);
        let weekend = hours("00:00-24:00", &[Weekday::Saturday, Weekday::Sunday]);
        check(&weekend, "2026-11-28T23:59:59+08:00", true);
        check(&weekend, "2026-11-27T23:59:59+08:00", false);
        for wrong in ["8:00-20:00", "08:00", "08:00-08:00", "25:00-26:00", "-", "+8:00-20:00"] {
            let zone = TimeZone::UTC;
            assert!(Hours::parse(wrong, &[], zone).is_none(), "{wrong}");
        }
    }

    #[test]
    fn zone_severity_kind_and_level_choose_the_channels() {
        let west: ZoneId = "xizha".parse().expect("an id");
        let east: ZoneId = "dongzha".parse().expect("an id");
        let route = |channel: usize| Route {
            channels: BTreeSet::from([channel]),
            zones: BTreeSet::new(),
            from: Severity::Major,
            events: BTreeSet::from([EventKind::Raised, EventKind::CaseEscalated]),
            hours: None,
            level: None,
        };
        let routes = [
            route(0),
            Route { zones: BTreeSet::from([west.clone()]), from: Severity::Info, ..route(1) },
            Route { level: Some(2), ..route(2) },
            Route { channels: BTreeSet::from([0, 1]), from: Severity::Critical, ..route(0) },
        ];
        let check = |kind, severity, zone: Option<&ZoneId>, level, expected: &[usize]| {
            let news = News { kind, severity, zone, level };
            let found: Vec<_> = channels(&routes, &news, Timestamp::EPOCH).into_iter().collect();
            assert_eq!(found, expected, "{news:?}");
        };
        check(EventKind::Raised, Severity::Major, Some(&east), 0, &[0, 2]);
        check(EventKind::Raised, Severity::Minor, Some(&west), 0, &[1]);
        check(EventKind::Raised, Severity::Minor, None, 0, &[]);
        check(EventKind::Raised, Severity::Critical, None, 0, &[0, 1, 2]);
        check(EventKind::Returned, Severity::Critical, None, 0, &[]);
        check(EventKind::CaseEscalated, Severity::Major, Some(&east), 1, &[0]);
        check(EventKind::CaseEscalated, Severity::Major, Some(&east), 3, &[0, 2]);
    }
}
