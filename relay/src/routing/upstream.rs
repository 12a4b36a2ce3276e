//! The choice between a local session and a peer.

use super::{
    Routing,
    local::{ServedEndpoint, Session, StreamPlace},
    route::Route,
};
use crate::{
    cluster::{
        peer::{LinkError, PeerStreamPermit, dial, links::FAILOVER_DIAL_TIME},
        table::Row,
    },
    lanes,
    ops::{metrics::Count, telemetry::Telemetry},
};
use adit_mux::{OpenStreams, Opener, ResetReason, ResponseFuture, SendStream, StreamError};
use adit_protocol::{Code, RelayId, SessionId, stream};
use http::{HeaderName, HeaderValue, Request};
use rand::seq::IteratorRandom;

/// How a relay tells its peer that its sessions have no room for another stream.
pub(crate) const FULL: ResetReason = ResetReason::EnhanceYourCalm;

/// What serves the next stream.
#[derive(Debug)]
pub(crate) struct Upstream {
    opener: Opener,
    header: (HeaderName, HeaderValue),
    /// Who it is, so that a second try goes elsewhere.
    pub(crate) who: StreamTarget,
    /// Given back when the stream has ended.
    pub(crate) place: StreamPermit,
}

/// A stream's place on its connection.
#[derive(Debug)]
pub(crate) enum StreamPermit {
    /// On a session.
    Session(StreamPlace),
    /// On a link to a peer.
    Peer(#[expect(dead_code, reason = "it is given back when it is dropped")] PeerStreamPermit),
}

/// One session or one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamTarget {
    /// A session of this relay.
    Session(SessionId),
    /// Another relay.
    Relay(RelayId),
}

/// Whether the other side can have begun to handle a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It cannot: the request may be sent again, whatever its method (RFC 9110 section 9.2.2, RFC 9113 section 8.7).
    No,
    /// It may have.
    Maybe,
}

/// What stands between a request and its answer, and whether another try is allowed.
#[derive(Debug, thiserror::Error)]
#[error("the request failed: {code}")]
pub(crate) struct Failure {
    /// What the consumer is told.
    pub(crate) code: Code,
    /// Whether it can be tried again.
    pub(crate) handled: Handled,
}

impl Failure {
    /// A failure before any stream was opened.
    pub(crate) fn unhandled(code: Code) -> Self {
        Self { code, handled: Handled::No }
    }

    /// What an error on an open stream means.
    pub(crate) fn of_stream(error: &StreamError) -> Self {
        if error.is_reset() && error.is_remote() && error.reason() == Some(FULL) {
            return Self::unhandled(Code::TooManyStreams);
        }
        let handled = if error.is_unprocessed() { Handled::No } else { Handled::Maybe };
        Self { code: Code::SessionLost, handled }
    }
}

impl From<Failure> for Code {
    fn from(failure: Failure) -> Self {
        failure.code
    }
}

/// The upstream for the next stream: a local session, or else a peer.
///
/// # Errors
/// [`Failure`] with [`Code::TunnelOffline`] when there is none that has not been tried, and with
/// [`Code::TooManyStreams`] when all are full.
pub(crate) async fn select(
    routing: &Routing,
    route: &Route,
    tried: &[StreamTarget],
) -> Result<Upstream, Failure> {
    let mut full = false;
    if let Route::Here(served) = route {
        match local(served, tried) {
            Some(upstream) => return Ok(upstream),
            None => full = served.sessions.iter().any(|one| !one.is_closing() && !was_tried(one, tried)),
        }
    }
    let row = match route {
        Route::There(row) => Some(row.clone()),
        Route::Here(served) => routing.row(&served.endpoint),
    };
    let from_peer = match row {
        Some(row) => peer(routing, &row, tried).await,
        None => Err(Failure::unhandled(Code::TunnelOffline)),
    };
    from_peer.map_err(|failure| if full { Failure::unhandled(Code::TooManyStreams) } else { failure })
}

/// A session of this relay. A stream that a peer has sent goes no further than that.
pub(crate) fn local(served: &ServedEndpoint, tried: &[StreamTarget]) -> Option<Upstream> {
    let session = served.session(lanes::current(), |session| was_tried(session, tried))?;
    let place = session.place()?;
    Some(Upstream {
        opener: session.opener.clone(),
        header: (HeaderName::from_static(stream::TUNNEL), served.tunnel_header.clone()),
        who: StreamTarget::Session(session.id.clone()),
        place: StreamPermit::Session(place),
    })
}

fn was_tried(session: &Session, tried: &[StreamTarget]) -> bool {
    tried.iter().any(|who| matches!(who, StreamTarget::Session(id) if *id == session.id))
}

/// The less loaded of two random peers that serve the endpoint.
async fn peer(routing: &Routing, row: &Row, tried: &[StreamTarget]) -> Result<Upstream, Failure> {
    let mut others: Vec<&RelayId> = row
        .sessions
        .iter()
        .map(|session| &session.relay)
        .filter(|id| {
            **id != routing.relay
                && !tried.iter().any(|who| matches!(who, StreamTarget::Relay(t) if t == *id))
        })
        .collect();
    others.sort_unstable();
    others.dedup();
    let records = routing.registry.table().relays();
    let load =
        |id: &RelayId| records.iter().find(|record| record.relay == *id).map_or(u32::MAX, |r| r.streams);
    let (mut full, mut slow, mut patience) = (false, vec![], FAILOVER_DIAL_TIME);
    loop {
        if others.is_empty() && patience == FAILOVER_DIAL_TIME {
            // There is no better one: now they get all the time that there is.
            (others, patience) = (std::mem::take(&mut slow), dial::MAX_DIAL_TIME);
        }
        let two = others.iter().copied().choose_multiple(&mut rand::rng(), 2);
        let Some(chosen) = two.into_iter().min_by_key(|id| load(id)) else { break };
        match routing.peers.opener(chosen, &row.account, patience).await {
            Ok((opener, place)) => {
                let endpoint =
                    HeaderValue::from_str(&row.endpoint.to_string()).expect("an endpoint is ASCII");
                let header = (HeaderName::from_static(stream::PEER_ENDPOINT), endpoint);
                let who = StreamTarget::Relay(chosen.clone());
                return Ok(Upstream { opener, header, who, place: StreamPermit::Peer(place) });
            }
            Err(error) => {
                full |= error == LinkError::Full;
                tracing::debug!(peer = %chosen, error = &error as &dyn std::error::Error, "no place on a link");
                if error == LinkError::Slow {
                    slow.push(chosen);
                }
                others.retain(|id| *id != chosen);
            }
        }
    }
    Err(Failure::unhandled(if full { Code::TooManyStreams } else { Code::TunnelOffline }))
}

impl Upstream {
    /// Opens the stream with this head.
    ///
    /// # Errors
    /// [`Failure`]: no stream was opened.
    pub(crate) async fn open(
        &self,
        telemetry: &Telemetry,
        mut head: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream), Failure> {
        head.headers_mut().insert(self.header.0.clone(), self.header.1.clone());
        let lost = |_| Failure::unhandled(Code::SessionLost);
        let opened = self.opener.open(head, end).await.map_err(lost)?;
        if matches!(self.place, StreamPermit::Session(_)) {
            telemetry.lane().metrics.count(Count::StreamsOpened);
        }
        Ok(opened)
    }

    /// Whether Upgrades can be sent (RFC 8441), which the other end's first SETTINGS say.
    pub(crate) async fn upgrades(&self) -> bool {
        if let StreamPermit::Session(place) = &self.place {
            place.session().answered().await;
        }
        self.opener.allows_extended_connect()
    }
}
