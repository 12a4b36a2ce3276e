//! The transport HTTP/2 (RFC 9113) on any byte stream, spoken by the `h2` crate.

use crate::{
    AcceptStreams, AcceptedStream, ConnectProtocol, OpenStreams, OpenedStream, RecvStream, Responder,
    ResponseFuture, SendStream, StreamError,
    buffered::{BufferedIo, Flusher},
    limits::{MAX_STREAMS, STREAM_WINDOW_BYTES},
    ping::Pinger,
};
use bytes::Bytes;
use futures_util::Future;
use http::{Method, Request};
use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// How many bytes of a connection may be unread. HTTP/2's largest window: [`MAX_STREAMS`] readers that all stall cannot
/// use it up, so none of them slows another stream.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The largest DATA frame: large frames cost fewer wake-ups and TLS records of full size.
const MAX_FRAME_BYTES: u32 = 64 * 1024;

/// How many bytes wait in one stream's send buffer before [`crate::body::send`] is made to wait.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The most bytes of decoded headers of one message, each field with 32 bytes of overhead (RFC 9113 section 6.5.2).
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// How long a reset stream is remembered, so that late frames of it do no harm.
const RESET_MEMORY: Duration = Duration::from_secs(10);

/// How many reset streams are remembered. Consumers may all go away at once: no number of resets ends a connection whose
/// other end is authenticated.
const MAX_REMEMBERED_RESETS: usize = 4 * MAX_STREAMS;

/// h2 charges small DATA frames against a budget of the connection's whole life. Both ends are authenticated and never
/// send empty ones, so the budget is as large as can be.
const DATA_FRAME_BUDGET: usize = usize::MAX / 2;

/// Opens streams on a connection.
#[derive(Clone, Debug)]
pub struct Opener(h2::client::SendRequest<Bytes>);

/// Starts the side that opens streams. The returned [`Driver`] has to be polled for anything to happen.
///
/// # Errors
/// [`StreamError`] if the byte stream fails.
pub async fn open<T>(io: T) -> Result<(Opener, Pinger, Driver<T>), StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (io, flusher) = BufferedIo::new(io);
    let traffic = io.traffic();
    let (opener, mut connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(MAX_REMEMBERED_RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(None)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(StreamError)?;
    let pinger = Pinger::new(connection.ping_pong().expect("taken for the first time"), traffic);
    Ok((Opener(opener), pinger, Driver { connection, flusher }))
}

impl Opener {
    /// Waits until the other side takes one more stream.
    ///
    /// # Errors
    /// [`StreamError`] if the connection has ended.
    pub async fn ready(self) -> Result<Self, StreamError> {
        self.0.ready().await.map(Self).map_err(StreamError)
    }

    /// Opens a stream now, after [`Opener::ready`]. With `end` the request has no body.
    ///
    /// # Errors
    /// [`StreamError`] if the connection has ended, or takes no streams any more.
    pub fn send_request(&mut self, mut head: Request<()>, end: bool) -> Result<OpenedStream, StreamError> {
        if *head.method() == Method::CONNECT {
            let extensions = head.extensions_mut();
            if let Some(ConnectProtocol(protocol)) = extensions.remove() {
                extensions.insert(protocol);
            }
        }
        let (response, send) = self.0.send_request(head, end).map_err(StreamError)?;
        Ok((ResponseFuture(response), SendStream(send)))
    }
}

impl OpenStreams for Opener {
    async fn open(&self, head: Request<()>, end: bool) -> Result<OpenedStream, StreamError> {
        self.clone().ready().await?.send_request(head, end)
    }

    fn has_ended(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.0.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn allows_extended_connect(&self) -> bool {
        self.0.is_extended_connect_protocol_enabled()
    }
}

/// The opening side's connection: a future that ends with it. All streams make progress only while it is polled.
pub struct Driver<T: AsyncRead + AsyncWrite + Unpin> {
    connection: h2::client::Connection<BufferedIo<T>, Bytes>,
    flusher: Flusher<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Result<(), StreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.connection).poll(cx);
        self.flusher.poll(cx);
        polled.map_err(StreamError)
    }
}

/// Starts the side that accepts streams: poll [`AcceptStreams::accept`] until it ends.
///
/// # Errors
/// [`StreamError`] if the byte stream fails, or its first bytes are not HTTP/2's.
pub async fn accept<T>(io: T) -> Result<(Acceptor<T>, Pinger), StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (io, flusher) = BufferedIo::new(io);
    let traffic = io.traffic();
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        // The opener keeps to MAX_STREAMS. A stream that it resets counts here until its task has noticed.
        .max_concurrent_streams(MAX_REMEMBERED_RESETS as u32)
        .max_concurrent_reset_streams(MAX_REMEMBERED_RESETS)
        .max_pending_accept_reset_streams(MAX_REMEMBERED_RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(None)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .enable_connect_protocol()
        .handshake(io);
    let mut handshake = std::pin::pin!(handshake);
    let mut connection = std::future::poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        flusher.poll(cx);
        polled
    })
    .await
    .map_err(StreamError)?;
    let pinger = Pinger::new(connection.ping_pong().expect("taken for the first time"), traffic);
    Ok((Acceptor { connection, flusher }, pinger))
}

/// The accepting side's connection.
pub struct Acceptor<T> {
    connection: h2::server::Connection<BufferedIo<T>, Bytes>,
    flusher: Flusher<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> AcceptStreams for Acceptor<T> {
    async fn accept(&mut self) -> Option<Result<AcceptedStream, StreamError>> {
        let accepted = std::future::poll_fn(|cx| {
            let polled = self.connection.poll_accept(cx);
            self.flusher.poll(cx);
            polled
        })
        .await?;
        Some(accepted.map(accepted_stream).map_err(StreamError))
    }

    fn drain(&mut self) {
        self.connection.graceful_shutdown();
    }
}

fn accepted_stream(
    (mut request, respond): (Request<h2::RecvStream>, h2::server::SendResponse<Bytes>),
) -> AcceptedStream {
    if *request.method() == Method::CONNECT {
        let extensions = request.extensions_mut();
        if let Some(protocol) = extensions.remove() {
            extensions.insert(ConnectProtocol(protocol));
        }
    }
    (request.map(RecvStream), Responder(respond))
}
