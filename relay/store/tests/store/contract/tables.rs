//! Migrations, pruning and what the tables hold.

use crate::fixture::{NOW, REGION, StoreFixture, host, lease, reservation};
use adit_protocol::{Account, Endpoint};
use adit_store::{
    BoundCredential, Pruned, ReservationRequest, ReserveError, Store, StoreError, StoreUrl, Suspended,
    Suspension, UseTokenError,
};
use adit_testkit::wait::until_async;
use sqlx::{Connection, PgConnection, SqliteConnection};

/// Runs a statement past the store.
async fn execute(fixture: &StoreFixture, statement: &'static str) {
    match &fixture.url {
        StoreUrl::Sqlite(path) => {
            let url = format!("sqlite://{}", path.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        StoreUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
    }
}

pub(crate) async fn migrations_run_once_whoever_comes(fixture: StoreFixture) {
    let stores: Vec<Store> = (0..8).map(|_| fixture.open_empty()).collect();
    let tasks: Vec<_> =
        stores.iter().cloned().map(|store| tokio::spawn(async move { store.migrate().await })).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    stores[0].reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    stores[1].migrate().await.unwrap();
    assert_eq!(stores[2].names(NOW).await.unwrap(), 1, "what is there stays");
}

pub(crate) async fn a_store_without_tables_refuses(fixture: StoreFixture) {
    let store = fixture.open_empty();
    store.ping().await.unwrap();
    assert!(matches!(store.suspensions(NOW).await, Err(StoreError::Refused(_))));
    let reserved = store.reserve(&reservation("shop", "ada", "i-1")).await;
    assert!(matches!(reserved, Err(ReserveError::Unavailable(StoreError::Refused(_)))), "{reserved:?}");
    let used = store.use_token(&Account::managed("ada"), "t", "k", NOW, NOW).await;
    assert!(matches!(used, Err(UseTokenError::Unavailable(StoreError::Refused(_)))), "{used:?}");
    store.migrate().await.unwrap();
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
}

/// A relay of the version before runs on the tables of the version after.
pub(crate) async fn a_later_schema_is_left_alone(fixture: StoreFixture) {
    fixture.open().await;
    execute(&fixture, "ALTER TABLE reservations ADD COLUMN of_a_later_version text").await;
    execute(
        &fixture,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let store = fixture.open().await;
    assert_eq!(store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation, 1);
    assert_eq!(store.extend(REGION, &[lease("shop", "ada", 1)], NOW).await.unwrap(), []);
}

pub(crate) async fn what_has_ended_is_pruned_and_nothing_else(fixture: StoreFixture) {
    const DAY: u64 = 24 * 60 * 60;
    let store = fixture.open().await;
    let ada = Account::managed("ada");
    for (n, ends) in [NOW - DAY - 1, NOW - DAY, NOW + 900].into_iter().enumerate() {
        store.use_token(&ada, &format!("t-{n}"), "key-1", ends, NOW - 2 * DAY).await.unwrap();
        let credential = BoundCredential {
            id: format!("c-{n}"),
            account: ada.clone(),
            key: "key-1".to_owned(),
            expires: ends,
        };
        store.bind_credential(&credential, NOW - 2 * DAY).await.unwrap();
    }
    store.reserve(&reservation("old", "ada", "i-1")).await.unwrap();
    store.reserve(&reservation("new", "ada", "i-1")).await.unwrap();
    store.release(REGION, &lease("old", "ada", 1), NOW - 37 * DAY - 1).await.unwrap();
    store.release(REGION, &lease("new", "ada", 1), NOW - 37 * DAY).await.unwrap();

    let pruned = store.prune(NOW).await.unwrap();
    assert_eq!(pruned, Pruned { used_tokens: 1, credentials: 1, names: 1 });
    assert_eq!(store.prune(NOW).await.unwrap(), Pruned::default());
    assert_eq!(store.held_name(REGION, &host("old")).await.unwrap(), None);
    assert!(store.held_name(REGION, &host("new")).await.unwrap().is_some());
    let again = store.use_token(&ada, "t-1", "key-2", NOW, NOW).await;
    assert!(matches!(again, Err(UseTokenError::Used)), "a mark outlives its token");
    assert!(store.revoke_credential("c-1", NOW).await.unwrap());
    assert!(!store.revoke_credential("c-0", NOW).await.unwrap());
}

pub(crate) async fn text_comes_back_as_it_went_in(fixture: StoreFixture) {
    let store = fixture.open().await;
    let odd = "'; DROP TABLE reservations; -- \" \\ % _ $1 ?1 \u{fe0f}\u{1f512} \u{202e}";
    let account = Account { issuer: odd.to_owned(), subject: format!("{odd}|{}", "x".repeat(400)) };
    let request = ReservationRequest { account: account.clone(), ..reservation("shop", "ada", "i-1") };
    store.reserve(&request).await.unwrap();
    assert_eq!(store.held_name(REGION, &host("shop")).await.unwrap().unwrap().account, account);
    let suspension = Suspension {
        id: odd.to_owned(),
        target: Suspended::Account(account),
        until: None,
        reason: odd.repeat(50),
        complaint: Some(odd.to_owned()),
        since: NOW,
        hostnames: vec![],
    };
    store.suspend(&suspension).await.unwrap();
    assert_eq!(store.suspensions(NOW).await.unwrap().list, [suspension]);
}

pub(crate) async fn the_end_of_time_does_no_harm(fixture: StoreFixture) {
    let store = fixture.open().await;
    let request =
        ReservationRequest { now: u64::MAX, endpoint: Endpoint::Tcp(1), ..reservation("-", "ada", "i-1") };
    store.reserve(&request).await.unwrap();
    assert_eq!(store.extend(REGION, &[lease("x", "ada", u64::MAX)], u64::MAX).await.unwrap(), [host("x")]);
    store.use_token(&Account::managed("ada"), "t-1", "k", u64::MAX, u64::MAX).await.unwrap();
    assert_eq!(store.prune(0).await.unwrap(), Pruned::default());
}

pub(crate) async fn a_call_goes_on_without_its_caller_and_on_any_runtime(fixture: StoreFixture) {
    let store = fixture.open().await;
    {
        let request = reservation("shop", "ada", "i-1");
        let call = store.reserve(&request);
        // One poll begins the call; then its caller is gone. (On a busy machine the call may be over by then.)
        let polled = tokio::time::timeout(std::time::Duration::ZERO, call).await;
        assert!(polled.is_err() || polled.is_ok_and(|reserved| reserved.is_ok()));
    }
    until_async("the name is reserved", async || {
        store.held_name(REGION, &host("shop")).await.unwrap().is_some()
    })
    .await;

    // A relay has a runtime a core; each of them comes and goes, and the connections are not theirs.
    for n in 0..6 {
        let store = store.clone();
        let lane = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                store.reserve(&reservation(&format!("n{n}"), "ada", "i-1")).await.unwrap()
            });
        });
        tokio::task::spawn_blocking(|| lane.join().unwrap()).await.unwrap();
    }
    assert_eq!(store.names(NOW).await.unwrap(), 7);
}
