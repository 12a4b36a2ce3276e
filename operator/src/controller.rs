//! What the controllers of Regions, Certificates and Complaints have in common.
//!
//! [`run`] calls a [`Reconciler`] for each object that changes: it counts, logs, and backs off after failures.
//! [`ObjectClient`] writes what every controller writes to its objects: finalizers and the status.

mod backoff;
mod conditions;
mod object;
mod runner;

pub(crate) use conditions::{Blocked, ConditionValue, conditions, find_condition};
pub(crate) use object::ObjectClient;
pub(crate) use runner::{Guarded, ReconcileError, Reconciler, RunOptions, requeue_after, run};

pub(crate) use crate::namespaced_name::{NamespacedName, UnnamedObject};
