//! Adit's operator: it makes relays of Regions.
//!
//! One way through it: `region::reconcile` looks at a Region and at what is there, pure `desired` says what should be
//! there, `apply` makes it so by server-side apply, pure `status` says how far that has come.

pub mod settings;
