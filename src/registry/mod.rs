//! The town's own state: assets, devices, zones, accounts; its spatial index; imports.
//!
//! Takes GeoJSON, CSV and single edits; hands on an immutable [`Town`] that the other rooms read without a
//! lock, and checks who somebody is. Never touches a reading.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::model::{
    AssetId, AssetKind, AssetNumber, Bbox, DeviceId, Label, Position, ProfileId, ZoneId,
};

/// A device as the registry knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// Its id, MQTT user name and topic level.
    pub id: DeviceId,
    /// What it is called.
    pub name: Label,
    /// The device model.
    pub profile: ProfileId,
    /// The asset that it observes.
    pub asset: Option<AssetId>,
    /// Where a Modbus device is reached; `None` for devices that publish.
    pub modbus: Option<ModbusAddress>,
}

/// A unit behind a Modbus TCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ModbusAddress {
    /// `host:port`.
    pub endpoint: String,
    /// The unit (slave) number.
    pub unit: u8,
}

/// A thing that stands somewhere in the town.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asset {
    /// Its id.
    pub id: AssetId,
    /// Its number on the map, kept for life.
    pub number: AssetNumber,
    /// What it is.
    pub kind: AssetKind,
    /// What it is called.
    pub name: Label,
    /// The zone it is listed under.
    pub zone: Option<ZoneId>,
    /// Its parent: the lot of a bay.
    pub parent: Option<AssetId>,
    /// Where it is: a point, or a line for a pipe. WGS-84.
    #[serde(skip)]
    pub geometry: geo::Geometry<f64>,
    /// The rest of what its import said.
    pub properties: serde_json::Map<String, serde_json::Value>,
}

/// An area of the town.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Zone {
    /// Its id.
    pub id: ZoneId,
    /// What it is called.
    pub name: Label,
    /// Its outline. WGS-84.
    #[serde(skip)]
    pub geometry: geo::MultiPolygon<f64>,
}

/// The whole town at one moment: immutable, shared, replaced as one by every change.
#[derive(Debug)]
pub struct Town {
    /// Counts changes from 1; a reader that saw a version need not look again.
    pub version: u64,
    /// Every device by its id.
    pub devices: HashMap<DeviceId, Arc<Device>>,
    /// Every asset by its id.
    pub assets: HashMap<AssetId, Arc<Asset>>,
    /// Every zone by its id.
    pub zones: HashMap<ZoneId, Arc<Zone>>,
}

impl Town {
    /// The assets whose bounding boxes meet `bbox`.
    pub fn assets_in(&self, _bbox: Bbox) -> Vec<&Arc<Asset>> {
        todo!()
    }

    /// The `n` assets nearest to `position`, nearest first, with their distance in metres.
    pub fn nearest(&self, _position: Position, _n: usize) -> Vec<(&Arc<Asset>, f64)> {
        todo!()
    }
}

/// Why somebody is not let in. One word for the wire: the caller must not learn which half was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody by this name, or the wrong secret.
    #[error("unknown name or wrong secret")]
    BadCredentials,
    /// Too many wrong tries; try later.
    #[error("too many wrong tries")]
    LockedOut,
}

/// Who connected to the MQTT door.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A device: publishes under its own topics, hears its own commands.
    Device(Arc<Device>),
    /// A program: a dashboard, a bridge; limited to listed filters.
    Service(Arc<ServiceAccount>),
}

/// A program's account at the MQTT door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceAccount {
    /// Its MQTT user name; starts with `svc-`.
    pub name: String,
    /// Topic filters it may publish to.
    pub publish: Vec<String>,
    /// Topic filters it may subscribe to (a requested filter must be covered by one of these).
    pub subscribe: Vec<String>,
}

/// The account of a person or of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// What the account may do; `admin` only, for now.
    pub role: String,
}

/// What happened to one row of an import. Rows count from 1 at the first data row (CSV) or feature (GeoJSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportRow {
    /// The row's number.
    pub row: usize,
    /// The id in the row, if it had one.
    pub id: Option<String>,
    /// created, updated, unchanged or rejected.
    pub status: RowStatus,
    /// What is wrong with it and what would be right.
    pub errors: Vec<String>,
    /// The device's secret, when this import made one: shown once, stored hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The fate of an import's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatus {
    /// New.
    Created,
    /// Known, changed.
    Updated,
    /// Known, the same.
    Unchanged,
    /// Wrong.
    Rejected,
}

/// What an import did: all of it, or (when any row is wrong) none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Whether the rows are in force now. False when a row was rejected, and for a dry run.
    pub applied: bool,
    /// How many rows are right.
    pub accepted: usize,
    /// How many rows are wrong.
    pub rejected: usize,
    /// Every row.
    pub rows: Vec<ImportRow>,
}

/// Why the registry cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// SQLite said no.
    #[error("the town's state database failed")]
    Database(#[from] rusqlite::Error),
    /// A document is not what it claims to be (whole-document faults; row faults are in the report).
    #[error("{0}")]
    Document(String),
    /// A thing that is named does not exist.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// device, asset, user, ...
        what: &'static str,
        /// The id that was given.
        id: String,
    },
}

/// The registry's handle: cheap to clone, safe to share.
#[derive(Debug, Clone)]
pub struct Registry {}

/// Whether an import is to be applied or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// Apply when every row is right.
    Apply,
    /// Only report.
    DryRun,
}

#[allow(unused_variables, clippy::unused_async)]
impl Registry {
    /// Opens (or makes) the town's state in the SQLite file at `path`, running migrations.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, RegistryError> {
        todo!()
    }

    /// A further connection to the state database, for the room that owns other tables in it (alerts).
    pub fn connect(&self) -> Result<rusqlite::Connection, RegistryError> {
        todo!()
    }

    /// The town now.
    pub fn town(&self) -> Arc<Town> {
        todo!()
    }

    /// Tells of every new version of the town.
    pub fn changes(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Imports zones from a GeoJSON FeatureCollection of (Multi)Polygons; properties `id`, `name` or `name_zh`+`name_en`.
    pub fn import_zones(
        &self,
        geojson: &str,
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        todo!()
    }

    /// Imports assets from a GeoJSON FeatureCollection; properties `id`, `kind`, `name`, `zone`, `parent`, others are kept.
    pub fn import_assets(
        &self,
        geojson: &str,
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        todo!()
    }

    /// Imports point assets from CSV with the columns id,kind,name_zh,name_en,zone,parent,lon,lat.
    pub fn import_assets_csv(
        &self,
        csv: &[u8],
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        todo!()
    }

    /// Imports devices from CSV with the columns id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret.
    /// An empty secret makes one for a new device and keeps a known device's. `profiles` are the ids that exist.
    pub fn import_devices_csv(
        &self,
        csv: &[u8],
        profiles: &[ProfileId],
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        todo!()
    }

    /// Gives a device a new secret and returns it: it is stored hashed and never shown again.
    pub fn rotate_secret(&self, device: &DeviceId) -> Result<String, RegistryError> {
        todo!()
    }

    /// Who connects to the MQTT door with this name and secret. Fast (salted SHA-256 of a high-entropy secret): 10 000
    /// devices come back at once after an outage.
    pub fn authenticate(&self, name: &str, secret: &[u8]) -> Result<Principal, Denied> {
        todo!()
    }

    /// Makes or replaces a service account and returns its new secret.
    pub fn put_service(&self, account: ServiceAccount) -> Result<String, RegistryError> {
        todo!()
    }

    /// Makes the first administrator if there is no user yet, and returns its one-time shown password.
    pub fn first_admin(&self) -> Result<Option<(String, String)>, RegistryError> {
        todo!()
    }

    /// Gives a user a new generated password, ends its sessions, and returns the password.
    pub fn reset_password(&self, user: &str) -> Result<String, RegistryError> {
        todo!()
    }

    /// Checks a person's password (argon2id; blocks for tens of milliseconds: call it off the async threads) and opens
    /// a session; returns the session's cookie value.
    pub fn log_in(&self, user: &str, password: &str) -> Result<String, Denied> {
        todo!()
    }

    /// Ends a session.
    pub fn log_out(&self, session: &str) -> Result<(), RegistryError> {
        todo!()
    }

    /// Makes a bearer token for programs and returns it: stored hashed, never shown again.
    pub fn create_token(&self, user: &str, label: &str) -> Result<String, RegistryError> {
        todo!()
    }

    /// Who holds this session cookie or bearer token. In memory: it is asked on every request.
    pub fn who(&self, session_or_token: &str) -> Option<User> {
        todo!()
    }
}
