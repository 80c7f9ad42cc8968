//! Whether a command may be sent now: the profile's limits and conditions, on fresh Good values only.
//!
//! Pure: the situation comes in, a permission or a refusal with its facts comes out. Fixtures of a profile are judged by
//! the same function.

use serde::{Deserialize, Serialize};

use crate::model::{Cause, Grade, Label, PointIndex, Quality, Reason, Sample, Timestamp};
use crate::profile::command::{Arg, CommandSpec, Condition, NAMES};
use crate::profile::expr::{Expr, Operand};
use crate::profile::{Point, Profile};

/// What a refusal rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// A point, a value of the site, or a limit of the profile.
    pub name: String,
    /// Its value.
    pub value: Option<f64>,
    /// UCUM unit.
    pub unit: String,
    /// How far the value can be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// Why not further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How old it was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<f64>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{} ({cause})", text.en)]
pub struct Refusal {
    /// The cause, a word.
    pub cause: Cause,
    /// The rule that said no: `range`, `step`, `max_change`, `require`, `health`, `role`, `person`, `challenge`, `moved`
    /// or `busy`.
    pub rule: String,
    /// What people read.
    pub text: Label,
    /// What it rests on.
    pub facts: Vec<Fact>,
}

/// A command that may be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    /// The value that the target is compared with.
    pub present: Option<f64>,
    /// Why another person has to confirm; `None` when the same may.
    pub second_person: Option<Label>,
}

/// What is true about a device now.
pub struct Situation<'a> {
    /// Its profile.
    pub profile: &'a Profile,
    /// The command.
    pub spec: &'a CommandSpec,
    /// The target.
    pub target: Option<f64>,
    /// Now.
    pub now: Timestamp,
    /// The newest sample of a point.
    pub values: &'a dyn Fn(PointIndex) -> Option<Sample>,
    /// A numeric property of the asset.
    pub site: &'a dyn Fn(&str) -> Option<f64>,
    /// Whether a critical alert stands on the asset.
    pub has_critical: bool,
}

/// What a formula says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    Fails,
    /// It rests on a value that cannot be used.
    Unknown,
}

impl Refusal {
    /// A refusal without facts.
    pub fn new(cause: Cause, rule: &str, text: Label) -> Self {
        Refusal { cause, rule: rule.to_owned(), text, facts: Vec::new() }
    }

    /// The same with a fact.
    #[must_use]
    pub fn with(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }
}

impl Fact {
    /// A number that no sensor measured.
    pub fn number(name: &str, value: f64, unit: &str) -> Self {
        Fact {
            name: name.to_owned(),
            value: Some(value),
            unit: unit.to_owned(),
            grade: None,
            reason: None,
            age_s: None,
        }
    }
}

impl Situation<'_> {
    /// Whether the command may be sent.
    ///
    /// # Errors
    /// When a limit or a condition says no, or a value that one rests on is stale or not Good.
    pub fn check(&self) -> Result<Permission, Refusal> {
        let present = match (&self.spec.arg, self.target) {
            (Some(arg), Some(target)) => self.check_arg(arg, target)?,
            (None, _) => None,
            (Some(_), None) => {
                let text = Label::new("缺少目标值", "This command needs a target");
                return Err(Refusal::new(Cause::InconsistentParameters, "range", text));
            }
        };
        for condition in &self.spec.require {
            self.require(condition)?;
        }
        let second_person = self.second_person()?;
        Ok(Permission { present, second_person })
    }

    /// The first condition that must hold while the command executes and does not. A value that cannot be used says
    /// nothing here: the link's loss is noticed by itself.
    pub fn tripped(&self) -> Option<Refusal> {
        let failed = |c: &&Condition| self.verdict(&c.expr) == Verdict::Fails;
        self.spec.watch.iter().find(failed).map(|condition| self.refusal(condition))
    }

    fn check_arg(&self, arg: &Arg, target: f64) -> Result<Option<f64>, Refusal> {
        let (low, high) = arg.range;
        if !(low..=high).contains(&target) {
            let text = Label::new(
                format!("目标值 {target} {0} 不在 {low} 到 {high} {0} 之间", arg.unit),
                format!("The target {target} is not between {low} and {high} {}", arg.unit),
            );
            return Err(Refusal::new(Cause::InvalidPosition, "range", text)
                .with(Fact::number("target", target, &arg.unit)));
        }
        if let Some(step) = arg.step
            && ((target / step).round() * step - target).abs() > step * 1e-6
        {
            let text = Label::new(
                format!("目标值须为 {step} {} 的整数倍", arg.unit),
                format!("Targets are multiples of {step} {}", arg.unit),
            );
            return Err(Refusal::new(Cause::InvalidPosition, "step", text)
                .with(Fact::number("target", target, &arg.unit)));
        }
        let Some(from) = arg.from else { return Ok(None) };
        let present = self.healthy(from)?;
        if let Some(max) = arg.max_change
            && (target - present).abs() > max * (1.0 + 1e-9)
        {
            let text = Label::new(
                format!("单步最多 {max} {}，本次为 {:.1}", arg.unit, (target - present).abs()),
                format!(
                    "One step is {max} {} at most, this is {:.1}",
                    arg.unit,
                    (target - present).abs()
                ),
            );
            return Err(Refusal::new(Cause::StepLimitation, "max_change", text)
                .with(self.fact(from))
                .with(Fact::number("max_change", max, &arg.unit)));
        }
        Ok(Some(present))
    }

    fn require(&self, condition: &Condition) -> Result<(), Refusal> {
        for &input in condition.expr.inputs() {
            self.usable(input)?;
        }
        match self.verdict(&condition.expr) {
            Verdict::Holds => Ok(()),
            Verdict::Fails => Err(self.refusal(condition)),
            Verdict::Unknown => {
                let text = Label::new("条件无法判断", "A condition cannot be told");
                let mut refusal = Refusal::new(Cause::BlockedByHealth, "health", text);
                refusal.facts = self.facts(&condition.expr);
                Err(refusal)
            }
        }
    }

    fn second_person(&self) -> Result<Option<Label>, Refusal> {
        for condition in &self.spec.two_person {
            for &input in condition.expr.inputs() {
                self.usable(input)?;
            }
            // What cannot be told is not taken as harmless.
            if self.verdict(&condition.expr) != Verdict::Fails {
                return Ok(Some(condition.text.clone()));
            }
        }
        Ok(None)
    }

    fn refusal(&self, condition: &Condition) -> Refusal {
        let mut refusal = Refusal::new(condition.cause, "require", condition.text.clone());
        refusal.facts = self.facts(&condition.expr);
        refusal
    }

    pub(super) fn verdict(&self, expr: &Expr) -> Verdict {
        match expr.eval(&|index| self.operand(index)) {
            Some(outcome) if outcome.quality == Quality::GOOD && !outcome.value.is_nan() => {
                if outcome.is_true() {
                    Verdict::Holds
                } else {
                    Verdict::Fails
                }
            }
            _ => Verdict::Unknown,
        }
    }

    /// A point's value, or one of the names behind the points; `None` when it cannot be used.
    fn operand(&self, index: PointIndex) -> Option<Operand> {
        let value = match self.point(index) {
            Some(_) => self.healthy(index).ok(),
            None => self.extra(index),
        };
        value.map(Operand::good)
    }

    fn extra(&self, index: PointIndex) -> Option<f64> {
        let place = usize::from(index.0).checked_sub(self.profile.points.len())?;
        match NAMES.get(place) {
            Some(&"target") => self.target,
            Some(&"change") => {
                let from = self.spec.arg.as_ref()?.from?;
                Some(self.target? - self.healthy(from).ok()?)
            }
            Some(_) => Some(f64::from(u8::from(self.has_critical))),
            None => {
                let value = self.spec.site.get(place - NAMES.len())?;
                (self.site)(&value.name).or(value.default)
            }
        }
    }

    fn extra_name(&self, index: PointIndex) -> Option<(&str, &str)> {
        let place = usize::from(index.0).checked_sub(self.profile.points.len())?;
        let unit = self.spec.arg.as_ref().map_or("1", |arg| arg.unit.as_str());
        match NAMES.get(place) {
            Some(&"critical") => Some(("critical", "1")),
            Some(name) => Some((name, unit)),
            None => {
                let value = self.spec.site.get(place - NAMES.len())?;
                Some((&value.name, &value.unit))
            }
        }
    }

    /// Refuses when an input cannot be used, naming it and its age.
    fn usable(&self, index: PointIndex) -> Result<(), Refusal> {
        if self.point(index).is_some() {
            return self.healthy(index).map(drop);
        }
        if self.extra(index).is_some() {
            return Ok(());
        }
        let Some((name, unit)) = self.extra_name(index) else { return Ok(()) };
        let text = Label::new(
            format!("资产缺少属性 {name}"),
            format!("The asset says nothing of its `{name}`"),
        );
        let fact = Fact { value: None, ..Fact::number(name, 0.0, unit) };
        Err(Refusal::new(Cause::BlockedByHealth, "health", text).with(fact))
    }

    /// A point's value when it is fresh and Good.
    fn healthy(&self, index: PointIndex) -> Result<f64, Refusal> {
        let point = self.point(index);
        let label = point.map_or_else(|| Label::same("?"), |point| point.label.clone());
        let Some(sample) = (self.values)(index) else {
            let text = Label::new(
                format!("{}：从未收到", label.zh),
                format!("{} was never heard of", label.en),
            );
            return Err(Refusal::new(Cause::BlockedByHealth, "health", text).with(self.fact(index)));
        };
        let age = self.now.since(sample.observed_at);
        let is_fresh = age < self.spec.fresh;
        if is_fresh && sample.quality == Quality::GOOD && sample.value.is_finite() {
            return Ok(sample.value);
        }
        let seconds = age.as_secs();
        let text = if is_fresh {
            let grade = sample.quality.grade;
            Label::new(format!("{}：测值不可信", label.zh), format!("{} is {grade}", label.en))
        } else {
            Label::new(
                format!("{}：已过期 {seconds} 秒", label.zh),
                format!("{} is {seconds} s old", label.en),
            )
        };
        Err(Refusal::new(Cause::BlockedByHealth, "health", text).with(self.fact(index)))
    }

    fn facts(&self, expr: &Expr) -> Vec<Fact> {
        expr.inputs().iter().map(|&input| self.fact(input)).collect()
    }

    pub(super) fn fact(&self, index: PointIndex) -> Fact {
        let Some(point) = self.point(index) else {
            let (name, unit) = self.extra_name(index).unwrap_or(("?", "1"));
            let value = self.extra(index);
            return Fact { value, ..Fact::number(name, 0.0, unit) };
        };
        let sample = (self.values)(index);
        Fact {
            name: point.name.as_str().to_owned(),
            value: sample.map(|sample| sample.value).filter(|value| value.is_finite()),
            unit: point.unit.clone(),
            grade: sample.map(|sample| sample.quality.grade),
            reason: sample.and_then(|sample| sample.quality.reason),
            age_s: sample.map(|sample| self.now.since(sample.observed_at).as_secs_f64()),
        }
    }

    fn point(&self, index: PointIndex) -> Option<&Point> {
        self.profile.points.get(usize::from(index.0))
    }
}
