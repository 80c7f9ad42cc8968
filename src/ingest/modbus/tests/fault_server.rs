//! A hand-written Modbus server that does, on demand, everything that field devices do wrong. It shares no
//! code with the client under test.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::super::Endpoint;
use super::super::connection::Connect;
use super::profile::{bit, word};
use crate::profile::Table;

/// Never the value of any register.
const POISON: u16 = 0xDEAD;

/// What is wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The right answer, this much later.
    Late(Duration),
    /// One value fewer than asked for, else well-formed.
    Short,
    /// One value more than asked for, else well-formed.
    Long,
    /// The byte count promises more than there is.
    Cut,
    ForeignTransaction,
    ForeignUnit,
    ForeignFunction,
    Exception(u8),
    /// No answer.
    Silent,
    /// Half an answer, then the end.
    CloseMidAnswer,
    /// The end instead of an answer.
    Close,
    /// Bytes that are no Modbus.
    Garbage,
    /// A poisoned answer with a foreign transaction, then the right one.
    ForeignBeforeRight,
    /// The right answer, then a poisoned one to the same question.
    TwoAnswers,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) unit: u8,
}

#[derive(Debug, Default)]
struct State {
    once: HashMap<u8, VecDeque<Wrong>>,
    always: HashMap<u8, Wrong>,
    asked: Vec<Asked>,
    connect_tries: Vec<Instant>,
    connections: usize,
    refuses: bool,
    close_after: Option<usize>,
    forbidden: HashMap<u8, RangeInclusive<u16>>,
    longest: Option<u16>,
    on_write: VecDeque<Wrong>,
    written: Vec<Written>,
    /// What writes left, by unit, whether it is a coil, and address. Reads do not see it: the tests know what those say.
    memory: HashMap<(u8, bool, u16), u16>,
}

/// A write as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) function: u8,
}

/// A server; clones are the same server.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultServer(Arc<Mutex<State>>);

impl FaultServer {
    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.0.lock().unwrap())
    }

    /// Does this wrong with the next answer of `unit`.
    pub(super) fn once(&self, unit: u8, wrong: Wrong) {
        self.edit(|state| state.once.entry(unit).or_default().push_back(wrong));
    }

    /// Does this wrong with every answer of `unit` until told otherwise.
    pub(super) fn always(&self, unit: u8, wrong: Option<Wrong>) {
        self.edit(|state| match wrong {
            Some(wrong) => state.always.insert(unit, wrong),
            None => state.always.remove(&unit),
        });
    }

    /// Refuses connections, or no longer.
    pub(super) fn refuse(&self, refuses: bool) {
        self.edit(|state| state.refuses = refuses);
    }

    /// Closes every connection after this many answers, as if it had been idle.
    pub(super) fn close_after(&self, answers: usize) {
        self.edit(|state| state.close_after = Some(answers));
    }

    /// Refuses reads of these addresses of a table, and of no others of it, with exception 2.
    pub(super) fn forbid(&self, table: Table, addresses: RangeInclusive<u16>) {
        let function = match table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        };
        self.edit(|state| state.forbidden.insert(function, addresses));
    }

    /// Refuses longer reads with exception 3.
    pub(super) fn longest(&self, count: u16) {
        self.edit(|state| state.longest = Some(count));
    }

    /// Carries out the next write and does this wrong with its answer; an exception is no carrying out.
    pub(super) fn on_write(&self, wrong: Wrong) {
        self.edit(|state| state.on_write.push_back(wrong));
    }

    /// Every write so far.
    pub(super) fn written(&self) -> Vec<Written> {
        self.edit(|state| state.written.clone())
    }

    /// What was written to a holding register.
    pub(super) fn holding(&self, unit: u8, address: u16) -> u16 {
        self.edit(|state| state.memory.get(&(unit, false, address)).copied().unwrap_or_default())
    }

    /// What was written to a coil.
    pub(super) fn coil(&self, unit: u8, address: u16) -> bool {
        self.edit(|state| state.memory.get(&(unit, true, address)) == Some(&1))
    }

    /// Every request so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.edit(|state| state.asked.clone())
    }

    /// Every connection that was accepted.
    pub(super) fn connections(&self) -> usize {
        self.edit(|state| state.connections)
    }

    /// When somebody tried to connect.
    pub(super) fn connect_tries(&self) -> Vec<Instant> {
        self.edit(|state| state.connect_tries.clone())
    }

    /// Serves real sockets for ever.
    pub(super) async fn listen(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.edit(|state| state.connections += 1);
            tokio::spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut answers = 0;
        // An error is the client's leaving, which is its right.
        while let Ok(true) = self.answer(&mut stream).await {
            answers += 1;
            if self.edit(|state| state.close_after).is_some_and(|limit| answers >= limit) {
                return;
            }
        }
    }

    /// Answers one request; false when the connection is to be closed.
    async fn answer(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<bool> {
        let mut header = [0; 6];
        stream.read_exact(&mut header).await?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        stream.read_exact(&mut body).await?;
        if body[1] > 4 {
            return self.answer_write(&header, &body, stream).await;
        }
        let request = [&header[..], &body].concat();
        let asked = Question::parse(request.as_slice().try_into().expect("a read request"));
        if let Some(code) = self.edit(|state| state.refusal(asked)) {
            self.edit(|state| state.asked.push(Asked { at: Instant::now(), unit: asked.unit }));
            let refusal = Question { function: asked.function | 0x80, ..asked }.frame(&[code]);
            stream.write_all(&refusal).await?;
            return Ok(true);
        }
        let wrong = self.edit(|state| {
            let unit = asked.unit;
            state.asked.push(Asked { at: Instant::now(), unit });
            let once = state.once.get_mut(&unit).and_then(VecDeque::pop_front);
            once.or_else(|| state.always.get(&unit).copied())
        });
        let right = asked.frame(&asked.right_payload());
        let bytes = match wrong {
            None => right,
            Some(Wrong::Late(by)) => {
                sleep(by).await;
                right
            }
            Some(Wrong::Silent) => return Ok(true),
            Some(Wrong::Close) => return Ok(false),
            Some(Wrong::CloseMidAnswer) => {
                stream.write_all(&right[..right.len() - 1]).await?;
                return Ok(false);
            }
            Some(wrong) => asked.wrong_answer(wrong, right),
        };
        stream.write_all(&bytes).await?;
        Ok(true)
    }
}

impl FaultServer {
    async fn answer_write(
        &self,
        header: &[u8; 6],
        body: &[u8],
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        let (unit, function) = (body[0], body[1]);
        let wrong = self.edit(|state| {
            state.written.push(Written { function });
            state.on_write.pop_front()
        });
        let transaction = u16::from_be_bytes([header[0], header[1]]);
        let asked = Question { transaction, unit, function, address: 0, count: 1 };
        if let Some(Wrong::Exception(code)) = wrong {
            let refusal = Question { function: function | 0x80, ..asked }.frame(&[code]);
            stream.write_all(&refusal).await?;
            return Ok(true);
        }
        let right = asked.frame(&self.edit(|state| state.carry_out(body)));
        match wrong {
            None => stream.write_all(&right).await?,
            Some(Wrong::Silent) => {}
            Some(Wrong::Close) => return Ok(false),
            Some(Wrong::CloseMidAnswer) => {
                stream.write_all(&right[..right.len() - 1]).await?;
                return Ok(false);
            }
            Some(Wrong::Late(by)) => {
                sleep(by).await;
                stream.write_all(&right).await?;
            }
            Some(wrong) => stream.write_all(&asked.wrong_answer(wrong, right)).await?,
        }
        Ok(true)
    }
}

impl State {
    fn refusal(&self, asked: Question) -> Option<u8> {
        let mut addresses = asked.address..=asked.address + (asked.count - 1);
        let forbidden = self.forbidden.get(&asked.function);
        if forbidden.is_some_and(|forbidden| addresses.any(|at| forbidden.contains(&at))) {
            return Some(2);
        }
        self.longest.filter(|&longest| asked.count > longest).map(|_| 3)
    }

    /// Carries out a write; returns the answer behind the function.
    fn carry_out(&mut self, body: &[u8]) -> Vec<u8> {
        let (unit, function) = (body[0], body[1]);
        let u16_at = |i: usize| u16::from_be_bytes([body[i], body[i + 1]]);
        let address = u16_at(2);
        let words = |from: usize| body[from..].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]]));
        match function {
            5 => _ = self.memory.insert((unit, true, address), u16::from(u16_at(4) == 0xFF00)),
            6 => _ = self.memory.insert((unit, false, address), u16_at(4)),
            15 => {
                for i in 0..u16_at(4) {
                    let value = body[7 + usize::from(i / 8)] >> (i % 8) & 1;
                    self.memory.insert((unit, true, address + i), value.into());
                }
            }
            16 => words(7).zip(address..).for_each(|(word, at)| {
                self.memory.insert((unit, false, at), word);
            }),
            22 => {
                let (and, or) = (u16_at(4), u16_at(6));
                let word = self.memory.entry((unit, false, address)).or_default();
                *word = (*word & and) | (or & !and);
                return body[2..].to_vec();
            }
            _ => {
                words(11).zip(u16_at(6)..).for_each(|(word, at)| {
                    self.memory.insert((unit, false, at), word);
                });
                let word = |at| self.memory.get(&(unit, false, at)).copied().unwrap_or_default();
                let read = (address..address + u16_at(4)).flat_map(|at| word(at).to_be_bytes());
                return counted(read.collect());
            }
        }
        body[2..6].to_vec()
    }
}

#[derive(Debug, Clone, Copy)]
struct Question {
    transaction: u16,
    unit: u8,
    function: u8,
    address: u16,
    count: u16,
}

impl Question {
    fn parse(bytes: &[u8; 12]) -> Self {
        let u16_at = |i: usize| u16::from_be_bytes([bytes[i], bytes[i + 1]]);
        assert_eq!((u16_at(2), u16_at(4)), (0, 6), "a read request");
        let (unit, function) = (bytes[6], bytes[7]);
        Question { transaction: u16_at(0), unit, function, address: u16_at(8), count: u16_at(10) }
    }

    fn is_bits(self) -> bool {
        self.function <= 2
    }

    /// Byte count and values.
    fn right_payload(self) -> Vec<u8> {
        if self.is_bits() {
            let mut bytes = vec![0; usize::from(self.count).div_ceil(8)];
            for i in 0..self.count {
                let value = u8::from(bit(self.unit, self.address + i));
                bytes[usize::from(i / 8)] |= value << (i % 8);
            }
            counted(bytes)
        } else {
            let value = |i| word(self.unit, self.function == 4, self.address + i);
            counted((0..self.count).flat_map(|i| value(i).to_be_bytes()).collect())
        }
    }

    fn poison(self, count: u16) -> Vec<u8> {
        let bytes = if self.is_bits() { count.div_ceil(8) } else { count * 2 };
        counted(POISON.to_be_bytes().into_iter().cycle().take(usize::from(bytes)).collect())
    }

    fn frame(self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::from(self.transaction.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend((payload.len() as u16 + 2).to_be_bytes());
        frame.extend([self.unit, self.function]);
        frame.extend(payload);
        frame
    }

    fn wrong_answer(self, wrong: Wrong, right: Vec<u8>) -> Vec<u8> {
        let poison = self.poison(self.count);
        // A bit's answer is short or long by a whole byte.
        let step = if self.is_bits() { 8 } else { 1 };
        let foreign = Question { transaction: self.transaction ^ 0x5555, ..self };
        match wrong {
            Wrong::Short => self.frame(&self.poison(self.count.saturating_sub(step))),
            Wrong::Long => self.frame(&self.poison(self.count + step)),
            Wrong::Cut => self.frame(&poison[..poison.len() - 1]),
            Wrong::ForeignTransaction => foreign.frame(&poison),
            Wrong::ForeignUnit => Question { unit: self.unit ^ 0x40, ..self }.frame(&poison),
            Wrong::ForeignFunction => {
                Question { function: self.function ^ 0x07, ..self }.frame(&poison)
            }
            Wrong::Exception(code) => {
                Question { function: self.function | 0x80, ..self }.frame(&[code])
            }
            Wrong::Garbage => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Wrong::ForeignBeforeRight => [foreign.frame(&poison), right].concat(),
            Wrong::TwoAnswers => [right, self.frame(&poison)].concat(),
            Wrong::Late(_) | Wrong::Silent | Wrong::Close | Wrong::CloseMidAnswer => right,
        }
    }
}

fn counted(bytes: Vec<u8>) -> Vec<u8> {
    let mut payload = vec![bytes.len() as u8];
    payload.extend(bytes);
    payload
}

/// Reaches fault servers through pipes in memory, by endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipes(pub(super) HashMap<String, FaultServer>);

impl Connect for Pipes {
    type Stream = tokio::io::DuplexStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Self::Stream> {
        let server = self.0.get(endpoint.as_str()).ok_or(io::ErrorKind::HostUnreachable)?;
        let refuses = server.edit(|state| {
            state.connect_tries.push(Instant::now());
            state.connections += usize::from(!state.refuses);
            state.refuses
        });
        if refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, remote) = tokio::io::duplex(4_096);
        tokio::spawn(server.clone().serve(remote));
        Ok(client)
    }
}
