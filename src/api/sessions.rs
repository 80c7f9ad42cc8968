//! The caller's own sessions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Held;
use super::error::Problem;
use super::state::{Hub, Work};
use super::wire;
use crate::registry::SessionInfo;

/// Sessions, the last opened first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    #[schema(value_type = Vec<wire::SessionInfo>)]
    sessions: Vec<SessionInfo>,
}

/// The caller's sessions.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "session", responses((status = 200, body = Sessions)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Held(holder): Held,
) -> Result<Json<Sessions>, Problem> {
    let sessions = hub.blocking(Work::Query, move |hub| Ok(hub.registry.sessions(&holder)?));
    Ok(Json(Sessions { sessions: sessions.await? }))
}

/// Ends one of the caller's sessions.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", tag = "session", params(("id" = String, Path)),
    responses((status = 204, description = "It is ended"))
)]
pub(crate) async fn end(
    State(hub): State<Hub>,
    held: Held,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let end = move |hub: &super::AppState| {
        let registry = hub.registry.by(&held.0.user);
        Ok(registry.end_session(&held.0, &id)?)
    };
    hub.blocking(Work::Query, end).await?;
    Ok(StatusCode::NO_CONTENT)
}
