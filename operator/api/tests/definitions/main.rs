//! Tests of the definitions: their structure, their files, and their rules.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_certificates;
mod bad_regions;
mod files;
mod rules;
