//! Adit's operator: it runs the relays of Regions, and serves the plugin `kubectl adit`.
//!
//! Each kind of custom resource has a module: `region`, `certificate`, `complaint`. Each reconciles in the same order:
//! observe, decide, apply, write the status. What they share is in `controller`. [`run`] acquires the Lease and runs them.

mod api_server;
mod apply;
mod certificate;
mod children;
mod clock;
mod complaint;
mod controller;
pub mod error_chain;
mod events;
mod leader;
mod metrics;
mod namespaced_name;
pub mod objects;
mod ops;
pub mod plugin;
mod pods;
pub mod probe;
mod region;
pub mod run;
pub mod settings;
mod store_view;
