//! What one account may use.

use crate::{Problem, duration, size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one account may use. A token can carry limits of its own, which replace these.
///
/// Tunnels, sessions and names are counted over the region; streams, requests and buffered bytes by each relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Tunnels that are open at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub tunnels: u32,
    /// Sessions that are open at once. A client opens up to two to each of two relays.
    #[schemars(range(min = 1, max = 10_000))]
    pub sessions: u32,
    /// Names that the account asked for and holds, those included whose quarantine of 7 days has not ended. As many again
    /// can be random ones: then a tunnel without a name gets one that the account had before.
    #[schemars(range(min = 1, max = 100_000))]
    pub names: u32,
    /// Streams that are open at once: requests, WebSockets and TCP connections.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub streams: u32,
    /// Requests and connections in a second, on average.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests_per_second: u32,
    /// Requests that may come at once after a pause. Absent: as many as in a second.
    #[schemars(range(min = 1, max = 10_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// The largest body of a request. Absent: no limit.
    #[serde(with = "size::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<size::Text>")]
    pub body_bytes: Option<u64>,
    /// Bytes that were received and that the other side has not read yet, 1MiB to 64GiB. Beyond it the fullest stream
    /// is reset.
    #[serde(with = "size")]
    #[schemars(with = "size::Text")]
    pub buffer_bytes: u64,
    /// How long a service may take to begin its answer, 1s to 1h. After it the consumer gets 504.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub response_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tunnels: 10,
            sessions: 20,
            names: 200,
            streams: 1000,
            requests_per_second: 200,
            burst: None,
            body_bytes: None,
            buffer_bytes: 64 << 20,
            response_timeout: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// What is wrong with the fields that a schema cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1 << 20..=64 << 30).contains(&self.buffer_bytes) {
            let shown = size::display(self.buffer_bytes);
            problems.push(Problem::value("bufferBytes", shown, "is not from 1MiB to 64GiB"));
        }
        if self.body_bytes == Some(0) {
            problems.push(Problem::value(
                "bodyBytes",
                "0",
                "would refuse every body: leave it out for no limit",
            ));
        }
        let timeout = self.response_timeout;
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&timeout) {
            problems.push(Problem::value(
                "responseTimeout",
                duration::display(timeout),
                "is not from 1s to 1h",
            ));
        }
        problems
    }
}
