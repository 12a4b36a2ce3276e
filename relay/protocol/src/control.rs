//! The messages of a session's control stream: JSON lines in both directions.

use crate::{Code, OpenTunnel, OpenedTunnel, Proof, RefusedTunnel, SuspensionNotice, TunnelId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most bytes of a line, its line feed not counted.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// A message from a relay to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToClient {
    /// The relay is about to shut down: the client opens a session elsewhere and then leaves this one.
    Move {
        /// The time after which the relay cuts what is left, in milliseconds from now.
        deadline_ms: u64,
    },
    /// A tunnel of [`ToRelay::Open`] is open.
    Opened(OpenedTunnel),
    /// A tunnel of [`ToRelay::Open`] is refused.
    Refused(RefusedTunnel),
    /// The relay has closed a tunnel.
    Closed {
        /// The client's own id for it.
        tunnel: TunnelId,
        /// Why.
        code: Code,
        /// The same for a person.
        message: String,
    },
    /// A new credential, in answer to [`ToRelay::Renew`].
    Credential {
        /// The proof from now on. It is a secret.
        credential: String,
        /// Its expiry in seconds since 1970 (UTC).
        expires: u64,
    },
    /// A renewal was refused: the session ends when its credential expires.
    RenewRefused {
        /// Why.
        code: Code,
        /// The same for a person.
        message: String,
    },
    /// Consumers were refused by a limit of the account. Sent at most once a second.
    Limited {
        /// Which limit, for example [`Code::RateLimited`].
        code: Code,
        /// The limit's value, for example 200 requests a second.
        limit: u64,
        /// The number of consumers refused since the last such message.
        refused: u64,
    },
    /// The number of the region's relays has changed.
    Relays {
        /// The number of healthy relays, this one included.
        relays: u32,
    },
    /// The session ends now.
    Close {
        /// Why.
        code: Code,
        /// The same for a person.
        message: String,
        /// With [`Code::Suspended`]: the suspension.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspension: Option<Box<SuspensionNotice>>,
    },
    /// A message of a later version: it is ignored.
    #[serde(other)]
    Unknown,
}

impl ToClient {
    /// The last message of a session, without a suspension.
    pub fn close(code: Code, message: impl Into<String>) -> Self {
        Self::Close { code, message: message.into(), suspension: None }
    }
}

/// A message from a client to a relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToRelay {
    /// Open another tunnel on this session.
    Open(OpenTunnel),
    /// Close a tunnel for good: its name goes into quarantine for everyone but the account.
    Close {
        /// The client's own id for it.
        tunnel: TunnelId,
    },
    /// Exchange this proof for a new credential. If the proof is a credential, its key has to be the session's.
    Renew {
        /// A fresh token, or the current credential.
        proof: Proof,
    },
    /// The client exits: its tunnels close for good.
    Bye {},
    /// The client leaves this session for another one, which serves its tunnels.
    Leave {},
}

/// Why a line of the control stream cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// More than [`MAX_LINE_BYTES`] without a line feed.
    #[error("a control line has at most {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not a message of this protocol.
    #[error("not a control message")]
    Json(#[from] serde_json::Error),
}

/// The message as a line, its line feed included.
///
/// # Errors
/// [`LineError::TooLong`] if the message has more than [`MAX_LINE_BYTES`].
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, LineError> {
    let mut line = serde_json::to_vec(message)?;
    if line.len() > MAX_LINE_BYTES {
        return Err(LineError::TooLong);
    }
    line.push(b'\n');
    Ok(line)
}

/// Reads messages from the chunks in which their lines arrive.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Appends a chunk.
    ///
    /// # Errors
    /// [`LineError::TooLong`] once more than [`MAX_LINE_BYTES`] have no line feed. The stream cannot be used after that.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), LineError> {
        self.buffer.extend_from_slice(chunk);
        let tail = self.buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if self.buffer.len() - tail > MAX_LINE_BYTES { Err(LineError::TooLong) } else { Ok(()) }
    }

    /// The next message, or `None` while its line is incomplete.
    ///
    /// # Errors
    /// [`LineError`] if the line is too long or is not such a message.
    #[allow(clippy::should_implement_trait, reason = "each call may ask for another type")]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        let Some(end) = self.buffer.iter().position(|b| *b == b'\n') else { return Ok(None) };
        if end > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        let message = serde_json::from_slice(&self.buffer[..end]);
        self.buffer.drain(..=end);
        Ok(Some(message?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        let mut bytes = encode(&ToRelay::Bye {}).unwrap();
        bytes.extend(encode(&ToRelay::Leave {}).unwrap());
        for size in 1..bytes.len() {
            let mut lines = Lines::default();
            let mut seen = vec![];
            for chunk in bytes.chunks(size) {
                lines.push(chunk).unwrap();
                while let Some(message) = lines.next::<ToRelay>().unwrap() {
                    seen.push(message);
                }
            }
            assert!(matches!(seen[..], [ToRelay::Bye {}, ToRelay::Leave {}]), "{seen:?}");
        }
    }

    #[test]
    fn an_unknown_message_is_ignored_from_a_relay_alone() {
        let mut lines = Lines::default();
        lines
            .push(b"{\"type\":\"dance\",\"steps\":[1,{}]}\n{\"type\":\"relays\",\"relays\":2,\"new\":1}\n")
            .unwrap();
        assert!(matches!(lines.next().unwrap(), Some(ToClient::Unknown)));
        assert!(matches!(lines.next().unwrap(), Some(ToClient::Relays { relays: 2 })));
        lines.push(b"{\"type\":\"dance\"}\n").unwrap();
        assert!(matches!(lines.next::<ToRelay>(), Err(LineError::Json(_))));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; MAX_LINE_BYTES]).is_ok());
        assert!(matches!(lines.push(b"x"), Err(LineError::TooLong)));
    }
}
