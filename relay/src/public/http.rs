//! HTTP/1.1 and HTTP/2 of consumers, by hyper.

use super::{Frontend, proxy_protocol};
use crate::{
    ops::metrics::{Count, Gauge},
    proxy::{
        Proxy,
        consumer::{Consumer, connection::Connection},
        headers::Downstream,
        http::answer,
    },
};
use hyper::{server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// How long a consumer may take for the headers of a request; an idle kept-alive connection ends after as long.
const HEADERS: Duration = Duration::from_secs(10);
/// The most bytes of one request's or response's headers on HTTP/1.1.
const HEADER_BYTES: usize = 64 * 1024;
/// The most header fields of one request.
pub(crate) const HEADER_FIELDS: usize = 100;
/// The most bytes of a request's decoded headers on HTTP/2, with 32 bytes of overhead a field.
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// The most requests that one consumer's connection has at once on HTTP/2.
const STREAMS: u32 = 100;
/// How many bytes of one request's body wait for the service.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// How many bytes of all its requests' bodies.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How many streams a consumer may reset before they are accepted (RUSTSEC-2023-0034).
const PENDING_RESETS: usize = 20;
/// How many resets of our own a consumer may provoke on one connection (RUSTSEC-2024-0003).
const LOCAL_RESETS: usize = 100;
/// How long an HTTP/2 connection stays without a request.
const IDLE: Duration = Duration::from_secs(180);
/// How often an idle HTTP/2 consumer is asked whether it is still there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(30);

/// Serves one connection in clear to the end.
pub(crate) async fn serve(frontend: Arc<Frontend>, mut tcp: TcpStream, remote: SocketAddr) {
    let Some(permit) = frontend.connection_limit.enter() else {
        frontend.proxy.telemetry.lane().metrics.count(Count::ConnectionsRefused);
        return;
    };
    let consumer = |remote| Consumer::new(Downstream::new(remote, false, frontend.plain_port), None, permit);
    if !frontend.trusts_proxy(remote) {
        let consumer = consumer(remote);
        return serve_h1(frontend.proxy.clone(), consumer, Connection::tcp(tcp)).await;
    }
    let Ok(Ok((behind, rest))) = timeout(HEADERS, proxy_protocol::read(&mut tcp)).await else { return };
    let consumer = consumer(behind.unwrap_or(remote));
    serve_h1(frontend.proxy.clone(), consumer, Connection::prefixed(rest, tcp)).await;
}

/// Serves HTTP/1.1. While the relay drains each answer closes its connection; idle connections end once no new ones are
/// taken, so that a request which is on its way is still answered.
pub(super) async fn serve_h1(proxy: Arc<Proxy>, consumer: Consumer, connection: Connection) {
    proxy.telemetry.lane().metrics.count(Count::Connections);
    let _open = proxy.telemetry.lane().metrics.open(Gauge::Connections);
    if !consumer.permit.is_inside() {
        proxy.telemetry.lane().metrics.count(Count::ConnectionsRefused);
    }
    let connection = connection.reset_if(consumer.broken.clone());
    let closed = proxy.lifecycle.closed.clone();
    let (cut, broken) = (consumer.cut.clone(), consumer.broken.clone());
    let consumer = Arc::new(consumer);
    let service = service_fn(move |request| {
        let (proxy, consumer) = (proxy.clone(), consumer.clone());
        async move { Ok::<_, Infallible>(answer(proxy, &consumer, request).await) }
    });
    let connection = conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_FIELDS)
        // No pipeline_flush: with it hyper's buffer takes a whole body, however slowly the consumer reads.
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Errors here are the consumer's: it broke HTTP's rules, or went away.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = closed.cancelled() => connection.as_mut().graceful_shutdown(),
        () = cut.notified() => return broken.store(true, Ordering::Relaxed),
    }
    tokio::select! { _ = connection => {}, () = cut.notified() => broken.store(true, Ordering::Relaxed) }
}

/// Serves HTTP/2. A consumer who leaves request after request, or sends none, is asked to go, and then made to.
pub(super) async fn serve_h2(proxy: Arc<Proxy>, consumer: Consumer, connection: Connection) {
    proxy.telemetry.lane().metrics.count(Count::Connections);
    let _open = proxy.telemetry.lane().metrics.open(Gauge::Connections);
    let inside = consumer.permit.is_inside();
    if !inside {
        proxy.telemetry.lane().metrics.count(Count::ConnectionsRefused);
    }
    let draining = proxy.lifecycle.draining.clone();
    let cut = consumer.cut.clone();
    let consumer = Arc::new(consumer);
    let of_consumer = consumer.clone();
    let abandoned_requests = &of_consumer.abandoned_requests;
    let service = service_fn(move |request| {
        let (proxy, consumer) = (proxy.clone(), consumer.clone());
        async move { Ok::<_, Infallible>(answer(proxy, &consumer, request).await) }
    });
    let connection = conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(connection), service);
    let mut connection = std::pin::pin!(connection);
    if !inside {
        connection.as_mut().graceful_shutdown();
    }
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = draining.cancelled() => {}
        () = abandoned_requests.restless() => {}
        begun = abandoned_requests.idle(HEADERS, IDLE) => if !begun { return },
        () = cut.notified() => return,
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = abandoned_requests.restless() => {}
        _ = abandoned_requests.idle(HEADERS, HEADERS) => {}
        () = cut.notified() => {}
    }
}
