//! One connected device: reads whole buffers, hands them to the pipeline, and acknowledges what is on disk.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rumqttd::protocol::{
    Filter, LastWill, Packet, QoS, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::acks::{self, Acks};
use super::codec::{self, Request};
use super::downlink::Downlink;
use super::frame::{self, Fields, Frame, PacketType, Version};
use super::gateway::{self, Mail};
use super::publish::{Publish, Qos};
use super::refusal::Refusal;
use super::services::Services;
use super::throttle::Throttle;
use super::topics::{self, OwnTopic};
use crate::clock::Clock;
use crate::codec::Codecs;
use crate::command::Commands;
use crate::model::{DeviceId, Timestamp};
use crate::pipeline::{Bill, Closed, Desk, Draft, Intake, LinkStatus, Progress, Receipt, Station};

/// What is read from a socket at once, into a buffer that the thread's sessions share: an idle connection holds none.
const READ_BYTES: usize = 64 * 1024;

/// Messages of one session that may wait for the disk. Granted to MQTT 5 clients as their receive maximum; a 3.1.1
/// client's socket is not read beyond it.
pub(super) const RECEIVE_MAXIMUM: u16 = 1_024;

/// How long a client may take to read what it is sent. Its socket's buffer takes thousands of acknowledgements before
/// this begins to count.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session that ends waits for the disk, so that it can still acknowledge.
const LAST_ACKS: Duration = Duration::from_secs(2);

/// Longest status payload kept.
const STATUS_BYTES: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a session needs of the rooms around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where readings go.
    pub intake: Intake,
    /// Who listens beside the hub.
    pub services: Services,
    /// The time.
    pub clock: Clock,
    /// What waits for devices.
    pub commands: Commands,
    /// Where payloads of LoRaWAN devices are read.
    pub codecs: Codecs,
    /// The largest packet.
    pub max_packet_bytes: usize,
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client said goodbye; its last will is void unless it asked for it.
    Goodbye {
        /// DISCONNECT with code 0x04.
        with_will: bool,
    },
    /// The connection broke or was closed without a word.
    Lost,
    /// The hub ended it.
    Refused(Refusal),
}

pub(super) struct Session<S> {
    stream: S,
    pub(super) around: Surroundings,
    pub(super) version: Version,
    pub(super) station: Arc<Station>,
    station_version: u64,
    /// The last telemetry topic that was found to be the device's own: compared before anything is looked up.
    telemetry_topic: String,
    /// The start of a packet whose end has not come yet.
    partial: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) acks: Acks,
    pub(super) draft: Draft,
    /// Whether its messages take the second road: it is a gateway, or its payloads need a codec.
    is_gateway: bool,
    /// What came on the second road and is not delivered yet.
    pub(super) mail: Vec<Mail>,
    pub(super) progress: Arc<Progress>,
    pub(super) batch: u64,
    /// What the last read costs of the room between the sockets and the disk; not handed in when the hub goes down.
    bill: Result<Bill, Closed>,
    throttle: Throttle,
    keep_alive: Option<Duration>,
    last_packet: Instant,
    will: Option<LastWill>,
    downlink: Downlink,
    /// Whether its CONNECT asked for a session that outlives the connection. It gets none; but who did not ask may not
    /// ask in DISCONNECT (MQTT 5, section 3.14.2.2.2).
    pub(super) asked_to_last: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(
        stream: S,
        around: Surroundings,
        version: Version,
        station: Arc<Station>,
        keep_alive: u16,
        will: Option<LastWill>,
        throttle: Throttle,
    ) -> Self {
        Session {
            stream,
            version,
            // Looked up before the first message: the tables' versions begin at 1.
            station_version: 0,
            around,
            station,
            telemetry_topic: String::new(),
            partial: Vec::new(),
            out: Vec::new(),
            acks: Acks::default(),
            draft: Draft::default(),
            is_gateway: false,
            mail: Vec::new(),
            progress: Arc::default(),
            batch: 1,
            bill: Ok(Bill::default()),
            throttle,
            // One and a half times the keep-alive [MQTT-3.1.2-22]; 0 turns it off.
            keep_alive: (keep_alive > 0)
                .then(|| Duration::from_secs(u64::from(keep_alive)) * 3 / 2),
            last_packet: Instant::now(),
            will,
            downlink: Downlink::default(),
            asked_to_last: false,
        }
    }

    /// Serves the device until either side ends it. `early` is what came behind the CONNECT.
    ///
    /// Returns the last will too, if it is to be done: by the door, which knows whether the device is back already.
    pub(super) async fn run(
        mut self,
        early: Vec<u8>,
        kick: oneshot::Receiver<Refusal>,
    ) -> (End, Option<LastWill>) {
        let _link = self.station.link();
        self.partial = early;
        let end = self.serve(kick).await;
        self.finish(&end).await;
        let is_void = matches!(end, End::Goodbye { with_will: false });
        (end, self.will.filter(|_| !is_void))
    }

    async fn serve(&mut self, mut kick: oneshot::Receiver<Refusal>) -> End {
        if !self.partial.is_empty() {
            let early = std::mem::take(&mut self.partial);
            if let Err(end) = self.take(&early) {
                return end;
            }
            if let Err(end) = self.after_read().await {
                return end;
            }
        }
        let progress = Arc::clone(&self.progress);
        let mut alarm = Box::pin(sleep_until(self.next_alarm()));
        let mut mail = self.around.commands.mail_changes();
        loop {
            let may_read = self.acks.len() < usize::from(RECEIVE_MAXIMUM)
                && self.throttle.wait_until().is_none_or(|at| at <= Instant::now());
            let step = tokio::select! {
                biased;
                reason = &mut kick => {
                    return End::Refused(reason.unwrap_or(Refusal::ShuttingDown));
                }
                () = progress.changed(), if !self.acks.is_empty() => self.acknowledge().await,
                read = poll_fn(|cx| self.poll_read(cx)), if may_read => match read {
                    Ok(()) => self.after_read().await,
                    Err(end) => Err(end),
                },
                Ok(()) = mail.changed(), if self.downlink.is_listening() => self.send_mail().await,
                () = alarm.as_mut() => self.on_alarm(alarm.as_mut(), may_read),
            };
            if let Err(end) = step {
                return end;
            }
            if let Some(at) = self.throttle.wait_until() {
                alarm.as_mut().reset(at.min(self.next_alarm()));
            }
        }
    }

    /// Reads once into the thread's buffer and takes every whole packet in it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.partial.len();
            scratch.resize(scratch.len().max(kept + READ_BYTES), 0);
            let mut buffer = ReadBuf::new(&mut scratch[kept..kept + READ_BYTES]);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let filled = buffer.filled().len();
            if read.is_err() || filled == 0 {
                return Poll::Ready(Err(End::Lost));
            }
            scratch[..kept].copy_from_slice(&self.partial);
            self.partial.clear();
            Poll::Ready(self.take(&scratch[..kept + filled]))
        })
    }

    /// Takes every whole packet in `bytes` and keeps the rest for the next read.
    fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.last_packet = Instant::now();
        let received_at = self.around.clock.now();
        self.refresh_station()?;
        let station = Arc::clone(&self.station);
        let intake = self.around.intake.clone();
        let mut draft = std::mem::take(&mut self.draft);
        let mut desk = intake.desk(&station, received_at, &mut draft);
        let mut rest = bytes;
        let outcome = loop {
            match frame::next(rest, self.around.max_packet_bytes) {
                Ok(Some(frame)) => {
                    rest = &rest[frame.whole.len()..];
                    if let Err(end) = self.on_frame(&frame, &mut desk, received_at) {
                        break Err(end);
                    }
                }
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(End::Refused(refusal)),
            }
        };
        // A refused or repeated message leaves nothing to store, but its answer has its place in the order too.
        self.bill = if desk.has_news() || self.acks.owes_for(self.batch) {
            let receipt = Receipt { progress: Arc::clone(&self.progress), number: self.batch };
            self.batch += 1;
            desk.hand_in(Some(receipt))
        } else {
            drop(desk);
            Ok(Bill::default())
        };
        self.draft = draft;
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
        outcome
    }

    fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        desk: &mut Desk<'_>,
        received_at: Timestamp,
    ) -> Result<(), End> {
        match frame.kind {
            PacketType::Publish => {
                self.throttle.count();
                let publish = Publish::read(frame, self.version).map_err(End::Refused)?;
                self.on_publish(&publish, desk, received_at)
            }
            PacketType::PubRel => {
                let id = Fields(frame.body).u16().map_err(End::Refused)?;
                if self.mail.is_empty() {
                    self.acks.release(id, &mut self.out);
                } else {
                    // Not before the messages that came before it.
                    self.mail.push(Mail::Release(id));
                }
                Ok(())
            }
            PacketType::PingReq => {
                self.out.extend([0xD0, 0]);
                Ok(())
            }
            PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect => {
                match codec::request(frame, self.version).map_err(End::Refused)? {
                    Request::Subscribe { id, filters, .. } => self.on_subscribe(id, &filters),
                    Request::Unsubscribe { id, filters } => self.on_unsubscribe(id, &filters),
                    Request::Disconnect { session_expiry: Some(1..), .. }
                        if !self.asked_to_last =>
                    {
                        let why = "a session for who asked for none";
                        Err(End::Refused(Refusal::Protocol(why)))
                    }
                    Request::Disconnect { with_will, .. } => Err(End::Goodbye { with_will }),
                }
            }
            PacketType::PubAck => {
                let id = Fields(frame.body).u16().map_err(End::Refused)?;
                self.downlink.acknowledged(id, &self.around.commands);
                // There may be more than were in flight.
                self.write_mail();
                Ok(())
            }
            // Nothing goes out at QoS 2.
            PacketType::PubRec | PacketType::PubComp => Ok(()),
            PacketType::Connect => Err(End::Refused(Refusal::Protocol("a second CONNECT"))),
        }
    }

    fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        desk: &mut Desk<'_>,
        received_at: Timestamp,
    ) -> Result<(), End> {
        let waiting = self.acks.len() + self.mail.len();
        if self.version == Version::V5 && waiting >= usize::from(RECEIVE_MAXIMUM) {
            return Err(End::Refused(Refusal::ReceiveMaximum));
        }
        if self.is_gateway {
            self.mail.push(Mail::letter(publish, received_at));
            return Ok(());
        }
        let code = if self.acks.is_repetition(publish.qos) {
            acks::SUCCESS
        } else {
            self.take_message(publish, desk, received_at)?
        };
        self.acks.owe(publish.qos, self.batch, code);
        Ok(())
    }

    /// Takes a message where its topic says, and returns the reason code that answers it.
    fn take_message(
        &mut self,
        publish: &Publish<'_>,
        desk: &mut Desk<'_>,
        received_at: Timestamp,
    ) -> Result<u8, End> {
        if publish.topic == self.telemetry_topic.as_bytes() {
            return Ok(self.take_telemetry(&self.telemetry_topic, publish, desk));
        }
        let topic = std::str::from_utf8(publish.topic)
            .map_err(|_| End::Refused(Refusal::Malformed("a topic that is not UTF-8")))?;
        if !topics::is_topic(topic) {
            return self.refuse_message(publish.qos, Refusal::BadTopic, acks::TOPIC_NAME_INVALID);
        }
        let Some(own) = topics::own(&self.station, topic) else {
            let refusal = Refusal::NotAuthorized(topic.to_owned());
            return self.refuse_message(publish.qos, refusal, acks::NOT_AUTHORIZED);
        };
        match own {
            OwnTopic::Telemetry => {
                topic.clone_into(&mut self.telemetry_topic);
                return Ok(self.take_telemetry(topic, publish, desk));
            }
            OwnTopic::Status => set_status(&self.station, publish.payload, received_at),
            OwnTopic::Replies => {
                self.around.commands.reply(&self.station.device.id, publish.payload);
            }
        }
        self.around.services.relay(publish.word(topic));
        Ok(acks::SUCCESS)
    }

    fn take_telemetry(&self, topic: &str, publish: &Publish<'_>, desk: &mut Desk<'_>) -> u8 {
        self.around.services.relay(publish.word(topic));
        match desk.message(topic, publish.payload) {
            Ok(()) => acks::SUCCESS,
            Err(_) => acks::PAYLOAD_FORMAT_INVALID,
        }
    }

    /// MQTT 5 can say no to one message; in 3.1.1 the only no is the end of the connection (section 3.3.5).
    pub(super) fn refuse_message(&self, qos: Qos, refusal: Refusal, code: u8) -> Result<u8, End> {
        if self.version == Version::V5 && qos != Qos::AtMostOnce {
            self.around.services.log().refused(self.station.device.id.as_str(), &refusal);
            return Ok(code);
        }
        Err(End::Refused(refusal))
    }

    fn on_subscribe(&mut self, id: u16, filters: &[Filter]) -> Result<(), End> {
        let device = &self.station.device.id;
        let return_codes = filters
            .iter()
            .map(|filter| match (self.may_hear(&filter.path), self.version) {
                (true, _) => SubscribeReasonCode::Success(filter.qos.min_with_at_least_once()),
                (false, Version::V4) => SubscribeReasonCode::Failure,
                (false, Version::V5) => SubscribeReasonCode::NotAuthorized,
            })
            .collect();
        for filter in filters.iter().filter(|f| !self.may_hear(&f.path)) {
            let refusal = Refusal::NotAuthorized(filter.path.clone());
            self.around.services.log().refused(device.as_str(), &refusal);
        }
        let heard: Vec<_> = filters
            .iter()
            .filter_map(|filter| Some((self.heard_device(&filter.path)?, filter)))
            .collect();
        self.send(Packet::SubAck(SubAck { pkid: id, return_codes }, None))?;
        for (device, filter) in heard {
            self.downlink.subscribe(device, &filter.path, filter.qos as u8);
        }
        self.write_mail();
        Ok(())
    }

    /// New commands may wait for the device.
    async fn send_mail(&mut self) -> Result<(), End> {
        self.write_mail();
        self.flush().await
    }

    fn write_mail(&mut self) {
        self.downlink.send(&self.around.commands, self.version, &mut self.out);
    }

    /// A device hears its own commands, a gateway those of its listed devices too.
    fn may_hear(&self, filter: &str) -> bool {
        self.heard_device(filter).is_some()
    }

    /// Whose commands a filter asks for; `None` when this session may not hear them.
    fn heard_device(&self, filter: &str) -> Option<DeviceId> {
        if topics::is_own_commands(&self.station.device.id, filter) {
            return Some(self.station.device.id.clone());
        }
        if self.is_gateway { gateway::heard_device(self, filter) } else { None }
    }

    fn on_unsubscribe(&mut self, id: u16, filters: &[String]) -> Result<(), End> {
        for filter in filters {
            self.downlink.unsubscribe(filter);
        }
        let reasons = vec![UnsubAckReason::Success; filters.len()];
        self.send(Packet::UnsubAck(UnsubAck { pkid: id, reasons }, None))
    }

    fn send(&mut self, packet: Packet) -> Result<(), End> {
        let bytes = codec::write(packet, self.version).map_err(End::Refused)?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    async fn after_read(&mut self) -> Result<(), End> {
        let bill = std::mem::replace(&mut self.bill, Ok(Bill::default()));
        let Ok(bill) = bill else { return Err(End::Refused(Refusal::ShuttingDown)) };
        bill.pay().await;
        if !self.mail.is_empty() {
            // Boxed: every session's future is as large as the largest of its ways.
            Box::pin(self.deliver()).await?;
        }
        self.flush().await
    }

    async fn acknowledge(&mut self) -> Result<(), End> {
        self.acks.write(self.progress.durable(), self.version, &mut self.out);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_TIMEOUT, self.stream.write_all(&self.out)).await;
        self.out.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Lost),
            Err(_) => Err(End::Refused(Refusal::SlowReader)),
        }
    }

    fn next_alarm(&self) -> Instant {
        // A day is as good as never, and keeps one timer for all cases.
        self.last_packet + self.keep_alive.unwrap_or(Duration::from_secs(24 * 3600))
    }

    fn on_alarm(&mut self, alarm: Pin<&mut Sleep>, was_listening: bool) -> Result<(), End> {
        let now = Instant::now();
        if self.next_alarm() <= now {
            if was_listening && self.keep_alive.is_some() {
                return Err(End::Refused(Refusal::KeepAlive));
            }
            // Not heard because not listened to, or because there is nothing that it must say.
            self.last_packet = now;
        } else if !was_listening {
            self.last_packet = now;
        }
        alarm.reset(self.next_alarm());
        Ok(())
    }

    /// The device may have got another profile or asset since the last read.
    fn refresh_station(&mut self) -> Result<(), End> {
        let version = self.around.intake.version();
        if version == self.station_version {
            return Ok(());
        }
        self.station_version = version;
        let stations = self.around.intake.stations();
        let station = stations.get(self.station.device.id.as_str());
        self.station = Arc::clone(station.ok_or(End::Refused(Refusal::NoProfile))?);
        self.is_gateway = gateway::takes_second_road(&stations, &self.station);
        self.telemetry_topic.clear();
        Ok(())
    }

    /// The last acknowledgements and the goodbye.
    async fn finish(&mut self, end: &End) {
        if !self.mail.is_empty() {
            // What came before the end counts; how it ends is decided already.
            let _ = Box::pin(self.deliver()).await;
        }
        let progress = Arc::clone(&self.progress);
        let last = self.batch - 1;
        let all_durable = async {
            while progress.durable() < last {
                progress.changed().await;
            }
        };
        if !matches!(end, End::Lost) {
            // Whoever is not answered in time will send again: that is what QoS 1 is for.
            let _ = timeout(LAST_ACKS, all_durable).await;
            self.acks.write(progress.durable(), self.version, &mut self.out);
            if let (End::Refused(refusal), Version::V5) = (end, self.version) {
                self.out.extend([0xE0, 2, refusal.v5_code(), 0]);
            }
            let _ = self.flush().await;
            let _ = timeout(LAST_ACKS, self.stream.shutdown()).await;
        }
    }
}

/// Keeps what a device, or its last will, says of its link.
pub(in crate::ingest) fn set_status(station: &Station, payload: &[u8], at: Timestamp) {
    let payload = payload[..payload.len().min(STATUS_BYTES)].to_vec();
    station.set_status(LinkStatus { at, payload });
}

/// The QoS that a subscription to commands is granted.
trait Granted {
    fn min_with_at_least_once(self) -> QoS;
}

impl Granted for QoS {
    fn min_with_at_least_once(self) -> QoS {
        match self {
            QoS::AtMostOnce => QoS::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::AtLeastOnce,
        }
    }
}
