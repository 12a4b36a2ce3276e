//! The ops port: `/livez`, `/readyz` and `/metrics`.
//!
//! `/readyz` says in words what keeps the relay from serving, and what is away though it serves; as JSON to who
//! accepts `application/json`.

pub mod access_log;
pub mod admin;
pub mod clock;
pub mod connection;
mod health;
pub(crate) mod lifecycle;
pub mod metrics;
pub(crate) mod telemetry;

pub use health::{Component, Health, LifecyclePhase};

use crate::ops::metrics::Metrics;
use bytes::Bytes;
use connection::ConnectionLimits;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use std::{convert::Infallible, sync::Arc, task::Context, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const CONNECTION_LIMITS: ConnectionLimits =
    ConnectionLimits { connections: 64, lifetime: Duration::from_secs(60) };

/// Answers on `listener` until `stop`. At most 64 connections are open at once; others wait to be accepted.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let accept = move |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(socket, _)| socket);
    connection::serve(CONNECTION_LIMITS, accept, stop, move |request| {
        let response = answer(&request, &health, &metrics);
        async move { Ok::<_, Infallible>(response) }
    })
    .await;
}

fn answer<B>(request: &Request<B>, health: &Health, metrics: &Metrics) -> Response<Bytes> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let status = |good: bool| if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match request.uri().path() {
        "/livez" => report(request, status(health.is_live()), health, |health| health.live_text()),
        "/readyz" => report(request, status(health.is_ready()), health, |health| health.ready_text()),
        "/metrics" => with_type(StatusCode::OK, metrics::CONTENT_TYPE, metrics.encode()),
        "/" => text(StatusCode::OK, "/livez /readyz /metrics\n".to_owned()),
        _ => text(StatusCode::NOT_FOUND, "not found: /livez /readyz /metrics\n".to_owned()),
    }
}

fn report<B>(
    request: &Request<B>,
    status: StatusCode,
    health: &Health,
    words: impl Fn(&Health) -> String,
) -> Response<Bytes> {
    let json = |value: &HeaderValue| value.to_str().is_ok_and(|accept| accept.contains("application/json"));
    if request.headers().get_all(header::ACCEPT).iter().any(json) {
        let mut body = health.to_json().to_string();
        body.push('\n');
        return with_type(status, "application/json", body);
    }
    text(status, words(health))
}

fn text(status: StatusCode, body: String) -> Response<Bytes> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
