//! A poller with a sink that records, and checks every value on its way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use super::super::connection::Connect;
use super::super::{Endpoint, EndpointStats, PollSink, Poller, Refusal, Target, UnitStats};
use super::fault_server::{FaultServer, Pipes};
use super::profile::{GATE_POINTS, device, right_value, unit_of};
use crate::clock::Clock;
use crate::model::{DeviceId, Reading, Timestamp};

/// The endpoint behind which [`Bench::paused`] puts its server.
pub(super) const ENDPOINT: &str = "gateway:502";

/// Longer than anything takes: a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(100);

/// What the hub was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    Link {
        unit: u8,
        up: bool,
    },
    /// How many points had their right value, and how many a comm fault.
    Delivered {
        unit: u8,
        good: usize,
        faults: usize,
        at: Instant,
    },
}

impl Event {
    /// All points of a unit as comm faults: it went down.
    pub(super) fn is_all_faults(self) -> bool {
        matches!(self, Event::Delivered { good: 0, faults: GATE_POINTS, .. })
    }
}

pub(super) struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    wrong: Mutex<Vec<String>>,
    /// Each delivery takes a permit: none left is a sink that is full.
    pub(super) room: Semaphore,
    /// The next delivery panics.
    pub(super) panics: Mutex<bool>,
}

impl PollSink for Recorder {
    async fn deliver(&self, device: &DeviceId, _received_at: Timestamp, readings: &[Reading]) {
        self.room.acquire().await.unwrap().forget();
        let panics = std::mem::take(&mut *self.panics.lock().unwrap());
        assert!(!panics, "as the test asked for");
        let unit = unit_of(device);
        let faults = readings.iter().filter(|reading| reading.comm_fault).count();
        for reading in readings {
            let is_right = if reading.comm_fault {
                reading.raw.is_nan()
            } else {
                reading.raw == right_value(unit, reading.point)
            };
            if !is_right {
                self.wrong.lock().unwrap().push(format!("{device}: {reading:?}"));
            }
        }
        let (good, at) = (readings.len() - faults, Instant::now());
        let _ = self.events.send(Event::Delivered { unit, good, faults, at });
    }

    fn link(&self, device: &DeviceId, up: bool) {
        let _ = self.events.send(Event::Link { unit: unit_of(device), up });
    }
}

pub(super) struct Bench {
    pub(super) poller: Poller,
    pub(super) sink: Arc<Recorder>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Bench {
    pub(super) fn new(connector: impl Connect) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let sink = Arc::new(Recorder {
            events: sender,
            wrong: Mutex::default(),
            room: Semaphore::new(Semaphore::MAX_PERMITS),
            panics: Mutex::new(false),
        });
        let (clock, _) = Clock::manual(Timestamp::from_secs(1_790_000_000));
        let poller = Poller::with_connector(clock, Arc::clone(&sink), connector);
        Bench { poller, sink, events }
    }

    /// With one server behind [`ENDPOINT`], in memory, for paused time.
    pub(super) fn paused(targets: Vec<Target>) -> (Self, FaultServer) {
        let server = FaultServer::default();
        let pipes = Pipes([(ENDPOINT.to_owned(), server.clone())].into());
        let bench = Bench::new(pipes);
        assert_eq!(bench.poller.update(targets), []);
        (bench, server)
    }

    pub(super) fn update(&self, targets: Vec<Target>) -> Vec<Refusal> {
        self.poller.update(targets)
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Event {
        self.until(|_| true).await
    }

    /// The next event that `wanted` wants; others are passed over.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = timeout_at(deadline, self.events.recv()).await;
            let event = event.expect("it happens in time").expect("the poller runs");
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(super) async fn until_link(&mut self, unit: u8, up: bool) {
        self.until(|event| *event == Event::Link { unit, up }).await;
    }

    /// Until all of these units have come up, in any order.
    pub(super) async fn until_up(&mut self, units: &[u8]) {
        let mut missing = units.to_vec();
        while !missing.is_empty() {
            if let Event::Link { unit, up: true } = self.next().await {
                missing.retain(|&u| u != unit);
            }
        }
    }

    /// All events of the next `span`.
    pub(super) async fn during(&mut self, span: Duration) -> Vec<Event> {
        let end = Instant::now() + span;
        let mut events = Vec::new();
        while let Ok(Some(event)) = timeout_at(end, self.events.recv()).await {
            events.push(event);
        }
        events
    }

    /// Forgets the events that nobody has looked at.
    pub(super) fn forget(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    pub(super) fn stats(&self, endpoint: &str) -> EndpointStats {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let is_it = |stats: &EndpointStats| stats.endpoint == endpoint.as_str();
        self.poller.stats().into_iter().find(is_it).expect("a running endpoint")
    }

    pub(super) fn unit(&self, unit: u8) -> UnitStats {
        let stats = self.poller.stats().into_iter().flat_map(|stats| stats.units);
        stats.into_iter().find(|stats| stats.device == device(unit)).expect("a polled unit")
    }

    /// Ends the poller and checks that no wrong value was ever delivered.
    pub(super) async fn end(self) {
        self.poller.shutdown().await;
        let wrong = self.sink.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "wrong values: {wrong:?}");
    }
}
