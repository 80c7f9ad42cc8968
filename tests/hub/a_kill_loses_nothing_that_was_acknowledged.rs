//! SIGKILL at random moments under load at QoS 1: every acknowledged reading is there exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::device::{Device, Level, payload, publish_packet};
use crate::support::process::HubProcess;
use crate::support::{Town, devices, now_us};

const KILLS: usize = 12;
const DEVICES: usize = 8;
/// Messages sent ahead of their acknowledgement.
const IN_FLIGHT: usize = 100;

/// What one device sent and what was acknowledged; the payload's time identifies a message.
#[derive(Default)]
struct Sent {
    next: u64,
    unacknowledged: BTreeMap<u16, (u64, f64)>,
    acknowledged: BTreeMap<u64, f64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_is_there_exactly_once() {
    let seed = 20_261_123;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let town = Town::new("max_messages_per_second = 0\n");
    let ids = devices(DEVICES);
    let begin = now_us();
    let mut sent: Vec<Sent> = ids.iter().map(|_| Sent { next: begin, ..Sent::default() }).collect();
    for round in 0..=KILLS {
        let hub = town.home.start();
        if round == 0 {
            hub.import_devices("probe", &ids).await;
        }
        let sending: Vec<_> = ids
            .iter()
            .zip(sent)
            .map(|(id, sent)| tokio::spawn(send_until_cut_off(hub.mqtt, id.clone(), sent)))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
        hub.kill();
        sent = Vec::new();
        for task in sending {
            sent.push(task.await.expect("a sender ends well"));
        }
    }
    let hub = town.home.start();
    let mut total = 0;
    for (id, sent) in ids.iter().zip(&sent) {
        let stored = stored(&hub, id, begin).await;
        let times: BTreeSet<u64> = stored.iter().map(|(time, _)| *time).collect();
        assert_eq!(times.len(), stored.len(), "{id}: a reading is there twice");
        let stored: BTreeMap<u64, f64> = stored.into_iter().collect();
        for (time, value) in &sent.acknowledged {
            assert_eq!(stored.get(time), Some(value), "{id}: an acknowledged reading is lost");
        }
        total += sent.acknowledged.len();
    }
    println!("{total} acknowledged readings, {KILLS} kills and one more, none lost, none twice");
    assert!(total > 1_000, "the load was one: {total}");
}

/// Repeats what was not acknowledged, then goes on, until the connection breaks.
async fn send_until_cut_off(hub: SocketAddr, id: String, mut sent: Sent) -> Sent {
    let mut device = Device::connect(hub, Level::V4, &id).await;
    let topic = device.topic();
    let unacknowledged = std::mem::take(&mut sent.unacknowledged);
    let mut out = Vec::new();
    for (packet_id, (time, value)) in unacknowledged {
        sent.unacknowledged.insert(packet_id, (time, value));
        let mut packet = publish_packet(Level::V4, 1, packet_id, &topic, &payload(time, value));
        // The DUP flag: this may be a repetition.
        packet[0] |= 0b1000;
        out.extend(packet);
    }
    let (mut read, mut write) = device.stream.split();
    let mut buffer = [0; 4_096];
    let mut rest: Vec<u8> = Vec::new();
    loop {
        while sent.unacknowledged.len() < IN_FLIGHT {
            // Milliseconds apart: the API tells times to the millisecond.
            sent.next += 1_000;
            let value = (sent.next / 1_000 % 800_000) as f64;
            let packet_id = (sent.next / 1_000 % 60_000 + 1) as u16;
            if sent.unacknowledged.contains_key(&packet_id) {
                break;
            }
            sent.unacknowledged.insert(packet_id, (sent.next / 1_000 * 1_000, value));
            let body = payload(sent.next / 1_000 * 1_000, value);
            out.extend(publish_packet(Level::V4, 1, packet_id, &topic, &body));
        }
        if write.write_all(&out).await.is_err() {
            return sent;
        }
        out.clear();
        let Ok(n) = read.read(&mut buffer).await else { return sent };
        if n == 0 {
            return sent;
        }
        rest.extend(&buffer[..n]);
        let whole = rest.len() / 4 * 4;
        for ack in rest.drain(..whole).collect::<Vec<u8>>().chunks(4) {
            assert_eq!(ack[..2], [0x40, 2], "a PUBACK");
            let packet_id = u16::from_be_bytes([ack[2], ack[3]]);
            let (time, value) =
                sent.unacknowledged.remove(&packet_id).expect("acknowledged once, and sent");
            sent.acknowledged.insert(time, value);
        }
    }
}

/// Every stored reading of a device: its time in microseconds (whole milliseconds here) and its value.
pub async fn stored(hub: &HubProcess, id: &str, begin_us: u64) -> Vec<(u64, f64)> {
    let mut readings = Vec::new();
    let mut from = i64::try_from(begin_us / 1_000).expect("fits");
    loop {
        let start = jiff::Timestamp::from_millisecond(from).expect("a time");
        let end = start + jiff::SignedDuration::from_hours(1);
        let path = format!("/api/v1/series/{id}/level?from={start}&to={end}&limit=10000");
        let answer = hub.get(&path).await;
        let points = answer["points"].as_array().expect("points");
        for point in points {
            let time = point[0].as_i64().expect("milliseconds");
            readings.push((time.unsigned_abs() * 1_000, point[1].as_f64().expect("a value")));
            from = time + 1;
        }
        if answer["truncated"] != true {
            return readings;
        }
    }
}
