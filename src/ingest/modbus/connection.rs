//! One question, one answer: a Modbus connection on which only the right answer is believed.
//!
//! Whatever else comes leaves the connection out of step: the answer that is still on its way would be taken for the
//! next question's. So after any other outcome the bus throws a TCP connection away, and on a serial line it drains
//! and waits (`bus`). Before each question nothing may lie unread; transaction numbers are drawn by lot, so that no
//! unasked answer carries the next one's.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_modbus::ExceptionCode;

use crate::model::Endpoint;

use super::frame::{Framing, LONGEST_FRAME, Parsed, Question, Values};

/// A line on which bytes still come after so many quiet times is no bus that can be asked anything.
const DRAIN_TRIES: u32 = 20;

/// Opens the stream to an endpoint. Sockets and serial ports in the hub; a pipe in memory in tests, where time is
/// paused.
pub(super) trait Connect: Send + Sync + 'static {
    /// What is opened.
    type Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static;

    /// Opens a stream to `endpoint`.
    fn connect(&self, endpoint: &Endpoint)
    -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A connection on which every question so far was answered rightly.
pub(super) struct Connection<S> {
    stream: S,
    framing: Framing,
    /// Draws transaction numbers.
    rng: StdRng,
    transaction: u16,
    received: Vec<u8>,
    is_fresh: bool,
    is_spent: bool,
}

/// Why a question has no right answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No connection could be opened. Nothing was sent.
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    /// The peer had closed the connection before. Nothing was sent.
    #[error("the peer had closed the connection")]
    Closed,
    /// Bytes lay there that nobody had asked for. Nothing was sent.
    #[error("{0} bytes came that nobody had asked for")]
    Unasked(usize),
    /// The device answered that it cannot.
    #[error("the device answered with exception {}", named(*.0))]
    Exception(ExceptionCode),
    /// The gateway answered that the unit behind it does not.
    #[error("the gateway answered with exception {}", named(*.0))]
    SilentBehindGateway(ExceptionCode),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke instead of an answer.
    #[error("the peer closed the connection")]
    Lost,
    /// The bytes are no answer to this function.
    #[error("the answer is not Modbus: {0}")]
    Malformed(&'static str),
    /// The frame was damaged on the line.
    #[error("the answer's checksum is wrong")]
    Checksum,
    /// The answer belongs to another question.
    #[error("the answer belongs to another question: {what} {found}, not {asked}")]
    Foreign {
        /// What is another's.
        what: &'static str,
        /// What was asked for.
        asked: u16,
        /// What came.
        found: u16,
    },
    /// The answer has more or fewer values than were asked for.
    #[error("asked for {asked} values, the answer has {found}")]
    Length {
        /// How many were asked for.
        asked: u16,
        /// How many came.
        found: usize,
    },
}

impl Fault {
    pub(super) fn foreign(what: &'static str, asked: u16, found: u16) -> Self {
        Fault::Foreign { what, asked, found }
    }

    /// The fault that an exception is.
    pub(super) fn of_code(code: ExceptionCode) -> Self {
        match code {
            ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice => {
                Fault::SilentBehindGateway(code)
            }
            code => Fault::Exception(code),
        }
    }

    /// Whether the unit itself answered, so that only this block has no values.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Fault::Exception(_))
    }

    /// Whether the question was never sent, so that it can be asked again without harm.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Fault::Unreachable(_) | Fault::Closed | Fault::Unasked(_))
    }

    /// Whether the connection is still in step.
    pub(super) fn keeps_connection(&self) -> bool {
        matches!(self, Fault::Exception(_) | Fault::SilentBehindGateway(_))
    }

    /// Whether the stream itself is gone.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Fault::Lost | Fault::Closed | Fault::Unreachable(_))
    }

    /// Whether it is the refusal of an address (2) or of a length (3).
    pub(super) fn is_illegal(&self) -> bool {
        use ExceptionCode::{IllegalDataAddress, IllegalDataValue};
        matches!(self, Fault::Exception(IllegalDataAddress | IllegalDataValue))
    }
}

fn named(code: ExceptionCode) -> String {
    format!("{} ({code})", u8::from(code))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection on a stream that was just opened. `seed` feeds the transaction numbers.
    pub(super) fn new(stream: S, framing: Framing, seed: u64) -> Self {
        Connection {
            stream,
            framing,
            rng: StdRng::seed_from_u64(seed),
            transaction: 0,
            received: Vec::with_capacity(LONGEST_FRAME),
            is_fresh: true,
            is_spent: false,
        }
    }

    /// Whether nothing was answered on it yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether more came than was asked for, so that nothing more can be asked here.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Asks a question and waits for its answer. After a fault that does not keep the connection it must not be
    /// asked again before it was drained; over TCP, never.
    pub(super) async fn ask(
        &mut self,
        question: &Question,
        patience: Duration,
    ) -> Result<Values, Fault> {
        self.find_unasked().await?;
        let mut number = self.rng.random();
        if number == self.transaction {
            number = self.transaction.wrapping_add(0x5A5A);
        }
        self.transaction = number;
        let frame = question.frame(self.framing, self.transaction);
        let deadline = Instant::now() + patience;
        let exchange = async {
            self.stream.write_all(&frame).await.map_err(|_| Fault::Lost)?;
            self.stream.flush().await.map_err(|_| Fault::Lost)?;
            self.answer(question).await
        };
        let result = timeout_at(deadline, exchange).await.unwrap_or(Err(Fault::Timeout(patience)));
        self.is_fresh = false;
        result
    }

    async fn answer(&mut self, question: &Question) -> Result<Values, Fault> {
        self.received.clear();
        loop {
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) if self.received.is_empty() => return Err(Fault::Lost),
                Ok(0) | Err(_) => return Err(Fault::Malformed("it ends in its middle")),
                Ok(_) => {}
            }
            match question.parse(self.framing, self.transaction, &self.received)? {
                Parsed::Part => {}
                Parsed::Whole(length, result) => {
                    self.check_end(length)?;
                    return result.map_err(Fault::of_code);
                }
            }
        }
    }

    /// Bytes behind the answer: over TCP the answer's number says that it is the right one, and the connection goes;
    /// on a serial line nothing says which of two answers is.
    fn check_end(&mut self, length: usize) -> Result<(), Fault> {
        if self.received.len() == length {
            return Ok(());
        }
        self.is_spent = true;
        match self.framing {
            Framing::Tcp => Ok(()),
            Framing::Rtu => Err(Fault::Malformed("more bytes follow it")),
        }
    }

    /// Looks for bytes that nobody asked for, without waiting for any.
    async fn find_unasked(&mut self) -> Result<(), Fault> {
        // The runtime looks at its sockets meanwhile; what lies in the system's buffer is seen then.
        tokio::task::yield_now().await;
        let mut bytes = [0; LONGEST_FRAME];
        let mut buffer = ReadBuf::new(&mut bytes);
        let stream = &mut self.stream;
        let read = poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(result) => Poll::Ready(Some(result)),
        });
        match read.await {
            None => Ok(()),
            Some(Ok(())) if !buffer.filled().is_empty() => {
                Err(Fault::Unasked(buffer.filled().len()))
            }
            Some(_) => Err(Fault::Closed),
        }
    }

    /// Reads and forgets until nothing has come for `quiet`. False when the stream ended or never became quiet.
    pub(super) async fn drain(&mut self, quiet: Duration) -> bool {
        let deadline = Instant::now() + quiet * DRAIN_TRIES;
        let mut bytes = [0; LONGEST_FRAME];
        while Instant::now() < deadline {
            match timeout(quiet, self.stream.read(&mut bytes)).await {
                Err(_) => {
                    self.is_spent = false;
                    return true;
                }
                Ok(Ok(0) | Err(_)) => return false,
                Ok(Ok(_)) => {}
            }
        }
        false
    }

    /// Listens for `span` whether bytes follow an answer: a second one to the same question.
    pub(super) async fn listen(&mut self, span: Duration) -> Result<(), Fault> {
        let mut bytes = [0; LONGEST_FRAME];
        match timeout(span, self.stream.read(&mut bytes)).await {
            Err(_) => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(Fault::Closed),
            Ok(Ok(n)) => Err(Fault::Unasked(n)),
        }
    }
}

impl<S> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("framing", &self.framing).finish_non_exhaustive()
    }
}
