//! A device that does nothing but send: packets are bytes that are patched in place, acknowledgements are counted.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::secret_of;

/// One PUBACK of MQTT 3.1.1.
const PUBACK_BYTES: usize = 4;

/// A PUBLISH at QoS 1 with 3 readings; its digits are patched for every message.
pub struct Template {
    bytes: Vec<u8>,
    id: usize,
    time: usize,
    level: usize,
    flow: usize,
    temperature: usize,
}

impl Template {
    pub fn new(device: &str) -> Self {
        let topic = format!("devices/{device}/telemetry");
        let payload = format!(
            r#"{{"id":"{device:<12}","ts":0000000000000000,"level_mm":0000.0,"flow":0000.0,"temp":000.0,"bat":3.61}}"#
        );
        let payload = payload.replace(":0000.0", ":1000.0").replace(":000.0", ":100.0");
        let length = 2 + topic.len() + 2 + payload.len();
        assert!((128..16_384).contains(&length), "two length bytes");
        let mut bytes = vec![0x32, (length % 128) as u8 | 0x80, (length / 128) as u8];
        bytes.extend((topic.len() as u16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        let id = bytes.len();
        bytes.extend([0, 0]);
        let start = bytes.len();
        bytes.extend(payload.as_bytes());
        let at = |key: &str| start + payload.find(key).expect(key) + key.len();
        let (time, level) = (at("\"ts\":"), at("\"level_mm\":"));
        let (flow, temperature) = (at("\"flow\":"), at("\"temp\":"));
        Template { bytes, id, time, level, flow, temperature }
    }

    pub fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.id - 2
    }

    /// The next message: values wander slowly, as a canal does.
    pub fn patch(&mut self, sequence: u64, time_us: u64, level_mm: u32) -> &[u8] {
        let packet_id = (sequence % 65_535 + 1) as u16;
        self.bytes[self.id..self.id + 2].copy_from_slice(&packet_id.to_be_bytes());
        digits(&mut self.bytes[self.time..self.time + 16], time_us);
        digits(&mut self.bytes[self.level..self.level + 4], u64::from(level_mm));
        digits(&mut self.bytes[self.flow..self.flow + 4], 1_000 + (sequence / 7) % 100);
        digits(
            &mut self.bytes[self.temperature..self.temperature + 3],
            150 + (sequence / 500) % 20,
        );
        &self.bytes
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 500 000")
}

/// Connects as `device` with MQTT 3.1.1 and waits for the CONNACK.
pub async fn connect(hub: SocketAddr, device: &str) -> TcpStream {
    let mut stream = TcpStream::connect(hub).await.expect("the hub listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let secret = secret_of(device);
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0010, 0, 0];
    for field in [device, device, secret.as_str()] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.as_bytes());
    }
    assert!(body.len() < 128, "one length byte");
    let packet = [&[0x10, body.len() as u8][..], &body].concat();
    stream.write_all(&packet).await.expect("sent");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.expect("an answer");
    assert_eq!(connack, [0x20, 2, 0, 0], "{device} is let in");
    stream
}

/// Reads acknowledgements until at least one whole one is there; returns how many, keeping the odd bytes in `rest`.
pub async fn acknowledged(stream: &mut TcpStream, buffer: &mut [u8], rest: &mut usize) -> usize {
    loop {
        let n = stream.read(buffer).await.expect("the hub stays");
        assert!(n > 0, "the hub closed the connection");
        let bytes = *rest + n;
        *rest = bytes % PUBACK_BYTES;
        if bytes >= PUBACK_BYTES {
            return bytes / PUBACK_BYTES;
        }
    }
}
