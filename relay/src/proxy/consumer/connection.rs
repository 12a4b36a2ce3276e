//! A consumer's connection, with or without TLS.

use adit_mux::splice::Abort;
use bytes::{Buf, Bytes};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A consumer's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What has been read of it already.
    prefix: Bytes,
    io: Io,
    broken: Option<Arc<AtomicBool>>,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// In clear.
    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        Self::prefixed(Bytes::new(), tcp)
    }

    /// In clear, and some bytes have been read already.
    pub(crate) fn prefixed(prefix: Bytes, tcp: TcpStream) -> Self {
        Self { prefix, io: Io::Tcp(tcp), broken: None }
    }

    /// By TLS.
    pub(crate) fn tls(tls: TlsStream<TcpStream>) -> Self {
        Self { prefix: Bytes::new(), io: Io::Tls(Box::new(tls)), broken: None }
    }

    /// The connection ends with a reset if `broken` is set by then: to a consumer of HTTP/1.0 an answer is whole when its
    /// connection ends in an orderly way.
    #[must_use]
    pub(crate) fn reset_if(mut self, broken: Arc<AtomicBool>) -> Self {
        self.broken = Some(broken);
        self
    }

    fn socket(&mut self) -> &mut TcpStream {
        match &mut self.io {
            Io::Tcp(tcp) => tcp,
            Io::Tls(tls) => tls.get_mut().0,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.broken.as_ref().is_some_and(|broken| broken.load(Ordering::Relaxed)) {
            self.socket().abort();
        }
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.get_mut().io {
            Io::Tcp($io) => {
                let $io = Pin::new($io);
                $call
            }
            Io::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if take(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}

impl Abort for Connection {
    fn abort(&mut self) {
        self.socket().abort();
    }

    fn set_reset_on_close(&mut self, on: bool) {
        self.socket().set_reset_on_close(on);
    }
}

/// Moves what is left of a prefix; answers whether there was any.
fn take(prefix: &mut Bytes, buf: &mut ReadBuf<'_>) -> bool {
    let taken = prefix.len().min(buf.remaining());
    buf.put_slice(&prefix[..taken]);
    prefix.advance(taken);
    taken > 0
}

/// A connection of which some bytes have been read already.
#[derive(Debug)]
pub(crate) struct Prefixed<T> {
    prefix: Bytes,
    io: T,
}

impl<T> Prefixed<T> {
    /// Reads `prefix` before anything else.
    pub(crate) fn new(prefix: Bytes, io: T) -> Self {
        Self { prefix, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if take(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: Abort> Abort for Prefixed<T> {
    fn abort(&mut self) {
        self.io.abort();
    }

    fn set_reset_on_close(&mut self, on: bool) {
        self.io.set_reset_on_close(on);
    }
}
