//! Expressions over named values: `level_up - level_down`, `remote == 1 && motor != "fault"`.
//!
//! Takes a text and a [`Scope`], which says what names mean; hands on an [`Expr`] that is typed, unit-checked and ready
//! to be evaluated without allocating. Never knows where a value comes from: whoever evaluates says so, and says how far
//! each value can be trusted. Used by derived points, quality rules and the interlocks of commands.
//!
//! The way of a text: `lexer` (words with their places) → `parser` (a tree, bounded in size and depth) → `check` (types,
//! units, names; everything that is wrong at once) → `eval`.

mod check;
mod eval;
mod lexer;
mod parser;

use std::ops::Range;

use crate::model::{Grade, PointIndex, Quality};

use super::{Point, State};
use eval::Node;

/// What an expression's names mean. The points of a profile come first, under their [`PointIndex`]; names that are
/// added get the numbers that follow, so that one index serves both.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    names: Vec<(&'a str, Kind<'a>)>,
}

/// What a name's value is, or what an expression must come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind<'a> {
    /// A number in this UCUM unit; `1` for a plain one.
    Number(&'a str),
    /// The code of one of these states.
    State(&'a [State]),
    /// True or false: 1 or 0.
    Bool,
    /// Nobody can tell, because what would say it is broken: fits everywhere, so that one mistake is one error.
    Unknown,
}

/// One thing that is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Which bytes of the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right, and what was probably meant.
    pub help: Vec<String>,
}

/// A value of a name or of an expression, and how far it can be trusted. True is 1, false is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operand {
    /// In the unit that the scope or the compiler said; NaN only when the quality is Bad.
    pub value: f64,
    /// For a result: the worst quality among the values that it came from.
    pub quality: Quality,
}

/// A checked expression. Immutable, cheap to evaluate, never allocates when it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    root: Node,
    inputs: Box<[PointIndex]>,
    is_bool: bool,
}

impl<'a> Scope<'a> {
    /// The points of a profile, each under its [`PointIndex`].
    pub fn of(points: &'a [Point]) -> Self {
        let kind = |point: &'a Point| match &point.states {
            Some(states) => Kind::State(states),
            None => Kind::Number(&point.unit),
        };
        Scope { names: points.iter().map(|point| (point.name.as_str(), kind(point))).collect() }
    }

    /// Adds a name beyond the points, for example `target`, and returns the number by which `eval` will ask for it.
    pub fn add(&mut self, name: &'a str, kind: Kind<'a>) -> PointIndex {
        self.names.push((name, kind));
        PointIndex((self.names.len() - 1) as u16)
    }

    fn find(&self, name: &str) -> Option<(PointIndex, Kind<'a>)> {
        let at = self.names.iter().position(|(known, _)| *known == name)?;
        Some((PointIndex(at as u16), self.names[at].1))
    }
}

impl Operand {
    /// A value that is what it says.
    pub const fn good(value: f64) -> Self {
        Operand { value, quality: Quality::GOOD }
    }

    /// Whether a condition holds. Says nothing of how far that can be trusted.
    pub fn is_true(self) -> bool {
        self.value != 0.0
    }

    /// Whether a condition holds for certain: what an interlock asks for.
    pub fn is_surely_true(self) -> bool {
        self.is_true() && self.quality.grade == Grade::Good
    }
}

/// Compiles a text. `wanted` is what the result must be: a number is converted to the wanted unit if it is another of
/// the same dimension, and a state's name in quotes is looked up among the wanted states.
///
/// # Errors
/// Everything that is wrong with the text, in its order; a text that cannot be taken apart has one error.
pub fn compile(text: &str, scope: &Scope<'_>, wanted: Kind<'_>) -> Result<Expr, Vec<ExprError>> {
    let tree = parser::parse(text).map_err(|error| vec![error])?;
    let (root, is_bool) = check::check(&tree, scope, wanted)?;
    let mut inputs = Vec::new();
    root.collect_inputs(&mut inputs);
    inputs.sort_unstable();
    inputs.dedup();
    Ok(Expr { root, inputs: inputs.into(), is_bool })
}

impl Expr {
    /// The names that it may ask for, each once, in the order of their numbers.
    pub fn inputs(&self) -> &[PointIndex] {
        &self.inputs
    }

    /// Whether it is a condition.
    pub fn is_bool(&self) -> bool {
        self.is_bool
    }

    /// The value from those of the names; `None` when one that it needs is not there. Only what is needed is asked for:
    /// `if` uses one branch, and a side of `&&` or `||` that decides by itself needs no other. What cannot be computed
    /// (a division by zero) is NaN and Bad(computed).
    #[inline]
    pub fn eval(&self, values: &impl Fn(PointIndex) -> Option<Operand>) -> Option<Operand> {
        let sure = self.root.sure(values);
        if sure.is_nan() { self.root.eval(values) } else { Some(Operand::good(sure)) }
    }
}

/// For names that are near: what an error's help says.
fn choices(found: &str, allowed: &[&str]) -> Vec<String> {
    super::error::choices(found, allowed)
}

#[cfg(test)]
mod tests;
