//! One session: from dialling to its end, on one lane.

mod control;
mod serve;
mod state;
mod stream_limit;

use crate::{
    context::ClientContext, dial::DialError, identity::PresentedProof, lanes::Lane, problem::Problem,
};
use adit_protocol::{Code, HelloRedirect, HelloRefusal, SuspensionNotice, ToClient, ToRelay, Welcome};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The number of a session in this process, in the order of dialling.
pub(crate) type SessionKey = u64;

/// A session's report to the session manager.
pub(crate) enum Report {
    /// The relay could not be reached.
    Failed(DialError),
    /// A relay answered that the request avoids.
    Elsewhere(HelloRedirect),
    /// The relay refused the client, which had presented this proof.
    Refused(Box<HelloRefusal>, PresentedProof),
    /// The session has begun.
    Began(Box<Welcome>, mpsc::Sender<SessionCommand>),
    /// The relay sent a control message.
    Message(ToClient),
    /// The round trip that was measured last.
    Latency(Duration),
    /// The credential could not be renewed.
    NotRenewed(Box<Problem>),
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

impl SessionSetup {
    async fn report(&self, report: Report) {
        // There is no receiver once the client is being dropped.
        let _ = self.reports.send((self.key, report)).await;
    }
}
