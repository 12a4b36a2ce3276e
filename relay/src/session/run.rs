//! A session's life on its lane.

use super::{
    Sessions,
    admit::AdmittedClient,
    control::PendingControl,
    ended::Ended,
    migratable_stream::ClientIo,
    serve::{end, serve},
    suspend::close_if_suspended,
};
use crate::{
    ops::{
        clock::now,
        metrics::{Count, Gauge},
    },
    routing::local::Session,
};
use adit_mux::ping::PingError;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{task::JoinHandle, time::timeout};

/// How long the client may take to close the connection after the last message.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves one session to the end.
pub(super) async fn run(sessions: Arc<Sessions>, io: ClientIo, client: AdmittedClient) {
    let AdmittedClient { identity, remote, client_version, permit, opened, lane, relays, .. } = client;
    let claims: Vec<_> = opened.iter().map(|one| one.claim.clone()).collect();
    let begun = async {
        let (opener, pinger, driver) = adit_mux::open(io).await.ok()?;
        let driver = tokio::spawn(driver);
        let asked = PendingControl::open(&opener, relays).await.or_else(|| {
            driver.abort();
            None
        })?;
        Some((opener, pinger, driver, asked))
    };
    let Some((opener, pinger, mut driver, asked)) = begun.await else {
        for claim in &claims {
            sessions.routing.registry.release(claim).await;
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
        now(),
        opener,
        pinger.traffic(),
    );
    session.set_expires(identity.credential.expires);
    // With the control stream the client hears that its tunnels are open: from then on they have to be. The stream leaves
    // at the next await, so there must be none before they are served.
    sessions.routing.local.set_alive(&session);
    sessions.routing.local.add_session(session.clone());
    sessions.telemetry.lane().metrics.count(Count::SessionsOpened);
    let open = sessions.telemetry.lane().metrics.open(Gauge::Sessions);
    for one in opened {
        serve(&sessions, &identity, &session, one);
    }
    // It may have been suspended since it was admitted.
    close_if_suspended(&sessions.suspensions, &sessions.routing.local, &session);
    let measured = session.clone();
    let watch = pinger.watch(move |round_trip| {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        measured.round_trip_us.store(micros, Ordering::Relaxed);
    });
    let mut control = None;
    let ended = tokio::select! {
        _ = &mut driver => Ended::Lost,
        silent = watch => match silent {
            PingError::Closed => Ended::Lost,
            PingError::Silent(_) | PingError::Unanswered(_) => {
                tracing::info!(session = %session.id, %silent, "closing the session: no answer to pings");
                Ended::Silent
            }
        },
        ended = async {
            let Some(answered) = asked.answered().await else { return Ended::Broken };
            session.set_answered();
            control.insert(answered).run(&sessions, &identity, &session, commands).await
        } => ended,
        () = session.cut.cancelled() => Ended::Broken,
    };
    tracing::info!(session = %session.id, account = %session.account, ?ended, "session ended");
    session.set_closing();
    session.set_answered();
    sessions.telemetry.lane().metrics.count(Count::SessionsClosed);
    drop((open, permit));
    tokio::join!(end(&sessions, &session, ended), hang_up(&sessions, &session, ended, driver));
    drop(control);
}

/// Lets the last words leave, then ends the connection. Only when this is over nothing flows any more.
async fn hang_up<T>(sessions: &Sessions, session: &Session, ended: Ended, mut driver: JoinHandle<T>) {
    if !ended.is_abrupt() {
        // A client that says goodbye drains: it waits for its answers in flight, for as long as its user lets it, and then
        // closes. They get as much time here as those of a relay that drains, in case it has gone without closing.
        let patience = if ended == Ended::Bye { sessions.drain_timeout } else { GOODBYE };
        tokio::select! {
            _ = timeout(patience, &mut driver) => {}
            () = session.cut.cancelled() => {}
        }
    }
    if !driver.is_finished() {
        driver.abort();
        let _ = driver.await;
    }
    sessions.routing.local.set_dead(&session.id);
}
