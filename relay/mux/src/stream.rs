//! One stream of a session: its two directions, and the head of its answer.
//!
//! These are the types that relay and client hold; which transport is below them is known here alone.

use crate::{ResetReason, StreamError};
use bytes::Bytes;
use futures_util::Future;
use http::{HeaderMap, Request, Response};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A stream that this side has opened: its answer, and the direction in which this side sends.
pub type OpenedStream = (ResponseFuture, SendStream);

/// A stream that the other side has opened: its head with the direction in which this side receives, and the way to answer.
pub type AcceptedStream = (Request<RecvStream>, Responder);

/// The protocol that an extended CONNECT asks for (RFC 8441 section 4): an extension of such a request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProtocol(pub(crate) h2::ext::Protocol);

impl ConnectProtocol {
    /// The protocol's name, for example `websocket`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&str> for ConnectProtocol {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// The direction in which this side sends.
#[derive(Debug)]
pub struct SendStream(pub(crate) h2::SendStream<Bytes>);

impl SendStream {
    /// Sends bytes without waiting for the other side's window: what does not fit into it is buffered. For bodies use
    /// [`crate::body::send_bytes`], which waits. With `end` the direction ends (END_STREAM).
    ///
    /// # Errors
    /// [`StreamError`] if the direction has ended already.
    pub fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), StreamError> {
        self.0.send_data(data, end).map_err(StreamError)
    }

    /// Sends trailers, with which the direction ends.
    ///
    /// # Errors
    /// [`StreamError`] if the direction has ended already.
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), StreamError> {
        self.0.send_trailers(trailers).map_err(StreamError)
    }

    /// Ends both directions at once; the other side sees a reset.
    pub fn send_reset(&mut self, reason: ResetReason) {
        self.0.send_reset(reason.into());
    }

    /// Ready once the other side has reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResetReason, StreamError>> {
        self.0.poll_reset(cx).map_ok(ResetReason::from).map_err(StreamError)
    }

    /// Asks for room for so many bytes in the windows of the stream and of the connection.
    pub(crate) fn reserve_capacity(&mut self, bytes: usize) {
        self.0.reserve_capacity(bytes);
    }

    /// How many bytes can be sent now; `None` if none can be any more.
    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<usize, StreamError>>> {
        self.0.poll_capacity(cx).map_err(StreamError)
    }
}

/// The direction in which this side receives.
#[derive(Debug)]
pub struct RecvStream(pub(crate) h2::RecvStream);

impl RecvStream {
    /// The next bytes, or `None` at the direction's end. They count as unread until [`RecvStream::release`].
    ///
    /// # Errors
    /// [`StreamError`] if the stream was reset or its connection ended.
    pub async fn data(&mut self) -> Option<Result<Bytes, StreamError>> {
        std::future::poll_fn(|cx| self.poll_data(cx)).await
    }

    /// As [`RecvStream::data`].
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.0.poll_data(cx).map_err(StreamError)
    }

    /// The trailers, if there are any, once all bytes have been received.
    ///
    /// # Errors
    /// As [`RecvStream::data`].
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, StreamError> {
        std::future::poll_fn(|cx| self.poll_trailers(cx)).await
    }

    /// As [`RecvStream::trailers`].
    pub fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, StreamError>> {
        self.0.poll_trailers(cx).map_err(StreamError)
    }

    /// Whether the direction has ended and everything of it has been received.
    pub fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    /// So many of the received bytes have been used: the other side may send as many more.
    pub fn release(&mut self, bytes: usize) {
        // An error says that the stream has ended, and its window with it.
        let _ = self.0.flow_control().release_capacity(bytes);
    }

    /// Tells at any time how much of the stream is unread.
    pub fn unread(&mut self) -> UnreadBytes {
        UnreadBytes(self.0.flow_control().clone())
    }
}

/// How many received bytes of a stream have not been released.
#[derive(Clone, Debug)]
pub struct UnreadBytes(h2::FlowControl);

impl UnreadBytes {
    /// The number now.
    pub fn get(&self) -> usize {
        self.0.used_capacity()
    }
}

/// Answers a stream that the other side has opened.
#[derive(Debug)]
pub struct Responder(pub(crate) h2::server::SendResponse<Bytes>);

impl Responder {
    /// Sends the answer's head. With `end` it has no body.
    ///
    /// # Errors
    /// [`StreamError`] if the other side has reset the stream.
    pub fn send_response(&mut self, head: Response<()>, end: bool) -> Result<SendStream, StreamError> {
        self.0.send_response(head, end).map(SendStream).map_err(StreamError)
    }

    /// Ends both directions at once; the other side sees a reset.
    pub fn send_reset(&mut self, reason: ResetReason) {
        self.0.send_reset(reason.into());
    }

    /// Ready once the other side has reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResetReason, StreamError>> {
        self.0.poll_reset(cx).map_ok(ResetReason::from).map_err(StreamError)
    }
}

/// The head of the answer to a stream that this side has opened, and the direction in which this side receives.
#[derive(Debug)]
#[must_use = "an answer that is dropped resets its stream"]
pub struct ResponseFuture(pub(crate) h2::client::ResponseFuture);

impl Future for ResponseFuture {
    type Output = Result<Response<RecvStream>, StreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answered.map(|response| response.map(RecvStream)).map_err(StreamError))
    }
}
