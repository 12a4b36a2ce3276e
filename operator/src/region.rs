//! Reconciles Regions: it runs the relays that a Region asks for.
//!
//! `reconcile` observes the Region and its objects, decides whether they can be applied, applies them, and writes the
//! status. `desired` and `status` are pure.

mod apply_desired;
mod authority;
mod certificate_names;
mod context;
pub(crate) mod desired;
mod domain;
mod finalize;
mod key_material;
mod object_names;
mod observe;
mod reconcile;
mod replicas;
mod run;
mod status;
mod store_access;
mod unreadable;

pub(crate) use object_names::ObjectNames;
pub(crate) use run::{Queues, RegionSettings, run};
