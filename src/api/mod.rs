//! Faces: axum, `/api/v1`, the console's files, health and metrics.
//!
//! Takes requests; hands on answers from the registry, the present, the store and the live feed. Every route stands in
//! [`routes`] with the right that it needs, from which the OpenAPI document is made too; every refusal is an RFC 9457 problem
//! ([`error`]); nobody gets past [`auth`] without a login but to health and the login page itself, and nobody sees more
//! than his [`sight`]. Handlers check, ask a room and shape the answer;
//! what may block runs on threads for that, behind bounds ([`state`]).
//!
//! Never decides anything about readings or alerts, and no other room knows of HTTP.

mod alerts;
mod assets;
mod audit;
mod auth;
mod basemap;
mod cases;
mod commands;
mod console;
mod devices;
mod enrolments;
mod error;
mod extract;
mod geo;
mod health;
mod import;
mod live;
mod maintenance;
mod map;
mod modbus;
mod notifications;
mod openapi;
mod parking;
mod password;
mod points;
mod profiles;
mod rehearsals;
mod reports;
mod routes;
mod rules;
mod secrets;
mod series;
mod session;
mod sessions;
mod sight;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod troubles;
mod users;
mod walls;
mod wire;
mod zones;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use error::Problem;
pub use reports::ReportSettings;
pub use state::{AppState, House, Limits, Queue, Readiness, TableReader, TownInfo};

/// The longest body of a request that is no import.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a request may take, its body included. A live stream's request ends when its first event goes out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What every answer says to browsers. `style-src` allows inline styles because MapLibre sets them.
const SECURITY_HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; \
         worker-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    // Answers are about now and for one person; what may be kept says so itself.
    (CACHE_CONTROL, "no-store"),
];

/// The whole HTTP face of the hub.
pub fn router(state: AppState) -> Router {
    let hub = Arc::new(state);
    let (routes, needs) = routes::table().split();
    let door = auth::Door { hub: Arc::clone(&hub), needs };
    routes
        .fallback(console::serve)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(deadline))
        // Outside all of the above, so that nothing runs for somebody who is not let in.
        .layer(from_fn_with_state(door, auth::guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(error::normalize))
        // Leaves event streams, images and small answers alone.
        .layer(CompressionLayer::new())
        .layer(map_response(secure))
        .with_state(hub)
}

/// The OpenAPI document, without a server: the console's client is generated from it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    openapi::document()
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let why = format!("this took longer than {} s", REQUEST_TIMEOUT.as_secs());
            Problem::unavailable(why).into_response()
        }
    }
}

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A handler panicked: the client gets a problem, the log has the panic's message and place from the panic hook.
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let said = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {said}")).into_response()
}
