//! HTTP/1.1 for the ops port and the admin socket: few connections, short ones, small heads.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

/// Maximum time of a request's head.
const MAX_HEAD_TIME: Duration = Duration::from_secs(10);
/// Maximum size of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Delay after a failed accept, most likely for want of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Limits of connections.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Maximum number of open connections.
    pub(crate) connections: usize,
    /// Maximum lifetime of a connection.
    pub(crate) lifetime: Duration,
}

/// Serves the connections that `accept` yields until `stop`, then closes them.
pub(crate) async fn serve<S, A, F>(
    limits: ConnectionLimits,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    stop: CancellationToken,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Bytes>, Infallible>> + Send,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, std::future::poll_fn(&mut accept).await)
        };
        let (place, socket) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => return,
        };
        let Ok(socket) = socket else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        let (answer, stop) = (answer.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = run(socket, answer);
            tokio::select! {
                _ = tokio::time::timeout(limits.lifetime, connection) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn run<S, A, F>(socket: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Bytes>, Infallible>>,
{
    let service = service_fn(|request| {
        let response = answer(request);
        async move { response.await.map(|response| response.map(Full::new)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(MAX_HEAD_TIME).max_buf_size(MAX_HEAD_BYTES);
    // Whatever fails here, the other side knows it already.
    let _ = http.serve_connection(TokioIo::new(socket), service).await;
}
