//! How people do about cases: the figures of the town's closed loop (综合评价), from the cases' log.
//!
//! # Definitions
//! Each fact is counted in the period in which it happened; a later event of the same case moves no former figure but
//! those that say so.
//! - *received* 上报: what the town was told: every alert that was raised, and every case that somebody opened by hand.
//! - *opened* 立案: cases that were opened. The others followed a case that was open, or were too mild for one.
//! - *due* 应结案: cases whose deadline for the fix falls into the period, wherever they stand. A case that was never
//!   dispatched has no deadline.
//! - *closed* 结案: of the due ones, those that were closed before the period ended.
//! - *on time* 按期结案: of the due ones that were closed, those that were reported as done (and neither rejected nor sent
//!   back after that) by their deadline: how long the centre takes to verify is not the crew's delay. A case that was
//!   closed without a report, because its sensor said that all is well, was done when it was closed.
//! - *closings*: all cases that were closed in the period, whenever they were due.
//! - *reopened* 返工: of the closings, those that came back before the period ended.
//!
//! Closing rate = closed / due; on-time rate = on time / due; rework rate = reopened / closings.

use serde::Serialize;

use super::board::{Board, Frame, Group, Labels, Pair};
use super::figure::{Samples, Times, share};
use super::period::{By, Span};
use super::story::{AlertStory, Aside, Deed};
use crate::case::{CaseEvent, Happened};
use crate::model::Timestamp;

/// How people did about cases in a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseReport {
    /// What was asked for.
    pub span: Span,
    /// What it is compared with.
    pub former_span: Span,
    /// How it is divided.
    pub by: Option<By>,
    /// The whole span.
    pub total: CaseFigures,
    /// The whole former span.
    pub former: CaseFigures,
    /// The groups; empty without a division.
    pub groups: Vec<CaseGroup>,
}

/// One group of a divided report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseGroup {
    /// Zone, unit, kind, severity, or period; `None` for what has none.
    pub key: Option<String>,
    /// Which time it is about.
    pub span: Span,
    /// Its figures.
    pub figures: CaseFigures,
    /// Those of the former span; `None` for a period.
    pub former: Option<CaseFigures>,
}

/// The figures of the closed loop; see the module's header for what each counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CaseFigures {
    /// Alerts raised, and cases opened by hand.
    pub received: u64,
    /// Cases opened.
    pub opened: u64,
    /// Cases whose deadline for the fix fell into the time.
    pub due: u64,
    /// Of the due ones, closed by its end.
    pub closed: u64,
    /// Of the due ones, done by their deadline, and closed.
    pub on_time: u64,
    /// All that were closed in the time.
    pub closings: u64,
    /// Of the closings, come back by its end.
    pub reopened: u64,
    /// closed / due, 0..=1; `None` when nothing was due.
    pub closing_rate: Option<f64>,
    /// on time / due, 0..=1.
    pub on_time_rate: Option<f64>,
    /// reopened / closings, 0..=1.
    pub rework_rate: Option<f64>,
    /// Of the cases' alerts: from the ring that asked for it to the acknowledgement.
    pub acknowledge: Times,
    /// From the opening to the first dispatch.
    pub dispatch: Times,
    /// From a dispatch to its acceptance.
    pub accept: Times,
    /// From a dispatch to the first entry of the handler, who is on the site then.
    pub arrive: Times,
    /// Of the cases' alerts: from active to returned, when the sensor says that all is well.
    pub clear: Times,
    /// From the opening to the closing.
    pub close: Times,
}

/// One case with its log, up to a report's end.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseStory {
    /// Where it belongs: its unit is the last one that it was dispatched to.
    pub labels: Labels,
    /// Its log, in order.
    pub events: Vec<CaseEvent>,
}

/// Counts cases and the alerts behind them, one after the other.
#[derive(Debug)]
pub struct CaseCount {
    board: Board<Tally>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    received: u64,
    opened: u64,
    due: u64,
    closed: u64,
    on_time: u64,
    closings: u64,
    reopened: u64,
    acknowledge: Samples,
    dispatch: Samples,
    accept: Samples,
    arrive: Samples,
    clear: Samples,
    close: Samples,
}

/// What is known of a case while its log is told.
#[derive(Debug, Default)]
struct State {
    opened_at: Option<Timestamp>,
    /// The first dispatch was counted.
    was_dispatched: bool,
    /// The dispatch that nobody has accepted yet.
    waits_since: Option<Timestamp>,
    /// The dispatch whose handler is not on the site yet.
    comes_since: Option<Timestamp>,
    fix: Option<Timestamp>,
    /// Reported as done, and nobody said that it is not.
    done_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    reopened_at: Option<Timestamp>,
}

impl CaseCount {
    /// Begins a report.
    pub fn new(frame: Frame) -> Self {
        CaseCount { board: Board::new(frame) }
    }

    /// Counts an alert: as received, and, when it belongs to a case, how long people and the sensor took.
    pub fn add_alert(&mut self, story: &AlertStory) {
        let mut labels = story.labels.clone();
        let (mut asks_since, mut active_since) = (None, None);
        let mut aside = Aside::default();
        for (i, event) in story.events.iter().enumerate() {
            let at = event.at;
            labels.severity = event.severity;
            if i == 0 && event.what == Deed::Raised {
                self.board.at(at, &labels, |tally, _| tally.received += 1);
            }
            let former = aside;
            aside = former.after(event.what);
            if !former.is_clear() && aside.is_clear() && active_since.is_some() {
                // Announced as if it were new.
                asks_since.get_or_insert(at);
            }
            match event.what {
                Deed::Raised => {
                    active_since.get_or_insert(at);
                    asks_since.get_or_insert(at);
                }
                Deed::Rang => drop(asks_since.get_or_insert(at)),
                Deed::Acknowledged => {
                    let asked = asks_since.take().filter(|_| story.has_case);
                    self.took(asked, at, &labels, |tally| &mut tally.acknowledge);
                }
                Deed::Waived => asks_since = None,
                Deed::Returned => {
                    let active = active_since.take().filter(|_| story.has_case);
                    self.took(active, at, &labels, |tally| &mut tally.clear);
                }
                Deed::RuleRemoved => active_since = None,
                _ => {}
            }
        }
    }

    /// Counts a case.
    pub fn add(&mut self, story: &CaseStory) {
        let mut state = State::default();
        for event in &story.events {
            self.apply(&mut state, event, &story.labels);
        }
        let State { fix, done_at, closed_at, reopened_at, .. } = state;
        if let Some(fix) = fix {
            let done_at = done_at.or(closed_at);
            self.board.at(fix, &story.labels, |tally, end| {
                let is_closed = closed_at.is_some_and(|at| at < end);
                let is_on_time = is_closed && done_at.is_some_and(|at| at <= fix);
                tally.due += 1;
                tally.closed += u64::from(is_closed);
                tally.on_time += u64::from(is_on_time);
            });
        }
        if let Some(at) = closed_at {
            self.board.at(at, &story.labels, |tally, end| {
                tally.closings += 1;
                tally.reopened += u64::from(reopened_at.is_some_and(|at| at < end));
            });
        }
    }

    fn apply(&mut self, state: &mut State, event: &CaseEvent, labels: &Labels) {
        let at = event.at;
        match &event.happened {
            Happened::Opened { .. } => {
                state.opened_at = Some(at);
                let by_hand = u64::from(event.actor.is_some());
                self.board.at(at, labels, |tally, _| {
                    tally.opened += 1;
                    tally.received += by_hand;
                });
            }
            Happened::Dispatched { deadlines, .. } => {
                let opened = state.opened_at.filter(|_| !state.was_dispatched);
                self.took(opened, at, labels, |tally| &mut tally.dispatch);
                state.was_dispatched = true;
                state.waits_since = Some(at);
                state.comes_since = Some(at);
                state.fix = Some(deadlines.fix);
                state.done_at = None;
            }
            Happened::Accepted => {
                self.took(state.waits_since.take(), at, labels, |tally| &mut tally.accept);
            }
            Happened::Handled { .. } => {
                self.took(state.comes_since.take(), at, labels, |tally| &mut tally.arrive);
            }
            Happened::Reported => state.done_at = Some(at),
            Happened::Returned { .. } | Happened::Rejected { .. } => {
                state.waits_since = None;
                state.comes_since = None;
                state.done_at = None;
            }
            Happened::Closed { .. } => {
                state.closed_at = Some(at);
                self.took(state.opened_at, at, labels, |tally| &mut tally.close);
            }
            Happened::Reopened { .. } => state.reopened_at = Some(at),
            Happened::Attached { .. }
            | Happened::Verified
            | Happened::Overdue { .. }
            | Happened::Escalated { .. } => {}
        }
    }

    /// A step that began at `since` is done.
    fn took(
        &mut self,
        since: Option<Timestamp>,
        at: Timestamp,
        labels: &Labels,
        step: fn(&mut Tally) -> &mut Samples,
    ) {
        if let Some(since) = since {
            self.board.at(at, labels, |tally, _| step(tally).push(at.since(since)));
        }
    }

    /// The report.
    pub fn finish(self) -> CaseReport {
        let (frame, Pair { now, former }, groups) = self.board.finish();
        CaseReport {
            span: frame.span,
            former_span: frame.former,
            by: frame.by,
            total: now.figures(),
            former: former.figures(),
            groups: groups
                .into_iter()
                .map(|Group { key, span, now, former }| CaseGroup {
                    key,
                    span,
                    figures: now.figures(),
                    former: former.map(Tally::figures),
                })
                .collect(),
        }
    }
}

impl Tally {
    fn figures(self) -> CaseFigures {
        CaseFigures {
            received: self.received,
            opened: self.opened,
            due: self.due,
            closed: self.closed,
            on_time: self.on_time,
            closings: self.closings,
            reopened: self.reopened,
            closing_rate: share(self.closed, self.due),
            on_time_rate: share(self.on_time, self.due),
            rework_rate: share(self.reopened, self.closings),
            acknowledge: self.acknowledge.sum_up(),
            dispatch: self.dispatch.sum_up(),
            accept: self.accept.sum_up(),
            arrive: self.arrive.sum_up(),
            clear: self.clear.sum_up(),
            close: self.close.sum_up(),
        }
    }
}
