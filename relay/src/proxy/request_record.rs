//! What has to be told once a request is over: to the access log and to the metrics.

use super::{
    Proxy,
    consumer::Consumer,
    headers::Target,
    upload::{Upload, UploadBody},
};
use crate::{
    accounts::{AccountUsage, StreamPermit, buffers::WatchedStream},
    ops::{
        access_log::{LogEntry, RequestId, now_us},
        metrics::{Count as Counted, Gauge, GaugeGuard, Route},
    },
    routing::upstream::{StreamTarget, Upstream},
};
use adit_mux::{RecvStream, SendStream, UnreadBytes, body, splice::SpliceCounters};
use adit_protocol::{Account, Code, Endpoint, TunnelId};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use tokio::sync::Notify;

/// An answer of so many bytes is never charged to its account, so its stream need not be measured.
const UNCHARGED_BYTES: u64 = 32 * 1024;

/// One request, from its head until the last byte of its answer. It is told when this is dropped.
pub(crate) struct RequestRecord {
    proxy: Arc<Proxy>,
    consumer: Arc<Consumer>,
    id: RequestId,
    begun_us: u64,
    begun: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    target: Option<Arc<Target>>,
    status: Option<StatusCode>,
    code: Option<Code>,
    owner: Option<(Account, TunnelId)>,
    bytes: u64,
    count: Option<Arc<SpliceCounters>>,
    upload: Option<Arc<Upload>>,
    upstream: Option<Upstream>,
    usage: Option<Arc<AccountUsage>>,
    permit: Option<StreamPermit>,
    watched: Option<Arc<WatchedStream>>,
    broken: bool,
    left: bool,
    _open: GaugeGuard,
}

impl RequestRecord {
    /// A request has come in.
    pub(crate) fn begin<B>(proxy: &Arc<Proxy>, consumer: &Arc<Consumer>, request: &Request<B>) -> Self {
        let begun_us = now_us();
        consumer.abandoned_requests.begin();
        let header = |name| request.headers().get(name).cloned();
        Self {
            proxy: proxy.clone(),
            consumer: consumer.clone(),
            id: proxy.telemetry.lane().ids.next(begun_us),
            begun_us,
            begun: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            target: None,
            status: None,
            code: None,
            owner: None,
            bytes: 0,
            count: None,
            upload: None,
            upstream: None,
            usage: None,
            permit: None,
            watched: None,
            broken: false,
            left: false,
            _open: proxy.telemetry.lane().metrics.open(Gauge::Streams),
        }
    }
}

impl RequestRecord {
    /// The request's id.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// When the request came in, in microseconds since 1970.
    pub(crate) fn begun_us(&self) -> u64 {
        self.begun_us
    }

    /// The host that it is for, once that is known.
    pub(crate) fn host(&self) -> Option<&str> {
        self.target.as_ref().map(|target| &**target.host())
    }

    /// Whom the request is for.
    pub(crate) fn set_target(&mut self, target: Arc<Target>) {
        self.target = Some(target);
    }

    /// Whose tunnel it goes to.
    pub(crate) fn set_owner(&mut self, account: &Account, tunnel: &TunnelId) {
        self.owner = Some((account.clone(), tunnel.clone()));
    }

    /// Whether its tunnel has been suspended meanwhile.
    pub(crate) fn is_suspended(&self) -> bool {
        let host = self.target.as_ref().map(|target| Endpoint::Host(target.host().clone()));
        let owner = self.owner.as_ref().zip(host);
        owner.is_some_and(|((account, _), endpoint)| self.proxy.suspensions.is_suspended(account, &endpoint))
    }

    /// The status that the consumer gets.
    pub(crate) fn set_status(&mut self, status: StatusCode) {
        self.proxy.telemetry.lane().metrics.answered(self.route(), self.begun.elapsed());
        self.status = Some(status);
    }

    /// The relay answers in the service's place.
    pub(crate) fn refused(&mut self, code: Code, status: StatusCode, bytes: usize) {
        self.code = Some(code);
        self.status = Some(status);
        self.bytes = bytes as u64;
    }

    /// The account's stream is given back when the request is over.
    pub(crate) fn hold(&mut self, usage: Arc<AccountUsage>, permit: StreamPermit) {
        self.usage = Some(usage);
        self.permit = Some(permit);
    }

    /// The request goes through this upstream, whose place is given back when the request is over.
    pub(crate) fn through(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
    }

    /// More of the answer has been sent.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// An answer is measured from its head on, as its consumer may never take any of its body: one that has sent several
    /// requests at once and reads nothing, or one with no window at all on HTTP/2. HTTP/2 holds a client to the length that
    /// it has announced.
    pub(crate) fn measure(&mut self, head: &HeaderMap, body: &mut RecvStream) {
        let length =
            head.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if body.is_end_stream() || length.is_some_and(|length| length <= UNCHARGED_BYTES) {
            return;
        }
        if let Some(usage) = &self.usage {
            let (unread, cut) = (body.unread(), self.consumer.cut.clone());
            self.watched = Some(self.proxy.buffers.lane().watch(usage, unread, cut));
        }
    }

    /// An upgraded connection is measured from its start, and cut off when it is too slow.
    pub(crate) fn watch(&mut self, unread: UnreadBytes) -> Arc<Notify> {
        let cut = Arc::new(Notify::new());
        if let Some(usage) = &self.usage {
            self.watched = Some(self.proxy.buffers.lane().watch(usage, unread, cut.clone()));
        }
        cut
    }

    /// The answer broke off.
    pub(crate) fn broken(&mut self) {
        self.broken = true;
        self.consumer.broken.store(true, Ordering::Relaxed);
    }

    /// The answer has not been taken to its end.
    pub(crate) fn left(&mut self) {
        self.left = true;
    }

    /// What an upgraded connection copies.
    pub(crate) fn count(&mut self) -> Arc<SpliceCounters> {
        self.count.get_or_insert_default().clone()
    }

    /// What is known of the request's body, which will be sent with [`RequestRecord::upload`].
    pub(crate) fn expect_upload(&mut self) -> Arc<Upload> {
        self.upload.get_or_insert_default().clone()
    }

    /// Begins to send a request's body. The task ends with the body or with the stream.
    pub(crate) fn upload(&mut self, incoming: Incoming, most: Option<u64>, send: SendStream) -> Arc<Upload> {
        let upload = self.expect_upload();
        let incoming = UploadBody::new(incoming, most, upload.clone());
        tokio::spawn(async move {
            if let Err(error) = body::send(incoming, send).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "an upload broke off");
            }
        });
        upload
    }
}

impl RequestRecord {
    fn route(&self) -> Route {
        let upgraded = self.count.is_some();
        match self.upstream.as_ref().map(|upstream| &upstream.who) {
            None => Route::Relay,
            Some(StreamTarget::Session(_)) if upgraded => Route::Upgrade,
            Some(StreamTarget::Session(_)) => Route::Http,
            Some(StreamTarget::Relay(_)) if upgraded => Route::UpgradePeer,
            Some(StreamTarget::Relay(_)) => Route::HttpPeer,
        }
    }

    fn log(&self, bytes_in: u64) {
        let log = &self.proxy.telemetry.lane().log;
        if !log.is_on() {
            return;
        }
        let account = self.owner.as_ref().map(|(account, _)| account.key());
        let peer = match self.upstream.as_ref().map(|upstream| &upstream.who) {
            Some(StreamTarget::Relay(id)) => Some(id.as_str()),
            _ => None,
        };
        log.write(&LogEntry {
            time_us: self.begun_us,
            request_id: self.id,
            consumer: self.consumer.downstream.peer(),
            method: self.method.as_str(),
            host: self.host().unwrap_or("-"),
            target: self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            version: Some(self.version),
            secure: self.consumer.downstream.is_secure(),
            status: self.status.map(|status| status.as_u16()),
            bytes_in,
            bytes_out: self.bytes,
            duration: self.begun.elapsed(),
            tunnel: self.owner.as_ref().map(|(_, tunnel)| tunnel.as_str()),
            account: account.as_deref(),
            peer,
            code: self.code,
            referer: self.referer.as_ref(),
            user_agent: self.user_agent.as_ref(),
        });
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let mut received = self.upload.as_ref().map_or(0, |upload| upload.bytes.load(Ordering::Relaxed));
        if let Some(count) = &self.count {
            received += count.sent.load(Ordering::Relaxed);
            self.bytes += count.received.load(Ordering::Relaxed);
        }
        if self.watched.as_ref().is_some_and(|watched| watched.is_cut()) {
            self.code = Some(Code::BufferFull);
        }
        let metrics = &self.proxy.telemetry.lane().metrics;
        if let Some(code) = self.code {
            metrics.error(code);
        }
        if self.broken {
            metrics.count(Counted::StreamsReset);
        }
        if self.status.is_none() {
            metrics.count(Counted::ConsumerAborts);
        }
        self.consumer.abandoned_requests.end(self.status.is_none() || (self.left && !self.broken));
        let status = self.status.map(|status| status.as_u16());
        metrics.ended(self.route(), status, self.begun.elapsed(), received, self.bytes);
        self.log(received);
    }
}
