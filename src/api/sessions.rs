//! Sessions: one's own, and everybody's for those who may change accounts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Held;
use super::error::Problem;
use super::extract::Params;
use super::state::{Hub, Work};
use super::tokens::may_change_others;
use super::wire;
use crate::registry::SessionInfo;

/// Which sessions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: everybody's, for those who may change accounts. Absent or false: one's own.
    all: Option<bool>,
}

/// Sessions, the last opened first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    #[schema(value_type = Vec<wire::SessionInfo>)]
    sessions: Vec<SessionInfo>,
}

/// Lists sessions.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "session", params(ListParams), responses((status = 200, body = Sessions)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Held(holder): Held,
    Params(params): Params<ListParams>,
) -> Result<Json<Sessions>, Problem> {
    let all = params.all.unwrap_or(false);
    if all && !may_change_others(&holder) {
        return Err(Problem::bad_query("all", "needs the right `administer` in the whole town"));
    }
    let sessions = hub.blocking(Work::Query, move |hub| {
        let only = (!all).then_some(holder.user.name.as_str());
        Ok(hub.registry.sessions(&holder, only)?)
    });
    Ok(Json(Sessions { sessions: sessions.await? }))
}

/// Ends a session: one's own, or anybody's for those who may change accounts.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", tag = "session", params(("id" = String, Path)),
    responses((status = 204, description = "It is ended"))
)]
pub(crate) async fn end(
    State(hub): State<Hub>,
    Held(holder): Held,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    hub.blocking(Work::Query, move |hub| {
        let only = (!may_change_others(&holder)).then_some(holder.user.name.as_str());
        Ok(hub.registry.by(&holder.user).end_session(only, &id)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
