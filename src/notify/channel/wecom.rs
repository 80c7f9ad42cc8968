//! WeCom (企业微信) robot: markdown of 4 096 bytes, an error code in the answer's body; 20 messages a minute.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::dingtalk::link_or_escaped;
use super::{Answer, Channel, Failure, Voice, escape_markdown, post_json, robot_outcome};
use crate::model::Timestamp;
use crate::notify::Job;
use crate::notify::config::Secret;

/// The longest markdown, in bytes.
const MAX_TEXT: usize = 4_096;

/// "API freq out of limit".
const THROTTLED: [i64; 1] = [45_009];

#[derive(Debug)]
pub(super) struct WeCom {
    client: reqwest::Client,
    url: Secret,
    voice: Voice,
}

impl WeCom {
    pub(super) fn new(client: reqwest::Client, url: Secret, voice: Voice) -> Self {
        WeCom { client, url, voice }
    }

    async fn post(&self, job: &Job) -> Result<Answer, Failure> {
        let heading = format!("**{}**\n", escape_markdown(&self.voice.title(job)));
        let room = MAX_TEXT.saturating_sub(heading.len());
        let text = self.voice.body(job, room, |line| format!("> {}\n", link_or_escaped(line)));
        let body =
            json!({ "msgtype": "markdown", "markdown": { "content": format!("{heading}{text}") } });
        let url = reqwest::Url::parse(self.url.expose())
            .map_err(|_| Failure::Temporary("no URL".into()))?;
        let key = [("idempotency-key", job.key.clone())];
        let (status, retry_after, answer) =
            post_json(&self.client, url, body.to_string().into_bytes(), &key).await?;
        robot_outcome(status, retry_after, &answer, &THROTTLED)
    }
}

impl Channel for WeCom {
    fn send<'a>(&'a self, job: &'a Job, _: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.post(job))
    }
}
