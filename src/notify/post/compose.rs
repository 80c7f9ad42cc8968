//! From what waits to messages.
//!
//! Takes the lanes' pending entries; hands on messages in the outbox, each with everything that it mentions. What is held
//! back, and by what, is [`Watch`]; how many go together is [`group`]. Sends nothing.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::params;

use super::state::{Lane, Open, Queued, State, Told};
use super::{Places, Work};
use crate::alert::{self, AlertId};
use crate::case;
use crate::model::{DeviceId, Severity, Timestamp};
use crate::notify::config::ChannelSpec;
use crate::notify::group::{self, Batch, Pace, Pending, Room, Subject};
use crate::notify::notice::{AlertEntry, CaseEntry, Entry, MAX_ENTRIES, Notice, TroubleEntry};
use crate::notify::{EventKind, MessageId, NotifyError, tables};
use crate::trouble;

/// How often what waits is looked at when there are no news: thousands may wait in a storm.
const LOOK: Duration = Duration::from_millis(500);

/// What holds others back at this moment.
#[derive(Default)]
pub(super) struct Watch<'o> {
    critical: HashSet<&'o str>,
    silent: HashSet<&'o DeviceId>,
}

impl<'o> Watch<'o> {
    pub(super) fn of(open: &'o HashMap<AlertId, Open>) -> Self {
        let stands = || open.values().filter(|open| open.active && open.tells);
        let critical = stands().filter(|open| open.severity == Severity::Critical);
        let silent = stands().filter(|open| open.is_silence);
        Watch {
            critical: critical.map(|open| open.root.as_str()).collect(),
            silent: silent.map(|open| &open.device).collect(),
        }
    }

    /// Whether something that stands makes this not worth telling now.
    fn holds(&self, pending: &Pending, open: Option<&Open>) -> bool {
        if !matches!(pending.event, EventKind::Raised | EventKind::Reminder) {
            return false;
        }
        let Some(open) = open else { return false };
        let is_milder =
            pending.severity < Severity::Critical && self.critical.contains(open.root.as_str());
        let gateway = open.gateway.as_ref().filter(|_| open.is_silence);
        is_milder || gateway.is_some_and(|gateway| self.silent.contains(gateway))
    }
}

impl Lane {
    /// Whether anything is to be told now, as far as was looked.
    pub(super) fn is_due(
        &mut self,
        spec: &ChannelSpec,
        pace: &Pace,
        open: &HashMap<AlertId, Open>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> bool {
        if self.looked_at.is_some_and(|at| at <= now && now.since(at) < LOOK) {
            return false;
        }
        let is_due = !self.due(spec, pace, open, watch, now).is_empty();
        self.looked_at = (!is_due).then_some(now);
        is_due
    }

    /// What is to be told now.
    fn due(
        &mut self,
        spec: &ChannelSpec,
        pace: &Pace,
        open: &HashMap<AlertId, Open>,
        watch: &Watch<'_>,
        now: Timestamp,
    ) -> Vec<Batch> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let room = Room {
            per_minute: spec.per_minute,
            used: self.spent.used(now).saturating_add(waiting),
            merged_at: self.merged_at,
            merged_waits: self.queue.values().any(|queued| queued.merged),
        };
        let free = self.pending.iter().filter(|(subject, pending)| match subject {
            Subject::Alert(id) => !watch.holds(pending, open.get(id)),
            Subject::Case(..) | Subject::Trouble(_) => true,
        });
        group::batches(free, &self.bundles, room, pace, now)
    }
}

impl Work<'_> {
    /// Makes messages of what is due.
    pub(super) fn compose(&mut self, places: &dyn Places) -> Result<(), NotifyError> {
        for lane in 0..self.state.lanes.len() {
            let State { lanes, open, .. } = &mut *self.state;
            let open = &*open.get_or_insert_default();
            let spec = &self.settings.channels[lane];
            let due = lanes[lane].due(spec, &self.settings.pace, open, &Watch::of(open), self.now);
            for batch in due {
                self.make(lane, batch, places)?;
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        lane: usize,
        mut batch: Batch,
        places: &dyn Places,
    ) -> Result<(), NotifyError> {
        let pending = &self.state.lanes[lane].pending;
        batch
            .subjects
            .sort_by_key(|subject| (pending.get(subject).map(|p| p.severity.rank()), *subject));
        let notice = self.notice(lane, &batch, places)?;
        self.counters.mentions.fetch_add(notice.total as u64, Ordering::Relaxed);
        self.counters.merged.fetch_add(u64::from(batch.is_merged), Ordering::Relaxed);
        self.insert(
            lane,
            &notice,
            batch.is_merged,
            batch.subjects.iter().map(|subject| subject.columns()),
        )?;
        for subject in &batch.subjects {
            let pending = self.state.lanes[lane].pending.get(subject).cloned();
            self.drop_pending(lane, *subject)?;
            match (*subject, pending) {
                (Subject::Alert(id), Some(pending)) => self.was_told(lane, id, pending.event)?,
                (Subject::Trouble(id), Some(pending))
                    if pending.event == EventKind::SystemRaised =>
                {
                    self.put_told_trouble(lane, id, pending.severity)?;
                }
                _ => {}
            }
        }
        let now = self.now;
        let name = &self.settings.channels[lane].name;
        for bundle in batch.bundles {
            self.tx
                .prepare_cached("INSERT OR REPLACE INTO notify_bundle (channel, bundle, told_at) VALUES (?, ?, ?)")?
                .execute(params![name, bundle, now.as_micros()])?;
            self.state.lanes[lane].bundles.insert(bundle, now);
        }
        if batch.is_merged {
            self.state.lanes[lane].merged_at = Some(now);
            self.write_channel(lane)?;
        }
        Ok(())
    }

    /// An alert was put into a message: when it is told again.
    fn was_told(&mut self, lane: usize, id: AlertId, event: EventKind) -> Result<(), NotifyError> {
        let Some(open) = self.open(id) else { return Ok(()) };
        let before = self.state.lanes[lane].told.get(&id).map_or(0, |told| told.repeats);
        let repeats = match event {
            EventKind::Raised => 0,
            EventKind::Reminder => before.saturating_add(1),
            _ => return Ok(()),
        };
        let wait = self.settings.pace.repeat_after(repeats);
        let repeat_at = (!open.is_acknowledged).then(|| self.now.plus(wait));
        self.put_told(lane, id, Told { repeats, repeat_at })
    }

    fn notice(
        &self,
        lane: usize,
        batch: &Batch,
        places: &dyn Places,
    ) -> Result<Notice, NotifyError> {
        let lane = &self.state.lanes[lane];
        let mut notice = Notice::empty(self.now, batch.is_merged);
        let mut roots = HashSet::new();
        let units = case::units(self.tx)?;
        for subject in &batch.subjects {
            let Some(pending) = lane.pending.get(subject) else { continue };
            notice.count(pending.severity);
            roots.insert(pending.root.as_str());
            let is_listed = notice.entries.len() < MAX_ENTRIES;
            match *subject {
                Subject::Alert(id) => {
                    notice.alerts.push(id.0);
                    if let Some(alert) = alert::find(self.tx, id)?.filter(|_| is_listed) {
                        let case = tables::case_of_alert(self.tx, id)?;
                        let repeats = lane.told.get(&id).map_or(0, |told| told.repeats);
                        let repeats =
                            if pending.event == EventKind::Reminder { repeats + 1 } else { 0 };
                        let entry = AlertEntry::new(
                            &alert,
                            pending.event,
                            &places.alert(&alert),
                            case,
                            repeats,
                        );
                        notice.entries.push(Entry::Alert(entry));
                    }
                }
                Subject::Case(id, version) => {
                    if !notice.cases.contains(&id.0) {
                        notice.cases.push(id.0);
                    }
                    if let Some((case, event)) = self.case_at(id, version)? {
                        let entry = CaseEntry::new(
                            &case,
                            &event,
                            pending.event,
                            &places.case(&case.subject),
                        );
                        for person in people_of(&entry, &units) {
                            if !notice.people.contains(&person) {
                                notice.people.push(person);
                            }
                        }
                        notice.entries.extend(is_listed.then_some(Entry::Case(entry)));
                    }
                }
                Subject::Trouble(id) => {
                    notice.troubles.push(id.0);
                    if let Some(trouble) = trouble::find(self.tx, id)?.filter(|_| is_listed) {
                        let entry = TroubleEntry::new(&trouble, pending.event);
                        notice.entries.push(Entry::Trouble(entry));
                    }
                }
            }
        }
        notice.places = roots.len();
        Ok(notice)
    }

    pub(super) fn insert(
        &mut self,
        lane: usize,
        notice: &Notice,
        merged: bool,
        mentions: impl Iterator<Item = (&'static str, i64, u32)>,
    ) -> Result<MessageId, NotifyError> {
        let now = self.now;
        let give_up_at = now.plus(self.settings.pace.give_up);
        let channel = &self.settings.channels[lane].name;
        let id = tables::insert(self.tx, channel, notice, merged, now, give_up_at)?;
        for (what, number, _) in mentions {
            tables::put_mention(self.tx, id, what, number)?;
        }
        let queued =
            Queued { severity: notice.severity, merged, next_at: now, give_up_at, attempts: 0 };
        self.state.lanes[lane].queue.insert(id, queued);
        self.counters.made.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }
}

/// Whom a case's event concerns: the person that it names; all of the unit when it is dispatched or escalated, its first
/// when it is late.
fn people_of(entry: &CaseEntry, units: &[case::Unit]) -> Vec<String> {
    let unit = units.iter().find(|unit| Some(unit.id.as_str()) == entry.unit.as_deref());
    let members = unit.map_or(&[][..], |unit| unit.members.as_slice());
    match (entry.event, &entry.person) {
        (EventKind::CaseDispatched | EventKind::CaseOverdue, Some(person)) => vec![person.clone()],
        (EventKind::CaseDispatched | EventKind::CaseEscalated, _) => members.to_vec(),
        (EventKind::CaseOverdue, None) => members.first().cloned().into_iter().collect(),
        _ => Vec::new(),
    }
}
