//! The parts of one relay, put together.

use super::revision::Status;
use crate::{
    accounts::Accounts,
    auth::{Keys, LiveConfig},
    certificates::CertificateParts,
    config::Config,
    ops::{lifecycle::Lifecycle, telemetry::Telemetry},
    public::Frontend,
    routing::Routing,
    suspensions::SuspensionSet,
};
use adit_store::Store;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The parts of one relay. Only `server` knows them all: it opens them, runs their loops, and ends them.
pub(super) struct Relay {
    /// The configuration with which the process started.
    pub(super) config: Config,
    /// The keys that all relays of the region share.
    pub(super) keys: Keys,
    /// What is durable.
    pub(super) store: Store,
    /// The configuration that changes without a restart.
    pub(super) live: Arc<ArcSwap<LiveConfig>>,
    /// What accounts use here.
    pub(super) accounts: Arc<Accounts>,
    /// Who serves which endpoint.
    pub(super) routing: Arc<Routing>,
    /// Suspended accounts and hostnames.
    pub(super) suspensions: Arc<SuspensionSet>,
    /// Counters, access log, health.
    pub(super) telemetry: Arc<Telemetry>,
    /// What ends when.
    pub(super) lifecycle: Arc<Lifecycle>,
    /// Certificates and answers to CAs.
    pub(super) certificates: CertificateParts,
    /// What the public listeners share, and with it proxy and sessions.
    pub(super) frontend: Arc<Frontend>,
    /// What the relay reports in the store.
    pub(super) status: Status,
}
