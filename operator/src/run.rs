//! The life of the operator: acquire the Lease, reconcile, release the Lease.

use crate::{
    api_server::scoped_api,
    certificate::{self, CertificateSettings},
    children::{self, Children},
    complaint::{self, ComplaintSettings},
    controller::{Guarded, NamespacedName},
    error_chain::error_chain,
    events::Events,
    leader::{Candidate, LeaderError},
    metrics::Metrics,
    ops::{self, Health},
    region::{self, RegionSettings, desired::ProviderDefaults},
    settings::Settings,
    store_view::{self, StoreView},
};
use adit_api::Region;
use adit_store::{Store, StoreUrl};
use kube::{Client, Config, api::ListParams};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Capacity of queues of Regions to reconcile; senders wait when one is full.
const QUEUE_CAPACITY: usize = 1024;
/// How long reconciliations that have begun may take to end, of all kinds.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// Interval between removals of expired rows from the store.
const PRUNE_INTERVAL: Duration = Duration::from_secs(300);
/// First delay between attempts to list Regions at the start; it doubles up to [`MAX_START_DELAY`].
const MIN_START_DELAY: Duration = Duration::from_millis(500);
/// Maximum delay between attempts to list Regions at the start.
const MAX_START_DELAY: Duration = Duration::from_secs(10);

/// Why the operator does not run, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no cluster.
    #[error("cannot find a cluster: there is no kubeconfig, and no service account of a pod")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be built.
    #[error("cannot build a client for the cluster")]
    Client(#[source] Box<kube::Error>),
    /// The file with the store's URL cannot be read.
    #[error("cannot read the store's URL from {}", path.display())]
    StoreFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store's URL is invalid.
    #[error("cannot use the store's URL")]
    StoreUrl(#[from] adit_store::InvalidStoreUrl),
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] adit_store::OpenError),
    /// The ops port cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Another replica is the leader.
    #[error("this replica is no longer the leader")]
    Leader(#[from] LeaderError),
}

/// Runs until `stop`. After an error the process has to end at once, because something that it began may still run.
///
/// # Errors
/// [`RunError`].
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let mut config = Config::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    // A late write is worse than none, and reconciliations are repeated anyway.
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
        leadership = candidate.acquire() => leadership,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(identity, "leader lease acquired");
    metrics.set_leader(true);
    let release = CancellationToken::new();
    let work = async {
        let operator = Operator { settings, client, store, identity, lease_namespace, metrics, stop };
        operator.reconcile_all().await;
        release.cancel();
    };
    // The work ends before the Lease is released, and a lost Lease ends the work.
    let hold = leadership.hold(&release);
    let (mut work, mut hold) = (std::pin::pin!(work), std::pin::pin!(hold));
    let held = tokio::select! {
        () = &mut work => hold.await,
        held = &mut hold => held,
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
            tracing::warn!("no store is configured; Regions will have no relays");
            return Ok(None);
        }
    };
    let url: StoreUrl = text.parse()?;
    Ok(Some(Store::open(&url)?))
}

/// `<host name>-<random>`, so that a restarted container is another replica.
fn random_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{:08x}", host.trim(), rand::random::<u32>())
}

/// Waits until the API server lists Regions: it answers, the definitions are installed, and reading them is allowed.
async fn wait_for_regions(client: &Client, namespace: Option<&str>) {
    let api = scoped_api::<Guarded<Region>>(client, namespace);
    let mut delay = MIN_START_DELAY;
    while let Err(error) = api.list(&ListParams::default().limit(1)).await {
        let hint = match &error {
            kube::Error::Api(status) if status.code == 404 => "the custom resources are not installed",
            kube::Error::Api(status) if status.code == 403 => "the operator may not read Regions",
            _ => "the API server cannot be reached",
        };
        tracing::warn!(error = error_chain(&error), hint, ?delay, "cannot list Regions; retrying");
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(MAX_START_DELAY);
    }
}

/// The replica that is the leader.
struct Operator {
    settings: Settings,
    client: Client,
    store: Option<Store>,
    identity: String,
    lease_namespace: String,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Operator {
    /// Runs all controllers until `stop`, and then until all reconciliations have ended or their time is over.
    async fn reconcile_all(self) {
        let Self { client, store, metrics, stop, .. } = &self;
        let namespace = self.settings.namespace.as_deref();
        let (queue, queued) = mpsc::channel::<NamespacedName>(QUEUE_CAPACITY);
        let children = Arc::new(Children::default());
        let mut synced = children::watch(client, namespace, &children, &queue, stop);
        // Before the objects are known, every object would be written again.
        tokio::select! { () = synced.all() => {}, () = stop.cancelled() => return }
        let view = Arc::new(StoreView::default());
        let events = Events::new(client.clone(), &self.identity);
        let (wakes, woken) = mpsc::channel(QUEUE_CAPACITY);
        if let Some(store) = store {
            tokio::spawn(store_view::watch(store.clone(), view.clone(), wakes, stop.clone()));
            tokio::spawn(prune(store.clone(), stop.clone()));
        }
        let regions = region::run(
            self.region_settings(children, &view, &events),
            region::Queues { changed: queued, requeue: queue, woken },
            stop.clone(),
        );
        let complaints = complaint::run(self.complaint_settings(&view, &events), stop.clone());
        // In a task of their own, so that orders at CAs do not slow down the other kinds.
        let mut certificates = JoinSet::new();
        if let Some(settings) = self.certificate_settings(&view) {
            certificates.spawn(certificate::run(settings, stop.clone()));
        }
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        let all = async { tokio::join!(regions, complaints, certificates.join_next()) };
        tokio::select! { _ = all => {}, () = overdue => {} }
        metrics.set_leader(false);
    }

    fn region_settings(
        &self,
        children: Arc<Children>,
        view: &Arc<StoreView>,
        events: &Events,
    ) -> RegionSettings {
        let settings = &self.settings;
        RegionSettings {
            client: self.client.clone(),
            namespace: settings.namespace.clone(),
            children,
            view: view.clone(),
            store: self.store.clone(),
            events: events.clone(),
            provider: ProviderDefaults {
                name: settings.provider_name.clone(),
                abuse: settings.provider_abuse.clone(),
                registry_image: settings.registry_image.clone(),
            },
            relay_image: settings.relay_image.clone(),
            metrics: self.metrics.clone(),
            concurrency: settings.concurrency,
        }
    }

    fn complaint_settings(&self, view: &Arc<StoreView>, events: &Events) -> ComplaintSettings {
        ComplaintSettings {
            client: self.client.clone(),
            namespace: self.settings.namespace.clone(),
            store: self.store.clone(),
            view: view.clone(),
            events: events.clone(),
            metrics: self.metrics.clone(),
            concurrency: self.settings.concurrency,
        }
    }

    fn certificate_settings(&self, view: &Arc<StoreView>) -> Option<CertificateSettings> {
        let key_name = format!("{}-key", self.settings.lease_name);
        Some(CertificateSettings {
            client: self.client.clone(),
            namespace: self.settings.namespace.clone(),
            operator_key: NamespacedName::new(&self.lease_namespace, key_name),
            store: self.store.clone()?,
            view: view.clone(),
            identity: self.identity.clone(),
            resolvers: self.settings.dns_resolvers.clone(),
            concurrency: self.settings.concurrency,
            metrics: self.metrics.clone(),
        })
    }
}

/// Removes expired rows from the store until `stop`.
async fn prune(store: Store, stop: CancellationToken) {
    loop {
        tokio::select! { () = tokio::time::sleep(PRUNE_INTERVAL) => {}, () = stop.cancelled() => return }
        match store.prune(crate::clock::unix_seconds()).await {
            Ok(pruned) => tracing::debug!(?pruned, "store pruned"),
            Err(error) => tracing::warn!(error = error_chain(&error), "cannot prune the store; retrying"),
        }
    }
}
