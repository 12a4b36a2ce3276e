//! Speed and size: small counts in a usual run, times in a long one.

use crate::fixture::{
    Provider, against, client_of, client_problem, complaint, http_tunnel, judge, unix_now, until_enforced,
    until_open,
};
use adit_protocol::Account;
use adit_store::{Decision, Store, Suspended, Suspension};
use adit_testkit::{
    http::Consumer,
    postgres::Postgres,
    soak::{Record, scale, soaking},
};
use std::time::{Duration, Instant};

fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn complaints_are_enforced_in_both_regions_one_after_the_other() {
    let record = Record::begin("complaints are enforced on all relays of two regions");
    let provider = Provider::start().await;
    let (mut times, count) = (vec![], scale(10, 200));
    for n in 0..count {
        let name = format!("offender-{n}");
        let client =
            provider.client(if n % 2 == 0 { &provider.eu } else { &provider.us }, &name, &name).await;
        let begun = Instant::now();
        let filing = complaint(&format!("cpl-{n}"), against(&name), Decision::Acknowledged);
        let acknowledged = judge(&provider.store, &filing).await;
        until_enforced(&provider.store, &acknowledged).await;
        times.push(begun.elapsed());
        assert_eq!(client_problem(&client).await.code, "suspended");
    }
    let (p50, p99) = (at(&mut times, 0.5), at(&mut times, 0.99));
    if soaking() {
        assert!(p99 < Duration::from_secs(1), "p99 {p99:?}");
    }
    record.end(format!("{count} complaints, p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_suspensions_are_read_anew_at_once() {
    let record = Record::begin("suspensions are read anew");
    let url = Postgres::shared().database();
    let store = Store::open(&url.parse().unwrap()).unwrap();
    store.migrate().await.unwrap();
    let count = scale(300, 10_000);
    for n in 0..count {
        let suspension = Suspension {
            id: format!("cpl-{n}"),
            target: Suspended::Account(Account::managed(format!("offender-{n}"))),
            until: None,
            reason: "phishing".to_owned(),
            complaint: Some(format!("cpl-{n}")),
            since: unix_now(),
            hostnames: vec![format!("offender-{n}.eu.example.com")],
        };
        store.suspend(&suspension).await.unwrap();
    }
    let mut times = vec![];
    for _ in 0..20 {
        let begun = Instant::now();
        let read = store.suspensions(unix_now()).await.unwrap();
        let index = adit_relay::suspensions::Index::new(read, "eu.example.com");
        times.push(begun.elapsed());
        assert_eq!((index.version(), index.all().list.len() as u64), (count, count));
    }
    let p50 = at(&mut times, 0.5);
    if soaking() {
        assert!(p50 < Duration::from_millis(100), "{p50:?}");
    }
    record.end(format!("{count} suspensions, p50 {} ms", p50.as_millis()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_are_suspended_at_once_and_the_innocent_go_on() {
    let record = Record::begin("sessions are suspended at once");
    adit_testkit::process::raise_open_file_limit(scale(4_096, 16_384));
    let provider = Provider::start().await;
    let bob = provider.client(&provider.eu, "bob", "blog").await;
    let blog = provider.eu.host("blog");
    provider.eu.until_served(&blog).await;
    // A client has a session with each lane of each of two relays.
    let (rounds, clients) = (scale(1, 7), scale(5, 250));
    let (mut told, mut p50, mut p99) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let (words, growth) = suspend_at_once(&provider, &blog, round, clients).await;
        told.push(words);
        p50.push(growth[0]);
        p99.push(growth[1]);
    }
    drop(bob);
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (p50, p99) = (median(p50), median(p99));
    told.push(format!(
        "innocents' p50 grows by the factor {p50:.2}, p99 by {p99:.2} (median of {rounds} rounds)"
    ));
    record.end(told.join("; "));
}

/// Suspends the clients of one account. Returns a report, and the factors by which p50 and p99 of other accounts grew.
async fn suspend_at_once(
    provider: &Provider,
    blog: &str,
    round: usize,
    clients: usize,
) -> (String, [f64; 2]) {
    let account = format!("mallory-{round}");
    let mut offenders = vec![];
    for n in 0..clients {
        let spec = http_tunnel(provider.service.address(), &format!("{account}-{n}"));
        offenders.push(client_of(&provider.eu, &account).tunnel(spec).start().unwrap());
    }
    for offender in &offenders {
        until_open(offender).await;
    }
    let ask = async |times: &mut Vec<Duration>| {
        let begun = Instant::now();
        let answer = Consumer::plain(provider.eu.relays[0].http()).get(blog, "/").await.unwrap();
        assert_eq!(answer.status, 200, "an innocent is served");
        times.push(begun.elapsed());
    };
    let (mut before, mut during) = (vec![], vec![]);
    for _ in 0..scale(20, 500) {
        ask(&mut before).await;
    }
    let begun = Instant::now();
    let filing = complaint(&format!("cpl-{round}"), against(&account), Decision::Acknowledged);
    let acknowledged = judge(&provider.store, &filing).await;
    let enforced = until_enforced(&provider.store, &acknowledged);
    tokio::pin!(enforced);
    let mut took = None;
    for _ in 0..scale(20, 500) {
        tokio::select! {
            biased;
            () = &mut enforced, if took.is_none() => took = Some(begun.elapsed()),
            () = ask(&mut during) => {}
        }
    }
    if took.is_none() {
        enforced.await;
        took = Some(begun.elapsed());
    }
    for offender in &offenders {
        assert_eq!(client_problem(offender).await.code, "suspended");
    }
    let closed = provider.store.judge(&acknowledged.filing, unix_now()).await.unwrap().sessions_closed;
    assert!(closed >= clients as u64, "{closed}");
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let mut both = |share| (ms(at(&mut before, share)), ms(at(&mut during, share)));
    let (p50, p99) = (both(0.5), both(0.99));
    let words = format!(
        "{closed} sessions in {:.0} ms, innocents p50 {:.2} then {:.2} ms, p99 {:.1} then {:.1} ms",
        took.map_or(0.0, ms),
        p50.0,
        p50.1,
        p99.0,
        p99.1,
    );
    (words, [p50.1 / p50.0, p99.1 / p99.0])
}
