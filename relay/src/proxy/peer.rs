//! The links that peers open: each stream goes to a session of this relay, or nowhere; questions are answered.

mod answers;

use super::Proxy;
use crate::{
    cluster::peer::{ask, suspensions},
    routing::upstream::{self, Failure, Handled},
};
use adit_mux::{
    AcceptStreams, RecvStream, ResetReason, Responder,
    body::{self, StreamBody},
};
use adit_protocol::{Endpoint, stream};
use http::{Request, Response};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

/// How long a peer may take for its TLS handshake.
const MAX_HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Serves one link to the end.
pub(crate) async fn serve(proxy: Arc<Proxy>, tcp: TcpStream, remote: SocketAddr) {
    let Some(tls) = proxy.routing.peers.tls.as_ref().map(|tls| tls.load_full()) else { return };
    // A system that refuses makes nothing but a slower link.
    let _ = adit_mux::socket::configure(&tcp);
    let Ok(Ok(io)) = timeout(MAX_HANDSHAKE_TIME, TlsAcceptor::from(tls.server.clone()).accept(tcp)).await
    else {
        tracing::warn!(%remote, "peer TLS handshake failed");
        return;
    };
    let Ok((mut acceptor, pinger)) = adit_mux::accept(io).await else { return };
    let streams = async {
        while let Some(Ok((request, respond))) = acceptor.accept().await {
            tokio::spawn(answer(proxy.clone(), request, respond));
        }
    };
    tokio::select! { () = streams => {}, _ = pinger.between_relays().watch(|_| {}) => {} }
}

async fn answer(proxy: Arc<Proxy>, request: Request<RecvStream>, mut respond: Responder) {
    if let Err(reason) = forward(&proxy, request, &mut respond).await {
        respond.send_reset(reason);
    }
}

/// Sends one stream on.
///
/// # Errors
/// The reason with which the stream is reset: REFUSED_STREAM says that another relay may be tried.
async fn forward(
    proxy: &Arc<Proxy>,
    request: Request<RecvStream>,
    respond: &mut Responder,
) -> Result<(), ResetReason> {
    let (mut parts, recv) = request.into_parts();
    if let Some(question) = parts.headers.get(suspensions::HEADER) {
        return answers::suspensions(&proxy.suspensions, question, respond).await;
    }
    let endpoint = parts.headers.remove(stream::PEER_ENDPOINT).ok_or(ResetReason::ProtocolError)?;
    let endpoint: Endpoint =
        endpoint.to_str().ok().and_then(|text| text.parse().ok()).ok_or(ResetReason::ProtocolError)?;
    if parts.headers.contains_key(ask::HEADER) {
        return answers::endpoint(&proxy.routing.local, &endpoint, respond);
    }
    let served = match proxy.routing.local.endpoint(&endpoint) {
        Some(served) => served,
        None => proxy.routing.claimed_here(&endpoint).await.ok_or(ResetReason::RefusedStream)?,
    };
    if proxy.suspensions.is_suspended(&served.account, &endpoint) {
        return Err(ResetReason::RefusedStream);
    }
    let upstream = upstream::local(&served, &[]).ok_or_else(|| match served.is_open() {
        true => upstream::FULL,
        false => ResetReason::RefusedStream,
    })?;
    let head = Request::from_parts(parts, ());
    let has_body = !recv.is_end_stream();
    let (response, send) =
        upstream.open(&proxy.telemetry, head, !has_body).await.map_err(|_| ResetReason::RefusedStream)?;
    if has_body {
        tokio::spawn(body::send(StreamBody::new(recv, None), send));
    }
    let response = tokio::select! {
        response = response => response,
        // The consumer has gone: so has the interest in an answer.
        _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return Err(ResetReason::Cancel),
    };
    let response = response.map_err(|error| match Failure::of_stream(&error).handled {
        Handled::No => ResetReason::RefusedStream,
        Handled::Maybe => ResetReason::InternalError,
    })?;
    let (parts, recv) = response.into_parts();
    let end = recv.is_end_stream();
    let send =
        respond.send_response(Response::from_parts(parts, ()), end).map_err(|_| ResetReason::Cancel)?;
    if !end {
        // An error has been passed on as a reset in its direction.
        let _ = body::send(StreamBody::new(recv, None), send).await;
    }
    drop(upstream);
    Ok(())
}
