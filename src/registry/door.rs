//! Who may connect to the MQTT door.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::error::RegistryError;
use super::rotation::{DeviceKey, Shown};
use super::secrets::{SecretHash, new_device_secret};
use super::things::Device;
use super::{Change, Registry, lock};
use crate::model::DeviceId;

/// What every service account's name starts with, and no device's id.
pub const SERVICE_PREFIX: &str = "svc-";

/// The most topic filters in one list of a service account.
const MAX_FILTERS: usize = 64;

/// The longest topic filter in bytes. MQTT allows 65 535; nobody means more than this.
const MAX_FILTER_BYTES: usize = 256;

/// Why somebody is not let in. One word for the wire: the caller must not learn which half was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody by this name, or the wrong secret.
    #[error("unknown name or wrong secret")]
    BadCredentials,
    /// Too many wrong tries; try later.
    #[error("too many wrong tries")]
    LockedOut,
    /// The hub cannot check now: its database does not answer, or too many log in at once. Log-ins only.
    #[error("the log-in cannot be checked now")]
    Unavailable,
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

/// The hashed secrets of everybody who may connect.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    devices: HashMap<DeviceId, DeviceKey>,
    services: HashMap<String, (Arc<ServiceAccount>, SecretHash)>,
}

impl Keys {
    pub(super) fn put_device(&mut self, device: &DeviceId, key: DeviceKey) {
        self.devices.insert(device.clone(), key);
    }

    pub(super) fn put_service(&mut self, account: ServiceAccount, secret: SecretHash) {
        self.services.insert(account.name.clone(), (Arc::new(account), secret));
    }

    /// What a device that is known is let in by.
    pub(super) fn of_device(&self, device: &DeviceId) -> Option<&DeviceKey> {
        self.devices.get(device)
    }
}

impl Registry {
    /// Who connects to the MQTT door with this name and secret. From memory, a microsecond or two: 10 000 devices
    /// come back at once after an outage. An unknown name takes as long as a wrong secret.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`].
    pub fn authenticate(&self, name: &str, secret: &[u8]) -> Result<Principal, Denied> {
        let state = self.state();
        if let Some((account, key)) = state.keys.services.get(name) {
            let account = key.matches(secret).then(|| Principal::Service(Arc::clone(account)));
            return account.ok_or(Denied::BadCredentials);
        }
        let known = state.town.devices.get(name).zip(state.keys.devices.get(name));
        let Some((device, key)) = known else {
            // For the time that it takes.
            let _ = self.nobody().matches(secret);
            return Err(Denied::BadCredentials);
        };
        self.show(device, key, secret).map(|()| Principal::Device(Arc::clone(device)))
    }

    /// Whether `secret` lets this device in.
    pub(super) fn show(
        &self,
        device: &Device,
        key: &DeviceKey,
        secret: &[u8],
    ) -> Result<(), Denied> {
        match key.show(secret, self.0.clock.now()) {
            Shown::Present | Shown::Former => Ok(()),
            Shown::PresentFirst => {
                lock(&self.0.used).push(device.id.clone());
                Ok(())
            }
            Shown::Wrong => Err(Denied::BadCredentials),
        }
    }

    /// Makes or replaces a service account and returns its new secret.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with everything that is wrong with the name or a filter; or SQLite fails.
    pub fn put_service(&self, account: ServiceAccount) -> Result<String, RegistryError> {
        let errors = service_errors(&account);
        if !errors.is_empty() {
            let id = account.name.chars().take(64).collect();
            return Err(RegistryError::Invalid { what: "service account", id, errors });
        }
        self.change(|_| {
            let secret = new_device_secret();
            let hash = SecretHash::new(secret.as_bytes());
            Ok((Some(Change::Service(account, hash)), secret))
        })
    }
}

fn service_errors(account: &ServiceAccount) -> Vec<String> {
    let mut errors = Vec::new();
    if !account.name.starts_with(SERVICE_PREFIX) {
        errors.push(format!("its name must start with {SERVICE_PREFIX}"));
    }
    // The same form as a device's id: both are MQTT user names.
    if let Err(error) = account.name.parse::<DeviceId>() {
        errors.push(error.to_string());
    }
    for (list, filters) in [("publish", &account.publish), ("subscribe", &account.subscribe)] {
        if filters.len() > MAX_FILTERS {
            errors.push(format!("{list} has {} filters; at most {MAX_FILTERS}", filters.len()));
        }
        for filter in filters {
            if let Some(why) = filter_error(filter) {
                let shown: String = filter.chars().take(64).collect();
                errors.push(format!("{list} filter `{shown}` {why}"));
            }
        }
    }
    errors
}

/// What is wrong with a topic filter, by MQTT 5 section 4.7.1 (the same as 3.1.1).
fn filter_error(filter: &str) -> Option<&'static str> {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or_default();
    if filter.is_empty() || filter.len() > MAX_FILTER_BYTES || filter.contains('\0') {
        Some("must have 1 to 256 bytes and no NUL")
    } else if levels.any(|level| level.contains('#')) || (last.contains('#') && last != "#") {
        Some("may have # only alone, as its last level")
    } else if filter.split('/').any(|level| level.contains('+') && level != "+") {
        Some("may have + only alone in a level")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_its_wildcards_in_place() {
        for good in ["#", "+", "devices/+/telemetry", "devices/#", "/a//b", "水位/+"] {
            assert_eq!(filter_error(good), None, "{good}");
        }
        for bad in ["", "a#", "#/a", "a/#/b", "a/b+", "a\0"] {
            assert!(filter_error(bad).is_some(), "{bad}");
        }
    }
}
