//! What becomes of the region's tables when Redis fails, or holds what it should not.

mod chaos;
mod content;
mod outage;

use crate::cluster::registry::{
    BEAT_INTERVAL, Claim, ClaimError,
    contract::{Region, Relay},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const HOSTS: usize = 200;
/// The longest that a state may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn host(number: usize) -> String {
    format!("h{number}.eu.example.com")
}

/// A relay with its service loop: it beats with all that it serves.
struct Serving {
    relay: Arc<Relay>,
    claims: Arc<Mutex<Vec<Claim>>>,
    beats: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

impl Serving {
    fn new(relay: Relay, claims: Vec<Claim>) -> Self {
        let (relay, claims) = (Arc::new(relay), Arc::new(Mutex::new(claims)));
        let (beating, listed) = (Arc::clone(&relay), Arc::clone(&claims));
        let beats = tokio::spawn(async move {
            loop {
                let claims = listed.lock().unwrap().clone();
                // While Redis is away it says so; the next beat makes up for it.
                let _ = beating.registry.beat(&beating.record(), &claims).await;
                tokio::time::sleep(BEAT_INTERVAL).await;
            }
        });
        Self { relay, claims, beats }
    }

    async fn claim(&self, claim: Claim) -> Result<(), ClaimError> {
        self.relay.registry.claim(&claim).await?;
        self.claims.lock().unwrap().push(claim);
        Ok(())
    }

    async fn release(&self, claim: &Claim) {
        self.claims.lock().unwrap().retain(|held| held != claim);
        self.relay.registry.release(claim).await;
    }

    /// Whether all hosts have a session on each of the relays.
    fn is_full(&self, relays: usize) -> bool {
        (0..HOSTS).all(|number| self.relay.row(&host(number)).is_some_and(|row| row.sessions.len() == relays))
    }
}

/// Relays with a session for each host on each of them.
async fn serving<const N: usize>(region: &Region) -> [Serving; N] {
    let relays: [Relay; N] = region.relays().await;
    let mut all = Vec::new();
    for relay in relays {
        let claims: Vec<Claim> = (0..HOSTS)
            .map(|number| relay.claim(&host(number), "ann", 1, &format!("s-{}", relay.me)))
            .collect();
        for claim in &claims {
            relay.registry.claim(claim).await.unwrap();
        }
        all.push(Serving::new(relay, claims));
    }
    let all: [Serving; N] = all.try_into().ok().unwrap();
    until("all tables are full", || all.iter().all(|relay| relay.is_full(N))).await;
    all
}

/// Waits for a state.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks at the tables all the time, and remembers whether any lacked a session for a moment.
struct Watch {
    lacked: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Watch {
    fn over(relays: &[Serving]) -> Self {
        let lacked: Arc<Mutex<Option<String>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let relays_seen: Vec<Arc<Relay>> = relays.iter().map(|serving| Arc::clone(&serving.relay)).collect();
        let (seen, over) = (Arc::clone(&lacked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                for (relay, number) in relays_seen.iter().flat_map(|r| (0..HOSTS).map(move |n| (r, n))) {
                    let row = relay.row(&host(number));
                    if row.as_ref().is_none_or(|row| row.sessions.len() < relays_seen.len()) {
                        let text = format!("{} saw {row:?} of {}", relay.me, host(number));
                        seen.lock().unwrap().get_or_insert(text);
                    }
                }
                looks += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            looks
        });
        Self { lacked, stop, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.thread.take().unwrap().join().unwrap();
        assert!(looks > 0);
        assert_eq!(*self.lacked.lock().unwrap(), None);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whether Redis has all rows with a session of each relay, as a relay sees that comes now.
async fn registry_is_full(region: &Region, name: &str, relays: usize) -> bool {
    let late = region.silent_relay(name);
    late.registry.synced().await;
    (0..HOSTS).all(|number| late.row(&host(number)).is_some_and(|row| row.sessions.len() == relays))
}
