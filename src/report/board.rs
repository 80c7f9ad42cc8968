//! The board on which facts are counted: one tally for the whole span, one for the former span, and a pair for each group.
//!
//! A fact has a moment and [`Labels`]; the board finds the tallies that it belongs to. Nothing is kept but the tallies, so a
//! report's memory does not grow with the length of an alert's history.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::period::{By, Period, Span};
use crate::model::{AssetKind, Severity, Timestamp, UnitId, ZoneId};

/// What a fact belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The asset's zone.
    pub zone: Option<ZoneId>,
    /// The unit that the case was dispatched to last.
    pub unit: Option<UnitId>,
    /// The asset's kind.
    pub kind: Option<AssetKind>,
    /// How bad it is.
    pub severity: Severity,
}

/// Which times a report is about, and how it is divided.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What is asked for.
    pub span: Span,
    /// What it is compared with.
    pub former: Span,
    /// How it is divided.
    pub by: Option<By>,
    /// The civil periods of `span`, when it is divided by time.
    periods: Vec<Period>,
    /// The ends of the civil days of both spans; the last one is the span's own end.
    pub(super) day_ends: Vec<Timestamp>,
}

/// A group's tallies.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair<T> {
    pub(super) now: T,
    pub(super) former: T,
}

/// Tallies for a frame.
#[derive(Debug)]
pub(super) struct Board<T> {
    pub(super) frame: Frame,
    pub(super) total: Pair<T>,
    /// By label; `None` for what has none.
    labelled: BTreeMap<Option<String>, Pair<T>>,
    /// By period, in the frame's order.
    timed: Vec<T>,
}

/// A group of a finished board.
#[derive(Debug)]
pub(super) struct Group<T> {
    pub(super) key: Option<String>,
    /// The part of the span that it is about.
    pub(super) span: Span,
    pub(super) now: T,
    /// `None` for a period: the one before it stands beside it.
    pub(super) former: Option<T>,
}

impl Frame {
    /// The frame of a span in the town's time zone.
    pub fn new(span: Span, by: Option<By>, zone: &TimeZone) -> Frame {
        let former = span.former(zone);
        let ends = |span: Span| span.periods(By::Day, zone).into_iter().map(|day| day.span.to);
        let day_ends = ends(former).chain(ends(span)).collect();
        let periods = by.map_or_else(Vec::new, |by| span.periods(by, zone));
        Frame { span, former, by, periods, day_ends }
    }

    /// Both spans as one.
    pub fn whole(&self) -> Span {
        Span { from: self.former.from, to: self.span.to }
    }
}

impl Labels {
    /// The label that a report is divided by; `None` for a division by time.
    fn of(&self, by: By) -> Option<String> {
        match by {
            By::Zone => self.zone.as_ref().map(ToString::to_string),
            By::Unit => self.unit.as_ref().map(ToString::to_string),
            By::Kind => self.kind.map(|kind| kind.as_str().to_owned()),
            By::Severity => Some(self.severity.as_str().to_owned()),
            By::Day | By::Week | By::Month => None,
        }
    }
}

impl<T: Default + Clone> Board<T> {
    pub(super) fn new(frame: Frame) -> Self {
        let timed = vec![T::default(); frame.periods.len()];
        Board { frame, total: Pair::default(), labelled: BTreeMap::new(), timed }
    }

    /// Counts a fact of one moment; `count` is also told when the tally's own time ends.
    pub(super) fn at(
        &mut self,
        at: Timestamp,
        labels: &Labels,
        mut count: impl FnMut(&mut T, Timestamp),
    ) {
        let is_now = self.frame.span.contains(at);
        if !is_now && !self.frame.former.contains(at) {
            return;
        }
        let end = if is_now { self.frame.span.to } else { self.frame.former.to };
        count(self.total.side(is_now), end);
        match self.frame.by {
            Some(by) if !by.is_time() => {
                count(self.labelled.entry(labels.of(by)).or_default().side(is_now), end);
            }
            Some(_) if is_now => {
                let index = self.frame.periods.partition_point(|period| period.span.to <= at);
                if let Some((period, tally)) =
                    self.frame.periods.get(index).zip(self.timed.get_mut(index))
                {
                    count(tally, period.span.to);
                }
            }
            _ => {}
        }
    }

    /// Counts a fact that lasts: its time is shared out to the spans that it lies in.
    pub(super) fn during(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        labels: &Labels,
        mut count: impl FnMut(&mut T, Duration),
    ) {
        for is_now in [false, true] {
            let span = if is_now { self.frame.span } else { self.frame.former };
            let Some(part) = span.clip(from, to) else { continue };
            count(self.total.side(is_now), part.length());
            if let Some(by) = self.frame.by.filter(|by| !by.is_time()) {
                let pair = self.labelled.entry(labels.of(by)).or_default();
                count(pair.side(is_now), part.length());
            }
        }
        let first = self.frame.periods.partition_point(|period| period.span.to <= from);
        for (period, tally) in self.frame.periods.iter().zip(&mut self.timed).skip(first) {
            let Some(part) = period.span.clip(from, to) else { break };
            count(tally, part.length());
        }
    }

    /// The tallies, in the order of a report.
    pub(super) fn finish(self) -> (Frame, Pair<T>, Vec<Group<T>>) {
        let Board { frame, total, labelled, timed } = self;
        let mut groups: Vec<Group<T>> = labelled
            .into_iter()
            .map(|(key, pair)| Group {
                key,
                span: frame.span,
                now: pair.now,
                former: Some(pair.former),
            })
            .collect();
        // What has no label comes last.
        groups.sort_by_key(|group| group.key.is_none());
        groups.extend(frame.periods.iter().zip(timed).map(|(period, now)| Group {
            key: Some(period.key.clone()),
            span: period.span,
            now,
            former: None,
        }));
        (frame, total, groups)
    }
}

impl<T> Pair<T> {
    fn side(&mut self, is_now: bool) -> &mut T {
        if is_now { &mut self.now } else { &mut self.former }
    }
}
