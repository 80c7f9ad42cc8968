//! Modbus buses: how busy they are, and what is wrong with whom.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::{AppState, Hub};
use crate::ingest::modbus::{EndpointStats, LastError, UnitStats};
use crate::model::{DeviceId, Timestamp};

/// The buses by endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Buses {
    buses: Vec<Bus>,
}

/// One serial port or `host:port`, with the units behind it. Counters count from the start of its poller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bus {
    /// `host:port`, `rtu+tcp://...` or `rtu://...`.
    endpoint: String,
    /// Whether a connection is open now, or the serial port.
    connected: bool,
    /// Share of the last 10 s that the bus spent on questions, answers and waits for them, 0 to 1.
    load: f64,
    /// Questions sent.
    requests: u64,
    /// Connections opened after the first.
    reconnects: u64,
    /// Tries to connect that failed.
    connect_failures: u64,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    backoff_until: Option<Timestamp>,
    #[schema(required)]
    last_error: Option<BusError>,
    units: Vec<BusUnit>,
}

/// A device behind a bus.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BusUnit {
    #[schema(value_type = String)]
    device: DeviceId,
    unit: u8,
    /// Whether it answered last time; null before the first poll.
    #[schema(required)]
    up: Option<bool>,
    /// Questions sent, repeated ones too.
    requests: u64,
    /// Questions without an answer in time.
    timeouts: u64,
    /// Questions that were answered by a Modbus exception.
    exceptions: u64,
    /// Answers that were refused: another question's, short, or no Modbus.
    refused_answers: u64,
    /// Answers that were damaged on a serial line.
    checksums: u64,
    /// Questions during which the connection broke.
    lost_connections: u64,
    /// Due times that were skipped because the bus was too slow.
    overruns: u64,
    /// Addresses that it refused; they are left alone until its plan changes or the hub starts again.
    left_alone: Vec<String>,
    /// What is asked of it: one line for each question, by rate.
    plan: Vec<String>,
    /// Not polled before this time.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    backoff_until: Option<Timestamp>,
    #[schema(required)]
    last_error: Option<BusError>,
}

/// What went wrong last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BusError {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    message: String,
}

/// Lists the Modbus buses with their units.
#[utoipa::path(get, path = "/api/v1/modbus", tag = "devices", responses((status = 200, body = Buses)))]
pub(crate) async fn show(State(hub): State<Hub>) -> Json<Buses> {
    let stats = hub.poller.as_ref().map_or_else(Vec::new, |poller| poller.stats());
    Json(Buses { buses: stats.into_iter().map(Bus::from).collect() })
}

/// What its bus knows of a device; `None` for one that is not polled.
pub(crate) fn unit_of(hub: &AppState, device: &DeviceId) -> Option<BusUnit> {
    hub.poller.as_ref()?.unit(device).map(BusUnit::from)
}

impl From<EndpointStats> for Bus {
    fn from(stats: EndpointStats) -> Self {
        Bus {
            endpoint: stats.endpoint,
            connected: stats.connected,
            load: stats.load,
            requests: stats.requests,
            reconnects: stats.reconnects,
            connect_failures: stats.connect_failures,
            backoff_until: stats.backoff_until,
            last_error: stats.last_error.map(BusError::from),
            units: stats.units.into_iter().map(BusUnit::from).collect(),
        }
    }
}

impl From<UnitStats> for BusUnit {
    fn from(stats: UnitStats) -> Self {
        BusUnit {
            device: stats.device,
            unit: stats.unit,
            up: stats.up,
            requests: stats.requests,
            timeouts: stats.timeouts,
            exceptions: stats.exceptions,
            refused_answers: stats.refused_answers,
            checksums: stats.checksums,
            lost_connections: stats.lost_connections,
            overruns: stats.overruns,
            left_alone: stats.left_alone,
            plan: stats.plan,
            backoff_until: stats.backoff_until,
            last_error: stats.last_error.map(BusError::from),
        }
    }
}

impl From<LastError> for BusError {
    fn from(error: LastError) -> Self {
        BusError { at: error.at, message: error.message }
    }
}
