//! Tests of the whole of Adit on a real Kubernetes cluster: `make e2e` makes one, and the images, and runs them.
//!
//! A test takes the [`provider`](provider::shared), a [`Namespace`](namespace::Namespace) of its own, a
//! [`Region`](region::Region) there, and publishes services with real clients from outside the cluster.
//! The objects of a failed test stay in the cluster for inspection; the next run removes them first.

pub mod authorities;
pub mod kubectl;
pub mod namespace;
pub mod port_forward;
pub mod provider;
pub mod region;

use std::path::PathBuf;

/// A variable that `scripts/e2e` sets. Panics without it.
fn required_variable(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run the tests with make e2e"))
}

/// A program of Adit that was built for these tests.
pub fn program(name: &str) -> PathBuf {
    PathBuf::from(required_variable("E2E_PROGRAMS")).join(name)
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e/ is in the repository").to_owned()
}
