//! A tunnel gets its endpoint.

use super::{Sessions, random_name::random_name};
use crate::{
    accounts::{AccountUsage, TunnelPermit},
    auth::{Credential, Ticket},
    cluster::registry::{Claim, ClaimError},
    ops::{clock::now, metrics::Count},
    suspensions::endpoint_in_words,
};
use adit_protocol::{
    Code, Endpoint, InstanceId, Name, OpenTunnel, OpenedTunnel, RefusedTunnel, SessionId, name::InvalidName,
};
use adit_store::{Origin, ReservationRequest, ReserveError};
use rand::seq::SliceRandom;
use std::sync::Arc;

/// How many random names are tried before the tunnel is refused.
const RANDOM_TRIES: usize = 8;
/// How many ports are tried before the tunnel is refused.
const PORT_TRIES: usize = 32;
/// A ticket lives no longer than this, in seconds.
const TICKET_SECONDS: u64 = 24 * 3600;
/// When a registry or store that is away is worth another try, in milliseconds.
pub(super) const RETRY_MS: u64 = 2000;

/// Who opens tunnels on a session.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The session.
    pub(crate) session: SessionId,
    /// The run of the client.
    pub(crate) instance: InstanceId,
    /// What the account uses.
    pub(crate) usage: Arc<AccountUsage>,
    /// What the client proved.
    pub(crate) credential: Credential,
}

/// A tunnel with its endpoint.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What the registry knows of it.
    pub(crate) claim: Claim,
    /// What the client is told.
    pub(crate) answer: OpenedTunnel,
    /// Its place among the account's tunnels.
    pub(crate) permit: TunnelPermit,
}

struct Refusal {
    code: Code,
    message: String,
    retry_after_ms: Option<u64>,
}

fn refusal(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), retry_after_ms: None }
}

/// Gives a tunnel its endpoint and claims it for the session.
///
/// # Errors
/// Why the client does not get it.
pub(super) async fn open(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
) -> Result<Opened, RefusedTunnel> {
    match try_open(sessions, identity, wanted).await {
        Ok(opened) => Ok(opened),
        Err(Refusal { code, message, retry_after_ms }) => {
            let metrics = &sessions.telemetry.lane().metrics;
            metrics.refused(code);
            if matches!(code, Code::RegistryUnavailable | Code::StoreUnavailable | Code::Replaced) {
                metrics.count(Count::ClaimFailures);
            }
            Err(RefusedTunnel { tunnel: wanted.tunnel.clone(), code, message, retry_after_ms })
        }
    }
}

async fn try_open(sessions: &Sessions, identity: &Identity, wanted: &OpenTunnel) -> Result<Opened, Refusal> {
    if !identity.credential.permissions.allows_kind(wanted.kind) {
        return Err(refusal(
            Code::KindNotAllowed,
            format!("kind: {} is not allowed by the token", wanted.kind),
        ));
    }
    if let Some(ticket) = ticket(sessions, identity, wanted) {
        return resume(sessions, identity, wanted, ticket).await;
    }
    if wanted.kind.is_by_port() {
        open_port(sessions, identity, wanted).await
    } else {
        open_name(sessions, identity, wanted).await
    }
}

/// A place among the account's tunnels, of the whole region. Another session for the same endpoint is no other tunnel.
fn place(sessions: &Sessions, identity: &Identity, endpoint: &Endpoint) -> Result<TunnelPermit, Refusal> {
    let account = &identity.credential.account;
    if let Some(notice) = sessions.suspensions.tunnel_notice(account, endpoint) {
        return Err(refusal(Code::Suspended, endpoint_in_words(&notice)));
    }
    let mine = sessions.routing.row(endpoint).is_some_and(|row| row.account == *account);
    let others = sessions.routing.registry.table().rows_of(account).saturating_sub(usize::from(mine));
    identity.usage.try_tunnel(endpoint, others).map_err(|exceeded| {
        refusal(exceeded.code, format!("the account has {} tunnels already", exceeded.limit))
    })
}

/// The client's ticket, if it is one of this client for a tunnel of this kind; any other is as good as none.
fn ticket(sessions: &Sessions, identity: &Identity, wanted: &OpenTunnel) -> Option<Ticket> {
    let credential = &identity.credential;
    let text = wanted.ticket.as_deref()?;
    let ticket =
        sessions.admission.seal.open_ticket(text, &credential.account, &credential.key, now()).ok()?;
    let fits = ticket.instance == identity.instance && ticket.endpoint.kind() == wanted.kind;
    fits.then_some(ticket)
}

/// The endpoint of an earlier session: neither store nor registry has to be there.
async fn resume(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
    ticket: Ticket,
) -> Result<Opened, Refusal> {
    let permit = place(sessions, identity, &ticket.endpoint)?;
    let opened = opened(sessions, identity, wanted, ticket.endpoint, ticket.generation, permit);
    let claimed = match sessions.routing.registry.claim(&opened.claim).await {
        // The service loop announces the claim once the registry is back.
        Err(ClaimError::Unavailable(_)) => sessions.routing.registry.admit(&opened.claim),
        other => other,
    };
    match claimed {
        Ok(()) => Ok(opened),
        Err(ClaimError::Stale { .. }) => {
            Err(refusal(Code::Replaced, "a newer client of the account has taken the endpoint over"))
        }
        Err(error) => Err(refusal(Code::RegistryUnavailable, error.to_string())),
    }
}

async fn open_name(sessions: &Sessions, identity: &Identity, wanted: &OpenTunnel) -> Result<Opened, Refusal> {
    let Some(asked) = &wanted.name else { return open_random(sessions, identity, wanted).await };
    let refused = match allowed_name(identity, asked) {
        Ok(name) => match reserve(sessions, identity, wanted, host(sessions, &name), Origin::Chosen).await {
            Ok(opened) => return Ok(opened),
            Err(refused) => refused,
        },
        Err(refused) => refused,
    };
    let another_would_do = matches!(
        refused.code,
        Code::NameTaken | Code::NameInvalid | Code::NameReserved | Code::NameNotAllowed
    );
    if wanted.any_name && another_would_do {
        let mut opened = open_random(sessions, identity, wanted).await?;
        opened.answer.name_refused = Some(refused.code);
        return Ok(opened);
    }
    Err(refused)
}

fn allowed_name(identity: &Identity, asked: &str) -> Result<Name, Refusal> {
    let shown: String = asked.chars().take(80).collect();
    let name: Name = asked.parse().map_err(|error: InvalidName| {
        let code = if error == InvalidName::Reserved { Code::NameReserved } else { Code::NameInvalid };
        refusal(code, format!("name: {shown:?}: {error}"))
    })?;
    if identity.credential.permissions.allows_name(&name) {
        Ok(name)
    } else {
        Err(refusal(Code::NameNotAllowed, format!("name: {shown:?} is not allowed by the token")))
    }
}

fn host(sessions: &Sessions, name: &Name) -> Endpoint {
    Endpoint::host(&format!("{name}.{}", sessions.routing.domain))
}

async fn open_random(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
) -> Result<Opened, Refusal> {
    for _ in 0..RANDOM_TRIES {
        let random = random_name(&mut rand::rng());
        let name = identity.credential.permissions.random_name(&random).ok_or_else(|| {
            refusal(Code::NameNotAllowed, "name: the token allows only names that have to be asked for")
        })?;
        match reserve(sessions, identity, wanted, host(sessions, &name), Origin::Drawn).await {
            Err(refusal) if refusal.code == Code::NameTaken => {}
            // A client that is started again and again gets a name of its earlier runs then.
            Err(refusal) if refusal.code == Code::TooManyNames => {
                return open_idle(sessions, identity, wanted).await.unwrap_or(Err(refusal));
            }
            other => return other,
        }
    }
    Err(refusal(Code::NameTaken, "no random name was free"))
}

/// A name or port that was drawn for the account once and that no tunnel has now; nothing if there is none.
async fn open_idle(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
) -> Option<Result<Opened, Refusal>> {
    let account = &identity.credential.account;
    let idle = sessions.store.idle_names(&sessions.routing.domain, account, wanted.kind, now()).await.ok()?;
    // A tunnel may be open though its lease is over: while the store is away no lease is extended.
    let free = |endpoint: &Endpoint| sessions.routing.row(endpoint).is_none();
    for endpoint in
        idle.into_iter().filter(free).filter(|endpoint| still_allowed(sessions, identity, endpoint))
    {
        match reserve(sessions, identity, wanted, endpoint, Origin::DrawnBefore).await {
            Err(refusal) if matches!(refusal.code, Code::NameTaken | Code::PortUnavailable) => {}
            other => return Some(other),
        }
    }
    None
}

/// Whether an endpoint of an earlier run fits the region's configuration and the client's token now.
fn still_allowed(sessions: &Sessions, identity: &Identity, endpoint: &Endpoint) -> bool {
    let Some(host) = endpoint.as_host() else { return sessions.routing.is_ours(endpoint) };
    let name = host.strip_suffix(&sessions.routing.domain).and_then(|name| name.strip_suffix('.'));
    let name = name.and_then(|name| name.parse::<Name>().ok());
    name.is_some_and(|name| identity.credential.permissions.allows_name(&name))
}

async fn open_port(sessions: &Sessions, identity: &Identity, wanted: &OpenTunnel) -> Result<Opened, Refusal> {
    let Some(range) = sessions.routing.port_range(wanted.kind) else {
        let kind = wanted.kind.as_str().to_uppercase();
        return Err(refusal(Code::KindNotAllowed, format!("kind: this region offers no {kind} ports")));
    };
    let endpoint_at = |port| {
        Endpoint::at_port(wanted.kind, port).expect("only kinds whose endpoints are ports have a range")
    };
    let (first, last) = (range.first, range.last);
    if let Some(port) = wanted.port {
        if !(first..=last).contains(&port) {
            let message = format!("port: {port} is not one of this region's, {first} to {last}");
            return Err(refusal(Code::PortUnavailable, message));
        }
        return reserve(sessions, identity, wanted, endpoint_at(port), Origin::Chosen).await;
    }
    // Ports are few: the account's earlier ones come first.
    if let Some(opened) = open_idle(sessions, identity, wanted).await {
        return opened;
    }
    let mut ports: Vec<u16> = (first..=last).collect();
    ports.shuffle(&mut rand::rng());
    let is_free = |endpoint: &Endpoint| sessions.routing.row(endpoint).is_none();
    for endpoint in ports.into_iter().map(endpoint_at).filter(is_free).take(PORT_TRIES) {
        match reserve(sessions, identity, wanted, endpoint, Origin::Drawn).await {
            Err(refusal) if refusal.code == Code::PortUnavailable => {}
            other => return other,
        }
    }
    Err(refusal(Code::PortUnavailable, format!("port: all of {first} to {last} are taken")))
}

/// Reserves an endpoint in the store and claims it in the registry.
async fn reserve(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
    endpoint: Endpoint,
    origin: Origin,
) -> Result<Opened, Refusal> {
    let permit = place(sessions, identity, &endpoint)?;
    let reservation = sessions
        .store
        .reserve(&ReservationRequest {
            endpoint: endpoint.clone(),
            account: identity.credential.account.clone(),
            instance: identity.instance.clone(),
            region: sessions.routing.domain.clone(),
            origin,
            names_limit: identity.usage.limits().names,
            now: now(),
        })
        .await;
    let away = |code, what: &str| Refusal {
        retry_after_ms: Some(RETRY_MS),
        ..refusal(code, format!("the {what} cannot be reached, and what was asked needs it"))
    };
    let generation = match reservation {
        Ok(reservation) => reservation.generation,
        Err(ReserveError::Taken) => return Err(taken(&endpoint)),
        Err(ReserveError::TooManyNames { limit }) => {
            let message = format!("the account holds {limit} names already, those in quarantine included");
            return Err(refusal(Code::TooManyNames, message));
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot reserve {endpoint}");
            return Err(away(Code::StoreUnavailable, "store"));
        }
    };
    let opened = opened(sessions, identity, wanted, endpoint, generation, permit);
    match sessions.routing.registry.claim(&opened.claim).await {
        Ok(()) => Ok(opened),
        Err(ClaimError::Stale { .. }) => {
            Err(refusal(Code::Replaced, "a newer client of the account has taken the endpoint over"))
        }
        Err(_) => Err(away(Code::RegistryUnavailable, "registry")),
    }
}

fn taken(endpoint: &Endpoint) -> Refusal {
    match endpoint.port() {
        Some(port) => refusal(Code::PortUnavailable, format!("port: {port} belongs to another account")),
        None => refusal(Code::NameTaken, format!("name: {endpoint} belongs to another account")),
    }
}

fn opened(
    sessions: &Sessions,
    identity: &Identity,
    wanted: &OpenTunnel,
    endpoint: Endpoint,
    generation: u64,
    permit: TunnelPermit,
) -> Opened {
    let credential = &identity.credential;
    let ticket = Ticket {
        endpoint: endpoint.clone(),
        account: credential.account.clone(),
        instance: identity.instance.clone(),
        generation,
        key: credential.key,
        expires: credential.expires.min(now() + TICKET_SECONDS),
    };
    let answer = OpenedTunnel {
        tunnel: wanted.tunnel.clone(),
        url: sessions.routing.url(&endpoint),
        ticket: sessions.admission.seal.ticket(&ticket),
        endpoint: endpoint.clone(),
        name_refused: None,
    };
    let claim = Claim {
        endpoint,
        account: credential.account.clone(),
        instance: identity.instance.clone(),
        generation,
        tunnel: wanted.tunnel.clone(),
        options: wanted.options.clone(),
        session: identity.session.clone(),
        relay: sessions.routing.relay.clone(),
    };
    Opened { claim, answer, permit }
}
