//! The bridge: the town's readings, alerts and moves of cases go up to another broker or hub, so that a city hub sees its
//! towns and how they run their loop.
//!
//! Takes the store's commits and the logs of alerts and cases, each by a cursor on disk (`collect`); hands on MQTT messages at QoS 1, in
//! order, at least once, each with an id (`letter`, `sender`). In between stands a bounded queue on disk (`outbox`): an outage
//! of hours and a kill lose nothing, and over the bound the oldest readings go, told and counted, alerts and cases last.
//!
//! Never here: a judgement; anything that waits for the upstream broker.

mod collect;
mod config;
mod health;
mod letter;
mod outbox;
mod sender;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use arc_swap::ArcSwap;
use rusqlite::Connection;
use tracing::error;

pub use config::BridgeConfig;
pub use health::{Health, Look};

use collect::Collector;
use letter::Directory;
use outbox::Outbox;
use sender::Courier;

use crate::case::CaseError;
use crate::clock::Clock;
use crate::link::KeyError;
use crate::pipeline::{Holdback, StationTable};
use crate::store::{Store, StoreError};

/// Why the bridge cannot work.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The section.
    #[error(transparent)]
    Config(#[from] KeyError),
    /// Its queue, or the alerts' log.
    #[error("the bridge's queue or the alerts' log cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    /// The cases' log.
    #[error("cannot read the cases that go up")]
    Case(#[from] CaseError),
    /// The readings.
    #[error("cannot read the readings that go up")]
    Store(#[source] StoreError),
    /// The system has no thread left.
    #[error("cannot start the bridge's thread")]
    Thread(#[source] std::io::Error),
}

/// What the bridge needs of the other rooms.
pub struct Around {
    /// The readings.
    pub store: Arc<dyn Store>,
    /// The town's state file.
    pub town: Connection,
    /// Whose the readings are.
    pub stations: Arc<ArcSwap<StationTable>>,
    /// What the store may seal.
    pub holdback: Arc<Holdback>,
    /// The time.
    pub clock: Clock,
}

/// The bridge's collector at work; ends when it is joined.
#[derive(Debug)]
pub struct Bridge {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

/// The bridge's way up, to be run.
#[allow(missing_debug_implementations, reason = "nothing in it is worth showing")]
pub struct Way(Courier);

impl Way {
    /// Sends what waits until `going_down` is done.
    pub async fn run(self, going_down: impl Future<Output = ()>) -> &'static str {
        self.0.run(going_down).await
    }
}

impl Bridge {
    /// Takes up what waits and starts to collect. `data` is the folder of the hub's data.
    ///
    /// # Errors
    /// When the section cannot be used, or a file of the hub.
    pub fn start(
        config: BridgeConfig,
        around: Around,
        data: &Path,
    ) -> Result<(Self, Way, Arc<Health>), BridgeError> {
        let server = config.server()?;
        let file = data.join("bridge.db");
        let mut outbox = Outbox::open(&file, config.max)?;
        let health = Arc::new(Health::new(server.address(), config.max, around.clock));
        health.set_waiting(outbox.waiting()?);
        let cursor = Collector::begin(&outbox, &*around.store, &around.town)?;
        // From here on it is known where to go on, whenever the hub is killed.
        let overflow = outbox.put(&[], cursor, health.waiting())?;
        health.put(0, overflow);
        around.holdback.read_through(cursor.commits);
        let courier = Courier {
            server,
            outbox: Outbox::open(&file, config.max)?,
            health: Arc::clone(&health),
        };
        let collector = Collector {
            config,
            outbox,
            store: around.store,
            town: around.town,
            stations: around.stations,
            holdback: around.holdback,
            health: Arc::clone(&health),
            cursor,
            directory: Directory::default(),
        };
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("bridge".to_owned())
            .spawn(move || collector.run(&stopped))
            .map_err(BridgeError::Thread)?;
        Ok((Bridge { stop, thread }, Way(courier), health))
    }

    /// Collects what is there, and ends. Blocks.
    pub fn join(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            error!("the bridge's thread panicked");
        }
    }
}
