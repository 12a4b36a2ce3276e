//! How a relay drains and ends.

use super::{Running, ServeError};
use crate::{config::RegistryUrl, ops::Phase, server::service};
use std::time::Duration;

/// For how long a draining relay still takes connections: load balancers need this to notice that it is unready.
const UNREADY: Duration = Duration::from_secs(3);

impl Running {
    /// Serves until `stop`, then drains and ends; a second `stop` cuts what is left.
    ///
    /// # Errors
    /// [`ServeError::Unhealthy`] when the relay has to be started anew.
    pub async fn until(mut self, mut stop: impl AsyncFnMut()) -> Result<(), ServeError> {
        let asked = self.relay.clone();
        tokio::select! {
            () = stop() => {}
            () = asked.draining_asked.notified() => {}
            ended = &mut self.beat => return Ok(ended.unwrap_or(Ok(()))?),
        }
        tokio::select! { () = self.drain() => {}, () = stop() => {} }
        self.end().await;
        Ok(())
    }

    /// Unready; the clients move; new connections end; what is under way may finish.
    async fn drain(&self) {
        let relay = &self.relay;
        tracing::info!(sessions = relay.local.session_count(), "draining");
        relay.health.enter(Phase::Draining);
        relay.draining.cancel();
        relay.news.notify_one();
        service::beat_once(relay).await;
        let deadline = tokio::time::Instant::now() + relay.config.drain_timeout;
        // A relay that is alone has no load balancer that would send its consumers elsewhere.
        let notice =
            if matches!(relay.config.registry, RegistryUrl::Memory) { Duration::ZERO } else { UNREADY };
        let unready = deadline.min(tokio::time::Instant::now() + notice);
        let over = |now| now >= deadline || (now >= unready && self.is_idle());
        loop {
            let now = tokio::time::Instant::now();
            if now >= unready {
                self.relay.closed.cancel();
            }
            if over(now) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.relay.local.session_count() == 0 && self.relay.open_streams() == 0
    }

    async fn end(self) {
        let relay = self.relay;
        relay.closed.cancel();
        relay.closing.cancel();
        let (domain, id) = (&relay.config.domain, &relay.id);
        let ((), _) = tokio::join!(relay.registry.leave(), relay.store.relay_gone(domain, id));
        let patience = tokio::time::Instant::now() + Duration::from_secs(2);
        while relay.local.session_count() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.stop.cancel();
        relay.access_log.close(Duration::from_secs(1));
        drop(self.lanes);
    }
}
