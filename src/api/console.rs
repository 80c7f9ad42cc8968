//! The pages: the files that the console's build left in `dashboards/console/dist`, embedded in the binary.
//!
//! What lies under [`PUBLIC`] is for everybody; all else needs a login, as every path that is no route does. The two are
//! built apart, so that no page of the public asks for a file of the console.

use axum::extract::{Path, Request};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// A debug build reads the files from the folder, a release build carries them. The folder is relative to `Cargo.toml`.
#[derive(RustEmbed)]
#[folder = "dashboards/console/dist"]
#[allow_missing = true]
struct Files;

/// What `cargo run` alone shows.
const NOT_BUILT: &str = include_str!("not_built.html");

/// The folder of the files that need no login.
const PUBLIC: &str = "open/";

/// Any path that is no route: a file of the console, or nothing.
pub(crate) async fn serve(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let path = match request.uri().path() {
        "/" if is_wall(request.uri().query()) => "wall.html",
        "/" => "index.html",
        "/wall" => "wall.html",
        path => path.trim_start_matches('/'),
    };
    page(path, request.headers())
}

/// A page, or the page that says that there is none yet.
fn page(path: &str, headers: &HeaderMap) -> Response {
    match Files::get(path) {
        Some(file) => file_response(path, file, headers),
        None if path.ends_with(".html") && Files::get("index.html").is_none() => {
            Html(NOT_BUILT).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Whether a query asks for the wallboard: `?wall`. The console has a wall of its own, `?wall=overdue`.
fn is_wall(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| matches!(pair, "wall" | "wall=" | "wall=1"))
    })
}

/// A page for everybody, by its file's name.
pub(crate) fn public_page(name: &str, headers: &HeaderMap) -> Response {
    page(name, headers)
}

/// A file of the pages for everybody.
#[utoipa::path(
    get, path = "/open/{file}", tag = "pages", params(("file" = String, Path)),
    responses((status = 200, description = "A script, a style or a picture of a page for everybody"))
)]
pub(crate) async fn public_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    // A name with a further step (`..%2Fassets%2F..`) is no file of this folder: the embedded ones are known by their path.
    let path = format!("{PUBLIC}{name}");
    match Files::get(&path).filter(|_| !name.contains(['/', '\\'])) {
        Some(file) => file_response(&path, file, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file_response(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let hex = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    let etag = format!("W/\"{hex}\"");
    let common = [
        (CACHE_CONTROL, caching(path).to_owned()),
        (ETAG, etag.clone()),
        (CONTENT_TYPE, media_type(&file)),
        (VARY, ACCEPT_ENCODING.to_string()),
    ];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag.as_str()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    // The build may leave a file compressed better than we would do it on the way.
    match Files::get(&format!("{path}.gz")).filter(|_| takes_gzip(headers)) {
        Some(small) => (common, [(CONTENT_ENCODING, "gzip")], small.data).into_response(),
        None => (common, file.data).into_response(),
    }
}

/// The console's texts are UTF-8.
fn media_type(file: &EmbeddedFile) -> String {
    match file.metadata.mimetype() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    }
}

/// Files under `assets/` and [`PUBLIC`] have a hash of their content in their name.
fn caching(path: &str) -> &'static str {
    if path.starts_with(PUBLIC) {
        "public, max-age=31536000, immutable"
    } else if path.starts_with("assets/") {
        "private, max-age=31536000, immutable"
    } else {
        "private, no-cache"
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let value = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|q| q == "q=0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong folder would not fail to compile: a console that is not built is allowed.
    #[test]
    fn a_built_console_is_found() {
        let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("dashboards/console/dist/index.html");
        assert_eq!(Files::get("index.html").is_some(), built.exists());
    }

    #[test]
    fn a_file_comes_with_its_kind_and_once() {
        let file = || Example::get("mod.rs").unwrap();
        let mut headers = HeaderMap::new();
        let answer = file_response("mod.rs", file(), &headers);
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key(CONTENT_TYPE));
        headers.insert(IF_NONE_MATCH, answer.headers()[ETAG].clone());
        let again = file_response("mod.rs", file(), &headers);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(Example::get("../state.rs").is_none() && Example::get("/etc/passwd").is_none());
    }

    #[derive(RustEmbed)]
    #[folder = "src/api/tests"]
    struct Example;

    #[test]
    fn only_named_by_content_is_kept_for_ever() {
        assert!(caching("assets/index-B1x.js").contains("immutable"));
        assert_eq!(caching("index.html"), "private, no-cache");
        assert!(caching("open/parking-B1x.js").starts_with("public"));
    }

    #[test]
    fn the_wall_is_asked_for_by_name() {
        assert!(is_wall(Some("wall")) && is_wall(Some("lang=en&wall=1")));
        assert!(!is_wall(None) && !is_wall(Some("lang=wall")) && !is_wall(Some("walls")));
        assert!(!is_wall(Some("lang=zh&wall=overdue")), "that is a page of the console");
    }

    #[test]
    fn gzip_goes_only_to_who_takes_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("br, gzip") && takes("gzip;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0"));
    }
}
