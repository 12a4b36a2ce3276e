//! Certificates from a real CA, by dns-01 at a real name server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "pebble/place.rs"]
mod place;

#[path = "pebble/faults.rs"]
mod faults;
#[path = "pebble/http_request.rs"]
mod http_request;
#[path = "pebble/issuing.rs"]
mod issuing;
#[path = "pebble/unruly.rs"]
mod unruly;
