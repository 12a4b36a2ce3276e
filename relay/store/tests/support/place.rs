//! A store of either kind for one test.

#![allow(dead_code, reason = "each test file uses a part of it")]

use adit_protocol::{Account, Endpoint, InstanceId};
use adit_store::{Lease, Origin, Reserve, Store, StoreUrl};
use adit_testkit::postgres::Postgres;
use std::{future::Future, time::Duration};
use tempfile::TempDir;

/// A moment in the tests' time: no test looks at a clock.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The region of the tests.
pub(crate) const REGION: &str = "eu.example.com";

/// The longest that anything is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where a store is. Each [`Place::open`] is another program that uses it.
pub(crate) struct Place {
    pub(crate) url: StoreUrl,
    _folder: Option<TempDir>,
}

impl Place {
    /// A SQLite file of the test's own.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: StoreUrl::Sqlite(folder.path().join("adit.db")), _folder: Some(folder) }
    }

    /// A database of the test's own on a server that the tests of one program share.
    pub(crate) fn postgres() -> Self {
        Self { url: Postgres::shared().database().parse().unwrap(), _folder: None }
    }

    /// Opens the store without its tables.
    pub(crate) fn open_empty(&self) -> Store {
        Store::open(&self.url).unwrap()
    }

    /// Opens the store with its tables.
    pub(crate) async fn open(&self) -> Store {
        let store = self.open_empty();
        store.migrate().await.unwrap();
        store
    }
}

/// A wish for a host name of the region at [`NOW`], with room for many names.
pub(crate) fn wish(name: &str, account: &str, instance: &str) -> Reserve {
    Reserve {
        endpoint: host(name),
        account: Account::managed(account),
        instance: instance.parse::<InstanceId>().unwrap(),
        region: REGION.to_owned(),
        origin: Origin::Chosen,
        names_limit: 1_000_000,
        now: NOW,
    }
}

/// The same wish at another time.
pub(crate) fn at(now: u64, wish: Reserve) -> Reserve {
    Reserve { now, ..wish }
}

pub(crate) fn host(name: &str) -> Endpoint {
    Endpoint::host(&format!("{name}.{REGION}"))
}

pub(crate) fn lease(name: &str, account: &str, generation: u64) -> Lease {
    Lease { endpoint: host(name), account: Account::managed(account), generation }
}

/// Waits until something is so, and looks again every few milliseconds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = std::time::Instant::now() + LONG;
    while !is_so().await {
        assert!(std::time::Instant::now() < end, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
