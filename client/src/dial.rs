//! One connection to a relay: name to address, address to TCP, TCP to TLS, TLS to the relay's answer.

mod hello;
pub(crate) mod proxy;
mod race;
mod resolve;
pub(crate) mod tls;

use crate::{address::RelayAddress, identity::Shown, problem::Problem, shared::Shared};
use adit_protocol::{OpenTunnel, RelayId, Reply};
use std::{io, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;

/// How long TCP may take, over all addresses and through a proxy.
const CONNECT: Duration = Duration::from_secs(8);
/// How long TLS and the hello may take; a relay ends a connection whose hello takes longer than 5 s.
const HELLO: Duration = Duration::from_secs(5);

/// A client's connection to a relay.
pub(crate) type RelayIo = TlsStream<TcpStream>;

/// Why there was no answer to a hello.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{host} cannot be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{host} cannot be connected to")]
    Connect { host: String, source: io::Error },
    #[error("no connection within {} s", CONNECT.as_secs())]
    ConnectTimeout,
    #[error("the proxy failed")]
    Proxy(#[source] proxy::ProxyError),
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    /// The relay's certificate was not accepted.
    #[error("the relay's certificate was not accepted")]
    Certificate { error: rustls::CertificateError, issuer: Option<String> },
    #[error("what answers is not a relay")]
    NotARelay,
    #[error("the hello failed")]
    Hello(#[source] hello::HelloError),
    #[error("no answer to the hello within {} s", HELLO.as_secs())]
    HelloTimeout,
    /// No token.
    #[error("there is nothing to show")]
    Token(#[source] Box<Problem>),
}

impl DialError {
    /// What a person reads as the reason: `network unreachable`.
    pub(crate) fn reason(&self) -> String {
        let mut text = match self {
            Self::Token(problem) => problem.message.clone(),
            other => other.to_string(),
        };
        let mut source = std::error::Error::source(self);
        while let Some(error) = source.filter(|_| !matches!(self, Self::Token(_))) {
            text = error.to_string();
            source = error.source();
        }
        // The system's own words end with a number that says nothing to a person.
        text.find(" (os error").map_or_else(|| text.clone(), |at| text[..at].to_lowercase())
    }

    /// The problem that this is for someone who has never reached the relay.
    pub(crate) fn problem(&self, relay: &RelayAddress) -> Problem {
        let host =
            if relay.port() == 443 { relay.host() } else { format!("{}:{}", relay.host(), relay.port()) };
        match self {
            // Another installation's authority may have the same name: then it is the signature that is wrong.
            Self::Certificate {
                error: rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
                issuer,
            } => {
                let problem = Problem::new("ca_unknown").with("host", relay.domain());
                match issuer {
                    Some(issuer) => problem.with("issuer", issuer.as_str()),
                    None => problem,
                }
            }
            Self::Certificate { error, .. } => Problem::new("certificate_invalid")
                .with("host", relay.domain())
                .with("message", error.to_string()),
            Self::NotARelay | Self::Hello(hello::HelloError::Frame(_)) => {
                Problem::new("not_a_relay").with("host", host)
            }
            Self::Token(problem) => problem.as_ref().clone(),
            _ => Problem::new("relay_unreachable").with("host", host).with("message", self.reason()),
        }
    }

    /// Whether another try is of no use to someone who has never reached the relay.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Certificate { .. }
                | Self::NotARelay
                | Self::Token(_)
                | Self::Hello(hello::HelloError::Frame(_))
        )
    }
}

/// What one hello says beside who the client is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) avoid: Vec<RelayId>,
    /// If there are any, all others are to answer `elsewhere`.
    pub(crate) only: Vec<RelayId>,
    pub(crate) tunnels: Vec<OpenTunnel>,
}

/// A relay's answer, and the connection that it came on.
pub(crate) struct Answer {
    pub(crate) io: RelayIo,
    pub(crate) reply: Reply,
    pub(crate) shown: Shown,
}

/// Dials a relay of the region and says hello.
pub(crate) async fn dial(shared: &Shared, ask: Ask) -> Result<Answer, DialError> {
    let shown = shared.identity.show().await.map_err(|problem| DialError::Token(Box::new(problem)))?;
    let tcp = timeout(CONNECT, connect(shared)).await.map_err(|_| DialError::ConnectTimeout)??;
    // A system that refuses makes nothing but a slower session.
    let _ = adit_mux::socket::prepare(&tcp);
    timeout(HELLO, async {
        let mut io = shared.tls.connect(&shared.relay.host(), tcp).await?;
        let reply = hello::exchange(&mut io, &shared.identity, &shown, ask).await;
        Ok(Answer { reply: reply.map_err(DialError::Hello)?, io, shown })
    })
    .await
    .map_err(|_| DialError::HelloTimeout)?
}

async fn connect(shared: &Shared) -> Result<TcpStream, DialError> {
    let (host, port) = (shared.relay.host(), shared.relay.port());
    let Some(proxy) = shared.proxy.for_host(&host, port) else {
        let addresses = resolve::resolve(&host, port, shared.relay.is_local()).await?;
        return race::connect(&addresses).await.map_err(|source| DialError::Connect { host, source });
    };
    let addresses = resolve::resolve(&proxy.host, proxy.port, false).await?;
    let tcp = race::connect(&addresses)
        .await
        .map_err(|source| DialError::Connect { host: proxy.host.clone(), source })?;
    proxy.open(tcp, &host, port).await.map_err(DialError::Proxy)
}
