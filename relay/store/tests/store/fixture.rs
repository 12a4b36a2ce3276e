//! A store for one test, on SQLite or Postgres, and the values that tests put into it.

use adit_protocol::{Account, Endpoint, InstanceId};
use adit_store::{Lease, Origin, ReservationRequest, Store, StoreUrl};
use adit_testkit::postgres::Postgres;
use tempfile::TempDir;

/// The time that tests pass to the store, in seconds since 1970; no test reads a clock.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The region of the tests.
pub(crate) const REGION: &str = "eu.example.com";

/// The location of a store. Each [`StoreFixture::open`] stands for one more program that uses it.
pub(crate) struct StoreFixture {
    pub(crate) url: StoreUrl,
    _folder: Option<TempDir>,
}

impl StoreFixture {
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

/// A request to reserve a host name of the region at [`NOW`], with a high limit of names.
pub(crate) fn reservation(name: &str, account: &str, instance: &str) -> ReservationRequest {
    ReservationRequest {
        endpoint: host(name),
        account: Account::managed(account),
        instance: instance.parse::<InstanceId>().unwrap(),
        region: REGION.to_owned(),
        origin: Origin::Chosen,
        names_limit: 1_000_000,
        now: NOW,
    }
}

/// The same request at another time.
pub(crate) fn at(now: u64, request: ReservationRequest) -> ReservationRequest {
    ReservationRequest { now, ..request }
}

pub(crate) fn host(name: &str) -> Endpoint {
    Endpoint::host(&format!("{name}.{REGION}"))
}

pub(crate) fn lease(name: &str, account: &str, generation: u64) -> Lease {
    Lease { endpoint: host(name), account: Account::managed(account), generation }
}
