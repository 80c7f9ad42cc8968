//! A device that is written byte by byte, so that it can also send what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::secret_of;

/// A connected device.
pub struct Device {
    pub stream: TcpStream,
    pub id: String,
}

/// MQTT's protocol level: 4 for 3.1.1, 5 for 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    V4 = 4,
    V5 = 5,
}

/// A field with its two bytes of length.
pub fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short field");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A packet: first byte, length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A CONNECT with a clean session.
pub fn connect_packet(level: Level, client: &str, user: &str, password: &str) -> Vec<u8> {
    let mut body = field(b"MQTT");
    body.extend([level as u8, 0b1100_0010, 0, 60]);
    if level == Level::V5 {
        body.push(0);
    }
    for text in [client, user, password] {
        body.extend(field(text.as_bytes()));
    }
    packet(0x10, &body)
}

/// A PUBLISH at QoS 0 to 2.
pub fn publish_packet(level: Level, qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if level == Level::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// A probe's payload.
pub fn payload(ts_us: u64, level: f64) -> Vec<u8> {
    format!(r#"{{"ts":{ts_us},"level":{level}}}"#).into_bytes()
}

impl Device {
    /// Connects with the right secret.
    pub async fn connect(hub: SocketAddr, level: Level, id: &str) -> Self {
        let mut stream = TcpStream::connect(hub).await.expect("the hub listens");
        stream.write_all(&connect_packet(level, id, id, &secret_of(id))).await.expect("sent");
        let mut device = Device { stream, id: id.to_owned() };
        let connack = device.read_packet().await.expect("an answer");
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{id} is let in: {connack:?}");
        device
    }

    /// Sends bytes, whatever they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Its telemetry topic.
    pub fn topic(&self) -> String {
        format!("devices/{}/telemetry", self.id)
    }

    /// The next packet that the hub sends; `None` when it closes the connection.
    pub async fn read_packet(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.stream.read_u8().await.ok()?];
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.ok()?;
            bytes.push(byte);
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let header = bytes.len();
        bytes.resize(header + length, 0);
        self.stream.read_exact(&mut bytes[header..]).await.ok()?;
        Some(bytes)
    }
}
