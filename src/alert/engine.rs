//! The judge: the one owner of every condition. Events go in by `&mut`, time is handed in, and the disk is touched in
//! [`Engine::open`], [`Engine::commit`] and [`Engine::checkpoint`] only.

use std::collections::{BTreeSet, HashMap};

use super::aside::Standings;
use super::condition::{Condition, Event, Transition};
use super::index::{CHUNK, Index};
use super::ledger::{Ledger, Onset, What};
use super::rule::{Rule, RuleKey};
use super::tables::{self, Changes, Progress};
use super::timers::Timers;
use super::{Alert, AlertError, AlertId};
use crate::model::{Measurement, Timestamp};
use crate::store::CommitSeq;

/// The judge: every condition of every rule, one owner, no locks, no clock.
#[derive(Debug)]
pub struct Engine {
    pub(super) db: rusqlite::Connection,
    index: Index,
    /// By rule, as in the index.
    slots: Vec<Slot>,
    timers: Timers,
    pub(super) ledger: Ledger,
    /// What is put aside.
    pub(super) standings: Standings,
    /// Rules whose condition or peak is not as on disk.
    dirty: Vec<u32>,
    /// Rules that are gone but may have a running delay on disk.
    gone: Vec<RuleKey>,
    /// The last commit that came in.
    seen: CommitSeq,
    /// Conditions and alerts on disk stand as after this commit.
    judged: CommitSeq,
    /// Times of readings on disk stand as after this commit: replay begins after it.
    watermark: CommitSeq,
}

/// One rule's state.
#[derive(Debug, Default)]
struct Slot {
    condition: Condition,
    /// Its last alert: open, or closed and waiting to be forgotten.
    alert: Option<AlertId>,
    is_dirty: bool,
}

impl Engine {
    /// Takes up its conditions from the tables in `db` (made by the registry's migrations). Conditions whose rule is not
    /// among `rules` are cleared. `now` is the hub's start: silence counts from then on, so a restart by itself raises
    /// nothing.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn open(
        db: rusqlite::Connection,
        rules: Vec<Rule>,
        now: Timestamp,
    ) -> Result<Self, AlertError> {
        let saved = tables::load(&db)?;
        let mut conditions: HashMap<RuleKey, Condition> = saved
            .open
            .iter()
            .filter(|alert| alert.active)
            .map(|alert| (alert.rule.clone(), Condition::Active { peak: alert.peak }))
            .collect();
        conditions.extend(saved.delays);

        let standings = Standings::load(&db, saved.open.iter())?;
        let mut engine = Engine {
            db,
            standings,
            index: Index::new(rules, now),
            slots: Vec::new(),
            timers: Timers::default(),
            ledger: Ledger::new(saved.open, saved.progress.next_alert),
            dirty: Vec::new(),
            gone: Vec::new(),
            seen: saved.progress.replay_from,
            judged: saved.progress.judged,
            watermark: saved.progress.replay_from,
        };
        engine.take_up_news(&saved.news);
        engine.take_up(conditions, now);
        Ok(engine)
    }

    /// The commit after which replay begins: see the room's header.
    pub fn watermark(&self) -> CommitSeq {
        self.watermark
    }

    /// Tells the engine, before the replay, where the store ends. A store that was put back from a backup ends before
    /// the watermark; its next commits are new ones then, and must not pass for judged.
    pub fn align(&mut self, store_end: CommitSeq) {
        self.watermark = self.watermark.min(store_end);
        self.judged = self.judged.min(store_end);
        self.seen = self.seen.min(store_end);
    }

    /// Replaces the rules. A rule that keeps its name keeps its condition, even if its limits moved, and the next reading
    /// goes by the new ones; its open alert takes over the new limits, severity, text and asset. Conditions of rules that
    /// are gone are cleared. In memory until [`Engine::commit`].
    pub fn set_rules(&mut self, rules: Vec<Rule>, now: Timestamp) {
        let mut index = Index::new(rules, now);
        index.carry_over(&self.index);
        let former = std::mem::replace(&mut self.index, index);
        let mut conditions = HashMap::new();
        for (rule, slot) in former.rules.into_iter().zip(std::mem::take(&mut self.slots)) {
            let is_normal = matches!(slot.condition, Condition::Normal);
            if slot.is_dirty || !is_normal {
                // Whatever the tables have of it is written anew, after this.
                self.gone.push(rule.key.clone());
            }
            if !is_normal {
                conditions.insert(rule.key, slot.condition);
            }
        }
        self.take_up(conditions, now);
        for rule in 0..self.slots.len() as u32 {
            if !matches!(self.slots[rule as usize].condition, Condition::Normal) {
                self.mark_dirty(rule);
            }
        }
    }

    /// Judges one commit's measurements, in commit order. In memory only, until [`Engine::commit`]. A commit may come in
    /// several calls with the same `seq`, as long as neither [`Engine::commit`] nor [`Engine::checkpoint`] is called
    /// between them. Commits up to the watermark, and older ones than the last, were judged already and are passed over.
    pub fn judge(&mut self, seq: CommitSeq, batch: &[Measurement]) {
        if seq <= self.watermark || seq < self.seen {
            return;
        }
        self.seen = seq;
        let is_judged = seq <= self.judged;
        for measurement in batch {
            self.judge_one(measurement, is_judged);
        }
    }

    /// `is_judged`: the conditions on disk already know of it, only the times of readings do not.
    #[inline]
    fn judge_one(&mut self, m: &Measurement, is_judged: bool) {
        let Some(watch) = self.index.watches.get_mut(m.series.index()) else { return };
        let device = watch.device;
        let (first, rules) = (watch.first_rule, watch.rules);
        let is_news = rules > 0 && m.quality.is_news() && m.observed_at > watch.last_news;
        if is_news {
            watch.last_news = m.observed_at;
            self.index.touched[m.series.index() / CHUNK] = true;
        }
        if let Some(heard) = self.index.devices.get_mut(device as usize)
            && m.received_at >= heard.last_heard
        {
            heard.last_heard = m.received_at;
            if heard.silent > 0 && !is_judged {
                self.hear(device as usize, m.received_at);
            }
        }
        if !is_news || is_judged {
            return;
        }
        for rule in first..first + rules {
            if !self.index.gates[rule as usize].ignores(m.value) {
                self.apply(rule, Event::Elapsed { now: m.observed_at }, m.received_at);
                let reading = Event::Reading { at: m.observed_at, value: m.value };
                self.apply(rule, reading, m.received_at);
            }
        }
    }

    /// A device whose silence is on the list spoke.
    #[cold]
    fn hear(&mut self, device: usize, at: Timestamp) {
        let (first, rules) =
            (self.index.devices[device].first_rule, self.index.devices[device].rules);
        for rule in first..first + rules {
            self.apply(rule, Event::Heard, at);
        }
    }

    /// Lets time pass: on-delays and off-delays that ran out, devices that fell silent. In memory until
    /// [`Engine::commit`], which must follow before the next [`Engine::judge`]: a crash forgets what a tick did, and only
    /// readings are replayed.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((at, rule)) = self.timers.pop_due(now) {
            match self.deadline(rule) {
                None => {}
                // It moved away since it was armed.
                Some(deadline) if deadline > at => self.timers.arm(rule, deadline),
                Some(_) => {
                    let event = match self.index.silence(rule) {
                        Some((device, _)) => Event::Silent { since: device.silent_since() },
                        None => Event::Elapsed { now },
                    };
                    self.apply(rule, event, now);
                }
            }
        }
        self.tick_standing(now);
    }

    /// The time at which [`Engine::tick`] next has something to do; it may turn out to be only a look.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.standings.next()).min()
    }

    /// A person has seen it. In memory until [`Engine::commit`]: tell them so after that.
    ///
    /// # Errors
    /// When there is no such alert, it was acknowledged before, or it is not at `version`, if that is given.
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        version: Option<u32>,
        who: &str,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        if self.ledger.get(id).is_none()
            && let Some(closed) = tables::find(&self.db, id)?
        {
            // Only acknowledged alerts close.
            let by = closed.acknowledged_by.unwrap_or_default();
            return Err(AlertError::AlreadyAcknowledged { id, by });
        }
        self.ledger.acknowledge(id, version, who, note, now)
    }

    /// Whether [`Engine::commit`] has anything to write or to report. Delays that began or ended and new peaks do not
    /// count: they are written along with the next event or checkpoint, and replay finds them again until then.
    pub fn is_dirty(&self) -> bool {
        !self.ledger.events().is_empty()
            || !self.ledger.changed().is_empty()
            || self.standings.is_dirty()
    }

    /// Writes every change since the last commit, with its event and how far the judgement has come, in one transaction,
    /// and returns the alerts that changed, each once, as they are now. Nothing is written when no alert changed.
    ///
    /// # Errors
    /// When the transaction failed. Nothing is lost: the next call writes and returns the same and what came since. Call
    /// it again before judging on, for what is not written stays in memory.
    pub fn commit(&mut self) -> Result<Vec<Alert>, AlertError> {
        self.follow_events();
        if !self.ledger.events().is_empty() || self.standings.is_dirty() {
            self.write(false)?;
        }
        Ok(self.ledger.report())
    }

    /// Writes the watermark (and all that [`Engine::commit`] would, which then still reports it) even if no alert
    /// changed, so that the store may release what was judged. Returns the watermark.
    ///
    /// # Errors
    /// When the transaction failed; nothing is lost.
    pub fn checkpoint(&mut self) -> Result<CommitSeq, AlertError> {
        self.follow_events();
        let has_changes = !self.ledger.events().is_empty()
            || self.standings.is_dirty()
            || !self.dirty.is_empty()
            || !self.gone.is_empty();
        if self.seen != self.watermark || has_changes {
            self.write(true)?;
        }
        Ok(self.watermark)
    }

    /// The open alerts, worst first, then newest first; with what is not committed yet.
    pub fn open_alerts(&self) -> Vec<Alert> {
        let mut open: Vec<Alert> = self.ledger.open().cloned().collect();
        open.sort_by_key(|alert| (alert.severity.rank(), std::cmp::Reverse(alert.id)));
        open
    }

    /// One event for one rule; `at` is the hub's time, which people are shown.
    fn apply(&mut self, rule: u32, event: Event, at: Timestamp) {
        let slot = &mut self.slots[rule as usize];
        let terms = &self.index.rules[rule as usize];
        let mut silent = 0;
        match slot.condition.apply(terms, event) {
            Transition::Nothing => return,
            Transition::Unseen => {}
            Transition::Further(peak) => {
                if let Some(id) = slot.alert {
                    self.ledger.set_peak(id, peak);
                }
            }
            Transition::Raised { since, value, peak } => {
                let onset = Onset { since, value, peak };
                let alert = self.ledger.raise(terms, slot.alert, onset, at);
                slot.alert = Some(alert.id);
                // The alert may have gone further before it came back.
                slot.condition = Condition::Active { peak: alert.peak };
                silent = 1;
            }
            Transition::Returned => {
                if let Some(id) = slot.alert {
                    self.ledger.clear(id, What::Returned, at);
                }
                silent = -1;
            }
        }
        let is_normal = matches!(slot.condition, Condition::Normal);
        if let Some(gate) = self.index.gates.get_mut(rule as usize) {
            gate.is_normal = is_normal;
        } else if let Some(device) = self.index.device_mut(rule) {
            device.silent = device.silent.saturating_add_signed(silent);
        }
        self.mark_dirty(rule);
        self.arm(rule);
        self.follow_events();
    }

    fn deadline(&self, rule: u32) -> Option<Timestamp> {
        let condition = &self.slots[rule as usize].condition;
        match self.index.silence(rule) {
            Some(_) if condition.is_active() => None,
            Some((device, after)) => Some(device.silent_since().plus(after)),
            None => condition.deadline(&self.index.rules[rule as usize]),
        }
    }

    fn arm(&mut self, rule: u32) {
        if let Some(deadline) = self.deadline(rule) {
            self.timers.arm(rule, deadline);
        }
    }

    fn mark_dirty(&mut self, rule: u32) {
        let slot = &mut self.slots[rule as usize];
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.dirty.push(rule);
        }
    }

    /// Gives the rules of a new index their conditions and alerts. Conditions without a rule are cleared.
    fn take_up(&mut self, mut conditions: HashMap<RuleKey, Condition>, now: Timestamp) {
        let alerts = self.ledger.by_rule();
        self.dirty.clear();
        self.timers = Timers::new(self.index.rules.len());
        self.slots = self
            .index
            .rules
            .iter()
            .map(|rule| Slot {
                condition: conditions.remove(&rule.key).unwrap_or_default(),
                alert: alerts.get(&rule.key).copied(),
                is_dirty: false,
            })
            .collect();
        for rule in 0..self.slots.len() as u32 {
            let slot = &self.slots[rule as usize];
            if let Some(id) = slot.alert {
                self.ledger.follow(id, &self.index.rules[rule as usize], now);
            }
            let is_active = slot.condition.is_active();
            if let Some(gate) = self.index.gates.get_mut(rule as usize) {
                gate.is_normal = matches!(slot.condition, Condition::Normal);
            } else if let Some(device) = self.index.device_mut(rule) {
                device.silent += u32::from(is_active);
            }
            self.arm(rule);
        }
        let mut orphans: Vec<RuleKey> = conditions.into_keys().collect();
        orphans.sort_unstable();
        for key in orphans {
            if let Some(&id) = alerts.get(&key) {
                self.ledger.clear(id, What::RuleRemoved, now);
            }
            self.gone.push(key);
        }
    }

    fn take_up_news(&mut self, chunks: &[(usize, Vec<i64>)]) {
        for (chunk, times) in chunks {
            let watches = self.index.watches.iter_mut().skip(chunk * CHUNK).take(CHUNK);
            for (watch, &time) in watches.zip(times) {
                watch.last_news = Timestamp::from_micros(time);
            }
            if let Some(touched) = self.index.touched.get_mut(*chunk) {
                *touched = false;
            }
        }
    }

    fn write(&mut self, with_news: bool) -> Result<(), AlertError> {
        let progress = Progress {
            // In the middle of a replay the conditions on disk are ahead of it.
            judged: self.judged.max(self.seen),
            replay_from: if with_news { self.seen } else { self.watermark },
            next_alert: self.ledger.next(),
        };
        let dirty = || self.dirty.iter().map(|&rule| rule as usize);
        let mut alerts: BTreeSet<AlertId> = self.ledger.changed().clone();
        alerts.extend(dirty().filter_map(|rule| self.slots[rule].alert));
        let changes = Changes {
            progress,
            alerts: alerts.into_iter().filter_map(|id| self.ledger.get(id)).collect(),
            events: self.ledger.events(),
            standings: &self.standings,
            gone: &self.gone,
            conditions: dirty()
                .map(|rule| (&self.index.rules[rule].key, &self.slots[rule].condition))
                .collect(),
            news: if with_news { self.touched_news() } else { Vec::new() },
        };
        tables::write(&mut self.db, &changes)?;

        self.judged = progress.judged;
        self.watermark = progress.replay_from;
        self.ledger.events_written();
        self.standings.written();
        self.gone.clear();
        for rule in self.dirty.drain(..) {
            self.slots[rule as usize].is_dirty = false;
        }
        if with_news {
            self.index.touched.fill(false);
        }
        Ok(())
    }

    fn touched_news(&self) -> Vec<(usize, Vec<i64>)> {
        let chunks = self.index.watches.chunks(CHUNK).zip(&self.index.touched).enumerate();
        chunks
            .filter(|(_, (_, touched))| **touched)
            .map(|(i, (watches, _))| (i, watches.iter().map(|w| w.last_news.as_micros()).collect()))
            .collect()
    }
}
