//! Runs a session: dial, control stream, streams of consumers.

use super::{
    Report, SessionEnd, SessionSetup,
    control::{self, Renewal},
    state::Session,
    stream_limit::StreamLimit,
};
use crate::{
    dial::{DialReply, DialRequest, RelayIo},
    local::refuse,
};
use adit_mux::{AcceptStreams, AcceptedStream, Acceptor, MAX_STREAMS, ResetReason, StreamError};
use adit_protocol::{Code, Reply, Welcome, stream};
use http::StatusCode;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Time limit from the welcome to the control stream.
const CONTROL_STREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// The most commands that wait for the control stream.
const MAX_PENDING_COMMANDS: usize = 32;
/// The most open streams. A relay opens at most [`MAX_STREAMS`]; streams that it has reset end a little later here.
const MAX_OPEN_STREAMS: usize = 4 * MAX_STREAMS;

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
}

impl Session {
    async fn run(self: Arc<Self>, io: RelayIo, welcome: Box<Welcome>) {
        for opened in &welcome.opened {
            self.route(opened);
        }
        match self.begin(io, welcome).await {
            Ok(acceptor) => self.serve(acceptor).await,
            Err(end) => self.end(end),
        }
        self.setup.cut.cancel();
        self.unroute_all();
        self.setup.report(Report::Ended(self.end_reason())).await;
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
        let renewal = Renewal::new(&welcome);
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
        let Some(local) = tunnel.and_then(|id| self.service(id)) else {
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
}

fn lost(error: &StreamError) -> SessionEnd {
    match error.io_kind() {
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof) => {
            SessionEnd::Lost("the connection broke".into())
        }
        _ => SessionEnd::Lost(error.to_string()),
    }
}
