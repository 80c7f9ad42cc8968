//! Alerts: the list, one alert with its history, and what people do with them: acknowledge, shelve, take out of service.
//!
//! Operators shelve (the right to acknowledge); a critical alert is shelved by those only who supervise. Rules and devices
//! are taken out of service by engineers.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::Problem;
use super::extract::{JsonBody, Params, limit, parse, parse_list};
use super::rules::reason;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::alert::{
    self, Alert, AlertError, AlertEvent, AlertId, AlertQuery, Aside, Engine, MAX_LISTED, Wish,
};
use crate::model::{DeviceId, Right, Severity, Timestamp, ZoneId};
use crate::registry::{Town, User};

/// The longest note in characters.
const MAX_NOTE: usize = 1000;
const DEFAULT_LIMIT: usize = 100;
/// The most reads of [`MAX_LISTED`] alerts for one page of an account that is limited to zones.
const MAX_READS: usize = 20;

/// Which alerts to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: only open ones (active, or not acknowledged). Absent or false: all.
    open: Option<bool>,
    /// Only these, separated by commas: `critical,major`.
    severity: Option<String>,
    /// Only those that stand so: `annunciated` (open, and nothing keeps them from ringing), `shelved`, `suppressed`,
    /// `out_of_service`.
    standing: Option<String>,
    /// Only of assets that are listed under this zone.
    zone: Option<String>,
    /// Only of this asset.
    asset: Option<String>,
    /// Only of this device.
    device: Option<String>,
    /// Only those with a smaller id: the next page.
    before: Option<u64>,
    /// At most this many (1 to 10 000, else 100); a page never has more than 1 000.
    limit: Option<usize>,
}

/// Alerts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alerts {
    #[schema(value_type = Vec<wire::Alert>)]
    alerts: Vec<Alert>,
    /// `before` of the next page, which may turn out to be empty; null when there is none.
    #[schema(required)]
    next_before: Option<u64>,
}

/// What somebody acknowledges.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// The version that was looked at: refused when it has changed since.
    version: Option<u32>,
    /// A note for the others.
    note: Option<String>,
}

/// One alert with everything that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertDetail {
    #[schema(value_type = wire::Alert)]
    alert: Alert,
    /// In order.
    #[schema(value_type = Vec<wire::AlertEvent>)]
    events: Vec<AlertEvent>,
}

/// What somebody acknowledges at once: by number, or all open ones that a filter finds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkAcknowledgement {
    /// Which, at most 1 000.
    #[schema(value_type = Option<Vec<u64>>)]
    ids: Option<Vec<AlertId>>,
    /// Which, instead of `ids`.
    filter: Option<BulkFilter>,
    /// A note for the others.
    note: Option<String>,
}

/// Open alerts that are announced and not acknowledged. What is left out may be any.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BulkFilter {
    #[schema(value_type = Vec<wire::Severity>)]
    severities: Vec<Severity>,
    #[schema(value_type = Option<String>)]
    zone: Option<ZoneId>,
    #[schema(value_type = Option<String>)]
    device: Option<DeviceId>,
}

/// What became of each.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkAnswer {
    results: Vec<BulkResult>,
}

/// What became of one alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkResult {
    id: u64,
    /// acknowledged, already_acknowledged or not_found.
    outcome: &'static str,
    /// The alert's version now; null when there is no such alert.
    #[schema(required)]
    version: Option<u32>,
}

/// How long an alert's rule is put aside: `until` or `for`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shelving {
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// How long: `30min`, `4h`.
    #[serde(rename = "for")]
    length: Option<String>,
    reason: String,
    /// The version that was looked at: refused when it has changed since.
    version: Option<u32>,
}

/// Why something is so no longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unshelving {
    reason: String,
    /// The version that was looked at: refused when it has changed since.
    version: Option<u32>,
}

/// What is taken out of service, or put back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    reason: String,
    /// True: the whole device; absent or false: the alert's rule.
    #[serde(default)]
    whole_device: bool,
    /// The version that was looked at: refused when it has changed since.
    version: Option<u32>,
}

/// Lists alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(ListParams), responses((status = 200, body = Alerts)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Alerts>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let query = params.query(wanted)?;
    let zone: Option<ZoneId> = parse("zone", params.zone.as_deref())?;
    check_zone(&hub, &sight, zone.as_ref())?;
    let page = hub.blocking(Work::Query, move |hub| {
        if sight.is_whole() && zone.is_none() {
            Ok(page(read(hub, &query)?, wanted))
        } else {
            part(hub, &sight, zone.as_ref(), query)
        }
    });
    Ok(Json(page.await?))
}

/// Acknowledges an alert. Answers when it is on disk.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts",
    params(("id" = u64, Path)), request_body = Acknowledgement,
    responses((status = 200, body = wire::Alert))
)]
pub(crate) async fn acknowledge(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Acknowledgement>,
) -> Result<Json<Alert>, Problem> {
    let note = note(body.note.as_deref())?;
    let id = seen(&hub, &sight, &id).await?;
    let alert = hub.present.acknowledge(id, body.version, &user.name, note).await?;
    Ok(Json(alert))
}

/// Acknowledges many alerts at once, each by itself: what cannot be is told and keeps none of the others.
#[utoipa::path(
    post, path = "/api/v1/alerts/acknowledge", tag = "alerts", request_body = BulkAcknowledgement,
    responses((status = 200, body = BulkAnswer))
)]
pub(crate) async fn acknowledge_many(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    JsonBody(body): JsonBody<BulkAcknowledgement>,
) -> Result<Json<BulkAnswer>, Problem> {
    let note = note(body.note.as_deref())?.map(str::to_owned);
    let ids = match (body.ids, body.filter) {
        (Some(ids), None) if ids.len() <= MAX_LISTED => ids,
        (Some(ids), None) => {
            let why = format!("{} ids; at most {MAX_LISTED} fit", ids.len());
            return Err(Problem::bad_body(why));
        }
        (None, Some(filter)) => filter.find(&hub, &sight)?,
        _ => return Err(Problem::bad_body("name `ids` or a `filter`")),
    };
    let (in_sight, foreign): (Vec<AlertId>, Vec<AlertId>) = hub
        .blocking(Work::Query, move |hub| {
            let mut foreign = Vec::new();
            let mut in_sight = Vec::new();
            for id in ids {
                let is_seen = is_in_sight(hub, &sight, id)?;
                if is_seen { in_sight.push(id) } else { foreign.push(id) }
            }
            Ok((in_sight, foreign))
        })
        .await?;
    let mut results = hub
        .present
        .order(move |engine, now| {
            let acknowledge = |id| one_of_many(engine, id, &user.name, note.as_deref(), now);
            in_sight.into_iter().map(acknowledge).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    results.extend(foreign.into_iter().map(|id| BulkResult {
        id: id.0,
        outcome: "not_found",
        version: None,
    }));
    results.sort_by_key(|result| result.id);
    Ok(Json(BulkAnswer { results }))
}

/// One alert and everything that happened to it.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", params(("id" = u64, Path)), responses((status = 200, body = AlertDetail)))]
pub(crate) async fn show(
    State(hub): State<Hub>,
    sight: Sight,
    Path(id): Path<String>,
) -> Result<Json<AlertDetail>, Problem> {
    let id = seen(&hub, &sight, &id).await?;
    let detail = hub.blocking(Work::Query, move |hub| {
        hub.tables.read(|db| {
            let alert = alert::find(db, id).map_err(AlertError::from)?;
            let alert = alert.ok_or_else(|| Problem::not_found("alert", &id.0.to_string()))?;
            Ok(AlertDetail { alert, events: alert::history(db, id)? })
        })
    });
    Ok(Json(detail.await?))
}

/// Keeps an alert's rule from being announced for a while. Answers when it is on disk.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/shelve", tag = "alerts", params(("id" = u64, Path)), request_body = Shelving,
    responses((status = 200, body = wire::Alert), (status = 400, description = "Longer than its severity allows: `longest_s`"))
)]
pub(crate) async fn shelve(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Shelving>,
) -> Result<Json<Alert>, Problem> {
    let id = seen(&hub, &sight, &id).await?;
    let length = match (&body.until, &body.length) {
        (Some(_), None) => None,
        (None, Some(text)) => Some(length(text)?),
        _ => return Err(Problem::bad_body("say `until` or `for`")),
    };
    let wish =
        Wish { version: body.version, who: user.name.clone(), reason: reason(&body.reason)? };
    let (until, most) = (body.until, most(&user));
    let order = hub.present.order(move |engine, now| {
        let until = until.unwrap_or_else(|| now.plus(length.unwrap_or_default()));
        engine.shelve(id, &wish, until, most, now)
    });
    Ok(Json(order.await?))
}

/// Ends a shelf before its time: a condition that is active is announced as if it were new.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/unshelve", tag = "alerts", params(("id" = u64, Path)), request_body = Unshelving,
    responses((status = 200, body = wire::Alert), (status = 409, description = "It is not shelved"))
)]
pub(crate) async fn unshelve(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Unshelving>,
) -> Result<Json<Alert>, Problem> {
    let id = seen(&hub, &sight, &id).await?;
    let wish = Wish { version: body.version, who: user.name, reason: reason(&body.reason)? };
    let order = hub.present.order(move |engine, now| engine.unshelve(id, &wish, now));
    Ok(Json(order.await?))
}

/// Takes an alert's rule, or its whole device, out of service until somebody puts it back.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/out-of-service", tag = "alerts", params(("id" = u64, Path)), request_body = Service,
    responses((status = 200, body = wire::Alert))
)]
pub(crate) async fn out_of_service(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Service>,
) -> Result<Json<Alert>, Problem> {
    let id = seen(&hub, &sight, &id).await?;
    let (wish, whole) = body.wish(user)?;
    let order =
        hub.present.order(move |engine, now| engine.take_out_of_service(id, whole, &wish, now));
    Ok(Json(order.await?))
}

/// Puts an alert's rule, or its whole device, back into service.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/in-service", tag = "alerts", params(("id" = u64, Path)), request_body = Service,
    responses((status = 200, body = wire::Alert), (status = 409, description = "It is not out of service so"))
)]
pub(crate) async fn in_service(
    State(hub): State<Hub>,
    Caller(user): Caller,
    sight: Sight,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Service>,
) -> Result<Json<Alert>, Problem> {
    let id = seen(&hub, &sight, &id).await?;
    let (wish, whole) = body.wish(user)?;
    let order = hub.present.order(move |engine, now| engine.put_in_service(id, whole, &wish, now));
    Ok(Json(order.await?))
}

impl Service {
    fn wish(self, user: User) -> Result<(Wish, bool), Problem> {
        let reason = reason(&self.reason)?;
        Ok((Wish { version: self.version, who: user.name, reason }, self.whole_device))
    }
}

impl BulkFilter {
    /// The alerts in sight that it means, at most [`MAX_LISTED`].
    fn find(&self, hub: &AppState, sight: &Sight) -> Result<Vec<AlertId>, Problem> {
        check_zone(hub, sight, self.zone.as_ref())?;
        let town = hub.registry.town();
        let open = hub.present.open_alerts();
        let found = open.iter().filter(|alert| {
            alert.is_annunciated()
                && alert.acknowledged_at.is_none()
                && sight.may_see_alert(&town, alert)
                && (self.severities.is_empty() || self.severities.contains(&alert.severity))
                && self.device.as_ref().is_none_or(|device| *device == alert.rule.device)
                && is_in(&town, self.zone.as_ref(), alert)
        });
        Ok(found.map(|alert| alert.id).take(MAX_LISTED).collect())
    }
}

/// The worst severity that somebody may shelve.
fn most(user: &User) -> Severity {
    if user.role.may(Right::Supervise) { Severity::Critical } else { Severity::Major }
}

fn length(text: &str) -> Result<Duration, Problem> {
    crate::profile::parse_duration(text).map_err(|why| Problem::bad_body(format!("for: {why}")))
}

/// One of many: what a person would be told of it alone, in a word.
fn one_of_many(
    engine: &mut Engine,
    id: AlertId,
    who: &str,
    note: Option<&str>,
    now: Timestamp,
) -> Result<BulkResult, AlertError> {
    let (outcome, version) = match engine.acknowledge(id, None, who, note, now) {
        Ok(alert) => ("acknowledged", Some(alert.version)),
        Err(AlertError::AlreadyAcknowledged { .. }) => ("already_acknowledged", None),
        Err(AlertError::NotFound(_)) => ("not_found", None),
        Err(error) => return Err(error),
    };
    Ok(BulkResult { id: id.0, outcome, version })
}

/// The number of an alert in sight.
async fn seen(hub: &Hub, sight: &Sight, id: &str) -> Result<AlertId, Problem> {
    let number = id.parse().map(AlertId).map_err(|_| Problem::not_found("alert", id))?;
    let sight = sight.clone();
    let is_seen = hub.blocking(Work::Query, move |hub| is_in_sight(hub, &sight, number)).await?;
    is_seen.then_some(number).ok_or_else(|| Problem::not_found("alert", id))
}

/// Whether an alert's asset is listed under a zone.
/// A zone that somebody asks for must be there, and in sight.
fn check_zone(hub: &AppState, sight: &Sight, zone: Option<&ZoneId>) -> Result<(), Problem> {
    let town = hub.registry.town();
    match zone {
        Some(zone) if !town.zones.contains_key(zone.as_str()) || !sight.may_see_zone(zone) => {
            Err(Problem::not_found("zone", zone.as_str()))
        }
        _ => Ok(()),
    }
}

fn is_in(town: &Town, zone: Option<&ZoneId>, alert: &Alert) -> bool {
    let Some(zone) = zone else { return true };
    let asset = alert.asset.as_ref().and_then(|id| town.assets.get(id));
    asset.is_some_and(|asset| asset.zone.as_ref() == Some(zone))
}

fn read(hub: &AppState, query: &AlertQuery) -> Result<Vec<Alert>, Problem> {
    hub.tables.read(|db| Ok(alert::list(db, query)?))
}

/// A page of what is in sight. Alerts stand in the tables by asset, not by zone, so it reads on until the page is full, but
/// not without end: a page that is not full goes on at its `next_before`.
fn part(
    hub: &AppState,
    sight: &Sight,
    zone: Option<&ZoneId>,
    mut query: AlertQuery,
) -> Result<Alerts, Problem> {
    let wanted = query.limit;
    query.limit = MAX_LISTED;
    let town = hub.registry.town();
    let mut alerts = Vec::new();
    for _ in 0..MAX_READS {
        let read = read(hub, &query)?;
        let is_last = read.len() < MAX_LISTED;
        for alert in read {
            query.before = Some(alert.id);
            if sight.may_see_alert(&town, &alert) && is_in(&town, zone, &alert) {
                alerts.push(alert);
            }
            if alerts.len() == wanted {
                return Ok(page(alerts, wanted));
            }
        }
        if is_last {
            return Ok(Alerts { alerts, next_before: None });
        }
    }
    Ok(Alerts { alerts, next_before: query.before.map(|id| id.0) })
}

fn is_in_sight(hub: &AppState, sight: &Sight, id: AlertId) -> Result<bool, Problem> {
    let found = hub.tables.read(|db| Ok(alert::find(db, id).map_err(AlertError::from)?))?;
    let town = hub.registry.town();
    Ok(found.is_some_and(|alert| sight.may_see_alert(&town, &alert)))
}

/// The note without the blanks around it; none when nothing is left.
fn note(text: Option<&str>) -> Result<Option<&str>, Problem> {
    let note = text.map(str::trim).filter(|note| !note.is_empty());
    match note.map_or(0, |note| note.chars().count()) {
        0..=MAX_NOTE => Ok(note),
        n => Err(Problem::bad_body(format!("note has {n} characters, at most {MAX_NOTE} fit"))),
    }
}

impl ListParams {
    fn query(&self, limit: usize) -> Result<AlertQuery, Problem> {
        Ok(AlertQuery {
            open_only: self.open.unwrap_or(false),
            severities: parse_list("severity", self.severity.as_deref())?,
            standing: parse::<Aside>("standing", self.standing.as_deref())?,
            asset: parse("asset", self.asset.as_deref())?,
            device: parse("device", self.device.as_deref())?,
            before: self.before.map(AlertId),
            limit,
        })
    }
}

fn page(alerts: Vec<Alert>, wanted: usize) -> Alerts {
    let is_full = alerts.len() >= wanted;
    let next_before = alerts.last().filter(|_| is_full).map(|alert| alert.id.0);
    Alerts { alerts, next_before }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn a_query_is_read_or_refused() {
        let params = ListParams {
            open: Some(true),
            severity: Some("critical,major".into()),
            ..ListParams::default()
        };
        let query = params.query(11).unwrap();
        assert!(query.open_only);
        assert_eq!(query.severities, [Severity::Critical, Severity::Major]);
        let wrong = ListParams { severity: Some("red".into()), ..ListParams::default() };
        assert!(format!("{:?}", wrong.query(1)).contains("severities are critical"));
        let wrong = ListParams { device: Some("a/b".into()), ..ListParams::default() };
        assert!(wrong.query(1).is_err());
    }

    #[test]
    fn a_note_is_trimmed_and_bounded() {
        assert_eq!(note(Some("  seen ")).unwrap(), Some("seen"));
        assert_eq!(note(Some("  ")).unwrap(), None);
        assert!(note(Some(&"井".repeat(MAX_NOTE))).is_ok());
        assert!(note(Some(&"井".repeat(MAX_NOTE + 1))).is_err());
    }
}
