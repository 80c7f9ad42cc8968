//! The live feed, event by event.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::process::HubProcess;

/// An open live feed.
pub struct Live {
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

/// One event of the feed.
#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Live {
    /// Opens the feed; `query` may resume it or ask for values.
    pub async fn open(hub: &HubProcess, query: &str) -> Self {
        let path = format!("/api/v1/live{query}");
        let response = hub.request(reqwest::Method::GET, &path).send().await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
        Live { chunks: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event of this name for which `is_it` holds; panics after ten seconds.
    pub async fn next(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Event {
        self.within(Duration::from_secs(10), name, is_it).await
    }

    /// The same with another patience.
    pub async fn within(
        &mut self,
        patience: Duration,
        name: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Event {
        let wanted = async {
            loop {
                let event = self.any().await;
                if event.name == name && is_it(&event.data) {
                    return event;
                }
            }
        };
        tokio::time::timeout(patience, wanted)
            .await
            .unwrap_or_else(|_| panic!("no such `{name}` event within {patience:?}"))
    }

    async fn any(&mut self) -> Event {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |key: &str| {
                    let line = event.lines().find_map(|l| l.strip_prefix(key));
                    line.map(str::trim).unwrap_or_default().to_owned()
                };
                if event.lines().any(|line| line.starts_with("data:")) {
                    let data = serde_json::from_str(&field("data:")).expect("JSON");
                    return Event { name: field("event:"), id: field("id:"), data };
                }
                continue;
            }
            let chunk = self.chunks.next().await.expect("the feed is open").expect("bytes");
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}
