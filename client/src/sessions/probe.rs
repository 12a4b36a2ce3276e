//! Looks at local services between consumers.

use crate::{context::ClientContext, local};
use adit_protocol::Kind;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// Between two looks at whether a service that was down takes connections again.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Notices when services go up or down without a consumer.
pub(super) async fn probe_services(context: Arc<ClientContext>) {
    // A TCP service may take its one connection for the consumer's.
    let tunnels =
        || context.tunnels.iter().filter(|tunnel| tunnel.spec.kind() == Kind::Http && tunnel.spec.enabled);
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
