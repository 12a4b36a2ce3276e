//! Probes local services, so that their state is known without a consumer.

use crate::{context::ClientContext, local};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// Time between two probes of a service that is down.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Probes each HTTP service once, then those that are down until they accept connections.
pub(super) async fn probe_services(context: Arc<ClientContext>) {
    // A TCP service may take the probe's connection for a consumer's.
    let tunnels =
        || context.tunnels.iter().filter(|tunnel| !tunnel.spec.kind().is_by_port() && tunnel.spec.enabled);
    for tunnel in tunnels() {
        local::probe(tunnel).await;
    }
    loop {
        sleep(PROBE_INTERVAL).await;
        for tunnel in tunnels().filter(|tunnel| tunnel.is_down()) {
            local::probe(tunnel).await;
        }
    }
}
