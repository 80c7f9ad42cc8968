//! Webhook: the message as JSON, signed; good enough to open a ticket elsewhere. A 2xx answer may move a case.
//!
//! Headers: `Idempotency-Key` (the message's key: the same again is the same message), `X-Townhub-Attempt`, and with a
//! secret `X-Townhub-Timestamp` (seconds since 1970) and `X-Townhub-Signature: sha256=<hex>`, HMAC-SHA256 over timestamp,
//! a full stop, and the body.

use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Channel, Failure, Voice, hmac_sha256, post_json, refused, said};
use crate::model::{Label, Timestamp};
use crate::notify::config::Secret;
use crate::notify::{Job, MoveRequest, Notice};

/// What a webhook and an MQTT topic get.
#[derive(Debug, Serialize, ToSchema)]
pub struct Payload<'a> {
    /// The message's key: the same again is the same message.
    pub id: &'a str,
    /// Its number at the hub: `/api/v1/notifications/{message}`.
    pub message: u64,
    /// The town.
    #[schema(value_type = Object)]
    pub town: &'a Label,
    /// In one line, in the channel's language.
    pub title: String,
    /// In some lines.
    pub text: String,
    /// All that it tells.
    #[serde(flatten)]
    pub notice: &'a Notice,
}

/// The longest text in a payload, in bytes.
const MAX_TEXT: usize = 4_096;

impl<'a> Payload<'a> {
    /// The payload as it goes out.
    pub(super) fn bytes(job: &'a Job, voice: &'a Voice) -> Result<Vec<u8>, Failure> {
        let payload = Payload {
            id: &job.key,
            message: job.id.0,
            town: &voice.town,
            title: voice.title(job),
            text: voice.body(job, MAX_TEXT, |line| format!("{line}\n")),
            notice: &job.notice,
        };
        serde_json::to_vec(&payload).map_err(|why| Failure::Refused(why.to_string()))
    }
}

#[derive(Debug)]
pub(super) struct Webhook {
    client: reqwest::Client,
    url: Secret,
    secret: Option<Secret>,
    moves_as: Option<String>,
    voice: Voice,
}

impl Webhook {
    pub(super) fn new(
        client: reqwest::Client,
        (url, secret, moves_as): (Secret, Option<Secret>, Option<String>),
        voice: Voice,
    ) -> Self {
        Webhook { client, url, secret, moves_as, voice }
    }

    async fn post(&self, job: &Job, now: Timestamp) -> Result<Answer, Failure> {
        let body = Payload::bytes(job, &self.voice)?;
        let mut headers = vec![
            ("idempotency-key", job.key.clone()),
            ("x-townhub-attempt", job.attempt.to_string()),
        ];
        if let Some(secret) = &self.secret {
            let seconds = now.as_millis().div_euclid(1_000).to_string();
            headers.push(("x-townhub-signature", signature(secret.expose(), &seconds, &body)));
            headers.push(("x-townhub-timestamp", seconds));
        }
        let url = reqwest::Url::parse(self.url.expose())
            .map_err(|_| Failure::Temporary("no URL".into()))?;
        let (status, retry_after, answer) = post_json(&self.client, url, body, &headers).await?;
        if !status.is_success() {
            return Err(refused(status, retry_after, &answer));
        }
        Ok(self.understand(&answer))
    }

    /// A move in the answer; an answer about something else is none of our business.
    fn understand(&self, answer: &[u8]) -> Answer {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(answer) else {
            return Answer::default();
        };
        if value.get("move").is_none() {
            return Answer::default();
        }
        match (serde_json::from_value::<MoveRequest>(value), &self.moves_as) {
            (Ok(request), Some(user)) => {
                Answer { moves: Some((user.clone(), request)), remark: None }
            }
            (Ok(_), None) => {
                let remark =
                    "it wants to move a case, but the channel has no `moves_as`".to_owned();
                Answer { moves: None, remark: Some(remark) }
            }
            (Err(why), _) => {
                let remark =
                    format!("its move is not understood: {}", said(why.to_string().as_bytes()));
                Answer { moves: None, remark: Some(remark) }
            }
        }
    }
}

/// The signature's header.
fn signature(secret: &str, seconds: &str, body: &[u8]) -> String {
    let mac = hmac_sha256(secret, &[seconds.as_bytes(), b".", body]);
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

impl Channel for Webhook {
    fn send<'a>(&'a self, job: &'a Job, now: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.post(job, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_as_others_compute_it() {
        // RFC 4231, test case 2, whose data is split where the full stop stands: "what do ya want for nothing?".
        let mac = hmac_sha256("Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(signature("s", "1", b"x"), signature("s", "1", b"x"));
        assert_ne!(signature("s", "1", b"x"), signature("s", "2", b"x"));
    }
}
