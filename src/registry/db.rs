//! The state file: opening it, reading the town from it, writing changes into it.

use std::path::Path;
use std::time::Duration;

use geo::Geometry;
use rusqlite::{Connection, Row, Transaction, named_params, params};

use super::door::{Keys, ServiceAccount};
use super::enrolment::Lobby;
use super::error::RegistryError;
use super::rotation::DeviceKey;
use super::secrets::SecretHash;
use super::things::{Asset, Device, ModbusAddress, Zone};
use super::town::Town;
use super::{Change, DeviceChange, State};
use crate::model::{AssetNumber, Label, Timestamp};

/// The number of an asset that has none yet: SQLite counts from 1.
pub(super) const UNNUMBERED: AssetNumber = AssetNumber(0);

/// How long a statement waits for another process's transaction on the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the state file with the settings that every connection to it needs; makes an empty one, readable by
/// its owner only (it holds hashes of secrets; SQLite gives its WAL the same rights), if there is none.
pub(super) fn open(path: &Path) -> Result<Connection, RegistryError> {
    create_private(path).map_err(|source| RegistryError::File { path: path.to_owned(), source })?;
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a change that was answered is on disk, also after a power cut. Changes are rare.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The town's version in the file.
pub(super) fn town_version(db: &Connection) -> Result<u64, RegistryError> {
    let version: i64 = db.query_row("SELECT town FROM versions", (), |row| row.get(0))?;
    Ok(version.unsigned_abs())
}

/// Counts a change of the town; returns its new version.
pub(super) fn next_town_version(tx: &Transaction<'_>) -> Result<u64, RegistryError> {
    tx.execute("UPDATE versions SET town = town + 1", ())?;
    town_version(tx)
}

/// Reads everything; in the caller's transaction, so that another process's change is seen whole or not at all.
pub(super) fn load(tx: &Transaction<'_>) -> Result<State, RegistryError> {
    let mut keys = Keys::default();
    let mut devices = Vec::new();
    let mut statement = tx.prepare("SELECT * FROM devices")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (device, key) = device(row)?;
        keys.put_device(&device.id, key);
        devices.push(device);
    }
    let mut statement = tx.prepare("SELECT * FROM service_accounts")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (account, secret) = service(row)?;
        keys.put_service(account, secret);
    }
    let assets = all(tx, "SELECT * FROM assets", asset)?;
    let zones = all(tx, "SELECT * FROM zones", zone)?;
    let lobby = Lobby::load(tx)?;
    Ok(State { town: Town::new(town_version(tx)?, devices, assets, zones).into(), keys, lobby })
}

fn all<T>(
    db: &Connection,
    sql: &str,
    read: fn(&Row<'_>) -> Result<T, RegistryError>,
) -> Result<Vec<T>, RegistryError> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query(())?;
    let mut things = Vec::new();
    while let Some(row) = rows.next()? {
        things.push(read(row)?);
    }
    Ok(things)
}

fn device(row: &Row<'_>) -> Result<(Device, DeviceKey), RegistryError> {
    let id: String = row.get("id")?;
    let asset: Option<String> = row.get("asset")?;
    let endpoint: Option<String> = row.get("modbus_endpoint")?;
    let unit: Option<u8> = row.get("modbus_unit")?;
    let gateway: Option<String> = row.get("gateway")?;
    let address: Option<String> = row.get("address")?;
    let secret: Vec<u8> = row.get("secret")?;
    let former: Option<Vec<u8>> = row.get("former_secret")?;
    let until: Option<i64> = row.get("former_until")?;
    let corrupt = |why: &dyn ToString| RegistryError::corrupt("device", &id, why.to_string());
    let device = Device {
        id: id.parse().map_err(|e| corrupt(&e))?,
        name: label(row)?,
        profile: row.get::<_, String>("profile")?.parse().map_err(|e| corrupt(&e))?,
        asset: asset.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
        modbus: endpoint.zip(unit).map(|(endpoint, unit)| ModbusAddress { endpoint, unit }),
        gateway: gateway.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
        address: address.map(|text| text.parse()).transpose().map_err(|e| corrupt(&e))?,
    };
    let hash =
        |bytes: &[u8]| SecretHash::from_bytes(bytes).ok_or_else(|| corrupt(&"its secret's hash"));
    let former = former.map(|bytes| hash(&bytes)).transpose()?;
    let key = DeviceKey::stored(hash(&secret)?, former.zip(until.map(Timestamp::from_micros)));
    Ok((device, key))
}

fn asset(row: &Row<'_>) -> Result<Asset, RegistryError> {
    let id: String = row.get("id")?;
    let zone: Option<String> = row.get("zone")?;
    let parent: Option<String> = row.get("parent")?;
    let corrupt = |why: &dyn ToString| RegistryError::corrupt("asset", &id, why.to_string());
    Ok(Asset {
        id: id.parse().map_err(|e| corrupt(&e))?,
        number: AssetNumber(row.get("number")?),
        kind: row.get::<_, String>("kind")?.parse().map_err(|e| corrupt(&e))?,
        name: label(row)?,
        zone: zone.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
        parent: parent.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
        geometry: geometry(row).map_err(|e| corrupt(&e))?,
        properties: serde_json::from_str(&row.get::<_, String>("properties")?)
            .map_err(|e| corrupt(&e))?,
    })
}

fn zone(row: &Row<'_>) -> Result<Zone, RegistryError> {
    let id: String = row.get("id")?;
    let corrupt = |why: &dyn ToString| RegistryError::corrupt("zone", &id, why.to_string());
    let Geometry::MultiPolygon(geometry) = geometry(row).map_err(|e| corrupt(&e))? else {
        return Err(corrupt(&"its geometry is no MultiPolygon"));
    };
    Ok(Zone { id: id.parse().map_err(|e| corrupt(&e))?, name: label(row)?, geometry })
}

fn service(row: &Row<'_>) -> Result<(ServiceAccount, SecretHash), RegistryError> {
    let name: String = row.get("name")?;
    let corrupt =
        |why: &dyn ToString| RegistryError::corrupt("service account", &name, why.to_string());
    let filters = |column: &str| -> Result<Vec<String>, RegistryError> {
        serde_json::from_str(&row.get::<_, String>(column)?).map_err(|e| corrupt(&e))
    };
    let account = ServiceAccount {
        name: name.clone(),
        publish: filters("publish")?,
        subscribe: filters("subscribe")?,
    };
    let secret = SecretHash::from_bytes(&row.get::<_, Vec<u8>>("secret")?)
        .ok_or_else(|| corrupt(&"its secret's hash"))?;
    Ok((account, secret))
}

fn label(row: &Row<'_>) -> Result<Label, rusqlite::Error> {
    Ok(Label { zh: row.get("name_zh")?, en: row.get("name_en")? })
}

/// Reads a geometry and checks it as an import does: other rooms rely on every position being on the globe.
fn geometry(row: &Row<'_>) -> Result<Geometry<f64>, String> {
    let text: String = row.get("geometry").map_err(|e| e.to_string())?;
    let value: geojson::Geometry = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    super::import::shape(&value.value).map_err(|errors| errors.join("; "))
}

fn geometry_text(geometry: impl Into<geojson::GeometryValue>) -> String {
    geojson::Geometry::new(geometry.into()).to_string()
}

/// Writes a change, and fills in the numbers of new assets.
pub(super) fn write(tx: &Transaction<'_>, change: &mut Change) -> Result<(), RegistryError> {
    match change {
        Change::Zones(zones) => write_zones(tx, zones)?,
        Change::Assets(assets) => write_assets(tx, assets)?,
        Change::Devices(devices) => write_devices(tx, devices)?,
        Change::Service(account, secret) => write_service(tx, account, secret)?,
        Change::Lobby(change) => change.write(tx)?,
    }
    Ok(())
}

fn write_zones(tx: &Transaction<'_>, zones: &[Zone]) -> Result<(), rusqlite::Error> {
    let mut put = tx.prepare(
        "INSERT INTO zones (id, name_zh, name_en, geometry) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE
         SET name_zh = excluded.name_zh, name_en = excluded.name_en, geometry = excluded.geometry",
    )?;
    for zone in zones {
        let geometry = geometry_text(&zone.geometry);
        put.execute(params![zone.id.as_str(), zone.name.zh, zone.name.en, geometry])?;
    }
    Ok(())
}

fn write_assets(tx: &Transaction<'_>, assets: &mut [Asset]) -> Result<(), RegistryError> {
    let mut put = tx.prepare(
        "INSERT INTO assets (id, kind, name_zh, name_en, zone, parent, geometry, properties)
         VALUES (:id, :kind, :zh, :en, :zone, :parent, :geometry, :properties)
         ON CONFLICT (id) DO UPDATE
         SET kind = excluded.kind, name_zh = excluded.name_zh, name_en = excluded.name_en,
             zone = excluded.zone, parent = excluded.parent,
             geometry = excluded.geometry, properties = excluded.properties
         RETURNING number",
    )?;
    for asset in assets {
        let properties = serde_json::Value::Object(asset.properties.clone()).to_string();
        let values = named_params! {
            ":id": asset.id.as_str(),
            ":kind": asset.kind.as_str(),
            ":zh": asset.name.zh,
            ":en": asset.name.en,
            ":zone": asset.zone.as_ref().map(|id| id.as_str()),
            ":parent": asset.parent.as_ref().map(|id| id.as_str()),
            ":geometry": geometry_text(&asset.geometry),
            ":properties": properties,
        };
        asset.number = AssetNumber(put.query_row(values, |row| row.get(0))?);
    }
    Ok(())
}

pub(super) fn write_devices(
    tx: &Transaction<'_>,
    devices: &[DeviceChange],
) -> Result<(), rusqlite::Error> {
    let mut put = tx.prepare(
        "INSERT INTO devices (id, name_zh, name_en, profile, asset, modbus_endpoint, modbus_unit,
                              gateway, address, secret, former_secret, former_until)
         VALUES (:id, :zh, :en, :profile, :asset, :endpoint, :unit,
                 :gateway, :address, :secret, :former, :until)
         ON CONFLICT (id) DO UPDATE
         SET name_zh = excluded.name_zh, name_en = excluded.name_en, profile = excluded.profile,
             asset = excluded.asset, modbus_endpoint = excluded.modbus_endpoint,
             modbus_unit = excluded.modbus_unit, gateway = excluded.gateway,
             address = excluded.address, secret = excluded.secret,
             former_secret = excluded.former_secret, former_until = excluded.former_until",
    )?;
    for DeviceChange { device, key } in devices {
        let (present, former) = key.hashes();
        put.execute(named_params! {
            ":id": device.id.as_str(),
            ":zh": device.name.zh,
            ":en": device.name.en,
            ":profile": device.profile.as_str(),
            ":asset": device.asset.as_ref().map(|id| id.as_str()),
            ":endpoint": device.modbus.as_ref().map(|modbus| modbus.endpoint.as_str()),
            ":unit": device.modbus.as_ref().map(|modbus| modbus.unit),
            ":gateway": device.gateway.as_ref().map(|id| id.as_str()),
            ":address": device.address.as_ref().map(|address| address.as_str()),
            ":secret": present.to_bytes(),
            ":former": former.map(|(hash, _)| hash.to_bytes()),
            ":until": former.map(|(_, until)| until.as_micros()),
        })?;
    }
    Ok(())
}

fn write_service(
    tx: &Transaction<'_>,
    account: &ServiceAccount,
    secret: &SecretHash,
) -> Result<(), rusqlite::Error> {
    tx.execute(
        "INSERT INTO service_accounts (name, publish, subscribe, secret) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE
         SET publish = excluded.publish, subscribe = excluded.subscribe, secret = excluded.secret",
        params![
            account.name,
            serde_json::json!(account.publish).to_string(),
            serde_json::json!(account.subscribe).to_string(),
            secret.to_bytes(),
        ],
    )?;
    Ok(())
}
