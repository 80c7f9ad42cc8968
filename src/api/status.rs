//! The hub in numbers, for the console's header and the health page.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::devices::freshness_of;
use super::error::Problem;
use super::sight::Sight;
use super::state::{House, Hub, Queue, Work};
use super::wire;
use crate::alert::Alert;
use crate::basemap::Base;
use crate::bridge;
use crate::ingest::broker;
use crate::live::Freshness;
use crate::model::{Label, Severity, Timestamp};
use crate::pipeline::ReadingCounts;
use crate::store::{RemoteStatus, StoreStats};
use crate::upkeep::{BackupView, Backups, DiskState, DiskView};

/// The hub in numbers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// The hub's version.
    version: &'static str,
    /// The run of the hub: the first half of every event id.
    epoch: u32,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    town: Town,
    /// Which base map the console draws.
    #[schema(value_type = String)]
    basemap: Base,
    devices: DeviceCounts,
    alerts: AlertCounts,
    readings: ReadingTotals,
    #[schema(value_type = wire::StoreStats)]
    store: StoreStats,
    /// The engine that keeps the far past; null when the hub's own file keeps all.
    #[schema(required, value_type = Option<wire::RemoteStatus>)]
    remote: Option<RemoteStatus>,
    /// Messages to people and other systems; null for an account that is limited to zones.
    #[schema(required)]
    notifications: Option<Notifications>,
    /// Since when it runs.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Where devices connect.
    mqtt: MqttDoors,
    /// The external broker whose messages the hub takes; null when there is none.
    #[schema(required)]
    broker: Option<BrokerStatus>,
    /// The bridge by which readings and alerts go up; null when there is none.
    #[schema(required)]
    bridge: Option<BridgeStatus>,
    /// The file system of the data; null when it does not say.
    #[schema(required)]
    disk: Option<Disk>,
    /// Backups by the clock; null when none are configured, and for an account that is limited to zones.
    #[schema(required)]
    backups: Option<BackupView>,
    /// What waits between the rooms.
    queues: Vec<Queue>,
}

/// Where devices connect. An address of zeros is every address of the host.
#[derive(Debug, Serialize, ToSchema)]
struct MqttDoors {
    host: String,
    port: u16,
    /// The port that speaks TLS; null when there is none.
    #[schema(required)]
    tls_port: Option<u16>,
    /// How many clients may be connected at a time.
    max_connections: usize,
}

/// How an external broker is.
#[derive(Debug, Serialize, ToSchema)]
struct BrokerStatus {
    /// `host:port`.
    address: String,
    connected: bool,
    /// Since when it is, or is not.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What is wrong, in words; null when nothing is.
    #[schema(required, value_type = Option<wire::Label>)]
    problem: Option<Label>,
    /// Messages that came since the hub started.
    received: u64,
    /// Messages that wait for the disk before they are acknowledged.
    unacknowledged: usize,
    /// Messages that were of no device of the town.
    refused: u64,
    /// Commands that the broker has taken.
    commands: u64,
}

impl From<broker::Look> for BrokerStatus {
    fn from(look: broker::Look) -> Self {
        let broker::Look {
            address,
            connected,
            since,
            problem,
            received,
            unacknowledged,
            refused,
            commands,
        } = look;
        BrokerStatus {
            address,
            connected,
            since,
            problem,
            received,
            unacknowledged,
            refused,
            commands,
        }
    }
}

/// How the bridge is.
#[derive(Debug, Serialize, ToSchema)]
struct BridgeStatus {
    /// `host:port` of the upstream broker.
    address: String,
    connected: bool,
    /// Since when it is, or is not.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What is wrong, in words; null when nothing is.
    #[schema(required, value_type = Option<wire::Label>)]
    problem: Option<Label>,
    /// Messages that wait for the upstream broker.
    waiting: usize,
    /// How many may; over it the oldest readings go.
    max: usize,
    /// Messages that the upstream broker has taken since the hub started.
    sent: u64,
    /// Messages that it refused.
    refused: u64,
    /// Messages that were given up for lack of room.
    lost: u64,
}

impl From<bridge::Look> for BridgeStatus {
    fn from(look: bridge::Look) -> Self {
        let bridge::Look { address, connected, since, problem, waiting, max, sent, refused, lost } =
            look;
        BridgeStatus { address, connected, since, problem, waiting, max, sent, refused, lost }
    }
}

/// A file system.
#[derive(Debug, Serialize, ToSchema)]
struct Disk {
    /// Bytes that the hub may still write.
    free_bytes: u64,
    total_bytes: u64,
    /// `low`: somebody should make room. `full`: readings are refused until somebody does; devices keep theirs.
    state: DiskState,
    /// Below so many free bytes it is low.
    warn_below_bytes: u64,
    /// Below so many free bytes it is full.
    stop_below_bytes: u64,
}

impl From<&House> for MqttDoors {
    fn from(house: &House) -> Self {
        MqttDoors {
            host: house.mqtt.ip().to_string(),
            port: house.mqtt.port(),
            tls_port: house.mqtt_tls.map(|address| address.port()),
            max_connections: house.max_connections,
        }
    }
}

impl From<DiskView> for Disk {
    fn from(view: DiskView) -> Self {
        Disk {
            free_bytes: view.space.free_bytes,
            total_bytes: view.space.total_bytes,
            state: view.state,
            warn_below_bytes: view.limits.warn_bytes,
            stop_below_bytes: view.limits.stop_bytes,
        }
    }
}

/// How the channels are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NotificationCounts)]
struct Notifications {
    /// How many are configured.
    channels: usize,
    /// Those whose last attempt failed.
    failing: Vec<String>,
    /// Messages that are not sent yet.
    waiting: usize,
    /// Messages that were given up.
    failed: u64,
}

/// Which town this is and where its map opens.
#[derive(Serialize, ToSchema)]
struct Town {
    #[schema(value_type = wire::Label)]
    name: Label,
    /// Longitude and latitude in degrees, WGS-84.
    center: [f64; 2],
    zoom: f64,
}

/// Devices by the age of what they last said.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
struct DeviceCounts {
    total: usize,
    /// Heard of lately.
    online: usize,
    stale: usize,
    dead: usize,
    /// Never heard of.
    never: usize,
}

/// Open alerts by severity.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
struct AlertCounts {
    critical: OpenAlerts,
    major: OpenAlerts,
    minor: OpenAlerts,
    info: OpenAlerts,
}

/// Open alerts of one severity.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
struct OpenAlerts {
    /// Still so.
    active: usize,
    /// Seen by nobody yet, whether still so or not.
    unacknowledged: usize,
}

/// Readings since the hub started.
#[derive(Debug, Serialize, ToSchema)]
struct ReadingTotals {
    /// Readings that came in, duplicates included.
    received: u64,
    /// Readings that are on disk.
    stored: u64,
    /// Readings that were there already.
    duplicates: u64,
    /// Readings that came too late to be news.
    late: u64,
    /// Payloads that no profile could decode.
    undecoded: u64,
}

impl From<ReadingCounts> for ReadingTotals {
    fn from(counts: ReadingCounts) -> Self {
        ReadingTotals {
            received: counts.received,
            stored: counts.stored,
            duplicates: counts.duplicates,
            late: counts.late,
            undecoded: counts.undecoded,
        }
    }
}

/// The hub in numbers; devices and alerts are those in sight.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(crate) async fn show(State(hub): State<Hub>, sight: Sight) -> Result<Json<Status>, Problem> {
    let notifications = match sight.is_whole() {
        true => Some(notifications(&hub).await?),
        false => None,
    };
    let status = hub.blocking(Work::Query, move |hub| {
        let now = hub.clock.now();
        let stations = hub.present.stations();
        let town = hub.registry.town();
        let devices = town.devices.values().filter(|device| sight.may_see_device(&town, device));
        let ages = devices.map(|device| match stations.get(device.id.as_str()) {
            Some(station) => freshness_of(station.last_heard(), &station.profile.staleness, now),
            None => Freshness::Never,
        });
        Ok(Status {
            version: env!("CARGO_PKG_VERSION"),
            epoch: hub.feed.cursor().epoch,
            at: now,
            town: Town {
                name: hub.town.name.clone(),
                center: [hub.town.center.lon(), hub.town.center.lat()],
                zoom: hub.town.zoom,
            },
            basemap: hub.basemap.base(),
            devices: count_devices(ages),
            alerts: count_alerts(
                hub.present
                    .open_alerts()
                    .iter()
                    .map(AsRef::as_ref)
                    .filter(|alert| alert.is_annunciated() && sight.may_see_alert(&town, alert)),
            ),
            readings: hub.counters.read().into(),
            store: hub.store.stats()?,
            remote: hub.store.remote(),
            notifications,
            started_at: hub.house.started_at,
            mqtt: (&hub.house).into(),
            disk: hub.house.disk.view().map(Disk::from),
            broker: hub.house.broker.as_ref().map(|broker| broker.look().into()),
            bridge: hub.house.bridge.as_ref().map(|bridge| bridge.look().into()),
            backups: hub.house.backups.as_ref().filter(|_| sight.is_whole()).map(Backups::view),
            queues: (hub.house.queues)(),
        })
    });
    Ok(Json(status.await?))
}

async fn notifications(hub: &Hub) -> Result<Notifications, Problem> {
    let states = hub
        .notifier
        .ask(|desk| {
            let now = desk.now();
            desk.post.channels(now)
        })
        .await?;
    let failing = states.iter().filter(|state| state.failing);
    Ok(Notifications {
        channels: states.len(),
        failing: failing.map(|state| state.name.clone()).collect(),
        waiting: states.iter().map(|state| state.waiting).sum(),
        failed: states.iter().map(|state| state.failed).sum(),
    })
}

fn count_devices(ages: impl Iterator<Item = Freshness>) -> DeviceCounts {
    let mut counts = DeviceCounts::default();
    for age in ages {
        counts.total += 1;
        match age {
            Freshness::Fresh => counts.online += 1,
            Freshness::Stale => counts.stale += 1,
            Freshness::Dead => counts.dead += 1,
            Freshness::Never => counts.never += 1,
        }
    }
    counts
}

fn count_alerts<'a>(open: impl IntoIterator<Item = &'a Alert>) -> AlertCounts {
    let mut counts = AlertCounts::default();
    for alert in open {
        let of_severity = match alert.severity {
            Severity::Critical => &mut counts.critical,
            Severity::Major => &mut counts.major,
            Severity::Minor => &mut counts.minor,
            Severity::Info => &mut counts.info,
        };
        of_severity.active += usize::from(alert.active);
        of_severity.unacknowledged += usize::from(alert.acknowledged_at.is_none());
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_counts_once() {
        use Freshness::{Dead, Fresh, Never, Stale};
        let counts = count_devices([Fresh, Fresh, Stale, Dead, Never].into_iter());
        let expected = DeviceCounts { total: 5, online: 2, stale: 1, dead: 1, never: 1 };
        assert_eq!(counts, expected);
    }
}
