//! HTTP/1.1 to a service: connections that are driven by the task that uses them.
//!
//! A connection has no task of its own: the task that sends a request polls it. So a request costs one task, and an
//! answer's head and first bytes leave for the relay together.

use super::{
    connect::{Purpose, ServiceError, UnexpectedReply, connect},
    io::ServiceIo,
};
use crate::published::PublishedTunnel;
use adit_mux::{StreamError, body::StreamBody, splice::Abort};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, Parts, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::time::Instant;

/// A request's body on its way to a service.
pub(super) enum RequestBody {
    Empty,
    Stream(StreamBody, Option<Arc<AtomicU64>>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Self::Stream(body, count) = &mut *self else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(count)) = (&polled, count)
            && let Some(data) = frame.data_ref()
        {
            count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// One connection.
pub(super) struct ServiceConnection {
    sender: SendRequest<RequestBody>,
    /// Absent only while the connection is taken apart.
    driver: Option<Driver>,
    /// A request is under way: to end now is to break it off.
    busy: bool,
    pub(super) idle_since: Instant,
}

type Driver = Connection<TokioIo<ServiceIo>, RequestBody>;

impl Drop for ServiceConnection {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take_if(|_| self.busy) {
            // A FIN alone may be a half-close, after which a service still answers. A reset says that no one waits for
            // the answer.
            driver.into_parts().io.into_inner().abort();
        }
    }
}

/// Why a connection brought no answer.
pub(super) enum SendFailure {
    /// Not a byte was sent: here is the request again.
    Unsent(hyper::Error, Box<Request<RequestBody>>, UnexpectedReply),
    /// The connection ended before the answer began.
    Broken(hyper::Error, UnexpectedReply),
}

impl ServiceConnection {
    /// Speaks HTTP/1.1 on a new connection.
    pub(super) async fn new(io: ServiceIo) -> Result<Box<Self>, ServiceError> {
        let (sender, driver) = Builder::new()
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| ServiceError::Protocol(error.into(), UnexpectedReply::Other))?;
        Ok(Box::new(Self { sender, driver: Some(driver), busy: false, idle_since: Instant::now() }))
    }

    /// Polls the connection's IO. Returns whether it has ended.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.driver.as_mut().is_none_or(|driver| Pin::new(driver).poll(cx).is_ready())
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendFailure> {
        let Self { sender, driver, busy, .. } = self;
        let mut answer = pin!(sender.try_send_request(request));
        let mut ended = false;
        *busy = true;
        let answered = std::future::poll_fn(|cx| {
            if !ended {
                ended = driver.as_mut().is_none_or(|driver| Pin::new(driver).poll(cx).is_ready());
            }
            answer.as_mut().poll(cx)
        })
        .await;
        answered.map_err(|mut error| {
            let message = error.take_message();
            let error = error.into_error();
            let answer = if is_protocol(&error) { self.unexpected_reply() } else { UnexpectedReply::Other };
            match message {
                Some(request) => SendFailure::Unsent(error, Box::new(request), answer),
                None => SendFailure::Broken(error, answer),
            }
        })
    }

    /// The kind of reply that the service sent in place of HTTP/1.1. Takes the connection apart.
    fn unexpected_reply(&mut self) -> UnexpectedReply {
        let Some(driver) = self.driver.take() else { return UnexpectedReply::Other };
        let Parts { io, read_buf, .. } = driver.into_parts();
        io.into_inner().abort();
        UnexpectedReply::of_bytes(&read_buf)
    }

    /// Polls a future that needs this connection to go on, until the future is done.
    pub(super) async fn drive_until<F: Future + Unpin>(&mut self, mut future: F) -> F::Output {
        let mut ended = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
                return Poll::Ready(output);
            }
            if !ended {
                ended = self.drive(cx);
                // The connection may have read what the future waits for.
                return Pin::new(&mut future).poll(cx);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether another request can be sent.
    pub(super) fn is_reusable(&mut self, cx: &mut Context<'_>) -> bool {
        let reusable = !self.drive(cx) && self.sender.is_ready();
        self.busy &= !reusable;
        reusable
    }

    /// After a 101: the connection, and the bytes that were read after the answer.
    pub(super) async fn into_bytes(mut self) -> Result<(Bytes, ServiceIo), ServiceError> {
        let mut driver = self.driver.take().expect("it is taken apart only here and at its end");
        std::future::poll_fn(|cx| driver.poll_without_shutdown(cx))
            .await
            .map_err(|error| ServiceError::Protocol(error.into(), UnexpectedReply::Other))?;
        let Parts { io, read_buf, .. } = driver.into_parts();
        Ok((read_buf, io.into_inner()))
    }

    /// Sends the one request of a connection that is not kept.
    pub(super) async fn send_once(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ServiceError> {
        self.send(request).await.map_err(SendFailure::into_service_error)
    }
}

impl SendFailure {
    /// The failure of the service.
    pub(super) fn into_service_error(self) -> ServiceError {
        let (Self::Unsent(error, _, answer) | Self::Broken(error, answer)) = self;
        if is_protocol(&error) {
            ServiceError::Protocol(error.into(), answer)
        } else {
            ServiceError::Lost(error.into())
        }
    }
}

/// Whether the service said something that is not an answer, rather than nothing.
fn is_protocol(error: &hyper::Error) -> bool {
    if error.is_canceled() {
        // The request was never sent because the connection failed: its error is the cause.
        let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
        return cause.is_some_and(|cause| !cause.is_closed() && cause.source().is_none());
    }
    error.is_parse()
}

/// An answer, and the connection that brings the rest of it.
pub(super) type Http1Answer = (Response<Incoming>, Box<ServiceConnection>);

/// A new connection, by the protocol that TLS agreed on.
pub(super) enum NewConnection {
    Http1(Box<ServiceConnection>),
    /// TLS agreed on HTTP/2.
    Http2(ServiceIo),
}

/// Opens a connection for requests.
pub(super) async fn open_connection(tunnel: &PublishedTunnel) -> Result<NewConnection, ServiceError> {
    match connect(tunnel, Purpose::Requests).await? {
        (io, true) => Ok(NewConnection::Http2(io)),
        (io, false) => ServiceConnection::new(io).await.map(NewConnection::Http1),
    }
}
