//! The control stream of a session: JSON lines on its first stream.

use super::{Report, SessionCommand, SessionEnd, state::Session};
use crate::{identity::PresentedProof, problem::Problem};
use adit_mux::{RecvStream, Responder, SendStream, body::send_bytes};
use adit_protocol::{
    ToClient, ToRelay, Welcome,
    control::{LineError, Lines, encode},
};
use adit_system::clock::now;
use bytes::Bytes;
use http::Response;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// The longest wait before a renewal.
const MAX_RENEWAL_DELAY: Duration = Duration::from_secs(24 * 3600);
/// The wait before another renewal if one fails, or if this computer's clock says that a fresh credential has expired.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(60);

/// When and how this session's credential is renewed.
pub(super) struct Renewal {
    /// Whether a fresh token is needed, or the client's key is enough.
    with_token: bool,
    at: Instant,
    /// The proof of the renewal that waits for its answer.
    pending: Option<PresentedProof>,
}

impl Renewal {
    pub(super) fn new(welcome: &Welcome) -> Self {
        let at = Instant::now() + renewal_delay(welcome.credential_expires, now());
        Self { with_token: welcome.renew_with_token, at, pending: None }
    }
}

/// How long to wait before a credential that ends then is renewed: two thirds of the time that is left.
fn renewal_delay(expires: u64, now: u64) -> Duration {
    match expires.saturating_sub(now) {
        0 => RENEWAL_RETRY_DELAY,
        left => {
            (Duration::from_secs(left).saturating_mul(2) / 3).clamp(Duration::from_secs(1), MAX_RENEWAL_DELAY)
        }
    }
}

/// Serves the control stream until the session ends.
pub(super) async fn run(
    session: Arc<Session>,
    lines: RecvStream,
    mut respond: Responder,
    commands: mpsc::Receiver<SessionCommand>,
    renewal: Renewal,
) {
    let Ok(stream) = respond.send_response(Response::new(()), false) else {
        return session.end(SessionEnd::Lost("the control stream ended".into()));
    };
    let cut = session.setup.cut.clone();
    let mut control = Control { session, stream, renewal, finishing: false };
    tokio::select! {
        () = cut.cancelled() => {}
        end = control.converse(lines, commands) => match end {
            // All streams have ended; the connection ends with the control stream.
            Ok(()) => drop(control.stream.send_data(Bytes::new(), true)),
            Err(end) => control.session.end(end),
        }
    }
}

struct Control {
    session: Arc<Session>,
    stream: SendStream,
    renewal: Renewal,
    finishing: bool,
}

impl Control {
    async fn converse(
        &mut self,
        mut from: RecvStream,
        mut commands: mpsc::Receiver<SessionCommand>,
    ) -> Result<(), SessionEnd> {
        let mut lines = Lines::default();
        let streams = self.session.streams.clone();
        loop {
            tokio::select! {
                chunk = from.data() => match chunk {
                    Some(Ok(chunk)) => {
                        from.release(chunk.len());
                        lines.push(&chunk).map_err(|error| protocol_error(&error))?;
                        while let Some(message) = lines.next().map_err(|error| protocol_error(&error))? {
                            self.handle_message(message).await?;
                        }
                    }
                    _ if self.finishing => {
                        streams.wait_until_idle().await;
                        return Ok(());
                    }
                    _ => return Err(SessionEnd::Lost("the relay closed the control stream".into())),
                },
                Some(command) = commands.recv() => match command {
                    SessionCommand::Tell(message) => self.send(&message).await?,
                    SessionCommand::Finish(message) => {
                        self.send(&message).await?;
                        self.finishing = true;
                        self.session.finish.notify_one();
                    }
                },
                () = sleep_until(self.renewal.at) => self.renew().await?,
                () = streams.wait_until_idle(), if self.finishing => return Ok(()),
            }
        }
    }

    async fn send(&mut self, message: &ToRelay) -> Result<(), SessionEnd> {
        let line = encode(message).map_err(|error| protocol_error(&error))?;
        match send_bytes(&mut self.stream, line.into(), false).await {
            Ok(true) => Ok(()),
            _ => Err(SessionEnd::Lost("the control stream broke".into())),
        }
    }

    async fn handle_message(&mut self, message: ToClient) -> Result<(), SessionEnd> {
        let session = &self.session;
        match &message {
            ToClient::Opened(opened) => session.route(opened),
            ToClient::Closed { tunnel, .. } => session.unroute(tunnel),
            ToClient::Credential { credential, expires } => {
                if let Some(presented) = self.renewal.pending.take() {
                    session.setup.context.identity.keep_credential(&presented, credential.clone(), *expires);
                }
                self.renewal.at = Instant::now() + renewal_delay(*expires, now());
                return Ok(());
            }
            ToClient::RenewRefused { code, message } => {
                let problem = Problem::new(code.as_str()).with("message", message.as_str());
                session.setup.report(Report::NotRenewed(Box::new(problem))).await;
                return Ok(());
            }
            ToClient::Close { code, message, suspension } => {
                return Err(SessionEnd::Closed(*code, message.clone(), suspension.clone()));
            }
            _ => {}
        }
        session.setup.report(Report::Message(message)).await;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), SessionEnd> {
        self.renewal.at = Instant::now() + RENEWAL_RETRY_DELAY;
        let identity = &self.session.setup.context.identity;
        let presented = if self.renewal.with_token {
            identity.present_token().await
        } else {
            identity.present_credential().await
        };
        match presented {
            Ok(presented) => {
                let proof = presented.proof.clone();
                self.renewal.pending = Some(presented);
                self.send(&ToRelay::Renew { proof }).await
            }
            Err(problem) => {
                self.session.setup.report(Report::NotRenewed(Box::new(problem))).await;
                Ok(())
            }
        }
    }
}

fn protocol_error(error: &LineError) -> SessionEnd {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the relay broke the protocol of the control stream"
    );
    SessionEnd::Lost("the relay broke the protocol".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_renewed_when_a_third_of_its_time_is_left() {
        assert_eq!(renewal_delay(1000 + 900, 1000), Duration::from_secs(600));
        assert_eq!(renewal_delay(1001, 1000), Duration::from_secs(1));
        assert_eq!(renewal_delay(1000 + 30 * 86400, 1000), MAX_RENEWAL_DELAY);
        assert_eq!(renewal_delay(900, 1000), RENEWAL_RETRY_DELAY);
    }
}
