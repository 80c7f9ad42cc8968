//! The ways out: one file per kind. A channel sends one message and says what became of it; it keeps nothing.
//!
//! Takes a [`Job`]; hands on what its receiver answered, or a [`Failure`] that says whether trying again makes sense. Errors
//! never hold a URL or a secret: they are shown.

mod dingtalk;
mod email;
mod mqtt;
mod webhook;
mod wecom;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::config::{ChannelSpec, Way};
use super::notifier::MoveRequest;
use super::post::Job;
use super::words::Context;
use crate::model::Label;

pub use webhook::Payload;

/// How long a service may take: a slow one is tried again rather than waited for.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The most characters of a foreign text that are kept.
const MAX_SAID: usize = 300;

/// One way out.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Sends a message once. `now` is for signatures.
    fn send<'a>(
        &'a self,
        job: &'a Job,
        now: crate::model::Timestamp,
    ) -> BoxFuture<'a, Result<Answer, Failure>>;
}

/// What a receiver answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// A move of a case that it wants, and in whose name.
    pub moves: Option<(String, MoveRequest)>,
    /// Why its answer was not understood.
    pub remark: Option<String>,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This message will never be taken.
    Refused(String),
    /// The service wants nothing for a while.
    Throttled {
        /// What it said.
        why: String,
        /// For how long.
        wait: Duration,
    },
    /// It may work later.
    Temporary(String),
}

impl Failure {
    /// What people read.
    pub fn why(&self) -> &str {
        match self {
            Failure::Refused(why) | Failure::Temporary(why) | Failure::Throttled { why, .. } => why,
        }
    }
}

/// The hub's own broker, as a channel sees it.
pub trait Publish: fmt::Debug + Send + Sync {
    /// Hands a message to whoever subscribes.
    ///
    /// # Errors
    /// When the broker takes nothing now.
    fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), String>;
}

/// A channel that cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the notification channel {name}: {why}")]
pub struct Unbuildable {
    /// Which.
    pub name: String,
    /// Why, and what would be right.
    pub why: String,
}

/// Builds a channel.
///
/// # Errors
/// When the system has no certificates to check others with.
pub(super) fn build(
    spec: &ChannelSpec,
    town: &Label,
    broker: &Arc<dyn Publish>,
) -> Result<Box<dyn Channel>, Unbuildable> {
    let unbuildable = |why: String| Unbuildable { name: spec.name.clone(), why };
    let client = || client().map_err(unbuildable);
    let voice = Voice { words: spec.words.clone(), town: town.clone() };
    Ok(match &spec.way {
        Way::Webhook { url, secret, moves_as } => {
            let to = (url.clone(), secret.clone(), moves_as.clone());
            Box::new(webhook::Webhook::new(client()?, to, voice))
        }
        Way::DingTalk { url, secret } => {
            Box::new(dingtalk::DingTalk::new(client()?, url.clone(), secret.clone(), voice))
        }
        Way::WeCom { url } => Box::new(wecom::WeCom::new(client()?, url.clone(), voice)),
        Way::Email(mail) => Box::new(email::Email::new(mail, voice).map_err(unbuildable)?),
        Way::Mqtt { topic, broker: other } => match other {
            Some(other) => Box::new(mqtt::OtherBroker::new(topic.clone(), other.clone(), voice)),
            None => Box::new(mqtt::OwnBroker::new(topic.clone(), Arc::clone(broker), voice)),
        },
    })
}

/// How a channel puts a message.
#[derive(Debug, Clone)]
struct Voice {
    words: super::words::Words,
    town: Label,
}

impl Voice {
    fn title(&self, job: &Job) -> String {
        self.words.title(&job.notice, self.context(job))
    }

    /// At most so many bytes; `line` puts each line into the service's form.
    fn body(&self, job: &Job, max_bytes: usize, line: impl Fn(&str) -> String) -> String {
        self.words.body(&job.notice, self.context(job), max_bytes, line)
    }

    fn context(&self, job: &Job) -> Context<'_> {
        Context { id: job.id, town: &self.town }
    }
}

/// A client for services outside: rustls with the system's certificates, no redirects (a signed message goes where it was
/// configured to go, and nowhere else), no cookies, no proxy.
fn client() -> Result<reqwest::Client, String> {
    install_ring();
    reqwest::Client::builder()
        .timeout(SEND_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("townhub/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|why| format!("{}; install ca-certificates", crate::error_chain(&why)))
}

/// TLS by ring. Somebody else may have said so before: it is the same provider then.
fn install_ring() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

/// Posts JSON and reads the answer, bounded.
async fn post_json(
    client: &reqwest::Client,
    url: reqwest::Url,
    body: Vec<u8>,
    headers: &[(&str, String)],
) -> Result<(reqwest::StatusCode, Option<Duration>, Vec<u8>), Failure> {
    let mut request =
        client.post(url).header("content-type", "application/json; charset=utf-8").body(body);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
            break;
        }
        answer.extend_from_slice(&chunk);
    }
    Ok((status, retry_after.map(Duration::from_secs), answer))
}

/// A request that came to nothing, without the URL: it may hold a token.
fn unreachable(why: reqwest::Error) -> Failure {
    Failure::Temporary(crate::error_chain(&why.without_url()))
}

/// What a status means when it is no success.
fn refused(status: reqwest::StatusCode, retry_after: Option<Duration>, answer: &[u8]) -> Failure {
    let why = format!("the receiver answered {status}: {}", said(answer));
    match status.as_u16() {
        429 | 503 if retry_after.is_some() => {
            let wait = retry_after.unwrap_or_default().min(MAX_WAIT);
            Failure::Throttled { why, wait }
        }
        429 => Failure::Throttled { why, wait: THROTTLED },
        // The message itself is what it does not take. All else may be put right over there.
        400 | 413 | 422 => Failure::Refused(why),
        _ => Failure::Temporary(why),
    }
}

/// How long the robots' services throttle whoever sends too much.
const THROTTLED: Duration = Duration::from_secs(600);

/// The longest that a service may ask us to wait.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// A foreign text, short enough to show.
fn said(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(MAX_SAID).collect()
}

/// What a robot's service answers.
#[derive(Debug, serde::Deserialize)]
struct RobotAnswer {
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

/// A robot's answer: 200 and an error code in the body. `throttled`: the codes that say "too many".
fn robot_outcome(
    status: reqwest::StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
    throttled: &[i64],
) -> Result<Answer, Failure> {
    if !status.is_success() {
        return Err(refused(status, retry_after, body));
    }
    let Ok(answer) = serde_json::from_slice::<RobotAnswer>(body) else {
        return Err(Failure::Temporary(format!("an answer that is none: {}", said(body))));
    };
    let why = format!("error {}: {}", answer.errcode, said(answer.errmsg.as_bytes()));
    match answer.errcode {
        0 => Ok(Answer::default()),
        code if throttled.contains(&code) => Err(Failure::Throttled { why, wait: THROTTLED }),
        _ => Err(Failure::Temporary(why)),
    }
}

pub(super) fn hmac_sha256(key: &str, parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of every length, so there is no key that this would leave out.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Text for a robot's markdown: what would be read as a mark stands for itself.
fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
