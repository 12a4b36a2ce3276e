//! The bounded queue of events from sessions to the client's user. A full queue drops events: no request waits for it.

use crate::event::{Event, EventKind};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The queue length above which events of requests are dropped.
const MAX_WITH_REQUESTS: usize = 4096;
/// The queue length above which all events are dropped.
const MAX_EVENTS: usize = MAX_WITH_REQUESTS + 1024;
/// The reader is woken at most this often: waking another thread costs more than serving a request.
const MIN_WAKE_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<VecDeque<Event>>,
    dropped: AtomicU64,
    requests: AtomicBool,
    waiting: AtomicBool,
    ended: AtomicBool,
    wake: Notify,
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.queue.lock().expect("no code panics while it holds this lock")
    }

    fn wake(&self) {
        if self.waiting.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }
}

/// The sending side.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQueue(Arc<Inner>);

impl EventQueue {
    /// Adds an event that happens now.
    pub(crate) fn send(&self, what: EventKind) {
        let limit = if matches!(what, EventKind::Request(_) | EventKind::Connection(_)) {
            MAX_WITH_REQUESTS
        } else {
            MAX_EVENTS
        };
        let event = Event::now(what);
        {
            let mut queue = self.0.queue();
            if queue.len() >= limit {
                drop(queue);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            queue.push_back(event);
        }
        self.0.wake();
    }

    /// Whether the reader wants an event for each request.
    pub(crate) fn wants_requests(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// No more events come.
    pub(crate) fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.wake();
    }

    /// The receiving side.
    pub(crate) fn events(&self, requests: bool) -> Events {
        self.0.requests.store(requests, Ordering::Relaxed);
        Events { inner: self.0.clone(), last: None }
    }
}

/// The events of a client, in order.
#[derive(Debug)]
pub struct Events {
    inner: Arc<Inner>,
    last: Option<Instant>,
}

impl Events {
    /// The next event; `None` once the client has ended and everything has been read.
    ///
    /// Under load events come in batches, about a hundred times a second. It is safe to cancel.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.inner.queue().pop_front() {
                return Some(event);
            }
            if self.inner.ended.load(Ordering::Acquire) && self.inner.queue().is_empty() {
                return None;
            }
            if let Some(last) = self.last.take() {
                sleep_until(last + MIN_WAKE_INTERVAL).await;
                continue;
            }
            self.inner.waiting.store(true, Ordering::Release);
            // An event may have come in between, before `waiting` was set.
            if self.inner.queue().is_empty() && !self.inner.ended.load(Ordering::Acquire) {
                self.inner.wake.notified().await;
            }
            self.last = Some(Instant::now());
        }
    }

    /// How many events were dropped because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.inner.requests.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClientState, Exchange};

    fn state() -> EventKind {
        EventKind::ClientState { state: ClientState::Connected, reason: None, retry_at: None }
    }

    fn request() -> EventKind {
        EventKind::Request(Exchange {
            tunnel: "tn".parse().unwrap(),
            id: "1".into(),
            consumer: None,
            method: None,
            path: None,
            status: None,
            duration_ms: None,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    #[tokio::test]
    async fn requests_are_dropped_before_states_and_all_are_counted() {
        let event_queue = EventQueue::default();
        let mut events = event_queue.events(true);
        for _ in 0..MAX_WITH_REQUESTS + 5 {
            event_queue.send(request());
        }
        event_queue.send(state());
        event_queue.end();
        assert_eq!(events.dropped(), 5);
        let mut seen = vec![];
        while let Some(event) = events.next().await {
            seen.push(event);
        }
        assert_eq!(seen.len(), MAX_WITH_REQUESTS + 1);
        assert_eq!(seen[MAX_WITH_REQUESTS].kind, state());
    }

    #[tokio::test]
    async fn a_reader_on_another_thread_gets_every_event() {
        let event_queue = EventQueue::default();
        let mut events = event_queue.events(true);
        let sender = std::thread::spawn(move || {
            for _ in 0..3000 {
                event_queue.send(state());
                std::thread::yield_now();
                while event_queue.0.queue().len() > 100 {
                    std::thread::yield_now();
                }
            }
            event_queue.end();
        });
        let mut count = 0;
        while events.next().await.is_some() {
            count += 1;
        }
        sender.join().unwrap();
        assert_eq!((count, events.dropped()), (3000, 0));
    }
}
