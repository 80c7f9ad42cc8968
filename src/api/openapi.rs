//! The OpenAPI 3.1 document: made from the handlers, so that it cannot tell anything else than they do.

use axum::Json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi, PathItem, Ref, ResponseBuilder, SecurityRequirement,
};
use utoipa::{Modify, OpenApi as _};

use super::auth::COOKIE_NAME;
use super::error::ProblemBody;
use super::notifications::WebhookContract;
use super::wire;

/// What the document says besides its routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "townhub", description = "The city brain of a town: assets, devices, readings, alerts, live."),
    components(schemas(ProblemBody, wire::Alert, WebhookContract)),
    modifiers(&Access)
)]
pub(crate) struct Frame;

struct Access;

impl Modify for Access {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let cookie = ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The document as it was made with the router.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "status", responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn show() -> Json<OpenApi> {
    Json(document())
}

/// The document without a server, for `openapi.json` and the console's generated client.
pub(crate) fn document() -> OpenApi {
    finish(super::routes::table().into_openapi())
}

/// The empty document that the routes are added to.
pub(crate) fn frame() -> OpenApi {
    Frame::openapi()
}

/// What is the same for every route: how to be let in, and how a refusal looks.
fn finish(mut openapi: OpenApi) -> OpenApi {
    for (path, item) in &mut openapi.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
            let needs = operation.extensions.as_ref().and_then(|found| found.get("x-needs"));
            let open = needs.is_some_and(|needs| needs["login"] == false);
            operation.security = Some(if open {
                Vec::new()
            } else {
                ["session", "token"]
                    .map(|name| SecurityRequirement::new(name, [] as [&str; 0]))
                    .into()
            });
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
            let refusal = ResponseBuilder::new()
                .description("A refusal")
                .content("application/problem+json", problem.build());
            operation.responses.responses.insert("default".to_owned(), refusal.build().into());
        }
    }
    openapi
}

/// An operation's name, of its method and path: handlers of several resources are called `list`, and a generated client
/// would take one for the other.
fn operation_id(method: &str, path: &str) -> String {
    let (first, path) = match path.strip_prefix("/api/v1") {
        Some(path) => (method.to_ascii_lowercase(), path),
        None => (method.to_ascii_lowercase() + "_page", path),
    };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(first, |id, word| id + "_" + word)
}

/// The operations of a path with their methods.
pub(crate) fn operations(
    item: &mut PathItem,
) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
