//! Leases: names with the ownership that their tunnels were opened under.

use adit_protocol::{Account, Endpoint};

/// A name with the ownership that its tunnel was opened under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The host name or the port.
    pub endpoint: Endpoint,
    /// The owner.
    pub account: Account,
    /// From [`Reservation::generation`](crate::Reservation::generation).
    pub generation: u64,
}

/// Host names are unique in the whole provider; ports are a region's own.
pub(crate) fn key(region: &str, endpoint: &Endpoint) -> String {
    endpoint.provider_key(region)
}
