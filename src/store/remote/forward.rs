//! The forwarder: one thread that sends commits to the engine in their order, and says how that goes.
//!
//! At least once: a commit's mark moves when the engine has acknowledged it and could not lose it any more
//! ([`Engine::settles_in`]); whatever fails before that is sent again from the mark. The engine gets one reading for each
//! series and time, the first that the hub was told, as the hub's own file has it: so what is sent twice is the same twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::config::QueueConfig;
use super::engine::{Engine, EngineError};
use super::lines::{self, is_sendable};
use crate::clock::Clock;
use crate::model::{Measurement, Sample, SeriesId, Timestamp};
use crate::store::embedded::{Commit, FeedMarks, Folded};
use crate::store::{CommitSeq, EmbeddedStore, SeriesKey, Store, StoreError, Tier};

/// Readings taken from the file at a time: some seconds of a large town, and of a small one as many as wait.
const BATCH: usize = 50_000;

/// Bytes of lines in one request: what both engines take well, about 15 000 readings.
const REQUEST_BYTES: usize = 1 << 20;

/// Requests for one piece of lines of which the engine refuses some, to find out which. What is left then is given up.
const SEARCHES: usize = 200;

/// Wait after a failure; doubled with every further one up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How long commits are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(250);

/// An idle forwarder looks so often whether the engine is there, and whether readings may be forgotten.
const ROUND: Duration = Duration::from_secs(10);
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// An engine that lacks readings which arrived so long ago is behind.
const BEHIND: Duration = Duration::from_secs(60);

/// How far a queue over its bound is emptied: a 64th below it, so that it is not done for every commit.
const SLACK: u64 = 64;

/// How it stands with the remote engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemoteStatus {
    /// Which engine.
    pub engine: &'static str,
    /// Whether it took what it was sent last; true before anything was.
    pub up: bool,
    /// Since when it does not, and why.
    pub problem: Option<RemoteProblem>,
    /// Readings that wait for it; some that it already has may be among them.
    pub queue_readings: u64,
    /// Their bytes on disk.
    pub queue_bytes: u64,
    /// Bytes that may wait at most.
    pub queue_max_bytes: u64,
    /// When the oldest of them arrived.
    pub oldest: Option<Timestamp>,
    /// Readings that the engine acknowledged since the start.
    pub sent: u64,
    /// Readings that were given up to the bound, ever: the engine gets their rollups; the readings stay in the hub's own file.
    pub folded: u64,
    /// Readings that the engine refused for good since the start; they stay in the hub's own file for as long as the near past.
    pub refused: u64,
    /// Its words for the last of them.
    pub refusal: Option<String>,
}

/// What is wrong with an engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemoteProblem {
    /// Since when.
    pub since: Timestamp,
    /// What, in the words of the log.
    pub why: String,
}

/// What the forwarder and the store share.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) local: EmbeddedStore,
    pub(super) engine: Box<dyn Engine>,
    queue: QueueConfig,
    clock: Clock,
    state: Mutex<State>,
    wake: Condvar,
    /// The newest readings of series of which the own file has none.
    recalled: RwLock<Vec<(SeriesId, Sample)>>,
    /// By series: until when its rollups here lack readings that came too late for them.
    late: RwLock<HashMap<SeriesId, Timestamp>>,
}

#[derive(Debug)]
struct State {
    marks: FeedMarks,
    stopping: bool,
    /// Grows with every commit.
    commits: u64,
    problem: Option<RemoteProblem>,
    queue: Queue,
    sent: u64,
    refused: u64,
    refusal: Option<String>,
}

/// What waits, as far as it is counted.
#[derive(Debug, Clone, Copy, Default)]
struct Queue {
    readings: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
}

impl Post {
    pub(super) fn new(
        local: EmbeddedStore,
        engine: Box<dyn Engine>,
        queue: QueueConfig,
        clock: Clock,
        marks: FeedMarks,
    ) -> Result<Self, StoreError> {
        let late = RwLock::new(local.late()?.into_iter().collect());
        let state = State {
            marks,
            stopping: false,
            commits: 0,
            problem: None,
            queue: Queue::default(),
            sent: 0,
            refused: 0,
            refusal: None,
        };
        let (state, wake, recalled) = (Mutex::new(state), Condvar::new(), RwLock::default());
        Ok(Post { local, engine, queue, clock, state, wake, recalled, late })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which readings come too late for the rollups of their days, before they can be read.
    pub(super) fn note_late(&self, batches: &[&[Measurement]]) -> Result<(), StoreError> {
        // The mark may stand still while the engine is away, and then move by all of it at once.
        let moves_to = self.clock.now().minus(self.queue.near);
        let settled = self.marks().near_from.max(moves_to).plus(SETTLED);
        let mut new: HashMap<SeriesId, Timestamp> = HashMap::new();
        for m in batches.iter().copied().flatten().filter(|m| m.observed_at < settled) {
            let until = m.observed_at.plus(LATE_UNTIL);
            let late = new.entry(m.series).or_insert(until);
            *late = until.max(*late);
        }
        new.retain(|series, until| self.late_until(*series).is_none_or(|known| known < *until));
        if new.is_empty() {
            return Ok(());
        }
        // A day further than needed, so that a file of old readings in their order is noted a few times and not for each.
        let new: Vec<_> =
            new.into_iter().map(|(series, until)| (series, until.plus(DAY))).collect();
        self.local.set_late(&new)?;
        self.late.write().unwrap_or_else(PoisonError::into_inner).extend(new);
        Ok(())
    }

    /// Until when rollups of this series lack readings, if they do.
    pub(super) fn late_until(&self, series: SeriesId) -> Option<Timestamp> {
        self.late.read().unwrap_or_else(PoisonError::into_inner).get(&series).copied()
    }

    /// Where the feed stands.
    pub(super) fn marks(&self) -> FeedMarks {
        self.lock().marks
    }

    /// A commit was made.
    pub(super) fn wake(&self) {
        self.lock().commits += 1;
        self.wake.notify_all();
    }

    /// The forwarder is to end, and whoever waits for the engine.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
        self.engine.close();
    }

    /// Whether nothing waits for the engine.
    pub(super) fn has_sent_all(&self) -> bool {
        self.marks().forwarded >= self.local.last_commit()
    }

    pub(super) fn status(&self) -> RemoteStatus {
        let state = self.lock();
        RemoteStatus {
            engine: self.engine.name(),
            up: state.problem.is_none(),
            problem: state.problem.clone(),
            queue_readings: state.queue.readings,
            queue_bytes: state.queue.bytes,
            queue_max_bytes: self.queue.max,
            oldest: state.queue.oldest,
            sent: state.sent,
            folded: state.marks.folded,
            refused: state.refused,
            refusal: state.refusal.clone(),
        }
    }

    /// Adds what the engine knows of series of which nothing is here.
    pub(super) fn add_recalled(&self, latest: &mut Vec<(SeriesId, Sample)>) {
        let recalled = self.recalled.read().unwrap_or_else(PoisonError::into_inner);
        if recalled.is_empty() {
            return;
        }
        let known: HashSet<SeriesId> = latest.iter().map(|(own, _)| *own).collect();
        latest.extend(recalled.iter().filter(|(series, _)| !known.contains(series)));
        latest.sort_unstable_by_key(|(series, _)| *series);
    }

    /// Deletes raw readings that the engine has: none while it is behind. A late reading that waits at this moment is seen
    /// again when the engine has it.
    pub(super) fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        let state = self.lock();
        let marks = state.marks;
        let since = self.clock.now().minus(BEHIND);
        let is_behind =
            state.problem.is_some() || state.queue.oldest.is_some_and(|old| old < since);
        drop(state);
        if !marks.whole || is_behind {
            return Ok(0);
        }
        // A whole hour is a time in every engine's precision.
        let micros = cutoff.min(marks.folded_from).as_micros();
        let cutoff = Timestamp::from_micros(micros - micros.rem_euclid(3_600_000_000));
        // First of all: from here on, older readings are asked of the engine.
        self.ask_the_engine_before(cutoff)?;
        self.local.delete_before(cutoff)
    }

    /// From here on, readings before `time` may be in the engine only. It never goes back.
    pub(super) fn ask_the_engine_before(&self, time: Timestamp) -> Result<(), StoreError> {
        if time > self.marks().near_from {
            self.local.set_near_from(time)?;
            let near_from = &mut self.lock().marks.near_from;
            *near_from = time.max(*near_from);
        }
        Ok(())
    }
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Forwarder {
    post: Arc<Post>,
    /// The last commit that the engine acknowledged, if nothing failed since.
    sent: CommitSeq,
    /// What is acknowledged and may still be lost.
    unsettled: VecDeque<Sent>,
    /// Lines of the commits after `sent`, that the engine did not take.
    pending: Option<Lines>,
    /// By series: the newest time that was sent.
    newest: Vec<Option<Timestamp>>,
    names: Vec<Option<SeriesKey>>,
    counted: CommitSeq,
    wait: Duration,
    looked: Option<Instant>,
    forgot: Option<Instant>,
    is_stuck: bool,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    through: CommitSeq,
    readings: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
}

/// Commits as lines.
#[derive(Debug)]
struct Lines {
    requests: Vec<Vec<u8>>,
    through: CommitSeq,
    readings: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Worked,
    Idle,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("the hub's own file failed")]
    Store(#[from] StoreError),
}

impl Forwarder {
    pub(super) fn new(post: Arc<Post>) -> Self {
        let forwarded = post.marks().forwarded;
        Forwarder {
            post,
            sent: forwarded,
            unsettled: VecDeque::new(),
            pending: None,
            newest: Vec::new(),
            names: Vec::new(),
            counted: forwarded,
            wait: FIRST_WAIT,
            looked: None,
            forgot: None,
            is_stuck: false,
        }
    }

    /// Works until the store is dropped.
    pub(super) fn work(mut self) {
        loop {
            let commits = self.post.lock().commits;
            let wait = match self.step() {
                Ok(step) => {
                    self.well();
                    match step {
                        Step::Worked => Duration::ZERO,
                        Step::Idle => self.rest(commits),
                    }
                }
                Err(trouble) => self.fail(&trouble),
            };
            let state = self.post.lock();
            if state.stopping {
                return;
            }
            let going_on = |state: &mut State| !state.stopping;
            drop(self.post.wake.wait_timeout_while(state, wait, going_on));
            if self.post.lock().stopping {
                return;
            }
        }
    }

    /// Nothing to do: waits for a commit, and for how long further ones are gathered then.
    fn rest(&mut self, commits: u64) -> Duration {
        let quiet = |state: &mut State| !state.stopping && state.commits == commits;
        let round = if self.unsettled.is_empty() { ROUND } else { self.post.engine.settles_in() };
        drop(self.post.wake.wait_timeout_while(self.post.lock(), round, quiet));
        GATHER
    }

    /// Does the next thing.
    fn step(&mut self) -> Result<Step, Trouble> {
        self.count()?;
        self.keep_the_bound()?;
        self.settle()?;
        let Some(lines) = self.next_lines()? else { return self.while_idle() };
        // A commit that came after the count is counted before it is sent: what waits no more is taken off once.
        let counted = if lines.through > self.counted { self.count() } else { Ok(()) };
        let sent = counted.map_err(Trouble::from).and_then(|()| Ok(self.send(&lines.requests)?));
        if let Err(trouble) = sent {
            self.pending = Some(lines);
            return Err(trouble);
        }
        let Lines { through, readings, bytes, oldest, .. } = lines;
        self.post.lock().sent += readings;
        self.sent = through;
        self.unsettled.push_back(Sent { at: Instant::now(), through, readings, bytes, oldest });
        self.settle()?;
        Ok(Step::Worked)
    }

    fn while_idle(&mut self) -> Result<Step, Trouble> {
        if self.post.marks().folded > 0
            && let Some(hour) = self.post.local.first_gap()?
        {
            self.send_gap(hour)?;
            return Ok(Step::Worked);
        }
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        if is_due(self.looked, ROUND) {
            self.looked = Some(Instant::now());
            self.post.engine.ping()?;
            if !self.post.marks().discovered {
                self.discover()?;
            }
        }
        if is_due(self.forgot, FORGET_EVERY) && self.unsettled.is_empty() {
            self.forgot = Some(Instant::now());
            let cutoff = self.post.clock.now().minus(self.post.queue.near);
            let gone = self.post.delete_before(cutoff)?;
            if gone > 0 {
                tracing::info!(readings = gone, before = %cutoff, "readings are in the engine only from now on");
            }
        }
        Ok(Step::Idle)
    }

    /// All is well: says so if it was not.
    fn well(&mut self) {
        self.wait = FIRST_WAIT;
        let problem = self.post.lock().problem.take();
        if let Some(problem) = problem {
            let away_s = self.post.clock.now().since(problem.since).as_secs();
            let engine = self.post.engine.name();
            tracing::info!(engine, away_s, "the engine takes readings again");
        }
    }

    /// Notes the failure, says it once, and tells how long to wait.
    fn fail(&mut self, trouble: &Trouble) -> Duration {
        let why = crate::error_chain(trouble);
        let asked = match trouble {
            Trouble::Engine(EngineError::Away { retry_after, .. }) => *retry_after,
            _ => None,
        };
        if !self.unsettled.is_empty() {
            // The engine may have lost these: again from the mark.
            self.unsettled.clear();
            self.newest.clear();
            self.pending = None;
            self.sent = self.post.marks().forwarded;
        }
        self.looked = None;
        let since = self.post.clock.now();
        let mut state = self.post.lock();
        if state.stopping {
            return Duration::ZERO;
        }
        let is_new = state.problem.as_ref().is_none_or(|problem| problem.why != why);
        let since = state.problem.as_ref().map_or(since, |problem| problem.since);
        state.problem = Some(RemoteProblem { since, why: why.clone() });
        drop(state);
        if is_new {
            let engine = self.post.engine.name();
            tracing::error!(
                engine,
                error = %why,
                "the engine does not take readings; they wait on the hub's disk and are sent when it does"
            );
        }
        let wait = asked.unwrap_or(self.wait).max(self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        wait
    }

    /// Counts the commits that were made meanwhile.
    fn count(&mut self) -> Result<(), StoreError> {
        if self.post.local.last_commit() <= self.counted {
            return Ok(());
        }
        let new = self.post.local.waiting(self.counted)?;
        self.counted = new.through;
        let mut state = self.post.lock();
        state.queue.readings += new.readings;
        state.queue.bytes += new.bytes;
        Ok(())
    }

    /// These readings wait no more.
    fn uncount(&self, readings: u64, bytes: u64) {
        let mut state = self.post.lock();
        state.queue.readings = state.queue.readings.saturating_sub(readings);
        state.queue.bytes = state.queue.bytes.saturating_sub(bytes);
        if state.queue.readings == 0 {
            state.queue.oldest = None;
        }
    }

    /// Gives up the oldest commits while too much waits.
    fn keep_the_bound(&mut self) -> Result<(), StoreError> {
        let post = Arc::clone(&self.post);
        let (bytes, max) = (post.lock().queue.bytes, post.queue.max);
        if bytes <= max {
            return Ok(());
        }
        let excess = bytes - (max - max / SLACK);
        let Some(folded) = post.local.fold_oldest(post.marks().forwarded, excess)? else {
            if !std::mem::replace(&mut self.is_stuck, true) {
                tracing::warn!(
                    bytes,
                    max,
                    "the queue is over its bound, but its readings are not sealed yet"
                );
            }
            return Ok(());
        };
        self.is_stuck = false;
        tracing::error!(
            readings = folded.readings,
            max_bytes = max,
            "the queue is full: the engine gets rollups in place of the oldest readings, which stay in the hub's own file"
        );
        post.lock().marks = folded.marks;
        self.uncount(folded.readings, folded.bytes);
        self.leave_out(&folded);
        if self.sent < folded.marks.forwarded {
            self.sent = folded.marks.forwarded;
            self.pending = None;
        }
        Ok(())
    }

    /// Takes commits that went from what is acknowledged and not settled: they are counted already.
    fn leave_out(&mut self, folded: &Folded) {
        let (mut readings, mut bytes) = (folded.readings, folded.bytes);
        let is_gone = |sent: &mut Sent| sent.through <= folded.marks.forwarded;
        while let Some(gone) = self.unsettled.pop_front_if(is_gone) {
            readings = readings.saturating_sub(gone.readings);
            bytes = bytes.saturating_sub(gone.bytes);
        }
        if let Some(cut) = self.unsettled.front_mut() {
            cut.readings = cut.readings.saturating_sub(readings);
            cut.bytes = cut.bytes.saturating_sub(bytes);
        }
    }

    /// Moves the mark over what the engine cannot lose any more.
    fn settle(&mut self) -> Result<(), StoreError> {
        let settled = self.post.engine.settles_in();
        let (mut through, mut readings, mut bytes) = (None, 0, 0);
        while let Some(sent) = self.unsettled.pop_front_if(|sent| sent.at.elapsed() >= settled) {
            through = Some(sent.through);
            readings += sent.readings;
            bytes += sent.bytes;
        }
        if let Some(through) = through {
            self.post.local.set_forwarded(through)?;
            let mut state = self.post.lock();
            state.marks.forwarded = through;
            state.queue.oldest = self.unsettled.front().and_then(|sent| sent.oldest);
            drop(state);
            self.uncount(readings, bytes);
        }
        Ok(())
    }

    /// The lines of the next commits.
    fn next_lines(&mut self) -> Result<Option<Lines>, Trouble> {
        if let Some(lines) = self.pending.take() {
            return Ok(Some(lines));
        }
        let commits = self.post.local.feed(self.sent, BATCH)?;
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else { return Ok(None) };
        let oldest = first.batch.first().map(|m| m.received_at);
        if self.unsettled.is_empty() {
            self.post.lock().queue.oldest = oldest;
        }
        let through = last.seq;
        let readings = commits.iter().map(|commit| commit.batch.len() as u64).sum();
        let bytes = commits.iter().map(|commit| commit.bytes).sum();
        let requests = self.encode(&commits)?;
        Ok(Some(Lines { requests, through, readings, bytes, oldest }))
    }

    fn encode(&mut self, commits: &[Commit]) -> Result<Vec<Vec<u8>>, Trouble> {
        let precision = self.post.engine.precision();
        let known = self.known_to_the_engine(commits)?;
        let (mut requests, mut lines) = (Vec::new(), Vec::new());
        for m in commits.iter().flat_map(|commit| &commit.batch) {
            let is_known = known.contains(&(m.series, precision.kept(m.observed_at)));
            if !is_sendable(m.observed_at) || is_known || !self.is_first(m)? {
                continue;
            }
            if let Some(key) = self.name(m.series) {
                lines::push_reading(&mut lines, &key, m, precision);
            }
            if lines.len() >= REQUEST_BYTES {
                requests.push(std::mem::take(&mut lines));
            }
        }
        requests.push(lines);
        requests.retain(|lines| !lines.is_empty());
        Ok(requests)
    }

    /// Of readings so late that the own file has forgotten their time: those times that the engine has a reading of.
    fn known_to_the_engine(
        &mut self,
        commits: &[Commit],
    ) -> Result<HashSet<(SeriesId, Timestamp)>, Trouble> {
        let (precision, near_from) = (self.post.engine.precision(), self.post.marks().near_from);
        // Day by day: a backlog of months is not one answer.
        let mut spans: HashMap<(SeriesId, i64), (Timestamp, Timestamp)> = HashMap::new();
        let late = |m: &&Measurement| m.observed_at < near_from && is_sendable(m.observed_at);
        for m in commits.iter().flat_map(|commit| &commit.batch).filter(late) {
            let time = precision.kept(m.observed_at);
            let (first, last) = spans.entry((m.series, days(time))).or_insert((time, time));
            (*first, *last) = (time.min(*first), time.max(*last));
        }
        let mut known = HashSet::new();
        for ((series, _), (first, last)) in spans {
            let Some(key) = self.name(series) else { continue };
            let end = last.plus(precision.width());
            let found = self.post.engine.range(&key, first, end, usize::MAX)?;
            known.extend(found.into_iter().map(|sample| (series, sample.observed_at)));
        }
        Ok(known)
    }

    /// Whether this is the reading that the hub keeps for its series and time. Only what is not newer than everything sent
    /// before needs a look into the file.
    fn is_first(&mut self, m: &Measurement) -> Result<bool, StoreError> {
        let precision = self.post.engine.precision();
        let time = precision.kept(m.observed_at);
        if m.series.index() >= self.newest.len() {
            self.newest.resize(m.series.index() + 1, None);
        }
        let newest = &mut self.newest[m.series.index()];
        let is_newer = newest.is_some_and(|newest| newest < time);
        *newest = Some(newest.map_or(time, |newest| newest.max(time)));
        if is_newer {
            return Ok(true);
        }
        let kept = self.post.local.range(m.series, time, time.plus(precision.width()), 1)?;
        let same = |kept: &Sample| {
            let bits = (kept.observed_at, kept.value.to_bits(), kept.quality);
            bits == (m.observed_at, m.value.to_bits(), m.quality)
        };
        Ok(kept.first().is_none_or(same))
    }

    fn name(&mut self, series: SeriesId) -> Option<SeriesKey> {
        if series.index() >= self.names.len() {
            self.names.resize(series.index() + 1, None);
        }
        let name = &mut self.names[series.index()];
        if name.is_none() {
            *name = self.post.local.described(series).map(|(key, _)| key);
        }
        name.clone()
    }

    fn send(&self, requests: &[Vec<u8>]) -> Result<(), EngineError> {
        for lines in requests {
            let mut searches = SEARCHES;
            self.send_all_but_refused(lines, &mut searches)?;
        }
        Ok(())
    }

    /// Sends lines; of those that the engine will never take, finds out which they are, and leaves them.
    fn send_all_but_refused(&self, lines: &[u8], searches: &mut usize) -> Result<(), EngineError> {
        let outcome = self.post.engine.write(lines);
        *searches = searches.saturating_sub(1);
        let halves = middle(lines).map(|middle| lines.split_at(middle));
        match (outcome, halves) {
            (Err(EngineError::TooLarge), Some((first, rest))) => {
                *searches += 2;
                self.send_all_but_refused(first, searches)?;
                self.send_all_but_refused(rest, searches)
            }
            (Err(EngineError::Refused { .. }), Some((first, rest))) if *searches > 0 => {
                self.send_all_but_refused(first, searches)?;
                self.send_all_but_refused(rest, searches)
            }
            (Err(error @ (EngineError::Refused { .. } | EngineError::TooLarge)), _) => {
                let count = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
                let mut state = self.post.lock();
                let is_first = state.refused == 0;
                state.refused += count;
                state.refusal = Some(error.to_string());
                drop(state);
                if is_first {
                    let engine = self.post.engine.name();
                    tracing::error!(engine, readings = count, error = %error, "the engine refuses readings for good");
                }
                Ok(())
            }
            (outcome, _) => outcome,
        }
    }

    /// Sends the rollups of an hour whose readings were given up.
    fn send_gap(&self, hour: Timestamp) -> Result<(), Trouble> {
        let local = &self.post.local;
        let (precision, end) = (self.post.engine.precision(), hour.plus(HOUR));
        let series = local.all_series();
        let mut lines = Vec::new();
        for (key, number) in series.iter().zip(0..).filter(|_| is_sendable(hour)) {
            for (tier, step) in [(Tier::Minute, MINUTE), (Tier::Hour, HOUR)] {
                for bucket in local.aggregate(SeriesId(number), hour, end, step)?.buckets {
                    lines::push_rollup(&mut lines, key, tier, &bucket, precision);
                }
            }
            if lines.len() >= REQUEST_BYTES {
                self.send(&[std::mem::take(&mut lines)])?;
            }
        }
        if !lines.is_empty() {
            self.send(&[lines])?;
        }
        Ok(local.close_gap(hour)?)
    }

    /// Asks the engine for the series that it has, when the own file is new, and for the newest reading of those of which the
    /// own file has none.
    pub(super) fn recall(&mut self) {
        let marks = self.post.marks();
        if marks.discovered && marks.born.as_micros() == i64::MIN {
            return;
        }
        if let Err(trouble) = self.discover() {
            let why = crate::error_chain(&trouble);
            tracing::warn!(error = %why, "the engine cannot be asked what it has; it will be, when it answers");
        }
    }

    fn discover(&self) -> Result<(), Trouble> {
        let post = &self.post;
        let found = post.engine.latest(post.clock.now())?;
        let keys: Vec<SeriesKey> = found.iter().map(|(key, _)| key.clone()).collect();
        let numbers = post.local.series(&keys)?;
        let samples = numbers.into_iter().zip(found);
        let samples = samples.filter_map(|(number, (_, sample))| Some((number, sample?))).collect();
        *post.recalled.write().unwrap_or_else(PoisonError::into_inner) = samples;
        if !post.marks().discovered {
            post.local.set_discovered(keys.is_empty())?;
            let mut state = post.lock();
            state.marks.discovered = true;
            if keys.is_empty() {
                (state.marks.born, state.marks.near_from) = (ALWAYS, ALWAYS);
            }
        }
        Ok(())
    }
}

/// The number of the day.
fn days(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(DAY.as_micros() as i64)
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The embedded store settles the rollups of whole days, and of those into which a deleted reading may hold: within three
/// days after the first reading that it keeps.
const SETTLED: Duration = Duration::from_secs(3 * 24 * 3_600);

/// A late reading counts in its own day and holds into the next.
const LATE_UNTIL: Duration = Duration::from_secs(2 * 24 * 3_600);

const ALWAYS: Timestamp = Timestamp::from_micros(i64::MIN);

/// Behind the end of the line in the middle; `None` for a single line.
fn middle(lines: &[u8]) -> Option<usize> {
    let half = lines.len() / 2;
    let end = |from: usize| lines[from..].iter().position(|&byte| byte == b'\n');
    let after = half + end(half)? + 1;
    if after < lines.len() {
        return Some(after);
    }
    lines[..half].iter().rposition(|&byte| byte == b'\n').map(|end| end + 1)
}
