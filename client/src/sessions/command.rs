//! What a client's user wants of it.

use std::time::Duration;
use tokio::sync::oneshot;

/// What a client's user wants of it.
pub(crate) enum ClientCommand {
    /// End once what is under way is through, or after this time.
    Stop { grace: Duration, done: oneshot::Sender<()> },
}
