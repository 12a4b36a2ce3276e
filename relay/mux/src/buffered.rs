//! One flush for the frames of many streams.
//!
//! h2 flushes after every DATA frame. Behind TLS each flush is a record and a system call of its own. [`Buffered`] takes
//! what h2 writes and keeps it; the task that drives the connection sends it with [`Flusher::poll`] after h2 has done
//! all that there was to do. Large writes go straight through, one at a time: what h2 has not handed over yet can still be
//! overtaken by the frames of other streams.
//!
//! A connection that has much to read or to write does so in turns: between two of them the thread looks at what else there
//! is to do, so that a small message of another connection, or stream, does not wait for a whole window.

use bytes::{Buf, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are kept before a write waits for the connection.
const CAPACITY: usize = 64 * 1024;
/// The same while the connection takes nothing: what is kept is ahead of all that comes, however urgent.
const BLOCKED_CAPACITY: usize = 16 * 1024;
/// A write of this many bytes is not worth a copy.
const LARGE: usize = 32 * 1024;
/// How many bytes are read, and how many are written in large writes, in one turn.
const TURN: usize = 128 * 1024;
/// A buffer that has grown beyond this is given back once it is empty, so that idle sessions hold little memory.
const KEPT: usize = 4 * 1024;

struct Inner<T> {
    io: T,
    pending: BytesMut,
    /// A flush that failed: the next read or write returns it.
    failed: Option<io::Error>,
    /// The connection was given something, of which its TLS may have a part yet.
    unsent: bool,
    /// The same, and it was a large write.
    large: bool,
    /// How many bytes were read in this turn.
    read: usize,
    /// How many were written in large writes.
    written: usize,
    traffic: Traffic,
}

/// What has moved on a connection, whatever it means.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    came: AtomicU64,
    left: AtomicU64,
    blocked: AtomicBool,
}

/// What had moved at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    came: u64,
    left: u64,
}

impl Mark {
    /// How many bytes had moved, either way.
    pub fn bytes(self) -> u64 {
        self.came + self.left
    }
}

impl Traffic {
    /// What has moved until now.
    pub fn mark(&self) -> Mark {
        Mark { came: self.0.came.load(Ordering::Relaxed), left: self.0.left.load(Ordering::Relaxed) }
    }

    /// Whether anything has come since then; or something has left, of what this side still waits to send more of.
    pub fn has_moved_since(&self, before: Mark) -> bool {
        let now = self.mark();
        now.came > before.came || (now.left > before.left && self.is_blocked())
    }

    /// Whether this side waits to send more.
    pub fn is_blocked(&self) -> bool {
        self.0.blocked.load(Ordering::Relaxed)
    }

    fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }
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
        let inner = Arc::new(Mutex::new(Inner {
            io,
            pending: BytesMut::new(),
            failed: None,
            unsent: false,
            large: false,
            read: 0,
            written: 0,
            traffic: Traffic::default(),
        }));
        (Self(inner.clone()), Flusher(inner))
    }

    /// Tells what has moved.
    pub fn traffic(&self) -> Traffic {
        lock(&self.0).traffic.clone()
    }
}

/// Has the task polled again once the runtime has looked for other IO and run what is ready. To wake it at once would not do:
/// the runtime looks for IO when no task is ready, or after many.
fn give_way(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl<T: AsyncRead + AsyncWrite + Unpin> Flusher<T> {
    /// Sends what is kept, as far as the connection takes it now; goes on when the task is woken. With it a turn ends.
    pub fn poll(&self, cx: &mut Context<'_>) {
        let mut inner = lock(&self.0);
        (inner.read, inner.written) = (0, 0);
        let polled = match inner.poll_drain(cx) {
            Poll::Ready(Ok(())) => inner.poll_sent(cx),
            other => other,
        };
        if let Poll::Ready(Err(error)) = polled {
            inner.failed = Some(error);
            inner.unsent = false;
            inner.pending.clear();
            cx.waker().wake_by_ref();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Inner<T> {
    /// Has the connection send what it was given.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent {
            let polled = Pin::new(&mut self.io).poll_flush(cx);
            self.traffic.set_blocked(polled.is_pending());
            ready!(polled)?;
            self.unsent = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the connection what is kept.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            ready!(self.poll_sent(cx))?;
            self.unsent = true;
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.pending);
            self.traffic.set_blocked(polled.is_pending());
            let written = ready!(polled)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.note_left(written);
            self.pending.advance(written);
        }
        if self.pending.capacity() > KEPT {
            self.pending = BytesMut::new();
        } else {
            self.pending.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn note_left(&self, bytes: usize) {
        self.traffic.0.left.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.take_failure()?;
        if inner.read >= TURN {
            give_way(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut inner.io).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        inner.read += came;
        inner.traffic.0.came.fetch_add(came as u64, Ordering::Relaxed);
        polled
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
        if inner.large {
            // Until it has left, h2 begins no other frame after this one, and any stream's can be the next.
            ready!(inner.poll_sent(cx))?;
            inner.large = false;
        }
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let capacity = if inner.traffic.is_blocked() { BLOCKED_CAPACITY } else { CAPACITY };
        if total >= LARGE || inner.pending.len() + total > capacity {
            ready!(inner.poll_drain(cx))?;
        }
        if total >= LARGE {
            ready!(inner.poll_sent(cx))?;
            if inner.written >= TURN {
                give_way(cx);
                return Poll::Pending;
            }
            (inner.large, inner.unsent) = (true, true);
            let polled = Pin::new(&mut inner.io).poll_write_vectored(cx, bufs);
            if let Poll::Ready(Ok(written)) = polled {
                inner.written += written;
                inner.note_left(written);
            }
            return polled;
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
mod tests;
