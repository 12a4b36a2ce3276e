//! A relay that is cut off from the store asks its peers for the newest suspensions that they know.

use super::links::Peers;
use adit_mux::OpenStreams;
use adit_protocol::{Account, RelayId};
use adit_store::Suspensions;
use http::{Method, Request, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

/// Marks the question, and has the version that the asker knows already, if any: nobody sends it that one again.
pub(crate) const HEADER: &str = "adit-peer-suspensions";
/// Maximum time for all peers to answer.
const MAX_ASK_TIME: Duration = Duration::from_secs(3);
/// Maximum number of peers that are asked.
const MAX_ASKED_PEERS: usize = 16;
/// The most bytes of an answer: some 100,000 suspensions.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The newest suspensions that a peer knows, if they are newer than the version that this relay knows or it knows none.
pub(crate) async fn ask(peers: &Peers, known: Option<u64>) -> Option<Suspensions> {
    let others = peers.others();
    let questions = others
        .iter()
        .take(MAX_ASKED_PEERS)
        .map(|peer| async move { timeout(MAX_ASK_TIME, ask_one(peers, peer, known)).await.ok().flatten() });
    let answers = futures_util::future::join_all(questions).await;
    let newest = answers.into_iter().flatten().max_by_key(|answer| answer.version)?;
    known.is_none_or(|known| newest.version > known).then_some(newest)
}

async fn ask_one(peers: &Peers, peer: &RelayId, known: Option<u64>) -> Option<Suspensions> {
    let (opener, _place) = peers.opener(peer, &Account::managed("adit-ask"), MAX_ASK_TIME).await.ok()?;
    let request = Request::builder()
        .method(Method::GET)
        .uri("https://ask.invalid/")
        .header(HEADER, known.map_or("none".to_owned(), |version| version.to_string()))
        .body(())
        .ok()?;
    let (response, _) = opener.open(request, true).await.ok()?;
    let mut body = response.await.ok().filter(|response| response.status() == StatusCode::OK)?.into_body();
    let mut json = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        if json.len() + chunk.len() > MAX_ANSWER_BYTES {
            return None;
        }
        body.release(chunk.len());
        json.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&json).ok()
}
