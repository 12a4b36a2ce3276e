//! The listeners that consumers and clients reach.

pub mod connection;
pub mod http;
pub mod listen;
pub mod proxy_protocol;
pub mod tcp;
pub mod tls;

use crate::proxy::headers::Downstream;
use std::sync::Arc;
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
}
