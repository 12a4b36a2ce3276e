//! The listeners that consumers and clients reach.

pub mod connection;
pub mod habits;
pub mod http;
pub mod listen;
pub mod proxy_protocol;
pub mod room;
pub mod tcp;
pub mod tls;

use crate::proxy::headers::Downstream;
use habits::Habits;
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
    /// The connection's place. Without room its first request is refused, and it ends.
    pub place: room::Place,
    /// What its requests on this connection have been like.
    pub habits: Habits,
}
