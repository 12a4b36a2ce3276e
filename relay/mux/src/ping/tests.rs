use super::*;
use bytes::Bytes;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// What a client sends first (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

/// The other end of a connection, frame by frame.
struct RemoteEnd(DuplexStream);

impl RemoteEnd {
    async fn move_something(&mut self) {
        self.0.write_all(&frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1])).await.unwrap();
    }

    /// Waits for a ping.
    async fn asked(&mut self) -> Vec<u8> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            self.0.read_exact(&mut payload).await.unwrap();
            if (head[3], head[4] & ACK) == (PING, 0) {
                return payload;
            }
        }
    }

    async fn answer(&mut self, payload: &[u8]) {
        self.0.write_all(&frame(PING, ACK, payload)).await.unwrap();
    }
}

async fn connected(pipe: usize, max_pong_delay: Duration) -> (crate::Opener, Pinger, RemoteEnd) {
    let (near, mut far) = duplex(pipe);
    far.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
    let (opener, mut pinger, driver) = crate::open(near).await.unwrap();
    tokio::spawn(driver);
    (pinger.line, pinger.check_interval) =
        (LineEstimate::new(MIN_SILENCE, MAX_SILENCE, max_pong_delay), CHECK_INTERVAL);
    far.read_exact(&mut [0; PREFACE]).await.unwrap();
    (opener, pinger, RemoteEnd(far))
}

fn ask(mut pinger: Pinger) -> JoinHandle<(Result<Duration, PingError>, Pinger)> {
    tokio::spawn(async move { (pinger.ping().await, pinger) })
}

/// A fifth of the usual times.
const MIN_SILENCE: Duration = Duration::from_secs(1);
const MAX_SILENCE: Duration = Duration::from_secs(4);
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// No limit while bytes move.
const FOREVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_prompt_side_that_falls_silent_is_gone() {
    let (_opener, pinger, mut far) = connected(1 << 16, FOREVER).await;
    let asked = ask(pinger);
    let payload = far.asked().await;
    far.answer(&payload).await;
    let (answered, pinger) = asked.await.unwrap();
    answered.unwrap();
    let asked = ask(pinger);
    far.asked().await;
    let (silent, _) = asked.await.unwrap();
    let Err(PingError::Silent(after)) = silent else { panic!("{silent:?}") };
    assert!(after >= MIN_SILENCE, "{after:?}");
}

#[tokio::test]
async fn a_slow_side_may_be_silent_for_longer() {
    let (_opener, pinger, mut far) = connected(1 << 16, FOREVER).await;
    let asked = ask(pinger);
    let payload = far.asked().await;
    tokio::time::sleep(MIN_SILENCE / 2).await;
    far.answer(&payload).await;
    let (answered, pinger) = asked.await.unwrap();
    answered.unwrap();
    let asked = ask(pinger);
    let payload = far.asked().await;
    tokio::time::sleep(MIN_SILENCE * 2).await;
    assert!(!asked.is_finished(), "it was taken for gone");
    far.answer(&payload).await;
    asked.await.unwrap().0.unwrap();
}

#[tokio::test]
async fn a_late_side_is_there_as_long_as_it_sends() {
    let (_opener, pinger, mut far) = connected(1 << 16, FOREVER).await;
    let asked = ask(pinger);
    for _ in 0..25 {
        tokio::time::sleep(CHECK_INTERVAL).await;
        assert!(!asked.is_finished(), "it was taken for gone while it sent");
        far.move_something().await;
    }
    let (silent, _) = asked.await.unwrap();
    assert!(matches!(silent, Err(PingError::Silent(after)) if after >= MAX_SILENCE), "{silent:?}");
}

#[tokio::test]
async fn a_side_that_never_answers_is_gone_in_the_end() {
    let (_opener, pinger, mut far) = connected(1 << 16, MAX_SILENCE).await;
    let asked = ask(pinger);
    while !asked.is_finished() {
        tokio::time::sleep(CHECK_INTERVAL).await;
        far.move_something().await;
    }
    let (silent, _) = asked.await.unwrap();
    assert!(matches!(silent, Err(PingError::Unanswered(after)) if after >= MAX_SILENCE), "{silent:?}");
}

#[tokio::test]
async fn a_side_that_accepts_bytes_is_there() {
    let (mut opener, pinger, mut far) = connected(1 << 10, FOREVER).await;
    let (_, mut stream) = opener.send_request(http::Request::new(()), false).unwrap();
    let _sending = tokio::spawn(async move {
        crate::body::send_bytes(&mut stream, Bytes::from(vec![0; 1 << 20]), true).await
    });
    let asked = ask(pinger);
    let mut taken = vec![0; 2 << 10];
    for _ in 0..25 {
        tokio::time::sleep(CHECK_INTERVAL).await;
        assert!(!asked.is_finished(), "it was taken for gone while it took");
        far.0.read_exact(&mut taken).await.unwrap();
    }
    let (silent, _) = asked.await.unwrap();
    assert!(matches!(silent, Err(PingError::Silent(after)) if after >= MAX_SILENCE), "{silent:?}");
}

#[tokio::test]
async fn a_pause_of_this_process_is_no_silence() {
    let (_opener, pinger, mut far) = connected(1 << 16, FOREVER).await;
    let asked = ask(pinger);
    let payload = far.asked().await;
    std::thread::sleep(2 * MIN_SILENCE);
    // All that has become due meanwhile comes first.
    tokio::time::sleep(CHECK_INTERVAL / 10).await;
    assert!(!asked.is_finished(), "it was taken for gone");
    far.answer(&payload).await;
    asked.await.unwrap().0.unwrap();
}
