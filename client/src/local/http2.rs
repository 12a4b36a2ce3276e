//! HTTP/2 to a service: one connection a lane, in clear or over TLS.

use super::{
    connect::{Purpose, ServiceError, UnexpectedReply, connect},
    consumer::until_consumer_leaves,
    exchange_record::ExchangeRecord,
    headers,
    http1::RequestBody,
    io::ServiceIo,
    local_service::LocalService,
};
use adit_mux::{
    Opener, RecvStream, ResetReason, Responder, StreamError,
    body::{SendError, StreamBody},
};
use http::{Request, Response};
use http_body::Body;
use std::{pin::pin, sync::Arc, task::Poll};

fn slot(local: &LocalService) -> std::sync::MutexGuard<'_, Option<Opener>> {
    local.http2.lock().expect("no code panics while it holds this lock")
}

/// Whether there is an HTTP/2 connection to the service.
pub(super) fn is_open(local: &LocalService) -> bool {
    slot(local).is_some()
}

/// Speaks HTTP/2 on this connection from now on.
pub(super) async fn adopt(local: &LocalService, io: ServiceIo) -> Result<Opener, ServiceError> {
    let (opener, _, driver) = adit_mux::open(io)
        .await
        .map_err(|error| ServiceError::Protocol(error.into(), UnexpectedReply::Other))?;
    *slot(local) = Some(opener.clone());
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "an HTTP/2 connection to a service ended"
            );
        }
    });
    Ok(opener)
}

/// A connection that accepts a stream now: the open one or a new one.
async fn opener(local: &LocalService) -> Result<Opener, ServiceError> {
    let kept = slot(local).clone();
    if let Some(opener) = kept {
        match opener.ready().await {
            Ok(opener) => return Ok(opener),
            Err(_) => *slot(local) = None,
        }
    }
    let (io, agreed) = connect(&local.tunnel, Purpose::Requests).await?;
    if matches!(io, ServiceIo::Tls(_)) && !agreed {
        return Err(ServiceError::Protocol("it does not speak HTTP/2".into(), UnexpectedReply::Other));
    }
    adopt(local, io)
        .await?
        .ready()
        .await
        .map_err(|error| ServiceError::Protocol(error.into(), UnexpectedReply::Other))
}

/// Serves one request to its end.
pub(super) async fn serve(
    local: &Arc<LocalService>,
    request: Request<RecvStream>,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    let opener = match until_consumer_leaves(&mut respond, pin!(opener(local))).await {
        Ok(opener) => opener,
        Err(error) => {
            record.failed(local.fail(&mut respond, &error));
            return;
        }
    };
    let (mut head, stream) = request.into_parts();
    let body = if stream.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Stream(
            StreamBody::new(stream, headers::content_length(&head.headers)),
            record.count_in(),
        )
    };
    headers::to_http2(&mut head, local.tunnel.spec.host_header.as_deref(), local.tunnel.tls.is_some());
    serve_on(local, opener, Request::from_parts(head, body), respond, record).await;
}

/// Serves a request that was made for HTTP/1.1 before it was known that the service speaks HTTP/2.
pub(super) async fn serve_late(
    local: &Arc<LocalService>,
    opener: Opener,
    request: Request<RequestBody>,
    respond: Responder,
    record: &mut ExchangeRecord,
) {
    let (mut head, body) = request.into_parts();
    // Its Host is the service's already.
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    headers::to_http2(&mut head, host.as_deref(), true);
    serve_on(local, opener, Request::from_parts(head, body), respond, record).await;
}

async fn serve_on(
    local: &Arc<LocalService>,
    mut opener: Opener,
    request: Request<RequestBody>,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    let (head, body) = request.into_parts();
    let end = body.is_end_stream();
    let (response, upload) = match opener.send_request(Request::from_parts(head, ()), end) {
        Ok(opened) => opened,
        Err(error) => {
            *slot(local) = None;
            record.failed(local.fail(&mut respond, &ServiceError::Lost(error.into())));
            return;
        }
    };
    let upload = async {
        if !end {
            // Its failure shows in the answer.
            let _ = adit_mux::body::send(body, upload).await;
        }
    };
    let download = async {
        let answered = async { response.await.map_err(service_error) };
        match until_consumer_leaves(&mut respond, pin!(answered)).await {
            Ok(answer) => {
                local.tunnel.set_service_answers();
                send_answer(answer, respond, record).await;
            }
            Err(error) => record.failed(local.fail(&mut respond, &error)),
        }
    };
    beside(download, upload).await;
}

fn service_error(error: StreamError) -> ServiceError {
    if error.io_kind().is_some() || error.is_go_away() || error.reason() == Some(ResetReason::RefusedStream) {
        ServiceError::Lost(error.into())
    } else {
        ServiceError::Protocol(error.into(), UnexpectedReply::Other)
    }
}

/// Lets the second future go on for as long as the first one takes.
async fn beside(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut done = false;
    std::future::poll_fn(|cx| {
        done = done || second.as_mut().poll(cx).is_ready();
        if first.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn send_answer(answer: Response<RecvStream>, mut respond: Responder, record: &mut ExchangeRecord) {
    let (mut head, stream) = answer.into_parts();
    let end = stream.is_end_stream();
    let length = headers::content_length(&head.headers);
    headers::from_service(&mut head);
    record.status(head.status);
    let Ok(to) = respond.send_response(Response::from_parts(head, ()), end) else { return };
    if end {
        return;
    }
    let body = record.counted(StreamBody::new(stream, length));
    let sent = record.watch(pin!(adit_mux::body::send(body, to))).await;
    if let Err(error) = sent {
        record.broke::<SendError<StreamError>>(&error);
    }
}
