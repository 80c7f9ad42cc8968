//! Owns the bus actors: starts, reconfigures and stops them, and sees when one ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::model::DeviceId;

use super::bus::{Bus, BusPlan, Inbox};
use super::connection::Connect;
use super::order::{ORDER_QUEUE, Order};
use super::stats::StatsCell;
use super::{Endpoint, Fleet, PollSink};

/// How long the actors may take to stop before they are aborted. They stop at once, unless a sink blocks.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);

/// The pause before a bus that died is started again, so that a bug does not become a busy loop.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// The figures of every running endpoint.
pub(super) type StatsTable = Arc<Mutex<BTreeMap<Endpoint, StatsCell>>>;

/// Which bus takes the orders for a device.
pub(super) type Desks = Arc<Mutex<HashMap<DeviceId, mpsc::Sender<Order>>>>;

pub(super) struct Supervisor<S, C> {
    clock: Clock,
    sink: Arc<S>,
    connector: Arc<C>,
    stats: StatsTable,
    desks: Desks,
    actors: HashMap<Endpoint, Actor>,
    tasks: JoinSet<()>,
    /// Which bus a task is; also for actors that were told to stop and have not ended yet.
    names: HashMap<Id, Endpoint>,
}

/// A running bus. Dropping the sender stops it.
struct Actor {
    plan: watch::Sender<BusPlan>,
    orders: mpsc::Sender<Order>,
    stats: StatsCell,
    task: Id,
}

impl<S: PollSink, C: Connect> Supervisor<S, C> {
    pub(super) fn new(
        clock: Clock,
        sink: Arc<S>,
        connector: C,
        stats: StatsTable,
        desks: Desks,
    ) -> Self {
        Supervisor {
            clock,
            sink,
            connector: Arc::new(connector),
            stats,
            desks,
            actors: HashMap::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Runs until the fleet becomes `None` or its sender is dropped, then stops every actor.
    pub(super) async fn run(mut self, mut fleet: watch::Receiver<Option<Fleet>>) {
        loop {
            tokio::select! {
                biased;
                changed = fleet.changed() => {
                    let next = fleet.borrow_and_update().clone();
                    match next {
                        Some(next) if changed.is_ok() => self.apply(&next),
                        _ => break,
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
            }
        }
        self.stop().await;
    }

    /// Starts what is new, tells the others of their plan, stops what is gone.
    fn apply(&mut self, fleet: &Fleet) {
        self.actors.retain(|endpoint, _| fleet.contains_key(endpoint));
        for (endpoint, plan) in fleet.iter() {
            match self.actors.get(endpoint) {
                Some(actor) => {
                    actor.plan.send_if_modified(|current| {
                        let is_new = current != plan;
                        if is_new {
                            *current = Arc::clone(plan);
                        }
                        is_new
                    });
                }
                None => {
                    let stats = StatsCell::new(endpoint.as_str(), Instant::now());
                    self.start(endpoint.clone(), Arc::clone(plan), stats, Duration::ZERO);
                }
            }
        }
        self.publish();
    }

    fn start(&mut self, endpoint: Endpoint, plan: BusPlan, stats: StatsCell, delay: Duration) {
        let (sender, receiver) = watch::channel(plan);
        let (orders, waiting) = mpsc::channel(ORDER_QUEUE);
        let bus = Bus::new(
            endpoint.clone(),
            Inbox { plan: receiver, orders: waiting },
            stats.clone(),
            Arc::clone(&self.connector),
            Arc::clone(&self.sink),
            self.clock.clone(),
        );
        let task = self.tasks.spawn(async move {
            sleep(delay).await;
            bus.run().await;
        });
        self.names.insert(task.id(), endpoint.clone());
        self.actors.insert(endpoint, Actor { plan: sender, orders, stats, task: task.id() });
    }

    /// A task ended. An actor ends by itself only through a panic: it is reported and started again.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(endpoint) = self.names.remove(&id) else { return };
        if self.actors.get(&endpoint).is_none_or(|actor| actor.task != id) {
            tracing::debug!(%endpoint, "Modbus bus stopped");
            return;
        }
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        tracing::error!(%endpoint, error, "Modbus bus died; it is started again");
        if let Some(actor) = self.actors.remove(&endpoint) {
            actor.stats.edit(|stats| {
                stats.restarts += 1;
                stats.connected = false;
            });
            let plan = Arc::clone(&actor.plan.borrow());
            self.start(endpoint, plan, actor.stats, RESTART_DELAY);
            self.publish();
        }
    }

    async fn stop(&mut self) {
        self.actors.clear();
        self.publish();
        let drained = timeout(STOP_GRACE, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.names.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
        });
        if drained.await.is_err() {
            let endpoints: Vec<&str> = self.names.values().map(Endpoint::as_str).collect();
            tracing::warn!(?endpoints, "Modbus buses did not stop in time and are aborted");
            self.tasks.shutdown().await;
        }
    }

    /// Shows the running endpoints in the figures, and their devices to those who give orders.
    fn publish(&self) {
        let desks = self.actors.values().flat_map(|actor| {
            let units: Vec<DeviceId> =
                actor.plan.borrow().iter().map(|unit| unit.device.clone()).collect();
            units.into_iter().map(|device| (device, actor.orders.clone()))
        });
        *self.desks.lock().unwrap_or_else(PoisonError::into_inner) = desks.collect();
        let running = self.actors.iter().map(|(name, actor)| (name.clone(), actor.stats.clone()));
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = running.collect();
    }
}
