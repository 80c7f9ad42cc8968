//! A gateway with many units that does wrong by lot, over TCP or RTU frames. It shares no code with the client under
//! test but the checksum, which has its own test.
//!
//! Every register says who it is: of four in a row the first is the unit, the second table and address, the last two
//! the number of the question that it was made for. So a value that is another unit's, another address's, or the
//! answer to an earlier question, cannot look right.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::Endpoint;
use super::super::connection::Connect;
use super::super::frame::checksum;
use super::profile::TIMEOUT;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Wrong {
    Late,
    Short,
    Long,
    Twice,
    TwiceLater,
    ForeignTransaction,
    ForeignUnit,
    ForeignFunction,
    Damaged,
    Garbage,
    Exception,
    Silent,
    Close,
    CloseInTheMiddle,
    /// Right, but in pieces.
    Pieces,
}

const WRONGS: [Wrong; 15] = [
    Wrong::Late,
    Wrong::Short,
    Wrong::Long,
    Wrong::Twice,
    Wrong::TwiceLater,
    Wrong::ForeignTransaction,
    Wrong::ForeignUnit,
    Wrong::ForeignFunction,
    Wrong::Damaged,
    Wrong::Garbage,
    Wrong::Exception,
    Wrong::Silent,
    Wrong::Close,
    Wrong::CloseInTheMiddle,
    Wrong::Pieces,
];

/// Not 2 and 3: from those the poller learns, which `learning` is about.
const EXCEPTIONS: [u8; 6] = [1, 4, 5, 6, 0x0A, 0x0B];

struct State {
    rng: StdRng,
    is_rtu: bool,
    is_well: bool,
    asked: u32,
    wrongs: HashMap<Wrong, u32>,
    /// The number of the last question, by unit, function, first address and count.
    last: HashMap<(u8, u8, u16, u16), u32>,
    /// A unit answers in the order in which it was asked: not before this.
    busy_until: HashMap<u8, Instant>,
}

/// When a frame is sent, in which pieces; an empty one is the end.
type Frame = (Instant, Vec<Vec<u8>>);

/// A gateway; clones are the same gateway.
#[derive(Clone)]
pub(super) struct Chaos(Arc<Mutex<State>>);

impl Chaos {
    pub(super) fn new(seed: u64, is_rtu: bool) -> Self {
        Chaos(Arc::new(Mutex::new(State {
            rng: StdRng::seed_from_u64(seed),
            is_rtu,
            is_well: false,
            asked: 0,
            wrongs: HashMap::new(),
            last: HashMap::new(),
            busy_until: HashMap::new(),
        })))
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.0.lock().unwrap())
    }

    /// Does nothing wrong any more.
    pub(super) fn get_well(&self) {
        self.edit(|state| state.is_well = true);
    }

    /// How many questions came, and how many were answered wrongly, by what was wrong.
    pub(super) fn counts(&self) -> (u32, HashMap<Wrong, u32>) {
        self.edit(|state| (state.asked, state.wrongs.clone()))
    }

    /// Whether a value is the one that the last question for it was answered with.
    pub(super) fn is_right(&self, unit: u8, function: u8, address: u16, value: f64) -> bool {
        let value = value as u64;
        let is_its = value >> 48 == u64::from(unit)
            && (value >> 32) & 0xFFFF == u64::from(place(function, address));
        let number = (value & 0xFFFF_FFFF) as u32;
        let last = self.edit(|state| {
            let of_it = state.last.iter().filter(|((u, f, from, count), _)| {
                (*u, *f) == (unit, function) && (*from..from + count).contains(&address)
            });
            of_it.map(|(_, &number)| number).max()
        });
        is_its && last == Some(number)
    }

    async fn serve(self, stream: DuplexStream) {
        let (mut reader, writer) = tokio::io::split(stream);
        let (out, frames) = mpsc::unbounded_channel();
        let writing = tokio::spawn(write(writer, frames));
        while let Ok(question) = self.next(&mut reader).await {
            if !self.answer(&question, &out) {
                break;
            }
        }
        drop(out);
        let _ = writing.await;
    }

    async fn next(&self, reader: &mut ReadHalf<DuplexStream>) -> io::Result<Question> {
        let is_rtu = self.edit(|state| state.is_rtu);
        let mut bytes = [0; 12];
        let (transaction, body) = if is_rtu {
            let bytes = &mut bytes[..8];
            reader.read_exact(bytes).await?;
            assert_eq!(checksum(&bytes[..6]).to_le_bytes(), bytes[6..], "a whole question");
            (0, &bytes[..6])
        } else {
            reader.read_exact(&mut bytes).await?;
            (u16::from_be_bytes([bytes[0], bytes[1]]), &bytes[6..])
        };
        let u16_at = |i: usize| u16::from_be_bytes([body[i], body[i + 1]]);
        let (unit, function, address, count) = (body[0], body[1], u16_at(2), u16_at(4));
        Ok(Question { is_rtu, transaction, unit, function, address, count })
    }

    /// Decides what is wrong and sends it, now or later. False when the connection is to be closed.
    fn answer(&self, asked: &Question, out: &mpsc::UnboundedSender<Frame>) -> bool {
        self.edit(|state| {
            state.asked += 1;
            let number = state.asked;
            let Question { unit, function, address, count, .. } = *asked;
            state.last.insert((unit, function, address, count), number);
            let is_wrong = !state.is_well && state.rng.random_bool(0.5);
            let wrong = is_wrong.then(|| WRONGS[state.rng.random_range(0..WRONGS.len())]);
            if let Some(wrong) = wrong {
                *state.wrongs.entry(wrong).or_default() += 1;
            }
            let now = Instant::now();
            let usual = Duration::from_micros(state.rng.random_range(500..9_000));
            let free = state.busy_until.get(&unit).map_or(now, |&busy| busy.max(now));
            let mut at = free + usual;
            if wrong == Some(Wrong::Late) {
                // Past the timeout by a hair, or by so much that any quiet time is over.
                let most = if state.rng.random_bool(0.5) { 100 } else { 6_000 };
                at += TIMEOUT + Duration::from_millis(state.rng.random_range(0..most));
            }
            state.busy_until.insert(unit, at);
            let right = asked.right(number);
            let send_pieces = |at: Instant, pieces: Vec<Vec<u8>>| {
                let _ = out.send((at, pieces));
            };
            let send = |at: Instant, bytes: Vec<u8>| send_pieces(at, vec![bytes]);
            let Some(wrong) = wrong else {
                send(at, right);
                return true;
            };
            match wrong {
                Wrong::Close => return false,
                Wrong::CloseInTheMiddle => {
                    let cut = state.rng.random_range(1..right.len());
                    // Nothing comes behind the empty piece.
                    send_pieces(at, vec![right[..cut].to_vec(), Vec::new()]);
                    return false;
                }
                Wrong::Silent => {}
                Wrong::TwiceLater => {
                    send(at, right.clone());
                    let later = Duration::from_micros(state.rng.random_range(0..45_000));
                    send(at + later, right);
                }
                Wrong::Pieces => {
                    let cut = state.rng.random_range(1..right.len());
                    send_pieces(at, vec![right[..cut].to_vec(), right[cut..].to_vec()]);
                }
                wrong => send(at, asked.wrong(wrong, number, right, &mut state.rng)),
            }
            true
        })
    }
}

/// Writes each frame at its time.
async fn write(mut writer: WriteHalf<DuplexStream>, mut frames: mpsc::UnboundedReceiver<Frame>) {
    let mut waiting: Vec<Frame> = Vec::new();
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        let next =
            waiting.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(i, (at, _))| (i, *at));
        let due = async {
            match next {
                Some((i, at)) => {
                    sleep_until(at).await;
                    i
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            frame = frames.recv(), if is_open => match frame {
                Some(frame) => waiting.push(frame),
                None => is_open = false,
            },
            i = due => {
                for (n, piece) in waiting.remove(i).1.into_iter().enumerate() {
                    sleep(Duration::from_millis(2) * n as u32).await;
                    if piece.is_empty() || writer.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Question {
    is_rtu: bool,
    transaction: u16,
    unit: u8,
    function: u8,
    address: u16,
    count: u16,
}

fn place(function: u8, address: u16) -> u16 {
    u16::from(function) << 12 | address
}

impl Question {
    fn words(&self, number: u32, count: u16) -> Vec<u8> {
        let word = |i: u16| {
            let address = self.address + i;
            match address % 4 {
                0 => u16::from(self.unit),
                1 => place(self.function, address - 1),
                2 => (number >> 16) as u16,
                _ => number as u16,
            }
        };
        (0..count).flat_map(|i| word(i).to_be_bytes()).collect()
    }

    fn right(&self, number: u32) -> Vec<u8> {
        self.frame(&counted(self.words(number, self.count)))
    }

    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let pdu = [&[self.unit, self.function], payload].concat();
        if self.is_rtu {
            let sum = checksum(&pdu).to_le_bytes();
            return [&pdu[..], &sum].concat();
        }
        let mut frame = Vec::from(self.transaction.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend((pdu.len() as u16).to_be_bytes());
        frame.extend(pdu);
        frame
    }

    /// Never the right values: a question number that no question has.
    fn wrong(&self, wrong: Wrong, number: u32, right: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
        let poison = |count: u16| counted(self.words(u32::MAX - number, count));
        match wrong {
            Wrong::Short => self.frame(&poison(self.count.saturating_sub(4))),
            Wrong::Long => self.frame(&poison(self.count + 4)),
            Wrong::Twice => [right.clone(), right].concat(),
            Wrong::ForeignTransaction if !self.is_rtu => {
                let transaction = self.transaction.wrapping_add(rng.random_range(1..=u16::MAX));
                Question { transaction, ..*self }.frame(&poison(self.count))
            }
            Wrong::ForeignUnit => {
                let unit = self.unit % 10 + 1;
                Question { unit, ..*self }.frame(&poison(self.count))
            }
            Wrong::ForeignFunction => {
                Question { function: self.function ^ 7, ..*self }.frame(&poison(self.count))
            }
            Wrong::Exception => {
                let code = EXCEPTIONS[rng.random_range(0..EXCEPTIONS.len())];
                Question { function: self.function | 0x80, ..*self }.frame(&[code])
            }
            Wrong::Damaged | Wrong::ForeignTransaction if self.is_rtu => {
                let mut bytes = right;
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
                bytes
            }
            // TCP has its own checksum below: damage is a header that is none.
            Wrong::Damaged => {
                let mut bytes = right;
                bytes[2] = 7;
                bytes
            }
            Wrong::Garbage => (0..rng.random_range(1..80)).map(|_| rng.random()).collect(),
            _ => right,
        }
    }
}

fn counted(bytes: Vec<u8>) -> Vec<u8> {
    let mut payload = vec![bytes.len() as u8];
    payload.extend(bytes);
    payload
}

impl Connect for Chaos {
    type Stream = DuplexStream;

    async fn connect(&self, _endpoint: &Endpoint) -> io::Result<DuplexStream> {
        let (client, remote) = tokio::io::duplex(4_096);
        tokio::spawn(self.clone().serve(remote));
        Ok(client)
    }
}
