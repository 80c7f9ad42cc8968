//! The actor of one bus: one connection, one request in flight, every unit in its turn.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::model::{PointIndex, Reading, Timestamp};
use crate::profile::registers::decode_part;

use super::connection::{Connect, Connection, Fault};
use super::frame::{Framing, Question, Shape, Values};
use super::lessons::{Lesson, halves};
use super::order::{self, Order, ReadError, Work, WriteError};
use super::planner::Block;
use super::schedule::{Schedule, Turn, hash};
use super::stats::{LastError, StatsCell};
use super::{Endpoint, PollSink, UnitPlan};

/// How long opening a connection may take, name lookup included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// On a serial line nothing but its shape says what an answer is the answer to. Between two questions to one unit
/// whose answers have the same shape so much time passes: a second answer to the first one would have come by then.
const REPEAT_GUARD: Duration = Duration::from_millis(50);

/// The units of one endpoint, sorted by device.
pub(super) type BusPlan = Arc<[Arc<UnitPlan>]>;

/// What the bus does next.
enum Next {
    /// A poll is due.
    Poll(Turn),
    /// Somebody has given an order.
    Order(Order),
}

/// One endpoint's connection and the units behind it. Runs until the sender of its plan is dropped.
pub(super) struct Bus<S, C: Connect> {
    endpoint: Endpoint,
    connector: Arc<C>,
    sink: Arc<S>,
    clock: Clock,
    stats: StatsCell,
    plan: watch::Receiver<BusPlan>,
    orders: mpsc::Receiver<Order>,
    schedule: Schedule,
    connection: Option<Connection<C::Stream>>,
    /// Connections opened so far.
    opened: u64,
    /// When the last request ended, and the quiet time that its unit wants after it.
    last_request: Option<(Instant, Duration)>,
    /// What the last answers looked like, on a serial line, and when they were waited for.
    recent: Vec<(Shape, Instant)>,
    /// Units on a serial line whose answer may still be on its way: they are probed before they are believed.
    doubts: HashSet<u8>,
}

/// What a bus hears of the supervisor.
pub(super) struct Inbox {
    pub(super) plan: watch::Receiver<BusPlan>,
    pub(super) orders: mpsc::Receiver<Order>,
}

impl<S: PollSink, C: Connect> Bus<S, C> {
    pub(super) fn new(
        endpoint: Endpoint,
        inbox: Inbox,
        stats: StatsCell,
        connector: Arc<C>,
        sink: Arc<S>,
        clock: Clock,
    ) -> Self {
        Bus {
            schedule: Schedule::new(hash(endpoint.as_str())),
            endpoint,
            connector,
            sink,
            clock,
            stats,
            plan: inbox.plan,
            orders: inbox.orders,
            connection: None,
            opened: 0,
            last_request: None,
            recent: Vec::new(),
            doubts: HashSet::new(),
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
                next = self.next() => tokio::select! {
                    biased;
                    () = &mut stopped => break,
                    () = self.take(next) => {}
                },
            }
        }
        self.stats.edit(|stats| stats.connected = false);
    }

    async fn take(&mut self, next: Next) {
        match next {
            Next::Poll(turn) => self.poll(turn).await,
            Next::Order(order) => self.obey(order).await,
        }
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
                // Before the schedule: somebody waits for it.
                Some(order) = self.orders.recv() => return Next::Order(order),
                turn = due => return Next::Poll(turn),
            }
        }
    }

    fn reconcile(&mut self) {
        let plan = Arc::clone(&self.plan.borrow_and_update());
        self.schedule.reconcile(&plan, Instant::now());
        self.stats.list_units(&plan);
        for unit in plan.iter() {
            if let Some(current) = self.schedule.find(&unit.device) {
                self.stats.show_plan(&current);
            }
        }
    }

    /// Asks for every block of a poll, hands on what came, and tells the schedule how it went.
    async fn poll(&mut self, turn: Turn) {
        let (unit, index) = self.schedule.of(turn);
        let poll = &unit.plan.polls[index];
        let mut readings = Vec::with_capacity(poll.points().count());
        let mut received_at = None;
        let mut missed = None;
        for block in &poll.blocks {
            self.obey_waiting().await;
            if let Err(fault) = self.poll_block(turn, &unit, block, &mut readings).await {
                // What was read before, on a line where something unasked came, is not to be trusted either.
                if self.doubts.contains(&unit.unit) {
                    readings.clear();
                }
                missed = Some(fault);
                break;
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

    /// Asks for one block. A refusal costs its points only, and is looked into when it is not the first.
    async fn poll_block(
        &mut self,
        turn: Turn,
        unit: &UnitPlan,
        block: &Block,
        readings: &mut Vec<Reading>,
    ) -> Result<(), Fault> {
        match self.ask(unit, &Question::read(unit.unit, block)).await {
            Ok(values) => {
                decode(block, &values, readings);
                self.schedule.answered(turn);
                self.schedule.refusals(turn).forget(block);
                Ok(())
            }
            Err(fault) if fault.is_illegal() && self.schedule.refusals(turn).count(block) => {
                self.explore(turn, unit, block, readings).await
            }
            Err(fault) if fault.is_answer() => {
                readings.extend(block.slots.iter().map(|slot| comm_fault(slot.point)));
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Splits a block that is refused until what can be read is told from what cannot, and remembers it. Nothing is
    /// learned from a unit that has never answered anything: it may be starting, or another device.
    async fn explore(
        &mut self,
        turn: Turn,
        unit: &UnitPlan,
        block: &Block,
        readings: &mut Vec<Reading>,
    ) -> Result<(), Fault> {
        let mut lesson = Lesson::default();
        let mut open = match halves(block) {
            Some((left, right)) => vec![right, left],
            None => vec![block.clone()],
        };
        while let Some(part) = open.pop() {
            self.obey_waiting().await;
            match self.ask(unit, &Question::read(unit.unit, &part)).await {
                Ok(values) => {
                    decode(&part, &values, readings);
                    self.schedule.answered(turn);
                    lesson.good.push(part);
                }
                Err(fault) if fault.is_illegal() => match halves(&part) {
                    Some((left, right)) => open.extend([right, left]),
                    None => {
                        readings.extend(part.slots.iter().map(|slot| comm_fault(slot.point)));
                        lesson.dead.push(part);
                    }
                },
                Err(fault) if fault.is_answer() => {
                    readings.extend(part.slots.iter().map(|slot| comm_fault(slot.point)));
                    lesson.good.push(part);
                }
                Err(fault) => return Err(fault),
            }
        }
        if self.schedule.has_answered(turn) {
            let (current, index) = self.schedule.of(turn);
            let taught = self.schedule.teach(turn, lesson.apply(&current.plan, index, block));
            self.schedule.refusals(turn).forget(block);
            let learned: Vec<String> =
                taught.plan.learned.iter().map(ToString::to_string).collect();
            tracing::info!(device.id = %unit.device, endpoint = %self.endpoint, ?learned, "unit refuses addresses; they are left alone from now on");
            self.stats.show_plan(&taught);
        }
        Ok(())
    }

    /// Carries out the orders that wait.
    async fn obey_waiting(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order).await;
        }
    }

    async fn obey(&mut self, order: Order) {
        let Some((device, work)) = order.begin() else { return };
        let unit = self.schedule.find(&device);
        match work {
            Work::Write(requests, reply) => {
                let outcome = match unit {
                    Some(unit) => self.write(&unit, requests).await,
                    None => Err(WriteError::NotSent { why: "the device is gone".to_owned() }),
                };
                // Nobody may wait for the outcome any more; it stands in the log.
                if let Err(error) = &outcome {
                    tracing::warn!(device.id = %device, endpoint = %self.endpoint, %error, "a write failed");
                }
                let _ = reply.send(outcome);
            }
            Work::Read(points, reply) => {
                let outcome = match unit {
                    Some(unit) => self.read_now(&unit, &points).await,
                    None => Err(ReadError::NotAsked { why: "the device is gone".to_owned() }),
                };
                let _ = reply.send(outcome);
            }
        }
    }

    /// Sends writes in their order and stops at the first that is not certainly carried out. Returns the registers
    /// that the last one read (function 23).
    async fn write(
        &mut self,
        unit: &UnitPlan,
        requests: Vec<tokio_modbus::Request<'static>>,
    ) -> Result<Vec<u16>, WriteError> {
        let mut read = Vec::new();
        for (done, request) in requests.iter().enumerate() {
            let mut result = self.put(unit, request).await;
            if let Err(Fault::Exception(code)) = result
                && let Some(other) = order::other_form(request, code)
            {
                result = self.put(unit, &other).await;
            }
            match result {
                Ok(Values::Words(words)) => read = words,
                Ok(Values::Written | Values::Bits(_)) => {}
                Err(fault) => return Err(write_error(&fault, done, self.clock.now())),
            }
        }
        Ok(read)
    }

    /// Sends one write. It is sent again only where it is certain that it was not sent before.
    async fn put(
        &mut self,
        unit: &UnitPlan,
        request: &tokio_modbus::Request<'static>,
    ) -> Result<Values, Fault> {
        let question = Question::new(unit.unit, request);
        self.settle(unit).await.map_err(|fault| match fault {
            fault if fault.is_unsent() => fault,
            // The probe failed; the write itself was not sent.
            fault => Fault::Unreachable(std::io::Error::other(fault.to_string())),
        })?;
        match self.ask_once(unit, &question).await {
            Err(fault) if fault.is_unsent() => self.ask_once(unit, &question).await,
            result => result,
        }
    }

    /// Reads the blocks that have these points, at once. All that they say goes the usual way, too.
    async fn read_now(
        &mut self,
        unit: &UnitPlan,
        points: &[PointIndex],
    ) -> Result<Vec<Reading>, ReadError> {
        let has = |block: &&Block| block.slots.iter().any(|slot| points.contains(&slot.point));
        let blocks = unit.plan.polls.iter().flat_map(|poll| &poll.blocks).filter(has);
        let mut readings = Vec::new();
        for block in blocks {
            match self.ask(unit, &Question::read(unit.unit, block)).await {
                Ok(values) => decode(block, &values, &mut readings),
                Err(fault) if fault.is_answer() => {
                    readings.extend(block.slots.iter().map(|slot| comm_fault(slot.point)));
                }
                Err(fault) => {
                    let why = LastError::new(self.clock.now(), &fault).message;
                    return Err(ReadError::NoAnswer { why });
                }
            }
        }
        if readings.is_empty() {
            return Err(ReadError::NotAsked { why: "it has none of these points".to_owned() });
        }
        self.sink.deliver(&unit.device, self.clock.now(), &readings).await;
        readings.retain(|reading| points.contains(&reading.point));
        Ok(readings)
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
    /// that is lost with an old connection is asked once more on a new one. So is one on a serial line when a late
    /// answer of another unit came instead of its own.
    async fn ask(&mut self, unit: &UnitPlan, question: &Question) -> Result<Values, Fault> {
        self.settle(unit).await?;
        let was_idle = self.connection.as_ref().is_some_and(|open| !open.is_fresh());
        match self.ask_once(unit, question).await {
            Err(Fault::Lost) if was_idle => self.ask_again(unit, question).await,
            Err(Fault::Closed | Fault::Unasked(_)) => self.ask_again(unit, question).await,
            Err(Fault::Foreign { what: "unit", .. }) if self.endpoint.line().is_some() => {
                self.ask_again(unit, question).await
            }
            result => result,
        }
    }

    async fn ask_again(&mut self, unit: &UnitPlan, question: &Question) -> Result<Values, Fault> {
        self.settle(unit).await?;
        self.ask_once(unit, question).await
    }

    /// Brings a unit on a serial line back into step whose last answer did not come: asks it something whose answer
    /// cannot be mistaken for the missing one's. A unit answers in the order in which it was asked, so once this
    /// answer is here, the missing one is not on its way any more.
    async fn settle(&mut self, unit: &UnitPlan) -> Result<(), Fault> {
        if !self.doubts.contains(&unit.unit) {
            return Ok(());
        }
        let Some(probe) = unit.plan.probe() else { return Ok(()) };
        match self.ask_once(unit, &Question::read(unit.unit, &probe)).await {
            Ok(_) | Err(Fault::Exception(_)) => {
                self.doubts.remove(&unit.unit);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    async fn ask_once(&mut self, unit: &UnitPlan, question: &Question) -> Result<Values, Fault> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let line = self.endpoint.line();
        let gap = unit.plan.min_request_gap.max(line.map_or(Duration::ZERO, |l| l.frame_gap()));
        if line.is_some() {
            self.guard_repeat(question.shape()).await;
        }
        self.keep_quiet(gap).await;
        let on_line = line.map_or(Duration::ZERO, |line| line.time_of(question.characters()));
        let timeout = unit.plan.timeout + on_line;
        let asked_at = Instant::now();
        let mut result = connection.ask(question, timeout).await;
        if let Some(line) = line
            && result.as_ref().map_or_else(Fault::keeps_connection, |_| true)
            && let Err(fault) = connection.listen(line.frame_gap()).await
        {
            // Which of the two is the answer, nobody knows.
            let fault = if fault.is_broken() {
                Fault::Lost
            } else {
                Fault::Malformed("more bytes follow it")
            };
            result = Err(fault);
        }
        let keeps = match &result {
            Ok(_) => !connection.is_spent(),
            Err(fault) => match line {
                None => fault.keeps_connection() && !connection.is_spent(),
                Some(_) if fault.keeps_connection() => true,
                Some(line) => {
                    if !fault.is_unsent() {
                        self.doubts.insert(question.unit());
                    }
                    !fault.is_broken()
                        && connection.drain(line.quiet_after(unit.plan.timeout)).await
                }
            },
        };
        self.connection = keeps.then_some(connection);
        let ended_at = Instant::now();
        self.last_request = Some((ended_at, gap));
        if line.is_some() {
            self.recent.push((question.shape(), ended_at));
        }
        self.stats.busy(asked_at, ended_at);
        self.count(unit, result.as_ref().err());
        result
    }

    async fn connect(&mut self) -> Result<Connection<C::Stream>, Fault> {
        let opening = timeout(CONNECT_TIMEOUT, self.connector.connect(&self.endpoint));
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
                let framing = match self.endpoint.line() {
                    None => Framing::Tcp,
                    Some(_) => Framing::Rtu,
                };
                Ok(Connection::new(stream, framing, rand::random()))
            }
            Err(error) => {
                self.stats.edit(|stats| stats.connect_failures += 1);
                Err(Fault::Unreachable(error))
            }
        }
    }

    /// Waits until no second answer to an earlier question of this shape is to be feared.
    async fn guard_repeat(&mut self, shape: Shape) {
        self.recent.retain(|(_, ended_at)| ended_at.elapsed() < REPEAT_GUARD);
        let same = self.recent.iter().filter(|(known, _)| *known == shape);
        if let Some(ended_at) = same.map(|&(_, ended_at)| ended_at).max() {
            sleep_until(ended_at + REPEAT_GUARD).await;
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
                Some(Fault::Lost | Fault::Closed | Fault::Unreachable(_)) => {
                    stats.lost_connections += 1;
                }
                Some(Fault::Checksum) => stats.checksums += 1,
                Some(
                    Fault::Malformed(_)
                    | Fault::Foreign { .. }
                    | Fault::Length { .. }
                    | Fault::Unasked(_),
                ) => stats.refused_answers += 1,
            }
            stats.last_error = error;
        });
    }
}

fn write_error(fault: &Fault, done: usize, now: Timestamp) -> WriteError {
    let why = LastError::new(now, fault).message;
    match fault {
        Fault::Exception(code) => WriteError::Refused { done, code: u8::from(*code), why },
        fault if !fault.is_unsent() => WriteError::Unknown { done, why },
        _ if done == 0 => WriteError::NotSent { why },
        // Some are written and the next is not: what holds now must be read.
        _ => WriteError::Unknown { done, why },
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
            Values::Words(words) => {
                words.get(from..).and_then(|words| decode_part(slot.kind, &slot.part, words))
            }
            Values::Written => None,
        };
        // No number (a NaN pair of registers) is the device's way to say "no value".
        let raw = raw.unwrap_or(f64::NAN);
        readings.push(Reading { point: slot.point, raw, comm_fault: false });
    }
}
