//! What is wrong with the hub itself: now, and what was.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::{Params, limit};
use super::sight::Sight;
use super::state::{Hub, Work};
use super::wire;
use crate::trouble::{self, MAX_LISTED, Trouble, TroubleId, TroubleQuery};

const DEFAULT_LIMIT: usize = 100;

/// Which troubles to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: those that are over, newest first, in pages. Else those that are open, the worst first, all of them.
    ended: Option<bool>,
    /// Only those with a smaller number: the next page.
    before: Option<u64>,
    /// At most this many (1 to 10 000, else 100); a page never has more than 1 000.
    limit: Option<usize>,
}

/// What is wrong with the hub, or was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Troubles)]
pub(crate) struct List {
    #[schema(value_type = Vec<wire::Trouble>)]
    troubles: Vec<Trouble>,
    /// `before` of the next page; null when there is none.
    #[schema(required)]
    next_before: Option<u64>,
}

/// Lists what is wrong with the hub itself. An account that is limited to zones sees that something is, not what.
#[utoipa::path(get, path = "/api/v1/troubles", tag = "status", params(ListParams), responses((status = 200, body = List)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Params(params): Params<ListParams>,
    sight: Sight,
) -> Result<Json<List>, Problem> {
    let limit = limit(params.limit, DEFAULT_LIMIT)?.min(MAX_LISTED);
    let (mut troubles, next_before) = if params.ended == Some(true) {
        let query = TroubleQuery { before: params.before.map(TroubleId), limit };
        let over = hub.blocking(Work::Query, move |hub| {
            hub.tables.read(|db| trouble::list(db, &query).map_err(Problem::internal))
        });
        let over = over.await?;
        let is_full = over.len() >= limit;
        let next = over.last().filter(|_| is_full).map(|last| last.id.0);
        (over, next)
    } else {
        (hub.troubles.open().to_vec(), None)
    };
    if !sight.is_whole() {
        troubles = troubles.iter().map(Trouble::veiled).collect();
    }
    Ok(Json(List { troubles, next_before }))
}
