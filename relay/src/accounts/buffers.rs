//! Bytes that clients have sent and slow consumers have not read yet.
//!
//! HTTP/2's windows bound what one stream can hold. What all streams of an account hold together is measured ten times
//! a second; when it passes the account's limit, the consumer with the fullest stream is cut off.

use crate::{
    accounts::{AccountUsage, StreamBuffer},
    lanes::{self, Lane},
};
use adit_mux::UnreadBytes;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How often streams are measured.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// A stream whose unread bytes are measured.
#[derive(Debug)]
pub(crate) struct WatchedStream {
    unread: UnreadBytes,
    buffer: StreamBuffer,
    cut: Arc<Notify>,
}

impl WatchedStream {
    /// Whether its consumer was cut off because the account's unread bytes passed their limit.
    pub(crate) fn is_cut(&self) -> bool {
        self.buffer.is_shed()
    }
}

/// The result of one measurement of a lane's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferMeasurement {
    /// Bytes that wait for slow consumers.
    pub(crate) unread: usize,
    /// Streams whose consumers are cut off.
    pub(crate) cut: usize,
}

/// The streams of one lane that are measured.
#[derive(Debug, Default)]
pub(crate) struct LaneBuffers(Mutex<Vec<Weak<WatchedStream>>>);

impl LaneBuffers {
    /// Measures a stream until the returned value is dropped. `cut` is notified when its consumer has to go.
    pub(crate) fn watch(
        &self,
        usage: &Arc<AccountUsage>,
        unread: UnreadBytes,
        cut: Arc<Notify>,
    ) -> Arc<WatchedStream> {
        let watched = Arc::new(WatchedStream { unread, buffer: usage.buffer(), cut });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watched));
        watched
    }

    fn measure(&self) -> BufferMeasurement {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut measured = BufferMeasurement::default();
        streams.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let unread = stream.unread.get();
            stream.buffer.set(unread);
            if stream.buffer.is_shed() {
                stream.cut.notify_one();
                measured.cut += 1;
                return false;
            }
            measured.unread += unread;
            true
        });
        measured
    }
}

/// The buffers of each lane; the last are those of all other threads.
#[derive(Debug)]
pub(crate) struct RelayBuffers(Vec<Arc<LaneBuffers>>);

impl RelayBuffers {
    /// Buffers for this many lanes.
    pub(crate) fn new(lanes: usize) -> Self {
        Self((0..=lanes).map(|_| Arc::default()).collect())
    }

    /// The buffers of the calling lane.
    pub(crate) fn lane(&self) -> &LaneBuffers {
        &self.0[lanes::current().unwrap_or(self.0.len() - 1)]
    }

    /// All of them, in the order of the lanes.
    pub(crate) fn all(&self) -> &[Arc<LaneBuffers>] {
        &self.0
    }
}

/// Measures the streams of a lane for as long as it runs, and passes each result to `tell`.
pub(crate) fn spawn(
    lane: &Lane,
    buffers: Arc<LaneBuffers>,
    mut tell: impl FnMut(BufferMeasurement) + Send + 'static,
) {
    lane.spawn(async move {
        let mut ticks = interval(MEASURE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(buffers.measure());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Accounts, Limits};
    use adit_mux::{AcceptStreams, OpenStreams, RecvStream, body::send_bytes};
    use adit_protocol::Account;
    use bytes::Bytes;
    use futures_util::FutureExt;

    const KIB: usize = 1024;

    /// Streams that bring so many bytes each, as the side sees them that does not read.
    async fn streams(sizes: &[usize]) -> Vec<RecvStream> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (opener, _, driver) = adit_mux::open(near).await.unwrap();
        // Nothing is sent before the driver runs, and the acceptor waits for what is sent.
        tokio::spawn(driver);
        let (mut acceptor, _) = adit_mux::accept(far).await.unwrap();
        let bodies: Vec<usize> = sizes.to_vec();
        tokio::spawn(async move {
            let mut tasks = vec![];
            for size in bodies {
                let (_, mut respond) = acceptor.accept().await.unwrap().unwrap();
                let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                tasks.push(tokio::spawn(async move {
                    send_bytes(&mut send, Bytes::from(vec![0; size]), false).await.unwrap();
                    std::future::pending::<()>().await;
                }));
            }
            while acceptor.accept().await.is_some() {}
        });
        let mut received = vec![];
        for _ in sizes {
            let (response, _) = opener.open(http::Request::new(()), true).await.unwrap();
            received.push(response.await.unwrap().into_body());
        }
        received
    }

    /// Measures until everything has arrived.
    async fn measured(buffers: &LaneBuffers, unread: usize) {
        while buffers.measure() != (BufferMeasurement { unread, cut: 0 }) {
            tokio::task::yield_now().await;
        }
    }

    fn account(limit: usize) -> Arc<AccountUsage> {
        let limits = Limits { buffer_bytes: limit as u64, ..Limits::default() };
        Accounts::default().get(&Account::managed("me"), &limits)
    }

    #[tokio::test]
    async fn what_a_reader_takes_is_no_longer_counted() {
        let (buffers, usage) = (LaneBuffers::default(), account(1024 * KIB));
        let mut stream = streams(&[200 * KIB]).await.remove(0);
        let cut = Arc::new(Notify::new());
        let watched = buffers.watch(&usage, stream.unread(), cut.clone());
        measured(&buffers, 200 * KIB).await;
        let mut read = 0;
        while read < 200 * KIB {
            let data = stream.data().await.unwrap().unwrap();
            read += data.len();
            stream.release(data.len());
        }
        assert_eq!(buffers.measure(), BufferMeasurement::default());
        assert_eq!(usage.buffered_bytes(), 0);
        assert!(!watched.is_cut() && cut.notified().now_or_never().is_none());
        drop(watched);
        assert_eq!(buffers.0.lock().unwrap().len(), 1, "it is forgotten at the next look");
        buffers.measure();
        assert!(buffers.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_the_fullest_stream_is_shed_past_the_limit() {
        let (buffers, usage) = (LaneBuffers::default(), account(1024 * KIB));
        let sizes = [300 * KIB, 400 * KIB, 200 * KIB];
        let mut streams = streams(&sizes).await;
        let watch = |stream: &mut RecvStream| {
            let cut = Arc::new(Notify::new());
            (buffers.watch(&usage, stream.unread(), cut.clone()), cut)
        };
        let mut watched: Vec<_> = streams.iter_mut().map(watch).collect();
        measured(&buffers, 900 * KIB).await;
        let mut more = self::streams(&[250 * KIB]).await;
        watched.push(watch(&mut more[0]));
        let mut cut = 0;
        while cut == 0 {
            cut = buffers.measure().cut;
            tokio::task::yield_now().await;
        }
        assert_eq!(cut, 1);
        let told: Vec<bool> =
            watched.iter().map(|(_, cut)| cut.notified().now_or_never().is_some()).collect();
        assert_eq!(told, [false, true, false, false]);
        assert!(watched[1].0.is_cut() && !watched[0].0.is_cut());
        measured(&buffers, 750 * KIB).await;
        assert_eq!(
            usage.take_refused(std::time::Instant::now()).unwrap().code,
            adit_protocol::Code::BufferFull
        );
    }
}
