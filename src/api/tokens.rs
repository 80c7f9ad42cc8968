//! Bearer tokens for programs.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Held;
use super::error::Problem;
use super::extract::{JsonBody, Params};
use super::state::{Hub, Work};
use super::wire;
use crate::model::Right;
use crate::registry::{NewToken, TokenInfo};

/// Which tokens to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// True: everybody's, for those who may change accounts. Absent or false: one's own.
    all: Option<bool>,
}

/// Tokens in the order of their making.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    #[schema(value_type = Vec<wire::TokenInfo>)]
    tokens: Vec<TokenInfo>,
}

/// What a new token is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// A name by which to know it again.
    label: String,
    /// The rights it is limited to, for example `["view"]` for reading; absent: all that its user has.
    #[schema(value_type = Option<Vec<wire::Right>>)]
    scope: Option<Vec<Right>>,
    /// How many days it lives, 1 to 3650; absent: 365.
    days: Option<u32>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    /// Shown once, stored hashed.
    token: String,
}

/// Lists tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "session", params(ListParams), responses((status = 200, body = Tokens)))]
pub(crate) async fn list(
    State(hub): State<Hub>,
    Held(holder): Held,
    Params(params): Params<ListParams>,
) -> Result<Json<Tokens>, Problem> {
    let all = params.all.unwrap_or(false);
    if all && !may_change_others(&holder) {
        return Err(Problem::bad_query("all", "needs the right `administer` in the whole town"));
    }
    let tokens = hub.blocking(Work::Query, move |hub| {
        let mut tokens = hub.registry.tokens()?;
        tokens.retain(|token| all || token.user == holder.user.name);
        Ok(tokens)
    });
    Ok(Json(Tokens { tokens: tokens.await? }))
}

/// Makes a bearer token for a program, with the caller's rights and zones. Only a person's session can.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "session", request_body = TokenRequest, responses((status = 200, body = Token)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    held: Held,
    JsonBody(new): JsonBody<TokenRequest>,
) -> Result<Json<Token>, Problem> {
    held.person()?;
    let user = held.0.user;
    let token = hub.blocking(Work::Query, move |hub| {
        let TokenRequest { label, scope, days } = new;
        let new = NewToken { user: &user.name, label: &label, scope, days };
        Ok(hub.registry.by(&user).make_token(&new)?)
    });
    Ok(Json(Token { token: token.await? }))
}

/// Deletes a token: one's own, or anybody's for those who may change accounts.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "session", params(("id" = i64, Path)),
    responses((status = 204, description = "It is deleted"))
)]
pub(crate) async fn delete(
    State(hub): State<Hub>,
    Held(holder): Held,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let number = id.parse().map_err(|_| Problem::not_found("token", &id))?;
    hub.blocking(Work::Query, move |hub| {
        let only = (!may_change_others(&holder)).then_some(holder.user.name.as_str());
        Ok(hub.registry.by(&holder.user).delete_token_of(only, number)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether he may see and end what others log in with.
pub(crate) fn may_change_others(holder: &crate::registry::Holder) -> bool {
    holder.may(Right::Administer) && holder.user.zones.is_none()
}
