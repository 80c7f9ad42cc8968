//! One command's life as a state machine: events in, effects out. No I/O, no clock.
//!
//! ```text
//! (idle) -> SELECTED --confirm--> CONFIRMED --sent--> EXECUTING: writing -> echo -> moving -> REACHED
//!              |                     |                   |  \-> in doubt -/        |
//!              +--cancel, 30 s-------+-> CANCELLED       +--> TIMEOUT | FAULT | CANCELLED
//! ```
//!
//! What stays true whatever happens: the order to write is given once in a command's life; it is given only after
//! EXECUTING was entered (the caller has that on disk first); only the point itself makes REACHED; an end is an end.

use std::time::Duration;

use super::Phase;
use crate::model::{Cause, Timestamp};

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Checked, and waiting to be confirmed.
    Selected,
    /// Confirmed by the right person; nothing was sent.
    Confirmed,
    /// The device was told, or is being told.
    Executing(Step),
    /// The point itself says that it is where it was sent.
    Reached,
    /// It did not come about in its time.
    Timeout(Cause),
    /// Something prevented it.
    Fault(Cause),
    /// A person, a newer command or a selection's end took it back.
    Cancelled(Cause),
}

/// What an executing command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The write's outcome.
    Writing,
    /// The setpoint, to learn whether a write of unknown outcome was taken. Nothing is sent again.
    InDoubt,
    /// The setpoint's echo.
    Echo,
    /// The point itself.
    Moving,
}

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The right person confirmed it, and every check held again.
    Confirmed,
    /// It is taken back before anything was sent.
    Cancelled(Cause),
    /// It is on disk as EXECUTING.
    Sent,
    /// The write has an outcome.
    Wrote(Outcome),
    /// The setpoint was read.
    Echo(Echo),
    /// The point itself was looked at.
    Position(Position),
    /// A condition that must hold while it executes does not.
    Tripped(Cause),
    /// A stop was sent to the device: this command is over.
    Stopped,
    /// Time passed.
    Passed,
    /// The hub began anew and found the command on disk.
    Restarted,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The device took it.
    Done,
    /// Nothing reached the device.
    NotSent,
    /// The device said no.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What the setpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// What was written.
    Same,
    /// Something else.
    Other,
    /// It could not be read.
    Unreadable,
}

/// What the point itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the target, and at rest if the profile asks for that.
    AtTarget,
    /// On its way, or not moving.
    Short,
    /// Beyond the target.
    Beyond,
    /// It could not be read, or its value is not Good.
    Unreadable,
}

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Wait.
    None,
    /// Write EXECUTING to the disk, then say [`Event::Sent`].
    Send,
    /// Tell the device. Given once in a command's life.
    Write,
    /// Read the setpoint.
    ReadEcho,
    /// Look at the point itself.
    Look,
}

/// How long a command's steps may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A selection lives this long.
    pub select: Duration,
    /// A device that sleeps may take its order this late.
    pub deliver: Duration,
    /// The setpoint must echo within this; `None` when there is none to read.
    pub echo: Option<Duration>,
    /// The point must say so within this.
    pub reach: Duration,
    /// The link counts as lost when the point could not be read for this long.
    pub lost: Duration,
    /// Whether an order waits on disk until the device has taken it: then a restart does not interrupt its delivery.
    pub is_stored: bool,
}

/// What does not fit the state that the command is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command is {state}; this is not possible now ({cause})")]
pub struct NotNow {
    /// The state, as people know it.
    pub state: &'static str,
    /// Why not.
    pub cause: Cause,
}

/// A command's state and its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    state: State,
    deadline: Timestamp,
    /// When the device last answered while it was executing.
    answered: Timestamp,
    /// What the last look at the setpoint said.
    echo: Option<Echo>,
    limits: Limits,
}

impl State {
    /// The state as people know it.
    pub fn phase(self) -> Phase {
        match self {
            State::Selected => Phase::Selected,
            State::Confirmed => Phase::Confirmed,
            State::Executing(_) => Phase::Executing,
            State::Reached => Phase::Reached,
            State::Timeout(_) => Phase::Timeout,
            State::Fault(_) => Phase::Fault,
            State::Cancelled(_) => Phase::Cancelled,
        }
    }

    /// What an executing command waits for.
    pub fn step(self) -> Option<Step> {
        if let State::Executing(step) = self { Some(step) } else { None }
    }

    /// Why it ended as it did; `None` while it has not, and for REACHED.
    pub fn cause(self) -> Option<Cause> {
        match self {
            State::Timeout(cause) | State::Fault(cause) | State::Cancelled(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        self.phase().is_end()
    }

    /// An unended state as it stands on disk; `None` for what this version never writes there.
    pub(super) fn open(phase: Phase, step: Option<&str>) -> Option<Self> {
        match phase {
            Phase::Selected => Some(State::Selected),
            Phase::Confirmed => Some(State::Confirmed),
            Phase::Executing => Step::read(step?).map(State::Executing),
            Phase::Reached | Phase::Timeout | Phase::Fault | Phase::Cancelled => None,
        }
    }
}

impl Step {
    /// The step's spelling in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Writing => "writing",
            Step::InDoubt => "in_doubt",
            Step::Echo => "echo",
            Step::Moving => "moving",
        }
    }

    fn read(text: &str) -> Option<Self> {
        let all = [Step::Writing, Step::InDoubt, Step::Echo, Step::Moving];
        all.into_iter().find(|step| step.as_str() == text)
    }
}

impl Machine {
    /// A command that was just selected.
    pub fn selected(limits: Limits, at: Timestamp) -> Self {
        let deadline = at.plus(limits.select);
        Machine { state: State::Selected, deadline, answered: at, echo: None, limits }
    }

    /// A command as it stood on disk.
    pub(super) fn stored(state: State, deadline: Timestamp, limits: Limits, at: Timestamp) -> Self {
        Machine { state, deadline, answered: at, echo: None, limits }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the state it is in is over; of no meaning once it has ended.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Moves on, and says what is to be done.
    ///
    /// # Errors
    /// When the event does not fit the state; nothing has changed then.
    pub fn apply(&mut self, event: Event, at: Timestamp) -> Result<Effect, NotNow> {
        match (self.state, event) {
            (State::Selected, Event::Confirmed) if at >= self.deadline => {
                self.end(State::Cancelled(Cause::TimeLimitOver))
            }
            (State::Selected, Event::Confirmed) => {
                self.state = State::Confirmed;
                Ok(Effect::Send)
            }
            (State::Selected | State::Confirmed, Event::Cancelled(cause)) => {
                self.end(State::Cancelled(cause))
            }
            (State::Selected | State::Confirmed | State::Executing(_), Event::Stopped) => {
                self.end(State::Cancelled(Cause::AbortionByCancel))
            }
            (State::Selected, Event::Passed) => {
                self.end_when_due(at, State::Cancelled(Cause::TimeLimitOver))
            }
            (State::Selected, Event::Restarted) => Ok(Effect::None),
            // Confirmed is on disk before EXECUTING is: nothing was sent, and who confirmed it may have gone home.
            (State::Confirmed, Event::Restarted) => {
                self.end(State::Cancelled(Cause::AbortionByCancel))
            }
            (State::Confirmed, Event::Passed) => Ok(Effect::Send),
            (State::Confirmed, Event::Sent) => {
                self.enter(Step::Writing, self.limits.deliver, at);
                self.answered = at;
                Ok(Effect::Write)
            }
            (State::Executing(_), Event::Tripped(cause)) => self.end(State::Fault(cause)),
            (State::Executing(step), event) => self.execute(step, event, at),
            (state, event) => Err(not_now(state, event)),
        }
    }

    fn execute(&mut self, step: Step, event: Event, at: Timestamp) -> Result<Effect, NotNow> {
        match (step, event) {
            (Step::Writing, Event::Wrote(Outcome::Done)) => Ok(self.expect_echo(Step::Echo, at)),
            (Step::Writing, Event::Wrote(Outcome::Unknown)) => {
                Ok(self.expect_echo(Step::InDoubt, at))
            }
            (Step::Writing, Event::Wrote(Outcome::NotSent)) => {
                self.end(State::Fault(Cause::AbortionByCommunicationLoss))
            }
            (Step::Writing, Event::Wrote(Outcome::Refused)) => {
                self.end(State::Fault(Cause::BlockedByProcess))
            }
            (Step::Writing, Event::Restarted) if self.limits.is_stored => Ok(Effect::None),
            (_, Event::Restarted) => {
                self.answered = at;
                Ok(self.expect_echo(Step::InDoubt, at))
            }
            (Step::InDoubt | Step::Echo, Event::Echo(Echo::Same)) => Ok(self.start_moving(at)),
            // A proven old value: the write was lost, and whether to send it again is a person's decision.
            (Step::InDoubt, Event::Echo(Echo::Other)) => {
                self.end(State::Fault(Cause::AbortionByCommunicationLoss))
            }
            (Step::InDoubt | Step::Echo, Event::Echo(echo)) => {
                self.echo = Some(echo);
                self.pass(step, at)
            }
            (Step::Moving, Event::Position(position)) => self.look(position, at),
            (step, Event::Passed) => self.pass(step, at),
            (step, event) => Err(not_now(State::Executing(step), event)),
        }
    }

    fn look(&mut self, position: Position, at: Timestamp) -> Result<Effect, NotNow> {
        match position {
            Position::AtTarget => return self.end(State::Reached),
            Position::Beyond => return self.end(State::Fault(Cause::EndedWithOvershoot)),
            Position::Short => self.answered = at,
            Position::Unreadable => {}
        }
        self.pass(Step::Moving, at)
    }

    /// Time passed in an executing step.
    fn pass(&mut self, step: Step, at: Timestamp) -> Result<Effect, NotNow> {
        let is_lost = step == Step::Moving && at.since(self.answered) >= self.limits.lost;
        let is_due = at >= self.deadline;
        let is_silent = step == Step::InDoubt || self.echo == Some(Echo::Unreadable);
        if is_lost || (is_due && step != Step::Moving && step != Step::Writing && is_silent) {
            return self.end(State::Fault(Cause::AbortionByCommunicationLoss));
        }
        if is_due {
            return self.end(State::Timeout(Cause::TimeLimitOver));
        }
        Ok(match step {
            Step::Writing => Effect::None,
            Step::InDoubt | Step::Echo => Effect::ReadEcho,
            Step::Moving => Effect::Look,
        })
    }

    fn expect_echo(&mut self, step: Step, at: Timestamp) -> Effect {
        match self.limits.echo {
            Some(within) => {
                self.enter(step, within, at);
                Effect::ReadEcho
            }
            // There is no setpoint to ask: only the point itself can tell.
            None => self.start_moving(at),
        }
    }

    fn start_moving(&mut self, at: Timestamp) -> Effect {
        self.enter(Step::Moving, self.limits.reach, at);
        self.answered = at;
        self.echo = None;
        Effect::Look
    }

    fn enter(&mut self, step: Step, within: Duration, at: Timestamp) {
        self.state = State::Executing(step);
        self.deadline = at.plus(within);
    }

    fn end_when_due(&mut self, at: Timestamp, end: State) -> Result<Effect, NotNow> {
        if at >= self.deadline { self.end(end) } else { Ok(Effect::None) }
    }

    fn end(&mut self, end: State) -> Result<Effect, NotNow> {
        self.state = end;
        Ok(Effect::None)
    }
}

fn not_now(state: State, event: Event) -> NotNow {
    let cause = match (state, event) {
        (State::Confirmed | State::Executing(_), _) => Cause::CommandAlreadyInExecution,
        _ => Cause::ObjectNotSelected,
    };
    NotNow { state: state.phase().as_str(), cause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        select: Duration::from_secs(30),
        deliver: Duration::from_secs(10),
        echo: Some(Duration::from_secs(2)),
        reach: Duration::from_secs(180),
        lost: Duration::from_secs(30),
        is_stored: false,
    };

    /// Events with the seconds at which they come, and the state after the last.
    fn check(limits: Limits, events: &[(i64, Event)], expected: State) {
        let mut machine = Machine::selected(limits, Timestamp::EPOCH);
        for &(at, event) in events {
            let before = machine;
            let answer = machine.apply(event, Timestamp::from_secs(at));
            assert!(answer.is_ok(), "{event:?} in {:?}: {answer:?}", before.state);
        }
        assert_eq!(machine.state, expected, "{events:?}");
    }

    const MOVING: [(i64, Event); 4] = [
        (5, Event::Confirmed),
        (5, Event::Sent),
        (5, Event::Wrote(Outcome::Done)),
        (6, Event::Echo(Echo::Same)),
    ];

    fn moving_then(more: &[(i64, Event)], expected: State) {
        check(LIMITS, &[&MOVING, more].concat(), expected);
    }

    #[test]
    fn the_straight_way_ends_where_the_point_says_so() {
        moving_then(&[], State::Executing(Step::Moving));
        moving_then(
            &[(20, Event::Position(Position::Short)), (40, Event::Position(Position::AtTarget))],
            State::Reached,
        );
    }

    #[test]
    fn a_selection_lives_thirty_seconds() {
        check(LIMITS, &[(29, Event::Passed)], State::Selected);
        let over = State::Cancelled(Cause::TimeLimitOver);
        check(LIMITS, &[(30, Event::Passed)], over);
        check(LIMITS, &[(30, Event::Confirmed)], over);
        let cancelled = State::Cancelled(Cause::AbortionByCancel);
        check(LIMITS, &[(3, Event::Cancelled(Cause::AbortionByCancel))], cancelled);
    }

    #[test]
    fn a_gate_that_stops_short_times_out_and_one_that_goes_beyond_is_a_fault() {
        let short: Vec<_> =
            (1..=19).map(|i| (6 + i * 10, Event::Position(Position::Short))).collect();
        moving_then(&short[..17], State::Executing(Step::Moving));
        moving_then(&short[..18], State::Timeout(Cause::TimeLimitOver));
        moving_then(
            &[(9, Event::Position(Position::Beyond))],
            State::Fault(Cause::EndedWithOvershoot),
        );
    }

    #[test]
    fn a_trip_a_key_and_a_lost_link_are_faults() {
        for cause in [Cause::AbortionByTrip, Cause::BlockedByMode] {
            moving_then(&[(9, Event::Tripped(cause))], State::Fault(cause));
        }
        let silent = |at| (at, Event::Position(Position::Unreadable));
        moving_then(&[silent(10), silent(35)], State::Executing(Step::Moving));
        moving_then(&[silent(10), silent(36)], State::Fault(Cause::AbortionByCommunicationLoss));
    }

    #[test]
    fn a_write_of_unknown_outcome_is_read_and_never_sent_again() {
        let doubt = [(5, Event::Confirmed), (5, Event::Sent), (6, Event::Wrote(Outcome::Unknown))];
        let then = |event| [&doubt[..], &[(7, event)]].concat();
        check(LIMITS, &doubt, State::Executing(Step::InDoubt));
        check(LIMITS, &then(Event::Echo(Echo::Same)), State::Executing(Step::Moving));
        let lost = State::Fault(Cause::AbortionByCommunicationLoss);
        check(LIMITS, &then(Event::Echo(Echo::Other)), lost);
        let unreadable = then(Event::Echo(Echo::Unreadable));
        check(LIMITS, &unreadable, State::Executing(Step::InDoubt));
        check(LIMITS, &[&unreadable[..], &[(9, Event::Passed)]].concat(), lost);
    }

    #[test]
    fn a_restart_reads_what_was_executing_and_takes_back_what_was_not_sent() {
        check(LIMITS, &[(1, Event::Restarted)], State::Selected);
        check(
            LIMITS,
            &[(1, Event::Confirmed), (2, Event::Restarted)],
            State::Cancelled(Cause::AbortionByCancel),
        );
        moving_then(&[(60, Event::Restarted)], State::Executing(Step::InDoubt));
        let stored = Limits { is_stored: true, ..LIMITS };
        let sent = [(1, Event::Confirmed), (2, Event::Sent), (3, Event::Restarted)];
        check(stored, &sent, State::Executing(Step::Writing));
        check(LIMITS, &sent, State::Executing(Step::InDoubt));
    }

    fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
        let event = prop::sample::select(vec![
            Event::Confirmed,
            Event::Cancelled(Cause::AbortionByCancel),
            Event::Sent,
            Event::Wrote(Outcome::Done),
            Event::Wrote(Outcome::NotSent),
            Event::Wrote(Outcome::Refused),
            Event::Wrote(Outcome::Unknown),
            Event::Echo(Echo::Same),
            Event::Echo(Echo::Other),
            Event::Echo(Echo::Unreadable),
            Event::Position(Position::AtTarget),
            Event::Position(Position::Short),
            Event::Position(Position::Beyond),
            Event::Position(Position::Unreadable),
            Event::Tripped(Cause::AbortionByTrip),
            Event::Stopped,
            Event::Passed,
            Event::Restarted,
        ]);
        prop::collection::vec((0..60_i64, event), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn whatever_happens_it_is_written_once_at_most_and_an_end_is_an_end(
            events in events(), is_stored: bool, has_echo: bool,
        ) {
            let echo = LIMITS.echo.filter(|_| has_echo);
            let limits = Limits { is_stored, echo, ..LIMITS };
            let mut machine = Machine::selected(limits, Timestamp::EPOCH);
            let (mut writes, mut at) = (0, 0);
            for (pause, event) in events {
                at += pause;
                let before = machine;
                let answer = machine.apply(event, Timestamp::from_secs(at));
                if before.state.is_end() {
                    prop_assert_eq!(machine, before);
                }
                if answer == Ok(Effect::Write) {
                    writes += 1;
                    prop_assert_eq!(machine.state, State::Executing(Step::Writing));
                }
                if answer.is_err() {
                    prop_assert_eq!(machine, before, "a refused event changes nothing");
                }
                if machine.state == State::Reached && before.state != State::Reached {
                    prop_assert_eq!(event, Event::Position(Position::AtTarget));
                    prop_assert_eq!(before.state, State::Executing(Step::Moving));
                }
            }
            prop_assert!(writes <= 1);
        }

        #[test]
        fn nothing_waits_for_ever(events in events()) {
            let mut machine = Machine::selected(LIMITS, Timestamp::EPOCH);
            for (at, event) in events {
                let _ = machine.apply(event, Timestamp::from_secs(at));
            }
            for hour in 1..6 {
                let at = Timestamp::from_secs(hour * 3_600);
                if machine.apply(Event::Passed, at) == Ok(Effect::Send) {
                    machine.apply(Event::Sent, at).unwrap();
                }
            }
            prop_assert!(machine.state.is_end(), "{:?}", machine.state);
        }
    }
}
