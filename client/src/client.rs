//! A running client.

mod builder;

use crate::{context::ClientContext, event_queue::Events, problem::Problem, sessions::ClientCommand};
use adit_protocol::TunnelId;
pub use builder::{ClientBuilder, StartError};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running client: it holds sessions with a region's relays, and serves its tunnels on them.
///
/// It runs on threads of its own. Dropping it cuts everything at once; [`Client::stop`] lets answers in flight end.
pub struct Client {
    context: Arc<ClientContext>,
    commands: mpsc::Sender<ClientCommand>,
    ended: watch::Receiver<Option<Result<(), Problem>>>,
    threads: CancellationToken,
    _stop_threads: DropGuard,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("relay", &self.context.dialer.relay).finish_non_exhaustive()
    }
}

impl Client {
    /// The client's events from now on, and earlier ones that nobody has read.
    ///
    /// With `requests`, each request and connection is reported too, which costs a little. Of several readers each event
    /// reaches one.
    pub fn events(&self, requests: bool) -> Events {
        self.context.event_queue.events(requests)
    }

    /// The ids of the tunnels, in the order in which they were added.
    pub fn tunnels(&self) -> Vec<TunnelId> {
        self.context.tunnels.iter().map(|tunnel| tunnel.id.clone()).collect()
    }

    /// Where consumers reach a tunnel; `None` until a relay has granted it.
    pub fn url(&self, tunnel: &TunnelId) -> Option<String> {
        self.context.tunnel(tunnel).and_then(|tunnel| tunnel.url())
    }

    /// Answers a tunnel's consumers with 503 until [`Client::resume`].
    pub fn pause(&self, tunnel: &TunnelId) {
        if let Some(tunnel) = self.context.tunnel(tunnel) {
            tunnel.set_paused(true);
        }
    }

    /// Lets a tunnel's consumers through again.
    pub fn resume(&self, tunnel: &TunnelId) {
        if let Some(tunnel) = self.context.tunnel(tunnel) {
            tunnel.set_paused(false);
        }
    }

    /// Ends the client: closes its tunnels, and gives open requests this time to end.
    pub async fn stop(self, grace: Duration) {
        let (done, finished) = oneshot::channel();
        if self.commands.send(ClientCommand::Stop { grace, done }).await.is_ok() {
            let _ = finished.await;
        }
        self.threads.cancel();
    }

    /// Waits until the client has ended. It may be called at any time, also afterwards.
    ///
    /// # Errors
    /// Why the client could not go on: no relay will have it, or its tunnels belong to another client now.
    pub async fn closed(&self) -> Result<(), Problem> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }
}
