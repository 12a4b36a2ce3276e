//! Answers to the questions that peers ask on their links.

use crate::{
    cluster::peer::ask::{self, OwnerAnswer},
    routing::local::Local,
    suspensions::SuspensionSet,
};
use adit_mux::{ResetReason, Responder, body::send_bytes};
use adit_protocol::Endpoint;
use http::{HeaderValue, Response, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

/// How long a peer may take to read an answer.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(3);

/// Answers which session of this relay serves an endpoint.
pub(super) fn endpoint(
    local: &Local,
    endpoint: &Endpoint,
    respond: &mut Responder,
) -> Result<(), ResetReason> {
    let mut response = status(StatusCode::NOT_FOUND);
    if let Some(served) = local.endpoint(endpoint) {
        let known = OwnerAnswer {
            account: served.account.clone(),
            instance: served.instance.clone(),
            generation: served.generation,
            tunnel: served.tunnel.clone(),
            options: served.options.clone(),
            sessions: served.sessions.iter().map(|session| session.id.clone()).collect(),
        };
        let json = serde_json::to_vec(&known).map_err(|_| ResetReason::InternalError)?;
        let value = HeaderValue::from_bytes(&json).map_err(|_| ResetReason::InternalError)?;
        response = status(StatusCode::OK);
        response.headers_mut().insert(ask::HEADER, value);
    }
    respond.send_response(response, true).map_err(|_| ResetReason::Cancel)?;
    Ok(())
}

/// Answers with the suspensions that are in force here. A relay that knows nothing itself, or nothing newer, says so.
pub(super) async fn suspensions(
    suspensions: &SuspensionSet,
    question: &HeaderValue,
    respond: &mut Responder,
) -> Result<(), ResetReason> {
    let asker: Option<u64> = question.to_str().ok().and_then(|version| version.parse().ok());
    let index = suspensions.load().clone();
    let nothing = match asker {
        _ if !suspensions.is_known() => Some(StatusCode::NOT_FOUND),
        Some(version) if index.version() <= version => Some(StatusCode::NO_CONTENT),
        _ => None,
    };
    if let Some(code) = nothing {
        respond.send_response(status(code), true).map_err(|_| ResetReason::Cancel)?;
        return Ok(());
    }
    let json = serde_json::to_vec(index.all()).map_err(|_| ResetReason::InternalError)?;
    let mut send = respond.send_response(status(StatusCode::OK), false).map_err(|_| ResetReason::Cancel)?;
    match timeout(MAX_ANSWER_TIME, send_bytes(&mut send, json.into(), true)).await {
        Ok(Ok(true)) => Ok(()),
        _ => Err(ResetReason::Cancel),
    }
}

/// An answer without a body.
fn status(code: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    response
}
