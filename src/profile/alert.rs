//! Alert specs: what is tested, from which severity to which, and how patiently. Profiles and the town's own rules are
//! made of the same ones.

use std::time::Duration;

use serde::Serialize;

use super::expr::Expr;
use crate::model::{DeviceId, Label, MetricName, PointIndex, Severity};

/// What raises an alert. One alert comes of a spec and a device: its severity goes up and down with its rungs.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSpec {
    /// Its name within the point or the device, for example `surcharge`.
    pub name: String,
    /// What people read; a rung may say its own.
    pub text: Label,
    /// What is tested.
    pub test: AlertTest,
    /// How long it must be true, in event time. Not used for silence and flat lines, which have their own `after`.
    pub on_delay: Duration,
    /// How long it must be over, in event time. Not used for silence: one reading is proof of life.
    pub off_delay: Duration,
    /// An alert that has stood acknowledged for so long rings again; `None`: never.
    pub re_alarm: Option<Duration>,
    /// When it is chattering; `None` is the town's default.
    pub flap: Option<Flap>,
    /// The town's schedule by which it is in force; `None` is always.
    pub schedule: Option<String>,
}

/// What a spec tests.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertTest {
    /// A signal of one point against limits.
    Limit {
        /// What is compared.
        of: Signal,
        /// On which side of the limits it is true.
        side: Side,
        /// Mildest first: each is more severe than the one before, and its limit and clear value lie no nearer.
        rungs: Vec<Rung>,
    },
    /// The state has this code.
    Equals {
        /// The state's code.
        code: f64,
        /// How bad it is.
        severity: Severity,
    },
    /// The value stays the same while readings come.
    Flat {
        /// So far apart may the readings be, in the point's unit.
        band: f64,
        /// For so long.
        after: Duration,
        /// How bad it is.
        severity: Severity,
    },
    /// An expression over several points is true.
    Holds {
        /// The expression.
        expr: Condition,
        /// How bad it is.
        severity: Severity,
    },
    /// Nothing is heard (by `received_at`), whatever the quality.
    NoData {
        /// The longest silence that means nothing.
        after: Duration,
        /// How bad it is.
        severity: Severity,
    },
}

/// What is compared with limits. The window ends with the reading and is as long as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The value itself.
    Value,
    /// The value less the smallest in the window: never negative.
    Rise {
        /// How far it looks back.
        window: Duration,
    },
    /// The greatest value in the window less the value: never negative.
    Fall {
        /// How far it looks back.
        window: Duration,
    },
    /// The sum of the readings in the window, for what comes in amounts: rain.
    Sum {
        /// How far it looks back.
        window: Duration,
    },
}

impl Signal {
    /// Between what it can lie for Good values of a point with this range; `None` when nobody knows.
    pub fn reach(self, range: Option<(f64, f64)>) -> Option<(f64, f64)> {
        match self {
            Signal::Value => range,
            Signal::Rise { .. } | Signal::Fall { .. } => range.map(|(low, high)| (0.0, high - low)),
            // Nobody knows how many readings there are.
            Signal::Sum { .. } => {
                range.filter(|(low, _)| *low >= 0.0).map(|_| (0.0, f64::INFINITY))
            }
        }
    }
}

/// The side of a limit on which it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Raised above the limit, cleared at or below the clear value.
    Above,
    /// Raised below the limit, cleared at or above the clear value.
    Below,
}

/// One step of a ladder of limits. Limit and clear value make one two-valued signal: it goes on beyond `limit`, goes off
/// within `clear`, and between the two it stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// How bad it is.
    pub severity: Severity,
    /// Raises when the signal is beyond it.
    pub limit: f64,
    /// Clears when the signal is at it or within.
    pub clear: f64,
    /// What people read; `None` is the spec's text.
    pub text: Option<Label>,
}

/// More than `times` raises `within` are a chattering alert. `times` 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flap {
    /// So many raises are no chattering yet.
    pub times: u32,
    /// In so long.
    pub within: Duration,
}

/// An expression over points that is true or false.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    /// Compiled: a condition, see [`Expr::is_bool`].
    pub expr: Expr,
    /// The points that it asks for, one for each of [`Expr::inputs`], in that order.
    pub inputs: Vec<ConditionInput>,
}

/// A point that a condition asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionInput {
    /// The number by which the expression asks for it.
    pub asked_as: PointIndex,
    /// The device; `None` is the one that the spec belongs to.
    pub device: Option<DeviceId>,
    /// Its metric.
    pub metric: MetricName,
    /// A reading that is older than this, against the newest of the inputs, raises nothing.
    pub max_age: Duration,
}

impl Flap {
    /// However often it comes and goes, it is never chattering.
    pub const NEVER: Flap = Flap { times: 0, within: Duration::ZERO };

    /// When neither the rule nor the town says.
    pub const USUAL: Flap = Flap { times: 5, within: Duration::from_secs(600) };

    /// The most `times`: each raise that still counts is remembered.
    pub const MOST: u32 = 1_000;
}

impl AlertSpec {
    /// A spec in force always, without delays, re-alarm or a flap rule of its own.
    pub fn new(name: impl Into<String>, text: Label, test: AlertTest) -> Self {
        AlertSpec {
            name: name.into(),
            text,
            test,
            on_delay: Duration::ZERO,
            off_delay: Duration::ZERO,
            re_alarm: None,
            flap: None,
            schedule: None,
        }
    }

    /// What people read while the `rung`th step is the highest that is active.
    pub fn text_of(&self, rung: usize) -> &Label {
        let own = match &self.test {
            AlertTest::Limit { rungs, .. } => rungs.get(rung).and_then(|rung| rung.text.as_ref()),
            _ => None,
        };
        own.unwrap_or(&self.text)
    }
}

impl AlertTest {
    /// One limit of the value: a ladder of one rung.
    pub fn limit(side: Side, limit: f64, clear: f64, severity: Severity) -> Self {
        let rungs = vec![Rung { severity, limit, clear, text: None }];
        AlertTest::Limit { of: Signal::Value, side, rungs }
    }

    /// The alert's kind: limit, rise, fall, sum, state, flat, condition or no_data.
    pub fn kind(&self) -> &'static str {
        match self {
            AlertTest::Limit { of: Signal::Value, .. } => "limit",
            AlertTest::Limit { of: Signal::Rise { .. }, .. } => "rise",
            AlertTest::Limit { of: Signal::Fall { .. }, .. } => "fall",
            AlertTest::Limit { of: Signal::Sum { .. }, .. } => "sum",
            AlertTest::Equals { .. } => "state",
            AlertTest::Flat { .. } => "flat",
            AlertTest::Holds { .. } => "condition",
            AlertTest::NoData { .. } => "no_data",
        }
    }

    /// The rungs of a ladder; empty for all that is just true or not.
    pub fn rungs(&self) -> &[Rung] {
        match self {
            AlertTest::Limit { rungs, .. } => rungs,
            _ => &[],
        }
    }

    /// How many severities it has: its rungs, or one.
    pub fn steps(&self) -> usize {
        self.rungs().len().max(1)
    }

    /// The severity of the `step`th of them, mildest first; the worst when there are not so many.
    pub fn severity(&self, step: usize) -> Severity {
        match self {
            AlertTest::Limit { rungs, .. } => {
                let rung = rungs.get(step).or(rungs.last());
                // A ladder without rungs is true of nothing; what it would be called never shows.
                rung.map_or(Severity::Info, |rung| rung.severity)
            }
            AlertTest::Equals { severity, .. }
            | AlertTest::Flat { severity, .. }
            | AlertTest::Holds { severity, .. }
            | AlertTest::NoData { severity, .. } => *severity,
        }
    }

    /// Whether one message can raise it, when nothing was heard before.
    pub fn is_raised_at_once(&self) -> bool {
        match self {
            AlertTest::Limit { of, .. } => *of == Signal::Value,
            AlertTest::Equals { .. } | AlertTest::Holds { .. } => true,
            AlertTest::Flat { .. } | AlertTest::NoData { .. } => false,
        }
    }

    /// How many steps a Good value that came alone would raise, of those that a single value can raise.
    pub fn raised_by(&self, value: f64) -> usize {
        match self {
            AlertTest::Limit { of: Signal::Value, side, rungs } => {
                rungs.iter().take_while(|rung| side.is_beyond(value, rung.limit)).count()
            }
            // The first reading of a window is its whole sum.
            AlertTest::Limit { of: Signal::Sum { .. }, side, rungs } => {
                rungs.iter().take_while(|rung| side.is_beyond(value, rung.limit)).count()
            }
            AlertTest::Equals { code, .. } => usize::from(value == *code),
            AlertTest::Limit { .. }
            | AlertTest::Flat { .. }
            | AlertTest::Holds { .. }
            | AlertTest::NoData { .. } => 0,
        }
    }
}

impl Side {
    /// Whether `value` is beyond `limit`. NaN never is.
    pub fn is_beyond(self, value: f64, limit: f64) -> bool {
        match self {
            Side::Above => value > limit,
            Side::Below => value < limit,
        }
    }

    /// Whether `value` is at `clear` or within it. NaN never is.
    pub fn is_within(self, value: f64, clear: f64) -> bool {
        match self {
            Side::Above => value <= clear,
            Side::Below => value >= clear,
        }
    }

    /// Its word in files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Above => "above",
            Side::Below => "below",
        }
    }
}

impl Signal {
    /// How far it looks back; `None` for the value itself.
    pub fn window(self) -> Option<Duration> {
        match self {
            Signal::Value => None,
            Signal::Rise { window } | Signal::Fall { window } | Signal::Sum { window } => {
                Some(window)
            }
        }
    }
}
