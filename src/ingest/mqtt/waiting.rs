//! A device that waits for approval: the door is open to it, but nothing of what it says is stored.
//!
//! So nothing is acknowledged either: an acknowledgement means "on disk". MQTT 5 can say so (0x87, not authorized); in
//! 3.1.1 a message is simply not answered, and a device that keeps what is not answered sends it again when it comes back
//! as what it has become: on approval its connection is ended. The last few payloads are kept for a look.

use std::time::Duration;

use rumqttd::protocol::{Packet, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use super::acks;
use super::codec::{self, Request};
use super::doorman::Doorman;
use super::frame::{self, Fields, Frame, PacketType, Version};
use super::publish::{Publish, Qos};
use super::refusal::Refusal;
use super::throttle::Throttle;
use super::topics;
use crate::clock::Clock;
use crate::model::DeviceId;

/// The largest packet of a device that nobody knows yet.
const MAX_PACKET_BYTES: usize = 16 * 1024;

/// Messages a second of a device that nobody knows yet, in the long run.
const MESSAGES_PER_SECOND: u32 = 2;

/// How long nothing need be heard when the client names no keep-alive.
const SILENCE: Duration = Duration::from_secs(3600);

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A waiting device's connection.
pub(super) struct Visit<'a, S> {
    pub(super) stream: S,
    pub(super) version: Version,
    pub(super) device: &'a DeviceId,
    pub(super) keep_alive: u16,
    pub(super) doorman: &'a Doorman,
    pub(super) clock: &'a Clock,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visit<'_, S> {
    /// Attends to the device until either side ends it; `early` is what came behind the CONNECT.
    ///
    /// # Errors
    /// When the hub ends it.
    pub(super) async fn attend(
        mut self,
        early: Vec<u8>,
        mut kick: oneshot::Receiver<Refusal>,
    ) -> Result<(), Refusal> {
        let outcome = self.listen(early, &mut kick).await;
        if let (Err(refusal), Version::V5) = (&outcome, self.version) {
            let goodbye = [0xE0, 2, refusal.v5_code(), 0];
            // Whoever is gone does not hear it.
            let _ = timeout(WRITE_TIMEOUT, self.stream.write_all(&goodbye)).await;
        }
        let _ = timeout(WRITE_TIMEOUT, self.stream.shutdown()).await;
        outcome
    }

    async fn listen(
        &mut self,
        mut buffer: Vec<u8>,
        kick: &mut oneshot::Receiver<Refusal>,
    ) -> Result<(), Refusal> {
        let patience = match self.keep_alive {
            0 => SILENCE,
            seconds => Duration::from_secs(u64::from(seconds)) * 3 / 2,
        };
        let mut throttle = Throttle::new(MESSAGES_PER_SECOND);
        loop {
            let mut out = Vec::new();
            let is_over = self.take(&mut buffer, &mut out, &mut throttle)?;
            match timeout(WRITE_TIMEOUT, self.stream.write_all(&out)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Refusal::SlowReader),
            }
            if is_over {
                return Ok(());
            }
            let rest = async {
                if let Some(at) = throttle.wait_until() {
                    sleep_until(at).await;
                }
            };
            let read = async {
                rest.await;
                timeout(patience, self.stream.read_buf(&mut buffer)).await
            };
            tokio::select! {
                reason = &mut *kick => return Err(reason.unwrap_or(Refusal::ShuttingDown)),
                read = read => match read {
                    Ok(Ok(n)) if n > 0 => {}
                    Ok(_) => return Ok(()),
                    Err(_) => return Err(Refusal::KeepAlive),
                },
            }
        }
    }

    /// Takes every whole packet; returns whether the device said goodbye.
    fn take(
        &self,
        buffer: &mut Vec<u8>,
        out: &mut Vec<u8>,
        throttle: &mut Throttle,
    ) -> Result<bool, Refusal> {
        let mut taken = 0;
        while let Some(frame) = frame::next(&buffer[taken..], MAX_PACKET_BYTES)? {
            taken += frame.whole.len();
            match frame.kind {
                PacketType::Publish => {
                    throttle.count();
                    self.look(&frame, out)?;
                }
                PacketType::PubRel => {
                    let [high, low] = Fields(frame.body).u16()?.to_be_bytes();
                    out.extend([0x70, 2, high, low]);
                }
                PacketType::PingReq => out.extend([0xD0, 0]),
                PacketType::Connect => return Err(Refusal::Protocol("a second CONNECT")),
                PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {}
                PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect => {
                    match codec::request(&frame, self.version)? {
                        Request::Subscribe { id, filters, .. } => {
                            let grants = filters.iter().map(|filter| self.grant(&filter.path));
                            let packet = SubAck { pkid: id, return_codes: grants.collect() };
                            let packet = Packet::SubAck(packet, None);
                            out.extend_from_slice(&codec::write(packet, self.version)?);
                        }
                        Request::Unsubscribe { id, filters } => {
                            let reasons = vec![UnsubAckReason::Success; filters.len()];
                            let packet = Packet::UnsubAck(UnsubAck { pkid: id, reasons }, None);
                            out.extend_from_slice(&codec::write(packet, self.version)?);
                        }
                        Request::Disconnect { .. } => return Ok(true),
                    }
                }
            }
        }
        buffer.drain(..taken);
        Ok(false)
    }

    fn look(&self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let publish = Publish::read(frame, self.version)?;
        self.doorman.look(self.device, publish.topic, publish.payload, self.clock.now());
        let (packet, id) = match publish.qos {
            Qos::AtMostOnce => return Ok(()),
            Qos::AtLeastOnce(id) => (0x40, id),
            Qos::ExactlyOnce(id) => (0x50, id),
        };
        if self.version == Version::V5 {
            let [high, low] = id.to_be_bytes();
            out.extend([packet, 3, high, low, acks::NOT_AUTHORIZED]);
        }
        Ok(())
    }

    /// It may wait for its own commands, as it will when it is approved.
    fn grant(&self, filter: &str) -> SubscribeReasonCode {
        match (topics::is_own_commands(self.device, filter), self.version) {
            (true, _) => SubscribeReasonCode::Success(rumqttd::protocol::QoS::AtLeastOnce),
            (false, Version::V4) => SubscribeReasonCode::Failure,
            (false, Version::V5) => SubscribeReasonCode::NotAuthorized,
        }
    }
}
