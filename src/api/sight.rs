//! What somebody may see: the whole town, or what lies in his zones.
//!
//! The one place that says what "in his zones" means: an asset by the zone it is listed under; a device, a series and an
//! alert by their asset. What lies in no zone, and what belongs to no asset, is seen by those only who see the whole town.
//! What is out of sight is as if it were not there: left out of lists, 404 by its id.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::Problem;
use crate::alert::Alert;
use crate::live::{Concern, Filter};
use crate::model::{AssetId, ZoneId};
use crate::registry::{Asset, Device, Registry, Town, User};

/// What somebody may see. Handlers of routes with [`super::routes::Place::Zones`] extract it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    /// `None`: the whole town.
    zones: Option<Arc<HashSet<ZoneId>>>,
    /// Whether a handler asked for it: the guard withholds the answer of one that did not.
    asked: Arc<AtomicBool>,
}

impl<S: Sync> FromRequestParts<S> for Sight {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let sight = parts.extensions.get::<Sight>().ok_or_else(Problem::not_authenticated)?;
        sight.asked.store(true, Ordering::Relaxed);
        Ok(sight.clone())
    }
}

impl Sight {
    pub(crate) fn of(user: &User) -> Self {
        let zones = user.zones.as_ref().map(|zones| Arc::new(zones.iter().cloned().collect()));
        Sight { zones, asked: Arc::default() }
    }

    /// Whether it is the whole town.
    pub(crate) fn is_whole(&self) -> bool {
        self.zones.is_none()
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn may_see_zone(&self, zone: &ZoneId) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.contains(zone))
    }

    pub(crate) fn may_see(&self, asset: &Asset) -> bool {
        let Some(zones) = &self.zones else { return true };
        asset.zone.as_ref().is_some_and(|zone| zones.contains(zone))
    }

    pub(crate) fn may_see_asset_of(&self, town: &Town, asset: Option<&AssetId>) -> bool {
        if self.is_whole() {
            return true;
        }
        let asset = asset.and_then(|id| town.assets.get(id));
        asset.is_some_and(|asset| self.may_see(asset))
    }

    pub(crate) fn may_see_device(&self, town: &Town, device: &Device) -> bool {
        self.may_see_asset_of(town, device.asset.as_ref())
    }

    pub(crate) fn may_see_alert(&self, town: &Town, alert: &Alert) -> bool {
        self.may_see_asset_of(town, alert.asset.as_ref())
    }

    /// The asset, if there is one in sight.
    pub(crate) fn asset<'a>(&self, town: &'a Town, id: &str) -> Result<&'a Arc<Asset>, Problem> {
        let asset = town.assets.get(id).filter(|asset| self.may_see(asset));
        asset.ok_or_else(|| Problem::not_found("asset", id))
    }

    /// The device, if there is one in sight.
    pub(crate) fn device<'a>(&self, town: &'a Town, id: &str) -> Result<&'a Arc<Device>, Problem> {
        let device = town.devices.get(id).filter(|device| self.may_see_device(town, device));
        device.ok_or_else(|| Problem::not_found("device", id))
    }

    /// What the live feed asks of every event; `None` when all may be seen. It looks at the town of the moment: an asset
    /// that moves to another zone is out of sight at once.
    pub(crate) fn filter(&self, registry: &Registry) -> Option<Filter> {
        if self.is_whole() {
            return None;
        }
        let (sight, registry) = (self.clone(), registry.clone());
        Some(Arc::new(move |concern: &Concern| match concern {
            Concern::Asset(number) => {
                let town = registry.town();
                town.asset_by_number(*number).is_some_and(|asset| sight.may_see(asset))
            }
            Concern::Zone(zone) => sight.may_see_zone(zone),
            Concern::Town => false,
            Concern::Everybody => true,
        }))
    }
}
