//! Opens what an endpoint names: a socket or a serial port.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_serial::{DataBits, SerialPortBuilderExt, SerialStream, StopBits};

use crate::model::{Endpoint, Parity, Transport};

use super::connection::Connect;

/// The connector of the hub.
#[derive(Debug)]
pub(super) struct Links;

/// A socket or a serial port.
#[derive(Debug)]
pub(super) enum Link {
    Socket(TcpStream),
    Port(SerialStream),
}

impl Connect for Links {
    type Stream = Link;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Link> {
        let line = match endpoint.transport() {
            Transport::Rtu(line) => line,
            Transport::Tcp | Transport::RtuOverTcp(_) => {
                let stream = TcpStream::connect(endpoint.path()).await?;
                // A question is one small segment, and the answer is waited for.
                stream.set_nodelay(true)?;
                return Ok(Link::Socket(stream));
            }
        };
        let port = tokio_serial::new(endpoint.path(), line.baud)
            .parity(match line.parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            })
            .stop_bits(if line.stop == 2 { StopBits::Two } else { StopBits::One })
            .data_bits(if line.data == 7 { DataBits::Seven } else { DataBits::Eight })
            .open_native_async()?;
        Ok(Link::Port(port))
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Socket(stream) => Pin::new(stream).poll_read(cx, buffer),
            Link::Port(port) => Pin::new(port).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Link::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
            Link::Port(port) => Pin::new(port).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Socket(stream) => Pin::new(stream).poll_flush(cx),
            // A port's flush waits in the system until the last bit is out, and holds the thread meanwhile.
            Link::Port(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
            Link::Port(port) => Pin::new(port).poll_shutdown(cx),
        }
    }
}
