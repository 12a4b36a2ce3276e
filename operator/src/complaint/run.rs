//! Runs the controller of Complaints.

use super::{
    context::ComplaintContext,
    relay_reports::{RelayReports, remove_lost_relays},
};
use crate::{
    api_server::scoped_api,
    clock::unix_seconds,
    controller::{self, Guarded, RunOptions},
    error_chain::error_chain,
    events::Events,
    metrics::{Metrics, ResourceKind},
    store_view::StoreView,
};
use adit_api::{
    Complaint,
    complaint::{Decision, Phase},
};
use adit_store::Store;
use futures_util::stream;
use kube::{
    Client,
    runtime::{
        Controller,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Capacity of the queue of Complaints to reconcile; senders wait when it is full.
const QUEUE_CAPACITY: usize = 1024;
/// Interval between reads of the relays' reports when no confirmation comes, and between updates of the metrics.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// Interval between checks whether the store has its tables.
const MIGRATION_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum delay after failures.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long reconciliations that have begun may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// What the controller of Complaints needs.
pub(crate) struct ComplaintSettings {
    /// A client of the API server that does not retry.
    pub(crate) client: Client,
    /// The only namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// The store; `None` if the operator was started without one.
    pub(crate) store: Option<Store>,
    /// Tells whether the store has its tables.
    pub(crate) view: Arc<StoreView>,
    /// Publishes Events.
    pub(crate) events: Events,
    /// The operator's metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// How many Complaints are reconciled at once.
    pub(crate) concurrency: u16,
}

/// All Complaints, as the watch last saw them.
type Complaints = reflector::Store<Guarded<Complaint>>;

/// Reconciles Complaints until `stop`, and then until all reconciliations have ended.
pub(crate) async fn run(settings: ComplaintSettings, stop: CancellationToken) {
    let ComplaintSettings { client, namespace, store, view, events, metrics, concurrency } = settings;
    let namespace = namespace.as_deref();
    let api = scoped_api::<Guarded<Complaint>>(&client, namespace);
    let (queue, mut queued) = mpsc::channel::<ObjectRef<Guarded<Complaint>>>(QUEUE_CAPACITY);
    let controller = Controller::new(api, watcher::Config::default())
        .reconcile_on(stream::poll_fn(move |cx| queued.poll_recv(cx)));
    let complaints = controller.store();
    let reports = Arc::new(RelayReports::default());
    let context = ComplaintContext { client, store, reports, events, metrics: metrics.clone() };
    let options = RunOptions {
        concurrency,
        debounce: Duration::ZERO,
        max_delay: MAX_RETRY_DELAY,
        shutdown_timeout: SHUTDOWN_TIMEOUT,
    };
    let background = async {
        let follow = follow_confirmations(&context, &view, namespace, &complaints, &queue);
        tokio::join!(update_metrics(&complaints, &metrics), follow)
    };
    let running = controller::run(controller, context.clone(), options, metrics.clone(), stop);
    tokio::select! { () = running => {}, _ = background => {} }
}

/// Reads the relays' reports whenever a relay has confirmed something, and queues the Complaints that wait for that. Does not
/// end.
async fn follow_confirmations(
    context: &ComplaintContext,
    view: &StoreView,
    namespace: Option<&str>,
    complaints: &Complaints,
    queue: &mpsc::Sender<ObjectRef<Guarded<Complaint>>>,
) {
    let Some(store) = &context.store else { return std::future::pending().await };
    while !view.is_migrated() {
        tokio::time::sleep(MIGRATION_POLL_INTERVAL).await;
    }
    let mut confirmations = store.confirmations();
    let mut was_unavailable = true;
    loop {
        match context.reports.read(store).await {
            Ok(has_changed) => {
                if has_changed || was_unavailable {
                    enqueue(complaints, queue, was_unavailable).await;
                }
                was_unavailable = false;
                remove_lost_relays(&context.client, namespace, store, &context.reports, unix_seconds()).await;
            }
            Err(error) => {
                tracing::debug!(error = error_chain(&error), "cannot read the relays' reports; retrying");
                was_unavailable = true;
            }
        }
        let _ = tokio::time::timeout(READ_INTERVAL, confirmations.next()).await;
    }
}

/// Queues the Complaints that wait for relays, or all of them.
async fn enqueue(complaints: &Complaints, queue: &mpsc::Sender<ObjectRef<Guarded<Complaint>>>, all: bool) {
    for guarded in complaints.state() {
        let Ok(complaint) = &guarded.0 else { continue };
        let phase = complaint.status.as_ref().and_then(|status| status.phase);
        if all || phase == Some(Phase::Enforcing) {
            let _ = queue.send(ObjectRef::from_obj(guarded.as_ref())).await;
        }
    }
}

/// Updates the metrics of Complaints every few seconds. Does not end.
async fn update_metrics(complaints: &Complaints, metrics: &Metrics) {
    loop {
        let (mut open, mut enforcing, mut oldest) = (0, 0, None);
        let all = complaints.state();
        for guarded in &all {
            let Ok(complaint) = &guarded.0 else { continue };
            if complaint.spec.decision == Decision::Pending {
                open += 1;
                let filed = complaint.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
                oldest = [oldest, filed].into_iter().flatten().min();
            }
            let phase = complaint.status.as_ref().and_then(|status| status.phase);
            enforcing += usize::from(phase == Some(Phase::Enforcing));
        }
        let now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        metrics.set_objects(ResourceKind::Complaint, all.len());
        metrics.set_complaints(open, enforcing, oldest.map_or(0, |oldest| (now - oldest).max(0)));
        tokio::time::sleep(READ_INTERVAL).await;
    }
}
