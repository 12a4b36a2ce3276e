//! What all reconciliations of Complaints share.

use super::relay_reports::RelayReports;
use crate::{events::Events, metrics::Metrics};
use adit_store::Store;
use kube::Client;
use std::sync::Arc;

/// What all reconciliations of Complaints share.
#[derive(Clone)]
pub(super) struct ComplaintContext {
    /// A client of the API server that does not retry.
    pub(super) client: Client,
    /// The store; `None` if the operator was started without one.
    pub(super) store: Option<Store>,
    /// The relays' reports.
    pub(super) reports: Arc<RelayReports>,
    /// Publishes Events.
    pub(super) events: Events,
    /// The operator's metrics.
    pub(super) metrics: Arc<Metrics>,
}
