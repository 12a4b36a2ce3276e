//! A line that is slower than what is to be sent on it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use adit_mux::{AcceptStreams, body::send_bytes, socket};
use bytes::Bytes;
use http::{Request, Response};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{oneshot, watch},
    time::sleep,
};

const PIECE: usize = 16 * 1024;
const PIECES: usize = 512;
const PIPE: usize = 4 * 1024;
/// What the receiving system keeps unread: Linux doubles what it is asked for.
const RECEIVE: u32 = 32 * 1024;
const SEGMENT: usize = 64 * 1024;

/// Both ends of a connection whose sender's system would take megabytes, and whose receiver's takes little.
async fn line() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpSocket::new_v4().unwrap();
    near.set_recv_buffer_size(RECEIVE).unwrap();
    let near = near.connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    socket2::SockRef::from(&far).set_send_buffer_size(4 << 20).unwrap();
    (near, far)
}

/// Hands on what comes from the line, counts it, and rests while `flowing` is false.
async fn carry(line: TcpStream, pipe: DuplexStream, flowing: watch::Receiver<bool>, came: Arc<AtomicUsize>) {
    let (mut from_line, mut to_line) = line.into_split();
    let (mut from_pipe, mut to_pipe) = tokio::io::split(pipe);
    tokio::spawn(async move { tokio::io::copy(&mut from_pipe, &mut to_line).await });
    let (mut flowing, mut buffer) = (flowing, [0; PIPE]);
    loop {
        flowing.wait_for(|flowing| *flowing).await.unwrap();
        let Ok(read @ 1..) = from_line.read(&mut buffer).await else { return };
        came.fetch_add(read, Ordering::Relaxed);
        if to_pipe.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits until a number has come to rest.
async fn settled(number: &AtomicUsize) {
    let (mut last, mut same) = (usize::MAX, 0);
    while same < 20 {
        sleep(Duration::from_millis(5)).await;
        let now = number.load(Ordering::Relaxed);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}

#[tokio::test]
async fn a_small_answer_overtakes_a_large_one_that_waits() {
    let (near, far) = line().await;
    socket::configure(&far).unwrap();
    let (flow, flowing) = watch::channel(true);
    let (came, given) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (pipe, opening) = duplex(PIPE);
    tokio::spawn(carry(near, pipe, flowing, came.clone()));
    let (ask, asked) = oneshot::channel::<()>();
    let (answered, answer) = oneshot::channel::<()>();
    let counted = given.clone();
    tokio::spawn(async move {
        let (mut acceptor, _pinger) = adit_mux::accept(far).await.unwrap();
        let (_, mut large) = acceptor.accept().await.unwrap().unwrap();
        let (_, mut small) = acceptor.accept().await.unwrap().unwrap();
        tokio::spawn(async move {
            let mut body = large.send_response(Response::new(()), false).unwrap();
            for _ in 0..PIECES {
                if !send_bytes(&mut body, Bytes::from(vec![0; PIECE]), false).await.unwrap() {
                    return;
                }
                counted.fetch_add(PIECE, Ordering::Relaxed);
            }
        });
        tokio::spawn(async move {
            asked.await.unwrap();
            small.send_response(Response::new(()), true).unwrap();
            answered.send(()).unwrap();
        });
        while let Some(Ok(_)) = acceptor.accept().await {}
    });
    let (opener, _pinger, driver) = adit_mux::open(opening).await.unwrap();
    tokio::spawn(driver);
    let mut opener = opener.ready().await.unwrap();
    let (large, _) = opener.send_request(Request::get("https://a/").body(()).unwrap(), true).unwrap();
    let (small, _) = opener.send_request(Request::get("https://a/").body(()).unwrap(), true).unwrap();
    let mut body = large.await.unwrap().into_body();
    tokio::spawn(async move {
        while let Some(Ok(data)) = body.data().await {
            body.release(data.len());
        }
    });
    while given.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    flow.send(false).unwrap();
    settled(&given).await;
    assert!(given.load(Ordering::Relaxed) < PIECES * PIECE, "the line held nothing up");
    ask.send(()).unwrap();
    answer.await.unwrap();
    let before = came.load(Ordering::Relaxed);
    flow.send(true).unwrap();
    small.await.unwrap();
    let ahead = came.load(Ordering::Relaxed) - before;
    // What the receiving system has; what the sending one keeps, with a segment that it has begun; what the session keeps, and
    // a frame.
    let most = 2 * RECEIVE as usize + socket::NOTSENT_LOWAT_BYTES as usize + SEGMENT + 2 * PIECE + PIPE;
    assert!(ahead <= most, "{ahead} bytes were ahead of the small answer, more than {most}");
}
