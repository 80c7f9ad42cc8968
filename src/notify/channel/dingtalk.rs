//! DingTalk robot: markdown, signed, an error code in the answer's body; 20 messages a minute.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::{
    Answer, Channel, Failure, Voice, escape_markdown, hmac_sha256, post_json, robot_outcome,
};
use crate::model::Timestamp;
use crate::notify::Job;
use crate::notify::config::Secret;

/// A message's text has at most 20 000 bytes; the rest of the body needs some.
const MAX_TEXT: usize = 18_000;

/// "Too many messages", by the two codes that the service has for it.
const THROTTLED: [i64; 2] = [130_101, 410_100];

#[derive(Debug)]
pub(super) struct DingTalk {
    client: reqwest::Client,
    url: Secret,
    secret: Option<Secret>,
    voice: Voice,
}

impl DingTalk {
    pub(super) fn new(
        client: reqwest::Client,
        url: Secret,
        secret: Option<Secret>,
        voice: Voice,
    ) -> Self {
        DingTalk { client, url, secret, voice }
    }

    async fn post(&self, job: &Job, now: Timestamp) -> Result<Answer, Failure> {
        let title = self.voice.title(job);
        let heading = format!("#### {}\n\n", escape_markdown(&title));
        let body = self
            .voice
            .body(job, MAX_TEXT - heading.len(), |line| format!("{}\n\n", link_or_escaped(line)));
        let body = json!({
            "msgtype": "markdown",
            "msgUuid": job.key,
            "markdown": { "title": title, "text": format!("{heading}{body}") },
        });
        let mut url = reqwest::Url::parse(self.url.expose())
            .map_err(|_| Failure::Temporary("no URL".into()))?;
        if let Some(secret) = &self.secret {
            let millis = now.as_millis();
            url.query_pairs_mut()
                .append_pair("timestamp", &millis.to_string())
                .append_pair("sign", &sign(secret.expose(), millis));
        }
        let (status, retry_after, answer) =
            post_json(&self.client, url, body.to_string().into_bytes(), &[]).await?;
        robot_outcome(status, retry_after, &answer, &THROTTLED)
    }
}

impl Channel for DingTalk {
    fn send<'a>(&'a self, job: &'a Job, now: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.post(job, now))
    }
}

/// A line that is a link stays one.
pub(super) fn link_or_escaped(line: &str) -> String {
    match line.starts_with("https://") || line.starts_with("http://") {
        true => line.to_owned(),
        false => escape_markdown(line),
    }
}

/// base64(HMAC-SHA256(secret, timestamp + "\n" + secret)); the URL encodes it.
fn sign(secret: &str, millis: i64) -> String {
    let millis = millis.to_string();
    STANDARD.encode(hmac_sha256(secret, &[millis.as_bytes(), b"\n", secret.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_services_own_vector() {
        let signed = sign("this is secret", 1_609_459_200_000);
        assert_eq!(signed, "ACG5udp2fUrpKLAsLMUINvMr3hQ2OC05N0oaKUOvagw=");
    }

    #[test]
    fn marks_in_a_text_stand_for_themselves() {
        assert_eq!(link_or_escaped("[红色] a_b <x>"), "\\[红色\\] a\\_b \\<x\\>");
        assert_eq!(link_or_escaped("https://town.example/a_b"), "https://town.example/a_b");
    }
}
