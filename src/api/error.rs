//! Refusals: RFC 9457 problem details, and the one place where a room's error becomes a status.
//!
//! What the client reads and what the log gets are two things: a [`Problem`] carries both, and only the client's half
//! leaves the hub.

use std::error::Error;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::alert::AlertError;
use crate::live::SubscribeError;
use crate::registry::{Denied, RegistryError};
use crate::store::StoreError;

/// What went wrong, as a word that programs compare and the console puts into its own words. Only ever added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// No session and no token, or one that ended.
    NotAuthenticated,
    /// Wrong user name or password.
    BadCredentials,
    /// Too many wrong passwords.
    LockedOut,
    /// A change with a cookie but without the header that only our own pages send.
    CrossSite,
    /// The role, the token's scope or the account's zones do not allow it.
    Forbidden,
    /// The password has to be changed before anything else.
    PasswordChangeRequired,
    /// Nobody would be left who may change accounts.
    LastAdmin,
    /// No such thing, or no such route.
    NotFound,
    /// The route does not know this method.
    MethodNotAllowed,
    /// A query parameter is wrong.
    BadQuery,
    /// The body is wrong.
    BadBody,
    /// There is one already.
    AlreadyExists,
    /// Somebody changed it in the meantime.
    VersionConflict,
    /// Somebody acknowledged it before.
    AlreadyAcknowledged,
    /// A command is refused: `cause`, `rule`, `text` and `facts` say why.
    CommandRefused,
    /// Others depend on it as it is.
    InUse,
    /// It is not so, and cannot be ended.
    NotSo,
    /// The case does not stand where this move begins.
    IllegalMove,
    /// The sensor does not say that all is well.
    SensorDisagrees,
    /// The body is too large.
    TooLarge,
    /// Not now: busy, starting or stopping.
    Unavailable,
    /// Our fault.
    Internal,
}

/// A problem as it goes out (`application/problem+json`); further members say more about some codes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: the code says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong here and what would be right.
    detail: String,
    code: Code,
    #[serde(flatten)]
    params: Map<String, Value>,
}

/// A refusal on its way to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    params: Map<String, Value>,
    log: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of this status and code. `detail` is for the client.
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Problem { status, code, detail: detail.into(), params: Map::new(), log: None }
    }

    /// Adds a member that programs can read.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    /// A query parameter is wrong; `why` says what would be right.
    pub(crate) fn bad_query(parameter: &str, why: impl std::fmt::Display) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, Code::BadQuery, format!("{parameter}: {why}"))
            .with("parameter", parameter)
    }

    /// The body is wrong.
    pub(crate) fn bad_body(why: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, Code::BadBody, why)
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, format!("there is no {what} `{id}`"))
            .with("what", what)
            .with("id", id)
    }

    /// Not now.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, why)
    }

    /// Nobody is logged in.
    pub(crate) fn not_authenticated() -> Self {
        let detail = "log in at /login, or send `Authorization: Bearer <token>`";
        Problem::new(StatusCode::UNAUTHORIZED, Code::NotAuthenticated, detail)
    }

    /// Our fault: the client learns no more than that, the log all of it.
    pub(crate) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Problem {
            log: Some(cause.into()),
            ..Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Internal,
                "the hub failed at this; its log says why",
            )
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.log {
            tracing::error!(error = crate::error_chain(&**cause), "a request failed");
        }
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            params: self.params,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        let detail = error.to_string();
        match error {
            AlertError::Database(_) => Problem::internal(error),
            AlertError::ShuttingDown => Problem::unavailable(detail),
            AlertError::NotFound(id) => Problem::not_found("alert", &id.0.to_string()),
            AlertError::VersionConflict { id, current, given } => {
                Problem::new(StatusCode::CONFLICT, Code::VersionConflict, detail)
                    .with("id", id.0)
                    .with("current", current)
                    .with("given", given)
            }
            AlertError::TooSevere { id, severity } => {
                Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, detail)
                    .with("id", id.0)
                    .with("severity", severity.as_str())
                    .with("right", "supervise")
            }
            AlertError::BadShelf { id, severity, longest } => Problem::bad_body(detail)
                .with("id", id.0)
                .with("severity", severity.as_str())
                .with("longest_s", longest.as_secs()),
            AlertError::BadWindow => Problem::bad_body(detail),
            AlertError::NoWindow(number) => {
                Problem::not_found("maintenance window", &number.to_string())
            }
            AlertError::NotSo { id, .. } => {
                Problem::new(StatusCode::CONFLICT, Code::NotSo, detail).with("id", id.0)
            }
            AlertError::AlreadyAcknowledged { id, by } => {
                Problem::new(StatusCode::CONFLICT, Code::AlreadyAcknowledged, detail)
                    .with("id", id.0)
                    .with("by", by)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadQuery(why) => Problem::new(StatusCode::BAD_REQUEST, Code::BadQuery, why),
            StoreError::Remote { engine, before, .. } => Problem::unavailable(error.to_string())
                .with("engine", engine)
                .with("before", before.to_string()),
            StoreError::Database(_)
            | StoreError::Damaged { .. }
            | StoreError::Format { .. }
            | StoreError::Stalled { .. } => Problem::internal(error),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Document(why) => Problem::bad_body(why),
            RegistryError::NotFound { what, id } => Problem::not_found(what, &id),
            RegistryError::Invalid { ref errors, .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, Code::BadBody, error.to_string())
                    .with("errors", errors.clone())
            }
            RegistryError::AlreadyExists { .. } => {
                Problem::new(StatusCode::CONFLICT, Code::AlreadyExists, error.to_string())
            }
            RegistryError::LastAdmin => {
                Problem::new(StatusCode::CONFLICT, Code::LastAdmin, error.to_string())
            }
            RegistryError::Denied(denied) => denied.into(),
            RegistryError::Database(_)
            | RegistryError::File { .. }
            | RegistryError::NewerDatabase { .. }
            | RegistryError::ForeignDatabase
            | RegistryError::Corrupt { .. }
            | RegistryError::Hashing(_) => Problem::internal(error),
        }
    }
}

/// The status of a refused log-in, for pages and for programs.
pub(crate) fn status_of(denied: Denied) -> (StatusCode, Code) {
    match denied {
        Denied::BadCredentials => (StatusCode::UNAUTHORIZED, Code::BadCredentials),
        Denied::LockedOut => (StatusCode::TOO_MANY_REQUESTS, Code::LockedOut),
        Denied::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let (status, code) = status_of(denied);
        Problem::new(status, code, denied.to_string())
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Full | SubscribeError::Closed => {
                Problem::unavailable(error.to_string())
            }
            SubscribeError::TooManyAssets(_) => Problem::bad_query("assets", error),
        }
    }
}

/// The longest text of a refusal by axum itself that is worth passing on.
const MAX_REJECTION_BYTES: usize = 4 * 1024;

/// Gives the refusals that axum itself makes (no route, wrong method, bad path, body too large) the same form as ours.
pub(crate) async fn normalize(request: Request, next: Next) -> Response {
    let place = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_REJECTION_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut response = of_status(status, &place, text).into_response();
    if let Some(allow) = parts.headers.get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

fn of_status(status: StatusCode, place: &str, text: String) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => Code::BadBody,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_server_error() => Code::Internal,
        _ => Code::BadQuery,
    };
    let detail = match code {
        Code::NotFound => {
            format!("there is nothing at {place}; /api/v1/openapi.json lists the routes")
        }
        Code::MethodNotAllowed => format!("{place} is not possible; `Allow` lists what is"),
        _ if text.is_empty() => place.to_owned(),
        _ => text,
    };
    Problem::new(status, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertId;

    async fn body(problem: Problem) -> (StatusCode, Value) {
        let response = problem.into_response();
        let status = response.status();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let bytes = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_conflict_says_what_is_there_now() {
        let error = AlertError::VersionConflict { id: AlertId(5), current: 3, given: 2 };
        let (status, body) = body(error.into()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(body["code"], "version_conflict");
        assert_eq!((&body["current"], &body["given"]), (&3.into(), &2.into()));
        assert_eq!(body["title"], "Conflict");
        assert_eq!(body["status"], 409);
    }

    #[tokio::test]
    async fn the_client_never_reads_what_the_log_gets() {
        let error = StoreError::Damaged { what: "chunk 7".into(), why: "checksum".into() };
        let (status, body) = body(error.into()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("chunk 7"), "{body}");
    }
}
