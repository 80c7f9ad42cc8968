//! A checked expression and its evaluation: a small tree, walked by recursion (its height is bounded by the parser).
//!
//! Conditions are three-valued: `a && b` is false when one side is, whatever the other is or whether it is there at all,
//! and has the quality of the side that decided.
//!
//! Nearly always every value is there and Good, and only the number matters: [`Node::sure`] computes that in registers,
//! and [`Node::eval`] with qualities is asked when it gives up.

use super::super::unit::Conversion;
use super::Operand;
use crate::model::{Grade, PointIndex, Quality, Reason};

/// A part of a checked expression. Every number is in the unit that its neighbour expects.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Constant(f64),
    Input(PointIndex),
    /// From one unit into another.
    Convert(Box<Node>, Conversion),
    Map(Map, Box<Node>),
    Join(Join, Box<[Node; 2]>),
    Compare(Comparison, Box<[Node; 2]>),
    Not(Box<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    If(Box<[Node; 3]>),
    /// How many conditions hold.
    Count(Box<[Node]>),
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    Negate,
    Abs,
    Sqrt,
    Exp,
    Ln,
    Sin,
    Cos,
    Acos,
    Floor,
    Round,
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Min,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Map {
    #[inline]
    pub(super) fn apply(self, x: f64) -> f64 {
        match self {
            Map::Negate => -x,
            Map::Abs => x.abs(),
            Map::Sqrt => x.sqrt(),
            Map::Exp => x.exp(),
            Map::Ln => x.ln(),
            Map::Sin => x.sin(),
            Map::Cos => x.cos(),
            Map::Acos => x.acos(),
            Map::Floor => x.floor(),
            Map::Round => x.round(),
        }
    }
}

impl Join {
    #[inline]
    pub(super) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Join::Add => a + b,
            Join::Subtract => a - b,
            Join::Multiply => a * b,
            Join::Divide => a / b,
            Join::Power => a.powf(b),
            Join::Min => a.min(b),
            Join::Max => a.max(b),
        }
    }
}

impl Comparison {
    #[inline]
    pub(super) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
        }
    }
}

/// A computed number: none that is not finite is ever handed on as if it were a value.
#[inline]
fn computed(value: f64, quality: Quality) -> Operand {
    if value.is_finite() {
        return Operand { value, quality };
    }
    let quality =
        if quality.grade == Grade::Bad { quality } else { Quality::bad(Reason::Computed) };
    Operand { value: f64::NAN, quality }
}

fn truth(holds: bool, quality: Quality) -> Operand {
    Operand { value: f64::from(u8::from(holds)), quality }
}

/// A number of the quick way: NaN, which says "give up", for every one that is not finite.
#[inline]
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

#[inline]
fn sure_truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

impl Node {
    /// The value if all that it needs is there and Good and can be computed: then it is Good, and the same as that of
    /// [`Node::eval`]. Else NaN.
    pub(super) fn sure(&self, values: &impl Fn(PointIndex) -> Option<Operand>) -> f64 {
        match self {
            Node::Constant(value) => *value,
            Node::Input(index) => match values(*index) {
                Some(Operand { value, quality: Quality::GOOD }) => finite(value),
                _ => f64::NAN,
            },
            Node::Convert(inner, conversion) => finite(conversion.apply(inner.sure(values))),
            Node::Map(map, inner) => finite(map.apply(inner.sure(values))),
            Node::Join(join, sides) => {
                let (a, b) = (sides[0].sure(values), sides[1].sure(values));
                // `min` and `max` would lose the one that gave up.
                if a.is_nan() || b.is_nan() { f64::NAN } else { finite(join.apply(a, b)) }
            }
            Node::Compare(comparison, sides) => {
                let (a, b) = (sides[0].sure(values), sides[1].sure(values));
                let holds = comparison.holds(a, b);
                if a.is_nan() || b.is_nan() { f64::NAN } else { sure_truth(holds) }
            }
            Node::Not(inner) => {
                let inner = inner.sure(values);
                if inner.is_nan() { inner } else { sure_truth(inner == 0.0) }
            }
            Node::And(sides) => match sides[0].sure(values) {
                decided if decided == 0.0 || decided.is_nan() => decided,
                _ => sides[1].sure(values),
            },
            Node::Or(sides) => match sides[0].sure(values) {
                decided if decided != 0.0 => decided,
                _ => sides[1].sure(values),
            },
            Node::If(parts) => match parts[0].sure(values) {
                condition if condition.is_nan() => condition,
                condition if condition != 0.0 => parts[1].sure(values),
                _ => parts[2].sure(values),
            },
            Node::Count(conditions) => conditions.iter().map(|one| one.sure(values)).sum(),
        }
    }

    /// The value with its quality, whatever that is.
    pub(super) fn eval(&self, values: &impl Fn(PointIndex) -> Option<Operand>) -> Option<Operand> {
        Some(match self {
            Node::Constant(value) => Operand::good(*value),
            Node::Input(index) => values(*index)?,
            Node::Convert(inner, conversion) => {
                let inner = inner.eval(values)?;
                computed(conversion.apply(inner.value), inner.quality)
            }
            Node::Map(map, inner) => {
                let inner = inner.eval(values)?;
                computed(map.apply(inner.value), inner.quality)
            }
            Node::Join(join, sides) => {
                let (a, b) = (sides[0].eval(values)?, sides[1].eval(values)?);
                computed(join.apply(a.value, b.value), a.quality.worst(b.quality))
            }
            Node::Compare(comparison, sides) => {
                let (a, b) = (sides[0].eval(values)?, sides[1].eval(values)?);
                truth(comparison.holds(a.value, b.value), a.quality.worst(b.quality))
            }
            Node::Not(inner) => {
                let inner = inner.eval(values)?;
                truth(!inner.is_true(), inner.quality)
            }
            Node::And(sides) => decide(false, sides, values)?,
            Node::Or(sides) => decide(true, sides, values)?,
            Node::If(parts) => {
                let condition = parts[0].eval(values)?;
                let branch = if condition.is_true() { &parts[1] } else { &parts[2] };
                let taken = branch.eval(values)?;
                Operand { quality: condition.quality.worst(taken.quality), ..taken }
            }
            Node::Count(conditions) => {
                let mut sum = Operand::good(0.0);
                for condition in conditions {
                    let condition = condition.eval(values)?;
                    sum.value += condition.value;
                    sum.quality = sum.quality.worst(condition.quality);
                }
                sum
            }
        })
    }

    pub(super) fn collect_inputs(&self, inputs: &mut Vec<PointIndex>) {
        let parts: &[Node] = match self {
            Node::Constant(_) => &[],
            Node::Input(index) => return inputs.push(*index),
            Node::Convert(inner, _) | Node::Map(_, inner) | Node::Not(inner) => {
                std::slice::from_ref(inner)
            }
            Node::Join(_, sides) | Node::Compare(_, sides) => &sides[..],
            Node::And(sides) | Node::Or(sides) => &sides[..],
            Node::If(parts) => &parts[..],
            Node::Count(conditions) => conditions,
        };
        parts.iter().for_each(|part| part.collect_inputs(inputs));
    }
}

/// `&&` (false decides) and `||` (true decides). A side that decides with a Good quality leaves the other out; of two
/// that decide, the better one does.
fn decide(
    decisive: bool,
    sides: &[Node; 2],
    values: &impl Fn(PointIndex) -> Option<Operand>,
) -> Option<Operand> {
    let decides = |side: &Operand| side.is_true() == decisive;
    let left = sides[0].eval(values);
    if let Some(left) = left.filter(|left| decides(left) && left.quality == Quality::GOOD) {
        return Some(left);
    }
    let right = sides[1].eval(values);
    match (left.filter(decides), right.filter(decides)) {
        (Some(left), Some(right)) if left.quality.worst(right.quality) == left.quality => {
            Some(right)
        }
        (Some(left), _) => Some(left),
        (None, Some(right)) => Some(right),
        (None, None) => {
            let (left, right) = (left?, right?);
            Some(truth(!decisive, left.quality.worst(right.quality)))
        }
    }
}
