//! Adit's operator: it makes relays of Regions.
//!
//! One way through it: `region::reconcile` looks at a Region and at what is there, pure `desired` says what should be
//! there, `apply` makes it so by server-side apply, pure `status` says how far that has come.

pub mod apply;
pub mod certificate;
pub mod children;
pub mod complaint;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod objects;
pub mod ops;
pub mod plugin;
mod pods;
pub mod probe;
pub mod region;
pub mod run;
pub mod settings;
pub mod store_view;
