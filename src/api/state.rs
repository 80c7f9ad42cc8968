//! What the handlers may use, and the bounds on what they do with it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::error::Problem;
use super::parking::Written;
use super::reports::ReportSettings;
use super::walls::WallLinks;
use crate::alert::book::Book;
use crate::basemap::BaseMap;
use crate::bridge;
use crate::case::Office;
use crate::clock::Clock;
use crate::command::Commands;
use crate::ingest::broker;
use crate::ingest::modbus::Poller;
use crate::ingest::mqtt::Doorman;
use crate::library::Library;
use crate::live::Feed;
use crate::model::{Label, Position, Timestamp};
use crate::notify::Notifier;
use crate::parking::Parking;
use crate::pipeline::{Counters, Present};
use crate::profile::ProfileSet;
use crate::registry::{Registry, RegistryError};
use crate::store::Store;
use crate::trouble::Troubles;
use crate::upkeep::{Backups, DiskGuard};

/// The state that every handler gets.
pub(crate) type Hub = Arc<AppState>;

/// Everything that the API needs of the hub.
pub struct AppState {
    /// Who and what there is.
    pub registry: Registry,
    /// What is true now.
    pub present: Present,
    /// What was.
    pub store: Arc<dyn Store>,
    /// What changes.
    pub feed: Feed,
    /// The profiles in force; replaced as one when they are reloaded.
    pub profiles: Arc<ArcSwap<ProfileSet>>,
    /// Reloads them.
    pub library: Arc<Library>,
    /// The time.
    pub clock: Clock,
    /// Which town this is.
    pub town: TownInfo,
    /// The ground of its map.
    pub basemap: Arc<BaseMap>,
    /// Whose map that is, when the town says it itself.
    pub attribution: Option<Label>,
    /// What is up and what is not yet, or no longer.
    pub readiness: Arc<Readiness>,
    /// Shown at `/metrics`.
    pub metrics: prometheus::Registry,
    /// The Modbus pollers, when there are any.
    pub poller: Option<Arc<Poller>>,
    /// The pipeline's counters, for `/status`.
    pub counters: Arc<Counters>,
    /// Moves things.
    pub commands: Commands,
    /// Which rules are in force.
    pub book: Book,
    /// Alerts, cases and their histories.
    pub tables: TableReader,
    /// How reports are made.
    pub reports: ReportSettings,
    /// Who moves cases.
    pub cases: Office,
    /// Who is told of alerts and cases.
    pub notifier: Notifier,
    /// Whether people reach the hub by https only: the session cookie is then marked `Secure`.
    pub https_only: bool,
    /// Bounds the work off the async threads.
    pub limits: Limits,
    /// Who is connected by MQTT, and what waiting devices say.
    pub doorman: Arc<Doorman>,
    /// Which lots have free bays.
    pub parking: Arc<Parking>,
    /// The same, written out.
    pub(crate) board: ArcSwapOption<Written>,
    /// Wall screens that wait to be let in.
    pub(crate) walls: WallLinks,
    /// What is wrong with the hub itself.
    pub troubles: Troubles,
    /// How the hub itself stands.
    pub house: House,
}

/// What the hub knows of its own house: since when it runs, where devices come in, what is full.
pub struct House {
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Watches the disk of its data.
    pub disk: Arc<DiskGuard>,
    /// Backups by the clock, when there are any.
    pub backups: Option<Backups>,
    /// Where MQTT clients connect.
    pub mqtt: SocketAddr,
    /// Where they connect with TLS.
    pub mqtt_tls: Option<SocketAddr>,
    /// How many may at a time.
    pub max_connections: usize,
    /// The external broker, when there is one.
    pub broker: Option<Arc<broker::Health>>,
    /// The bridge, when there is one.
    pub bridge: Option<Arc<bridge::Health>>,
    /// Looks at the bounded queues.
    pub queues: Box<dyn Fn() -> Vec<Queue> + Send + Sync>,
}

/// A bounded queue: what waits in it, and how much may.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Queue {
    /// `disk` (readings before they are stored) or `judge` (commits before they are judged).
    pub name: &'static str,
    /// What waits.
    pub waiting: usize,
    /// How much may wait.
    pub size: usize,
}

/// Which town this is and where its map opens.
#[derive(Debug, Clone)]
pub struct TownInfo {
    /// What it is called.
    pub name: Label,
    /// The middle of the map.
    pub center: Position,
    /// The map's first zoom.
    pub zoom: f64,
}

/// What must be up before the hub takes traffic. Every part starts as missing.
#[derive(Debug)]
pub struct Readiness {
    parts: Mutex<BTreeMap<&'static str, bool>>,
}

impl Readiness {
    /// The parts to wait for, for example `store` and `mqtt`.
    pub fn new(parts: &[&'static str]) -> Self {
        Readiness { parts: Mutex::new(parts.iter().map(|&part| (part, false)).collect()) }
    }

    /// Says that a part is up, or that it went down.
    pub fn set(&self, part: &'static str, up: bool) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part, up);
    }

    /// The parts that are not up.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter(|(_, up)| !**up).map(|(part, _)| *part).collect()
    }
}

type Connect = dyn Fn() -> Result<rusqlite::Connection, RegistryError> + Send + Sync;

/// Reads the town's state over connections of its own, which it keeps open: as many as there are queries at a time.
pub struct TableReader {
    connect: Box<Connect>,
    idle: Mutex<Vec<rusqlite::Connection>>,
}

impl TableReader {
    /// `connect` opens a connection to the town's state, for example [`Registry::connect`].
    pub fn new(
        connect: impl Fn() -> Result<rusqlite::Connection, RegistryError> + Send + Sync + 'static,
    ) -> Self {
        TableReader { connect: Box::new(connect), idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<rusqlite::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a query. Blocks.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let idle = self.idle().pop();
        let db = idle.map_or_else(|| (self.connect)(), Ok)?;
        let answer = query(&db);
        if answer.is_ok() {
            // After an error the connection is closed: the next query gets a fresh one.
            self.idle().push(db);
        }
        answer
    }
}

/// What kind of work it is: each has its own bound, so that a flood of one leaves the others alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads of files and tables, building of large answers.
    Query,
    /// argon2: tens of milliseconds and 19 MB each.
    Login,
    /// An import, its body in memory included.
    Import,
}

/// Bounds on work off the async threads.
#[derive(Debug, Clone)]
pub struct Limits {
    queries: Arc<Semaphore>,
    logins: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}

/// Queries at a time: more than the cores of a small server only adds memory.
const QUERIES: usize = 8;
/// Password checks at a time.
const LOGINS: usize = 2;
/// Imports at a time: each may hold 32 MiB of body.
const IMPORTS: usize = 2;
/// How long a request waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queries: Arc::new(Semaphore::new(QUERIES)),
            logins: Arc::new(Semaphore::new(LOGINS)),
            imports: Arc::new(Semaphore::new(IMPORTS)),
        }
    }
}

/// The right to do one piece of work off the async threads.
#[derive(Debug)]
pub(crate) struct Turn(OwnedSemaphorePermit);

impl Limits {
    /// Waits for a turn, [`PATIENCE`] at most.
    pub(crate) async fn turn(&self, work: Work) -> Result<Turn, Problem> {
        let gate = match work {
            Work::Query => &self.queries,
            Work::Login => &self.logins,
            Work::Import => &self.imports,
        };
        match tokio::time::timeout(PATIENCE, Arc::clone(gate).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable("the hub is busy; try again")),
        }
    }
}

impl Turn {
    /// Does the work on a thread that may block. The turn ends with the work, even if nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = tokio::task::spawn_blocking(move || {
            let _turn = self.0;
            work()
        });
        done.await.map_err(Problem::internal)?
    }
}

impl AppState {
    /// Does blocking work when its turn has come.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        kind: Work,
        work: impl FnOnce(&AppState) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.limits.turn(kind).await?;
        let state = Arc::clone(self);
        turn.run(move || work(&state)).await
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("town", &self.town.name.en).finish_non_exhaustive()
    }
}

impl fmt::Debug for TableReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_nothing_is_missing() {
        let readiness = Readiness::new(&["store", "mqtt"]);
        assert_eq!(readiness.missing(), ["mqtt", "store"]);
        readiness.set("store", true);
        readiness.set("mqtt", true);
        assert!(readiness.missing().is_empty());
        readiness.set("mqtt", false);
        assert_eq!(readiness.missing(), ["mqtt"]);
    }

    #[tokio::test]
    async fn a_turn_comes_back_when_its_work_panics() {
        let limits = Limits::default();
        for _ in 0..LOGINS + 1 {
            let turn = limits.turn(Work::Login).await.unwrap();
            let result: Result<(), _> = turn.run(|| panic!("on purpose")).await;
            assert!(result.is_err());
        }
        assert_eq!(limits.logins.available_permits(), LOGINS);
    }
}
