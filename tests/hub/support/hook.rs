//! A webhook that takes everything, and what it took.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::mpsc;

/// Long enough for a loaded machine, and for the pause between two tries to connect.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for company and pauses only as long as needed to see that it does: before the channels in a configuration.
pub const QUICK: &str =
    "[notify]\nfirst_wait = \"1s\"\ncritical_wait = \"1s\"\ninterval = \"1s\"\n";

/// A webhook.
pub struct Hook {
    pub address: SocketAddr,
    told: mpsc::UnboundedReceiver<Value>,
}

async fn take(
    State(seen): State<mpsc::UnboundedSender<Value>>,
    Json(body): Json<Value>,
) -> StatusCode {
    // Whoever does not listen any more has seen enough.
    let _ = seen.send(body);
    StatusCode::OK
}

impl Hook {
    pub async fn start() -> Self {
        let (seen, told) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/hook", post(take)).with_state(seen);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Hook { address, told }
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("it is told");
        told.expect("the hook stays")
    }
}

/// The section of a channel that speaks English to this address.
pub fn channel(name: &str, address: SocketAddr) -> String {
    format!(
        "[notify.channels.{name}]\nkind = \"webhook\"\nurl = \"http://{address}/hook\"\nlanguage = \"en\"\n"
    )
}
