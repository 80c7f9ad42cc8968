//! Hostile services: the packets of several connections, valid, mutated and cut short, through the codec and the sessions.
//! After each of them everything that is bounded or counted is counted again.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use super::super::frame::{self, Frame, PacketType};
use super::super::session::RECEIVE_MAXIMUM;
use super::super::{codec, service};
use super::*;
use crate::clock::Clock;
use crate::fuzz::{Fuzz, corpus};

const CONNECTIONS: usize = 4;
const MAX_PACKET_BYTES: usize = 1024 * 1024;

/// What the hub publishes, of any size: many megabytes wait and nothing is copied.
static ZEROS: [u8; 31 * 32 * 1024] = [0; 31 * 32 * 1024];

impl Broker {
    /// Counts everything again.
    ///
    /// # Panics
    /// When something is out of its bounds, or is not what was counted.
    pub(super) fn check(&self) {
        let bytes: usize = self.sessions.values().map(Session::check).sum();
        assert_eq!(self.ledger.bytes, bytes, "the ledger");
        let waits = self.sessions.values().any(|session| session.waiting_bytes() > 0);
        assert!(!self.ledger.is_over() || !waits, "nothing waits when there is too much");
        let up = self.sessions.values().filter(|session| session.is_up()).count();
        assert!(up <= MAX_CONNECTED && self.sessions.len() <= MAX_SESSIONS);
        let mut interest: HashMap<&str, usize> = HashMap::new();
        for (id, session) in &self.sessions {
            assert_eq!(self.by_client.get(&session.client), Some(id));
            assert_eq!(session.away_since.is_some(), !session.is_up());
            assert_eq!(session.ends_at.is_some(), !session.is_up());
            assert!(session.subscriptions.len() <= MAX_SUBSCRIPTIONS);
            assert!(session.replays.len() <= session.subscriptions.len());
            assert!(session.unreleased.len() <= usize::from(RECEIVE_MAXIMUM));
            let aliases = session.link.as_ref().map_or(0, |link| link.aliases.len());
            assert!(aliases <= usize::from(TOPIC_ALIASES));
            for filter in session.subscriptions.keys() {
                *interest.entry(topics::share(filter).1).or_default() += 1;
            }
        }
        assert_eq!(self.by_client.len(), self.sessions.len());
        let known = self.interest.iter().map(|(filter, count)| (filter.as_str(), *count));
        assert_eq!(known.collect::<HashMap<_, _>>(), interest);
        assert_eq!(self.subscriptions.is_empty(), interest.is_empty(), "the tree of filters");
        self.retained.check();
    }
}

/// A broker, its connections, and what became of what they sent.
struct Play {
    broker: Broker,
    now: Instant,
    links: [Option<LinkId>; CONNECTIONS],
    accounts: [Arc<ServiceAccount>; 2],
    said: BTreeSet<String>,
}

impl Play {
    fn new() -> Self {
        let account = |name: &str, filter: &str| {
            let (publish, subscribe) = (vec![filter.to_owned()], vec![filter.to_owned()]);
            Arc::new(ServiceAccount { name: name.to_owned(), publish, subscribe })
        };
        Play {
            broker: Broker::new(Arc::new(SecurityLog::new(Clock::system()))),
            now: Instant::now(),
            links: [None; CONNECTIONS],
            accounts: [account("svc-a", "#"), account("svc-b", "t/#")],
            said: BTreeSet::new(),
        }
    }

    /// A byte says on which connection what happens; a packet, or a number, follows.
    fn play(&mut self, mut input: &[u8]) {
        while let [turn, rest @ ..] = input {
            let who = usize::from(turn & 3);
            input = rest;
            match turn >> 2 & 7 {
                0..=3 => match frame::next(rest, MAX_PACKET_BYTES) {
                    Ok(Some(frame)) => {
                        input = &rest[frame.whole.len()..];
                        self.packet(who, &frame);
                    }
                    Ok(None) => return,
                    Err(why) => self.ends(who, Parting::Lost, &why),
                },
                4 => self.read(who),
                5 => self.ends(who, Parting::Lost, &"lost"),
                what => {
                    let [number, rest @ ..] = rest else { return };
                    input = rest;
                    if what == 6 {
                        self.now += Duration::from_secs(u64::from(*number).pow(2));
                        self.broker.tick(self.now);
                    } else {
                        self.hub_publishes(who, *number);
                    }
                }
            }
            self.broker.check();
        }
    }

    fn packet(&mut self, who: usize, frame: &Frame<'_>) {
        let Some(link) = self.links[who] else {
            if frame.kind == PacketType::Connect {
                self.connect(who, frame);
            }
            return;
        };
        match self.broker.take(link, frame, self.now) {
            Ok(None) => {
                self.said.insert(format!("{:?}", frame.kind));
            }
            Ok(Some(parting)) => self.ends(who, parting, &parting),
            Err(why) => self.ends(who, Parting::Lost, &why),
        }
    }

    /// As the door does it, behind the check of name and secret.
    fn connect(&mut self, who: usize, frame: &Frame<'_>) {
        let hello = match codec::hello(frame) {
            Ok(hello) => hello,
            Err(why) => {
                self.said.insert(format!("{why:?}"));
                return;
            }
        };
        let account = Arc::clone(&self.accounts[who % 2]);
        let will = hello.will.as_ref().map(|will| check_publish(&account, &will.topic));
        if will.is_some_and(|checked| checked.is_err()) {
            return;
        }
        let client = format!("{}/{}", account.name, hello.connect.client_id);
        let arrival = service::arrival(&hello, account, client, self.now);
        match self.broker.connect(arrival, |_| vec![0x20, 2, 0, 0], self.now) {
            Ok((link, _)) => self.links[who] = Some(link),
            Err(why) => {
                self.said.insert(format!("{why:?}"));
            }
        }
    }

    fn ends(&mut self, who: usize, parting: Parting, why: &dyn std::fmt::Debug) {
        if let Some(link) = self.links[who].take() {
            let why: String = format!("{why:?}").chars().take(40).collect();
            self.said.insert(why);
            self.broker.part(link, parting, self.now);
        }
    }

    fn hub_publishes(&mut self, who: usize, number: u8) {
        let message = Message {
            topic: ["t", "t/u", "t/v/w", "x"][who].into(),
            payload: Bytes::from_static(&ZEROS[..usize::from(number >> 3) * 32 * 1024]),
            properties: Box::default(),
            qos: (number & 3).min(2),
            retain: number & 4 > 0,
            expires_at: None,
        };
        self.broker.publish_own(message, self.now);
    }

    /// Reads all that there is: whole packets, of types that a server sends.
    fn read(&mut self, who: usize) {
        let Some(link) = self.links[who] else { return };
        loop {
            match self.broker.take_out(link, self.now) {
                Err(why) => return self.ends(who, Parting::Lost, &why),
                Ok(out) if out.is_empty() => return,
                Ok(out) => {
                    let mut rest = &out[..];
                    while let [first, behind @ ..] = rest {
                        let length = frame::variable_integer(behind).expect("a length");
                        let (length, header) = length.expect("a whole length");
                        rest = &behind[header + length..];
                        let kind = first >> 4;
                        assert!(matches!(kind, 2..=7 | 9 | 11 | 13), "a packet of type {kind}");
                        self.said.insert(format!("read {kind}"));
                    }
                }
            }
        }
    }

    /// Everybody goes, and nothing is left.
    fn end(mut self) -> u64 {
        for who in 0..CONNECTIONS {
            self.ends(who, Parting::Lost, &"over");
        }
        self.now += Duration::from_secs(u64::from(LONGEST_EXPIRY));
        self.broker.tick(self.now);
        self.broker.check();
        assert!(self.broker.sessions.is_empty() && self.broker.deadline().is_none());
        let mut hasher = DefaultHasher::new();
        self.said.hash(&mut hasher);
        hasher.finish()
    }
}

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&[first, u8::try_from(body.len()).expect("a short packet")][..], &body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0, text.len() as u8][..], text.as_bytes()].concat()
}

/// Two clients with sessions that stay, one of each version; every way in which messages come, go, and come again.
fn seeds() -> Vec<Vec<u8>> {
    let connect4 = packet(
        0x10,
        &[&text("MQTT"), &[4, 0b0010_0100, 0, 60], &text("a"), &text("t/will"), &text("w")],
    );
    // With a session for a hundred seconds and a receive maximum of 2.
    let connect5 = packet(
        0x10,
        &[&text("MQTT"), &[5, 0, 0, 60, 8, 0x11, 0, 0, 0, 100, 0x21, 0, 2], &text("a")],
    );
    let subscribe4 = |filter: &str, qos: u8| packet(0x82, &[&[0, 9], &text(filter), &[qos]]);
    let subscribe5 =
        |filter: &str, qos: u8| packet(0x82, &[&[0, 9, 2, 0x0B, 7], &text(filter), &[qos]]);
    let publish4 = |qos: u8, id: u8| {
        packet(0x30 | qos << 1, &[&text("t/u"), &[0, id][..if qos > 0 { 2 } else { 0 }], b"p"])
    };
    let publish5 =
        |qos: u8, id: u8| packet(0x31 | qos << 1, &[&text("t/u"), &[0, id, 3, 0x23, 0, 1], b"p"]);
    let ack = |first: u8, id: u8| vec![first, 2, 0, id];
    let (own, read, lost, wait, hub) = (0_u8, 4 << 2, 5 << 2, 6 << 2, 7 << 2);
    let at = |who: u8, what: &[u8]| [&[own | who][..], what].concat();
    let both = [
        at(0, &connect4),
        at(1, &connect5),
        at(0, &subscribe4("t/#", 2)),
        at(1, &subscribe5("t/+", 1)),
    ];
    let both = both.concat();
    let acks =
        [0x40, 0x50, 0x70].map(|first| [at(0, &ack(first, 1)), at(1, &ack(first, 1))].concat());
    let acks = [acks.concat(), vec![read, read | 1]].concat();
    let to_all = |number: u8| vec![hub | 1, number, read, read | 1];
    let mut seeds = vec![
        [
            &both[..],
            &to_all(0x0A),
            &acks,
            &[lost, hub | 1, 0x0A, lost | 1, hub | 1, 0x09],
            &at(0, &connect4),
            &at(1, &connect5),
            &[read, read | 1],
            &acks,
        ]
        .concat(),
        [
            &both[..],
            &at(0, &publish4(0, 0)),
            &at(0, &publish4(1, 3)),
            &at(0, &publish4(2, 4)),
            &at(0, &ack(0x62, 4)),
            &at(1, &publish5(1, 3)),
            &[read, read | 1],
            &acks,
        ]
        .concat(),
        [
            &both[..],
            &at(1, &subscribe5("$share/g/t/#", 1)),
            &[lost, wait, 200, lost | 1],
            &[hub | 1, 0xFE].repeat(12),
            &[wait, 11],
            &at(3, &connect5),
            &[read | 3],
        ]
        .concat(),
        [
            &both[..],
            &at(2, &connect4),
            &[hub, 0x0E, read | 2],
            &at(2, &packet(0xA2, &[&[0, 9], &text("t/#")])),
            &[read | 2],
            &at(2, &[0xE0, 0]),
        ]
        .concat(),
        [&both[..], &at(1, &[0xE0, 7, 4, 5, 0x11, 0, 0, 0, 9]), &[wait, 2, wait, 4]].concat(),
    ];
    // Single packets of every form, on a connection of each version.
    seeds.extend(
        corpus("mqtt")
            .iter()
            .map(|bytes| [&both[..], &at(0, bytes), &at(1, bytes), &[read, read | 1]].concat()),
    );
    seeds
}

#[test]
fn services() {
    let fuzz = Fuzz {
        name: "services",
        usual: 3_000,
        thorough: 400_000,
        seeds: seeds(),
        most_bytes: 2_048,
    };
    fuzz.run(|input| {
        let mut play = Play::new();
        play.play(input);
        play.end()
    });
}

/// The seeds do what they are there for: else the target would look at refusals only.
#[test]
fn the_seeds_of_services_reach_the_sessions() {
    let mut said = BTreeSet::new();
    for seed in seeds() {
        let mut play = Play::new();
        play.play(&seed);
        said.append(&mut play.said);
    }
    for kind in ["Publish", "PubAck", "PubRec", "PubRel", "PubComp", "Subscribe", "Unsubscribe"] {
        assert!(said.contains(kind), "{kind}: {said:?}");
    }
    for kind in [2, 3, 4, 5, 6, 7, 9, 11] {
        assert!(said.contains(&format!("read {kind}")), "{kind}: {said:?}");
    }
}
