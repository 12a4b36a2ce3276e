use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn small_writes_are_sent_together_and_in_order() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut buffered, flusher) = BufferedIo::new(near);
    let mut sent = vec![];
    for size in [3, 300, LARGE_WRITE_BYTES, 5, BUFFER_BYTES, 7, 0, 1000] {
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

/// Accepts every write and keeps what it cannot send, as TLS does.
#[derive(Default)]
struct TlsLike {
    kept: usize,
    blocked: bool,
}

impl AsyncRead for TlsLike {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for TlsLike {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.kept += buf.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked && self.kept > 0 {
            return Poll::Pending;
        }
        self.kept = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads and writes without end.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buf.initialize_unfilled();
        buf.set_filled(buf.capacity());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct WakeCounter(AtomicU64);

impl std::task::Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_turn_ends_and_the_next_begins() {
    const CHUNK: usize = 16 * 1024;
    let woken = Arc::new(WakeCounter(AtomicU64::new(0)));
    let waker = woken.clone().into();
    let mut cx = Context::from_waker(&waker);
    let (mut buffered, flusher) = BufferedIo::new(Endless);
    let mut space = vec![0; CHUNK];
    for turn in 1..4 {
        let (mut read, mut written) = (0, 0);
        let mut into = ReadBuf::new(&mut space);
        while Pin::new(&mut buffered).poll_read(&mut cx, &mut into).is_ready() {
            into.clear();
            read += CHUNK;
        }
        assert_eq!((read, woken.0.load(Ordering::Relaxed)), (MAX_TURN_BYTES, 2 * turn - 1));
        while Pin::new(&mut buffered).poll_write(&mut cx, &[0; LARGE_WRITE_BYTES]).is_ready() {
            written += LARGE_WRITE_BYTES;
        }
        assert_eq!((written, woken.0.load(Ordering::Relaxed)), (MAX_TURN_BYTES, 2 * turn));
        assert!(Pin::new(&mut buffered).poll_write(&mut cx, b"small").is_ready(), "it is only kept");
        flusher.poll(&mut cx);
    }
}

#[test]
fn a_large_write_is_sent_before_anything_follows_it() {
    let (mut buffered, Flusher(inner)) = BufferedIo::new(TlsLike::default());
    let (large, mut cx) = (vec![0; LARGE_WRITE_BYTES], Context::from_waker(std::task::Waker::noop()));
    let mut write = |data: &[u8]| Pin::new(&mut buffered).poll_write(&mut cx, data).is_ready();
    inner.lock().unwrap().io.blocked = true;
    assert!(write(&large));
    assert!(!write(&large));
    assert!(!write(b"the rest of a frame"));
    inner.lock().unwrap().io.blocked = false;
    assert!(write(b"the rest of a frame"));
    assert_eq!(inner.lock().unwrap().io.kept, 0, "the large one is gone");
}

#[tokio::test]
async fn a_failed_flush_is_returned_by_the_next_call() {
    let (near, far) = tokio::io::duplex(16);
    let (mut buffered, flusher) = BufferedIo::new(near);
    drop(far);
    buffered.write_all(b"x").await.unwrap();
    std::future::poll_fn(|cx| {
        flusher.poll(cx);
        Poll::Ready(())
    })
    .await;
    assert_eq!(buffered.write(b"y").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
