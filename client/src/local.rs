//! The hop from a session to a tunnel's local service.

mod connect;
mod consumer;
mod exchange_record;
mod headers;
mod http1;
mod http2;
mod io;
mod request;
mod tcp;
mod upgrade;

use crate::published::PublishedTunnel;
use adit_mux::{ConnectProtocol, RecvStream, Responder};
use adit_protocol::{Code, Kind, stream};
pub(crate) use connect::probe;
use connect::{ServiceError, note_failure};
use exchange_record::ExchangeRecord;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::{
    fmt,
    sync::{Arc, Mutex},
    task::Poll,
};

/// One lane's connections to one service.
pub(crate) struct LocalService {
    pub(crate) tunnel: Arc<PublishedTunnel>,
    pool: http1::Pool,
    http2: Mutex<Option<adit_mux::Opener>>,
}

impl fmt::Debug for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalService").field(&self.tunnel.id).finish()
    }
}

impl LocalService {
    /// No connection yet.
    pub(crate) fn new(tunnel: Arc<PublishedTunnel>) -> Self {
        Self { tunnel, pool: http1::Pool::default(), http2: Mutex::default() }
    }

    /// Serves one stream of a consumer to its end.
    ///
    /// A task is moved several times before it runs, so large futures are boxed.
    pub(crate) async fn serve(self: Arc<Self>, request: Request<RecvStream>, mut respond: Responder) {
        if std::future::poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await {
            // The consumer has reset the stream already: the service is not asked.
            return;
        }
        let connect = *request.method() == Method::CONNECT;
        let upgrade = connect && request.extensions().get::<ConnectProtocol>().is_some();
        if (self.tunnel.spec.kind() == Kind::Tcp) != (connect && !upgrade) {
            refuse(&mut respond, StatusCode::BAD_REQUEST, Code::BadRequest);
            return;
        }
        let mut record = ExchangeRecord::new(&self.tunnel, &request);
        if self.tunnel.is_paused() {
            record.status(refuse(&mut respond, StatusCode::SERVICE_UNAVAILABLE, Code::Paused));
        } else if upgrade {
            Box::pin(upgrade::serve(&self, request, respond, &mut record)).await;
        } else if connect {
            Box::pin(tcp::serve(&self, request, respond, &mut record)).await;
        } else {
            Box::pin(request::serve(&self, request, respond, &mut record)).await;
        }
        record.end();
    }

    /// Answers the consumer with an error and notes the failure; returns the status that was sent.
    fn fail(&self, respond: &mut Responder, error: &ServiceError) -> Option<StatusCode> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_request_is_cheap_to_move() {
        let size = size_of_future(LocalService::serve);
        assert!(size <= 1024, "{size} bytes are copied several times for each request");
    }
}
