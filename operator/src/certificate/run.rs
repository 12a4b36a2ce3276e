//! Runs the controller of Certificates.

use super::{context::CertificateContext, operator_key, relay_prober::RelayProber};
use crate::{
    api_server::scoped_api,
    controller::{self, Guarded, NamespacedName, RunOptions},
    events::Events,
    metrics::Metrics,
    store_view::StoreView,
};
use adit_acme::{Issuer, dns::Resolvers};
use adit_api::Certificate;
use adit_store::Store;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client, ResourceExt,
    api::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Maximum delay after failures.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long reconciliations that have begun may take to end. The next leader continues their orders.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between checks whether the store has its tables.
const MIGRATION_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What the controller of Certificates needs.
pub(crate) struct CertificateSettings {
    /// A client of the API server that does not retry.
    pub(crate) client: Client,
    /// The only namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// The Secret of the operator's own key.
    pub(crate) operator_key: NamespacedName,
    /// The store.
    pub(crate) store: Store,
    /// Tells whether the store has its tables.
    pub(crate) view: Arc<StoreView>,
    /// This replica's identity.
    pub(crate) identity: String,
    /// DNS resolvers as host and port; empty for the system's.
    pub(crate) resolvers: Vec<String>,
    /// How many Certificates are reconciled at once.
    pub(crate) concurrency: u16,
    /// The operator's metrics.
    pub(crate) metrics: Arc<Metrics>,
}

/// Reconciles Certificates until `stop`.
pub(crate) async fn run(settings: CertificateSettings, stop: CancellationToken) {
    let ready = async {
        while !settings.view.is_migrated() {
            sleep(MIGRATION_POLL_INTERVAL).await;
        }
        operator_key::load_or_create(&settings.client, &settings.operator_key).await
    };
    let operator_key = tokio::select! { key = ready => key, () = stop.cancelled() => return };
    let CertificateSettings { client, namespace, store, identity, metrics, .. } = settings;
    let namespace = namespace.as_deref();
    let prober = RelayProber::new(client.clone(), namespace.map(str::to_owned));
    let controller =
        Controller::new(scoped_api::<Guarded<Certificate>>(&client, namespace), watcher::Config::default());
    // Only Secrets that can be meant are watched, and only their metadata; nothing of it is kept.
    let of_tls = watcher::Config::default().fields("type=kubernetes.io/tls");
    let secrets = scoped_api::<PartialObjectMeta<Secret>>(&client, namespace);
    let touched = watcher(secrets, of_tls).default_backoff().touched_objects();
    let certificates = controller.store();
    let context = CertificateContext {
        issuer: Issuer {
            store,
            operator_key,
            holder: format!("{identity}-{:08x}", rand::random::<u32>()),
            resolvers: Resolvers::new(&settings.resolvers),
            own_http: None,
            own_tls: None,
        },
        certificates: certificates.clone(),
        events: Events::new(client.clone(), &identity),
        prober: prober.expect("the TLS versions are those of the provider"),
        metrics: metrics.clone(),
        client,
    };
    let options = RunOptions {
        concurrency: settings.concurrency,
        debounce: Duration::ZERO,
        max_delay: MAX_RETRY_DELAY,
        shutdown_timeout: SHUTDOWN_TIMEOUT,
    };
    let controller = controller.watches_stream(touched, move |secret| users_of(&certificates, &secret));
    controller::run(controller, context, options, metrics, stop).await;
}

/// The Certificates that take their certificate from a Secret.
fn users_of(
    certificates: &reflector::Store<Guarded<Certificate>>,
    secret: &PartialObjectMeta<Secret>,
) -> Vec<ObjectRef<Guarded<Certificate>>> {
    let uses_secret = |guarded: &&Arc<Guarded<Certificate>>| {
        guarded.0.as_ref().is_ok_and(|certificate| {
            let reference = certificate.spec.secret_ref.as_ref();
            certificate.namespace() == secret.namespace()
                && reference.is_some_and(|reference| reference.name == secret.name_any())
        })
    };
    let all = certificates.state();
    all.iter().filter(uses_secret).map(|one| ObjectRef::from_obj(one.as_ref())).collect()
}
