//! Runs a reconciler for every object of a kind.

use super::{backoff::Backoff, object::has_finalizer};
use crate::{
    api_server::CallError,
    error_chain::error_chain,
    metrics::{Metrics, Outcome, ResourceKind},
    namespaced_name::UnnamedObject,
};
use futures_util::StreamExt;
use kube::{
    Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, controller,
        controller::Action,
        reflector::{ObjectRef, Store},
    },
};
use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// An object, or why it cannot be read as one. An unreadable object must not stop the watch of the others.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// A reconciliation that failed; it is repeated after a delay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// A call to the API server failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The object has no name.
    #[error(transparent)]
    Unnamed(#[from] UnnamedObject),
    /// The store did not answer.
    #[error("the store is unavailable")]
    Store(#[from] adit_store::StoreError),
    /// Something of this kind of object alone failed.
    #[error("{0}")]
    Other(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Brings one kind of object to its desired state.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static;
    /// The kind as metrics name it.
    const KIND: ResourceKind;
    /// The operator's finalizer on objects of this kind.
    const FINALIZER: &'static str;

    /// Reconciles one object that is not being deleted.
    fn reconcile(&self, object: &Self::Object)
    -> impl Future<Output = Result<Action, ReconcileError>> + Send;

    /// Cleans up after an object that is being deleted, and removes the finalizer when that is done.
    fn finalize(&self, object: &Self::Object) -> impl Future<Output = Result<Action, ReconcileError>> + Send;

    /// Handles an object that is gone. Default: nothing.
    fn forget(&self, _object: &Self::Object) {}

    /// Handles an object that cannot be read. Default: it is logged and left alone.
    fn reject(
        &self,
        invalid: &kube::core::error_boundary::InvalidObject,
    ) -> impl Future<Output = Result<Action, ReconcileError>> + Send {
        let (kind, meta) = (Self::Object::kind(&()), &invalid.metadata);
        let (namespace, name, error) = (&meta.namespace, &meta.name, &invalid.error);
        tracing::warn!(%kind, namespace, name, error, "object cannot be read; left alone");
        std::future::ready(Ok(Action::await_change()))
    }
}

/// How a controller runs.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// How many objects are reconciled at once.
    pub(crate) concurrency: u16,
    /// Changes of one object within this time are reconciled together.
    pub(crate) debounce: Duration,
    /// Maximum delay after failures.
    pub(crate) max_delay: Duration,
    /// How long reconciliations that have begun may take to end after `stop`.
    pub(crate) shutdown_timeout: Duration,
}

/// What all reconciliations of one kind share.
struct ControllerState<R: Reconciler> {
    reconciler: R,
    objects: Store<Guarded<R::Object>>,
    metrics: Arc<Metrics>,
    backoff: Backoff<ObjectRef<Guarded<R::Object>>>,
}

/// Runs until `stop`, and then until all reconciliations have ended or their time is over.
pub(crate) async fn run<R: Reconciler>(
    controller: Controller<Guarded<R::Object>>,
    reconciler: R,
    options: RunOptions,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let state = ControllerState {
        reconciler,
        objects: controller.store(),
        metrics,
        backoff: Backoff::new(options.max_delay),
    };
    let config = controller::Config::default().concurrency(options.concurrency).debounce(options.debounce);
    let running = controller
        .with_config(config)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile::<R>, error_policy::<R>, Arc::new(state))
        .for_each(|_| std::future::ready(()));
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(options.shutdown_timeout).await;
        tracing::warn!(kind = %R::Object::kind(&()), "reconciliations did not end in time");
    };
    tokio::select! { () = running => {}, () = overdue => {} }
}

async fn reconcile<R: Reconciler>(
    object: Arc<Guarded<R::Object>>,
    state: Arc<ControllerState<R>>,
) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let result = dispatch(&object, &state.reconciler).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    state.metrics.record_reconcile(R::KIND, outcome, begun.elapsed());
    state.metrics.set_objects(R::KIND, state.objects.len());
    if result.is_ok() {
        state.backoff.record_success(&ObjectRef::from_obj(object.as_ref()));
    }
    result
}

async fn dispatch<R: Reconciler>(
    guarded: &Guarded<R::Object>,
    reconciler: &R,
) -> Result<Action, ReconcileError> {
    let object = match &guarded.0 {
        Ok(object) => object,
        Err(invalid) => return reconciler.reject(invalid).await,
    };
    if object.meta().deletion_timestamp.is_none() {
        return reconciler.reconcile(object).await;
    }
    if has_finalizer(object, R::FINALIZER) {
        return reconciler.finalize(object).await;
    }
    reconciler.forget(object);
    Ok(Action::await_change())
}

fn error_policy<R: Reconciler>(
    object: Arc<Guarded<R::Object>>,
    error: &ReconcileError,
    state: Arc<ControllerState<R>>,
) -> Action {
    let (namespace, name) = (object.namespace(), object.name_any());
    let (failures, delay) = state.backoff.record_failure(ObjectRef::from_obj(object.as_ref()));
    tracing::warn!(kind = %R::Object::kind(&()), namespace, name, failures, ?delay, error = error_chain(error), "reconcile failed; retrying");
    Action::requeue(delay)
}

/// Reconciles the object again after this time, up to a tenth later so that not all come at once.
pub(crate) fn requeue_after(delay: Duration) -> Action {
    Action::requeue(delay.mul_f64(rand::random_range(1.0..1.1)))
}
