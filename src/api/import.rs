//! Imports: whole files of assets, zones and devices, applied whole or not at all.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::error::Problem;
use super::extract::{Params, accepts, body, media_type, wrong_media_type};
use super::secrets::csv;
use super::sight::Sight;
use super::state::{AppState, Hub, Work};
use super::wire;
use crate::registry::{ImportMode, ImportReport, RegistryError};

/// How to import.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportParams {
    /// Only check and report.
    #[serde(default)]
    dry_run: bool,
}

/// The two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    GeoJson,
    Csv,
}

type Answer = (StatusCode, Json<ImportReport>);

/// Imports assets from GeoJSON, or point assets from CSV.
#[utoipa::path(
    post, path = "/api/v1/assets/import", tag = "assets", params(ImportParams),
    request_body(
        description = "GeoJSON FeatureCollection (id, kind, name, zone, parent), or CSV with the columns id,kind,name_zh,name_en,zone,parent,lon,lat",
        content((serde_json::Value = "application/geo+json"), (String = "text/csv"))
    ),
    responses((status = 200, body = wire::ImportReport), (status = 422, description = "A row is wrong: nothing was applied", body = wire::ImportReport))
)]
pub(crate) async fn assets(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The registry refuses what is out of it.
    _: Sight,
    Params(params): Params<ImportParams>,
    request: Request,
) -> Result<Answer, Problem> {
    let registry = hub.registry.by(&user);
    import(
        &hub,
        &[Format::GeoJson, Format::Csv],
        &params,
        request,
        move |_, format, bytes, mode| match format {
            Format::GeoJson => registry.import_assets(text(bytes)?, mode),
            Format::Csv => registry.import_assets_csv(bytes, mode),
        },
    )
    .await
}

/// Imports zones from GeoJSON.
#[utoipa::path(
    post, path = "/api/v1/zones/import", tag = "zones", params(ImportParams),
    request_body(description = "GeoJSON FeatureCollection of polygons (id, name)", content((serde_json::Value = "application/geo+json"))),
    responses((status = 200, body = wire::ImportReport), (status = 422, description = "A row is wrong: nothing was applied", body = wire::ImportReport))
)]
pub(crate) async fn zones(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The registry refuses what is out of it.
    _: Sight,
    Params(params): Params<ImportParams>,
    request: Request,
) -> Result<Answer, Problem> {
    let registry = hub.registry.by(&user);
    import(&hub, &[Format::GeoJson], &params, request, move |_, _, bytes, mode| {
        registry.import_zones(text(bytes)?, mode)
    })
    .await
}

/// Imports devices from CSV. New devices' secrets are in the answer and never shown again; with `Accept: text/csv` the
/// answer is a table `id,secret` of them, unless a row is wrong.
#[utoipa::path(
    post, path = "/api/v1/devices/import", tag = "devices", params(ImportParams),
    request_body(description = "CSV with the columns id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,gateway,address,secret", content((String = "text/csv"))),
    responses((status = 200, content((wire::ImportReport = "application/json"), (String = "text/csv"))), (status = 422, description = "A row is wrong: nothing was applied", body = wire::ImportReport))
)]
pub(crate) async fn devices(
    State(hub): State<Hub>,
    Caller(user): Caller,
    // The registry refuses what is out of it.
    _: Sight,
    Params(params): Params<ImportParams>,
    request: Request,
) -> Result<Response, Problem> {
    let wants_table = accepts(request.headers(), "text/csv");
    let registry = hub.registry.by(&user);
    let answer = import(&hub, &[Format::Csv], &params, request, move |hub, _, bytes, mode| {
        let profiles: Vec<_> = hub.profiles.load().profiles.keys().cloned().collect();
        registry.import_devices_csv(bytes, &profiles, mode)
    });
    let (status, Json(report)) = answer.await?;
    if wants_table && report.rejected == 0 {
        return Ok(csv(report.secrets_csv()));
    }
    Ok((status, Json(report)).into_response())
}

/// Waits for its turn before it reads the body: only so many large bodies are in memory at a time.
async fn import(
    hub: &Hub,
    allowed: &[Format],
    params: &ImportParams,
    request: Request,
    work: impl FnOnce(&AppState, Format, &[u8], ImportMode) -> Result<ImportReport, RegistryError>
    + Send
    + 'static,
) -> Result<Answer, Problem> {
    let format = format_of(&media_type(request.headers()), allowed)?;
    let mode = if params.dry_run { ImportMode::DryRun } else { ImportMode::Apply };
    let turn = hub.limits.turn(Work::Import).await?;
    let bytes: Bytes = body(request, hub).await?;
    let state = hub.clone();
    let report = turn.run(move || Ok(work(&state, format, &bytes, mode)?)).await?;
    hub.present.caught_up(hub.registry.town().version).await;
    let status =
        if report.rejected == 0 { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, Json(report)))
}

fn format_of(media_type: &str, allowed: &[Format]) -> Result<Format, Problem> {
    let format = match media_type {
        "application/geo+json" | "application/json" => Some(Format::GeoJson),
        "text/csv" => Some(Format::Csv),
        _ => None,
    };
    format.filter(|format| allowed.contains(format)).ok_or_else(|| {
        let names = allowed.iter().map(|format| match format {
            Format::GeoJson => "application/geo+json",
            Format::Csv => "text/csv",
        });
        wrong_media_type(media_type, &names.collect::<Vec<_>>().join(" or "))
    })
}

fn text(bytes: &[u8]) -> Result<&str, RegistryError> {
    std::str::from_utf8(bytes).map_err(|error| {
        RegistryError::Document(format!("the file is not UTF-8 (byte {})", error.valid_up_to()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        let all = [Format::GeoJson, Format::Csv];
        assert_eq!(format_of("application/geo+json", &all).unwrap(), Format::GeoJson);
        assert_eq!(format_of("text/csv", &all).unwrap(), Format::Csv);
        let refused = format!("{:?}", format_of("text/csv", &[Format::GeoJson]).unwrap_err());
        assert!(refused.contains("send application/geo+json"), "{refused}");
        assert!(format_of("", &all).is_err());
        assert!(text(&[b'{', 0xff]).unwrap_err().to_string().contains("byte 1"));
    }
}
