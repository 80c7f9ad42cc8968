//! New secrets for devices: for one, or for many at once.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::{Code, Problem};
use super::extract::{JsonBody, Params, accepts};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use crate::model::{DeviceId, ProfileId, ZoneId};
use crate::registry::{Device, Town, User, secrets_csv};

/// How one secret follows the other.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RotateParams {
    /// For so many hours (up to 720) the old secret still opens the door, until the new one is used; else it is void at once.
    #[serde(default)]
    grace_hours: u32,
    /// Whether a session that the old secret opened is ended.
    #[serde(default)]
    disconnect: bool,
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Secret {
    /// Shown once, stored hashed.
    secret: String,
}

/// Whose secrets are replaced: the devices that meet all that is said. At least one of `ids`, `profile` and `zone`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateMany {
    /// These devices.
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<Vec<DeviceId>>,
    /// Devices of this profile.
    #[schema(value_type = Option<String>)]
    profile: Option<ProfileId>,
    /// Devices whose asset lies in this zone.
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneId>,
    /// For so many hours (up to 720) the old secrets still open the door, each until its device has used the new one.
    #[serde(default)]
    grace_hours: u32,
    /// Whether sessions that the old secrets opened are ended.
    #[serde(default)]
    disconnect: bool,
}

/// New secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Secrets {
    secrets: Vec<DeviceSecret>,
}

/// A device's new secret: shown once, stored hashed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceSecret {
    #[schema(value_type = String)]
    id: DeviceId,
    secret: String,
}

/// Gives a device a new secret.
#[utoipa::path(post, path = "/api/v1/devices/{id}/secret", tag = "devices", params(("id" = String, Path), RotateParams), responses((status = 200, body = Secret)))]
pub(crate) async fn rotate(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    Params(params): Params<RotateParams>,
) -> Result<Json<Secret>, Problem> {
    let RotateParams { grace_hours, disconnect } = params;
    let made = hub.blocking(Work::Query, move |hub| {
        let town = hub.registry.town();
        let device = sight.device(&town, &id)?;
        renew(hub, &user, std::slice::from_ref(&device.id), grace_hours, disconnect)
    });
    let made = made.await?.into_iter().next();
    let (_, secret) = made.ok_or_else(|| Problem::unavailable("no secret was made; try again"))?;
    Ok(Json(Secret { secret }))
}

/// Gives many devices new secrets, all or none. With `Accept: text/csv` the answer is a table `id,secret`.
#[utoipa::path(
    post, path = "/api/v1/devices/secrets", tag = "devices", request_body = RotateMany,
    responses((status = 200, content((Secrets = "application/json"), (String = "text/csv"))))
)]
pub(crate) async fn rotate_many(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    headers: HeaderMap,
    JsonBody(body): JsonBody<RotateMany>,
) -> Result<Response, Problem> {
    let made = hub.blocking(Work::Import, move |hub| {
        let devices = body.devices(&hub.registry.town(), &sight)?;
        renew(hub, &user, &devices, body.grace_hours, body.disconnect)
    });
    let made = made.await?;
    if accepts(&headers, "text/csv") {
        return Ok(csv(secrets_csv(made.iter().map(|(id, secret)| (id.as_str(), &**secret)))));
    }
    let secrets = made.into_iter().map(|(id, secret)| DeviceSecret { id, secret });
    Ok(Json(Secrets { secrets: secrets.collect() }).into_response())
}

/// A table to download.
pub(crate) fn csv(text: String) -> Response {
    ([(CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
}

fn renew(
    hub: &AppState,
    user: &User,
    devices: &[DeviceId],
    grace_hours: u32,
    disconnect: bool,
) -> Result<Vec<(DeviceId, String)>, Problem> {
    let grace = Duration::from_secs(u64::from(grace_hours) * 3600);
    let made = hub.registry.by(user).rotate_secrets(devices, grace)?;
    if disconnect {
        for (device, _) in &made {
            hub.doorman.disconnect(device.as_str());
        }
    }
    Ok(made)
}

impl RotateMany {
    /// The devices in sight that are meant, by id.
    fn devices(&self, town: &Town, sight: &Sight) -> Result<Vec<DeviceId>, Problem> {
        if self.ids.is_none() && self.profile.is_none() && self.zone.is_none() {
            let why = "say which devices: `ids`, `profile` or `zone`";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadBody, why));
        }
        let mut devices: Vec<&Device> = match &self.ids {
            None => {
                let seen =
                    town.devices.values().filter(|device| sight.may_see_device(town, device));
                seen.map(AsRef::as_ref).collect()
            }
            Some(ids) => ids
                .iter()
                .map(|id| sight.device(town, id.as_str()).map(AsRef::as_ref))
                .collect::<Result<_, _>>()?,
        };
        let zone_of = |device: &Device| town.assets.get(device.asset.as_ref()?)?.zone.clone();
        devices.retain(|device| {
            self.profile.as_ref().is_none_or(|profile| device.profile == *profile)
                && self.zone.as_ref().is_none_or(|zone| zone_of(device).as_ref() == Some(zone))
        });
        devices.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        devices.dedup_by(|a, b| a.id == b.id);
        Ok(devices.into_iter().map(|device| device.id.clone()).collect())
    }
}
