//! The end of a relay, in the order in which it comes.

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What the parts of a relay wait for when it ends. Each token is cancelled once.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// Notified when the admin API asks the relay to drain.
    pub(crate) drain_requested: Notify,
    /// Cancelled when the relay begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when no further connections are accepted, and idle ones end.
    pub closed: CancellationToken,
    /// Cancelled when open work is cut.
    pub closing: CancellationToken,
}
