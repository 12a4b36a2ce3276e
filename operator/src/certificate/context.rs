//! What all reconciliations of Certificates share.

use super::relay_prober::RelayProber;
use crate::{controller::Guarded, events::Events, metrics::Metrics};
use adit_acme::Issuer;
use adit_api::Certificate;
use kube::{Client, runtime::reflector};
use std::{sync::Arc, time::Duration};

/// Interval between reconciliations of a settled Certificate.
pub(super) const RESYNC_INTERVAL: Duration = Duration::from_secs(60);

/// What all reconciliations of Certificates share.
pub(super) struct CertificateContext {
    /// A client of the API server that does not retry.
    pub(super) client: Client,
    /// Issues and publishes certificates.
    pub(super) issuer: Issuer,
    /// All Certificates, as the watch last saw them.
    pub(super) certificates: reflector::Store<Guarded<Certificate>>,
    /// Publishes Events.
    pub(super) events: Events,
    /// Verifies what relays serve.
    pub(super) prober: RelayProber,
    /// The operator's metrics.
    pub(super) metrics: Arc<Metrics>,
}
