//! The audit log: pages of it, and the export.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::{Params, limit, parse};
use super::state::{Hub, Work};
use super::wire;
use crate::audit::{self, MAX_LISTED, Query, Record};

const DEFAULT_LIMIT: usize = 100;

/// Which entries to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only what this actor did.
    actor: Option<String>,
    /// Only this action; one that ends with a dot stands for all that begin with it: `user.`.
    action: Option<String>,
    /// Only what concerned this.
    subject: Option<String>,
    /// Not before this time (RFC 3339).
    from: Option<String>,
    /// Before this time (RFC 3339).
    to: Option<String>,
    /// Only those with a smaller number: the next page.
    before: Option<i64>,
    /// At most this many (1 to 10 000, else 100); a page never has more than 1 000.
    limit: Option<usize>,
}

/// Which part to export.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// Only those with a larger number. Without it the export can be verified by itself.
    after: Option<i64>,
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Audit {
    #[schema(value_type = Vec<wire::AuditEntry>)]
    entries: Vec<Record>,
    /// `before` of the next page; null when there is none.
    #[schema(required)]
    next_before: Option<i64>,
}

/// Lists who changed what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(ListParams), responses((status = 200, body = Audit)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Params(params): Params<ListParams>,
) -> Result<Json<Audit>, Problem> {
    let limit = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let query = Query {
        from: parse("from", params.from.as_deref())?,
        to: parse("to", params.to.as_deref())?,
        actor: params.actor,
        action: params.action,
        subject: params.subject,
        before: params.before,
        limit,
    };
    let entries = hub.blocking(Work::Query, move |hub| {
        let db = hub.registry.connect()?;
        audit::page(&db, &query).map_err(Problem::internal)
    });
    let entries = entries.await?;
    let is_full = entries.len() >= limit;
    let next_before = entries.last().filter(|_| is_full).map(|entry| entry.seq);
    Ok(Json(Audit { entries, next_before }))
}

/// The log as JSON lines, oldest first, each with its hash: `townhub audit verify --file` proves it whole.
#[utoipa::path(
    get, path = "/api/v1/audit/export", tag = "audit", params(ExportParams),
    responses((status = 200, content_type = "application/jsonl", body = String))
)]
pub(crate) async fn export(
    State(hub): State<Hub>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let after = params.after.unwrap_or(0);
    // The first part before the answer begins: what fails now is still a problem, not a torn file.
    let first = part(&hub, after).await?;
    let rest = futures_util::stream::unfold((hub, first), |(hub, part_now)| async move {
        let (lines, last) = part_now;
        let next = match last {
            None => return None,
            Some(last) => part(&hub, last).await.unwrap_or_default(),
        };
        Some((Ok::<Bytes, Infallible>(lines.into()), (hub, next)))
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(rest)).into_response())
}

/// The next lines and the number of their last entry: bounded, so that a slow client holds no more than this.
async fn part(hub: &Hub, after: i64) -> Result<(String, Option<i64>), Problem> {
    hub.blocking(Work::Query, move |hub| {
        let db = hub.registry.connect()?;
        audit::lines(&db, after).map_err(Problem::internal)
    })
    .await
}
