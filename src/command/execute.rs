//! One task for each command that executes: carries out what its machine asks for, and tells it what came of it.
//!
//! Holds no state of its own: the machine decides, the disk remembers. A task that ends in the middle (the hub goes down)
//! leaves a command that the next start reads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info};

use super::check::{Refusal, Situation, Verdict};
use super::machine::{Echo, Effect, Event, Outcome, Position};
use super::room::{Chosen, Commands, Turn, is_asked};
use super::tables::Failure;
use super::{Command, CommandId};
use crate::model::{Cause, DeviceId, Label, PointIndex, Quality, Reading, Sample, Timestamp};
use crate::normalize;
use crate::profile::command::{Confirm, Goal, Outgoing};
use crate::profile::{CommandSpec, Read, RegisterWrite};

/// How often selections are looked at that nobody confirms.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a setpoint is read that does not echo yet.
const ECHO_EVERY: Duration = Duration::from_millis(200);

/// How long an execution waits before it tries the disk again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Writes and reads registers of a device now.
pub trait Bus: Send + Sync + 'static {
    /// Writes once, and says what is known of it.
    fn write(
        &self,
        device: &DeviceId,
        writes: Vec<RegisterWrite>,
    ) -> impl Future<Output = (Outcome, Option<String>)> + Send;

    /// Reads these points; `None` when the device does not answer.
    fn read(
        &self,
        device: &DeviceId,
        points: &[PointIndex],
    ) -> impl Future<Output = Option<Vec<Reading>>> + Send;
}

/// What the executor is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A command is confirmed.
    Run(CommandId),
    /// A device has taken a message.
    Taken(CommandId),
    /// A device answered.
    Reply(DeviceId, Reply),
}

/// A device's answer to a message: `{"id": 7, "status": "refused", "reason": "local"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    id: CommandId,
    /// Whether it will not do it.
    is_refusal: bool,
    reason: Option<String>,
}

impl Reply {
    /// What a payload says; `None` for one that is no answer to a command. Only a refusal changes anything: that a
    /// device says "done" is no proof, its point is.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_slice(payload).ok()?;
        let id = CommandId(body.get("id")?.as_u64()?);
        let status = body.get("status")?.as_str()?;
        let is_refusal = ["refused", "rejected", "failed", "error"].contains(&status);
        let reason = body.get("reason").and_then(|reason| reason.as_str());
        let reason = reason.map(|reason| reason.chars().take(200).collect());
        Some(Reply { id, is_refusal, reason })
    }
}

/// Carries out commands until the hub goes down.
pub async fn run<B: Bus>(
    commands: Commands,
    bus: Arc<B>,
    mut work: mpsc::Receiver<Work>,
    going_down: impl Future<Output = ()> + Send,
) -> &'static str {
    let mut running = JoinSet::new();
    for id in commands.executing() {
        running.spawn(execute(commands.clone(), Arc::clone(&bus), id, Event::Passed));
    }
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(going_down);
    loop {
        tokio::select! {
            () = &mut going_down => return "commands",
            _ = looks.tick() => {
                blocking(&commands, |commands| {
                    commands.look();
                    Ok(())
                })
                .await;
            }
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Err(why) = ended {
                    error!(error = %why, "an execution panicked; its command is read again after a restart");
                }
            }
            Some(news) = work.recv() => match news {
                Work::Run(id) => {
                    running.spawn(execute(commands.clone(), Arc::clone(&bus), id, Event::Sent));
                }
                Work::Taken(id) => {
                    let taken = Event::Wrote(Outcome::Done);
                    blocking(&commands, move |commands| commands.advance(id, taken, |_| ())).await;
                }
                Work::Reply(device, reply) => {
                    blocking(&commands, move |commands| take_reply(commands, &device, reply)).await;
                }
            },
        }
    }
}

fn take_reply(commands: &Commands, device: &DeviceId, reply: Reply) -> Result<(), Failure> {
    if !reply.is_refusal || !commands.is_of(reply.id, device) {
        return Ok(());
    }
    let change = |command: &mut Command| {
        let Label { zh, en } = Cause::BlockedByProcess.label();
        let reason = reply.reason.as_deref().unwrap_or("?");
        command.text = Some(Label::new(format!("{zh}：{reason}"), format!("{en}: {reason}")));
    };
    commands.advance(reply.id, Event::Tripped(Cause::BlockedByProcess), change).map(drop)
}

/// Does something that touches the disk on a thread for that; logs why it could not be done.
async fn blocking<T: Send + 'static>(
    commands: &Commands,
    work: impl FnOnce(&Commands) -> Result<T, Failure> + Send + 'static,
) -> Option<T> {
    let commands = commands.clone();
    match tokio::task::spawn_blocking(move || work(&commands)).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(failure)) => {
            error!(error = %crate::error_chain(&failure), "a command's step cannot be written");
            None
        }
        Err(why) => {
            error!(error = %why, "a command's step panicked");
            None
        }
    }
}

/// What a look at the device brought.
struct Seen {
    event: Event,
    value: Option<f64>,
    refusal: Option<Refusal>,
    /// What the bus said.
    said: Option<String>,
}

impl From<Event> for Seen {
    fn from(event: Event) -> Self {
        Seen { event, value: None, refusal: None, said: None }
    }
}

async fn execute<B: Bus>(commands: Commands, bus: Arc<B>, id: CommandId, first: Event) {
    let mut seen = Seen::from(first);
    loop {
        let Some(turn) = advance(&commands, id, &seen).await else {
            sleep(DISK_PAUSE).await;
            continue;
        };
        if turn.state.is_end() {
            info!(command = id.0, state = turn.state.phase().as_str(), "a command has ended");
            return;
        }
        let Ok(command) = commands.find(id) else { return };
        let Ok(chosen) = commands.choose(&command.device, &command.command) else {
            seen = Event::Tripped(Cause::InconsistentParameters).into();
            continue;
        };
        let task = Task { commands: &commands, bus: &*bus, command: &command, chosen: &chosen };
        seen = task.act(turn).await;
    }
}

async fn advance(commands: &Commands, id: CommandId, seen: &Seen) -> Option<Turn> {
    let (event, value) = (seen.event, seen.value);
    let refusal = seen.refusal.clone();
    let said = seen.said.clone();
    let change = move |command: &mut Command| {
        command.value = value.or(command.value);
        if let Some(refusal) = refusal {
            command.text = Some(refusal.text);
            command.facts = refusal.facts;
        }
        if let Some(said) = said {
            command.text = Some(Label::same(&said));
        }
    };
    blocking(commands, move |commands| commands.advance(id, event, change)).await
}

/// A command with its device.
struct Task<'a, B> {
    commands: &'a Commands,
    bus: &'a B,
    command: &'a Command,
    chosen: &'a Chosen,
}

impl<B: Bus> Task<'_, B> {
    fn spec(&self) -> &CommandSpec {
        self.chosen.spec()
    }

    async fn act(&self, turn: Turn) -> Seen {
        match turn.effect {
            Effect::Send => Event::Sent.into(),
            Effect::Write => self.write().await,
            Effect::ReadEcho => self.echo().await,
            Effect::Look => self.look().await,
            Effect::None => {
                // A message on its way, or news that did not fit: wait for whatever moves next.
                let mut moves = self.commands.moves();
                let _ = timeout(LOOK_EVERY, moves.changed()).await;
                Event::Passed.into()
            }
        }
    }

    async fn write(&self) -> Seen {
        match self.spec().outgoing(self.command.id.0, self.command.target) {
            Some(Outgoing::Writes(writes)) => {
                let (outcome, said) = self.bus.write(&self.command.device, writes).await;
                Seen { said, ..Event::Wrote(outcome).into() }
            }
            // It is in the outbox already; the door says when the device has taken it.
            Some(Outgoing::Message(_)) => Event::Passed.into(),
            Some(Outgoing::Lorawan { .. }) | None => Event::Wrote(Outcome::NotSent).into(),
        }
    }

    async fn echo(&self) -> Seen {
        let Some(readback) = &self.spec().readback else {
            return Event::Echo(Echo::Unreadable).into();
        };
        let samples = self.read(&[readback.point]).await;
        let value = good(&samples, readback.point);
        let echo = match (value, self.command.target) {
            (Some(value), Some(target)) if is_close(value, target, readback.tolerance) => {
                Echo::Same
            }
            (Some(_), _) => Echo::Other,
            (None, _) => Echo::Unreadable,
        };
        if echo != Echo::Same {
            sleep(ECHO_EVERY).await;
        }
        Event::Echo(echo).into()
    }

    async fn look(&self) -> Seen {
        let Some(confirm) = &self.spec().confirm else {
            return Event::Position(Position::AtTarget).into();
        };
        let samples = self.read(&self.spec().watched()).await;
        let values = |point: PointIndex| {
            samples.iter().find(|(index, _)| *index == point).map(|(_, sample)| *sample)
        };
        let now = self.commands.around().clock.now();
        let seen = self.commands.situated(
            &self.chosen.station,
            self.spec(),
            self.command.target,
            now,
            &values,
            |situation| self.judge(situation, confirm),
        );
        if matches!(seen.event, Event::Position(Position::Short | Position::Unreadable)) {
            // Sooner when a stop or a reply has moved the command.
            let mut moves = self.commands.moves();
            let _ = timeout(confirm.every, moves.changed()).await;
        }
        seen
    }

    fn judge(&self, situation: &Situation<'_>, confirm: &Confirm) -> Seen {
        let sample = (situation.values)(confirm.point);
        let value = sample.filter(|s| s.quality == Quality::GOOD).map(|sample| sample.value);
        if let Some(refusal) = situation.tripped() {
            let event = Event::Tripped(refusal.cause);
            return Seen { value, refusal: Some(refusal), ..event.into() };
        }
        let is_settled = confirm
            .settled
            .as_ref()
            .is_none_or(|settled| situation.verdict(settled) == Verdict::Holds);
        let position = match value {
            None => Position::Unreadable,
            Some(value) => self.position(value, is_settled, confirm.goal),
        };
        Seen { value, ..Event::Position(position).into() }
    }

    fn position(&self, value: f64, is_settled: bool, goal: Goal) -> Position {
        let is_there = match goal {
            Goal::Equals(wanted) => value == wanted,
            Goal::Target { tolerance } => {
                let Some(target) = self.command.target else { return Position::Short };
                if is_close(value, target, tolerance) {
                    true
                } else {
                    let way = self.command.present.map_or(0.0, |present| target - present);
                    // Only what moved away from its start can have gone beyond.
                    if way != 0.0 && (value - target) * way.signum() > tolerance {
                        return Position::Beyond;
                    }
                    false
                }
            }
        };
        if is_there && is_settled { Position::AtTarget } else { Position::Short }
    }

    /// The newest samples of these points: asked for now where that is possible, else what is known since the order.
    async fn read(&self, points: &[PointIndex]) -> Vec<(PointIndex, Sample)> {
        let station = &self.chosen.station;
        let is_register = |index: &PointIndex| {
            let point = station.profile.points.get(usize::from(index.0));
            point.is_some_and(|point| matches!(point.read, Read::Register(_)))
        };
        let (asked, known): (Vec<_>, Vec<_>) =
            points.iter().copied().partition(|point| is_asked(station) && is_register(point));
        let mut samples = Vec::new();
        if !asked.is_empty() {
            let Some(readings) = self.bus.read(&self.command.device, &asked).await else {
                return samples;
            };
            let now = self.commands.around().clock.now();
            samples.extend(readings.iter().filter_map(|reading| self.sample(reading, now)));
        }
        let since = self.command.sent_at.unwrap_or(self.command.selected_at);
        samples.extend(known.into_iter().filter_map(|point| {
            let sample = self.commands.latest(station, point)?;
            (sample.received_at >= since || is_asked(station)).then_some((point, sample))
        }));
        samples
    }

    fn sample(&self, reading: &Reading, now: Timestamp) -> Option<(PointIndex, Sample)> {
        let point = self.chosen.station.profile.points.get(usize::from(reading.point.0))?;
        let (value, quality) = normalize::value_of(point, reading);
        Some((reading.point, Sample { observed_at: now, received_at: now, value, quality }))
    }
}

fn good(samples: &[(PointIndex, Sample)], point: PointIndex) -> Option<f64> {
    let found = samples.iter().find(|(index, _)| *index == point);
    found.filter(|(_, sample)| sample.quality == Quality::GOOD).map(|(_, sample)| sample.value)
}

/// A tolerance is meant in the decimals that people write: 0.1 includes 42.1 against 42.
fn is_close(value: f64, target: f64, tolerance: f64) -> bool {
    (value - target).abs() <= tolerance + 1e-9 * target.abs().max(1.0)
}
