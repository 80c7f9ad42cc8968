//! What a bus counts: for the API, for metrics, and for the engineer who asks why a gate is grey.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::model::{DeviceId, Timestamp};

use super::UnitPlan;
use super::planner::{Block, PollPlan};

/// The span over which [`EndpointStats::load`] is measured.
const LOAD_WINDOW: Duration = Duration::from_secs(10);

/// One endpoint and the units behind it. Counters count from the start of its actor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointStats {
    /// `host:port`, or what an RTU endpoint is written as.
    pub endpoint: String,
    /// Whether a connection is open now, or the serial port.
    pub connected: bool,
    /// Requests sent, of all units.
    pub requests: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// How often the actor died and was started again: a bug, each time.
    pub restarts: u64,
    /// Seconds that the bus spent waiting for answers.
    pub busy_seconds: f64,
    /// Share of the last 10 s that the bus spent waiting for answers, 0 to 1.
    pub load: f64,
    /// No try to connect before this time.
    pub backoff_until: Option<Timestamp>,
    /// The last failure to connect.
    pub last_error: Option<LastError>,
    /// The units, by device.
    pub units: Vec<UnitStats>,
}

/// One device behind an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitStats {
    /// The device.
    pub device: DeviceId,
    /// Its unit number.
    pub unit: u8,
    /// Whether it answered last time; `None` before the first poll.
    pub up: Option<bool>,
    /// Requests sent, repeated ones too.
    pub requests: u64,
    /// Requests without an answer in time.
    pub timeouts: u64,
    /// Requests that were answered by a Modbus exception.
    pub exceptions: u64,
    /// Answers that were refused: another question's, short, or no Modbus.
    pub refused_answers: u64,
    /// Answers that were damaged on a serial line.
    pub checksums: u64,
    /// Requests during which the peer closed the connection.
    pub lost_connections: u64,
    /// Due times that were skipped because the bus was too slow.
    pub overruns: u64,
    /// Addresses that it refused, and that are left alone until its profile changes.
    pub left_alone: Vec<String>,
    /// What is asked of it: one line for each request, by rate.
    pub plan: Vec<String>,
    /// No poll before this time.
    pub backoff_until: Option<Timestamp>,
    /// The last thing that went wrong.
    pub last_error: Option<LastError>,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What, in English, with its causes.
    pub message: String,
}

impl LastError {
    /// An error with its causes, in one line.
    pub(super) fn new(at: Timestamp, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let message = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        LastError { at, message }
    }
}

impl UnitStats {
    fn new(plan: &UnitPlan) -> Self {
        UnitStats {
            device: plan.device.clone(),
            unit: plan.unit,
            up: None,
            requests: 0,
            timeouts: 0,
            exceptions: 0,
            refused_answers: 0,
            checksums: 0,
            lost_connections: 0,
            overruns: 0,
            left_alone: Vec::new(),
            plan: plan_lines(plan),
            backoff_until: None,
            last_error: None,
        }
    }
}

fn plan_lines(unit: &UnitPlan) -> Vec<String> {
    let of_poll = |poll: &PollPlan| {
        let rate = format!("{}, every {:?}", poll.rate, poll.period);
        let of_block = move |block: &Block| {
            let words = block.to_string();
            let words: Vec<&str> = words.split_whitespace().collect();
            format!("{rate}: {}", words.join(" "))
        };
        poll.blocks.iter().map(of_block).collect::<Vec<_>>()
    };
    unit.plan.polls.iter().flat_map(of_poll).collect()
}

/// An endpoint's figures, written by its actor and read by anybody. The lock is held for a few
/// assignments and never across an await.
#[derive(Debug, Clone)]
pub(super) struct StatsCell(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    stats: EndpointStats,
    load: LoadWindow,
}

impl StatsCell {
    pub(super) fn new(endpoint: &str, now: Instant) -> Self {
        let stats = EndpointStats {
            endpoint: endpoint.to_owned(),
            connected: false,
            requests: 0,
            reconnects: 0,
            connect_failures: 0,
            restarts: 0,
            busy_seconds: 0.0,
            load: 0.0,
            backoff_until: None,
            last_error: None,
            units: Vec::new(),
        };
        StatsCell(Arc::new(Mutex::new(Inner { stats, load: LoadWindow::new(now) })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The figures stay whole at every step, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Edits the endpoint's figures.
    pub(super) fn edit(&self, edit: impl FnOnce(&mut EndpointStats)) {
        edit(&mut self.lock().stats);
    }

    /// Edits a unit's figures; a unit that is no longer listed is passed over.
    pub(super) fn edit_unit(&self, device: &DeviceId, edit: impl FnOnce(&mut UnitStats)) {
        let mut inner = self.lock();
        if let Ok(i) = inner.stats.units.binary_search_by(|unit| unit.device.cmp(device)) {
            edit(&mut inner.stats.units[i]);
        }
    }

    /// Lists exactly the units of `plans`, which come sorted by device; a known unit keeps its figures.
    pub(super) fn list_units(&self, plans: &[Arc<UnitPlan>]) {
        let mut inner = self.lock();
        let known = std::mem::take(&mut inner.stats.units);
        let figures = |plan: &Arc<UnitPlan>| {
            let same = |unit: &&UnitStats| unit.device == plan.device && unit.unit == plan.unit;
            let known = known.iter().find(same).cloned();
            known.unwrap_or_else(|| UnitStats::new(plan))
        };
        inner.stats.units = plans.iter().map(figures).collect();
    }

    /// Shows what is asked of a unit now.
    pub(super) fn show_plan(&self, unit: &UnitPlan) {
        self.edit_unit(&unit.device, |stats| {
            stats.left_alone = unit.plan.learned.iter().map(ToString::to_string).collect();
            stats.plan = plan_lines(unit);
        });
    }

    /// Notes that the bus was busy with one request from `from` until `to`.
    pub(super) fn busy(&self, from: Instant, to: Instant) {
        let mut inner = self.lock();
        inner.load.busy(from, to);
        inner.stats.busy_seconds += to.saturating_duration_since(from).as_secs_f64();
    }

    /// One unit's figures.
    pub(super) fn unit(&self, device: &DeviceId) -> Option<UnitStats> {
        let inner = self.lock();
        let at = inner.stats.units.binary_search_by(|unit| unit.device.cmp(device)).ok()?;
        Some(inner.stats.units[at].clone())
    }

    pub(super) fn snapshot(&self, now: Instant) -> EndpointStats {
        let inner = self.lock();
        EndpointStats { load: inner.load.at(now), ..inner.stats.clone() }
    }
}

/// Busy time in the running window and the share of the one before.
#[derive(Debug)]
struct LoadWindow {
    start: Instant,
    busy: Duration,
    previous: f64,
}

impl LoadWindow {
    fn new(now: Instant) -> Self {
        LoadWindow { start: now, busy: Duration::ZERO, previous: 0.0 }
    }

    fn busy(&mut self, from: Instant, to: Instant) {
        self.busy += to.saturating_duration_since(from.max(self.start));
        let age = to.saturating_duration_since(self.start);
        if age >= LOAD_WINDOW {
            *self = LoadWindow {
                start: to,
                busy: Duration::ZERO,
                previous: self.busy.as_secs_f64() / age.as_secs_f64(),
            };
        }
    }

    /// The share of the window that ends at `now`: the running one, filled up from the one before.
    fn at(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.start).as_secs_f64();
        let window = LOAD_WINDOW.as_secs_f64();
        let rest = (window - age).max(0.0);
        ((self.busy.as_secs_f64() + self.previous * rest) / age.max(window)).clamp(0.0, 1.0)
    }
}
