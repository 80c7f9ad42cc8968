//! From the logs, and from the time, to what waits.
//!
//! Takes the alerts', the cases' and the troubles' log, a page at a time, and hands on [`Pending`] entries in the lanes whose routes want
//! them; an alert that nobody acknowledges comes again with the time. Makes no message.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::alarm::Alarm;
use super::state::{Open, Told};
use super::{Places, Work};
use crate::alert::{self, Alert, AlertId, AlertQuery};
use crate::case::{self, Case, CaseEvent, CaseId, Happened};
use crate::model::{Severity, ZoneId};
use crate::notify::group::{Pending, Subject};
use crate::notify::route::{self, News};
use crate::notify::{EventKind, NotifyError, notice};
use crate::trouble::{self, Code, Trouble, TroubleId};

/// Entries of a log in one transaction.
pub(super) const PAGE: usize = 500;

/// The hub's troubles are told together: they often have one cause.
const HUB: &str = "hub";

impl Work<'_> {
    /// Finds the open alerts and where they stand, once.
    pub(super) fn look_around(&mut self, places: &dyn Places) -> Result<(), NotifyError> {
        if self.state.open.is_some() {
            return Ok(());
        }
        let mut open = HashMap::new();
        let mut query =
            AlertQuery { open_only: true, limit: alert::MAX_LISTED, ..AlertQuery::default() };
        loop {
            let page = alert::list(self.tx, &query)?;
            let Some(last) = page.last() else { break };
            query.before = Some(last.id);
            open.extend(
                page.iter().map(|alert| (alert.id, Open::new(alert, &places.alert(alert)))),
            );
        }
        self.state.open = Some(open);
        Ok(())
    }

    pub(super) fn open(&self, id: AlertId) -> Option<&Open> {
        self.state.open.as_ref()?.get(&id)
    }

    /// A page of the alerts' log; returns how long it was.
    pub(super) fn follow_alerts(&mut self, places: &dyn Places) -> Result<usize, NotifyError> {
        let news: Vec<(i64, u64, String)> = self
            .tx
            .prepare_cached(
                "SELECT seq, alert, what FROM alert_event WHERE seq > ? ORDER BY seq LIMIT ?",
            )?
            .query_map([self.state.alert_seq, PAGE as i64], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        for (_, alert, what) in &news {
            if let Some(alert) = alert::find(self.tx, AlertId(*alert))? {
                self.on_alert(&alert, what, places)?;
            }
        }
        if let Some((seq, ..)) = news.last() {
            self.tx.execute("UPDATE notify_progress SET alert_seq = ?", [seq])?;
            self.state.alert_seq = *seq;
        }
        Ok(news.len())
    }

    /// An alert changed; it is told as it is now, whatever happened on the way.
    fn on_alert(
        &mut self,
        alert: &Alert,
        what: &str,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        let open = Open::new(alert, &places.alert(alert));
        for lane in 0..self.state.lanes.len() {
            self.on_alert_in(lane, alert, &open, what)?;
        }
        let known = self.state.open.get_or_insert_default();
        match alert.is_open() {
            true => known.insert(alert.id, open),
            false => known.remove(&alert.id),
        };
        Ok(())
    }

    fn on_alert_in(
        &mut self,
        lane: usize,
        alert: &Alert,
        open: &Open,
        what: &str,
    ) -> Result<(), NotifyError> {
        let subject = Subject::Alert(alert.id);
        let waiting = self.state.lanes[lane].pending.get(&subject).cloned();
        let was_told = self.state.lanes[lane].told.contains_key(&alert.id);
        let event = self.event_of(alert, open, what, waiting.as_ref(), was_told);
        let event = event.filter(|kind| {
            let is_waiting = waiting.as_ref().is_some_and(|waiting| waiting.event == *kind);
            is_waiting || self.hears(lane, *kind, open.severity, open.zone.as_ref(), 0)
        });
        // News of its end that nobody has read yet is not undone by more that the channel does not want.
        let is_end =
            |kind: &EventKind| matches!(kind, EventKind::Acknowledged | EventKind::Returned);
        let event = event.or_else(|| {
            waiting.as_ref().map(|w| w.event).filter(|kind| is_end(kind) && !alert.active)
        });
        match (event, waiting) {
            (Some(event), waiting) => {
                let since = waiting
                    .as_ref()
                    .filter(|waiting| waiting.event == event)
                    .map_or(self.now, |w| w.since);
                let pending = Pending {
                    event,
                    bundle: open.bundle.clone(),
                    root: open.root.clone(),
                    severity: open.severity,
                    since,
                };
                self.put(lane, subject, pending)?;
            }
            (None, Some(_)) => {
                self.drop_pending(lane, subject)?;
                self.counters.over.fetch_add(1, Ordering::Relaxed);
            }
            (None, None) => {}
        }
        if !alert.is_open() {
            self.forget_told(lane, alert.id)?;
        } else if open.is_acknowledged && was_told {
            self.put_told(lane, alert.id, Told { repeats: 0, repeat_at: None })?;
        }
        Ok(())
    }

    /// What a channel is told of an alert after this event, if its routes want it; `None`: nothing (any more).
    fn event_of(
        &self,
        alert: &Alert,
        open: &Open,
        what: &str,
        waiting: Option<&Pending>,
        was_told: bool,
    ) -> Option<EventKind> {
        let is_waiting =
            waiting.is_some_and(|w| matches!(w.event, EventKind::Raised | EventKind::Reminder));
        let surfaced = matches!(what, "unshelved" | "unsuppressed" | "in_service");
        let rings = surfaced
            || matches!(what, "raised" | "severity_up" | "rearmed" | "chattering")
            || (what == "raised_again" && !alert.chattering);
        let is_quiet = alert.is_open() && !open.tells;
        if is_quiet {
            return None;
        }
        if alert.active && (!open.is_acknowledged || surfaced) {
            // What waits goes on waiting, with its present severity.
            return match (rings, waiting) {
                (true, _) => Some(EventKind::Raised),
                (false, Some(waiting)) if is_waiting => Some(waiting.event),
                (false, _) => None,
            };
        }
        match what {
            "acknowledged" if was_told => Some(EventKind::Acknowledged),
            "returned" | "rule_removed" if was_told => Some(EventKind::Returned),
            // News of its end that nobody has read yet stands.
            _ => waiting
                .map(|w| w.event)
                .filter(|event| matches!(event, EventKind::Acknowledged | EventKind::Returned)),
        }
    }

    /// A page of the cases' log; returns how long it was.
    pub(super) fn follow_cases(&mut self, places: &dyn Places) -> Result<usize, NotifyError> {
        let news: Vec<(i64, u64, u32)> = self
            .tx
            .prepare_cached(
                "SELECT seq, case_id, version FROM case_event WHERE seq > ? ORDER BY seq LIMIT ?",
            )?
            .query_map([self.state.case_seq, PAGE as i64], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        for (_, id, version) in &news {
            if let Some((case, event)) = self.case_at(CaseId(*id), *version)? {
                self.on_case(&case, &event, places)?;
            }
        }
        if let Some((seq, ..)) = news.last() {
            self.tx.execute("UPDATE notify_progress SET case_seq = ?", [seq])?;
            self.state.case_seq = *seq;
        }
        Ok(news.len())
    }

    /// The case as it was after the event of this version.
    pub(super) fn case_at(
        &self,
        id: CaseId,
        version: u32,
    ) -> Result<Option<(Case, CaseEvent)>, NotifyError> {
        let mut told: Option<Case> = None;
        for event in case::history(self.tx, id)? {
            match &mut told {
                Some(case) => case.on(&event),
                None => told = Case::open(&event),
            }
            if event.version == version {
                return Ok(told.map(|case| (case, event)));
            }
        }
        Ok(None)
    }

    fn on_case(
        &mut self,
        case: &Case,
        event: &CaseEvent,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        if matches!(event.happened, Happened::Closed { .. }) {
            self.case_is_over(case.id)?;
        }
        let Some(kind) = notice::kind_of(&event.happened) else { return Ok(()) };
        let level = if kind == EventKind::CaseEscalated { case.escalation } else { 0 };
        let zone = case.subject.zone.clone().or_else(|| places.case(&case.subject).zone);
        for lane in 0..self.state.lanes.len() {
            if self.hears(lane, kind, case.severity, zone.as_ref(), level) {
                let pending = Pending {
                    event: kind,
                    bundle: format!("case:{}", case.id.0),
                    root: case.root(),
                    severity: case.severity,
                    since: self.now,
                };
                self.put(lane, Subject::Case(case.id, event.version), pending)?;
            }
        }
        Ok(())
    }

    /// Nobody need hear any more that a closed case is late or that a unit is sent to it.
    fn case_is_over(&mut self, id: CaseId) -> Result<(), NotifyError> {
        use EventKind::{CaseDispatched, CaseEscalated, CaseOverdue};
        for lane in 0..self.state.lanes.len() {
            let of_case = self.state.lanes[lane]
                .pending
                .range(Subject::Case(id, 0)..=Subject::Case(id, u32::MAX));
            let over = of_case
                .filter(|(_, p)| matches!(p.event, CaseDispatched | CaseEscalated | CaseOverdue));
            let over: Vec<Subject> = over.map(|(subject, _)| *subject).collect();
            for subject in over {
                self.drop_pending(lane, subject)?;
                self.counters.over.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A page of the troubles' log; returns how long it was.
    pub(super) fn follow_troubles(&mut self) -> Result<usize, NotifyError> {
        let news: Vec<(i64, u64)> = self
            .tx
            .prepare_cached(
                "SELECT seq, trouble FROM trouble_event WHERE seq > ? ORDER BY seq LIMIT ?",
            )?
            .query_map([self.state.trouble_seq, PAGE as i64], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
            })?
            .collect::<Result<_, _>>()?;
        for (_, id) in &news {
            if let Some(trouble) = trouble::find(self.tx, TroubleId(*id))? {
                for lane in 0..self.state.lanes.len() {
                    self.on_trouble_in(lane, &trouble)?;
                }
            }
        }
        if let Some((seq, ..)) = news.last() {
            self.tx.execute("UPDATE notify_progress SET trouble_seq = ?", [seq])?;
            self.state.trouble_seq = *seq;
        }
        Ok(news.len())
    }

    /// A trouble of the hub changed; it is told as it is now. What is over before it is told is not told.
    fn on_trouble_in(&mut self, lane: usize, trouble: &Trouble) -> Result<(), NotifyError> {
        let subject = Subject::Trouble(trouble.id);
        let was_alarmed = self.alarms.get(&(lane, trouble.id)) == Some(&Alarm::Told);
        let was_told = was_alarmed || self.state.lanes[lane].told_troubles.contains(&trouble.id);
        let kind = match trouble.ended_at {
            None if was_alarmed => {
                self.put_told_trouble(lane, trouble.id, trouble.severity)?;
                None
            }
            None => Some(EventKind::SystemRaised),
            Some(_) => was_told.then_some(EventKind::SystemReturned),
        };
        // It cannot tell of its own failure: the message would wait for the very thing that it tells of.
        let is_own =
            trouble.code == Code::Channel && trouble.subject == self.settings.channels[lane].name;
        let kind =
            kind.filter(|kind| !is_own && self.hears(lane, *kind, trouble.severity, None, 0));
        if trouble.ended_at.is_some() {
            self.forget_told_trouble(lane, trouble.id)?;
        }
        let waiting = self.state.lanes[lane].pending.get(&subject);
        match kind {
            Some(event) => {
                let since = waiting.filter(|w| w.event == event).map_or(self.now, |w| w.since);
                let pending = Pending {
                    event,
                    bundle: HUB.to_owned(),
                    root: HUB.to_owned(),
                    severity: trouble.severity,
                    since,
                };
                self.put(lane, subject, pending)
            }
            None if waiting.is_some() => {
                self.counters.over.fetch_add(1, Ordering::Relaxed);
                self.drop_pending(lane, subject)
            }
            None => Ok(()),
        }
    }

    /// What came to wait before the disk took nothing more, and was told past it since, waits no longer.
    pub(super) fn settle_alarms(&mut self) -> Result<(), NotifyError> {
        let alarms = self.alarms;
        for (&(lane, id), _) in alarms.iter().filter(|(_, alarm)| **alarm == Alarm::Told) {
            let subject = Subject::Trouble(id);
            let waiting = self.state.lanes[lane].pending.get(&subject);
            let waiting = waiting.filter(|waiting| waiting.event == EventKind::SystemRaised);
            if let Some(severity) = waiting.map(|waiting| waiting.severity) {
                self.drop_pending(lane, subject)?;
                self.put_told_trouble(lane, id, severity)?;
            }
        }
        Ok(())
    }

    fn hears(
        &self,
        lane: usize,
        kind: EventKind,
        severity: Severity,
        zone: Option<&ZoneId>,
        level: u8,
    ) -> bool {
        let news = News { kind, severity, zone, level };
        route::channels(&self.settings.routes, &news, self.now).contains(&lane)
    }

    /// Alerts that nobody acknowledged for too long wait to be told again.
    pub(super) fn remind(&mut self) -> Result<(), NotifyError> {
        for lane in 0..self.state.lanes.len() {
            let due = self.state.lanes[lane].told.iter();
            let due = due.filter(|(_, told)| told.repeat_at.is_some_and(|at| at <= self.now));
            let due: Vec<(AlertId, Told)> = due.map(|(id, told)| (*id, *told)).collect();
            for (id, told) in due {
                let stands = self.open(id).filter(|open| open.tells && !open.is_acknowledged);
                let pending = stands
                    .filter(|open| {
                        self.hears(lane, EventKind::Reminder, open.severity, open.zone.as_ref(), 0)
                    })
                    .map(|open| Pending {
                        event: EventKind::Reminder,
                        bundle: open.bundle.clone(),
                        root: open.root.clone(),
                        severity: open.severity,
                        since: self.now,
                    });
                let subject = Subject::Alert(id);
                let is_waiting = self.state.lanes[lane].pending.contains_key(&subject);
                match pending.filter(|_| !is_waiting) {
                    Some(pending) => {
                        self.put(lane, subject, pending)?;
                        self.put_told(lane, id, Told { repeat_at: None, ..told })?;
                    }
                    // Quiet, unwanted at this hour, or told anyhow: looked at again after the same time.
                    None => {
                        let next = self.now.plus(self.settings.pace.repeat_after(told.repeats));
                        self.put_told(lane, id, Told { repeat_at: Some(next), ..told })?;
                    }
                }
            }
        }
        Ok(())
    }
}
