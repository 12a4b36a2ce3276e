//! Redis is flushed, gone, empty when it is back, or frozen.

use super::*;
use crate::cluster::registry::RegistryError;
use adit_testkit::redis::Redis as Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_registry_is_refilled_and_no_table_loses_a_route() {
    let server = Server::start();
    let region = Region::of(&server);
    let relays: [Serving; 3] = serving(&region).await;
    let watch = Watch::over(&relays);
    for round in 0..2 {
        server.flush();
        let flushed = Instant::now();
        let mut looks = 0;
        while !registry_is_full(&region, &format!("late-{round}-{looks}"), 3).await {
            assert!(flushed.elapsed() < Duration::from_secs(60), "not full again");
            looks += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("full again after {:?}", flushed.elapsed());
    }
    // The time that old rows are kept is over: nothing hangs on it.
    tokio::time::sleep(crate::cluster::table::RELAY_TTL + Duration::from_secs(1)).await;
    watch.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_after_a_flush_ends_everywhere() {
    let server = Server::start();
    let region = Region::of(&server);
    let [a, b]: [Serving; 2] = serving(&region).await;
    server.flush();
    let claim = a.claims.lock().unwrap()[0].clone();
    a.release(&claim).await;
    let left = || [&a, &b].map(|relay| relay.relay.row(&host(0)).map(|row| row.sessions.len()));
    until("the session is gone", || left() == [Some(1), Some(1)]).await;
    a.relay.registry.leave().await;
    a.beats.abort();
    until("the relay is gone", || {
        (0..HOSTS).all(|n| b.relay.row(&host(n)).is_some_and(|row| row.sessions.len() == 1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_tables_stay_and_claims_are_refused_at_once() {
    let mut server = Server::start();
    let region = Region::of(&server);
    let relays: [Serving; 2] = serving(&region).await;
    let watch = Watch::over(&relays);
    let [a, b] = &relays;
    server.kill();
    until("the loss is seen", || !a.relay.registry.is_connected()).await;
    let refused = a.claim(a.relay.claim("new.eu.example.com", "bob", 1, "s-new")).await;
    // Not asked at all.
    assert!(matches!(refused, Err(ClaimError::Unavailable(RegistryError::Disconnected))), "{refused:?}");
    assert_eq!(a.relay.row("new.eu.example.com"), None);

    // A resume ticket admits a session without Redis; one ends without it.
    let resumed = a.relay.claim("known.eu.example.com", "ann", 9, "s-resumed");
    a.relay.registry.admit(&resumed).unwrap();
    a.claims.lock().unwrap().push(resumed);
    assert_eq!(a.relay.sees("known.eu.example.com").as_deref(), Some("ann: s-resumed@relay-1"));
    let extra = host(HOSTS - 1);
    let ended = a.relay.claim(&extra, "ann", 1, "s-relay-1");
    // Longer than the relays believe in each other: it does not count while nobody can be heard.
    tokio::time::sleep(crate::cluster::table::RELAY_TTL + Duration::from_secs(2)).await;
    watch.end();
    a.release(&ended).await;
    assert_eq!(a.relay.sees(&extra).as_deref(), Some("ann: s-relay-2@relay-2"));

    server.restart();
    for relay in &relays {
        until("all is right again", || {
            relay.relay.sees("known.eu.example.com").as_deref() == Some("ann: s-resumed@relay-1")
                && relay.relay.sees(&extra).as_deref() == Some("ann: s-relay-2@relay-2")
                && (0..HOSTS - 1)
                    .all(|n| relay.relay.row(&host(n)).is_some_and(|row| row.sessions.len() == 2))
        })
        .await;
    }
    let again = b.relay.claim("new.eu.example.com", "bob", 1, "s-new");
    let end = Instant::now() + LONG;
    while let Err(error) = b.claim(again.clone()).await {
        assert!(matches!(error, ClaimError::Unavailable(_)) && Instant::now() < end, "{error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_like_one_that_is_gone() {
    let mut server = Server::start();
    let region = Region::of(&server);
    let relays: [Serving; 2] = serving(&region).await;
    let watch = Watch::over(&relays);
    let [a, b] = &relays;
    server.stop();
    let frozen = Instant::now();
    // The first claims are under way when it freezes; each ends in time, and is refused.
    let mut number = 0;
    while a.relay.registry.is_connected() || number < 5 {
        assert!(frozen.elapsed() < Duration::from_secs(60), "the hang is not seen");
        let asked = Instant::now();
        let claim = a.relay.claim(&format!("late{number}.eu.example.com"), "bob", 1, "s-late");
        let refused = a.claim(claim).await;
        assert!(matches!(refused, Err(ClaimError::Unavailable(_))), "{refused:?}");
        // It is a second, and longer only as far as the machine is busy; without a bound it would be for ever.
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
        number += 1;
    }
    tokio::time::sleep(crate::cluster::table::RELAY_TTL + Duration::from_secs(3)).await;
    server.cont();
    for relay in [a, b] {
        until("there is a link", || relay.relay.registry.is_connected()).await;
    }
    // What was asked before the freeze may be done after it: nobody holds these sessions, and they go again.
    for relay in [a, b] {
        until("late claims are taken back", || {
            (0..number).all(|n| relay.relay.row(&format!("late{n}.eu.example.com")).is_none())
        })
        .await;
    }
    let end = Instant::now() + LONG;
    let mut looks = 0;
    loop {
        let late = region.silent_relay(&format!("late-{looks}"));
        late.registry.synced().await;
        let strays = (0..number).filter(|n| late.row(&format!("late{n}.eu.example.com")).is_some()).count();
        if strays == 0 {
            break;
        }
        assert!(Instant::now() < end, "{strays} strays stay in Redis");
        looks += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    watch.end();
    assert!(registry_is_full(&region, "last", 2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_made_anew() {
    let server = Server::start();
    let region = Region::of(&server);
    let relays: [Serving; 2] = serving(&region).await;
    let watch = Watch::over(&relays);
    for round in 0..5 {
        assert!(server.run("CLIENT KILL TYPE normal SKIPME yes").starts_with(':'));
        let one = format!("cut{round}.eu.example.com");
        let claim = relays[0].relay.claim(&one, "ann", 1, "s-cut");
        until("there is a link", || relays[0].relay.registry.is_connected()).await;
        let end = Instant::now() + LONG;
        while let Err(error) = relays[0].claim(claim.clone()).await {
            assert!(matches!(error, ClaimError::Unavailable(_)), "{error:?}");
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        until("the other sees it", || relays[1].relay.row(&one).is_some()).await;
    }
    watch.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_starts_without_redis_and_gets_the_table_later() {
    let mut server = Server::start();
    let region = Region::of(&server);
    server.kill();
    let early = region.silent_relay("early");
    let refused = early.registry.claim(&early.claim("x.example.com", "ann", 1, "s1")).await;
    assert!(matches!(refused, Err(ClaimError::Unavailable(_))), "{refused:?}");
    assert!(tokio::time::timeout(Duration::from_millis(200), early.registry.synced()).await.is_err());
    server.restart();
    tokio::time::timeout(LONG, early.registry.synced()).await.unwrap();
    early.registry.claim(&early.claim("x.example.com", "ann", 1, "s1")).await.unwrap();
}
