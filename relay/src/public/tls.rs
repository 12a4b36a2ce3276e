//! The public HTTPS port: consumers by TLS, and clients by the tunnel's ALPN name.

use super::{Consumer, abandoned_requests::AbandonedRequests, connection::Connection, http, proxy_protocol};
use crate::{
    ops::metrics::Count, proxy::headers::Downstream, public::client_hello, server::relay::Relay, session,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::StartHandshake;

/// How long a connection may take from its first byte to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves one connection to the end.
pub async fn serve(relay: Arc<Relay>, mut tcp: TcpStream, remote: SocketAddr) {
    // Until it has said that it is a client's, a connection counts as a consumer's.
    let Some(permit) = relay.connection_limit.enter() else {
        relay.telemetry().metrics.count(Count::ConnectionsRefused);
        return;
    };
    let opening = async {
        let (remote, rest) = if relay.trusts_proxy(remote) {
            let (consumer, rest) = proxy_protocol::read(&mut tcp).await.ok()?;
            (consumer.unwrap_or(remote), rest)
        } else {
            (remote, bytes::Bytes::new())
        };
        let received = client_hello::read(&mut tcp, &rest).await.ok()?;
        Some((remote, received))
    };
    let Ok(Some((remote, received))) = timeout(HANDSHAKE, opening).await else {
        relay.telemetry().metrics.count(Count::TlsFailures);
        return;
    };
    let hello = received.accepted.client_hello();
    let is_client = hello.alpn().is_some_and(|mut names| names.any(|name| name == adit_protocol::ALPN));
    let server_name = hello.server_name().map(|name| Arc::from(name.to_ascii_lowercase()));
    if is_client {
        drop(permit);
        return session::accept(relay, received.accepted, tcp, remote).await;
    }
    if let Some(config) = relay.challenges.alpn(&hello) {
        // The CA has seen the certificate when the handshake is done; there is nothing to say after it.
        let handshake = StartHandshake::from_parts(received.accepted, tcp).into_stream(config);
        if let Ok(Ok(mut tls)) = timeout(HANDSHAKE, handshake).await {
            let _ = tls.shutdown().await;
        }
        return;
    }
    let handshake =
        StartHandshake::from_parts(received.accepted, tcp).into_stream(relay.tls.consumers.clone());
    let Ok(Ok(tls)) = timeout(HANDSHAKE, handshake).await else {
        relay.telemetry().metrics.count(Count::TlsFailures);
        return;
    };
    let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let downstream = Downstream::new(remote, true, relay.public_port);
    let consumer = Consumer {
        downstream,
        server_name,
        cut: Arc::default(),
        broken: Arc::default(),
        permit,
        abandoned_requests: AbandonedRequests::default(),
    };
    let connection = Connection::tls(tls);
    if h2 {
        http::serve_h2(relay, consumer, connection).await;
    } else {
        http::serve_h1(relay, consumer, connection).await;
    }
}
