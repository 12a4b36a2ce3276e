//! The definitions as a whole: structural, not stale, and their rules against good and bad objects.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_certificates;
mod bad_regions;
mod files;
mod rules;
