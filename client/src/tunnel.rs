//! One tunnel in a few lines.

use crate::{
    client::{Client, ClientBuilder, StartError},
    event::{EventKind, TunnelState},
    problem::Problem,
    service::{InvalidService, Scheme, Service, TunnelSpec},
};
use adit_protocol::Kind;
use std::{path::PathBuf, time::Duration};

/// An open tunnel. It closes when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    client: Client,
    url: String,
}

/// Why a tunnel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The text is not the address of a service.
    #[error("{service:?} is not a service")]
    Service {
        /// The text.
        service: String,
        /// The rule that it breaks.
        source: InvalidService,
    },
    /// The description is not valid.
    #[error("the tunnel is not well described")]
    Start(#[source] StartError),
    /// No relay opens it.
    #[error("no relay opens the tunnel")]
    Refused(#[source] Problem),
}

/// Describes one tunnel and its client.
#[derive(Clone, Debug)]
pub struct TunnelBuilder {
    kind: Kind,
    service: String,
    client: ClientBuilder,
    spec: TunnelSpec,
}

impl Tunnel {
    /// A tunnel to an HTTP service: `3000`, `host:port`, or a URL with `http`, `https` or `h2c`.
    pub fn http(service: impl Into<String>) -> TunnelBuilder {
        TunnelBuilder::new(Kind::Http, service.into())
    }

    /// A tunnel to a TCP service: `22` or `host:port`.
    pub fn tcp(service: impl Into<String>) -> TunnelBuilder {
        TunnelBuilder::new(Kind::Tcp, service.into())
    }

    /// Where consumers reach it: `https://shop.eu.example.com` or `tcp://eu.example.com:20022`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The client that serves it: for its events, or to pause it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until the tunnel has closed for good. It reconnects by itself and does not close for a lost connection.
    ///
    /// # Errors
    /// Why no relay serves it any more.
    pub async fn closed(&self) -> Result<(), Problem> {
        self.client.closed().await
    }

    /// Closes it, and lets what is under way end within this time, or within the relay's drain timeout (30 s unless its
    /// configuration says otherwise) if that is shorter.
    pub async fn close(self, grace: Duration) {
        self.client.stop(grace).await;
    }
}

impl TunnelBuilder {
    fn new(kind: Kind, service: String) -> Self {
        let scheme = Scheme::of_kind(kind);
        // The text is read when the tunnel is opened, so that its error comes there.
        let unread = Service { scheme, host: String::new(), port: 0 };
        Self { kind, service, client: Client::builder(), spec: TunnelSpec::new(unread) }
    }

    /// `http`: the name to ask for, the first label of the public host name. Without it, a random one is given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = Some(name.into());
        self
    }

    /// `http`: takes a random name rather than fail when the name cannot be had.
    #[must_use]
    pub fn any_name(mut self) -> Self {
        self.spec.any_name = true;
        self
    }

    /// `tcp`: the public port to ask for. Without it, any of the region's is given.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.spec.port = Some(port);
        self
    }

    /// `http`: the `Host` that the service gets in place of the consumer's.
    #[must_use]
    pub fn host_header(mut self, host: impl Into<String>) -> Self {
        self.spec.host_header = Some(host.into());
        self
    }

    /// The region: its domain, with a port if that is not 443.
    #[must_use]
    pub fn relay(mut self, relay: impl Into<String>) -> Self {
        self.client = self.client.relay(relay);
        self
    }

    /// The token that authenticates the client.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.client = self.client.token(token);
        self
    }

    /// A file with the token.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client = self.client.token_file(path);
        self
    }

    /// A shell command that prints the token.
    #[must_use]
    pub fn token_command(mut self, command: impl Into<String>) -> Self {
        self.client = self.client.token_command(command);
        self
    }

    /// A PEM file of the authorities that may vouch for relays.
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.client = self.client.ca(path);
        self
    }

    /// A folder where the client's key and credential are kept from one run to the next.
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.client = self.client.state_dir(path);
        self
    }

    /// Fails after this time without a session. Without it, the client dials for ever.
    #[must_use]
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.client = self.client.give_up_after(time);
        self
    }

    /// Opens the tunnel: waits until a relay serves it.
    ///
    /// # Errors
    /// [`OpenError`]. A relay that cannot be reached is no error unless [`TunnelBuilder::give_up_after`] says so.
    pub async fn open(self) -> Result<Tunnel, OpenError> {
        let Self { kind, service, client, mut spec } = self;
        spec.service =
            Service::parse(kind, &service).map_err(|source| OpenError::Service { service, source })?;
        let client = client.tunnel(spec).start().map_err(OpenError::Start)?;
        let mut events = client.events(false);
        while let Some(event) = events.next().await {
            let EventKind::TunnelState(status) = event.kind else { continue };
            if let (Some(url), TunnelState::Connected | TunnelState::ServiceDown) = (status.url, status.state)
            {
                return Ok(Tunnel { client, url });
            }
        }
        let problem = client.closed().await.err().unwrap_or_else(|| Problem::new("relay_unreachable"));
        Err(OpenError::Refused(problem))
    }
}
