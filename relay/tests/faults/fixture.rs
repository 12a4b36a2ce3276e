//! A relay, its service, and the counts that faults may not change.

pub(crate) use crate::relay_fixture::HOST;
use crate::relay_fixture::{RelayFixture, region};
use adit::Tunnel;
use adit_testkit::{http::Service, region::TestRegion, wait::until};
use std::ops::Deref;

/// A relay and a service that it does not publish yet. Fields are dropped in this order.
pub(crate) struct FaultFixture {
    fixture: RelayFixture,
    pub(crate) service: Service,
}

impl Deref for FaultFixture {
    type Target = RelayFixture;

    fn deref(&self) -> &RelayFixture {
        &self.fixture
    }
}

/// What the relay holds for consumers; it has to be the same again once a fault is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RelayCounts {
    streams: u64,
    connections: u64,
    buffered: u64,
    sessions_closed: u64,
}

impl FaultFixture {
    /// A relay with these lines in its configuration, and a service.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::in_region(region().with(yaml)).await
    }

    /// The relay of a region, and a service.
    pub(crate) async fn in_region(region: TestRegion) -> Self {
        Self { fixture: RelayFixture::start(region), service: Service::start().await }
    }

    /// Opens [`HOST`] for the service.
    pub(crate) async fn publish_service(&self) -> Tunnel {
        self.publish(self.service.address()).await
    }

    /// Opens a TCP tunnel to the service; returns its public port too.
    pub(crate) async fn publish_service_tcp(&self) -> (Tunnel, u16) {
        self.publish_tcp(self.service.address()).await
    }

    /// Number of sessions that have ended.
    pub(crate) fn sessions_closed(&self) -> u64 {
        self.relay.metric("adit_sessions_closed_total")
    }

    /// Number of connections that the client has with the service, as in proc(5). The service itself notices only a reset
    /// while an answer is pending, not an end.
    pub(crate) fn service_connections(&self) -> usize {
        let service = format!("{:04X}", self.service.port());
        let established = |line: &&str| {
            let mut columns = line.split_whitespace().skip(2);
            let remote = columns.next().is_some_and(|remote| remote.ends_with(&service));
            remote && columns.next() == Some("01")
        };
        std::fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(established).count()
    }

    /// What the relay holds for consumers now.
    pub(crate) fn counts(&self) -> RelayCounts {
        RelayCounts {
            streams: self.relay.metric("adit_streams_open"),
            connections: self.relay.metric("adit_connections_open"),
            buffered: self.relay.metric("adit_buffered_bytes"),
            sessions_closed: self.sessions_closed(),
        }
    }

    /// Waits until the relay holds again what it held before, and checks that no session has ended.
    pub(crate) async fn until_back_to(&self, before: &RelayCounts) {
        until(&format!("the relay is back to {before:?}"), || self.counts() == *before).await;
    }

    /// Makes this many small requests, each on a connection of its own, and asserts that they are answered.
    pub(crate) async fn assert_answers(&self, times: usize) {
        for _ in 0..times {
            let answer = self.consumer().get(HOST, "/bytes/1000").await.expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 1000), "{}", answer.text());
        }
    }
}
