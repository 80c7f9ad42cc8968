//! On whose behalf a handle of the registry changes things.
//!
//! A [`Registry`] is cheap to clone, so whoever lets somebody in makes a handle that acts for him ([`Registry::by`]). Every
//! change that goes through it is logged with his name, and is refused where it reaches out of his zones: one check in front
//! of every change of the town, whatever route or import it came by.

use std::sync::Arc;

use rusqlite::TransactionBehavior;
use serde_json::Value;

use super::accounts::User;
use super::enrolment::LobbyChange;
use super::error::RegistryError;
use super::things::{Asset, Device};
use super::town::Town;
use super::{Change, Registry, State, lock};
use crate::audit::{self, Entry};
use crate::model::{AssetId, ZoneId};

/// The most things that one refusal names.
const MAX_NAMED: usize = 100;

/// Who changes something.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) name: Arc<str>,
    /// Where; `None`: in the whole town.
    zones: Option<Arc<[ZoneId]>>,
}

impl Registry {
    /// A handle that acts for this person.
    #[must_use]
    pub fn by(&self, user: &User) -> Self {
        let zones = user.zones.as_deref().map(Arc::from);
        Registry(Arc::clone(&self.0), Actor { name: user.name.as_str().into(), zones })
    }

    /// A handle that acts for whoever uses the hub's own command line.
    #[must_use]
    pub fn by_command_line(&self) -> Self {
        Registry(Arc::clone(&self.0), Actor { name: audit::CLI.into(), zones: None })
    }
}

impl Registry {
    /// Logs what was done for the actor outside the state file (profiles read anew): on disk when it returns.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn note(&self, action: &str, subject: &str, detail: Value) -> Result<(), RegistryError> {
        let at = self.0.clock.now();
        let mut db = lock(&self.0.writer);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        audit::append(&tx, &Entry { at, actor: &self.1.name, action, subject, detail })?;
        Ok(tx.commit()?)
    }
}

impl Actor {
    /// The hub itself.
    pub(super) fn hub() -> Self {
        Actor { name: audit::HUB.into(), zones: None }
    }

    /// Refuses a change that reaches out of the actor's zones.
    pub(super) fn check(&self, state: &State, change: &Change) -> Result<(), RegistryError> {
        match change {
            Change::Assets(assets) => self.check_assets(&state.town, assets),
            Change::Devices(changes) => {
                self.check_devices(&state.town, changes.iter().map(|change| &change.device))
            }
            Change::Lobby(LobbyChange::Approved(_, change)) => {
                self.check_devices(&state.town, std::iter::once(&change.device))
            }
            Change::Lobby(change) if self.is_inside(change.zone(state)) => Ok(()),
            _ if self.zones.is_some() => {
                Err(self.refusal(vec!["it concerns the whole town".to_owned()]))
            }
            _ => Ok(()),
        }
    }

    fn is_inside(&self, zone: Option<&ZoneId>) -> bool {
        self.zones.as_ref().is_none_or(|zones| zone.is_some_and(|zone| zones.contains(zone)))
    }

    /// An asset must lie in the actor's zones before the change and after it.
    pub(super) fn check_assets(&self, town: &Town, assets: &[Asset]) -> Result<(), RegistryError> {
        let Some(zones) = &self.zones else { return Ok(()) };
        let mut then = town.next(town.version);
        then.put_assets(assets.iter().cloned());
        let is_outside = |town: &Town, id: &AssetId| {
            let asset = town.assets.get(id);
            asset.is_some_and(|asset| asset.zone.as_ref().is_none_or(|zone| !zones.contains(zone)))
        };
        let outside = assets
            .iter()
            .filter(|asset| is_outside(town, &asset.id) || is_outside(&then, &asset.id))
            .map(|asset| format!("asset `{}` lies outside", asset.id));
        self.none(outside)
    }

    /// A device must observe an asset in the actor's zones before the change and after it.
    pub(super) fn check_devices<'a>(
        &self,
        town: &Town,
        devices: impl Iterator<Item = &'a Device>,
    ) -> Result<(), RegistryError> {
        let Some(zones) = &self.zones else { return Ok(()) };
        let is_inside = |device: &Device| {
            let asset = device.asset.as_ref().and_then(|id| town.assets.get(id));
            asset.and_then(|asset| asset.zone.as_ref()).is_some_and(|zone| zones.contains(zone))
        };
        let outside = devices
            .filter(|device| {
                !is_inside(device)
                    || town.devices.get(&device.id).is_some_and(|old| !is_inside(old))
            })
            .map(|device| format!("device `{}` observes nothing inside", device.id));
        self.none(outside)
    }

    fn none(&self, outside: impl Iterator<Item = String>) -> Result<(), RegistryError> {
        let errors: Vec<_> = outside.take(MAX_NAMED).collect();
        if errors.is_empty() { Ok(()) } else { Err(self.refusal(errors)) }
    }

    fn refusal(&self, mut errors: Vec<String>) -> RegistryError {
        let zones = self.zones.iter().flat_map(|zones| zones.iter()).map(ZoneId::as_str);
        let zones = zones.collect::<Vec<_>>().join(", ");
        errors.push(format!("the account is limited to the zones {zones}"));
        RegistryError::Invalid { what: "change by", id: self.name.to_string(), errors }
    }
}
