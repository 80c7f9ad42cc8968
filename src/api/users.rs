//! People's accounts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::Problem;
use super::extract::JsonBody;
use super::state::{Hub, Work};
use super::wire;
use crate::model::{Role, ZoneId};
use crate::registry::{User, UserChange, UserInfo};

/// Users by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    #[schema(value_type = Vec<wire::UserInfo>)]
    users: Vec<UserInfo>,
}

/// A user to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// 1 to 64 letters, digits and `. _ - @`.
    name: String,
    #[schema(value_type = wire::Role)]
    role: Role,
    /// The zones to limit it to; absent or null: the whole town.
    #[schema(value_type = Option<Vec<String>>)]
    zones: Option<Vec<ZoneId>>,
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserPatch {
    #[schema(value_type = Option<wire::Role>)]
    role: Option<Role>,
    /// The zones to limit it to; null: the whole town.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    zones: Option<Option<Vec<ZoneId>>>,
    /// True: keep it out and end its sessions.
    disabled: Option<bool>,
}

/// A password that has to be changed at the first log-in.
#[derive(Serialize, ToSchema)]
pub(crate) struct FirstPassword {
    /// Shown once, stored hashed.
    password: String,
}

/// Tells a null from what is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Lists users by name.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", responses((status = 200, body = Users)))]
pub(crate) async fn list(State(hub): State<Hub>) -> Result<Json<Users>, Problem> {
    let users = hub.blocking(Work::Query, |hub| Ok(hub.registry.users()?));
    Ok(Json(Users { users: users.await? }))
}

/// Makes a user. Its first password is in the answer and never shown again.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser, responses((status = 201, body = FirstPassword)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    JsonBody(new): JsonBody<NewUser>,
) -> Result<(StatusCode, Json<FirstPassword>), Problem> {
    let user = User { name: new.name, role: new.role, zones: new.zones };
    let password =
        hub.blocking(Work::Login, move |hub| Ok(hub.registry.by(&caller).add_user(&user)?)).await?;
    Ok((StatusCode::CREATED, Json(FirstPassword { password })))
}

/// Changes a user's role, zones, or whether it is kept out.
#[utoipa::path(
    patch, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    request_body = UserPatch, responses((status = 200, body = wire::UserInfo))
)]
pub(crate) async fn change(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    JsonBody(patch): JsonBody<UserPatch>,
) -> Result<Json<UserInfo>, Problem> {
    let change = UserChange { role: patch.role, zones: patch.zones, disabled: patch.disabled };
    let user = hub.blocking(Work::Query, move |hub| {
        Ok(hub.registry.by(&caller).change_user(&name, &change)?)
    });
    Ok(Json(user.await?))
}

/// Deletes a user with its sessions and tokens.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    responses((status = 204, description = "It is deleted"))
)]
pub(crate) async fn delete(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    hub.blocking(Work::Query, move |hub| Ok(hub.registry.by(&caller).delete_user(&name)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a user a new first password and ends its sessions.
#[utoipa::path(
    post, path = "/api/v1/users/{name}/password", tag = "users", params(("name" = String, Path)),
    responses((status = 200, body = FirstPassword))
)]
pub(crate) async fn reset(
    State(hub): State<Hub>,
    Caller(caller): Caller,
    Path(name): Path<String>,
) -> Result<Json<FirstPassword>, Problem> {
    let password = hub
        .blocking(Work::Login, move |hub| Ok(hub.registry.by(&caller).reset_password(&name)?))
        .await?;
    Ok(Json(FirstPassword { password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_is_the_whole_town_and_absent_is_as_before() {
        let zones = |json: &str| serde_json::from_str::<UserPatch>(json).unwrap().zones;
        assert_eq!(zones("{}"), None);
        assert_eq!(zones(r#"{"zones":null}"#), Some(None));
        assert_eq!(zones(r#"{"zones":["west"]}"#), Some(Some(vec!["west".parse().unwrap()])));
    }
}
