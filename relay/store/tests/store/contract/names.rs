//! Ownership of names, leases and quarantines.

use crate::fixture::{NOW, REGION, StoreFixture, at, host, lease, reservation};
use adit_protocol::{Account, Endpoint, Kind};
use adit_store::{LEASE_SECONDS, Lease, Origin, QUARANTINE_SECONDS, ReservationRequest, ReserveError};

pub(crate) async fn a_name_belongs_to_the_account_that_had_it_first(fixture: StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(store.held_name(REGION, &host("shop")).await.unwrap(), None);
    assert_eq!(store.names(NOW).await.unwrap(), 0);
    assert_eq!(store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation, 1);
    assert!(matches!(store.reserve(&reservation("shop", "bob", "i-2")).await, Err(ReserveError::Taken)));
    let foreign = ReservationRequest {
        account: Account { issuer: "https://id.example".to_owned(), subject: "ada".to_owned() },
        ..reservation("shop", "ada", "i-1")
    };
    assert!(
        matches!(store.reserve(&foreign).await, Err(ReserveError::Taken)),
        "another issuer's ada is another"
    );
    assert_eq!(store.reserve(&reservation("blog", "bob", "i-2")).await.unwrap().generation, 1);

    let held = fixture.open().await.held_name(REGION, &host("shop")).await.unwrap().unwrap();
    assert_eq!((held.account, held.instance.as_str()), (Account::managed("ada"), "i-1"));
    assert_eq!((held.generation, held.leased_until), (1, NOW + LEASE_SECONDS));
    assert_eq!(held.quarantine_until, NOW + LEASE_SECONDS + QUARANTINE_SECONDS);
    assert_eq!(store.names(NOW).await.unwrap(), 2);
}

pub(crate) async fn the_newest_instance_has_a_new_generation(fixture: StoreFixture) {
    let (store, other_relay) = (fixture.open().await, fixture.open().await);
    assert_eq!(store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation, 1);
    assert_eq!(
        other_relay.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation,
        1,
        "its second relay"
    );
    assert_eq!(store.reserve(&reservation("shop", "ada", "i-2")).await.unwrap().generation, 2);
    assert_eq!(other_relay.reserve(&reservation("shop", "ada", "i-2")).await.unwrap().generation, 2);
    assert_eq!(
        store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap().generation,
        3,
        "generations never go back"
    );
}

pub(crate) async fn an_unused_name_is_free_after_lease_and_quarantine(fixture: StoreFixture) {
    let store = fixture.open().await;
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    let free = NOW + LEASE_SECONDS + QUARANTINE_SECONDS;
    let early = store.reserve(&at(free - 1, reservation("shop", "bob", "i-2"))).await;
    assert!(matches!(early, Err(ReserveError::Taken)));
    assert_eq!(store.names(free - 1).await.unwrap(), 1);
    assert_eq!(store.names(free).await.unwrap(), 0);
    let generation = store.reserve(&at(free, reservation("shop", "bob", "i-2"))).await.unwrap().generation;
    assert_eq!(generation, 2, "a new owner is never mistaken for the last one");
    let late = store.reserve(&at(free, reservation("shop", "ada", "i-1"))).await;
    assert!(matches!(late, Err(ReserveError::Taken)), "the name has a new owner");
}

pub(crate) async fn a_released_name_is_closed_for_a_week_to_everyone_else(fixture: StoreFixture) {
    let store = fixture.open().await;
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    assert!(store.release(REGION, &lease("shop", "ada", 1), NOW + 60).await.unwrap());
    let held = store.held_name(REGION, &host("shop")).await.unwrap().unwrap();
    assert_eq!((held.leased_until, held.quarantine_until), (NOW + 60, NOW + 60 + QUARANTINE_SECONDS));

    let end = NOW + 60 + QUARANTINE_SECONDS;
    assert!(matches!(
        store.reserve(&at(end - 1, reservation("shop", "bob", "i"))).await,
        Err(ReserveError::Taken)
    ));
    let back = store.reserve(&at(end - 1, reservation("shop", "ada", "i-1"))).await.unwrap();
    assert_eq!(back.generation, 1, "the same owner with the same instance goes on");
    assert!(store.release(REGION, &lease("shop", "ada", 1), NOW + 120).await.unwrap());
    let end = NOW + 120 + QUARANTINE_SECONDS;
    assert_eq!(store.reserve(&at(end, reservation("shop", "bob", "i"))).await.unwrap().generation, 2);
}

pub(crate) async fn what_an_earlier_owner_does_changes_nothing(fixture: StoreFixture) {
    let store = fixture.open().await;
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    store.reserve(&reservation("shop", "ada", "i-2")).await.unwrap();
    let before = store.held_name(REGION, &host("shop")).await.unwrap();
    for stale in
        [lease("shop", "ada", 1), lease("shop", "ada", 3), lease("shop", "bob", 2), lease("none", "ada", 1)]
    {
        assert!(!store.release(REGION, &stale, NOW + 60).await.unwrap(), "{stale:?}");
        assert_eq!(
            store.extend(REGION, std::slice::from_ref(&stale), NOW + 60).await.unwrap(),
            [stale.endpoint]
        );
    }
    assert_eq!(store.held_name(REGION, &host("shop")).await.unwrap(), before);
    assert_eq!(store.held_name(REGION, &host("none")).await.unwrap(), None);
}

pub(crate) async fn leases_are_extended_by_hundreds_and_the_lost_are_told(fixture: StoreFixture) {
    let store = fixture.open().await;
    let mut leases = Vec::new();
    for n in 0..1_203 {
        let name = format!("n{n}");
        store.reserve(&reservation(&name, "ada", "i-1")).await.unwrap();
        leases.push(lease(&name, "ada", 1));
    }
    for lost in [0, 500, 1_202] {
        leases[lost].generation = 9;
    }
    let lost = store.extend(REGION, &leases, NOW + 60).await.unwrap();
    assert_eq!(lost, [host("n0"), host("n500"), host("n1202")]);
    for (name, leased_until) in
        [("n0", NOW + 300), ("n1", NOW + 360), ("n499", NOW + 360), ("n1201", NOW + 360)]
    {
        let held = store.held_name(REGION, &host(name)).await.unwrap().unwrap();
        assert_eq!(held.leased_until, leased_until, "{name}");
        assert_eq!(held.quarantine_until, leased_until + QUARANTINE_SECONDS, "{name}");
    }
    assert_eq!(store.extend(REGION, &[], NOW).await.unwrap(), []);
    let twice = [leases[1].clone(), leases[1].clone()];
    assert_eq!(store.extend(REGION, &twice, NOW + 120).await.unwrap(), []);
}

pub(crate) async fn an_extension_never_shortens_a_lease(fixture: StoreFixture) {
    let store = fixture.open().await;
    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    let leases = [lease("shop", "ada", 1)];
    store.extend(REGION, &leases, NOW + 100).await.unwrap();
    let before = store.held_name(REGION, &host("shop")).await.unwrap();
    assert_eq!(store.extend(REGION, &leases, NOW + 40).await.unwrap(), [], "another relay's clock is behind");
    assert_eq!(store.held_name(REGION, &host("shop")).await.unwrap(), before);
}

pub(crate) async fn an_account_holds_no_more_names_than_its_limit(fixture: StoreFixture) {
    let store = fixture.open().await;
    let limited =
        |name: &str, now| ReservationRequest { names_limit: 2, ..at(now, reservation(name, "ada", "i-1")) };
    store.reserve(&limited("a", NOW)).await.unwrap();
    store.reserve(&limited("b", NOW)).await.unwrap();
    let third = store.reserve(&limited("c", NOW)).await;
    assert!(matches!(third, Err(ReserveError::TooManyNames { limit: 2 })));
    assert_eq!(third.unwrap_err().to_string(), "the account holds 2 names, its limit");
    assert_eq!(store.held_name(REGION, &host("c")).await.unwrap(), None);

    store.reserve(&limited("a", NOW)).await.expect("a name that it holds is no further one");
    let none = ReservationRequest { names_limit: 0, ..reservation("a", "ada", "i-1") };
    store.reserve(&none).await.expect("a lower limit takes nothing away");
    store
        .reserve(&ReservationRequest { names_limit: 1, ..reservation("c", "bob", "i-2") })
        .await
        .expect("others have limits of their own");
    let none = ReservationRequest { names_limit: 0, ..reservation("d", "eve", "i-3") };
    assert!(matches!(store.reserve(&none).await, Err(ReserveError::TooManyNames { limit: 0 })));

    store.release(REGION, &lease("a", "ada", 1), NOW).await.unwrap();
    let end = NOW + QUARANTINE_SECONDS;
    let during = store.reserve(&limited("d", end - 1)).await;
    assert!(
        matches!(during, Err(ReserveError::TooManyNames { .. })),
        "a name in quarantine keeps others out still"
    );
    store.reserve(&limited("d", end)).await.unwrap();
}

pub(crate) async fn drawn_names_count_apart_and_can_be_had_again(fixture: StoreFixture) {
    let store = fixture.open().await;
    let limited = |origin, name: &str, now| ReservationRequest {
        origin,
        names_limit: 2,
        ..at(now, reservation(name, "ada", "i-1"))
    };
    let drawn = |name, now| limited(Origin::Drawn, name, now);
    for name in ["otter", "heron"] {
        store.reserve(&drawn(name, NOW)).await.unwrap();
    }
    for name in ["shop", "blog"] {
        store.reserve(&limited(Origin::Chosen, name, NOW)).await.expect("what was drawn keeps no choice out");
    }
    let third = store.reserve(&drawn("lynx", NOW)).await;
    assert!(matches!(third, Err(ReserveError::TooManyNames { limit: 2 })));
    store.reserve(&limited(Origin::Chosen, "otter", NOW)).await.expect("it is the account's own");
    let third = store.reserve(&limited(Origin::Chosen, "wiki", NOW)).await;
    assert!(matches!(third, Err(ReserveError::TooManyNames { .. })), "to ask for a drawn name makes no room");

    let idle = async |now| store.idle_names(REGION, &Account::managed("ada"), Kind::Http, now).await.unwrap();
    let over = NOW + LEASE_SECONDS;
    assert_eq!(idle(over - 1).await, [], "they are in use");
    store.release(REGION, &lease("heron", "ada", 1), NOW + 10).await.unwrap();
    assert_eq!(idle(NOW + 10).await, [host("heron")]);
    assert_eq!(
        idle(over).await,
        [host("heron"), host("otter")],
        "the oldest first, and none that was chosen"
    );
    assert_eq!(idle(over + QUARANTINE_SECONDS).await, [], "anyone may have them");

    let again = |instance, now| ReservationRequest {
        origin: Origin::DrawnBefore,
        names_limit: 2,
        ..at(now, reservation("heron", "ada", instance))
    };
    let had = store.reserve(&again("i-2", over)).await.unwrap();
    assert_eq!(had.generation, 2, "the same name, a new tunnel");
    let late = store.reserve(&again("i-3", over)).await;
    assert!(matches!(late, Err(ReserveError::Taken)), "of two that take it up one has it");
    assert_eq!(idle(over).await, [host("otter")]);
}

pub(crate) async fn a_drawn_name_becomes_a_chosen_one_while_there_is_room(fixture: StoreFixture) {
    let store = fixture.open().await;
    let with_origin =
        |origin, name: &str| ReservationRequest { origin, names_limit: 1, ..reservation(name, "ada", "i-1") };
    store.reserve(&with_origin(Origin::Drawn, "otter")).await.unwrap();
    store.reserve(&with_origin(Origin::Chosen, "otter")).await.unwrap();
    store.reserve(&with_origin(Origin::Drawn, "heron")).await.expect("no drawn name is left");
    store.reserve(&with_origin(Origin::Drawn, "otter")).await.expect("its own");
    let second = store.reserve(&with_origin(Origin::Chosen, "shop")).await;
    assert!(matches!(second, Err(ReserveError::TooManyNames { .. })), "the otter stays a chosen one");
    let idle =
        store.idle_names(REGION, &Account::managed("ada"), Kind::Http, NOW + LEASE_SECONDS).await.unwrap();
    assert_eq!(idle, [host("heron")]);
}

pub(crate) async fn idle_ports_and_idle_hosts_are_told_apart(fixture: StoreFixture) {
    let store = fixture.open().await;
    let drawn =
        |endpoint| ReservationRequest { endpoint, origin: Origin::Drawn, ..reservation("-", "ada", "i-1") };
    store.reserve(&drawn(Endpoint::Tcp(20_022))).await.unwrap();
    store.reserve(&drawn(host("otter"))).await.unwrap();
    let idle = async |region, account: &str, kind| {
        store.idle_names(region, &Account::managed(account), kind, NOW + LEASE_SECONDS).await.unwrap()
    };
    assert_eq!(idle(REGION, "ada", Kind::Tcp).await, [Endpoint::Tcp(20_022)]);
    assert_eq!(idle(REGION, "ada", Kind::Http).await, [host("otter")]);
    assert_eq!(idle("us.example.com", "ada", Kind::Tcp).await, []);
    assert_eq!(idle(REGION, "bob", Kind::Http).await, []);
}

pub(crate) async fn ports_belong_to_a_region_and_host_names_to_the_provider(fixture: StoreFixture) {
    let store = fixture.open().await;
    let port = |account: &str, region: &str| ReservationRequest {
        endpoint: Endpoint::Tcp(20_022),
        region: region.to_owned(),
        ..reservation("-", account, "i-1")
    };
    store.reserve(&port("ada", "eu.example.com")).await.unwrap();
    store.reserve(&port("bob", "us.example.com")).await.expect("the same port of another region is another");
    assert!(matches!(store.reserve(&port("bob", "eu.example.com")).await, Err(ReserveError::Taken)));
    let held = store.held_name("us.example.com", &Endpoint::Tcp(20_022)).await.unwrap().unwrap();
    assert_eq!(held.account, Account::managed("bob"));
    let ada = Lease { endpoint: Endpoint::Tcp(20_022), account: Account::managed("ada"), generation: 1 };
    assert_eq!(
        store.extend("us.example.com", std::slice::from_ref(&ada), NOW).await.unwrap(),
        [Endpoint::Tcp(20_022)]
    );
    assert!(!store.release("us.example.com", &ada, NOW).await.unwrap());
    assert!(store.release("eu.example.com", &ada, NOW).await.unwrap());

    store.reserve(&reservation("shop", "ada", "i-1")).await.unwrap();
    let elsewhere =
        ReservationRequest { region: "us.example.com".to_owned(), ..reservation("shop", "bob", "i-2") };
    assert!(matches!(store.reserve(&elsewhere).await, Err(ReserveError::Taken)));
}
