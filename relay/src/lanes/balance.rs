//! Selection of the lane for a new connection.
//!
//! The system spreads connections by their addresses, however busy a lane is. With many of them that evens out, and each
//! stays on the core that it came in on. But one that comes in where a download keeps the lane busy, while another lane has
//! nothing to do, is better off there.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Load from which a lane gives new connections away, in thousandths of the time.
const MIN_BUSY_PERMILLE: u32 = 250;
/// Load assumed for each moved connection until the next sample, in thousandths of the time. Without it all of many
/// simultaneous connections would find the same lane idle.
const MOVED_CONNECTION_PERMILLE: u32 = 100;

/// The recent load of each lane, in thousandths of the time.
#[derive(Debug)]
pub(super) struct LoadBalance(Vec<AtomicU32>);

impl LoadBalance {
    /// Idle lanes.
    pub(super) fn new(lanes: usize) -> Self {
        Self((0..lanes).map(|_| AtomicU32::new(0)).collect())
    }

    /// Records a sample: the lane was busy for `busy` out of `of`. The earlier load and the sample weigh the same.
    pub(super) fn record_sample(&self, lane: usize, busy: Duration, of: Duration) {
        let thousandths = busy.as_micros().saturating_mul(1000) / of.as_micros().max(1);
        let now = u32::try_from(thousandths).unwrap_or(u32::MAX).min(1000);
        let load = &self.0[lane];
        load.store(u32::midpoint(load.load(Ordering::Relaxed), now), Ordering::Relaxed);
    }

    /// The lane for a connection of the lane `own`: another one, if that has less than half its load.
    pub(super) fn less_busy_lane(&self, own: usize) -> Option<usize> {
        let mine = self.0[own].load(Ordering::Relaxed);
        if mine < MIN_BUSY_PERMILLE {
            return None;
        }
        let busy = |(_, load): &(usize, &AtomicU32)| load.load(Ordering::Relaxed);
        let (least, load) = self.0.iter().enumerate().min_by_key(busy)?;
        if load.load(Ordering::Relaxed) >= mine / 2 {
            return None;
        }
        load.fetch_add(MOVED_CONNECTION_PERMILLE, Ordering::Relaxed);
        Some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL_INTERVAL: Duration = Duration::from_millis(100);

    /// Lanes that have been busy for so many percent of a while.
    fn lanes(percent: &[u32]) -> LoadBalance {
        let balance = LoadBalance::new(percent.len());
        for _ in 0..20 {
            look(&balance, percent);
        }
        balance
    }

    fn look(balance: &LoadBalance, percent: &[u32]) {
        for (lane, percent) in percent.iter().enumerate() {
            balance.record_sample(lane, POLL_INTERVAL / 100 * *percent, POLL_INTERVAL);
        }
    }

    #[test]
    fn a_connection_moves_only_from_a_busy_lane_to_an_idle_one() {
        assert_eq!(lanes(&[20, 0]).less_busy_lane(0), None, "it is not busy");
        assert_eq!(lanes(&[90, 60]).less_busy_lane(0), None, "the other one is nearly as busy");
        assert_eq!(lanes(&[60, 90]).less_busy_lane(0), None, "the other one is busier");
        assert_eq!(lanes(&[60, 20]).less_busy_lane(0), Some(1));
        assert_eq!(lanes(&[50, 60, 10, 20]).less_busy_lane(1), Some(2), "the least busy of all");
        assert_eq!(lanes(&[100]).less_busy_lane(0), None, "there is no other");
    }

    #[test]
    fn of_many_that_come_at_once_a_few_go_elsewhere() {
        let balance = lanes(&[80, 0]);
        let gone = |times: usize| (0..times).filter(|_| balance.less_busy_lane(0).is_some()).count();
        assert_eq!(gone(100), 4, "each counts as a tenth of the time");
        look(&balance, &[80, 10]);
        assert_eq!(gone(100), 2, "they were less than that");
        look(&balance, &[80, 60]);
        assert_eq!(gone(100), 0, "it was enough");
    }

    #[test]
    fn a_look_counts_as_much_as_all_before() {
        let balance = LoadBalance::new(1);
        let mut seen = vec![];
        for busy in [100, 100, 0, 0] {
            look(&balance, &[busy]);
            seen.push(balance.0[0].load(Ordering::Relaxed));
        }
        assert_eq!(seen, [500, 750, 375, 187]);
    }
}
