//! The wire of the devices that publish: each has its own MQTT connection, as in the field.
//!
//! A device logs in with its id and its secret, leaves a will, says that it is online (retained), publishes its
//! readings at QoS 1, and says goodbye. When the connection breaks it comes back, later and later.

mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rumqttc::QoS;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use session::{Client, Lost, Notice, Session};

/// Messages that wait in a device while it has no connection; more are dropped and counted.
const QUEUE_MESSAGES: usize = 64;
/// Between the first connects of two devices: five hundred at once are a test of their own.
const STAGGER: Duration = Duration::from_millis(8);
/// First and longest wait before a device tries again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_millis(1500);

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A text that is no broker's address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no host:port; write for example 127.0.0.1:1883")]
pub struct NotABroker(String);

impl std::str::FromStr for Broker {
    type Err = NotABroker;

    fn from_str(text: &str) -> Result<Self, NotABroker> {
        let not = || NotABroker(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(not)?;
        let port = port.parse().map_err(|_| not())?;
        if host.is_empty() { Err(not()) } else { Ok(Broker { host: host.to_owned(), port }) }
    }
}

/// What a device needs to log in and to publish.
#[derive(Clone)]
pub struct Account {
    /// User name and client id.
    pub id: String,
    /// Password.
    pub secret: String,
    /// Where its readings go.
    pub topic: String,
    /// Where its `online` / `offline` goes.
    pub status_topic: String,
    /// Whether it speaks MQTT 5 instead of 3.1.1.
    pub version5: bool,
}

/// What the fleet did so far.
#[derive(Debug, Default)]
pub struct Totals {
    /// Devices that are connected now.
    pub connected: AtomicU64,
    /// Messages that were handed to a device.
    pub published: AtomicU64,
    /// Messages (and status words) that the broker acknowledged.
    pub acknowledged: AtomicU64,
    /// Messages that were dropped because a device's queue was full.
    pub dropped: AtomicU64,
    /// Times that a device was not let in.
    pub refused: AtomicU64,
}

/// All devices that publish.
pub struct Fleet {
    lines: Vec<Option<Line>>,
    tasks: JoinSet<()>,
    totals: Arc<Totals>,
}

/// The near end of a device.
struct Line {
    client: Client,
    topic: String,
    plugged: watch::Sender<bool>,
}

impl Fleet {
    /// Starts one task per device; `None` for a device that does not publish. They end when `stop` turns true.
    pub fn start(
        accounts: Vec<Option<Account>>,
        broker: &Broker,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let totals = Arc::new(Totals::default());
        let mut tasks = JoinSet::new();
        let mut lines = Vec::with_capacity(accounts.len());
        for (place, account) in accounts.into_iter().enumerate() {
            let Some(account) = account else {
                lines.push(None);
                continue;
            };
            let (client, session) = Session::new(&account, broker);
            let (plugged, is_plugged) = watch::channel(true);
            lines.push(Some(Line {
                client: client.clone(),
                topic: account.topic.clone(),
                plugged,
            }));
            let device = DeviceTask {
                account,
                client,
                session,
                plugged: is_plugged,
                stop: stop.clone(),
                totals: Arc::clone(&totals),
                connected: false,
                back_off: BACK_OFF.0,
            };
            tasks.spawn(device.run(STAGGER * u32::try_from(place).unwrap_or(u32::MAX)));
        }
        Fleet { lines, tasks, totals }
    }

    /// What the fleet did so far.
    pub fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// Lets a device publish on its topic.
    pub fn publish(&self, device: usize, payload: Vec<u8>) {
        let Some(Some(line)) = self.lines.get(device) else { return };
        let queued = line.client.publish(&line.topic, QoS::AtLeastOnce, false, payload);
        let total = if queued { &self.totals.published } else { &self.totals.dropped };
        total.fetch_add(1, Relaxed);
    }

    /// Cuts a device's connection, or lets it connect again.
    pub fn plug(&self, device: usize, plugged: bool) {
        if let Some(Some(line)) = self.lines.get(device) {
            line.plugged.send_replace(plugged);
        }
    }

    /// Waits for the devices' goodbyes, which begin when `stop` turns true, and ends what does not end itself.
    pub async fn join(mut self) -> Arc<Totals> {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(GOODBYE_WITHIN + Duration::from_millis(200), all).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.totals
    }
}

/// One device at its connection.
struct DeviceTask {
    account: Account,
    client: Client,
    session: Session,
    plugged: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    totals: Arc<Totals>,
    connected: bool,
    back_off: Duration,
}

/// Why a device's wait was over.
enum Turn {
    Stop,
    Plug,
    Session(Result<Notice, Lost>),
}

impl DeviceTask {
    async fn run(mut self, after: Duration) {
        if self.pause(after).await {
            return;
        }
        loop {
            let turn = tokio::select! {
                biased;
                _ = self.stop.wait_for(|&stop| stop) => Turn::Stop,
                _ = self.plugged.wait_for(|&plugged| !plugged) => Turn::Plug,
                happened = self.session.poll() => Turn::Session(happened),
            };
            let ended = match turn {
                Turn::Stop => break,
                Turn::Plug => self.stay_unplugged().await,
                Turn::Session(Ok(notice)) => {
                    self.note(notice);
                    false
                }
                Turn::Session(Err(lost)) => self.lose(lost).await,
            };
            if ended {
                return;
            }
        }
        self.say_goodbye().await;
    }

    /// Waits; says whether it is time to stop.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            _ = self.stop.wait_for(|&stop| stop) => true,
            () = sleep(pause) => false,
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Connected => {
                self.set_connected(true);
                self.back_off = BACK_OFF.0;
                self.status(QoS::AtLeastOnce, ONLINE);
            }
            Notice::Acknowledged => {
                self.totals.acknowledged.fetch_add(1, Relaxed);
            }
            Notice::Other => {}
        }
    }

    /// Says online or offline. A full queue means that worse is wrong, and it is counted there.
    fn status(&self, qos: QoS, word: &str) {
        if !self.client.publish(&self.account.status_topic, qos, true, word.into()) {
            self.totals.dropped.fetch_add(1, Relaxed);
        }
    }

    fn set_connected(&mut self, connected: bool) {
        if self.connected != connected {
            self.connected = connected;
            let one = if connected { 1 } else { u64::MAX };
            self.totals.connected.fetch_add(one, Relaxed);
        }
    }

    async fn lose(&mut self, lost: Lost) -> bool {
        self.set_connected(false);
        match lost {
            Lost::Refused(reason) => {
                self.totals.refused.fetch_add(1, Relaxed);
                tracing::warn!(
                    device.id = self.account.id,
                    reason,
                    "the broker refuses the device"
                );
            }
            Lost::Broken(reason) => {
                tracing::debug!(device.id = self.account.id, reason, "the connection is lost");
            }
        }
        let pause = self.back_off;
        self.back_off = (pause * 2).min(BACK_OFF.1);
        self.pause(pause).await
    }

    async fn stay_unplugged(&mut self) -> bool {
        self.session.cut();
        self.set_connected(false);
        tokio::select! {
            _ = self.stop.wait_for(|&stop| stop) => true,
            plugged = self.plugged.wait_for(|&plugged| plugged) => plugged.is_err(),
        }
    }

    /// Says offline itself, since a broker keeps the will of those who leave properly, and leaves.
    async fn say_goodbye(mut self) {
        if !self.connected {
            return;
        }
        self.status(QoS::AtMostOnce, OFFLINE);
        if !self.client.disconnect() {
            return;
        }
        // The broker closes when it has read the goodbye. To close first, with its last words unread, would reset
        // the connection and could take the goodbye with it.
        let left = async {
            while let Ok(notice) = self.session.poll().await {
                self.note(notice);
            }
        };
        if timeout(GOODBYE_WITHIN, left).await.is_err() {
            tracing::debug!(device.id = self.account.id, "left without a goodbye");
        }
        self.set_connected(false);
    }
}

#[cfg(test)]
mod tests;
