//! A new connection to a service.

use super::io::ServiceIo;
use crate::published::PublishedTunnel;
use std::{io, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a service may take to accept a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the service did not answer a consumer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("the service does not take connections")]
    Down(#[source] io::Error),
    #[error("the service takes no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    #[error("the service closed the connection instead of an answer")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the service does not answer with HTTP")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the consumer has gone away")]
    ConsumerLeft,
}

/// What a new connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Requests, in the version of HTTP that TLS agrees on.
    Requests,
    /// One Upgrade, or bytes.
    Bytes,
}

/// Connects to the tunnel's service, and notes whether it is up. Answers also whether TLS agreed on HTTP/2.
pub(super) async fn connect(
    tunnel: &PublishedTunnel,
    purpose: Purpose,
) -> Result<(ServiceIo, bool), ServiceError> {
    let connected = timeout(CONNECT_TIMEOUT, async {
        let tcp = connect_tcp(tunnel).await.map_err(ServiceError::Down)?;
        let Some(tls) = &tunnel.tls else { return Ok((ServiceIo::Tcp(tcp), false)) };
        let connector = if purpose == Purpose::Requests { &tls.requests } else { &tls.upgrades };
        let io = connector
            .connect(tls.name.clone(), tcp)
            .await
            .map_err(|error| ServiceError::Protocol(error.into()))?;
        let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((ServiceIo::Tls(Box::new(io)), http2))
    })
    .await
    .unwrap_or(Err(ServiceError::Timeout));
    match &connected {
        Ok(_) => tunnel.set_service_up(),
        Err(error) => tunnel.set_service_down(describe_failure(&tunnel.spec.service.authority(), error)),
    }
    connected
}

/// Whether the service takes connections now; notes it.
pub(crate) async fn probe(tunnel: &PublishedTunnel) {
    match timeout(CONNECT_TIMEOUT, connect_tcp(tunnel)).await {
        Ok(Ok(_)) => tunnel.set_service_up(),
        Ok(Err(error)) => {
            let error = ServiceError::Down(error);
            tunnel.set_service_down(describe_failure(&tunnel.spec.service.authority(), &error));
        }
        Err(_) => {
            tunnel
                .set_service_down(describe_failure(&tunnel.spec.service.authority(), &ServiceError::Timeout));
        }
    }
}

async fn connect_tcp(tunnel: &PublishedTunnel) -> io::Result<TcpStream> {
    let service = &tunnel.spec.service;
    let tcp = TcpStream::connect((service.host.as_str(), service.port)).await?;
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

fn describe_failure(service: &str, error: &ServiceError) -> String {
    match error {
        ServiceError::Down(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("{service} refuses connections; consumers get 502"),
            _ => format!("{service} cannot be reached: {error}; consumers get 502"),
        },
        ServiceError::Timeout => format!("{service} does not answer; consumers get 504"),
        ServiceError::Protocol(error) => format!("{service}: TLS failed: {error}; consumers get 502"),
        other => format!("{service}: {other}; consumers get 502"),
    }
}
