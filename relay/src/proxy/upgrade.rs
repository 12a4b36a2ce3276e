//! A connection in another protocol: WebSocket and every other Upgrade.

use super::{
    Proxy,
    answer::Answered,
    consumer::connection::{Connection, Prefixed},
    request_record::RequestRecord,
    retry::{self, Attempt, AttemptError, RetryPolicy},
};
use crate::{
    ops::telemetry::Telemetry,
    routing::{
        route::Route,
        upstream::{Failure, Handled, Upstream},
    },
};
use adit_mux::{
    ConnectProtocol, RecvStream, SendStream,
    splice::{Abort, splice},
};
use adit_protocol::{Code, stream};
use http::{HeaderValue, Method, Request, StatusCode, Version, header, request, response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Opens the stream, again if the first one cannot have been processed, and waits for the service's answer.
///
/// # Errors
/// [`Failure`].
pub(super) async fn send(
    proxy: &Proxy,
    route: &Route,
    parts: &request::Parts,
    token: &HeaderValue,
    record: &mut RequestRecord,
) -> Result<(response::Parts, SendStream, RecvStream), Failure> {
    let protocol = token.to_str().map_err(|_| Failure::unhandled(Code::BadRequest))?;
    let mut attempt = UpgradeAttempt { telemetry: &proxy.telemetry, parts, protocol };
    let (answer, upstream) = retry::send(proxy, route, &mut attempt).await?;
    record.through(upstream);
    Ok(answer)
}

/// An Upgrade on its way to an upstream.
struct UpgradeAttempt<'a> {
    telemetry: &'a Telemetry,
    parts: &'a request::Parts,
    protocol: &'a str,
}

impl Attempt for UpgradeAttempt<'_> {
    type Answer = (response::Parts, SendStream, RecvStream);
    type Error = Failure;

    async fn run(&mut self, upstream: &Upstream, _: bool) -> Result<Self::Answer, AttemptError<Failure>> {
        if !upstream.upgrades().await {
            return Err(AttemptError::Final(Failure::unhandled(Code::ServiceProtocol)));
        }
        let mut head = Request::new(());
        *head.method_mut() = Method::CONNECT;
        *head.uri_mut() = self.parts.uri.clone();
        *head.headers_mut() = self.parts.headers.clone();
        head.extensions_mut().insert(ConnectProtocol::from(self.protocol));
        let (response, send) = upstream.open(self.telemetry, head, false).await?;
        let (parts, recv) = response.await.map_err(|error| Failure::of_stream(&error))?.into_parts();
        Ok((parts, send, recv))
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::Unprocessed
    }
}

/// Whether the service has answered the request as if it had asked for no other protocol, as it may (RFC 9110 section
/// 7.8).
///
/// # Errors
/// On HTTP/2 a success would say that it has switched, and no other status would be true.
pub(super) fn was_ignored(parts: &mut response::Parts, from_h1: bool) -> Result<bool, Failure> {
    let ignored = parts.headers.remove(stream::UPGRADE_IGNORED).is_some();
    if ignored && !from_h1 && parts.status.is_success() {
        return Err(Failure { code: Code::ServiceProtocol, handled: Handled::Maybe });
    }
    Ok(ignored)
}

/// The service's switch, as the consumer gets it: 101, or 200 on HTTP/2.
pub(super) fn answered(
    (mut parts, send, recv): (response::Parts, SendStream, RecvStream),
    on: OnUpgrade,
    token: &HeaderValue,
    from_h1: bool,
) -> Answered {
    if parts.headers.contains_key(stream::ERROR) {
        return Answered::Message(parts, recv);
    }
    // A body's length means nothing behind an Upgrade.
    parts.headers.remove(header::CONTENT_LENGTH);
    if from_h1 {
        parts.version = Version::HTTP_11;
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, token.clone());
    } else {
        // The key and its answer exist on HTTP/1.1 alone (RFC 8441 section 5).
        parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    Answered::Switched(parts, on, send, recv)
}

/// Copies until both sides have ended.
pub(super) async fn copy(
    on: OnUpgrade,
    send: SendStream,
    mut recv: RecvStream,
    mut record: Box<RequestRecord>,
) {
    let Ok(upgraded) = on.await else { return };
    let io = match upgraded.downcast::<TokioIo<Connection>>() {
        Ok(parts) => Switched::Http1(Prefixed::new(parts.read_buf, parts.io.into_inner())),
        Err(upgraded) => Switched::Http2(Some(TokioIo::new(upgraded))),
    };
    let (count, cut) = (record.count(), record.watch(recv.unread()));
    let result = tokio::select! {
        result = splice(io, send, recv, &count) => result.map_err(|_| ()),
        () = cut.notified() => Err(()),
    };
    if result.is_err() {
        record.broken();
    }
}

/// The consumer's side of an upgraded connection.
enum Switched {
    Http1(Prefixed<Connection>),
    Http2(Option<TokioIo<Upgraded>>),
}

impl Abort for Switched {
    fn abort(&mut self) {
        match self {
            Self::Http1(io) => io.abort(),
            // Dropped without a shutdown the stream is reset.
            Self::Http2(io) => *io = None,
        }
    }

    fn set_reset_on_close(&mut self, on: bool) {
        match self {
            Self::Http1(io) => io.set_reset_on_close(on),
            // A stream that has not ended is broken when its connection ends.
            Self::Http2(_) => {}
        }
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Switched::Http1($io) => {
                let $io = Pin::new($io);
                $call
            }
            Switched::Http2(Some($io)) => {
                let $io = Pin::new($io);
                $call
            }
            Switched::Http2(None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

impl AsyncRead for Switched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}
