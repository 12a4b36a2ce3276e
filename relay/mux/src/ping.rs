//! Whether the other side is still there, and how far away it is: HTTP/2 PING (RFC 9113 section 6.7).

use crate::buffered::Traffic;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The time between two pings.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How long nothing may come while the other side owes an answer to one.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How many times as long nothing may leave while there is something to be sent: the system takes up to 80 KiB at once, and a line
/// that two sessions share may need long for it.
const BLOCKED: u32 = 4;
/// How long the other side may owe an answer, whatever moves.
const MOST: Duration = Duration::from_secs(60);

/// Sends pings on one connection.
pub struct Pinger {
    ping: h2::PingPong,
    traffic: Traffic,
}

/// The other side owes an answer and nothing moved for [`TIMEOUT`], or the connection has ended.
#[derive(Debug, thiserror::Error)]
#[error("no answer to a ping within {} s", TIMEOUT.as_secs())]
pub struct Silent;

impl Pinger {
    pub(crate) fn new(ping: h2::PingPong, traffic: Traffic) -> Self {
        Self { ping, traffic }
    }

    /// One round trip.
    ///
    /// # Errors
    /// [`Silent`].
    pub async fn ping(&mut self) -> Result<Duration, Silent> {
        self.ping_within(TIMEOUT).await
    }

    async fn ping_within(&mut self, silence: Duration) -> Result<Duration, Silent> {
        let start = Instant::now();
        let mut moved = start;
        let mut pong = pin!(self.ping.ping(h2::Ping::opaque()));
        loop {
            let before = self.traffic.mark();
            match timeout(silence, pong.as_mut()).await {
                Ok(Ok(_)) => return Ok(start.elapsed()),
                Ok(Err(_)) => return Err(Silent),
                Err(_) => {}
            }
            // On a slow line the question is behind what was to be sent before it, and the answer behind what was on its way.
            // Who is gone sends nothing, and soon takes nothing.
            if self.traffic.has_moved_since(before) {
                moved = Instant::now();
            }
            let patience = if self.traffic.is_blocked() { silence * BLOCKED } else { silence };
            if moved.elapsed() >= patience || start.elapsed() >= MOST {
                return Err(Silent);
            }
        }
    }

    /// Pings at once and then every [`INTERVAL`], until there is no answer; tells each round trip.
    pub async fn watch(mut self, mut measured: impl FnMut(Duration)) -> Silent {
        loop {
            match self.ping().await {
                Ok(round_trip) => measured(round_trip),
                Err(silent) => return silent,
            }
            sleep(INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;

    /// A frame of HTTP/2 (RFC 9113 section 4.1).
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, 0, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn who_is_late_with_an_answer_but_sends_is_there_and_who_sends_nothing_is_gone() {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(&frame(SETTINGS, &[])).await.unwrap();
        let (_opener, mut pinger, driver) = crate::open(near).await.unwrap();
        let _driver = tokio::spawn(driver);
        let silence = Duration::from_secs(1);
        let mut asked = tokio::spawn(async move { pinger.ping_within(silence).await });
        for _ in 0..25 {
            let ended = timeout(silence / 10, &mut asked).await;
            assert!(ended.is_err(), "it was taken for gone while it sent");
            far.write_all(&frame(WINDOW_UPDATE, &[0, 0, 0, 1])).await.unwrap();
        }
        timeout(TIMEOUT, asked).await.expect("silence is noticed").unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn who_takes_what_this_side_waits_to_send_is_there() {
        let (near, mut far) = duplex(1 << 10);
        far.write_all(&frame(SETTINGS, &[])).await.unwrap();
        let (mut opener, mut pinger, driver) = crate::open(near).await.unwrap();
        let _driver = tokio::spawn(driver);
        let (_, mut stream) = opener.send_request(http::Request::new(()), false).unwrap();
        let _sending = tokio::spawn(async move {
            crate::body::send_bytes(&mut stream, Bytes::from(vec![0; 1 << 20]), true).await
        });
        let silence = Duration::from_secs(1);
        let mut asked = tokio::spawn(async move { pinger.ping_within(silence).await });
        let mut taken = vec![0; 2 << 10];
        for _ in 0..25 {
            let ended = timeout(silence / 10, &mut asked).await;
            assert!(ended.is_err(), "it was taken for gone while it took");
            far.read_exact(&mut taken).await.unwrap();
        }
        timeout(2 * TIMEOUT, asked).await.expect("it is noticed that nothing moves").unwrap().unwrap_err();
    }
}
