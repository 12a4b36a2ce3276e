//! Counts stay exact when many threads use an account at once.

use super::{AccountUsage, Accounts, Limits};
use adit_protocol::{Account, Endpoint};
use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const THREADS: usize = 8;

/// Runs `work` in all threads at once.
fn at_once(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}

fn account_with(limits: &Limits) -> Arc<AccountUsage> {
    Accounts::default().get(&Account::managed("me"), limits)
}

#[test]
fn the_limit_is_never_passed_and_a_free_place_is_never_refused() {
    let limits = Limits { streams: 5, ..Limits::default() };
    let account = account_with(&limits);
    let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    at_once(|_| {
        for _ in 0..2_000 {
            if let Ok(permit) = account.try_stream() {
                most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                held.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 5);
    assert_eq!(account.streams(), 0);

    // With as many places as threads, nobody is ever refused.
    let account = account_with(&Limits { streams: THREADS as u32, ..Limits::default() });
    at_once(|_| (0..2_000).for_each(|_| drop(account.try_stream().unwrap())));
}

#[test]
fn sessions_and_tunnels_are_counted_exactly() {
    let limits = Limits { sessions: 10, tunnels: 3, ..Limits::default() };
    let account = account_with(&limits);
    let permits = std::sync::Mutex::new((Vec::new(), Vec::new()));
    at_once(|thread| {
        let sessions: Vec<_> = (0..10).filter_map(|_| account.try_session(0).ok()).collect();
        let tunnels: Vec<_> = (0..10)
            .filter_map(|port| account.try_tunnel(&Endpoint::Tcp(1 + (port + thread as u16) % 10), 0).ok())
            .collect();
        let mut permits = permits.lock().unwrap();
        permits.0.extend(sessions);
        permits.1.extend(tunnels);
    });
    let (sessions, tunnels) = permits.into_inner().unwrap();
    assert_eq!((sessions.len(), account.sessions(), account.tunnel_count()), (10, 10, 3));
    drop((sessions, tunnels));
    assert_eq!((account.sessions(), account.tunnel_count()), (0, 0));
}

#[test]
fn exactly_as_many_requests_are_let_through_as_there_are() {
    let account = account_with(&Limits { requests_per_second: 1000, ..Limits::default() });
    let (now, passed) = (Instant::now(), AtomicU64::new(0));
    at_once(|_| {
        for _ in 0..500 {
            passed.fetch_add(u64::from(account.check_request(now).is_ok()), Ordering::Relaxed);
        }
    });
    assert_eq!(passed.into_inner(), 1000);
    let mut told = 0;
    let mut seconds = 0;
    while let Some(refused) = account.take_refused(now + Duration::from_secs(seconds)) {
        told += refused.count;
        seconds += 1;
    }
    assert_eq!(told, THREADS as u64 * 500 - 1000);
}

#[test]
fn each_refusal_is_told_by_one_notice() {
    let account = account_with(&Limits { body_bytes: Some(1), ..Limits::default() });
    let (start, told) = (Instant::now(), AtomicU64::new(0));
    at_once(|thread| {
        for second in 0..500 {
            assert!(account.check_body(2).is_err());
            let now = start + Duration::from_secs(second * THREADS as u64 + thread as u64);
            told.fetch_add(account.take_refused(now).map_or(0, |refused| refused.count), Ordering::Relaxed);
        }
    });
    let end = start + Duration::from_secs(1_000_000);
    let rest = account.take_refused(end).map_or(0, |refused| refused.count);
    assert_eq!(told.into_inner() + rest, THREADS as u64 * 500);
}

#[test]
fn unread_bytes_are_counted_exactly_beside_other_streams() {
    let account = account_with(&Limits::default());
    at_once(|thread| {
        let own = account.buffer();
        for round in 0..1_000 {
            own.set(1 + (round * 7919 + thread * 104_729) % 70_000);
            own.set(0);
        }
        own.set(100_000);
        drop(own);
    });
    assert_eq!(account.buffered_bytes(), 0);
}

#[test]
fn no_more_streams_are_shed_than_the_limit_asks_for() {
    const STREAM: usize = 1 << 20;
    let account = account_with(&Limits { buffer_bytes: 16 << 20, ..Limits::default() });
    let streams: Vec<_> = (0..THREADS * 8).map(|_| account.buffer()).collect();
    at_once(|thread| {
        for stream in &streams[thread * 8..][..8] {
            for part in 1..=STREAM / 65_536 {
                stream.set(part * 65_536);
            }
        }
    });
    let unread: u64 = streams.iter().filter(|stream| !stream.is_shed()).map(|stream| stream.unread()).sum();
    assert_eq!(account.buffered_bytes(), unread, "all counts are whole grains");
    // A stream that was shed before it had its whole MiB made room for less than a MiB, so that a few more were shed.
    assert!(unread <= 16 << 20 && unread > 15 << 20, "{unread}");
}

#[test]
fn accounts_that_come_and_go_are_never_counted_twice() {
    let accounts = Accounts::default();
    let limits = Limits { sessions: 1, requests_per_second: 1_000_000, ..Limits::default() };
    let inside = AtomicUsize::new(0);
    at_once(|thread| {
        for _ in 0..2_000 {
            if thread == 0 {
                accounts.forget_idle(Instant::now());
                continue;
            }
            if let Ok(permit) = accounts.get(&Account::managed("me"), &limits).try_session(0) {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two sessions at once");
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        }
    });
    accounts.forget_idle(Instant::now());
    assert!(accounts.is_empty());
}

/// Prints what a request costs; asserts counts only. `cargo test -p adit-relay --lib -- a_request_is_cheap --nocapture`
#[test]
fn a_request_is_cheap_to_count() {
    const ROUNDS: u32 = 100_000;
    let limits = Limits { requests_per_second: 10_000_000, streams: 1_000_000, ..Limits::default() };
    let account = account_with(&limits);
    let now = Instant::now();
    for _ in 0..ROUNDS {
        let permit = account.try_stream().unwrap();
        let buffer = account.buffer();
        account.check_request(now).unwrap();
        buffer.set(1024);
        buffer.set(0);
        drop((permit, buffer));
    }
    println!("a request: {} ns alone", now.elapsed().as_nanos() / u128::from(ROUNDS));
    let start = Instant::now();
    at_once(|thread| {
        for _ in 0..ROUNDS * u32::from(thread < 2) {
            let permit = account.try_stream().unwrap();
            account.check_body(1).unwrap();
            drop(permit);
        }
    });
    println!("a stream: {} ns beside another lane", start.elapsed().as_nanos() / u128::from(ROUNDS));
    assert_eq!((account.streams(), account.buffered_bytes()), (0, 0));
    assert_eq!(account.take_refused(Instant::now()), None);
}
