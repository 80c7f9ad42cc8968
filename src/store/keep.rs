//! How long readings and rollups are kept, by class of series. Pure.
//!
//! A class is told by the names of its metrics, their units, and whether they are states; the first that fits counts, and
//! what fits none is of the class that `[store.keep]` itself describes. The store knows only the classes' numbers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{Cutoffs, MAX_CLASSES};
use crate::model::{MetricName, Timestamp};

const DAY: u64 = 86_400;

/// The least for raw readings: days are counted from them, and what is late corrects its day for as long as they last.
const LEAST_RAW: Lasting = Lasting::days(7);

/// The section `[store.keep]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Every reading as it came.
    pub raw: Lasting,
    /// Minutes; absent: for as long as the readings.
    pub minute: Option<Lasting>,
    /// Hours.
    pub hour: Lasting,
    /// Days.
    pub day: Lasting,
    /// Metrics for which something else holds.
    pub class: Vec<ClassConfig>,
}

impl Default for KeepConfig {
    /// The readings for a year and a month, so that a month can be compared with the same one of the year before.
    fn default() -> Self {
        let (raw, hour, day) = (Lasting::days(400), Lasting::years(5), Lasting::FOREVER);
        KeepConfig { raw, minute: None, hour, day, class: Vec::new() }
    }
}

/// One `[[store.keep.class]]`. What it does not say is as in `[store.keep]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ClassConfig {
    /// Metrics by name; `*` stands for any letters: `battery*`.
    pub metrics: Vec<String>,
    /// Metrics by UCUM unit: `dB[mW]`.
    pub units: Vec<String>,
    /// Metrics by kind.
    pub kinds: Vec<Kind>,
    /// Every reading as it came.
    pub raw: Option<Lasting>,
    /// Minutes.
    pub minute: Option<Lasting>,
    /// Hours.
    pub hour: Option<Lasting>,
    /// Days.
    pub day: Option<Lasting>,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number that is measured.
    Level,
    /// One of some states.
    State,
}

/// How long: a whole number of days, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Lasting {
    /// [`u32::MAX`] is for ever.
    days: u32,
}

impl Lasting {
    /// For ever.
    pub const FOREVER: Lasting = Lasting { days: u32::MAX };

    /// So many days.
    pub const fn days(days: u32) -> Self {
        Lasting { days }
    }

    /// So many years, in whole days.
    pub const fn years(years: u32) -> Self {
        Lasting { days: (years as u64 * 1_461).div_ceil(4) as u32 }
    }

    /// The whole day at `now` that comes so long after what is over; `None` when nothing ever is.
    fn cutoff(self, now: Timestamp) -> Option<Timestamp> {
        let back = Duration::from_secs(u64::from(self.days) * DAY);
        let today = now.as_micros().div_euclid(DAY as i64 * 1_000_000) * DAY as i64 * 1_000_000;
        (self != Self::FOREVER).then(|| Timestamp::from_micros(today).minus(back))
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FOREVER { f.write_str("forever") } else { write!(f, "{}d", self.days) }
    }
}

impl TryFrom<String> for Lasting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Lasting::FOREVER);
        }
        let number = |unit: char| text.strip_suffix(unit).and_then(|n| n.parse::<u32>().ok());
        let found = (number('d').map(Lasting::days))
            .or_else(|| number('w').map(|weeks| Lasting::days(weeks.saturating_mul(7))))
            .or_else(|| number('y').filter(|&years| years <= 1_000).map(Lasting::years));
        found.filter(|found| (1..=365_250).contains(&found.days)).ok_or_else(|| {
            format!(
                "`{text}` is no time to keep things for; write for example 400d, 8w, 5y or forever"
            )
        })
    }
}

/// Why the section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store.keep{key} is {found}; {remedy}")]
pub struct KeepConfigError {
    key: String,
    found: String,
    remedy: String,
}

/// The classes, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The first is the one that fits all.
    classes: Vec<Class>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    which: ClassConfig,
    raw: Lasting,
    tiers: [Lasting; 3],
}

impl Default for Keep {
    fn default() -> Self {
        Keep { classes: vec![Class::of(&KeepConfig::default(), &ClassConfig::default())] }
    }
}

impl Class {
    fn of(all: &KeepConfig, own: &ClassConfig) -> Self {
        let raw = own.raw.unwrap_or(all.raw);
        let minute = own.minute.or(all.minute).unwrap_or(raw);
        let tiers = [minute, own.hour.unwrap_or(all.hour), own.day.unwrap_or(all.day)];
        Class { which: own.clone(), raw, tiers }
    }

    fn check(&self, place: &str) -> Result<(), KeepConfigError> {
        let [minute, hour, day] = self.tiers;
        let wrong = |key: &str, found: Lasting, remedy: String| {
            let (key, found) = (format!("{place}.{key}"), found.to_string());
            Err(KeepConfigError { key, found, remedy })
        };
        if self.raw < LEAST_RAW {
            let remedy = format!(
                "use at least {LEAST_RAW}: days are counted from the readings, and what comes late corrects its day"
            );
            return wrong("raw", self.raw, remedy);
        }
        let longest = self.raw.max(minute);
        if hour < longest {
            let remedy = format!(
                "use at least {longest}, as long as readings and minutes are kept: hours are small, and longer views are drawn from them"
            );
            return wrong("hour", hour, remedy);
        }
        if day < hour {
            return wrong("day", day, format!("use at least {hour}, as long as hours are kept"));
        }
        Ok(())
    }
}

impl KeepConfig {
    /// The classes.
    ///
    /// # Errors
    /// Something is kept for too short a time, a class fits nothing, or there are too many.
    pub fn keep(&self) -> Result<Keep, KeepConfigError> {
        let first = Class::of(self, &ClassConfig::default());
        first.check("")?;
        let mut classes = vec![first];
        for (number, own) in self.class.iter().enumerate() {
            let place = format!(".class[{number}]");
            if own.metrics.is_empty() && own.units.is_empty() && own.kinds.is_empty() {
                let (found, remedy) = ("for nothing", "name its `metrics`, `units` or `kinds`");
                let (found, remedy) = (found.to_owned(), remedy.to_owned());
                return Err(KeepConfigError { key: place, found, remedy });
            }
            let class = Class::of(self, own);
            class.check(&place)?;
            classes.push(class);
        }
        if classes.len() > MAX_CLASSES {
            let found = format!("a list of {} classes", self.class.len());
            let remedy = format!("use at most {}", MAX_CLASSES - 1);
            return Err(KeepConfigError { key: ".class".to_owned(), found, remedy });
        }
        Ok(Keep { classes })
    }
}

impl Keep {
    /// The class of a metric with this unit, and whether its minutes are to outlive its readings.
    pub fn class(&self, metric: &MetricName, unit: &str, kind: Kind) -> (u8, bool) {
        let fits = |class: &Class| class.which.fits(metric.as_str(), unit, kind);
        let number = self.classes[1..].iter().position(fits).map_or(0, |at| at + 1);
        let class = &self.classes[number];
        (number as u8, class.tiers[0] > class.raw)
    }

    /// What each class may forget at this time, in whole days.
    pub fn cutoffs(&self, now: Timestamp) -> Vec<Cutoffs> {
        let cutoffs = |class: &Class| Cutoffs {
            raw: class.raw.cutoff(now),
            rollups: class.tiers.map(|lasting| lasting.cutoff(now)),
        };
        self.classes.iter().map(cutoffs).collect()
    }
}

impl ClassConfig {
    fn fits(&self, metric: &str, unit: &str, kind: Kind) -> bool {
        self.metrics.iter().any(|pattern| matches(pattern, metric))
            || self.units.iter().any(|own| own == unit)
            || self.kinds.contains(&kind)
    }
}

/// Whether the pattern, in which `*` stands for any letters, is the name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    (0..=name.len()).filter(|&at| name.is_char_boundary(at)).any(|at| matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(text: &str) -> Result<Keep, String> {
        let config: KeepConfig = toml::from_str(text).map_err(|why| why.to_string())?;
        config.keep().map_err(|why| why.to_string())
    }

    fn refused(text: &str, part: &str) {
        let message = keep(text).expect_err(text);
        assert!(message.contains(part), "{message} should say {part}");
    }

    #[test]
    fn the_first_class_that_fits_counts() {
        let keep = keep(
            "raw = \"60d\"\n[[class]]\nmetrics = [\"battery*\", \"rssi\"]\nraw = \"30d\"\nminute = \"90d\"\n\
             [[class]]\nunits = [\"dB[mW]\"]\nkinds = [\"state\"]\nraw = \"8w\"",
        )
        .unwrap();
        let class =
            |metric: &str, unit: &str, kind| keep.class(&metric.parse().unwrap(), unit, kind);
        assert_eq!(class("battery_v", "V", Kind::Level), (1, true));
        assert_eq!(class("rssi", "dB[mW]", Kind::Level), (1, true));
        assert_eq!(class("snr", "dB[mW]", Kind::Level), (2, false));
        assert_eq!(class("door", "1", Kind::State), (2, false));
        assert_eq!(class("level", "m", Kind::Level), (0, false));
        let now = Timestamp::from_secs(1_790_000_000);
        let days = |cutoff: Option<Timestamp>| cutoff.map(|cut| now.since(cut).as_secs() / DAY);
        let cutoffs = keep.cutoffs(now);
        assert_eq!(
            cutoffs.iter().map(|c| days(c.raw)).collect::<Vec<_>>(),
            [Some(60), Some(30), Some(56)]
        );
        assert_eq!(cutoffs[1].rollups.map(days), [Some(90), Some(1_827), None]);
        assert_eq!(cutoffs[0].raw.unwrap().as_micros() % (DAY as i64 * 1_000_000), 0);
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        refused("raw = \"3d\"", "store.keep.raw is 3d; use at least 7d");
        refused("raw = \"soon\"", "`soon` is no time to keep things for; write for example 400d");
        refused("raw = \"0d\"", "`0d` is no time");
        refused("raw = \"forever\"", "store.keep.hour is 1827d; use at least forever");
        refused("minute = \"9y\"", "store.keep.hour is 1827d; use at least 3288d");
        refused("day = \"1y\"", "store.keep.day is 366d; use at least 1827d, as long as hours");
        refused(
            "[[class]]\nraw = \"30d\"",
            "store.keep.class[0] is for nothing; name its `metrics`",
        );
        refused(
            "[[class]]\nmetrics = [\"a\"]\nraw = \"6d\"",
            "store.keep.class[0].raw is 6d; use at least 7d",
        );
        refused(
            &"[[class]]\nmetrics = [\"a\"]\n".repeat(32),
            "a list of 32 classes; use at most 31",
        );
        assert!(keep("raw = \"forever\"\nhour = \"forever\"").is_ok());
        assert_eq!(keep(""), Ok(Keep::default()));
    }

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, is_it) in [
            ("battery*", "battery_v", true),
            ("battery*", "battery", true),
            ("*_v", "battery_v", true),
            ("b*y*v", "battery_v", true),
            ("b*x", "battery_v", false),
            ("rssi", "rssi_dbm", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), is_it, "{pattern} {name}");
        }
    }
}
