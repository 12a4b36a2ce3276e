//! Waiting for a state, never for a fixed time.

use std::time::{Duration, Instant};

/// How long a state may take on a busy machine before its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `state` holds.
///
/// Panics with `what` when it does not within a minute.
#[track_caller]
pub fn until(what: &str, state: impl FnMut() -> bool) -> impl Future<Output = ()> {
    until_within(PATIENCE, what, state)
}

/// As [`until`], with another patience.
#[track_caller]
pub fn until_within(
    patience: Duration,
    what: &str,
    mut state: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + patience;
        while !state() {
            assert!(Instant::now() < end, "{caller}: waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Lets this process have as many files open as the system allows it. Tests with thousands of consumers need it.
///
/// Panics when that is fewer than `least`.
pub fn open_files(least: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may be raised to the hard one");
    assert!(limit.maximum.is_none_or(|most| most >= least), "this test needs {least} open files: {limit:?}");
}
