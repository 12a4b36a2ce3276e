//! While the registry is away, a relay that does not know an endpoint asks its peers.

use super::links::Peers;
use crate::cluster::table::{Row, RowSession};
use adit_mux::OpenStreams;
use adit_protocol::{Account, Endpoint, InstanceId, SessionId, TunnelId, TunnelOptions, stream};
use http::{Method, Request};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Marks a question; on the answer it carries what the peer serves, as JSON.
pub(crate) const HEADER: &str = "adit-peer-ask";
/// Maximum time for all peers to answer.
const MAX_ASK_TIME: Duration = Duration::from_millis(500);
/// Maximum number of peers that are asked.
const MAX_ASKED_PEERS: usize = 16;

/// The account that questions use on links.
fn ask_account() -> Account {
    Account::managed("adit-ask")
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnerAnswer {
    pub(crate) account: Account,
    pub(crate) instance: InstanceId,
    pub(crate) generation: u64,
    pub(crate) tunnel: TunnelId,
    #[serde(default, skip_serializing_if = "TunnelOptions::is_empty")]
    pub(crate) options: TunnelOptions,
    pub(crate) sessions: Vec<SessionId>,
}

/// The row of the peer with the newest owner of the endpoint.
pub(crate) async fn ask(peers: &Peers, endpoint: &Endpoint) -> Option<Arc<Row>> {
    if let Some(kept) = peers.answers.get(endpoint) {
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
            options: known.options,
            sessions: known.sessions.into_iter().map(session).collect(),
        })
    });
    let answers = futures_util::future::join_all(questions).await;
    let row = answers.into_iter().flatten().max_by_key(|row| row.generation).map(Arc::new);
    peers.answers.keep(endpoint, row.clone());
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
