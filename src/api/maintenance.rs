//! Maintenance windows: where somebody works, alerts are judged but not announced.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::Problem;
use super::extract::{JsonBody, Params};
use super::rules::reason;
use super::sight::Sight;
use super::state::{Hub, Work};
use super::wire;
use crate::alert::{self, Covered, Maintenance, Plan};
use crate::model::{AssetId, DeviceId, Timestamp, ZoneId};
use crate::registry::Town;

/// The most windows of one answer.
const MAX_LISTED: usize = 1_000;
/// How long a window that is over is listed with `past=true`.
const PAST: Duration = Duration::from_secs(92 * 24 * 3600);

/// Which windows to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: those of the last 92 days that are over, too.
    past: Option<bool>,
}

/// Maintenance windows, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Windows {
    #[schema(value_type = Vec<wire::Maintenance>)]
    maintenance: Vec<Maintenance>,
}

/// A window as it is sent in. One of zone, asset and device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWindow {
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneId>,
    #[schema(value_type = Option<String>)]
    asset: Option<AssetId>,
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// When it begins; absent or past: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// When it ends, at most 31 days later.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    reason: String,
}

/// The maintenance windows that are not over.
#[utoipa::path(get, path = "/api/v1/maintenance", tag = "alerts", params(ListParams), responses((status = 200, body = Windows)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Windows>, Problem> {
    let now = hub.clock.now();
    let since = if params.past.unwrap_or(false) { now.minus(PAST) } else { now };
    let windows = hub
        .blocking(Work::Query, move |hub| {
            hub.tables.read(|db| Ok(alert::maintenance(db, since, MAX_LISTED)?))
        })
        .await?;
    let town = hub.registry.town();
    let maintenance =
        windows.into_iter().filter(|window| is_in_sight(&town, &sight, &window.covers)).collect();
    Ok(Json(Windows { maintenance }))
}

/// Plans a maintenance window.
#[utoipa::path(
    post, path = "/api/v1/maintenance", tag = "alerts", request_body = NewWindow,
    responses((status = 201, body = wire::Maintenance), (status = 400, description = "It ends before it begins, or lasts too long"))
)]
pub(crate) async fn plan(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    JsonBody(body): JsonBody<NewWindow>,
) -> Result<(StatusCode, Json<Maintenance>), Problem> {
    let covers = match (body.zone, body.asset, body.device) {
        (Some(zone), None, None) => Covered::Zone(zone),
        (None, Some(asset), None) => Covered::Asset(asset),
        (None, None, Some(device)) => Covered::Device(device),
        _ => return Err(Problem::bad_body("name one of `zone`, `asset` and `device`")),
    };
    let town = hub.registry.town();
    match &covers {
        Covered::Zone(zone) if town.zones.contains_key(zone.as_str()) => sight
            .may_see_zone(zone)
            .then_some(())
            .ok_or_else(|| Problem::not_found("zone", zone.as_str()))?,
        Covered::Zone(zone) => return Err(Problem::not_found("zone", zone.as_str())),
        Covered::Asset(asset) => sight.asset(&town, asset.as_str()).map(|_| ())?,
        Covered::Device(device) => sight.device(&town, device.as_str()).map(|_| ())?,
    }
    let plan = Plan {
        covers,
        from: body.from.unwrap_or_else(|| hub.clock.now()),
        until: body.until,
        reason: reason(&body.reason)?,
        by: user.name,
    };
    let window = hub.present.order(move |engine, now| engine.plan_maintenance(plan, now)).await?;
    Ok((StatusCode::CREATED, Json(window)))
}

/// Ends a maintenance window before its time, or takes back one that has not begun.
#[utoipa::path(delete, path = "/api/v1/maintenance/{id}", tag = "alerts", params(("id" = u64, Path)), responses((status = 200, body = wire::Maintenance)))]
pub(crate) async fn end(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<Maintenance>, Problem> {
    let number = id.parse().map_err(|_| Problem::not_found("maintenance window", &id))?;
    let found = hub
        .blocking(Work::Query, move |hub| {
            hub.tables.read(|db| Ok(alert::find_maintenance(db, number)?))
        })
        .await?;
    let town = hub.registry.town();
    found
        .filter(|window| is_in_sight(&town, &sight, &window.covers))
        .ok_or_else(|| Problem::not_found("maintenance window", &id))?;
    let order =
        hub.present.order(move |engine, now| engine.end_maintenance(number, &user.name, now));
    Ok(Json(order.await?))
}

fn is_in_sight(town: &Town, sight: &Sight, covers: &Covered) -> bool {
    match covers {
        Covered::Zone(zone) => sight.may_see_zone(zone),
        Covered::Asset(asset) => sight.may_see_asset_of(town, Some(asset)),
        Covered::Device(device) => sight.is_whole() || sight.device(town, device.as_str()).is_ok(),
    }
}
