//! The services' broker as the rest of the hub sees it: one lock, one feed, and the filters somebody subscribes to.
//!
//! What devices publish is handed on without waiting, and only what somebody subscribes to or what is to be retained: a
//! device's session looks at a number, then at a list of filters that is replaced, never locked. What the broker cannot take
//! from the feed in time is dropped and counted. Telemetry itself is safe: it is on disk.
//!
//! A service that does not read harms only itself: what it does not take waits in its own bounded queue.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use super::broker::{Broker, Message, Moment};
use super::kept::Disk;
use super::refusal::SecurityLog;
use super::topics;
use crate::clock::Clock;

/// Messages on their way from devices to the broker. Services see the live stream; what they miss they read over HTTP.
const FEED_MESSAGES: usize = 4_096;

/// Messages that the broker takes under one lock.
const BATCH_MESSAGES: usize = 64;

/// How often what has changed is written down: what a kill may cost.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How long the end waits for what is on its way to the broker.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The services' broker, as sessions see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    feed: mpsc::Sender<Fed>,
    shared: Arc<Shared>,
    dropped: AtomicU64,
    log: Arc<SecurityLog>,
    disk: Mutex<Option<Disk>>,
    /// The last writing failed.
    disk_fails: AtomicBool,
    clock: Clock,
}

/// What the feed's thread knows too.
#[derive(Debug)]
struct Shared {
    broker: Mutex<Broker>,
    /// The plain filters of all subscriptions.
    interest: ArcSwap<Vec<Box<str>>>,
    interested: AtomicUsize,
    /// Something may be due sooner than was thought.
    is_due: Notify,
}

/// What the feed carries.
#[derive(Debug)]
enum Fed {
    Said(Said),
    /// Whoever put it in is told when all before it is out.
    Mark(std_mpsc::Sender<()>),
}

/// What a device, a will or the hub says.
#[derive(Debug)]
struct Said {
    topic: Box<str>,
    payload: Bytes,
    properties: Box<[u8]>,
    qos: u8,
    retain: bool,
}

/// A message that services may want, borrowed from where it came.
#[derive(Debug, Clone, Copy)]
pub(in crate::ingest) struct Word<'a> {
    pub(in crate::ingest) topic: &'a str,
    pub(in crate::ingest) payload: &'a [u8],
    /// Of a PUBLISH of MQTT 5, checked.
    pub(in crate::ingest) properties: &'a [u8],
    pub(in crate::ingest) qos: u8,
    pub(in crate::ingest) retain: bool,
}

/// Why the services' broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The system has no thread left.
    #[error("cannot start the services' broker's thread")]
    Thread(#[source] std::io::Error),
}

impl Services {
    /// Takes up what was kept in `file`, and starts the broker's threads: one takes the feed and does what is due, one
    /// writes down every second what has changed. A file that cannot be used costs the services their sessions over the
    /// next restart, and is told; the hub works without.
    ///
    /// # Errors
    /// When there is no thread left.
    pub fn start(log: Arc<SecurityLog>, file: &Path, clock: Clock) -> Result<Self, ServicesError> {
        let (feed, queue) = mpsc::channel(FEED_MESSAGES);
        let shared = Arc::new(Shared {
            broker: Mutex::new(Broker::new(Arc::clone(&log))),
            interest: ArcSwap::default(),
            interested: AtomicUsize::new(0),
            is_due: Notify::new(),
        });
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("services".to_owned())
            .spawn(move || run(&own, queue))
            .map_err(ServicesError::Thread)?;
        let services = Services(Arc::new(Inner {
            feed,
            shared,
            dropped: AtomicU64::new(0),
            log,
            disk: Mutex::new(None),
            disk_fails: AtomicBool::new(false),
            clock,
        }));
        match services.take_up(file) {
            Ok(disk) => *services.0.disk() = Some(disk),
            Err(why) => {
                let (file, error) = (file.display(), crate::error_chain(&why));
                error!(%file, error, "sessions of services cannot be kept; move the file away");
                return Ok(services);
            }
        }
        let inner = Arc::downgrade(&services.0);
        thread::Builder::new()
            .name("services-disk".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(KEEP_EVERY);
                    let Some(inner) = inner.upgrade() else { return };
                    Services(inner).keep();
                }
            })
            .map_err(ServicesError::Thread)?;
        Ok(services)
    }

    fn take_up(&self, file: &Path) -> rusqlite::Result<Disk> {
        let disk = Disk::open(file)?;
        let moment = self.0.moment();
        let (sessions, retained) = disk.read(moment)?;
        if !sessions.is_empty() {
            info!(sessions = sessions.len(), "sessions of services are taken up");
        }
        self.with(|broker| broker.take_up(sessions, retained, moment));
        Ok(disk)
    }

    /// Writes down all that was said before. Blocks, at most for some seconds and for the disk; for the end, when nobody
    /// is connected any more.
    pub fn keep_all(&self) {
        let (passed, has_passed) = std_mpsc::channel();
        if self.0.feed.blocking_send(Fed::Mark(passed)).is_ok() {
            // A broker that is so far behind has dropped messages already.
            let _ = has_passed.recv_timeout(LAST_WORDS);
        }
        self.keep();
    }

    /// Writes down what has changed. Blocks for the disk, but nobody who does not write waits meanwhile.
    fn keep(&self) {
        let mut disk = self.0.disk();
        let Some(disk) = disk.as_mut() else { return };
        let moment = self.0.moment();
        let changes = self.with(|broker| broker.changes(moment));
        if changes.is_empty() {
            return;
        }
        let outcome = disk.write(&changes, moment);
        let failed = outcome.is_err();
        if let Err(why) = outcome {
            self.with(Broker::disk_failed);
            if !self.0.disk_fails.load(Ordering::Relaxed) {
                let error = crate::error_chain(&why);
                error!(error, "cannot write sessions of services down; trying again");
            }
        }
        self.0.disk_fails.store(failed, Ordering::Relaxed);
    }

    /// Hands a device's message to whoever subscribes to its topic. Never waits.
    pub(in crate::ingest) fn relay(&self, word: Word<'_>) {
        let shared = &self.0.shared;
        if !word.retain && shared.interested.load(Ordering::Relaxed) == 0 {
            return;
        }
        let is_wanted = || shared.interest.load().iter().any(|f| topics::matches(f, word.topic));
        if !word.retain && !is_wanted() {
            return;
        }
        if self.0.feed.try_send(Fed::Said(Said::from(word))).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands a message of the hub itself to whoever subscribes to its topic. Never waits.
    ///
    /// # Errors
    /// When the broker is behind or has ended; nothing was handed on then.
    pub fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        let word = Word { topic, payload, properties: &[], qos: 0, retain: false };
        let why =
            |error: &dyn std::fmt::Display| format!("the hub's broker takes nothing now: {error}");
        self.0.feed.try_send(Fed::Said(Said::from(word))).map_err(|error| why(&error))
    }

    /// Messages that services missed because the broker was behind.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Messages that one service missed because its own queue was full, or that were too large for it.
    pub fn dropped_by_session(&self) -> u64 {
        self.with(|broker| broker.dropped())
    }

    /// Whether the broker still takes what devices publish.
    pub fn is_up(&self) -> bool {
        !self.0.feed.is_closed()
    }

    pub(in crate::ingest) fn log(&self) -> &SecurityLog {
        &self.0.log
    }

    /// Does something with the broker. It must be short: everybody waits.
    pub(super) fn with<T>(&self, action: impl FnOnce(&mut Broker) -> T) -> T {
        self.0.shared.with(action)
    }

    /// A connection came or went: something may be due sooner.
    pub(super) fn look_again(&self) {
        self.0.shared.is_due.notify_one();
    }
}

impl Inner {
    fn disk(&self) -> MutexGuard<'_, Option<Disk>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        Moment { now: Instant::now(), time: self.clock.now() }
    }
}

impl Shared {
    fn with<T>(&self, action: impl FnOnce(&mut Broker) -> T) -> T {
        // Whoever panicked in it has left one session wrong at most; the others go on.
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = action(&mut broker);
        if let Some(filters) = broker.changed_interest() {
            self.interested.store(filters.len(), Ordering::Relaxed);
            self.interest.store(Arc::new(filters));
        }
        outcome
    }
}

impl From<Word<'_>> for Said {
    fn from(word: Word<'_>) -> Self {
        Said {
            topic: word.topic.into(),
            payload: Bytes::copy_from_slice(word.payload),
            properties: word.properties.into(),
            qos: word.qos,
            retain: word.retain,
        }
    }
}

impl Said {
    fn into_message(self, now: Instant) -> Message {
        let Said { topic, payload, properties, qos, retain } = self;
        let message =
            Message { topic, payload, properties: Box::default(), qos, retain, expires_at: None };
        if properties.is_empty() { message } else { message.with_properties(&properties, now) }
    }
}

/// The thread: takes the feed, and does what is due, until nobody can say anything any more.
fn run(shared: &Shared, mut queue: mpsc::Receiver<Fed>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else {
        error!("the services' broker has no runtime");
        return;
    };
    runtime.block_on(async {
        let mut batch = Vec::with_capacity(BATCH_MESSAGES);
        loop {
            let deadline = shared.with(|broker| broker.deadline());
            let due = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = queue.recv_many(&mut batch, BATCH_MESSAGES) => {
                    if taken == 0 {
                        return;
                    }
                    let now = Instant::now();
                    shared.with(|broker| {
                        for fed in batch.drain(..) {
                            match fed {
                                Fed::Said(said) => broker.publish_own(said.into_message(now), now),
                                // Nobody may wait for it any more.
                                Fed::Mark(sender) => drop(sender.send(())),
                            }
                        }
                    });
                }
                () = due => shared.with(|broker| broker.tick(Instant::now())),
                () = shared.is_due.notified() => {}
            }
        }
    });
}
