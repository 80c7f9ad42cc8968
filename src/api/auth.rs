//! The guard in front of every route: default deny.
//!
//! It wraps the whole router with its fallback, so a route that somebody adds is closed until it is listed in [`OPEN`],
//! and somebody without a login cannot even tell which routes exist.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::{Code, Problem};
use super::state::Hub;
use crate::registry::User;

/// The name of the session's cookie.
pub(crate) const COOKIE_NAME: &str = "townhub_session";

/// The routes that need no login. HEAD goes with GET.
pub(crate) const OPEN: [(Method, &str); 6] = [
    (Method::GET, "/healthz"),
    (Method::GET, "/readyz"),
    (Method::GET, "/login"),
    (Method::GET, "/login.css"),
    (Method::POST, "/login"),
    (Method::POST, "/api/v1/session"),
];

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

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::not_authenticated)
    }
}

impl<S: Sync> FromRequestParts<S> for Credential {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Credential>().cloned().ok_or_else(Problem::not_authenticated)
    }
}

/// Lets a request through, or not.
pub(crate) async fn guard(State(hub): State<Hub>, mut request: Request, next: Next) -> Response {
    if is_open(request.method(), request.uri().path()) {
        if is_from_a_foreign_page(request.method(), request.headers()) {
            return cross_site().into_response();
        }
        return next.run(request).await;
    }
    let credential = credential(request.headers());
    let caller = credential.and_then(|c| hub.registry.who(&c.secret).map(|user| (c, user)));
    let Some((credential, user)) = caller else {
        return if wants_a_page(&request) {
            Redirect::to("/login").into_response()
        } else {
            Problem::not_authenticated().into_response()
        };
    };
    if credential.is_cookie && !may_change(request.method(), request.headers()) {
        return cross_site().into_response();
    }
    request.extensions_mut().insert(credential);
    request.extensions_mut().insert(Caller(user));
    next.run(request).await
}

fn is_open(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    OPEN.iter().any(|(open, at)| open == method && *at == path)
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
/// `Sec-Fetch-Site` (over https and to localhost), which no page can forge.
fn may_change(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name, value| headers.get(name).is_some_and(|found| found == value);
    method.is_safe() || is("x-townhub", "1") || is("sec-fetch-site", "same-origin")
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
        let foreign = headers(&[("sec-fetch-site", "cross-site")]);
        assert!(is_from_a_foreign_page(&Method::POST, &foreign));
        assert!(!is_from_a_foreign_page(&Method::GET, &foreign));
        assert!(!is_from_a_foreign_page(&Method::POST, &headers(&[])));
    }

    #[test]
    fn open_is_exactly_what_is_listed() {
        assert!(is_open(&Method::HEAD, "/healthz"));
        assert!(is_open(&Method::POST, "/login"));
        for (method, path) in
            [(Method::POST, "/healthz"), (Method::GET, "/login/"), (Method::GET, "/api/v1/session")]
        {
            assert!(!is_open(&method, path), "{method} {path}");
        }
    }
}
