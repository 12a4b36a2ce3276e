//! Who is let in.
//!
//! The order matters: what costs nothing comes first, and a managed token is used up only once nothing else can refuse
//! its client.

use super::{
    Sessions,
    open::{self, Identity, Opened},
};
use crate::{
    accounts::SessionPermit,
    auth::{Credential, TokenGrant, verify_possession},
    lanes,
    ops::clock::now,
    suspensions::in_words,
};
use adit_protocol::{
    Code, Hello, HelloRedirect, HelloRefusal, MUX_H2, Proof, RefusedTunnel, Reply, SessionId, VERSION,
    Welcome,
    hello::{MAX_AVOID, MAX_TUNNELS},
};
use adit_store::UseTokenError;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{net::SocketAddr, sync::Arc};

/// The most sessions that a client is asked to hold with one relay.
const MOST_SESSIONS: usize = 2;

/// A client that is let in.
pub(crate) struct AdmittedClient {
    /// Who it is.
    pub(crate) identity: Arc<Identity>,
    /// Where it comes from.
    pub(crate) remote: SocketAddr,
    /// Its version.
    pub(crate) client_version: String,
    /// Its place among the account's sessions.
    pub(crate) permit: SessionPermit,
    /// The endpoints that it has claimed.
    pub(crate) opened: Vec<Opened>,
    /// The lane that it will live on.
    pub(crate) lane: usize,
    /// How many relays it is told that the region has.
    pub(crate) relays: u32,
    /// The frame that tells it so.
    pub(crate) welcome: Vec<u8>,
}

impl AdmittedClient {
    /// Gives back what was claimed for a client that went away before its session began.
    pub(crate) async fn abandon(self, sessions: &Sessions) {
        for opened in self.opened {
            sessions.routing.registry.release(&opened.claim).await;
        }
    }
}

/// Lets a client in, or says what to answer instead.
///
/// # Errors
/// The reply with which the connection ends.
pub(crate) async fn admit(
    sessions: &Arc<Sessions>,
    hello: Hello,
    exporter: &[u8; 32],
    remote: SocketAddr,
) -> Result<Box<AdmittedClient>, Reply> {
    check_form(sessions, &hello).map_err(Reply::Refused)?;
    let others_only = !hello.only.is_empty() && !hello.only.contains(&sessions.routing.relay);
    if others_only
        || hello.avoid.contains(&sessions.routing.relay)
        || sessions.lifecycle.draining.is_cancelled()
    {
        return Err(Reply::Elsewhere(HelloRedirect {
            relay: sessions.routing.relay.clone(),
            relays: sessions.routing.healthy_relays(),
        }));
    }
    if !sessions.suspensions.is_known() {
        let message = "the store cannot be reached, and no peer knows who is suspended".to_owned();
        let refused = sessions.refused(Code::StoreUnavailable, message);
        return Err(Reply::Refused(HelloRefusal { retry_after_ms: Some(open::RETRY_MS), ..refused }));
    }
    let refuse = |code, message: String| Reply::Refused(sessions.refused(code, message));
    let key = possession(&hello, exporter).ok_or_else(|| {
        refuse(Code::PossessionFailed, "signature: not made by key over this connection".into())
    })?;
    let credential = credential_for(sessions, &hello.proof, key).await.map_err(Reply::Refused)?;
    if let Some(notice) = sessions.suspensions.account_notice(&credential.account) {
        let refused = sessions.refused(Code::Suspended, in_words(&notice));
        return Err(Reply::Refused(HelloRefusal { suspension: Some(Box::new(notice)), ..refused }));
    }
    let limits = credential.permissions.limits(&sessions.admission.live.load().limits);
    let usage = sessions.admission.accounts.get(&credential.account, &limits);
    let in_region = sessions.routing.registry.table().sessions_of(&credential.account);
    let permit = usage.try_session(in_region).map_err(|exceeded| {
        let message = format!("the account has {} sessions already", exceeded.limit);
        let mut refused = sessions.refused(exceeded.code, message);
        refused.facts.insert("limit".to_owned(), exceeded.limit.to_string());
        Reply::Refused(refused)
    })?;
    let identity =
        Arc::new(Identity { session: random_session(), instance: hello.instance.clone(), usage, credential });
    let mut opened: Vec<Opened> = vec![];
    let mut refused: Vec<RefusedTunnel> = vec![];
    for tunnel in &hello.tunnels {
        match open::open(sessions, &identity, tunnel).await {
            Ok(one) => opened.push(one),
            Err(one) => refused.push(one),
        }
    }
    let lane = lane_for(sessions, &identity, &opened);
    let welcome = welcome(sessions, &identity, &opened, refused);
    let relays = welcome.relays;
    let welcome = adit_protocol::frame::encode(&Reply::Welcome(Box::new(welcome)));
    let client_version = hello.client_version;
    match welcome {
        Ok(welcome) => Ok(Box::new(AdmittedClient {
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
                sessions.routing.registry.release(&one.claim).await;
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

fn check_form(sessions: &Sessions, hello: &Hello) -> Result<(), HelloRefusal> {
    let version_ok = hello.versions.contains(&VERSION) && hello.mux.iter().any(|mux| mux == MUX_H2);
    let live = sessions.admission.live.load();
    let too_old = live.minimum_client_version.as_ref().filter(|least| {
        !hello.client_version.parse().is_ok_and(|version: adit_config::Version| version >= **least)
    });
    if let Some(least) = too_old {
        return Err(upgrade(sessions, least.to_string(), &hello.client_version));
    }
    if !version_ok {
        return Err(upgrade(sessions, env!("CARGO_PKG_VERSION").to_owned(), &hello.client_version));
    }
    let bad = |message: String| Err(sessions.refused(Code::BadHello, message));
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

fn upgrade(sessions: &Sessions, least: String, version: &str) -> HelloRefusal {
    let version: String = version.chars().filter(|c| !c.is_control()).take(32).collect();
    let message = format!("clientVersion: {version:?} is too old, the relay needs {least} or later");
    HelloRefusal { min_version: Some(least), ..sessions.refused(Code::UpgradeRequired, message) }
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
pub(crate) async fn credential_for(
    sessions: &Sessions,
    proof: &Proof,
    key: [u8; 32],
) -> Result<Credential, HelloRefusal> {
    let now = now();
    match proof {
        Proof::Credential { credential } => {
            let credential = sessions
                .admission
                .seal
                .open_credential(credential, now)
                .map_err(|error| sessions.refused(error.code(), error.to_string()))?;
            if credential.key != key {
                return Err(sessions.refused(Code::PossessionFailed, "key: not the credential's".into()));
            }
            Ok(credential)
        }
        Proof::Token { token } if token.is_empty() => {
            Err(sessions.refused(Code::TokenMissing, "proof.token: is empty".into()))
        }
        Proof::Token { token } => {
            let grant = sessions
                .admission
                .live
                .load()
                .tokens
                .verify(token, now)
                .map_err(|error| sessions.refused(error.code(), error.to_string()))?;
            exchange(sessions, grant, key, now).await
        }
    }
}

fn welcome(
    sessions: &Sessions,
    identity: &Identity,
    opened: &[Opened],
    refused: Vec<RefusedTunnel>,
) -> Welcome {
    let credential = &identity.credential;
    Welcome {
        version: VERSION,
        mux: MUX_H2.to_owned(),
        relay: sessions.routing.relay.clone(),
        region: sessions.routing.domain.clone(),
        session: identity.session.clone(),
        sessions: sessions.lanes.len().clamp(1, MOST_SESSIONS) as u8,
        relays: sessions.routing.healthy_relays(),
        account: credential.account.clone(),
        credential: sessions.admission.seal.credential(credential),
        credential_expires: credential.expires,
        renew_with_token: !credential.managed,
        opened: opened.iter().map(|one| one.answer.clone()).collect(),
        refused,
        provider: sessions.admission.provider.clone(),
    }
}

/// A credential for a good token. A managed token buys one credential, for one key.
///
/// # Errors
/// When it has been used, or when the store that knows cannot be reached.
async fn exchange(
    sessions: &Sessions,
    grant: TokenGrant,
    key: [u8; 32],
    now: u64,
) -> Result<Credential, HelloRefusal> {
    if let Some(id) = grant.token_id.as_deref().filter(|_| grant.managed) {
        let key = BASE64_URL_SAFE_NO_PAD.encode(key);
        match sessions.store.use_token(&grant.account, id, &key, grant.expires, now).await {
            Ok(()) => {}
            Err(UseTokenError::Used) => {
                let message = "proof.token: has been used by another client".into();
                return Err(sessions.refused(Code::TokenUsed, message));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot check a token");
                let message = "the store cannot be reached, and a new token needs it".into();
                let refused = sessions.refused(Code::StoreUnavailable, message);
                return Err(HelloRefusal { retry_after_ms: Some(open::RETRY_MS), ..refused });
            }
        }
    }
    Ok(sessions.admission.rules.credential(grant, key, now))
}

/// The lane for a new session: one where the same tunnels have no session yet, and there the one with the fewest.
fn lane_for(sessions: &Sessions, identity: &Identity, opened: &[Opened]) -> usize {
    let (local, lanes) = (&sessions.routing.local, sessions.lanes.len());
    let mut siblings = vec![0; lanes];
    let served = opened.iter().filter_map(|one| local.endpoint(&one.claim.endpoint));
    for session in served.flat_map(|served| served.sessions.clone()) {
        if session.instance == identity.instance {
            siblings[session.lane] += 1;
        }
    }
    let here = lanes::current();
    let all = local.lane_sessions(lanes);
    (0..lanes)
        .min_by_key(|lane| (siblings[*lane], all[*lane], Some(*lane) != here))
        .expect("a relay has at least one lane")
}
