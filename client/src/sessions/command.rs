//! Commands of the program that runs a client.

use std::time::Duration;
use tokio::sync::oneshot;

/// A command to the session manager.
pub(crate) enum ClientCommand {
    /// End once open requests have ended, at the latest after `grace`.
    Stop { grace: Duration, done: oneshot::Sender<()> },
}
