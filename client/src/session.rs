//! One session: from dialling to its end, on one lane.

mod control;
mod stream_limit;

use crate::{
    context::ClientContext,
    dial::{DialError, DialReply, DialRequest, RelayIo},
    identity::PresentedProof,
    lanes::Lane,
    local::{LocalService, refuse},
};
use adit_mux::{AcceptStreams, AcceptedStream, Acceptor, MAX_STREAMS, ResetReason, StreamError};
use adit_protocol::{
    Code, Elsewhere, OpenedTunnel, Refused, Reply, SuspensionNotice, ToClient, ToRelay, TunnelId, Welcome,
    stream,
};
use http::StatusCode;
use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};
use stream_limit::StreamLimit;
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const POISONED: &str = "no code panics while it holds this lock";

/// Time limit from the welcome to the control stream.
const CONTROL_STREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// The most commands that wait for the control stream.
const MAX_PENDING_COMMANDS: usize = 32;
/// The most open streams. A relay opens at most [`MAX_STREAMS`]; streams that it has reset end a little later here.
const MAX_OPEN_STREAMS: usize = 4 * MAX_STREAMS;

/// The number of a session in this process, in the order of dialling.
pub(crate) type SessionKey = u64;

/// A session's report to the session manager.
pub(crate) enum Report {
    /// The relay could not be reached.
    Failed(DialError),
    /// A relay answered that the request avoids.
    Elsewhere(Elsewhere),
    /// The relay refused the client, which had presented this proof.
    Refused(Box<Refused>, PresentedProof),
    /// The session has begun.
    Began(Box<Welcome>, mpsc::Sender<SessionCommand>),
    /// The relay sent a control message.
    Message(ToClient),
    /// The round trip that was measured last.
    Latency(Duration),
    /// The credential could not be renewed.
    NotRenewed(Box<crate::problem::Problem>),
    /// The session has ended.
    Ended(SessionEnd),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client left it, or was told to stop.
    Left,
    /// The relay closed it.
    Closed(Code, String, Option<Box<SuspensionNotice>>),
    /// The connection was lost.
    Lost(String),
}

/// A command to a session.
#[derive(Debug)]
pub(crate) enum SessionCommand {
    /// Send this message.
    Tell(ToRelay),
    /// Send this message, accept no new streams, and end once the open ones have ended.
    Finish(ToRelay),
}

/// The parts that a session starts with.
pub(crate) struct SessionSetup {
    pub(crate) key: SessionKey,
    pub(crate) lane: Arc<Lane>,
    pub(crate) context: Arc<ClientContext>,
    pub(crate) reports: mpsc::Sender<(SessionKey, Report)>,
    /// Ends the session at once.
    pub(crate) cut: CancellationToken,
}

/// A session that has been welcomed.
struct Session {
    setup: SessionSetup,
    /// The tunnels that streams of this session may be for.
    routes: RwLock<HashMap<String, Arc<LocalService>>>,
    streams: Arc<StreamLimit>,
    /// Why it ends; the first reason counts.
    end: Mutex<Option<SessionEnd>>,
    finish: Notify,
}

impl SessionSetup {
    /// Dials a relay and serves the session to its end.
    pub(crate) async fn run(self, request: DialRequest) {
        let cut = self.cut.clone();
        let dialled = tokio::select! {
            () = cut.cancelled() => return self.report(Report::Ended(SessionEnd::Left)).await,
            dialled = self.context.dialer.dial(
                &self.context.identity,
                request,
            ) => dialled,
        };
        let DialReply { io, reply, presented } = match dialled {
            Ok(answer) => answer,
            Err(error) => return self.report(Report::Failed(error)).await,
        };
        match reply {
            Reply::Elsewhere(elsewhere) => self.report(Report::Elsewhere(elsewhere)).await,
            Reply::Refused(refused) => {
                self.report(Report::Refused(Box::new(refused), presented)).await;
            }
            Reply::Welcome(welcome) => {
                self.context.identity.keep_welcome(&presented, &welcome);
                Session::new(self).run(io, welcome).await;
            }
        }
    }

    async fn report(&self, report: Report) {
        // There is no receiver once the client is being dropped.
        let _ = self.reports.send((self.key, report)).await;
    }
}

impl Session {
    fn new(setup: SessionSetup) -> Arc<Self> {
        Arc::new(Self {
            setup,
            routes: RwLock::default(),
            streams: Arc::default(),
            end: Mutex::default(),
            finish: Notify::new(),
        })
    }

    /// Ends the session at once, for this reason unless there is one already.
    fn end(&self, end: SessionEnd) {
        self.end.lock().expect(POISONED).get_or_insert(end);
        self.setup.cut.cancel();
    }

    async fn run(self: Arc<Self>, io: RelayIo, welcome: Box<Welcome>) {
        for opened in &welcome.opened {
            self.route(opened);
        }
        match self.begin(io, welcome).await {
            Ok(acceptor) => self.serve(acceptor).await,
            Err(end) => self.end(end),
        }
        self.setup.cut.cancel();
        let routes = std::mem::take(&mut *self.routes.write().expect(POISONED));
        for local in routes.values() {
            local.tunnel.remove_session();
        }
        let end = self.end.lock().expect(POISONED).clone().unwrap_or(SessionEnd::Left);
        self.setup.report(Report::Ended(end)).await;
    }

    /// Waits for the control stream, which is the first one.
    async fn begin(
        self: &Arc<Self>,
        io: RelayIo,
        welcome: Box<Welcome>,
    ) -> Result<Acceptor<RelayIo>, SessionEnd> {
        let begun = timeout(CONTROL_STREAM_TIMEOUT, async {
            let (mut acceptor, pinger) = adit_mux::accept(io).await.map_err(|error| lost(&error))?;
            match acceptor.accept().await {
                Some(Ok(first)) => Ok((acceptor, pinger, first)),
                Some(Err(error)) => Err(lost(&error)),
                None => Err(SessionEnd::Lost("the relay closed the connection".into())),
            }
        });
        let (acceptor, pinger, (request, respond)) = tokio::select! {
            () = self.setup.cut.cancelled() => return Err(SessionEnd::Left),
            begun = begun => begun.unwrap_or(Err(SessionEnd::Lost("the relay went silent".into())))?,
        };
        if !request.headers().contains_key(stream::CONTROL) {
            return Err(SessionEnd::Lost("the relay opened no control stream".into()));
        }
        let (commands, told) = mpsc::channel(MAX_PENDING_COMMANDS);
        let renewal = control::Renewal::new(&welcome);
        self.setup.report(Report::Began(welcome, commands)).await;
        tokio::spawn(control::run(self.clone(), request.into_body(), respond, told, renewal));

        let session = self.clone();
        tokio::spawn(async move {
            let reports = session.setup.reports.clone();
            let key = session.setup.key;
            let watch = pinger.watch(|round_trip| {
                // If the queue is full, the next round trip is reported instead.
                let _ = reports.try_send((key, Report::Latency(round_trip)));
            });
            tokio::select! {
                () = session.setup.cut.cancelled() => {}
                silent = watch => session.end(SessionEnd::Lost(silent.to_string())),
            }
        });
        Ok(acceptor)
    }

    /// Takes the relay's streams until the session ends.
    async fn serve(self: &Arc<Self>, mut acceptor: Acceptor<RelayIo>) {
        let mut cut = pin!(self.setup.cut.cancelled());
        let mut finish = pin!(self.finish.notified());
        let mut finishing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = acceptor.accept() => accepted,
                () = &mut cut => return,
                () = &mut finish, if !finishing => {
                    finishing = true;
                    acceptor.drain();
                    continue;
                }
            };
            match accepted {
                Some(Ok(accepted)) => self.dispatch(accepted),
                Some(Err(error)) => return self.end(if finishing { SessionEnd::Left } else { lost(&error) }),
                None if finishing => return self.end(SessionEnd::Left),
                None => return self.end(SessionEnd::Lost("the relay closed the connection".into())),
            }
        }
    }

    /// Serves a stream for the tunnel that it names, or refuses it if this session does not serve that tunnel.
    fn dispatch(&self, (request, mut respond): AcceptedStream) {
        let headers = request.headers();
        let tunnel = headers.get(stream::TUNNEL).and_then(|id| id.to_str().ok());
        let local = tunnel.and_then(|id| self.routes.read().expect(POISONED).get(id).cloned());
        let Some(local) = local else {
            refuse(&mut respond, StatusCode::NOT_FOUND, Code::UnknownHost);
            return;
        };
        let Some(permit) = StreamLimit::acquire(&self.streams, MAX_OPEN_STREAMS) else {
            respond.send_reset(ResetReason::RefusedStream);
            return;
        };
        tokio::spawn(async move {
            local.serve(request, respond).await;
            drop(permit);
        });
    }

    /// Serves streams for this tunnel from now on.
    fn route(&self, opened: &OpenedTunnel) {
        let Some(tunnel) = self.setup.context.tunnel(&opened.tunnel) else { return };
        let local = self.setup.lane.service_of(tunnel);
        let before = self.routes.write().expect(POISONED).insert(opened.tunnel.to_string(), local);
        if before.is_some() {
            tunnel.remove_session();
        }
        tunnel.add_session(opened);
    }

    /// Serves no more streams for this tunnel.
    fn unroute(&self, tunnel: &TunnelId) {
        if let Some(local) = self.routes.write().expect(POISONED).remove(tunnel.as_str()) {
            local.tunnel.remove_session();
        }
    }
}

fn lost(error: &StreamError) -> SessionEnd {
    match error.io_kind() {
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof) => {
            SessionEnd::Lost("the connection broke".into())
        }
        _ => SessionEnd::Lost(error.to_string()),
    }
}
