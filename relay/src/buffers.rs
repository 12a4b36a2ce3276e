//! How much of what clients have sent waits here for slow consumers.
//!
//! HTTP/2's windows bound what one stream can hold. What all streams of an account hold together is measured ten times
//! a second; when it passes the account's limit, the consumer with the fullest stream is cut off.

use crate::{
    lanes::Lane,
    limits::{AccountUse, StreamBuffer},
};
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How often streams are measured.
const INTERVAL: Duration = Duration::from_millis(100);

/// One stream whose reader may be slow.
#[derive(Debug)]
pub struct Watched {
    flow: Mutex<h2::FlowControl>,
    buffer: StreamBuffer,
    cut: Arc<Notify>,
}

/// The streams of one lane that are measured.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Weak<Watched>>>);

impl Buffers {
    /// Measures a stream until the returned value is dropped. `cut` is notified when its consumer has to go.
    pub fn watch(&self, usage: &Arc<AccountUse>, flow: h2::FlowControl, cut: Arc<Notify>) -> Arc<Watched> {
        let watched = Arc::new(Watched { flow: Mutex::new(flow), buffer: usage.buffer(), cut });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watched));
        watched
    }

    fn measure(&self) -> usize {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cut = 0;
        streams.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let unread = stream.flow.lock().unwrap_or_else(PoisonError::into_inner).used_capacity();
            stream.buffer.set(unread);
            if stream.buffer.is_shed() {
                stream.cut.notify_one();
                cut += 1;
            }
            !stream.buffer.is_shed()
        });
        cut
    }
}

/// Measures the streams of a lane for as long as it runs; tells how many were cut off.
pub fn spawn(lane: &Lane, buffers: Arc<Buffers>, mut cut: impl FnMut(usize) + Send + 'static) {
    lane.spawn(async move {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match buffers.measure() {
                0 => {}
                streams => cut(streams),
            }
        }
    });
}
