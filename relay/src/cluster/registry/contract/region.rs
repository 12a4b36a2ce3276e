//! A region to try a registry in.

use crate::cluster::{
    registry::{Claim, Memory, Redis, Registry},
    table::{RelayRecord, Row},
};
use adit_protocol::{Account, Endpoint, RelayId, TunnelOptions};
use adit_testkit::redis::Redis as Server;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The relays of one region and what they share.
pub(in crate::cluster::registry) enum Region {
    Memory(Memory),
    Redis { url: String, name: String },
}

impl Region {
    pub(super) fn memory() -> Self {
        // A relay that never says anything holds the others' place.
        Self::Memory(Memory::new(&"nobody".parse().unwrap()))
    }

    /// A region of its own in a server that all tests share.
    pub(super) fn redis() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::Redis { url: SERVER.get_or_init(Server::start).url(), name: format!("r{number}.example.com") }
    }

    /// A region alone in a server.
    pub(in crate::cluster::registry) fn of(server: &Server) -> Self {
        Self::Redis { url: server.url(), name: "eu.example.com".to_owned() }
    }

    /// A relay that has the region's table already and has beaten once.
    pub(in crate::cluster::registry) async fn relay(&self, id: &str) -> Relay {
        let relay = self.silent_relay(id);
        relay.registry.synced().await;
        relay.registry.beat(&relay.record(), &[]).await.unwrap();
        relay
    }

    /// A relay that has said nothing yet.
    pub(in crate::cluster::registry) fn silent_relay(&self, id: &str) -> Relay {
        let me: RelayId = id.parse().unwrap();
        let registry = match self {
            Self::Memory(memory) => Registry::Memory(memory.join(&me)),
            Self::Redis { url, name } => Registry::Redis(Redis::open(url, name, &me).unwrap()),
        };
        Relay { me, registry }
    }

    pub(in crate::cluster::registry) async fn relays<const N: usize>(&self) -> [Relay; N] {
        let mut relays = Vec::new();
        for number in 1..=N {
            relays.push(self.relay(&format!("relay-{number}")).await);
        }
        relays.try_into().ok().unwrap()
    }
}

/// One relay of a [`Region`].
pub(in crate::cluster::registry) struct Relay {
    pub(in crate::cluster::registry) me: RelayId,
    pub(in crate::cluster::registry) registry: Registry,
}

impl Relay {
    pub(in crate::cluster::registry) fn record(&self) -> RelayRecord {
        let peer = Some(format!("{}.internal:7443", self.me));
        RelayRecord { relay: self.me.clone(), peer, sessions: 1, streams: 2, draining: false }
    }

    pub(in crate::cluster::registry) fn claim(
        &self,
        host: &str,
        who: &str,
        generation: u64,
        session: &str,
    ) -> Claim {
        claim(&self.me, host, who, generation, session)
    }

    pub(in crate::cluster::registry) fn row(&self, host: &str) -> Option<Arc<Row>> {
        self.registry.table().row(&host.parse().unwrap())
    }

    /// The account and the sessions of a row, as text: `ann: s1@relay-1 s2@relay-2`.
    pub(in crate::cluster::registry) fn sees(&self, host: &str) -> Option<String> {
        self.row(host).map(|row| {
            let sessions: Vec<_> =
                row.sessions.iter().map(|s| format!("{}@{}", s.session, s.relay)).collect();
            format!("{}: {}", row.account, sessions.join(" "))
        })
    }

    pub(in crate::cluster::registry) async fn beat(&self, claims: &[Claim]) {
        self.registry.beat(&self.record(), claims).await.unwrap();
    }
}

/// A claim of account `who`, whose instance and tunnel have the same name.
pub(in crate::cluster::registry) fn claim(
    relay: &RelayId,
    host: &str,
    who: &str,
    generation: u64,
    session: &str,
) -> Claim {
    Claim {
        endpoint: host.parse::<Endpoint>().unwrap(),
        account: Account::managed(who),
        instance: who.parse().unwrap(),
        generation,
        tunnel: who.parse().unwrap(),
        options: TunnelOptions::default(),
        session: session.parse().unwrap(),
        relay: relay.clone(),
    }
}

/// Waits until something holds, and says what it was when it never does.
pub(in crate::cluster::registry) async fn within<T: PartialEq + std::fmt::Debug>(
    time: Duration,
    mut look: impl FnMut() -> T,
    wanted: T,
) {
    let end = Instant::now() + time;
    while look() != wanted {
        assert!(Instant::now() < end, "after {time:?}: {:?} is not {wanted:?}", look());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Region {
    /// Waits until all relays see the same of a host.
    pub(super) async fn all_see(relays: &[&Relay], host: &str, wanted: Option<&str>) {
        for relay in relays {
            within(MAX_WAIT, || relay.sees(host), wanted.map(ToOwned::to_owned)).await;
        }
    }
}

/// The longest that a change may take to reach all relays on a busy machine.
pub(in crate::cluster::registry) const MAX_WAIT: Duration = Duration::from_secs(60);
