//! The town's own state: assets, devices, zones, accounts; its spatial index; imports.
//!
//! Takes GeoJSON, CSV and single edits; hands on an immutable [`Town`] that the other rooms read without a
//! lock, and says who somebody is. Never touches a reading.
//!
//! A change is planned against the town in memory, written in one SQLite transaction, and then published as a
//! new [`Town`]; what is in memory is always what is on disk. [`Registry::town`], [`Registry::changes`] and
//! [`Registry::authenticate`] never touch SQLite; [`Registry::holder`] nearly never; everything else blocks and
//! belongs on a blocking thread.
//!
//! Every change of the town goes through [`Registry::change`], which refuses what reaches out of the actor's zones and
//! writes the audit log in the same transaction; every change of accounts logs itself likewise.
//!
//! Architecture invariant: nothing here deletes an asset or gives its number away. A number on the map, in an
//! alert or in a client's memory means one asset for ever.

mod accounts;
mod actor;
mod db;
mod door;
mod enrolment;
mod error;
mod export;
mod import;
mod index;
mod journal;
mod lockout;
mod migrations;
mod rotation;
mod secrets;
mod things;
mod town;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use accounts::Accounts;
use actor::Actor;
use door::Keys;
use enrolment::{Lobby, LobbyChange};
use lockout::Tries;
use rotation::DeviceKey;
use secrets::{Passwords, SecretHash, new_device_secret};

pub use accounts::{Grant, Holder, NewToken, SessionInfo, TokenInfo, User, UserChange, UserInfo};
pub use door::{Denied, Principal, SERVICE_PREFIX, ServiceAccount};
pub use enrolment::{
    Approval, ENROLL, EnrolError, Enrolled, Enrolment, MAX_DEVICES, MAX_LIFE, MAX_WAITING,
    NewEnrolment, WaitingDevice, Wish, is_enroll,
};
pub use error::RegistryError;
pub use export::secrets_csv;
pub use import::{ImportMode, ImportReport, ImportRow, MAX_DOCUMENT_BYTES, MAX_ROWS, RowStatus};
pub use rotation::MAX_GRACE;
pub use things::{AddressError, Asset, Device, DeviceAddress, ModbusAddress, Zone};
pub use town::Town;

use crate::clock::Clock;
use crate::model::DeviceId;

/// The registry's handle: cheap to clone, safe to share. It acts for somebody: for the hub itself, until
/// [`Registry::by`] makes one for a person.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>, Actor);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    clock: Clock,
    /// The one connection that writes. Held from planning a change until its publication, so that changes
    /// come one after the other and memory follows the disk in order.
    writer: Mutex<Connection>,
    state: ArcSwap<State>,
    changes: watch::Sender<u64>,
    /// What an unknown device's secret is checked against, so that it takes as long as a known one's.
    nobody: SecretHash,
    accounts: Accounts,
    /// Devices that used a new secret for the first time: their former one is to be forgotten on disk too.
    used: Mutex<Vec<DeviceId>>,
    /// Wrong enrolment keys, by the address that they came from.
    enrol_tries: Mutex<Tries>,
}

/// What is published as one: the town and the secrets of those who are in it.
#[derive(Debug)]
struct State {
    town: Arc<Town>,
    keys: Keys,
    lobby: Lobby,
}

/// A change of the town: things to add or to replace.
#[derive(Debug)]
enum Change {
    Zones(Vec<Zone>),
    /// Their zone is the one that was given; the number of a new one is not set before it is written.
    Assets(Vec<Asset>),
    Devices(Vec<DeviceChange>),
    Service(ServiceAccount, SecretHash),
    Lobby(LobbyChange),
}

/// A device to add or to replace.
#[derive(Debug)]
struct DeviceChange {
    device: Device,
    key: DeviceKey,
}

impl Registry {
    /// Opens (or makes) the town's state in the SQLite file at `path`, running migrations.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a town's state or a newer program's, or holds a damaged row.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, RegistryError> {
        Self::open_with(path, clock, Passwords::new().map_err(RegistryError::Hashing)?)
    }

    fn open_with(path: &Path, clock: Clock, passwords: Passwords) -> Result<Self, RegistryError> {
        let mut writer = db::open(path)?;
        migrations::migrate(&mut writer)?;
        let state = db::load(&writer.transaction()?)?;
        let accounts = Accounts::open(db::open(path)?, passwords, clock.now())?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            clock,
            writer: Mutex::new(writer),
            changes: watch::Sender::new(state.town.version),
            state: ArcSwap::from_pointee(state),
            nobody: SecretHash::new(new_device_secret().as_bytes()),
            accounts,
            used: Mutex::default(),
            enrol_tries: Mutex::default(),
        });
        Ok(Registry(inner, Actor::hub()))
    }

    /// A further connection to the state database, for the room that owns other tables in it (alerts).
    ///
    /// # Errors
    /// When SQLite cannot open it.
    pub fn connect(&self) -> Result<Connection, RegistryError> {
        db::open(&self.0.path)
    }

    /// The town now.
    pub fn town(&self) -> Arc<Town> {
        Arc::clone(&self.0.state.load().town)
    }

    /// Tells of every new version of the town.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Takes up what another process changed in the file since (`townhub service put`). Blocks for a short transaction.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn take_up_changes(&self) -> Result<(), RegistryError> {
        self.forget_former_secrets()?;
        self.change(|_| Ok((None, ())))
    }

    fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.0.state.load()
    }

    fn nobody(&self) -> &SecretHash {
        &self.0.nobody
    }

    /// Runs `plan` on the present state and puts the change that it returns, if any, into force: on disk, then in
    /// memory, then told. When `plan` or SQLite fails, or the change reaches out of the actor's zones, nothing has
    /// happened.
    fn change<R>(
        &self,
        plan: impl FnOnce(&State) -> Result<(Option<Change>, R), RegistryError>,
    ) -> Result<R, RegistryError> {
        let mut db = lock(&self.0.writer);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if db::town_version(&tx)? != self.state().town.version {
            // Another process changed the file since. No other can now: the transaction holds the write lock.
            self.publish(db::load(&tx)?);
        }
        let state = self.0.state.load_full();
        let (change, answer) = plan(&state)?;
        if let Some(mut change) = change {
            self.1.check(&state, &change)?;
            db::write(&tx, &mut change)?;
            journal::record(&tx, self.0.clock.now(), &self.1.name, &state, &change)?;
            let version = db::next_town_version(&tx)?;
            tx.commit()?;
            self.publish(state.next(version, change));
        }
        Ok(answer)
    }

    fn publish(&self, state: State) {
        let version = state.town.version;
        self.0.state.store(Arc::new(state));
        self.0.changes.send_replace(version);
    }
}

impl State {
    /// This state with `change` in force.
    fn next(&self, version: u64, change: Change) -> Self {
        let mut town = self.town.next(version);
        let mut keys = self.keys.clone();
        let mut lobby = self.lobby.clone();
        match change {
            Change::Zones(zones) => town.put_zones(zones),
            Change::Assets(assets) => town.put_assets(assets),
            Change::Devices(changes) => town.put_devices(changes.into_iter().map(|change| {
                keys.put_device(&change.device.id, change.key);
                change.device
            })),
            Change::Service(account, secret) => keys.put_service(account, secret),
            Change::Lobby(change) => {
                if let Some(DeviceChange { device, key }) = change.apply(&mut lobby) {
                    keys.put_device(&device.id, key);
                    town.put_devices([device]);
                }
            }
        }
        State { town: Arc::new(town), keys, lobby }
    }
}

/// Locks a mutex. A thread that panicked while it held one left no half-made state: SQLite's transaction was
/// rolled back, and what is in memory is replaced as one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
