//! A TCP connection that can change its lane.

use std::{
    io::{self, IoSlice},
    net::TcpStream as StdTcpStream,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A client's connection, which can move to another lane.
pub(super) type ClientIo = tokio_rustls::server::TlsStream<MigratableStream>;

/// A connection that belongs to a lane's runtime, or to none while it moves.
#[derive(Debug)]
pub(super) struct MigratableStream(Location);

#[derive(Debug)]
enum Location {
    At(TcpStream),
    Between(StdTcpStream),
    Lost,
}

impl MigratableStream {
    /// A connection of the current lane.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(Location::At(tcp))
    }

    /// Leaves the current lane. Until [`MigratableStream::arrive`] the connection can neither be read nor written.
    ///
    /// # Errors
    /// When the runtime does not let it go; the connection is lost then.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, Location::Lost) {
            Location::At(tcp) => Location::Between(tcp.into_std()?),
            other => other,
        };
        Ok(())
    }

    /// Joins the current lane, unless it is there already.
    ///
    /// # Errors
    /// When the runtime does not take it; the connection is lost then.
    pub(super) fn arrive(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, Location::Lost) {
            Location::Between(tcp) => Location::At(TcpStream::from_std(tcp)?),
            other => other,
        };
        Ok(())
    }

    fn tcp(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.get_mut().0 {
            Location::At(tcp) => Ok(Pin::new(tcp)),
            Location::Between(_) | Location::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for MigratableStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for MigratableStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.tcp()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tcp()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_shutdown(cx)
    }
}
