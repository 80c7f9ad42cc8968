use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn a_broker_is_a_host_and_a_port() {
    let broker: Broker = "127.0.0.1:1883".parse().unwrap();
    assert_eq!(broker, Broker { host: "127.0.0.1".to_owned(), port: 1883 });
    for wrong in ["127.0.0.1", ":1883", "host:port", "host:70000", ""] {
        assert!(wrong.parse::<Broker>().is_err(), "{wrong}");
    }
}

/// The broker's end of one connection, byte by byte, so that nothing of the client's library vouches for itself.
struct Peer {
    stream: TcpStream,
    version5: bool,
}

/// What a device sent.
#[derive(Debug, PartialEq)]
enum Sent {
    Publish { topic: String, payload: String, qos: u8, retain: bool, packet: [u8; 2] },
    Disconnect,
    Closed,
}

impl Peer {
    /// Accepts a device and lets it in; returns its CONNECT.
    async fn accept(listener: &TcpListener, version5: bool) -> (Self, Vec<u8>) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer { stream, version5 };
        let (first, connect) = peer.packet().await.unwrap();
        assert_eq!(first, 0x10, "CONNECT");
        peer.send(if version5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }).await;
        (peer, connect)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet's first byte and its body.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    async fn next(&mut self) -> Sent {
        let Some((first, body)) = self.packet().await else { return Sent::Closed };
        if first & 0xf0 == 0xe0 {
            return Sent::Disconnect;
        }
        assert_eq!(first & 0xf0, 0x30, "PUBLISH");
        let (topic_length, rest) = body.split_at(2);
        let topic_length = usize::from(u16::from_be_bytes([topic_length[0], topic_length[1]]));
        let (topic, mut rest) = rest.split_at(topic_length);
        let qos = (first >> 1) & 3;
        let mut packet = [0; 2];
        if qos > 0 {
            packet.copy_from_slice(&rest[..2]);
            rest = &rest[2..];
        }
        if self.version5 {
            assert_eq!(rest[0], 0, "no properties");
            rest = &rest[1..];
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Sent::Publish {
            topic: text(topic),
            payload: text(rest),
            qos,
            retain: first & 1 == 1,
            packet,
        }
    }

    /// Expects a publish and acknowledges it.
    async fn expect(&mut self, topic: &str, payload: &str, retain: bool) {
        let sent = self.next().await;
        let Sent::Publish { topic: on, payload: said, qos: 1, retain: retained, packet } = sent
        else {
            panic!("{sent:?}")
        };
        assert_eq!((on.as_str(), said.as_str(), retained), (topic, payload, retain));
        self.send(&[0x40, 2, packet[0], packet[1]]).await;
    }
}

struct Setup {
    listener: TcpListener,
    fleet: Fleet,
    stop: watch::Sender<bool>,
}

async fn one_device(version5: bool) -> Setup {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker =
        Broker { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let account = Account {
        id: "mh-001".to_owned(),
        secret: "s3cret".to_owned(),
        topic: "sewer/xizha/mh-001/up".to_owned(),
        status_topic: "devices/mh-001/status".to_owned(),
        version5,
    };
    let (stop, stopped) = watch::channel(false);
    let fleet = Fleet::start(vec![Some(account), None], &broker, &stopped);
    Setup { listener, fleet, stop }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn check_a_devices_life(version5: bool) {
    let Setup { listener, fleet, stop } = one_device(version5).await;
    let (mut peer, connect) = Peer::accept(&listener, version5).await;
    assert_eq!(connect[6], if version5 { 5 } else { 4 }, "protocol level");
    for text in ["mh-001", "s3cret", "devices/mh-001/status", "offline"] {
        assert!(contains(&connect, text), "{text}");
    }
    peer.expect("devices/mh-001/status", "online", true).await;
    fleet.publish(0, b"{}".to_vec());
    peer.expect("sewer/xizha/mh-001/up", "{}", false).await;
    fleet.publish(1, b"of a gate, which does not publish".to_vec());

    stop.send(true).unwrap();
    let goodbye = peer.next().await;
    assert!(
        matches!(&goodbye, Sent::Publish { payload, retain: true, .. } if payload == "offline"),
        "{goodbye:?}"
    );
    assert_eq!(peer.next().await, Sent::Disconnect);
    drop(peer);
    let totals = fleet.join().await;
    assert_eq!(totals.published.load(Relaxed), 1);
    assert_eq!(totals.connected.load(Relaxed), 0);
}

#[tokio::test]
async fn a_device_lives_and_leaves_on_3_1_1() {
    check_a_devices_life(false).await;
}

#[tokio::test]
async fn a_device_lives_and_leaves_on_5() {
    check_a_devices_life(true).await;
}

async fn check_unacknowledged(version5: bool) {
    let Setup { listener, fleet, stop } = one_device(version5).await;
    let (mut peer, _) = Peer::accept(&listener, version5).await;
    peer.expect("devices/mh-001/status", "online", true).await;
    fleet.publish(0, b"kept".to_vec());
    assert!(matches!(peer.next().await, Sent::Publish { .. }), "seen, not acknowledged");
    fleet.plug(0, false);
    assert_eq!(peer.next().await, Sent::Closed, "cut without a goodbye");
    fleet.plug(0, true);
    let (mut peer, _) = Peer::accept(&listener, version5).await;
    let mut again = [peer.next().await, peer.next().await].map(|sent| match sent {
        Sent::Publish { payload, .. } => payload,
        other => panic!("{other:?}"),
    });
    again.sort();
    assert_eq!(again, ["kept", "online"]);
    drop(peer);
    stop.send(true).unwrap();
    fleet.join().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_on_3_1_1() {
    check_unacknowledged(false).await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_on_5() {
    check_unacknowledged(true).await;
}

#[tokio::test]
async fn a_device_without_a_broker_drops_what_its_queue_cannot_hold() {
    let Setup { listener, fleet, stop } = one_device(false).await;
    // Its connection is accepted by the system and never answered.
    for _ in 0..QUEUE_MESSAGES + 10 {
        fleet.publish(0, b"{}".to_vec());
    }
    assert_eq!(fleet.totals().dropped.load(Relaxed), 10);
    stop.send(true).unwrap();
    let totals = tokio::time::timeout(Duration::from_secs(2), fleet.join()).await.unwrap();
    assert_eq!(totals.published.load(Relaxed), QUEUE_MESSAGES as u64);
    drop(listener);
}
