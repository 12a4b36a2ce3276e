//! Permits for sessions, streams and tunnels.

use super::{AccountUsage, LimitExceeded};
use adit_protocol::{Code, Endpoint};
use std::sync::Arc;

/// One of an account's sessions at this relay.
#[derive(Debug)]
#[must_use = "the session counts until the permit is dropped"]
pub(crate) struct SessionPermit(pub(super) Arc<AccountUsage>);

/// One of an account's streams at this relay.
#[derive(Debug)]
#[must_use = "the stream counts until the permit is dropped"]
pub(crate) struct StreamPermit(pub(super) Arc<AccountUsage>);

/// One of an account's tunnels, for one of the sessions that serve it at this relay.
#[derive(Debug)]
#[must_use = "the tunnel counts until the permit is dropped"]
pub(crate) struct TunnelPermit {
    pub(super) account: Arc<AccountUsage>,
    pub(super) endpoint: Endpoint,
}

impl AccountUsage {
    /// Takes a place for a session. `in_region` is how many sessions the region's table knows of the account.
    ///
    /// # Errors
    /// [`Code::TooManySessions`].
    pub(crate) fn try_session(self: &Arc<Self>, in_region: usize) -> Result<SessionPermit, LimitExceeded> {
        let limit = self.bounds.load().limits.sessions;
        let in_region = u32::try_from(in_region).unwrap_or(u32::MAX);
        if self.sessions.try_acquire(limit, in_region) {
            Ok(SessionPermit(self.clone()))
        } else {
            Err(LimitExceeded::new(Code::TooManySessions, limit))
        }
    }

    /// Takes a place for a tunnel; the second session of a tunnel takes none. `others_in_region` is how many tunnels the
    /// region's table knows of the account, that of this endpoint not counted.
    ///
    /// # Errors
    /// [`Code::TooManyTunnels`].
    pub(crate) fn try_tunnel(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        others_in_region: usize,
    ) -> Result<TunnelPermit, LimitExceeded> {
        let limit = self.bounds.load().limits.tunnels;
        let mut tunnels = self.tunnels();
        if let Some(sessions) = tunnels.get_mut(endpoint) {
            *sessions += 1;
        } else if tunnels.len().max(others_in_region) < limit as usize {
            tunnels.insert(endpoint.clone(), 1);
        } else {
            return Err(LimitExceeded::new(Code::TooManyTunnels, limit));
        }
        Ok(TunnelPermit { account: self.clone(), endpoint: endpoint.clone() })
    }

    /// Takes a place for a stream: a request, a WebSocket or a TCP connection.
    ///
    /// # Errors
    /// [`Code::TooManyStreams`]; the refusal is counted for [`take_refused`](Self::take_refused).
    pub(crate) fn try_stream(self: &Arc<Self>) -> Result<StreamPermit, LimitExceeded> {
        let limit = self.bounds.load().limits.streams;
        if self.streams.try_acquire(limit, 0) {
            Ok(StreamPermit(self.clone()))
        } else {
            Err(self.refuse(LimitExceeded::new(Code::TooManyStreams, limit)))
        }
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.sessions.release();
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.streams.release();
    }
}

impl Drop for TunnelPermit {
    fn drop(&mut self) {
        self.account.close_tunnel(&self.endpoint);
    }
}
