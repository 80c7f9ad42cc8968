//! MQTT: the webhook's JSON on a topic, of the hub's own broker (to whoever subscribes at that moment) or of another one
//! (QoS 1: sent is what that broker acknowledged).
//!
//! Not by [`crate::link`], though that is a client too: a link is a standing one, with a session under one name, its secret
//! in a file that is read anew, and an owner that polls. A message here has a connection and a name of its own, a clean
//! session (in 3.1.1 every name would leave one at the broker otherwise) and a secret from the hub's own keys. To teach the
//! link these three would cost more lines than the twenty that it would save.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::{Answer, Channel, Failure, Payload, Publish, Voice};
use crate::model::Timestamp;
use crate::notify::Job;
use crate::notify::config::Broker;

/// The largest packet: a merged message names thousands of alerts.
const MAX_PACKET: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct OwnBroker {
    topic: String,
    broker: Arc<dyn Publish>,
    voice: Voice,
}

impl OwnBroker {
    pub(super) fn new(topic: String, broker: Arc<dyn Publish>, voice: Voice) -> Self {
        OwnBroker { topic, broker, voice }
    }
}

impl Channel for OwnBroker {
    fn send<'a>(&'a self, job: &'a Job, _: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        let sent = Payload::bytes(job, &self.voice).and_then(|payload| {
            self.broker.publish(&self.topic, &payload).map_err(Failure::Temporary)
        });
        Box::pin(std::future::ready(sent.map(|()| Answer::default())))
    }
}

/// Another broker: a connection for each message, which is a few a minute.
#[derive(Debug)]
pub(super) struct OtherBroker {
    topic: String,
    broker: Broker,
    voice: Voice,
}

impl OtherBroker {
    pub(super) fn new(topic: String, broker: Broker, voice: Voice) -> Self {
        OtherBroker { topic, broker, voice }
    }

    async fn publish(&self, job: &Job) -> Result<Answer, Failure> {
        let failed = |why: &dyn std::error::Error| Failure::Temporary(crate::error_chain(why));
        let payload = Payload::bytes(job, &self.voice)?;
        // A name of its own for each message: two hubs, or a retry, do not push each other out.
        let mut options =
            MqttOptions::new(format!("townhub-{}", job.key), &self.broker.host, self.broker.port);
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(MAX_PACKET, MAX_PACKET);
        if let Some((user, secret)) = &self.broker.login {
            options.set_credentials(user, secret.expose());
        }
        let (client, mut events) = AsyncClient::new(options, 4);
        client
            .publish(&self.topic, QoS::AtLeastOnce, false, payload)
            .await
            .map_err(|why| failed(&why))?;
        loop {
            match events.poll().await.map_err(|why| failed(&why))? {
                Event::Incoming(Packet::PubAck(_)) => break,
                Event::Incoming(Packet::Disconnect) => {
                    return Err(Failure::Temporary("the broker ended the connection".into()));
                }
                _ => {}
            }
        }
        // It has the message; whether it hears the goodbye does not matter.
        if client.disconnect().await.is_ok() {
            let _ = events.poll().await;
        }
        Ok(Answer::default())
    }
}

impl Channel for OtherBroker {
    fn send<'a>(&'a self, job: &'a Job, _: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.publish(job))
    }
}
