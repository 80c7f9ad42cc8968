//! What rules keep of readings that are past: windows for rise, fall, sum and flat lines, and the newest readings for
//! expressions. All of it follows from the readings alone, so a restart finds it again.

use std::collections::VecDeque;
use std::time::Duration;

use super::ladder::Says;
use super::rule::Verdict;
use crate::model::{Grade, Quality, Reason, SeriesId, Timestamp};
use crate::profile::expr::Operand;
use crate::profile::{AlertTest, Condition, Signal};

/// A window keeps at most about this many entries: readings that come faster share one, and the window's far end is then
/// sharp to 1/256 of its length.
const GRAINS: u64 = 256;

/// Before every reading.
pub(super) const NEVER: Timestamp = Timestamp::from_micros(i64::MIN);

/// A series' newest reading that is not late, whatever its quality: what expressions go by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    pub(super) series: SeriesId,
    /// [`NEVER`] when there was none.
    pub(super) at: Timestamp,
    pub(super) value: f64,
    pub(super) quality: Quality,
    /// The newest reading that counts for a flat line.
    pub(super) counted: Timestamp,
}

/// What a rule keeps.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sense {
    /// Readings of its series.
    Window(Window),
    /// The newest readings of the expression's inputs, by their number among the memories, in the order of the inputs.
    Inputs(Box<[u32]>),
}

/// The readings of the last while.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    kind: Kind,
    span_us: i64,
    grain_us: i64,
    entries: VecDeque<Entry>,
    /// What came before the hub's start, or before the rule, was looked up.
    pub(super) is_filled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Rise,
    Fall,
    Sum,
    Flat { band: f64 },
}

/// Readings of one grain of time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    /// The newest of them, in microseconds.
    last: i64,
    low: f64,
    high: f64,
    sum: f64,
}

impl Memory {
    /// Of a series that was never heard.
    pub(super) fn none(series: SeriesId) -> Self {
        let quality = Quality::bad(Reason::Comm);
        Memory { series, at: NEVER, value: f64::NAN, quality, counted: NEVER }
    }

    /// Takes a reading; false when it is not the newest.
    pub(super) fn take(&mut self, at: Timestamp, value: f64, quality: Quality) -> bool {
        if quality.reason == Some(Reason::Late) || at <= self.at {
            return false;
        }
        (self.at, self.value, self.quality) = (at, value, quality);
        if counts_as_flat(quality) {
            self.counted = at;
        }
        true
    }
}

/// Good, or doubted for nothing but that it does not change.
pub(super) fn counts_as_flat(quality: Quality) -> bool {
    quality.is_news() || quality == Quality::uncertain(Reason::Frozen)
}

impl Window {
    /// The window that a test needs, empty; `None` when it needs none.
    pub(super) fn of(test: &AlertTest) -> Option<Self> {
        let (kind, span) = match *test {
            AlertTest::Limit { of: Signal::Rise { window }, .. } => (Kind::Rise, window),
            AlertTest::Limit { of: Signal::Fall { window }, .. } => (Kind::Fall, window),
            AlertTest::Limit { of: Signal::Sum { window }, .. } => (Kind::Sum, window),
            AlertTest::Flat { band, after, .. } => (Kind::Flat { band }, after),
            _ => return None,
        };
        let span_us = micros(span).max(1);
        let grain_us = (span_us / GRAINS as i64).max(1);
        Some(Window { kind, span_us, grain_us, entries: VecDeque::new(), is_filled: false })
    }

    /// Whether the same readings make the same window.
    pub(super) fn is_like(&self, other: &Window) -> bool {
        self.kind == other.kind && self.span_us == other.span_us
    }

    /// From when on readings must be known, for the window to stand as after the reading at `last`.
    pub(super) fn reaches_back_to(&self, last: Timestamp) -> Timestamp {
        // A flat line also needs the reading that held when it began: not older than one more span.
        let spans = if self.is_flat() { 2 } else { 1 };
        let from = last.as_micros().saturating_sub(self.span_us.saturating_mul(spans));
        // From a whole grain on: half of one would have another sum.
        let whole = from.div_euclid(self.grain_us).saturating_sub(1);
        Timestamp::from_micros(whole.saturating_mul(self.grain_us))
    }

    pub(super) fn is_flat(&self) -> bool {
        matches!(self.kind, Kind::Flat { .. })
    }

    /// Whether a reading at `at` is later than all that it has.
    pub(super) fn is_news(&self, at: Timestamp) -> bool {
        self.entries.back().is_none_or(|entry| at.as_micros() > entry.last)
    }

    /// The signal as it is with a reading of `value` at `at`, which is not put in.
    pub(super) fn signal(&self, at: Timestamp, value: f64) -> f64 {
        let from = at.as_micros().saturating_sub(self.span_us);
        let inside = self.entries.iter().filter(|entry| self.is_inside(entry, from));
        match self.kind {
            Kind::Rise => value - inside.fold(value, |low, entry| low.min(entry.low)),
            Kind::Fall => inside.fold(value, |high, entry| high.max(entry.high)) - value,
            Kind::Sum => inside.fold(0.0, |sum, entry| sum + entry.sum) + value,
            Kind::Flat { .. } => f64::NAN,
        }
    }

    /// What it says of a flat line, and since when it is one.
    pub(super) fn flatness(&self) -> (Verdict, Timestamp) {
        let (Kind::Flat { band }, Some(first), Some(last)) =
            (self.kind, self.entries.front(), self.entries.back())
        else {
            return (Verdict::Between, NEVER);
        };
        let low = self.entries.iter().fold(first.low, |low, entry| low.min(entry.low));
        let high = self.entries.iter().fold(first.high, |high, entry| high.max(entry.high));
        // 1.1 less 1.0 is a little more than 0.1: what a device says in decimals is as far apart as it looks.
        let verdict = if high - low > band * (1.0 + 1e-9) {
            Verdict::Within
        } else if first.last <= last.last.saturating_sub(self.span_us) {
            Verdict::Beyond
        } else {
            Verdict::Between
        };
        (verdict, Timestamp::from_micros(first.last))
    }

    /// Puts a reading in that is later than all before it. NaN is none.
    pub(super) fn push(&mut self, at: Timestamp, value: f64) {
        let at = at.as_micros();
        if value.is_nan() {
            return;
        }
        // After a silence as long as the line had to be flat, nobody knows what was between.
        if self.is_flat()
            && self.entries.back().is_some_and(|entry| at.saturating_sub(entry.last) > self.span_us)
        {
            self.entries.clear();
        }
        let grain = |time: i64| time.div_euclid(self.grain_us);
        match self.entries.back_mut() {
            Some(entry) if grain(entry.last) == grain(at) => {
                entry.last = at;
                entry.low = entry.low.min(value);
                entry.high = entry.high.max(value);
                entry.sum += value;
            }
            _ => self.entries.push_back(Entry { last: at, low: value, high: value, sum: value }),
        }
        let from = at.saturating_sub(self.span_us);
        while self.is_front_spent(from) {
            self.entries.pop_front();
        }
    }

    /// A flat line keeps one entry from before the window: it held when the window began.
    fn is_front_spent(&self, from: i64) -> bool {
        if self.is_flat() {
            return self.entries.get(1).is_some_and(|entry| entry.last <= from);
        }
        self.entries.front().is_some_and(|entry| !self.is_inside(entry, from))
    }

    /// What happened in amounts until `from` is no part of it; a value of just then is: it is what the rise began with.
    fn is_inside(&self, entry: &Entry, from: i64) -> bool {
        match self.kind {
            Kind::Sum => entry.last > from,
            Kind::Rise | Kind::Fall | Kind::Flat { .. } => entry.last >= from,
        }
    }
}

impl Sense {
    /// What a test keeps; `None` when a value by itself is all it needs. `memories` are those of an expression's inputs.
    pub(super) fn of(test: &AlertTest, memories: &[u32]) -> Option<Self> {
        match test {
            AlertTest::Holds { .. } => Some(Sense::Inputs(memories.into())),
            test => Window::of(test).map(Sense::Window),
        }
    }

    /// Takes a reading of one of its series and says what that means, and when it was so; `None` when it means nothing.
    /// Memories have it already; `is_newest` tells whether it was news to them.
    pub(super) fn read(
        &mut self,
        test: &AlertTest,
        reading: (Timestamp, f64, Quality),
        is_news: bool,
        is_newest: bool,
        memories: &[Memory],
    ) -> Option<(Timestamp, Says)> {
        let (at, value, quality) = reading;
        match self {
            Sense::Window(window) if window.is_flat() => {
                if !counts_as_flat(quality) || !window.is_news(at) {
                    return None;
                }
                window.push(at, value);
                let (verdict, since) = window.flatness();
                Some((at, Says::Verdict(verdict, since)))
            }
            Sense::Window(window) => {
                let is_doubt = quality.grade == Grade::Uncertain && window.is_news(at);
                if !is_news && !is_doubt {
                    return None;
                }
                let signal = window.signal(at, value);
                if is_news {
                    window.push(at, value);
                }
                Some((at, Says::Value(signal, quality.grade)))
            }
            Sense::Inputs(inputs) => match test {
                AlertTest::Holds { expr, .. } if is_newest => holds(expr, inputs, memories),
                _ => None,
            },
        }
    }
}

/// Whether a condition holds, and the newest time among its inputs: to it their ages are counted.
fn holds(condition: &Condition, inputs: &[u32], memories: &[Memory]) -> Option<(Timestamp, Says)> {
    let memory = |input: usize| memories.get(*inputs.get(input)? as usize);
    let now = (0..inputs.len()).filter_map(memory).map(|memory| memory.at).max()?;
    let value = condition.expr.eval(&|asked| {
        let place = condition.inputs.iter().position(|input| input.asked_as == asked)?;
        let memory = memory(place).filter(|memory| memory.at > NEVER)?;
        let is_fresh = now.since(memory.at) <= condition.inputs[place].max_age;
        is_fresh.then_some(Operand { value: memory.value, quality: memory.quality })
    });
    let verdict = match value {
        Some(result) => match (result.quality.grade, result.is_true()) {
            (Grade::Good, true) => Verdict::Beyond,
            (Grade::Good, false) => Verdict::Within,
            (Grade::Uncertain, true) => Verdict::Keep,
            _ => Verdict::Between,
        },
        None => Verdict::Between,
    };
    Some((now, Says::Verdict(verdict, now)))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
