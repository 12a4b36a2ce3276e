//! Whether the other side is still there, and how far away it is: HTTP/2 PING (RFC 9113 section 6.7).

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The time between two pings.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How long the other side may take to answer one.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends pings on one connection.
pub struct Pinger(h2::PingPong);

/// The other side did not answer in [`TIMEOUT`], or the connection has ended.
#[derive(Debug, thiserror::Error)]
#[error("no answer to a ping within {} s", TIMEOUT.as_secs())]
pub struct Silent;

impl Pinger {
    pub(crate) fn new(ping: h2::PingPong) -> Self {
        Self(ping)
    }

    /// One round trip.
    ///
    /// # Errors
    /// [`Silent`].
    pub async fn ping(&mut self) -> Result<Duration, Silent> {
        let start = Instant::now();
        match timeout(TIMEOUT, self.0.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => Ok(start.elapsed()),
            _ => Err(Silent),
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
