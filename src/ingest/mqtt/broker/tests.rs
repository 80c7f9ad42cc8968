//! The broker alone: events in, bytes out, time by hand. What the standards say stands in `tests/hub`; here are the bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::super::frame;
use super::super::kept::Disk;
use super::*;
use crate::clock::Clock;
use crate::model::Timestamp;

/// A broker, its time, and what it does with whole packets.
struct Bench {
    broker: Broker,
    now: Instant,
    /// What its clients may subscribe to.
    grant: &'static str,
}

impl Bench {
    fn new() -> Self {
        let log = Arc::new(SecurityLog::new(Clock::system()));
        Bench { broker: Broker::new(log), now: Instant::now(), grant: "#" }
    }

    fn try_connect(&mut self, client: &str, expiry: u32, window: u16) -> Result<LinkId, Refusal> {
        let account = ServiceAccount {
            name: "svc-t".to_owned(),
            publish: vec!["#".to_owned()],
            subscribe: vec![self.grant.to_owned()],
        };
        let arrival = Arrival {
            client: client.to_owned(),
            version: Version::V5,
            account: Arc::new(account),
            is_clean: expiry == 0,
            expiry,
            receive_maximum: window,
            max_packet_bytes: usize::MAX,
            will: None,
        };
        self.broker.connect(arrival, |_| Vec::new(), self.now).map(|(link, _)| link)
    }

    fn connect(&mut self, client: &str, expiry: u32, window: u16) -> LinkId {
        self.try_connect(client, expiry, window).expect("there is room")
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, time: Timestamp::from_secs(1_000) }
    }

    fn keep(&mut self, disk: &mut Disk) {
        let moment = self.moment();
        let changes = self.broker.changes(moment);
        disk.write(&changes, moment).expect("written");
    }

    /// Another broker, with what this one's disk has.
    fn restarted(&self, disk: &Disk) -> Bench {
        let mut bench = Bench { now: self.now, ..Bench::new() };
        let (sessions, retained) = disk.read(self.moment()).expect("read");
        bench.broker.take_up(sessions, retained, self.moment());
        bench.broker.check();
        bench
    }

    /// What is kept of every client.
    fn summary(&self) -> BTreeMap<String, String> {
        let kept = self.broker.sessions.values().filter(|session| session.expiry > 0);
        let of = |session: &Session| {
            let subscriptions: BTreeMap<_, _> = session.subscriptions.iter().collect();
            let unreleased: BTreeSet<_> = session.unreleased.iter().collect();
            let (waits, way) = (session.waiting(), session.under_way());
            format!("{subscriptions:?} {unreleased:?} {waits:?} {way:?} {}", session.last_id())
        };
        kept.map(|session| (session.client.clone(), of(session))).collect()
    }

    fn send(&mut self, link: LinkId, packet: &[u8]) -> Result<Option<Parting>, Refusal> {
        let frame = frame::next(packet, 1 << 20).expect("a frame").expect("a whole one");
        self.broker.take(link, &frame, self.now)
    }

    fn subscribe(&mut self, link: LinkId, filter: &str, qos: u8) {
        let body = [&[0, 1, 0, 0, filter.len() as u8], filter.as_bytes(), &[qos]].concat();
        let packet = [&[0x82, body.len() as u8][..], &body].concat();
        assert_eq!(self.send(link, &packet), Ok(None));
    }

    fn publish(&mut self, topic: &str, qos: u8, payload: Vec<u8>) {
        let message = Message {
            topic: topic.into(),
            payload: payload.into(),
            properties: Box::default(),
            qos,
            retain: false,
            expires_at: None,
        };
        self.broker.publish_own(message, self.now);
    }

    /// The payloads' first bytes of all PUBLISH packets that wait for the socket, each acknowledged.
    fn read_all(&mut self, link: LinkId) -> Vec<u8> {
        let mut payloads = Vec::new();
        loop {
            let out = self.broker.take_out(link, self.now).expect("connected");
            if out.is_empty() {
                return payloads;
            }
            let mut rest = &out[..];
            while let Some((length, header)) =
                frame::variable_integer(&rest[1.min(rest.len())..]).expect("a length")
            {
                let packet = &rest[..1 + header + length];
                rest = &rest[packet.len()..];
                let body = &packet[1 + header..];
                let topic = usize::from(body[1]);
                match packet[0] & 0xF6 {
                    0x30 => payloads.push(body[3 + topic]),
                    0x32 => {
                        payloads.push(body[5 + topic]);
                        let ack = [0x40, 2, body[2 + topic], body[3 + topic]];
                        assert_eq!(self.send(link, &ack), Ok(None));
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_queue_that_is_full_loses_its_oldest() {
    let mut bench = Bench::new();
    let link = bench.connect("a", 100, 10);
    bench.subscribe(link, "t", 1);
    bench.broker.part(link, Parting::Lost, bench.now);
    for n in 0..12 {
        bench.publish("t", 1, vec![n; 1024 * 1024]);
    }
    // Eight megabytes, with what a message costs beside its payload.
    assert_eq!(bench.broker.dropped(), 5);
    let link = bench.connect("a", 100, 10);
    assert_eq!(bench.read_all(link), [5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(bench.broker.ledger.bytes, 0);
}

#[test]
fn who_does_not_read_loses_qos_0_and_costs_a_bounded_memory() {
    let mut bench = Bench::new();
    let link = bench.connect("a", 0, 10);
    bench.subscribe(link, "t", 0);
    for n in 0..200 {
        bench.publish("t", 0, vec![n; 10 * 1024]);
    }
    let kept = bench.read_all(link).len() as u64;
    assert_eq!((kept, bench.broker.dropped()), (26, 200 - 26), "a quarter of a megabyte");
}

#[test]
fn all_that_is_retained_comes_however_much_it_is() {
    let mut bench = Bench::new();
    for n in 0..5_000_u16 {
        let message = Message {
            topic: format!("devices/{n:05}/status").into(),
            payload: vec![b'x'; 200].into(),
            properties: Box::default(),
            qos: 1,
            retain: true,
            expires_at: None,
        };
        bench.broker.publish_own(message, bench.now);
    }
    for qos in [0, 1] {
        let link = bench.connect("a", 0, 10);
        bench.subscribe(link, "devices/+/status", qos);
        assert_eq!(bench.read_all(link).len(), 5_000);
    }
    assert_eq!(bench.broker.dropped(), 0);
}

#[test]
fn sessions_are_bounded_and_end_in_time() {
    let mut bench = Bench::new();
    let begin = bench.now;
    for n in 0..MAX_SESSIONS {
        let link = bench.connect(&format!("c{n}"), 100, 10);
        bench.broker.part(link, Parting::Lost, bench.now);
        bench.now += Duration::from_millis(1);
    }
    assert_eq!(bench.broker.deadline(), Some(begin + Duration::from_secs(100)));
    bench.now += Duration::from_secs(100);
    bench.broker.tick(bench.now);
    assert_eq!(bench.broker.deadline(), None);
    assert!(bench.broker.sessions.is_empty());
}

#[test]
fn a_newcomer_takes_the_place_of_who_is_away_longest() {
    let mut bench = Bench::new();
    let stays = bench.connect("stays", 100, 10);
    let kept = |n: usize| format!("c{n}");
    for n in 1..MAX_SESSIONS {
        let link = bench.connect(&kept(n), 100, 10);
        bench.broker.part(link, Parting::Lost, bench.now);
        bench.now += Duration::from_millis(1);
    }
    // Who was back is not away longest any more.
    let back = bench.connect(&kept(1), 100, 10);
    bench.broker.part(back, Parting::Lost, bench.now);
    bench.connect("one-more", 0, 10);
    assert_eq!(bench.broker.sessions.len(), MAX_SESSIONS);
    let is_there = |bench: &Bench, client: &str| bench.broker.by_client.contains_key(client);
    assert!(!is_there(&bench, &kept(2)) && is_there(&bench, &kept(1)));
    assert!(is_there(&bench, &kept(3)) && is_there(&bench, "one-more"));
    assert_eq!(bench.send(stays, &[0xC0, 0]), Ok(None), "who is there is left alone");
    let counted = bench.broker.log.counts().find(|(reason, _)| *reason == "too_many_sessions");
    assert_eq!(counted, Some(("too_many_sessions", 1)));
}

/// Away clients that leave no room, 8 MiB each; each has a topic of its own.
fn fill_with_away(bench: &mut Bench) {
    for n in 0..16 {
        let (client, topic) = (format!("away-{n:02}"), format!("away/{n:02}"));
        let link = bench.connect(&client, 100, 10);
        bench.subscribe(link, &topic, 1);
        bench.broker.part(link, Parting::Lost, bench.now);
        bench.now += Duration::from_millis(1);
        for _ in 0..8 {
            bench.publish(&topic, 1, vec![n; 1024 * 1024 - 200]);
        }
    }
    assert_eq!(bench.broker.dropped(), 0);
}

#[test]
fn what_waits_for_the_away_goes_before_what_waits_for_the_connected() {
    let mut bench = Bench::new();
    fill_with_away(&mut bench);
    // It reads later: more than is sent ahead of its acknowledgements waits.
    let link = bench.connect("there", 100, 1);
    bench.subscribe(link, "t", 1);
    for n in 0..8 {
        bench.publish("t", 1, vec![n; 1024 * 1024 - 200]);
    }
    assert!(!bench.broker.ledger.is_over());
    assert_eq!(bench.read_all(link), [0, 1, 2, 3, 4, 5, 6, 7]);
    // The one that was away longest has lost its messages, the next one none.
    let lost = bench.broker.dropped();
    assert!((7..=8).contains(&lost), "{lost}");
    let first = bench.connect("away-00", 100, 10);
    assert_eq!(bench.read_all(first).len() as u64, 8 - lost);
    let second = bench.connect("away-01", 100, 10);
    assert_eq!(bench.read_all(second), [1; 8]);
}

#[test]
fn what_is_under_way_to_the_away_goes_too_and_a_reader_does_not_pay_for_who_does_not_read() {
    let mut bench = Bench::new();
    for n in 0..40 {
        let link = bench.connect(&format!("away-{n}"), 100, 10);
        bench.subscribe(link, &format!("a/{n}"), 1);
        for _ in 0..4 {
            bench.publish(&format!("a/{n}"), 1, vec![0; 1024 * 1024 - 200]);
            bench.broker.take_out(link, bench.now).expect("connected");
        }
        bench.broker.part(link, Parting::Lost, bench.now);
        bench.now += Duration::from_millis(1);
    }
    assert!(!bench.broker.ledger.is_over());
    assert_eq!(bench.broker.sessions.len(), 32, "four megabytes each are under way");

    let mut bench = Bench::new();
    for n in 0..20 {
        let link = bench.connect(&format!("slow-{n}"), 0, 1);
        bench.subscribe(link, "slow", 1);
    }
    let reader = bench.connect("reader", 0, 10);
    bench.subscribe(reader, "fast", 1);
    for _ in 0..9 {
        bench.publish("slow", 1, vec![0; 1024 * 1024 - 200]);
    }
    let before = bench.broker.dropped();
    assert!(before > 0 && !bench.broker.ledger.is_over());
    for n in 0..9 {
        bench.publish("fast", 1, vec![n; 1024 * 1024 - 200]);
        assert_eq!(bench.read_all(reader), [n]);
    }
    assert!(bench.broker.dropped() > before, "of those who do not read");
}

#[test]
fn a_session_whose_grants_are_gone_begins_anew() {
    let mut bench = Bench::new();
    let link = bench.connect("a", 100, 10);
    bench.subscribe(link, "t/secret", 1);
    bench.broker.part(link, Parting::Lost, bench.now);
    bench.publish("t/secret", 1, vec![1]);
    bench.grant = "t/open";
    let link = bench.connect("a", 100, 10);
    bench.publish("t/secret", 1, vec![2]);
    assert!(bench.read_all(link).is_empty());
    assert_eq!(bench.broker.changed_interest(), Some(vec![]));
}

#[test]
fn a_session_goes_on_after_a_restart() {
    let mut disk = Disk::open(Path::new(":memory:")).expect("a file");
    let mut bench = Bench::new();
    let link = bench.connect("a", 100, 2);
    bench.subscribe(link, "t", 2);
    for n in 1..=4 {
        bench.publish("t", 2, vec![n]);
    }
    let sent = bench.broker.take_out(link, bench.now).expect("connected");
    assert!(!sent.is_empty());
    // The first one is received and not done, the second one is under way, two wait.
    assert_eq!(bench.send(link, &[0x50, 2, 0, 1]), Ok(None));
    let message = Message {
        topic: "state".into(),
        payload: vec![9].into(),
        properties: Box::default(),
        qos: 1,
        retain: true,
        expires_at: None,
    };
    bench.broker.publish_own(message, bench.now);
    let other = bench.connect("gone", 100, 2);
    bench.subscribe(other, "t", 1);
    bench.keep(&mut disk);
    bench.broker.part(link, Parting::Lost, bench.now);
    bench.publish("t", 1, vec![5]);
    let goodbye = Parting::Goodbye { with_will: false, expiry: Some(0) };
    bench.broker.part(other, goodbye, bench.now);
    bench.keep(&mut disk);
    assert!(bench.broker.changes(bench.moment()).is_empty());

    let mut after = bench.restarted(&disk);
    assert_eq!(after.summary(), bench.summary());
    assert_eq!(after.broker.changed_interest(), Some(vec!["t".into()]));
    let link = after.connect("a", 100, 10);
    let out = after.broker.take_out(link, after.now).expect("connected");
    let publish = |first, id, payload| vec![first, 7, 0, 1, b't', 0, id, 0, payload];
    let expected = [
        vec![0x62, 2, 0, 1],
        publish(0x3C, 2, 2),
        publish(0x34, 3, 3),
        publish(0x34, 4, 4),
        publish(0x32, 5, 5),
    ];
    assert_eq!(out, expected.concat(), "the release, the repetition, and what waited");
    after.subscribe(link, "state", 0);
    let out = after.broker.take_out(link, after.now).expect("connected");
    assert!(out.ends_with(&[0, 9]), "what was retained: {out:?}");

    bench.now += Duration::from_secs(100);
    let late = Moment { now: bench.now, time: Timestamp::from_secs(1_100) };
    let (sessions, retained) = disk.read(late).expect("read");
    let mut broker = Bench::new().broker;
    broker.take_up(sessions, retained, late);
    assert!(broker.sessions.is_empty(), "its time is over");
    disk.write(&broker.changes(late), late).expect("written");
    assert!(disk.read(late).expect("read").0.is_empty());
}

#[test]
fn a_disk_that_failed_is_told_everything() {
    let mut bench = Bench::new();
    let link = bench.connect("a", 100, 2);
    bench.subscribe(link, "t", 1);
    bench.broker.part(link, Parting::Lost, bench.now);
    bench.publish("t", 1, vec![1]);
    let mut disk = Disk::open(Path::new(":memory:")).expect("a file");
    bench.keep(&mut disk);
    bench.publish("t", 1, vec![2]);
    assert!(!bench.broker.changes(bench.moment()).is_empty());
    bench.broker.disk_failed();
    bench.keep(&mut disk);
    assert_eq!(bench.restarted(&disk).summary(), bench.summary());
}

#[test]
fn what_nobody_subscribes_to_any_more_is_no_interest() {
    let mut bench = Bench::new();
    let [a, b] = ["a", "b"].map(|client| bench.connect(client, 0, 10));
    bench.subscribe(a, "t/#", 1);
    bench.subscribe(b, "$share/g/t/#", 1);
    assert_eq!(bench.broker.changed_interest(), Some(vec!["t/#".into()]));
    bench.broker.part(a, Parting::Lost, bench.now);
    assert_eq!(bench.broker.changed_interest(), None, "the other one is still there");
    bench.broker.part(b, Parting::Lost, bench.now);
    assert_eq!(bench.broker.changed_interest(), Some(vec![]));
}

/// What may happen to three clients.
#[derive(Debug, Clone)]
enum Event {
    Connect(usize, u32, u16),
    Part(usize),
    Subscribe(usize, u8),
    Publish(u8, usize),
    Acknowledge(usize, u8, u16),
    Read(usize),
    Wait(u64),
    Keep,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..3_usize;
    prop_oneof![
        2 => (client.clone(), 0..4_u32, 1..4_u16).prop_map(|(c, e, w)| Event::Connect(c, e, w)),
        1 => client.clone().prop_map(Event::Part),
        2 => (client.clone(), 0..3_u8).prop_map(|(c, q)| Event::Subscribe(c, q)),
        8 => (0..3_u8, 0..3_000_000_usize).prop_map(|(q, n)| Event::Publish(q, n)),
        8 => (client.clone(), 4..8_u8, 1..6_u16).prop_map(|(c, k, i)| Event::Acknowledge(c, k, i)),
        3 => client.prop_map(Event::Read),
        1 => (0..3_u64).prop_map(Event::Wait),
        1 => Just(Event::Keep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_that_happens_breaks_the_books(events in proptest::collection::vec(event(), 1..60)) {
        let mut bench = Bench::new();
        let mut links = [None; 3];
        let mut disk = Disk::open(Path::new(":memory:")).expect("a file");
        for event in events {
            match event {
                Event::Connect(client, expiry, window) => {
                    links[client] = Some(bench.connect(&client.to_string(), expiry, window));
                }
                Event::Part(client) => if let Some(link) = links[client].take() {
                    bench.broker.part(link, Parting::Lost, bench.now);
                },
                Event::Subscribe(client, qos) => if let Some(link) = links[client] {
                    bench.subscribe(link, "t", qos);
                },
                Event::Publish(qos, size) => bench.publish("t", qos, vec![0; size]),
                Event::Acknowledge(client, kind, id) => if let Some(link) = links[client] {
                    let flags = if kind == 6 { 2 } else { 0 };
                    let packet = [kind << 4 | flags, 2, 0, id as u8];
                    prop_assert_eq!(bench.send(link, &packet), Ok(None));
                },
                Event::Read(client) => if let Some(link) = links[client] {
                    bench.broker.take_out(link, bench.now).expect("connected");
                },
                Event::Keep => {
                    bench.keep(&mut disk);
                    prop_assert_eq!(bench.restarted(&disk).summary(), bench.summary());
                }
                Event::Wait(seconds) => {
                    bench.now += Duration::from_secs(seconds);
                    bench.broker.tick(bench.now);
                }
            }
            bench.broker.check();
        }
        for link in links.into_iter().flatten() {
            bench.broker.part(link, Parting::Lost, bench.now);
        }
        bench.now += Duration::from_secs(10);
        bench.broker.tick(bench.now);
        prop_assert!(bench.broker.sessions.is_empty() && bench.broker.by_client.is_empty());
        prop_assert_eq!(bench.broker.ledger.bytes, 0);
    }
}
