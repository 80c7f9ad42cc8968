//! Polls devices over Modbus: TCP, RTU on a serial line, RTU over TCP. Writes what a command asks for.
//!
//! Takes the devices with their addresses and profiles ([`Target`]); hands raw values by point to a
//! [`PollSink`], which slows the bus down when it is busy. Never scales or judges a value, and never decides to write:
//! whoever calls [`Poller::write`] has checked that it is safe.
//!
//! [`planner`] makes requests of a profile. [`Poller`] keeps one actor per `host:port` or serial port (`bus`), which
//! owns the connection and asks one question at a time, orders (`order`) first; `schedule` decides whose turn it is,
//! `lessons` what a device has taught us not to ask, `frame` what a right answer is, `connection` which are believed,
//! `link` opens sockets and ports.
//!
//! Invariant: a value is handed on only if its answer came in time, on a connection on which every answer
//! before was right, with the transaction, unit, function and number of values of its question. After
//! anything else a TCP connection is thrown away; a serial line is drained and kept quiet, and the unit is probed
//! before it is believed again. A unit's silence costs that unit its rate, and nobody else. No write is sent twice.

mod bus;
mod connection;
mod frame;
mod lessons;
mod link;
mod order;
pub mod planner;
mod schedule;
mod stats;
mod supervisor;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::model::{DeviceId, PointIndex, Reading, Timestamp};
pub use crate::model::{Endpoint, EndpointError};
use crate::profile::{MaskWrite, Profile, RegisterWrite};
use crate::registry::ModbusAddress;

use bus::BusPlan;
use connection::Connect;
use link::Links;
pub use order::{ReadError, WriteError};
use planner::{Plan, PlanError};
pub use stats::{EndpointStats, LastError, UnitStats};
use supervisor::{Desks, StatsTable, Supervisor};

/// The most endpoints: each is a task and a socket.
pub const MAX_ENDPOINTS: usize = 1_024;

/// The most devices behind one endpoint: a serial line behind a gateway has 247 addresses.
pub const MAX_UNITS: usize = 256;

/// Where readings go.
pub trait PollSink: Send + Sync + 'static {
    /// Takes the readings of one poll; each of its points stands in it at most once. The bus waits for this,
    /// so a sink that is full slows its buses down. May be cancelled when the poller stops.
    fn deliver(
        &self,
        device: &DeviceId,
        received_at: Timestamp,
        readings: &[Reading],
    ) -> impl Future<Output = ()> + Send;

    /// A device began to answer, or stopped. Called on changes only: `true` before the readings of its first
    /// poll that was answered to its end, `false` before all its points are delivered as comm faults. Not
    /// called for a device that is taken off the list. Must not block.
    fn link(&self, device: &DeviceId, up: bool);
}

/// A device to poll.
#[derive(Debug, Clone)]
pub struct Target {
    /// The device.
    pub device: DeviceId,
    /// Where it answers.
    pub address: ModbusAddress,
    /// What to ask it.
    pub profile: Arc<Profile>,
}

/// A device that is not polled, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The device.
    pub device: DeviceId,
    /// Why.
    pub error: TargetError,
}

/// Why a device cannot be polled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The profile cannot be polled.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device is listed twice; the first one is polled.
    #[error("the device is listed twice")]
    Duplicate,
    /// No unit of this number can be there.
    #[error("unit {unit} cannot be on a serial line; use 1 to 247")]
    Unit {
        /// The unit.
        unit: u8,
    },
    /// Another device says otherwise how the same port or `host:port` is reached; the first one's word holds.
    #[error(
        "{endpoint} is the same path as {first}, but other settings; give all its devices one endpoint"
    )]
    OtherSettings {
        /// What this device says.
        endpoint: String,
        /// What the first one says.
        first: String,
    },
    /// There are [`MAX_UNITS`] devices behind this endpoint already.
    #[error("{endpoint} has {MAX_UNITS} devices already")]
    TooManyUnits {
        /// The endpoint.
        endpoint: String,
    },
    /// There are [`MAX_ENDPOINTS`] endpoints already.
    #[error("there are {MAX_ENDPOINTS} Modbus endpoints already")]
    TooManyEndpoints,
}

/// A device on a bus with what it is asked.
#[derive(Debug, Clone, PartialEq)]
struct UnitPlan {
    device: DeviceId,
    unit: u8,
    plan: Arc<Plan>,
}

/// All that is polled, by endpoint.
type Fleet = Arc<BTreeMap<Endpoint, BusPlan>>;

/// Polls every target until it is shut down. Dropping it stops the polling, too, without waiting.
#[derive(Debug)]
pub struct Poller {
    /// What is to be polled; `None` is the end.
    fleet: watch::Sender<Option<Fleet>>,
    stats: StatsTable,
    desks: Desks,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Poller {
    /// A poller without targets. Must be called within a tokio runtime.
    pub fn new<S: PollSink>(clock: Clock, sink: Arc<S>) -> Self {
        Self::with_connector(clock, sink, Links)
    }

    fn with_connector<S: PollSink, C: Connect>(clock: Clock, sink: Arc<S>, connector: C) -> Self {
        let (fleet, changes) = watch::channel(Some(Fleet::default()));
        let stats = StatsTable::default();
        let desks = Desks::default();
        let supervisor =
            Supervisor::new(clock, sink, connector, Arc::clone(&stats), Arc::clone(&desks));
        let supervisor = Mutex::new(Some(tokio::spawn(supervisor.run(changes))));
        Poller { fleet, stats, desks, supervisor }
    }

    /// Polls exactly these targets from now on. Targets that did not change are not disturbed: they keep their
    /// connection, due times and back-off. Returns those that cannot be polled; the others are. After
    /// [`Poller::shutdown`] nothing is polled any more.
    pub fn update(&self, targets: Vec<Target>) -> Vec<Refusal> {
        let (fleet, refusals) = plan_fleet(targets);
        self.fleet.send_if_modified(|current| match current {
            Some(current) => {
                *current = Arc::new(fleet);
                true
            }
            None => false,
        });
        refusals
    }

    /// Writes registers or coils, in their order, before every poll. Each write is sent once: one value by function
    /// 5 or 6, several by 15 or 16; a device that refuses the first two as unknown gets the other form. Stops at the
    /// first write that is not certainly carried out.
    ///
    /// # Errors
    /// [`WriteError`] says plainly whether nothing was sent, the device refused, or nobody knows. After `Unknown`,
    /// read ([`Poller::read_now`]) before anything else.
    pub async fn write(
        &self,
        device: &DeviceId,
        writes: Vec<RegisterWrite>,
    ) -> Result<(), WriteError> {
        let requests = order::requests(writes)?;
        order::write(self.desk(device), device, requests).await.map(drop)
    }

    /// Writes some bits of a holding register and leaves the others as they are (function 22). The device does it in
    /// one step; one that does not know the function refuses, and nothing is written.
    ///
    /// # Errors
    /// As [`Poller::write`].
    pub async fn mask_write(&self, device: &DeviceId, write: MaskWrite) -> Result<(), WriteError> {
        let requests = vec![order::mask_request(write)?];
        order::write(self.desk(device), device, requests).await.map(drop)
    }

    /// Writes holding registers and then reads `count` of them from `from` on, in one step (function 23).
    ///
    /// # Errors
    /// As [`Poller::write`].
    pub async fn write_and_read(
        &self,
        device: &DeviceId,
        write: RegisterWrite,
        from: u16,
        count: u16,
    ) -> Result<Vec<u16>, WriteError> {
        let requests = vec![order::exchange_request(write, from, count)?];
        order::write(self.desk(device), device, requests).await
    }

    /// Reads these points before every poll, with the others of their blocks. What was read is delivered to the sink
    /// as well; points that the device refuses come as comm faults.
    ///
    /// # Errors
    /// When the device is not polled, has none of the points, or does not answer.
    pub async fn read_now(
        &self,
        device: &DeviceId,
        points: &[PointIndex],
    ) -> Result<Vec<Reading>, ReadError> {
        order::read(self.desk(device), device, points.to_vec()).await
    }

    fn desk(&self, device: &DeviceId) -> Option<tokio::sync::mpsc::Sender<order::Order>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }

    /// The figures of every endpoint, by name.
    pub fn stats(&self) -> Vec<EndpointStats> {
        let now = Instant::now();
        let cells = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values().map(|cell| cell.snapshot(now)).collect()
    }

    /// The figures of one device.
    pub fn unit(&self, device: &DeviceId) -> Option<UnitStats> {
        let cells = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values().find_map(|cell| cell.unit(device))
    }

    /// Stops polling and returns when every task has ended, within about 2 s
    /// even if a sink blocks.
    pub async fn shutdown(&self) {
        self.fleet.send_replace(None);
        if let Some(supervisor) = self.supervisor.lock().await.take()
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the Modbus supervisor ended badly");
        }
    }
}

/// Sorts targets by endpoint and plans each profile once.
fn plan_fleet(targets: Vec<Target>) -> (BTreeMap<Endpoint, BusPlan>, Vec<Refusal>) {
    let mut plans = HashMap::<*const Profile, Result<Arc<Plan>, PlanError>>::new();
    let mut buses = BTreeMap::<Endpoint, Vec<Arc<UnitPlan>>>::new();
    let mut seen = HashSet::<DeviceId>::new();
    let mut refusals = Vec::new();
    for Target { device, address, profile } in &targets {
        // The pointer is a sound key: `targets` keeps every profile alive.
        let plan = plans
            .entry(Arc::as_ptr(profile))
            .or_insert_with(|| planner::plan(profile, &[]).map(Arc::new));
        let placed = if seen.insert(device.clone()) {
            place(&mut buses, device, address, plan)
        } else {
            Err(TargetError::Duplicate)
        };
        if let Err(error) = placed {
            refusals.push(Refusal { device: device.clone(), error });
        }
    }
    let sorted = |mut units: Vec<Arc<UnitPlan>>| {
        units.sort_by(|a, b| a.device.cmp(&b.device));
        BusPlan::from(units)
    };
    (buses.into_iter().map(|(endpoint, units)| (endpoint, sorted(units))).collect(), refusals)
}

fn place(
    buses: &mut BTreeMap<Endpoint, Vec<Arc<UnitPlan>>>,
    device: &DeviceId,
    address: &ModbusAddress,
    plan: &Result<Arc<Plan>, PlanError>,
) -> Result<(), TargetError> {
    let plan = Arc::clone(plan.as_ref().map_err(PlanError::clone)?);
    let endpoint: Endpoint = address.endpoint.parse()?;
    if endpoint.line().is_some() && !endpoint.takes_unit(address.unit) {
        return Err(TargetError::Unit { unit: address.unit });
    }
    let same_path = |other: &&Endpoint| other.path() == endpoint.path() && **other != endpoint;
    if let Some(first) = buses.keys().find(same_path) {
        return Err(TargetError::OtherSettings {
            endpoint: endpoint.to_string(),
            first: first.to_string(),
        });
    }
    if !buses.contains_key(&endpoint) && buses.len() >= MAX_ENDPOINTS {
        return Err(TargetError::TooManyEndpoints);
    }
    let units = buses.entry(endpoint.clone()).or_default();
    if units.len() >= MAX_UNITS {
        return Err(TargetError::TooManyUnits { endpoint: endpoint.to_string() });
    }
    units.push(Arc::new(UnitPlan { device: device.clone(), unit: address.unit, plan }));
    Ok(())
}
