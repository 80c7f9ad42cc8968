//! The actor of one bus: one connection, one request in flight, every unit in its turn.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::model::{PointIndex, Reading, Timestamp};
use crate::profile::registers;

use super::connection::{Connect, Connection, Fault, Values};
use super::planner::Block;
use super::schedule::{Schedule, Turn, hash};
use super::stats::{LastError, StatsCell};
use super::{Endpoint, PollSink, UnitPlan};

/// How long opening a connection may take, name lookup included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The units of one endpoint, sorted by device.
pub(super) type BusPlan = Arc<[Arc<UnitPlan>]>;

/// What the bus does next.
enum Next {
    /// A poll is due.
    Poll(Turn),
    // Commands get their variant here (`Write`, with a channel for the result): `Bus::next` looks at their
    // queue before the schedule, and `Bus::poll` between two blocks. A write is never asked again blindly.
}

/// One endpoint's connection and the units behind it. Runs until the sender of its plan is dropped.
///
/// Its async methods take `&mut self` even where they change nothing: tokio-modbus's context is not `Sync`.
pub(super) struct Bus<S, C> {
    endpoint: Endpoint,
    connector: Arc<C>,
    sink: Arc<S>,
    clock: Clock,
    stats: StatsCell,
    plan: watch::Receiver<BusPlan>,
    schedule: Schedule,
    connection: Option<Connection>,
    /// Connections opened so far.
    opened: u64,
    /// When the last request ended, and the quiet time that its unit wants after it.
    last_request: Option<(Instant, Duration)>,
}

impl<S: PollSink, C: Connect> Bus<S, C> {
    pub(super) fn new(
        endpoint: Endpoint,
        plan: watch::Receiver<BusPlan>,
        stats: StatsCell,
        connector: Arc<C>,
        sink: Arc<S>,
        clock: Clock,
    ) -> Self {
        let schedule = Schedule::new(hash(endpoint.as_str()));
        let (connection, opened, last_request) = (None, 0, None);
        Bus {
            endpoint,
            connector,
            sink,
            clock,
            stats,
            plan,
            schedule,
            connection,
            opened,
            last_request,
        }
    }

    /// Polls until the sender of the plan is dropped. A poll that is under way then is given up: what it has
    /// read so far was promised to nobody.
    pub(super) async fn run(mut self) {
        let mut plan = self.plan.clone();
        let stopped = async move { while plan.changed().await.is_ok() {} };
        tokio::pin!(stopped);
        self.reconcile();
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                next = self.next() => match next {
                    Next::Poll(turn) => tokio::select! {
                        biased;
                        () = &mut stopped => break,
                        () = self.poll(turn) => {}
                    },
                },
            }
        }
        self.stats.edit(|stats| stats.connected = false);
    }

    /// Waits for the next thing to do and takes over new plans meanwhile.
    async fn next(&mut self) -> Next {
        loop {
            let next = self.schedule.next();
            let due = async {
                match next {
                    Some((at, turn)) => {
                        sleep_until(at).await;
                        turn
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.plan.changed() => match changed {
                    Ok(()) => self.reconcile(),
                    // The actor is being stopped; `run` sees it as well and does not come back here.
                    Err(_) => pending().await,
                },
                turn = due => return Next::Poll(turn),
            }
        }
    }

    fn reconcile(&mut self) {
        let plan = Arc::clone(&self.plan.borrow_and_update());
        self.schedule.reconcile(&plan, Instant::now());
        self.stats.list_units(&plan);
    }

    /// Asks for every block of a poll, hands on what came, and tells the schedule how it went.
    async fn poll(&mut self, turn: Turn) {
        let (unit, index) = self.schedule.of(turn);
        let poll = &unit.plan.polls[index];
        let mut readings = Vec::with_capacity(poll.points().count());
        let mut received_at = None;
        let mut missed = None;
        for block in &poll.blocks {
            match self.ask(&unit, block).await {
                Ok(values) => decode(block, &values, &mut readings),
                Err(fault) if fault.is_answer() => {
                    readings.extend(block.slots.iter().map(|slot| comm_fault(slot.point)));
                }
                Err(fault) => {
                    missed = Some(fault);
                    break;
                }
            }
            received_at = Some(self.clock.now());
        }
        if missed.is_none() {
            readings.extend(poll.forbidden.iter().copied().map(comm_fault));
            self.completed(turn, &unit);
        }
        if !readings.is_empty() {
            let received_at = received_at.unwrap_or_else(|| self.clock.now());
            self.sink.deliver(&unit.device, received_at, &readings).await;
        }
        match missed {
            None => {}
            Some(fault @ Fault::Unreachable(_)) => self.unreachable(&fault).await,
            Some(fault) => self.missed(turn, &unit, &fault).await,
        }
    }

    fn completed(&mut self, turn: Turn, unit: &UnitPlan) {
        let done = self.schedule.completed(turn, Instant::now());
        self.stats.edit_unit(&unit.device, |stats| {
            stats.up = Some(true);
            stats.overruns += done.overruns;
            stats.backoff_until = None;
        });
        if done.came_up {
            tracing::info!(device.id = %unit.device, endpoint = %self.endpoint, unit = unit.unit, "unit answers");
            self.sink.link(&unit.device, true);
        }
    }

    async fn missed(&mut self, turn: Turn, unit: &UnitPlan, fault: &Fault) {
        let missed = self.schedule.missed(turn, Instant::now());
        let now = self.clock.now();
        self.stats.edit_unit(&unit.device, |stats| {
            stats.backoff_until = Some(now.plus(missed.backoff));
        });
        if missed.went_down {
            self.take_down(unit, now, fault).await;
        }
    }

    async fn unreachable(&mut self, fault: &Fault) {
        let (backoff, went_down) = self.schedule.unreachable(Instant::now());
        let now = self.clock.now();
        self.stats.edit(|stats| {
            stats.backoff_until = Some(now.plus(backoff));
            stats.last_error = Some(LastError::new(now, fault));
        });
        for unit in went_down {
            self.take_down(&unit, now, fault).await;
        }
    }

    /// Tells the hub, once, that nothing is known of a unit any more: not only the points that were due,
    /// because the others will not be asked for either while it is left alone.
    async fn take_down(&mut self, unit: &UnitPlan, now: Timestamp, fault: &Fault) {
        let error = LastError::new(now, fault).message;
        tracing::warn!(device.id = %unit.device, endpoint = %self.endpoint, unit = unit.unit, error, "unit is down");
        self.stats.edit_unit(&unit.device, |stats| stats.up = Some(false));
        self.sink.link(&unit.device, false);
        let faults: Vec<Reading> = unit.plan.points().map(comm_fault).collect();
        self.sink.deliver(&unit.device, now, &faults).await;
    }

    /// One question. Peers close connections that were idle for long, and a read does no harm: a question
    /// that is lost with an old connection is asked once more on a new one.
    async fn ask(&mut self, unit: &UnitPlan, block: &Block) -> Result<Values, Fault> {
        let was_idle = self.connection.as_ref().is_some_and(|open| !open.is_fresh());
        match self.ask_once(unit, block).await {
            Err(Fault::Lost) if was_idle => self.ask_once(unit, block).await,
            result => result,
        }
    }

    async fn ask_once(&mut self, unit: &UnitPlan, block: &Block) -> Result<Values, Fault> {
        let connection = match self.connection.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        self.keep_quiet(unit.plan.min_request_gap).await;
        let asked_at = Instant::now();
        let (connection, result) = connection.read(unit.unit, block, unit.plan.timeout).await;
        let answered_at = Instant::now();
        self.connection = connection;
        self.last_request = Some((answered_at, unit.plan.min_request_gap));
        self.stats.busy(asked_at, answered_at);
        self.count(unit, result.as_ref().err());
        result
    }

    async fn connect(&mut self) -> Result<Connection, Fault> {
        let opening = timeout(CONNECT_TIMEOUT, self.connector.connect(self.endpoint.as_str()));
        match opening.await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(stream) => {
                self.schedule.reachable();
                self.opened += 1;
                let is_reconnect = u64::from(self.opened > 1);
                self.stats.edit(|stats| {
                    stats.connected = true;
                    stats.reconnects += is_reconnect;
                    stats.backoff_until = None;
                });
                Ok(Connection::new(stream))
            }
            Err(error) => {
                self.stats.edit(|stats| stats.connect_failures += 1);
                Err(Fault::Unreachable(error))
            }
        }
    }

    /// Waits until the bus has been quiet for as long as the last unit and the next one want.
    async fn keep_quiet(&mut self, gap: Duration) {
        if let Some((ended_at, last_gap)) = self.last_request {
            sleep_until(ended_at + gap.max(last_gap)).await;
        }
    }

    fn count(&self, unit: &UnitPlan, fault: Option<&Fault>) {
        let connected = self.connection.is_some();
        let error = fault.map(|fault| LastError::new(self.clock.now(), fault));
        self.stats.edit(|stats| {
            stats.requests += 1;
            stats.connected = connected;
        });
        self.stats.edit_unit(&unit.device, |stats| {
            stats.requests += 1;
            match fault {
                None => return,
                Some(Fault::Timeout(_)) => stats.timeouts += 1,
                Some(Fault::Exception(_) | Fault::SilentBehindGateway(_)) => stats.exceptions += 1,
                Some(Fault::Lost | Fault::Unreachable(_)) => stats.lost_connections += 1,
                Some(Fault::Malformed(_) | Fault::Foreign(_) | Fault::Length { .. }) => {
                    stats.refused_answers += 1;
                }
            }
            stats.last_error = error;
        });
    }
}

fn comm_fault(point: PointIndex) -> Reading {
    Reading { point, raw: f64::NAN, comm_fault: true }
}

/// Makes a block's values into readings. The answer's length has been checked, so every slot lies within.
fn decode(block: &Block, values: &Values, readings: &mut Vec<Reading>) {
    for slot in &block.slots {
        let from = usize::from(slot.offset);
        let raw = match values {
            Values::Bits(bits) => bits.get(from).map(|&bit| f64::from(u8::from(bit))),
            Values::Words(words) => words
                .get(from..from + usize::from(slot.kind.words()))
                .and_then(|words| registers::decode(slot.kind, words)),
        };
        // No number (a NaN pair of registers) is the device's way to say "no value".
        let raw = raw.unwrap_or(f64::NAN);
        readings.push(Reading { point: slot.point, raw, comm_fault: false });
    }
}
