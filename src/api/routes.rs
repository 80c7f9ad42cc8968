//! The table of routes. One entry makes the route, its place in the OpenAPI document, and what it needs of whoever asks.
//!
//! There is no way to add a route without its [`Need`]: the table keeps axum's router to itself. The guard ([`super::auth`])
//! looks a request's route up in [`Needs`] before any handler runs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use serde_json::json;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::openapi::operations;
use super::state::Hub;
use super::{
    alerts, assets, audit, basemap, cases, commands, console, devices, enrolments, health, import,
    live, maintenance, map, modbus, notifications, openapi, parking, password, profiles,
    rehearsals, reports, rules, secrets, series, session, sessions, status, tokens, troubles,
    users, walls, zones,
};
use crate::case::MAX_PHOTO_BYTES;
use crate::model::Right;
use crate::registry::MAX_DOCUMENT_BYTES;
use Place::{Nowhere, Town, Zones};
use Right::{
    Acknowledge, Administer, Dispatch, Engineer, Handle, Operate, Supervise, Verify, View,
};

/// The rights of a case's moves; each move needs its own, which the case room checks.
const MOVES: &[Right] = &[Dispatch, Handle, Verify, Supervise];

/// The rights of a command: which one, its profile says, and the command room checks.
const ORDERS: &[Right] = &[Operate, Engineer];

/// The rights to shelve: critical alerts need the second, which the alert room checks.
const SHELVING: &[Right] = &[Acknowledge, Supervise];

/// The rights to plan maintenance.
const PLANNING: &[Right] = &[Supervise, Engineer];

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: anybody.
    Open,
    /// A login, even one that has to choose a new password first.
    Person,
    /// A right, and what an account's zones mean for it.
    Right(Right, Place),
    /// One of these rights, where the handler's room decides by the role which one: a token must have in its scope all of
    /// them that its user's role has, or it could do there what it may not.
    OneOf(&'static [Right], Place),
}

/// What an account that is limited to zones sees of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// What lies in its zones: the handler asks for a [`super::sight::Sight`]; an answer of one that did not is withheld.
    Zones,
    /// Nothing: the route concerns the whole town.
    Town,
    /// All of it: the route concerns no place.
    Nowhere,
}

/// What every route needs, by its method and its path as the router knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs(HashMap<(Method, String), Need>);

/// Routes with their needs.
pub(crate) struct Table {
    router: OpenApiRouter<Hub>,
    needs: Needs,
}

/// Every route but the console's files.
pub(crate) fn table() -> Table {
    let large = || DefaultBodyLimit::max(MAX_DOCUMENT_BYTES);
    let photo = || DefaultBodyLimit::max(MAX_PHOTO_BYTES + 1);
    Table::new()
        .open(routes!(health::alive))
        .open(routes!(health::ready))
        .right(View, Town, routes!(health::metrics))
        .open(routes!(session::page, session::log_in_by_page))
        .open(routes!(session::style))
        .person(routes!(session::log_out_by_page))
        .person(routes!(password::page, password::change_by_page))
        .person(routes!(session::show, session::delete))
        .open(routes!(session::create))
        .person(routes!(password::change))
        .right(View, Nowhere, routes!(sessions::list))
        .right(View, Nowhere, routes!(sessions::end))
        .right(View, Nowhere, routes!(tokens::list, tokens::create))
        .right(View, Nowhere, routes!(tokens::delete))
        .right(View, Nowhere, routes!(walls::create))
        .open(routes!(walls::redeem))
        .open(routes!(walls::page))
        .right(Administer, Town, routes!(users::list, users::create))
        .right(Administer, Town, routes!(users::change, users::delete))
        .right(Administer, Town, routes!(users::reset))
        .right(Supervise, Town, routes!(audit::list))
        .right(Supervise, Town, routes!(audit::export))
        .right(View, Zones, routes!(status::show))
        .right(View, Zones, routes!(troubles::list))
        .right(View, Zones, routes!(map::show))
        .right(View, Nowhere, routes!(basemap::show))
        .right(View, Nowhere, routes!(basemap::data))
        .right(View, Nowhere, routes!(basemap::tile))
        .right(View, Zones, routes!(live::stream))
        .open(routes!(parking::board))
        .right(View, Zones, routes!(parking::figures))
        .open(routes!(parking::page))
        .open(routes!(console::public_file))
        .right(View, Zones, routes!(assets::list))
        .right(View, Zones, routes!(assets::show))
        .right(Engineer, Zones, routes!(import::assets).layer(large()))
        .right(View, Zones, routes!(zones::list))
        .right(Engineer, Town, routes!(import::zones).layer(large()))
        .right(View, Zones, routes!(devices::list))
        .right(Engineer, Zones, routes!(devices::create))
        .right(View, Zones, routes!(devices::show))
        .right(View, Town, routes!(modbus::show))
        .right(Engineer, Zones, routes!(secrets::rotate))
        .right(Engineer, Zones, routes!(secrets::rotate_many))
        .right(Engineer, Town, routes!(enrolments::list, enrolments::create))
        .right(Engineer, Town, routes!(enrolments::revoke))
        .right(Engineer, Zones, routes!(enrolments::approve))
        .right(Engineer, Zones, routes!(enrolments::reject))
        .right(Engineer, Zones, routes!(import::devices).layer(large()))
        .right(View, Zones, routes!(profiles::list))
        .right(View, Zones, routes!(profiles::show))
        .right(Engineer, Town, routes!(profiles::reload))
        .right(View, Zones, routes!(series::show))
        .right(View, Zones, routes!(alerts::list))
        .right(View, Zones, routes!(alerts::show))
        .right(Acknowledge, Zones, routes!(alerts::acknowledge_many))
        .right(Acknowledge, Zones, routes!(alerts::acknowledge))
        .one_of(SHELVING, Zones, routes!(alerts::shelve))
        .right(Acknowledge, Zones, routes!(alerts::unshelve))
        .right(Engineer, Zones, routes!(alerts::out_of_service))
        .right(Engineer, Zones, routes!(alerts::in_service))
        .right(View, Zones, routes!(maintenance::list))
        .one_of(PLANNING, Zones, routes!(maintenance::plan))
        .one_of(PLANNING, Zones, routes!(maintenance::end))
        .right(View, Zones, routes!(rules::list))
        .right(View, Zones, routes!(rules::overrides))
        .right(View, Zones, routes!(rules::show_override))
        .right(Engineer, Zones, routes!(rules::put_override, rules::delete_override))
        .right(View, Zones, routes!(rules::own))
        .right(View, Zones, routes!(rules::show_own))
        .right(Engineer, Zones, routes!(rules::put_own, rules::delete_own))
        .right(View, Zones, routes!(rules::history))
        .right(View, Nowhere, routes!(rules::schedules))
        .right(View, Nowhere, routes!(rules::show_schedule))
        .right(Engineer, Town, routes!(rules::put_schedule, rules::delete_schedule))
        .right(View, Zones, routes!(commands::list))
        .one_of(ORDERS, Zones, routes!(commands::select))
        .right(Operate, Zones, routes!(commands::stop))
        .right(View, Zones, routes!(commands::show))
        .one_of(ORDERS, Zones, routes!(commands::confirm))
        .right(Operate, Zones, routes!(commands::cancel))
        .right(View, Zones, routes!(cases::list))
        .right(Acknowledge, Zones, routes!(cases::register))
        .right(View, Zones, routes!(cases::show))
        .one_of(MOVES, Zones, routes!(cases::make))
        .right(Acknowledge, Zones, routes!(cases::reopen))
        .right(Acknowledge, Zones, routes!(cases::attach))
        .right(Handle, Zones, routes!(cases::put_photo).layer(photo()))
        .right(View, Zones, routes!(cases::photo))
        .right(View, Nowhere, routes!(cases::units))
        .right(Supervise, Town, routes!(cases::put_unit))
        .right(View, Zones, routes!(rehearsals::rehearse_rule))
        .right(View, Zones, routes!(reports::alarms))
        .right(View, Zones, routes!(reports::cases))
        .right(View, Zones, routes!(reports::export))
        .right(View, Town, routes!(notifications::list))
        .right(View, Town, routes!(notifications::show))
        .right(View, Town, routes!(notifications::channels))
        .right(Supervise, Town, routes!(notifications::retry))
        .right(Supervise, Town, routes!(notifications::test))
        .right(View, Nowhere, routes!(openapi::show))
}

impl Table {
    fn new() -> Self {
        let router = OpenApiRouter::with_openapi(openapi::frame());
        Table { router, needs: Needs::default() }
    }

    /// Routes that need no login.
    fn open(self, routes: UtoipaMethodRouter<Hub>) -> Self {
        self.put(Need::Open, routes)
    }

    /// Routes about the login itself.
    fn person(self, routes: UtoipaMethodRouter<Hub>) -> Self {
        self.put(Need::Person, routes)
    }

    /// Routes that need this right.
    fn right(self, right: Right, place: Place, routes: UtoipaMethodRouter<Hub>) -> Self {
        self.put(Need::Right(right, place), routes)
    }

    /// Routes that need one of these rights, by what they are asked for.
    fn one_of(
        self,
        rights: &'static [Right],
        place: Place,
        routes: UtoipaMethodRouter<Hub>,
    ) -> Self {
        self.put(Need::OneOf(rights, place), routes)
    }

    fn put(mut self, need: Need, mut routes: UtoipaMethodRouter<Hub>) -> Self {
        for (path, item) in &mut routes.1.paths {
            for (method, operation) in operations(item) {
                let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
                self.needs.0.insert((method, path.clone()), need);
                let extensions = ExtensionsBuilder::new().add("x-needs", need.describe()).build();
                operation.extensions.get_or_insert_default().merge(extensions);
            }
        }
        self.router = self.router.routes(routes);
        self
    }

    /// The router, and what its routes need.
    pub(crate) fn split(self) -> (Router<Hub>, Arc<Needs>) {
        (self.router.into(), Arc::new(self.needs))
    }

    /// The document of the routes.
    pub(crate) fn into_openapi(self) -> OpenApi {
        self.router.into_openapi()
    }
}

impl Needs {
    /// What a route needs; `None` when there is none with this method. HEAD goes with GET.
    pub(crate) fn of(&self, method: &Method, path: &str) -> Option<Need> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.get(&(method.clone(), path.to_owned())).copied()
    }

    /// Every route with its need, in the order of their paths.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(Method, String, Need)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|((method, path), need)| (method.clone(), path.clone(), *need))
            .collect();
        all.sort_by(|a, b| (&a.1, a.0.as_str()).cmp(&(&b.1, b.0.as_str())));
        all
    }
}

impl Need {
    /// The need as the OpenAPI document tells it.
    pub(crate) fn describe(self) -> serde_json::Value {
        match self {
            Need::Open => json!({ "login": false }),
            Need::Person => json!({ "login": true }),
            Need::Right(right, place) => {
                json!({ "login": true, "right": right, "zones": place.as_str() })
            }
            Need::OneOf(rights, place) => {
                json!({ "login": true, "one_of": rights, "zones": place.as_str() })
            }
        }
    }
}

impl Need {
    /// What zones mean for it.
    pub(crate) fn place(self) -> Place {
        match self {
            Need::Open | Need::Person => Place::Nowhere,
            Need::Right(_, place) | Need::OneOf(_, place) => place,
        }
    }
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Place::Zones => "limited",
            Place::Town => "whole-town",
            Place::Nowhere => "any",
        }
    }
}
