//! Outages of the store: stopped, frozen, cut off and locked, and back again.

use crate::fixture::{NOW, REGION, StoreFixture, host, lease, reservation};
use adit_protocol::Account;
use adit_store::{
    CALL_TIMEOUT, MigrateError, OpenError, ReserveError, Store, StoreError, StoreUrl, Suspended, Suspension,
    UseTokenError, Wakeups,
};
use adit_testkit::{
    port::Port,
    postgres::Postgres,
    postgres_proxy::{PostgresProxy, ProxyMode},
    wait::{MAX_WAIT, until_async},
};
use sqlx::{Connection, SqliteConnection};
use std::time::{Duration, Instant};

/// A call without a bound would wait for ever; one with a bound takes [`CALL_TIMEOUT`], and longer only as far as the machine
/// is busy with other tests.
const BOUND: Duration = CALL_TIMEOUT.saturating_add(Duration::from_secs(30));

async fn open(url: &str) -> Store {
    let store = Store::open(&url.parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    store
}

/// Makes each kind of call, several at once, and checks that each ends with an error within its bound.
async fn assert_unavailable(store: &Store) {
    let ada = Account::managed("ada");
    let suspension = Suspension {
        id: "s-away".to_owned(),
        target: Suspended::Account(ada.clone()),
        until: None,
        reason: String::new(),
        complaint: None,
        since: NOW,
        hostnames: vec![],
    };
    let start = Instant::now();
    let request = reservation("away", "ada", "i-1");
    let leases = [lease("shop", "ada", 1)];
    let (ping, reserve, token, extend, suspend, read) = tokio::join!(
        store.ping(),
        store.reserve(&request),
        store.use_token(&ada, "t-away", "key-1", NOW + 900, NOW),
        store.extend(REGION, &leases, NOW),
        store.suspend(&suspension),
        store.suspensions(NOW),
    );
    let away = |error: &StoreError| matches!(error, StoreError::Unreachable(_) | StoreError::Timeout);
    assert!(ping.as_ref().is_err_and(away), "{ping:?}");
    assert!(matches!(&reserve, Err(ReserveError::Unavailable(error)) if away(error)), "{reserve:?}");
    assert!(matches!(&token, Err(UseTokenError::Unavailable(error)) if away(error)), "{token:?}");
    assert!(extend.as_ref().is_err_and(away), "{extend:?}");
    assert!(suspend.as_ref().is_err_and(away), "{suspend:?}");
    assert!(read.as_ref().is_err_and(away), "{read:?}");
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
}

async fn assert_works(store: &Store) {
    until_async("the store answers", async || store.ping().await.is_ok()).await;
    assert_eq!(store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation, 1);
    assert_eq!(
        store.held_name(REGION, &host("shop")).await.unwrap().unwrap().account,
        Account::managed("ada")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_noticed_at_once_and_used_again_when_back() {
    let mut postgres = Postgres::start();
    let store = open(&postgres.database()).await;
    let mut changes = store.changes();
    changes.next().await;
    assert_works(&store).await;
    until_async("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;
    for _ in 0..2 {
        postgres.stop();
        assert_unavailable(&store).await;
        let refused = store.ping().await.unwrap_err();
        assert!(
            matches!(refused, StoreError::Unreachable(_)),
            "a refusal is no matter of waiting: {refused:?}"
        );
        until_async("it is seen that nobody notifies", async || store.wakeups() == Wakeups::PollingOnly)
            .await;

        postgres.restart();
        assert_works(&store).await;
        until_async("notifications arrive again", async || store.wakeups() == Wakeups::Notified).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_calls_goes_unnoticed() {
    let mut postgres = Postgres::start();
    let store = open(&postgres.database()).await;
    for round in 0..5 {
        // Both connections are in use before the restart and dead after it.
        let (a, b) =
            (reservation(&format!("a{round}"), "ada", "i"), reservation(&format!("b{round}"), "bob", "i"));
        let (a, b) = tokio::join!(store.reserve(&a), store.reserve(&b));
        assert_eq!((a.unwrap().generation, b.unwrap().generation), (1, 1));
        postgres.stop();
        postgres.restart();
        let (a, b) = tokio::join!(store.suspensions(NOW), store.ping());
        a.unwrap();
        b.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_holds_nobody_longer_than_the_bound() {
    let mut postgres = Postgres::start();
    let store = open(&postgres.database()).await;
    assert_works(&store).await;
    postgres.freeze();
    assert_unavailable(&store).await;
    assert_unavailable(&store).await;
    postgres.thaw();
    assert_works(&store).await;
}

/// A network that swallows packets: connections stay open at both ends and nothing arrives, not even after it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_went_dead_without_a_word_are_replaced() {
    let postgres = Postgres::shared();
    let proxy = PostgresProxy::start(postgres.port()).await;
    let store = open(&proxy.url(&postgres.database())).await;
    let mut changes = store.changes();
    changes.next().await;
    assert_works(&store).await;
    until_async("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;
    proxy.set_mode(ProxyMode::Blackhole);
    assert_unavailable(&store).await;
    proxy.set_mode(ProxyMode::Forward);
    assert_works(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_missed_while_disconnected_are_found_at_the_reconnect() {
    let mut postgres = Postgres::start();
    let url = postgres.database();
    let proxy = PostgresProxy::start(postgres.port()).await;
    let store = open(&proxy.url(&url)).await;
    let beside = open(&url).await;
    let mut changes = store.changes();
    changes.next().await;
    until_async("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;

    proxy.set_mode(ProxyMode::Refuse);
    until_async("the cut is seen", async || store.wakeups() == Wakeups::PollingOnly).await;
    let suspension = Suspension {
        id: "s-1".to_owned(),
        target: Suspended::Hostname("shop.example".to_owned()),
        until: None,
        reason: "phishing".to_owned(),
        complaint: None,
        since: NOW,
        hostnames: vec![],
    };
    beside.suspend(&suspension).await.unwrap();
    assert_unavailable(&store).await;
    proxy.set_mode(ProxyMode::Forward);
    let found = async {
        loop {
            changes.next().await;
            if store.suspensions(NOW).await.is_ok_and(|all| all.list.len() == 1) {
                break;
            }
        }
    };
    tokio::time::timeout(MAX_WAIT, found).await.unwrap();
    postgres.stop();
}

/// What pgbouncer does with `pool_mode = transaction`: LISTEN is answered, notifications never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_pooler_is_found_out_and_polling_goes_on() {
    let postgres = Postgres::shared();
    let url = postgres.database();
    let proxy = PostgresProxy::start(postgres.port()).await;
    proxy.set_mode(ProxyMode::WithoutNotifications);
    let store = open(&proxy.url(&url)).await;
    let beside = open(&url).await;
    let mut changes = store.changes();
    changes.next().await;
    until_async("the listener has connected and gone again", async || proxy.dropped_notifications() > 0)
        .await;
    assert_eq!(store.wakeups(), Wakeups::PollingOnly);
    let account = Suspended::Account(Account::managed("ada"));
    let suspension = Suspension {
        id: "s-1".to_owned(),
        target: account,
        until: None,
        reason: "phishing".to_owned(),
        complaint: None,
        since: NOW,
        hostnames: vec![],
    };
    let version = beside.suspend(&suspension).await.unwrap();
    let found = async {
        while store.suspensions(NOW).await.unwrap().version < version {
            changes.next().await;
        }
    };
    tokio::time::timeout(MAX_WAIT, found).await.unwrap();
    assert_eq!(store.wakeups(), Wakeups::PollingOnly);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_not_there_at_the_start_is_used_when_it_comes() {
    let mut postgres = Postgres::start();
    let url = postgres.database();
    postgres.stop();
    let store = Store::open(&url.parse().unwrap()).unwrap();
    let mut changes = store.changes();
    changes.next().await;
    assert!(matches!(store.migrate().await, Err(MigrateError::Unavailable(_))));
    assert_unavailable(&store).await;
    postgres.restart();
    store.migrate().await.unwrap();
    assert_works(&store).await;
    until_async("notifications arrive", async || store.wakeups() == Wakeups::Notified).await;
}

#[tokio::test]
async fn wrong_places_are_typed_errors_without_the_password() {
    let port = Port::take();
    let nobody = format!("postgres://adit:s3cret@127.0.0.1:{port}/adit");
    let missing = Postgres::shared().url("missing").replace("postgres@", "postgres:s3cret@");
    for url in [nobody, missing] {
        let store = Store::open(&url.parse().unwrap()).unwrap();
        let error = store.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        assert!(!format!("{store:?} {error:?} {error}").contains("s3cret"));
    }
    let folder = tempfile::tempdir().unwrap();
    let no_folder = Store::open(&StoreUrl::Sqlite(folder.path().join("none/adit.db")));
    assert!(matches!(no_folder, Err(OpenError::File { .. })), "{no_folder:?}");
    assert!(matches!(Store::open(&StoreUrl::Sqlite(folder.path().to_owned())), Err(OpenError::File { .. })));
    let no_runtime = std::thread::spawn(|| Store::open(&"postgres://localhost/adit".parse().unwrap()));
    assert!(matches!(no_runtime.join().unwrap(), Err(OpenError::Runtime)));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_a_typed_error() {
    let fixture = StoreFixture::sqlite();
    let StoreUrl::Sqlite(path) = &fixture.url else { unreachable!("it is a SQLite store") };
    std::fs::write(path, "relay:\n  name: this is another file\n".repeat(200)).unwrap();
    let store = fixture.open_empty();
    assert!(matches!(store.suspensions(NOW).await, Err(StoreError::Unreachable(_) | StoreError::Refused(_))));
    assert!(store.migrate().await.is_err());
    assert!(std::fs::read_to_string(path).unwrap().starts_with("relay:\n"), "nothing was written");
}

#[tokio::test]
async fn a_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = StoreFixture::sqlite();
    let store = fixture.open().await;
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    let StoreUrl::Sqlite(path) = &fixture.url else { unreachable!("it is a SQLite store") };
    let files: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "the file and its log: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

/// Another process that holds the file's lock for writing, as a backup may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_is_waited_for_but_not_for_long() {
    let fixture = StoreFixture::sqlite();
    let store = fixture.open().await;
    assert_works(&store).await;
    let StoreUrl::Sqlite(path) = &fixture.url else { unreachable!("it is a SQLite store") };
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let start = Instant::now();
    let reserve = store.reserve(&reservation("blog", "ada", "i-1")).await;
    let busy = |error: &StoreError| matches!(error, StoreError::Busy(_) | StoreError::Timeout);
    assert!(matches!(&reserve, Err(ReserveError::Unavailable(error)) if busy(error)), "{reserve:?}");
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());

    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.reserve(&reservation("docs", "ada", "i-1")).await }
    });
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().generation, 1);
    assert_works(&store).await;
}

#[test]
fn a_store_whose_runtime_has_ended_says_so() {
    let lane = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for fixture in [StoreFixture::sqlite(), StoreFixture::postgres()] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = runtime.block_on(fixture.open());
        let mut changes = store.changes();
        runtime.block_on(async {
            changes.next().await;
            until_async("wake-ups without polling", async || store.wakeups() != Wakeups::PollingOnly).await;
        });
        lane.block_on(store.ping()).unwrap();
        drop(runtime);
        assert!(matches!(lane.block_on(store.ping()), Err(StoreError::Stopped)));
        assert!(matches!(
            lane.block_on(store.migrate()),
            Err(MigrateError::Unavailable(StoreError::Stopped))
        ));
        drop(store);
    }
}
