//! The consumer at the other end of a connection.

pub(crate) mod abandoned_requests;
pub(crate) mod connection;
pub(crate) mod connection_limit;

use super::headers::Downstream;
use abandoned_requests::AbandonedRequests;
use connection_limit::ConnectionPermit;
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::Notify;

/// The consumer at the other end of a connection, as far as the relay knows.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Its address, and the values of its requests' forwarding headers.
    pub downstream: Downstream,
    /// The server name of its TLS connection; absent without TLS, or when it sent none.
    pub server_name: Option<Arc<str>>,
    /// Notified when the consumer is too slow and has to go.
    pub cut: Arc<Notify>,
    /// Set when an answer broke off: on HTTP/1 the connection has to end with a reset then.
    pub broken: Arc<AtomicBool>,
    /// Its permit. Beyond the limit its first request is refused, and it ends.
    pub permit: ConnectionPermit,
    /// How many of its requests it has abandoned.
    pub abandoned_requests: AbandonedRequests,
}

impl Consumer {
    /// A consumer that has sent nothing yet.
    pub(crate) fn new(
        downstream: Downstream,
        server_name: Option<Arc<str>>,
        permit: ConnectionPermit,
    ) -> Self {
        Self {
            downstream,
            server_name,
            cut: Arc::default(),
            broken: Arc::default(),
            permit,
            abandoned_requests: AbandonedRequests::default(),
        }
    }
}
