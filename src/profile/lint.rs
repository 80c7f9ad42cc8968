//! What works and is probably not meant: the warnings of a profile.
//!
//! Looks at the finished profile, so that it says the same of every way to write one; where a thing stands is looked up
//! in the file by its path.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{Problems, ProfileError};
use super::fixture::Fixture;
use super::{AlertSpec, AlertTest, Point, Profile, Read, Rung, Side, Signal, Source, duration};
use crate::model::Label;

/// Words in a point's name, and the units in which the town measures such a thing.
const USUAL_UNITS: &[(&[&str], &[&str])] = &[
    (&["battery", "bat"], &["%", "V", "mV"]),
    (&["rssi"], &["dB{mW}"]),
    (&["velocity"], &["m/s", "cm/s", "mm/s"]),
    (&["flow"], &["m3/s", "m3/h", "m3/d", "L/s", "L/min", "L/h"]),
    (&["rain", "rainfall"], &["mm", "mm/h", "mm/min"]),
    (&["h2s"], &["[ppm]", "[ppb]", "mg/m3"]),
    (&["ch4"], &["%{LEL}", "%{vol}", "[ppm]"]),
    (&["o2", "oxygen"], &["%{vol}", "%", "mg/L"]),
    (&["cod", "nh3n", "ammonia"], &["mg/L"]),
    (&["conductivity"], &["uS/cm", "mS/cm"]),
    (&["turbidity"], &["{NTU}", "{FNU}"]),
    (&["pressure"], &["kPa", "Pa", "hPa", "MPa", "bar", "mbar", "m[H2O]"]),
    (&["tilt"], &["deg", "1"]),
    (&["opening"], &["m", "cm", "mm", "%"]),
    (&["depth", "level"], &["m", "cm", "mm", "%"]),
    (&["temperature", "temp"], &["Cel", "K"]),
];

/// Units as they are written in a text for people, and as UCUM without annotations.
const SPOKEN_UNITS: &[(&str, &str)] = &[
    ("ppm", "[ppm]"),
    ("mg/L", "mg/L"),
    ("mg/m3", "mg/m3"),
    ("m3/h", "m3/h"),
    ("m3/s", "m3/s"),
    ("m/s", "m/s"),
    ("kPa", "kPa"),
    ("MPa", "MPa"),
    ("mm", "mm"),
    ("cm", "cm"),
    ("m", "m"),
    ("mV", "mV"),
    ("V", "V"),
    ("%", "%"),
    ("deg", "deg"),
    ("°C", "Cel"),
    ("°", "deg"),
];

/// The warnings of a profile that was read from `text`, in the order of the file.
pub(super) fn lint(
    file: &str,
    text: &str,
    profile: &Profile,
    fixtures: &[Fixture],
) -> Vec<ProfileError> {
    // The text was parsed before, so this cannot fail; if it did, there would be no places to show.
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let document = document.into_inner();
    let mut lint = Lint { document: &document, profile, problems: Problems::new(file, text) };
    lint.languages(&["name"], &profile.name);
    lint.staleness();
    for point in &profile.points {
        lint.point(point);
    }
    if fixtures.is_empty() {
        lint.warn(&["id"], "no [[test]]: nobody has seen this profile work");
    }
    lint.problems.into_errors()
}

struct Lint<'a> {
    document: &'a DeTable<'a>,
    profile: &'a Profile,
    problems: Problems<'a>,
}

impl Lint<'_> {
    fn warn(&mut self, path: &[&str], message: impl std::fmt::Display) {
        // What is missing altogether is said where the profile begins.
        let at = Some(place(self.document, path)).filter(|at| !at.is_empty());
        let at = at.unwrap_or_else(|| place(self.document, &["id"]));
        self.problems.report(&at, message);
    }

    fn staleness(&mut self) {
        let staleness = &self.profile.staleness;
        match &self.profile.source {
            Source::Modbus(source) => {
                let slowest = source.poll.values().max().copied().unwrap_or_default();
                if staleness.stale_after < slowest {
                    let message = format!(
                        "values are stale after {}, but the slowest poll comes every {}",
                        duration::format(staleness.stale_after),
                        duration::format(slowest)
                    );
                    self.warn(&["staleness", "stale_after"], message);
                }
            }
            _ if staleness.expect_every.is_none() => {
                let message = format!(
                    "no `expect_every`: silence is said after {}, whatever the device's rhythm",
                    duration::format(staleness.dead_after)
                );
                self.warn(&["staleness"], message);
            }
            _ => {}
        }
    }

    /// How often a reading of the point comes.
    fn interval(&self, point: &Point) -> Option<Duration> {
        match (&self.profile.source, &point.read) {
            (Source::Modbus(source), Read::Register(read)) => source.poll.get(&read.poll).copied(),
            _ => self.profile.staleness.expect_every,
        }
    }

    fn point(&mut self, point: &Point) {
        let name = point.name.as_str();
        self.unit(point);
        self.range(point);
        let span = point.range.map(|(low, high)| high - low);
        if let (Some(deadband), Some(span)) = (point.deadband, span)
            && deadband >= span
        {
            let message = format!("no change inside the range is as large as {deadband}");
            self.warn(&["points", name, "deadband"], message);
        }
        if let (Some(flatline), Some(every)) = (point.flatline, self.interval(point))
            && flatline < every * 2
        {
            let message = format!(
                "with a reading every {}, {} is too short to see that nothing changes",
                duration::format(every),
                duration::format(flatline)
            );
            self.warn(&["points", name, "flatline"], message);
        }
        for alert in &point.alerts {
            self.alert(point, alert);
        }
        self.ladder(point);
    }

    fn unit(&mut self, point: &Point) {
        if point.states.is_some() {
            return;
        }
        let usual = USUAL_UNITS
            .iter()
            .find(|(words, _)| point.name.as_str().split('_').any(|part| words.contains(&part)));
        let Some((_, usual)) = usual else { return };
        let bare = bare(&point.unit);
        if !usual.iter().any(|unit| *unit == point.unit || self::bare(unit) == bare) {
            let message = format!(
                "`{}` is unusual for `{}`; usual: {}",
                point.unit,
                point.name,
                usual.join(", ")
            );
            self.warn(&["points", point.name.as_str(), "unit"], message);
        }
    }

    /// The range against what the register can say.
    fn range(&mut self, point: &Point) {
        let (Some((low, high)), Some((least, most))) = (point.range, reach(point)) else { return };
        let path = ["points", point.name.as_str(), "range"];
        let shown = format!("the register says {least} to {most} {} at this scale", point.unit);
        if most < low || least > high {
            self.warn(&path, format_args!("never reached: {shown}"));
        } else if low < least || high > most {
            let message = format!("wider than the device can say: {shown}; is the scale right?");
            self.warn(&path, message);
        }
    }

    fn alert(&mut self, point: &Point, alert: &AlertSpec) {
        let path = ["points", point.name.as_str(), "alerts", &alert.name];
        let key = |key| [path[0], path[1], path[2], path[3], key];
        self.languages(&key("text"), &alert.text);
        if let Some(every) = self.interval(point)
            && !alert.on_delay.is_zero()
            && alert.on_delay < every
        {
            let message = format!(
                "shorter than the {} from one reading to the next: no second reading confirms it",
                duration::format(every)
            );
            self.warn(&key("for"), message);
        }
        let AlertTest::Limit { of, side, rungs } = &alert.test else { return };
        let is_ladder = rungs.len() > 1;
        for rung in rungs {
            // Where the limit stands: its own key, or the ladder as a whole.
            let place = if is_ladder { "ladder" } else { side.as_str() };
            if rung.limit == rung.clear && alert.on_delay.is_zero() && alert.off_delay.is_zero() {
                let message =
                    "chatters when the value stands at the limit: give `clear` or `clear_for`";
                self.warn(&key(place), message);
            }
            if *of != Signal::Value {
                continue;
            }
            if let Some((least, most)) = reach(point)
                && !side.is_beyond(if *side == Side::Above { most } else { least }, rung.limit)
            {
                let message =
                    format!("never raised: the register says {least} to {most} at this scale");
                self.warn(&key(place), message);
            }
            if let Some(text) = &rung.text {
                self.languages(&key(place), text);
            }
            // A text for all rungs speaks of none of them.
            if !is_ladder || rung.text.is_some() {
                let text = rung.text.as_ref().unwrap_or(&alert.text);
                self.spoken(point, alert, text, rung);
            }
        }
    }

    /// Numbers with units in the alert's text against its limit and the point's unit.
    fn spoken(&mut self, point: &Point, alert: &AlertSpec, text: &Label, rung: &Rung) {
        let path = ["points", point.name.as_str(), "alerts", &alert.name, "text"];
        let said = spoken_quantities(&text.en);
        let unit = bare(&point.unit);
        if let Some((_, other)) = said.iter().find(|(_, spoken)| *spoken != unit)
            && !said.iter().any(|(_, spoken)| *spoken == unit)
        {
            let message = format!("the text speaks of {other}, the point is in {}", point.unit);
            self.warn(&path, message);
        }
        let same: Vec<f64> = said.iter().filter(|(_, u)| *u == unit).map(|(n, _)| *n).collect();
        if !same.is_empty() && !same.iter().any(|n| *n == rung.limit || *n == rung.clear) {
            let message = format!("the text says {}, the limit is {}", same[0], rung.limit);
            self.warn(&path, message);
        }
    }

    /// A worse alert lies farther out.
    fn ladder(&mut self, point: &Point) {
        let sided = |alert: &AlertSpec| nearest(&alert.test);
        for alert in &point.alerts {
            let Some((limit, side)) = sided(alert) else { continue };
            let nearer = point.alerts.iter().find(|other| {
                alert.test.severity(0) > other.test.severity(0)
                    && sided(other).is_some_and(|(far, other_side)| {
                        side == other_side
                            && if side == "above" { limit < far } else { limit > far }
                    })
            });
            if let Some(other) = nearer {
                let message = format!(
                    "{} comes before the {} `{}`",
                    alert.test.severity(0).as_str(),
                    other.test.severity(0).as_str(),
                    other.name
                );
                let path = ["points", point.name.as_str(), "alerts", &alert.name, side];
                self.warn(&path, message);
            }
        }
    }

    fn languages(&mut self, path: &[&str], label: &Label) {
        let has_words = label.en.chars().filter(|c| c.is_alphabetic()).count() > 3;
        if label.zh == label.en && has_words {
            self.warn(path, "one text for both languages: write { zh = \"...\", en = \"...\" }");
        }
    }
}

/// The limit of the mildest rung, and the key that holds it.
fn nearest(test: &AlertTest) -> Option<(f64, &'static str)> {
    let AlertTest::Limit { of: Signal::Value, side, rungs } = test else { return None };
    let key = if rungs.len() > 1 { "ladder" } else { side.as_str() };
    rungs.first().map(|rung| (rung.limit, key))
}

/// The values that a point's register can say, scaled; `None` for fractions and states, which say anything.
fn reach(point: &Point) -> Option<(f64, f64)> {
    let Read::Register(read) = &point.read else { return None };
    if point.states.is_some() {
        return None;
    }
    let (low, high) = match read.kind.number.as_str() {
        "bit" => (0.0, 1.0),
        "u16" => (0.0, f64::from(u16::MAX)),
        "i16" => (f64::from(i16::MIN), f64::from(i16::MAX)),
        "u32" => (0.0, f64::from(u32::MAX)),
        "i32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    };
    let [a, b] = [low, high].map(|raw| raw * point.scale + point.offset);
    Some((a.min(b), a.max(b)))
}

/// A unit without its annotations: `%{LEL}` is `%`.
fn bare(unit: &str) -> &str {
    match unit.split_once('{') {
        Some(("", _)) | None => unit,
        Some((unit, _)) => unit,
    }
}

/// Numbers that a unit follows, with the unit's UCUM code.
fn spoken_quantities(text: &str) -> Vec<(f64, &'static str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = &rest[start..];
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        rest = after;
        let after = after.trim_start();
        let is_word_end = |tail: &str| !tail.starts_with(|c: char| c.is_alphanumeric() || c == '/');
        let unit = SPOKEN_UNITS
            .iter()
            .find(|(spoken, _)| after.strip_prefix(spoken).is_some_and(is_word_end));
        if let (Ok(number), Some((_, unit))) = (number.trim_end_matches('.').parse(), unit) {
            found.push((number, *unit));
        }
    }
    found
}

/// Where `path` stands in the file: as far as it goes.
fn place(table: &DeTable<'_>, path: &[&str]) -> Range<usize> {
    let mut at = 0..0;
    let mut table = Some(table);
    for name in path {
        let entry = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name));
        let Some((key, value)) = entry else { break };
        (at, table) = match value.get_ref() {
            DeValue::Table(inner) => (key.span(), Some(inner)),
            _ => (value.span(), None),
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use crate::profile::read_text;

    const MANHOLE: &str = include_str!("../../device-profiles/wz-mh1.toml");
    const GATE: &str = include_str!("../../device-profiles/wz-sg200.toml");

    fn warnings(text: &str) -> Vec<String> {
        let file = read_text("p.toml", text).unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(ToString::to_string).collect::<String>())
        });
        file.warnings.iter().map(|w| format!("{}: {}", w.line, w.message)).collect()
    }

    /// What is warned of after the change, and was not before.
    fn check(base: &str, from: &str, to: &str, expected: &str) {
        assert!(base.contains(from), "{from}");
        let before = warnings(base);
        let news: Vec<_> = warnings(&base.replacen(from, to, 1))
            .into_iter()
            .filter(|warning| !before.contains(warning))
            .collect();
        assert!(news.iter().any(|warning| warning.contains(expected)), "{to}: {news:#?}");
    }

    #[test]
    fn units_that_do_not_fit_are_said() {
        check(MANHOLE, "unit     = \"m\"", "unit = \"kPa\"", "`kPa` is unusual for `level`");
        check(MANHOLE, "H2S above 6 ppm", "H2S above 6 mg/m3", "the text speaks of mg/m3");
        check(MANHOLE, "H2S above 6 ppm", "H2S above 9 ppm", "the text says 9, the limit is 6");
        let text = "{ zh = \"甲烷超过爆炸下限 10 %\", en = \"Methane above 10 % LEL\" }";
        check(MANHOLE, text, "\"Methane above 10 % LEL\"", "one text");
    }

    #[test]
    fn a_range_that_the_register_cannot_say_is_said() {
        let opening = "range    = [0, 100]";
        check(
            GATE,
            opening,
            "range = [7000, 8000]",
            "never reached: the register says 0 to 6553.5 %",
        );
        check(GATE, opening, "range = [-10, 100]", "wider than the device can say");
    }

    #[test]
    fn times_that_do_not_fit_are_said() {
        check(MANHOLE, "flatline = \"3d\"", "flatline = \"6min\"", "too short to see");
        check(MANHOLE, "expect_every = \"5min\"\n", "", "no `expect_every`");
        check(GATE, "slow = \"30s\"", "slow = \"5min\"", "the slowest poll comes every 5min");
        check(GATE, "for = \"30s\"", "for = \"500ms\"", "no second reading confirms it");
    }

    #[test]
    fn limits_that_do_not_fit_are_said() {
        check(MANHOLE, "deadband = 0.02", "deadband = 6", "no change inside the range");
        check(
            MANHOLE,
            "above = 2.5, clear = 2.3",
            "above = 1.5, clear = 1.3",
            "critical comes before the major `high`",
        );
        check(GATE, "clear = 3.0, for = \"30s\", clear_for = \"3min\", ", "", "chatters");
    }

    #[test]
    fn a_profile_without_a_test_is_said() {
        let tests = MANHOLE.find("[[test]]").expect("a test");
        let found = warnings(&MANHOLE[..tests]);
        assert!(found.iter().any(|w| w.contains("no [[test]]")), "{found:#?}");
    }
}
