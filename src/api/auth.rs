//! The guard in front of every route: default deny.
//!
//! It wraps the whole router with its fallback. Whoever has no login gets past it only where the table of routes says
//! [`Need::Open`], and cannot even tell which routes exist; whoever has one needs the right of the route, and sees of it what
//! lies in his zones. What the table does not know needs [`Right::View`], which the console's files are.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::{Code, Problem};
use super::routes::{Need, Needs, Place};
use super::sight::Sight;
use super::state::Hub;
use crate::model::Right;
use crate::registry::{Grant, Holder, User};

/// The name of the session's cookie.
pub(crate) const COOKIE_NAME: &str = "townhub_session";

/// Where a person chooses a new password.
pub(crate) const PASSWORD_PAGE: &str = "/password";

/// What the guard knows.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) hub: Hub,
    pub(crate) needs: Arc<Needs>,
}

/// What somebody proves with who they are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The session's or token's text.
    pub(crate) secret: String,
    /// Whether the browser sent it by itself: then a foreign page may have made it do so.
    is_cookie: bool,
}

/// Who sent this request: what handlers extract, so that a handler that needs a person cannot run without one.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) User);

/// The same with what he holds: a session or a token, and the rights that it gives.
#[derive(Debug, Clone)]
pub(crate) struct Held(pub(crate) Holder);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Held(holder) = Held::from_request_parts(parts, state).await?;
        Ok(Caller(holder.user))
    }
}

impl<S: Sync> FromRequestParts<S> for Held {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Held>().cloned().ok_or_else(Problem::not_authenticated)
    }
}

impl<S: Sync> FromRequestParts<S> for Credential {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Credential>().cloned().ok_or_else(Problem::not_authenticated)
    }
}

impl Held {
    /// Refuses what only a person may do: a token must not make itself another one, or a new password.
    pub(crate) fn person(&self) -> Result<(), Problem> {
        match self.0.by {
            Grant::Session { .. } => Ok(()),
            Grant::Token { .. } => {
                Err(forbidden("this needs a person's session; a token cannot do it"))
            }
        }
    }
}

/// Lets a request through, or not.
pub(crate) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let need = path.and_then(|path| door.needs.of(request.method(), path));
    // A file of the console, nothing at all, or a method that a route does not have.
    let need = need.unwrap_or(Need::Right(Right::View, Place::Nowhere));
    if need == Need::Open {
        if is_from_a_foreign_page(request.method(), request.headers()) {
            return cross_site().into_response();
        }
        return next.run(request).await;
    }
    let credential = credential(request.headers());
    let held = credential.and_then(|c| door.hub.registry.holder(&c.secret).map(|held| (c, held)));
    let Some((credential, holder)) = held else {
        return if wants_a_page(&request) {
            Redirect::to("/login").into_response()
        } else {
            Problem::not_authenticated().into_response()
        };
    };
    if credential.is_cookie && !may_change(request.method(), request.headers()) {
        return cross_site().into_response();
    }
    if let Err(problem) = admit(&holder, need) {
        return if holder.must_change && wants_a_page(&request) {
            Redirect::to(PASSWORD_PAGE).into_response()
        } else {
            problem.into_response()
        };
    }
    let sight = Sight::of(&holder.user);
    request.extensions_mut().insert(credential);
    request.extensions_mut().insert(Held(holder));
    request.extensions_mut().insert(sight.clone());
    let response = next.run(request).await;
    withhold(response, need, &sight)
}

/// Whether the holder has what the route needs.
fn admit(holder: &Holder, need: Need) -> Result<(), Problem> {
    let rights: &[Right] = match &need {
        Need::Open | Need::Person => return Ok(()),
        Need::Right(right, _) => std::slice::from_ref(right),
        Need::OneOf(rights, _) => rights,
    };
    if holder.must_change {
        let detail = format!(
            "choose a new password first: POST /api/v1/session/password, or {PASSWORD_PAGE}"
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::PasswordChangeRequired, detail));
    }
    let role = holder.user.role;
    let mut of_role = rights.iter().filter(|&&right| role.may(right)).peekable();
    if of_role.peek().is_none() {
        let names = rights.iter().map(|right| right.as_str()).collect::<Vec<_>>().join("` or `");
        let detail = format!("this needs the right `{names}`; the role `{role}` does not have it");
        return Err(forbidden(detail).with("right", rights[0].as_str()));
    }
    if let Some(right) = of_role.find(|&&right| !holder.may(right)) {
        let detail = format!("this needs the right `{right}`; the token's scope does not have it");
        return Err(forbidden(detail).with("right", right.as_str()));
    }
    if need.place() == Place::Town && holder.user.zones.is_some() {
        return Err(forbidden("this concerns the whole town; the account is limited to zones"));
    }
    Ok(())
}

/// The answer, unless it may show what is out of sight because its handler did not look.
fn withhold(response: Response, need: Need, sight: &Sight) -> Response {
    if need.place() == Place::Zones && response.status().is_success() && !sight.was_asked() {
        return Problem::internal("a route of zones did not ask for the caller's sight")
            .into_response();
    }
    response
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, detail)
}

/// Whether a browser asks for a page that a person will look at.
fn wants_a_page(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.uri().path().starts_with("/api/")
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The bearer token, else the session's cookie.
fn credential(headers: &HeaderMap) -> Option<Credential> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, token)) = authorization.and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(Credential { secret: token.trim().to_owned(), is_cookie: false });
    }
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| Credential { secret: value.to_owned(), is_cookie: true })
}

/// Whether a request with a cookie may change something: only our own pages can send the header, and only browsers send
/// `Sec-Fetch-Site` (over https and to localhost) and `Origin` (also over plain http, where the password page's form has
/// nothing else), which no page can forge.
fn may_change(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name, value| headers.get(name).is_some_and(|found| found == value);
    method.is_safe()
        || is("x-townhub", "1")
        || is("sec-fetch-site", "same-origin")
        || (is_from_our_origin(headers) && !is_from_a_foreign_page(method, headers))
}

/// Whether the page that sends this was read from the address that it is sent to.
fn is_from_our_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.split_once("://"));
    origin.zip(text(HOST)).is_some_and(|((_, authority), host)| authority == host)
}

/// Whether a browser says that a foreign page sends this change: nobody is to be logged in as somebody else unawares.
fn is_from_a_foreign_page(method: &Method, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    !method.is_safe() && matches!(site, Some("cross-site" | "same-site"))
}

fn cross_site() -> Problem {
    let detail = "changes with a session cookie need the header `X-Townhub: 1`";
    Problem::new(StatusCode::FORBIDDEN, Code::CrossSite, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_goes_before_the_cookie() {
        let found = |pairs| credential(&headers(pairs)).map(|c| (c.secret, c.is_cookie));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("cookie", "a=b; townhub_session=s1")]), Some(("s1".into(), true)));
        assert_eq!(found(&[("cookie", "xtownhub_session=s1")]), None);
        assert_eq!(found(&[("authorization", "Basic dTpw")]), None);
        let both = [("authorization", "bearer t1"), ("cookie", "townhub_session=s1")];
        assert_eq!(found(&both), Some(("t1".into(), false)));
    }

    #[test]
    fn a_change_by_cookie_comes_from_our_own_pages() {
        let may = |method, pairs| may_change(&method, &headers(pairs));
        assert!(may(Method::GET, &[]));
        assert!(!may(Method::POST, &[]));
        assert!(!may(Method::DELETE, &[("sec-fetch-site", "cross-site")]));
        assert!(!may(Method::POST, &[("x-townhub", "0")]));
        assert!(may(Method::POST, &[("x-townhub", "1")]));
        assert!(may(Method::POST, &[("sec-fetch-site", "same-origin")]));
        let from = |origin, site: &[(&'static str, &str)]| {
            let page = [("host", "hub.town:8080"), ("origin", origin)];
            may_change(&Method::POST, &headers(&[&page, site].concat()))
        };
        assert!(from("http://hub.town:8080", &[]));
        for foreign in ["http://evil.town:8080", "http://hub.town", "null"] {
            assert!(!from(foreign, &[]), "{foreign}");
        }
        assert!(!from("http://hub.town:8080", &[("sec-fetch-site", "cross-site")]));
        let foreign = headers(&[("sec-fetch-site", "cross-site")]);
        assert!(is_from_a_foreign_page(&Method::POST, &foreign));
        assert!(!is_from_a_foreign_page(&Method::GET, &foreign));
        assert!(!is_from_a_foreign_page(&Method::POST, &headers(&[])));
    }

    #[test]
    fn an_answer_that_did_not_look_at_the_zones_is_withheld() {
        let user = User { name: "ann".into(), role: crate::model::Role::Viewer, zones: None };
        let sight = Sight::of(&user);
        let check = |place, status: StatusCode, expected: u16| {
            let response =
                withhold(status.into_response(), Need::Right(Right::View, place), &sight);
            assert_eq!(response.status().as_u16(), expected, "{place:?}");
        };
        check(Place::Zones, StatusCode::OK, 500);
        check(Place::Zones, StatusCode::NOT_FOUND, 404);
        check(Place::Town, StatusCode::OK, 200);
        check(Place::Nowhere, StatusCode::OK, 200);
    }
}
