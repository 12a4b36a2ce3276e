//! The endpoints that a session serves, from its first to its last.

use super::{
    Sessions,
    ended::Ended,
    open::{Identity, Opened},
};
use crate::{
    ops::{
        clock::now,
        metrics::{Count, Gauge},
    },
    routing::local::{ServedEndpoint, Session},
};
use http::HeaderValue;
use std::sync::Arc;

/// A session begins to serve an endpoint. Sessions of an earlier owner are told that they have lost it.
pub(super) fn serve(sessions: &Arc<Sessions>, identity: &Identity, session: &Arc<Session>, opened: Opened) {
    let claim = opened.claim;
    sessions.telemetry.lane().metrics.count(Count::TunnelsOpened);
    session.hold(
        claim.endpoint.clone(),
        opened.permit,
        sessions.telemetry.lane().metrics.open(Gauge::Tunnels),
    );
    let tunnel_header = HeaderValue::from_str(claim.tunnel.as_str()).expect("an id has only visible ASCII");
    let lost = sessions.routing.local.serve(ServedEndpoint {
        endpoint: claim.endpoint.clone(),
        account: claim.account,
        usage: identity.usage.clone(),
        instance: claim.instance,
        generation: claim.generation,
        tunnel: claim.tunnel,
        tunnel_header,
        options: claim.options,
        since: now(),
        sessions: vec![session.clone()],
    });
    match lost {
        Some(lost) => {
            for old in lost {
                old.close_as_replaced(&claim.endpoint);
            }
        }
        None => session.close_as_replaced(&claim.endpoint),
    }
}

/// What a session served goes back to registry and store.
pub(super) async fn end(sessions: &Sessions, session: &Session, ended: Ended) {
    for served in sessions.routing.local.remove_session(&session.id) {
        if served.instance != session.instance {
            continue;
        }
        sessions.routing.registry.release(&served.claim(&session.id, &sessions.routing.relay)).await;
        if ended == Ended::Bye {
            sessions.release_lease(&served).await;
        } else {
            sessions.routing.remember(&served.endpoint);
        }
    }
}
