//! Why a stream, or its connection, broke.

use std::io;

/// Why a stream is reset, in the words of HTTP/2 (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// Nothing is wrong: the sender needs nothing more of the stream.
    NoError,
    /// The other side broke the protocol.
    ProtocolError,
    /// Something failed inside the sender.
    InternalError,
    /// The stream was not processed: its request can be sent again.
    RefusedStream,
    /// The sender has lost interest.
    Cancel,
    /// The other side asks for more than the sender has capacity for.
    EnhanceYourCalm,
    /// Any other code.
    Other(u32),
}

impl From<h2::Reason> for ResetReason {
    fn from(reason: h2::Reason) -> Self {
        match reason {
            h2::Reason::NO_ERROR => Self::NoError,
            h2::Reason::PROTOCOL_ERROR => Self::ProtocolError,
            h2::Reason::INTERNAL_ERROR => Self::InternalError,
            h2::Reason::REFUSED_STREAM => Self::RefusedStream,
            h2::Reason::CANCEL => Self::Cancel,
            h2::Reason::ENHANCE_YOUR_CALM => Self::EnhanceYourCalm,
            other => Self::Other(other.into()),
        }
    }
}

impl From<ResetReason> for h2::Reason {
    fn from(reason: ResetReason) -> Self {
        match reason {
            ResetReason::NoError => Self::NO_ERROR,
            ResetReason::ProtocolError => Self::PROTOCOL_ERROR,
            ResetReason::InternalError => Self::INTERNAL_ERROR,
            ResetReason::RefusedStream => Self::REFUSED_STREAM,
            ResetReason::Cancel => Self::CANCEL,
            ResetReason::EnhanceYourCalm => Self::ENHANCE_YOUR_CALM,
            ResetReason::Other(code) => Self::from(code),
        }
    }
}

/// A stream that was reset, or a connection that ended.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StreamError(pub(crate) h2::Error);

impl StreamError {
    /// The reason of a reset or of the connection's end, if the other side or this one gave any.
    pub fn reason(&self) -> Option<ResetReason> {
        self.0.reason().map(ResetReason::from)
    }

    /// Whether this stream alone was reset.
    pub fn is_reset(&self) -> bool {
        self.0.is_reset()
    }

    /// Whether the connection ends and does not serve this stream any more.
    pub fn is_go_away(&self) -> bool {
        self.0.is_go_away()
    }

    /// Whether the other side has ended the stream or the connection, not this one.
    pub fn is_remote(&self) -> bool {
        self.0.is_remote()
    }

    /// The kind of the connection's error if its byte stream failed.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.get_io().map(io::Error::kind)
    }

    /// Whether the other side has certainly not processed the request, so that it can be sent again whatever its method:
    /// the stream was refused, or is above the last one that the other side has taken (RFC 9113 section 8.7).
    pub fn is_unprocessed(&self) -> bool {
        let is_above_last_id =
            self.is_go_away() && self.is_remote() && self.reason() == Some(ResetReason::NoError);
        self.reason() == Some(ResetReason::RefusedStream) || is_above_last_id
    }
}

impl From<ResetReason> for StreamError {
    fn from(reason: ResetReason) -> Self {
        Self(h2::Reason::from(reason).into())
    }
}
