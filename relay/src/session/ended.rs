//! How sessions end.

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The connection ended.
    Lost,
    /// The client did not answer a ping.
    Silent,
    /// The client ends for good.
    Bye,
    /// The relay closed the session and said why.
    Closed,
    /// The client broke the protocol, or does not read.
    Broken,
}

impl Ended {
    /// Whether nothing more can be said on the connection.
    pub(super) fn is_abrupt(self) -> bool {
        matches!(self, Self::Lost | Self::Silent | Self::Broken)
    }
}
