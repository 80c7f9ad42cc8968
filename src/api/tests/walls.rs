//! How a wall screen is let in.

use serde_json::json;

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");
const OURS: (&str, &str) = ("x-townhub", "1");

/// The first pair of a `Set-Cookie`.
fn pair(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

impl Rig {
    /// The cookie of a person's session.
    async fn cookie(&self) -> String {
        let login = json!({"user": self.user, "password": self.password}).to_string();
        let answer = self.send(request("POST /api/v1/session", &[JSON], login)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        pair(&answer)
    }

    async fn link(&self, cookie: &str) -> Answer {
        let headers = [JSON, OURS, ("cookie", cookie)];
        self.send(request("POST /api/v1/wall-links", &headers, r#"{"name":"duty room"}"#)).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        let body = json!({ "code": code }).to_string();
        self.send(request("POST /api/v1/wall-links/redeem", &[JSON], body)).await
    }
}

fn code(link: &Answer) -> String {
    link.json()["path"].as_str().unwrap().strip_prefix("/wall/join#").unwrap().to_owned()
}

#[tokio::test]
async fn a_link_lets_one_screen_look_and_do_nothing_else() {
    let rig = Rig::new();
    let session = rig.cookie().await;
    let link = rig.link(&session).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", link.text());
    assert_eq!(link.json()["expires_at"], "2026-09-21T14:28:20Z");
    let let_in = rig.redeem(&code(&link)).await;
    assert_eq!(let_in.status, StatusCode::NO_CONTENT, "{}", let_in.text());
    let cookie = let_in.header("set-cookie");
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && cookie.contains("Max-Age=31536000"));
    let wall = pair(&let_in);

    let as_wall = |line: &'static str, body: &'static str| {
        let headers = [JSON, OURS, ("cookie", wall.as_str())];
        rig.send(request(line, &headers, body))
    };
    let session = as_wall("GET /api/v1/session", "").await.json();
    assert_eq!(session["rights"], json!(["view"]));
    assert_eq!(as_wall("GET /api/v1/alerts?open=true", "").await.status, StatusCode::OK);
    for (line, body) in [
        ("POST /api/v1/alerts/1/acknowledge", "{}"),
        ("POST /api/v1/wall-links", r#"{"name":"another"}"#),
        ("POST /api/v1/tokens", r#"{"label":"more"}"#),
    ] {
        let refused = as_wall(line, body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{line}: {}", refused.text());
    }
    // Its maker sees it among his tokens.
    let tokens = rig.get("/api/v1/tokens").await.json();
    let made =
        tokens["tokens"].as_array().unwrap().iter().find(|t| t["label"] == "wall: duty room");
    assert_eq!(made.unwrap()["scope"], json!(["view"]), "{tokens:#}");
}

#[tokio::test]
async fn a_link_works_once_and_not_for_long() {
    let rig = Rig::new();
    let session = rig.cookie().await;
    let first = code(&rig.link(&session).await);
    assert_eq!(rig.redeem(&first).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.redeem(&first).await.status, StatusCode::NOT_FOUND, "it was used");
    let second = code(&rig.link(&session).await);
    rig.hand.advance(Duration::from_secs(15 * 60));
    assert_eq!(rig.redeem(&second).await.status, StatusCode::NOT_FOUND, "it is too old");
    assert_eq!(rig.redeem("").await.status, StatusCode::NOT_FOUND);
    // Nobody but a person makes one.
    let stranger = rig.send(request("POST /api/v1/wall-links", &[JSON], r#"{"name":"x"}"#)).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let program = rig.post("/api/v1/wall-links", "application/json", r#"{"name":"x"}"#).await;
    assert_eq!(program.status, StatusCode::FORBIDDEN);
    let headers = [JSON, OURS, ("cookie", session.as_str())];
    let nameless = rig.send(request("POST /api/v1/wall-links", &headers, r#"{"name":" "}"#)).await;
    assert_eq!(nameless.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn links_that_nobody_uses_do_not_pile_up() {
    let rig = Rig::new();
    let session = rig.cookie().await;
    for _ in 0..64 {
        assert_eq!(rig.link(&session).await.status, StatusCode::CREATED);
    }
    assert_eq!(rig.link(&session).await.status, StatusCode::SERVICE_UNAVAILABLE);
    rig.hand.advance(Duration::from_secs(15 * 60));
    assert_eq!(rig.link(&session).await.status, StatusCode::CREATED);
}
