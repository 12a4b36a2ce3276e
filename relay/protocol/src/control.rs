//! The messages of a session's control stream: one JSON object a line, in both directions.

use crate::{Code, OpenTunnel, OpenedTunnel, Proof, RefusedTunnel, SuspensionNotice, TunnelId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most bytes that a line may have, its line feed not counted.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a relay says to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToClient {
    /// The relay will go away: open a session elsewhere, then end this one. No new stream comes once that is done.
    Move {
        /// In how many milliseconds the relay cuts what is left.
        deadline_ms: u64,
    },
    /// A tunnel that the client asked for on this stream is open.
    Opened(OpenedTunnel),
    /// A tunnel that the client asked for on this stream is refused.
    Refused(RefusedTunnel),
    /// A tunnel is closed by the relay.
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
        /// What to prove with from now on. It is a secret.
        credential: String,
        /// When it ends, in seconds since 1970 (UTC).
        expires: u64,
    },
    /// A renewal was refused: the session ends at its credential's end.
    RenewRefused {
        /// Why.
        code: Code,
        /// The same for a person.
        message: String,
    },
    /// Consumers were refused because of a limit of the account; at most one such message a second.
    Limited {
        /// Which limit, for example [`Code::RateLimited`].
        code: Code,
        /// The limit's value, for example 200 requests a second.
        limit: u64,
        /// How many consumers were refused since the last such message.
        refused: u64,
    },
    /// The region has another number of relays than the client was told last.
    Relays {
        /// How many are healthy, this one included.
        relays: u32,
    },
    /// The session ends now.
    Close {
        /// Why.
        code: Code,
        /// The same for a person.
        message: String,
        /// With [`Code::Suspended`]: what the account is told of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspension: Option<Box<SuspensionNotice>>,
    },
    /// Something that a later version says: it is passed over.
    #[serde(other)]
    Unknown,
}

impl ToClient {
    /// The last message of a session, without a suspension.
    pub fn close(code: Code, message: impl Into<String>) -> Self {
        Self::Close { code, message: message.into(), suspension: None }
    }
}

/// What a client says to a relay.
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
    /// Give a new credential for this proof. The session's key has to be the proof's, if that is a credential.
    Renew {
        /// A fresh token, or the current credential.
        proof: Proof,
    },
    /// The client ends: its tunnels close for good.
    Bye {},
    /// The client leaves this session for another: its tunnels go on there.
    Leave {},
}

/// Why a line of the control stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// More than [`MAX_LINE_BYTES`] without a line feed.
    #[error("a control line has at most {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not a message of this protocol.
    #[error("not a control message")]
    Json(#[from] serde_json::Error),
}

/// One message as a line, its line feed included.
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

/// Puts lines together from the chunks in which they arrive.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Takes what has arrived.
    ///
    /// # Errors
    /// [`LineError::TooLong`] once more than [`MAX_LINE_BYTES`] wait without a line feed; the stream is of no use then.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), LineError> {
        self.buffer.extend_from_slice(chunk);
        let tail = self.buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if self.buffer.len() - tail > MAX_LINE_BYTES { Err(LineError::TooLong) } else { Ok(()) }
    }

    /// The next whole message, or `None` until more has arrived.
    ///
    /// # Errors
    /// [`LineError`] if the line is too long or is something else.
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
    fn what_a_later_relay_says_is_passed_over_and_what_no_client_says_is_not() {
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
