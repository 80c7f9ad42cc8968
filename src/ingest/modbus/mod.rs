//! Polls devices over Modbus TCP.
//!
//! Takes the devices with their addresses and profiles ([`Target`]); hands raw values by point to a
//! [`PollSink`], which slows the bus down when it is busy. Never scales or judges a value, and never writes
//! (commands will: see `bus::Next`).
//!
//! [`planner`] makes requests of a profile. [`Poller`] keeps one actor per `host:port` (`bus`), which owns the
//! connection and asks one question at a time; `schedule` decides whose turn it is, `connection` which
//! answers are believed.
//!
//! Invariant: a value is handed on only if its answer came in time, on a connection on which every answer
//! before was right, with the transaction, unit, function and number of values of its question. After
//! anything else the connection is thrown away. A unit's silence costs that unit its rate, and nobody else.

mod bus;
mod connection;
pub mod planner;
mod schedule;
mod stats;
mod supervisor;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::model::{DeviceId, Reading, Timestamp};
use crate::profile::Profile;
use crate::registry::ModbusAddress;

use bus::BusPlan;
use connection::{Connect, Tcp};
use planner::{Plan, PlanError};
pub use stats::{EndpointStats, LastError, UnitStats};
use supervisor::{StatsTable, Supervisor};

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

/// A text that is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no Modbus endpoint; write host:port, for example 10.0.0.7:502 or [fd00::7]:502"
)]
pub struct EndpointError {
    /// What was given.
    pub found: String,
}

/// A checked `host:port`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// The `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_endpoint = text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && host.len() <= 253 && host.chars().all(is_host_char),
            };
            is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if is_endpoint {
            Ok(Endpoint(text.to_ascii_lowercase().into()))
        } else {
            Err(EndpointError { found: text.to_owned() })
        }
    }
}

/// A device on a bus with what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Poller {
    /// A poller without targets. Must be called within a tokio runtime.
    pub fn new<S: PollSink>(clock: Clock, sink: Arc<S>) -> Self {
        Self::with_connector(clock, sink, Tcp)
    }

    fn with_connector<S: PollSink, C: Connect>(clock: Clock, sink: Arc<S>, connector: C) -> Self {
        let (fleet, changes) = watch::channel(Some(Fleet::default()));
        let stats = StatsTable::default();
        let supervisor = Supervisor::new(clock, sink, connector, Arc::clone(&stats));
        let supervisor = Mutex::new(Some(tokio::spawn(supervisor.run(changes))));
        Poller { fleet, stats, supervisor }
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

    /// The figures of every endpoint, by name.
    pub fn stats(&self) -> Vec<EndpointStats> {
        let now = Instant::now();
        let cells = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values().map(|cell| cell.snapshot(now)).collect()
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
