//! Redis holds much, too little, or what no relay of this version wrote.

use super::*;
use crate::cluster::registry::{RegistryError, redis::Redis};
use adit_testkit::redis::Redis as Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_snapshot_is_read_whole_while_it_changes() {
    const ROWS: usize = 3_000;
    let server = Server::start();
    let region = Region::of(&server);
    let [a, b]: [Relay; 2] = region.relays().await;
    let claims: Vec<Claim> =
        (0..ROWS).map(|n| a.claim(&format!("r{n}.example.com"), "ann", 1, "s1")).collect();
    a.beat(&claims).await;
    let (done, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(b));
    let (stop, at_work) = (Arc::clone(&done), Arc::clone(&busy));
    // Another relay takes and gives back a part of the endpoints all the time.
    let changes = tokio::spawn(async move {
        let mut generation = 1;
        while !stop.load(Ordering::Relaxed) {
            generation += 1;
            let number = generation as usize * 7 % ROWS;
            let claim = at_work.claim(&format!("r{number}.example.com"), "bob", generation, "s2");
            at_work.registry.claim(&claim).await.unwrap();
            if generation % 3 == 0 {
                at_work.registry.release(&claim).await;
            }
        }
    });
    let mut late = Vec::new();
    for number in 0..5 {
        let relay = region.silent_relay(&format!("late-{number}"));
        relay.registry.synced().await;
        late.push(relay);
    }
    done.store(true, Ordering::Relaxed);
    changes.await.unwrap();
    let rows =
        |relay: &Relay| -> Vec<_> { (0..ROWS).map(|n| relay.row(&format!("r{n}.example.com"))).collect() };
    // What it claimed is its own: the two that only listen agree with each other and with a last one.
    let last = region.silent_relay("last");
    last.registry.synced().await;
    let wanted = rows(&last);
    assert!(wanted.iter().flatten().count() > ROWS / 2);
    for relay in late.iter().chain([&*busy]) {
        until("all tables are the same", || rows(relay) == wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_are_lost_are_noticed() {
    let server = Server::start();
    let region = Region::of(&server);
    let [a, b]: [Serving; 2] = serving(&region).await;
    // What a follower that lags behind a trimmed stream finds: the next change is not the next version.
    for round in 0..3 {
        server.run("HINCRBY {eu.example.com}:rows :version 100");
        if round == 1 {
            server.run("DEL {eu.example.com}:changes");
        }
        let one = format!("after{round}.eu.example.com");
        a.claim(a.relay.claim(&one, "ann", 1, "s-after")).await.unwrap();
        until("the other sees it", || b.relay.row(&one).is_some()).await;
        // A row that changed without a word is right after the snapshot, too.
        assert!(server.run("HDEL {eu.example.com}:rows h0.eu.example.com").starts_with(':'));
        server.run("HINCRBY {eu.example.com}:rows :version 1");
        let end = Instant::now() + LONG;
        while !registry_is_full(&region, "late", 2).await {
            assert!(Instant::now() < end, "the relays do not announce it again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        until("the tables are full", || a.is_full(2) && b.is_full(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_harms_nobody() {
    let server = Server::start();
    let region = Region::of(&server);
    let [a, b]: [Serving; 2] = serving(&region).await;
    let watch = Watch::over(std::slice::from_ref(&a));
    let version = || -> u64 { server.run("HGET {eu.example.com}:rows :version").parse().unwrap() };
    let other =
        r#"{"endpoint":"other.example.com","account":{"issuer":"adit","subject":"x"},"instance":"i","#;
    let long = "9".repeat(20_000);
    let texts = [
        "row junk".to_owned(),
        "row {}".to_owned(),
        r#"row {"endpoint":1}"#.to_owned(),
        format!("row {long}"),
        "gone Not-A-Host".to_owned(),
        "beat []".to_owned(),
        "left ....".to_owned(),
        "what is-this".to_owned(),
    ];
    for text in &texts {
        // As a script does it: the version first. Others may come in between, which the stream then refuses.
        let added = (0..50).any(|_| {
            let next = version() + 1;
            let added = server.run(&format!("XADD {{eu.example.com}}:changes {next}-0 {text}"));
            server.run(&format!("HSET {{eu.example.com}}:rows :version {next}"));
            added.ends_with("-0")
        });
        assert!(added, "{text:.20}");
    }
    for (field, text) in
        [("junk.example.com", "junk"), ("h1.eu.example.com", "{}"), ("other.example.com", other)]
    {
        server.run(&format!("HSET {{eu.example.com}}:rows {field} {text}"));
    }
    server.run("HSET {eu.example.com}:relays ghost junk");
    let late = region.silent_relay("late");
    late.registry.synced().await;
    for unreadable in ["junk.example.com", "other.example.com"] {
        assert_eq!(late.row(unreadable), None);
    }
    // A claim is not kept from an endpoint by what is in its place.
    a.claim(a.relay.claim("junk.example.com", "ann", 1, "s-new")).await.unwrap();
    until("the others see it", || {
        b.relay.row("junk.example.com").is_some() && late.row("junk.example.com").is_some()
    })
    .await;
    drop(watch);
    until("all is as it was", || a.is_full(2) && b.is_full(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_restarted_under_its_name_inherits_no_sessions() {
    let server = Server::start();
    let region = Region::of(&server);
    let [a, b]: [Serving; 2] = serving(&region).await;
    a.beats.abort();
    // Killed: no release, no leave.
    drop(a);
    let again = Serving::new(region.relay("relay-1").await, Vec::new());
    assert!((0..HOSTS).all(|n| again.relay.row(&host(n)).is_some_and(|row| row.sessions.len() == 1)));
    until("the old sessions are gone", || {
        (0..HOSTS).all(|n| b.relay.row(&host(n)).is_some_and(|row| row.sessions.len() == 1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_without_relays_leaves_nothing_behind() {
    let server = Server::start();
    let region = Region::of(&server);
    let a = region.relay("relay-1").await;
    a.registry.claim(&a.claim("x.example.com", "ann", 1, "s1")).await.unwrap();
    a.beat(&[a.claim("x.example.com", "ann", 1, "s1")]).await;
    for key in ["rows", "changes", "relays"] {
        let left: u64 = server.run(&format!("PTTL {{eu.example.com}}:{key}"))[1..].parse().unwrap();
        assert!((1..=60_000).contains(&left), "{key}: {left}");
    }
    assert_eq!(server.run("DBSIZE"), ":3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_opens_a_server_and_is_never_shown() {
    let server = Server::start_with(&["--requirepass", "hush-hush"]);
    let me = "relay-1".parse().unwrap();
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}/0", server.port());
    let right = Redis::open(&with("hush-hush"), "eu.example.com", &me).unwrap();
    tokio::time::timeout(LONG, right.synced()).await.unwrap();
    assert!(!format!("{right:?}").contains("hush"), "{right:?}");
    let wrong = Redis::open(&with("wrong-hush"), "eu.example.com", &me).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), wrong.synced()).await.is_err());
    let invalid = Redis::open("redis://:hush-hush@/nowhere/at/all", "eu.example.com", &me).map(|_| ());
    assert!(matches!(invalid, Err(RegistryError::InvalidUrl)), "{invalid:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_rights_and_no_others_can_do_all() {
    let server = Server::start();
    let rights = "+evalsha +script +time +hget +hset +hdel +hexists +hlen +hincrby +hgetall +hscan +del +pexpire +xadd +xread";
    let user = format!("ACL SETUSER relay on >hush ~{{eu.example.com}}:* {rights}");
    assert_eq!(server.run(&user), "+OK");
    let url = format!("redis://relay:hush@127.0.0.1:{}/0", server.port());
    let region = Region::Redis { url, name: "eu.example.com".to_owned() };
    let [a, b]: [Serving; 2] = serving(&region).await;
    let taken = b.relay.claim("taken.eu.example.com", "bob", 2, "s-taken");
    b.claim(taken.clone()).await.unwrap();
    until("it is there", || a.relay.row("taken.eu.example.com").is_some()).await;
    b.release(&taken).await;
    until("it is gone", || a.relay.row("taken.eu.example.com").is_none()).await;
    a.beats.abort();
    a.relay.registry.leave().await;
    until("the relay is gone", || b.relay.row(&host(1)).unwrap().sessions.len() == 1).await;
    assert_eq!(server.run("ACL LOG"), "*0", "nothing was refused");
}

#[test]
fn calls_may_come_from_any_runtime_and_outlive_it() {
    let server = Server::start();
    let house = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let region = Region::of(&server);
    let a = house.block_on(region.relay("relay-1"));
    for number in 0..5 {
        // As a lane does it, which is gone afterwards.
        let lane = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let claim = a.claim(&host(number), "ann", 1, "s1");
        lane.block_on(async {
            a.registry.claim(&claim).await.unwrap();
            let other = a.claim("passing.eu.example.com", "ann", 1, "s1");
            a.registry.claim(&other).await.unwrap();
            a.registry.release(&other).await;
        });
    }
    house.block_on(async {
        let late = region.relay("late").await;
        assert_eq!(late.registry.table().rows(), 5);
        assert!(a.registry.is_connected());
    });
}
