//! The front door: MQTT 3.1.1 and 5 on one port, for devices that nobody can trust.
//!
//! Takes a bound listener; hands uplinks to the pipeline's intake. Guards every byte before rumqttd's codec sees it
//! (`frame`), checks who connects against the registry, lets a device publish under its own topics and subscribe to
//! its own commands only (`topics`), and acknowledges a reading when it is on disk (`session`, `acks`). Services
//! (dashboards, bridges, other programs) have a `broker` of ours (`service`, `services`); it sees of devices only what
//! somebody subscribes to or what is to be retained.
//!
//! Which statements of both standards hold, and which do not and why, is a table that runs: `tests/hub`,
//! `the_door_follows_both_standards`.
//!
//! Never here: a payload's meaning, a unit, a limit of the town.

mod acks;
mod broker;
mod codec;
mod doorman;
mod downlink;
mod frame;
#[cfg(test)]
mod fuzz;
pub(super) mod gateway;
mod kept;
mod properties;
mod publish;
mod refusal;
mod service;
mod services;
mod session;
mod strict;
mod throttle;
mod tls;
pub(super) mod topics;
mod waiting;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttd::protocol::{ConnAck, ConnAckProperties, ConnectReturnCode, LastWill, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

pub use doorman::{Doorman, Look};
pub use refusal::{Refusal, SecurityLog};
pub use services::{Services, ServicesError};
pub use tls::TlsError;

use codec::Hello;
use frame::Version;
use service::Service;
pub(super) use services::Word;
pub use session::Surroundings;
pub(super) use session::set_status;
use session::{End, RECEIVE_MAXIMUM, Session};
use throttle::Throttle;
use topics::OwnTopic;
use waiting::Visit;

use crate::config::{MqttConfig, TlsConfig};
use crate::model::DeviceId;
use crate::pipeline::Station;
use crate::registry::{
    Device, EnrolError, Enrolled, Principal, Registry, ServiceAccount, Wish, is_enroll,
};

/// The largest CONNECT: identifiers, secrets and a last will.
const CONNECT_BYTES: usize = 8 * 1024;

/// How long the sessions may take to say goodbye when the hub goes down.
const GOODBYE: Duration = Duration::from_secs(3);

/// The door and what it needs of the rooms around it.
#[derive(Debug)]
pub struct Door {
    registry: Registry,
    around: Surroundings,
    log: Arc<SecurityLog>,
    config: MqttConfig,
    doorman: Arc<Doorman>,
    /// Room for connections.
    room: Arc<Semaphore>,
}

impl Door {
    /// A door that is not open yet.
    pub fn new(
        registry: Registry,
        around: Surroundings,
        log: Arc<SecurityLog>,
        config: MqttConfig,
        doorman: Arc<Doorman>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(config.max_connections));
        Door { registry, around, log, config, doorman, room }
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.doorman.connections()
    }

    /// Serves `listener`, and `tls` if there is one, until `shutdown` is done, then says goodbye to everybody and returns.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Option<TlsPort>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let (accepted, acceptor) = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => (accepted, None),
                accepted = accept_tls(tls.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Acknowledgements are small and urgent; without this they are only late.
                    let _ = stream.set_nodelay(true);
                    let door = Arc::clone(&self);
                    let peer = peer.ip().to_string();
                    connections.spawn(async move { door.open(stream, acceptor, &peer).await });
                }
                Err(why) => self.pause_after(&why).await,
            }
        }
        drop(tls);
        drop(listener);
        self.doorman.dismiss_all();
        let all_gone = async {
            while let Some(ended) = connections.join_next().await {
                report(ended)
            }
        };
        if timeout(GOODBYE, all_gone).await.is_err() {
            warn!("some MQTT clients did not let go in time");
        }
        info!("the MQTT door is closed");
    }

    /// Out of file descriptors, most likely: serve those who are here, and look again.
    async fn pause_after(&self, why: &io::Error) {
        warn!(error = %why, "cannot accept an MQTT connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// A connection, behind its TLS handshake if its port asks for one. Boxed where it is large and rare: every
    /// connection's task is as large as the largest of its ways.
    async fn open(&self, stream: TcpStream, acceptor: Option<TlsAcceptor>, peer: &str) {
        match acceptor {
            None => self.welcome(stream, peer).await,
            Some(acceptor) => Box::pin(self.open_tls(stream, acceptor, peer)).await,
        }
    }

    async fn open_tls(&self, stream: TcpStream, acceptor: TlsAcceptor, peer: &str) {
        match timeout(self.config.connect_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.welcome(stream, peer).await,
            Ok(Err(_)) => self.log.refused(peer, &Refusal::Malformed("the TLS handshake")),
            Err(_) => self.log.refused(peer, &Refusal::ConnectTimeout),
        }
    }

    async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, peer: &str) {
        let Ok(_room) = self.room.try_acquire() else {
            self.log.refused(peer, &Refusal::TooManyConnections);
            return;
        };
        let deadline = self.config.connect_timeout;
        let (hello, early) = match timeout(deadline, read_hello(&mut stream)).await {
            Ok(Ok(Some(read))) => read,
            Ok(Ok(None)) => return,
            Ok(Err((version, refusal))) => {
                return self.turn_away(stream, version, peer, &refusal).await;
            }
            Err(_) => return self.log.refused(peer, &Refusal::ConnectTimeout),
        };
        let version = hello.version;
        let admitted = match wish(&hello) {
            Some(device) if !self.registry.town().devices.contains_key(name_of(&hello)) => {
                Box::pin(self.enrol(&hello, device, peer)).await
            }
            _ => self.admit(&hello),
        };
        match admitted {
            Ok(Admitted::Waiting(device)) => {
                Box::pin(self.serve_waiting(stream, &hello, early, &device)).await;
            }
            Ok(Admitted::Device(station)) => {
                self.serve_device(stream, hello, early, &station).await;
            }
            Ok(Admitted::Service(account)) => {
                Box::pin(self.serve_service(stream, hello, early, account)).await;
            }
            Err(refusal) => {
                let who = wish(&hello).unwrap_or_else(|| name_of(&hello));
                let who: String =
                    if who.is_empty() { peer } else { who }.chars().take(64).collect();
                self.turn_away(stream, Some(version), &format!("{who} at {peer}"), &refusal).await;
            }
        }
    }

    fn admit(&self, hello: &Hello) -> Result<Admitted, Refusal> {
        let login = hello.login.as_ref().ok_or(Refusal::BadCredentials)?;
        let principal = self
            .registry
            .authenticate(&login.username, login.password.as_bytes())
            .map_err(|_| Refusal::BadCredentials)?;
        match principal {
            Principal::Service(account) => {
                let connect = &hello.connect;
                // [MQTT-3.1.3-8]
                if hello.version == Version::V4
                    && connect.client_id.is_empty()
                    && !connect.clean_session
                {
                    return Err(Refusal::ClientIdentifier);
                }
                if let Some(will) = &hello.will {
                    broker::check_publish(&account, &will.topic)?;
                }
                Ok(Admitted::Service(account))
            }
            Principal::Device(device) => self.admit_device(hello, &device),
        }
    }

    fn admit_device(&self, hello: &Hello, device: &Device) -> Result<Admitted, Refusal> {
        let stations = self.around.intake.stations();
        let station = stations.get(device.id.as_str()).ok_or(Refusal::NoProfile)?;
        check_will(hello, station)?;
        Ok(Admitted::Device(Arc::clone(station)))
    }

    /// A device that registers itself, or did so once.
    async fn enrol(&self, hello: &Hello, device: &str, peer: &str) -> Result<Admitted, Refusal> {
        let password = hello.login.as_ref().map_or("", |login| &login.password).to_owned();
        let (registry, device, peer) = (self.registry.clone(), device.to_owned(), peer.to_owned());
        // A newcomer is written down.
        let enrolled = tokio::task::spawn_blocking(move || {
            let wish = Wish { device: &device, password: password.as_bytes(), peer: &peer };
            registry.enrol(&wish)
        });
        match enrolled.await {
            Ok(Ok(Enrolled::Device(device))) => self.admit_device(hello, &device),
            Ok(Ok(Enrolled::Waiting(device))) => Ok(Admitted::Waiting(device)),
            Ok(Err(why)) => Err(Refusal::Enrolment(why)),
            Err(_) => Err(Refusal::Enrolment(EnrolError::Unavailable)),
        }
    }

    async fn serve_waiting<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        hello: &Hello,
        early: Vec<u8>,
        device: &DeviceId,
    ) {
        let (number, kick) = self.doorman.enter(device.as_str());
        let mut outcome = Ok(());
        if stream.write_all(&self.welcome_packet(hello, device.as_str())).await.is_ok() {
            info!(%device, "a device waits for approval");
            let visit = Visit {
                stream,
                version: hello.version,
                device,
                keep_alive: hello.connect.keep_alive,
                doorman: &self.doorman,
                clock: &self.around.clock,
            };
            outcome = visit.attend(early, kick).await;
        }
        self.doorman.leave(device.as_str(), number);
        if let Err(refusal) = outcome
            && !matches!(refusal, Refusal::ShuttingDown | Refusal::Administrative)
        {
            self.log.refused(device.as_str(), &refusal);
        }
    }

    async fn serve_device<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        hello: Hello,
        early: Vec<u8>,
        station: &Arc<Station>,
    ) {
        let device = station.device.id.as_str();
        let (number, kick) = self.doorman.enter(device);
        if stream.write_all(&self.welcome_packet(&hello, device)).await.is_err() {
            self.doorman.leave(device, number);
            return;
        }
        debug!(device, "connected");
        let will_properties =
            hello.will_properties.as_ref().map_or_else(Vec::new, broker::will_properties);
        let asked = hello.properties.as_ref().and_then(|asked| asked.session_expiry_interval);
        let mut session = Session::new(
            stream,
            self.around.clone(),
            hello.version,
            Arc::clone(station),
            hello.connect.keep_alive,
            hello.will,
            Throttle::new(self.config.max_messages_per_second),
        );
        session.asked_to_last = asked.is_some_and(|seconds| seconds > 0);
        let (end, will) = session.run(early, kick).await;
        // A device that is back already has said so itself: its former connection's will would contradict it.
        if self.doorman.leave(device, number)
            && let Some(will) = will
        {
            self.do_will(station, &will, &will_properties);
        }
        match end {
            End::Refused(Refusal::ShuttingDown | Refusal::Administrative)
            | End::Goodbye { .. }
            | End::Lost => {
                debug!(device, ?end, "disconnected");
            }
            End::Refused(refusal) => self.log.refused(device, &refusal),
        }
    }

    async fn serve_service<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        hello: Hello,
        early: Vec<u8>,
        account: Arc<ServiceAccount>,
    ) {
        // Without an identifier every connection is another client.
        let client = match hello.connect.client_id.as_str() {
            "" => format!("{}/~{:016x}", account.name, rand::random::<u64>()),
            id => format!("{}/{id}", account.name),
        };
        let (number, kick) = self.doorman.enter(&client);
        let (services, version) = (self.around.services.clone(), hello.version);
        let outcome = match Service::open(stream, hello, account, client.clone(), services) {
            Ok(service) => service.run(early, kick).await,
            Err((stream, refusal)) => {
                self.turn_away(stream, Some(version), &client, &refusal).await;
                Ok(())
            }
        };
        self.doorman.leave(&client, number);
        if let Err(refusal) = outcome
            && refusal != Refusal::ShuttingDown
        {
            self.log.refused(&client, &refusal);
        }
    }

    /// CONNACK: success, and for MQTT 5 what the door grants.
    fn welcome_packet(&self, hello: &Hello, device: &str) -> Vec<u8> {
        if hello.version == Version::V4 {
            return vec![0x20, 2, 0, 0];
        }
        let properties = ConnAckProperties {
            receive_max: Some(RECEIVE_MAXIMUM),
            max_packet_size: u32::try_from(self.config.max_packet_bytes).ok(),
            session_expiry_interval: Some(0),
            assigned_client_identifier: hello
                .connect
                .client_id
                .is_empty()
                .then(|| device.to_owned()),
            wildcard_subscription_available: Some(0),
            subscription_identifiers_available: Some(0),
            shared_subscription_available: Some(0),
            ..no_properties()
        };
        let connack = ConnAck { session_present: false, code: ConnectReturnCode::Success };
        match codec::write(Packet::ConnAck(connack, Some(properties)), Version::V5) {
            Ok(bytes) => bytes.to_vec(),
            Err(_) => vec![0x20, 3, 0, 0, 0],
        }
    }

    async fn turn_away<S: AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        version: Option<Version>,
        who: &str,
        refusal: &Refusal,
    ) {
        self.log.refused(who, refusal);
        let answer = match version {
            Some(Version::V5) => vec![0x20, 3, 0, refusal.v5_code(), 0],
            Some(Version::V4) => vec![0x20, 2, 0, refusal.v4_connack_code()],
            None => return,
        };
        // Whoever does not wait for the answer does not get it.
        let _ = timeout(self.config.connect_timeout, stream.write_all(&answer)).await;
        let _ = timeout(self.config.connect_timeout, stream.shutdown()).await;
    }

    fn do_will(&self, station: &Station, will: &LastWill, properties: &[u8]) {
        session::set_status(station, &will.message, self.around.clock.now());
        if let Ok(topic) = std::str::from_utf8(&will.topic) {
            let LastWill { message: payload, qos, retain, .. } = will;
            let (qos, retain) = (*qos as u8, *retain);
            self.around.services.relay(Word { topic, payload, properties, qos, retain });
        }
    }
}

/// A bound port that speaks TLS.
#[allow(missing_debug_implementations, reason = "rustls keeps its acceptor to itself")]
pub struct TlsPort {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsPort {
    /// A port on `listener` with the certificate and key that `config` names.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(listener: TcpListener, config: &TlsConfig) -> Result<Self, TlsError> {
        Ok(TlsPort { listener, acceptor: tls::acceptor(config)? })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

type Accepted = (io::Result<(TcpStream, SocketAddr)>, Option<TlsAcceptor>);

/// The next connection of the TLS port; never, without one.
async fn accept_tls(port: Option<&TlsPort>) -> Accepted {
    match port {
        Some(port) => (port.listener.accept().await, Some(port.acceptor.clone())),
        None => std::future::pending().await,
    }
}

enum Admitted {
    /// Who waits for approval.
    Waiting(DeviceId),
    Device(Arc<Station>),
    Service(Arc<ServiceAccount>),
}

/// The id that a client wishes for that registers itself: what follows `enroll:`, else its client identifier.
fn wish(hello: &Hello) -> Option<&str> {
    let name = name_of(hello);
    is_enroll(name).then(|| name.split_once(':').map_or(&*hello.connect.client_id, |(_, id)| id))
}

fn name_of(hello: &Hello) -> &str {
    hello.login.as_ref().map_or("", |login| &login.username)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(why) = ended {
        tracing::error!(error = %why, "an MQTT session panicked");
    }
}

/// Reads until CONNECT is whole; what came behind it is returned too. `None` when the peer went away without a word.
async fn read_hello<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<(Hello, Vec<u8>)>, (Option<Version>, Refusal)> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        let Some(frame) = frame::next(&buffer, CONNECT_BYTES).map_err(|why| (None, why))? else {
            continue;
        };
        let version = match codec::version(&frame) {
            Ok(version) => version,
            // The answer to an unknown level is 3.1.1's [MQTT-3.1.2-2].
            Err(why @ Refusal::UnsupportedVersion(level)) => {
                let version = if level < 5 { Version::V4 } else { Version::V5 };
                return Err((Some(version), why));
            }
            Err(why) => return Err((None, why)),
        };
        let hello = codec::hello(&frame).map_err(|why| (Some(version), why))?;
        let early = buffer[frame.whole.len()..].to_vec();
        return Ok(Some((hello, early)));
    }
}

/// A device's last will speaks on its status topic, nowhere else.
fn check_will(hello: &Hello, station: &Station) -> Result<(), Refusal> {
    let Some(will) = &hello.will else { return Ok(()) };
    let topic = std::str::from_utf8(&will.topic).map_err(|_| Refusal::BadTopic)?;
    match topics::own(station, topic) {
        Some(OwnTopic::Status) => Ok(()),
        _ => Err(Refusal::NotAuthorized(topic.to_owned())),
    }
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
