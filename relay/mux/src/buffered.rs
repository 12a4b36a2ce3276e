//! One flush for the frames of many streams.
//!
//! h2 flushes after every DATA frame. Behind TLS each flush is a record and a system call of its own. [`Buffered`] takes
//! what h2 writes and keeps it; the task that drives the connection sends it with [`Flusher::poll`] after h2 has done
//! all that there was to do. Large writes go straight through.

use bytes::{Buf, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are kept before a write waits for the connection.
const CAPACITY: usize = 64 * 1024;
/// A write of this many bytes is not worth a copy.
const LARGE: usize = 32 * 1024;
/// A buffer that has grown beyond this is given back once it is empty, so that idle sessions hold little memory.
const KEPT: usize = 4 * 1024;

struct Inner<T> {
    io: T,
    pending: BytesMut,
    /// A flush that failed: the next read or write returns it.
    failed: Option<io::Error>,
    flushed: bool,
}

/// A byte stream whose flushes wait for its [`Flusher`].
pub struct Buffered<T>(Arc<Mutex<Inner<T>>>);

/// Sends what its [`Buffered`] has kept.
pub struct Flusher<T>(Arc<Mutex<Inner<T>>>);

fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().expect("no code panics while it holds this lock")
}

impl<T> Buffered<T> {
    /// Both halves for one byte stream.
    pub fn new(io: T) -> (Self, Flusher<T>) {
        let inner = Arc::new(Mutex::new(Inner { io, pending: BytesMut::new(), failed: None, flushed: true }));
        (Self(inner.clone()), Flusher(inner))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Flusher<T> {
    /// Sends what is kept, as far as the connection takes it now; goes on when the task is woken.
    pub fn poll(&self, cx: &mut Context<'_>) {
        let mut inner = lock(&self.0);
        if inner.flushed && inner.pending.is_empty() {
            return;
        }
        let polled = match inner.poll_drain(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut inner.io).poll_flush(cx),
            other => other,
        };
        match polled {
            Poll::Ready(Ok(())) => inner.flushed = true,
            Poll::Ready(Err(error)) => {
                inner.failed = Some(error);
                inner.flushed = true;
                inner.pending.clear();
                cx.waker().wake_by_ref();
            }
            Poll::Pending => {}
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Inner<T> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        if self.pending.capacity() > KEPT {
            self.pending = BytesMut::new();
        } else {
            self.pending.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.take_failure()?;
        Pin::new(&mut inner.io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Buffered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        inner.take_failure()?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total >= LARGE || inner.pending.len() + total > CAPACITY {
            ready!(inner.poll_drain(cx))?;
        }
        inner.flushed = false;
        if total >= LARGE {
            return Pin::new(&mut inner.io).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            inner.pending.extend_from_slice(buf);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).take_failure())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.take_failure()?;
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn small_writes_leave_together_and_large_ones_keep_their_order() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut buffered, flusher) = Buffered::new(near);
        let mut sent = vec![];
        for size in [3, 300, LARGE, 5, CAPACITY, 7, 0, 1000] {
            let chunk = vec![size as u8; size];
            buffered.write_all(&chunk).await.unwrap();
            buffered.flush().await.unwrap();
            sent.extend(chunk);
        }
        std::future::poll_fn(|cx| {
            flusher.poll(cx);
            Poll::Ready(())
        })
        .await;
        let mut received = vec![0; sent.len()];
        far.read_exact(&mut received).await.unwrap();
        assert!(sent == received);
    }

    #[tokio::test]
    async fn a_flush_that_fails_is_seen_by_the_next_call() {
        let (near, far) = tokio::io::duplex(16);
        let (mut buffered, flusher) = Buffered::new(near);
        drop(far);
        buffered.write_all(b"x").await.unwrap();
        std::future::poll_fn(|cx| {
            flusher.poll(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(buffered.write(b"y").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
