//! One connected service: reads whole buffers, hands their packets to the broker, and writes what the broker has for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rumqttd::protocol::{ConnAck, ConnAckProperties, ConnectReturnCode, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::broker::{self, Arrival, LinkId, Message, Parting, Will};
use super::codec::{self, Hello};
use super::frame::{self, Version};
use super::no_properties;
use super::refusal::Refusal;
use super::services::Services;
use super::session::RECEIVE_MAXIMUM;
use crate::registry::ServiceAccount;

/// The largest packet of a service, told to it.
const MAX_PACKET_BYTES: usize = 1024 * 1024;

/// What is read from a socket at once, at least.
const READ_BYTES: usize = 16 * 1024;

/// How long a service may take to read what it is sent, before its connection ends.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest keep-alive in seconds, so that a peer that vanished is noticed. Told to clients of MQTT 5; one of 3.1.1 that
/// asks for none has none.
const LONGEST_KEEP_ALIVE: u16 = 3_600;

/// A service's connection.
pub(super) struct Service<S> {
    stream: S,
    services: Services,
    version: Version,
    link: LinkId,
    wake: Arc<Notify>,
    /// One and a half times the keep-alive [MQTT-3.1.2-24].
    patience: Option<Duration>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Service<S> {
    /// Lets the service in, under `client`, its name among all services. The CONNACK is the first thing that it is sent.
    ///
    /// # Errors
    /// When the broker has no room for it; with the stream, which still waits for its answer.
    pub(super) fn open(
        stream: S,
        hello: Hello,
        account: Arc<ServiceAccount>,
        client: String,
        services: Services,
    ) -> Result<Self, (S, Refusal)> {
        let version = hello.version;
        let now = Instant::now();
        let arrival = arrival(&hello, account, client, now);
        let keep_alive = match (version, hello.connect.keep_alive) {
            (Version::V5, 0) => LONGEST_KEEP_ALIVE,
            (Version::V5, seconds) => seconds.min(LONGEST_KEEP_ALIVE),
            (Version::V4, seconds) => seconds,
        };
        let granted = ConnAckProperties {
            session_expiry_interval: (arrival.expiry > broker::LONGEST_EXPIRY)
                .then_some(broker::LONGEST_EXPIRY),
            receive_max: Some(RECEIVE_MAXIMUM),
            max_packet_size: Some(MAX_PACKET_BYTES as u32),
            topic_alias_max: Some(broker::TOPIC_ALIASES),
            server_keep_alive: (keep_alive != hello.connect.keep_alive).then_some(keep_alive),
            assigned_client_identifier: hello
                .connect
                .client_id
                .is_empty()
                .then(|| arrival.client.split_once('/').map_or("", |(_, id)| id).to_owned()),
            ..no_properties()
        };
        let connack = |is_present| welcome(is_present, version, granted);
        match services.with(|broker| broker.connect(arrival, connack, now)) {
            Err(refusal) => Err((stream, refusal)),
            Ok((link, wake)) => {
                services.look_again();
                let patience = Duration::from_secs(u64::from(keep_alive)) * 3 / 2;
                let patience = (keep_alive > 0).then_some(patience);
                Ok(Service { stream, services, version, link, wake, patience })
            }
        }
    }

    /// Serves it until either side ends. `early` is what came behind the CONNECT.
    ///
    /// # Errors
    /// When the service breaks the protocol or its grants, or the hub ends the connection.
    pub(super) async fn run(
        mut self,
        early: Vec<u8>,
        kick: oneshot::Receiver<Refusal>,
    ) -> Result<(), Refusal> {
        let outcome = self.serve(early, kick).await;
        // What it was sent before the end; a session that was taken over has nothing more.
        if !matches!(outcome, Ok(Parting::Lost)) {
            let all = async { while self.flush().await == Ok(true) {} };
            let _ = timeout(GOODBYE_TIMEOUT, all).await;
        }
        let parting = *outcome.as_ref().unwrap_or(&Parting::Lost);
        self.services.with(|broker| broker.part(self.link, parting, Instant::now()));
        self.services.look_again();
        let goodbye = outcome.map(drop);
        if let (Err(refusal), Version::V5) = (&goodbye, self.version) {
            // A client that is gone already, or does not read, does not need to hear it.
            let goodbye = [0xE0, 2, refusal.v5_code(), 0];
            let _ = timeout(GOODBYE_TIMEOUT, self.stream.write_all(&goodbye)).await;
        }
        let _ = timeout(GOODBYE_TIMEOUT, self.stream.shutdown()).await;
        goodbye
    }

    async fn serve(
        &mut self,
        early: Vec<u8>,
        mut kick: oneshot::Receiver<Refusal>,
    ) -> Result<Parting, Refusal> {
        let mut buffer = BytesMut::from(early.as_slice());
        let mut heard_at = Instant::now();
        let wake = Arc::clone(&self.wake);
        loop {
            if let Some(parting) = self.take(&mut buffer)? {
                return Ok(parting);
            }
            self.flush().await?;
            buffer.reserve(READ_BYTES);
            let patience = self.patience;
            let silence = async {
                match patience {
                    Some(patience) => sleep_until(heard_at + patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reason = &mut kick => return Err(reason.unwrap_or(Refusal::ShuttingDown)),
                read = self.stream.read_buf(&mut buffer) => match read {
                    Ok(n) if n > 0 => heard_at = Instant::now(),
                    _ => return Ok(Parting::Lost),
                },
                () = wake.notified() => {}
                () = silence => return Err(Refusal::KeepAlive),
            }
        }
    }

    /// Takes every whole packet, under one lock.
    fn take(&self, buffer: &mut BytesMut) -> Result<Option<Parting>, Refusal> {
        if buffer.is_empty() {
            return Ok(None);
        }
        let now = Instant::now();
        let mut taken = 0;
        let outcome = self.services.with(|broker| {
            while let Some(frame) = frame::next(&buffer[taken..], MAX_PACKET_BYTES)? {
                taken += frame.whole.len();
                if let Some(parting) = broker.take(self.link, &frame, now)? {
                    return Ok(Some(parting));
                }
            }
            Ok(None)
        });
        buffer.advance(taken);
        outcome
    }

    /// Writes what the broker has for it now; false when that is nothing. What comes meanwhile wakes the session again, so
    /// that a client is heard however much it is sent.
    async fn flush(&mut self) -> Result<bool, Refusal> {
        let out = self.services.with(|broker| broker.take_out(self.link, Instant::now()))?;
        if out.is_empty() {
            return Ok(false);
        }
        match timeout(WRITE_TIMEOUT, self.stream.write_all(&out)).await {
            Ok(Ok(())) => Ok(true),
            // The next reading finds out that it is gone.
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(Refusal::SlowReader),
        }
    }
}

/// What a CONNECT asks of the broker. `client` is the service's name among all.
pub(super) fn arrival(
    hello: &Hello,
    account: Arc<ServiceAccount>,
    client: String,
    now: Instant,
) -> Arrival {
    let asked = hello.properties.as_ref();
    let is_clean = hello.connect.clean_session;
    let max_packet_bytes = asked.and_then(|asked| asked.max_packet_size);
    Arrival {
        client,
        version: hello.version,
        account,
        is_clean,
        expiry: match hello.version {
            Version::V4 if is_clean => 0,
            Version::V4 => broker::LONGEST_EXPIRY,
            Version::V5 => asked.and_then(|asked| asked.session_expiry_interval).unwrap_or(0),
        },
        receive_maximum: asked.and_then(|asked| asked.receive_maximum).unwrap_or(u16::MAX),
        max_packet_bytes: max_packet_bytes.map_or(usize::MAX, |size| size as usize),
        will: will(hello, now),
    }
}

fn welcome(is_present: bool, version: Version, granted: ConnAckProperties) -> Vec<u8> {
    if version == Version::V4 {
        return vec![0x20, 2, u8::from(is_present), 0];
    }
    let connack = ConnAck { session_present: is_present, code: ConnectReturnCode::Success };
    match codec::write(Packet::ConnAck(connack, Some(granted)), Version::V5) {
        Ok(bytes) => bytes.to_vec(),
        Err(_) => vec![0x20, 3, u8::from(is_present), 0, 0],
    }
}

/// The will of a CONNECT; its topic was checked when the service was let in.
fn will(hello: &Hello, now: Instant) -> Option<Will> {
    let will = hello.will.as_ref()?;
    let block = hello.will_properties.as_ref().map_or_else(Vec::new, broker::will_properties);
    let message = Message {
        topic: std::str::from_utf8(&will.topic).ok()?.into(),
        payload: Bytes::copy_from_slice(&will.message),
        properties: Box::default(),
        qos: will.qos as u8,
        retain: will.retain,
        expires_at: None,
    };
    let delay = hello.will_properties.as_ref().and_then(|properties| properties.delay_interval);
    Some(Will {
        message: Arc::new(message.with_properties(&block, now)),
        delay: delay.unwrap_or(0),
    })
}
