//! Whether a session carries bulk: something that whoever comes next on it would wait behind.
//!
//! A session's frames go through one TCP connection, and through one thread at either end. Beside a download, a small answer
//! waits for what the download has on its way: most of a millisecond on a fast line, tens of them on a slow one.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// For how long a finding holds.
const INTERVAL: Duration = Duration::from_millis(100);
/// What one stream may move in that time as a small exchange, in bytes both ways.
const SMALL_BYTES: u64 = 16 * 1024;
/// How many bytes a second beyond small exchanges are bulk: what a line of 1 Mbit/s carries.
const BYTES_PER_SECOND: u64 = 128 * 1024;

/// One session's finding. It is made by who asks, so that a session for which nobody asks costs nothing.
#[derive(Debug)]
pub(super) struct BulkDetector {
    last: Mutex<Look>,
    found: AtomicBool,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    bytes: u64,
    streams: u64,
}

impl BulkDetector {
    /// A session that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self { last: Mutex::new(Look { at: now, bytes: 0, streams: 0 }), found: AtomicBool::new(false) }
    }

    /// Whether the session carries bulk, given how many bytes it has moved in all and how many streams were opened.
    pub(super) fn is_found(&self, now: Instant, bytes: u64, streams: u64) -> bool {
        // Whoever finds another one looking takes what was found before.
        if let Ok(mut last) = self.last.try_lock() {
            let elapsed = now.saturating_duration_since(last.at);
            if elapsed >= INTERVAL {
                let small = streams.saturating_sub(last.streams).saturating_mul(SMALL_BYTES);
                let beyond = bytes.saturating_sub(last.bytes).saturating_sub(small);
                let bulk = u128::from(beyond) * 1000 >= u128::from(BYTES_PER_SECOND) * elapsed.as_millis();
                self.found.store(bulk, Ordering::Relaxed);
                *last = Look { at: now, bytes, streams };
            }
        }
        self.found.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// What is found after each 100 ms in which so many bytes moved and so many streams were opened.
    fn found(each: &[(u64, u64)]) -> Vec<bool> {
        let mut now = Instant::now();
        let bulk = BulkDetector::new(now);
        let (mut bytes, mut streams) = (0, 0);
        let look = |(more_bytes, more_streams): &(u64, u64)| {
            now += INTERVAL;
            bytes += more_bytes;
            streams += more_streams;
            bulk.is_found(now, bytes, streams)
        };
        each.iter().map(look).collect()
    }

    #[test]
    fn a_download_is_bulk_for_as_long_as_it_moves() {
        assert_eq!(found(&[(0, 1), (50 * MIB, 0), (50 * MIB, 0), (0, 0)]), [false, true, true, false]);
    }

    #[test]
    fn a_download_on_a_slow_line_is_bulk_too() {
        assert_eq!(found(&[(16 * 1024, 1), (13 * 1024, 0), (14 * 1024, 0)]), [false, true, true]);
    }

    #[test]
    fn many_small_answers_are_not_bulk_but_a_download_among_them_is() {
        assert_eq!(found(&[(4 * MIB, 2000), (3 * MIB, 1500)]), [false, false]);
        assert_eq!(found(&[(4 * MIB, 1000), (36 * MIB, 1000)]), [false, true]);
    }

    #[test]
    fn a_bulk_finding_holds_for_a_tenth_of_a_second() {
        let begin = Instant::now();
        let bulk = BulkDetector::new(begin);
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        assert!(!bulk.is_found(at(99), 50 * MIB, 1));
        assert!(bulk.is_found(at(100), 50 * MIB, 1));
        assert!(bulk.is_found(at(199), 50 * MIB, 1));
        assert!(!bulk.is_found(at(200), 50 * MIB, 1));
        assert!(!bulk.is_found(at(1_000_200), 51 * MIB, 1), "little in a long time");
    }

    #[test]
    fn counts_that_were_read_out_of_order_do_no_harm() {
        let begin = Instant::now();
        let bulk = BulkDetector::new(begin);
        assert!(bulk.is_found(begin + INTERVAL, MIB, 2));
        assert!(!bulk.is_found(begin + 2 * INTERVAL, MIB - 1, 1));
        assert!(!bulk.is_found(begin, MIB, 2), "a clock that was read earlier finds nothing new");
    }
}
