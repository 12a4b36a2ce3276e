//! The controller of Complaints.

use super::{
    reconcile::{Context, Guarded, ReconcileError, now, reconcile},
    relays::{Relays, take_out_the_gone},
};
use crate::{
    events::Events,
    metrics::{Metrics, Outcome, Resource},
    store_view::{StoreView, words},
};
use adit_api::complaint::{Decision, Phase};
use adit_store::Store;
use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::{ObjectRef, Store as Complaints},
        watcher,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many Complaints may wait to be looked at again; whoever wakes them waits then.
const WAITING: usize = 1024;
/// How often the relays are read beside their confirmations.
const EVERY: Duration = Duration::from_secs(5);
/// How long a look that failed waits, at most.
const PAUSE: Duration = Duration::from_secs(5);

/// Works on Complaints until `stop`, and then until all looks have ended.
pub async fn work(
    client: Client,
    namespace: Option<&str>,
    store: Option<(Store, Arc<StoreView>)>,
    (events, metrics): (Events, Arc<Metrics>),
    concurrency: u16,
    stop: CancellationToken,
) {
    let api: Api<Guarded> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let controller = Controller::new(api, watcher::Config::default());
    let all = controller.store();
    let (wake, mut wakes) = mpsc::channel::<ObjectRef<Guarded>>(WAITING);
    let context = Arc::new(Context {
        client,
        store: store.as_ref().map(|(store, _)| store.clone()),
        relays: Relays::default(),
        events,
        metrics: metrics.clone(),
    });
    let beside = async {
        tokio::join!(count(&all, &metrics), async {
            if let Some((store, view)) = store {
                follow(&store, &view, &context, namespace, &all, &wake).await;
            }
        });
    };
    let config = controller::Config::default().concurrency(concurrency);
    let running = controller
        .with_config(config)
        .reconcile_on(stream::poll_fn(move |cx| wakes.poll_recv(cx)))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(look, pause, context.clone())
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = running => {}
        () = async { tokio::join!(beside, std::future::pending::<()>()); } => {}
    }
}

async fn look(complaint: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let result = reconcile(complaint, &context).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    context.metrics.reconciled(Resource::Complaint, outcome, begun.elapsed());
    result
}

fn pause(complaint: Arc<Guarded>, error: &ReconcileError, _: Arc<Context>) -> Action {
    let complaint = ObjectRef::from_obj(complaint.as_ref());
    tracing::warn!(%complaint, error = words(error), "it is tried again");
    Action::requeue(PAUSE.mul_f64(rand::random_range(0.2..1.0)))
}

/// Reads who has confirmed whenever somebody has, and wakes the Complaints that wait for that.
async fn follow(
    store: &Store,
    view: &StoreView,
    context: &Context,
    namespace: Option<&str>,
    all: &Complaints<Guarded>,
    wake: &mpsc::Sender<ObjectRef<Guarded>>,
) {
    while !view.is_migrated() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut confirmations = store.confirmations();
    let mut was_away = true;
    loop {
        match context.relays.read(store).await {
            Ok(changed) => {
                if changed || was_away {
                    wake_waiting(all, wake, was_away).await;
                }
                was_away = false;
                take_out_the_gone(&context.client, namespace, store, &context.relays, now()).await;
            }
            Err(error) => {
                tracing::debug!(error = words(&error), "the relays cannot be read");
                was_away = true;
            }
        }
        let _ = tokio::time::timeout(EVERY, confirmations.next()).await;
    }
}

async fn wake_waiting(all: &Complaints<Guarded>, wake: &mpsc::Sender<ObjectRef<Guarded>>, every: bool) {
    for complaint in all.state() {
        let Ok(read) = &complaint.0 else { continue };
        let phase = read.status.as_ref().and_then(|status| status.phase);
        if every || phase == Some(Phase::Enforcing) {
            let _ = wake.send(ObjectRef::from_obj(complaint.as_ref())).await;
        }
    }
}

/// Counts them for the metrics.
async fn count(all: &Complaints<Guarded>, metrics: &Metrics) {
    loop {
        let (mut open, mut enforcing, mut oldest) = (0, 0, None);
        let complaints = all.state();
        for complaint in &complaints {
            let Ok(read) = &complaint.0 else { continue };
            if read.spec.decision == Decision::Pending {
                open += 1;
                let filed = read.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
                oldest = [oldest, filed].into_iter().flatten().min();
            }
            let phase = read.status.as_ref().and_then(|status| status.phase);
            enforcing += usize::from(phase == Some(Phase::Enforcing));
        }
        metrics.count(Resource::Complaint, complaints.len());
        let now = i64::try_from(now()).unwrap_or(0);
        metrics.complaints(open, enforcing, oldest.map_or(0, |oldest| (now - oldest).max(0)));
        tokio::time::sleep(EVERY).await;
    }
}
