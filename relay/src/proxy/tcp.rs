//! One TCP connection of a consumer.

use super::{
    Proxy,
    retry::{self, Attempt, AttemptError, RetryPolicy},
};
use crate::{
    accounts::AccountUsage,
    ops::{
        access_log::{LogEntry, now_us},
        metrics::{Count, Gauge, Route},
        telemetry::Telemetry,
    },
    routing::{
        route::{self, NoRoute},
        upstream::{Failure, StreamTarget, Upstream},
    },
};
use adit_mux::{
    RecvStream, SendStream,
    splice::{Abort, SpliceCounters, splice},
};
use adit_protocol::{Code, Endpoint, TunnelId, stream};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::timeout,
};

/// A stream that the service has accepted, and what is held for as long as it lives.
struct Opened {
    send: SendStream,
    recv: RecvStream,
    upstream: Upstream,
    account: String,
    tunnel: TunnelId,
    usage: Arc<AccountUsage>,
    _permit: crate::accounts::StreamPermit,
}

/// Serves one connection to a public port. One that cannot be served is reset.
pub(crate) async fn serve<T>(proxy: Arc<Proxy>, mut io: T, remote: SocketAddr, port: u16)
where
    T: AsyncRead + AsyncWrite + Abort + Unpin,
{
    let (begun_us, begun) = (now_us(), Instant::now());
    let opened = match open(&proxy, remote, port).await {
        Ok(opened) => opened,
        Err(code) => {
            proxy.telemetry.lane().metrics.error(code);
            io.abort();
            return;
        }
    };
    let _open = proxy.telemetry.lane().metrics.open(Gauge::Streams);
    let count = SpliceCounters::default();
    let cut = Arc::new(Notify::new());
    let mut recv = opened.recv;
    let watched = proxy.buffers.lane().watch(&opened.usage, recv.unread(), cut.clone());
    let result = tokio::select! {
        result = splice(io, opened.send, recv, &count) => result.map_err(|_| ()),
        () = cut.notified() => Err(()),
    };
    let telemetry = proxy.telemetry.lane();
    let code = watched.is_cut().then_some(Code::BufferFull);
    if let Some(code) = code {
        telemetry.metrics.error(code);
    }
    if result.is_err() {
        telemetry.metrics.count(Count::StreamsReset);
    }
    let (bytes_in, bytes_out) = (count.sent.load(Relaxed), count.received.load(Relaxed));
    let (route, peer) = match &opened.upstream.who {
        StreamTarget::Session(_) => (Route::Tcp, None),
        StreamTarget::Relay(id) => (Route::TcpPeer, Some(id.as_str())),
    };
    telemetry.metrics.ended(route, None, begun.elapsed(), bytes_in, bytes_out);
    if telemetry.log.is_on() {
        telemetry.log.write(&LogEntry {
            time_us: begun_us,
            request_id: telemetry.ids.next(begun_us),
            consumer: remote,
            method: "TCP",
            host: &format!("tcp:{port}"),
            target: "",
            version: None,
            secure: false,
            status: None,
            bytes_in,
            bytes_out,
            duration: begun.elapsed(),
            tunnel: Some(opened.tunnel.as_str()),
            account: Some(&opened.account),
            peer,
            code,
            referer: None,
            user_agent: None,
        });
    }
}

async fn open(proxy: &Arc<Proxy>, remote: SocketAddr, port: u16) -> Result<Opened, Code> {
    let route = route::find(&proxy.routing, Endpoint::Tcp(port)).await.map_err(|none| match none {
        NoRoute::Offline => Code::TunnelOffline,
        NoRoute::Unknown => Code::UnknownHost,
    })?;
    if proxy.suspensions.is_suspended(route.account(), route.endpoint()) {
        return Err(Code::Suspended);
    }
    let usage = route.usage(&proxy.accounts, &proxy.live);
    let (account, tunnel) = (route.account().key(), route.tunnel().clone());
    usage.check_request(Instant::now()).map_err(|exceeded| exceeded.code)?;
    let permit = usage.try_stream().map_err(|exceeded| exceeded.code)?;
    let mut attempt = ConnectionAttempt {
        telemetry: &proxy.telemetry,
        authority: Uri::from_maybe_shared(format!("{}:{port}", proxy.routing.domain))
            .expect("a domain and a port are an authority"),
        consumer: HeaderValue::from_str(&remote.to_string()).expect("an address is ASCII"),
        usage: &usage,
    };
    let ((send, recv), upstream) = retry::send(proxy, &route, &mut attempt).await?;
    Ok(Opened { send, recv, upstream, account, tunnel, usage, _permit: permit })
}

/// A TCP connection on its way to an upstream.
struct ConnectionAttempt<'a> {
    telemetry: &'a Telemetry,
    authority: Uri,
    consumer: HeaderValue,
    usage: &'a AccountUsage,
}

impl Attempt for ConnectionAttempt<'_> {
    type Answer = (SendStream, RecvStream);
    type Error = Code;

    async fn run(&mut self, upstream: &Upstream, _: bool) -> Result<Self::Answer, AttemptError<Code>> {
        let mut head = Request::new(());
        *head.method_mut() = Method::CONNECT;
        *head.uri_mut() = self.authority.clone();
        head.headers_mut().insert(stream::CONSUMER, self.consumer.clone());
        let (response, send) = upstream.open(self.telemetry, head, false).await?;
        match timeout(self.usage.limits().response_timeout, response).await {
            Ok(Ok(response)) if response.status() == StatusCode::OK => Ok((send, response.into_body())),
            Ok(Ok(_)) => Err(AttemptError::Final(Code::ServiceDown)),
            Ok(Err(error)) => Err(Failure::of_stream(&error).into()),
            Err(_) => Err(AttemptError::Final(Code::ServiceTimeout)),
        }
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::Unprocessed
    }
}
