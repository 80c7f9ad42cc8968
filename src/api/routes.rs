//! The table of routes. One entry makes the route, its place in the OpenAPI document and, by default, its closed door.

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::state::Hub;
use super::{
    alerts, assets, cases, devices, health, import, live, map, modbus, openapi, profiles, series,
    session, status, zones,
};
use crate::case::MAX_PHOTO_BYTES;
use crate::registry::MAX_DOCUMENT_BYTES;

/// Every route but the console's files.
pub(crate) fn table() -> OpenApiRouter<Hub> {
    let large = || DefaultBodyLimit::max(MAX_DOCUMENT_BYTES);
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(session::page, session::log_in_by_page))
        .routes(routes!(session::style))
        .routes(routes!(session::log_out_by_page))
        .routes(routes!(session::show, session::create, session::delete))
        .routes(routes!(session::create_token))
        .routes(routes!(status::show))
        .routes(routes!(map::show))
        .routes(routes!(live::stream))
        .routes(routes!(assets::list))
        .routes(routes!(assets::show))
        .routes(routes!(import::assets).layer(large()))
        .routes(routes!(zones::list))
        .routes(routes!(import::zones).layer(large()))
        .routes(routes!(devices::list, devices::create))
        .routes(routes!(devices::show))
        .routes(routes!(devices::rotate_secret))
        .routes(routes!(modbus::show))
        .routes(routes!(import::devices).layer(large()))
        .routes(routes!(profiles::list))
        .routes(routes!(profiles::show))
        .routes(routes!(profiles::reload))
        .routes(routes!(series::show))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(cases::list, cases::register))
        .routes(routes!(cases::show))
        .routes(routes!(cases::make))
        .routes(routes!(cases::reopen))
        .routes(routes!(cases::attach))
        .routes(routes!(cases::put_photo).layer(DefaultBodyLimit::max(MAX_PHOTO_BYTES + 1)))
        .routes(routes!(cases::photo))
        .routes(routes!(cases::units))
        .routes(routes!(cases::put_unit))
        .routes(routes!(openapi::show))
}
