//! The ops port: `/livez`, `/readyz` and `/metrics`.

use crate::metrics::Metrics;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// Maximum connections at once; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// Maximum lifetime of a connection.
const MAX_CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// The replica's health, as probes see it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    ready: AtomicBool,
}

impl Health {
    /// Marks the replica as ready: it is the leader, or it can become the leader.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Serves the ops port until the process ends.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = respond(request.method(), request.uri().path(), &health, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 * 1024);
            // The other side has seen any failure itself.
            let _ = tokio::time::timeout(
                MAX_CONNECTION_LIFETIME,
                http.serve_connection(TokioIo::new(socket), service),
            )
            .await;
        });
    }
}

fn respond(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned())
        }
        "/livez" => (StatusCode::OK, "live\n".to_owned()),
        "/readyz" if health.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ready\n".to_owned()),
        "/readyz" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the API server has not listed Regions yet\n".to_owned(),
        ),
        "/metrics" => (StatusCode::OK, metrics.text()),
        _ => (StatusCode::NOT_FOUND, "not found: /livez /readyz /metrics\n".to_owned()),
    };
    let kind = match path {
        "/metrics" => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_and_metrics_are_served() {
        let (health, metrics) = (Health::default(), Metrics::new());
        let status = |method: Method, path: &str| respond(&method, path, &health, &metrics).status().as_u16();
        assert_eq!((status(Method::GET, "/livez"), status(Method::GET, "/readyz")), (200, 503));
        health.set_ready();
        assert_eq!((status(Method::GET, "/readyz"), status(Method::GET, "/metrics")), (200, 200));
        assert_eq!((status(Method::GET, "/"), status(Method::POST, "/livez")), (404, 405));
    }
}
