//! Starts real servers on free ports, for Adit's tests only.

pub mod balancer;
pub mod bind;
pub mod fleet;
pub mod generated;
pub mod http;
pub mod kube_apiserver;
pub mod load;
pub mod metrics;
pub mod pebble;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod region;
pub mod soak;
pub mod unruly;
pub mod wait;

/// HTTP/2 as a consumer speaks it, frame by frame. Relay and client know streams by `adit_mux` alone.
pub use h2;
