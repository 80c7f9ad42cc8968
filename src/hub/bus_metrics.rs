//! The buses' figures for Prometheus: by endpoint and by device, read when somebody asks.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, Opts};

use crate::ingest::modbus::Poller;

/// A few series for each bus and each of its units.
pub(super) struct BusMetrics {
    poller: Arc<Poller>,
    load: GaugeVec,
    up: GaugeVec,
    left_alone: GaugeVec,
    requests: IntCounterVec,
}

impl BusMetrics {
    /// # Errors
    /// When a name is no metric name: a defect of this file.
    pub(super) fn new(poller: Arc<Poller>) -> Result<Self, prometheus::Error> {
        let opts = Opts::new::<&str, &str>;
        Ok(BusMetrics {
            poller,
            load: GaugeVec::new(
                opts("modbus_bus_load", "Share of the last 10 s that a bus was busy, 0 to 1."),
                &["endpoint"],
            )?,
            up: GaugeVec::new(
                opts("modbus_unit_up", "Whether a unit answered last time."),
                &["endpoint", "device"],
            )?,
            left_alone: GaugeVec::new(
                opts("modbus_unit_left_alone", "Address ranges that a unit refused."),
                &["endpoint", "device"],
            )?,
            requests: IntCounterVec::new(
                opts("modbus_unit_total", "Questions to a unit by what became of them."),
                &["endpoint", "device", "outcome"],
            )?,
        })
    }

    /// Takes over the figures; a unit that is gone leaves.
    fn refresh(&self) {
        self.load.reset();
        self.up.reset();
        self.left_alone.reset();
        self.requests.reset();
        for bus in self.poller.stats() {
            let endpoint = bus.endpoint.as_str();
            self.load.with_label_values(&[endpoint]).set(bus.load);
            for unit in &bus.units {
                let labels = [endpoint, unit.device.as_str()];
                self.up.with_label_values(&labels).set(f64::from(u8::from(unit.up == Some(true))));
                self.left_alone.with_label_values(&labels).set(unit.left_alone.len() as f64);
                for (outcome, n) in [
                    ("request", unit.requests),
                    ("timeout", unit.timeouts),
                    ("exception", unit.exceptions),
                    ("refused_answer", unit.refused_answers),
                    ("checksum", unit.checksums),
                    ("lost_connection", unit.lost_connections),
                    ("overrun", unit.overruns),
                ] {
                    self.requests.with_label_values(&[labels[0], labels[1], outcome]).inc_by(n);
                }
            }
        }
    }
}

impl Collector for BusMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [&self.load, &self.up, &self.left_alone];
        gauges.into_iter().flat_map(Collector::desc).chain(self.requests.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        let gauges = [&self.load, &self.up, &self.left_alone];
        gauges.into_iter().flat_map(Collector::collect).chain(self.requests.collect()).collect()
    }
}
