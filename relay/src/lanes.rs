//! One single-threaded runtime for each core.
//!
//! What costs in a proxy is waking another thread. A consumer's connection is accepted, read and answered on one lane,
//! and a client holds a session on each lane where it can, so that most requests never leave the core that they came in on.

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
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How often a lane says that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// How many tasks run before the lane looks for new IO.
const EVENT_INTERVAL: u32 = 61;

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The lane that the calling code runs on, if it is one.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// One runtime, on a thread of its own.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its place among the relay's lanes, from 0.
    pub index: usize,
    handle: Handle,
    /// Milliseconds between `epoch` and the lane's last beat.
    beat: Arc<AtomicU64>,
    epoch: Instant,
}

impl Lane {
    /// Runs a task on this lane.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// How long ago the lane was last seen alive: less than a second unless it is stuck.
    pub fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }
}

/// All lanes of a relay. They end when this is dropped.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
    stop: CancellationToken,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Lanes {
    /// Starts so many lanes.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut lanes = Self { lanes: vec![], stop: CancellationToken::new(), threads: vec![] };
        for index in 0..count {
            lanes.start_one(index)?;
        }
        Ok(lanes)
    }

    fn start_one(&mut self, index: usize) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let lane = Lane {
            index,
            handle: runtime.handle().clone(),
            beat: Arc::new(AtomicU64::new(0)),
            epoch: Instant::now(),
        };
        let (stop, beating) = (self.stop.clone(), lane.clone());
        self.threads.push(thread::Builder::new().name(format!("lane-{index}")).spawn(move || {
            CURRENT.set(Some(index));
            runtime.block_on(async {
                let beats = async {
                    loop {
                        let since = u64::try_from(beating.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
                        beating.beat.store(since, Ordering::Relaxed);
                        tokio::time::sleep(BEAT).await;
                    }
                };
                tokio::select! { () = stop.cancelled() => {}, () = beats => {} }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?);
        self.lanes.push(lane);
        Ok(())
    }

    /// The lanes in order.
    pub fn all(&self) -> &[Lane] {
        &self.lanes
    }

    /// Runs a future on a lane and waits for what it answers; `None` when the lane has ended.
    pub async fn run_on<F>(lane: &Lane, future: F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        lane.spawn(async move {
            let _ = tell.send(future.await);
        });
        told.await.ok()
    }
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
            assert_eq!(Lanes::run_on(lane, async { current() }).await, Some(Some(lane.index)));
            assert!(lane.silence() < Duration::from_secs(60));
        }
        assert_eq!(current(), None);
    }
}
