//! One flush for the frames of many streams.
//!
//! h2 flushes after every DATA frame, and behind TLS each flush costs a record and a system call. [`BufferedIo`] keeps what h2
//! writes; the task that drives the connection sends it with [`Flusher::poll`] once h2 has no more work. A large write is not
//! copied into the buffer but written at once, and the next one waits until it has been sent: frames that h2 still holds can be
//! overtaken by those of other streams.
//!
//! Reads and large writes are done in turns of `MAX_TURN_BYTES`. Between two turns the task yields to the runtime, so that a
//! small message of another connection or stream does not wait for a whole window.

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

/// How many bytes the buffer takes before a write waits for the connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// The same while the connection accepts nothing: buffered bytes are ahead of every later frame, however urgent.
const BLOCKED_BUFFER_BYTES: usize = 16 * 1024;
/// The size from which a write is not copied into the buffer.
const LARGE_WRITE_BYTES: usize = 32 * 1024;
/// How many bytes are read, and how many are written in large writes, in one turn.
const MAX_TURN_BYTES: usize = 128 * 1024;
/// An empty buffer that has grown beyond this is freed, so that idle sessions hold little memory.
const MAX_IDLE_BUFFER_BYTES: usize = 4 * 1024;

struct Inner<T> {
    io: T,
    pending: BytesMut,
    /// A flush that failed: the next read or write returns it.
    failed: Option<io::Error>,
    /// The connection was given bytes since the last flush; its TLS may hold some of them.
    unflushed: bool,
    /// The last of them were a large write.
    large_write: bool,
    /// Bytes read in this turn.
    read: usize,
    /// Bytes of large writes in this turn.
    written: usize,
    traffic: Traffic,
}

/// Counts the bytes of a connection in both directions.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    blocked: AtomicBool,
}

/// The counts of a [`Traffic`] at one moment.
#[derive(Clone, Copy, Debug)]
pub struct TrafficSnapshot {
    received: u64,
    sent: u64,
}

impl TrafficSnapshot {
    /// The bytes of both directions together.
    pub fn bytes(self) -> u64 {
        self.received + self.sent
    }
}

impl Traffic {
    /// The counts now.
    pub fn snapshot(&self) -> TrafficSnapshot {
        TrafficSnapshot {
            received: self.0.received.load(Ordering::Relaxed),
            sent: self.0.sent.load(Ordering::Relaxed),
        }
    }

    /// Whether bytes were received since the snapshot, or were sent while more wait to be: either shows that the other side is
    /// there.
    pub fn has_moved_since(&self, before: TrafficSnapshot) -> bool {
        let now = self.snapshot();
        now.received > before.received || (now.sent > before.sent && self.is_blocked())
    }

    /// Whether bytes wait because the connection accepts none.
    pub fn is_blocked(&self) -> bool {
        self.0.blocked.load(Ordering::Relaxed)
    }

    fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }
}

/// A byte stream that buffers small writes until its [`Flusher`] sends them.
pub struct BufferedIo<T>(Arc<Mutex<Inner<T>>>);

/// Sends what its [`BufferedIo`] has buffered.
pub struct Flusher<T>(Arc<Mutex<Inner<T>>>);

fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().expect("no code panics while it holds this lock")
}

impl<T> BufferedIo<T> {
    /// Both halves for one byte stream.
    pub fn new(io: T) -> (Self, Flusher<T>) {
        let inner = Arc::new(Mutex::new(Inner {
            io,
            pending: BytesMut::new(),
            failed: None,
            unflushed: false,
            large_write: false,
            read: 0,
            written: 0,
            traffic: Traffic::default(),
        }));
        (Self(inner.clone()), Flusher(inner))
    }

    /// The connection's byte counts.
    pub fn traffic(&self) -> Traffic {
        lock(&self.0).traffic.clone()
    }
}

/// Has the task polled again after the runtime has polled IO and run the tasks that are ready. Waking it at once would not do:
/// the runtime polls IO when no task is ready, or after many.
fn yield_to_runtime(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl<T: AsyncRead + AsyncWrite + Unpin> Flusher<T> {
    /// Sends as much as the connection accepts now, and wakes the task when it accepts more. Begins the next turn.
    pub fn poll(&self, cx: &mut Context<'_>) {
        let mut inner = lock(&self.0);
        (inner.read, inner.written) = (0, 0);
        let polled = match inner.poll_drain(cx) {
            Poll::Ready(Ok(())) => inner.poll_flushed(cx),
            other => other,
        };
        if let Poll::Ready(Err(error)) = polled {
            inner.failed = Some(error);
            inner.unflushed = false;
            inner.pending.clear();
            cx.waker().wake_by_ref();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Inner<T> {
    /// Flushes the connection if it was given bytes since the last flush.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            let polled = Pin::new(&mut self.io).poll_flush(cx);
            self.traffic.set_blocked(polled.is_pending());
            ready!(polled)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the buffer to the connection.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            ready!(self.poll_flushed(cx))?;
            self.unflushed = true;
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.pending);
            self.traffic.set_blocked(polled.is_pending());
            let written = ready!(polled)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.count_sent(written);
            self.pending.advance(written);
        }
        if self.pending.capacity() > MAX_IDLE_BUFFER_BYTES {
            self.pending = BytesMut::new();
        } else {
            self.pending.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn count_sent(&self, bytes: usize) {
        self.traffic.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for BufferedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.take_failure()?;
        if inner.read >= MAX_TURN_BYTES {
            yield_to_runtime(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut inner.io).poll_read(cx, buf);
        let received = buf.filled().len() - before;
        inner.read += received;
        inner.traffic.0.received.fetch_add(received as u64, Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BufferedIo<T> {
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
        if inner.large_write {
            // Until it has been sent, h2 begins no other frame, so that any stream's can be the next.
            ready!(inner.poll_flushed(cx))?;
            inner.large_write = false;
        }
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let capacity = if inner.traffic.is_blocked() { BLOCKED_BUFFER_BYTES } else { BUFFER_BYTES };
        if total >= LARGE_WRITE_BYTES || inner.pending.len() + total > capacity {
            ready!(inner.poll_drain(cx))?;
        }
        if total >= LARGE_WRITE_BYTES {
            ready!(inner.poll_flushed(cx))?;
            if inner.written >= MAX_TURN_BYTES {
                yield_to_runtime(cx);
                return Poll::Pending;
            }
            (inner.large_write, inner.unflushed) = (true, true);
            let polled = Pin::new(&mut inner.io).poll_write_vectored(cx, bufs);
            if let Poll::Ready(Ok(written)) = polled {
                inner.written += written;
                inner.count_sent(written);
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
