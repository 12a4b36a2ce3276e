//! The threads that carry sessions: single-threaded runtimes, so that a request never wakes another thread.

use crate::{local::LocalService, published::PublishedTunnel};
use adit_protocol::TunnelId;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The most lanes: more would be slower, because a relay answers each request on the core that it came in on.
pub(crate) const MAX_LANES: usize = 2;
/// How many tasks run before a lane looks for new IO.
const EVENT_INTERVAL: u32 = 61;

/// One thread with its runtime, and the connections to services that its sessions share.
#[derive(Debug)]
pub(crate) struct Lane {
    handle: Handle,
    services: Mutex<HashMap<TunnelId, Arc<LocalService>>>,
}

impl Lane {
    /// Starts a thread that ends with the token.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(crate) fn start(index: usize, stop: CancellationToken) -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .max_blocking_threads(4)
            .thread_keep_alive(Duration::from_secs(1))
            .build()?;
        let lane = Self { handle: runtime.handle().clone(), services: Mutex::default() };
        thread::Builder::new().name(format!("adit-lane-{index}")).spawn(move || {
            runtime.block_on(stop.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Arc::new(lane))
    }

    /// Runs a task on this lane.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// This lane's connections to a tunnel's service.
    pub(crate) fn service_of(&self, tunnel: &Arc<PublishedTunnel>) -> Arc<LocalService> {
        let mut services = self.services.lock().expect("no code panics while it holds this lock");
        services
            .entry(tunnel.id.clone())
            .or_insert_with(|| Arc::new(LocalService::new(tunnel.clone())))
            .clone()
    }
}
