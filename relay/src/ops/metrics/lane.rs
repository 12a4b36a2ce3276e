//! Metrics of one lane.

use adit_protocol::Code;
use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Labels of a request: what carried it, and over whose session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A request, over a session of this relay.
    Http,
    /// A request, passed to a peer.
    HttpPeer,
    /// An Upgrade or a WebSocket, over a session of this relay.
    Upgrade,
    /// An Upgrade or a WebSocket, passed to a peer.
    UpgradePeer,
    /// A TCP connection, over a session of this relay.
    Tcp,
    /// A TCP connection, passed to a peer.
    TcpPeer,
    /// Answered by the relay itself: an error, a redirect.
    Relay,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 7] =
        [Self::Http, Self::HttpPeer, Self::Upgrade, Self::UpgradePeer, Self::Tcp, Self::TcpPeer, Self::Relay];

    /// The labels `route` and `via`.
    pub(super) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Http => ("http", "session"),
            Self::HttpPeer => ("http", "peer"),
            Self::Upgrade => ("upgrade", "session"),
            Self::UpgradePeer => ("upgrade", "peer"),
            Self::Tcp => ("tcp", "session"),
            Self::TcpPeer => ("tcp", "peer"),
            Self::Relay => ("relay", "none"),
        }
    }
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $metric:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $help] $variant,)*
        }

        impl $name {
            /// Each with its name and its help.
            pub(super) const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $metric, $help),)*];
        }
    };
}

numbers! {
    /// What is counted beside requests.
    Count {
        Connections = "adit_connections", "Consumers' connections accepted";
        ConnectionsRefused = "adit_connections_refused", "Consumers' connections for which there was no room";
        TlsFailures = "adit_tls_failures", "TLS handshakes of consumers and clients that failed";
        BadRequests = "adit_bad_requests", "Requests refused because they break a rule of HTTP";
        SessionsOpened = "adit_sessions_opened", "Sessions that clients opened";
        SessionsClosed = "adit_sessions_closed", "Sessions that ended, for whatever reason";
        TunnelsOpened = "adit_tunnels_opened", "Tunnels opened on sessions";
        StreamsOpened = "adit_streams_opened", "Streams opened to clients";
        StreamsReset = "adit_streams_reset", "Streams that ended with a reset, from either side";
        StreamsShed = "adit_streams_shed", "Streams reset because an account's unread bytes passed its limit";
        Retries = "adit_retries", "Requests sent a second time because the first cannot have been handled";
        ConsumerAborts = "adit_consumer_aborts", "Consumers that left before their answer was whole";
        PeerDials = "adit_peer_dials", "Connections opened to peers";
        PeerFailures = "adit_peer_failures", "Connections to peers that could not be opened or were lost";
        ClaimFailures = "adit_claim_failures", "Claims that the registry refused or could not take";
    }
}

numbers! {
    /// What goes up and down.
    Gauge {
        Connections = "adit_connections_open", "Consumers' connections open now";
        Sessions = "adit_sessions_open", "Sessions open now";
        Tunnels = "adit_tunnels_open", "Tunnels open now, once for each session";
        Streams = "adit_streams_open", "Streams open now";
        BufferedBytes = "adit_buffered_bytes", "Bytes read from one side and not yet taken by the other";
    }
}

/// The classes of status: 1xx to 5xx, and none at all.
pub(super) const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The upper bounds of the timers' buckets, in microseconds.
pub(super) const BUCKET_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 60_000_000,
];

/// A latency histogram: the counts of the buckets, and the sum.
#[derive(Debug, Default)]
pub(super) struct LatencyHistogram {
    /// One more than there are bounds.
    pub(super) buckets: [AtomicU64; BUCKET_BOUNDS_US.len() + 1],
    pub(super) sum_us: AtomicU64,
}

impl LatencyHistogram {
    fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKET_BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(micros, Relaxed);
    }
}

/// The numbers of one route.
#[derive(Debug, Default)]
pub(super) struct RouteMetrics {
    pub(super) ended: [AtomicU64; STATUS_CLASSES.len()],
    pub(super) answer: LatencyHistogram,
    pub(super) whole: LatencyHistogram,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

/// The counters of one lane. Every thread may count; one that has it for itself never waits for another.
#[derive(Debug)]
pub struct LaneMetrics {
    pub(super) routes: [RouteMetrics; Route::ALL.len()],
    pub(super) counts: [AtomicU64; Count::ALL.len()],
    pub(super) gauges: [AtomicI64; Gauge::ALL.len()],
    pub(super) errors: [AtomicU64; Code::ALL.len() + 1],
    pub(super) refusals: [AtomicU64; Code::ALL.len() + 1],
}

impl Default for LaneMetrics {
    fn default() -> Self {
        Self {
            routes: array::from_fn(|_| RouteMetrics::default()),
            counts: array::from_fn(|_| AtomicU64::new(0)),
            gauges: array::from_fn(|_| AtomicI64::new(0)),
            errors: array::from_fn(|_| AtomicU64::new(0)),
            refusals: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl LaneMetrics {
    /// The head of an answer went to the consumer, so long after the request's head came.
    pub fn answered(&self, route: Route, after: Duration) {
        self.routes[route as usize].answer.record(after);
    }

    /// A request or a connection has ended. `status` is `None` for TCP, and for a consumer that left before its answer.
    pub fn ended(&self, route: Route, status: Option<u16>, after: Duration, bytes_in: u64, bytes_out: u64) {
        let numbers = &self.routes[route as usize];
        let class = status.map_or(0, |status| usize::from(status / 100).clamp(1, 5));
        numbers.ended[class].fetch_add(1, Relaxed);
        numbers.whole.record(after);
        numbers.bytes_in.fetch_add(bytes_in, Relaxed);
        numbers.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// A consumer got an error that the relay made.
    pub fn error(&self, code: Code) {
        self.errors[index(code)].fetch_add(1, Relaxed);
    }

    /// A client's session or tunnel was refused or closed.
    pub fn refused(&self, code: Code) {
        self.refusals[index(code)].fetch_add(1, Relaxed);
    }

    /// Counts one.
    pub fn count(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Relaxed);
    }

    /// Moves a gauge by `by`.
    pub fn shift(&self, gauge: Gauge, by: i64) {
        self.gauges[gauge as usize].fetch_add(by, Relaxed);
    }

    /// The value of a gauge.
    pub fn value(&self, gauge: Gauge) -> i64 {
        self.gauges[gauge as usize].load(Relaxed)
    }

    /// Increments a gauge until the returned guard is dropped.
    pub fn open(self: &Arc<Self>, gauge: Gauge) -> GaugeGuard {
        self.shift(gauge, 1);
        GaugeGuard { lane: Arc::clone(self), gauge }
    }
}

/// Unknown codes count together, in the last place.
fn index(code: Code) -> usize {
    (code as usize).min(Code::ALL.len())
}

/// A guard that decrements its gauge when it is dropped.
#[derive(Debug)]
pub struct GaugeGuard {
    lane: Arc<LaneMetrics>,
    gauge: Gauge,
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.lane.shift(self.gauge, -1);
    }
}
