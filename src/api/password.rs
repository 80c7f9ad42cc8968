//! A password of one's own: at the first log-in, and whenever somebody wants another.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Held;
use super::error::{Code, Problem};
use super::extract::JsonBody;
use super::session::{alert, escape};
use super::state::{Hub, Work};
use crate::registry::{Denied, Holder, RegistryError};

const PAGE: &str = include_str!("password.html");

/// A password to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The one that one has.
    current: String,
    /// At least 10 characters; not the name, and none of the commonest.
    new: String,
}

/// The page's form.
#[derive(Deserialize, ToSchema)]
pub(crate) struct PasswordForm {
    current: String,
    new: String,
    /// The new one once more.
    again: String,
}

/// The page on which a person chooses a new password.
#[utoipa::path(get, path = "/password", tag = "pages", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn page(Held(holder): Held) -> Html<String> {
    Html(render(&holder, None))
}

/// Changes the password from the page: on to the console, or the page again with what is wrong.
#[utoipa::path(
    post, path = "/password", tag = "pages",
    request_body(content = PasswordForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Changed: the console is at /"),
        (status = 422, content_type = "text/html", body = String),
    )
)]
pub(crate) async fn change_by_page(
    State(hub): State<Hub>,
    held: Held,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(form) = form.map_err(|rejection| Problem::bad_body(rejection.body_text()))?;
    held.person()?;
    let holder = held.0;
    if form.new != form.again {
        let words = alert("两次输入的新密码不同。", "The new passwords are not the same.");
        return Ok(refused(StatusCode::UNPROCESSABLE_ENTITY, &holder, &words));
    }
    let change = PasswordChange { current: form.current, new: form.new };
    Ok(match run(&hub, holder.clone(), change).await? {
        Ok(()) => Redirect::to("/").into_response(),
        Err(RegistryError::Denied(denied)) => {
            let (status, words) = match denied {
                Denied::LockedOut => (
                    StatusCode::TOO_MANY_REQUESTS,
                    alert(
                        "错误次数过多,请稍后再试。",
                        "Too many wrong tries. Please wait and try again.",
                    ),
                ),
                Denied::BadCredentials | Denied::Unavailable => (
                    StatusCode::FORBIDDEN,
                    alert("当前密码不正确。", "The present password is wrong."),
                ),
            };
            refused(status, &holder, &words)
        }
        Err(RegistryError::Invalid { errors, .. }) => {
            let zh = "新密码不可用:请使用至少 10 个字符,不含用户名,且不是常见密码。";
            let words =
                alert(zh, &escape(&format!("The new password is refused: {}.", errors.join("; "))));
            refused(StatusCode::UNPROCESSABLE_ENTITY, &holder, &words)
        }
        Err(error) => return Err(error.into()),
    })
}

/// Changes the caller's password and ends its other sessions. Only a person's session can.
#[utoipa::path(
    post, path = "/api/v1/session/password", tag = "session", request_body = PasswordChange,
    responses((status = 204, description = "It is changed"))
)]
pub(crate) async fn change(
    State(hub): State<Hub>,
    held: Held,
    JsonBody(change): JsonBody<PasswordChange>,
) -> Result<StatusCode, Problem> {
    held.person()?;
    match run(&hub, held.0, change).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // Not 401: whoever asks is logged in.
        Err(RegistryError::Denied(Denied::BadCredentials)) => {
            let detail = "the present password is wrong";
            Err(Problem::new(StatusCode::FORBIDDEN, Code::BadCredentials, detail))
        }
        Err(error) => Err(error.into()),
    }
}

async fn run(
    hub: &Hub,
    holder: Holder,
    change: PasswordChange,
) -> Result<Result<(), RegistryError>, Problem> {
    let outcome = hub.blocking(Work::Login, move |hub| {
        let registry = hub.registry.by(&holder.user);
        Ok(registry.change_password(&holder, &change.current, &change.new))
    });
    let outcome = outcome.await?;
    if matches!(outcome, Err(RegistryError::Denied(_))) {
        super::session::log_refusals(hub);
    }
    Ok(outcome)
}

fn refused(status: StatusCode, holder: &Holder, words: &str) -> Response {
    (status, Html(render(holder, Some(words)))).into_response()
}

fn render(holder: &Holder, error: Option<&str>) -> String {
    let reason = if holder.must_change {
        "首次登录或密码重置后,请设置自己的密码。 <span lang=\"en\">Choose a password of your own before you go on.</span>"
    } else {
        "其他会话将会结束。 <span lang=\"en\">Your other sessions will end.</span>"
    };
    PAGE.replace("{{reason}}", reason)
        .replace("{{error}}", error.unwrap_or_default())
        .replace("{{user}}", &escape(&holder.user.name))
}
