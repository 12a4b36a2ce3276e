//! Reconciles Complaints: a Complaint becomes a suspension, which every relay confirms.
//!
//! `filing` converts the object to what the store keeps, the store applies its decision, `relay_reports` knows which relays
//! have confirmed it, and the pure `status` says how far the enforcement has come.

mod context;
mod convert;
mod filing;
mod reconcile;
mod relay_reports;
mod run;
mod status;

pub(crate) use run::{ComplaintSettings, run};
