//! The public HTTPS port: consumers by TLS, and clients by the tunnel's ALPN name.

use super::{Frontend, client_hello, http, proxy_protocol};
use crate::{
    ops::metrics::Count,
    proxy::{
        consumer::{Consumer, connection::Connection},
        headers::Downstream,
    },
    session,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::StartHandshake;

/// How long a connection may take from its first byte to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves one connection to the end.
pub(crate) async fn serve(frontend: Arc<Frontend>, mut tcp: TcpStream, remote: SocketAddr) {
    // Until it has said that it is a client's, a connection counts as a consumer's.
    let Some(permit) = frontend.connection_limit.enter() else {
        frontend.proxy.telemetry.lane().metrics.count(Count::ConnectionsRefused);
        return;
    };
    let opening = async {
        let (remote, rest) = if frontend.trusts_proxy(remote) {
            let (consumer, rest) = proxy_protocol::read(&mut tcp).await.ok()?;
            (consumer.unwrap_or(remote), rest)
        } else {
            (remote, bytes::Bytes::new())
        };
        let accepted = client_hello::read(&mut tcp, &rest).await.ok()?;
        Some((remote, accepted))
    };
    let Ok(Some((remote, accepted))) = timeout(HANDSHAKE, opening).await else {
        frontend.proxy.telemetry.lane().metrics.count(Count::TlsFailures);
        return;
    };
    let hello = accepted.client_hello();
    let is_client = hello.alpn().is_some_and(|mut names| names.any(|name| name == adit_protocol::ALPN));
    let server_name = hello.server_name().map(|name| Arc::from(name.to_ascii_lowercase()));
    if is_client {
        drop(permit);
        return session::accept::accept(frontend.sessions.clone(), accepted, tcp, remote).await;
    }
    if let Some(config) = frontend.proxy.challenges.alpn(&hello) {
        // The CA has seen the certificate when the handshake is done; there is nothing to say after it.
        let handshake = StartHandshake::from_parts(accepted, tcp).into_stream(config);
        if let Ok(Ok(mut tls)) = timeout(HANDSHAKE, handshake).await {
            let _ = tls.shutdown().await;
        }
        return;
    }
    let handshake = StartHandshake::from_parts(accepted, tcp).into_stream(frontend.tls.clone());
    let Ok(Ok(tls)) = timeout(HANDSHAKE, handshake).await else {
        frontend.proxy.telemetry.lane().metrics.count(Count::TlsFailures);
        return;
    };
    let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let downstream = Downstream::new(remote, true, frontend.proxy.routing.public_port);
    let consumer = Consumer::new(downstream, server_name, permit);
    let connection = Connection::tls(tls);
    if h2 {
        http::serve_h2(frontend.proxy.clone(), consumer, connection).await;
    } else {
        http::serve_h1(frontend.proxy.clone(), consumer, connection).await;
    }
}
