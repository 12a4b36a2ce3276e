//! The listeners that consumers and clients reach.

pub mod abandoned_requests;
pub mod client_hello;
pub mod connection;
pub mod connection_limit;
pub mod http;
pub mod listen;
pub mod proxy_protocol;
pub mod tcp;
pub mod tls;

use crate::proxy::headers::Downstream;
use abandoned_requests::AbandonedRequests;
use connection_limit::ConnectionPermit;
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::Notify;

/// The consumer at the other end of a connection, as far as the relay knows.
#[derive(Debug)]
pub struct Consumer {
    /// Its address, and what its requests' forwarding headers say.
    pub downstream: Downstream,
    /// The server name of its TLS connection; absent without TLS, or when it sent none.
    pub server_name: Option<Arc<str>>,
    /// Notified when the consumer is too slow and has to go.
    pub cut: Arc<Notify>,
    /// Set when an answer broke off: on HTTP/1 the connection has to end with a reset then.
    pub broken: Arc<AtomicBool>,
    /// Its permit. Beyond the limit its first request is refused, and it ends.
    pub permit: ConnectionPermit,
    /// What its requests on this connection have been like.
    pub abandoned_requests: AbandonedRequests,
}
