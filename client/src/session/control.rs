//! A session's conversation with its relay: JSON lines on the first stream.

use super::{Command, End, Report, Session};
use crate::{
    identity::{Shown, now},
    problem::Problem,
};
use adit_mux::body::send_bytes;
use adit_protocol::{
    ToClient, ToRelay, Welcome,
    control::{LineError, Lines, encode},
};
use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::Response;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// The longest wait between two looks at the credential's end.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// When the clock says that a credential has ended although the relay does not: the time until another try.
const CLOCK_WRONG: Duration = Duration::from_secs(60);

/// When and how this session's credential is renewed.
pub(super) struct Renewal {
    /// Whether a fresh token is needed, or the client's key is enough.
    with_token: bool,
    at: Instant,
    /// What was shown in the renewal that is under way.
    asked: Option<Shown>,
}

impl Renewal {
    pub(super) fn new(welcome: &Welcome) -> Self {
        let at = Instant::now() + wait(welcome.credential_expires, now());
        Self { with_token: welcome.renew_with_token, at, asked: None }
    }
}

/// How long to wait before a credential that ends then is renewed: two thirds of the time that is left.
fn wait(expires: u64, now: u64) -> Duration {
    match expires.saturating_sub(now) {
        0 => CLOCK_WRONG,
        left => (Duration::from_secs(left).saturating_mul(2) / 3).clamp(Duration::from_secs(1), LONGEST),
    }
}

/// Listens to the relay and speaks to it until the session ends.
pub(super) async fn run(
    session: Arc<Session>,
    lines: RecvStream,
    mut respond: SendResponse<Bytes>,
    commands: mpsc::Receiver<Command>,
    renewal: Renewal,
) {
    let Ok(stream) = respond.send_response(Response::new(()), false) else {
        return session.end(End::Lost("the control stream ended".into()));
    };
    let cut = session.start.cut.clone();
    let mut control = Control { session, stream, renewal, finishing: false };
    tokio::select! {
        () = cut.cancelled() => {}
        end = control.talk(lines, commands) => match end {
            // The streams are through; the connection ends with this one.
            Ok(()) => drop(control.stream.send_data(Bytes::new(), true)),
            Err(end) => control.session.end(end),
        }
    }
}

struct Control {
    session: Arc<Session>,
    stream: SendStream<Bytes>,
    renewal: Renewal,
    finishing: bool,
}

impl Control {
    async fn talk(&mut self, mut from: RecvStream, mut commands: mpsc::Receiver<Command>) -> Result<(), End> {
        let mut lines = Lines::default();
        let open = self.session.open.clone();
        loop {
            tokio::select! {
                chunk = from.data() => match chunk {
                    Some(Ok(chunk)) => {
                        let _ = from.flow_control().release_capacity(chunk.len());
                        lines.push(&chunk).map_err(|error| protocol(&error))?;
                        while let Some(message) = lines.next().map_err(|error| protocol(&error))? {
                            self.hear(message).await?;
                        }
                    }
                    _ if self.finishing => {
                        open.none().await;
                        return Ok(());
                    }
                    _ => return Err(End::Lost("the relay closed the control stream".into())),
                },
                Some(command) = commands.recv() => match command {
                    Command::Tell(message) => self.say(&message).await?,
                    Command::Finish(message) => {
                        self.say(&message).await?;
                        self.finishing = true;
                        self.session.finish.notify_one();
                    }
                },
                () = sleep_until(self.renewal.at) => self.renew().await?,
                () = open.none(), if self.finishing => return Ok(()),
            }
        }
    }

    async fn say(&mut self, message: &ToRelay) -> Result<(), End> {
        let line = encode(message).map_err(|error| protocol(&error))?;
        match send_bytes(&mut self.stream, line.into(), false).await {
            Ok(true) => Ok(()),
            _ => Err(End::Lost("the control stream broke".into())),
        }
    }

    async fn hear(&mut self, message: ToClient) -> Result<(), End> {
        let session = &self.session;
        match &message {
            ToClient::Opened(opened) => session.route(opened),
            ToClient::Closed { tunnel, .. } => session.unroute(tunnel),
            ToClient::Credential { credential, expires } => {
                if let Some(shown) = self.renewal.asked.take() {
                    session.start.shared.identity.keep(&shown, credential.clone(), *expires);
                }
                self.renewal.at = Instant::now() + wait(*expires, now());
                return Ok(());
            }
            ToClient::RenewRefused { code, message } => {
                let problem = Problem::new(code.as_str()).with("message", message.as_str());
                session.start.report(Report::NotRenewed(Box::new(problem))).await;
                return Ok(());
            }
            ToClient::Close { code, message, suspension } => {
                return Err(End::Closed(*code, message.clone(), suspension.clone()));
            }
            _ => {}
        }
        session.start.report(Report::Said(message)).await;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), End> {
        self.renewal.at = Instant::now() + CLOCK_WRONG;
        let identity = &self.session.start.shared.identity;
        let shown = if self.renewal.with_token {
            identity.show_token().await
        } else {
            identity.show_credential().await
        };
        match shown {
            Ok(shown) => {
                let proof = shown.proof.clone();
                self.renewal.asked = Some(shown);
                self.say(&ToRelay::Renew { proof }).await
            }
            Err(problem) => {
                self.session.start.report(Report::NotRenewed(Box::new(problem))).await;
                Ok(())
            }
        }
    }
}

fn protocol(error: &LineError) -> End {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the relay broke the protocol of the control stream"
    );
    End::Lost("the relay broke the protocol".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_renewed_when_a_third_of_its_time_is_left() {
        assert_eq!(wait(1000 + 900, 1000), Duration::from_secs(600));
        assert_eq!(wait(1001, 1000), Duration::from_secs(1));
        assert_eq!(wait(1000 + 30 * 86400, 1000), LONGEST);
        assert_eq!(wait(900, 1000), CLOCK_WRONG);
    }
}
