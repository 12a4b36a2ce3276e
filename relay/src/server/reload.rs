//! What changes without a new process: limits, access, certificates.
//!
//! The files are looked at every few seconds rather than watched: a mounted ConfigMap changes by a swap of links, and a
//! watch that is lost would be a change that is never seen. What is wrong changes nothing and is said.

use super::{
    relay::Relay,
    revision::{Revision, read_revision},
};
use crate::{
    accounts::Limits,
    auth::LiveConfig,
    certificates::read_certificates,
    cluster::peer::tls::PeerTls,
    config::{self, Config},
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::time::sleep;

/// How often the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Uses what changes in the files, for as long as the relay runs.
pub(super) async fn watch(relay: Arc<Relay>) {
    // The files of the configuration that is used: another one may name others.
    let mut current = relay.config.clone();
    loop {
        sleep(CHECK_INTERVAL).await;
        if relay.lifecycle.closing.is_cancelled() {
            return;
        }
        let read = read_revision(&current);
        if relay.status.revision().read == read {
            continue;
        }
        match reload(&relay, &current) {
            Ok(config) => {
                let used = read_revision(&config);
                tracing::info!(revision = used, "configuration reloaded");
                *relay.status.revision() = Revision { read: used.clone(), used, refused: None };
                current = config;
            }
            Err(refused) => {
                tracing::error!(
                    refused,
                    "configuration reload failed; the earlier configuration stays in use"
                );
                let mut revision = relay.status.revision();
                revision.read = read;
                revision.refused = Some(refused);
            }
        }
        relay.status.news.notify_one();
    }
}

/// Reads everything, and uses it only if all of it is right.
fn reload(relay: &Relay, current: &Config) -> Result<Config, String> {
    let config = Config::load(current.source.as_deref(), config::environment());
    let config = config.map_err(|errors| words(&errors))?;
    let live = LiveConfig::new(&config, &relay.keys).map_err(|error| words(&error))?;
    let served = read_certificates(&config.certificates).map_err(|error| words(&error))?;
    let peer = config.peer.as_ref().map(|peer| PeerTls::read(peer, &config.domain)).transpose();
    let peer = peer.map_err(|error| words(&error))?;
    let keys = current.keys_that_need_restart(&config);
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "some changed keys need a restart to take effect");
    }
    let before = relay.live.swap(Arc::new(live));
    relimit(relay, &before.limits);
    if !served.is_empty() {
        relay.certificates.resolver.replace(served);
    }
    if let Some(peer) = peer {
        relay.routing.peers.replace_tls(peer);
    }
    Ok(config)
}

/// Gives every account that is here its new limits.
fn relimit(relay: &Relay, before: &Limits) {
    let limits = relay.live.load().limits.clone();
    for account in relay.accounts.all() {
        if account.limits() == *before {
            account.set_limits(&limits);
        }
    }
    for session in relay.routing.local.sessions() {
        session.usage.set_limits(&session.permissions.limits(&limits));
    }
}

/// An error and its causes in one line.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string().trim_end().replace('\n', "; ");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
