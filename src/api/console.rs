//! The operators' console: the files that its build left in `dashboards/console/dist`, embedded in the binary.

use axum::extract::Request;
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

/// Any path that is no route: a file of the console, or nothing.
pub(crate) async fn serve(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let path = match request.uri().path() {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    match Files::get(path) {
        Some(file) => file_response(path, file, request.headers()),
        None if path == "index.html" => Html(NOT_BUILT).into_response(),
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

/// Files under `assets/` have a hash of their content in their name.
fn caching(path: &str) -> &'static str {
    if path.starts_with("assets/") {
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
    use std::path::Path;

    use super::*;

    /// A wrong folder would not fail to compile: a console that is not built is allowed.
    #[test]
    fn a_built_console_is_found() {
        let built =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/console/dist/index.html");
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
