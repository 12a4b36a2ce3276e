//! Who is let in.
//!
//! The order matters: what costs nothing comes first, and a managed token is used up only once nothing else can refuse
//! its client.

use super::open::{self, Identity, Opened};
use crate::{
    accounts::SessionPermit,
    auth::{Credential, verify_possession},
    server::relay::Relay,
    suspensions,
};
use adit_protocol::{
    Code, Elsewhere, Hello, MUX_H2, Proof, Refused, RefusedTunnel, Reply, SessionId, VERSION, Welcome,
    hello::{MAX_AVOID, MAX_TUNNELS},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{net::SocketAddr, sync::Arc};

/// The most sessions that a client is asked to hold with one relay.
const MOST_SESSIONS: usize = 2;

/// A client that is let in.
pub struct Admission {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Its version.
    pub client_version: String,
    /// Its place among the account's sessions.
    pub permit: SessionPermit,
    /// The endpoints that it has claimed.
    pub opened: Vec<Opened>,
    /// The lane that it will live on.
    pub lane: usize,
    /// How many relays it is told that the region has.
    pub relays: u32,
    /// The frame that tells it so.
    pub welcome: Vec<u8>,
}

impl Admission {
    /// Gives back what was claimed for a client that went away before its session began.
    pub async fn abandon(self, relay: &Relay) {
        for opened in self.opened {
            relay.registry.release(&opened.claim).await;
        }
    }
}

/// Lets a client in, or says what to answer instead.
///
/// # Errors
/// The reply with which the connection ends.
pub async fn admit(
    relay: &Arc<Relay>,
    hello: Hello,
    exporter: &[u8; 32],
    remote: SocketAddr,
) -> Result<Box<Admission>, Reply> {
    check_form(relay, &hello).map_err(Reply::Refused)?;
    let others_only = !hello.only.is_empty() && !hello.only.contains(&relay.id);
    if others_only || hello.avoid.contains(&relay.id) || relay.draining.is_cancelled() {
        return Err(Reply::Elsewhere(Elsewhere { relay: relay.id.clone(), relays: relay.healthy_relays() }));
    }
    if !relay.suspensions.is_known() {
        let message = "the store cannot be reached, and no peer knows who is suspended".to_owned();
        let refused = relay.refused(Code::StoreUnavailable, message);
        return Err(Reply::Refused(Refused { retry_after_ms: Some(open::RETRY_MS), ..refused }));
    }
    let refuse = |code, message: String| Reply::Refused(relay.refused(code, message));
    let key = possession(&hello, exporter).ok_or_else(|| {
        refuse(Code::PossessionFailed, "signature: not made by key over this connection".into())
    })?;
    let credential = credential_for(relay, &hello.proof, key).await.map_err(Reply::Refused)?;
    if let Some(notice) = relay.account_suspension(&credential.account) {
        let refused = relay.refused(Code::Suspended, suspensions::in_words(&notice));
        return Err(Reply::Refused(Refused { suspension: Some(Box::new(notice)), ..refused }));
    }
    let limits = credential.permissions.limits(&relay.live.load().limits);
    let usage = relay.accounts.get(&credential.account, &limits);
    let in_region = relay.registry.table().sessions_of(&credential.account);
    let permit = usage.try_session(in_region).map_err(|exceeded| {
        let message = format!("the account has {} sessions already", exceeded.limit);
        let mut refused = relay.refused(exceeded.code, message);
        refused.facts.insert("limit".to_owned(), exceeded.limit.to_string());
        Reply::Refused(refused)
    })?;
    let identity =
        Arc::new(Identity { session: random_session(), instance: hello.instance.clone(), usage, credential });
    let mut opened: Vec<Opened> = vec![];
    let mut refused: Vec<RefusedTunnel> = vec![];
    for tunnel in &hello.tunnels {
        match open::open(relay, &identity, tunnel).await {
            Ok(one) => opened.push(one),
            Err(one) => refused.push(one),
        }
    }
    let lane = relay.lane_for(&identity, &opened);
    let welcome = welcome(relay, &identity, &opened, refused);
    let relays = welcome.relays;
    let welcome = adit_protocol::frame::encode(&Reply::Welcome(Box::new(welcome)));
    let client_version = hello.client_version;
    match welcome {
        Ok(welcome) => Ok(Box::new(Admission {
            identity,
            remote,
            client_version,
            permit,
            opened,
            lane,
            relays,
            welcome,
        })),
        Err(error) => {
            for one in opened {
                relay.registry.release(&one.claim).await;
            }
            Err(refuse(Code::BadHello, format!("tunnels: the answer would be too long: {error}")))
        }
    }
}

/// A fresh session id.
fn random_session() -> SessionId {
    let number: u128 = rand::random();
    format!("s-{number:032x}").parse().expect("hexadecimal digits are allowed")
}

fn check_form(relay: &Relay, hello: &Hello) -> Result<(), Refused> {
    let version_ok = hello.versions.contains(&VERSION) && hello.mux.iter().any(|mux| mux == MUX_H2);
    let live = relay.live.load();
    let too_old = live.minimum_client_version.as_ref().filter(|least| {
        !hello.client_version.parse().is_ok_and(|version: adit_config::Version| version >= **least)
    });
    if let Some(least) = too_old {
        return Err(upgrade(relay, least.to_string(), &hello.client_version));
    }
    if !version_ok {
        return Err(upgrade(relay, env!("CARGO_PKG_VERSION").to_owned(), &hello.client_version));
    }
    let bad = |message: String| Err(relay.refused(Code::BadHello, message));
    if hello.tunnels.len() > MAX_TUNNELS {
        return bad(format!("tunnels: {} are more than the {MAX_TUNNELS} of one hello", hello.tunnels.len()));
    }
    for (field, relays) in [("avoid", &hello.avoid), ("only", &hello.only)] {
        if relays.len() > MAX_AVOID {
            return bad(format!("{field}: {} relays are more than {MAX_AVOID}", relays.len()));
        }
    }
    for (index, tunnel) in hello.tunnels.iter().enumerate() {
        if hello.tunnels[..index].iter().any(|other| other.tunnel == tunnel.tunnel) {
            return bad(format!("tunnels[{index}].tunnel: {} stands twice", tunnel.tunnel));
        }
    }
    Ok(())
}

fn upgrade(relay: &Relay, least: String, version: &str) -> Refused {
    let version: String = version.chars().filter(|c| !c.is_control()).take(32).collect();
    let message = format!("clientVersion: {version:?} is too old, the relay needs {least} or later");
    Refused { least_version: Some(least), ..relay.refused(Code::UpgradeRequired, message) }
}

/// The client's key, if its signature over this connection is right.
fn possession(hello: &Hello, exporter: &[u8; 32]) -> Option<[u8; 32]> {
    let key: [u8; 32] = BASE64_URL_SAFE_NO_PAD.decode(&hello.key).ok()?.try_into().ok()?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(&hello.signature).ok()?;
    verify_possession(&key, exporter, &signature).ok()?;
    Some(key)
}

/// What the client's proof is worth: the credential that it sent, or a new one for its token.
///
/// # Errors
/// Why the proof is worth nothing.
pub async fn credential_for(relay: &Relay, proof: &Proof, key: [u8; 32]) -> Result<Credential, Refused> {
    let now = crate::server::relay::now();
    match proof {
        Proof::Credential { credential } => {
            let credential = relay
                .seal
                .open_credential(credential, now)
                .map_err(|error| relay.refused(error.code(), error.to_string()))?;
            if credential.key != key {
                return Err(relay.refused(Code::PossessionFailed, "key: not the credential's".into()));
            }
            Ok(credential)
        }
        Proof::Token { token } if token.is_empty() => {
            Err(relay.refused(Code::TokenMissing, "proof.token: is empty".into()))
        }
        Proof::Token { token } => {
            let grant = relay
                .live
                .load()
                .tokens
                .verify(token, now)
                .map_err(|error| relay.refused(error.code(), error.to_string()))?;
            relay.exchange(grant, key, now).await
        }
    }
}

fn welcome(relay: &Relay, identity: &Identity, opened: &[Opened], refused: Vec<RefusedTunnel>) -> Welcome {
    let credential = &identity.credential;
    Welcome {
        version: VERSION,
        mux: MUX_H2.to_owned(),
        relay: relay.id.clone(),
        region: relay.config.domain.clone(),
        session: identity.session.clone(),
        sessions: relay.lanes.len().clamp(1, MOST_SESSIONS) as u8,
        relays: relay.healthy_relays(),
        account: credential.account.clone(),
        credential: relay.seal.credential(credential),
        credential_expires: credential.expires,
        renew_with_token: !credential.managed,
        opened: opened.iter().map(|one| one.answer.clone()).collect(),
        refused,
        provider: relay.provider(),
    }
}
