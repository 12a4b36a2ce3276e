//! Liveness and round-trip time of a connection, by HTTP/2 PING (RFC 9113 section 6.7).

mod line_estimate;

use crate::buffered::Traffic;
use line_estimate::LineEstimate;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The time between two pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How often the traffic is checked while an answer is due.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Sends pings on one connection.
pub struct Pinger {
    ping: h2::PingPong,
    traffic: Traffic,
    line: LineEstimate,
    check_interval: Duration,
}

/// Why the other side counts as gone.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
    /// No byte has moved for this long while an answer was due.
    #[error("no answer to a ping, and nothing else, for {} s", .0.as_secs())]
    Silent(Duration),
    /// Bytes move, but no answer has come for this long.
    #[error("no answer to a ping for {} s", .0.as_secs())]
    Unanswered(Duration),
}

impl Pinger {
    pub(crate) fn new(ping: h2::PingPong, traffic: Traffic) -> Self {
        Self { ping, traffic, line: LineEstimate::default(), check_interval: CHECK_INTERVAL }
    }

    /// The connection's byte counts.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// For a connection between relays, which is prompt: 5 s of silence are enough under any load.
    #[must_use]
    pub fn between_relays(mut self) -> Self {
        self.line = LineEstimate::between_relays();
        self
    }

    /// Sends one ping and returns its round-trip time.
    ///
    /// # Errors
    /// [`PingError`].
    pub async fn ping(&mut self) -> Result<Duration, PingError> {
        let start = Instant::now();
        // Counted in checks, not by the clock: a pause of this process is no silence of the other side.
        let (mut waited, mut silence, mut late) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut pong = pin!(self.ping.ping(h2::Ping::opaque()));
        loop {
            let before = self.traffic.snapshot();
            match timeout(self.check_interval, pong.as_mut()).await {
                Ok(Ok(_)) => {
                    let took = start.elapsed();
                    self.line.record_pong(took, self.traffic.snapshot().bytes());
                    return Ok(took);
                }
                Ok(Err(_)) => return Err(PingError::Closed),
                Err(_) => {}
            }
            // On a slow line the ping waits behind what was sent before it, and its answer behind what was under way. A side that is
            // gone sends nothing, and soon accepts nothing.
            if self.traffic.has_moved_since(before) {
                (silence, late) = (Duration::ZERO, waited);
            } else {
                silence += self.check_interval;
            }
            waited += self.check_interval;
            if silence >= self.line.max_silence(late, self.traffic.snapshot().bytes()) {
                return Err(PingError::Silent(silence));
            }
            if waited >= self.line.max_pong_delay() {
                return Err(PingError::Unanswered(waited));
            }
        }
    }

    /// Pings at once and then every [`PING_INTERVAL`], calls `measured` with each round-trip time, and returns why it stopped.
    pub async fn watch(mut self, mut measured: impl FnMut(Duration)) -> PingError {
        loop {
            match self.ping().await {
                Ok(round_trip) => measured(round_trip),
                Err(error) => return error,
            }
            sleep(PING_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests;
