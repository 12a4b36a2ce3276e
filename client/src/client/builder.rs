//! The description of a client, checked before anything is opened.

use super::Client;
use crate::{
    address::RelayAddress,
    context::ClientContext,
    dial::{Dialer, proxy::ProxyRules, tls::RelayTls},
    event_queue::EventQueue,
    identity::{Identity, file::StateFile, random_id},
    lanes::Lane,
    problem::Problem,
    published::PublishedTunnel,
    service::TunnelSpec,
    sessions::SessionManager,
    token::TokenSource,
};
use adit_protocol::{Name, hello::MAX_TUNNELS};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How many requests of the user may wait.
const MAX_PENDING_COMMANDS: usize = 8;

/// Why a client was not started: everything that is wrong with its description, at once.
#[derive(Debug)]
pub struct StartError(Vec<Problem>);

impl StartError {
    /// The problems; there is at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            let why = problem.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            write!(f, "{separator}{problem}{why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

/// Describes a client. It needs a relay, one tunnel, and a token or the credential of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    relay: Option<String>,
    token: Option<TokenSource>,
    ca: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    give_up_after: Option<Duration>,
    tunnels: Vec<TunnelSpec>,
}

impl Client {
    /// A client that is yet to be described.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl ClientBuilder {
    /// The region: its domain, with a port if that is not 443. Clients dial `connect.<domain>`.
    #[must_use]
    pub fn relay(mut self, relay: impl Into<String>) -> Self {
        self.relay = Some(relay.into());
        self
    }

    /// The token itself.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        self.token_source(TokenSource::Text(token.into()))
    }

    /// A file with the token. It is read again whenever a token is needed.
    #[must_use]
    pub fn token_file(self, path: impl Into<PathBuf>) -> Self {
        self.token_source(TokenSource::File(path.into()))
    }

    /// A shell command that prints the token. It runs whenever a token is needed and has 30 s.
    #[must_use]
    pub fn token_command(self, command: impl Into<String>) -> Self {
        self.token_source(TokenSource::Command(command.into()))
    }

    /// Where the token comes from.
    #[must_use]
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.token = Some(source);
        self
    }

    /// A PEM file of the authorities that may vouch for relays; without it, the system's may.
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// A folder where the client's key and credential are kept, so that a token is needed only once. Without it they live
    /// as long as the client.
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// Ends the client after this time without a session. Without it, the client dials for ever.
    #[must_use]
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = Some(time);
        self
    }

    /// Adds a tunnel.
    #[must_use]
    pub fn tunnel(mut self, spec: TunnelSpec) -> Self {
        self.tunnels.push(spec);
        self
    }

    /// Checks everything and starts the client on threads of its own. It dials at once and goes on by itself.
    ///
    /// # Errors
    /// [`StartError`] with all that is wrong; nothing was started then.
    pub fn start(self) -> Result<Client, StartError> {
        let (context, give_up_after) = self.check().map_err(StartError)?;
        let failed =
            |e: std::io::Error| StartError(vec![Problem::new("internal").with("message", e.to_string())]);
        let threads = CancellationToken::new();
        let lane = Lane::start(0, threads.clone()).map_err(failed)?;
        let (commands, receiver) = mpsc::channel(MAX_PENDING_COMMANDS);
        let (tell, ended) = watch::channel(None);
        let manager = SessionManager::new(context.clone(), lane.clone(), threads.clone(), give_up_after);
        let event_queue = context.event_queue.clone();
        lane.spawn(async move {
            let end = manager.run(receiver).await;
            event_queue.end();
            // The client may have been dropped.
            let _ = tell.send(Some(end));
        });
        let guard = threads.clone().drop_guard();
        Ok(Client { context, commands, ended, threads, _stop_threads: guard })
    }

    /// Checks everything without starting anything.
    ///
    /// # Errors
    /// [`StartError`] with all that is wrong.
    pub fn validate(self) -> Result<(), StartError> {
        self.check().map(drop).map_err(StartError)
    }

    fn check(self) -> Result<(Arc<ClientContext>, Option<Duration>), Vec<Problem>> {
        let mut problems = vec![];
        let wrong = |field: &str, rule: String| {
            Problem::new("config_invalid").with("message", format!("{field}: {rule}"))
        };
        let relay = match self.relay.as_deref().map(str::parse::<RelayAddress>) {
            Some(Ok(relay)) => Some(relay),
            Some(Err(error)) => {
                problems.push(wrong("relay", error.to_string()));
                None
            }
            None => {
                problems.push(wrong("relay", "the region's domain is missing".into()));
                None
            }
        };
        if self.tunnels.is_empty() || self.tunnels.len() > MAX_TUNNELS {
            problems.push(wrong("tunnels", format!("a client has 1 to {MAX_TUNNELS} of them")));
        }
        let event_queue = EventQueue::default();
        let mut tunnels = vec![];
        for spec in self.tunnels {
            if let Some(problem) = check_name(&spec) {
                problems.push(problem);
            }
            match PublishedTunnel::new(random_id("tn_"), spec, event_queue.clone()) {
                Ok(tunnel) => tunnels.push(Arc::new(tunnel)),
                Err(problem) => problems.push(problem),
            }
        }
        let proxy = ProxyRules::from_environment(|name| std::env::var(name).ok())
            .map_err(|error| problems.push(wrong("HTTPS_PROXY", error.to_string())));
        let tls = RelayTls::new(self.ca.as_deref()).map_err(|problem| problems.push(problem));
        let file = self
            .state_dir
            .zip(relay.as_ref())
            .map(|(folder, relay)| StateFile::new(&folder, &relay.to_string().replace(':', "_")));
        let identity = Identity::new(self.token, file).map_err(|problem| problems.push(problem));
        match (relay, proxy, tls, identity) {
            (Some(relay), Ok(proxy), Ok(tls), Ok(identity)) if problems.is_empty() => {
                let context =
                    ClientContext { dialer: Dialer { relay, tls, proxy }, identity, event_queue, tunnels };
                Ok((Arc::new(context), self.give_up_after))
            }
            _ => Err(problems),
        }
    }
}

fn check_name(spec: &TunnelSpec) -> Option<Problem> {
    let name = spec.name.as_ref().filter(|_| !spec.kind().is_by_port())?;
    let error = name.parse::<Name>().err()?;
    let code =
        if error == adit_protocol::name::InvalidName::Reserved { "name_reserved" } else { "name_invalid" };
    Some(Problem::new(code).with("name", name.as_str()).with("rule", error.to_string()))
}
