//! One lane's connections to one service.

use super::{
    connect::{ServiceError, note_failure},
    pool::Pool,
};
use crate::published::PublishedTunnel;
use adit_mux::{Opener, Responder};
use adit_protocol::{Code, stream};
use http::{HeaderValue, Response, StatusCode};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// One lane's connections to one service.
pub(crate) struct LocalService {
    pub(crate) tunnel: Arc<PublishedTunnel>,
    pub(super) pool: Arc<Pool>,
    /// The HTTP/2 connection, while one is open.
    pub(super) http2: Mutex<Option<Opener>>,
}

impl fmt::Debug for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalService").field(&self.tunnel.id).finish()
    }
}

impl LocalService {
    /// No connection yet.
    pub(crate) fn new(tunnel: Arc<PublishedTunnel>) -> Self {
        Self { tunnel, pool: Arc::default(), http2: Mutex::default() }
    }

    /// Answers the consumer with an error and notes the failure; returns the status that was sent.
    pub(super) fn fail(&self, respond: &mut Responder, error: &ServiceError) -> Option<StatusCode> {
        let (status, code) = match error {
            ServiceError::ConsumerLeft => return None,
            ServiceError::Down(_) => (StatusCode::BAD_GATEWAY, Code::ServiceDown),
            ServiceError::Lost(_) => (StatusCode::BAD_GATEWAY, Code::ServiceDown),
            ServiceError::Timeout => (StatusCode::GATEWAY_TIMEOUT, Code::ServiceTimeout),
            ServiceError::Protocol(..) => (StatusCode::BAD_GATEWAY, Code::ServiceProtocol),
        };
        note_failure(&self.tunnel, error);
        tracing::debug!(service = %self.tunnel.spec.service, reason = %error, "service failed");
        Some(refuse(respond, status, code))
    }
}

/// Answers a stream with an error of the client's own; returns the status.
pub(crate) fn refuse(respond: &mut Responder, status: StatusCode, code: Code) -> StatusCode {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(stream::ERROR, HeaderValue::from_static(code.as_str()));
    // The consumer may be gone already.
    let _ = respond.send_response(response, true);
    status
}
