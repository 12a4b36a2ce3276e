//! Whether the other side is still there, and how far away it is: HTTP/2 PING (RFC 9113 section 6.7).

mod line;

use crate::buffered::Traffic;
use line::Line;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The time between two pings.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How often the line is looked at while an answer is due.
const LOOK: Duration = Duration::from_millis(500);

/// Sends pings on one connection.
pub struct Pinger {
    ping: h2::PingPong,
    traffic: Traffic,
    line: Line,
    look: Duration,
}

/// Why a side is not waited for any longer.
#[derive(Debug, thiserror::Error)]
pub enum Silent {
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
    /// Nothing has moved for so long while an answer was due.
    #[error("no answer to a ping, and nothing else, for {} s", .0.as_secs())]
    Silence(Duration),
    /// Something moves, but no answer has come for so long.
    #[error("no answer to a ping for {} s", .0.as_secs())]
    Late(Duration),
}

impl Pinger {
    pub(crate) fn new(ping: h2::PingPong, traffic: Traffic) -> Self {
        Self { ping, traffic, line: Line::default(), look: LOOK }
    }

    /// What moves on the connection.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// The two ends are side by side: silence for 5 s is none of the line's.
    #[must_use]
    pub fn near(mut self) -> Self {
        self.line = Line::near();
        self
    }

    /// One round trip.
    ///
    /// # Errors
    /// [`Silent`].
    pub async fn ping(&mut self) -> Result<Duration, Silent> {
        let start = Instant::now();
        // Reckoned in looks: a pause of this process is no silence of the other side.
        let (mut waited, mut quiet, mut late) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut pong = pin!(self.ping.ping(h2::Ping::opaque()));
        loop {
            let before = self.traffic.mark();
            match timeout(self.look, pong.as_mut()).await {
                Ok(Ok(_)) => {
                    let took = start.elapsed();
                    self.line.answered(took, self.traffic.mark().bytes());
                    return Ok(took);
                }
                Ok(Err(_)) => return Err(Silent::Ended),
                Err(_) => {}
            }
            // On a slow line the question is behind what was to be sent before it, and the answer behind what was on its way.
            // Who is gone sends nothing, and soon takes nothing.
            if self.traffic.has_moved_since(before) {
                (quiet, late) = (Duration::ZERO, waited);
            } else {
                quiet += self.look;
            }
            waited += self.look;
            if quiet >= self.line.patience(late, self.traffic.mark().bytes()) {
                return Err(Silent::Silence(quiet));
            }
            if waited >= self.line.most() {
                return Err(Silent::Late(waited));
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
mod tests;
