//! The hop from a session to a tunnel's local service.

mod connect;
mod consumer;
mod exchange_record;
mod headers;
mod http1;
mod http2;
mod io;
mod local_service;
mod pool;
mod request;
mod tcp;
mod upgrade;

use adit_mux::{ConnectProtocol, RecvStream, Responder};
use adit_protocol::{Code, Kind};
pub(crate) use connect::probe;
use exchange_record::ExchangeRecord;
use http::{Method, Request, StatusCode};
pub(crate) use local_service::{LocalService, refuse};
use std::{sync::Arc, task::Poll};

impl LocalService {
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
