//! A broker that is not the hub's own (EMQX, Mosquitto, a cluster), instead of the front door or beside it.
//!
//! Takes a [`BrokerConfig`]; hands uplinks to the pipeline's intake and acknowledges them to the broker when they are on
//! disk. The session is persistent, so the broker keeps what comes while the hub is away; with a share group several hubs
//! take turns. The broker knows who may publish where; whose a message is, its topic says, by the door's own rules
//! (`routes`). Commands go down at QoS 1 (`post`).
//!
//! An outage is logged once, shown, and heals by itself. Never here: a payload's meaning, a broker's accounts.

mod config;
mod health;
mod post;
mod routes;
mod session;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

pub use config::BrokerConfig;
pub use health::{Health, Look};

use session::{End, Session};

use super::mqtt::Surroundings;
use crate::link::{self, KeyError, Pause, Server, Wishes};
use crate::model::DeviceId;

/// The external broker and what the hub needs to hear it.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    config: BrokerConfig,
    around: Surroundings,
    health: Arc<Health>,
    kept: Kept,
}

/// What outlives a connection.
#[derive(Debug)]
struct Kept {
    /// Identifiers of messages at QoS 2 that came and are not released: a repetition of one is not taken twice.
    unreleased: HashSet<u16>,
    /// Devices that were heard on the broker since the hub started.
    heard: HashSet<DeviceId>,
    /// Before the next connection.
    pause: Pause,
    /// What the session at the broker is subscribed to.
    filters: BTreeSet<String>,
    /// Where that is written down: a broker does not tell, and a subscription that is no longer wanted (another share
    /// group) would go on.
    file: PathBuf,
}

impl Kept {
    fn open(file: PathBuf) -> Self {
        let filters = match std::fs::read_to_string(&file) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            // The first run.
            Err(_) => BTreeSet::new(),
        };
        let (unreleased, heard, pause) = Default::default();
        Kept { unreleased, heard, pause, filters, file }
    }

    fn keep_filters(&mut self, filters: BTreeSet<String>) {
        if self.filters == filters {
            return;
        }
        let text: String = filters.iter().map(|filter| format!("{filter}\n")).collect();
        if let Err(why) = std::fs::write(&self.file, text) {
            warn!(file = %self.file.display(), error = %why, "cannot write down the subscriptions");
        }
        self.filters = filters;
    }
}

impl Broker {
    /// Not connected yet. `data` is the folder of the hub's data.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: BrokerConfig, around: Surroundings, data: &Path) -> Result<Self, KeyError> {
        let server = config.server()?;
        let health = Arc::new(Health::new(server.address(), around.clock.clone()));
        let kept = Kept::open(data.join("broker-subscriptions.txt"));
        Ok(Broker { server, config, around, health, kept })
    }

    /// How it is.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Takes what the broker sends until `going_down` is done, over as many connections as that needs.
    pub async fn run(mut self, going_down: impl Future<Output = ()>) -> &'static str {
        let mut going_down = pin!(going_down);
        let wishes = Wishes {
            session_expiry: self.config.session_expiry,
            receive_maximum: self.config.receive_maximum,
            in_flight: post::IN_FLIGHT,
        };
        loop {
            let why = match link::open(&self.server, &wishes) {
                Ok((sender, events)) => {
                    let Broker { config, around, health, kept, .. } = &mut self;
                    let mut session = Session::new(around, config, health, kept, sender);
                    let end = session.run(events, &mut going_down).await;
                    // They will come again.
                    health.unacknowledged.store(0, Ordering::Relaxed);
                    match end {
                        End::GoingDown => break,
                        End::Lost(why) => why,
                    }
                }
                Err(why) => why,
            };
            self.health.away(&crate::error_chain(&why));
            tokio::select! {
                () = &mut going_down => break,
                () = tokio::time::sleep(self.kept.pause.after_failure()) => {}
            }
        }
        info!("the broker's messages are taken no more");
        "broker"
    }
}
