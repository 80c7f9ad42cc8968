//! What handlers take out of a request, with refusals that say what would be right.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::{Code, Problem};

/// The most rows that one answer may have.
pub(crate) const MAX_LIMIT: usize = 10_000;

/// The query of a request. Unknown and malformed parameters are refused: a misspelt filter must not show everything.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, Code::BadQuery, rejection.body_text()))
            }
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = media_type(request.headers());
        if kind != "application/json" {
            return Err(wrong_media_type(&kind, "application/json"));
        }
        let bytes = body(request, state).await?;
        serde_json::from_slice(&bytes)
            .map(JsonBody)
            .map_err(|error| Problem::bad_body(format!("the body is not as expected: {error}")))
    }
}

/// The whole body, within the route's limit.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::TooLarge,
            "the body is too large: imports may have 32 MiB, other bodies 64 KiB",
        ),
        _ => Problem::bad_body(rejection.body_text()),
    })
}

/// The body's media type without its parameters, in lower case; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The body is of a kind that the route does not take.
pub(crate) fn wrong_media_type(found: &str, allowed: &str) -> Problem {
    let detail = format!("Content-Type is `{found}`; send {allowed}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadBody, detail)
}

/// A parameter's value.
pub(crate) fn parse<T>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| text.trim().parse().map_err(|why| Problem::bad_query(name, why))).transpose()
}

/// A parameter's comma-separated values; none when it is absent or empty.
pub(crate) fn parse_list<T>(name: &str, text: Option<&str>) -> Result<Vec<T>, Problem>
where
    T: FromStr,
    T::Err: Display,
{
    text.unwrap_or("")
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse().map_err(|why| Problem::bad_query(name, format!("`{part}`: {why}")))
        })
        .collect()
}

/// How many rows are wanted.
pub(crate) fn limit(wanted: Option<usize>, default: usize) -> Result<usize, Problem> {
    match wanted.unwrap_or(default) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => {
            Err(Problem::bad_query("limit", format!("{other} is not between 1 and {MAX_LIMIT}")))
        }
    }
}

/// Whether the client asks for this media type by name in `Accept`.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all(axum::http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AssetKind;

    #[test]
    fn lists_are_separated_by_commas() {
        assert_eq!(parse_list::<u32>("assets", Some("1, 2,,3")).unwrap(), [1, 2, 3]);
        assert!(parse_list::<u32>("assets", None).unwrap().is_empty());
        let refused = parse_list::<AssetKind>("kinds", Some("manhole,tree")).unwrap_err();
        let text = format!("{refused:?}");
        assert!(text.contains("tree") && text.contains("sluice-gate"), "{text}");
    }

    #[test]
    fn a_limit_is_bounded_both_ways() {
        assert_eq!(limit(None, 100).unwrap(), 100);
        assert_eq!(limit(Some(MAX_LIMIT), 100).unwrap(), MAX_LIMIT);
        assert!(limit(Some(0), 100).is_err());
        assert!(limit(Some(MAX_LIMIT + 1), 100).is_err());
    }

    #[test]
    fn accept_is_read_as_a_list() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", "application/json;q=0.5, text/csv;q=0.9".parse().unwrap());
        assert!(accepts(&headers, "text/csv"));
        assert!(!accepts(&headers, "text/html"));
        headers.insert("content-type", "Application/JSON; charset=utf-8".parse().unwrap());
        assert_eq!(media_type(&headers), "application/json");
    }
}
