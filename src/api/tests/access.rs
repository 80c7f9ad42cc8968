//! Who may do what, and who sees what.

use std::fmt::Write as _;

use futures_util::StreamExt;
use serde_json::json;

use super::*;
use crate::api::routes::{Need, Place, table};
use crate::live::{AssetState, Freshness};
use crate::model::{Grade, Right, Role};
use crate::registry::{NewToken, User};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Two zones: the gate lies in the west, the manholes in the east.
fn zones() -> String {
    let square = |id: &str, west: f64| {
        let east = west + 0.01;
        json!({"type": "Feature", "properties": {"id": id, "name": id}, "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, 30.7], [east, 30.7], [east, 30.8], [west, 30.8], [west, 30.7]]]
        }})
    };
    json!({"type": "FeatureCollection", "features": [square("west", 120.46), square("east", 120.48)]})
        .to_string()
}

impl Rig {
    /// One with zones, and a device at the gate.
    pub(super) async fn with_zones() -> Self {
        let rig = Rig::new();
        let made = rig.post("/api/v1/zones/import", "application/geo+json", &zones()).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        let device = json!({"id": "d-3", "profile": "probe", "asset": "gate-1"}).to_string();
        let made = rig.post("/api/v1/devices", "application/json", &device).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        rig
    }

    /// A token of a new user.
    pub(super) fn token_of(&self, name: &str, role: Role, zones: Option<&[&str]>) -> String {
        let zones = zones.map(|zones| zones.iter().map(|zone| zone.parse().unwrap()).collect());
        let user = User { name: name.to_owned(), role, zones };
        self.registry.add_user(&user).unwrap();
        self.registry.settle(name);
        self.registry.create_token(name, "test").unwrap()
    }

    pub(super) async fn as_token(&self, token: &str, line: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), JSON];
        self.send(request(line, &headers, body.to_owned())).await
    }

    /// What the guard says: let in, or why not.
    async fn knock(&self, line: &str, headers: &[(&str, &str)]) -> &'static str {
        // Not read: the live feed has no end.
        let response = self.router.clone().oneshot(request(line, headers, "")).await.unwrap();
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED) {
            return "login";
        }
        if status != StatusCode::FORBIDDEN {
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{line}");
            return "+";
        }
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        match body["code"].as_str().unwrap() {
            "forbidden" => "-",
            "password_change_required" => "password",
            other => panic!("{line}: {other}"),
        }
    }
}

fn place_words(place: Place) -> &'static str {
    match place {
        Place::Zones => "in zones",
        Place::Town => "whole town",
        Place::Nowhere => "anywhere",
    }
}

fn describe(need: Need) -> String {
    match need {
        Need::Open => "open".to_owned(),
        Need::Person => "login".to_owned(),
        Need::Right(right, place) => format!("{right}, {}", place_words(place)),
        Need::OneOf(rights, place) => {
            let rights: Vec<_> = rights.iter().map(|right| right.as_str()).collect();
            format!("{}, {}", rights.join(" or "), place_words(place))
        }
    }
}

/// Every route as everybody: nobody; each role with a session and with a token; an administrator who is limited to a zone,
/// one whose token may only read, and one who has to choose a password first. `+` is let in, `-` is refused.
#[tokio::test]
async fn every_route_lets_in_who_has_its_right_and_nobody_else() {
    let rig = Rig::with_zones().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        let name = format!("the-{role}");
        tokens.push((role, name.clone(), rig.token_of(&name, role, None)));
    }
    let zoned = rig.token_of("zoned", Role::Admin, Some(&["east"]));
    let reading = NewToken { scope: Some(vec![Right::View]), ..NewToken::of(&rig.user, "read") };
    let reading = rig.registry.make_token(&reading).unwrap();
    let new = User { name: "new".into(), role: Role::Admin, zones: None };
    rig.registry.add_user(&new).unwrap();

    let mut text = String::new();
    let (_, needs) = table().split();
    for (method, path, need) in needs.all() {
        let filled = path
            .replace("assets/{id}", "assets/mh-1")
            .replace("devices/{id}", "devices/d-1")
            .replace("{device}/{metric}", "d-1/level")
            .replace("{id}", "999")
            .replace("{name}", "somebody");
        let line = format!("{method} {filled}");
        let by_token = async |token: &str| {
            let bearer = format!("Bearer {token}");
            rig.knock(&line, &[("authorization", &bearer)]).await
        };
        // A new session each time: some routes end it.
        let by_session = async |user: &str| {
            let cookie = format!("townhub_session={}", rig.registry.session_of(user));
            rig.knock(&line, &[("cookie", &cookie), ("x-townhub", "1")]).await
        };
        let mut cells = vec![("nobody".to_owned(), rig.knock(&line, &[]).await.to_owned())];
        for (role, name, token) in &tokens {
            let (session, token) = (by_session(name).await, by_token(token).await);
            let cell = if session == token {
                session.to_owned()
            } else {
                format!("{session} token {token}")
            };
            cells.push((role.to_string(), cell));
        }
        cells.push(("zoned".into(), by_token(&zoned).await.into()));
        cells.push(("read-only".into(), by_token(&reading).await.into()));
        cells.push(("first-login".into(), by_session("new").await.into()));
        writeln!(text, "{method} {path}: {}", describe(need)).unwrap();
        let cells: Vec<_> = cells.iter().map(|(who, cell)| format!("{who} {cell}")).collect();
        writeln!(text, "    {}", cells.join(" | ")).unwrap();
    }
    insta::assert_snapshot!("matrix", text);
}

#[tokio::test]
async fn a_refusal_names_the_right_that_is_missing() {
    let rig = Rig::with_zones().await;
    let viewer = rig.token_of("vera", Role::Viewer, None);
    let refused = rig.as_token(&viewer, "POST /api/v1/alerts/1/acknowledge", "{}").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let body = refused.json();
    assert_eq!((&body["code"], &body["right"]), (&"forbidden".into(), &"acknowledge".into()));
    assert!(body["detail"].as_str().unwrap().contains("role `viewer`"), "{body}");
    let scope = Some(vec![Right::View]);
    let reading = NewToken { scope, ..NewToken::of(&rig.user, "read") };
    let reading = rig.registry.make_token(&reading).unwrap();
    let refused = rig.as_token(&reading, "GET /api/v1/users", "").await.json();
    assert!(refused["detail"].as_str().unwrap().contains("the token's scope"), "{refused}");
    let zoned = rig.token_of("zoe", Role::Admin, Some(&["west"]));
    let refused = rig.as_token(&zoned, "GET /api/v1/users", "").await.json();
    assert!(refused["detail"].as_str().unwrap().contains("whole town"), "{refused}");
}

#[tokio::test]
async fn an_account_of_one_zone_sees_and_changes_that_zone_only() {
    let rig = Rig::with_zones().await;
    let west = rig.token_of("wei", Role::Engineer, Some(&["west"]));
    let get = async |path: &str| rig.as_token(&west, &format!("GET {path}"), "").await.json();
    let ids = |list: &Value, id: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one[id].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&get("/api/v1/assets").await["assets"], "asset"), ["gate-1"]);
    let near = get("/api/v1/assets?near=120.4851,30.7454").await;
    assert_eq!(ids(&near["assets"], "asset"), ["gate-1"]);
    assert_eq!(ids(&get("/api/v1/devices").await["devices"], "id"), ["d-3"]);
    assert_eq!(ids(&get("/api/v1/zones").await["features"], "id"), ["west"]);
    let map = get("/api/v1/map").await;
    assert_eq!(map["features"].as_array().unwrap().len(), 1);
    assert_eq!(map["features"][0]["properties"]["asset"], "gate-1");
    assert_eq!(get("/api/v1/map?zoom=5").await["features"].as_array().unwrap().len(), 1);
    assert_eq!(get("/api/v1/alerts").await["alerts"], json!([]));
    assert_eq!(get("/api/v1/alerts?open=true").await["next_before"], Value::Null);
    let status = get("/api/v1/status").await;
    assert_eq!(status["devices"]["total"], 1);
    assert_eq!(status["alerts"]["critical"]["active"], 0);
    assert_eq!(get("/api/v1/profiles").await["profiles"][0]["devices"], 1);
    assert_eq!(get("/api/v1/session").await["user"]["zones"], json!(["west"]));

    let version = rig.registry.town().version;
    for foreign in [
        "GET /api/v1/assets/mh-1",
        "GET /api/v1/devices/d-1",
        "GET /api/v1/series/d-1/level",
        "POST /api/v1/devices/d-1/secret",
        "POST /api/v1/alerts/1/acknowledge",
    ] {
        let answer = rig.as_token(&west, foreign, "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{foreign}");
        // Word for word as for what there is not.
        let unknown = foreign.replace("mh-1", "x-1").replace("d-1", "x-1").replace("/1/", "/77/");
        let unknown = rig.as_token(&west, &unknown, "{}").await.json()["detail"].to_string();
        let known = answer.json()["detail"].to_string();
        let same = known.replace("mh-1", "x-1").replace("d-1", "x-1").replace("`1`", "`77`");
        assert_eq!(same, unknown);
    }
    let many = r#"{"ids": ["d-3", "d-1"]}"#;
    let refused = rig.as_token(&west, "POST /api/v1/devices/secrets", many).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "all or none");
    let new = json!({"id": "d-4", "profile": "probe", "asset": "mh-1"}).to_string();
    let refused = rig.as_token(&west, "POST /api/v1/devices", &new).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.json()["errors"][0].as_str().unwrap().contains("d-4"), "{refused:?}");
    let csv = "id,kind,name_zh,name_en,zone,parent,lon,lat\nmh-9,manhole,井,M,,,120.4851,30.7454\n";
    let bearer = format!("Bearer {west}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    let refused = rig.send(request("POST /api/v1/assets/import", &headers, csv)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.json()["errors"][0].as_str().unwrap().contains("mh-9"), "{refused:?}");
    assert_eq!(rig.registry.town().version, version, "nothing was changed");

    for own in
        ["GET /api/v1/assets/gate-1", "GET /api/v1/devices/d-3", "GET /api/v1/series/d-3/level"]
    {
        assert_eq!(rig.as_token(&west, own, "").await.status, StatusCode::OK, "{own}");
    }
    let all = r#"{"profile": "probe"}"#;
    let made = rig.as_token(&west, "POST /api/v1/devices/secrets", all).await.json();
    assert_eq!(ids(&made["secrets"], "id"), ["d-3"]);
    let east = rig.token_of("dong", Role::Operator, Some(&["east"]));
    let alerts = rig.as_token(&east, "GET /api/v1/alerts?limit=1", "").await.json();
    assert_eq!(alerts["alerts"].as_array().unwrap().len(), 1);
    let seen = rig.as_token(&east, "POST /api/v1/alerts/1/acknowledge", "{}").await;
    assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
    let entry = rig.get("/api/v1/audit?action=alert.&limit=1").await.json();
    assert_eq!(entry["entries"][0]["actor"], "dong");
    assert_eq!(entry["entries"][0]["action"], "alert.acknowledged");
}

#[tokio::test]
async fn the_live_feed_of_one_zone_tells_of_that_zone_only() {
    let rig = Rig::with_zones().await;
    let west = rig.token_of("wei", Role::Viewer, Some(&["west"]));
    let bearer = format!("Bearer {west}");
    let open = request("GET /api/v1/live", &[("authorization", bearer.as_str())], "");
    let response = rig.router.clone().oneshot(open).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    let mut next = async || {
        let bytes = events.next().await.unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    assert!(next().await.contains("event: hello"));
    let town = rig.registry.town();
    let state = |id: &str, severity| AssetState {
        asset: town.assets[id].number,
        severity,
        acknowledged: false,
        freshness: Freshness::Fresh,
        state: None,
        grade: Grade::Good,
    };
    let gate = town.assets["gate-1"].number.0;
    rig.feed.states(&[state("mh-1", 1)]);
    rig.feed.states(&[state("mh-1", 2), state("gate-1", 3)]);
    let seen = next().await;
    assert_eq!(seen.matches("event:").count(), 1, "{seen}");
    assert!(seen.contains(&format!("data: [[{gate},3,0,0,null,0]]\n")), "{seen}");
    for severity in [1, 2].into_iter().cycle().take(20) {
        rig.feed.states(&[state("mh-2", severity)]);
    }
    rig.feed.states(&[state("gate-1", 4)]);
    let merged = next().await;
    assert!(merged.contains(&format!("data: [[{gate},4,0,0,null,0]]\n")), "{merged}");
}

#[tokio::test]
async fn the_first_log_in_leads_to_a_password_of_ones_own() {
    let rig = Rig::new();
    let user = User { name: "ann".into(), role: Role::Operator, zones: None };
    let first = rig.registry.add_user(&user).unwrap();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let login = format!("user=ann&password={first}");
    let answer = rig.send(request("POST /login", &form, login)).await;
    assert_eq!(answer.header("location"), "/password");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = [("cookie", cookie.as_str()), ("accept", "text/html")];
    let away = rig.send(request("GET /", &page, "")).await;
    assert_eq!((away.status, away.header("location")), (StatusCode::SEE_OTHER, "/password"));
    let refused = rig.send(request("GET /api/v1/map", &page, "")).await;
    assert_eq!(refused.json()["code"], "password_change_required");
    let who = rig.send(request("GET /api/v1/session", &page, "")).await.json();
    assert_eq!((&who["must_change"], &who["role"]["en"]), (&true.into(), &"operator".into()));
    let shown = rig.send(request("GET /password", &page, "")).await;
    assert!(shown.text().contains("新密码") && !shown.text().contains("{{"), "{shown:?}");

    let own = [form[0], ("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let check = async |body: String, status: u16, says: &str| {
        let answer = rig.send(request("POST /password", &own, body)).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert!(answer.text().contains(says), "{says}: {answer:?}");
    };
    let new = "new=tide-gate-42-west&again=tide-gate-42-west";
    check(format!("current=wrong&{new}"), 403, "当前密码不正确").await;
    check(format!("current={first}&new=password2026&again=password2026"), 422, "guess").await;
    check(format!("current={first}&new=tide-gate-42&again=other"), 422, "不同").await;
    check(format!("current={first}&{new}"), 303, "").await;
    assert_eq!(rig.send(request("GET /api/v1/map", &page, "")).await.status, StatusCode::OK);

    let json = [JSON, ("cookie", cookie.as_str()), ("x-townhub", "1")];
    let body = json!({"current": "wrong", "new": "another-one-of-mine"}).to_string();
    let refused = rig.send(request("POST /api/v1/session/password", &json, body)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "not 401: the session stands");
    let body = json!({"current": "tide-gate-42-west", "new": "another-one-of-mine"}).to_string();
    let changed = rig.send(request("POST /api/v1/session/password", &json, body)).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    let token = rig.registry.create_token("ann", "t").unwrap();
    let body = json!({"current": "another-one-of-mine", "new": "yet-another-of-mine"}).to_string();
    let refused = rig.as_token(&token, "POST /api/v1/session/password", &body).await;
    assert_eq!(refused.json()["code"], "forbidden", "a token has no password");
    let refused = rig.as_token(&token, "POST /api/v1/tokens", r#"{"label":"x"}"#).await;
    assert_eq!(refused.json()["code"], "forbidden", "a token makes no tokens");
}

#[tokio::test]
async fn users_and_tokens_are_kept_over_the_api() {
    let rig = Rig::with_zones().await;
    let call =
        async |line: &str, body: Value| rig.as_token(&rig.token, line, &body.to_string()).await;
    let made =
        call("POST /api/v1/users", json!({"name": "ann", "role": "viewer", "zones": ["west"]}));
    let made = made.await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert!(made.json()["password"].as_str().unwrap().len() > 20);
    let check = async |line: &str, body: Value, status: u16, says: &str| {
        let answer = rig.as_token(&rig.token, line, &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{line} {answer:?}");
        assert!(answer.text().contains(says), "{says}: {answer:?}");
    };
    let admin = format!("PATCH /api/v1/users/{}", rig.user);
    check("POST /api/v1/users", json!({"name": "ann", "role": "viewer"}), 409, "already_exists")
        .await;
    check("POST /api/v1/users", json!({"name": "bob", "role": "boss"}), 400, "supervisor").await;
    let mars = json!({"name": "bob", "role": "viewer", "zones": ["mars"]});
    check("POST /api/v1/users", mars, 422, "there is no zone `mars`").await;
    check("PATCH /api/v1/users/bob", json!({}), 404, "bob").await;
    check(&admin, json!({"role": "viewer"}), 409, "last_admin").await;
    check(&format!("DELETE /api/v1/users/{}", rig.user), json!({}), 409, "last_admin").await;
    check("PATCH /api/v1/users/ann", json!({"zones": null}), 200, r#""zones":null"#).await;
    let cookie = rig.registry.session_of("ann");
    let ann = rig.registry.holder(&cookie).unwrap();
    check("GET /api/v1/sessions?all=true", json!({}), 200, r#""user":"ann""#).await;
    let session = rig.registry.sessions(&ann, Some("ann")).unwrap().remove(0).id;
    check(&format!("DELETE /api/v1/sessions/{session}"), json!({}), 204, "").await;
    check(&format!("DELETE /api/v1/sessions/{session}"), json!({}), 404, &session).await;
    check("PATCH /api/v1/users/ann", json!({"disabled": true}), 200, r#""disabled":true"#).await;
    check("POST /api/v1/users/ann/password", json!({}), 200, "password").await;
    check("GET /api/v1/users", json!({}), 200, r#""name":"ann""#).await;
    check("GET /api/v1/tokens?all=true", json!({}), 200, r#""label":"test""#).await;
    check("DELETE /api/v1/tokens/999", json!({}), 404, "999").await;
    check("DELETE /api/v1/users/ann", json!({}), 204, "").await;
    let viewer = rig.token_of("vera", Role::Viewer, None);
    for all in ["GET /api/v1/tokens?all=true", "GET /api/v1/sessions?all=true"] {
        assert_eq!(rig.as_token(&viewer, all, "").await.status, StatusCode::BAD_REQUEST, "{all}");
    }
    let own = rig.as_token(&viewer, "GET /api/v1/tokens", "").await.json();
    assert_eq!(own["tokens"].as_array().unwrap().len(), 1);
    let foreign = rig.as_token(&viewer, "DELETE /api/v1/tokens/1", "").await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "the administrator's");
}

#[tokio::test]
async fn the_audit_log_is_read_by_page_and_exported_whole() {
    let rig = Rig::with_zones().await;
    let page = rig.get("/api/v1/audit?limit=2").await.json();
    let entries = page["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["action"]), (2, &"device.add".into()));
    assert_eq!(entries[0]["actor"], rig.user);
    assert_eq!(page["next_before"], entries[1]["seq"]);
    let users = rig.get("/api/v1/audit?action=user.&subject=admin").await.json();
    assert_eq!(users["entries"][0]["action"], "user.add");
    assert_eq!(users["next_before"], Value::Null);
    let wrong = rig.get("/api/v1/audit?from=yesterday").await;
    assert_eq!(wrong.json()["code"], "bad_query");
    let export = rig.get("/api/v1/audit/export").await;
    assert_eq!(export.header("content-type"), "application/jsonl");
    let verified = crate::audit::verify_export(&export.body[..], None).unwrap();
    assert_eq!(verified.last, entries[0]["seq"].as_i64().unwrap());
}
