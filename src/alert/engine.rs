//! The judge: the one owner of every condition. Events go in by `&mut`, time is handed in, and the disk is touched in
//! [`Engine::open`], [`Engine::commit`] and [`Engine::checkpoint`] only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::aside::Standings;
use super::flap::Flapping;
use super::index::{CHUNK, Index, Watch};
use super::ladder::{Former, Ladder, Moved, Onset, Says};
use super::ledger::{Ledger, What};
use super::rule::{Rule, RuleKey};
use super::sense::{Memory, NEVER, counts_as_flat};
use super::tables::{self, Changes, Progress, Stand};
use super::timers::Timers;
use super::{Alert, AlertError, AlertId};
use crate::model::{Grade, Measurement, Sample, SeriesId, Severity, Timestamp};
use crate::profile::Flap;
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
    /// For rules that do not say what is chattering.
    flap: Flap,
    /// Whether any rule rings again by itself.
    rearms: bool,
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
    ladder: Ladder,
    flapping: Flapping,
    /// The step that its alert shows; `None` when the alert is not active.
    shown: Option<usize>,
    /// Its last alert: open, or closed and waiting to be forgotten.
    alert: Option<AlertId>,
    is_dirty: bool,
}

/// What is known of a rule from before.
#[derive(Debug, Default)]
struct Known {
    former: Former,
    flapping: Flapping,
}

/// Readings that a window needs to know from before: see [`Engine::wanted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Of which series.
    pub series: SeriesId,
    /// Observed at or after this.
    pub from: Timestamp,
    /// Observed before this.
    pub to: Timestamp,
}

impl Engine {
    /// Takes up its conditions from the tables in `db` (made by the registry's migrations). Conditions whose rule is not
    /// among `rules` are cleared. `now` is the hub's start: silence counts from then on, so a restart by itself raises
    /// nothing. What [`Engine::wanted`] names must be given before the replay.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn open(
        db: rusqlite::Connection,
        rules: Vec<Rule>,
        now: Timestamp,
    ) -> Result<Self, AlertError> {
        let saved = tables::load(&db)?;
        let mut known: HashMap<RuleKey, Known> = HashMap::new();
        for alert in saved.open.iter().filter(|alert| alert.active) {
            let known = known.entry(alert.rule.clone()).or_default();
            known.former.active = Some((alert.severity, alert.peak));
        }
        for (key, severity, condition) in saved.steps {
            known.entry(key).or_default().former.steps.push((severity, condition));
        }
        for (key, flapping) in saved.flapping {
            known.entry(key).or_default().flapping = flapping;
        }

        let standings = Standings::load(&db, saved.open.iter())?;
        let mut engine = Engine {
            db,
            standings,
            index: Index::new(rules, now),
            slots: Vec::new(),
            timers: Timers::default(),
            ledger: Ledger::new(saved.open, saved.progress.next_alert),
            flap: Flap::USUAL,
            rearms: false,
            dirty: Vec::new(),
            gone: Vec::new(),
            seen: saved.progress.replay_from,
            judged: saved.progress.judged,
            watermark: saved.progress.replay_from,
        };
        engine.take_up_news(&saved.news, &saved.memories);
        engine.take_up(known, now);
        Ok(engine)
    }

    /// What is chattering when a rule does not say: from the town's settings, before anything is judged.
    pub fn set_flap(&mut self, flap: Flap) {
        self.flap = flap;
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
        let mut known = HashMap::new();
        for (rule, slot) in former.rules.into_iter().zip(std::mem::take(&mut self.slots)) {
            let active = shown(&slot, &self.ledger);
            let unlike = slot.ladder.unlike(&rule.spec, active);
            let steps: Vec<_> = unlike.map(|(s, condition)| (Some(s), *condition)).collect();
            let is_normal = active.is_none() && steps.is_empty() && slot.flapping.is_quiet();
            if slot.is_dirty || !is_normal {
                // Whatever the tables have of it is written anew, after this.
                self.gone.push(rule.key.clone());
            }
            if !is_normal {
                let former = Former { active, steps };
                known.insert(rule.key, Known { former, flapping: slot.flapping });
            }
        }
        self.take_up(known, now);
        for rule in 0..self.slots.len() as u32 {
            let slot = &self.slots[rule as usize];
            if !slot.ladder.is_normal() || !slot.flapping.is_quiet() {
                self.mark_dirty(rule);
            }
        }
    }

    /// The readings that windows need to know from before: after [`Engine::open`] and [`Engine::set_rules`], until
    /// [`Engine::remember`] has had them.
    pub fn wanted(&mut self) -> Vec<Past> {
        let mut wanted: BTreeMap<SeriesId, Past> = BTreeMap::new();
        for (series, last, window) in self.index.windows_mut() {
            if window.is_filled {
                continue;
            }
            if last == NEVER {
                // Nothing of it was ever judged: it begins here.
                window.is_filled = true;
                continue;
            }
            let from = window.reaches_back_to(last);
            let to = last.plus(Duration::from_micros(1));
            let past = wanted.entry(series).or_insert(Past { series, from, to });
            past.from = past.from.min(from);
            past.to = past.to.max(to);
        }
        wanted.into_values().collect()
    }

    /// Takes what the store has of a series that is [wanted](Engine::wanted), oldest first.
    pub fn remember(&mut self, series: SeriesId, samples: &[Sample]) {
        let Some(&watch) = self.index.watches.get(series.index()) else { return };
        for n in 0..watch.listeners {
            let Some((last, window)) = self.index.window_mut(watch, n) else { continue };
            if window.is_filled || last == NEVER {
                continue;
            }
            let from = window.reaches_back_to(last);
            for sample in samples {
                let counts = match window.is_flat() {
                    true => counts_as_flat(sample.quality),
                    false => sample.quality.is_news(),
                };
                let at = sample.observed_at;
                if counts && at >= from && at <= last && window.is_news(at) {
                    window.push(at, sample.value);
                }
            }
            window.is_filled = true;
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
        let is_later = m.observed_at > watch.last_news;
        // Of unwatched series too: a rule that comes into force later fills its window up to here.
        let is_news = is_later && m.quality.is_news();
        if is_news {
            watch.last_news = m.observed_at;
            self.index.touched[m.series.index() / CHUNK] = true;
        }
        let watch = *watch;
        if let Some(heard) = self.index.devices.get_mut(watch.device as usize)
            && m.received_at >= heard.last_heard
        {
            heard.last_heard = m.received_at;
            if heard.silent > 0 && !is_judged {
                self.hear(watch.device as usize, m.received_at);
            }
        }
        if watch.listeners > 0 {
            self.listen(m, watch, is_news, is_judged);
        }
        if is_judged || !is_later {
            return;
        }
        if is_news {
            for rule in watch.first_rule..watch.first_rule + watch.rules {
                if !self.index.gates[rule as usize].ignores(m.value) {
                    let says = Says::Value(m.value, Grade::Good);
                    self.take(rule, m.observed_at, says, m.received_at);
                }
            }
        } else if m.quality.grade == Grade::Uncertain {
            self.doubt(m, watch);
        }
    }

    /// A reading that may be off: it keeps what is active, and nothing else.
    #[cold]
    fn doubt(&mut self, m: &Measurement, watch: Watch) {
        for rule in watch.first_rule..watch.first_rule + watch.rules {
            if !self.index.gates[rule as usize].is_normal {
                let says = Says::Value(m.value, Grade::Uncertain);
                self.take(rule, m.observed_at, says, m.received_at);
            }
        }
    }

    /// For rules that keep more than a value.
    fn listen(&mut self, m: &Measurement, watch: Watch, is_news: bool, is_judged: bool) {
        let memory = self.index.memories.get_mut(watch.memory as usize);
        let is_newest = memory.is_some_and(|memory| memory.take(m.observed_at, m.value, m.quality));
        if is_newest {
            self.index.touched[m.series.index() / CHUNK] = true;
        }
        for n in 0..watch.listeners {
            let Some(rule) = self.index.listener(watch, n) else { continue };
            let Some((sense, terms, memories)) = self.index.sense_mut(rule) else { continue };
            let reading = (m.observed_at, m.value, m.quality);
            let said = sense.read(&terms.spec.test, reading, is_news, is_newest, memories);
            if let Some((at, says)) = said
                && !is_judged
            {
                self.take(rule, at, says, m.received_at);
            }
        }
    }

    /// A device whose silence is on the list spoke.
    #[cold]
    fn hear(&mut self, device: usize, at: Timestamp) {
        let (first, rules) =
            (self.index.devices[device].first_rule, self.index.devices[device].rules);
        for rule in first..first + rules {
            let moved = self.slots[rule as usize].ladder.be_heard();
            self.settle(rule, moved, at, at);
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
                    self.elapse(rule, now, now);
                    self.fall_silent(rule, now);
                    self.rearm(rule, now);
                    self.arm(rule);
                }
            }
        }
        self.tick_standing(now);
    }

    fn fall_silent(&mut self, rule: u32, now: Timestamp) {
        let Some((device, after)) = self.index.silence(rule) else { return };
        let since = device.silent_since();
        if now >= since.plus(after) {
            let moved = self.slots[rule as usize].ladder.fall_silent(since);
            self.settle(rule, moved, now, now);
        }
    }

    fn rearm(&mut self, rule: u32, now: Timestamp) {
        let slot = &self.slots[rule as usize];
        if self.rearms_at(rule).is_some_and(|at| at <= now)
            && let Some(id) = slot.alert
        {
            self.ledger.rearm(id, now);
            self.follow_events();
        }
    }

    /// When an acknowledged alert rings again, by the hub's clock. One that is put aside does not.
    fn rearms_at(&self, rule: u32) -> Option<Timestamp> {
        let after = self.index.rules[rule as usize].spec.re_alarm?;
        let alert = self.ledger.get(self.slots[rule as usize].alert?)?;
        let is_due = alert.active && alert.standing.is_clear();
        alert.acknowledged_at.filter(|_| is_due).map(|at| at.plus(after))
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
        let alert = self.ledger.acknowledge(id, version, who, note, now)?;
        if self.rearms
            && let Some(rule) = self.rule_of(&alert)
        {
            self.arm(rule);
        }
        Ok(alert)
    }

    /// The number of the rule that an alert is of. Looked for, not looked up: people are not so fast.
    fn rule_of(&self, alert: &Alert) -> Option<u32> {
        let is_it = |slot: &Slot| slot.alert == Some(alert.id);
        self.slots.iter().position(is_it).map(|rule| rule as u32)
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
        self.settle_standings();
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
        self.settle_standings();
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

    /// What a reading of `at` says to one rule; `heard` is the hub's time, which people are shown.
    fn take(&mut self, rule: u32, at: Timestamp, says: Says, heard: Timestamp) {
        self.elapse(rule, at, heard);
        let spec = &self.index.rules[rule as usize].spec;
        let moved = self.slots[rule as usize].ladder.observe(spec, at, says);
        self.settle(rule, moved, at, heard);
    }

    /// Time has come to `now`. One deadline after the other, so that it does not matter how far it came at once.
    fn elapse(&mut self, rule: u32, now: Timestamp, heard: Timestamp) {
        loop {
            let spec = &self.index.rules[rule as usize].spec;
            let flap = spec.flap.unwrap_or(self.flap);
            let slot = &mut self.slots[rule as usize];
            let steps = slot.ladder.deadline(spec).filter(|&deadline| deadline <= now);
            let quiet = slot.flapping.deadline(flap).filter(|&deadline| deadline <= now);
            match (steps, quiet) {
                (None, None) => return,
                // What happens at the very end of the quiet is no quiet.
                (Some(at), quiet) if quiet.is_none_or(|quiet| at <= quiet) => {
                    let moved = slot.ladder.elapse(spec, at);
                    self.settle(rule, moved, at, heard);
                }
                _ => self.be_quiet(rule, heard),
            }
        }
    }

    /// Makes of a rule's new stand what people see: `at` is event time, `heard` the hub's.
    fn settle(&mut self, rule: u32, moved: Moved, at: Timestamp, heard: Timestamp) {
        if !moved.any {
            return;
        }
        let terms = &self.index.rules[rule as usize];
        let flap = terms.spec.flap.unwrap_or(self.flap);
        let slot = &mut self.slots[rule as usize];
        let is_chattering = slot.flapping.is_chattering();
        if is_chattering && moved.is_edge() {
            slot.flapping.stir(at);
        }
        let mut is_raise = false;
        match (slot.shown, moved.is) {
            (None, Some(step)) => {
                // The onset is there whenever nothing was active before.
                let onset = moved.onset.unwrap_or_else(|| Onset::unknown(at));
                let alert = self.ledger.raise(terms, slot.alert, step, onset, heard);
                slot.alert = Some(alert.id);
                slot.shown = Some(step);
                // The alert may have gone further before it came back.
                slot.ladder.set_peak(alert.peak);
                is_raise = true;
            }
            (Some(shown), Some(step)) => {
                if let Some(id) = slot.alert
                    && let Some(value) = moved.peak(&terms.spec.test)
                {
                    let peak = self.ledger.go_further(id, terms, value);
                    slot.ladder.set_peak(peak);
                }
                let is_up = step > shown;
                if is_up || (step < shown && !is_chattering) {
                    slot.shown = Some(step);
                    if let Some(id) = slot.alert {
                        self.ledger.step_to(id, terms, step, heard);
                    }
                }
                is_raise = is_up;
            }
            (Some(_), None) if !is_chattering => {
                slot.shown = None;
                if let Some(id) = slot.alert {
                    self.ledger.clear(id, What::Returned, heard);
                }
            }
            (Some(_) | None, None) => {}
        }
        if is_raise
            && !is_chattering
            && slot.flapping.raise(at, flap)
            && let Some(id) = slot.alert
        {
            self.ledger.set_chattering(id, true, heard);
        }
        self.note_stand(rule, moved);
    }

    /// A chattering rule has been quiet for long enough: its alert says again what the sensor says.
    fn be_quiet(&mut self, rule: u32, heard: Timestamp) {
        let terms = &self.index.rules[rule as usize];
        let slot = &mut self.slots[rule as usize];
        slot.flapping.settle();
        if let Some(id) = slot.alert {
            self.ledger.set_chattering(id, false, heard);
            match (slot.shown, slot.ladder.active()) {
                (Some(_), None) => self.ledger.clear(id, What::Returned, heard),
                (Some(shown), Some(step)) if shown != step => {
                    self.ledger.step_to(id, terms, step, heard);
                }
                _ => {}
            }
        }
        slot.shown = slot.ladder.active();
        self.mark_dirty(rule);
        self.arm(rule);
        self.follow_events();
    }

    /// Tells the hot path and the timers how the rule stands.
    fn note_stand(&mut self, rule: u32, moved: Moved) {
        let is_normal = self.slots[rule as usize].ladder.is_normal();
        if let Some(gate) = self.index.gates.get_mut(rule as usize) {
            gate.is_normal = is_normal;
        } else if let Some(device) = self.index.device_mut(rule) {
            match (moved.was, moved.is) {
                (None, Some(_)) => device.silent += 1,
                (Some(_), None) => device.silent = device.silent.saturating_sub(1),
                _ => {}
            }
        }
        self.mark_dirty(rule);
        self.arm(rule);
        self.follow_events();
    }

    fn deadline(&self, rule: u32) -> Option<Timestamp> {
        let slot = &self.slots[rule as usize];
        let spec = &self.index.rules[rule as usize].spec;
        let stand = match self.index.silence(rule) {
            Some(_) if slot.ladder.active().is_some() => None,
            Some((device, after)) => Some(device.silent_since().plus(after)),
            None => slot.ladder.deadline(spec),
        };
        let quiet = slot.flapping.deadline(spec.flap.unwrap_or(self.flap));
        [stand, quiet, self.rearms_at(rule)].into_iter().flatten().min()
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
    fn take_up(&mut self, mut known: HashMap<RuleKey, Known>, now: Timestamp) {
        let alerts = self.ledger.by_rule();
        self.dirty.clear();
        self.timers = Timers::new(self.index.rules.len());
        self.rearms = self.index.rules.iter().any(|rule| rule.spec.re_alarm.is_some());
        self.slots.clear();
        for (number, rule) in self.index.rules.iter().enumerate() {
            let Known { former, flapping } = known.remove(&rule.key).unwrap_or_default();
            let ladder = Ladder::take_up(&rule.spec, &former);
            let alert = alerts.get(&rule.key).copied();
            let severity = alert.and_then(|id| self.ledger.get(id)).map(|alert| alert.severity);
            let nearest = severity.map_or(0, |severity| rule.nearest_step(severity));
            let shown = match former.active {
                // An active alert that is chattering stands by itself; else the steps say which it is.
                Some(_) if flapping.is_chattering() => Some(nearest),
                Some(_) => Some(ladder.active().unwrap_or(nearest)),
                None => None,
            };
            if let Some(id) = alert {
                self.ledger.follow(id, rule, shown.unwrap_or(nearest), now);
            }
            if let Some(gate) = self.index.gates.get_mut(number) {
                gate.is_normal = ladder.is_normal();
            }
            self.slots.push(Slot { ladder, flapping, shown, alert, is_dirty: false });
        }
        for rule in 0..self.slots.len() as u32 {
            let is_active = self.slots[rule as usize].ladder.active().is_some();
            if let Some(device) = self.index.device_mut(rule) {
                device.silent += u32::from(is_active);
            }
            self.arm(rule);
        }
        let mut orphans: Vec<RuleKey> = known.into_keys().collect();
        orphans.sort_unstable();
        for key in orphans {
            if let Some(&id) = alerts.get(&key) {
                self.ledger.clear(id, What::RuleRemoved, now);
            }
            self.gone.push(key);
        }
    }

    fn take_up_news(&mut self, chunks: &[(usize, Vec<i64>)], memories: &[Memory]) {
        for (chunk, times) in chunks {
            let watches = self.index.watches.iter_mut().skip(chunk * CHUNK).take(CHUNK);
            for (watch, &time) in watches.zip(times) {
                watch.last_news = Timestamp::from_micros(time);
            }
            if let Some(touched) = self.index.touched.get_mut(*chunk) {
                *touched = false;
            }
        }
        for memory in memories {
            let own = &mut self.index.memories;
            if let Ok(at) = own.binary_search_by_key(&memory.series, |own| own.series) {
                own[at] = *memory;
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
            rules: dirty()
                .map(|rule| stand(&self.index.rules[rule], &self.slots[rule], &self.ledger))
                .collect(),
            memories: if with_news { self.index.touched_memories() } else { Vec::new() },
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

/// What the alert of a rule shows while it is active: the severity of its step, and its peak.
fn shown(slot: &Slot, ledger: &Ledger) -> Option<(Severity, Option<f64>)> {
    slot.shown?;
    let alert = ledger.get(slot.alert?)?;
    Some((alert.severity, alert.peak))
}

/// What the tables keep of a rule besides its alert.
fn stand<'a>(rule: &'a Rule, slot: &'a Slot, ledger: &Ledger) -> Stand<'a> {
    Stand {
        key: &rule.key,
        steps: slot.ladder.unlike(&rule.spec, shown(slot, ledger)).collect(),
        flapping: &slot.flapping,
    }
}
