//! Starts real servers on free ports, for Adit's tests only.

pub mod bind;
pub mod faulty_ca;
pub mod fleet;
pub mod generated;
pub mod http;
pub mod kube_apiserver;
pub mod load_balancer;
pub mod load_generator;
pub mod metrics;
pub mod pebble;
pub mod port;
pub mod postgres;
pub mod postgres_proxy;
pub mod process;
pub mod redis;
pub mod region;
pub mod soak;
pub mod wait;

/// HTTP/2 as a consumer speaks it, frame by frame. Relay and client know streams by `adit_mux` alone.
pub use h2;
