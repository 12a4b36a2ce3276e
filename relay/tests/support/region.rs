//! What tests of a region share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use adit::{Tunnel, TunnelBuilder};
use adit_testkit::{
    http::Service,
    region::{DOMAIN, Region, Relay},
};
use std::time::{Duration, Instant};

/// A tunnel to a service by one relay, for the account `ci`; not open yet.
pub(crate) fn tunnel(region: &Region, relay: &Relay, service: &Service, name: &str) -> TunnelBuilder {
    Tunnel::http(service.address().to_string())
        .name(name)
        .relay(format!("{DOMAIN}:{}", relay.https().port()))
        .token(region.token(relay, "ci", &[]))
        .ca(region.ca())
}

/// The same, once it is open.
pub(crate) async fn open(region: &Region, relay: &Relay, service: &Service, name: &str) -> Tunnel {
    tunnel(region, relay, service, name).open().await.expect("the tunnel opens")
}

/// Looks again and again until something is so.
pub(crate) async fn wait(what: &str, state: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !state() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number of a relay's metrics, over all its labels; 0 while the relay does not answer.
pub(crate) fn number(relay: &Relay, name: &str) -> u64 {
    let Some((_, text)) = relay.ask("/metrics") else { return 0 };
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(of).sum::<f64>() as u64
}
