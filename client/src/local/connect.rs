//! A new connection to a service.

use super::io::ServiceIo;
use crate::{
    published::PublishedTunnel,
    service::{Scheme, Service},
};
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
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>, UnexpectedReply),
    #[error("the consumer has gone away")]
    ConsumerLeft,
}

/// The kind of reply that came in place of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnexpectedReply {
    /// A TLS record (RFC 8446 section 5.1): an alert, as the request was no handshake.
    Tls,
    /// HTTP/2's first frame, SETTINGS (RFC 9113 section 3.4).
    Http2,
    /// Clear text where TLS was expected.
    ClearText,
    /// Anything else.
    Other,
}

impl UnexpectedReply {
    /// Tells by the first bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        match bytes {
            [0x15 | 0x16, 3, ..] => Self::Tls,
            [0, _, _, 4, _, 0, 0, 0, 0, ..] => Self::Http2,
            _ => Self::Other,
        }
    }
}

/// The use of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Requests, in the version of HTTP that TLS agrees on.
    Requests,
    /// One Upgrade, or bytes.
    Bytes,
}

/// Connects to the tunnel's service and records whether it is up. Also returns whether TLS agreed on HTTP/2.
pub(super) async fn connect(
    tunnel: &PublishedTunnel,
    purpose: Purpose,
) -> Result<(ServiceIo, bool), ServiceError> {
    let connected = timeout(CONNECT_TIMEOUT, async {
        let tcp = connect_tcp(tunnel).await.map_err(ServiceError::Down)?;
        let Some(tls) = &tunnel.tls else { return Ok((ServiceIo::Tcp(tcp), false)) };
        let connector = if purpose == Purpose::Requests { &tls.requests } else { &tls.upgrades };
        let io = connector.connect(tls.name.clone(), tcp).await.map_err(|error| {
            let answer =
                if is_clear_text(&error) { UnexpectedReply::ClearText } else { UnexpectedReply::Other };
            ServiceError::Protocol(error.into(), answer)
        })?;
        let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((ServiceIo::Tls(Box::new(io)), http2))
    })
    .await
    .unwrap_or(Err(ServiceError::Timeout));
    match &connected {
        Ok(_) => tunnel.set_service_up(),
        Err(error) => note_failure(tunnel, error),
    }
    connected
}

/// Records a failure in the tunnel's state.
pub(super) fn note_failure(tunnel: &PublishedTunnel, error: &ServiceError) {
    let reason = describe_failure(&tunnel.spec.service, error);
    match error {
        ServiceError::Down(_) | ServiceError::Timeout => tunnel.set_service_down(reason),
        ServiceError::Protocol(..) => tunnel.set_service_protocol(reason),
        ServiceError::Lost(_) | ServiceError::ConsumerLeft => {}
    }
}

/// Whether a service answered a TLS handshake with something that is no TLS.
fn is_clear_text(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidMessage(_)))
}

/// Whether the service takes connections now; notes it.
pub(crate) async fn probe(tunnel: &PublishedTunnel) {
    match timeout(CONNECT_TIMEOUT, connect_tcp(tunnel)).await {
        Ok(Ok(_)) => tunnel.set_service_up(),
        Ok(Err(error)) => note_failure(tunnel, &ServiceError::Down(error)),
        Err(_) => note_failure(tunnel, &ServiceError::Timeout),
    }
}

async fn connect_tcp(tunnel: &PublishedTunnel) -> io::Result<TcpStream> {
    let service = &tunnel.spec.service;
    let tcp = TcpStream::connect((service.host.as_str(), service.port)).await?;
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

fn describe_failure(service: &Service, error: &ServiceError) -> String {
    let address = service.authority();
    let instead = |speaks: &str, scheme: &str| {
        format!("{address} {speaks}: use {scheme}://{address}; consumers get 502")
    };
    match error {
        ServiceError::Down(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("{address} refuses connections; consumers get 502"),
            _ => format!("{address} cannot be reached: {error}; consumers get 502"),
        },
        ServiceError::Timeout => format!("{address} does not answer; consumers get 504"),
        ServiceError::Protocol(_, UnexpectedReply::Tls) => instead("speaks TLS", "https"),
        ServiceError::Protocol(_, UnexpectedReply::Http2) => instead("speaks HTTP/2", "h2c"),
        ServiceError::Protocol(_, UnexpectedReply::ClearText) => instead("speaks no TLS", "http"),
        ServiceError::Protocol(error, UnexpectedReply::Other) if service.scheme == Scheme::Https => {
            format!("{address}: TLS failed: {error}; consumers get 502")
        }
        other => format!("{address}: {other}; consumers get 502"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::Kind;

    #[test]
    fn what_answers_in_place_of_http_is_named_with_what_to_write() {
        let service = Service::parse(Kind::Http, "8443").unwrap();
        let say = |bytes: &[u8]| {
            describe_failure(&service, &ServiceError::Protocol("x".into(), UnexpectedReply::of_bytes(bytes)))
        };
        let tls = "127.0.0.1:8443 speaks TLS: use https://127.0.0.1:8443; consumers get 502";
        assert_eq!(say(&[0x15, 3, 1, 0, 2, 2, 70]), tls);
        assert!(say(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4]).contains("use h2c://127.0.0.1:8443"));
        assert!(say(b"SSH-2.0-x").contains("does not answer with HTTP"));
        assert!(say(b"").contains("does not answer with HTTP"));
    }
}
