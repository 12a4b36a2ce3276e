//! Draining and ending a relay.

use super::{Running, ServeError};
use crate::{ops::LifecyclePhase, server::service};
use std::time::Duration;

/// Time for load balancers to notice that a draining relay is unready; it still takes connections meanwhile.
const UNREADY_NOTICE: Duration = Duration::from_secs(3);
/// Interval at which a draining relay looks whether its work is done.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum time for sessions to end after they were told to close.
const MAX_CLOSE_TIME: Duration = Duration::from_secs(2);

impl Running {
    /// Serves until `stop`, then drains and ends; a second `stop` cuts what is left.
    ///
    /// # Errors
    /// [`ServeError::Unhealthy`] when the relay has to be started anew.
    pub async fn until(mut self, mut stop: impl AsyncFnMut()) -> Result<(), ServeError> {
        let asked = self.relay.clone();
        tokio::select! {
            () = stop() => {}
            () = asked.lifecycle.drain_requested.notified() => {}
            ended = &mut self.beat => return Ok(ended.unwrap_or(Ok(()))?),
        }
        tokio::select! { () = self.drain() => {}, () = stop() => {} }
        self.end().await;
        Ok(())
    }

    /// Drains: reports unready, asks the clients to move, refuses new connections and waits for open work, at most until
    /// `drainTimeout`.
    ///
    /// A relay that is alone in its region closes its listeners at once and waits for streams only: its clients have nowhere
    /// to move to, and no load balancer would send its consumers elsewhere.
    async fn drain(&self) {
        let relay = &self.relay;
        tracing::info!(sessions = relay.routing.local.session_count(), "draining");
        relay.telemetry.health.enter(LifecyclePhase::Draining);
        relay.lifecycle.draining.cancel();
        relay.status.news.notify_one();
        service::beat_once(relay).await;
        let deadline = tokio::time::Instant::now() + relay.config.drain_timeout;
        let notice = if self.is_alone() { Duration::ZERO } else { UNREADY_NOTICE };
        let unready = deadline.min(tokio::time::Instant::now() + notice);
        let over = |now| now >= deadline || (now >= unready && self.is_idle());
        loop {
            let now = tokio::time::Instant::now();
            if now >= unready {
                self.relay.lifecycle.closed.cancel();
            }
            if over(now) {
                return;
            }
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    }

    /// Whether no open work is left that could still end well.
    fn is_idle(&self) -> bool {
        let relay = &self.relay;
        relay.telemetry.open_streams() == 0 && (relay.routing.local.session_count() == 0 || self.is_alone())
    }

    /// Whether the region has no other relay that takes sessions.
    fn is_alone(&self) -> bool {
        let routing = &self.relay.routing;
        let relays = routing.registry.table().relays();
        !relays.iter().any(|record| record.relay != routing.relay && !record.draining)
    }

    async fn end(self) {
        let relay = self.relay;
        relay.lifecycle.closed.cancel();
        relay.lifecycle.closing.cancel();
        let (domain, id) = (&relay.config.domain, &relay.routing.relay);
        let ((), _) = tokio::join!(relay.routing.registry.leave(), relay.store.relay_gone(domain, id));
        let deadline = tokio::time::Instant::now() + MAX_CLOSE_TIME;
        while relay.routing.local.session_count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.stop.cancel();
        relay.telemetry.access_log.close(Duration::from_secs(1));
        drop(self.lanes);
        drop(self.data_dir);
    }
}
