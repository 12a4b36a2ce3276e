//! One relay alone, its client, a service and consumers: what it carries, its configuration and its operation.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod encrypted;
mod headers;
mod kinds;
mod operation;
mod program;
mod reload;
mod slow_consumers;
mod standalone;

use adit::Tunnel;
use adit_testkit::{
    http::Service,
    region::{DOMAIN, Region, Relay},
};

/// Opens a tunnel of the account `ci` to a service by one relay.
async fn open_tunnel(region: &Region, relay: &Relay, service: &Service, name: &str) -> Tunnel {
    Tunnel::http(service.address().to_string())
        .name(name)
        .relay(format!("{DOMAIN}:{}", relay.https().port()))
        .token(region.token(relay, "ci", &[]))
        .ca(region.ca())
        .open()
        .await
        .expect("the tunnel opens")
}
