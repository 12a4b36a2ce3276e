//! Certificates from a real CA, by dns-01 at a real name server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod faulty_ca;
mod fixture;
mod http_request;
mod issuing;
