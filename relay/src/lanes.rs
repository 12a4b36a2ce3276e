//! One single-threaded runtime for each core.
//!
//! What costs in a proxy is waking another thread. A consumer's connection is accepted, read and answered on one lane,
//! and a client holds a session on each lane where it can, so that most requests never leave the core that they came in on.

mod balance;

use balance::LoadBalance;
use std::{
    cell::Cell,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Interval at which a lane reports that it is alive and how busy it is.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// Number of tasks that run before the lane polls for IO.
const EVENT_INTERVAL: u32 = 61;

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The lane that the calling code runs on, if it is one.
pub(crate) fn current() -> Option<usize> {
    CURRENT.get()
}

/// One runtime, on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// Its place among the relay's lanes, from 0.
    pub(crate) index: usize,
    all: Arc<LaneGroup>,
    /// Milliseconds between `epoch` and the lane's last beat.
    beat: Arc<AtomicU64>,
    epoch: Instant,
}

/// Runtimes and load of all lanes.
#[derive(Debug)]
struct LaneGroup {
    handles: Vec<Handle>,
    balance: LoadBalance,
}

impl Lane {
    /// Runs a task on this lane.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.all.handles[self.index].spawn(future)
    }

    /// The runtime of a less busy lane that a connection of this lane should move to, if there is one.
    pub(crate) fn less_busy_lane(&self) -> Option<&Handle> {
        Some(&self.all.handles[self.all.balance.less_busy_lane(self.index)?])
    }

    /// Time since the lane's last heartbeat: less than a second unless it is stuck.
    pub(crate) fn time_since_heartbeat(&self) -> Duration {
        let last = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }

    /// Sends heartbeats and load samples of this lane until it ends.
    async fn send_heartbeats(self) {
        let metrics = Handle::current().metrics();
        let (mut busy, mut at) = (Duration::ZERO, self.epoch);
        loop {
            let (now_busy, now) = (metrics.worker_total_busy_duration(0), Instant::now());
            let since = u64::try_from(now.duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
            self.beat.store(since, Ordering::Relaxed);
            self.all.balance.record_sample(self.index, now_busy.saturating_sub(busy), now.duration_since(at));
            (busy, at) = (now_busy, now);
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        }
    }
}

/// All lanes of a relay. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    stop: CancellationToken,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Lanes {
    /// Starts so many lanes.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let runtimes = (0..count).map(|_| runtime()).collect::<io::Result<Vec<_>>>()?;
        let handles = runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
        let all = Arc::new(LaneGroup { handles, balance: LoadBalance::new(count) });
        let mut lanes = Self { lanes: vec![], stop: CancellationToken::new(), threads: vec![] };
        for (index, runtime) in runtimes.into_iter().enumerate() {
            let (beat, epoch) = (Arc::default(), Instant::now());
            lanes.start_one(Lane { index, all: all.clone(), beat, epoch }, runtime)?;
        }
        Ok(lanes)
    }

    fn start_one(&mut self, lane: Lane, runtime: Runtime) -> io::Result<()> {
        let (stop, beating) = (self.stop.clone(), lane.clone());
        self.threads.push(thread::Builder::new().name(format!("lane-{}", lane.index)).spawn(move || {
            CURRENT.set(Some(beating.index));
            runtime.block_on(async {
                tokio::select! { () = stop.cancelled() => {}, () = beating.send_heartbeats() => {} }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?);
        self.lanes.push(lane);
        Ok(())
    }

    /// The lanes in order.
    pub(crate) fn all(&self) -> &[Lane] {
        &self.lanes
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A lane that panicked has been reported by its panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_runs_on_the_lane_that_it_was_given_to() {
        let lanes = Lanes::start(2).unwrap();
        for lane in lanes.all() {
            assert_eq!(lane.spawn(async { current() }).await.unwrap(), Some(lane.index));
            assert!(lane.time_since_heartbeat() < Duration::from_secs(60));
        }
        assert_eq!(current(), None);
    }

    #[test]
    fn a_busy_lane_finds_an_idle_one_and_an_idle_one_keeps_its_own() {
        let lanes = Lanes::start(2).unwrap();
        let [busy, idle] = lanes.all() else { panic!("there are two") };
        let work = busy.spawn(async {
            loop {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(5) {}
                tokio::task::yield_now().await;
            }
        });
        let end = Instant::now() + Duration::from_secs(60);
        while busy.less_busy_lane().map(Handle::id) != Some(idle.all.handles[1].id()) {
            assert!(idle.less_busy_lane().is_none());
            assert!(Instant::now() < end, "it does not find the idle one: {:?}", idle.all.balance);
            thread::sleep(Duration::from_millis(10));
        }
        work.abort();
    }
}
