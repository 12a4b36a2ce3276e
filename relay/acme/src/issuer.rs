//! The issuer: what each step of issuing works with.

use crate::{dns::Resolvers, seal::SealingKey};
use adit_store::Store;
use std::net::SocketAddr;

/// The seconds that a fence lasts without being renewed. After that another process takes over from a killed one.
pub(crate) const FENCE_SECONDS: u64 = 15;

/// Issues certificates into a store.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The store for accounts, orders and certificates.
    pub store: Store,
    /// Seals and opens account keys and the keys of pending orders.
    pub operator_key: SealingKey,
    /// The identity of this process among all that issue into this store.
    pub holder: String,
    /// The resolvers for self-checks and CNAMEs.
    pub resolvers: Resolvers,
    /// The address at which this process answers http-01 challenges, for the self-check. Absent: the addresses of the
    /// names.
    pub own_http: Option<SocketAddr>,
    /// The address at which this process answers tls-alpn-01 challenges.
    pub own_tls: Option<SocketAddr>,
}
