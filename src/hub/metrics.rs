//! The hub's own figures for Prometheus: read from the rooms' counters when somebody asks, never on the hot path.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::bus_metrics::BusMetrics;
use crate::bridge;
use crate::clock::Clock;
use crate::codec::Codecs;
use crate::command::Commands;
use crate::ingest::broker;
use crate::ingest::modbus::Poller;
use crate::ingest::mqtt::{Door, SecurityLog, Services};
use crate::model::Timestamp;
use crate::notify::Notifier;
use crate::pipeline::{Counters, Present};
use crate::store::{Store, StoreStats};
use crate::trouble::{Code, Troubles};
use crate::upkeep::{Backups, DiskGuard};

/// What is looked at.
pub(super) struct Watched {
    pub(super) counters: Arc<Counters>,
    pub(super) log: Arc<SecurityLog>,
    pub(super) services: Services,
    pub(super) door: Weak<Door>,
    pub(super) store: Arc<dyn Store>,
    pub(super) poller: Arc<Poller>,
    pub(super) present: Present,
    pub(super) commands: Commands,
    pub(super) codecs: Codecs,
    pub(super) notifier: Notifier,
    pub(super) disk: Arc<DiskGuard>,
    pub(super) broker: Option<Arc<broker::Health>>,
    pub(super) bridge: Option<Arc<bridge::Health>>,
    pub(super) backups: Option<Backups>,
    pub(super) troubles: Troubles,
    pub(super) clock: Clock,
}

fn oldest_secs(stats: &StoreStats) -> u64 {
    stats.oldest_raw.map_or(0, |oldest| oldest.since(Timestamp::EPOCH).as_secs())
}

/// A labelled value.
type Row = (&'static str, u64);

/// Registers every figure.
///
/// # Errors
/// When a name is no metric name, or stands twice: a defect of this file.
pub(super) fn registry(watched: Watched) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new_custom(Some("townhub".to_owned()), None)?;
    let Watched {
        counters,
        log,
        services,
        door,
        store,
        poller,
        present,
        codecs,
        commands,
        notifier,
        disk,
        broker,
        bridge,
        backups,
        troubles,
        clock,
    } = watched;
    let add = |name, help, label, is_counter, read: Read| {
        registry.register(Box::new(Pulled::new(name, help, label, is_counter, read)?))
    };
    add(
        "readings_total",
        "Readings by what became of them.",
        "outcome",
        true,
        Box::new(move || {
            let n = counters.read();
            vec![
                ("received", n.received),
                ("stored", n.stored),
                ("duplicate", n.duplicates),
                ("late", n.late),
                ("wrong_clock", n.clock),
                ("bad", n.bad),
                ("uncertain", n.uncertain),
                ("undecoded_payload", n.undecoded),
                ("uplinks", n.uplinks),
                ("commits", n.commits),
            ]
        }),
    )?;
    add(
        "mqtt_refusals_total",
        "What the MQTT door refused.",
        "reason",
        true,
        Box::new(move || log.counts().collect()),
    )?;
    add(
        "mqtt_connections",
        "Clients at the MQTT door.",
        "kind",
        false,
        Box::new(move || vec![("all", door.upgrade().map_or(0, |door| door.connections() as u64))]),
    )?;
    add(
        "services_dropped_total",
        "Messages that MQTT services missed.",
        "queue",
        true,
        Box::new(move || {
            vec![("feed", services.dropped()), ("session", services.dropped_by_session())]
        }),
    )?;
    let remote = Arc::clone(&store);
    let now = clock.clone();
    add(
        "store_queue",
        "What waits for the remote engine, and whether it takes it; empty without one.",
        "what",
        false,
        Box::new(move || {
            let Some(status) = remote.remote() else { return Vec::new() };
            let age = status.oldest.map_or(0, |oldest| now.now().since(oldest).as_secs());
            vec![
                ("up", u64::from(status.up)),
                ("readings", status.queue_readings),
                ("bytes", status.queue_bytes),
                ("max_bytes", status.queue_max_bytes),
                ("oldest_age_s", age),
                ("sent", status.sent),
                ("folded", status.folded),
                ("refused", status.refused),
            ]
        }),
    )?;
    add(
        "store",
        "What the embedded store holds. oldest_reading_seconds: when its oldest reading was observed, in seconds since 1970; 0: none.",
        "what",
        false,
        Box::new(move || {
            let stats = store.stats().unwrap_or_default();
            vec![
                ("series", stats.series),
                ("hot_readings", stats.hot_readings),
                ("sealed_readings", stats.sealed_readings),
                ("sealed_bytes", stats.sealed_bytes),
                ("minute_rollup_bytes", stats.minute_bytes),
                ("hour_rollup_bytes", stats.hour_bytes),
                ("day_rollup_bytes", stats.day_bytes),
                ("oldest_reading_seconds", oldest_secs(&stats)),
                ("disk_bytes", stats.disk_bytes),
            ]
        }),
    )?;
    add(
        "disk",
        "The data's file system; its state is 0 ok, 1 low, 2 full: readings are refused.",
        "what",
        false,
        Box::new(move || {
            disk.view().map_or_else(Vec::new, |view| {
                vec![
                    ("free_bytes", view.space.free_bytes),
                    ("total_bytes", view.space.total_bytes),
                    ("warn_below_bytes", view.limits.warn_bytes),
                    ("stop_below_bytes", view.limits.stop_bytes),
                    ("state", view.state as u64),
                ]
            })
        }),
    )?;
    if let Some(backups) = backups {
        add(
            "backup",
            "The last backup that is whole: its age and size; failed is 1 while the last try failed.",
            "what",
            false,
            Box::new(move || {
                let view = backups.view();
                let mut rows = vec![("failed", u64::from(view.failure.is_some()))];
                if let Some(at) = view.last_at {
                    rows.push(("age_seconds", clock.now().since(at).as_secs()));
                    rows.push(("size_bytes", view.last_bytes));
                }
                rows
            }),
        )?;
    }
    registry.register(Box::new(BusMetrics::new(Arc::clone(&poller))?))?;
    add(
        "modbus_total",
        "Requests of the Modbus pollers.",
        "outcome",
        true,
        Box::new(move || {
            let mut sums: HashMap<&'static str, u64> = HashMap::new();
            for endpoint in poller.stats() {
                *sums.entry("reconnect").or_default() += endpoint.reconnects;
                for unit in &endpoint.units {
                    *sums.entry("request").or_default() += unit.requests;
                    *sums.entry("timeout").or_default() += unit.timeouts;
                    *sums.entry("exception").or_default() += unit.exceptions;
                    *sums.entry("overrun").or_default() += unit.overruns;
                }
            }
            sums.into_iter().collect()
        }),
    )?;
    add(
        "commands_total",
        "Commands by what became of them since the start.",
        "outcome",
        true,
        Box::new(move || commands.counts()),
    )?;
    add(
        "notifications_total",
        "Messages to people and other systems by what became of them since the start.",
        "outcome",
        true,
        Box::new(move || notifier.counters().read().to_vec()),
    )?;
    add(
        "codecs_total",
        "Calls of LoRaWAN codecs by what became of them, and their processes.",
        "outcome",
        true,
        Box::new(move || {
            let stats = codecs.stats();
            let failed = stats.errors.iter().map(|(_, count)| count).sum::<u64>();
            let mut rows = vec![
                ("answered", stats.calls.saturating_sub(failed)),
                ("frames", stats.frames),
                ("busy_us", u64::try_from(stats.busy.as_micros()).unwrap_or(u64::MAX)),
                ("process_started", stats.started),
                ("process_lost", stats.lost),
            ];
            rows.extend(stats.errors);
            rows
        }),
    )?;
    if let Some(broker) = broker {
        let health = Arc::clone(&broker);
        add(
            "broker_total",
            "Messages and commands of the external broker by what became of them.",
            "outcome",
            true,
            Box::new(move || health.outcomes()),
        )?;
        add(
            "broker",
            "The external broker: whether it is connected, and messages that wait for the disk.",
            "what",
            false,
            Box::new(move || {
                let look = broker.look();
                vec![
                    ("connected", u64::from(look.connected)),
                    ("unacknowledged", look.unacknowledged as u64),
                ]
            }),
        )?;
    }
    if let Some(bridge) = bridge {
        let health = Arc::clone(&bridge);
        add(
            "bridge_total",
            "Messages of the bridge by what became of them.",
            "outcome",
            true,
            Box::new(move || health.outcomes()),
        )?;
        add(
            "bridge",
            "The bridge: whether it is connected, and messages that wait.",
            "what",
            false,
            Box::new(move || {
                let look = bridge.look();
                vec![("connected", u64::from(look.connected)), ("waiting", look.waiting as u64)]
            }),
        )?;
    }
    add(
        "trouble",
        "Open troubles of the hub itself, by what is wrong.",
        "code",
        false,
        Box::new(move || {
            let open = troubles.open();
            let count = |code| open.iter().filter(|trouble| trouble.code == code).count() as u64;
            Code::ALL.map(|code| (code.as_str(), count(code))).to_vec()
        }),
    )?;
    add(
        "open_alerts",
        "Open alerts by severity.",
        "severity",
        false,
        Box::new(move || {
            let open = present.open_alerts();
            crate::model::Severity::ALL
                .map(|s| {
                    (s.as_str(), open.iter().filter(|alert| alert.severity == s).count() as u64)
                })
                .to_vec()
        }),
    )?;
    Ok(registry)
}

type Read = Box<dyn Fn() -> Vec<Row> + Send + Sync>;

/// A metric whose values are fetched when it is collected.
struct Pulled {
    metric: Metric,
    read: Read,
}

enum Metric {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
}

impl Pulled {
    fn new(
        name: &str,
        help: &str,
        label: &str,
        is_counter: bool,
        read: Read,
    ) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(name, help);
        let metric = if is_counter {
            Metric::Counter(IntCounterVec::new(opts, &[label])?)
        } else {
            Metric::Gauge(IntGaugeVec::new(opts, &[label])?)
        };
        Ok(Pulled { metric, read })
    }
}

impl Collector for Pulled {
    fn desc(&self) -> Vec<&Desc> {
        match &self.metric {
            Metric::Counter(metric) => metric.desc(),
            Metric::Gauge(metric) => metric.desc(),
        }
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (label, value) in (self.read)() {
            match &self.metric {
                Metric::Counter(metric) => {
                    let counter = metric.with_label_values(&[label]);
                    counter.reset();
                    counter.inc_by(value);
                }
                Metric::Gauge(metric) => {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    metric.with_label_values(&[label]).set(value);
                }
            }
        }
        match &self.metric {
            Metric::Counter(metric) => metric.collect(),
            Metric::Gauge(metric) => metric.collect(),
        }
    }
}
