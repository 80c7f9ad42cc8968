//! Devices that remember what was acknowledged, however often they are cut off, and what the hub must know of it.
//!
//! A device's message number `k` says its own time (`k` milliseconds after the first) and a level that follows from `k`, so
//! that what the hub should hold is known without being kept. MQTT acknowledges in order, and what was not acknowledged is
//! sent again first: what was acknowledged is always a beginning.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::device::{Level, connect_packet, payload, publish_packet};
use crate::support::now_us;
use crate::support::process::{HubProcess, secret_of};

/// Messages sent ahead of their acknowledgement.
const IN_FLIGHT: u64 = 100;
/// So many messages are calm, and so many over the limit.
const WAVE: u64 = 1_500;
/// Devices begin so far back, so that they have something to send ahead of time.
const BACKLOG_MS: u64 = 60_000;
const PACKET_IDS: u64 = 60_000;

/// One device and its memory.
pub struct Device {
    pub id: String,
    begin_ms: u64,
    sent: u64,
    acknowledged: u64,
}

/// How a fleet is told to end, and how far it is.
#[derive(Clone, Default)]
pub struct Orders {
    /// No new messages; go when everything is acknowledged.
    pub finish: Arc<AtomicBool>,
    /// Do not come back when cut off.
    pub stop: Arc<AtomicBool>,
    /// Acknowledged so far, all devices together.
    pub acknowledged: Arc<AtomicU64>,
}

/// Devices on one hub.
pub struct Fleet {
    pub devices: Vec<Device>,
    pub orders: Orders,
}

/// A fleet that is sending.
pub struct Sending {
    tasks: JoinSet<Device>,
    orders: Orders,
}

impl Device {
    fn time_us(&self, k: u64) -> u64 {
        (self.begin_ms + k) * 1_000
    }

    fn level(k: u64) -> f64 {
        let is_over = (k / WAVE) % 2 == 1;
        if is_over { 950_000.0 + (k % 1_000) as f64 } else { (k % 700_000) as f64 }
    }

    /// How often what was sent went over the limit.
    fn raises(&self) -> u64 {
        (self.sent.saturating_sub(1) / WAVE).div_ceil(2)
    }

    /// How many readings of it the hub holds between two times, a year apart at most, and how many of them are marked
    /// `clock`.
    pub async fn kept(&self, hub: &HubProcess, from: &str, to: &str) -> (u64, u64) {
        let (mut kept, mut marked) = (0, 0);
        let mut from = from.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        loop {
            let answer = page_of(hub, &self.id, from, to).await;
            let points = answer["points"].as_array().expect("points");
            let time = |point: &Value| point[0].as_i64().expect("milliseconds");
            // The last millisecond of a page may go on in the next one: it is counted there.
            let next = points.last().map(time).filter(|_| answer["truncated"] == true);
            let whole = points.iter().filter(|point| next.is_none_or(|next| time(point) < next));
            for point in whole {
                kept += 1;
                marked += u64::from(point[3] == "clock");
            }
            let Some(next) = next else { return (kept, marked) };
            assert!(next > from, "{}: ten thousand readings in a millisecond", self.id);
            from = next;
        }
    }

    fn packet(&self, k: u64, is_again: bool) -> Vec<u8> {
        let topic = format!("devices/{}/telemetry", self.id);
        let body = payload(self.time_us(k), Self::level(k));
        let mut packet = publish_packet(Level::V4, 1, packet_id(k), &topic, &body);
        packet[0] |= u8::from(is_again) << 3;
        packet
    }

    /// Sends until cut off, or until told to finish and all is acknowledged.
    async fn send(&mut self, hub: SocketAddr, orders: &Orders) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(hub).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(&connect_packet(Level::V4, &self.id, &self.id, &secret_of(&self.id)))
            .await?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await?;
        assert_eq!(connack, [0x20, 2, 0, 0], "{} is let in", self.id);
        let mut out: Vec<u8> =
            (self.acknowledged..self.sent).flat_map(|k| self.packet(k, true)).collect();
        let (mut buffer, mut rest) = ([0; 4_096], VecDeque::new());
        loop {
            let is_last = orders.finish.load(Ordering::Relaxed);
            let due = (now_us() / 1_000).saturating_sub(self.begin_ms);
            while !is_last && self.sent < due && self.sent - self.acknowledged < IN_FLIGHT {
                out.extend(self.packet(self.sent, false));
                self.sent += 1;
            }
            if is_last && self.sent == self.acknowledged {
                return Ok(());
            }
            stream.write_all(&out).await?;
            out.clear();
            // Something new is due in a millisecond; a full window waits for its acknowledgements.
            let patience = Duration::from_millis(if self.sent < due { 50 } else { 2 });
            let Ok(read) = tokio::time::timeout(patience, stream.read(&mut buffer)).await else {
                continue;
            };
            let n = read?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            rest.extend(&buffer[..n]);
            while rest.len() >= 4 {
                let ack: Vec<u8> = rest.drain(..4).collect();
                let [high, low] = packet_id(self.acknowledged).to_be_bytes();
                assert_eq!(ack, [0x40, 2, high, low], "{}: acknowledged in order", self.id);
                assert!(self.acknowledged < self.sent, "{}: acknowledged what was sent", self.id);
                self.acknowledged += 1;
                orders.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn packet_id(k: u64) -> u16 {
    (k % PACKET_IDS + 1) as u16
}

impl Fleet {
    /// `n` devices named `probe-0` and so on.
    pub fn new(n: usize) -> Self {
        let begin_ms = now_us() / 1_000 - BACKLOG_MS;
        let device = |id| Device { id, begin_ms, sent: 0, acknowledged: 0 };
        Fleet {
            devices: crate::support::devices(n).into_iter().map(device).collect(),
            orders: Orders::default(),
        }
    }

    /// Makes the hub know them.
    pub async fn register(&self, hub: &HubProcess) {
        let ids: Vec<String> = self.devices.iter().map(|device| device.id.clone()).collect();
        hub.import_devices("probe", &ids).await;
    }

    /// Lets every device send until it is cut off.
    pub fn send(&mut self, hub: SocketAddr) -> Sending {
        self.start(hub, false)
    }

    /// Lets every device send, and come back whenever it is cut off, until it is told to finish.
    pub fn keep_sending(&mut self, hub: SocketAddr) -> Sending {
        self.start(hub, true)
    }

    fn start(&mut self, hub: SocketAddr, comes_back: bool) -> Sending {
        self.orders.finish.store(false, Ordering::Relaxed);
        self.orders.stop.store(!comes_back, Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        for mut device in self.devices.drain(..) {
            let orders = self.orders.clone();
            tasks.spawn(async move {
                while device.send(hub, &orders).await.is_err()
                    && !orders.stop.load(Ordering::Relaxed)
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                device
            });
        }
        Sending { tasks, orders: self.orders.clone() }
    }

    /// Sends again what was not acknowledged, and waits until it is.
    pub async fn settle(&mut self, hub: &HubProcess) {
        let sending = self.keep_sending(hub.mqtt);
        self.devices = sending.finish(Duration::from_secs(60)).await;
    }

    /// Messages that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.orders.acknowledged.load(Ordering::Relaxed)
    }

    /// The hub holds what was sent: everything that was acknowledged, nothing twice, nothing else. Call it when all is
    /// acknowledged.
    pub async fn check_readings(&self, hub: &HubProcess) {
        for device in &self.devices {
            assert_eq!(device.acknowledged, device.sent, "{}: all is acknowledged", device.id);
            let stored = stored(hub, device).await;
            for (k, (time, value)) in (0_u64..).zip(&stored) {
                let expected = (device.time_us(k), Device::level(k));
                assert_eq!(
                    (*time, *value),
                    expected,
                    "{}: reading {k} is lost or there twice",
                    device.id
                );
            }
            let n = stored.len() as u64;
            assert_eq!(n, device.sent, "{}: as many readings as were acknowledged", device.id);
        }
    }

    /// An alert counts every time that a level went over its limit, is active when the level still is, and is in one case.
    /// Returns how many raises, alerts and cases there are.
    pub async fn check_alerts(&self, hub: &HubProcess) -> (u64, usize, usize) {
        let alerts = pages(hub, "alerts").await;
        let cases = pages(hub, "cases").await;
        let cased: Vec<&Value> =
            cases.iter().flat_map(|case| case["alerts"].as_array().expect("alerts")).collect();
        let mut raises = 0;
        for device in &self.devices {
            let own: Vec<&Value> =
                alerts.iter().filter(|alert| alert["device"] == device.id.as_str()).collect();
            let raised: u64 =
                own.iter().map(|alert| alert["raised_count"].as_u64().expect("a number")).sum();
            assert_eq!(raised, device.raises(), "{}: raised with every wave: {own:?}", device.id);
            raises += raised;
            let active = own.iter().filter(|alert| alert["active"] == true).count();
            let is_over = Device::level(device.sent.saturating_sub(1)) > 900_000.0;
            assert_eq!(active, usize::from(is_over), "{}: {own:?}", device.id);
            for alert in own {
                let n = cased.iter().filter(|cased| ***cased == alert["id"]).count();
                assert_eq!(n, 1, "{}: in one case: {alert}", device.id);
            }
        }
        (raises, alerts.len(), cases.len())
    }
}

impl Sending {
    /// Lets nobody come back who is cut off from now on.
    pub fn stop(&self) {
        self.orders.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until all were cut off.
    pub async fn cut_off(self) -> Vec<Device> {
        self.tasks.join_all().await
    }

    /// Tells them to finish, and waits until everything is acknowledged.
    pub async fn finish(self, patience: Duration) -> Vec<Device> {
        self.orders.finish.store(true, Ordering::Relaxed);
        let left = self.tasks.len();
        tokio::time::timeout(patience, self.tasks.join_all())
            .await
            .unwrap_or_else(|_| panic!("{left} devices wait for acknowledgements for {patience:?}"))
    }
}

/// Every page of a list, newest first.
async fn pages(hub: &HubProcess, what: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let page = hub.get(&format!("/api/v1/{what}?limit=1000{before}")).await;
        all.extend(page[what].as_array().expect("a list").iter().cloned());
        let Some(next) = page["next_before"].as_u64() else { return all };
        before = format!("&before={next}");
    }
}

/// Every stored reading of a device: its time in microseconds (whole milliseconds here) and its value.
async fn stored(hub: &HubProcess, device: &Device) -> Vec<(u64, f64)> {
    let mut readings = Vec::new();
    let mut from = i64::try_from(device.begin_ms).expect("fits");
    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    loop {
        let answer = page_of(hub, &device.id, from, &end).await;
        for point in answer["points"].as_array().expect("points") {
            let time = point[0].as_i64().expect("milliseconds");
            readings.push((time.unsigned_abs() * 1_000, point[1].as_f64().expect("a value")));
            from = time + 1;
        }
        if answer["truncated"] != true {
            return readings;
        }
    }
}

async fn page_of(hub: &HubProcess, device: &str, from_ms: i64, end: &str) -> Value {
    let start = jiff::Timestamp::from_millisecond(from_ms).expect("a time");
    hub.get(&format!("/api/v1/series/{device}/level?from={start}&to={end}&limit=10000")).await
}
