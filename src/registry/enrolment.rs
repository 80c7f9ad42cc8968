//! Devices that register themselves: enrolment keys, who waits for approval, and how somebody is let in at last.
//!
//! A device that nobody has listed connects with the user name `enroll` and the password `KEY:OWN`: an enrolment key, which
//! somebody at the hub made, and a secret of its own, which it keeps for life. It waits, with the door open to it but nothing
//! of what it says stored, until somebody approves or rejects it. The hub never has to tell it a secret: once approved, the
//! same user name and password go on working, because from then on only `OWN` is looked at; so does its id with `OWN`.
//!
//! Bounds: a key brings so many devices and no more, all keys together [`MAX_WAITING`] that wait at a time, and an address
//! from which wrong keys come is locked out for a while ([`super::lockout`]). A device that is known already, or waits,
//! needs no key any more: a foreign address's wrong tries cannot lock it out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::door::SERVICE_PREFIX;
use super::error::RegistryError;
use super::import::{MIN_SECRET_CHARS, plan_one};
use super::rotation::DeviceKey;
use super::secrets::{SecretHash, fingerprint, new_grant};
use super::things::{Device, DeviceAddress};
use super::{Change, DeviceChange, Registry, State, lock};
use crate::model::{AssetId, DeviceId, IdError, Label, ProfileId, Timestamp, ZoneId};

/// The MQTT user name of a device that registers itself. `enroll:ID` says its id for a client that cannot choose its client
/// identifier.
pub const ENROLL: &str = "enroll";

/// The most devices that one key may bring.
pub const MAX_DEVICES: u32 = 10_000;

/// The most devices that wait at a time: a list that somebody still reads.
pub const MAX_WAITING: usize = 1_000;

/// The longest life of a key.
pub const MAX_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The most keys that are kept, those that are over included: they tell where devices came from.
const MAX_KEYS: usize = 1_000;

/// The longest own secret in bytes.
const MAX_SECRET_BYTES: usize = 128;

/// The longest label of a key in characters.
const MAX_LABEL_CHARS: usize = 200;

/// An enrolment key, without the key itself: that is shown once and stored hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enrolment {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub label: String,
    /// The profile of its devices, unless the approval says another.
    pub profile: Option<ProfileId>,
    /// Where its devices stand: an approval may give them only assets of this zone.
    pub zone: Option<ZoneId>,
    /// How many devices it may bring.
    pub max_devices: u32,
    /// How many it has brought.
    pub used: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// An enrolment key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnrolment {
    /// What it is for.
    pub label: String,
    /// See [`Enrolment::profile`]; the caller has checked that it exists.
    pub profile: Option<ProfileId>,
    /// See [`Enrolment::zone`].
    pub zone: Option<ZoneId>,
    /// See [`Enrolment::max_devices`].
    pub max_devices: u32,
    /// For how long it is good.
    pub expires_in: Duration,
}

/// A device that registered itself and is not yet approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingDevice {
    /// The id that it wishes for.
    pub id: DeviceId,
    /// The number of its key.
    pub enrolment: i64,
    /// The profile that its key gives it.
    pub profile: Option<ProfileId>,
    /// Its key's zone.
    pub zone: Option<ZoneId>,
    /// The address from which it came first.
    pub peer: String,
    /// Since when.
    pub since: Timestamp,
    /// When somebody turned it away.
    pub rejected_at: Option<Timestamp>,
    #[serde(skip)]
    pub(super) secret: SecretHash,
}

/// What an approved device becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    /// Its profile; its key's when left out. The caller has checked that it exists.
    pub profile: Option<ProfileId>,
    /// What it observes.
    pub asset: Option<AssetId>,
    /// What it is called.
    pub name: Option<Label>,
    /// The device that may publish for it.
    pub gateway: Option<DeviceId>,
    /// What its gateway calls it.
    pub address: Option<DeviceAddress>,
}

/// What somebody at the door says who wants to be enrolled.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The id that it wishes for.
    pub device: &'a str,
    /// `KEY:OWN`.
    pub password: &'a [u8],
    /// Where it comes from, without the port.
    pub peer: &'a str,
}

/// Who is let in by the enrolment's door.
#[derive(Debug, Clone)]
pub enum Enrolled {
    /// A device that is approved.
    Device(Arc<Device>),
    /// One that waits.
    Waiting(DeviceId),
}

/// Why a device cannot enrol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The wished id is none.
    #[error("its client identifier is no device id: {0}")]
    BadId(#[from] IdError),
    /// The wished id is kept for others.
    #[error("the id `{0}` is reserved")]
    ReservedId(String),
    /// The password is not `KEY:OWN`.
    #[error("the password must be the enrolment key, a colon and a secret of the device's own")]
    NoOwnSecret,
    /// The own secret is too short or too long.
    #[error("a device's own secret has {MIN_SECRET_CHARS} to {MAX_SECRET_BYTES} characters")]
    WeakSecret,
    /// A device of this id is there already, with another secret.
    #[error("there is a device of this id with another secret")]
    IdTaken,
    /// No such key.
    #[error("no such enrolment key")]
    UnknownKey,
    /// Too many wrong keys from this address.
    #[error("too many wrong enrolment keys from this address")]
    LockedOut,
    /// The key is over.
    #[error("the enrolment key {0} has expired")]
    Expired(i64),
    /// Somebody revoked the key.
    #[error("the enrolment key {0} was revoked")]
    Revoked(i64),
    /// The key has brought all its devices.
    #[error("the enrolment key {0} has brought all its devices")]
    UsedUp(i64),
    /// Too many wait already.
    #[error("{MAX_WAITING} devices wait for approval already")]
    Full,
    /// Somebody turned it away.
    #[error("the device was rejected")]
    Rejected,
    /// The town's state cannot be written.
    #[error("the town's state cannot be written now")]
    Unavailable,
}

/// Keys and who waits: a part of the registry's state.
#[derive(Debug, Clone, Default)]
pub(super) struct Lobby {
    /// By the key's fingerprint.
    keys: BTreeMap<[u8; 32], Enrolment>,
    waiting: BTreeMap<DeviceId, WaitingDevice>,
}

impl Lobby {
    fn key(&self, id: i64) -> Option<&Enrolment> {
        self.keys.values().find(|key| key.id == id)
    }

    pub(super) fn is_waiting(&self, id: &DeviceId) -> bool {
        self.waiting.get(id).is_some_and(|device| device.rejected_at.is_none())
    }

    fn waiting(&self) -> impl Iterator<Item = &WaitingDevice> {
        self.waiting.values().filter(|device| device.rejected_at.is_none())
    }

    /// Reads the lobby.
    pub(super) fn load(tx: &Transaction<'_>) -> Result<Self, RegistryError> {
        let mut lobby = Lobby::default();
        let mut statement = tx.prepare("SELECT * FROM enrolments")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get("id")?;
            let corrupt = |why: &dyn ToString| {
                RegistryError::corrupt("enrolment", &id.to_string(), why.to_string())
            };
            let profile: Option<String> = row.get("profile")?;
            let zone: Option<String> = row.get("zone")?;
            let hash: [u8; 32] = row.get("hash")?;
            let time = |micros: i64| Timestamp::from_micros(micros);
            let key = Enrolment {
                id,
                label: row.get("label")?,
                profile: profile.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
                zone: zone.map(|id| id.parse()).transpose().map_err(|e| corrupt(&e))?,
                max_devices: row.get("max_devices")?,
                used: row.get("used")?,
                created_at: time(row.get("created_at")?),
                expires_at: time(row.get("expires_at")?),
                revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(time),
            };
            lobby.keys.insert(hash, key);
        }
        let mut statement = tx.prepare("SELECT * FROM waiting_devices")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let id: String = row.get("id")?;
            let corrupt =
                |why: &dyn ToString| RegistryError::corrupt("waiting device", &id, why.to_string());
            let secret: Vec<u8> = row.get("secret")?;
            let enrolment = row.get("enrolment")?;
            let key = lobby.key(enrolment);
            let device = WaitingDevice {
                id: id.parse().map_err(|e| corrupt(&e))?,
                enrolment,
                profile: key.and_then(|key| key.profile.clone()),
                zone: key.and_then(|key| key.zone.clone()),
                peer: row.get("peer")?,
                since: Timestamp::from_micros(row.get("since")?),
                rejected_at: row.get::<_, Option<i64>>("rejected_at")?.map(Timestamp::from_micros),
                secret: SecretHash::from_bytes(&secret)
                    .ok_or_else(|| corrupt(&"its secret's hash"))?,
            };
            lobby.waiting.insert(device.id.clone(), device);
        }
        Ok(lobby)
    }
}

/// A change of the lobby.
#[derive(Debug)]
pub(super) enum LobbyChange {
    Key([u8; 32], Enrolment),
    Revoked(i64, Timestamp),
    Arrived(WaitingDevice),
    Rejected(DeviceId, Timestamp),
    /// It became a device.
    Approved(DeviceId, Box<DeviceChange>),
}

impl LobbyChange {
    /// Writes it, and fills in the number of a new key.
    pub(super) fn write(&mut self, tx: &Transaction<'_>) -> Result<(), RegistryError> {
        match self {
            LobbyChange::Key(hash, key) => {
                key.id = insert_key(tx, hash, key)?;
            }
            LobbyChange::Revoked(id, at) => {
                let sql = "UPDATE enrolments SET revoked_at = ?2 WHERE id = ?1";
                tx.execute(sql, params![*id, at.as_micros()])?;
            }
            LobbyChange::Arrived(device) => {
                tx.execute(
                    "INSERT INTO waiting_devices (id, enrolment, secret, peer, since)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        device.id.as_str(),
                        device.enrolment,
                        device.secret.to_bytes(),
                        device.peer,
                        device.since.as_micros()
                    ],
                )?;
                let sql = "UPDATE enrolments SET used = used + 1 WHERE id = ?1";
                tx.execute(sql, [device.enrolment])?;
            }
            LobbyChange::Rejected(id, at) => {
                let sql = "UPDATE waiting_devices SET rejected_at = ?2 WHERE id = ?1";
                tx.execute(sql, params![id.as_str(), at.as_micros()])?;
            }
            LobbyChange::Approved(id, device) => {
                tx.execute("DELETE FROM waiting_devices WHERE id = ?1", [id.as_str()])?;
                super::db::write_devices(tx, std::slice::from_ref(device))?;
            }
        }
        Ok(())
    }

    /// What the audit log is told of it: an action, whom it concerns, and the rest.
    pub(super) fn entry(&self, before: &State) -> (&'static str, String, Value) {
        let origin = |id: &DeviceId| {
            let waiting = before.lobby.waiting.get(id);
            waiting.map_or(Value::Null, |w| json!({ "enrolment": w.enrolment, "peer": w.peer }))
        };
        match self {
            LobbyChange::Key(_, key) => {
                let detail = json!({ "label": key.label, "profile": key.profile, "zone": key.zone,
                    "max_devices": key.max_devices, "expires_at": key.expires_at });
                ("enrolment.add", key.id.to_string(), detail)
            }
            LobbyChange::Revoked(id, _) => {
                let used = before.lobby.key(*id).map(|key| key.used);
                ("enrolment.revoke", id.to_string(), json!({ "used": used }))
            }
            LobbyChange::Arrived(device) => {
                let detail = json!({ "enrolment": device.enrolment, "peer": device.peer });
                ("device.wait", device.id.to_string(), detail)
            }
            LobbyChange::Rejected(id, _) => ("device.reject", id.to_string(), origin(id)),
            LobbyChange::Approved(id, change) => {
                let device = &change.device;
                let detail = json!({ "profile": device.profile, "asset": device.asset,
                    "gateway": device.gateway, "address": device.address, "origin": origin(id) });
                ("device.approve", id.to_string(), detail)
            }
        }
    }

    /// The zone that it concerns; `None` when that is the whole town. An approval concerns its device.
    pub(super) fn zone<'a>(&'a self, before: &'a State) -> Option<&'a ZoneId> {
        let of_key = |id: i64| before.lobby.key(id)?.zone.as_ref();
        match self {
            LobbyChange::Key(_, key) => key.zone.as_ref(),
            LobbyChange::Revoked(id, _) => of_key(*id),
            LobbyChange::Arrived(device) => of_key(device.enrolment),
            LobbyChange::Rejected(id, _) | LobbyChange::Approved(id, _) => {
                before.lobby.waiting.get(id)?.zone.as_ref()
            }
        }
    }

    /// Puts it into force in memory; returns the device that it made, if it did.
    pub(super) fn apply(self, lobby: &mut Lobby) -> Option<DeviceChange> {
        match self {
            LobbyChange::Key(hash, key) => {
                lobby.keys.insert(hash, key);
            }
            LobbyChange::Revoked(id, at) => {
                let keys = lobby.keys.values_mut().filter(|key| key.id == id);
                keys.for_each(|key| key.revoked_at = Some(at));
            }
            LobbyChange::Arrived(device) => {
                let keys = lobby.keys.values_mut().filter(|key| key.id == device.enrolment);
                keys.for_each(|key| key.used += 1);
                lobby.waiting.insert(device.id.clone(), device);
            }
            LobbyChange::Rejected(id, at) => {
                if let Some(device) = lobby.waiting.get_mut(&id) {
                    device.rejected_at = Some(at);
                }
            }
            LobbyChange::Approved(id, device) => {
                lobby.waiting.remove(&id);
                return Some(*device);
            }
        }
        None
    }
}

fn insert_key(
    tx: &Transaction<'_>,
    hash: &[u8; 32],
    key: &Enrolment,
) -> Result<i64, rusqlite::Error> {
    tx.query_row(
        "INSERT INTO enrolments (hash, label, profile, zone, max_devices, used, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7) RETURNING id",
        params![
            hash,
            key.label,
            key.profile.as_ref().map(|id| id.as_str()),
            key.zone.as_ref().map(|id| id.as_str()),
            key.max_devices,
            key.created_at.as_micros(),
            key.expires_at.as_micros(),
        ],
        |row| row.get(0),
    )
}

impl Registry {
    /// Makes an enrolment key and returns it: it is stored hashed and never shown again.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with everything that is wrong with it; or SQLite fails.
    pub fn create_enrolment(
        &self,
        new: NewEnrolment,
    ) -> Result<(Enrolment, String), RegistryError> {
        let now = self.0.clock.now();
        let key = new_grant();
        let hash = fingerprint(&key);
        let enrolment = self.change(|state| {
            let errors = new.errors(state);
            if !errors.is_empty() {
                let id = new.label.chars().take(64).collect();
                return Err(RegistryError::Invalid { what: "enrolment", id, errors });
            }
            let enrolment = Enrolment {
                // SQLite gives the number.
                id: 0,
                label: new.label,
                profile: new.profile,
                zone: new.zone,
                max_devices: new.max_devices,
                used: 0,
                created_at: now,
                expires_at: now.plus(new.expires_in),
                revoked_at: None,
            };
            let change = LobbyChange::Key(hash, enrolment);
            Ok((Some(Change::Lobby(change)), ()))
        });
        enrolment?;
        let state = self.state();
        let made = state.lobby.keys.get(&hash).cloned();
        Ok((made.ok_or_else(|| RegistryError::not_found("enrolment", "new"))?, key))
    }

    /// Every enrolment key, the newest first.
    pub fn enrolments(&self) -> Vec<Enrolment> {
        let mut keys: Vec<_> = self.state().lobby.keys.values().cloned().collect();
        keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.id));
        keys
    }

    /// Ends a key now. Devices that came with it and wait go on waiting.
    ///
    /// # Errors
    /// When there is no such key, or SQLite fails.
    pub fn revoke_enrolment(&self, id: i64) -> Result<(), RegistryError> {
        let now = self.0.clock.now();
        self.change(|state| {
            let key = state.lobby.key(id);
            let key = key.ok_or_else(|| RegistryError::not_found("enrolment", &id.to_string()))?;
            if key.revoked_at.is_some() {
                return Ok((None, ()));
            }
            Ok((Some(Change::Lobby(LobbyChange::Revoked(id, now))), ()))
        })
    }

    /// The devices that wait for approval, by id.
    pub fn waiting(&self) -> Vec<WaitingDevice> {
        self.state().lobby.waiting().cloned().collect()
    }

    /// Lets somebody in who registers himself: a device that is approved already, one that waits already, or a new one,
    /// which then waits. Blocks when it is new.
    ///
    /// # Errors
    /// When it is not let in; nothing has changed then.
    pub fn enrol(&self, wish: &Wish<'_>) -> Result<Enrolled, EnrolError> {
        let id: DeviceId = wish.device.parse()?;
        if id.as_str().starts_with(SERVICE_PREFIX) || is_enroll(id.as_str()) {
            return Err(EnrolError::ReservedId(id.to_string()));
        }
        let colon = wish.password.iter().position(|&byte| byte == b':');
        let (key, own) = wish.password.split_at(colon.ok_or(EnrolError::NoOwnSecret)?);
        let own = &own[1..];
        let state = self.state();
        if let Some((device, known)) = state.town.devices.get(&id).zip(state.keys.of_device(&id)) {
            self.show(device, known, own).map_err(|_| EnrolError::IdTaken)?;
            return Ok(Enrolled::Device(Arc::clone(device)));
        }
        if let Some(waiting) = state.lobby.waiting.get(&id) {
            return match (waiting.secret.matches(own), waiting.rejected_at) {
                (false, _) => Err(EnrolError::IdTaken),
                (true, Some(_)) => Err(EnrolError::Rejected),
                (true, None) => Ok(Enrolled::Waiting(id)),
            };
        }
        drop(state);
        self.check_key(key, wish.peer)?;
        if !is_own_secret(own) {
            return Err(EnrolError::WeakSecret);
        }
        self.arrive(id, key, own, wish.peer)
    }

    /// Whether there is such a key. Wrong ones are counted against the address that they come from.
    fn check_key(&self, key: &[u8], peer: &str) -> Result<(), EnrolError> {
        let mut tries = lock(&self.0.enrol_tries);
        let now = self.0.clock.now();
        if tries.is_locked(peer, now) {
            return Err(EnrolError::LockedOut);
        }
        let is_known = std::str::from_utf8(key)
            .is_ok_and(|key| self.state().lobby.keys.contains_key(&fingerprint(key)));
        if !is_known {
            tries.begin(peer, None, now);
            return Err(EnrolError::UnknownKey);
        }
        Ok(())
    }

    fn arrive(
        &self,
        id: DeviceId,
        key: &[u8],
        own: &[u8],
        peer: &str,
    ) -> Result<Enrolled, EnrolError> {
        let now = self.0.clock.now();
        let hash = fingerprint(&String::from_utf8_lossy(key));
        let arrived = self.change(|state| {
            Ok(match plan_arrival(state, &id, &hash, own, peer, now) {
                Ok(device) => (Some(Change::Lobby(LobbyChange::Arrived(device))), Ok(())),
                Err(refusal) => (None, Err(refusal)),
            })
        });
        match arrived {
            Ok(outcome) => outcome.map(|()| Enrolled::Waiting(id)),
            Err(why) => {
                tracing::error!(error = %crate::error_chain(&why), "a device cannot enrol");
                Err(EnrolError::Unavailable)
            }
        }
    }

    /// Makes a device of one that waits. It keeps the secret that it chose.
    ///
    /// # Errors
    /// When it does not wait, or [`RegistryError::Invalid`] with everything that is wrong; or SQLite fails.
    pub fn approve(&self, id: &str, approval: &Approval) -> Result<Arc<Device>, RegistryError> {
        self.change(|state| {
            let waiting = state.lobby.waiting().find(|device| device.id.as_str() == id);
            let waiting = waiting.ok_or_else(|| RegistryError::not_found("waiting device", id))?;
            let device = plan_approval(state, waiting, approval)?;
            let key = DeviceKey::new(waiting.secret.clone());
            let change = DeviceChange { device, key };
            let change = LobbyChange::Approved(waiting.id.clone(), Box::new(change));
            Ok((Some(Change::Lobby(change)), ()))
        })?;
        let town = self.town();
        town.devices.get(id).cloned().ok_or_else(|| RegistryError::not_found("device", id))
    }

    /// Turns a device away that waits: under this id it is not let in again.
    ///
    /// # Errors
    /// When it does not wait, or SQLite fails.
    pub fn reject(&self, id: &str) -> Result<(), RegistryError> {
        let now = self.0.clock.now();
        self.change(|state| {
            let waiting = state.lobby.waiting().find(|device| device.id.as_str() == id);
            let waiting = waiting.ok_or_else(|| RegistryError::not_found("waiting device", id))?;
            let change = LobbyChange::Rejected(waiting.id.clone(), now);
            Ok((Some(Change::Lobby(change)), ()))
        })
    }
}

/// Whether a user name asks for the enrolment's door.
pub fn is_enroll(name: &str) -> bool {
    name == ENROLL || name.strip_prefix(ENROLL).is_some_and(|rest| rest.starts_with(':'))
}

fn is_own_secret(own: &[u8]) -> bool {
    own.len() <= MAX_SECRET_BYTES
        && std::str::from_utf8(own).is_ok_and(|own| own.chars().count() >= MIN_SECRET_CHARS)
}

fn plan_arrival(
    state: &State,
    id: &DeviceId,
    hash: &[u8; 32],
    own: &[u8],
    peer: &str,
    now: Timestamp,
) -> Result<WaitingDevice, EnrolError> {
    // Looked at again: another connection may have been quicker.
    if state.town.devices.contains_key(id) || state.lobby.waiting.contains_key(id) {
        return Err(EnrolError::IdTaken);
    }
    let key = state.lobby.keys.get(hash).ok_or(EnrolError::UnknownKey)?;
    if key.revoked_at.is_some() {
        return Err(EnrolError::Revoked(key.id));
    }
    if key.expires_at <= now {
        return Err(EnrolError::Expired(key.id));
    }
    if key.used >= key.max_devices {
        return Err(EnrolError::UsedUp(key.id));
    }
    if state.lobby.waiting().count() >= MAX_WAITING {
        return Err(EnrolError::Full);
    }
    Ok(WaitingDevice {
        id: id.clone(),
        enrolment: key.id,
        profile: key.profile.clone(),
        zone: key.zone.clone(),
        peer: peer.chars().take(64).collect(),
        since: now,
        rejected_at: None,
        secret: SecretHash::new(own),
    })
}

fn plan_approval(
    state: &State,
    waiting: &WaitingDevice,
    approval: &Approval,
) -> Result<Device, RegistryError> {
    let refuse = |errors| {
        let id = waiting.id.to_string();
        RegistryError::Invalid { what: "approval of device", id, errors }
    };
    let Some(profile) = approval.profile.clone().or_else(|| waiting.profile.clone()) else {
        return Err(refuse(vec!["its enrolment key gives it no profile; name one".to_owned()]));
    };
    let device = Device {
        id: waiting.id.clone(),
        name: approval.name.clone().unwrap_or_else(|| Label::same(waiting.id.as_str())),
        profile,
        asset: approval.asset.clone(),
        modbus: None,
        gateway: approval.gateway.clone(),
        address: approval.address.clone(),
    };
    let (device, mut errors) = plan_one(state, device);
    let asset = approval.asset.as_ref().and_then(|asset| state.town.assets.get(asset));
    if let (Some(zone), Some(asset)) = (&waiting.zone, asset)
        && asset.zone.as_ref() != Some(zone)
    {
        errors.push(format!(
            "its enrolment key is for zone `{zone}`, asset `{}` is not in it",
            asset.id
        ));
    }
    device.filter(|_| errors.is_empty()).ok_or_else(|| refuse(errors))
}

impl NewEnrolment {
    fn errors(&self, state: &State) -> Vec<String> {
        let mut errors = Vec::new();
        if self.label.chars().count() > MAX_LABEL_CHARS || self.label.contains(char::is_control) {
            errors.push(format!("a label is one line of at most {MAX_LABEL_CHARS} characters"));
        }
        if !(1..=MAX_DEVICES).contains(&self.max_devices) {
            errors.push(format!("max {} is not between 1 and {MAX_DEVICES}", self.max_devices));
        }
        if self.expires_in.is_zero() || self.expires_in > MAX_LIFE {
            let days = MAX_LIFE.as_secs() / 86_400;
            errors.push(format!("a key is good for more than nothing and at most {days} days"));
        }
        if let Some(zone) = self.zone.as_ref().filter(|&zone| !state.town.zones.contains_key(zone))
        {
            errors.push(format!("there is no zone `{zone}`"));
        }
        if state.lobby.keys.len() >= MAX_KEYS {
            errors.push(format!("there are {MAX_KEYS} keys already"));
        }
        errors
    }
}
