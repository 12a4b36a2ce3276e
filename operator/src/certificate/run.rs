//! The Certificates' part of the operator's work.

use super::{
    inquiry::Inquiry,
    keeper::keeper,
    reconcile::{Context, Guarded, ReconcileError, reconcile},
};
use crate::{
    events::Events,
    metrics::{Metrics, Outcome, Resource},
    store_view::{StoreView, words},
};
use adit_acme::{Issuer, dns::Resolvers};
use adit_store::Store;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::PartialObjectMeta,
    runtime::{Controller, WatchStreamExt, controller, controller::Action, reflector::ObjectRef, watcher},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The least pause after a failure; it doubles up to [`MOST_PAUSE`].
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after a failure.
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// How long looks that have begun may take to end. Orders are gone on with by the next one.
const ENDING: Duration = Duration::from_secs(10);

const POISONED: &str = "no code panics while it holds this lock";

/// What the Certificates' part is given.
pub struct Setting {
    /// To the API server, without retries of its own.
    pub client: Client,
    /// The one namespace; absent: all.
    pub namespace: Option<String>,
    /// Where the operator's own key is: namespace and name of a Secret.
    pub keeper: (String, String),
    /// The store.
    pub store: Store,
    /// Whether the store's tables are there.
    pub view: Arc<StoreView>,
    /// This replica's name.
    pub identity: String,
    /// Who knows names, as host and port; empty: the system's resolvers.
    pub resolvers: Vec<String>,
    /// How many Certificates it works on at once.
    pub concurrency: u16,
    /// The operator's counters.
    pub metrics: Arc<Metrics>,
}

struct Looks {
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    failures: Mutex<HashMap<ObjectRef<Guarded>, u32>>,
}

/// Works on Certificates until `stop`.
pub async fn run(setting: Setting, stop: CancellationToken) {
    let ready = async {
        while !setting.view.is_migrated() {
            sleep(LEAST_PAUSE).await;
        }
        keeper(&setting.client, &setting.keeper.0, &setting.keeper.1).await
    };
    let keeper = tokio::select! { keeper = ready => keeper, () = stop.cancelled() => return };
    let Setting { client, namespace, store, identity, metrics, .. } = setting;
    let inquiry = Inquiry::new(client.clone(), namespace.clone());
    fn all<K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(
        client: &Client,
        namespace: Option<&str>,
    ) -> Api<K> {
        match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }
    let certificates: Api<Guarded> = all(&client, namespace.as_deref());
    let secrets: Api<PartialObjectMeta<Secret>> = all(&client, namespace.as_deref());
    let controller = Controller::new(certificates, watcher::Config::default());
    let known = controller.store();
    let context = Arc::new(Context {
        issuer: Issuer {
            store,
            keeper,
            holder: format!("{identity}-{:08x}", rand::random::<u32>()),
            resolvers: Resolvers::new(&setting.resolvers),
            own_http: None,
            own_tls: None,
        },
        certificates: known.clone(),
        events: Events::new(client.clone(), &identity),
        inquiry: inquiry.expect("the versions of TLS are those of the provider"),
        metrics: metrics.clone(),
        client,
    });
    // Only what is in Secrets' metadata comes here, and only of the type that can be meant; nothing of it is kept.
    let of_tls = watcher::Config::default().fields("type=kubernetes.io/tls");
    let touched = watcher(secrets, of_tls).default_backoff().touched_objects();
    let concerned = move |secret: PartialObjectMeta<Secret>| {
        let is_meant = |guarded: &Arc<Guarded>| {
            guarded.0.as_ref().is_ok_and(|certificate| {
                certificate.namespace() == secret.namespace()
                    && certificate.spec.secret_ref.as_ref().is_some_and(|one| one.name == secret.name_any())
            })
        };
        let found: Vec<_> = known
            .state()
            .iter()
            .filter(|one| is_meant(one))
            .map(|one| ObjectRef::from_obj(one.as_ref()))
            .collect();
        found
    };
    let config = controller::Config::default().concurrency(setting.concurrency);
    let looks = Looks { context, metrics, failures: Mutex::default() };
    let running = controller
        .with_config(config)
        .watches_stream(touched, concerned)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(look, pause, Arc::new(looks))
        .for_each(|_| std::future::ready(()));
    let late = async {
        stop.cancelled().await;
        sleep(ENDING).await;
    };
    tokio::select! { () = running => {}, () = late => {} }
}

async fn look(certificate: Arc<Guarded>, looks: Arc<Looks>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let result = reconcile(certificate.clone(), looks.context.clone()).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    looks.metrics.reconciled(Resource::Certificate, outcome, begun.elapsed());
    looks.metrics.count(Resource::Certificate, looks.context.certificates.len());
    if result.is_ok() {
        looks.failures.lock().expect(POISONED).remove(&ObjectRef::from_obj(certificate.as_ref()));
    }
    result
}

fn pause(certificate: Arc<Guarded>, error: &ReconcileError, looks: Arc<Looks>) -> Action {
    let certificate = ObjectRef::from_obj(certificate.as_ref());
    let failures = {
        let mut failures = looks.failures.lock().expect(POISONED);
        let count = failures.entry(certificate.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    };
    let pause = LEAST_PAUSE.saturating_mul(1 << failures.min(8).saturating_sub(1)).min(MOST_PAUSE);
    tracing::warn!(%certificate, failures, error = words(error), pause = ?pause, "it is tried again");
    Action::requeue(pause.mul_f64(rand::random_range(0.5..1.0)))
}
