//! One question, one answer: a Modbus connection that is thrown away after anything odd.
//!
//! tokio-modbus matches an answer's transaction, unit and function with the question's, but it neither
//! checks how many values came nor recovers once an answer was late: from then on every answer belongs to
//! the question before, for ever. So [`Connection::read`] takes the connection and gives it back only
//! after an answer that was right in every way. A dropped future drops the connection, too.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_modbus::client::{Client, Context};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{Error, ExceptionCode, ProtocolError, Request, Response};

use crate::profile::Table;

use super::planner::Block;

/// Opens the stream to an endpoint. TCP in the hub; a pipe in memory in tests, where time is paused.
/// A serial port will be a second one.
pub(super) trait Connect: Send + Sync + 'static {
    /// What is opened.
    type Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static;

    /// Opens a stream to `endpoint`, a `host:port`.
    fn connect(&self, endpoint: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Modbus over TCP.
#[derive(Debug)]
pub(super) struct Tcp;

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self, endpoint: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(endpoint).await?;
        // A question is one small segment, and the answer is waited for.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A connection on which every question so far was answered rightly.
pub(super) struct Connection {
    context: Context,
    is_fresh: bool,
}

/// The values of a block, exactly as many as were asked for (bits: filled up to whole bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values {
    /// Registers.
    Words(Vec<u16>),
    /// Coils or discrete inputs.
    Bits(Vec<bool>),
}

/// Why a block has no values.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No connection could be opened.
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    /// The device answered that it cannot.
    #[error("the device answered with exception {}", named(*.0))]
    Exception(ExceptionCode),
    /// The gateway answered that the unit behind it does not.
    #[error("the gateway answered with exception {}", named(*.0))]
    SilentBehindGateway(ExceptionCode),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer closed or reset the connection instead of answering.
    #[error("the peer closed the connection")]
    Lost,
    /// The bytes are no Modbus answer.
    #[error("the answer is not Modbus")]
    Malformed(#[source] io::Error),
    /// The answer belongs to another question.
    #[error("the answer belongs to another question")]
    Foreign(#[source] ProtocolError),
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
    /// Whether the unit itself answered, so that only this block has no values.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Fault::Exception(_))
    }

    /// Whether the connection is still in step.
    fn keeps_connection(&self) -> bool {
        matches!(self, Fault::Exception(_) | Fault::SilentBehindGateway(_))
    }
}

fn named(code: ExceptionCode) -> String {
    format!("{} ({code})", u8::from(code))
}

impl Connection {
    /// A connection on a stream that was just opened.
    pub(super) fn new(
        stream: impl AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static,
    ) -> Self {
        Connection { context: tokio_modbus::client::tcp::attach(stream), is_fresh: true }
    }

    /// Whether nothing was answered on it yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Reads a block from a unit. The connection comes back only if it is still in step.
    pub(super) async fn read(
        mut self,
        unit: u8,
        block: &Block,
        timeout: Duration,
    ) -> (Option<Self>, Result<Values, Fault>) {
        self.context.set_slave(Slave(unit));
        let result = match tokio::time::timeout(timeout, self.context.call(question(block))).await {
            Ok(answer) => check(answer, block),
            Err(_) => Err(Fault::Timeout(timeout)),
        };
        self.is_fresh = false;
        let is_in_step = result.as_ref().err().is_none_or(Fault::keeps_connection);
        (is_in_step.then_some(self), result)
    }
}

fn question(block: &Block) -> Request<'static> {
    match block.table {
        Table::Coil => Request::ReadCoils(block.start, block.count),
        Table::Discrete => Request::ReadDiscreteInputs(block.start, block.count),
        Table::Holding => Request::ReadHoldingRegisters(block.start, block.count),
        Table::Input => Request::ReadInputRegisters(block.start, block.count),
    }
}

/// The values in an answer, or what is wrong with it.
fn check(answer: tokio_modbus::Result<Response>, block: &Block) -> Result<Values, Fault> {
    let asked = usize::from(block.count);
    let (values, found, expected) = match answer.map_err(sort_out)? {
        Ok(Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words)) => {
            let found = words.len();
            (Values::Words(words), found, asked)
        }
        Ok(Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits)) => {
            let found = bits.len();
            (Values::Bits(bits), found, asked.next_multiple_of(8))
        }
        Ok(other) => {
            // tokio-modbus has matched the function; this cannot come, and must not be believed if it does.
            return Err(Fault::Malformed(io::Error::other(format!("{other:?}"))));
        }
        Err(
            code @ (ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice),
        ) => {
            return Err(Fault::SilentBehindGateway(code));
        }
        Err(code) => return Err(Fault::Exception(code)),
    };
    if found == expected { Ok(values) } else { Err(Fault::Length { asked: block.count, found }) }
}

/// Which kind of failure tokio-modbus reports: its codec's errors and the socket's come as one type.
fn sort_out(error: Error) -> Fault {
    match error {
        Error::Protocol(mismatch) => Fault::Foreign(mismatch),
        // The socket's errors carry the system's number. So does the end of the stream: tokio-modbus makes
        // up its error from the last number there was, so the number itself says nothing.
        Error::Transport(error) if error.raw_os_error().is_some() => Fault::Lost,
        Error::Transport(error) if error.kind() == io::ErrorKind::BrokenPipe => Fault::Lost,
        Error::Transport(error) => Fault::Malformed(error),
    }
}
