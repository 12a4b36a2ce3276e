//! The record of one exchange, for its events. It costs next to nothing while no one reads events.

use crate::{
    event::{EventKind, Exchange},
    published::PublishedTunnel,
};
use adit_mux::{ConnectProtocol, splice::SpliceCounters};
use adit_protocol::stream;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// An exchange that takes longer is reported before its end.
const OPEN_REPORT_DELAY: Duration = Duration::from_secs(1);
/// How much of a path is shown.
const MAX_PATH_CHARS: usize = 2048;

struct ObservedExchange {
    exchange: Exchange,
    started: Instant,
    bytes_in: Arc<AtomicU64>,
    bytes_out: Arc<AtomicU64>,
    told_open: bool,
}

/// The record of one exchange.
pub(super) struct ExchangeRecord {
    tunnel: Arc<PublishedTunnel>,
    observed: Option<Box<ObservedExchange>>,
    count: SpliceCounters,
}

impl ExchangeRecord {
    /// An exchange begins.
    pub(super) fn new<B>(tunnel: &Arc<PublishedTunnel>, request: &Request<B>) -> Self {
        let observed =
            tunnel.event_queue.wants_requests().then(|| Box::new(ObservedExchange::new(tunnel, request)));
        Self { tunnel: tunnel.clone(), observed, count: SpliceCounters::default() }
    }

    /// The answer's status.
    pub(super) fn status(&mut self, status: StatusCode) {
        if let Some(observed) = &mut self.observed {
            observed.exchange.status = Some(status.as_u16());
        }
    }

    /// The service failed, and the consumer got this status if it was still there.
    pub(super) fn failed(&mut self, status: Option<StatusCode>) {
        if let Some(status) = status {
            self.status(status);
        }
    }

    /// The exchange broke off.
    pub(super) fn broke<E: std::error::Error>(&self, error: &E) {
        tracing::debug!(tunnel = %self.tunnel.id, %error, "an exchange broke off");
    }

    /// Where the request's bytes are counted.
    pub(super) fn count_in(&self) -> Option<Arc<AtomicU64>> {
        self.observed.as_ref().map(|observed| observed.bytes_in.clone())
    }

    /// Where a copy counts its bytes.
    pub(super) fn splice_count(&self) -> &SpliceCounters {
        &self.count
    }

    /// The body, its bytes counted.
    pub(super) fn counted<B>(&self, body: B) -> CountedBody<B> {
        CountedBody { body, count: self.observed.as_ref().map(|observed| observed.bytes_out.clone()) }
    }

    /// A connection is open from now on.
    pub(super) fn open(&mut self, status: StatusCode) {
        let is_request = self.observed.as_ref().is_some_and(|observed| observed.exchange.method.is_some());
        if is_request {
            self.status(status);
        }
        if let Some(observed) = &mut self.observed {
            observed.told_open = true;
            self.tunnel.event_queue.send(observed.event_kind(&self.count));
        }
    }

    /// Waits for the rest of an answer; reports it as open if that takes long.
    pub(super) async fn watch<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        let Some(observed) = &self.observed else { return future.await };
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = sleep(OPEN_REPORT_DELAY) => {}
        }
        self.tunnel.event_queue.send(observed.event_kind(&self.count));
        future.await
    }

    /// The exchange has ended.
    pub(super) fn end(self) {
        if let Some(mut observed) = self.observed {
            let took = u64::try_from(observed.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            observed.exchange.duration_ms = Some(took);
            self.tunnel.event_queue.send(observed.event_kind(&self.count));
        }
    }
}

impl ObservedExchange {
    fn new<B>(tunnel: &PublishedTunnel, request: &Request<B>) -> Self {
        let header =
            |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let upgrade = request.extensions().get::<ConnectProtocol>().is_some();
        let method = match request.method() {
            &Method::CONNECT if upgrade => Some("GET".to_owned()),
            &Method::CONNECT => None,
            method => Some(method.as_str().to_owned()),
        };
        let path = method.is_some().then(|| request.uri().path().chars().take(MAX_PATH_CHARS).collect());
        let exchange = Exchange {
            tunnel: tunnel.id.clone(),
            id: header(stream::REQUEST_ID).unwrap_or_else(|| crate::identity::random_id::<String>("")),
            consumer: header(stream::CONSUMER).or_else(|| header("x-forwarded-for")),
            method,
            path,
            status: None,
            duration_ms: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            exchange,
            started: Instant::now(),
            bytes_in: Arc::default(),
            bytes_out: Arc::default(),
            told_open: false,
        }
    }

    fn event_kind(&self, count: &SpliceCounters) -> EventKind {
        let mut exchange = self.exchange.clone();
        exchange.bytes_in = self.bytes_in.load(Ordering::Relaxed) + count.received.load(Ordering::Relaxed);
        exchange.bytes_out = self.bytes_out.load(Ordering::Relaxed) + count.sent.load(Ordering::Relaxed);
        if exchange.method.is_some() { EventKind::Request(exchange) } else { EventKind::Connection(exchange) }
    }
}

/// A body that counts its bytes.
pub(super) struct CountedBody<B> {
    body: B,
    count: Option<Arc<AtomicU64>>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(count)) = (&polled, &self.count)
            && let Some(data) = frame.data_ref()
        {
            count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
