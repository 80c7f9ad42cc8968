//! The one owner of the commands that have not ended.
//!
//! Everything that changes a command goes through here, under one lock: check, machine, disk, then the feed. Blocks for
//! short transactions; async callers use a blocking thread.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};

use super::check::{Fact, Permission, Refusal, Situation};
use super::execute::Work;
use super::machine::{Effect, Event, Limits, Machine, State, Step as MachineStep};
use super::tables::{self, Failure, Message, Step};
use super::{Command, CommandError, CommandEvent, CommandId, CommandQuery, Phase};
use crate::audit;
use crate::clock::Clock;
use crate::live::Feed;
use crate::model::{Cause, DeviceId, Label, PointIndex, Sample, Severity, Timestamp};
use crate::pipeline::{Present, Station};
use crate::profile::command::{Order, Outgoing};
use crate::profile::{CommandSpec, Source};
use crate::registry::User;

/// How long a selection lives (`domain.md`, section 3).
const SELECT_FOR: Duration = Duration::from_secs(30);

/// How long a bus may take for one write: it may have to connect first, and finish a slow answer of another unit.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// Orders and acknowledgements on their way to the executor: one per device that moves, and no town moves a thousand.
const QUEUE_WORK: usize = 1_024;

/// What the room needs of the others.
#[derive(Debug, Clone)]
pub struct Around {
    /// What is true now.
    pub present: Present,
    /// Where steps are told.
    pub feed: Feed,
    /// The time.
    pub clock: Clock,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Of whom.
    pub device: DeviceId,
    /// The command's name in the profile.
    pub command: String,
    /// Its target.
    pub target: Option<f64>,
    /// A note for the others.
    pub note: Option<String>,
}

/// The room's handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commands(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    around: Around,
    book: Mutex<Book>,
    work: mpsc::Sender<Work>,
    /// Counts messages that were put out, so that sessions look.
    mail: watch::Sender<u64>,
    /// Counts what was acknowledged or ended, so that executions look.
    moved: watch::Sender<u64>,
    counts: Counts,
}

#[derive(Debug)]
struct Book {
    db: Connection,
    open: BTreeMap<CommandId, Live>,
    mail: HashMap<DeviceId, Vec<Message>>,
    /// Messages that went to a socket once: the next time they are a repetition.
    sent: HashSet<CommandId>,
}

/// A command that has not ended.
#[derive(Debug, Clone)]
struct Live {
    command: Command,
    machine: Machine,
    nonce: Vec<u8>,
}

/// How many commands came to what.
#[derive(Debug, Default)]
struct Counts {
    selected: AtomicU64,
    refused: AtomicU64,
    ends: [AtomicU64; 4],
}

/// A device with one of its commands.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) station: Arc<Station>,
    place: usize,
}

/// What an execution has to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    pub(super) effect: Effect,
    pub(super) state: State,
}

impl Chosen {
    /// The command.
    pub(super) fn spec(&self) -> &CommandSpec {
        &self.station.profile.commands[self.place]
    }
}

impl Counts {
    /// The figures with their names.
    fn read(&self) -> Vec<(&'static str, u64)> {
        let [reached, timeout, fault, cancelled] = &self.ends;
        let all = [
            ("selected", &self.selected),
            ("refused", &self.refused),
            ("reached", reached),
            ("timeout", timeout),
            ("fault", fault),
            ("cancelled", cancelled),
        ];
        all.map(|(name, count)| (name, count.load(Ordering::Relaxed))).to_vec()
    }

    fn end(&self, phase: Phase) {
        let place = match phase {
            Phase::Reached => 0,
            Phase::Timeout => 1,
            Phase::Fault => 2,
            _ => 3,
        };
        self.ends[place].fetch_add(1, Ordering::Relaxed);
    }
}

impl Commands {
    /// Takes up what the last run left: what was executing will be read, what was only confirmed is taken back.
    ///
    /// # Errors
    /// When the tables cannot be read or written.
    pub fn open(db: Connection, around: Around) -> Result<(Self, mpsc::Receiver<Work>), Failure> {
        let stored = tables::open(&db)?;
        let mut mail: HashMap<DeviceId, Vec<Message>> = HashMap::new();
        for (device, message) in tables::messages(&db)? {
            mail.entry(device).or_default().push(message);
        }
        let (work, queue) = mpsc::channel(QUEUE_WORK);
        let commands = Commands(Arc::new(Inner {
            around,
            book: Mutex::new(Book { db, open: BTreeMap::new(), mail, sent: HashSet::new() }),
            work,
            mail: watch::Sender::new(0),
            moved: watch::Sender::new(0),
            counts: Counts::default(),
        }));
        for (command, nonce) in stored {
            commands.take_up(command, nonce)?;
        }
        Ok((commands, queue))
    }

    fn take_up(&self, command: Command, nonce: Vec<u8>) -> Result<(), Failure> {
        let now = self.now();
        let spec_of = |station: &Station| station.profile.command(&command.command).cloned();
        let station = self.0.around.present.station(&command.device);
        let spec = station.as_deref().and_then(spec_of);
        let limits = spec.as_ref().map(limits_of);
        let state = State::open(command.state, command.step.as_deref()).unwrap_or(State::Selected);
        let deadline = command.deadline.unwrap_or(now);
        let is_known = limits.is_some();
        let machine = Machine::stored(state, deadline, limits.unwrap_or(NO_LIMITS), now);
        let id = command.id;
        self.book().open.insert(id, Live { command, machine, nonce });
        let event = match (is_known, state) {
            (true, _) => Event::Restarted,
            // Its profile is gone: nobody can tell any more what it does.
            (false, State::Executing(_)) => Event::Tripped(Cause::InconsistentParameters),
            (false, _) => Event::Cancelled(Cause::InconsistentParameters),
        };
        self.advance(id, event, |_| ()).map(drop)
    }

    /// The commands that execute: each needs a task.
    pub(super) fn executing(&self) -> Vec<CommandId> {
        let book = self.book();
        let is_executing = |live: &&Live| live.machine.state().step().is_some();
        book.open.values().filter(is_executing).map(|live| live.command.id).collect()
    }

    pub(super) fn around(&self) -> &Around {
        &self.0.around
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic leaves at worst a command in memory that is newer on disk: a restart takes that up.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.0.around.clock.now()
    }

    /// How many commands came to what since the start.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.0.counts.read()
    }

    /// The command that a device has not ended yet; of several (an emergency beside others) the newest.
    pub fn running(&self, device: &DeviceId) -> Option<Command> {
        let book = self.book();
        let of_device = |live: &&Live| live.command.device == *device;
        book.open.values().rev().find(of_device).map(|live| live.command.clone())
    }

    /// A command.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find(&self, id: CommandId) -> Result<Command, CommandError> {
        let book = self.book();
        if let Some(live) = book.open.get(&id) {
            return Ok(live.command.clone());
        }
        tables::find(&book.db, id)?.ok_or(CommandError::NotFound(id))
    }

    /// Commands, newest first.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn list(&self, query: &CommandQuery) -> Result<Vec<Command>, CommandError> {
        Ok(tables::list(&self.book().db, query)?)
    }

    /// Everything that happened to a command, in order.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn history(&self, id: CommandId) -> Result<Vec<CommandEvent>, CommandError> {
        Ok(tables::history(&self.book().db, id)?)
    }

    /// What this user confirms a selected command with: single-use, and good for nobody and nothing else. `None` when
    /// the command waits for somebody else.
    pub fn challenge(&self, user: &User, id: CommandId) -> Option<String> {
        let book = self.book();
        let live = book.open.get(&id)?;
        let is_right_person =
            (live.command.selected_by == user.name) == live.command.second_person.is_none();
        let is_open = live.machine.state() == State::Selected;
        (is_open && is_right_person).then(|| challenge(live, &user.name))
    }

    /// Selects a command: checks everything and keeps the device for 30 s. An emergency command is sent at once.
    ///
    /// # Errors
    /// When a rule says no, the device has no such command, or the disk fails.
    pub fn select(&self, user: &User, ask: &Ask) -> Result<Command, CommandError> {
        let chosen = self.choose(&ask.device, &ask.command)?;
        let (station, spec) = (&chosen.station, chosen.spec());
        if spec.emergency {
            return self.send_emergency(user, station, spec, ask.note.clone());
        }
        let now = self.now();
        let judged = self.judge_selection(user, station, spec, ask.target, now);
        let step = Step { what: "select", actor: &user.name, at: now };
        let permission = match judged {
            Ok(permission) => permission,
            Err(refusal) => return Err(self.refuse(ask, refusal, step)),
        };
        let mut command = new_command(station, spec, ask, &permission, step);
        let machine = Machine::selected(limits_of(spec), now);
        command.deadline = Some(machine.deadline());
        let nonce: [u8; 16] = rand::random();
        let mut book = self.book();
        // Looked at again under the lock: two people may ask in the same moment.
        if let Err(refusal) = book.check_free(&ask.device) {
            drop(book);
            return Err(self.refuse(ask, refusal, step));
        }
        book.write(|tx| tables::insert(tx, &mut command, &nonce, step))?;
        let live = Live { command: command.clone(), machine, nonce: nonce.to_vec() };
        book.open.insert(command.id, live);
        drop(book);
        self.0.counts.selected.fetch_add(1, Ordering::Relaxed);
        self.tell(&command);
        Ok(command)
    }

    /// Confirms a selected command: everything is checked again, then it is sent.
    ///
    /// # Errors
    /// When it is the wrong person, the challenge is not theirs, it is too late, or a rule says no now.
    pub fn confirm(
        &self,
        user: &User,
        id: CommandId,
        given: &str,
    ) -> Result<Command, CommandError> {
        let command = self.find(id)?;
        let chosen = self.choose(&command.device, &command.command)?;
        let (station, spec) = (&chosen.station, chosen.spec());
        let now = self.now();
        let step = Step { what: "confirm", actor: &user.name, at: now };
        if let Err(refusal) = self.judge_person(user, station, spec, id, given, now) {
            return Err(self.refuse(&ask_of(&command), refusal, step));
        }
        let outcome = self.judge_again(&command, station, spec, now);
        match outcome {
            Ok(second_person) if second_person.is_some() && user.name == command.selected_by => {
                self.ask_second_person(id, second_person);
                let refusal = wrong_person(&command, true);
                Err(self.refuse(&ask_of(&command), refusal, step))
            }
            Ok(_) => {
                let confirmed = self.advance_by(step, id, Event::Confirmed, |command| {
                    command.confirmed_by = Some(user.name.clone());
                    command.confirmed_at = Some(now);
                })?;
                if confirmed.state == State::Confirmed {
                    self.work(Work::Run(id))?;
                    return self.find(id);
                }
                let refusal = Refusal::new(Cause::TimeLimitOver, "challenge", expired());
                Err(self.refuse(&ask_of(&command), refusal, step))
            }
            Err(refusal) => {
                let taken_back = Step { what: "cancel", actor: audit::HUB, at: now };
                self.advance_by(taken_back, id, Event::Cancelled(refusal.cause), |command| {
                    command.text = Some(refusal.text.clone());
                    command.facts.clone_from(&refusal.facts);
                })?;
                Err(self.refuse(&ask_of(&command), refusal, step))
            }
        }
    }

    /// Takes a command back; while it executes, by the profile's stop command.
    ///
    /// # Errors
    /// When it has ended, executes and has no stop, or the user may not.
    pub fn cancel(
        &self,
        user: &User,
        id: CommandId,
        note: Option<String>,
    ) -> Result<Command, CommandError> {
        let command = self.find(id)?;
        let chosen = self.choose(&command.device, &command.command)?;
        let (station, spec) = (&chosen.station, chosen.spec());
        let step = Step { what: "cancel", actor: &user.name, at: self.now() };
        if let Err(refusal) = check_authority(user, station, spec) {
            return Err(self.refuse(&ask_of(&command), refusal, step));
        }
        match command.state {
            Phase::Executing => {
                let stop = spec.stop.as_deref().and_then(|name| station.profile.command(name));
                let Some(stop) = stop else {
                    let text = Label::new(
                        "该命令没有停止指令",
                        "The profile has no stop for this command; it runs to its end",
                    );
                    let refusal = Refusal::new(Cause::NotSupported, "require", text);
                    return Err(self.refuse(&ask_of(&command), refusal, step));
                };
                self.send_emergency(user, station, stop, note)?;
                self.find(id)
            }
            state if state.is_end() => Err(self.refuse(&ask_of(&command), ended(state), step)),
            _ => {
                let event = Event::Cancelled(Cause::AbortionByCancel);
                self.advance_by(step, id, event, |command| command.note = note)?;
                self.find(id)
            }
        }
    }

    /// The emergency stop: one step, also while another command executes, which it ends.
    ///
    /// # Errors
    /// When the device has none, or the user may not.
    pub fn stop(
        &self,
        user: &User,
        device: &DeviceId,
        note: Option<String>,
    ) -> Result<Command, CommandError> {
        let station = self.station(device)?;
        let running = self.running(device);
        let profile = &station.profile;
        let own = running
            .and_then(|command| profile.command(&command.command)?.stop.as_deref())
            .and_then(|name| profile.command(name));
        let first = || profile.commands.iter().find(|command| command.emergency);
        let Some(spec) = own.or_else(first) else {
            let known = profile.commands.iter().map(|command| command.name.clone()).collect();
            return Err(CommandError::UnknownCommand { found: "stop".to_owned(), known });
        };
        self.send_emergency(user, &station, spec, note)
    }

    fn send_emergency(
        &self,
        user: &User,
        station: &Arc<Station>,
        spec: &CommandSpec,
        note: Option<String>,
    ) -> Result<Command, CommandError> {
        let now = self.now();
        let step = Step { what: "stop", actor: &user.name, at: now };
        let ask = Ask {
            device: station.device.id.clone(),
            command: spec.name.clone(),
            target: None,
            note,
        };
        let judged = check_authority(user, station, spec)
            .and_then(|()| self.check(station, spec, None, now));
        let permission = match judged {
            Ok(permission) => permission,
            Err(refusal) => return Err(self.refuse(&ask, refusal, step)),
        };
        let mut command = new_command(station, spec, &ask, &permission, step);
        command.state = Phase::Confirmed;
        command.confirmed_by = Some(user.name.clone());
        command.confirmed_at = Some(now);
        let mut machine = Machine::selected(limits_of(spec), now);
        // A fresh selection can be confirmed: it was made at this very moment.
        let _ = machine.apply(Event::Confirmed, now);
        let mut book = self.book();
        let mut others = book.stopped(&ask.device, now);
        book.write(|tx| {
            for other in &others {
                tables::update(tx, &other.command, Step { what: "stopped", ..step })?;
            }
            tables::insert(tx, &mut command, &[], step)
        })?;
        for other in others.drain(..) {
            self.0.counts.end(Phase::Cancelled);
            book.end(&other.command);
            self.tell(&other.command);
        }
        book.open.insert(command.id, Live { command: command.clone(), machine, nonce: Vec::new() });
        drop(book);
        self.0.moved.send_modify(|moved| *moved += 1);
        self.tell(&command);
        self.work(Work::Run(command.id))?;
        Ok(command)
    }

    fn work(&self, work: Work) -> Result<(), CommandError> {
        // Blocks while the queue is full, which callers may: they are on a thread for that.
        self.0.work.blocking_send(work).map_err(|_| CommandError::ShuttingDown)
    }

    fn station(&self, device: &DeviceId) -> Result<Arc<Station>, CommandError> {
        let station = self.0.around.present.station(device);
        station.ok_or_else(|| CommandError::UnknownDevice(device.clone()))
    }

    /// A device's station and its command.
    pub(super) fn choose(&self, device: &DeviceId, name: &str) -> Result<Chosen, CommandError> {
        let station = self.station(device)?;
        let commands = &station.profile.commands;
        match commands.iter().position(|command| command.name == name) {
            Some(place) => Ok(Chosen { station, place }),
            None => {
                let known = commands.iter().map(|command| command.name.clone()).collect();
                Err(CommandError::UnknownCommand { found: name.to_owned(), known })
            }
        }
    }

    fn judge_selection(
        &self,
        user: &User,
        station: &Arc<Station>,
        spec: &CommandSpec,
        target: Option<f64>,
        now: Timestamp,
    ) -> Result<Permission, Refusal> {
        check_authority(user, station, spec)?;
        self.book().check_free(&station.device.id)?;
        if matches!(spec.order, Order::Lorawan { .. }) {
            let text = Label::new(
                "LoRaWAN 下行尚不支持",
                "LoRaWAN downlinks are encoded but not carried out yet",
            );
            return Err(Refusal::new(Cause::NotSupported, "require", text));
        }
        let permission = self.check(station, spec, target, now)?;
        if spec.outgoing(0, target).is_none() {
            let text = Label::new("目标值无法写入", "The target does not fit what is written");
            return Err(Refusal::new(Cause::InvalidPosition, "range", text));
        }
        Ok(permission)
    }

    /// Whether this person may confirm this command with this challenge.
    fn judge_person(
        &self,
        user: &User,
        station: &Arc<Station>,
        spec: &CommandSpec,
        id: CommandId,
        given: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        check_authority(user, station, spec)?;
        let book = self.book();
        let Some(live) = book.open.get(&id) else {
            return Err(Refusal::new(Cause::ObjectNotSelected, "challenge", expired()));
        };
        if live.machine.state() != State::Selected {
            let cause = Cause::CommandAlreadyInExecution;
            return Err(Refusal::new(cause, "challenge", cause.label()));
        }
        let needs_another = live.command.second_person.is_some();
        if needs_another == (user.name == live.command.selected_by) {
            return Err(wrong_person(&live.command, needs_another));
        }
        let wanted = challenge(live, &user.name);
        if !bool::from(wanted.as_bytes().ct_eq(given.as_bytes())) {
            let text =
                Label::new("确认码无效", "The challenge is not the one for this user and command");
            return Err(Refusal::new(Cause::ObjectNotSelected, "challenge", text));
        }
        if now >= live.machine.deadline() {
            return Err(Refusal::new(Cause::TimeLimitOver, "challenge", expired()));
        }
        Ok(())
    }

    /// Everything again at the time of confirmation; why another person is needed, if one is.
    fn judge_again(
        &self,
        command: &Command,
        station: &Arc<Station>,
        spec: &CommandSpec,
        now: Timestamp,
    ) -> Result<Option<Label>, Refusal> {
        let permission = self.check(station, spec, command.target, now)?;
        if let (Some(then), Some(present), Some(arg)) =
            (command.present, permission.present, &spec.arg)
            && (present - then).abs() > arg.tolerance
        {
            let cause = Cause::ParameterChangeInExecution;
            return Err(Refusal::new(cause, "moved", cause.label())
                .with(Fact::number("selected_at", then, &arg.unit))
                .with(Fact::number("present", present, &arg.unit)));
        }
        Ok(permission.second_person)
    }

    fn ask_second_person(&self, id: CommandId, why: Option<Label>) {
        if let Some(live) = self.book().open.get_mut(&id) {
            live.command.second_person = why;
        }
    }

    fn check(
        &self,
        station: &Arc<Station>,
        spec: &CommandSpec,
        target: Option<f64>,
        now: Timestamp,
    ) -> Result<Permission, Refusal> {
        let present = |point: PointIndex| self.latest(station, point);
        self.situated(station, spec, target, now, &present, |situation| situation.check())
    }

    pub(super) fn latest(&self, station: &Station, point: PointIndex) -> Option<Sample> {
        let series = station.series.get(usize::from(point.0))?;
        self.0.around.present.latest(*series)
    }

    /// Asks something of a device's situation.
    pub(super) fn situated<T>(
        &self,
        station: &Station,
        spec: &CommandSpec,
        target: Option<f64>,
        now: Timestamp,
        values: &dyn Fn(PointIndex) -> Option<Sample>,
        ask: impl FnOnce(&Situation<'_>) -> T,
    ) -> T {
        let asset = station.asset.as_deref();
        let site = |name: &str| asset?.properties.get(name)?.as_f64();
        let has_critical = asset.is_some_and(|asset| {
            self.0.around.present.open_alerts().iter().any(|alert| {
                alert.active
                    && alert.severity == Severity::Critical
                    && alert.asset.as_ref() == Some(&asset.id)
            })
        });
        let profile = &station.profile;
        ask(&Situation { profile, spec, target, now, values, site: &site, has_critical })
    }

    /// Notes a refusal in the audit log, and makes it the answer.
    fn refuse(&self, ask: &Ask, refusal: Refusal, step: Step<'_>) -> CommandError {
        self.0.counts.refused.fetch_add(1, Ordering::Relaxed);
        let what = format!("{}_refused", step.what);
        let step = Step { what: &what, ..step };
        let note = |tx: &Transaction<'_>| {
            tables::refuse(tx, &ask.device, &ask.command, ask.target, &refusal, step)
        };
        match self.book().write(note) {
            Ok(()) => CommandError::Refused(refusal),
            Err(failure) => CommandError::Tables(failure),
        }
    }

    /// Moves a command on in the hub's own name.
    pub(super) fn advance(
        &self,
        id: CommandId,
        event: Event,
        change: impl FnOnce(&mut Command),
    ) -> Result<Turn, Failure> {
        let step = Step { what: "", actor: audit::HUB, at: self.now() };
        self.advance_by(step, id, event, change)
    }

    /// Moves a command on: machine, disk, memory, feed. `change` fills in what the step brought. A step without a name
    /// is named after the state that it leads to.
    fn advance_by(
        &self,
        step: Step<'_>,
        id: CommandId,
        event: Event,
        change: impl FnOnce(&mut Command),
    ) -> Result<Turn, Failure> {
        let mut book = self.book();
        let Some(live) = book.open.get(&id) else {
            // It has ended meanwhile: a stop, a cancellation.
            return Ok(Turn {
                effect: Effect::None,
                state: State::Cancelled(Cause::AbortionByCancel),
            });
        };
        let mut next = live.clone();
        let effect = next.machine.apply(event, step.at).unwrap_or(Effect::None);
        let state = next.machine.state();
        change(&mut next.command);
        if state == live.machine.state() {
            let is_news = next.command.value != live.command.value;
            if is_news {
                self.tell(&next.command);
            }
            book.open.insert(id, next);
            return Ok(Turn { effect, state });
        }
        settle(&mut next.command, &next.machine, step.at);
        let what = if step.what.is_empty() { step_name(state) } else { step.what };
        let message = match effect {
            Effect::Write => self.message(&next.command, next.machine.deadline()),
            _ => None,
        };
        book.write(|tx| {
            tables::update(tx, &next.command, Step { what, ..step })?;
            if let Some(message) = &message {
                tables::keep_message(tx, &next.command.device, message)?;
            }
            Ok(())
        })?;
        let command = next.command.clone();
        if let Some(message) = message {
            book.mail.entry(command.device.clone()).or_default().push(message);
            self.0.mail.send_modify(|mail| *mail += 1);
        }
        if state != State::Executing(MachineStep::Writing) {
            book.forget_mail(&command);
        }
        if state.is_end() {
            self.0.counts.end(command.state);
            book.end(&command);
        } else {
            book.open.insert(id, next);
        }
        drop(book);
        self.0.moved.send_modify(|moved| *moved += 1);
        self.tell(&command);
        Ok(Turn { effect, state })
    }

    /// The message that carries a command, when its device is told by one.
    fn message(&self, command: &Command, expires_at: Timestamp) -> Option<Message> {
        let station = self.0.around.present.station(&command.device)?;
        let spec = station.profile.command(&command.command)?;
        match spec.outgoing(command.id.0, command.target)? {
            Outgoing::Message(payload) => {
                Some(Message { command: command.id, payload, expires_at })
            }
            Outgoing::Writes(_) | Outgoing::Lorawan { .. } => None,
        }
    }

    /// What waits for a device, oldest first.
    pub fn mail(&self, device: &DeviceId) -> Vec<Message> {
        let now = self.now();
        let book = self.book();
        let waiting = book.mail.get(device).into_iter().flatten();
        waiting.filter(|message| now < message.expires_at).cloned().collect()
    }

    /// The devices for which anything waits.
    pub fn recipients(&self) -> Vec<DeviceId> {
        self.book().mail.keys().cloned().collect()
    }

    /// Tells when there may be new mail.
    pub fn mail_changes(&self) -> watch::Receiver<u64> {
        self.0.mail.subscribe()
    }

    /// Tells when a command moved.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// A message was written to its device's socket; whether that has taken it is not known.
    pub fn sent(&self, id: CommandId) {
        self.book().sent.insert(id);
    }

    /// Whether a message was written to a socket before, in this run of the hub.
    pub fn was_sent(&self, id: CommandId) -> bool {
        self.book().sent.contains(&id)
    }

    /// A device has taken a message. Does not block; returns at once.
    pub fn taken(&self, id: CommandId) {
        // When the hub goes down the message stays on disk, and the device gets it again.
        let _ = self.0.work.try_send(Work::Taken(id));
    }

    /// A device answered on its replies topic. Does not block; what is no answer to a command is ignored.
    pub fn reply(&self, device: &DeviceId, payload: &[u8]) {
        if let Some(reply) = super::execute::Reply::read(payload) {
            let _ = self.0.work.try_send(Work::Reply(device.clone(), reply));
        }
    }

    /// Whether this open command is this device's.
    pub(super) fn is_of(&self, id: CommandId, device: &DeviceId) -> bool {
        self.book().open.get(&id).is_some_and(|live| live.command.device == *device)
    }

    /// Ends selections whose time is over.
    pub(super) fn look(&self) {
        let is_selected = |live: &&Live| live.machine.state() == State::Selected;
        let selected: Vec<CommandId> =
            self.book().open.values().filter(is_selected).map(|live| live.command.id).collect();
        for id in selected {
            if let Err(failure) = self.advance(id, Event::Passed, |_| ()) {
                tracing::error!(error = %crate::error_chain(&failure), "a selection stays");
            }
        }
    }

    fn tell(&self, command: &Command) {
        match serde_json::to_string(command) {
            Ok(json) => self.0.around.feed.say("command", &json, command.asset_number),
            Err(error) => tracing::error!(%error, "a command has no JSON form"),
        }
    }
}

impl Book {
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Immediate: a deferred transaction that turns into a writer is refused at once when another one writes.
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }

    /// One command at a time per device.
    fn check_free(&self, device: &DeviceId) -> Result<(), Refusal> {
        let busy = self.open.values().find(|live| live.command.device == *device);
        let Some(live) = busy else { return Ok(()) };
        let cause = match live.machine.state() {
            State::Selected => Cause::ObjectAlreadySelected,
            _ => Cause::CommandAlreadyInExecution,
        };
        let Label { zh, en } = cause.label();
        let who = &live.command.selected_by;
        let id = live.command.id.0;
        let text = Label::new(
            format!("{zh}（{who}，命令 {id}）"),
            format!("{en} (by {who}, command {id})"),
        );
        Err(Refusal::new(cause, "busy", text).with(Fact::number("command", id as f64, "1")))
    }

    /// A device's open commands as they are once a stop was sent.
    fn stopped(&self, device: &DeviceId, at: Timestamp) -> Vec<Live> {
        let of_device = self.open.values().filter(|live| live.command.device == *device);
        of_device
            .filter_map(|live| {
                let mut live = live.clone();
                live.machine.apply(Event::Stopped, at).ok()?;
                settle(&mut live.command, &live.machine, at);
                Some(live)
            })
            .collect()
    }

    fn end(&mut self, command: &Command) {
        self.open.remove(&command.id);
        self.forget_mail(command);
    }

    fn forget_mail(&mut self, command: &Command) {
        self.sent.remove(&command.id);
        if let Some(mail) = self.mail.get_mut(&command.device) {
            mail.retain(|message| message.command != command.id);
            if mail.is_empty() {
                self.mail.remove(&command.device);
            }
        }
    }
}

/// Writes the machine's state into what people see.
fn settle(command: &mut Command, machine: &Machine, at: Timestamp) {
    let state = machine.state();
    let was_sent = command.sent_at.is_some();
    command.version += 1;
    command.state = state.phase();
    command.step = state.step().map(|step| step.as_str().to_owned());
    command.cause = state.cause();
    if state.is_end() {
        command.ended_at = Some(at);
        command.deadline = None;
        if command.text.is_none() {
            command.text = state.cause().map(Cause::label);
        }
    } else {
        command.deadline = Some(machine.deadline());
        if state.step().is_some() && !was_sent {
            command.sent_at = Some(at);
        }
    }
}

/// What the step that leads to a state is called in the audit log.
fn step_name(state: State) -> &'static str {
    match state {
        State::Executing(MachineStep::Writing) => "execute",
        State::Executing(MachineStep::InDoubt) => "doubt",
        State::Executing(MachineStep::Echo) => "written",
        State::Executing(MachineStep::Moving) => "echoed",
        end => end.phase().as_str(),
    }
}

fn new_command(
    station: &Station,
    spec: &CommandSpec,
    ask: &Ask,
    permission: &Permission,
    step: Step<'_>,
) -> Command {
    let asset = station.asset.as_ref();
    Command {
        id: CommandId(0),
        version: 1,
        device: station.device.id.clone(),
        asset: asset.map(|asset| asset.id.clone()),
        asset_number: asset.map(|asset| asset.number),
        command: spec.name.clone(),
        label: spec.label.clone(),
        unit: spec.arg.as_ref().map_or("1", |arg| &arg.unit).to_owned(),
        target: ask.target.filter(|_| spec.arg.is_some()),
        present: permission.present,
        value: permission.present,
        state: Phase::Selected,
        step: None,
        cause: None,
        text: None,
        facts: Vec::new(),
        emergency: spec.emergency,
        second_person: permission.second_person.clone().filter(|_| !spec.emergency),
        selected_by: step.actor.to_owned(),
        selected_at: step.at,
        confirmed_by: None,
        confirmed_at: None,
        sent_at: None,
        deadline: None,
        ended_at: None,
        note: ask.note.clone(),
    }
}

fn ask_of(command: &Command) -> Ask {
    Ask {
        device: command.device.clone(),
        command: command.command.clone(),
        target: command.target,
        note: None,
    }
}

/// Bound to the user, the device, the command, the target and the present value by a hash over all of them and a secret
/// of this command; each field with its length, so that none can run into the next.
fn challenge(live: &Live, user: &str) -> String {
    let Command { device, command, target, present, .. } = &live.command;
    let mut hash = Sha256::new();
    let number = |value: &Option<f64>| value.map_or(0, f64::to_bits).to_be_bytes();
    for field in [
        &live.nonce[..],
        user.as_bytes(),
        device.as_str().as_bytes(),
        command.as_bytes(),
        &number(target),
        &number(present),
    ] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the user's role and zones allow the command.
fn check_authority(user: &User, station: &Station, spec: &CommandSpec) -> Result<(), Refusal> {
    if !spec.role.rights().iter().all(|&right| user.role.may(right)) {
        let text = Label::new(
            format!("需要角色“{}”", spec.role.label().zh),
            format!("This needs the role {}, not {}", spec.role, user.role),
        );
        return Err(Refusal::new(Cause::NoAccessAuthority, "role", text));
    }
    let zone = station.asset.as_ref().and_then(|asset| asset.zone.as_ref());
    let is_inside =
        user.zones.as_ref().is_none_or(|zones| zone.is_some_and(|zone| zones.contains(zone)));
    if is_inside {
        return Ok(());
    }
    let text = Label::new("不在您的辖区内", "The asset is outside your zones");
    Err(Refusal::new(Cause::NoAccessAuthority, "zone", text))
}

fn wrong_person(command: &Command, needs_another: bool) -> Refusal {
    let text = match &command.second_person {
        Some(why) if needs_another => Label::new(
            format!("需要另一人确认：{}", why.zh),
            format!("Another person has to confirm: {}", why.en),
        ),
        _ if needs_another => {
            Label::new("需要另一人确认", "Another person has to confirm this command now")
        }
        _ => Label::new(
            format!("须由选择者 {} 确认", command.selected_by),
            format!("Only {}, who selected it, may confirm it", command.selected_by),
        ),
    };
    Refusal::new(Cause::NoAccessAuthority, "person", text)
}

fn ended(state: Phase) -> Refusal {
    let text = Label::new(
        format!("命令已结束（{}）", state.as_str()),
        format!("The command has ended ({})", state.as_str()),
    );
    Refusal::new(Cause::ObjectNotSelected, "ended", text)
}

fn expired() -> Label {
    Label::new("选择已过期，请重新选择", "The selection is over; select again")
}

/// For a command whose profile is gone: it ends at once, so no time matters.
const NO_LIMITS: Limits = Limits {
    select: Duration::ZERO,
    deliver: Duration::ZERO,
    echo: None,
    reach: Duration::ZERO,
    lost: Duration::ZERO,
    is_stored: false,
};

fn limits_of(spec: &CommandSpec) -> Limits {
    let is_stored = !matches!(spec.order, Order::Registers(_));
    let reach = spec.confirm.as_ref().map_or(Duration::ZERO, |confirm| confirm.within);
    let lost = spec.confirm.as_ref().map_or(Duration::ZERO, |confirm| confirm.lost_after);
    Limits {
        select: SELECT_FOR,
        deliver: if is_stored { spec.deliver } else { WRITE_WITHIN },
        echo: spec.readback.as_ref().map(|readback| readback.within),
        reach,
        // A device that publishes when it likes is not lost because it is silent for a while.
        lost: if is_stored { reach } else { lost },
        is_stored,
    }
}

/// Whether a device can be asked at any time.
pub(super) fn is_asked(station: &Station) -> bool {
    matches!(station.profile.source, Source::Modbus(_))
}
