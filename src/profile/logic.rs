//! What a profile computes from its own points: derived points, and rules that say when points are not to be trusted.

use std::sync::Arc;
use std::time::Duration;

use super::AlertSpec;
use super::expr::Expr;
use crate::model::{Label, PointIndex, Quality};

/// A profile's derived points, quality rules and conditions. Empty for most profiles.
#[derive(Debug, Clone, Default)]
pub struct Logic {
    /// In an order in which each comes after those that it uses.
    pub derived: Vec<Derived>,
    /// Rules over points that the device reports: applied first, so that derived points know of it.
    pub early_rules: Vec<QualityRule>,
    /// Rules over derived points, and what rules say of derived points.
    pub late_rules: Vec<QualityRule>,
    /// Alerts that are conditions over several points.
    pub alerts: Vec<Arc<AlertSpec>>,
    /// How old each point's newest value may be to be computed with as if it were new, by [`PointIndex`].
    pub max_age: Vec<Duration>,
}

/// A point that is computed from others of its device.
#[derive(Debug, Clone)]
pub struct Derived {
    /// Which point.
    pub point: PointIndex,
    /// Its value, in the point's unit.
    pub expr: Expr,
}

/// While its condition holds, points are not what they seem.
#[derive(Debug, Clone)]
pub struct QualityRule {
    /// The condition.
    pub when: Expr,
    /// The points, and those that are computed from them.
    pub mark: Vec<PointIndex>,
    /// What they get if it is worse than what they have.
    pub quality: Quality,
    /// What people read.
    pub why: Label,
}

impl Logic {
    /// Whether there is nothing to compute with each report. Alerts are the alert room's.
    pub fn is_empty(&self) -> bool {
        self.derived.is_empty() && self.early_rules.is_empty() && self.late_rules.is_empty()
    }
}
