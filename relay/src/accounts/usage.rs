//! The usage of one account at one relay.

use super::{
    LimitExceeded, Limits, RefusalNotice,
    charges::AccountBuffers,
    permit_count::PermitCount,
    rate::{Bucket, Rate},
    refused::RefusalCounts,
};
use adit_protocol::{Code, Endpoint};
use arc_swap::ArcSwap;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The usage and the limits of one account at this relay, shared by all of its sessions and by all lanes.
///
/// [`check_request`](Self::check_request) and [`try_stream`](Self::try_stream) are made for every request: they take no
/// lock and allocate nothing.
#[derive(Debug)]
pub(crate) struct AccountUsage {
    /// The origin of the times of `bucket` and `refused`.
    epoch: Instant,
    pub(super) bounds: ArcSwap<AppliedLimits>,
    bucket: Bucket,
    pub(super) streams: PermitCount,
    pub(super) sessions: PermitCount,
    refused: RefusalCounts,
    pub(super) buffers: AccountBuffers,
    /// The sessions of this relay that serve each endpoint.
    tunnels: Mutex<HashMap<Endpoint, u32>>,
}

/// The limits of an account, with the rate that follows from them.
#[derive(Debug)]
pub(super) struct AppliedLimits {
    pub(super) limits: Limits,
    rate: Rate,
}

impl AppliedLimits {
    fn new(limits: &Limits) -> Self {
        let burst = limits.burst.unwrap_or(limits.requests_per_second);
        Self { limits: limits.clone(), rate: Rate::new(limits.requests_per_second, burst) }
    }
}

impl AccountUsage {
    pub(super) fn new(limits: &Limits, epoch: Instant) -> Self {
        Self {
            epoch,
            bounds: ArcSwap::from_pointee(AppliedLimits::new(limits)),
            bucket: Bucket::default(),
            streams: PermitCount::default(),
            sessions: PermitCount::default(),
            refused: RefusalCounts::default(),
            buffers: AccountBuffers::default(),
            tunnels: Mutex::default(),
        }
    }

    /// The limits: those of the account's newest session.
    pub(crate) fn limits(&self) -> Limits {
        self.bounds.load().limits.clone()
    }

    /// Replaces the limits. Permits that are held stay valid.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        if self.bounds.load().limits != *limits {
            self.bounds.store(Arc::new(AppliedLimits::new(limits)));
        }
    }

    pub(super) fn close_tunnel(&self, endpoint: &Endpoint) {
        let mut tunnels = self.tunnels();
        if let Some(sessions) = tunnels.get_mut(endpoint) {
            *sessions -= 1;
            if *sessions == 0 {
                tunnels.remove(endpoint);
            }
        }
    }

    pub(super) fn tunnels(&self) -> MutexGuard<'_, HashMap<Endpoint, u32>> {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request or a TCP connection that comes at `now`.
    ///
    /// # Errors
    /// [`Code::RateLimited`] with the time until the next will be let through; the refusal is counted for
    /// [`take_refused`](Self::take_refused).
    pub(crate) fn check_request(&self, now: Instant) -> Result<(), LimitExceeded> {
        let bounds = self.bounds.load();
        self.bucket.take(bounds.rate, self.since_epoch(now)).map_err(|wait| {
            let exceeded = LimitExceeded::new(Code::RateLimited, bounds.limits.requests_per_second);
            self.refuse(LimitExceeded { retry_after: Some(wait), ..exceeded })
        })
    }

    /// Whether a body of `bytes` is within the limit. A body without a length is checked again as it grows.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`]; the refusal is counted for [`take_refused`](Self::take_refused).
    pub(crate) fn check_body(&self, bytes: u64) -> Result<(), LimitExceeded> {
        match self.bounds.load().limits.body_bytes {
            Some(limit) if bytes > limit => Err(self.refuse(LimitExceeded::new(Code::BodyTooLarge, limit))),
            _ => Ok(()),
        }
    }

    pub(super) fn buffer_limit(&self) -> u64 {
        self.bounds.load().limits.buffer_bytes
    }

    pub(super) fn refuse(&self, exceeded: LimitExceeded) -> LimitExceeded {
        self.refused.note(&exceeded);
        exceeded
    }

    /// The consumers that were turned away since the last notice, for [`adit_protocol::ToClient::Limited`]: at most one
    /// notice a second for the account, the limit that turned most away first. Each refusal is in one notice only.
    pub(crate) fn take_refused(&self, now: Instant) -> Option<RefusalNotice> {
        self.refused.take(self.since_epoch(now))
    }

    /// The sessions that are open at this relay.
    #[cfg(test)]
    pub(crate) fn sessions(&self) -> u32 {
        self.sessions.count()
    }

    /// The streams that are open at this relay.
    #[cfg(test)]
    pub(crate) fn streams(&self) -> u32 {
        self.streams.count()
    }

    /// The tunnels that are served by sessions at this relay.
    #[cfg(test)]
    pub(crate) fn tunnel_count(&self) -> usize {
        self.tunnels().len()
    }

    /// The unread bytes at this relay, as far as they count: see [`super::StreamBuffer`].
    #[cfg(test)]
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.buffers.total()
    }

    /// Whether a new [`AccountUsage`] would do the same as this one.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.bucket.is_full(self.since_epoch(now))
    }

    fn since_epoch(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    fn account_with(limits: Limits) -> Arc<AccountUsage> {
        Arc::new(AccountUsage::new(&limits, Instant::now()))
    }

    #[test]
    fn sessions_are_refused_at_the_limit_and_come_back() {
        let account = account_with(Limits { sessions: 2, ..Limits::default() });
        let first = account.try_session(0).unwrap();
        let second = account.try_session(1).unwrap();
        let refused = account.try_session(2).unwrap_err();
        assert_eq!((refused.code, refused.limit), (Code::TooManySessions, 2));
        assert_eq!(refused.to_string(), "the account has its 2 sessions already");
        drop(first);
        assert_eq!(account.sessions(), 1);
        assert!(account.try_session(2).is_err(), "the table knows another one at another relay");
        drop(account.try_session(1).unwrap());
        drop(second);
        assert_eq!(account.sessions(), 0);
    }

    #[test]
    fn a_tunnel_counts_once_however_many_sessions_serve_it() {
        let account = account_with(Limits { tunnels: 2, ..Limits::default() });
        let (shop, ssh, api) =
            (Endpoint::host("shop.example"), Endpoint::Tcp(22), Endpoint::host("api.example"));
        let permits: Vec<_> = iter::repeat_with(|| account.try_tunnel(&shop, 1).unwrap()).take(3).collect();
        let last = account.try_tunnel(&ssh, 1).unwrap();
        assert_eq!(account.tunnel_count(), 2);
        assert_eq!(account.try_tunnel(&api, 0).unwrap_err().code, Code::TooManyTunnels);
        assert!(account.try_tunnel(&shop, 5).is_ok(), "it is open already");
        drop(permits);
        assert_eq!(account.try_tunnel(&api, 2).unwrap_err().limit, 2, "the others are at another relay");
        drop(account.try_tunnel(&api, 1).unwrap());
        drop(last);
        assert_eq!(account.tunnel_count(), 0);
    }

    #[test]
    fn refused_consumers_are_told_once() {
        let limits = Limits { streams: 1, requests_per_second: 2, body_bytes: Some(10), ..Limits::default() };
        let account = account_with(limits);
        let now = Instant::now();
        let _stream = account.try_stream().unwrap();
        assert_eq!(account.try_stream().unwrap_err().code, Code::TooManyStreams);
        assert!(account.check_request(now).is_ok() && account.check_request(now).is_ok());
        let refused = account.check_request(now).unwrap_err();
        assert_eq!((refused.code, refused.limit), (Code::RateLimited, 2));
        assert_eq!(refused.retry_after, Some(Duration::from_millis(500)));
        assert!(account.check_request(now).is_err() && account.check_body(10).is_ok());
        assert_eq!(account.check_body(11).unwrap_err().limit, 10);
        let notices: Vec<_> = (0..5)
            .filter_map(|second| account.take_refused(now + Duration::from_secs(second)))
            .map(|refused| (refused.code, refused.count))
            .collect();
        assert_eq!(notices[0], (Code::RateLimited, 2));
        assert_eq!(notices.len(), 3);
    }

    #[test]
    fn other_limits_take_effect_at_once() {
        let account = account_with(Limits { streams: 1, ..Limits::default() });
        let _stream = account.try_stream().unwrap();
        account.set_limits(&Limits { streams: 2, ..Limits::default() });
        assert!(account.try_stream().is_ok());
        assert_eq!(account.limits().streams, 2);
    }
}
