//! Joins the trouble room to the others: asks each of them how it is, about once a second, and has what that changes told.
//!
//! What a room is asked is its own words for how it is; what of it is a trouble, and how bad, is decided here. No room
//! knows of this.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::forget::Doubt;
use crate::api::{Queue, Readiness};
use crate::bridge;
use crate::clock::Clock;
use crate::ingest::broker;
use crate::ingest::modbus::Poller;
use crate::ingest::mqtt::Services;
use crate::live::Feed;
use crate::model::{Label, Severity, Timestamp};
use crate::notify::{ChannelState, Notifier};
use crate::pipeline::StoreHealth;
use crate::profile::ProfileSet;
use crate::store::{RemoteStatus, Store};
use crate::trouble::{Code, Facts, Finding, Look, Room};
use crate::upkeep::{Backups, DiskGuard, DiskState};

/// Between two looks at all rooms: each is some counters.
const LOOK: Duration = Duration::from_secs(1);

/// How long the notify room may take to answer; while it is busy, nobody can say how its channels are.
const PATIENCE: Duration = Duration::from_secs(1);

/// Readings that were given up, refused or missed are a trouble for so long after the last of them: the loss itself is a
/// moment, and a person must have time to see it.
const LOSS_SHOWN: Duration = Duration::from_secs(10 * 60);

/// A queue that is fuller than this is filling up: in health each is all but empty.
const FULL_PERCENT: usize = 50;

/// What is asked.
pub(super) struct Asked {
    pub(super) clock: Clock,
    pub(super) feed: Feed,
    pub(super) readiness: Arc<Readiness>,
    pub(super) health: Arc<StoreHealth>,
    pub(super) disk: Arc<DiskGuard>,
    pub(super) backups: Option<Backups>,
    pub(super) broker: Option<Arc<broker::Health>>,
    pub(super) bridge: Option<Arc<bridge::Health>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) poller: Arc<Poller>,
    pub(super) profiles: Arc<ArcSwap<ProfileSet>>,
    pub(super) notifier: Notifier,
    pub(super) services: Services,
    pub(super) queues: Box<dyn Fn() -> Vec<Queue> + Send + Sync>,
    pub(super) doubt: Doubt,
}

/// A count of losses that should not grow.
#[derive(Debug, Default)]
struct Losses {
    seen: Option<u64>,
    /// The first and the last growth, and how much since the first.
    grown: Option<(Timestamp, Timestamp, u64)>,
}

impl Losses {
    /// Since when something is lost, and how much, while the last loss is not long ago. What was lost before the first
    /// look, in another run, is none of this one's.
    fn look(&mut self, count: u64, now: Timestamp) -> Option<(Timestamp, u64)> {
        let more = count.saturating_sub(self.seen.replace(count).unwrap_or(count));
        if more > 0 {
            let (since, sum) = self.grown.map_or((now, 0), |(since, _, sum)| (since, sum));
            self.grown = Some((since, now, sum + more));
        }
        self.grown = self.grown.filter(|(_, last, _)| now.since(*last) < LOSS_SHOWN);
        self.grown.map(|(since, _, sum)| (since, sum))
    }
}

#[derive(Debug, Default)]
struct AllLosses {
    bridge: Losses,
    folded: Losses,
    refused: Losses,
    services: Losses,
}

/// Asks the rooms until the hub goes down.
pub(super) async fn watch(
    mut room: Room,
    asked: Asked,
    going_down: impl Future<Output = ()> + Send,
) -> &'static str {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut losses = AllLosses::default();
    tokio::pin!(going_down);
    loop {
        tokio::select! {
            () = &mut going_down => return "troubles",
            _ = looks.tick() => {}
        }
        let channels = timeout(
            PATIENCE,
            asked.notifier.ask(|desk| {
                let now = desk.now();
                desk.post.channels(now)
            }),
        );
        let channels = channels.await.ok().and_then(Result::ok);
        let now = asked.clock.now();
        let mut look = asked.look(&mut losses, now);
        add_channels(&mut look, channels);
        for change in tokio::task::block_in_place(|| room.look(&look, now)) {
            asked.feed.trouble(&change.trouble);
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(whole.max(1))) as u64
}

impl Asked {
    fn look(&self, losses: &mut AllLosses, now: Timestamp) -> Look {
        let mut look = Look::default();
        self.look_at_house(&mut look);
        self.look_at_links(&mut look, &mut losses.bridge, now);
        if let Some(status) = self.store.remote() {
            add_engine(&mut look, &status, losses, now);
        }
        let mut bad = |code, subject: &str, severity, facts| {
            look.bad.push(Finding::new(code, subject, severity, facts));
        };
        for refused in &self.profiles.load().refused {
            // The first line says what; the rest shows where in the file.
            let why = refused.errors.first().and_then(|why| why.lines().next()).unwrap_or_default();
            bad(Code::Profile, &refused.file, Severity::Minor, Facts::because(why));
        }
        if let Some((_, count)) = losses.services.look(self.services.dropped(), now) {
            bad(Code::Services, "", Severity::Minor, Facts::count(count));
        }
        look
    }

    fn look_at_house(&self, look: &mut Look) {
        let disk = self.disk.view();
        let is_full = disk.is_some_and(|view| view.state == DiskState::Full);
        for part in self.readiness.missing() {
            // A full disk says itself that the store takes nothing.
            if part == "store" && is_full {
                continue;
            }
            let why = self.health.failure().filter(|_| part == "store");
            let facts = why.map_or_else(Facts::default, |why| Facts::because(&why));
            look.bad.push(Finding::new(Code::Part, part, Severity::Critical, facts));
        }
        if let Some(view) = disk.filter(|view| view.state != DiskState::Ok) {
            let facts = Facts {
                free_bytes: Some(view.space.free_bytes),
                share_percent: Some(percent(view.space.free_bytes, view.space.total_bytes)),
                stop_below_bytes: Some(view.limits.stop_bytes),
                ..Facts::default()
            };
            let severity = if is_full { Severity::Critical } else { Severity::Major };
            look.bad.push(Finding::new(Code::Disk, "", severity, facts));
        }
        match self.backups.as_ref().map(Backups::view) {
            Some(view) if view.failure.is_some() => {
                let facts = Facts::because(&view.failure.unwrap_or_default());
                look.bad.push(Finding::new(Code::Backup, "", Severity::Major, facts));
            }
            // One is due or being made: after a start nobody knows how the last try ended.
            Some(view) if view.next_at.is_none_or(|at| at <= self.clock.now()) => {
                look.unknown.push((Code::Backup, None));
            }
            _ => {}
        }
        for Queue { name, waiting, size } in (self.queues)() {
            if waiting * 100 > size * FULL_PERCENT {
                let share_percent = Some(percent(waiting as u64, size as u64));
                let facts =
                    Facts { count: Some(waiting as u64), share_percent, ..Facts::default() };
                look.bad.push(Finding::new(Code::Queue, name, Severity::Major, facts));
            }
        }
        match self.doubt.look() {
            None => look.unknown.push((Code::Clock, None)),
            Some(None) => {}
            Some(Some(why)) => {
                let facts = Facts::because(&why);
                look.bad.push(Finding::new(Code::Clock, "", Severity::Major, facts));
            }
        }
    }

    fn look_at_links(&self, look: &mut Look, lost: &mut Losses, now: Timestamp) {
        if let Some(broker::Look { address, connected, since, problem, .. }) =
            self.broker.as_ref().map(|broker| broker.look())
        {
            add_link(look, (Code::Broker, &address), (connected, since), problem);
        }
        if let Some(bridge::Look { address, connected, since, problem, lost: count, .. }) =
            self.bridge.as_ref().map(|bridge| bridge.look())
        {
            if let Some((since, count)) = lost.look(count, now) {
                let facts = Facts { why: problem.clone(), ..Facts::count(count) };
                let one = Finding::new(Code::BridgeLosing, &address, Severity::Major, facts);
                look.bad.push(Finding { since: Some(since), ..one });
            }
            add_link(look, (Code::Bridge, &address), (connected, since), problem);
        }
        for bus in self.poller.stats() {
            match (&bus.last_error, bus.connected) {
                (_, true) => {}
                (Some(why), false) => {
                    let facts = Facts::because(&why.message);
                    look.bad.push(Finding::new(Code::Bus, &bus.endpoint, Severity::Major, facts));
                }
                (None, false) => look.unknown.push((Code::Bus, Some(bus.endpoint))),
            }
        }
    }
}

fn add_link(
    look: &mut Look,
    (code, address): (Code, &str),
    (connected, since): (bool, Timestamp),
    problem: Option<Label>,
) {
    match problem {
        Some(why) => {
            let facts = Facts { why: Some(why), ..Facts::default() };
            let since = (!connected).then_some(since);
            look.bad.push(Finding { since, ..Finding::new(code, address, Severity::Major, facts) });
        }
        // Not tried yet.
        None if !connected => look.unknown.push((code, Some(address.to_owned()))),
        None => {}
    }
}

fn add_engine(look: &mut Look, status: &RemoteStatus, losses: &mut AllLosses, now: Timestamp) {
    let engine = status.engine;
    match &status.problem {
        Some(problem) => {
            let facts = Facts {
                share_percent: Some(percent(status.queue_bytes, status.queue_max_bytes)),
                why: Some(Label::same(&problem.why)),
                ..Facts::count(status.queue_readings)
            };
            let one = Finding::new(Code::Engine, engine, Severity::Major, facts);
            look.bad.push(Finding { since: Some(problem.since), ..one });
        }
        // Something waits, and nothing was tried in this run.
        None if status.sent == 0 && status.queue_readings > 0 => {
            look.unknown.push((Code::Engine, None));
        }
        None => {}
    }
    if let Some((since, count)) = losses.folded.look(status.folded, now) {
        let one = Finding::new(Code::EngineOverfull, engine, Severity::Major, Facts::count(count));
        look.bad.push(Finding { since: Some(since), ..one });
    }
    if let Some((since, count)) = losses.refused.look(status.refused, now) {
        let why = status.refusal.as_deref().map(Label::same);
        let facts = Facts { why, ..Facts::count(count) };
        let one = Finding::new(Code::EngineRefuses, engine, Severity::Major, facts);
        look.bad.push(Finding { since: Some(since), ..one });
    }
}

/// `None`: the notify room did not answer.
fn add_channels(look: &mut Look, channels: Option<Vec<ChannelState>>) {
    let Some(channels) = channels else {
        look.unknown.push((Code::Channel, None));
        return;
    };
    for channel in channels.iter().filter(|channel| channel.failing) {
        let why = channel.last_error.as_deref().map(Label::same);
        let facts = Facts { why, ..Facts::default() };
        look.bad.push(Finding::new(Code::Channel, &channel.name, Severity::Major, facts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_790_000_000 + seconds)
    }

    #[test]
    fn a_loss_is_a_trouble_for_a_while_after_the_last_one() {
        let mut losses = Losses::default();
        assert_eq!(losses.look(500, at(0)), None, "of another run");
        assert_eq!(losses.look(503, at(1)), Some((at(1), 3)));
        assert_eq!(losses.look(504, at(300)), Some((at(1), 4)));
        assert_eq!(losses.look(504, at(899)), Some((at(1), 4)));
        assert_eq!(losses.look(504, at(900)), None);
        assert_eq!(losses.look(505, at(901)), Some((at(901), 1)));
    }

    #[test]
    fn a_link_that_was_not_tried_yet_is_neither_well_nor_bad() {
        let check = |connected, problem: Option<&str>, bad: usize, unknown: usize| {
            let mut look = Look::default();
            let problem = problem.map(Label::same);
            add_link(&mut look, (Code::Broker, "b:1883"), (connected, at(0)), problem);
            assert_eq!((look.bad.len(), look.unknown.len()), (bad, unknown));
        };
        check(false, None, 0, 1);
        check(false, Some("refused"), 1, 0);
        check(true, None, 0, 0);
        check(true, Some("the broker refuses a subscription"), 1, 0);
    }
}
