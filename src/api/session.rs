//! Who is there: the login page, sessions and tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{COOKIE_NAME, Credential, Held, PASSWORD_PAGE};
use super::error::{Problem, status_of};
use super::extract::JsonBody;
use super::state::{Hub, TownInfo, Work};
use super::wire;
use crate::model::{Label, Right};
use crate::registry::{Denied, Holder, User};

const PAGE: &str = include_str!("login.html");
const STYLE: &str = include_str!("login.css");

/// The longest user name and password in bytes: no more goes into a hash or a log line.
const MAX_NAME: usize = 128;
const MAX_PASSWORD: usize = 1024;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Login {
    user: String,
    password: String,
}

/// Who is logged in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    #[schema(value_type = wire::User)]
    user: User,
    /// What the role is called.
    #[schema(value_type = wire::Label)]
    role: Label,
    /// All that may be done with this session or token.
    #[schema(value_type = Vec<wire::Right>)]
    rights: Vec<Right>,
    /// Whether a new password has to be chosen before anything else.
    must_change: bool,
}

impl From<Holder> for Session {
    fn from(holder: Holder) -> Self {
        Session {
            role: holder.user.role.label(),
            rights: holder.rights(),
            must_change: holder.must_change,
            user: holder.user,
        }
    }
}

/// The login page.
#[utoipa::path(get, path = "/login", tag = "pages", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn page(State(hub): State<Hub>) -> Html<String> {
    Html(render(&hub.town, "", None))
}

/// The login page's style sheet.
#[utoipa::path(get, path = "/login.css", tag = "pages", responses((status = 200, content_type = "text/css", body = String)))]
pub(crate) async fn style() -> Response {
    let headers =
        [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, STYLE).into_response()
}

/// Logs in from the page: on to the console, or the page again with what is wrong.
#[utoipa::path(
    post, path = "/login", tag = "pages",
    request_body(content = Login, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Logged in: the cookie is set; on to the console, or to a password of one's own"),
        (status = 401, content_type = "text/html", body = String),
        (status = 429, content_type = "text/html", body = String),
    )
)]
pub(crate) async fn log_in_by_page(
    State(hub): State<Hub>,
    headers: HeaderMap,
    form: Result<Form<Login>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(login) = form.map_err(|rejection| Problem::bad_body(rejection.body_text()))?;
    let user = login.user.clone();
    Ok(match log_in(&hub, login, &headers).await? {
        Ok(session) => {
            let must_change = hub.registry.holder(&session).is_some_and(|h| h.must_change);
            let on = if must_change { PASSWORD_PAGE } else { "/" };
            ([set_cookie(&hub, &session)?], Redirect::to(on)).into_response()
        }
        Err(denied) => {
            let (status, _) = status_of(denied);
            (status, Html(render(&hub.town, &user, Some(denied)))).into_response()
        }
    })
}

/// Logs out from a page.
#[utoipa::path(
    post, path = "/logout", tag = "pages",
    responses((status = 303, description = "Logged out: on to the login page"))
)]
pub(crate) async fn log_out_by_page(
    State(hub): State<Hub>,
    credential: Credential,
) -> Result<Response, Problem> {
    log_out(&hub, credential).await?;
    Ok(([forget_cookie(&hub)], Redirect::to("/login")).into_response())
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = Session)))]
pub(crate) async fn show(Held(holder): Held) -> Json<Session> {
    Json(holder.into())
}

/// Logs in; the answer sets the session's cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Login, responses((status = 200, body = Session)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    headers: HeaderMap,
    JsonBody(login): JsonBody<Login>,
) -> Result<Response, Problem> {
    let session = log_in(&hub, login, &headers).await??;
    let holder = hub.registry.holder(&session).ok_or_else(Problem::not_authenticated)?;
    Ok(([set_cookie(&hub, &session)?], Json(Session::from(holder))).into_response())
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204, description = "Logged out")))]
pub(crate) async fn delete(
    State(hub): State<Hub>,
    credential: Credential,
) -> Result<Response, Problem> {
    log_out(&hub, credential).await?;
    Ok((StatusCode::NO_CONTENT, [forget_cookie(&hub)]).into_response())
}

/// The new session, or why there is none; a problem when it could not even be tried.
async fn log_in(
    hub: &Hub,
    login: Login,
    headers: &HeaderMap,
) -> Result<Result<String, Denied>, Problem> {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = agent.unwrap_or_default().to_owned();
    if login.user.len() > MAX_NAME || login.password.len() > MAX_PASSWORD {
        return Ok(Err(Denied::BadCredentials));
    }
    let outcome = hub.blocking(Work::Login, move |hub| {
        let outcome = hub.registry.log_in_from(&login.user, &login.password, &agent);
        match outcome {
            Ok(_) => tracing::info!(user = ?login.user, "logged in"),
            Err(denied) => tracing::warn!(user = ?login.user, %denied, "login refused"),
        }
        Ok(outcome)
    });
    let outcome = outcome.await?;
    if outcome.is_err() {
        log_refusals(hub);
    }
    Ok(outcome)
}

/// Writes refused log-ins into the audit log beside the answer: a write before it would tell known names from made-up ones.
pub(crate) fn log_refusals(hub: &Hub) {
    let hub = Arc::clone(hub);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = hub.registry.log_refusals() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "refused log-ins are not in the audit log"
            );
        }
    });
}

async fn log_out(hub: &Hub, credential: Credential) -> Result<(), Problem> {
    let hub = Arc::clone(hub);
    hub.blocking(Work::Query, move |hub| Ok(hub.registry.log_out(&credential.secret)?)).await
}

type Header = (axum::http::HeaderName, HeaderValue);

fn set_cookie(hub: &Hub, session: &str) -> Result<Header, Problem> {
    let value = HeaderValue::from_str(&cookie(session, hub.https_only));
    Ok((SET_COOKIE, value.map_err(Problem::internal)?))
}

fn forget_cookie(hub: &Hub) -> Header {
    let forget = if hub.https_only {
        "townhub_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0; Secure"
    } else {
        "townhub_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"
    };
    (SET_COOKIE, HeaderValue::from_static(forget))
}

/// Without an age: it ends with the browser, or before that when the registry ends the session.
fn cookie(session: &str, https_only: bool) -> String {
    let secure = if https_only { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={session}; HttpOnly; SameSite=Strict; Path=/{secure}")
}

/// The page with what was typed so far; the cursor waits in the first field that needs a hand.
fn render(town: &TownInfo, user: &str, denied: Option<Denied>) -> String {
    let words = denied.map(|denied| match denied {
        Denied::BadCredentials => {
            Label::new("用户名或密码不正确。", "The user name or the password is wrong.")
        }
        Denied::LockedOut => Label::new(
            "错误次数过多,请稍后再试。",
            "Too many wrong tries. Please wait and try again.",
        ),
        Denied::Unavailable => Label::new(
            "暂时无法验证登录,请稍后再试。",
            "The log-in cannot be checked now. Please try again.",
        ),
    });
    let error = words.map_or_else(String::new, |words| alert(&words.zh, &words.en));
    let focus = |here: bool| if here { " autofocus" } else { "" };
    let parts = [
        ("{{town_zh}}", escape(&town.name.zh)),
        ("{{town_en}}", escape(&town.name.en)),
        ("{{error}}", error),
        ("{{focus_user}}", focus(user.is_empty()).to_owned()),
        ("{{focus_password}}", focus(!user.is_empty()).to_owned()),
        // Last: what a stranger typed must not be taken for one of ours.
        ("{{user}}", escape(user)),
    ];
    parts.iter().fold(PAGE.to_owned(), |page, (mark, text)| page.replace(mark, text))
}

/// What is wrong, in both languages.
pub(crate) fn alert(zh: &str, en: &str) -> String {
    format!("<p role=\"alert\">{zh}<span lang=\"en\">{en}</span></p>")
}

/// Text as it may stand in HTML, in attributes too.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    fn town() -> TownInfo {
        TownInfo {
            name: Label::new("乌镇", "Wuzhen"),
            center: Position::new(120.4851, 30.745_36).unwrap(),
            zoom: 14.0,
        }
    }

    #[test]
    fn the_page_says_what_is_wrong_and_keeps_what_was_typed() {
        let fresh = render(&town(), "", None);
        assert!(!fresh.contains("{{") && !fresh.contains("role=\"alert\""), "{fresh}");
        assert!(fresh.contains("乌镇") && !fresh.contains("<script"));
        let again = render(&town(), "ann", Some(Denied::BadCredentials));
        assert!(again.contains("role=\"alert\"") && again.contains("value=\"ann\""));
        assert!(again.contains("current-password\" autofocus"), "{again}");
    }

    #[test]
    fn what_a_stranger_typed_stays_text() {
        let page = render(&town(), "\"><script>{{error}}", Some(Denied::LockedOut));
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;{{error}}\""), "{page}");
    }

    #[test]
    fn no_script_and_no_foreign_page_gets_the_cookie() {
        assert_eq!(cookie("s", false), "townhub_session=s; HttpOnly; SameSite=Strict; Path=/");
        assert!(cookie("s", true).ends_with("; Secure"));
    }
}
