//! Links that let a wall screen in, once.
//!
//! A wall has no keyboard and stands where everybody passes. So its address holds nothing: somebody who is logged in makes a
//! link that works once and for a quarter of an hour; its code stands behind the `#`, which no browser sends and no proxy
//! logs; a press on the page that it opens trades the code for a cookie that no script can read. What the cookie holds is a
//! token with the right to look and nothing else, which its maker sees among his tokens and can delete.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::auth::{COOKIE_NAME, Held};
use super::console;
use super::error::{Code, Problem};
use super::extract::JsonBody;
use super::state::{Hub, Work};
use crate::model::{Right, Timestamp};
use crate::registry::{NewToken, User};

/// How long a link waits to be used: the way from the desk to the wall.
const LINK_LIFE: Duration = Duration::from_secs(15 * 60);
/// Links that wait at a time.
const MAX_WAITING: usize = 64;
/// How long a wall stays logged in, in days.
const WALL_DAYS: u32 = 365;
/// The longest name of a wall in characters: with `wall: ` before it it is the label of a token.
const MAX_NAME: usize = 80;

/// The links that wait, by the fingerprint of their code. They end with the hub.
#[derive(Debug, Default)]
pub(crate) struct WallLinks(Mutex<HashMap<[u8; 32], Waiting>>);

#[derive(Debug, Clone)]
struct Waiting {
    by: User,
    name: String,
    expires_at: Timestamp,
}

/// Which wall a link is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WallRequest {
    /// A name by which to know it again, for example `duty room`.
    name: String,
}

/// A new link.
#[derive(Serialize, ToSchema)]
pub(crate) struct WallLink {
    /// To be opened on the wall screen, under the hub's address.
    path: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The code of a link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WallCode {
    code: String,
}

/// Makes a link for a wall screen: it works once, for 15 minutes, and lets the screen look at what the caller sees. Only a
/// person's session can.
#[utoipa::path(post, path = "/api/v1/wall-links", tag = "session", request_body = WallRequest, responses((status = 201, body = WallLink)))]
pub(crate) async fn create(
    State(hub): State<Hub>,
    held: Held,
    JsonBody(wanted): JsonBody<WallRequest>,
) -> Result<Response, Problem> {
    held.person()?;
    let name = wanted.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(Problem::bad_body(format!("a wall's name has 1 to {MAX_NAME} characters")));
    }
    let now = hub.clock.now();
    let expires_at = now.plus(LINK_LIFE);
    let waiting = Waiting { by: held.0.user, name: name.to_owned(), expires_at };
    let code = hub.walls.add(waiting, now)?;
    let link = WallLink { path: format!("/wall/join#{code}"), expires_at };
    Ok((StatusCode::CREATED, Json(link)).into_response())
}

/// Trades a link's code for the wall's cookie.
#[utoipa::path(
    post, path = "/api/v1/wall-links/redeem", tag = "session", request_body = WallCode,
    responses((status = 204, description = "The cookie is set"))
)]
pub(crate) async fn redeem(
    State(hub): State<Hub>,
    JsonBody(given): JsonBody<WallCode>,
) -> Result<Response, Problem> {
    let waiting = hub.walls.take(&given.code, hub.clock.now());
    let waiting = waiting.ok_or_else(|| {
        let detail = "this link was used already, or is older than 15 minutes; make a new one";
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    let token = hub.blocking(Work::Query, move |hub| {
        let label = format!("wall: {}", waiting.name);
        let scope = Some(vec![Right::View]);
        let new = NewToken { user: &waiting.by.name, label: &label, scope, days: Some(WALL_DAYS) };
        Ok(hub.registry.by(&waiting.by).make_token(&new)?)
    });
    let cookie = HeaderValue::from_str(&cookie(&token.await?, hub.https_only));
    let cookie = cookie.map_err(Problem::internal)?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// The page that a link opens. It is the same for everybody: the code stays in the browser.
#[utoipa::path(
    get, path = "/wall/join", tag = "pages",
    responses((status = 200, content_type = "text/html", body = String))
)]
pub(crate) async fn page(request: Request) -> Response {
    console::public_page("join.html", request.headers())
}

impl WallLinks {
    /// Keeps a link; the code that it is known by.
    fn add(&self, waiting: Waiting, now: Timestamp) -> Result<String, Problem> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.expires_at > now);
        if links.len() >= MAX_WAITING {
            let why = format!("{MAX_WAITING} links wait already; use one, or try again later");
            return Err(Problem::unavailable(why));
        }
        let code = rand::rng().random::<u128>();
        let code = format!("{code:032x}");
        links.insert(fingerprint(&code), waiting);
        Ok(code)
    }

    /// The link of this code, which is gone then.
    fn take(&self, code: &str, now: Timestamp) -> Option<Waiting> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.remove(&fingerprint(code)).filter(|link| link.expires_at > now)
    }
}

fn fingerprint(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

/// As a session's, but a screen that was switched off overnight is let in again.
fn cookie(token: &str, https_only: bool) -> String {
    let secure = if https_only { "; Secure" } else { "" };
    let seconds = WALL_DAYS * 24 * 3600;
    format!("{COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}
