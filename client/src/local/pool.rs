//! Connections to a service that are kept for later requests.

use super::{
    connect::ServiceError,
    http1::{Http1Answer, RequestBody, SendFailure, ServiceConnection},
};
use http::{Method, Request};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The most connections that are kept for later.
const MAX_IDLE: usize = 512;
/// Between two looks at the connections that are kept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A connection beyond [`MAX_LONG_IDLE`] is closed after this time without use, so that a burst leaves no memory behind.
const BURST_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many are kept for longer.
const MAX_LONG_IDLE: usize = 2;
/// Any connection is closed after this time without use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that wait for the next request; the one used last is used first.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a connection is large, and moves at each use")]
pub(super) struct Pool {
    idle: Mutex<Vec<Box<ServiceConnection>>>,
    sweeping: AtomicBool,
}

impl Pool {
    #[expect(clippy::vec_box, reason = "as above")]
    fn idle(&self) -> MutexGuard<'_, Vec<Box<ServiceConnection>>> {
        self.idle.lock().expect("no code panics while it holds this lock")
    }

    /// A connection that is open as far as anyone can tell.
    async fn take(&self) -> Option<Box<ServiceConnection>> {
        std::future::poll_fn(|cx| {
            loop {
                // The lock is not held while a connection is driven or closed.
                let last = self.idle().pop();
                let Some(mut conn) = last else { return Poll::Ready(None) };
                if conn.is_reusable(cx) {
                    return Poll::Ready(Some(conn));
                }
            }
        })
        .await
    }

    fn sweep(&self) -> bool {
        let mut closed = vec![];
        let mut idle = self.idle();
        let mut place = idle.len();
        let (now, mut cx) = (Instant::now(), Context::from_waker(Waker::noop()));
        // The oldest are first.
        while place > 0 {
            place -= 1;
            let age = now.duration_since(idle[place].idle_since);
            let beyond_few = idle.len() - place > MAX_LONG_IDLE;
            if age > IDLE_TIMEOUT || (age > BURST_IDLE_TIMEOUT && beyond_few) || idle[place].drive(&mut cx) {
                closed.push(idle.remove(place));
            }
        }
        if idle.is_empty() {
            *idle = Vec::new();
            self.sweeping.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Keeps a connection for the next request if it can take one.
    pub(super) async fn keep(self: &Arc<Self>, mut conn: Box<ServiceConnection>) {
        if !std::future::poll_fn(|cx| Poll::Ready(conn.is_reusable(cx))).await {
            return;
        }
        conn.idle_since = Instant::now();
        {
            let mut idle = self.idle();
            if idle.len() >= MAX_IDLE {
                return;
            }
            idle.push(conn);
        }
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Sends a request on a connection that was kept.
    ///
    /// `Ok(Err(request))` when there is none, or when it turned out to be closed and another may be tried.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Result<Http1Answer, Request<RequestBody>>, ServiceError> {
        let Some(mut conn) = self.take().await else { return Ok(Err(request)) };
        let copy = repeatable_copy(&request);
        match conn.send(request).await {
            Ok(answer) => Ok(Ok((answer, conn))),
            Err(SendFailure::Unsent(_, request, _)) => Ok(Err(*request)),
            // The service closed it while the request was on its way, as its idle time-out allows.
            Err(SendFailure::Broken(error, answer)) => match copy.filter(|_| !error.is_parse()) {
                Some(request) => Ok(Err(request)),
                None => Err(SendFailure::Broken(error, answer).into_service_error()),
            },
        }
    }
}

async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        match pool.upgrade() {
            Some(pool) if pool.sweep() => {}
            _ => return,
        }
    }
}

/// A copy of an idempotent request without a body (RFC 9110 section 9.2.2), which may be sent twice.
fn repeatable_copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !idempotent || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}
