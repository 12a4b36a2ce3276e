//! Copies between a consumer and a stream.
//!
//! `http`, `upgrade` and `tcp` serve consumers; `peer` serves streams that other relays of the region send.

pub mod answer;
pub(crate) mod consumer;
pub mod error_page;
pub mod headers;
pub mod http;
pub mod peer;
mod redirect;
mod refusal;
mod request_record;
mod retry;
pub mod tcp;
mod upgrade;
mod upload;

use crate::{
    accounts::{Accounts, buffers::RelayBuffers},
    auth::LiveConfig,
    certificates::challenges::Challenges,
    config::PlainHttp,
    ops::{lifecycle::Lifecycle, telemetry::Telemetry},
    routing::Routing,
    suspensions::SuspensionSet,
};
use arc_swap::ArcSwap;
pub use consumer::connection_limit::raise_limit;
use std::sync::Arc;

/// What the requests and connections of consumers share.
pub(crate) struct Proxy {
    pub(crate) routing: Arc<Routing>,
    pub suspensions: Arc<SuspensionSet>,
    /// What accounts use here.
    pub(crate) accounts: Arc<Accounts>,
    /// The region's limits.
    pub(crate) live: Arc<ArcSwap<LiveConfig>>,
    /// Unread bytes of streams with slow readers.
    pub(crate) buffers: RelayBuffers,
    /// Answers to CAs.
    pub(crate) challenges: Arc<Challenges>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// What plain HTTP gets.
    pub plain_http: PlainHttp,
    /// Whom consumers write to about abuse; empty if nobody.
    pub(crate) abuse: String,
}
