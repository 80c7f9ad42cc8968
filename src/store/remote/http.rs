//! HTTP to the engines: a small runtime of its own, so that the store's callers, which are plain threads, may wait.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::engine::EngineError;

/// Answers are read up to this size: a page of history is a few megabytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Of an error's body so much is repeated to people.
const MAX_WORDS: usize = 300;

/// The runtime on which requests run.
#[derive(Debug)]
pub(super) struct Io(Mutex<Option<Runtime>>);

impl Io {
    /// A runtime with one thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-remote")
            .enable_all()
            .build()?;
        Ok(Arc::new(Io(Mutex::new(Some(runtime)))))
    }

    /// Runs the request to its end. A client library that panics over an answer ends its own task and nothing else.
    ///
    /// # Errors
    /// The request's own; also when the store is being closed.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (done, answer) = mpsc::sync_channel(1);
        {
            let runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(runtime) = runtime.as_ref() else {
                return Err(away("the store is being closed"));
            };
            runtime.spawn(async move {
                // Nobody waits any more only when the waiting thread itself has ended.
                let _ = done.send(request.await);
            });
        }
        let lost =
            |_| Err(EngineError::Nonsense { why: "the client could not read it".to_owned() });
        answer.recv().unwrap_or_else(lost)
    }

    /// Cuts every request off.
    pub(super) fn close(&self) {
        let runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.close();
    }
}

/// Who the hub is to the engine.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// Nobody in particular.
    Nobody,
    /// The value of the `Authorization` header.
    Header(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// A client.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    login: Login,
}

impl Http {
    /// A client that waits so long for an answer.
    ///
    /// # Errors
    /// The system has no certificates.
    pub(super) fn new(timeout: Duration, login: Login) -> Result<Self, String> {
        // TLS by ring. Somebody else may have said so before: it is the same provider then.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("townhub/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| format!("{}; install ca-certificates", crate::error_chain(&why)))?;
        Ok(Http { client, login })
    }

    /// Posts compressed lines.
    pub(super) async fn post_lines(
        &self,
        url: Url,
        compressed: Vec<u8>,
    ) -> Result<(), EngineError> {
        let request = self.client.post(url).header(CONTENT_ENCODING, "gzip").body(compressed);
        self.send(request).await.map(drop)
    }

    /// The answer to a question.
    pub(super) async fn get(&self, url: Url) -> Result<Vec<u8>, EngineError> {
        let mut response = self.send(self.client.get(url)).await?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
                let why = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
                return Err(EngineError::Nonsense { why });
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, EngineError> {
        let request = match &self.login {
            Login::Nobody => request,
            Login::Header(value) => request.header("authorization", value),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        let words = response.text().await.unwrap_or_default();
        Err(refusal(status.as_u16(), &words, wait.map(Duration::from_secs)))
    }
}

/// What a status means that is no success.
pub(super) fn refusal(status: u16, words: &str, retry_after: Option<Duration>) -> EngineError {
    let words = words.trim();
    let cut = words.char_indices().nth(MAX_WORDS).map_or(words.len(), |(at, _)| at);
    let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let why = format!("{status} {}: {}", phrase.unwrap_or("?"), &words[..cut]);
    match status {
        413 => EngineError::TooLarge,
        400 | 422 => EngineError::Refused { why },
        401 | 403 | 404 | 405 | 300..=399 => EngineError::Denied { why },
        _ => EngineError::Away { why, retry_after },
    }
}

/// Lines as they travel. The fastest setting already makes them a fifth to a tenth.
pub(super) fn compressed(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 5), Compression::fast());
    encoder.write_all(lines).expect("memory takes what is written to it");
    encoder.finish().expect("memory takes what is written to it")
}

/// An engine that does not answer, in these words.
pub(super) fn away(why: &str) -> EngineError {
    EngineError::Away { why: why.to_owned(), retry_after: None }
}

/// A request that came to nothing, without the address: it may hold a password.
fn unreachable(why: reqwest::Error) -> EngineError {
    away(&crate::error_chain(&why.without_url()))
}
