//! A relay that gets its own certificate from a CA.

use crate::{config::Acme, relay::Relay};
use adit_acme::{Issuer, KeyAlgorithm, Request, State, dns::Resolvers};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// How soon after the store has failed.
const SOON: Duration = Duration::from_secs(5);

/// Gets a certificate and renews it, for as long as the relay runs. `own` is where it answers in clear.
pub async fn run(relay: Arc<Relay>, acme: Acme, own: Option<SocketAddr>) {
    let domain = relay.config.domain.clone();
    let keeper = relay.keys.region.sealing_keys().into_iter().next().expect("a region has at least one key");
    let request = Request {
        id: format!("relay/{domain}"),
        names: acme.names.clone(),
        regions: vec![domain.clone()],
        ca: acme.ca.clone(),
        proof: acme.proof.clone(),
        algorithm: KeyAlgorithm::EcdsaP256,
        rotate: true,
        renew_before: acme.renew_before,
        newer_than: None,
    };
    let issuer = Issuer {
        store: relay.store.clone(),
        keeper,
        holder: format!("{}-{:08x}", relay.id, rand::random::<u32>()),
        resolvers: Resolvers::new(&acme.resolvers),
        own_http: own.map(reachable),
    };
    while !relay.closing.is_cancelled() {
        let again = match advance(&issuer, &request, &domain).await {
            Ok(again) => again,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no certificate without the store");
                SOON
            }
        };
        tokio::select! {
            () = sleep(again) => {}
            () = relay.closing.cancelled() => return,
        }
    }
}

async fn advance(
    issuer: &Issuer,
    request: &Request,
    domain: &str,
) -> Result<Duration, adit_store::StoreError> {
    issuer.store.put_region(domain, &issuer.keeper.public_text()).await?;
    let progress = issuer.advance(request).await?;
    if let Some(ahead) = progress.clock_ahead.filter(|ahead| ahead.abs() > 600) {
        tracing::warn!(seconds = ahead, "the CA's clock is ahead of this one: certificates are dated by it");
    }
    if progress.state == State::Issued {
        tracing::info!(names = request.names.join(","), "a certificate was issued");
    }
    Ok(progress.again)
}

/// Where this process itself reaches an address that it listens on.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}
