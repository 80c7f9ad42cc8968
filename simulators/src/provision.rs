//! Tells the hub what there is: zones, assets and devices, over its HTTP API. Doing it again changes nothing.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks whether the hub is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// The longest wait for an answer of the hub.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How many rejected rows an error shows.
const ROWS_SHOWN: usize = 10;

/// The three documents of a town.
#[derive(Debug)]
pub struct Documents {
    /// Zones as GeoJSON.
    pub zones: String,
    /// Assets as GeoJSON.
    pub assets: String,
    /// Devices as CSV.
    pub devices: Vec<u8>,
}

/// What the hub did with a document.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Imported {
    /// New rows.
    pub created: usize,
    /// Changed rows.
    pub updated: usize,
    /// Rows that were the same.
    pub unchanged: usize,
}

/// Why the hub does not know the town.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The hub was not ready in time.
    #[error("the hub at {hub} was not ready within {within:?}: {last}")]
    NotReady {
        /// Its address.
        hub: String,
        /// How long we waited.
        within: Duration,
        /// What it said last.
        last: String,
    },
    /// A request failed on its way.
    #[error("POST {path} failed")]
    Request {
        /// Where to.
        path: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The hub refused a request as a whole.
    #[error("POST {path} was refused with {status}: {body}")]
    Refused {
        /// Where to.
        path: &'static str,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer.
        body: String,
    },
    /// The hub rejected rows, and therefore all of them.
    #[error("POST {path}: {count} rows were rejected, so none was imported:{rows}")]
    Rejected {
        /// Where to.
        path: &'static str,
        /// How many.
        count: usize,
        /// The first of them.
        rows: RejectedRows,
    },
    /// The hub answered something else.
    #[error("the answer to POST {path} is no import report")]
    Answer {
        /// Where to.
        path: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Rows that the hub rejected, one a line.
#[derive(Debug)]
pub struct RejectedRows(Vec<Row>);

impl fmt::Display for RejectedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.0.iter().take(ROWS_SHOWN) {
            let id = row.id.as_deref().unwrap_or("no id");
            write!(f, "\n  row {} ({id}): {}", row.row, row.errors.join("; "))?;
        }
        let more = self.0.len().saturating_sub(ROWS_SHOWN);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

#[derive(Debug, Deserialize)]
struct Report {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    row: usize,
    id: Option<String>,
    status: String,
    #[serde(default)]
    errors: Vec<String>,
}

/// The hub's import resources.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    base: String,
    token: String,
}

impl Hub {
    /// The hub at `base` (`http://host:port`), reached with a bearer token.
    pub fn new(base: &str, token: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        // Somebody else may have said so before: it is the same provider then.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        Hub { client: Client::new(), base, token: token.to_owned() }
    }

    /// Waits until the hub is ready.
    ///
    /// # Errors
    /// When it is not ready `within` that time.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), ProvisionError> {
        let end = Instant::now() + within;
        let mut last = "no answer".to_owned();
        loop {
            match timeout_at(end, self.client.get(format!("{}/readyz", self.base)).send()).await {
                Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
                Ok(Ok(answer)) => last = format!("it answers {}", answer.status()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {}
            }
            if Instant::now() + LOOK_AGAIN >= end {
                return Err(ProvisionError::NotReady { hub: self.base.clone(), within, last });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Imports zones, then assets, then devices.
    ///
    /// # Errors
    /// When the hub does not take one of them; what came before is then imported.
    pub async fn import(&self, town: Documents) -> Result<[Imported; 3], ProvisionError> {
        const GEOJSON: &str = "application/geo+json";
        let zones = self.post("/api/v1/zones/import", GEOJSON, town.zones.into()).await?;
        let assets = self.post("/api/v1/assets/import", GEOJSON, town.assets.into()).await?;
        let devices = self.post("/api/v1/devices/import", "text/csv", town.devices).await?;
        Ok([zones, assets, devices])
    }

    async fn post(
        &self,
        path: &'static str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Imported, ProvisionError> {
        let failed = |source| ProvisionError::Request { path, source };
        let answer = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header(reqwest::header::CONTENT_TYPE, content_type)
            .timeout(ANSWER_WITHIN)
            .body(body)
            .send()
            .await
            .map_err(failed)?;
        let status = answer.status();
        let body = answer.text().await.map_err(failed)?;
        understand(path, status, &body)
    }
}

/// Reads the hub's answer to an import.
fn understand(
    path: &'static str,
    status: StatusCode,
    body: &str,
) -> Result<Imported, ProvisionError> {
    let report = serde_json::from_str::<Report>(body);
    let report = match (status, report) {
        (StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY, Ok(report)) => report,
        (StatusCode::OK, Err(source)) => return Err(ProvisionError::Answer { path, source }),
        _ => {
            let body = body.chars().take(500).collect();
            return Err(ProvisionError::Refused { path, status, body });
        }
    };
    let mut imported = Imported::default();
    let mut rejected = Vec::new();
    for row in report.rows {
        match row.status.as_str() {
            "created" => imported.created += 1,
            "updated" => imported.updated += 1,
            "unchanged" => imported.unchanged += 1,
            _ => rejected.push(row),
        }
    }
    if rejected.is_empty() && status == StatusCode::OK {
        return Ok(imported);
    }
    Err(ProvisionError::Rejected { path, count: rejected.len(), rows: RejectedRows(rejected) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A hub that gives one answer per connection, in order, and returns what it was asked.
    async fn hub(
        answers: Vec<(u16, &'static str)>,
    ) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.push(read_request(&mut stream).await);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (base, task)
    }

    async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
        let mut request = Vec::new();
        loop {
            stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some(head) = text.find("\r\n\r\n") else { continue };
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if request.len() >= head + 4 + length {
                return String::from_utf8(request).unwrap();
            }
        }
    }

    fn documents() -> Documents {
        Documents { zones: "zones".into(), assets: "assets".into(), devices: b"devices".to_vec() }
    }

    #[tokio::test]
    async fn the_town_is_imported_in_order_with_the_token() {
        const DONE: &str = r#"{"applied":true,"rows":[{"row":1,"id":"a","status":"created","errors":[]},
            {"row":2,"id":"b","status":"unchanged","errors":[]}]}"#;
        let (base, asked) =
            hub(vec![(503, ""), (200, ""), (200, DONE), (200, DONE), (200, DONE)]).await;
        let hub = Hub::new(&base, "t0ken");
        hub.wait_ready(Duration::from_secs(10)).await.unwrap();
        let imported = hub.import(documents()).await.unwrap();
        assert_eq!(imported[0], Imported { created: 1, updated: 0, unchanged: 1 });
        let asked = asked.await.unwrap();
        assert!(asked[0].starts_with("GET /readyz "));
        for (request, (path, kind, body)) in asked[2..].iter().zip([
            ("zones", "application/geo+json", "zones"),
            ("assets", "application/geo+json", "assets"),
            ("devices", "text/csv", "devices"),
        ]) {
            assert!(request.starts_with(&format!("POST /api/v1/{path}/import ")), "{request}");
            assert!(request.contains("Bearer t0ken") && request.contains(kind), "{request}");
            assert!(request.ends_with(body), "{request}");
        }
    }

    #[test]
    fn rejected_rows_are_shown() {
        let body = r#"{"applied":false,"rows":[{"row":3,"id":"mh-001","status":"rejected","errors":["no such profile"]},
            {"row":4,"id":"mh-002","status":"created"}]}"#;
        let error = understand("/x", StatusCode::UNPROCESSABLE_ENTITY, body).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("row 3 (mh-001): no such profile") && text.contains("1 rows"),
            "{text}"
        );
        assert!(!text.contains("mh-002"), "{text}");
    }

    #[test]
    fn other_answers_are_errors() {
        let refused =
            understand("/x", StatusCode::UNAUTHORIZED, "{\"code\":\"not_authenticated\"}");
        assert!(matches!(refused, Err(ProvisionError::Refused { .. })));
        assert!(matches!(
            understand("/x", StatusCode::OK, "<html>"),
            Err(ProvisionError::Answer { .. })
        ));
    }

    #[tokio::test]
    async fn a_hub_that_is_never_ready_is_given_up() {
        let (base, _asked) = hub(vec![(503, ""), (503, "")]).await;
        let error = Hub::new(&base, "t").wait_ready(Duration::from_millis(300)).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
}
