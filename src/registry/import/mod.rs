//! Imports: many assets, zones or devices from one document.
//!
//! Three steps, each a value. Reading ([`geojson`], [`csv`]) turns a document into drafts: what each row says,
//! with everything that is wrong in the row itself. Planning ([`plan`]) holds the drafts against the town and
//! against each other: references, duplicates, what is new. Applying is one change of the registry: all rows,
//! or none when any row is wrong.
//!
//! A row says everything about its thing: what it leaves out is empty afterwards. Two things that a CSV cannot
//! say are kept: a device's secret, and the properties of an asset.

mod csv;
mod gateways;
mod geojson;
mod plan;
mod report;
mod row;

pub use report::{ImportMode, ImportReport, ImportRow, RowStatus};

pub(super) use geojson::shape;
pub(super) use plan::plan_one;
pub(super) use row::MIN_SECRET_CHARS;

use super::error::RegistryError;
use super::rotation::DeviceKey;
use super::secrets::{SecretHash, new_device_secret};
use super::things::Device;
use super::{Change, DeviceChange, Registry, State};
use crate::model::ProfileId;
use plan::{DevicePlan, Plan, PlannedDevice};

/// The most rows of one import.
pub const MAX_ROWS: usize = 100_000;

/// The largest document of one import in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024 * 1024;

impl Registry {
    /// Imports zones from a GeoJSON FeatureCollection of (Multi)Polygons; properties `id`, `name` or
    /// `name_zh` and `name_en`. Other properties are not kept.
    ///
    /// # Errors
    /// [`RegistryError::Document`] when the document as a whole cannot be read; or SQLite fails.
    pub fn import_zones(
        &self,
        geojson: &str,
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        let drafts = geojson::zones(geojson)?;
        self.import(mode, |state| plan::zones(&state.town, drafts), Change::Zones)
    }

    /// Imports assets from a GeoJSON FeatureCollection; properties `id`, `kind`, `name` (or `name_zh` and
    /// `name_en`), `zone`, `parent`, others are kept. Without `zone` an asset is listed under the smallest zone
    /// that contains it. Altitudes are not kept.
    ///
    /// # Errors
    /// [`RegistryError::Document`] when the document as a whole cannot be read; or SQLite fails.
    pub fn import_assets(
        &self,
        geojson: &str,
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        let drafts = geojson::assets(geojson)?;
        self.import(mode, |state| plan::assets(&state.town, drafts), Change::Assets)
    }

    /// Imports point assets from CSV with the columns id,kind,name_zh,name_en,zone,parent,upstream,lon,lat; known assets
    /// keep their properties.
    ///
    /// # Errors
    /// [`RegistryError::Document`] when the header or the document as a whole is wrong; or SQLite fails.
    pub fn import_assets_csv(
        &self,
        csv: &[u8],
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        let drafts = csv::assets(csv)?;
        self.import(mode, |state| plan::assets(&state.town, drafts), Change::Assets)
    }

    /// Imports devices from CSV with the columns id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,gateway,
    /// address,secret.
    /// An empty secret makes one for a new device and keeps a known device's. `profiles` are the ids that exist.
    ///
    /// # Errors
    /// [`RegistryError::Document`] when the header or the document as a whole is wrong; or SQLite fails.
    pub fn import_devices_csv(
        &self,
        csv: &[u8],
        profiles: &[ProfileId],
        mode: ImportMode,
    ) -> Result<ImportReport, RegistryError> {
        let drafts = csv::devices(csv)?;
        let plan = |state: &State| plan::devices(state, profiles, drafts);
        if mode == ImportMode::DryRun {
            let state = self.state();
            let DevicePlan(plan) = plan(&state);
            let devices = plan.changes.iter().map(|planned| &planned.device);
            self.1.check_devices(&state.town, devices)?;
            return Ok(ImportReport::new(false, plan.rows));
        }
        self.change(|state| Ok(apply_devices(plan(state))))
    }

    /// Adds or replaces one device. Without `secret` a new device gets one, which is returned (shown once, stored
    /// hashed), and a known device keeps its own. The caller has checked that the profile exists.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with everything that is wrong with it; or SQLite fails.
    pub fn put_device(
        &self,
        device: Device,
        secret: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        let id = device.id.to_string();
        let profile = device.profile.clone();
        let draft = row::DeviceDraft::from_device(device, secret);
        self.change(|state| {
            let plan = plan::devices(state, &[profile], vec![draft]);
            let (change, mut report) = apply_devices(plan);
            match report.rows.pop() {
                Some(row) if row.status != RowStatus::Rejected => Ok((change, row.secret)),
                row => {
                    let errors = row.map(|row| row.errors).unwrap_or_default();
                    Err(RegistryError::Invalid { what: "device", id, errors })
                }
            }
        })
    }

    /// Plans, and applies when every row is right and it is no dry run.
    fn import<T>(
        &self,
        mode: ImportMode,
        plan: impl FnOnce(&State) -> Plan<T>,
        change: fn(Vec<T>) -> Change,
    ) -> Result<ImportReport, RegistryError> {
        if mode == ImportMode::DryRun {
            let state = self.state();
            let plan = plan(&state);
            self.1.check(&state, &change(plan.changes))?;
            return Ok(ImportReport::new(false, plan.rows));
        }
        self.change(|state| {
            let plan = plan(state);
            let applied = !plan.is_rejected();
            let changed = applied && !plan.changes.is_empty();
            let report = ImportReport::new(applied, plan.rows);
            Ok((changed.then(|| change(plan.changes)), report))
        })
    }
}

/// The change that a plan of devices asks for, with new secrets for those that need one.
fn apply_devices(DevicePlan(mut plan): DevicePlan) -> (Option<Change>, ImportReport) {
    if plan.is_rejected() {
        return (None, ImportReport::new(false, plan.rows));
    }
    let mut changes = Vec::with_capacity(plan.changes.len());
    for PlannedDevice { at, device, key } in plan.changes {
        let key = key.unwrap_or_else(|| {
            let made = new_device_secret();
            let hash = SecretHash::new(made.as_bytes());
            plan.rows[at].secret = Some(made);
            DeviceKey::new(hash)
        });
        changes.push(DeviceChange { device, key });
    }
    let changed = !changes.is_empty();
    (changed.then_some(Change::Devices(changes)), ImportReport::new(true, plan.rows))
}
