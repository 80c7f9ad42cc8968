//! A rule over stored history, beside what was: how often it would have been raised, for how long, and how bad.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::period::Span;
use crate::alert::{AlertId, Spell};
use crate::model::{Severity, Timestamp};

/// The most spells that an answer lists; the sums are of all.
pub const MAX_SPELLS: usize = 1_000;

/// The sums of a rule's spells in a span. A spell that is active at its end counts until then.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sums {
    /// How often it was raised.
    pub raised: u64,
    /// The same per day.
    pub raised_per_day: f64,
    /// How long it was active, in seconds.
    pub active_s: f64,
    /// The longest time, in seconds.
    pub longest_s: f64,
    /// Whether it is active at the end.
    pub is_active: bool,
    /// The worst severity; `None` when it was never raised.
    pub worst: Option<Severity>,
    /// How often each severity was the worst of a spell.
    pub by_severity: BTreeMap<Severity, u64>,
}

/// A time for which an alert was active in fact, by the hub's clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Recorded {
    /// Which alert.
    pub alert: AlertId,
    /// When it was raised.
    pub raised: Timestamp,
    /// When it returned; `None`: it stood at the end.
    pub cleared: Option<Timestamp>,
    /// At its worst meanwhile.
    pub severity: Severity,
}

/// From a raise to a return.
trait Stay {
    fn stay(&self) -> (Timestamp, Option<Timestamp>, Severity);
}

impl Stay for Spell {
    fn stay(&self) -> (Timestamp, Option<Timestamp>, Severity) {
        (self.raised, self.cleared, self.severity)
    }
}

impl Stay for Recorded {
    fn stay(&self) -> (Timestamp, Option<Timestamp>, Severity) {
        (self.raised, self.cleared, self.severity)
    }
}

/// The sums of what a rule would have done.
pub fn sums_of_spells(spells: &[Spell], span: Span) -> Sums {
    sums(spells, span)
}

/// The sums of what happened in fact.
pub fn sums_of_recorded(recorded: &[Recorded], span: Span) -> Sums {
    sums(recorded, span)
}

fn sums(stays: &[impl Stay], span: Span) -> Sums {
    let mut by_severity: BTreeMap<Severity, u64> = BTreeMap::new();
    let (mut active, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut is_active = false;
    for stay in stays {
        let (raised, cleared, severity) = stay.stay();
        *by_severity.entry(severity).or_default() += 1;
        let time = span.clip(raised, cleared.unwrap_or(span.to)).map(|part| part.length());
        active += time.unwrap_or_default();
        longest = longest.max(time.unwrap_or_default());
        is_active |= cleared.is_none();
    }
    let days = span.length().as_secs_f64() / 86_400.0;
    Sums {
        raised: stays.len() as u64,
        raised_per_day: if days > 0.0 { stays.len() as f64 / days } else { 0.0 },
        active_s: active.as_secs_f64(),
        longest_s: longest.as_secs_f64(),
        is_active,
        worst: by_severity.keys().max().copied(),
        by_severity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_active_counts_until_the_end() {
        let at = |minutes: i64| Timestamp::from_secs(minutes * 60);
        let recorded = |raised, cleared: Option<i64>, severity| Recorded {
            alert: AlertId(1),
            raised: at(raised),
            cleared: cleared.map(at),
            severity,
        };
        let span = Span { from: at(0), to: at(24 * 60) };
        let sums = sums_of_recorded(
            &[
                // Raised before the span: only what lies in it counts.
                recorded(-30, Some(10), Severity::Minor),
                recorded(60, Some(80), Severity::Critical),
                recorded(24 * 60 - 5, None, Severity::Minor),
            ],
            span,
        );
        assert_eq!((sums.raised, sums.raised_per_day, sums.is_active), (3, 3.0, true));
        assert_eq!((sums.active_s, sums.longest_s), (35.0 * 60.0, 20.0 * 60.0));
        assert_eq!(sums.worst, Some(Severity::Critical));
        assert_eq!(sums.by_severity[&Severity::Minor], 2);
        let none = sums_of_recorded(&[], span);
        assert_eq!((none.raised, none.worst, none.is_active), (0, None, false));
    }
}
