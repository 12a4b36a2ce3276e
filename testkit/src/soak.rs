//! Long runs of the usual tests: `make soak` sets `SOAK=1`, and tests do up to a hundred times as much.
//!
//! The variable is not an `ADIT_` one, because the programs under test refuse those that they do not know.

use std::{env, fmt::Display, time::Instant};

/// Whether this is a long run.
pub fn soaking() -> bool {
    env::var_os("SOAK").is_some_and(|value| value == "1")
}

/// `usual`, or `long` in a long run.
pub fn scale<T>(usual: T, long: T) -> T {
    if soaking() { long } else { usual }
}

/// The record of a test in a long run: how much it did, and how long that took. `make soak` keeps the lines in
/// docs/soak.md. In a usual run nothing is printed: tests assert counts and order, never seconds.
#[derive(Debug)]
pub struct Record {
    test: &'static str,
    began: Instant,
}

impl Record {
    /// The test begins now.
    pub fn begin(test: &'static str) -> Self {
        Self { test, began: Instant::now() }
    }

    /// The test has passed, and this is what it did.
    pub fn end(self, did: impl Display) {
        if soaking() {
            println!("soak: {} | {did} | {:.1} s", self.test, self.began.elapsed().as_secs_f64());
        }
    }
}
