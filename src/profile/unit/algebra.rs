//! What a UCUM code means: its dimension and its size, so that units can be multiplied, compared and converted.
//!
//! Stricter than physics where a factor of 100 hides easily: a share (`%`, `[ppm]`) is no plain number, and what stands
//! in an annotation is a kind of its own, so `%{LEL}`, `%{vol}` and `%` never mix, nor do `{vehicle}` and `1`. Angles in
//! `deg` are no plain numbers either; `rad` is.

use std::collections::BTreeMap;
use std::fmt;

/// The largest exponent that a unit may come to; more is a mistake, and numbers stay finite.
const MAX_EXPONENT: i32 = 30;

/// Sizes may differ by this share and are the same.
const SAME_SIZE: f64 = 1e-12;

/// A unit, taken apart.
#[derive(Debug, Clone)]
pub(in crate::profile) struct Unit {
    /// How it was written, for messages; nothing for one that was computed.
    code: Option<Box<str>>,
    /// Base dimensions and kinds with their exponents; none is 0.
    dimension: BTreeMap<Box<str>, i32>,
    /// One of this unit in base units, as a fraction: `m3/h` is 1/3600, and converting by it keeps decimals whole.
    size: Fraction,
    zero: Zero,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Fraction {
    over: f64,
    under: f64,
}

/// Where a scale begins. Values on a scale with a zero of its own can be subtracted and shifted, not added or scaled.
#[derive(Debug, Clone, PartialEq)]
enum Zero {
    /// At nothing.
    Natural,
    /// At this many base units: `Cel` at 273.15 K.
    At(f64),
    /// At the level that the annotation names: `dB{mW}`.
    Reference(Box<str>),
}

/// Makes a value in one unit into one of another: `value * factor / divisor + shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::profile) struct Conversion {
    pub(in crate::profile) factor: f64,
    pub(in crate::profile) divisor: f64,
    pub(in crate::profile) shift: f64,
}

impl Conversion {
    pub(in crate::profile) const NONE: Conversion =
        Conversion { factor: 1.0, divisor: 1.0, shift: 0.0 };

    /// Whether it changes nothing.
    pub(in crate::profile) fn is_none(self) -> bool {
        self == Conversion::NONE
    }

    #[inline]
    pub(in crate::profile) fn apply(self, value: f64) -> f64 {
        value * self.factor / self.divisor + self.shift
    }
}

impl Fraction {
    const ONE: Fraction = Fraction { over: 1.0, under: 1.0 };

    fn value(self) -> f64 {
        self.over / self.under
    }

    fn times(self, other: Fraction) -> Fraction {
        Fraction { over: self.over * other.over, under: self.under * other.under }
    }

    fn inverse(self) -> Fraction {
        Fraction { over: self.under, under: self.over }
    }

    fn power(self, exponent: i32) -> Fraction {
        let Fraction { over, under } = if exponent < 0 { self.inverse() } else { self };
        let exponent = exponent.abs();
        Fraction { over: over.powi(exponent), under: under.powi(exponent) }
    }

    fn is_sane(self) -> bool {
        [self.over, self.under, self.value()].iter().all(|part| part.is_normal())
    }

    fn is_same(self, other: Fraction) -> bool {
        (self.value() / other.value() - 1.0).abs() <= SAME_SIZE
    }
}

impl Unit {
    /// The plain number.
    pub(in crate::profile) fn one() -> Self {
        Unit::of(1.0, 1.0, &[], None)
    }

    /// Takes a code apart; `None` when it is none.
    pub(in crate::profile) fn parse(code: &str) -> Option<Self> {
        Some(Unit { code: Some(code.into()), ..super::parse(code)? })
    }

    pub(super) fn of(over: f64, under: f64, bases: &[(&str, i32)], zero: Option<f64>) -> Self {
        let dimension = bases.iter().map(|(base, exponent)| ((*base).into(), *exponent)).collect();
        let zero = zero.map_or(Zero::Natural, Zero::At);
        Unit { code: None, dimension, size: Fraction { over, under }, zero }
    }

    /// The same scale, `over / under` as large a step.
    pub(super) fn scaled(mut self, over: f64, under: f64) -> Self {
        self.size = self.size.times(Fraction { over, under });
        self
    }

    /// The unit as the annotation qualifies it: a kind of its own, or the level that a logarithmic one counts from.
    pub(super) fn annotated(mut self, annotation: &str) -> Self {
        if self.dimension.len() == 1 && self.dimension.contains_key("B") {
            self.zero = Zero::Reference(annotation.into());
        } else {
            self.dimension.insert(format!("{{{annotation}}}").into(), 1);
        }
        self
    }

    /// Whether the scale has a zero of its own, as temperatures in `Cel` and levels in `dB{mW}` have.
    pub(in crate::profile) fn has_own_zero(&self) -> bool {
        self.zero != Zero::Natural
    }

    /// Whether this is the plain number.
    pub(in crate::profile) fn is_one(&self) -> bool {
        self.dimension.is_empty() && self.size.is_same(Fraction::ONE)
    }

    /// The unit of a difference on this scale: `K` for `Cel`, `dB` for `dB{mW}`, the unit itself for most.
    pub(in crate::profile) fn step(&self) -> Self {
        match self.zero {
            Zero::Natural => self.clone(),
            _ => Unit { code: None, zero: Zero::Natural, ..self.clone() },
        }
    }

    /// The product; `None` when no unit of this world has its exponents.
    pub(in crate::profile) fn times(&self, other: &Unit) -> Option<Self> {
        let mut dimension = self.counted_dimension();
        for (base, exponent) in other.counted_dimension() {
            *dimension.entry(base).or_insert(0) += exponent;
        }
        dimension.retain(|_, exponent| *exponent != 0);
        Self::sane(dimension, self.size.times(other.size))
    }

    /// As [`Unit::times`], by 1 over the other.
    pub(in crate::profile) fn per(&self, other: &Unit) -> Option<Self> {
        self.times(&other.power(-1)?)
    }

    /// The unit times itself.
    pub(in crate::profile) fn power(&self, exponent: i32) -> Option<Self> {
        if exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let mut dimension = self.counted_dimension();
        dimension.values_mut().for_each(|own| *own *= exponent);
        dimension.retain(|_, exponent| *exponent != 0);
        Self::sane(dimension, self.size.power(exponent))
    }

    /// The unit whose square this is.
    pub(in crate::profile) fn root(&self) -> Option<Self> {
        let mut dimension = self.counted_dimension();
        if dimension.values().any(|exponent| exponent % 2 != 0) {
            return None;
        }
        dimension.values_mut().for_each(|exponent| *exponent /= 2);
        let Fraction { over, under } = self.size;
        Self::sane(dimension, Fraction { over: over.sqrt(), under: under.sqrt() })
    }

    fn sane(dimension: BTreeMap<Box<str>, i32>, size: Fraction) -> Option<Self> {
        let is_sane = dimension.values().all(|e| e.abs() <= MAX_EXPONENT) && size.is_sane();
        is_sane.then_some(Unit { code: None, dimension, size, zero: Zero::Natural })
    }

    /// The dimension in products: there a scale's own zero has no meaning, but the kind of level keeps its name.
    fn counted_dimension(&self) -> BTreeMap<Box<str>, i32> {
        let mut dimension = self.dimension.clone();
        if let Zero::Reference(level) = &self.zero {
            dimension.insert(format!("{{{level}}}").into(), 1);
        }
        dimension
    }

    /// What makes a value in this unit into one of `other`; `None` when they measure different things.
    pub(in crate::profile) fn conversion_to(&self, other: &Unit) -> Option<Conversion> {
        if self.dimension != other.dimension {
            return None;
        }
        let shift = match (&self.zero, &other.zero) {
            (Zero::Natural, Zero::Natural) => 0.0,
            (Zero::Reference(own), Zero::Reference(others)) if own == others => 0.0,
            (Zero::At(own), Zero::At(others)) => (own - others) / other.size.value(),
            // A temperature in kelvin, on a scale that begins elsewhere, or the other way round: whether the kelvin are
            // a temperature or a difference nobody can tell, so they are told apart.
            _ => return None,
        };
        if self.size.is_same(other.size) {
            return Some(Conversion { shift, ..Conversion::NONE });
        }
        let Fraction { over, under } = self.size.times(other.size.inverse());
        let (factor, divisor) = reduce(over, under);
        Some(Conversion { factor, divisor, shift })
    }
}

/// The same fraction with 1 on one side, where that loses nothing: 3600000/1000 is 3600, 1/0.001 is 1000.
fn reduce(over: f64, under: f64) -> (f64, f64) {
    let is_whole = |x: f64| (x - x.round()).abs() <= SAME_SIZE * x.abs() && x.round() != 0.0;
    let (up, down) = (over / under, under / over);
    if is_whole(up) {
        (up.round(), 1.0)
    } else if is_whole(down) {
        (1.0, down.round())
    } else {
        (up, 1.0)
    }
}

impl fmt::Display for Unit {
    /// As it was written, or in base units: `m3/s`, `0.001 m2`, `1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            return f.write_str(code);
        }
        let share = self.dimension.get(SHARE) == Some(&1);
        let size = self.size.value() * if share { 100.0 } else { 1.0 };
        if (size - 1.0).abs() > SAME_SIZE {
            write!(f, "{size} ")?;
        }
        let spelled = |(base, exponent): (&str, i32)| {
            let base = if base == SHARE { "%" } else { base };
            match exponent.abs() {
                1 => base.to_owned(),
                n => format!("{base}{n}"),
            }
        };
        let bases = || self.dimension.iter().map(|(base, exponent)| (&**base, *exponent));
        let above: Vec<_> = bases().filter(|(_, e)| *e > 0).map(spelled).collect();
        let below: Vec<_> = bases().filter(|(_, e)| *e < 0).map(spelled).collect();
        // A unit and its annotation are one word.
        let above = above.join(".").replace(".{", "{");
        match (above.is_empty(), below.is_empty()) {
            (true, true) => f.write_str("1"),
            (_, true) => f.write_str(&above),
            (_, false) => write!(f, "{above}/{}", below.join("/")),
        }
    }
}

/// The kind of `%` and `[ppm]`.
pub(super) const SHARE: &str = "#share";
