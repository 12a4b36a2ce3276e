//! One HTTP request of a consumer.

use super::{
    connect::{ServiceError, UnexpectedReply},
    consumer::until_consumer_leaves,
    exchange_record::ExchangeRecord,
    headers,
    http1::{self, Http1Answer, NewConnection, RequestBody},
    http2,
    local_service::LocalService,
};
use crate::service::{Scheme, UpstreamProtocol};
use adit_mux::{RecvStream, Responder, body::StreamBody};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use std::{pin::pin, sync::Arc};

/// Serves one request to its end.
pub(super) async fn serve(
    local: &Arc<LocalService>,
    request: Request<RecvStream>,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    if speaks_http2(local, request.headers()) {
        Box::pin(http2::serve(local, request, respond, record)).await;
        return;
    }
    let (mut head, stream) = request.into_parts();
    let body = if stream.is_end_stream() {
        RequestBody::Empty
    } else {
        let length = headers::content_length(&head.headers);
        RequestBody::Stream(StreamBody::new(stream, length), record.count_in())
    };
    let has_body = !matches!(body, RequestBody::Empty);
    headers::to_http1(&mut head, local.tunnel.spec.host_header.as_deref(), has_body);
    let exchange = pin!(exchange(local, Request::from_parts(head, body)));
    let exchanged = until_consumer_leaves(&mut respond, exchange).await;
    match exchanged {
        Ok(answer) => send_answer(local, answer, respond, record).await,
        Err(error) => record.failed(local.fail(&mut respond, &error)),
    }
}

/// Whether the service gets this request by HTTP/2.
fn speaks_http2(local: &LocalService, headers: &HeaderMap) -> bool {
    let spec = &local.tunnel.spec;
    match (spec.service.scheme, spec.upstream_protocol) {
        (_, UpstreamProtocol::Http1) => false,
        (_, UpstreamProtocol::Http2) | (Scheme::H2c, _) => true,
        (Scheme::Https, _) => http2::is_open(local),
        _ => headers::is_grpc(headers),
    }
}

async fn exchange(
    local: &LocalService,
    request: Request<RequestBody>,
) -> Result<ServiceAnswer, ServiceError> {
    let request = match local.pool.send(request).await? {
        Ok(answer) => return Ok(ServiceAnswer::Http1(answer)),
        Err(request) => request,
    };
    Box::pin(send_on_new(local, request)).await
}

/// Sends a request on a connection of its own making.
async fn send_on_new(
    local: &LocalService,
    request: Request<RequestBody>,
) -> Result<ServiceAnswer, ServiceError> {
    match http1::open_connection(&local.tunnel).await? {
        NewConnection::Http1(mut conn) => {
            let answer = conn.send_once(request).await?;
            Ok(ServiceAnswer::Http1((answer, conn)))
        }
        NewConnection::Http2(io) => {
            Ok(ServiceAnswer::Http2(http2::adopt(local, io).await?, Box::new(request)))
        }
    }
}

enum ServiceAnswer {
    Http1(Http1Answer),
    /// The service turned out to speak HTTP/2; the request was not sent yet.
    Http2(adit_mux::Opener, Box<Request<RequestBody>>),
}

async fn send_answer(
    local: &Arc<LocalService>,
    exchanged: ServiceAnswer,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    let (answer, mut conn) = match exchanged {
        ServiceAnswer::Http1(answer) => answer,
        ServiceAnswer::Http2(opener, request) => {
            Box::pin(http2::serve_late(local, opener, *request, respond, record)).await;
            return;
        }
    };
    let (mut head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let error = ServiceError::Protocol(
            "it switched protocols without being asked".into(),
            UnexpectedReply::Other,
        );
        record.failed(local.fail(&mut respond, &error));
        return;
    }
    headers::from_service(&mut head);
    local.tunnel.set_service_answers();
    record.status(head.status);
    let end = body.is_end_stream();
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), end) else {
        return;
    };
    if end {
        local.pool.keep(conn).await;
        return;
    }
    let sending = pin!(adit_mux::body::send(record.counted(body), stream));
    let watched = pin!(record.watch(sending));
    let sent = conn.drive_until(watched).await;
    match sent {
        Ok(_) => local.pool.keep(conn).await,
        // The stream was reset, so its reader sees that the answer is incomplete.
        Err(error) => record.broke(&error),
    }
}
