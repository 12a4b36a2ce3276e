//! The conversation with the client on a session's first stream.

use super::{
    Sessions, admit,
    ended::Ended,
    open::{self, Identity},
    serve::serve,
    suspend::close_if_suspended,
};
use crate::{
    ops::clock::now,
    routing::local::{Command, Session},
};
use adit_mux::{OpenStreams, RecvStream, ResponseFuture, SendStream, body::send_bytes};
use adit_protocol::{
    Code, Proof, RefusedTunnel, ToClient, ToRelay, TunnelId,
    control::{self, Lines},
    hello::MAX_TUNNELS,
    stream,
};
use bytes::Bytes;
use http::{Method, Request};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::Receiver,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// How long a client may take to answer the control stream, and to read one line of it.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
/// A session outlives its credential by this, for clocks that differ.
const LEEWAY_SECONDS: u64 = 60;
/// The longest sleep until the credential's end: a wall clock that is set meanwhile is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// How often refused consumers are told of, and how many relays there are. The sessions of a relay began at different
/// times: their clients do not all hear of a new relay, and dial it, at the same moment.
const NOTICE: Duration = Duration::from_secs(1);

/// The control stream, which the client has not answered yet.
pub(super) struct PendingControl {
    response: ResponseFuture,
    send: SendStream,
    relays: u32,
}

/// Both halves of the control stream.
pub(super) struct Control {
    send: SendStream,
    recv: RecvStream,
    lines: Lines,
    /// How many relays the client knows of.
    relays: u32,
}

impl PendingControl {
    /// Opens the stream, which has to be the first. The client has been told that the region has so many relays.
    pub(super) async fn open(opener: &impl OpenStreams, relays: u32) -> Option<Self> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("https://control.invalid/")
            .header(stream::CONTROL, "1")
            .body(())
            .expect("a constant request is valid");
        let (response, send) = opener.open(request, false).await.ok()?;
        Some(Self { response, send, relays })
    }

    /// Waits for the client's answer.
    pub(super) async fn answered(self) -> Option<Control> {
        let response = timeout(CONTROL_TIMEOUT, self.response).await.ok()?.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let recv = response.into_body();
        Some(Control { send: self.send, recv, lines: Lines::default(), relays: self.relays })
    }
}

impl Control {
    /// Talks until the session ends. The last words may not have left by then: they are lost if this is dropped before
    /// the connection has had the time to send them.
    pub(super) async fn run(
        &mut self,
        sessions: &Arc<Sessions>,
        identity: &Identity,
        session: &Arc<Session>,
        mut commands: Receiver<Command>,
    ) -> Ended {
        let mut notices = interval(NOTICE);
        notices.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut moved = false;
        loop {
            let step = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => Err(Ended::Closed),
                },
                data = self.recv.data() => match data {
                    Some(Ok(data)) => self.receive(sessions, identity, session, &data).await,
                    Some(Err(_)) | None => Err(Ended::Lost),
                },
                () = sessions.lifecycle.draining.cancelled(), if !moved => {
                    moved = true;
                    let deadline_ms = u64::try_from(sessions.drain_timeout.as_millis()).unwrap_or(u64::MAX);
                    self.tell(&ToClient::Move { deadline_ms }).await
                }
                () = sessions.lifecycle.closing.cancelled() => {
                    self.last(&ToClient::close(Code::Draining, "the relay goes away")).await
                }
                () = sleep(until_expiry(session.expires())) => {
                    if now() < session.expires() + LEEWAY_SECONDS { Ok(()) } else {
                        self.last(&ToClient::close(Code::CredentialExpired, "the credential has expired")).await
                    }
                }
                _ = notices.tick() => self.news(sessions, session).await,
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    /// Says what has changed since the last time.
    async fn news(&mut self, sessions: &Sessions, session: &Session) -> Result<(), Ended> {
        let relays = sessions.routing.healthy_relays();
        if relays != self.relays {
            self.relays = relays;
            self.tell(&ToClient::Relays { relays }).await?;
        }
        if let Some(notice) = session.usage.take_refused(std::time::Instant::now()) {
            let (code, limit, refused) = (notice.code, notice.limit, notice.count);
            self.tell(&ToClient::Limited { code, limit, refused }).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, message: &ToClient) -> Result<(), Ended> {
        let line = control::encode(message).map_err(|_| Ended::Broken)?;
        match timeout(CONTROL_TIMEOUT, send_bytes(&mut self.send, line.into(), false)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(Ended::Lost),
            Err(_) => Err(Ended::Broken),
        }
    }

    async fn last(&mut self, message: &ToClient) -> Result<(), Ended> {
        self.tell(message).await?;
        let _ = self.send.send_data(Bytes::new(), true);
        Err(Ended::Closed)
    }

    async fn command(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::Tell(message) => self.tell(&message).await,
            Command::Close(message) => self.last(&message).await,
        }
    }

    async fn receive(
        &mut self,
        sessions: &Arc<Sessions>,
        identity: &Identity,
        session: &Arc<Session>,
        data: &Bytes,
    ) -> Result<(), Ended> {
        self.recv.release(data.len());
        let pushed = self.lines.push(data);
        loop {
            let next = match &pushed {
                Ok(()) => self.lines.next::<ToRelay>(),
                Err(_) => Err(control::LineError::TooLong),
            };
            match next {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => self.message(sessions, identity, session, message).await?,
                Err(error) => {
                    return self.last(&ToClient::close(Code::ProtocolError, error.to_string())).await;
                }
            }
        }
    }

    async fn message(
        &mut self,
        sessions: &Arc<Sessions>,
        identity: &Identity,
        session: &Arc<Session>,
        message: ToRelay,
    ) -> Result<(), Ended> {
        match message {
            ToRelay::Bye {} => Err(Ended::Bye),
            ToRelay::Leave {} => {
                leave(sessions, session).await;
                Ok(())
            }
            ToRelay::Open(wanted) => {
                let (tunnel, served) = (wanted.tunnel.clone(), session.endpoints().len());
                if served >= MAX_TUNNELS {
                    let message = format!("the session serves {MAX_TUNNELS} tunnels already");
                    let code = Code::TooManyTunnels;
                    return self
                        .tell(&ToClient::Refused(RefusedTunnel {
                            tunnel,
                            code,
                            message,
                            retry_after_ms: None,
                        }))
                        .await;
                }
                match open::open(sessions, identity, &wanted).await {
                    Ok(opened) => {
                        let answer = ToClient::Opened(opened.answer.clone());
                        serve(sessions, identity, session, opened);
                        // It may have been suspended while it was opened.
                        close_if_suspended(&sessions.suspensions, &sessions.routing.local, session);
                        self.tell(&answer).await
                    }
                    Err(refused) => self.tell(&ToClient::Refused(refused)).await,
                }
            }
            ToRelay::Close { tunnel } => {
                close_tunnel(sessions, session, &tunnel).await;
                Ok(())
            }
            ToRelay::Renew { proof } => self.renew(sessions, identity, session, &proof).await,
        }
    }

    async fn renew(
        &mut self,
        sessions: &Arc<Sessions>,
        identity: &Identity,
        session: &Session,
        proof: &Proof,
    ) -> Result<(), Ended> {
        let key = identity.credential.key;
        let renewed = match admit::credential_for(sessions, proof, key).await {
            Ok(credential) if credential.account != identity.credential.account => {
                Err((Code::CredentialInvalid, "proof: belongs to another account".to_owned()))
            }
            Ok(credential) => Ok(sessions.admission.rules.renew(&credential, now())),
            Err(refused) => Err((refused.code, refused.message)),
        };
        let answer = match renewed {
            Ok(credential) => {
                session.set_expires(credential.expires);
                let expires = credential.expires;
                ToClient::Credential { credential: sessions.admission.seal.credential(&credential), expires }
            }
            Err((code, message)) => ToClient::RenewRefused { code, message },
        };
        self.tell(&answer).await
    }
}

fn until_expiry(expires: u64) -> Duration {
    let left = (expires + LEEWAY_SECONDS).saturating_sub(now());
    Duration::from_secs(left.max(1)).min(LONGEST_SLEEP)
}

/// The client goes on elsewhere: this session gets no new streams, and those that it has may end.
async fn leave(sessions: &Sessions, session: &Session) {
    session.set_closing();
    for endpoint in session.endpoints() {
        let Some(served) = sessions.routing.local.endpoint(&endpoint) else { continue };
        sessions.routing.local.stop_serving(&endpoint, &session.id);
        sessions.routing.registry.release(&served.claim(&session.id, &sessions.routing.relay)).await;
    }
}

/// The client gives a tunnel up for good.
async fn close_tunnel(sessions: &Sessions, session: &Session, tunnel: &TunnelId) {
    for endpoint in session.endpoints() {
        let Some(served) = sessions.routing.local.endpoint(&endpoint) else { continue };
        if served.tunnel == *tunnel && served.instance == session.instance {
            sessions.routing.local.stop_serving(&endpoint, &session.id);
            sessions.routing.registry.release(&served.claim(&session.id, &sessions.routing.relay)).await;
            sessions.release_lease(&served).await;
        }
    }
}
