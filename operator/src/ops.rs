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

/// The most connections at once; others wait.
const CONNECTIONS: usize = 32;
/// How long a connection stays at most.
const LIFETIME: Duration = Duration::from_secs(60);

/// What probes ask for.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
}

impl Health {
    /// From now on the replica is ready: it leads, or it can take over.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Answers until the process ends.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &health, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 * 1024);
            // Whatever fails here, the other side knows it already.
            let _ =
                tokio::time::timeout(LIFETIME, http.serve_connection(TokioIo::new(socket), service)).await;
        });
    }
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned())
        }
        "/livez" => (StatusCode::OK, "live\n".to_owned()),
        "/readyz" if health.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ready\n".to_owned()),
        "/readyz" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the API server has not shown Regions yet\n".to_owned(),
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
    fn probes_and_metrics_are_answered_and_nothing_else() {
        let (health, metrics) = (Health::default(), Metrics::new());
        let status = |method: Method, path: &str| answer(&method, path, &health, &metrics).status().as_u16();
        assert_eq!((status(Method::GET, "/livez"), status(Method::GET, "/readyz")), (200, 503));
        health.set_ready();
        assert_eq!((status(Method::GET, "/readyz"), status(Method::GET, "/metrics")), (200, 200));
        assert_eq!((status(Method::GET, "/"), status(Method::POST, "/livez")), (404, 405));
    }
}
