//! What all reconciliations of Regions share.

use super::{certificate_names::CertificateNames, desired::ProviderDefaults};
use crate::{apply::Applier, controller::Guarded, events::Events, store_view::StoreView};
use adit_api::Region;
use adit_store::Store;
use kube::{Client, runtime::reflector};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

/// What all reconciliations of Regions share.
pub(crate) struct RegionContext {
    /// A client of the API server that does not retry.
    pub(crate) client: Client,
    /// Applies the Regions' objects.
    pub(crate) applier: Applier,
    /// All Regions, as the watch last saw them.
    pub(crate) regions: reflector::Store<Guarded<Region>>,
    /// The relays' reports.
    pub(crate) view: Arc<StoreView>,
    /// The store; `None` if the operator was started without one.
    pub(crate) store: Option<Store>,
    /// Publishes Events.
    pub(crate) events: Events,
    /// Settings that hold for all Regions.
    pub(crate) provider: ProviderDefaults,
    /// The relays' image for Regions that name none.
    pub(crate) relay_image: String,
    /// The database roles to which this process has granted the relays' rights.
    pub(crate) granted_roles: Mutex<HashSet<String>>,
    /// The names of Certificates.
    pub(crate) certificate_names: CertificateNames,
}
