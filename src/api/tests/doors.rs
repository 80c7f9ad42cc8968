//! Who gets in, and what everybody reads who does not.

use super::*;
use crate::api::openapi::{document, operations};
use crate::api::routes::{Need, table};

/// Every route as "METHOD /path" with its parameters filled in.
fn routes() -> Vec<String> {
    let mut document = document();
    let mut routes = Vec::new();
    for (path, item) in &mut document.paths.paths {
        let path = path
            .replace("{id}", "1")
            .replace("{name}", "1")
            .replace("{device}", "d-1")
            .replace("{metric}", "level");
        routes.extend(operations(item).map(|(method, _)| format!("{method} {path}")));
    }
    routes
}

#[tokio::test]
async fn nobody_gets_past_the_door_without_a_login() {
    let rig = Rig::new();
    let (_, needs) = table().split();
    let open = needs.all().into_iter().filter(|(_, _, need)| *need == Need::Open);
    let open: Vec<_> = open.map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(open.len(), 11, "{open:?}");
    let closed: Vec<_> = routes().into_iter().filter(|route| !open.contains(route)).collect();
    assert!(closed.len() > 20, "{closed:?}");
    let more = [
        "GET /",
        "GET /wall",
        "GET /assets/x.js",
        "GET /nothing",
        "PUT /api/v1/map",
        "GET /healthz/",
    ];
    for route in closed.iter().map(String::as_str).chain(more) {
        let tries: [&[(&str, &str)]; 3] = [
            &[],
            &[("authorization", "Bearer wrong")],
            &[("cookie", "townhub_session=wrong"), ("x-townhub", "1")],
        ];
        for headers in tries {
            let answer = rig.send(request(route, headers, "")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route} {headers:?}");
            assert_eq!(answer.json()["code"], "not_authenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    for route in &open {
        let answer = rig.send(request(route, &[], "")).await;
        assert_ne!(answer.header("www-authenticate"), "Bearer", "{route}");
    }
}

#[tokio::test]
async fn a_browser_without_a_login_is_led_to_the_login_page() {
    let rig = Rig::new();
    let html = [("accept", "text/html,application/xhtml+xml")];
    for route in ["GET /", "GET /?wall", "HEAD /", "GET /metrics"] {
        let answer = rig.send(request(route, &html, "")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{route}");
        assert_eq!(answer.header("location"), "/login");
    }
    let answer = rig.send(request("GET /api/v1/map", &html, "")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a program reads a problem");
}

#[tokio::test]
async fn a_person_logs_in_changes_something_and_logs_out() {
    let rig = Rig::new();
    let page = rig.send(request("GET /login", &[], "")).await;
    assert!(page.text().contains("乌镇"));
    assert!(page.header("content-security-policy").contains("default-src 'self'"));

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = format!("user={}&password=wrong", rig.user);
    let refused = rig.send(request("POST /login", &form, wrong)).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text().contains("role=\"alert\""));
    assert_eq!(refused.header("set-cookie"), "");

    let right = format!("user={}&password={}", rig.user, rig.password);
    let foreign = [form[0], ("sec-fetch-site", "cross-site")];
    let refused = rig.send(request("POST /login", &foreign, right.clone())).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::FORBIDDEN, &"cross_site".into())
    );

    let answer = rig.send(request("POST /login", &form, right)).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();

    let who = rig.send(request("GET /api/v1/session", &[("cookie", cookie)], "")).await;
    assert_eq!(who.json()["user"]["name"], rig.user);
    let body = r#"{"label":"wallboard"}"#;
    let json = ("content-type", "application/json");
    let without_header =
        rig.send(request("POST /api/v1/tokens", &[("cookie", cookie), json], body)).await;
    assert_eq!(without_header.status, StatusCode::FORBIDDEN);
    let own = [("cookie", cookie), ("x-townhub", "1"), json];
    let token = rig.send(request("POST /api/v1/tokens", &own, body)).await.json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let by_token = request("GET /api/v1/session", &[("authorization", bearer.as_str())], "");
    assert_eq!(rig.send(by_token).await.status, StatusCode::OK);

    let out = rig.send(request("POST /logout", &own, "")).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/login"));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let after = rig.send(request("GET /api/v1/session", &[("cookie", cookie)], "")).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_program_logs_in_with_json() {
    let rig = Rig::new();
    let json = [("content-type", "application/json")];
    let login =
        |password: &str| serde_json::json!({"user": rig.user, "password": password}).to_string();
    let refused = rig.send(request("POST /api/v1/session", &json, login("wrong"))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.json()["code"], "bad_credentials");
    let answer = rig.send(request("POST /api/v1/session", &json, login(&rig.password))).await;
    assert_eq!(answer.json()["user"]["role"], "admin");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let own = [("cookie", cookie.as_str()), ("x-townhub", "1")];
    let out = rig.send(request("DELETE /api/v1/session", &own, "")).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(
        rig.send(request("GET /api/v1/session", &own, "")).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn health_needs_no_login_and_says_what_is_missing() {
    let rig = Rig::new();
    let alive = rig.send(request("GET /healthz", &[], "")).await;
    assert_eq!((alive.status, &alive.json()["status"]), (StatusCode::OK, &"ok".into()));
    let not_yet = rig.send(request("GET /readyz", &[], "")).await;
    assert_eq!(not_yet.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(not_yet.json()["missing"], serde_json::json!(["mqtt"]));
    rig.readiness.set("mqtt", true);
    assert_eq!(rig.send(request("GET /readyz", &[], "")).await.status, StatusCode::OK);
    assert_eq!(rig.send(request("HEAD /readyz", &[], "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_what_would_be_right() {
    let rig = Rig::new();
    let json = "application/json";
    let ack = "/api/v1/alerts/1/acknowledge";
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(70_000));
    let cases = [
        (rig.get("/api/v1/nothing").await, 404, "not_found", "openapi.json"),
        (rig.get("/nothing").await, 404, "not_found", "/nothing"),
        (rig.post("/api/v1/map", json, "{}").await, 405, "method_not_allowed", "Allow"),
        (rig.get("/api/v1/map?bbox=1,2,3").await, 400, "bad_query", "west,south,east,north"),
        (rig.get("/api/v1/map?box=1,2,3,4").await, 400, "bad_query", "bbox"),
        (rig.get("/api/v1/map?zoom=near").await, 400, "bad_query", "zoom"),
        (rig.get("/api/v1/assets?kind=tree").await, 400, "bad_query", "sluice-gate"),
        (rig.get("/api/v1/alerts?limit=10001").await, 400, "bad_query", "10000"),
        (rig.get("/api/v1/live?since=x").await, 400, "bad_query", "epoch-seq"),
        (rig.get("/api/v1/devices/d-9").await, 404, "not_found", "d-9"),
        (rig.get("/api/v1/devices/%FF").await, 400, "bad_query", "UTF-8"),
        (rig.get("/api/v1/series/d-1/depth").await, 404, "not_found", "depth"),
        (rig.post(ack, json, "{").await, 400, "bad_body", "line 1"),
        (rig.post(ack, json, r#"{"notes":"x"}"#).await, 400, "bad_body", "`note`"),
        (rig.post(ack, "text/plain", "x").await, 415, "bad_body", "application/json"),
        (rig.post(ack, json, &large).await, 413, "too_large", "64 KiB"),
        (rig.post("/api/v1/alerts/99/acknowledge", json, "{}").await, 404, "not_found", "99"),
        (rig.post("/api/v1/zones/import", "text/csv", "").await, 415, "bad_body", "geo+json"),
        (rig.post("/api/v1/zones/import", json, "{").await, 400, "bad_body", ""),
    ];
    for (answer, status, code, says) in cases {
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let body = answer.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status);
        assert!(body["detail"].as_str().unwrap().contains(says), "{body}");
    }
    let wrong_method = rig.post("/api/v1/map", json, "{}").await;
    assert_eq!(wrong_method.header("allow"), "GET,HEAD");
}

#[tokio::test]
async fn a_panic_is_a_problem_and_not_the_end() {
    let router = Router::new()
        .route(
            "/",
            axum::routing::get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(crate::api::panicked));
    let response = router.oneshot(request("GET /", &[], "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("on purpose"));
}

#[tokio::test]
async fn the_document_lists_every_route() {
    let mut found = routes();
    found.sort();
    insta::assert_json_snapshot!("routes", found);
    let rig = Rig::new();
    let mut document = rig.get("/api/v1/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    document["info"]["version"] = "[version]".into();
    insta::assert_json_snapshot!("openapi", document);
}

/// What is referred to must be there, or no client can be generated.
#[test]
fn the_document_is_whole() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
