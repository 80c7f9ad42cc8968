//! Whether the hub lives, is ready, and its numbers for Prometheus.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::state::Hub;

/// How the hub is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn alive() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Everything is up; else 503 with `missing`, the parts that are not.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn ready(State(hub): State<Hub>) -> Result<Json<Health>, Problem> {
    let missing = hub.readiness.missing();
    if missing.is_empty() {
        return Ok(Json(Health { status: "ready" }));
    }
    Err(Problem::unavailable(format!("not up: {}", missing.join(", "))).with("missing", missing))
}

/// The hub's own numbers in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(hub): State<Hub>) -> Result<Response, Problem> {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder.encode(&hub.metrics.gather(), &mut text).map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}
