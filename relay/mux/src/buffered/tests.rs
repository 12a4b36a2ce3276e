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

/// As TLS does, it takes what it is given and keeps what it cannot send.
#[derive(Default)]
struct Keeping {
    kept: usize,
    blocked: bool,
}

impl AsyncRead for Keeping {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Keeping {
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

/// Brings and takes whatever is asked for.
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

struct Woken(AtomicU64);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_turn_ends_and_another_comes() {
    const CHUNK: usize = 16 * 1024;
    let woken = Arc::new(Woken(AtomicU64::new(0)));
    let waker = woken.clone().into();
    let mut cx = Context::from_waker(&waker);
    let (mut buffered, flusher) = Buffered::new(Endless);
    let mut space = vec![0; CHUNK];
    for turn in 1..4 {
        let (mut read, mut written) = (0, 0);
        let mut into = ReadBuf::new(&mut space);
        while Pin::new(&mut buffered).poll_read(&mut cx, &mut into).is_ready() {
            into.clear();
            read += CHUNK;
        }
        assert_eq!((read, woken.0.load(Ordering::Relaxed)), (TURN, 2 * turn - 1));
        while Pin::new(&mut buffered).poll_write(&mut cx, &[0; LARGE]).is_ready() {
            written += LARGE;
        }
        assert_eq!((written, woken.0.load(Ordering::Relaxed)), (TURN, 2 * turn));
        assert!(Pin::new(&mut buffered).poll_write(&mut cx, b"small").is_ready(), "it is only kept");
        flusher.poll(&mut cx);
    }
}

#[test]
fn nothing_follows_a_large_write_into_tls_before_it_has_left() {
    let (mut buffered, Flusher(inner)) = Buffered::new(Keeping::default());
    let (large, mut cx) = (vec![0; LARGE], Context::from_waker(std::task::Waker::noop()));
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
