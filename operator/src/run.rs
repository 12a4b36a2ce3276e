//! The life of the operator: wait for the Lease, work, give it back.

use crate::{
    apply::Applier,
    certificate,
    children::{self, Children, Place},
    complaint,
    events::Events,
    leader::{Candidate, LeaderError},
    metrics::{Metrics, Outcome, Resource},
    ops::{self, Health},
    region::{self, CertificateNames, Context, Guarded, ReconcileError, desired::Provider},
    settings::Settings,
    store_view::{self, StoreView, Wake, words},
};
use adit_store::{Store, StoreUrl};
use futures_util::{StreamExt, stream};
use kube::{
    Api, Client, Config,
    api::ListParams,
    runtime::{Controller, controller, controller::Action, reflector::ObjectRef, watcher},
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many changes may wait to be looked at; watches wait then.
const WAITING: usize = 1024;
/// How long looks that have begun may take to end.
const ENDING: Duration = Duration::from_secs(20);
/// Changes of one Region within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(200);
/// After a failure a Region is looked at again after this time, which doubles up to [`MOST_PAUSE`].
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after a failure.
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// How often what has ended is taken out of the store.
const PRUNE: Duration = Duration::from_secs(300);

const POISONED: &str = "no code panics while it holds this lock";

/// Why the operator does not run, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster.
    #[error("cannot find a cluster: no KUBECONFIG, and no service account of a pod")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The client.
    #[error("cannot make a client for the cluster")]
    Client(#[source] Box<kube::Error>),
    /// The store's URL.
    #[error("cannot read the store's URL from {}", path.display())]
    StoreFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store's URL.
    #[error("cannot use the store's URL")]
    StoreUrl(#[from] adit_store::InvalidStoreUrl),
    /// The store.
    #[error("cannot open the store")]
    Store(#[from] adit_store::OpenError),
    /// The ops port.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Another replica leads from now on.
    #[error("this replica leads no longer")]
    Leader(#[from] LeaderError),
}

/// Runs until `stop`. When this returns an error, the process has to end at once: something that it began may still run.
///
/// # Errors
/// [`RunError`].
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let mut config = Config::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    // A write that comes late is worse than none, and looks are repeated anyway.
    config.default_retry = false;
    let lease_namespace =
        settings.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))?;
    let store = open_store(&settings)?;
    let (health, metrics) = (Arc::new(Health::default()), Metrics::new());
    let address = settings.listen_ops;
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.map_err(|source| RunError::Listen { address, source })?;
    tokio::spawn(ops::serve(listener, health.clone(), metrics.clone()));
    let identity = settings.identity.clone().unwrap_or_else(random_identity);
    tokio::select! {
        () = wait_for_regions(&client, settings.namespace.as_deref()) => health.set_ready(),
        () = stop.cancelled() => return Ok(()),
    }
    let candidate = Candidate::new(client.clone(), &lease_namespace, &settings.lease_name, &identity);
    let leadership = tokio::select! {
        leadership = candidate.lead() => leadership,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(identity, "leads");
    metrics.set_leader(true);
    let give_back = CancellationToken::new();
    let work = async {
        work(&settings, client, store, &identity, &lease_namespace, &metrics, stop).await;
        give_back.cancel();
    };
    // Whoever holds the Lease works; the work ends before the Lease is given back.
    let hold = leadership.hold(&give_back);
    let ((), held) = {
        let (mut work, mut hold) = (std::pin::pin!(work), std::pin::pin!(hold));
        tokio::select! {
            () = &mut work => ((), hold.await),
            held = &mut hold => ((), held),
        }
    };
    Ok(held?)
}

fn open_store(settings: &Settings) -> Result<Option<Store>, RunError> {
    let text = match (&settings.store_url, &settings.store_url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|source| RunError::StoreFile { path: path.clone(), source })?
            .trim()
            .to_owned(),
        (None, None) => {
            tracing::warn!("no store was given: Regions will have no relays");
            return Ok(None);
        }
    };
    let url: StoreUrl = text.parse()?;
    Ok(Some(Store::open(&url)?))
}

/// `<host name>-<random>`, so that a container that starts anew in its pod is another replica.
fn random_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{:08x}", host.trim(), rand::random::<u32>())
}

/// Waits until the API server shows Regions: it is there, the definitions are installed, and reading them is allowed.
async fn wait_for_regions(client: &Client, namespace: Option<&str>) {
    let api = regions(client, namespace);
    let mut pause = LEAST_PAUSE;
    while let Err(error) = api.list(&ListParams::default().limit(1)).await {
        let hint = match &error {
            kube::Error::Api(status) if status.code == 404 => "the custom resources are not installed",
            kube::Error::Api(status) if status.code == 403 => "the operator may not read Regions",
            _ => "the API server cannot be reached",
        };
        tracing::warn!(error = &error as &dyn std::error::Error, hint, "waiting");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

fn regions(client: &Client, namespace: Option<&str>) -> Api<Guarded> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Works until `stop`, and then until all looks have ended.
async fn work(
    settings: &Settings,
    client: Client,
    store: Option<Store>,
    identity: &str,
    lease_namespace: &str,
    metrics: &Arc<Metrics>,
    stop: CancellationToken,
) {
    let namespace = settings.namespace.as_deref();
    let (changed, changes) = mpsc::channel::<Place>(WAITING);
    let children = Arc::new(Children::default());
    let mut synced = children::watch(&client, namespace, &children, &changed, &stop);
    // Without knowing what there is, everything would be written once more.
    tokio::select! { () = synced.all() => {}, () = stop.cancelled() => return }
    let view = Arc::new(StoreView::default());
    let events = Events::new(client.clone(), identity);
    let complaints = complaint::work(
        client.clone(),
        namespace,
        store.clone().map(|store| (store, view.clone())),
        (events.clone(), metrics.clone()),
        settings.concurrency,
        stop.clone(),
    );
    let controller = Controller::new(regions(&client, namespace), watcher::Config::default());
    let context = Arc::new(Context {
        applier: Applier::new(client.clone(), children),
        regions: controller.store(),
        view: view.clone(),
        store: store.clone(),
        events,
        provider: Provider {
            name: settings.provider_name.clone(),
            abuse: settings.provider_abuse.clone(),
            registry_image: settings.registry_image.clone(),
        },
        relay_image: settings.relay_image.clone(),
        granted: Mutex::default(),
        certificates: CertificateNames::new(settings.namespace.clone()),
        client,
    });
    let mut certificates = tokio::task::JoinSet::new();
    if let Some(store) = store {
        let setting = certificate::Setting {
            client: context.client.clone(),
            namespace: settings.namespace.clone(),
            keeper: (lease_namespace.to_owned(), format!("{}-key", settings.lease_name)),
            store: store.clone(),
            view: view.clone(),
            identity: identity.to_owned(),
            resolvers: settings.dns_resolvers.clone(),
            concurrency: settings.concurrency,
            metrics: metrics.clone(),
        };
        certificates.spawn(certificate::run(setting, stop.clone()));
        let (wake, wakes) = mpsc::channel(WAITING);
        tokio::spawn(store_view::watch(store.clone(), view, wake, stop.clone()));
        tokio::spawn(spread(wakes, changed, context.clone(), metrics.clone()));
        tokio::spawn(prune(store, stop.clone()));
    }
    let looks = Looks { context, metrics: metrics.clone(), failures: Mutex::default() };
    let config = controller::Config::default().concurrency(settings.concurrency).debounce(TOGETHER);
    let running = controller
        .with_config(config)
        .reconcile_on(places(changes))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(look, pause, Arc::new(looks))
        .for_each(|_| std::future::ready(()));
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(ENDING).await;
        tracing::warn!("some looks have not ended in time");
    };
    let all = async { tokio::join!(running, complaints, certificates.join_next()) };
    tokio::select! { _ = all => {}, () = late => {} }
}

fn places(mut changes: mpsc::Receiver<Place>) -> impl futures_util::Stream<Item = ObjectRef<Guarded>> + Send {
    stream::poll_fn(move |cx| changes.poll_recv(cx))
        .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
}

/// From what the store wakes to the Regions that it is about.
async fn spread(
    mut wakes: mpsc::Receiver<Wake>,
    changed: mpsc::Sender<Place>,
    context: Arc<Context>,
    metrics: Arc<Metrics>,
) {
    while let Some(wake) = wakes.recv().await {
        metrics.set_store(context.view.state() == region::status::State::Good);
        let is_meant = |guarded: &Guarded| match (&wake, &guarded.0) {
            (Wake::All, _) => true,
            (Wake::Domain(domain), Ok(region)) => region.spec.domain == *domain,
            (Wake::Domain(_), Err(_)) => false,
        };
        for guarded in context.regions.state().iter().filter(|guarded| is_meant(guarded)) {
            let meta = kube::Resource::meta(guarded.as_ref());
            if let Some(place) = meta.namespace.clone().zip(meta.name.clone()) {
                let _ = changed.send(place).await;
            }
        }
    }
}

/// Takes out of the store what has ended.
async fn prune(store: Store, stop: CancellationToken) {
    loop {
        tokio::select! { () = tokio::time::sleep(PRUNE) => {}, () = stop.cancelled() => return }
        let now = k8s_openapi::jiff::Timestamp::now().as_second();
        match store.prune(u64::try_from(now).unwrap_or(0)).await {
            Ok(pruned) => tracing::debug!(?pruned, "the store was pruned"),
            Err(error) => tracing::warn!(error = words(&error), "the store was not pruned"),
        }
    }
}

/// What all looks share, and how often each Region's last looks have failed.
struct Looks {
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    failures: Mutex<HashMap<ObjectRef<Guarded>, u32>>,
}

async fn look(region: Arc<Guarded>, looks: Arc<Looks>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let result = region::reconcile(region.clone(), looks.context.clone()).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    looks.metrics.reconciled(Resource::Region, outcome, begun.elapsed());
    looks.metrics.count(Resource::Region, looks.context.regions.len());
    if result.is_ok() {
        looks.failures.lock().expect(POISONED).remove(&ObjectRef::from_obj(region.as_ref()));
    }
    result
}

/// How long to wait after a failure: longer each time, never twice the same for two Regions.
fn pause(region: Arc<Guarded>, error: &ReconcileError, looks: Arc<Looks>) -> Action {
    let region = ObjectRef::from_obj(region.as_ref());
    let failures = {
        let mut failures = looks.failures.lock().expect(POISONED);
        let count = failures.entry(region.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    };
    let pause = pause_after(failures).mul_f64(rand::random_range(0.5..1.0));
    tracing::warn!(%region, failures, error = words(error), pause = ?pause, "it is tried again");
    Action::requeue(pause)
}

fn pause_after(failures: u32) -> Duration {
    LEAST_PAUSE.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(MOST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_have_an_end() {
        let pauses: Vec<u128> = [1, 2, 3, 7, 8, 9, u32::MAX].map(|n| pause_after(n).as_millis()).into();
        assert_eq!(pauses, [500, 1000, 2000, 32_000, 60_000, 60_000, 60_000]);
    }
}
