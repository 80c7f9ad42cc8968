//! Derived points, put in an order in which they can be computed, and quality rules.

use std::time::Duration;

use super::point::Placed;
use super::source::Wiring;
use super::{alert, expression};
use crate::model::{Grade, Label, PointIndex, Quality, Reason};
use crate::profile::error::Problems;
use crate::profile::expr::{Kind, Scope};
use crate::profile::logic::{Derived, Logic, QualityRule};
use crate::profile::raw::{Named, RawConditionAlert, RawPoint, RawQuality};
use crate::profile::spanned::Spanned;
use crate::profile::{Point, Read};

/// How many polls of a point may be missed before its value is too old to be computed with.
const MISSED_POLLS: u32 = 3;

/// The points' names and formulas in the order of the file, kept while the points themselves are compiled.
pub(super) struct Formulas(Vec<(String, Option<Spanned<String>>)>);

impl Formulas {
    pub(super) fn of(raw: &Named<RawPoint>) -> Self {
        let mut points: Vec<_> = raw.iter().collect();
        points.sort_by_key(|(name, _)| name.span().start);
        let formula = |(name, point): (&Spanned<String>, &RawPoint)| {
            (name.get_ref().clone(), point.expr.clone())
        };
        Formulas(points.into_iter().map(formula).collect())
    }

    /// What the names mean. A point with problems of its own is unknown, which is no further problem.
    fn scope<'a>(&'a self, points: &'a [Placed]) -> Scope<'a> {
        let mut scope = Scope::default();
        for (name, _) in &self.0 {
            let placed = points.iter().find(|placed| placed.point.name.as_str() == name);
            scope.add(name, placed.map_or(Kind::Unknown, |placed| kind(&placed.point)));
        }
        scope
    }
}

fn kind(point: &Point) -> Kind<'_> {
    match &point.states {
        Some(states) => Kind::State(states),
        None => Kind::Number(&point.unit),
    }
}

pub(super) fn compile(
    formulas: &Formulas,
    rules: Vec<Spanned<RawQuality>>,
    conditions: Vec<Spanned<RawConditionAlert>>,
    points: &[Placed],
    wiring: Option<&Wiring>,
    stale_after: Duration,
    problems: &mut Problems<'_>,
) -> Logic {
    let scope = formulas.scope(points);
    let derived = compile_derived(formulas, &scope, points, problems);
    let derived = order(derived, formulas, problems);
    let mut logic = Logic { derived, ..Logic::default() };
    for rule in rules {
        if let Some(rule) = compile_rule(rule, formulas, &scope, problems) {
            logic.add_rule(rule);
        }
    }
    let ages = max_ages(points, wiring, stale_after, &logic.derived);
    // With a point that is broken the numbers do not fit, and nobody sees the outcome.
    let metrics = points.iter().map(|placed| placed.point.name.clone());
    let metrics: Vec<_> = metrics.zip(ages.iter().copied()).collect();
    logic.alerts = alert::compile_conditions(conditions, &scope, &metrics, problems);
    if !logic.is_empty() {
        logic.max_age = ages;
    }
    logic
}

fn compile_derived(
    formulas: &Formulas,
    scope: &Scope<'_>,
    points: &[Placed],
    problems: &mut Problems<'_>,
) -> Vec<Derived> {
    let mut derived = Vec::new();
    for (at, (name, formula)) in formulas.0.iter().enumerate() {
        let Some(formula) = formula else { continue };
        let placed = points.iter().find(|placed| placed.point.name.as_str() == name);
        let wanted = placed.map_or(Kind::Unknown, |placed| kind(&placed.point));
        let Some(expr) = expression::compile(formula, scope, wanted, problems) else { continue };
        if expr.inputs().is_empty() {
            problems.report(&formula.span(), "a derived point uses at least one other point");
        }
        derived.push(Derived { point: PointIndex(at as u16), expr });
    }
    derived
}

/// Each after those that it uses. Points that use each other in a circle are noted and left out.
fn order(
    mut waiting: Vec<Derived>,
    formulas: &Formulas,
    problems: &mut Problems<'_>,
) -> Vec<Derived> {
    let mut ordered: Vec<Derived> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_waiting = |point: PointIndex| waiting.iter().any(|other| other.point == point);
        let (ready, blocked): (Vec<_>, Vec<_>) = waiting
            .iter()
            .cloned()
            .partition(|one| !one.expr.inputs().iter().any(|input| is_waiting(*input)));
        if ready.is_empty() {
            let circle = find_circle(&waiting);
            report_circle(&circle, formulas, problems);
            waiting = blocked;
            waiting.retain(|one| !circle.contains(&one.point));
        } else {
            ordered.extend(ready);
            waiting = blocked;
        }
    }
    ordered
}

/// A circle among points of which every one uses another.
fn find_circle(waiting: &[Derived]) -> Vec<PointIndex> {
    let mut path: Vec<PointIndex> = Vec::new();
    let mut here = waiting.first();
    while let Some(one) = here {
        if let Some(begin) = path.iter().position(|point| *point == one.point) {
            path.drain(..begin);
            break;
        }
        path.push(one.point);
        let next = |input: &PointIndex| waiting.iter().find(|other| other.point == *input);
        here = one.expr.inputs().iter().find_map(next);
    }
    // Told from the point that stands first in the file.
    let first = path.iter().enumerate().min_by_key(|(_, point)| **point).map_or(0, |(at, _)| at);
    path.rotate_left(first);
    path
}

fn report_circle(circle: &[PointIndex], formulas: &Formulas, problems: &mut Problems<'_>) {
    let name = |point: &PointIndex| formulas.0[usize::from(point.0)].0.as_str();
    let Some(first) = circle.first() else { return };
    let Some(formula) = &formulas.0[usize::from(first.0)].1 else { return };
    let way: Vec<&str> = circle.iter().chain([first]).map(name).collect();
    let message = format!("`{}` is computed from itself: {}", name(first), way.join(" → "));
    problems.report(&formula.span(), message);
}

fn compile_rule(
    raw: Spanned<RawQuality>,
    formulas: &Formulas,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<QualityRule> {
    let at = raw.span();
    let raw = raw.into_inner();
    let when = problems.require(raw.when, &at, "when", "\"battery < 2.8\"");
    let when = when.and_then(|when| expression::compile(&when, scope, Kind::Bool, problems));
    let mark = problems.require(raw.mark, &at, "mark", "[\"level\"]");
    let mark = mark.map(|mark| {
        if mark.get_ref().is_empty() {
            problems
                .report(&mark.span(), "a rule marks at least one point, for example [\"level\"]");
        }
        let marks = mark.into_inner();
        marks.iter().filter_map(|name| find_point(name, formulas, problems)).collect()
    });
    let grade = problems.require(raw.grade, &at, "as", "\"uncertain\"");
    let grade = grade.and_then(|grade| {
        let all = [Grade::Uncertain, Grade::Bad];
        problems.choose(&grade, "quality", &all, |grade| match grade {
            Grade::Bad => "bad",
            _ => "uncertain",
        })
    });
    let example = "{ zh = \"电池电压过低\", en = \"Battery too low\" }";
    let why: Option<Label> =
        problems.require(raw.why, &at, "why", example).map(|why| why.into_inner().0);
    let quality = Quality { grade: grade?, reason: Some(Reason::Rule) };
    Some(QualityRule { when: when?, mark: mark?, quality, why: why? })
}

fn find_point(
    name: &Spanned<String>,
    formulas: &Formulas,
    problems: &mut Problems<'_>,
) -> Option<PointIndex> {
    let found = name.get_ref();
    let at = formulas.0.iter().position(|(known, _)| known == found);
    if at.is_none() {
        let names: Vec<&str> = formulas.0.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("no point is named `{found}`");
        problems.report_choice(&name.span(), message, found, &names);
    }
    at.map(|at| PointIndex(at as u16))
}

impl Logic {
    /// A rule over reported points marks reported points early, and what is computed from those inherits it. All else
    /// waits until derived points are there, and marks what is computed from its points itself.
    fn add_rule(&mut self, rule: QualityRule) {
        let is_derived = |point: &PointIndex| self.derived.iter().any(|one| one.point == *point);
        let is_early = !rule.when.inputs().iter().any(is_derived);
        let (early, late): (Vec<_>, Vec<_>) =
            rule.mark.iter().copied().partition(|point| is_early && !is_derived(point));
        let late = self.with_dependents(late);
        if !early.is_empty() {
            self.early_rules.push(QualityRule { mark: early, ..rule.clone() });
        }
        if !late.is_empty() {
            self.late_rules.push(QualityRule { mark: late, ..rule });
        }
    }

    /// The points and all that are computed from them: one pass, because `derived` is in order.
    fn with_dependents(&self, mut points: Vec<PointIndex>) -> Vec<PointIndex> {
        for one in &self.derived {
            let depends = one.expr.inputs().iter().any(|input| points.contains(input));
            if depends && !points.contains(&one.point) {
                points.push(one.point);
            }
        }
        points
    }
}

/// A polled point that is asked more rarely than `stale_after` is as new as its poll allows.
fn max_ages(
    points: &[Placed],
    wiring: Option<&Wiring>,
    stale_after: Duration,
    derived: &[Derived],
) -> Vec<Duration> {
    let rate = |point: &Point| match (&point.read, wiring) {
        (Read::Register(read), Some(Wiring::Modbus { source, .. })) => {
            source.poll.get(&read.poll).copied()
        }
        _ => None,
    };
    let mut ages: Vec<Duration> = points
        .iter()
        .map(|placed| {
            rate(&placed.point).map_or(stale_after, |rate| stale_after.max(rate * MISSED_POLLS))
        })
        .collect();
    for Derived { point, expr } in derived {
        let inputs = expr.inputs().iter().filter_map(|input| ages.get(usize::from(input.0)));
        let oldest = inputs.copied().max().unwrap_or(stale_after);
        if let Some(age) = ages.get_mut(usize::from(point.0)) {
            *age = oldest;
        }
    }
    ages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Profile, read_text};

    const BASE: &str = r#"
profile = 1
id = "p"
name = "p"
manufacturer = "m"
model = "m"
kind = "sluice-gate"
[source.modbus]
poll = { fast = "1s", slow = "5min" }
[staleness]
stale_after = "10s"
[points.level]
label = "l"
unit = "m"
read = { table = "input", address = 1, type = "u16", poll = "fast" }
[points.setpoint]
label = "s"
unit = "m"
read = { table = "input", address = 2, type = "u16", poll = "slow" }
"#;

    fn read(text: &str) -> Result<Profile, Vec<String>> {
        let shown = |error: &crate::profile::ProfileError| {
            let help = error.help.iter().map(|help| format!(" | {help}")).collect::<String>();
            format!("{}:{} {}{help}", error.line, error.column, error.message)
        };
        read_text("p.toml", &format!("{BASE}{text}"))
            .map(|file| file.profile)
            .map_err(|errors| errors.iter().map(shown).collect())
    }

    /// A derived point in metres.
    fn point(name: &str, expr: &str) -> String {
        format!("[points.{name}]\nlabel = \"x\"\nunit = \"m\"\nexpr = \"{expr}\"\n")
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(read(text).err().unwrap_or_default(), expected, "{text}");
    }

    #[test]
    fn derived_points_stand_after_what_they_use() {
        let text = [point("a", "b + c"), point("b", "c - level"), point("c", "level * 2")].concat();
        let profile = read(&text).expect("a profile");
        let order: Vec<_> = profile.logic.derived.iter().map(|one| one.point.0).collect();
        assert_eq!(order, [4, 3, 2]);
        assert_eq!(profile.points[2].read, Read::Derived);
    }

    #[test]
    fn a_circle_is_named() {
        let text = [point("a", "b"), point("b", "c + level"), point("c", "a"), point("d", "a")];
        check(&text.concat(), &["23:8 `a` is computed from itself: a → b → c → a"]);
        let text = [point("x", "x + level"), point("y", "z"), point("z", "y")].concat();
        let expected = [
            "23:8 `x` is computed from itself: x → x",
            "27:8 `y` is computed from itself: y → z → y",
        ];
        check(&text, &expected);
    }

    #[test]
    fn a_formula_that_is_wrong_says_where() {
        let names = "allowed: level, setpoint, x";
        let miss = format!("23:17 nothing is named `levl` | did you mean `level`? | {names}");
        check(&point("x", "level + levl"), &[&miss]);
        check(&point("x", "level * setpoint"), &["23:9 this is in m2; expected m"]);
        check(&point("x", "3 + 4"), &["23:8 a derived point uses at least one other point"]);
        let both = format!("{}read = {{ table = \"input\" }}\n", point("x", "level"));
        check(&both, &["24:8 a point has `read` or `expr`, not both"]);
        // A point with a problem of its own is no second problem where it is used.
        let broken =
            format!("{}{}", point("x", "level").replace("\"m\"", "\"mX\""), point("y", "x"));
        assert_eq!(read(&broken).err().map(|errors| errors.len()), Some(1));
    }

    #[test]
    fn a_rule_says_when_what_and_why() {
        let rule = |text: &str| format!("{}[[quality]]\n{text}\n", point("x", "level + 1"));
        check(&rule("when = \"x > 2\"\nmark = [\"level\"]\nas = \"bad\"\nwhy = \"w\""), &[]);
        check(
            &rule("when = \"levl > 2\"\nmark = [\"y\"]\nas = \"worse\""),
            &[
                "24:1 `why` is missing | for example: why = { zh = \"电池电压过低\", en = \"Battery too low\" }",
                "25:9 nothing is named `levl` | did you mean `level`? | allowed: level, setpoint, x",
                "26:9 no point is named `y` | did you mean `x`? | allowed: level, setpoint, x",
                "27:6 unknown quality `worse` | allowed: uncertain, bad",
            ],
        );
    }

    #[test]
    fn a_rule_is_early_where_derived_points_inherit_what_it_says() {
        let text = format!(
            "{}{}[[quality]]\nwhen = \"level > 2\"\nmark = [\"level\", \"x\"]\nas = \"bad\"\nwhy = \"w\"\n",
            point("x", "setpoint"),
            point("y", "x + 1"),
        );
        let logic = read(&text).expect("a profile").logic;
        assert_eq!(logic.early_rules[0].mark, [PointIndex(0)]);
        assert_eq!(logic.late_rules[0].mark, [PointIndex(2), PointIndex(3)]);
    }

    #[test]
    fn a_point_that_is_polled_rarely_is_not_stale_between_two_polls() {
        let text = [point("x", "level"), point("y", "x + setpoint")].concat();
        let ages = read(&text).expect("a profile").logic.max_age;
        assert_eq!(ages, [10, 900, 10, 900].map(Duration::from_secs));
    }
}
