//! A session's life on its lane.

use super::{
    ClientIo,
    admit::Admission,
    control::{Asked, Ended},
    open::{Identity, Opened},
};
use crate::{
    ops::metrics::{Count, Gauge},
    routing::local::{ServedEndpoint, Session},
    server::relay::Relay,
    suspensions,
};
use adit_mux::ping::Silent;
use adit_protocol::{Code, ToClient};
use http::HeaderValue;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{task::JoinHandle, time::timeout};

/// How long the client may take to close the connection after the last message.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves one session to the end.
pub async fn run(relay: Arc<Relay>, io: ClientIo, admission: Admission) {
    let Admission { identity, remote, client_version, permit, opened, lane, relays, .. } = admission;
    let claims: Vec<_> = opened.iter().map(|one| one.claim.clone()).collect();
    let begun = async {
        let (opener, pinger, driver) = adit_mux::open(io).await.ok()?;
        let driver = tokio::spawn(driver);
        let asked = Asked::open(&opener, relays).await.or_else(|| {
            driver.abort();
            None
        })?;
        Some((opener, pinger, driver, asked))
    };
    let Some((opener, pinger, mut driver, asked)) = begun.await else {
        for claim in &claims {
            relay.registry.release(claim).await;
        }
        return;
    };
    let (session, commands) = Session::new(
        identity.session.clone(),
        lane,
        identity.credential.account.clone(),
        identity.usage.clone(),
        identity.credential.permissions.clone(),
        identity.instance.clone(),
        remote,
        client_version,
        crate::server::relay::now(),
        opener,
        pinger.traffic(),
    );
    session.set_expires(identity.credential.expires);
    // With the control stream the client hears that its tunnels are open: from then on they have to be. The stream leaves
    // at the next await, so there must be none before they are served.
    relay.local.set_alive(&session);
    relay.local.add_session(session.clone());
    relay.telemetry().metrics.count(Count::SessionsOpened);
    let open = relay.telemetry().metrics.open(Gauge::Sessions);
    for one in opened {
        serve(&relay, &identity, &session, one);
    }
    // It may have been suspended since it was admitted.
    suspensions::check(&relay, &session);
    let measured = session.clone();
    let watch = pinger.watch(move |round_trip| {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        measured.round_trip_us.store(micros, Ordering::Relaxed);
    });
    let mut control = None;
    let ended = tokio::select! {
        _ = &mut driver => Ended::Lost,
        silent = watch => match silent {
            Silent::Ended => Ended::Lost,
            Silent::Silence(_) | Silent::Late(_) => {
                tracing::info!(session = %session.id, %silent, "the client is taken for gone");
                Ended::Silent
            }
        },
        ended = async {
            let Some(answered) = asked.answered().await else { return Ended::Broken };
            session.set_answered();
            control.insert(answered).run(&relay, &identity, &session, commands).await
        } => ended,
        () = session.cut.cancelled() => Ended::Broken,
    };
    tracing::info!(session = %session.id, account = %session.account, ?ended, "session ended");
    session.set_closing();
    session.set_answered();
    relay.telemetry().metrics.count(Count::SessionsClosed);
    drop((open, permit));
    tokio::join!(end(&relay, &session, ended), hang_up(&relay, &session, ended, driver));
    drop(control);
}

/// Lets the last words leave, then ends the connection. Only when this is over nothing flows any more.
async fn hang_up<T>(relay: &Relay, session: &Session, ended: Ended, mut driver: JoinHandle<T>) {
    if !ended.is_abrupt() {
        // A client that says goodbye drains: it waits for its answers in flight, for as long as its user lets it, and then
        // closes. They get as much time here as those of a relay that drains, in case it has gone without closing.
        let patience = if ended == Ended::Bye { relay.config.drain_timeout } else { GOODBYE };
        tokio::select! {
            _ = timeout(patience, &mut driver) => {}
            () = session.cut.cancelled() => {}
        }
    }
    if !driver.is_finished() {
        driver.abort();
        let _ = driver.await;
    }
    relay.local.set_dead(&session.id);
}

/// A session begins to serve an endpoint. Sessions of an earlier owner are told that they have lost it.
pub fn serve(relay: &Arc<Relay>, identity: &Identity, session: &Arc<Session>, opened: Opened) {
    let claim = opened.claim;
    relay.telemetry().metrics.count(Count::TunnelsOpened);
    session.hold(claim.endpoint.clone(), opened.permit, relay.telemetry().metrics.open(Gauge::Tunnels));
    let tunnel_header = HeaderValue::from_str(claim.tunnel.as_str()).expect("an id has only visible ASCII");
    let lost = relay.local.serve(ServedEndpoint {
        endpoint: claim.endpoint.clone(),
        account: claim.account,
        usage: identity.usage.clone(),
        instance: claim.instance,
        generation: claim.generation,
        tunnel: claim.tunnel,
        tunnel_header,
        since: crate::server::relay::now(),
        sessions: vec![session.clone()],
    });
    match lost {
        Some(lost) => {
            for old in lost {
                relay.replaced(&old, &claim.endpoint);
            }
        }
        None => relay.replaced(session, &claim.endpoint),
    }
}

/// What a session served goes back to registry and store.
async fn end(relay: &Relay, session: &Session, ended: Ended) {
    for served in relay.local.remove_session(&session.id) {
        if served.instance != session.instance {
            continue;
        }
        relay.registry.release(&served.claim(&session.id, &relay.id)).await;
        if ended == Ended::Bye {
            relay.give_up(&served).await;
        } else {
            relay.remember(&served.endpoint);
        }
    }
}

/// The message with which a session ends.
pub fn close(code: Code, message: impl Into<String>) -> ToClient {
    ToClient::Close { code, message: message.into(), suspension: None }
}
