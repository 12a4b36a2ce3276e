//! A proxy before the API server that cuts the operator off at one of its writes, before or after the write.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Whether the operator is cut off before or after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutPoint {
    /// The write is not forwarded.
    Before,
    /// The write is forwarded, and its answer is lost.
    After,
}

/// The proxy.
pub(crate) struct CuttingProxy {
    pub(crate) url: String,
    writes: Arc<AtomicUsize>,
    reached: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    cut: Option<(usize, CutPoint)>,
    writes: Arc<AtomicUsize>,
    reached: watch::Sender<bool>,
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CuttingProxy {
    /// Starts a proxy that cuts at this write, counted from 1, or at none.
    pub(crate) async fn start(client: Client, cut: Option<(usize, CutPoint)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, reached) = watch::channel(false);
        let writes = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared { client, cut, writes: writes.clone(), reached: sender });
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| forward(shared.clone(), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, writes, reached, task }
    }

    /// Number of writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Whether the operator has been cut off.
    pub(crate) fn is_reached(&self) -> bool {
        *self.reached.borrow()
    }
}

fn is_write(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    writes && !path.contains("/leases") && !path.contains("/events")
}

type ProxyResponse = Response<UnsyncBoxBody<Bytes, kube::Error>>;

async fn forward(shared: Arc<Shared>, request: Request<Incoming>) -> Result<ProxyResponse, Infallible> {
    let number = if is_write(&request) { shared.writes.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
    let cut = shared.cut.filter(|(at, _)| number > 0 && number >= *at).map(|(_, side)| side);
    if cut == Some(CutPoint::Before) {
        shared.reached.send_replace(true);
        return std::future::pending().await;
    }
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    parts.headers.remove(http::header::AUTHORIZATION);
    parts.headers.remove(http::header::HOST);
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    let answer = shared.client.send(Request::from_parts(parts, Body::from(body.to_vec()))).await;
    if cut == Some(CutPoint::After) {
        shared.reached.send_replace(true);
        return std::future::pending().await;
    }
    let answer = answer.unwrap_or_else(|error| panic!("the API server does not answer: {error}"));
    Ok(answer.map(BodyExt::boxed_unsync))
}
