//! A device's secrets: the present one, the one before while it still opens the door, and how one follows the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::RegistryError;
use super::secrets::{SecretHash, new_device_secret};
use super::things::Device;
use super::{Change, DeviceChange, Registry, lock};
use crate::model::{DeviceId, Timestamp};

/// The longest time that two secrets of a device may open the door.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a device is let in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceKey {
    present: SecretHash,
    former: Option<Former>,
}

/// The secret before the present one.
#[derive(Debug, Clone)]
struct Former {
    hash: SecretHash,
    until: Timestamp,
    /// Set when the present secret is used for the first time. Shared by the town's versions.
    is_void: Arc<AtomicBool>,
}

impl PartialEq for Former {
    fn eq(&self, other: &Former) -> bool {
        (&self.hash, self.until) == (&other.hash, other.until)
    }
}

impl Eq for Former {}

/// Which of its secrets a device showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Present,
    /// The present one for the first time: the former is void from now on, in memory; the caller sees to the file.
    PresentFirst,
    Former,
    Wrong,
}

impl DeviceKey {
    pub(super) fn new(present: SecretHash) -> Self {
        DeviceKey { present, former: None }
    }

    /// As stored.
    pub(super) fn stored(present: SecretHash, former: Option<(SecretHash, Timestamp)>) -> Self {
        let former = former.map(|(hash, until)| Former { hash, until, is_void: Arc::default() });
        DeviceKey { present, former }
    }

    /// The present secret, and the former while it is good for something.
    pub(super) fn hashes(&self) -> (&SecretHash, Option<(&SecretHash, Timestamp)>) {
        let former = self.former.as_ref().filter(|former| !former.is_void.load(Ordering::Acquire));
        (&self.present, former.map(|former| (&former.hash, former.until)))
    }

    /// Whether `secret` is the present one.
    pub(super) fn is_present(&self, secret: &[u8]) -> bool {
        self.present.matches(secret)
    }

    pub(super) fn show(&self, secret: &[u8], now: Timestamp) -> Shown {
        if self.present.matches(secret) {
            let first =
                self.former.as_ref().is_some_and(|f| !f.is_void.swap(true, Ordering::AcqRel));
            return if first { Shown::PresentFirst } else { Shown::Present };
        }
        let is_former =
            self.hashes().1.is_some_and(|(hash, until)| now < until && hash.matches(secret));
        if is_former { Shown::Former } else { Shown::Wrong }
    }

    /// This key with a new present secret; the old one stays good until `until`, or until the new one is used.
    fn rotated(&self, present: SecretHash, until: Option<Timestamp>) -> Self {
        let former = until.map(|until| (self.present.clone(), until));
        DeviceKey::stored(present, former)
    }
}

impl Registry {
    /// Gives a device a new secret and returns it: it is stored hashed and never shown again. A connection that
    /// the old secret opened stays; the next one needs the new.
    ///
    /// # Errors
    /// When there is no such device, or SQLite fails.
    pub fn rotate_secret(&self, device: &DeviceId) -> Result<String, RegistryError> {
        let mut made = self.rotate_secrets(std::slice::from_ref(device), Duration::ZERO)?;
        made.pop().map(|(_, secret)| secret).ok_or_else(|| not_found(device))
    }

    /// Gives every one of these devices a new secret, all or none, and returns them in the same order. For the time of
    /// `grace` the old ones still open the door, each until its device has used the new one.
    ///
    /// # Errors
    /// When one of them is not there, the grace is over [`MAX_GRACE`], or SQLite fails.
    pub fn rotate_secrets(
        &self,
        devices: &[DeviceId],
        grace: Duration,
    ) -> Result<Vec<(DeviceId, String)>, RegistryError> {
        if grace > MAX_GRACE {
            let why = format!("a grace period is at most {} days", MAX_GRACE.as_secs() / 86_400);
            return Err(RegistryError::Document(why));
        }
        let until = (!grace.is_zero()).then(|| self.0.clock.now().plus(grace));
        self.change(|state| {
            let mut changes = Vec::with_capacity(devices.len());
            let mut made = Vec::with_capacity(devices.len());
            for id in devices {
                let known = state.town.devices.get(id).zip(state.keys.of_device(id));
                let (device, key) = known.ok_or_else(|| not_found(id))?;
                let secret = new_device_secret();
                let key = key.rotated(SecretHash::new(secret.as_bytes()), until);
                changes.push(DeviceChange { device: Device::clone(device), key });
                made.push((id.clone(), secret));
            }
            Ok(((!changes.is_empty()).then_some(Change::Devices(changes)), made))
        })
    }

    /// Writes down which former secrets are void because the new one was used: the door only remembers it.
    pub(super) fn forget_former_secrets(&self) -> Result<(), RegistryError> {
        let used = std::mem::take(&mut *lock(&self.0.used));
        if used.is_empty() {
            return Ok(());
        }
        let mut db = lock(&self.0.writer);
        let tx = db.transaction()?;
        for device in &used {
            tx.execute(
                "UPDATE devices SET former_secret = NULL, former_until = NULL WHERE id = ?1",
                [device.as_str()],
            )?;
        }
        Ok(tx.commit()?)
    }
}

fn not_found(device: &DeviceId) -> RegistryError {
    RegistryError::not_found("device", device.as_str())
}
