//! A rule over stored history: what it would have raised. The very same conditions as in the engine, without alerts.

use serde::Serialize;

use super::ladder::{Ladder, Moved, Says};
use super::rule::{Rule, further};
use super::sense::{Memory, NEVER, Sense};
use crate::model::{Grade, Measurement, SeriesId, Severity, Timestamp};
use crate::profile::AlertTest;

/// What a rule would have raised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Every time, in order.
    pub spells: Vec<Spell>,
    /// Readings of the rule's series that came in.
    pub readings: u64,
    /// Those among them that the rule could judge by.
    pub judged: u64,
}

/// From a raise to the return.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spell {
    /// When the condition began, in event time.
    pub since: Timestamp,
    /// When it was raised: after the on-delay.
    pub raised: Timestamp,
    /// When it returned; `None`: it was still active at the end.
    pub cleared: Option<Timestamp>,
    /// At its worst.
    pub severity: Severity,
    /// The value that raised it.
    pub value: Option<f64>,
    /// The furthest value.
    pub peak: Option<f64>,
}

/// What the machine of one rule holds.
struct Play<'r> {
    rule: &'r Rule,
    ladder: Ladder,
    sense: Option<Sense>,
    /// By series of the rule.
    memories: Vec<Memory>,
    last_news: Timestamp,
    heard: Timestamp,
    outcome: Rehearsal,
}

/// Plays `measurements` of the rule's series, in the order in which they came, and the time until `end`. Schedules,
/// chattering and people are left out. Silence counts from the first reading on.
pub fn rehearse(
    rule: &Rule,
    measurements: impl IntoIterator<Item = Measurement>,
    end: Timestamp,
) -> Rehearsal {
    let series: Vec<SeriesId> = match rule.spec.test {
        AlertTest::Holds { .. } | AlertTest::NoData { .. } => rule.series.clone(),
        _ => rule.series.first().copied().into_iter().collect(),
    };
    let memories: Vec<u32> = (0..series.len() as u32).collect();
    let mut play = Play {
        rule,
        ladder: Ladder::default(),
        sense: Sense::of(&rule.spec.test, &memories),
        memories: series.into_iter().map(Memory::none).collect(),
        last_news: NEVER,
        heard: NEVER,
        outcome: Rehearsal { spells: Vec::new(), readings: 0, judged: 0 },
    };
    for measurement in measurements {
        play.take(&measurement);
    }
    play.elapse(end);
    play.fall_silent(end);
    play.outcome
}

impl Play<'_> {
    fn take(&mut self, m: &Measurement) {
        let Some(own) = self.memories.iter().position(|memory| memory.series == m.series) else {
            return;
        };
        self.outcome.readings += 1;
        if let AlertTest::NoData { .. } = self.rule.spec.test {
            self.hear(m.received_at);
            return;
        }
        let is_later = m.observed_at > self.last_news;
        let is_news = m.quality.is_news() && is_later;
        let is_newest = self.memories[own].take(m.observed_at, m.value, m.quality);
        if is_news && self.memories.len() == 1 {
            self.last_news = m.observed_at;
        }
        let says = match &mut self.sense {
            Some(sense) => {
                let reading = (m.observed_at, m.value, m.quality);
                let test = &self.rule.spec.test;
                sense.read(test, reading, is_news, is_newest, &self.memories)
            }
            None if is_news => Some((m.observed_at, Says::Value(m.value, Grade::Good))),
            None if is_later && m.quality.grade == Grade::Uncertain => {
                Some((m.observed_at, Says::Value(m.value, Grade::Uncertain)))
            }
            None => None,
        };
        if let Some((at, says)) = says {
            self.outcome.judged += 1;
            self.elapse(at);
            let moved = self.ladder.observe(&self.rule.spec, at, says);
            self.note(moved, at);
        }
    }

    fn hear(&mut self, at: Timestamp) {
        self.outcome.judged += 1;
        self.fall_silent(at);
        self.heard = self.heard.max(at);
        let moved = self.ladder.be_heard();
        self.note(moved, at);
    }

    fn fall_silent(&mut self, now: Timestamp) {
        let AlertTest::NoData { after, .. } = self.rule.spec.test else { return };
        let deadline = self.heard.plus(after);
        if self.heard > NEVER && now >= deadline {
            let moved = self.ladder.fall_silent(self.heard);
            self.note(moved, deadline);
        }
    }

    fn elapse(&mut self, now: Timestamp) {
        while let Some(at) = self.ladder.deadline(&self.rule.spec).filter(|&at| at <= now) {
            let moved = self.ladder.elapse(&self.rule.spec, at);
            self.note(moved, at);
        }
    }

    fn note(&mut self, moved: Moved, at: Timestamp) {
        let test = &self.rule.spec.test;
        if let (None, Some(_), Some(onset)) = (moved.was, moved.is, moved.onset) {
            self.outcome.spells.push(Spell {
                since: onset.since,
                raised: at,
                cleared: None,
                severity: Severity::Info,
                value: onset.value,
                peak: onset.peak,
            });
        }
        let Some(spell) = self.outcome.spells.last_mut().filter(|s| s.cleared.is_none()) else {
            return;
        };
        if let Some(step) = moved.is {
            spell.severity = spell.severity.max(test.severity(step));
        }
        if let Some(value) = moved.peak(test) {
            spell.peak = further(test, spell.peak, value).or(spell.peak);
            self.ladder.set_peak(spell.peak);
        }
        if moved.was.is_some() && moved.is.is_none() {
            spell.cleared = Some(at);
        }
    }
}
