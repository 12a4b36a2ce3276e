//! Tests that documents, help texts and messages recommend only what the programs accept.
//!
//! `sources` reads the repository, `markdown`, `literals` and `shell` extract commands from it, `programs` parses each
//! command with the program's own command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod commands;
mod configurations;
mod literals;
mod markdown;
mod names;
mod programs;
mod shell;
mod sources;
