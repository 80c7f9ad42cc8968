//! Hostile requests: every route, with paths, queries and bodies that nobody would write. Whatever comes, the answer is no
//! server error.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::Rig;
use crate::api::routes::table;
use crate::fuzz::{Fuzz, outcome};

/// What stands in a path's place.
const IDS: [(&str, &str); 10] = [
    ("{device}", "d-1"),
    ("{asset}", "mh-1"),
    ("{metric}", "level"),
    ("{name}", "high"),
    ("{zone}", "z-1"),
    ("{rule}", "level.high"),
    ("{move}", "dispatch"),
    ("{user}", "admin"),
    ("{profile}", "probe"),
    ("{id}", "1"),
];
const QUERIES: [&str; 6] = [
    "",
    "?limit=10&before=5",
    "?from=2026-09-21T00:00:00Z&to=2026-09-22T00:00:00Z&step=1h",
    "?open=true&severity=critical,major&zone=z-1",
    "?q=1&points=level&near=120.48,30.74&radius=100&bbox=120,30,121,31",
    "?since=7-1&lang=zh&format=csv",
];
const BODIES: [&str; 6] = [
    "",
    "{}",
    r#"{"version":1,"note":"n","reason":"r","for":"30min","until":"2026-09-22T00:00:00Z"}"#,
    r#"{"ids":[1,2],"filter":{"severities":["major"],"zone":null,"device":"d-1"}}"#,
    r#"{"id":"d-9","profile":"probe","asset":"mh-1","name":{"zh":"一","en":"one"},"secret":null}"#,
    r#"{"condition":{"above":1.5,"clear":1.0},"for":"5min","severity":"major","text":{"zh":"高","en":"high"}}"#,
];

/// A request as text: `METHOD path`, a line's end, the body.
fn seeds() -> Vec<Vec<u8>> {
    let (_, needs) = table().split();
    let mut seeds = Vec::new();
    for (i, (method, path, _)) in needs.all().into_iter().enumerate() {
        let path = IDS.iter().fold(path, |path, (name, id)| path.replace(name, id));
        // A name that is not in the list.
        let path = path.replace(['{', '}', '*'], "");
        for j in [i, i + 1] {
            let (query, body) = (QUERIES[j % QUERIES.len()], BODIES[j % BODIES.len()]);
            seeds.push(format!("{method} {path}{query}\n{body}").into_bytes());
        }
    }
    seeds
}

fn request(rig: &Rig, text: &[u8]) -> Option<Request<Body>> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, body) = (&text[..end], text.get(end + 1..).unwrap_or_default());
    let (method, target) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    let request = Request::builder()
        .method(Method::from_bytes(method).ok()?)
        .uri(target.get(1..)?)
        .header("authorization", format!("Bearer {}", rig.token))
        .header(
            "content-type",
            if body.starts_with(b"{") { "application/json" } else { "text/csv" },
        )
        .body(Body::from(body.to_vec()));
    request.ok()
}

#[test]
fn requests() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let mut rig = runtime.block_on(async { Rig::new() });
    let fuzz =
        Fuzz { name: "api", usual: 600, thorough: 200_000, seeds: seeds(), most_bytes: 8_192 };
    fuzz.run(|text| {
        let Some(request) = request(&rig, text) else { return 0 };
        let path = request.uri().path().to_owned();
        let response = runtime.block_on(rig.router.clone().oneshot(request)).unwrap();
        let status = response.status();
        // 503: a part that this rig does not have. The body of a live feed has no end: heads are enough.
        let is_fault = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
        if is_fault {
            let body = runtime.block_on(axum::body::to_bytes(response.into_body(), 1 << 20));
            panic!("{status} {:?}", body.unwrap_or_default());
        }
        // It logged itself out, or worse: the next ones need a hub of their own.
        if status == StatusCode::UNAUTHORIZED {
            rig = runtime.block_on(async { Rig::new() });
        }
        outcome(&(status, path.split('/').nth(3)))
    });
}
