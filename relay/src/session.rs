//! One client's connection: hello, admission, control, drain.
//!
//! `accept` reads the hello, `admit` decides who is let in, `open` gives tunnels their endpoints, `run` is the session's
//! life on its lane, and `control` its conversation with the client.

pub(crate) mod accept;
pub(crate) mod admit;
mod control;
mod ended;
mod migratable_stream;
mod open;
mod random_name;
mod run;
mod serve;
pub(crate) mod suspend;

use crate::{
    accounts::Accounts,
    auth::{CredentialLifetimes, LiveConfig, ProofSealer},
    lanes::Lane,
    ops::{clock::now, lifecycle::Lifecycle, telemetry::Telemetry},
    routing::{Routing, local::ServedEndpoint},
    suspensions::SuspensionSet,
};
use adit_protocol::{
    Code, HelloRefusal,
    frame::FrameError,
    hello::{Facts, Provider},
};
use adit_store::Store;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::{sync::Arc, time::Duration};

/// What the sessions of a relay share.
pub(crate) struct Sessions {
    /// Who is let in.
    pub(crate) admission: Admission,
    pub(crate) routing: Arc<Routing>,
    pub(crate) suspensions: Arc<SuspensionSet>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Reservations and used tokens.
    pub(crate) store: Store,
    /// Where sessions live.
    pub(crate) lanes: Vec<Lane>,
    /// TLS with clients.
    pub(crate) tls: Arc<ServerConfig>,
    /// How long a client may take to leave a draining relay.
    pub(crate) drain_timeout: Duration,
}

/// What decides who is let in.
pub(crate) struct Admission {
    /// Verifies tokens, and the region's limits.
    pub(crate) live: Arc<ArcSwap<LiveConfig>>,
    /// What accounts use here.
    pub(crate) accounts: Arc<Accounts>,
    /// Makes and opens credentials and tickets.
    pub(crate) seal: ProofSealer,
    /// How long credentials live.
    pub(crate) rules: CredentialLifetimes,
    /// Facts of a refused proof, for the client's texts.
    pub(crate) token_facts: Facts,
    /// Who runs this relay, for messages.
    pub(crate) provider: Provider,
}

impl Sessions {
    /// The refusal of a hello.
    fn refused(&self, code: Code, message: String) -> HelloRefusal {
        self.telemetry.lane().metrics.refused(code);
        let facts = if code.is_about_proof() { self.admission.token_facts.clone() } else { Facts::default() };
        HelloRefusal {
            code,
            message,
            time: now(),
            min_version: None,
            retry_after_ms: None,
            provider: self.admission.provider.clone(),
            facts,
            suspension: None,
        }
    }

    /// The refusal of bytes that are not a hello.
    fn bad_hello(&self, error: &FrameError) -> HelloRefusal {
        let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
        self.refused(Code::BadHello, format!("{error}{cause}"))
    }

    /// Ends the lease of an endpoint that its client gives up.
    async fn release_lease(&self, served: &ServedEndpoint) {
        let released = self.store.release(&self.routing.domain, &served.lease(), now()).await;
        if let Err(error) = released {
            tracing::debug!(
                endpoint = %served.endpoint,
                error = &error as &dyn std::error::Error,
                "lease not released; it will expire"
            );
        }
    }
}
