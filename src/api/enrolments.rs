//! Enrolment keys, and the devices that came with one and wait for approval.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::devices::{DeviceSummary, readable, summarize};
use super::error::{Code, Problem};
use super::extract::JsonBody;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::ingest::mqtt::Look;
use crate::model::{AssetId, DeviceId, Label, ProfileId, Timestamp, ZoneId};
use crate::registry::{Approval, DeviceAddress, Enrolment, NewEnrolment, WaitingDevice};

/// An enrolment key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEnrolmentBody {
    /// What it is for.
    #[serde(default)]
    label: String,
    /// The profile of the devices that it brings, unless the approval says another.
    #[schema(value_type = Option<String>)]
    profile: Option<ProfileId>,
    /// Its devices may only get assets of this zone.
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneId>,
    /// How many devices it may bring (1 to 10 000).
    #[serde(default = "default_max_devices")]
    max_devices: u32,
    /// For how many hours it is good (1 to 2 160).
    #[serde(default = "default_hours")]
    expires_in_hours: u32,
}

fn default_max_devices() -> u32 {
    50
}

fn default_hours() -> u32 {
    24
}

/// An enrolment key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Enrolment)]
pub(crate) struct EnrolmentBody {
    id: i64,
    label: String,
    #[schema(required)]
    profile: Option<String>,
    #[schema(required)]
    zone: Option<String>,
    max_devices: u32,
    /// How many devices it has brought.
    used: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    revoked_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedEnrolment {
    enrolment: EnrolmentBody,
    /// Shown once, stored hashed. A device connects with the user name `enroll` and the password `KEY:OWN-SECRET`.
    key: String,
}

/// Enrolment keys, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Enrolments {
    enrolments: Vec<EnrolmentBody>,
}

/// A device that registered itself and is not yet approved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WaitingDevice)]
pub(crate) struct WaitingBody {
    #[schema(value_type = String)]
    id: DeviceId,
    /// The number of its enrolment key.
    enrolment: i64,
    #[schema(value_type = Option<String>, required)]
    profile: Option<ProfileId>,
    #[schema(value_type = Option<String>, required)]
    zone: Option<ZoneId>,
    /// The address from which it came first.
    peer: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    connected: bool,
    /// What it last published, newest first: nothing of it is stored.
    published: Vec<LookBody>,
}

/// What a waiting device published.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LookBody {
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    topic: String,
    /// Its first bytes: text, or `hex:` and hexadecimal digits.
    payload: String,
    /// Its whole length in bytes.
    size: usize,
}

/// What an approved device becomes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalBody {
    /// Its key's, when left out.
    #[schema(value_type = Option<String>)]
    profile: Option<ProfileId>,
    /// What it observes.
    #[schema(value_type = Option<String>)]
    asset: Option<AssetId>,
    /// Both languages, or one text for both.
    #[schema(value_type = Option<wire::Label>)]
    name: Option<Label>,
    /// The device that may publish for it.
    #[schema(value_type = Option<String>)]
    gateway: Option<DeviceId>,
    /// What its gateway calls it.
    #[schema(value_type = Option<String>)]
    address: Option<DeviceAddress>,
}

/// Makes an enrolment key. It is in the answer and never shown again.
#[utoipa::path(post, path = "/api/v1/enrolments", tag = "devices", request_body = NewEnrolmentBody, responses((status = 201, body = CreatedEnrolment)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    Caller(user): Caller,
    JsonBody(new): JsonBody<NewEnrolmentBody>,
) -> Result<(StatusCode, Json<CreatedEnrolment>), Problem> {
    let created = hub.blocking(Work::Query, move |hub| {
        if let Some(profile) = &new.profile {
            check_profile(hub, profile)?;
        }
        let new = NewEnrolment {
            label: new.label,
            profile: new.profile,
            zone: new.zone,
            max_devices: new.max_devices,
            expires_in: Duration::from_secs(u64::from(new.expires_in_hours) * 3600),
        };
        let (enrolment, key) = hub.registry.by(&user).create_enrolment(new)?;
        Ok(CreatedEnrolment { enrolment: enrolment.into(), key })
    });
    Ok((StatusCode::CREATED, Json(created.await?)))
}

/// Every enrolment key, the newest first.
#[utoipa::path(get, path = "/api/v1/enrolments", tag = "devices", responses((status = 200, body = Enrolments)))]
pub(crate) async fn list(State(hub): State<Hub>) -> Json<Enrolments> {
    let enrolments = hub.registry.enrolments();
    Json(Enrolments { enrolments: enrolments.into_iter().map(EnrolmentBody::from).collect() })
}

/// Ends a key now. Devices that came with it and wait go on waiting.
#[utoipa::path(delete, path = "/api/v1/enrolments/{id}", tag = "devices", params(("id" = i64, Path)), responses((status = 204)))]
pub(crate) async fn revoke(
    State(hub): State<Hub>,
    Caller(user): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let number: i64 = id.parse().map_err(|_| Problem::not_found("enrolment", &id))?;
    hub.blocking(Work::Query, move |hub| Ok(hub.registry.by(&user).revoke_enrolment(number)?))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a device of one that waits: it keeps the secret that it chose, and is connected anew.
#[utoipa::path(post, path = "/api/v1/devices/{id}/approve", tag = "devices", params(("id" = String, Path)), request_body = ApprovalBody, responses((status = 200, body = DeviceSummary)))]
pub(crate) async fn approve(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ApprovalBody>,
) -> Result<Json<DeviceSummary>, Problem> {
    let wanted = id.clone();
    let device = hub.blocking(Work::Query, move |hub| {
        let waiting =
            hub.registry.waiting().into_iter().find(|device| device.id.as_str() == wanted);
        check_sight(&sight, waiting.as_ref(), &wanted)?;
        if let Some(profile) =
            body.profile.as_ref().or(waiting.as_ref().and_then(|w| w.profile.as_ref()))
        {
            check_profile(hub, profile)?;
        }
        let ApprovalBody { profile, asset, name, gateway, address } = body;
        let approval = Approval { profile, asset, name, gateway, address };
        Ok(hub.registry.by(&user).approve(&wanted, &approval)?)
    });
    let device = device.await?;
    // When it comes back its station is there: what it was not answered it sends again, and that is stored.
    hub.present.caught_up(hub.registry.town().version).await;
    hub.doorman.forget(&id);
    hub.doorman.disconnect(&id);
    Ok(Json(summarize(&hub, &device, None)))
}

/// Turns a waiting device away: under this id it is not let in again by an enrolment key.
#[utoipa::path(post, path = "/api/v1/devices/{id}/reject", tag = "devices", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn reject(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let wanted = id.clone();
    hub.blocking(Work::Query, move |hub| {
        let waiting =
            hub.registry.waiting().into_iter().find(|device| device.id.as_str() == wanted);
        check_sight(&sight, waiting.as_ref(), &wanted)?;
        Ok(hub.registry.by(&user).reject(&wanted)?)
    })
    .await?;
    hub.doorman.forget(&id);
    hub.doorman.disconnect(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// The devices in sight that wait, by id.
pub(crate) fn waiting(hub: &AppState, sight: &Sight) -> Vec<WaitingBody> {
    let body = |device: WaitingDevice| WaitingBody {
        connected: hub.doorman.is_connected(device.id.as_str()),
        published: hub.doorman.looks(&device.id).into_iter().map(LookBody::from).collect(),
        id: device.id,
        enrolment: device.enrolment,
        profile: device.profile,
        zone: device.zone,
        peer: device.peer,
        since: device.since,
    };
    let seen =
        hub.registry.waiting().into_iter().filter(|one| is_in_sight(sight, one.zone.as_ref()));
    seen.map(body).collect()
}

impl WaitingBody {
    /// Whether a list of this profile, with `find` (in lower case) in the id, has it.
    pub(crate) fn is_meant(&self, profile: Option<&ProfileId>, find: &str) -> bool {
        profile.is_none_or(|profile| self.profile.as_ref() == Some(profile))
            && self.id.as_str().to_lowercase().contains(find)
    }
}

/// A waiting device lies in the zone of its key; without one only those see it who see the whole town.
fn is_in_sight(sight: &Sight, zone: Option<&ZoneId>) -> bool {
    sight.is_whole() || zone.is_some_and(|zone| sight.may_see_zone(zone))
}

/// What is out of sight is as if it did not wait. What does not wait is the registry's to refuse.
fn check_sight(sight: &Sight, waiting: Option<&WaitingDevice>, id: &str) -> Result<(), Problem> {
    match waiting {
        Some(device) if !is_in_sight(sight, device.zone.as_ref()) => {
            Err(Problem::not_found("waiting device", id))
        }
        _ => Ok(()),
    }
}

/// Whether this profile is in force.
pub(crate) fn check_profile(hub: &AppState, profile: &ProfileId) -> Result<(), Problem> {
    let profiles = hub.profiles.load();
    if profiles.profiles.contains_key(profile) {
        return Ok(());
    }
    let known: Vec<_> = profiles.profiles.keys().map(ProfileId::as_str).collect();
    let why = format!("there is no profile `{profile}`; there are {}", known.join(", "));
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BadBody, why))
}

impl From<Enrolment> for EnrolmentBody {
    fn from(enrolment: Enrolment) -> Self {
        EnrolmentBody {
            id: enrolment.id,
            label: enrolment.label,
            profile: enrolment.profile.map(String::from),
            zone: enrolment.zone.map(String::from),
            max_devices: enrolment.max_devices,
            used: enrolment.used,
            created_at: enrolment.created_at,
            expires_at: enrolment.expires_at,
            revoked_at: enrolment.revoked_at,
        }
    }
}

impl From<Look> for LookBody {
    fn from(look: Look) -> Self {
        let payload = readable(&look.payload);
        LookBody { received_at: look.received_at, topic: look.topic, payload, size: look.size }
    }
}
