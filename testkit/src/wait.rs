//! Waiting for a state, never for a fixed time.

use std::{
    fmt::Debug,
    panic::Location,
    thread,
    time::{Duration, Instant},
};

/// How long a state may take on a busy machine before its test fails.
pub const MAX_WAIT: Duration = Duration::from_secs(120);

/// Pause between two checks of a state.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `state` holds.
///
/// Panics with `what` after [`MAX_WAIT`].
#[track_caller]
pub fn until(what: &str, state: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_within(MAX_WAIT, what, state)
}

/// As [`until`], with another limit.
#[track_caller]
pub fn until_within(
    limit: Duration,
    what: &str,
    mut state: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + limit;
        while !state() {
            assert!(Instant::now() < end, "{caller}: waited in vain: {what}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// As [`until`], for a state that has to be asked for.
#[track_caller]
pub fn until_async<F: Future<Output = bool>>(
    what: &str,
    mut state: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + MAX_WAIT;
        while !state().await {
            assert!(Instant::now() < end, "{caller}: waited in vain: {what}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Calls `attempt` until it succeeds, and returns its value. Every attempt is made to its end.
///
/// Panics with `what` and the last error after [`MAX_WAIT`].
#[track_caller]
pub fn until_ok<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + MAX_WAIT;
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(Instant::now() < end, "{caller}: waited in vain: {what}: {error:?}");
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Waits for a future.
///
/// Panics with `what` after [`MAX_WAIT`].
#[track_caller]
pub fn until_done<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let done = tokio::time::timeout(MAX_WAIT, future).await;
        done.unwrap_or_else(|_| panic!("{caller}: waited in vain: {what}"))
    }
}

/// As [`until`], but blocks the calling thread.
#[track_caller]
pub fn block_until(what: &str, mut state: impl FnMut() -> bool) {
    let end = Instant::now() + MAX_WAIT;
    while !state() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_is_returned_by_the_first_attempt_that_succeeds() {
        let mut attempts = 0..;
        let value = until_ok("the third attempt succeeds", || {
            let attempt = attempts.next();
            async move { attempt.filter(|attempt| *attempt == 2).ok_or("too early") }
        });
        assert_eq!(value.await, 2);
    }

    #[tokio::test]
    #[should_panic(expected = "waited in vain: pigs fly")]
    async fn a_state_that_never_holds_fails_with_its_name() {
        until_within(Duration::from_millis(30), "pigs fly", || false).await;
    }
}
