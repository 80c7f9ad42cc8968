//! Device profiles: those in force and those refused.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::sight::Sight;
use super::state::Hub;
use super::wire;
use crate::model::{AssetKind, Label, ProfileId};
use crate::profile::ProfileSet;
use crate::registry::Town;

/// The profiles of the hub's folder.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// In force.
    profiles: Vec<ProfileSummary>,
    /// Files that are no profile.
    refused: Vec<Refused>,
}

/// A device model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileSummary {
    #[schema(value_type = String)]
    id: ProfileId,
    #[schema(value_type = wire::Label)]
    name: Label,
    manufacturer: String,
    model: String,
    #[schema(value_type = wire::AssetKind)]
    kind: AssetKind,
    /// How many points it has.
    points: usize,
    /// How many devices use it.
    devices: usize,
}

/// A file that is no profile.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refused {
    file: String,
    /// All that is wrong with it.
    errors: Vec<String>,
}

/// Every profile with the number of devices in sight that use it.
#[utoipa::path(get, path = "/api/v1/profiles", tag = "profiles", responses((status = 200, body = Profiles)))]
pub(crate) async fn list(State(hub): State<Hub>, sight: Sight) -> Json<Profiles> {
    Json(summarize(&hub.profiles.load(), &hub.registry.town(), &sight))
}

fn summarize(set: &ProfileSet, town: &Town, sight: &Sight) -> Profiles {
    let mut devices: HashMap<&ProfileId, usize> = HashMap::new();
    for device in town.devices.values().filter(|device| sight.may_see_device(town, device)) {
        *devices.entry(&device.profile).or_default() += 1;
    }
    let profiles = set.profiles.values().map(|profile| ProfileSummary {
        id: profile.id.clone(),
        name: profile.name.clone(),
        manufacturer: profile.manufacturer.clone(),
        model: profile.model.clone(),
        kind: profile.kind,
        points: profile.points.len(),
        devices: devices.get(&profile.id).copied().unwrap_or(0),
    });
    let refused = set
        .refused
        .iter()
        .map(|refused| Refused { file: refused.file.clone(), errors: refused.errors.clone() });
    Profiles { profiles: profiles.collect(), refused: refused.collect() }
}
