//! Runs the controller of Regions.

use super::{certificate_names::CertificateNames, context::RegionContext, desired::ProviderDefaults};
use crate::{
    api_server::scoped_api,
    apply::Applier,
    children::Children,
    controller::{self, Guarded, NamespacedName, RunOptions},
    events::Events,
    metrics::Metrics,
    store_view::{Reachability, StoreView, Wake},
};
use adit_api::Region;
use adit_store::Store;
use futures_util::{Stream, StreamExt, stream};
use kube::{
    Client,
    runtime::{
        Controller,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Changes of one Region within this time are reconciled together.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Maximum delay after failures.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long reconciliations that have begun may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// What the controller of Regions needs.
pub(crate) struct RegionSettings {
    /// A client of the API server that does not retry.
    pub(crate) client: Client,
    /// The only namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// The metadata of the objects that exist.
    pub(crate) children: Arc<Children>,
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
    /// The operator's metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// How many Regions are reconciled at once.
    pub(crate) concurrency: u16,
}

/// What makes the controller reconcile Regions, in addition to their own changes.
pub(crate) struct Queues {
    /// Regions whose objects have changed.
    pub(crate) changed: mpsc::Receiver<NamespacedName>,
    /// The sender of `changed`.
    pub(crate) requeue: mpsc::Sender<NamespacedName>,
    /// Changes in the store.
    pub(crate) woken: mpsc::Receiver<Wake>,
}

/// Reconciles Regions until `stop`, and then until all reconciliations have ended.
pub(crate) async fn run(settings: RegionSettings, queues: Queues, stop: CancellationToken) {
    let RegionSettings { client, namespace, metrics, view, .. } = settings;
    let api = scoped_api::<Guarded<Region>>(&client, namespace.as_deref());
    let controller =
        Controller::new(api, watcher::Config::default()).reconcile_on(object_refs(queues.changed));
    let regions = controller.store();
    let context = RegionContext {
        applier: Applier::new(client.clone(), settings.children),
        regions: regions.clone(),
        view: view.clone(),
        store: settings.store,
        events: settings.events,
        provider: settings.provider,
        relay_image: settings.relay_image,
        granted_roles: Mutex::default(),
        certificate_names: CertificateNames::new(namespace),
        client,
    };
    let options = RunOptions {
        concurrency: settings.concurrency,
        debounce: DEBOUNCE,
        max_delay: MAX_RETRY_DELAY,
        shutdown_timeout: SHUTDOWN_TIMEOUT,
    };
    tokio::spawn(forward_wakes(queues.woken, queues.requeue, regions, view, metrics.clone()));
    controller::run(controller, context, options, metrics, stop).await;
}

fn object_refs(
    mut changed: mpsc::Receiver<NamespacedName>,
) -> impl Stream<Item = ObjectRef<Guarded<Region>>> + Send {
    stream::poll_fn(move |cx| changed.poll_recv(cx)).map(|region| region.object_ref())
}

/// Queues the Regions that a change in the store concerns.
async fn forward_wakes(
    mut woken: mpsc::Receiver<Wake>,
    requeue: mpsc::Sender<NamespacedName>,
    regions: reflector::Store<Guarded<Region>>,
    view: Arc<StoreView>,
    metrics: Arc<Metrics>,
) {
    while let Some(wake) = woken.recv().await {
        metrics.set_store_up(view.reachability() == Reachability::Reachable);
        let is_concerned = |guarded: &Guarded<Region>| match (&wake, &guarded.0) {
            (Wake::All, _) => true,
            (Wake::Domain(domain), Ok(region)) => region.spec.domain == *domain,
            (Wake::Domain(_), Err(_)) => false,
        };
        for guarded in regions.state().iter().filter(|guarded| is_concerned(guarded)) {
            if let Ok(id) = NamespacedName::of(guarded.as_ref()) {
                let _ = requeue.send(id).await;
            }
        }
    }
}
