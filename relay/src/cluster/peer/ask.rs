//! While the registry is away, a relay that does not know an endpoint asks its peers.

use super::{links::Peers, listen::status};
use crate::{
    cluster::table::{Row, RowSession},
    server::relay::Relay,
};
use adit_mux::{OpenStreams, ResetReason, Responder};
use adit_protocol::{Account, Endpoint, InstanceId, SessionId, TunnelId, stream};
use http::{HeaderValue, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Marks a question; on the answer it carries what the peer serves, as JSON.
pub(super) const HEADER: &str = "adit-peer-ask";
/// How long all peers together may take.
const MAX_ASK_TIME: Duration = Duration::from_millis(500);
/// How long an answer is good for.
const ANSWER_TTL: Duration = Duration::from_secs(5);
/// How many answers are kept: whoever opens made-up addresses fills no more.
const MAX_CACHED_ANSWERS: usize = 4096;
/// How many peers are asked.
const MAX_ASKED_PEERS: usize = 16;

const POISONED: &str = "no code panics while it holds this lock";

/// The account in whose name questions travel on links.
fn ask_account() -> Account {
    Account::managed("adit-ask")
}

/// One answer, and when it came.
type CachedAnswer = (Instant, Option<Arc<Row>>);

/// What peers have answered.
#[derive(Debug, Default)]
pub struct AnswerCache(Mutex<HashMap<Endpoint, CachedAnswer>>);

impl AnswerCache {
    fn get(&self, endpoint: &Endpoint) -> Option<Option<Arc<Row>>> {
        let asked = self.0.lock().expect(POISONED);
        asked.get(endpoint).filter(|(at, _)| at.elapsed() < ANSWER_TTL).map(|(_, row)| row.clone())
    }

    fn keep(&self, endpoint: &Endpoint, row: Option<Arc<Row>>) {
        let mut asked = self.0.lock().expect(POISONED);
        if asked.len() >= MAX_CACHED_ANSWERS {
            asked.retain(|_, (at, _)| at.elapsed() < ANSWER_TTL);
        }
        if asked.len() < MAX_CACHED_ANSWERS {
            asked.insert(endpoint.clone(), (Instant::now(), row));
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerAnswer {
    account: Account,
    instance: InstanceId,
    generation: u64,
    tunnel: TunnelId,
    sessions: Vec<SessionId>,
}

/// The row of the peer with the newest owner of the endpoint.
pub(super) async fn ask(peers: &Peers, endpoint: &Endpoint) -> Option<Arc<Row>> {
    if let Some(kept) = peers.asked.get(endpoint) {
        return kept;
    }
    let others = peers.others();
    let questions = others.iter().take(MAX_ASKED_PEERS).map(|peer| async move {
        let known = timeout(MAX_ASK_TIME, ask_one(peers, peer, endpoint)).await.ok()??;
        let session = |session| RowSession { session, relay: peer.clone() };
        Some(Row {
            endpoint: endpoint.clone(),
            account: known.account,
            instance: known.instance,
            generation: known.generation,
            tunnel: known.tunnel,
            sessions: known.sessions.into_iter().map(session).collect(),
        })
    });
    let answers = futures_util::future::join_all(questions).await;
    let row = answers.into_iter().flatten().max_by_key(|row| row.generation).map(Arc::new);
    peers.asked.keep(endpoint, row.clone());
    row
}

async fn ask_one(peers: &Peers, peer: &adit_protocol::RelayId, endpoint: &Endpoint) -> Option<OwnerAnswer> {
    let (opener, _place) = peers.opener(peer, &ask_account(), MAX_ASK_TIME).await.ok()?;
    let request = Request::builder()
        .method(Method::HEAD)
        .uri("https://ask.invalid/")
        .header(HEADER, "1")
        .header(stream::PEER_ENDPOINT, endpoint.to_string())
        .body(())
        .ok()?;
    let (response, _) = opener.open(request, true).await.ok()?;
    let response = response.await.ok()?;
    serde_json::from_slice(response.headers().get(HEADER)?.as_bytes()).ok()
}

/// Answers a peer's question.
pub(super) fn answer(relay: &Relay, endpoint: &Endpoint, respond: &mut Responder) -> Result<(), ResetReason> {
    let mut response = status(StatusCode::NOT_FOUND);
    if let Some(served) = relay.local.endpoint(endpoint) {
        let known = OwnerAnswer {
            account: served.account.clone(),
            instance: served.instance.clone(),
            generation: served.generation,
            tunnel: served.tunnel.clone(),
            sessions: served.sessions.iter().map(|session| session.id.clone()).collect(),
        };
        let json = serde_json::to_vec(&known).map_err(|_| ResetReason::InternalError)?;
        let value = HeaderValue::from_bytes(&json).map_err(|_| ResetReason::InternalError)?;
        response = status(StatusCode::OK);
        response.headers_mut().insert(HEADER, value);
    }
    respond.send_response(response, true).map_err(|_| ResetReason::Cancel)?;
    Ok(())
}
