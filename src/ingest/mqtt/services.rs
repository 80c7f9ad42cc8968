//! Services (dashboards, bridges, other programs): rumqttd's own server behind the door.
//!
//! The door checks who connects and what they ask for, and relays clean packets to a rumqttd server that listens on
//! 127.0.0.1 only, behind a password that nobody else knows. One local link feeds its router with what devices publish,
//! only while somebody subscribes to it. rumqttd does retained messages, sessions and version 5 properties; the door
//! does identity.
//!
//! A service that does not read harms only itself: what its relay cannot take stays in its socket and in rumqttd's
//! bounded log for it; what the router cannot take from the feed is dropped and counted, never waited for. Telemetry
//! itself is safe: it is on disk.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use bytes::Bytes;
use rand::RngExt;
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::sync::mpsc;
use tracing::error;

use super::frame::Version;
use super::refusal::SecurityLog;
use super::topics;

/// Messages on their way from devices to the router. Services see the live stream; what they miss they read over HTTP.
const FEED_MESSAGES: usize = 4_096;

/// The largest relayed packet: rumqttd's own limit behind the door's.
const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// Services connected at once: programs, not devices.
const MAX_SERVICES: usize = 256;

/// The services' broker, as sessions and relays see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    feed: mpsc::Sender<Relayed>,
    v4: SocketAddr,
    v5: SocketAddr,
    password: String,
    interest: RwLock<Interest>,
    interested: AtomicUsize,
    /// What sessions that the broker keeps were subscribed to when their client left.
    kept: Mutex<HashMap<String, Vec<String>>>,
    dropped: AtomicU64,
    log: Arc<SecurityLog>,
}

/// What services subscribe to: a filter and how many relays asked for it.
#[derive(Debug, Default)]
struct Interest(HashMap<String, usize>);

#[derive(Debug)]
struct Relayed {
    topic: Bytes,
    payload: Bytes,
    retain: bool,
}

/// Why the services' broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// No port on 127.0.0.1.
    #[error("cannot find a free port on 127.0.0.1 for the services' broker")]
    Port(#[source] std::io::Error),
    /// rumqttd refuses.
    #[error("the services' broker does not take its feed: {0}")]
    Link(String),
    /// The system has no thread left.
    #[error("cannot start the services' broker's thread")]
    Thread(#[source] std::io::Error),
}

/// What one relay subscribed to; forgotten when it ends, unless the broker keeps the session.
#[derive(Debug)]
pub(super) struct Subscriptions {
    services: Services,
    client: String,
    is_clean: bool,
    filters: Vec<String>,
}

impl Services {
    /// Starts rumqttd with one server for each protocol version, and the link that feeds it.
    ///
    /// # Errors
    /// When there is no port or thread left, or rumqttd refuses its feed.
    pub fn start(log: Arc<SecurityLog>) -> Result<Self, ServicesError> {
        let [v4, v5] = free_ports().map_err(ServicesError::Port)?;
        let password: String =
            rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from).collect();
        let mut broker = Broker::new(config(v4, v5, &password));
        let (link, mut notifications) =
            broker.link("townhub-feed").map_err(|why| ServicesError::Link(why.to_string()))?;
        let (feed, queue) = mpsc::channel(FEED_MESSAGES);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(ServicesError::Thread)
        };
        spawn(
            "rumqttd",
            Box::new(move || {
                if let Err(why) = broker.start() {
                    error!(error = %why, "the services' broker ended");
                }
            }),
        )?;
        spawn("services-feed", Box::new(move || feed_router(link, queue)))?;
        // The router answers every packet on the link; nobody needs the answers, but they must not pile up.
        spawn("services-acks", Box::new(move || while notifications.recv().is_ok() {}))?;
        Ok(Services(Arc::new(Inner {
            feed,
            v4,
            v5,
            password,
            interest: RwLock::default(),
            interested: AtomicUsize::new(0),
            kept: Mutex::default(),
            dropped: AtomicU64::new(0),
            log,
        })))
    }

    /// Hands a device's message to whoever subscribes to its topic. Never waits.
    pub(in crate::ingest) fn relay(&self, topic: &str, payload: &[u8], retain: bool) {
        if !retain && self.0.interested.load(Ordering::Relaxed) == 0 {
            return;
        }
        let interest = self.0.interest.read().unwrap_or_else(PoisonError::into_inner);
        if !retain && !interest.0.keys().any(|filter| topics::matches(filter, topic)) {
            return;
        }
        drop(interest);
        let relayed = Relayed {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            payload: Bytes::copy_from_slice(payload),
            retain,
        };
        if self.0.feed.try_send(relayed).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands a message of the hub itself to whoever subscribes to its topic. Never waits.
    ///
    /// # Errors
    /// When the router is behind or has ended; nothing was handed on then.
    pub fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        let relayed = Relayed {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            payload: Bytes::copy_from_slice(payload),
            retain: false,
        };
        let why =
            |error: &dyn std::fmt::Display| format!("the hub's broker takes nothing now: {error}");
        self.0.feed.try_send(relayed).map_err(|error| why(&error))
    }

    /// Messages that services missed because the router was behind.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    pub(in crate::ingest) fn log(&self) -> &SecurityLog {
        &self.0.log
    }

    pub(super) fn address(&self, version: Version) -> SocketAddr {
        match version {
            Version::V4 => self.0.v4,
            Version::V5 => self.0.v5,
        }
    }

    pub(super) fn password(&self) -> &str {
        &self.0.password
    }

    /// The subscriptions of a client: what the broker kept for it, unless it begins anew.
    pub(super) fn subscriptions(&self, client: &str, is_clean: bool) -> Subscriptions {
        let filters = self.kept().remove(client).unwrap_or_default();
        let mut subscriptions =
            Subscriptions { services: self.clone(), client: client.to_owned(), is_clean, filters };
        if is_clean {
            subscriptions.forget_all();
        }
        subscriptions
    }

    /// Whether the broker still takes what devices publish.
    pub fn is_up(&self) -> bool {
        !self.0.feed.is_closed()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriptions {
    pub(super) fn add(&mut self, filter: &str) {
        let filter = plain(filter).to_owned();
        let inner = &self.services.0;
        let mut interest = inner.interest.write().unwrap_or_else(PoisonError::into_inner);
        *interest.0.entry(filter.clone()).or_default() += 1;
        inner.interested.store(interest.0.len(), Ordering::Relaxed);
        drop(interest);
        self.filters.push(filter);
    }

    pub(super) fn remove(&mut self, filter: &str) {
        if let Some(at) = self.filters.iter().position(|known| known == plain(filter)) {
            let filter = self.filters.swap_remove(at);
            self.forget(&filter);
        }
    }

    fn forget(&self, filter: &str) {
        let inner = &self.services.0;
        let mut interest = inner.interest.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = interest.0.get_mut(filter) {
            *count -= 1;
            if *count == 0 {
                interest.0.remove(filter);
            }
        }
        inner.interested.store(interest.0.len(), Ordering::Relaxed);
    }
}

impl Subscriptions {
    fn forget_all(&mut self) {
        for filter in std::mem::take(&mut self.filters) {
            self.forget(&filter);
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        let mut kept = self.services.kept();
        if !self.is_clean && kept.len() < MAX_SERVICES {
            kept.insert(std::mem::take(&mut self.client), std::mem::take(&mut self.filters));
        }
        drop(kept);
        self.forget_all();
    }
}

/// The filter behind `$share/{group}/`.
pub(super) fn plain(filter: &str) -> &str {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((_, filter)) => filter,
        None => filter,
    }
}

fn feed_router(mut link: rumqttd::local::LinkTx, mut queue: mpsc::Receiver<Relayed>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let Ok(runtime) = runtime else {
        error!("the services' feed has no runtime");
        return;
    };
    while let Some(Relayed { topic, payload, retain }) = queue.blocking_recv() {
        let mut publish = Publish::default();
        (publish.topic, publish.payload, publish.retain) = (topic, payload, retain);
        if runtime.block_on(link.send(Packet::Publish(publish, None))).is_err() {
            error!("the services' router ended");
            return;
        }
    }
}

/// Two free ports: rumqttd takes addresses, not sockets, so they are found first and taken a moment later.
fn free_ports() -> std::io::Result<[SocketAddr; 2]> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([first.local_addr()?, second.local_addr()?])
}

fn config(v4: SocketAddr, v5: SocketAddr, password: &str) -> Config {
    let server = |name: &str, listen| {
        let connections = ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: MAX_PAYLOAD_BYTES,
            max_inflight_count: 200,
            auth: Some([(super::relay::INTERNAL_USER.to_owned(), password.to_owned())].into()),
            external_auth: None,
            dynamic_filters: true,
        };
        let settings = ServerSettings {
            name: name.to_owned(),
            listen,
            tls: None,
            next_connection_delay_ms: 1,
            connections,
        };
        Some([(name.to_owned(), settings)].into())
    };
    Config {
        router: RouterConfig {
            max_connections: MAX_SERVICES + 1,
            max_outgoing_packet_count: 200,
            // Per filter: two segments of a megabyte, the least that rumqttd takes.
            max_segment_size: 1024 * 1024,
            max_segment_count: 2,
            ..RouterConfig::default()
        },
        v4: server("services-v4", v4),
        v5: server("services-v5", v5),
        ..Config::default()
    }
}
