//! Alerts: the list and the acknowledgement.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::error::Problem;
use super::extract::{JsonBody, Params, limit, parse, parse_list};
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::alert::{self, Alert, AlertId, AlertQuery, MAX_LISTED};

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

/// Lists alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(ListParams), responses((status = 200, body = Alerts)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    sight: Sight,
    Params(params): Params<ListParams>,
) -> Result<Json<Alerts>, Problem> {
    let wanted = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let query = params.query(wanted)?;
    let page = hub.blocking(Work::Query, move |hub| {
        if sight.is_whole() {
            Ok(page(read(hub, &query)?, wanted))
        } else {
            part(hub, &sight, query)
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
    let number = id.parse().map_err(|_| Problem::not_found("alert", &id))?;
    let note = note(body.note.as_deref())?;
    if !sight.is_whole() {
        let seen = hub.blocking(Work::Query, move |hub| is_in_sight(hub, &sight, AlertId(number)));
        seen.await?.then_some(()).ok_or_else(|| Problem::not_found("alert", &id))?;
    }
    let alert = hub.present.acknowledge(AlertId(number), body.version, &user.name, note).await?;
    Ok(Json(alert))
}

fn read(hub: &AppState, query: &AlertQuery) -> Result<Vec<Alert>, Problem> {
    hub.tables.read(|db| Ok(alert::list(db, query)?))
}

/// A page of what is in sight. Alerts stand in the tables by asset, not by zone, so it reads on until the page is full, but
/// not without end: a page that is not full goes on at its `next_before`.
fn part(hub: &AppState, sight: &Sight, mut query: AlertQuery) -> Result<Alerts, Problem> {
    let wanted = query.limit;
    query.limit = MAX_LISTED;
    let town = hub.registry.town();
    let mut alerts = Vec::new();
    for _ in 0..MAX_READS {
        let read = read(hub, &query)?;
        let is_last = read.len() < MAX_LISTED;
        for alert in read {
            query.before = Some(alert.id);
            if sight.may_see_alert(&town, &alert) {
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
    // The newest before the next one.
    let before = Some(AlertId(id.0.saturating_add(1)));
    let found = read(hub, &AlertQuery { before, limit: 1, ..AlertQuery::default() })?;
    let town = hub.registry.town();
    Ok(found.iter().any(|alert| alert.id == id && sight.may_see_alert(&town, alert)))
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
